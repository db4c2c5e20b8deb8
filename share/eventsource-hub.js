// Server-sent events in a page: a stream that does not give up, one for all tabs, with its state as maps.
// Its manual is EventSource::Browser, of the distribution EventSource-XS.

const SELF = { url: import.meta.url, type: 'module' };
const NAME = 'eventsource-hub 2';         // the number is that of the messages between tabs
const CONNECTING = 0, OPEN = 1, CLOSED = 2;
const FINISHED = 'eventsource-finished';  // the id of a stream that its server has finished
const MAX_DELAY = 3e4;                    // ms between two attempts, unless Retry-After says more
const LOOK_EVERY = 5e3, ASLEEP = 12e4;    // ms; timers of a page in the background run once a minute

const newId = () => NAME + Date.now() + Math.random();

// Parses a stream (WHATWG HTML, section 9.2.6). Calls onEvent for each event.
class Parser {
  #rest = '';
  #skipsLF = false;
  #data = '';
  #type = '';
  #id;
  retry;                                  // ms, as the stream said last

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
  #renewed = 0;

  // on.events(events) may return a promise: no more is read until then. on.state(readyState, status).
  constructor(request, lastEventId, on) {
    Object.assign(this, { request, lastEventId, on });
    let looked = this.#read = Date.now();
    this.#timer = setInterval(() => {
      const now = Date.now(), silent = now - this.#read;
      if (now - looked > ASLEEP || silent > (request.keepalive || Infinity) * 1000) this.renew();
      looked = now;
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
    if (Date.now() - this.#renewed < LOOK_EVERY) return;
    this.#renewed = this.#read = Date.now();
    this.#abort?.abort();
    this.wake();
  }

  async #run() {
    while (!this.#isClosed) {
      let status = 0, seconds = 0, began = Infinity;
      try {
        const response = await this.#ask();
        status = response.status;
        if (status === 200 && /^text\/event-stream *(;|$)/i.test(response.headers.get('Content-Type'))) {
          status = 0;
          began = Date.now();
          await this.#follow(response.body);
          status = undefined;
        } else {
          const after = response.headers.get('Retry-After');
          seconds = Math.max(0, +after || (Date.parse(after) - Date.now()) / 1000) || 0;
        }
      } catch {}                          // the network, or the end of this response
      this.#abort?.abort();               // the rest of a refusal is not read
      if (this.#isClosed) return;
      if (Date.now() - began > MAX_DELAY) this.#attempt = 0;
      if (this.#isFinal(status)) {
        this.close();
        return this.on.state(CLOSED, status);  // none, if a stream that is not repeated has ended
      }
      this.on.state(CONNECTING, status || 0);
      await this.#wait(seconds);
    }
  }

  async #ask() {
    const { url, method, headers, body, withCredentials } = this.request;
    const all = new Headers(typeof headers === 'function' ? await headers() : headers);
    if (!all.has('Accept')) all.set('Accept', 'text/event-stream');
    // A header takes bytes: those of the id in UTF-8, as the browser's EventSource sends them.
    if (this.lastEventId) all.set('Last-Event-ID', unescape(encodeURIComponent(this.lastEventId)));
    this.#abort = new AbortController();
    if (this.#isClosed) this.#abort.abort();
    this.#read = Date.now();
    const credentials = withCredentials ? 'include' : 'same-origin';
    return fetch(url, { method, headers: all, body, credentials, cache: 'no-store', signal: this.#abort.signal });
  }

  async #follow(body) {
    let events = [];
    const parser = new Parser(event => events.push(event), this.lastEventId);
    const decoder = new TextDecoder();
    const reader = body.getReader();
    this.on.state(OPEN);
    for (let part; !(part = await reader.read()).done;) {
      this.#read = Date.now();
      parser.push(decoder.decode(part.value, { stream: true }));
      this.#retry = parser.retry ?? this.#retry;
      this.lastEventId = parser.lastEventId;
      if (!events.length) continue;
      this.#attempt = 0;
      const taken = events;
      events = [];
      this.#read = Infinity;              // as long as they are not taken
      await this.on.events(taken);
      this.#read = Date.now();
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
// the id before it: so a tab knows whether it is the next one.
class Replica {
  #ring = [];
  #state = new Map();
  #size = 0;
  last;                                   // undefined until the tab has been welcomed
  isComplete;

  constructor(request, seed) {
    this.request = request;
    if (!seed) return;
    for (const entry of seed.entries) this.add(entry);
    this.last = seed.last;
    this.isComplete = seed.isComplete;
  }

  get seed() {
    const kept = new Set(this.#ring);
    const state = [...this.state].filter(entry => !kept.has(entry));
    return { entries: [...state, ...this.#ring], last: this.last, isComplete: this.isComplete };
  }

  get state() {
    return this.#state.values();
  }

  add(entry) {
    const { gap, position, history } = this.request;
    const { type, data, id, prev, at } = entry;
    const completes = type === position && !this.isComplete;
    this.last = id;
    if (completes) this.isComplete = true;
    if (type === gap) {
      this.isComplete = undefined;
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
    if (completes) for (const old of this.#ring) old.isOld = true;  // a state is not history
  }

  make({ type, data, lastEventId: id }) {
    return { type, data, id, prev: this.last, at: locate(type, data, this.request.key) };
  }

  // Returns whether an entry is the next one: false if it was here before, undefined if others are missing. To a tab that has
  // no position yet, its host may have begun anew where another tab was, which is before.
  isNext({ type, id, prev }) {
    if (type === this.request.gap || prev === this.last || !this.last) return true;
    return this.#ring.some(entry => entry.id === id) ? false : undefined;
  }

  // What a tab lacks whose last id is this; undefined if that is not known.
  since(last) {
    if (last === this.last) return [];
    const from = this.#ring.findLastIndex(entry => entry.prev === last && entry.id !== last);
    const rest = this.#ring.slice(from);  // there are holes in that of a tab that came late
    const isChain = ({ prev, isOld }, i) => !isOld && (!i || prev === rest[i - 1].id);
    return from >= 0 && rest.every(isChain) && rest.at(-1).id === this.last ? rest : undefined;
  }

  // What a new tab is given, and one that lacks too much.
  anew(hasGap) {
    const { gap, position, start } = this.request;
    const tail = this.#ring.filter(({ at, type }) => !at && type !== position).slice(start || Infinity);
    const kept = new Set([...this.state, ...tail]);
    const entries = this.seed.entries.filter(entry => kept.has(entry));
    const own = { id: this.last, prev: this.last };
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
    this.#source = new Source(request, this.replica.last, this);
  }

  close() {
    this.#source.close();
    this.#waiting.clear();
    this.send = () => {};
  }

  // A new tab waits for an open stream: whether it may read what the others have been sent, the server says. One whose last
  // id is not known waits, too: the stream may come to it, until it has been open for two seconds.
  hear(message, from, isLate) {
    const { hello, last, call } = message;
    if (call) this.#source[call]();
    if (!hello) return;
    const { replica } = this;
    const entries = last === undefined
      ? this.#state !== CONNECTING && replica.anew()
      : replica.since(last) || isLate && replica.anew(true);
    if (entries) {
      this.#waiting.delete(from);
      return this.send({ welcome: replica.last, last, entries, readyState: this.#state }, from);
    }
    if (this.#waiting.get(from) === message) return;
    this.#waiting.set(from, message);
    this.#source.wake();
    this.send(this.#lost, from);
    const came = Date.now();
    const look = isOpen => {
      if (this.#waiting.get(from) !== message) return;
      if (!isOpen || this.#state !== OPEN) setTimeout(look, 2000, this.#state === OPEN);
      else if (!this.begin(message, came)) this.hear(message, from, true);
    };
    look();
  }

  // The methods below are for the source.
  events(events) {
    const entries = [];
    for (const event of events) {
      const entry = this.replica.make(event);
      this.replica.add(entry);
      entries.push(entry);
      if (event.lastEventId === FINISHED) break;
    }
    const taken = this.send({ entries });
    this.#hearWaiting();
    if (this.replica.last !== FINISHED) return taken;
    this.state(CLOSED);
    this.close();
  }

  state(readyState, status) {
    this.#state = readyState;
    this.#lost = readyState === CONNECTING ? { readyState, status } : {};
    this.send({ readyState, status });
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
    const began = Date.now();
    const ports = new Set();
    const send = (message, to) => {
      const data = JSON.stringify(message);  // it is copied for each tab faster than objects are
      for (const port of to ? [to] : ports) port.postMessage(data);
      if (message.readyState === CLOSED) hosts.delete(key);
      // What the server sends meanwhile is read later, as one message: so nothing waits in a worker that is killed.
      return new Promise(resolve => setTimeout(resolve, Math.min(8, message.entries?.length)));
    };
    // When the worker before has ended, the first to come may be a new tab, or one that is ahead: then the others say where
    // to resume.
    const begin = ({ last, seed }, came) => {
      if (!last || came - began > MAX_DELAY) return;
      stream.host.close();
      stream.host = new Host(request, seed, send, begin);
      send({ leads: true });
      return true;
    };
    const stream = {
      ports,
      host: new Host(request, seed, send, begin),
      leave(port) {
        if (!ports.delete(port) || ports.size) return;
        stream.host.close();
        if (hosts.get(key) === stream) hosts.delete(key);
      },
    };
    hosts.set(key, stream);
    return stream;
  };

  globalThis.onconnect = ({ ports: [port] }) => {
    let stream;
    port.onmessage = ({ data }) => {
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
  const worker = new SharedWorker(script, { type: SELF.type, name: NAME });
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
  const send = message => host ? host.hear(message, me) : channel.postMessage({ ...message, seed: undefined, from: me });
  locks.request(NAME + key, { signal: gone.signal }, () => {
    if (gone.signal.aborted) return;      // Chromium may grant a lock all the same
    host = new Host(request, hub.replica.seed, (message, to) => {
      if (to !== me) channel.postMessage({ ...message, to });
      if (!to || to === me) hub.receive(message);
    });
    channel.postMessage({ leads: true });
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
  queueMicrotask(() => host.hear(hub.greeting));
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

  constructor(url, { signal, worker = SELF.url, headers, body, lastEventId, share, scope, ...rest } = {}) {
    super();
    const { href, origin } = new URL(url, globalThis.document?.baseURI);
    this.url = href;
    const request = { method: 'GET', gap: 'gap', position: 'position', start: 0, history: 1e6, ...JSON.parse(JSON.stringify(rest)), url: href, origin };
    // It throws where fetch would do so for each attempt.
    new Request(href, { method: request.method, headers: typeof headers === 'function' ? {} : headers, body });
    this.withCredentials = !!request.withCredentials;
    share ??= request.method === 'GET' && !headers && !lastEventId;
    if (!share) request.history = 0;
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
    const { last, seed } = this.replica;
    return { hello: true, last, seed };
  }

  greet() {
    if (!this.#isWelcome) this.#bus?.send(this.greeting);
  }

  receive({ welcome, last, entries = [], readyState, status, leads }) {
    this.#attempt = 0;
    if (leads) this.greet();
    // A welcome may be late, and answer what the tab has asked before.
    if (welcome !== undefined && (this.#isWelcome || last !== this.replica.last)) return;
    if (readyState === OPEN && this.readyState === CONNECTING) {
      this.readyState = OPEN;
      this.dispatchEvent(new Event('open'));
    }
    for (const entry of entries) {
      if (this.readyState === CLOSED) return;
      const isNext = welcome !== undefined || this.#isWelcome && this.replica.isNext(entry);
      if (isNext) this.#deliver(entry);
      else if (isNext === undefined) {    // others are missing
        this.#isWelcome = false;
        this.greet();
        break;
      }
    }
    if (welcome !== undefined) {
      this.#isWelcome = true;
      this.replica.last = this.lastEventId = welcome;
    }
    if (readyState === CLOSED || readyState === CONNECTING && welcome === undefined) this.#fail(readyState, status);
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
    const event = new MessageEvent(type, { data, lastEventId: id, origin });
    this.dispatchEvent(event);
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
    const on = (type, then) => globalThis.addEventListener?.(type, then, { signal: this.#ends.signal });
    on('pagehide', () => isRepeatable(request, this.lastEventId) ? this.#leave(true) : this.#fail(CLOSED, 0));
    on('pageshow', event => {
      if (!event.persisted) return;
      this.readyState = CONNECTING;
      this.#join();
    });
    on('online', () => isRepeatable(request, this.lastEventId) && this.#bus?.send({ call: 'renew' }));
    on('visibilitychange', () => document.hidden || this.#bus?.send({ call: 'wake' }));
  }
}

Object.assign(Hub.prototype, { CONNECTING, OPEN, CLOSED });

// Opens the stream of a URL.
const connect = (url, options) => new Hub(url, options);

if ('onconnect' in globalThis) serveTabs();

export { connect, Parser };
