// Reads a stream, and the next one whenever it ends. Way says which request is the next.
//
// phase    the reader                                   what ends it
// idle     has made no request                          the first one: asking
// asking   waits for the head of a response             that of a stream: reading; another one, or none in time: pausing
// reading  takes the bytes of a stream                  its end, or a silence: pausing
// pausing  waits, if the next request is not made at    the pause is over, or somebody wakes it: asking
//          once
// closed   makes no request
//
// flow     the bytes of the response
// unknown  say nothing yet
// flowing  come when they are sent
// part     ended within a line: a buffer may hold back the rest
// mute     do not come
// polling  are those of a poll

import { now } from '../clock.js';
import { CONNECTING, OPEN, CLOSED, LOOK_EVERY, MAX_DELAY } from '../messages.js';
import { Parser } from '../parser.js';
import { isRepeatable } from '../request.js';
import { Requests, isFinal, isStream } from './requests.js';
import { Way } from './way.js';

const ASLEEP = 12e4;                      // ms; timers of a page in the background run once a minute
const MUTE_FOR = 3e3, MUTE_AFTER_PART = 2e3;  // ms without a byte: a proxy may hold the stream back
const FLOWS_AFTER = 1e3;                  // ms: the first keepalive comes after 2 s
const WORD = 'eventsource-hub';           // the type of the event by which a hub says what publishers cannot
const OWNER = 'EventSource-Owner';        // the header that says whose stream it is

export class Reader {
  phase = 'idle';
  ends = 0;                               // of whole streams
  silences = 0;                           // streams in a row that were silent for too long
  asked;                                  // when the last request was made
  keepalive;                              // s, as the stream said last
  other;                                  // another user, whose stream has come
  wake = () => {};                        // ends a pause: the page is shown again
  #requests;
  #way;
  #timer;
  #abort;
  #attempt = 0;                           // since the last event
  #retry = 1000;                          // ms
  #heard;                                 // when bytes came last, or were asked for
  #isTaking;                              // the events are being taken: no more is read until then
  #age;                                   // ms after the head, of the last bytes
  #rest;                                  // of a line in which these ended
  #renewed = -Infinity;                   // when somebody asked for another response

  // on.events(events) may return a promise: no more is read until then. on.state(readyState, status).
  constructor(request, log, on) {
    Object.assign(this, { request, log, on });
    this.#requests = new Requests(request);
    this.#way = new Way(this);
    this.#watch();
    this.#run();
  }

  // ms for which nothing has come that is waited for.
  get silence() {
    const isWaiting = this.phase === 'asking' || this.phase === 'reading' && !this.#isTaking;
    return isWaiting ? now() - this.#heard : 0;
  }

  // A buffer that passes on only when it is full holds the first keepalive back. It ends within a line, and the rest of an
  // event that was sent comes late.
  get flow() {
    if (this.#way.isPolling) return 'polling';
    if (this.#age >= 0 && (!this.keepalive || this.#age >= FLOWS_AFTER && !this.#rest)) return 'flowing';
    if (this.silence > (this.#rest ? MUTE_AFTER_PART : MUTE_FOR)) return 'mute';
    return this.#rest ? 'part' : 'unknown';
  }

  close() {
    this.phase = 'closed';
    clearInterval(this.#timer);
    this.#way.close();
    this.cut();
    this.wake();
  }

  cut(reason) {
    this.#abort?.abort(reason);
  }

  fetch(signal, preference) {
    return this.#requests.make(this.request.method, signal, this.log.last, preference, this.keepalive);
  }

  // Whose stream a page would be sent now; undefined if no answer comes.
  findOwner() {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), Math.min(this.#patience, MAX_DELAY));
    return this.#requests.make('HEAD', abort.signal, this.log.last).then(({ headers }) => headers.get(OWNER), error => {
      if (!abort.signal.aborted) throw error;
    });
  }

  // Ends the response, or the pause. Several tabs ask for it at once.
  renew() {
    if (now() - this.#renewed < LOOK_EVERY) return;
    this.#renewNow();
  }

  // Ends a response that is silent: its connection may be dead. That of a hub ended when its last bytes came; another stream
  // may have nothing to send.
  renewSilent() {
    this.silences++;
    this.#renewNow(this.keepalive && { at: this.#heard });
  }

  #renewNow(reason) {
    this.cut(reason);
    this.#renewed = this.#heard = now();
    this.wake();
  }

  // ms for which nothing may come. A proxy may accept a request, and never answer it.
  get #patience() {
    const seconds = this.request.keepalive || 2 * this.keepalive;
    if (seconds) return seconds * 1000;
    return this.phase === 'asking' && isRepeatable(this.request, this.log.last) ? MAX_DELAY : Infinity;
  }

  // By the clock that runs while the machine sleeps.
  #watch() {
    let looked = Date.now(), before;
    this.#timer = setInterval(() => {
      const time = Date.now(), { flow } = this;
      if (flow === 'mute' && flow !== before) this.#way.onMute();
      if (time - looked > ASLEEP) this.renew();
      else if (this.silence > this.#patience) this.#way.onSilence();
      looked = time;
      before = flow;
    }, 1000);
  }

