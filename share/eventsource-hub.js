// Server-sent events in a page: a stream that does not give up, one for all tabs, with its state as maps.
// Its manual is EventSource::Browser, of the distribution EventSource-XS.
//
// Each tab has a Hub. A SharedStream reads the stream for all of them: in a SharedWorker; without one in the tab that holds the
// lock of the stream's key, which is elected anew when that tab goes or hangs; without locks in each tab for itself. Both keep
// a Replica of the stream. Its public fields are its place: the id as of which it is, and what that id counts for.
// The messages:
//
// message    from whom to whom      fields                          what follows
// hello      tab to stream          place and seed of the replica;  the welcome, when the stream is open and knows what the
//                                   to a worker key, request, tab   tab lacks; until then its state. elsewhere, if the tab is
//                                                                   of another user. The seed, which a BroadcastChannel has
//                                                                   not, is what a stream begins with
// call       tab to stream          call: 'renew', 'wake', 'ask'    an empty message; the response and the wait for the next
//                                                                   one end, or that wait, or nothing
// bye        tab to worker          bye                             the stream ends if it was the last tab
// alive      worker to tab          alive: the name of a lock       when the tab is granted it, that worker has ended: the tab
//                                                                   joins the next one
// welcome    stream to the tab of   welcome: the place; entries;    a tab that is still where it asked (asked) dispatches the
//            the hello              asked: the id in the hello      entries, takes the place, and follows the stream
// leads      a new stream to all    leads, and those of a welcome   a tab that follows no stream says hello; one that has no
//                                   for tabs without an id          id is welcomed
// entries    stream to all          entries                         a tab that follows dispatches them; it says hello again
//                                                                   if one is not the next after its own
// state      stream to all, and to  readyState, status, way,        the events open, error and transport, and the end. way: why
//            a tab that waits       elsewhere                       it polls. elsewhere: whose cookies ended it; a tab without
//                                                                   an owner joins that stream
// elsewhere  stream to a tab        elsewhere: a user               the tab joins another stream, of that user
// yields     elected tab to a tab   yields; term: the next one      a tab that knows where to resume leads the next term
//
// From a worker they are JSON. In a BroadcastChannel those of tabs have their sender (from), those for one tab its name (to),
// and all have their term.

const SELF = { url: import.meta.url, type: 'module' };
const NAME = 'eventsource-hub 5';         // the number is that of the messages between tabs
const CONNECTING = 0, OPEN = 1, CLOSED = 2;

// The phases of a tab. Beside them readyState is what the page sees: that of the stream.
//
// phase      it                                        what ends it
// away       has no link: its page is hidden, or the   the page is shown again: waiting
//            stream is closed
// waiting    has a link, and says hello                its welcome: following
// following  dispatches entries                        one that is not the next: waiting
// all but away                                         the link fails, elsewhere, a later term: waiting; the page
//                                                      is hidden or frozen, or the stream closed: away
//
// A tab asks when it has a new link, when its page is shown, and every 35 s. No message within LOOK_EVERY: it has a new link,
// of the next term; after three times by the next transport.

const FINISHED = 'eventsource-finished';  // the id of a stream that its server has finished
const MAX_DELAY = 3e4;                    // ms between two attempts, unless Retry-After says more
const LOOK_EVERY = 5e3, ASLEEP = 12e4;    // ms; timers of a page in the background run once a minute
const MUTE_FOR = 3e3;                     // ms without a byte: a proxy may hold the stream back
const OWNER = 'EventSource-Owner';        // the header that says whose stream it is

const { locks } = globalThis.navigator ?? {};

const newId = () => NAME + Math.random() + now();
// The clock of Date may be set back. That of performance may stand still while the machine sleeps.
const now = () => performance.now();

// The second module, when a stream does not come through. Without it there are only streams. It is asked for again, ever later,
// by another URL: Firefox keeps a module that has failed, and a dead connection never answers. If it is late, that is a
// rejection without an error.
let module, loading, loadAt = 0, tries = 0;
async function load() {
  if (!module && now() >= loadAt) {
    loadAt = now() + Math.min(LOOK_EVERY * 2 ** tries, MAX_DELAY);
    loading = new Promise((resolve, reject) => {
      setTimeout(reject, MUTE_FOR);
      const found = tries++ ? import('./eventsource-hub-poll.js?' + tries) : import('./eventsource-hub-poll.js');
      found.then(its => resolve(module = its), reject);
    });
    loading.catch(error => error && tries < 2 && console.warn(error));
  }
  return module ?? loading;
}

