// Cases of tabs that share a stream, in the browser and on the network of tabs_model.mjs: node tabs_cases.mjs SCRIPT
//
// It prints a line of JSON for each: its name, and what was found and expected.

import {Browser, Schedule, Server, randomOf} from './tabs_model.mjs';

const WAYS = [['a SharedWorker', true], ['an elected tab', false]];

// A server, and a browser whose pages have what they receive as a list of ids: of events, and of gaps with the word.
function begin({hasState = false, kept = 1000, hasWorker, ...given}) {
  const random = randomOf(1), schedule = new Schedule();
  const server = Object.assign(new Server(schedule, random, hasState, kept, true), given);
  const browser = Object.assign(new Browser(schedule, random, server), {isCalm: true});
  const check = page => {
    const received = page.received = [];
    page.hub.onmessage = ({lastEventId}) => received.push(lastEventId);
    page.hub.addEventListener('gap', () => received.push('gap'));
    page.hub.addEventListener('position', () => { page.isReady = true });
  };
  const open = options => browser.open(hasWorker, {keepalive: 30, ...options}, check);
  const pass = seconds => schedule.until(schedule.now + 1000 * seconds);
  const publish = (count, event = {}) => {
    for (let at = 0; at < count; at++) server.publish(typeof event === 'function' ? event(at) : event);
  };
  return {schedule, server, browser, open, pass, publish};
}

const ids = (from, to) => Array.from({length: to - from + 1}, (_, at) => `1-${from + at}`);

