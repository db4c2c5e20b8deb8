// Loads the bundle of whoever reads streams.

import { later } from '../clock.js';
import { LOOK_EVERY, MAX_DELAY, NAME } from '../messages.js';

// This script, for a worker. script_app serves the other bundle from the same URL, by a query that it puts in here. A classic
// script has no import.meta.
const url = import.meta.url ?? globalThis.document?.currentScript?.src;
export const SELF = { url, type: import.meta.url ? 'module' : 'classic', query: '' };

const watching = new Set();               // who is told, once, that it does not come
let loading, hasCome, tries = 0;

// Firefox keeps a module that has failed, by its URL.
function find() {
  const { query, url } = SELF;
  const again = tries++ ? `&${tries}` : '';
  if (query) return import(new URL(query + again, url));
  if (tries % 2) return import('./eventsource-hub-reader.js');  // as a bundler knows it
  return import(new URL(`eventsource-hub-reader.js?${again}`, url));
}

// A cache may have the bundle of another release.
async function ask() {
  const bundle = await find();
  if (bundle.connect) throw new Error(`the bundle that reads streams is this script: a cache ignores the query of ${SELF.url}`);
  if (bundle.NAME !== NAME) throw new Error(`the bundle that reads streams is ${bundle.NAME}, not ${NAME}`);
  return bundle;
}

async function load(resolve) {
  for (let pause = LOOK_EVERY; !hasCome; pause = Math.min(2 * pause, MAX_DELAY)) {
    ask().then(bundle => {
      hasCome = true;
      watching.clear();
      resolve(bundle);
    }, error => {
      for (const tell of watching) tell(error);
      watching.clear();
    });
    await later(pause);
  }
}

// The bundle, as soon as it comes. A dead connection never answers: it is asked for again, ever later. A slow one may answer
// the first time.
export function readerBundle(tell) {
  if (!hasCome) watching.add(tell);
  return loading ??= new Promise(load);
}

// Of a script that has both.
export function keepReaderBundle(bundle) {
  hasCome = true;
  loading = Promise.resolve(bundle);
}
