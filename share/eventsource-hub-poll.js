// What eventsource-hub.js does where a proxy holds streams back, cuts or refuses them, and what else few pages need: how tabs
// elect one, and whose stream a page would be sent. It is loaded when it is needed.
//
// A poll is the request of the stream with a preference, Prefer: wait=20 (RFC 7240). Its response ends as soon as it has sent
// what the client did not have: then each proxy passes it on. A server that ignores the preference sends a stream.
//
// the way    the next request is                    what ends it
// stream     a stream; if others were cut, it is    no byte for 3 s, at first or, if it has said its keepalive, after its first
//            renewed shortly before that age        second; or for 2 s after a part of a line: polls are made beside it, and
//                                                   the first to have bytes is the way (mute). Silent for twice its keepalive
//                                                   it is renewed, and if that is silent, too (silent), or after two refusals
//                                                   (refused), or three that did not last (cut): a trial
// trial      a poll that waits for nothing          an answer: polls; otherwise streams again
// poll       a poll, soon after the one before      a stream beside the polls has proved itself, or the server has no room
//                                                   for both; or four polls have failed
//
// Each request has the last id, and of two at the same time only one gives events: no event is lost, none comes twice.

const MUTE_FOR = 3e3;                     // ms until the first bytes of a stream
const LASTS = 1e4;                        // ms: what is cut earlier does not last
const WAIT = 20, SLOW = 5;                // s for which a server keeps a poll; by which its answer may be late
const PAUSE = 200, PAUSE_AFTER_ERROR = 250;  // ms between two polls
const TRY_STREAM_EVERY = 18e4, AT_MOST = 18e5;  // ms
const PROOF_AFTER = 1e3;                  // ms after its first bytes: what comes then was sent later
const REMEMBERED_FOR = 6e5;               // ms
const RENEWALS = 30;                      // of a stream before its age: then it is looked at anew

const later = ms => new Promise(resolve => setTimeout(resolve, ms));
const isStream = ({ status, headers }) => status === 200 && /^text\/event-stream/i.test(headers.get('Content-Type'));
const isPoll = response => isStream(response) && /\bwait=/.test(response.headers.get('Preference-Applied'));
const isLike = (age, other) => Math.abs(age - other) < 1e3 + age / 8;

// A proxy that refuses streams, or a server that fails; one that names a time is overloaded.
function isRefusal({ status, response, seconds }) {
  const reason = response?.headers.get('Proxy-Status');
  return /incremental_refused|connection_limit_reached/.test(reason) || status > 499 && !(status === 503 && seconds);
}

// The way of a source.
class Way {
  #source;
  #tools;
  #ask;                                   // makes a request
  #isClosed = false;
  #reason;                                // why it polls, or tries to; '' for streams
  #noPollsUntil = 0;                      // its server sends streams, whatever is preferred
  #isQuiet;                               // the request was ended here: the next one follows at once
  #timer;                                 // ends the request
  #beside;                                // ends the poll beside a mute stream
  #next;                                  // the response that it has brought
  #trial;                                 // ends the stream beside polls
  #every = TRY_STREAM_EVERY;
  #streamAt;                              // when that is made
  #provenAt = -AT_MOST;
  #isPoll;                                // the current request is one
  #wait = WAIT;                           // s
  #began;                                 // when a response began, and after which id
  #after;
  #idle = 0;                              // polls that have ended at once, with nothing
  #failures = 0;                          // polls since the last answer
  #refusals = 0;                          // streams since the last one that began
  #ages = [];                             // of the last streams that were cut
  #life;                                  // the age at which streams are cut
  #renewals = 0;

