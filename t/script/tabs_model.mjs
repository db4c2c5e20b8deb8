// A random model of tabs that share a stream: node tabs_model.mjs SCRIPT FIRST-SEED SEEDS
//
// The script, as script_app serves it, runs once for each tab and worker, in a browser and on a network whose clock, order and
// delays a seed decides: workers and leading tabs are killed, or hang and wake up, pages come to the back/forward cache and return,
// connections are cut or die, the hub restarts without its history, another channel of it is busy, heads, locks and the state come
// slowly, the clock is set, and other users log in. Each tab is compared with the log of the hub: it has each event of its user
// once and in order, or is told of a gap; its map is the state of the hub as of its position. While nothing hinders it, it has all
// within seconds. The model prints a line for each seed that fails, and the counts of all.

import {readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';

const [script, first, count] = process.argv.slice(2);
const IN_PLACE = [['import(', 'importBundle('], ['import.meta.url', '"http://localhost/hub.js"'], ['query:""', 'query:"?reader&v=1"']];
const read = path => IN_PLACE.reduce((text, given) => text.replaceAll(...given), readFileSync(path, 'utf8').replace(/^\/\/.*$/gm, ''));
// Runs a module in a scope, where what it exports is an object then.
const within = (path, object) => new Function('globalThis', `with (globalThis) {${read(path).replace(/export(\{.*\});?\s*$/, (_, list) => {
  return `${object}=${list.replace(/([\w$]+) as (\w+)/g, '$2:$1')}`;
})}}`);
const run = within(script, 'EventSourceHub');
const runReader = within(script.replace(/[.]js$/, '-reader.js'), 'bundle');
const BUFFER = 300;                       // bytes, of a proxy
const settled = () => new Promise(resolve => setImmediate(resolve));

// mulberry32: the same numbers for the same seed.
function randomOf(seed) {
  const next = () => {
    seed = seed + 0x6D2B79F5 | 0;
    let mixed = Math.imul(seed ^ seed >>> 15, 1 | seed);
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  };
  const below = count => Math.floor(next() * count);
  return {next, below, chance: share => next() < share, pick: list => list[below(list.length)]};
}

// What happens, by the time at which it does.
class Schedule {
  #tasks = [];
  #count = 0;
  now = 0;

  // Runs a task after so many ms, unless its process has ended then; that of a process that is frozen or hangs waits. Those of
  // one source run in order.
  after(ms, process, task, source = {}) {
    const entry = {at: this.now + Math.max(0, +ms || 0), order: this.#count++, process, task, source};
    this.#insert(entry);
    return entry;
  }

  #insert(entry) {
    const tasks = this.#tasks;
    let low = 0, high = tasks.length;
    while (low < high) {
      const middle = low + high >> 1;
      const other = tasks[middle];
      if (other.at > entry.at || other.at === entry.at && other.order > entry.order) low = middle + 1;
      else high = middle;
    }
    tasks.splice(low, 0, entry);
  }

  async until(time) {
    await settled();
    while (this.#tasks.length && this.#tasks.at(-1).at <= time) {
      const entry = this.#tasks.pop();
      this.now = Math.max(this.now, entry.at);
      const {process, task, source} = entry;
      if (entry.isCancelled || process?.isDead) continue;
      if (source.due > this.now) {
        this.#insert(Object.assign(entry, {at: source.due, order: this.#count++}));
        continue;
      }
      if (process?.isFrozen || process?.hangs) process.waiting.push(entry);
      else {
        task();
        await settled();
      }
    }
    this.now = Math.max(this.now, time);
  }
}

// The hub, as far as a stream shows it: epochs, ids, history, state, gaps, positions, also in the place of a keepalive; a rare
// channel, whose history keeps all; and another channel (isElsewhere), to which no stream is subscribed.
class Server {
  epoch = 1;
  logs = new Map([[1, []]]);  // of each epoch: events, with their numbers within it
  #own = [];          // the numbers of the events of streams
  lost = 0;           // the last number that the history has not
  streams = new Set();
  requests = 0;

  constructor(schedule, random, hasState, kept, hasIds) {
    Object.assign(this, {schedule, random, hasState, kept, hasIds});
  }

  get log() { return this.logs.get(this.epoch) }
  get last() { return this.log.length }
  id(seq) { return `${this.epoch}-${seq}` }

  // The events of streams after a number.
  after(seq, epoch = this.epoch) { return this.logs.get(epoch).slice(seq).filter(({isElsewhere}) => !isElsewhere) }

  publish(event) {
    this.log.push({...event, seq: this.last + 1});
    if (event.isElsewhere) return;
    this.#own.push(this.last);
    this.lost = this.#own.at(-1 - this.kept) ?? 0;
    for (const stream of [...this.streams]) {
      stream.send(this.text(this.log.at(-1), stream.user));
      if (stream.isPoll) stream.finish();
    }
  }

  // idOf returns the line with the id of another server. A name is an id of the application, behind which the hub sends its own.
  text({seq, key, isForgotten, name, count}, user) {
    const id = this.id(seq);
    if (count !== undefined) return `event: count\ndata: ${count}\nid: ${id}\n\n`;
    if (this.idOf) return `data: ${seq}\n${this.idOf(seq)}\n`;
    if (name) return `data: ${user}\nid: ${name}\n\nid: ${id}\n\n`;
    if (!this.hasIds) return `data: ${JSON.stringify({id, key, user})}\n\n`;
    if (key === undefined) return `data: ${user}\nid: ${id}\n\n`;
    const data = JSON.stringify({channel: 'c', key, ...isForgotten ? {forget: true} : {data: id}});
    return `data: ${data}\nid: ${id}\n\n`;
  }

  // The newest event of each key as of a number.
  state(through = this.last, epoch = this.epoch) {
    const newest = new Map();
    for (const event of this.logs.get(epoch).slice(0, through).filter(({key}) => key !== undefined)) {
      newest.delete(event.key);
      if (!event.isForgotten) newest.set(event.key, event);
    }
    return [...newest.values()];
  }

  restart() {
    this.logs.set(++this.epoch, []);
    this.#own = [];
    this.lost = 0;
    for (const stream of this.streams) stream.cut();
  }

  // The bytes with which a stream begins.
  begin(lastId, user) {
    const shows = this.hasState ? this.word('{"show_channel":"data"}') : '';
    return (this.keepalive ? `:\nkeepalive: ${this.keepalive}\n\n` : '') + shows + this.greet(this.replay(lastId, user), user);
  }

  // A handler has pushed an event with an id of its own, which no position replaces.
  greet(replay, user) {
    if (!this.greeting && !this.isSilent) return replay;
    const greeting = this.greeting ? `data: ${user}\nid: ${this.greeting}\n\n` : '';
    return greeting + replay.replace(/^(retry: 100|event: position\ndata)\nid: .*/gm, '$1');
  }

  word(data) {
    return `event: eventsource-hub\ndata: ${data}\n\n`;
  }

  // What is due to a stream. A poll ends when it has sent what its client had not, or in time.
  start(stream, lastId, wait) {
    stream.send(this.begin(lastId, stream.user));
    if (this.keepalive) this.keepAlive(stream, wait === undefined ? 2 : this.keepalive);
    if (wait === undefined) return;
    stream.isPoll = true;
    const [, epoch, seq] = /^(\d+)-(\d+)$/.exec(lastId ?? '') ?? [];
    if (!wait || +epoch !== this.epoch || this.after(+seq).length) stream.finish();
    else this.schedule.after(wait * 1000 * (1 - this.random.next() / 4), null, () => stream.finish(this.position(stream)));
  }

  // The first one comes early.
  keepAlive(stream, seconds) {
    this.schedule.after(seconds * 1000, null, () => {
      if (!this.streams.has(stream)) return;
      stream.send(this.position(stream) || ':\n\n');
      this.keepAlive(stream, this.keepalive);
    });
  }

  // The block that says how far a stream is, if its client does not know.
  position(stream) {
    const id = this.id(this.last);
    return !this.hasIds || this.isSilent || stream.lastId === id ? '' : `${this.hasState ? 'event: position\ndata\n' : ''}id: ${id}\n\n`;
  }

  replay(lastId, user) {
    if (this.first) {                     // another server replays
      return this.first + (lastId ? this.after(+lastId).map(event => this.text(event, user)).join('') : '');
    }
    if (!this.hasIds) return 'retry: 100\n\n';
    const position = this.hasState ? `event: position\ndata\nid: ${this.id(this.last)}\n\n` : '';
    const [, epoch, seq, reported] = /^(\d+)-(\d+)-?(\d+)?/.exec(lastId ?? '') ?? [];
    const isOurs = +epoch === this.epoch && +seq <= this.last;
    const isKnown = isOurs && reported !== '0';
    this.hasGapAgain ||= isOurs && !isKnown;
    const missed = isKnown && this.after(+seq).map(event => this.text(event, user)).join('');
    if (isKnown && +seq >= this.lost) return `retry: 100\nid: ${this.id(seq)}\n\n${missed}${position}`;
    const word = this.word('{"state":true}');
    const state = word + 'retry: 100\n\n';
    const gap = lastId ? 'event: gap\ndata: {"reason":"evicted"}\n' : '';
    if (this.hasState && gap && this.hasLaterState) {
      const id = `id: ${this.id(this.last)}-0`;
      const all = this.state().map(event => this.text(event, user)).join('');
      return `retry: 100\n${id}\n\n${word}${gap}${id}-0\n\n${all}${position}`;
    }
    if (this.hasState) {
      return state + (gap && gap + '\n') + this.state().map(event => this.text(event, user)).join('') + position;
    }
    if (!gap) return `retry: 100\nid: ${this.id(this.last)}\n\n`;
    const from = isOurs ? +seq : this.lost;
    const here = this.id(from) + (from < this.lost ? `-${this.lost}` : '');
    const isTold = isOurs && reported >= Math.max(1, this.lost);
    const begin = isTold ? `retry: 100\nid: ${here}\n\n` : `retry: 100\nid: ${this.id(from)}-0\n\n${gap}id: ${here}\n\n`;
    return begin + this.after(from).map(event => this.older(event, user)).join('');
  }

  // After a gap an event of before it is followed by a position, which says that the gap has been reported.
  older(event, user) {
    const text = this.text(event, user);
    if (event.seq > this.lost) return text;
    return event.isRare ? `${text}id: ${this.id(event.seq)}-${this.lost}\n\n` : '';
  }
}

class Stream {
  #sent = '';
  #all = '';
  #read = [];
  #wanting;

  constructor(server, process, rate, user) {
    Object.assign(this, {server, process, rate, user});
    server.streams.add(this);
  }

  send(text) {
    if (this.isDead || this.isEnding) return;
    if (this.server.losesComments) text = text.replace(/^:.*\n/gm, '');  // a proxy does
    this.#sent += text;
    this.#all += text;
    this.pump();
  }

  // The last id that was sent.
  get lastId() { return /.*^id: (\S+)$/ms.exec(this.#all)?.[1] }

  // The server ends it.
  finish(last = '') {
    if (this.isOver || this.isDead) return;
    this.send(last);
    this.isEnding = true;
    this.server.streams.delete(this);
    this.onfinish?.(this.#all);
    this.pump();
  }

  // So many bytes come in 20 ms. A proxy that holds a stream back lets pass nothing before its end, the head, nothing but the
  // beginning, or full buffers.
  pump() {
    if (this.isPumping) return;
    let most = this.#sent.length;
    if (this.held && !this.isEnding) {
      if (this.held === 'all' || this.held === 'body' || this.hasBegun) return;
      if (this.held === 'rest') this.hasBegun = true;
      else if ((most -= this.#all.length % BUFFER) <= 0) return;
    }
    if (!this.#sent) return this.offer();
    this.isPumping = true;
    this.server.schedule.after(this.rate > 1e5 ? this.server.random.below(5) : 20, null, () => {
      this.isPumping = false;
      if (this.isOver) return;
      const size = Math.max(1, Math.min(most, this.#sent.length, Math.ceil(this.rate / 50)));
      this.#read.push(this.#sent.slice(0, size));
      this.#sent = this.#sent.slice(size);
      this.offer();
      this.pump();
    });
  }

  offer() {
    if (!this.#wanting || this.process.isDead) return;
    if (this.#read.length) this.server.schedule.after(0, this.process, () => {
      const wanting = this.#wanting;
      if (!wanting || !this.#read.length) return;
      this.#wanting = undefined;
      wanting.resolve({value: new TextEncoder().encode(this.#read.splice(0).join(''))});
    }, this);
    else if (this.isOver) this.server.schedule.after(0, this.process, () => {
      this.#wanting?.reject(new Error('cut'));
      this.#wanting = undefined;
    }, this);
    else if (this.isEnding && !this.#sent) this.server.schedule.after(0, this.process, () => {
      this.#wanting?.resolve({done: true});
      this.#wanting = undefined;
    }, this);
  }

  read() {
    return new Promise((resolve, reject) => {
      this.#wanting = {resolve, reject};
      this.offer();
    });
  }

  get body() { return {getReader: () => this, cancel: () => this.cut()} }

  cut() {
    this.isOver = true;
    this.oncut?.();
    this.#sent = '';
    this.server.streams.delete(this);
    this.offer();
  }
}

// The processes of a browser: pages, and the worker of these.
class Browser {
  pages = [];
  worker;
  clock = 0;                              // how far it was set
  users = ['nobody'];                     // whose cookies it has had
  proxy;                                  // what is between it and the server
  cache = new Map();                      // of the proxy
  polls = 0;
  cached = 0;
  cuts = 0;
  swallowed = 0;                          // streams that were asked for, and never answered
  late = 0;                               // ms by which heads and locks may come later
  troubledUntil = 0;                      // a request has no answer yet, or one after a refusal is late
  storage = {};
  warnings = [];                          // of pages; those of a worker are out of sight
  bundleTakes;                            // ms, each time
  lacksBundle;                            // its server does
  hasBundle;                              // its cache has that
  ignoresQuery;                           // a cache answers with the script itself
  hasOldBundle;                           // its cache has that of another release
  isDeaf;                                 // its worker never answers: the tabs come to an elected one
  #ticks = 0;                             // a clock moves between two looks
  #locks = new Map();
  #channels = new Set();

  constructor(schedule, random, server) {
    Object.assign(this, {schedule, random, server});
  }

  get user() { return this.users.at(-1) }

  get rate() { return this.slow && !this.isCalm ? this.slow : 1e6 }

  delay() { return this.isAtRest ? 1 : this.random.pick([0, 0, 1, 1, 2, 5, 20, 100]) }

  lateDelay() { return this.delay() + (this.late && !this.isCalm ? this.random.below(this.late) : 0) }

  // Messages of one sender to one receiver, in order. Those to one that is slow come late.
  pipe(process) {
    let due = 0;
    const source = {};
    return task => {
      const late = process.isSlow && !this.isCalm ? this.random.below(4000) : 0;
      due = Math.max(due, this.schedule.now + this.delay() + late);
      this.schedule.after(due - this.schedule.now, process, task, source);
    };
  }

  process(hasWorker) {
    const {schedule, random} = this;
    const process = {waiting: []};
    const events = new EventTarget();
    const timer = (task, ms, given, repeats) => {
      const entry = {isCancelled: false};
      const set = () => {
        entry.task = schedule.after(ms, process, () => {
          if (entry.isCancelled) return;
          if (repeats) set();
          task(...given);
        });
      };
      set();
      return entry;
    };
    const failed = new Set();
    const clear = entry => { if (entry) entry.isCancelled = entry.task.isCancelled = true };
    const scope = {
      document: undefined,
      performance: {now: () => schedule.now + (this.#ticks += 1e-6)},
      Date: {now: () => schedule.now + this.clock, parse: Date.parse},
      Math: Object.assign(Object.create(Math), {random: random.next}), JSON, Object, Map, Set, Promise, Error, Event, EventTarget, MessageEvent, AbortController, Infinity, Symbol,
      Headers, Request, URL, TextDecoder, unescape, encodeURIComponent,
      setTimeout: (task, ms, ...given) => timer(task, ms, given),
      setInterval: (task, ms, ...given) => timer(task, ms, given, true),
      clearTimeout: clear, clearInterval: clear,
      queueMicrotask: task => queueMicrotask(() => process.isDead || task()),
      // Node itself forgets at times that a signal removes a listener: its collector takes the note of it.
      addEventListener(type, then, {signal}) {
        events.addEventListener(type, then);
        signal.addEventListener('abort', () => events.removeEventListener(type, then));
      },
      fetch: (url, options) => this.fetch(process, url, options),
      // A module that has failed once fails by that URL for ever, as in Firefox; and an answer may never come.
      importBundle: url => new Promise((resolve, reject) => schedule.after(this.bundleTakes ?? this.delay(), process, () => {
        const isLost = !this.isCalm && this.random.chance(0.05);
        if (!scope.bundle && !this.hasBundle && (isLost || this.isAway || this.lacksBundle || this.refusal || failed.has(`${url}`))) {
          failed.add(`${url}`);
          return isLost || reject(new Error('away'));
        }
        if (!scope.bundle) runReader(scope);
        if (this.ignoresQuery && /v=1/.test(url)) return resolve({connect() {}, Parser: class {}});
        resolve(this.hasOldBundle && /v=1$/.test(url) ? {...scope.bundle, NAME: 'eventsource-hub 0'} : scope.bundle);
      })),
      bundle: undefined, EventSourceHub: undefined, console: {warn: text => process === this.worker || this.warnings.push(`${text}`)}, localStorage: this.storage,
      BroadcastChannel: this.channel(process),
      navigator: {locks: {request: (...given) => this.lock(process, ...given), query: () => this.query(process)}},
      SharedWorker: hasWorker ? this.sharedWorker(process) : function () { throw new Error('there is none') },
    };
    scope.globalThis = scope;
    Object.assign(process, {scope, events});
    return process;
  }

  fetch(process, url, {method, signal, headers}) {
    const {schedule, server, random} = this;
    const prefer = headers.get('Prefer') ?? '';
    const asked = {'Content-Type': 'text/event-stream', 'EventSource-Owner': this.user};
    return new Promise((resolve, reject) => {
      if (method === 'HEAD') {
        process.hasAsked = true;
        signal?.addEventListener('abort', () => reject(new Error('aborted')));
        // The answer never comes. The tab has a stream of its own then.
        if (this.proxy === 'swallows' || !this.isCalm && random.chance(0.1)) {
          this.troubledUntil = schedule.now + 35000;
          return this.hasHung = true;
        }
        return schedule.after(this.delay(), process, () => {
          if (this.isAway) reject(new Error('away'));
          else resolve({status: 200, ok: true, headers: new Headers({...asked, 'EventSource-Owner': this.user})});
        });
      }
      if (signal.aborted) return reject(new Error('aborted'));
      const wait = server.polls ? /wait=(\d+)/.exec(prefer)?.[1] : undefined;
      const token = /request=([\w.-]+)/.exec(prefer)?.[1];
      if (server.polls && token) asked['Preference-Applied'] = (wait ? `wait=${wait}, ` : '') + `request=${token}`;
      let stream;
      signal.addEventListener('abort', () => {
        stream?.cut();
        reject(new Error('aborted'));
      });
      schedule.after(this.delay(), null, () => {
        if (signal.aborted || process.isDead) return;
        if (this.proxy === 'swallows') return this.swallowed += !/wait=/.test(prefer);  // it accepts the request, and says nothing
        if (this.isAway) return schedule.after(0, process, () => reject(new Error('away')));
        // A server that is overloaded, and a proxy before one that is away.
        const refusal = this.refusal || (this.proxy === 'refuses' && !wait ? [501, {}] : this.proxy === 'flaky' && random.chance(1 / 3) && [502, {}]);
        if (refusal) {
          const [status, given] = refusal;
          return schedule.after(this.delay(), process, () => resolve({status, headers: new Headers(given)}));
        }
        // A cache does not look at the headers, and keeps what has ended. What it has of first requests, the next first one takes.
        const found = this.proxy === 'caches' && this.cache.get(url);
        const kept = (token || found?.asked?.['Preference-Applied']) && found;
        stream = new Stream(server, process, this.rate, asked['EventSource-Owner']);
        if (kept?.until > schedule.now) {
          this.cached++;
          server.streams.delete(stream);
          stream.send(kept.text);
          stream.finish();
          return schedule.after(this.delay(), process, () => resolve({
            status: 200, ok: true, body: stream.body, headers: new Headers(kept.asked),
          }));
        }
        process.streams = (process.streams ?? new Set()).add(stream);
        const late = this.proxy === 'lags' ? random.below(6000) : 0;
        const answer = () => schedule.after(this.lateDelay() + late, process, () => resolve({
          status: 200, ok: true, body: stream.body, headers: new Headers(asked),
        }));
        stream.onfinish = text => {
          this.cache.set(url, {text, asked, until: schedule.now + 60000});
          if (stream.held === 'all') answer();
        };
        stream.held = {holds: 'all', mute: 'body', starts: 'rest', buffers: 'part'}[this.proxy];
        this.hasHeld ||= stream.held;
        if (stream.held === 'all') stream.oncut = () => schedule.after(0, process, () => reject(new Error('cut')));
        if (wait) this.polls++;
        server.requests++;
        server.start(stream, headers.get('Last-Event-ID'), wait === undefined ? wait : +wait);
        if (this.proxy === 'cuts') schedule.after(15000 + random.below(300), null, () => {
          if (stream.isOver || stream.isEnding) return;
          this.cuts++;
          stream.cut();
        });
        if (stream.held !== 'all') answer();
      });
    });
  }

  channel(process) {
    const browser = this;
    return class {
      #pipes = new Map();

      constructor(name) {
        Object.assign(this, {name, process});
        browser.#channels.add(this);
      }

      postMessage(message) {
        if (process.isDead) return;
        if (!browser.#channels.has(this)) throw new Error('closed');
        for (const other of browser.#channels) {
          if (other === this || other.name !== this.name || other.process.isDead || other.process.isFrozen) continue;
          if (!this.#pipes.has(other)) this.#pipes.set(other, browser.pipe(other.process));
          const data = structuredClone(message);
          this.#pipes.get(other)(() => browser.#channels.has(other) && other.onmessage?.({data}));
        }
      }

      close() { browser.#channels.delete(this) }
    };
  }

  lock(process, name, ...given) {
    const callback = given.pop(), {signal} = given[0] ?? {};
    const queue = this.#locks.get(name) ?? [];
    this.#locks.set(name, queue);
    return new Promise((resolve, reject) => {
      const entry = {process};
      const grant = () => {
        if (queue[0] !== entry || entry.isGranted) return;
        entry.isGranted = true;
        this.schedule.after(this.lateDelay(), process, async () => {
          if (queue[0] !== entry) return;
          entry.isHeld = true;
          await callback({});
          leave();
          resolve();
        });
      };
      const leave = () => {
        const at = queue.indexOf(entry);
        if (at < 0) return;
        queue.splice(at, 1);
        queue[0]?.grant();
      };
      Object.assign(entry, {grant, leave});
      if (signal?.aborted) return reject(new Error('aborted'));
      signal?.addEventListener('abort', () => {
        if (entry.isGranted) return;
        leave();
        reject(new Error('aborted'));
      });
      queue.push(entry);
      grant();
    });
  }

  query(process) {
    return new Promise(resolve => this.schedule.after(this.delay(), null, () => {
      const held = [...this.#locks].flatMap(([name, [first]]) => first?.isGranted ? [{name}] : []);
      this.schedule.after(this.delay(), process, () => resolve({held}));
    }));
  }

  sharedWorker(page) {
    const browser = this;
    return class {
      constructor(url, {name}) {
        if (!browser.worker || browser.worker.isDead) {
          browser.worker = browser.process(false);
          Object.assign(browser.worker.scope, {name, onconnect: null});
          if (!browser.isDeaf) run(browser.worker.scope);
          Object.assign(browser.worker, {users: new Set(), began: browser.schedule.now});
        }
        const worker = browser.worker;
        worker.users.add(page);
        const ours = {};
        // What comes before the worker listens waits.
        const early = [];
        let listener = event => early.push(event);
        const theirs = {
          get onmessage() { return listener },
          set onmessage(given) {
            listener = given;
            for (const event of early.splice(0)) listener(event);
          },
        };
        const connect = (from, to, pipe) => {
          from.postMessage = message => {
            if (from.isClosed) return;
            const data = structuredClone(message);
            pipe(() => to.isClosed || to.onmessage?.({data}));
          };
          from.close = () => { from.isClosed = true };
        };
        const toWorker = browser.pipe(worker);
        toWorker(() => worker.scope.onconnect?.({ports: [theirs]}));
        connect(ours, theirs, toWorker);
        connect(theirs, ours, browser.pipe(page));
        this.port = ours;
      }
    };
  }

  open(hasWorker, options, check) {
    const page = this.process(hasWorker);
    page.scope.document = {baseURI: 'http://localhost/', hidden: false};
    run(page.scope);
    this.pages.push(page);
    page.opened = this.users.length;
    page.browser = this;
    page.hub = page.scope.EventSourceHub.connect('/events', options);
    page.hub.addEventListener('transport', ({transport}) => { page.transport = transport });
    page.check = check(page);
    return page;
  }

  kill(process) {
    process.isDead = true;
    for (const stream of process.streams ?? []) stream.cut();
    // A stream without ids cannot tell what its leader sent last from what the next one sends: that has come before.
    this.schedule.after(this.server.hasIds ? 0 : 100, null, () => {
      for (const queue of this.#locks.values()) {
        for (const entry of queue.filter(entry => entry.process === process)) entry.leave();
      }
    });
    for (const channel of this.#channels) if (channel.process === process) this.#channels.delete(channel);
    this.pages = this.pages.filter(page => page !== process);
    if (process !== this.worker && this.worker?.users.delete(process) && !this.worker.users.size) this.kill(this.worker);
  }

  close(page) {
    if (page.hangs) return this.kill(page);
    page.events.dispatchEvent(new Event('pagehide'));
    this.schedule.after(0, null, () => page.isDead || this.kill(page));
  }

  freeze(page) {
    page.events.dispatchEvent(new Event('pagehide'));
    page.isFrozen = page.hasPaused = true;
    for (const queue of this.#locks.values()) {
      for (const entry of queue.filter(entry => entry.process === page && !entry.isHeld)) entry.leave();
    }
    if (this.worker?.users.delete(page) && !this.worker.users.size) this.kill(this.worker);
  }

  thaw(page) {
    page.isFrozen = false;
    for (const {task} of page.waiting.splice(0)) this.schedule.after(0, page, task);
    this.schedule.after(0, page, () => {
      page.events.dispatchEvent(Object.assign(new Event('pageshow'), {persisted: true}));
    });
  }

  // It runs no task. The others do not know.
  hang(process) {
    process.hangs = process.hasPaused = true;
  }

  // What has come meanwhile, from the network, other processes and timers, runs in any order.
  wake(process) {
    process.hangs = false;
    const waiting = process.waiting.splice(0);
    for (const source of new Set(waiting.map(({source}) => source))) {
      source.due = this.schedule.now + this.random.pick([0, 0, 1, 10]);
    }
    for (const {task, source} of waiting) this.schedule.after(0, process, task, source);
  }

  // The process that reads the stream.
  get reader() {
    const reading = [...this.server.streams].map(({process}) => process);
    return [...reading, this.worker, ...this.pages].find(process => process && !process.isDead && process.streams?.size);
  }
}

// What a tab has received, beside the logs of all epochs.
class Check {
  events = 0;
  gaps = 0;
  troubles = [];
  #last = [0, 0];                         // epoch and number of the last event
  #isPartial = true;                      // until a position completes the state; without a state, until the first event
  #isBeforeGap;                           // a position has said that a gap follows
  #plain = new Set();
  #leftAt;                                // the event whose other listener closed
  #first;                                 // the last event with which it may begin
  #from;                                  // after a gap it lacks what had been lost then, but has what was rare after this
  #reported;

  constructor(page, server, users) {
    const {hub} = page;
    Object.assign(this, {hub, page, server, users, map: hub.state('c')});
    hub.addEventListener('gap', ({lastEventId}) => {
      // The hub would answer its id with one: what follows is lost, or another user's. A part of the state says nothing of the
      // rest; if such a stream was cut, the hub has sent the gap.
      const [epoch, seq] = this.#last;
      const isLost = epoch !== server.epoch || seq < server.lost || users.length > 1;
      const isPartial = server.hasState && (this.#isPartial || this.#isBeforeGap || server.hasGapAgain && /-0-0$/.test(lastEventId));
      if (server.hasIds && !isLost && !isPartial) this.#fail('is told of a gap, and nothing is lost');
      this.gaps++;
      this.#plain.clear();                // it begins as a later tab, with the events of start
      this.#isPartial = true;
      [, this.#from, this.#reported] = lastEventId.split('-').map(Number);
    });
    hub.addEventListener('open', () => this.#open());
    hub.addEventListener('position', ({lastEventId}) => this.#position(lastEventId));
    hub.onmessage = ({lastEventId, data}) => !server.hasIds ? this.#once(JSON.parse(data)) : this.#event(lastEventId, data[0] !== '{', data);
  }

  // A tab misses nothing from the first position of its stream, which has come when that has lasted.
  #open() {
    const {server} = this;
    const stream = [...this.page.streams ?? server.streams].at(-1), {epoch, last} = server;
    server.schedule.after(1000, this.page, () => {
      if (!server.hasState && !this.events && !this.gaps && server.streams.has(stream) && !stream.held) this.#first ??= [epoch, last];
    });
  }

  // The number of the next event of an epoch.
  #next([epoch, seq]) { return this.server.after(seq, epoch)[0]?.seq }

  // The first request of a page may come after a login, and be answered with what a proxy has kept of before.
  #isOf(user, id) {
    this.user ??= this.users.slice(this.page.browser.cached ? 0 : this.page.opened - 1).includes(user) && user;
    if (user !== this.user) this.#fail(`of ${this.user} has ${id} of ${user}`);
  }

  #event(id, isPlain, data) {
    if (this.page.hasLeft && this.hub.readyState !== 2) this.#fail('is open again');
    if (this.page.hasLeft && this.#leftAt !== id) this.#leftAt ? this.#fail(`has ${id} when it has left`) : this.#leftAt = id;
    const [epoch, seq] = id.split('-').map(Number);
    const [lastEpoch, last] = this.#last;
    this.events++;
    if (isPlain) {
      if (this.#plain.has(id)) this.#fail(`has ${id} twice`);
      this.#plain.add(id);
      this.#isOf(data, id);
    }
    if (!this.#isPartial && (epoch !== lastEpoch || seq !== this.#next(this.#last))) this.#fail(`has ${id} after ${lastEpoch}-${last}`);
    if (this.events === 1 && !this.gaps && this.#first && (epoch !== this.#first[0] || seq > this.#next(this.#first))) {
      this.#fail(`begins with ${id} after ${this.#first.join('-')}`);
    }
    const isCurrent = epoch === this.server.epoch;
    const isOlder = seq <= (this.#reported ?? (isCurrent ? this.server.lost : seq));
    if (this.#isPartial && !this.server.hasState && this.#reported && isCurrent) this.#rest(seq);
    this.#last = [epoch, seq];
    if (!this.server.hasState && !(this.#isPartial && isOlder)) this.#isPartial = false;
    if (!this.#isPartial) this.compare();
  }

  // An event after a gap that has said what was lost.
  #rest(seq) {
    const next = this.server.after(this.#from).find(({isRare, seq}) => isRare || seq > this.#reported);
    if (next.seq !== seq) this.#fail(`has ${seq} and not ${next.seq} after the gap at ${this.#from}-${this.#reported}`);
    this.#from = seq;
  }

  // A stream without ids cannot resume, and what a leader sent last may come after what the next one sends. But no event comes
  // twice.
  #once({id, user}) {
    this.events++;
    this.#isOf(user, id);
    if (this.#plain.has(id)) this.#fail(`has ${id} twice`);
    this.#plain.add(id);
    this.#last = id.split('-').map(Number);
  }

  #position(id) {
    const [epoch, seq, reported] = id.split('-').map(Number);
    this.#isBeforeGap = reported === 0;
    const isHere = epoch === this.#last[0] && this.#next(this.#last) === this.#next([epoch, seq]);
    if (!this.#isPartial && !isHere) this.#fail(`has the position ${id} after ${this.#last.join('-')}`);
    this.#last = [epoch, seq];
    this.#isPartial = false;
  }

  // The map is the state as of the last event. It is compared when all of that event has been handled.
  compare() {
    if (!this.server.hasState || this.#isPartial || this.#last[1] === 0) return;
    const [epoch, seq] = this.#last;
    const expected = this.server.state(seq, epoch).map(event => `${event.key}=${epoch}-${event.seq}`);
    const found = [...this.map].map(([key, value]) => `${key}=${value}`);
    if (`${found.sort()}` !== `${expected.sort()}`) this.#fail(`its state as of ${epoch}-${seq} is ${found}, not ${expected}`);
  }

  get isDone() {
    const {server} = this;
    const isAt = ([epoch, seq]) => epoch === server.epoch && !server.after(seq).length;
    if (!server.hasIds) return server.after(this.#last[1]).length < 2;  // the stream may have been renewed while one of two came
    if (this.#isPartial && !server.hasState) return isAt(this.hub.lastEventId.split('-').map(Number));  // after a gap
    return isAt(this.#last) && !this.#isPartial;
  }

  get where() { return `${this.#last.join('-')}${this.#isPartial ? ' partial' : ''}, state ${this.hub.readyState}` }

  #fail(trouble) { this.troubles.push(trouble) }
}

async function runSeed(seed) {
  const random = randomOf(seed);
  const schedule = new Schedule();
  const hasIds = random.chance(0.8), hasState = hasIds && random.chance(0.7);
  const server = new Server(schedule, random, hasState, random.pick([5, 1000, 1000]), hasIds);
  server.hasLaterState = seed % 3 === 0;  // channels with a state are subscribed to later: the gap before it has an id
  const browser = new Browser(schedule, random, server);
  const hasWorker = random.chance(0.6), hasLogins = random.chance(0.5), isBusy = random.chance(0.5), isAlwaysBusy = random.chance(0.5), isQuiet = random.chance(0.3);
  browser.isDeaf = random.chance(0.05);
  const hasProxies = random.chance(0.5);
  const share = random.chance(0.9);
  server.keepalive = hasIds && random.pick([undefined, 5, 15]);
  server.polls = !!server.keepalive && random.chance(0.9);
  const options = {history: random.pick([1e6, 1e6, 500]), keepalive: server.polls ? random.pick([30, undefined]) : 30, share, start: random.pick([0, 0, -5]), ...hasIds || {key: 'key'}};
  const checks = [], late = [];
  const most = random.pick([5, 9, 20]);
  const keys = ['k1', 'k2', 'k3', 'k4', 'k5', 'k6'];
  const check = page => new Check(page, server, browser.users);
  const open = () => checks.push(browser.open(hasWorker, options, check).check);
  const publish = () => {
    const key = random.chance(0.5) ? random.pick(keys) : undefined;
    server.publish((hasState || !hasIds) && key ? {key, isForgotten: random.chance(0.3)} : {isRare: random.chance(0.2)});
  };
  for (let at = 0; at < 5; at++) publish();
  open();
  const beBusy = () => schedule.after(random.pick([500, 3000]), null, () => {
    server.publish({isElsewhere: true});
    if (!browser.isAtRest || isAlwaysBusy) beBusy();
  });
  if (isBusy) beBusy();
  const awake = () => browser.pages.filter(page => !page.isFrozen && !page.hangs);
  // The tabs that follow the stream. Another user may have ended it.
  const present = () => awake().filter(({hub, hasLeft, opened}) => !hasLeft && (hub.readyState !== 2 || opened >= browser.users.length && !browser.cached));
  const lacking = (when, pages = present()) => present().filter(page => pages.includes(page) && !page.check.isDone)
    .map(({check}) => `${when} a tab is at ${check.where}, not at ${server.epoch}-${server.last}`);
  // A tab leaves this way if three workers in a row end before it has heard them.
  const mayEnd = worker => schedule.now - worker?.began > 1500;
  const steps = {
    publish: [isQuiet ? 5 : 30, publish],
    burst: [3, () => { for (let at = 0; at < 12; at++) publish() }],
    // What reads the stream ends, and a page that was away longer than others is the first to come.
    succeed: [3, () => {
      const {reader} = browser, frozen = browser.pages.find(page => page.isFrozen);
      if (!frozen || !reader || reader === browser.worker && !mayEnd(reader)) return;
      browser.kill(reader);
      browser.thaw(frozen);
    }],
    late: [2, () => { browser.late = random.pick([0, 500, 3000]) }],
    open: [6, () => browser.pages.length < most && open()],
    close: [3, () => browser.pages.length > 1 && browser.close(random.pick(browser.pages))],
    kill: [5, () => {
      const {reader} = browser;
      if (reader && (reader === browser.worker ? mayEnd(reader) : browser.pages.length > 1)) browser.kill(reader);
    }],
    freeze: [3, () => {
      if (awake().length > 1) browser.freeze(random.pick(awake()));
    }],
    // Two pages come back, of which one left before a rare event.
    back: [hasState || server.kept > 5 ? 0 : 4, async () => {
      const pages = awake().slice(0, 2);
      if (pages.length < 2 || pages.some(({hasLeft}) => hasLeft)) return;
      for (const page of pages) {
        browser.freeze(page);
        server.publish({isRare: true});
        await schedule.until(schedule.now + 100);
      }
      steps.burst[1]();
      for (const page of random.chance(0.5) ? pages : pages.reverse()) {
        if (browser.pages.includes(page)) browser.thaw(page);
        await schedule.until(schedule.now + random.pick([100, 1000, 10000]));
      }
    }],
    hang: [4, () => {
      const process = random.pick([browser.reader, ...awake()]);
      if (!process || process.hangs || process.isFrozen || process !== browser.worker && awake().length < 2) return;
      browser.hang(process);
      if (process === browser.worker) browser.hasHung = true;  // its tabs come to an elected one, or stay
      const ms = random.pick([1000, 6000, 40000, undefined]);
      if (ms) schedule.after(ms, null, () => process.hangs && browser.wake(process));
    }],
    // It may be taken for dead, and lead on.
    throttle: [3, () => {
      const process = browser.reader;
      if (!process) return;
      process.isSlow = true;
      schedule.after(random.pick([3000, 30000, 120000]), null, () => { process.isSlow = false });
    }],
    show: [3, () => awake().length && random.pick(awake()).events.dispatchEvent(new Event('visibilitychange'))],
    thaw: [5, () => {
      const frozen = browser.pages.filter(page => page.isFrozen);
      if (frozen.length) browser.thaw(random.pick(frozen));
    }],
    clock: [1, () => { browser.clock += random.pick([-3600e3, 3600e3]) }],
    // Nobody is told that the connection is dead.
    dead: [2, () => { for (const stream of server.streams) stream.isDead = true }],
    cut: [3, () => { for (const stream of server.streams) stream.cut() }],
    restart: [1, () => {
      server.restart();
      for (let at = 0; at < 3; at++) publish();
    }],
    login: [hasLogins ? 5 : 0, () => {
      browser.users.push(random.pick(['nobody', 'ann', 'bob']));
      if (random.chance(0.5) || browser.pages.length >= most) return;
      // In a new tab, while the others are in the cache.
      for (const page of awake()) browser.freeze(page);
      open();
      const page = random.pick(browser.pages.filter(page => page.isFrozen));
      if (page) schedule.after(random.pick([0, 300, 3000]), null, () => page.isFrozen && browser.thaw(page));
    }],
    proxy: [hasProxies ? 4 : 0, () => {
      browser.proxy = random.pick([undefined, 'holds', 'holds', 'mute', 'starts', 'cuts', 'refuses', 'flaky', 'lags', 'swallows', server.polls && 'caches', server.polls && 'buffers']);
      if (random.chance(0.5)) for (const stream of [...server.streams]) stream.cut();
    }],
    drain: [hasProxies ? 1 : 0, () => { for (const stream of [...server.streams]) stream.finish() }],
    rest: [hasProxies || isBusy ? 2 : 0, () => schedule.until(schedule.now + random.pick([20000, 60000, 300000]))],
    slow: [3, () => { browser.slow = random.pick([500, 2000, undefined]) }],
    refuse: [2, () => {
      browser.troubledUntil = schedule.now + 20000;
      browser.refusal = random.pick([[429, {'Retry-After': '2'}], [503, {}], [500, {}], [200, {'Content-Type': 'text/html'}]]);
      schedule.after(random.below(5000), null, () => { browser.refusal = undefined });
      if (random.chance(0.5)) for (const stream of server.streams) stream.cut();
    }],
    // A page closes its stream while it handles an event.
    leave: [2, () => {
      const page = random.pick(browser.pages.filter(page => !page.hangs));
      if (!page || browser.pages.length < 2) return;
      const type = random.pick(['message', 'open', 'error', 'gap', 'position', 'change', undefined]);
      const leave = () => {
        page.hub.close();
        page.hasLeft = true;
      };
      if (!type) leave();
      else (type === 'change' ? page.check.map : page.hub).addEventListener(type, leave);
    }],
    // Network and worker hinder no tab. Some wake up, at times among new ones only, none of which knows where they have to
    // resume, and at times another one pauses or ends then. Each tab that is awake has all soon: a leader may yield to each
    // that wakes up.
    calm: [hasIds && !hasProxies && !browser.isDeaf ? 6 : 0, async () => {
      if (schedule.now < browser.troubledUntil) return;
      browser.isCalm = true;
      browser.isAway = browser.refusal = false;
      for (const stream of [...server.streams]) {
        stream.rate = browser.rate;
        if (stream.isDead) stream.cut();
      }
      if (random.chance(0.5)) {
        const [one, ...others] = awake();
        if (one) browser.freeze(one);
        random.pick([steps.publish, steps.burst])[1]();
        for (let count = random.pick([1, 3, 6]); count; count--) open();
        await schedule.until(schedule.now + random.pick([1000, 40000]));
        for (const page of others) browser.close(page);
        if (mayEnd(browser.worker)) browser.kill(browser.worker);
        await schedule.until(schedule.now + random.pick([0, 1000, 10000]));
      }
      if (browser.worker?.hangs) browser.wake(browser.worker);
      const behind = lacking('').length;
      const paused = browser.pages.filter(page => page.isFrozen || page.hangs).filter(() => random.chance(0.7));
      for (const page of paused) page.isFrozen ? browser.thaw(page) : browser.wake(page);
      if (random.chance(0.3)) {
        await schedule.until(schedule.now + random.pick([0, 4000]) + random.below(600));
        random.pick([steps.close, steps.freeze, steps.hang, steps.kill])[1]();
      }
      await schedule.until(schedule.now + 1000);
      publish();
      const pages = present();            // one that hangs may wake up later
      for (const page of pages) page.events.dispatchEvent(new Event('visibilitychange'));
      const ms = 7000 + 6000 * (1 + paused.length + behind);  // the places from which the stream has to begin again
      await schedule.until(schedule.now + ms);
      if (!browser.worker?.hangs) late.push(...lacking(`after ${ms / 1000} s`, pages));
      browser.isCalm = false;
    }],
    away: [1, () => {
      browser.isAway = true;
      schedule.after(random.below(3000), null, () => { browser.isAway = false });
      for (const stream of server.streams) stream.cut();
    }],
  };
  const lottery = Object.values(steps).flatMap(([weight, step]) => Array(weight).fill(step));
  for (let at = 0; at < 60; at++) {
    await random.pick(lottery)();
    await settled();
    await schedule.until(schedule.now + random.pick([0, 1, 10, 50, 300, 1500, 4000]));
  }
  browser.isAtRest = browser.isCalm = true;
  browser.restedAt = schedule.now;
  browser.cuts = 0;
  browser.isAway = browser.refusal = false;
  if (!server.polls || browser.proxy === 'swallows') browser.proxy = undefined;
  if (hasProxies) for (const stream of [...server.streams]) stream.cut();
  for (const page of browser.pages.filter(page => page.isFrozen)) browser.thaw(page);
  const settle = async when => {
    // A stream that a cache had is taken for that of a server without polls, for ten minutes.
    await schedule.until(schedule.now + (browser.cached ? 720000 : 120000));
    publish();
    await schedule.until(schedule.now + 1000);
    publish();
    await schedule.until(schedule.now + 60000);
    for (const {check, hasAsked} of present()) {
      if (!share && hasAsked) late.push('a tab asks whose its own stream is');
      if (check.isDone) check.compare();
    }
    late.push(...lacking(when));
  };
  await settle('beside one that hangs');
  for (const process of [browser.worker, ...browser.pages]) if (process?.hangs) browser.wake(process);
  await settle('at last');
  const {requests} = server;
  await schedule.until(schedule.now + 60000);
  const isCounted = hasIds && !hasProxies && !browser.isDeaf;
  if (isCounted && server.requests - requests > 7 * server.streams.size) late.push(`${server.requests - requests} requests in a minute of rest`);
  const troubles = [...checks.flatMap(({troubles}) => troubles.slice(0, 3)), ...late];
  browser.pages = browser.pages.filter(page => !page.hasLeft);
  const expected = share ? Math.min(1, browser.pages.length) : browser.pages.length;
  const isExpected = () => server.polls ? server.streams.size <= 2 * expected : server.streams.size === expected;
  if (!isExpected()) await schedule.until(schedule.now + 2000);  // one was renewed just then
  if (!isExpected() && !browser.hasHung && browser.users.length === 1) troubles.push(`there are ${server.streams.size} streams`);
  if (!browser.proxy && server.polls && random.chance(0.3)) await schedule.until(schedule.now + 2400000);
  const ways = browser.pages.filter(({hub}) => hub.readyState !== 2).map(({hub, transport = 'stream'}) => {
    if (hub.transport !== transport) troubles.push(`a tab was told of ${transport}`);
    return hub.transport;
  });
  if (share && new Set(ways).size > 1 && browser.users.length === 1 && !browser.hasHung) troubles.push(`the ways of the tabs are ${ways}`);
  if (!browser.proxy && !browser.hasHung && schedule.now - browser.restedAt > 2400000 && ways.includes('poll')) troubles.push('a tab polls without need');
  // What is cut at the same age twice is renewed before it.
  if (browser.proxy === 'cuts' && browser.cuts > 20 * Math.max(1, expected) * browser.users.length) troubles.push(`streams were cut ${browser.cuts} times`);
  if (['holds', 'mute', server.polls ? 'starts' : '', 'refuses'].includes(browser.proxy) && ways.includes('stream')) troubles.push(`a tab behind a proxy that ${browser.proxy} has a stream`);
  return {
    troubles,
    events: checks.reduce((sum, {events}) => sum + events, 0),
    gaps: checks.reduce((sum, {gaps}) => sum + gaps, 0),
    polls: browser.polls, cached: browser.cached,
    way: `${browser.proxy ? `proxy ${browser.proxy}, ` : ''}${server.polls ? 'polls, ' : ''}${share ? hasWorker ? 'worker' : 'leader' : 'alone'}${hasState ? ', state' : hasIds ? '' : ', no ids'}, history ${options.history}, kept ${server.kept}`,
  };
}

async function runSeeds() {
  const all = {seeds: 0, failed: 0, events: 0, gaps: 0, polls: 0, cached: 0};
  for (let seed = +first; seed < +first + +count; seed++) {
    const {troubles, events, gaps, polls, cached, way} = await runSeed(seed);
    all.seeds++;
    all.events += events;
    all.gaps += gaps;
    all.polls += polls;
    all.cached += cached;
    if (!troubles.length) continue;
    all.failed++;
    console.log(`seed ${seed} (${way}): ${troubles.slice(0, 4).join('; ')}`);
  }
  console.log(JSON.stringify(all));
  process.exit();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await runSeeds();

export {Browser, Schedule, Server, randomOf};