// Relative to the page, or to the script of a worker.
const absolute = url => new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);

// A URL as fetch takes it: that of a page may have the name and password of its user.
function plain(url) {
  const target = absolute(url);
  target.hash = target.username = target.password = '';
  return target;
}

// Parses a stream (WHATWG HTML, section 9.2.6). Calls onEvent for each event, and onPosition for an id without an event.
class Parser {
  rest = '';                              // of a line that has not ended
  #skipsLF = false;
  #data = '';
  #type = '';
  #id;
  retry;                                  // ms, as the stream said last
  isState;                                // the state follows, perhaps after a gap
  keepalive;                              // s: a stream that is silent for twice as long does not come through

  constructor(onEvent, lastEventId = '', onPosition = () => {}) {
    Object.assign(this, { onEvent, onPosition });
    this.#id = this.lastEventId = lastEventId;
  }

  // Takes the next characters, wherever they were cut.
  push(text) {
    if (!text) return;
    const end = /\r\n?|\n/g;
    let start = end.lastIndex = this.#skipsLF && text[0] === '\n' ? 1 : 0;
    for (let found; (found = end.exec(text)); start = end.lastIndex) {
      const line = this.rest + text.slice(start, found.index);
      this.rest = '';
      this.#take(line);
    }
    this.rest += text.slice(start);
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
    else if (!field) this.keepalive = /^keepalive (.+)/.exec(value)?.[1] ?? this.keepalive;
  }

