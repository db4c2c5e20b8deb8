// A tab, as its page sees it: an EventSource that does not give up, with its state as maps.
//
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

import { CONNECTING, OPEN, CLOSED, FINISHED, LOOK_EVERY, MAX_DELAY, NAME, newId } from '../messages.js';
import { Replica } from '../replica.js';
import { isRepeatable } from '../request.js';
import { linkToElectedTab, linkToOwnStream, linkToWorker } from './links.js';
import { LiveMap } from './live_map.js';
import { SELF } from './reader_bundle.js';
import { absolute, plain } from './url.js';
import { Warnings, troubleOf } from './warnings.js';

const REMEMBERED_FOR = 6e5;               // ms: why a stream was polled

// It goes to whoever reads the stream for all tabs.
function assertCloneable(request) {
  try {
    new MessageChannel().port1.postMessage(request);
  } catch {
    throw new TypeError('headers that are a function, and a body that cannot be copied, are for a stream with share: false');
  }
}

export class Hub extends EventTarget {
  readyState = CONNECTING;
  transport = 'stream';
  lastEventId = '';
  term = 0;                               // of the elected tab
  #replica;
  #isFollowing;
  #hasMoved;                              // the stream has begun again for it, since its page was shown
  #isSettled;                             // it lacked nothing when the stream began elsewhere
  #link;                                  // to the shared stream: how to send to it, and how to leave
  #transports;                            // the first one is in use
  #timer;
  #isAnswered;                            // a message has come since the tab asked
  #failures = 0;                          // links in a row on which none has come
  #settle;
  #warnings;
  #maps = new Map();
  #isShown;                               // the hub has said that it shows channels
  #reader;
  #error;
  #drain = () => {};
  #ends = new AbortController();

