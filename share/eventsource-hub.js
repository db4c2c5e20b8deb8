// Server-sent events in a page: a stream that does not give up, one for all tabs, with its state as maps.
// Its manual is EventSource::Browser, of the distribution EventSource-XS.

const SELF = { url: import.meta.url, type: 'module' };
const NAME = 'eventsource-hub 3';         // the number is that of the messages between tabs
const CONNECTING = 0, OPEN = 1, CLOSED = 2;
const FINISHED = 'eventsource-finished';  // the id of a stream that its server has finished
const MAX_DELAY = 3e4;                    // ms between two attempts, unless Retry-After says more
const LOOK_EVERY = 5e3, ASLEEP = 12e4;    // ms; timers of a page in the background run once a minute
const OWNER = 'EventSource-Owner';        // the header that says whose stream it is

const newId = () => NAME + Math.random() + now();
// The clock of Date may be set back. That of performance may stand still while the machine sleeps.
const now = () => performance.now();

// A URL as fetch takes it: that of a page may have the name and password of its user.
function plain(url) {
  const target = new URL(url, globalThis.document?.baseURI);
  target.hash = target.username = target.password = '';
  return target;
}

// Parses a stream (WHATWG HTML, section 9.2.6). Calls onEvent for each event.
class Parser {
  #rest = '';
  #skipsLF = false;
  #data = '';
  #type = '';
  #id;
  retry;                                  // ms, as the stream said last
  isState;                                // the stream begins with the state

  constructor(onEvent, lastEventId = '') {
    this.onEvent = onEvent;
    this.#id = this.lastEventId = lastEventId;
  }

  // Takes the next characters, wherever they were cut.
  push(text) {
    if (!text) return;
    const end = /\r\n?|\n/g;
    let start = end.lastIndex = this.#skipsLF && text[0] === '\n' ? 1 : 0;
    for (let found; (found = end.exec(text)); start = end.lastIndex) {
      const line = this.#rest + text.slice(start, found.index);
      this.#rest = '';
      this.#take(line);
    }
    this.#rest += text.slice(start);
    this.#skipsLF = text.endsWith('\r');
  }

  #take(line) {
    if (!line) return this.#dispatch();
    const [, field, value] = /^([^:]*):? ?(.*)/s.exec(line);
    if (field === 'data') this.#data += value + '\n';
    else if (field === 'event') this.#type = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'retry' && /^[0-9]+$/.test(value)) this.retry = +value;
    else if (!field && value === 'state') this.isState = true;
  }

  #dispatch() {
    const data = this.#data, type = this.#type || 'message';
    this.#data = this.#type = '';
    this.lastEventId = this.#id;
    if (data) this.onEvent({ type, data: data.slice(0, -1), lastEventId: this.#id });
  }
}

// The response to a request, and the next one whenever it ends.
class Source {
  #timer;
  #attempt = 0;                           // since the last event
  #retry = 1000;
  #abort;
  wake = () => {};                        // ends a wait: the page is shown again
  #isClosed = false;
  #read;                                  // when bytes came last
  #renewed = -LOOK_EVERY;
  asked;                                  // when the last request was made