  constructor(source, tools) {
    this.#source = source;
    this.#tools = tools;
    // What is remembered counts for the first request.
    if (source.asked && source.request.way) source.request.way = '';
    this.#reason = source.request.way || '';
    this.#streamAt = tools.now() + this.#every;
    const { fetch, close } = source;
    this.#ask = fetch.bind(source);
    source.doubt = what => this.doubt(what);
    source.after = end => this.after(end);
    source.fetch = (method, signal, prefer) => {
      return method === 'HEAD' || prefer !== undefined ? this.#ask(method, signal, prefer) : this.#askNext(method, signal);
    };
    source.close = () => {
      this.#isClosed = true;
      clearTimeout(this.#timer);
      this.#beside?.abort();
      this.#trial?.abort();
      close.call(source);
    };
  }

  // The stream is silent (true), or mute; or it has ended.
  doubt(what) {
    if (what?.lasted >= 0) return this.#count(what);
    if (this.#isPoll || what === undefined) return;  // a poll has a timer
    if (this.#reason) this.#cut();
    else if (what === 'mute') this.#pollBeside();
    else if (this.#source.silences && this.#tryPolls('silent')) this.#cut();
    else this.#source.renew(true);
  }

  // Whether the next request follows at once. A status of undefined is that of a whole response.
  async after(end) {
    clearTimeout(this.#timer);
    if (!this.#next) this.#beside?.abort();
    if (!this.#isQuiet) return this.#isPoll ? this.#afterPoll(end) : this.#count(end);
    if (!this.#next) await later(PAUSE);  // a server that counts streams notices the end of this one
    return true;
  }

  get #mayPoll() {
    const { request, lastEventId } = this.#source;
    return this.#tools.now() >= this.#noPollsUntil && this.#tools.isRepeatable(request, lastEventId);
  }

  #tryPolls(reason) {
    if (!this.#mayPoll) return false;
    const now = this.#tools.now();
    // After a stream that had proved itself, and did not last, the next one is tried later.
    this.#every = now - this.#provenAt < AT_MOST ? Math.min(2 * this.#every, AT_MOST) : TRY_STREAM_EVERY;
    this.#streamAt = now + this.#every;
    this.#reason = reason;
    this.#wait = this.#idle = this.#failures = this.#refusals = 0;
    this.#ages = [];
    return true;
  }

  #cut() {
    this.#isQuiet = true;
    this.#source.cut();
  }

  // All tabs have been told of the polls.
  get #isTold() {
    return this.#source.request.way === this.#reason;
  }

  async #askNext(method, signal) {
    const next = this.#next;
    this.#next = undefined;
    this.#isQuiet = false;
    if (next) {
      this.#endSilent();
      this.#isPoll = true;
      const beside = this.#beside;
      signal.addEventListener('abort', () => beside.abort());
      return this.#take(next);
    }
    const wait = this.#wait;
    this.#isPoll = this.#reason !== '';
    if (!this.#isPoll) {
      if (this.#life) this.#timer = setTimeout(() => this.#renew(), this.#life - Math.max(1e3, this.#life / 10));
      return this.#take(await this.#ask(method, signal));
    }
    this.#endSilent();
    return this.#take(await this.#ask(method, signal, `wait=${wait}; reason=${this.#reason}, `));
  }

  // Ends a poll that is silent for longer than it waits. One that brings much may take as long as it needs.
  #endSilent() {
    const wait = this.#wait;
    const rest = (wait + SLOW) * 1e3 - Math.max(0, this.#source.silent);
    if (rest > 0) return this.#timer = setTimeout(() => this.#endSilent(), rest);
    this.#wait = Math.max(1, wait >> 1);
    this.#isQuiet = this.#isTold;
    this.#source.cut();
  }

  // A proxy will cut the stream soon.
  #renew() {
    if (++this.#renewals % RENEWALS === 0) this.#life = undefined;
    this.#cut();
  }

  // What a response says of the way. The tabs are told of it when the source is open.
  #take(response) {
    const { request, lastEventId } = this.#source;
    this.#began = this.#tools.now();
    this.#after = lastEventId;
    if (isPoll(response)) request.way = this.#reason;
    else if (isStream(response)) {
      if (this.#reason) this.#noPollsUntil = this.#began + REMEMBERED_FOR;
      this.#reason = '';
      this.#isPoll = false;
      if (request.way) request.way = '';
    }
    return response;
  }

  async #afterPoll({ status, seconds }) {
    if (status === undefined) {
      const isIdle = this.#source.lastEventId === this.#after && this.#tools.now() - this.#began < 500;
      this.#idle = isIdle ? Math.min(this.#idle + 1, 7) : 0;
      this.#failures = 0;
      this.#wait = Math.min(2 * this.#wait || WAIT, WAIT);
      if (this.#tools.now() > this.#streamAt) this.#tryStream();
      await later(PAUSE * 2 ** Math.max(0, this.#idle - 1));
      return true;
    }
    const isFinal = status > 399 && status < 500 && ![408, 425, 429].includes(status);
    if (!this.#isTold && isFinal && this.#source.other === undefined) this.#noPollsUntil = this.#tools.now() + REMEMBERED_FOR;
    // There is no room for a poll beside the stream that is tried: it is tried in place of polls, and ever later.
    if (status === 429 && this.#trial && !this.#trial.signal.aborted) {
      this.#trial.abort();
      this.#provenAt = this.#tools.now();
      this.#reason = '';
      await later(PAUSE);
      return true;
    }
    const isTrial = !this.#isTold;
    this.#failures++;
    if (isTrial || this.#failures > 3) this.#reason = '';
    if (isTrial && isFinal) return this.#source.other === undefined;
    if (isTrial || seconds || status === 429 || isFinal || this.#failures > 1) return false;
    await later(PAUSE_AFTER_ERROR);
    return true;
  }

  // Counts the failures of streams.
  #count(end) {
    const { status, lasted } = end;
    if (isRefusal(end) && ++this.#refusals > 1) this.#tryPolls('refused');
    if (lasted) this.#refusals = 0;
    if (status !== 0 || !lasted) return;
    const [before] = this.#ages.slice(-1);
    this.#ages = [...this.#ages.slice(-2), lasted];
    if (lasted >= LASTS && isLike(lasted, before)) this.#life = Math.min(lasted, before);
    if (this.#ages.length === 3 && this.#ages.every(age => age < LASTS)) this.#tryPolls('cut');
  }

  // The server may count the stream, and refuse another request beside it: then the stream is given up.
  async #pollBeside() {
    const source = this.#source;
    const { asked, request, lastEventId } = source;
    const isSame = () => source.asked === asked && source.lastEventId === lastEventId;
    const isMute = () => source.flow === 'mute' && isSame() && !this.#reason && !this.#isClosed;
    for (let pause = 1e3; this.#mayPoll && isMute(); pause *= 2) {
      const beside = this.#beside = new AbortController();
      const timer = setTimeout(() => beside.abort(), SLOW * 1e3);  // its connection may be dead
      try {
        const response = await this.#ask(request.method, beside.signal, 'wait=0; reason=mute, ');
        const next = isPoll(response) && await begun(response);
        clearTimeout(timer);
        if (!isMute()) return beside.abort();
        if (next || response.status === 429) {
          this.#tryPolls('mute');
          this.#next = next;
          return this.#cut();
        }
        if (isStream(response)) this.#noPollsUntil = this.#tools.now() + REMEMBERED_FOR;
      } catch {}                          // the network, or the end of this request
      beside.abort();
      await later(pause);
    }
  }

  // Tries a stream beside the polls. Its events are not used.
  async #tryStream() {
    const source = this.#source;
    const trial = this.#trial = new AbortController();
    const { now } = this.#tools;
    const give = ms => setTimeout(() => trial.abort(), ms);
    let timer = give(MUTE_FOR), isProven = false;
    this.#streamAt = Infinity;
    try {
      const response = await this.#ask(source.request.method, trial.signal, '');
      const reader = isStream(response) && !isPoll(response) && response.body.getReader();
      for (let began, part; reader && !(part = await reader.read()).done; began ??= now()) {
        clearTimeout(timer);
        timer = give(2e3 * (source.keepalive ?? 15) + PROOF_AFTER);
        if (!(now() - began > PROOF_AFTER)) continue;
        isProven = part.value.at(-1) < 14;  // the end of a line: that of a full buffer is within one
        break;
      }
    } catch {}                            // the network, or the end of this request
    clearTimeout(timer);
    trial.abort();
    this.#streamAt = now() + this.#every;
    if (!isProven || !this.#reason || this.#isClosed) return;
    this.#provenAt = now();
    this.#reason = '';
    if (source.silent > PROOF_AFTER) this.#cut();  // otherwise the poll is about to end, or brings a state
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

// Gives a source its way, once.
export function guide(source, tools) {
  return source.way ??= new Way(source, tools);
}

// Tells a page of the way of its stream. It is remembered for other pages and for the next tab that reads the stream.
export function tell(hub, name) {
  const reason = hub.way;                 // it may have changed since the module was asked for
  const transport = reason ? 'poll' : 'stream';
  hub.request.way = reason;
  if (hub.transport === transport) return;
  hub.transport = transport;
  try {
    localStorage[name + hub.request.origin] = `${reason} ${Date.now() + REMEMBERED_FOR}`;
  } catch {}                              // it is full, or the page may have none
  if (reason) {
    console.warn(`${hub.url}: a proxy lets no stream through (${reason}), so it is polled: see "Proxies" in EventSource::Browser`);
  }
  hub.dispatchEvent(Object.assign(new Event('transport'), { transport, reason }));
}

// A tab that has no answer leads the next term, which has a lock of its own. A leader that hangs does not know: when it wakes
// up, tabs of a later term do not hear what it sends, and the first message of a later leader ends it. So no event comes twice.
// Were its lock stolen, tabs could not tell what it sends before it hears of that. Only a leader moves others to its term: were
// they to ask for the lock of that, too, one of them might get it, who knows no more than the leader that has yielded.
export function elect(hub, fail, { NAME, newId, hold, SharedStream }) {
  const { key, request, term } = hub;
  const gone = new AbortController();
  const me = newId();
  let stream;
  const channel = new BroadcastChannel(NAME + key);
  const send = message => stream ? stream.onTabMessage({ ...message, came: 0 }, me) : channel.postMessage({ ...message, seed: undefined, from: me, term });
  hold(NAME + key + term, gone, () => {
    stream = new SharedStream(request, hub.hello.seed, (message, to) => {
      if (to !== me) channel.postMessage({ ...message, to, term: term + !!message.yields });
      if (!to || to === me) hub.receive(message);
    });
    stream.lead();
  }).catch(() => fail());
  channel.onmessage = ({ data }) => {
    if (data.term > term) {
      if (data.from || data.yields && data.to !== me) return;
      hub.term = data.term;
      fail(true);
    } else if (data.from) stream?.onTabMessage(data, data.from);
    else if (data.term === term && !stream && (!data.to || data.to === me)) hub.receive(data);
  };
  send(hub.hello);
  return {
    send,
    leave() {
      gone.abort();
      stream?.close();
      channel.close();
    },
  };
}
