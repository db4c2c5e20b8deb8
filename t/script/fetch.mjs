// Runs many streams of a script at the same time, and prints what each of them gave: node fetch.mjs SCRIPT < CASES
//
// CASES has [{url, options, does}] in each line. A stream is read until it has closed itself, or as DOES says. The headers
// 'counted' are a function. One JSON object is written for each, in a line.

import {createHash} from 'node:crypto';
import {text} from 'node:stream/consumers';
import {pathToFileURL} from 'node:url';

const {connect} = await import(pathToFileURL(process.argv[2]));
const LONG = 1000;       // characters of data of which only a digest is printed
const DEADLINE = 45000;  // ms
const later = ms => new Promise(resolve => setTimeout(resolve, ms));

function shown({type, data, lastEventId}) {
  const digest = data.length > LONG && createHash('sha1').update(data).digest('hex');
  return {type, data: digest || data, id: lastEventId};
}

// What the server says of a stream, as soon as it says something.
async function state(url) {
  for (let said; ; await later(10)) if ((said = await (await fetch(`${url}-state`)).text())) return said;
}

const first = hub => new Promise(resolve => hub.addEventListener('message', resolve, {once: true}));

// How a stream is read.
const WAYS = {
  closed: ({closed}) => closed,

  async error({hub}) {
    await new Promise(resolve => { hub.onerror = resolve });
  },

  // The stream is closed in the middle, and the server sees that.
  async close({hub, seen, url}) {
    hub.addEventListener('message', () => hub.close(), {once: true});
    await first(hub);
    seen.server = await state(url);
  },

  async abort({hub, seen, url, abort}) {
    hub.addEventListener('message', () => abort.abort(), {once: true});
    await first(hub);
    seen.server = await state(url);
  },

  async leave({hub, seen, url}) {
    seen.iterated = [];
    for await (const {data} of hub) {
      seen.iterated.push(data);
      break;
    }
    seen.server = await state(url);
  },

  async iterate({hub, seen}) {
    seen.iterated = [];
    for await (const {data} of hub) seen.iterated.push(data);
  },

  // Takes three events, no more until the server has noticed that, then all. Their data begins with their numbers.
  async pause({hub, seen, url}) {
    seen.count = 0;
    for await (const {data, type} of hub) {
      if (type !== 'message') continue;
      if (parseInt(data) !== ++seen.count) seen.isDisordered = true;
      if (seen.count === 3) seen.server = await state(url);
    }
  },

  // The interface of the standard.
  async standard({hub, seen, url, closed}) {
    const {CONNECTING, OPEN, CLOSED} = hub;
    const called = seen.called = [];
    hub.onopen = ({type}) => called.push(`${type} ${hub.readyState}`);
    hub.onerror = ({type}) => called.push(`${type} ${hub.readyState}`);
    hub.onmessage = event => called.push(`${event.type} ${event.data}`);
    hub.addEventListener('named', {handleEvent: ({type}) => called.push(type)});
    seen.values = [CONNECTING, OPEN, CLOSED, hub.readyState, hub.url === url, hub.withCredentials];
    const event = await first(hub);
    seen.event = [event instanceof MessageEvent, event.target === hub, event.origin === new URL(url).origin, event.lastEventId];
    await closed;
  },

  // Until the event with this data.
  number: ({hub, last}) => new Promise(resolve => hub.addEventListener('message', ({data}) => data === last && resolve())),
};

async function run({url, options = {}, does = 'closed', last}) {
  const abort = new AbortController();
  let attempts = 0;
  if (options.headers === 'counted') options.headers = async () => ({'X-Own': ++attempts});
  let hub;
  try {
    hub = connect(url, {...options, signal: abort.signal});
  } catch (error) {
    return () => ({thrown: error.name});
  }
  const seen = {events: [], errors: []};
  if (does !== 'pause') {
    for (const type of ['message', 'named', 'finish']) hub.addEventListener(type, event => seen.events.push(shown(event)));
  }
  const closed = new Promise(resolve => {
    hub.addEventListener('finish', resolve);
    hub.addEventListener('error', ({status}) => {
      seen.errors.push(status || null);
      if (hub.readyState === hub.CLOSED) resolve();
    });
  });
  const late = later(DEADLINE).then(() => 'late');
  seen.isLate = await Promise.race([late, WAYS[does]({hub, seen, url, closed, abort, last})]) === 'late';
  return () => ({...seen, state: hub.readyState, id: hub.lastEventId});
}

const cases = (await text(process.stdin)).trim().split('\n').map(line => JSON.parse(line)[0]);
const runs = await Promise.all(cases.map(run));
for (const result of runs) console.log(JSON.stringify(result()));
process.exit();