const CASES = {
  // The page that comes back later has the first rare event already; what the busy channel has lost since then it has not.
  async 'a page is restored after one that was told of a gap'(hasWorker) {
    const {browser, open, pass, publish} = begin({kept: 5, hasWorker});
    const early = open(), late = open();
    await pass(10);
    publish(5);
    await pass(5);
    browser.freeze(early);
    publish(1, {isRare: true});
    await pass(5);
    browser.freeze(late);
    publish(1, {isRare: true});
    publish(24);
    for (const page of [early, late]) {
      browser.thaw(page);
      await pass(15);
    }
    publish(1);
    await pass(15);
    return [
      [early.received, [...ids(1, 5), 'gap', '1-6', '1-7', ...ids(27, 32)]],
      [late.received, [...ids(1, 6), 'gap', '1-7', ...ids(27, 32)]],
    ];
  },

  // Whoever publishes knows the last id of before the restart.
  async 'a page is restored after a restart, and a publisher has used its id'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasWorker});
    const early = open(), other = open();
    await pass(10);
    publish(5);
    await pass(5);
    browser.freeze(early);
    server.restart();
    await pass(40);
    publish(2);
    publish(1, {name: '1-5'});
    publish(1);
    await pass(5);
    browser.thaw(early);
    await pass(40);
    publish(1);
    await pass(10);
    const events = [...ids(1, 5), 'gap', '2-1', '2-2', '1-5', '2-4', '2-5'];
    return [[early.received, events], [other.received, events]];
  },

  // The bytes come so slowly that pages come between an event of the publisher and the hub's id behind it.
  async 'pages are restored while a publisher uses the id of before the restart again and again'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasState: true, hasWorker});
    const early = [open(), open()], other = open();
    await pass(10);
    publish(5, at => ({key: `k${at}`}));
    await pass(5);
    for (const page of early) browser.freeze(page);
    server.restart();
    publish(1, {key: 'new'});
    await pass(40);
    Object.assign(browser, {isCalm: false, slow: 200});
    server.streams.forEach(stream => { stream.rate = 200 });
    for (let at = 0; at < 60; at++) {
      publish(1, {name: '1-5'});
      await pass(0.21);
      if (at === 10 || at === 20) browser.thaw(early[at / 10 - 1]);
    }
    browser.isCalm = true;
    await pass(30);
    publish(1);
    await pass(10);
    return [
      [[...early, other].map(({received, hub}) => [received.includes('gap'), received.at(-1), [...hub.state('c').keys()]]),
        Array(3).fill([true, '2-62', ['new']])],
    ];
  },

  // The one that has been opened meanwhile begins later, and has the event with that id, too.
  async 'a page is restored, and a publisher uses one id for each event'(hasWorker) {
    const {browser, open, pass, publish} = begin({hasWorker});
    const early = open();
    await pass(5);
    publish(1, {name: 'news'});
    await pass(1);
    browser.freeze(early);
    await pass(5);
    publish(2);
    const late = open();
    await pass(5);
    publish(1, {name: 'news'});
    await pass(1);
    browser.thaw(early);
    await pass(10);
    publish(1);
    await pass(5);
    return [
      [early.received, ['news', '1-2', '1-3', 'news', '1-5']],
      [late.received.slice(-2), ['news', '1-5']],
    ];
  },

  // A part of the hub's ids is like the id of the greeting.
  async 'a page is restored that was sent a greeting with an id only'(hasWorker) {
    const cases = [];
    for (const greeting of ['1', 'greeting']) {
      for (const isLater of [false, true]) {
        const {browser, open, pass, publish} = begin({hasWorker, greeting});
        const early = open();
        await pass(5);
        browser.freeze(early);
        publish(2);
        const late = open();
        await pass(5);
        if (isLater) publish(1);
        await pass(1);
        browser.thaw(early);
        await pass(40);
        publish(1);
        await pass(5);
        cases.push([[early.received.includes('gap'), ...[early, late].map(({received}) => received.at(-1))], [true, ...Array(2).fill(isLater ? '1-4' : '1-3')]]);
      }
    }
    return cases;
  },

  // The greeting stands between the beginning and the state.
  async 'a page with a greeting is restored, and a key was forgotten'(hasWorker) {
    const {browser, open, pass, publish} = begin({hasState: true, hasWorker, greeting: 'greeting'});
    publish(2, at => ({key: `k${at}`}));
    const early = open();
    await pass(5);
    browser.freeze(early);
    publish(1);
    publish(1, {key: 'k0', isForgotten: true});
    publish(1, {key: 'k2'});
    const late = open();
    await pass(5);
    browser.thaw(early);
    await pass(40);
    publish(1);
    await pass(5);
    return [early, late].map(({hub, received}) => [[...hub.state('c').keys(), received.at(-1)], ['k1', 'k2', '1-6']]);
  },

  // Those that were opened meanwhile have positions that the restored page has not, and that no replay repeats.
  async 'a page is restored, and another channel was busy while it was away'(hasWorker) {
    const {browser, open, pass, publish} = begin({hasWorker, keepalive: 5});
    const early = open(), other = open();
    await pass(5);
    publish(3);
    await pass(1);
    browser.freeze(early);
    const late = [open(), open()];
    await pass(1);
    browser.close(other);
    for (let count = 0; count < 10; count++) {
      publish(1, {isElsewhere: true});
      await pass(6);
    }
    browser.kill(browser.reader);         // the worker, or one of them
    publish(1, {isElsewhere: true});
    browser.thaw(early);
    await pass(25);
    publish(1);
    await pass(1);
    return [
      [early.received, [...ids(1, 3), '1-15']],
      ...late.filter(({isDead}) => !isDead).map(({received}) => [received, ['1-15']]),
    ];
  },

  // One has the last event as it came, the other one as a part of the state. Then there are positions only.
  async 'pages that have begun apart, while another channel is busy'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasState: true, hasWorker, keepalive: 5});
    const early = open();
    await pass(5);
    publish(3, at => ({key: `k${at}`}));
    await pass(1);
    browser.freeze(early);
    publish(1, {isElsewhere: true});
    const late = open();
    await pass(5);
    browser.thaw(early);
    await pass(1);
    const before = server.requests;
    for (let count = 0; count < 60; count++) {
      publish(1, {isElsewhere: true});
      await pass(1);
    }
    const requests = server.requests - before;
    publish(1);
    await pass(10);
    return [
      [requests < 6 || requests, true],
      [[early, late].map(({received}) => received.at(-1)), ['1-65', '1-65']],
    ];
  },

  // The last id does not say how far a page is.
  async 'a page is restored, and other events had its id'(hasWorker) {
    const cases = [];
    const servers = [() => '', () => 'id: same\n', seq => `id: ${seq % 2}\n`, seq => seq > 1 ? '' : 'id: first\n'];
    for (const idOf of servers) {
      for (const [history, had] of [[1e6, 3], [1e6, 0], [500, 3], [500, 0]]) {
        const {browser, open, pass, publish} = begin({hasWorker, hasIds: false, idOf});
        const pages = [open({history}), open({history})];
        const seen = pages.map(({hub}) => {
          const events = [];
          hub.addEventListener('message', ({data}) => events.push(+data));
          hub.addEventListener('gap', () => events.push('gap'));
          return events;
        });
        await pass(35);
        publish(had);
        await pass(5);
        const early = browser.reader === pages[0] ? 1 : 0;
        browser.freeze(pages[early]);
        publish(20);
        await pass(5);
        browser.thaw(pages[early]);
        await pass(20);
        publish(2);
        await pass(5);
        const all = Array.from({length: had + 22}, (_, at) => at + 1);
        const late = [seen[early].includes('gap'), ...seen[early].slice(-2)];
        cases.push(history > 500 ? [seen, [all, all]] : [[late, seen[1 - early]], [[true, had + 21, had + 22], all]]);
      }
    }
    return cases;
  },

  // The server replays. Its streams begin with that id, without data.
  async 'a page is restored that another server gave an empty id'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasWorker, hasIds: false, idOf: seq => `id: ${seq}\n`, first: 'id:\n\n'});
    const early = open();
    await pass(5);
    publish(3);
    await pass(1);
    for (const stream of server.streams) stream.cut();
    await pass(5);
    publish(3);
    await pass(1);
    browser.freeze(early);
    publish(3);
    const late = open();
    await pass(5);
    browser.thaw(early);
    await pass(10);
    publish(1);
    await pass(10);
    return [[early.received, Array.from({length: 10}, (_, at) => `${at + 1}`)], [late.received.at(-1), '10']];
  },

  // The first block is still on its way.
  async 'a page leaves before the first block, and returns to the stream of another one'(hasWorker) {
    const {browser, open, pass, publish} = begin({hasWorker});
    publish(3);
    Object.assign(browser, {isCalm: false, slow: 100});
    const early = open();
    while (early.hub.readyState !== 1) await pass(0.01);
    browser.freeze(early);
    Object.assign(browser, {isCalm: true, slow: undefined});
    await pass(1);
    const first = open();
    await pass(5);
    publish(3);
    await pass(1);
    const second = open();
    await pass(5);
    browser.close(first);
    if (hasWorker) browser.kill(browser.worker);
    await pass(5);
    publish(3);
    await pass(5);
    browser.thaw(early);
    await pass(10);
    publish(3);
    await pass(10);
    return [[early.received, ids(10, 12)], [second.received, ids(7, 12)]];
  },

  // A handler has pushed the id, without data. The hub does not know it.
  async 'a page is restored, and a handler has pushed an id'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasWorker});
    const early = open();
    await pass(5);
    publish(3);
    for (const stream of server.streams) stream.send('id: order-17\n\n');
    publish(1);
    await pass(1);
    browser.freeze(early);
    publish(3);
    const late = open();
    await pass(5);
    browser.thaw(early);
    await pass(15);
    publish(1);
    await pass(5);
    return [[early.received, ids(1, 8)], [late.received, ['1-8']]];
  },

  // No position says how far the stream is.
  async 'a page is restored after a restart of a hub that sends no positions'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasWorker, isSilent: true});
    const early = open(), other = open();
    await pass(5);
    publish(3);
    await pass(1);
    browser.freeze(early);
    server.restart();
    for (let count = 0; count < 10; count++) {
      publish(1);
      await pass(2);
    }
    browser.thaw(early);
    const before = server.requests;
    for (let count = 0; count < 50; count++) {
      publish(1);
      await pass(2);
    }
    return [
      [server.requests - before < 5 || server.requests - before, true],
      [[early, other].map(({received}) => [received.includes('gap'), received.at(-1)]), Array(2).fill([true, '2-60'])],
    ];
  },

  // It comes back without an id, and to the stream of the other user's tab before the head of that has come.
  async 'a page is restored when another user has logged in'(hasWorker) {
    const {browser, open, pass, publish} = begin({hasWorker});
    const seen = page => {
      page.users = [];
      page.hub.addEventListener('message', ({data}) => page.users.push(data));
      return page;
    };
    browser.proxy = 'mute';
    const early = seen(open());
    await pass(1);
    browser.freeze(early);
    browser.users.push('bob');
    browser.proxy = undefined;
    browser.lateDelay = () => 400;
    const late = seen(open());
    await pass(0.1);
    browser.thaw(early);
    await pass(5);
    publish(1);
    await pass(1);
    return [[[early.users, early.hub.readyState, late.users], [[], 2, ['bob']]]];
  },

  // The id of the first event of the state is that of before the gap.
  async 'a page leaves between a gap and the state'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasState: true, kept: 5, hasWorker, keepalive: 15});
    const keys = at => ({key: `k${at}`});
    publish(1, keys);
    const pages = [open(), open()];
    await pass(5);
    browser.isAway = true;
    for (const stream of server.streams) stream.cut();
    publish(20, at => keys(at + 1));
    Object.assign(browser, {isAway: false, isCalm: false, slow: 500});
    while (!pages[1].received.includes('gap')) await pass(0.01);
    browser.freeze(pages[1]);
    await pass(10);
    browser.thaw(pages[1]);
    await pass(10);
    return pages.map(({hub}) => [hub.state('c').size, 21]);
  },

  async 'tabs with the same text share a stream, and others do not'(hasWorker) {
    const {server, open, pass} = begin({hasWorker});
    for (const body of ['a', 'a', 'b', new Blob(['a']), new Blob(['a'])]) open({method: 'POST', body, share: true});
    await pass(10);
    return [[server.streams.size, 4]];
  },

  async 'the number of members is unknown after a gap in which all have left'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasState: true, kept: 2, hasWorker});
    const page = open(), counts = [];
    await pass(5);
    const members = page.hub.members('c');
    members.addEventListener('count', () => counts.push(members.count ?? 'unknown'));
    publish(1, {key: null, count: 3});
    await pass(5);
    browser.isAway = true;
    for (const stream of server.streams) stream.cut();
    publish(1, {key: null, count: 0, isForgotten: true});
    publish(5);
    browser.isAway = false;
    await pass(60);
    publish(1, {key: null, count: 2});
    await pass(5);
    return [[counts, [3, 'unknown', 2]]];
  },

  // A stream begins with the state for the new page. Its events are not all that followed the last one of the page before.
  async 'a proxy loses comments, and a page is restored after a new one'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasState: true, hasWorker});
    server.losesComments = true;
    const early = open();
    await pass(5);
    publish(3, at => ({key: `k${at}`}));
    await pass(5);
    browser.freeze(early);
    publish(1);
    publish(1, {key: 'k3'});
    const late = open();
    await pass(5);
    browser.thaw(early);
    await pass(15);
    publish(1);
    await pass(15);
    return [
      [early.received, ids(1, 6)],
      [[late.received, late.hub.state('c').size, late.hub.transport], [['1-1', '1-2', '1-3', '1-5', '1-6'], 4, 'stream']],
    ];
  },

  // No stream is seen to flow for two seconds. The hub has what the page lacks.
  async 'a page is restored beside a stream that ends each two seconds'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasWorker, retry: 1000});
    const early = open({history: 500}), other = open({history: 500});
    await pass(10);
    publish(3);
    await pass(5);
    browser.freeze(early);
    publish(20);
    await pass(5);
    browser.thaw(early);
    for (let count = 0; count < 30; count++) {
      await pass(2);
      for (const stream of server.streams) stream.finish();
    }
    return [
      [server.requests < 70 || server.requests, true],
      [early.received, ids(1, 23)],
      [other.received, ids(1, 23)],
    ];
  },

  // The proxy refuses streams. Bytes come all the time.
  async 'a poll whose state takes a minute'(hasWorker) {
    const {browser, open, pass, publish} = begin({hasState: true, kept: 5, hasWorker, polls: true, keepalive: 15});
    publish(100, at => ({key: `k${at}`}));
    Object.assign(browser, {isCalm: false, slow: 120, proxy: 'refuses'});
    const page = open();
    await pass(100);
    return [[[page.isReady, page.hub.transport, page.hub.state('c').size], [true, 'poll', 100]]];
  },

  // The proxy holds streams back. What the first poll has brought so far is a part of the state.
  async 'a poll beside a mute stream stalls'(hasWorker) {
    const {browser, open, pass, publish} = begin({hasState: true, kept: 5, hasWorker, polls: true, keepalive: 15});
    publish(100, at => ({key: `k${at}`}));
    Object.assign(browser, {isCalm: false, slow: 120, proxy: 'mute'});
    const page = open();
    await pass(10);
    const {size} = page.hub.state('c');
    browser.slow = undefined;
    for (const stream of browser.reader.streams) stream.pump = () => {};
    await pass(60);
    return [[[size > 0 && size < 100, page.isReady, page.hub.transport], [true, true, 'poll']]];
  },

  // The stream is tried when a poll ends, beside the next one, which is slow.
  async 'a stream proves itself while a poll brings a state'(hasWorker) {
    const {browser, open, pass, publish} = begin({hasState: true, kept: 5, hasWorker, polls: true, keepalive: 15});
    const keys = at => ({key: `k${at}`});
    publish(100, keys);
    browser.proxy = 'refuses';
    const page = open();
    await pass(176);
    publish(1, keys);                     // the next poll ends by what comes then
    await pass(8);
    const way = page.hub.transport;
    browser.proxy = undefined;
    publish(20, keys);
    await pass(0.15);
    Object.assign(browser, {isCalm: false, slow: 120});
    await pass(10);
    browser.isCalm = true;
    await pass(80);
    return [[[way, page.hub.transport, page.received.filter(id => id === 'gap'), page.received.at(-1)], ['poll', 'stream', ['gap'], '1-121']]];
  },

  // The server ignores that polls are preferred. The next term begins when a leader yields.
  async 'tabs whose ids differ, over a mute stream of a server without polls'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasWorker, keepalive: 15});
    const pages = [];
    for (let count = 0; count < 2; count++) {
      const page = open();
      await pass(5);
      publish(5);
      await pass(5);
      browser.freeze(page);
      pages.push(page);
      publish(5);
    }
    browser.proxy = 'mute';
    for (const page of pages) {
      browser.thaw(page);
      await pass(5);
    }
    await pass(30);
    const before = server.requests;
    await pass(120);
    const requests = server.requests - before;
    browser.proxy = undefined;
    for (const stream of server.streams) stream.cut();
    await pass(40);
    return [
      [requests <= 120 / 30 || requests, true],
      [pages[0].received, ids(1, 20)],
      [pages[1].received, ids(11, 20)],
    ];
  },

  // The first request ends after 30 s, and so does the second, which was made meanwhile. The tabs are told of both.
  async 'a proxy that accepts requests, and says nothing'(hasWorker) {
    const {browser, open, pass, publish} = begin({hasWorker});
    browser.proxy = 'swallows';
    const pages = [open({keepalive: undefined}), open({keepalive: undefined})];
    const errors = pages.map(({hub}) => {
      const seen = [];
      hub.addEventListener('error', ({status}) => seen.push([status, hub.readyState]));
      return seen;
    });
    await pass(29);
    const before = browser.swallowed;
    await pass(11);
    const after = browser.swallowed;
    browser.proxy = undefined;
    await pass(30);
    publish(3);
    await pass(1);
    return [
      [[before, after], [1, 2]],
      ...pages.map(({received}, at) => [[errors[at], received], [[[0, 0], [0, 0]], ids(1, 3)]]),
    ];
  },

  async 'a network so slow that the bundle that reads streams takes 20 s each time'(hasWorker) {
    const {browser, open, pass, publish} = begin({hasWorker});
    browser.bundleTakes = 20000;
    const pages = [open(), open()];
    await pass(25);
    publish(3);
    await pass(5);
    return pages.map(({received}) => [received, ids(1, 3)]);
  },

  async 'a cache has the bundle that reads streams of another release'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasWorker});
    browser.hasOldBundle = true;
    const pages = [open(), open()];
    await pass(4);
    const before = server.requests;
    await pass(6);
    publish(3);
    await pass(5);
    return [[before, 0], ...pages.map(({received}) => [received, ids(1, 3)])];
  },

  async 'answers that are no streams, each of which the console has once'(hasWorker) {
    const html = {'Content-Type': 'text/html'};
    const found = [];
    for (const [status, headers] of [[0], [200, html], [204, {}], [401, html], [403, {}], [404, html], [429, {}], [500, html]]) {
      const {browser, open, pass} = begin({hasWorker});
      if (status) browser.refusal = [status, headers];
      else browser.isAway = true;
      browser.hasBundle = true;
      open();
      await pass(40);
      found.push(`${status} ${browser.warnings.map(line => line.replace(/^http:\S+ /, '').replace(/:.*/, ''))}`);
    }
    return [[found, [
      '0 no answer that the page may read',
      '200 the answer is no event stream',
      '204 ',
      '401 the answer has the status 401, so the stream has ended',
      '403 the answer has the status 403, so the stream has ended',
      '404 the answer has the status 404, so the stream has ended',
      '429 the answer has the status 429',
      '500 the answer has the status 500',
    ]]];
  },

  async 'options that connect does not have, and a stream that is cut, of which only the former is worth a line'(hasWorker) {
    const {server, browser, open, pass} = begin({hasWorker});
    open({shared: false, lastEventID: '7'});
    await pass(5);
    for (let count = 0; count < 3; count++) {
      for (const stream of server.streams) stream.cut();
      await pass(5);
    }
    return [[browser.warnings.map(line => /option (\w+): see/.exec(line)?.[1]), ['shared', 'lastEventID']]];
  },

  async 'a cache ignores the query of the script, of which the pages warn'(hasWorker) {
    const {browser, open, pass} = begin({hasWorker});
    browser.ignoresQuery = true;
    open();
    await pass(20);
    return [[[browser.warnings.length, /cache ignores the query of http:.*hub[.]js$/.test(browser.warnings[0])], [1, true]]];
  },

  async 'a shared stream whose headers are an object of the class Headers'(hasWorker) {
    const {open, pass, publish} = begin({hasWorker});
    const page = open({headers: new Headers({'X-Own': 'yes'}), share: true, scope: 'own', lastEventId: null});
    await pass(4);
    publish(1);
    await pass(1);
    return [[page.received, ids(1, 1)]];
  },

  async 'what cannot be sent to whoever reads a shared stream is refused at once'(hasWorker) {
    const {open} = begin({hasWorker});
    let thrown;
    try {
      open({share: true, headers: () => ({})});
    } catch (error) {
      thrown = error.name;
    }
    return [[thrown, 'TypeError']];
  },

  async 'the bundle that reads streams is missing, of which the pages warn'(hasWorker) {
    const {browser, open, pass} = begin({hasWorker});
    browser.lacksBundle = true;
    open();
    await pass(20);
    const seen = browser.warnings.map(warning => warning.replace(/^.*hub[.]js: /, ''));
    return [[seen, ['Error: away']]];
  },

  async 'tabs whose ids differ, while a state comes for a minute'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasState: true, kept: 5, hasWorker});
    const pages = [];
    for (let count = 0; count < 2; count++) {
      const page = open();
      await pass(5);
      publish(50, at => ({key: `k${at}`}));
      await pass(5);
      browser.freeze(page);
      pages.push(page);
    }
    publish(100, at => ({key: `k${at}`}));
    Object.assign(browser, {isCalm: false, slow: 120});
    for (const page of pages) {
      page.isReady = false;
      browser.thaw(page);
      await pass(5);
    }
    await pass(90);
    return [[[server.requests, ...pages.map(({isReady, received}) => [isReady, received.at(-1)])], [4, [true, '1-200'], [true, '1-200']]]];
  },

  // They come back after a restart of the hub, and wait while the next restart has the state sent again.
  async 'tabs that wait while a state comes'(hasWorker) {
    const {server, browser, open, pass, publish} = begin({hasState: true, hasWorker});
    const KEYS = 2000, TABS = 10;
    const keys = at => ({key: `k${at}`});
    publish(KEYS, keys);
    open();
    const others = Array.from({length: TABS}, () => open());
    await pass(20);
    for (const page of others) browser.freeze(page);
    server.restart();
    publish(1, keys);
    await pass(40);
    for (const page of others) browser.thaw(page);
    await pass(0.5);
    const looked = await countElements(async () => {
      server.restart();
      publish(KEYS, keys);
      await pass(30);
    });
    publish(1);
    await pass(10);
    return [
      [others.map(({received}) => received.at(-1)), others.map(() => `3-${KEYS + 1}`)],
      [looked < 20 * TABS * KEYS || looked, true],
    ];
  },
};

// How many elements of long arrays are looked at meanwhile.
async function countElements(run) {
  const real = {...Object.fromEntries(['find', 'findIndex', 'findLast', 'findLastIndex', 'filter', 'some', 'every'].map(name => [name, Array.prototype[name]]))};
  let count = 0;
  for (const [name, method] of Object.entries(real)) {
    Array.prototype[name] = function (test, ...given) {
      return method.call(this, (...element) => {
        if (this.length > 500) count++;
        return test(...element);
      }, ...given);
    };
  }
  await run();
  Object.assign(Array.prototype, real);
  return count;
}

for (const [name, run] of Object.entries(CASES)) {
  for (const [way, hasWorker] of WAYS) {
    for (const [found, expected] of await run(hasWorker)) console.log(JSON.stringify({name: `${name}, ${way}`, found, expected}));
  }
}
process.exit();