  async #run() {
    while (this.phase !== 'closed') {
      const end = await this.#read();
      if (this.phase === 'closed') return;
      this.cut();                         // the rest of a refusal is not read
      const isAtOnce = await this.#way.next(end);
      if (this.phase === 'closed') return;
      if (isAtOnce || end.isLong) this.#attempt = 0;
      if (isAtOnce) continue;
      if (this.#isFinal(end)) {
        this.close();
        return this.on.state(CLOSED, end.status);
      }
      this.on.state(CONNECTING, end.status || 0);
      await this.#pause(end.seconds);
    }
  }

  // Makes a request, and reads its response. Returns how that ended: the status of a refusal, 0 if the network failed, none
  // after a whole stream; the seconds of Retry-After; for how long the stream has lasted, if that says how long streams last.
  async #read() {
    const end = { status: 0, seconds: 0 };
    let began;
    this.asked = this.#heard = now();
    this.#age = this.#rest = undefined;
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.phase = 'asking';
    try {
      const response = end.response = await this.#way.request(signal);
      if (isStream(response)) {
        this.#checkOwner(response, end);
        began = now();
        await this.#follow(response.body, began);
        end.status = undefined;
        this.ends++;
      } else {
        end.status = response.status;
        end.seconds = secondsOf(response.headers);
      }
    } catch {}                            // the network, or the end of this response
    if (this.phase !== 'closed') this.phase = 'pausing';
    end.isLong = now() - began > MAX_DELAY;
    const ended = signal.aborted ? signal.reason?.at : now();
    if (ended > began) end.lasted = ended - began;
    return end;
  }

  // The cookies may be those of another user now.
  #checkOwner({ headers }, end) {
    const owner = headers.get(OWNER) || '';
    if (owner === (this.log.owner ??= owner)) return;
    this.other = owner;
    end.status = 403;
    throw new Error(owner);
  }

  async #follow(body, began) {
    let events = [];
    const word = {}, { last } = this.log;
    const { gap } = this.request;
    const take = event => {
      if (event.type === WORD) {
        try { Object.assign(word, JSON.parse(event.data)) } catch {}  // another server's
        return;
      }
      const { hasId } = parser;
      // The state comes to a client without an id, and after a gap. The hub does not know yet whether the last one is known.
      events.push({ ...event, hasId, isState: word.state && (!last || event.type === gap), isShown: word.show_channel && hasId });
      word.state = undefined;
    };
    // An id without an event is a position for whoever reads the stream next, too.
    const parser = new Parser(take, last, lastEventId => take({ data: '', lastEventId }));
    const decoder = new TextDecoder();
    const reader = body.getReader();
    const { signal } = this.#abort;
    this.phase = 'reading';
    this.on.state(OPEN);
    for (let part; !(part = await reader.read()).done && !signal.aborted;) {
      this.#heard = now();
      parser.push(decoder.decode(part.value, { stream: true }));
      this.#retry = parser.retry ?? this.#retry;
      this.keepalive = parser.keepalive ?? this.keepalive;
      this.#age = now() - began;
      this.#rest = parser.rest;
      if (/flowing|polling/.test(this.flow)) this.silences = 0;
      if (events.some(({ type }) => type)) this.#attempt = 0;
      if (!events.length) continue;
      const taken = events;
      events = [];
      this.#isTaking = true;
      await this.on.events(taken);
      this.#isTaking = false;
      this.#heard = now();
    }
  }

  // A refusal that stays one; or a request that may have had its effect, and that its server could not tell from a new one.
  #isFinal({ status }) {
    return isFinal(status) || !isRepeatable(this.request, this.log.last) && status !== 429 && status !== 503;
  }

  // Jittered, so that the clients of a server that was away do not come back at once.
  #pause(seconds) {
    const least = Math.max(this.#retry, this.#attempt && 100);
    const backoff = Math.min(Math.max(MAX_DELAY, least), least * 2 ** this.#attempt++);
    const delay = Math.max(backoff * (1 + Math.random() / 2), seconds * 1000 * (1 + Math.random() / 10));
    return new Promise(resolve => {
      const timer = setTimeout(resolve, Math.min(delay, 2e9));
      this.wake = () => {
        if (seconds && this.phase !== 'closed') return;
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function secondsOf(headers) {
  const after = headers.get('Retry-After');
  const sent = Date.parse(headers.get('Date')) || Date.now();
  return Math.max(0, +after || (Date.parse(after) - sent) / 1000) || 0;
}