  // on.events(events, isState) may return a promise: no more is read until then. on.state(readyState, status).
  constructor(request, { last, owner }, on) {
    Object.assign(this, { request, lastEventId: last, owner, on });
    let looked = Date.now();
    this.#timer = setInterval(() => {
      const silent = now() - this.#read, time = Date.now();
      if (time - looked > ASLEEP || silent > (request.keepalive || Infinity) * 1000) this.renew();
      looked = time;
    }, Math.min(LOOK_EVERY, request.keepalive * 500 || LOOK_EVERY));
    this.#run();
  }

  close() {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#abort?.abort();
    this.wake();
  }

  // Ends the response, or the wait for the next one. Several tabs ask for it at once.
  renew() {
    if (now() - this.#renewed < LOOK_EVERY) return;
    this.#renewed = this.#read = now();
    this.#abort?.abort();
    this.wake();
  }

  async #run() {
    while (!this.#isClosed) {
      let status = 0, seconds = 0, began = Infinity;
      try {
        this.asked = this.#read = now();
        this.#abort = new AbortController();
        const response = await this.#ask(this.request.method, this.#abort.signal);
        status = response.status;
        if (status === 200 && /^text\/event-stream *(;|$)/i.test(response.headers.get('Content-Type'))) {
          const owner = response.headers.get(OWNER) || '';
          status = 0;
          // The cookies are those of another user now.
          if (owner !== (this.owner ??= owner)) {
            this.other = owner;
            throw status = 403;
          }
          began = now();
          await this.#follow(response.body);
          status = undefined;
        } else {
          const after = response.headers.get('Retry-After');
          const sent = Date.parse(response.headers.get('Date')) || Date.now();
          seconds = Math.max(0, +after || (Date.parse(after) - sent) / 1000) || 0;
        }
      } catch {}                          // the network, or the end of this response
      this.#abort?.abort();               // the rest of a refusal is not read
      if (this.#isClosed) return;
      if (now() - began > MAX_DELAY) this.#attempt = 0;
      if (this.#isFinal(status)) {
        this.close();
        return this.on.state(CLOSED, status);  // none, if a stream that is not repeated has ended
      }
      this.on.state(CONNECTING, status || 0);
      await this.#wait(seconds);
    }
  }

  // Whose stream a page would be sent now: of somebody else, as far as is known, if no answer comes.
  findOwner() {
    const abort = new AbortController();
    const late = new Promise(resolve => setTimeout(() => abort.abort(resolve()), MAX_DELAY));
    return Promise.race([late, this.#ask('HEAD', abort.signal).then(({ headers }) => headers.get(OWNER))]);
  }

  async #ask(method, signal) {
    const { url, headers, withCredentials } = this.request;
    const body = method === 'HEAD' ? undefined : this.request.body;
    const all = new Headers(typeof headers === 'function' ? await headers() : headers);
    if (!all.has('Accept')) all.set('Accept', 'text/event-stream');
    // A header takes bytes: those of the id in UTF-8, as the browser's EventSource sends them.
    if (this.lastEventId) all.set('Last-Event-ID', unescape(encodeURIComponent(this.lastEventId)));
    if (this.#isClosed) this.#abort.abort();
    const credentials = withCredentials ? 'include' : 'same-origin';
    return fetch(url, { method, headers: all, body, credentials, cache: 'no-store', signal });
  }

  async #follow(body) {
    let events = [];
    const parser = new Parser(event => events.push(event), this.lastEventId);
    const decoder = new TextDecoder();
    const reader = body.getReader();
    this.on.state(OPEN);
    for (let part; !(part = await reader.read()).done;) {
      this.#read = now();
      parser.push(decoder.decode(part.value, { stream: true }));
      this.#retry = parser.retry ?? this.#retry;
      const { lastEventId } = parser;
      if (events.length) this.#attempt = 0;
      // An id without an event is a position for whoever reads the stream next, too.
      if (lastEventId !== (events.at(-1) ?? this).lastEventId) events.push({ data: '', lastEventId });
      this.lastEventId = lastEventId;
      if (!events.length) continue;
      const taken = events;
      events = [];
      this.#read = Infinity;              // as long as they are not taken
      await this.on.events(taken, parser.isState);
      this.#read = now();
      if (this.#isClosed) return;
    }
  }

  // A refusal that stays one; or a request that may have had its effect, and that its server could not tell from a new one.
  #isFinal(status) {
    if (status === 204 || status >= 400 && status < 500 && ![408, 425, 429].includes(status)) return true;
    return !isRepeatable(this.request, this.lastEventId) && status !== 429 && status !== 503;
  }

  // Jittered, so that the clients of a server that was away do not come back at once.
  #wait(seconds) {
    const least = Math.max(this.#retry, this.#attempt && 100);
    const backoff = Math.min(Math.max(MAX_DELAY, least), least * 2 ** this.#attempt++);
    const delay = Math.max(backoff * (1 + Math.random() / 2), seconds * 1000 * (1 + Math.random() / 10));
    this.#read = Infinity;
    return new Promise(resolve => {
      const timer = setTimeout(resolve, Math.min(delay, 2e9));
      this.wake = () => {
        if (seconds && !this.#isClosed) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

// Whether a server can tell that it has had a request before, or need not.
function isRepeatable({ method }, lastEventId) {
  return lastEventId || /^(GET|QUERY)$/i.test(method);
}

// What an event says of the state: its channel (undefined if it does not say), its key, and whether that is forgotten.
function locate(type, data, keyField) {
  let json;
  if (data[0] === '{') try { json = JSON.parse(data) } catch {}
  if (typeof json?.channel === 'string' && Object.keys(json).every(field => /^(channel|data|key|forget)$/.test(field))) {
    return 'key' in json ? { channel: json.channel, key: json.key, isGone: !!json.forget, isShown: true } : undefined;
  }
  if (type === 'forget') return { key: data, isGone: true };
  if (type === 'count') return { key: null, isMember: true };
  const own = keyField && json?.[keyField];
  const isMember = /^(join|update|leave)$/.test(type) && (own === undefined || own === json.id);
  const key = isMember ? json?.id : own;
  return /string|number/.test(typeof key) ? { key: `${key}`, isMember, isGone: isMember && type === 'leave' } : undefined;
}

// What a tab knows of a stream: the newest event of each key, the last events, and the position. An entry is an event with
// the id before it: so a tab knows whether it is the next one; without a type it is an id only. The entries of a state are no
// history, until it is complete: each has the name of that state.
class Replica {
  #ring = [];
  #state = new Map();
  #size = 0;
  // Its place in the stream.
  last;                                   // undefined until the tab has been welcomed
  isComplete;
  inState;                                // the name of the state that is not complete
  owner;                                  // whose stream it is
  line;                                   // what counts together: a gap begins another line
  count = 0;                              // entries with an id of their own

  constructor(request, { entries = [], ...place } = {}) {
    this.request = request;
    for (const entry of entries) this.add(entry);
    Object.assign(this, place);
  }

  get place() {
    const { last, isComplete, inState, owner, line, count } = this;
    return { last, isComplete, inState, owner, line, count };
  }

  get seed() {
    const kept = new Set(this.#ring);
    const state = [...this.state].filter(entry => !kept.has(entry));
    return { entries: [...state, ...this.#ring], ...this.place };
  }

  get state() {
    return this.#state.values();
  }

  add(entry) {
    const { gap, position, history } = this.request;
    const { type, data, id, prev, at } = entry;
    const completes = type === position && !this.isComplete;
    this.last = id;
    this.inState = type === position ? undefined : entry.inState;
    if (id !== prev) this.count++;
    if (completes) this.isComplete = true;
    if (type === gap) {
      this.isComplete = undefined;
      this.line = entry.line;
      this.#ring = [];
      this.#state.clear();
      this.#size = 0;
      return;
    }
    if (at) {
      const place = JSON.stringify([at.channel, at.key, at.isMember]);
      this.#state.delete(place);
      if (!at.isGone) this.#state.set(place, entry);
    }
    if (type === position && id === prev && !completes) return;
    this.#ring.push(entry);
    this.#size += data.length + 100;      // an event takes more than its data
    while (this.#size > history) {
      this.#size -= this.#ring.shift().data.length + 100;
    }
  }

  // A state follows a gap without a position.
  make({ type, data, lastEventId: id }) {
    const { last: prev, request } = this;
    const line = type === request.gap ? newId() : undefined;
    const inState = !line ? this.inState : id === prev ? line : undefined;
    return { type, data, id, prev, inState, line, at: locate(type, data, request.key) };
  }

  isNext({ type, prev, inState }) {
    return prev === this.last && (!prev || inState === this.inState || type === this.request.gap);
  }

  // What a tab lacks that is here, in this state; undefined if that is not known.
  since(last, inState) {
    if (last === this.last && inState === this.inState) return [];
    const { position } = this.request;
    const from = this.#ring.findLastIndex(({ id, prev, type }) => prev === last && (id !== last || inState && type === position));
    const rest = this.#ring.slice(from);  // there are holes in that of a tab that came late
    const isChain = (entry, i) => (!entry.inState || entry.inState === inState) && (!i || entry.prev === rest[i - 1].id);
    const isWhole = !inState || inState === this.inState || rest.some(({ type }) => type === position);
    return from >= 0 && isWhole && rest.every(isChain) && rest.at(-1).id === this.last ? rest : undefined;
  }

  // What a new tab is given, and one that lacks too much.
  anew(hasGap) {
    const { gap, position, start } = this.request;
    const tail = this.#ring.filter(({ at, type }) => !at && type && type !== position).slice(start || Infinity);
    const kept = new Set([...this.state, ...tail]);
    const entries = this.seed.entries.filter(entry => kept.has(entry));
    const own = { id: this.last, prev: this.last, inState: this.inState, line: this.line };
    if (hasGap) entries.unshift({ type: gap, data: '{"reason":"evicted"}', ...own });
    if (this.isComplete) entries.push({ type: position, data: '', ...own });
    return entries;
  }
}

// Reads a stream for its tabs: in a SharedWorker, in the leading tab, or in the only one.
class Host {
  #source;
  #state = CONNECTING;
  #waiting = new Map();
  #lost = {};                             // what a tab is told that comes between two attempts

  // send(message, to): to one tab, or to all. begin(message, came) returns whether another host begins where that tab is.
  constructor(request, seed, send, begin = () => {}) {
    Object.assign(this, { send, begin });
    this.replica = new Replica(request, seed);
    this.replica.last ??= '';
    this.replica.line ??= newId();
    this.#source = new Source(request, this.replica, this);
  }

  close() {
    this.#source.close();
    this.#waiting.clear();
    this.send = this.hear = () => {};
  }

  // A new tab waits for an open stream: whether it may read what the others have been sent, the server says, unless the tab
  // came before the request. One whose last id is not known waits, too: the stream may come to it, until it has been open for
  // two seconds.
  hear(message, from, isLate) {
    const { hello, last, inState, call } = message;
    if (call) this.#source[call]();
    if (!hello) return;
    const { replica } = this;
    const { owner, asked } = this.#source;
    const came = message.came ??= now();
    const isOther = (owner ?? message.owner) !== (message.owner ?? owner);
    // The cookies may be those of another user since the request was made.
    const isDoubtful = last === undefined && owner && !message.owner && asked < came;
    if (isOther || isDoubtful) {
      this.#waiting.delete(from);
      if (isOther) return this.send({ elsewhere: message.owner }, from);
      const again = () => setTimeout(() => this.hear(message, from), 2000);
      return this.#source.findOwner().then(its => {
        if (its === owner) this.hear({ ...message, owner }, from);
        else this.send({ elsewhere: its || newId() }, from);
      }).catch(again);
    }
    const entries = last === undefined
      ? this.#state !== CONNECTING && replica.anew()
      : owner === (message.owner ?? owner) && replica.since(last, inState) || isLate && replica.anew(true);
    if (entries) {
      this.#waiting.delete(from);
      return this.send(this.#welcome(last, entries), from);
    }
    if (this.#waiting.get(from) === message) return;
    this.#waiting.set(from, message);
    this.#source.wake();
    this.send(this.#lost, from);
    const look = isOpen => {
      if (this.#waiting.get(from) !== message) return;
      // The stream comes to a tab that is ahead of it.
      const isAhead = message.line === replica.line && message.count > replica.count;
      if (!isOpen || this.#state !== OPEN || isAhead) setTimeout(look, 2000, this.#state === OPEN);
      else if (!this.begin(message, came)) this.hear(message, from, true);
    };
    look();
  }

  // What all tabs are told when a host has begun. One without a position begins there, but has all of a stream without ids.
  get lead() {
    return { leads: true, ...this.#welcome('', this.replica.since('') ?? this.replica.anew()) };
  }

  #welcome(asked, entries) {
    const welcome = { ...this.replica.place, owner: this.#source.owner };
    return { welcome, asked, entries, readyState: this.#state };
  }

  // The methods below are for the source.
  events(events, isState) {
    const { replica } = this;
    const entries = [];
    if (isState && !replica.last) replica.inState = newId();
    for (const event of events) {
      const entry = replica.make(event);
      replica.add(entry);
      entries.push(entry);
      this.#hearWaiting();                // before a short history has lost it
      if (event.lastEventId === FINISHED) break;
    }
    const taken = this.send({ entries });
    if (replica.last !== FINISHED) return taken;
    this.state(CLOSED);
    this.close();
  }

  state(readyState, status) {
    this.#state = readyState;
    this.#lost = readyState === CONNECTING ? { readyState, status } : {};
    this.send({ readyState, status, elsewhere: this.#source.other });
    if (readyState === OPEN) this.#hearWaiting();
  }

  #hearWaiting() {
    for (const [from, message] of this.#waiting) this.hear(message, from);
  }
}

// The hosts of a SharedWorker, by the keys of their streams.
function serveTabs() {
  const hosts = new Map();
  const alive = newId();
  navigator.locks?.request(alive, () => new Promise(() => {}));

  const open = ({ key, request, seed }) => {
    const began = now();
    const ports = new Set();
    // A tab may still greet a stream that has ended, when another one has its key.
    const forget = () => hosts.get(key) === stream && hosts.delete(key);
    const send = (message, to) => {
      const data = JSON.stringify(message);  // it is copied for each tab faster than objects are
      for (const port of to ? [to] : ports) port.postMessage(data);
      if (message.readyState === CLOSED) forget();
      // What the server sends meanwhile is read later, as one message: so nothing waits in a worker that is killed.
      return new Promise(resolve => setTimeout(resolve, Math.min(8, message.entries?.length)));
    };
    // When the worker before has ended, the first to come may be a new tab, or one that is ahead: then the others say where
    // to resume.
    const begin = ({ last, seed }, came) => {
      if (!last || came - began > MAX_DELAY) return;
      stream.host.close();
      stream.host = new Host(request, seed, send, begin);
      send(stream.host.lead);
      return true;
    };
    const stream = {
      ports,
      host: new Host(request, seed, send, begin),
      leave(port) {
        if (!ports.delete(port) || ports.size) return;
        stream.host.close();
        forget();
      },
    };
    hosts.set(key, stream);
    return stream;
  };

  globalThis.onconnect = ({ ports: [port] }) => {
    let stream;
    port.onmessage = ({ data }) => {
      data.came = now();
      if (data.key) {
        stream = hosts.get(data.key) ?? open(data);
        stream.ports.add(port);
        stream.host.send({ alive }, port);
        if (data.tab) navigator.locks?.request(data.tab, () => stream.leave(port));
      }
      if (data.bye) stream?.leave(port);
      else stream?.host.hear(data, port);
    };
  };
}

// The ways to a host: each returns how to send to it and how to leave. It throws, or calls fail(), where it does not work.
function joinWorker(hub, fail) {
  const { key, request, script } = hub.stream;
  const gone = new AbortController();
  const { locks } = navigator;
  const worker = new SharedWorker(plain(script), { type: SELF.type, name: NAME });
  const { port } = worker;
  const name = newId();
  let release = () => {};
  worker.onerror = () => fail();
  port.onmessage = ({ data }) => {
    data = JSON.parse(data);
    // At once, Firefox would connect to the worker that has ended.
    if (data.alive) locks?.request(data.alive, { signal: gone.signal }, () => setTimeout(fail, 1000, true)).catch(() => {});
    hub.receive(data);
  };
  const greet = tab => {
    if (gone.signal.aborted) return;
    port.postMessage({ key, request, tab, ...hub.greeting });
    return new Promise(resolve => { release = resolve });
  };
  if (locks) locks.request(name, { signal: gone.signal }, () => greet(name)).catch(() => greet());
  else greet();
  return {
    send: message => port.postMessage(message),
    // Chromium freezes a worker with its last page, before it hears and with its stream open. A message to a page in the
    // back/forward cache has it dropped.
    leave(isHidden) {
      gone.abort();
      port.postMessage({ bye: true });
      port.close();
      release();
      if (isHidden) {
        new BroadcastChannel(name).onmessage = release;
        new BroadcastChannel(name).postMessage(0);
      }
    },
  };
}

function joinLeader(hub, fail) {
  const { key, request } = hub.stream;
  const gone = new AbortController();
  const { locks } = navigator;
  const me = newId();
  let channel, host, release = () => {};
  const send = message => host ? host.hear({ ...message, came: 0 }, me) : channel.postMessage({ ...message, seed: undefined, from: me });
  locks.request(NAME + key, { signal: gone.signal }, () => {
    if (gone.signal.aborted) return;      // Chromium may grant a lock all the same
    host = new Host(request, hub.replica.seed, (message, to) => {
      if (to !== me) channel.postMessage({ ...message, to });
      if (!to || to === me) hub.receive(message);
    });
    channel.postMessage(host.lead);
    hub.greet();
    return new Promise(resolve => { release = resolve });
  }).catch(() => fail());
  channel = new BroadcastChannel(NAME + key);
  channel.onmessage = ({ data }) => {
    if (data.from) host?.hear(data, data.from);
    else if (!host && (!data.to || data.to === me)) hub.receive(data);
  };
  send(hub.greeting);
  return {
    send,
    leave() {
      gone.abort();
      host?.close();
      channel.close();
      release();
    },
  };
}

function beAlone(hub) {
  const host = new Host(hub.stream.request, hub.replica.seed, message => hub.receive(message));
  queueMicrotask(() => host.hear({ ...hub.greeting, came: 0 }));
  return { send: message => host.hear(message), leave: () => host.close() };
}

// The state of a channel, or its members: a map that follows the events.
class LiveMap extends Map {
  #target = new EventTarget();
  #stale = new Set();                     // keys of before a gap
  #accepts;

  constructor(ready, channel, isMembers) {
    super();
    this.ready = ready.then(() => this);
    this.ready.catch(() => {});
    this.#accepts = ({ at }) => at && (at.isShown ? channel === undefined || channel === at.channel : isMembers === !!at.isMember);
  }

  addEventListener(...given) {
    this.#target.addEventListener(...given);
  }

  removeEventListener(...given) {
    this.#target.removeEventListener(...given);
  }

  // The methods below are for the stream.
  take(entry) {
    if (!this.#accepts(entry)) return;
    const { key, isGone, isShown } = entry.at;
    let value = entry.data;
    try { value = JSON.parse(value) } catch {}  // a text
    if (isShown) value = value.data;
    if (key === null) {
      this.count = value;
      return this.#tell(null, value);
    }
    this.#stale.delete(key);
    this.#put(key, isGone ? undefined : value);
  }

  begin(isComplete) {
    this.#stale = new Set(this.keys());
    if (!isComplete) this.complete();
  }

  complete() {
    for (const key of this.#stale) this.#put(key);
    this.#stale.clear();
  }

  // A key moves to the end: all tabs have the same order, that of the events.
  #put(key, value) {
    const previous = this.get(key);
    if (!this.delete(key) && value === undefined) return;
    if (value !== undefined) this.set(key, value);
    this.#tell(key, value, previous);
  }

  #tell(key, value, previous) {
    this.#target.dispatchEvent(Object.assign(new Event('change'), { key, value, previous }));
  }
}

class Hub extends EventTarget {
  readyState = CONNECTING;
  lastEventId = '';
  #bus;
  #settle;
  #isWelcome = false;
  #attempt = 0;                           // since a host was heard
  #maps = new Map();
  #ways;
  #reader;
  #error;
  #drain = () => {};
  #ends = new AbortController();

  constructor(url, {
    signal, worker = SELF.url, headers, body, lastEventId, share, scope, withCredentials,
    method = 'GET', gap = 'gap', position = 'position', start = 0, history = 1e6, key, keepalive,
  } = {}) {
    super();
    this.url = new URL(url, globalThis.document?.baseURI).href;
    this.withCredentials = !!withCredentials;
    const { href, origin } = plain(url);
    // It throws where fetch would do so for each attempt, and names the methods of the standard in upper case.
    ({ method } = new Request(href, { method, headers: typeof headers === 'function' ? {} : headers, body }));
    share ??= method === 'GET' && !headers && !lastEventId;
    if (!share) history = 0;
    const request = { url: href, origin, method, withCredentials: this.withCredentials, gap, position, start, history, key, keepalive };
    this.stream = { key: JSON.stringify([scope, request]), request: { ...request, headers, body }, script: worker };
    this.replica = new Replica(request, lastEventId && { entries: [], last: lastEventId });
    this.ready = new Promise((...settle) => { this.#settle = settle });
    this.ready.catch(() => {});
    for (const type of ['open', 'message', 'error']) {
      this['on' + type] = null;
      this.addEventListener(type, event => this['on' + type]?.(event));
    }
    this.#ways = share ? [joinWorker, joinLeader, beAlone] : [beAlone];
    this.#watchPage();
    this.#join();
    if (signal?.aborted) this.close();
    signal?.addEventListener('abort', () => this.close(), { signal: this.#ends.signal });
  }

  close(status) {
    if (this.readyState === CLOSED) return;
    const error = Object.assign(new Error('closed'), { status });
    if (status !== undefined) this.#error = error;
    this.readyState = CLOSED;
    this.#leave();
    this.#ends.abort();
    this.#settle[1](error);
    this.#drain();
    this.#reader?.();
  }

  state(channel, isMembers = false) {
    const name = `${isMembers} ${channel}`;
    let map = this.#maps.get(name);
    if (!map) {
      this.#maps.set(name, map = new LiveMap(this.ready, channel, isMembers));
      for (const entry of this.replica.state) map.take(entry);
    }
    return map;
  }

  members(channel) {
    return this.state(channel, true);
  }

  // The events from here on. A stream that is not shared is read no faster than they are taken.
  async *[Symbol.asyncIterator]() {
    const queue = [];
    let next = () => {};
    this.#reader = event => {
      if (event) queue.push(event);
      next();
    };
    try {
      for (;;) {
        while (queue.length) yield queue.shift();
        this.#drain();
        if (this.#error) throw this.#error;
        if (this.readyState === CLOSED) return;
        await new Promise(resolve => { next = resolve });
      }
    } finally {
      this.close();
    }
  }

  // The methods below are for the ways to a host.
  get greeting() {
    return { hello: true, ...this.replica.place, seed: this.replica.seed };
  }

  greet() {
    if (!this.#isWelcome) this.#bus?.send(this.greeting);
  }

  receive({ welcome, asked, entries = [], readyState, status, leads, elsewhere }) {
    const { replica } = this;
    this.#attempt = 0;
    if (elsewhere !== undefined && (replica.owner ?? elsewhere) === elsewhere) {
      this.stream.key += elsewhere;
      this.#leave();
      return this.#join();
    }
    if (leads) this.greet();
    // A welcome may be late, and answer what the tab has asked before.
    if (welcome && (asked !== replica.last || this.#isWelcome && asked)) return;
    if (readyState === OPEN && this.readyState === CONNECTING && (welcome || this.#isWelcome)) {
      this.readyState = OPEN;
      this.dispatchEvent(new Event('open'));
    }
    for (const entry of entries) {
      if (this.readyState === CLOSED) return;
      if (welcome || this.#isWelcome && replica.isNext(entry)) this.#deliver(entry);
      else if (this.#isWelcome) {         // others are missing, or the tab is ahead
        this.#isWelcome = false;
        this.greet();
        break;
      }
    }
    if (welcome) {
      this.#isWelcome = true;
      this.lastEventId = welcome.last;
      Object.assign(replica, welcome);
    }
    if (readyState === CLOSED || readyState === CONNECTING && !welcome) this.#fail(readyState, status);
    if (this.#reader && entries.length && this.readyState !== CLOSED) return new Promise(resolve => { this.#drain = resolve });
  }

  #deliver(entry) {
    const { type, data, id } = entry;
    const { gap, position, origin } = this.stream.request;
    const maps = [...this.#maps.values()];
    if (type === gap) for (const map of maps) map.begin(this.replica.isComplete);
    this.replica.add(entry);
    for (const map of maps) map.take(entry);
    this.lastEventId = id;
    if (type === position) {
      for (const map of maps) map.complete();
      this.#settle[0](this);
    }
    if (this.readyState === CLOSED) return;
    const event = type && new MessageEvent(type, { data, lastEventId: id, origin });
    if (event) this.dispatchEvent(event);
    this.#reader?.(event);
    if (id === FINISHED) this.close();
  }

  #fail(readyState, status) {
    if (this.readyState === CLOSED) return;
    if (readyState === CLOSED) this.close(status);
    this.readyState = readyState;
    this.dispatchEvent(Object.assign(new Event('error'), { status }));
  }

  #join() {
    let bus;
    const fail = again => {
      if (bus !== this.#bus) return;      // it has been left
      this.#leave();
      if (!again) this.#ways.shift();
      this.#join();
    };
    this.#isWelcome = false;
    this.#attempt++;
    try {
      bus = this.#bus = this.#ways[0](this, fail);
    } catch {
      return fail();
    }
    // A frozen tab leads; or the worker was killed before it was heard, which Firefox may even connect to again.
    if (this.#ways[1]) setTimeout(() => this.#attempt && fail(this.#attempt % 3), LOOK_EVERY);
  }

  #leave(isHidden) {
    this.#bus?.leave(isHidden);
    this.#bus = undefined;
  }

  // A browser may keep a page that its user has left: its stream ends, and is joined again when the user comes back.
  #watchPage() {
    const { request } = this.stream;
    const on = (type, then) => globalThis.addEventListener?.(type, then, { signal: this.#ends.signal, capture: true });
    on('pagehide', () => isRepeatable(request, this.lastEventId) ? this.#leave(true) : this.#fail(CLOSED, 0));
    on('pageshow', event => {
      if (!event.persisted) return;
      this.readyState = CONNECTING;
      this.#join();
    });
    const renew = () => isRepeatable(request, this.lastEventId) && this.#bus?.send({ call: 'renew' });
    on('online', renew);
    on('resume', renew);                  // Chromium sends a page that was frozen no more of its responses
    on('visibilitychange', () => document.hidden || this.#bus?.send({ call: 'wake' }));
  }
}

Object.assign(Hub.prototype, { CONNECTING, OPEN, CLOSED });

// Opens the stream of a URL.
const connect = (url, options) => new Hub(url, options);

if ('onconnect' in globalThis) serveTabs();

export { connect, Parser };
