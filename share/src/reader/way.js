// The way on which a stream comes to its reader, where a proxy may hold streams back, cut or refuse them.
//
// A poll is the request of the stream with a preference, Prefer: wait=20 (RFC 7240). Its response ends as soon as it has sent
// what the client did not have: then each proxy passes it on. A server that ignores the preference sends a stream.
//
// way     the next request is                       what ends it
// stream  a stream; if others were cut, it is       mute (no byte for 3 s, at first or, if it has said its keepalive, after its
//         renewed shortly before that age           first second; or for 2 s after a part of a line): beside. Silent for twice
//                                                   its keepalive it is renewed, and if that is silent, too (silent), or after
//                                                   two refusals (refused), or three that did not last (cut): trial
// beside  a stream. Polls are made beside this one  the first of both to have bytes: poll (mute), or stream; the server has no
//                                                   room for a poll: trial
// trial   a poll that waits for nothing             an answer: poll; otherwise stream
// poll    a poll, soon after the one before         a stream beside the polls has proved itself, or the server has no room for
//                                                   both, or four polls have failed: stream
//
// Each request has the last id, and of two at the same time only one gives events: no event is lost, none comes twice.

import { now, later } from '../clock.js';
import { isRepeatable } from '../request.js';
import { isFinal, isPoll, isStream } from './requests.js';

const MUTE_FOR = 3e3;                     // ms until the first bytes of a stream that is tried
const LASTS = 1e4;                        // ms: what is cut earlier does not last
const WAIT = 20, SLOW = 5;                // s for which a server keeps a poll; by which its answer may be late
const PAUSE = 200;                        // ms between two polls
const TRY_STREAM_EVERY = 18e4, AT_MOST = 18e5;  // ms
const PROOF_AFTER = 1e3;                  // ms after its first bytes: what comes then was sent later
const NO_POLLS_FOR = 6e5;                 // ms
const RENEWALS = 30;                      // of a stream before its age: then it is looked at anew

const isLike = (age, other) => Math.abs(age - other) < 1e3 + age / 8;

// A proxy that refuses streams, or a server that fails; one that names a time is overloaded.
function isRefusal({ status, response, seconds }) {
  const reason = response?.headers.get('Proxy-Status');
  return /incremental_refused|connection_limit_reached/.test(reason) || status > 499 && !(status === 503 && seconds);
}

export class Way {
  isPolling = false;                      // the current request is a poll
  #reader;
  #way = 'stream';
  #reason = '';                           // why it polls, or tries to
  #noPollsUntil = 0;                      // its server sends streams, whatever is preferred
  #isQuiet;                               // the request was ended here: the next one follows at once
  #timer;                                 // ends the request
  #beside;                                // ends the poll beside a mute stream
  #answer;                                // the response that it has brought
  #probe;                                 // ends the stream beside polls
  #every = TRY_STREAM_EVERY;
  #probeAt = now() + TRY_STREAM_EVERY;    // when that is made
  #provenAt = -Infinity;
  #wait = WAIT;                           // s
  #began;                                 // when a response began, and after which id
  #after;
  #idle = 0;                              // polls in a row that have ended at once, with nothing
  #failures = 0;                          // polls since the last answer
  #refusals = 0;                          // streams since the last one that began
  #ages = [];                             // of the last streams that were cut
  #life;                                  // the age at which streams are cut
  #renewals = 0;