  constructor(url, {
    signal, worker = SELF.url, headers, body, lastEventId, share, scope, withCredentials,
    method = 'GET', gap = 'gap', position = 'position', start = 0, history = 1e6, state = 16e6, key, keepalive, ...unknown
  } = {}) {
    super();
    this.url = absolute(url).href;
    this.withCredentials = !!withCredentials;
    this.#warnings = new Warnings(this.url);
    for (const name in unknown) this.#warnings.warn(name, `connect has no option ${name}: see EventSource::Browser`);
    const { href, origin } = plain(url);
    // It throws where fetch would do so for each attempt, and names the methods of the standard in upper case.
    ({ method } = new Request(href, { method, headers: typeof headers === 'function' ? {} : headers, body }));
    if (headers && typeof headers !== 'function') headers = [...new Headers(headers)];
    share ??= method === 'GET' && !headers && !lastEventId;
    const request = { url: href, origin, method, withCredentials: this.withCredentials, gap, position, start, history: share ? history : 0, state, key, keepalive };
    // Another request has another stream. Only texts can be compared.
    const content = typeof body === 'string' ? body : body && newId();
    Object.assign(this, { key: JSON.stringify([scope, request, content]), request: { ...request, headers, body, reason: '' }, script: worker });
    if (share) assertCloneable(this.request);
    try {                                 // a page may have no storage, and nothing there
      const [reason, until] = localStorage[NAME + origin].split(' ');
      if (Date.now() < until) this.request.reason = reason;
    } catch {}
    this.#replica = new Replica(request, lastEventId ? { last: lastEventId } : undefined);
    this.ready = new Promise((...settle) => { this.#settle = settle });
    this.ready.catch(() => {});
    for (const type of ['open', 'message', 'error']) {
      this['on' + type] = null;
      this.addEventListener(type, event => this['on' + type]?.(event));
    }
    this.#transports = share ? [linkToWorker, linkToElectedTab, linkToOwnStream] : [linkToOwnStream];
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
      this.#maps.set(name, map = new LiveMap(this.ready, channel, isMembers, this.request.key, this.#warnings));
      for (const entry of this.#replica.state) this.#place(map, entry);
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
    return { ...this.#replica, isSettled: this.#isSettled, hasMoved: this.#hasMoved, seed: this.#replica.seed };
  }

  greet() {
    if (!this.#isFollowing) this.#link?.send(this.hello);
  }

  receive({ welcome, asked, entries = [], readyState, status, reason, leads, yields, elsewhere }) {
    const replica = this.#replica;
    this.#isAnswered = true;
    this.#failures = 0;
    if (reason !== undefined) this.#setReason(reason);
    if (elsewhere !== undefined && (replica.owner ?? elsewhere) === elsewhere) {
      this.key += elsewhere;
      return this.#join();
    }
    if (elsewhere !== undefined) {
      this.#warnings.warn(403, 'it came back as another user\'s stream, so it ends: see "Who reads" in EventSource::Browser');
    }
    this.#hasMoved ||= yields;
    if (leads) this.greet();
    // A welcome may be late, and answer what the tab has asked before. One for all tabs may be another user's.
    if (welcome && (asked !== (asked === '' ? replica.last : replica.tag) || welcome.owner !== (replica.owner ?? welcome.owner))) return;
    if (welcome || this.#isFollowing) {
      if (readyState === OPEN && this.readyState === CONNECTING) {
        this.readyState = OPEN;
        this.#warnings.warn(0);           // from here on the network fails at times
        this.dispatchEvent(new Event('open'));
      }
      for (const entry of entries) {
        if (this.readyState === CLOSED) return;
        if (!welcome && !this.#isNext(entry)) {  // others are missing, or the tab is ahead
          this.#isFollowing = false;
          this.#isSettled = replica.isCurrent;
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
    if (replica.isFull && this.request.state) {
      this.#warnings.warn('state', `its state is larger than ${this.request.state} characters, so the maps lack keys: see "state" in EventSource::Browser`);
    }
    if (readyState === CLOSED || readyState === CONNECTING && !welcome) this.#fail(readyState, status);
    if (this.#reader && entries.length) return new Promise(resolve => { this.#drain = resolve });
  }

  #isNext({ type, prev, inState }) {
    const { last, inState: here } = this.#replica;
    return prev === last && (!prev || inState === here || type === this.request.gap);
  }

  #deliver(entry) {
    const { type, data, id } = entry;
    const { gap, position, origin } = this.request;
    const maps = [...this.#maps.values()];
    if (type === gap) for (const map of maps) map.begin(this.#replica.isComplete);
    this.#replica.add(entry);
    if (entry.isShown !== undefined && !this.#isShown) {
      this.#isShown = true;
      for (const map of maps) map.begin();
    }
    const isDoubtful = !this.#isShown && this.#replica.isEvent(entry) && (entry.inState || this.#replica.isComplete);
    for (const map of maps) {
      this.#place(map, entry);
      if (isDoubtful) map.doubt(entry);
    }
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

  // A hub says at the beginning that it shows channels. An application may push events before that, and no map has these.
  #place(map, entry) {
    if (!this.#isShown || entry.isShown) map.take(entry);
  }

  // Why the stream polls is remembered for other pages, and for the next tab that reads the stream.
  #setReason(reason) {
    const transport = reason ? 'poll' : 'stream';
    this.request.reason = reason;
    if (this.transport === transport) return;
    this.transport = transport;
    try {
      localStorage[NAME + this.request.origin] = `${reason} ${Date.now() + REMEMBERED_FOR}`;
    } catch {}                            // it is full, or the page may have none
    if (reason) this.#warnings.warn(reason, `a proxy lets no stream through (${reason}), so it is polled: see "Proxies" in EventSource::Browser`);
    this.dispatchEvent(Object.assign(new Event('transport'), { transport, reason }));
  }

  #fail(readyState, status) {
    this.#warnings.warn(status, troubleOf(status, readyState === CLOSED));
    if (readyState === CLOSED) this.close(status);
    this.readyState = readyState;
    this.dispatchEvent(Object.assign(new Event('error'), { status }));
  }

  #join(byNext) {
    let link;
    const fail = again => link === this.#link && this.#join(!again);  // not if it has been left
    this.#leave();
    if (byNext && this.#transports.length > 1) {
      this.#transports.shift();
      this.#failures = 0;
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
    this.#isAnswered = false;
    this.#timer = setTimeout(() => {
      if (this.#isAnswered) this.#timer = setTimeout(() => this.#ask(), MAX_DELAY);
      else if (this.#link.isLate) this.#ask();
      else {
        this.term++;
        this.#join(++this.#failures > 2);
      }
    }, LOOK_EVERY);
    this.#link.send({ call });
  }

  #leave(isHidden) {
    clearTimeout(this.#timer);
    this.#link?.leave(isHidden);
    this.#link = undefined;
    this.#isSettled = !isHidden && this.#isFollowing && this.#replica.isCurrent;
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
      this.#hasMoved = false;
      this.#join();
    });
    const renew = () => isRepeatable(request, this.lastEventId) && this.#link?.send({ call: 'renew' });
    on('online', renew);
    // Chromium sends a page that is frozen nothing of its responses, but messages: as a leader it would still answer.
    on('freeze', () => this.#transports[0] === linkToElectedTab && this.#leave(true));
    on('resume', () => this.#link ? renew() : this.#join());
    on('visibilitychange', () => document.hidden || this.#link && this.#ask('wake'));
  }
}

Object.assign(Hub.prototype, { CONNECTING, OPEN, CLOSED });
