// A stream for its tabs: what they say, and what they are sent.

import { now } from '../clock.js';
import { OPEN, CLOSED, FINISHED, MAX_DELAY, newId } from '../messages.js';
import { epochOf } from '../replica.js';
import { Reader } from './reader.js';
import { StreamLog } from './stream_log.js';

export class SharedStream {
  #request;
  #replica;
  #mayRestartUntil;
  #reader;
  #waiting = new Map();
  #isNew;                                 // no head has come
  #isQuiet;                               // nor an event
  #state;                                 // what tabs are told of it; nothing before the first attempt has failed

  // send(message, to): to one tab, or to all. It may begin again, where a tab is that comes: the first to come may have been
  // a new tab, or one that is ahead. A server that sends positions replays what that tab lacks, or a gap. Another one may do
  // neither, and tabs would move the stream to and fro: there it may begin again at first only, when the worker or leader
  // before has ended, and once for each tab.
  constructor(request, seed, send) {
    this.send = send;
    this.#request = request;
    this.#mayRestartUntil = now() + MAX_DELAY;
    this.#begin(seed);
  }

  #begin(seed) {
    this.#reader?.close();
    this.#state = {};
    this.#isNew = this.#isQuiet = true;
    const replica = this.#replica = new StreamLog(this.#request, seed);
    replica.last ??= '';
    replica.mark ??= replica.tag ??= replica.line ??= newId();
    this.#reader = new Reader(this.#request, replica, this);
  }

  close() {
    this.#waiting.clear();
    this.#reader.close();
    this.send = this.onTabMessage = () => {};
  }

  // A new tab waits for an open stream: whether it may read what the others have been sent, the server says, unless the tab
  // came before the request. One whose last id is not known waits, too: the stream may come to it, until it has been flowing,
  // or polls, for two seconds, or its server has ended three, and its state is complete: otherwise tabs would yield to each
  // other for ever.
  onTabMessage(message, from, isLate) {
    const { last, tag, call } = message;
    if (call) {
      this.#reader[call]?.();
      return this.send({}, from);
    }
    const replica = this.#replica;
    const { owner } = replica;
    const { asked } = this.#reader;
    const came = message.came ??= now();
    const user = message.owner ?? owner;
    const isWaiting = this.#waiting.get(from) === message;
    this.#waiting.delete(from);
    if ((owner ?? user) !== user) return this.send({ elsewhere: user }, from);
    // The cookies may be those of another user since the request was made.
    if (owner && !message.owner && asked < came) {
      return this.#reader.findOwner().then(its => {
        if (this.#waiting.has(from)) return;  // it has said hello again
        if (its === owner) this.onTabMessage({ ...message, owner }, from);
        else if (its === undefined && now() - came < MAX_DELAY) throw its;
        else this.send({ elsewhere: its || newId() }, from);  // as far as is known
      }).catch(() => setTimeout(() => this.onTabMessage(message, from), 2000));
    }
    const entries = last === undefined
      ? this.#state.readyState && replica.snapshot()
      : owner === user && replica.since(message, isLate) || isLate && replica.snapshot(last || !replica.hasPositions);
    if (entries) return this.#welcome(tag, entries, from);
    this.#waiting.set(from, message);
    if (isWaiting) return;
    this.#reader.wake();
    this.send(this.#state, from);
    const enough = this.#reader.ends + 2;
    const look = wasReady => {
      if (this.#waiting.get(from) !== message) return;
      // The stream comes to a tab that is ahead of it, unless the hub leaves events out of a replay.
      const isAhead = message.line === replica.line && message.count > replica.count && now() - came < MAX_DELAY;
      // Positions alone would move the stream to and fro between tabs that lack nothing, but have begun apart.
      const isSettled = message.isSettled && this.#isQuiet;
      const isReady = (replica.isComplete !== false || !replica.inState)
        && (this.#reader.ends > enough || this.#state.readyState === OPEN && /flowing|polling/.test(this.#reader.flow));
      // A hub does not know an id that it has not given: it would answer with a gap, and the next tab would move the stream.
      const isOurs = last && last !== replica.last && [undefined, epochOf(last)].includes(message.epoch);
      const mayRestart = isOurs && (replica.hasPositions || came < this.#mayRestartUntil && !message.hasMoved);
      if (!wasReady || !isReady || isAhead || isSettled) setTimeout(look, 2000, isReady);
      else if (mayRestart && !replica.since(message, true)) {
        this.send({ yields: true }, from);
        if (!message.seed) return;
        this.#begin(message.seed);
        this.#answerWaiting();            // before the server answers with a gap
        this.#waiting.clear();
        this.lead();
      } else this.onTabMessage(message, from, true);
    };
    look();
  }

  // Tells all tabs that it has begun.
  lead() {
    this.send({ leads: true });
  }

  #welcome(asked, entries, to) {
    this.send({ welcome: { ...this.#replica }, asked, entries, ...this.#state }, to);
  }

  // The methods below are for the reader.
  events(events) {
    const replica = this.#replica;
    const entries = [];
    for (const event of events) {
      const entry = replica.make(event);
      replica.add(entry);
      entries.push(entry);
      this.#isQuiet &&= !replica.isEvent(entry);
      this.#answerWaiting(entry);         // before a short history has lost it
      if (event.lastEventId === FINISHED) break;
    }
    const taken = this.send({ entries });
    if (replica.last !== FINISHED) return taken;
    this.state(CLOSED);
    this.close();
  }

  state(readyState, status) {
    this.send(this.#state = { readyState, status, reason: this.#request.reason, elsewhere: this.#reader.other });
    if (readyState !== OPEN) return;
    // The head has said whose it is. A tab without a position begins there, but has all of a stream without ids.
    if (this.#isNew) this.#welcome('', this.#replica.since({ last: '' }) ?? this.#replica.snapshot());
    this.#isNew = false;
    this.#answerWaiting();
  }

  // All that wait, or those whose place an entry has reached.
  #answerWaiting(entry) {
    for (const [from, message] of [...this.#waiting]) {
      if (!entry || message.last === entry.prev || message.last === entry.id || message.mark === this.#replica.mark) this.onTabMessage(message, from);
    }
  }
}