  constructor(reader) {
    this.#reader = reader;
    // The last stream was polled, as a page remembers.
    this.#reason = reader.request.reason;
    if (this.#reason) this.#way = 'poll';
  }

  close() {
    clearTimeout(this.#timer);
    this.#beside?.abort();
    this.#probe?.abort();
  }

  // The stream is mute.
  onMute() {
    if (this.#hasPolls) this.#cut();
    else this.#pollBeside();
  }

  // Nothing has come for too long. A poll has a timer.
  onSilence() {
    if (this.isPolling) return;
    if (this.#hasPolls || this.#reader.silences && this.#tryPolls('silent')) this.#cut();
    else this.#reader.renewSilent();
  }

  // Makes the next request. Returns its response.
  async request(signal) {
    const answer = this.#answer, beside = this.#beside;
    this.#answer = undefined;
    this.#isQuiet = false;
    this.isPolling = this.#hasPolls;
    if (!this.isPolling) {
      this.#way = 'stream';
      if (this.#life) this.#timer = setTimeout(() => this.#renew(), this.#life - Math.max(1e3, this.#life / 10));
      return this.#take(await this.#reader.fetch(signal));
    }
    this.#endSilent();
    if (!answer) return this.#take(await this.#reader.fetch(signal, `wait=${this.#wait}; reason=${this.#reason}, `));
    signal.addEventListener('abort', () => beside.abort());
    return this.#take(answer);
  }

  // Returns true if the next request follows at once.
  async next(end) {
    clearTimeout(this.#timer);
    if (!this.#answer) this.#beside?.abort();
    if (!this.#isQuiet) return this.isPolling ? this.#afterPoll(end) : this.#count(end);
    if (!this.#answer) await later(PAUSE);  // a server that counts streams notices the end of this one
    return true;
  }

  // The next request is a poll.
  get #hasPolls() {
    return this.#way === 'trial' || this.#way === 'poll';
  }

  get #mayPoll() {
    const { request, log } = this.#reader;
    return now() >= this.#noPollsUntil && isRepeatable(request, log.last);
  }

  #tryPolls(reason) {
    if (!this.#mayPoll) return false;
    // After a stream that had proved itself, and did not last, the next one is tried later.
    this.#every = now() - this.#provenAt < AT_MOST ? Math.min(2 * this.#every, AT_MOST) : TRY_STREAM_EVERY;
    this.#probeAt = now() + this.#every;
    this.#way = this.#reader.request.reason === reason ? 'poll' : 'trial';
    this.#reason = reason;
    this.#wait = this.#idle = this.#failures = this.#refusals = 0;
    this.#ages = [];
    return true;
  }

  #cut() {
    this.#isQuiet = true;
    this.#reader.cut();
  }

  // Ends a poll that is silent for longer than it waits. One that brings much may take as long as it needs.
  #endSilent() {
    const rest = (this.#wait + SLOW) * 1e3 - this.#reader.silence;
    if (rest > 0) return this.#timer = setTimeout(() => this.#endSilent(), rest);
    this.#wait = Math.max(1, this.#wait >> 1);
    this.#isQuiet = this.#way !== 'trial';
    this.#reader.cut();
  }

  // A proxy will cut the stream soon.
  #renew() {
    if (++this.#renewals % RENEWALS === 0) this.#life = undefined;
    this.#cut();
  }

  // Learns of the way from a response. The tabs are told of it when the reader is open.
  #take(response) {
    const { request, log } = this.#reader;
    this.#began = now();
    this.#after = log.last;
    if (isPoll(response)) {
      if (this.#way === 'trial') this.#way = 'poll';
      request.reason = this.#reason;
    } else if (isStream(response)) {
      if (this.#hasPolls) {
        this.#noPollsUntil = now() + NO_POLLS_FOR;
        this.#endPolls();
      }
      this.isPolling = false;
      request.reason = '';
    }
    return response;
  }

  #endPolls() {
    this.#way = 'stream';
    this.#reason = '';
  }

  async #afterPoll({ status, seconds }) {
    if (status === undefined) return this.#afterAnswer();
    const isOthers = this.#reader.other !== undefined;
    const isTrial = this.#way !== 'poll';
    if (isTrial && isFinal(status) && !isOthers) this.#noPollsUntil = now() + NO_POLLS_FOR;
    // There is no room for a poll beside the stream that is tried: it is tried in place of polls, and ever later.
    if (status === 429 && this.#probe && !this.#probe.signal.aborted) {
      this.#probe.abort();
      this.#provenAt = now();
      this.#endPolls();
      await later(PAUSE);
      return true;
    }
    this.#failures++;
    if (isTrial || this.#failures > 3) this.#endPolls();
    if (isTrial && isFinal(status)) return !isOthers;
    if (isTrial || seconds || status === 429 || isFinal(status) || this.#failures > 1) return false;
    await later(PAUSE);
    return true;
  }

  async #afterAnswer() {
    const isIdle = this.#reader.log.last === this.#after && now() - this.#began < 500;
    this.#idle = isIdle ? Math.min(this.#idle + 1, 7) : 0;
    this.#failures = 0;
    this.#wait = Math.min(2 * this.#wait || WAIT, WAIT);
    if (now() > this.#probeAt) this.#tryStream();
    await later(PAUSE * 2 ** Math.max(0, this.#idle - 1));
    return true;
  }

  // Counts the failures of streams.
  #count(end) {
    const { status, lasted } = end;
    if (isRefusal(end) && ++this.#refusals > 1) this.#tryPolls('refused');
    if (lasted) this.#refusals = 0;
    if (status !== 0 || !lasted) return false;
    const before = this.#ages.at(-1);
    this.#ages = [...this.#ages.slice(-2), lasted];
    if (lasted >= LASTS && isLike(lasted, before)) this.#life = Math.min(lasted, before);
    if (this.#ages.length === 3 && this.#ages.every(age => age < LASTS)) this.#tryPolls('cut');
    return false;
  }

  // The server may count the stream, and refuse another request beside it: then the stream is given up.
  async #pollBeside() {
    this.#way = 'beside';
    const reader = this.#reader;
    const { asked, log: { last } } = reader;
    const isSame = () => reader.asked === asked && reader.log.last === last && this.#way === 'beside';
    const isMute = () => reader.flow === 'mute' && isSame() && reader.phase !== 'closed';
    for (let pause = 1e3; this.#mayPoll && isMute(); pause *= 2) {
      const beside = this.#beside = new AbortController();
      const timer = setTimeout(() => beside.abort(), SLOW * 1e3);  // its connection may be dead
      try {
        const response = await reader.fetch(beside.signal, 'wait=0; reason=mute, ');
        const answer = isPoll(response) && await begun(response);
        clearTimeout(timer);
        if (!isMute()) return beside.abort();
        if (answer || response.status === 429) {
          this.#tryPolls('mute');
          this.#answer = answer;
          return this.#cut();
        }
        if (isStream(response)) this.#noPollsUntil = now() + NO_POLLS_FOR;
      } catch {}                          // the network, or the end of this request
      beside.abort();
      await later(pause);
    }
    if (isSame()) this.#way = 'stream';
  }

  // Tries a stream beside the polls. Its events are not used.
  async #tryStream() {
    const reader = this.#reader;
    const probe = this.#probe = new AbortController();
    const give = ms => setTimeout(() => probe.abort(), ms);
    let timer = give(MUTE_FOR), isProven = false;
    this.#probeAt = Infinity;
    try {
      const response = await reader.fetch(probe.signal);
      const body = isStream(response) && !isPoll(response) && response.body.getReader();
      for (let began, part; body && !(part = await body.read()).done; began ??= now()) {
        clearTimeout(timer);
        timer = give(2e3 * (reader.keepalive ?? 15) + PROOF_AFTER);
        if (!(now() - began > PROOF_AFTER)) continue;
        isProven = part.value.at(-1) < 14;  // the end of a line: that of a full buffer is within one
        break;
      }
    } catch {}                            // the network, or the end of this request
    clearTimeout(timer);
    probe.abort();
    this.#probeAt = now() + this.#every;
    if (!isProven || !this.#hasPolls || reader.phase === 'closed') return;
    this.#provenAt = now();
    this.#endPolls();
    if (reader.silence > PROOF_AFTER) this.#cut();  // otherwise the poll is about to end, or brings a state
  }
}

// A response whose first bytes have come.
async function begun({ status, headers, body }) {
  const reader = body.getReader();
  let first = await reader.read();
  const read = async () => {
    const part = first ?? await reader.read();
    first = undefined;
    return part;
  };
  return { status, headers, body: { getReader: () => ({ read }) } };
}