  #dispatch() {
    const data = this.#data, type = this.#type || 'message';
    const before = this.lastEventId;
    this.#data = this.#type = '';
    this.lastEventId = this.#id;
    if (data) this.onEvent({ type, data: data.slice(0, -1), lastEventId: this.#id });
    else if (this.#id !== before) this.onPosition(this.#id);
  }
}

// The response to a request, and the next one whenever it ends. Where a stream does not come through, the second module
// replaces fetch, after and doubt.
class Source {
  #timer;
  #attempt = 0;                           // since the last event
  #retry = 1000;
  #abort;
  wake = () => {};                        // ends a wait: the page is shown again
  #isClosed = false;
  #read;                                  // when bytes came last
  #isAsking;                              // the head of the response has not come
  #came = {};                             // of these: the age of the response then, and whether they ended within a line
  #renewed = -LOOK_EVERY;
  #cacheKey = '';                         // once a response has come from a cache: a parameter of each URL
  silences = 0;                           // since bytes came through
  asked;                                  // when the last request was made
  keepalive;                              // as the stream said last

  // on.events(events) may return a promise: no more is read until then. on.state(readyState, status).
  constructor(request, place, on) {
    Object.assign(this, { request, place, lastEventId: place.last, on });
    let looked, flow;                     // by the clock that runs while the machine sleeps
    this.#timer = setInterval(() => {
      const time = Date.now(), before = flow;
      flow = this.flow;
      if (flow === 'mute' && (flow !== before || !this.way)) this.doubt(flow);
      if (time - looked > ASLEEP) this.renew();
      else if (this.silent > this.#patience) this.doubt(true);
      looked = time;
    }, 1000);
    this.#run();
  }

  get silent() {
    return now() - this.#read;
  }

  // How the bytes of the response come. The first keepalive comes after 2 s: what passes on only full buffers holds it back.
  // Such a buffer ends within a line, and the rest of an event that was sent comes late.
  get flow() {
    const { age, isPart } = this.#came;
    if (age >= 0 && (!this.keepalive || age >= 1000 && !isPart)) return 'flowing';
    if (this.silent > (isPart ? 2000 : MUTE_FOR)) return 'mute';
    return isPart ? 'part' : 'unknown';
  }

  close() {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.cut();
    this.wake();
  }

  cut(reason) {
    this.#abort?.abort(reason);
  }

  // ms for which a stream may be silent; NaN until it is known. A proxy may accept a request, and never answer it.
  get #patience() {
    const known = 1000 * (this.request.keepalive ?? 2 * this.keepalive);
    return known || (this.#isAsking && isRepeatable(this.request, this.lastEventId) ? MAX_DELAY : NaN);
  }

  // Ends the response, or the wait for the next one. Several tabs ask for it at once. The connection of a stream that is silent
  // may be dead. That of a hub ended when its last bytes came; another one may have nothing to send.
  renew(isSilent) {
    if (isSilent) this.silences++;
    else if (now() - this.#renewed < LOOK_EVERY) return;
    this.cut(isSilent && this.keepalive && { at: this.#read });
    this.#renewed = this.#read = now();
    this.wake();
  }

  // Of a stream that is silent (true), or mute, or of the end of one.
  async doubt(what) {
    if (what === true) {
      this.renew(true);
      if (this.silences < 2) return;
      what = undefined;
    }
    const module = await load().catch(() => {});
    if (!module || this.#isClosed || what === 'mute' && (this.way || this.flow !== what)) return;
    return module.guide(this, { now, isRepeatable }).doubt(what);
  }

  // Whose stream a page would be sent now; undefined if no answer comes.
  findOwner() {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), this.#patience || MAX_DELAY);
    return this.fetch('HEAD', abort.signal).then(({ headers }) => headers.get(OWNER), error => {
      if (!abort.signal.aborted) throw error;
    });
  }

  // Whether the next request is made at once.
  after(end) {
    if (end.status > 428 || end.status < 1 && end.lasted) this.doubt(end);
  }

  async #run() {
    if (this.request.way) await this.doubt();
    if (!this.way) this.request.way = '';
    while (!this.#isClosed) {
      let status = 0, seconds = 0, began, response;
      try {
        this.asked = this.#read = now();
        this.#came = {};
        this.#abort = new AbortController();
        this.#isAsking = true;
        response = await this.fetch(this.request.method, this.#abort.signal);
        this.#isAsking = false;
        status = response.status;
        if (status === 200 && /^text\/event-stream\b/i.test(response.headers.get('Content-Type'))) {
          const owner = response.headers.get(OWNER) || '';
          status = 0;
          // The cookies are those of another user now.
          if (owner !== (this.place.owner ??= owner)) {
            this.other = owner;
            throw status = 403;
          }
          await this.#follow(response.body, began = now());
          status = undefined;
        } else {
          const after = response.headers.get('Retry-After');
          const sent = Date.parse(response.headers.get('Date')) || Date.now();
          seconds = Math.max(0, +after || (Date.parse(after) - sent) / 1000) || 0;
        }
      } catch {}                          // the network, or the end of this response
      const lasted = now() - began || 0;
      const { aborted, reason } = this.#abort.signal;
      const end = { status, response, seconds, lasted: aborted ? Math.max(0, reason?.at - began) || 0 : lasted };
      this.cut();                         // the rest of a refusal is not read
      if (await this.after(end)) {
        this.#attempt = 0;
        continue;
      }
      if (this.#isClosed) return;
      if (lasted > MAX_DELAY) this.#attempt = 0;
      if (this.#isFinal(status)) {
        this.close();
        return this.on.state(CLOSED, status);  // none, if a stream that is not repeated has ended
      }
      this.on.state(CONNECTING, status || 0);
      await this.#wait(seconds);
    }
  }

  // A hub says its keepalive, and echoes the token of a request: what has another one, or none, comes from a cache.
  async fetch(method, signal, prefer = '') {
    const { url, origin, headers, withCredentials } = this.request;
    const body = method === 'HEAD' ? undefined : this.request.body;
    const all = new Headers(typeof headers === 'function' ? await headers() : headers);
    if (!all.has('Accept')) all.set('Accept', 'text/event-stream');
    // A header takes bytes: those of the id in UTF-8, as the browser's EventSource sends them.
    if (this.lastEventId) all.set('Last-Event-ID', unescape(encodeURIComponent(this.lastEventId)));
    const token = 'request=' + Math.random();
    const isEchoed = this.lastEventId && (prefer || this.keepalive) && method !== 'HEAD';
    // Another origin would be asked whether it allows the header.
    if (prefer || isEchoed || origin === globalThis.origin) all.append('Prefer', prefer + token);
    if (this.#isClosed) this.cut();
    const credentials = withCredentials ? 'include' : 'same-origin';
    const target = url + (this.#cacheKey && this.#cacheKey + token);
    const response = await fetch(target, { method, headers: all, body, credentials, cache: 'no-store', signal });
    const echo = response.headers.get('Preference-Applied') ?? (isEchoed ? '' : token);
    if (this.#cacheKey || response.status !== 200 || echo.includes(token)) return response;
    response.body.cancel();
    this.#cacheKey = (url.includes('?') ? '&' : '?') + 'eventsource-';
    return this.fetch(method, signal, prefer);
  }

  async #follow(body, began) {
    let events = [];
    const take = event => {
      events.push({ ...event, isState: parser.isState });
      parser.isState = undefined;
    };
    // An id without an event is a position for whoever reads the stream next, too.
    const parser = new Parser(take, this.lastEventId, lastEventId => take({ data: '', lastEventId }));
    const decoder = new TextDecoder();
    const reader = body.getReader();
    this.on.state(OPEN);
    for (let part; !(part = await reader.read()).done && !this.#abort.signal.aborted;) {
      this.#read = now();
      parser.push(decoder.decode(part.value, { stream: true }));
      this.#retry = parser.retry ?? this.#retry;
      this.keepalive = parser.keepalive ?? this.keepalive;
      this.#came = { age: now() - began, isPart: !!parser.rest };
      if (this.flow === 'flowing') this.silences = 0;
      if (events.some(({ type }) => type)) this.#attempt = 0;
      this.lastEventId = parser.lastEventId;
      if (!events.length) continue;
      const taken = events;
      events = [];
      this.#read = Infinity;              // as long as they are not taken
      await this.on.events(taken);
      this.#read = now();
    }
  }

  // A refusal that stays one; or a request that may have had its effect, and that its server could not tell from a new one.
  #isFinal(status) {
    if (/^(204|4(?!08|25|29)..)$/.test(status)) return true;
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
  #request;
  #ring = [];
  #state = new Map();
  #size = 0;
  // Its place in the stream: { ...replica }.
  last;                                   // undefined until the tab has been welcomed
  isComplete;                             // whether it has a whole state; false: it will have one again
  inState;                                // the name of the state that is not complete
  owner;                                  // whose stream it is
  line;                                   // what counts together: a gap begins another line
  count = 0;                              // entries with an id of their own
  hasPositions = false;                   // its server sends them, as a hub does

  constructor(request, { entries = [], ...place } = {}) {
    this.#request = request;
    for (const entry of entries) this.add(entry);
    Object.assign(this, place);
  }

  get seed() {
    const state = new Set(this.state);
    for (const entry of this.#ring) state.delete(entry);
    return { entries: [...state, ...this.#ring], ...this };
  }

  get state() {
    return this.#state.values();
  }

  add(entry) {
    const { gap, position, history } = this.#request;
    const { type, data, id, prev, at } = entry;
    const completes = type === position && !this.isComplete;
    this.last = id;
    this.inState = type === position ? undefined : entry.inState;
    this.hasPositions ||= !type || type === position;
    if (id !== prev) this.count++;
    if (completes) this.isComplete = true;
    if (type === gap) {
      this.isComplete &&= false;
      this.line = entry.line;
      this.#ring = [];
      this.#state.clear();
      this.#size = 0;
    } else if (at) {
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

  // A stream without ids before it, and one after a gap, may begin with the state. After another gap come older events, with a
  // position each and the gap's line.
  make({ type, data, lastEventId: id, isState }) {
    const { gap, key } = this.#request;
    const prev = this.last;
    const line = type === gap ? newId() : undefined;
    const inState = line ? isState && line : isState && !prev ? newId() : this.inState;
    const end = this.#ring.at(-1);
    const isNew = inState || this.hasPositions && this.#isEvent({ type }) && this.#isEvent(end);
    return { type, data, id, prev, inState, line: line ?? (isNew ? undefined : end?.line), at: locate(type, data, key) };
  }

  #isEvent({ type } = {}) {
    return type && type !== this.#request.gap && type !== this.#request.position;
  }

  isNext({ type, prev, inState }) {
    return prev === this.last && (!prev || inState === this.inState || type === this.#request.gap);
  }

  // What a tab lacks that is here, in this state; undefined if that is not known. A tab of another line that has an older event
  // was not told of the gap. Late, no position will follow the last event.
  since({ last, inState, line }, isLate) {
    const { position } = this.#request;
    const end = this.#ring.at(-1);
    const isTold = (entry, isSure) => !last || !entry?.line || entry.line === line || this.hasPositions && isSure;
    // An event of the state may have the id of before the gap: a tab that is there may lack it.
    if (inState && this.#ring.some(entry => entry.id === last && entry.prev === last && this.#isEvent(entry))) return;
    if (last === this.last && inState === this.inState) return isTold(end, isLate || !this.#isEvent(end)) ? [] : undefined;
    const from = this.#ring.findLastIndex(({ id, prev, type }) => prev === last && (id !== last || inState && type === position));
    const rest = this.#ring.slice(from);  // there are holes in that of a tab that came late
    const isChain = (entry, i) => (!entry.inState || entry.inState === inState) && (!i || entry.prev === rest[i - 1].id);
    const isWhole = !inState || inState === this.inState || rest.some(({ type }) => type === position);
    const isKnown = from >= 0 && isWhole && isTold(rest[0], this.#isEvent(rest[0]));
    return isKnown && rest.every(isChain) && end.id === this.last ? rest : undefined;
  }

  // What a new tab is given, and one that lacks too much.
  snapshot(hasGap) {
    const { gap, position, start } = this.#request;
    const tail = this.#ring.filter(entry => !entry.at && this.#isEvent(entry)).slice(start || Infinity);
    const kept = new Set([...this.state, ...tail]);
    const entries = this.seed.entries.filter(entry => kept.has(entry));
    const own = { id: this.last, prev: this.last, inState: this.inState };
    if (hasGap) entries.unshift({ type: gap, data: '{"reason":"evicted"}', ...own, line: this.line });
    if (this.isComplete) entries.push({ type: position, data: '', ...own });
    return entries;
  }
}

// Reads a stream for its tabs: in a SharedWorker, in the elected tab, or in the tab itself.
class SharedStream {
  #request;
  #replica;
  #mayRestartUntil;
  #source;
  #waiting = new Map();
  #state;                                 // what tabs are told of it; nothing before the first attempt has failed

  // send(message, to): to one tab, or to all. It may begin again, where a tab is that comes: the first to come may have been a
  // new tab, or one that is ahead. A server that sends positions replays what that tab lacks, or a gap. Another one may do
  // neither, and tabs would move the stream to and fro: there it may begin again at first only, when the worker or leader before
  // has ended.
  constructor(request, seed, send) {
    this.send = send;
    this.#request = request;
    this.#mayRestartUntil = now() + MAX_DELAY;
    this.#begin(seed);
  }

  #begin(seed) {
    this.#source?.close();
    this.#state = {};
    this.#replica = new Replica(this.#request, seed);
    this.#replica.last ??= '';
    this.#replica.line ??= newId();
    this.#source = new Source(this.#request, this.#replica, this);
  }

  close() {
    this.#waiting.clear();
    this.#source.close();
    this.send = this.onTabMessage = () => {};
  }

  // A new tab waits for an open stream: whether it may read what the others have been sent, the server says, unless the tab
  // came before the request. One whose last id is not known waits, too: the stream may come to it, until it has been flowing,
  // or polls, for two seconds, and its state is complete: otherwise tabs would yield to each other for ever.
  onTabMessage(message, from, isLate) {
    const { last, call } = message;
    if (call) {
      this.#source[call]?.();
      return this.send({}, from);
    }
    const replica = this.#replica;
    const { owner } = replica;
    const { asked } = this.#source;
    const came = message.came ??= now();
    const user = message.owner ?? owner;
    const isWaiting = this.#waiting.get(from) === message;
    this.#waiting.delete(from);
    if ((owner ?? user) !== user) return this.send({ elsewhere: user }, from);
    // The cookies may be those of another user since the request was made.
    if (last === undefined && owner && !message.owner && asked < came) {
      return this.#source.findOwner().then(its => {
        if (this.#waiting.has(from)) return;  // it has said hello again
        if (its === owner) this.onTabMessage({ ...message, owner }, from);
        else if (its === undefined && now() - came < MAX_DELAY) throw its;
        else this.send({ elsewhere: its || newId() }, from);  // as far as is known
      }).catch(() => setTimeout(() => this.onTabMessage(message, from), 2000));
    }
    const entries = last === undefined
      ? this.#state.readyState && replica.snapshot()
      : owner === user && replica.since(message, isLate) || isLate && replica.snapshot(true);
    if (entries) return this.#welcome(last, entries, from);
    this.#waiting.set(from, message);
    if (isWaiting) return;
    this.#source.wake();
    this.send(this.#state, from);
    const look = wasReady => {
      if (this.#waiting.get(from) !== message) return;
      // The stream comes to a tab that is ahead of it.
      const isAhead = message.line === replica.line && message.count > replica.count;
      const isFlowing = this.#state.readyState === OPEN && (this.#request.way || this.#source.flow === 'flowing');
      const isReady = isFlowing && !(replica.inState && replica.isComplete === false);
      if (!wasReady || !isReady || isAhead) setTimeout(look, 2000, isReady);
      else if (last && (came < this.#mayRestartUntil || replica.hasPositions) && !replica.since(message, true)) {
        if (message.seed) {
          this.#begin(message.seed);
          this.#answerWaiting();          // before the server answers with a gap
          this.#waiting.clear();
          this.lead();
        } else this.send({ yields: true }, from);
      } else this.onTabMessage(message, from, true);
    };
    look();
  }

  // Tells all tabs that it has begun. One without a position begins there, but has all of a stream without ids.
  lead() {
    this.#welcome('', this.#replica.since({ last: '' }) ?? this.#replica.snapshot(), undefined, true);
  }

  #welcome(asked, entries, to, leads) {
    this.send({ leads, welcome: { ...this.#replica }, asked, entries, ...this.#state }, to);
  }

  // The methods below are for the source.
  events(events) {
    const replica = this.#replica;
    const entries = [];
    for (const event of events) {
      const entry = replica.make(event);
      replica.add(entry);
      entries.push(entry);
      this.#answerWaiting(entry);         // before a short history has lost it
      if (event.lastEventId === FINISHED) break;
    }
    const taken = this.send({ entries });
    if (replica.last !== FINISHED) return taken;
    this.state(CLOSED);
    this.close();
  }

  state(readyState, status) {
    this.send(this.#state = { readyState, status, way: this.#request.way || '', elsewhere: this.#source.other });
    if (readyState === OPEN) this.#answerWaiting();
  }

  // All that wait, or those whose place an entry has reached.
  #answerWaiting(entry) {
    for (const [from, message] of [...this.#waiting]) {
      if (!entry || message.last === entry.prev || message.last === entry.id) this.onTabMessage(message, from);
    }
  }
}

// The streams of a SharedWorker, by their keys.
function serveTabs() {
  const streams = new Map();
  const alive = newId();
  locks?.request(alive, () => new Promise(() => {}));

  const open = ({ key, request, seed }) => {
    const ports = new Set();
    // A tab may still greet a stream that has ended, when another one has its key.
    const forget = () => streams.get(key) === stream && streams.delete(key);
    const send = (message, to) => {
      const data = JSON.stringify(message);  // it is copied for each tab faster than objects are
      for (const port of to ? [to] : ports) port.postMessage(data);
      if (message.readyState === CLOSED) forget();
      // What the server sends meanwhile is read later, as one message: so nothing waits in a worker that is killed.
      return new Promise(resolve => setTimeout(resolve, Math.min(8, message.entries?.length)));
    };
    const stream = new SharedStream(request, seed, send);
    stream.ports = ports;
    stream.leave = port => {
      if (!ports.delete(port) || ports.size) return;
      stream.close();
      forget();
    };
    streams.set(key, stream);
    return stream;
  };

  globalThis.onconnect = ({ ports: [port] }) => {
    let stream;
    port.onmessage = ({ data }) => {
      data.came = now();
      if (data.key) {
        stream = streams.get(data.key) ?? open(data);
        stream.ports.add(port);
        stream.send({ alive }, port);
        if (data.tab) locks?.request(data.tab, () => stream.leave(port));
      }
      if (data.bye) stream?.leave(port);
      else stream?.onTabMessage(data, port);
    };
  };
}

// Holds a lock, once it is granted, until the tab leaves: gone is an AbortController, which has a signal as the options have.
async function hold(name, gone, then) {
  return locks.request(name, gone, () => {
    if (gone.signal.aborted) return;      // Chromium may grant a lock all the same
    then();
    return new Promise(resolve => { gone.signal.onabort = resolve });
  });
}

// The transports: each returns a link to a SharedStream, which has how to send to it and how to leave. It throws, or calls
// fail(), where it does not work; fail(true) for another try.
function linkToWorker(hub, fail) {
  const { key, request, script } = hub;
  const gone = new AbortController();
  const worker = new SharedWorker(plain(script), { type: SELF.type, name: NAME });
  const { port } = worker;
  const name = newId();
  worker.onerror = () => fail();
  port.onmessage = ({ data }) => {
    data = JSON.parse(data);
    // At once, Firefox would connect to the worker that has ended.
    if (data.alive) locks?.request(data.alive, gone, () => setTimeout(fail, 1000, true)).catch(() => {});
    hub.receive(data);
  };
  const greet = tab => port.postMessage({ key, request, tab, ...hub.hello });
  hold(name, gone, () => greet(name)).catch(() => greet());
  return {
    send: message => port.postMessage(message),
    // Chromium freezes a worker with its last page, before it hears and with its stream open. A message to a page in the
    // back/forward cache has it dropped.
    leave(isHidden) {
      gone.abort();
      port.postMessage({ bye: true });
      port.onmessage = worker.onerror = null;  // Chromium keeps both until the page ends
      port.close();
      if (isHidden) {
        new BroadcastChannel(name).onmessage = fail;
        new BroadcastChannel(name).postMessage(0);
      }
    },
  };
}

// Only browsers without SharedWorker elect a tab: the second module has how.
function linkToElectedTab(hub, fail) {
  let link, isLeft;
  load().then(module => isLeft || (link = module.elect(hub, fail, { NAME, newId, hold, SharedStream })))
    .catch(error => error && fail());
  return {
    send: message => link?.send(message),
    leave() {
      isLeft = true;
      link?.leave();
    },
  };
}

function ownStream(hub) {
  const stream = new SharedStream(hub.request, hub.hello.seed, message => hub.receive(message));
  queueMicrotask(() => hub.greet());
  return { send: message => stream.onTabMessage({ ...message, came: 0 }), leave: () => stream.close() };
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
  transport = 'stream';
  way = '';                               // why the stream polls, as the tab was told
  lastEventId = '';
  term = 0;                               // of the elected tab
  #replica;
  #isFollowing;
  #link;                                  // to the shared stream: how to send to it, and how to leave
  #transports;                            // the first one is in use
  #timer;
  #unanswered = 0;                        // links since a message came; 1, too, if the tab has asked
  #settle;
  #maps = new Map();
  #reader;
  #error;
  #drain = () => {};
  #ends = new AbortController();

  constructor(url, {
    signal, worker = SELF.url, headers, body, lastEventId, share, scope, withCredentials,
    method = 'GET', gap = 'gap', position = 'position', start = 0, history = 1e6, key, keepalive,
  } = {}) {
    super();
    this.url = absolute(url).href;
    this.withCredentials = !!withCredentials;
    const { href, origin } = plain(url);
    // It throws where fetch would do so for each attempt, and names the methods of the standard in upper case.
    ({ method } = new Request(href, { method, headers: typeof headers === 'function' ? {} : headers, body }));
    share ??= method === 'GET' && !headers && !lastEventId;
    const request = { url: href, origin, method, withCredentials: this.withCredentials, gap, position, start, history: share ? history : 0, key, keepalive };
    Object.assign(this, { key: JSON.stringify([scope, request]), request: { ...request, headers, body }, script: worker });
    try {                                 // a page may have no storage, and nothing there
      const [way, until] = localStorage[NAME + origin].split(' ');
      if (Date.now() < until) this.request.way = way;
    } catch {}
    this.#replica = new Replica(request, lastEventId && { entries: [], last: lastEventId });
    this.ready = new Promise((...settle) => { this.#settle = settle });
    this.ready.catch(() => {});
    for (const type of ['open', 'message', 'error']) {
      this['on' + type] = null;
      this.addEventListener(type, event => this['on' + type]?.(event));
    }
    this.#transports = share ? [linkToWorker, linkToElectedTab, ownStream] : [ownStream];
    this.#watchPage();
    // A page that is prerendered may never be shown.
    if (!globalThis.document?.prerendering) this.#join();
    else document.addEventListener('prerenderingchange', () => this.#join(), this.#ends);
    if (signal?.aborted) this.close();
    signal?.addEventListener('abort', () => this.close(), this.#ends);
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
      for (const entry of this.#replica.state) map.take(entry);
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

  // The methods below are for the transports.
  get hello() {
    return { ...this.#replica, seed: this.#replica.seed };
  }

  greet() {
    if (!this.#isFollowing) this.#link?.send(this.hello);
  }

  receive({ welcome, asked, entries = [], readyState, status, way, leads, elsewhere }) {
    const replica = this.#replica;
    this.#unanswered = 0;
    if ((way ?? this.way) !== this.way) {
      load(this.way = way).then(module => module.tell(this, NAME)).catch(() => { this.way = 0 });
    }
    if (elsewhere !== undefined && (replica.owner ?? elsewhere) === elsewhere) {
      this.key += elsewhere;
      return this.#join();
    }
    if (leads) this.greet();
    // A welcome may be late, and answer what the tab has asked before.
    if (welcome && asked !== replica.last) return;
    if (welcome || this.#isFollowing) {
      if (readyState === OPEN && this.readyState === CONNECTING) {
        this.readyState = OPEN;
        this.dispatchEvent(new Event('open'));
      }
      for (const entry of entries) {
        if (this.readyState === CLOSED) return;
        if (!welcome && !replica.isNext(entry)) {  // others are missing, or the tab is ahead
          this.#isFollowing = false;
          this.greet();
          break;
        }
        this.#deliver(entry);
      }
    }
    if (this.readyState === CLOSED) return;
    if (welcome) {
      this.#isFollowing = true;
      Object.assign(replica, welcome);
      this.lastEventId = replica.last;
    }
    if (readyState === CLOSED || readyState === CONNECTING && !welcome) this.#fail(readyState, status);
    if (this.#reader && entries.length) return new Promise(resolve => { this.#drain = resolve });
  }

  #deliver(entry) {
    const { type, data, id } = entry;
    const { gap, position, origin } = this.request;
    const maps = [...this.#maps.values()];
    if (type === gap) for (const map of maps) map.begin(this.#replica.isComplete);
    this.#replica.add(entry);
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
    if (readyState === CLOSED) this.close(status);
    this.readyState = readyState;
    this.dispatchEvent(Object.assign(new Event('error'), { status }));
  }

  #join(byNext) {
    let link;
    const fail = again => link === this.#link && this.#join(!again);  // not if it has been left
    this.#leave();
    if (byNext) {
      this.#transports.shift();
      this.#unanswered = 0;
    }
    try {
      link = this.#link = this.#transports[0](this, fail);
    } catch {
      return this.#join(true);
    }
    this.#ask();
  }

  // A message has to come now, whatever the phase. A frozen tab was elected, or the leader hangs; or the worker was killed
  // before it answered, which Firefox may even connect to again.
  #ask(call = 'ask') {
    clearTimeout(this.#timer);
    this.#unanswered ||= 1;
    this.#timer = setTimeout(() => {
      if (!this.#unanswered) this.#timer = setTimeout(() => this.#ask(), MAX_DELAY);
      else {
        this.term++;
        this.#join(this.#unanswered++ > 2);
      }
    }, LOOK_EVERY);
    this.#link.send({ call });
  }

  #leave(isHidden) {
    clearTimeout(this.#timer);
    this.#link?.leave(isHidden);
    this.#link = undefined;
    this.#isFollowing = false;
  }

  // A browser may keep a page that its user has left: its stream ends, and is joined again when the user comes back.
  #watchPage() {
    const { request } = this;
    const on = (type, then) => globalThis.addEventListener?.(type, then, { signal: this.#ends.signal, capture: true });
    on('pagehide', () => isRepeatable(request, this.lastEventId) ? this.#leave(true) : this.#fail(CLOSED, 0));
    on('pageshow', event => {
      if (!event.persisted) return;
      this.readyState = CONNECTING;
      this.#join();
    });
    const renew = () => isRepeatable(request, this.lastEventId) && this.#link?.send({ call: 'renew' });
    on('online', renew);
    // Chromium sends a page that is frozen nothing of its responses, but messages: as a leader it would still answer.
    on('freeze', () => this.#transports[0] === linkToElectedTab && this.#leave());
    on('resume', () => this.#link ? renew() : this.#join());
    on('visibilitychange', () => document.hidden || this.#link && this.#ask('wake'));
  }
}

Object.assign(Hub.prototype, { CONNECTING, OPEN, CLOSED });

// Opens the stream of a URL.
const connect = (url, options) => new Hub(url, options);

// An application's own SharedWorker has another name.
if ('onconnect' in globalThis && globalThis.name === NAME) serveTabs();

export { connect, Parser };
