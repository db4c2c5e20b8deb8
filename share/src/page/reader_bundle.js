// Loads the bundle of whoever reads streams.

import { now, later } from '../clock.js';
import { LOOK_EVERY, MAX_DELAY } from '../messages.js';

// This script, for a worker. script_app serves the other bundle from the same URL, by a query that it puts in here. A classic
// script has no import.meta.
const url = import.meta.url ?? globalThis.document?.currentScript?.src;
export const SELF = { url, type: import.meta.url ? 'module' : 'classic', query: '' };

const LATE = 3e3;                         // ms

let loading, tries = 0;

// Firefox keeps a module that has failed, by its URL.
function find() {
  const { query, url } = SELF;
  const again = tries++ ? `&${tries}` : '';
  if (query) return import(new URL(query + again, url));
  if (tries % 2) return import('./eventsource-hub-reader.js');  // as a bundler knows it
  return import(new URL(`eventsource-hub-reader.js?${again}`, url));
}

async function load() {
  for (let pause = LOOK_EVERY; ; pause = Math.min(2 * pause, MAX_DELAY)) {
    const started = now();
    try {
      const found = await Promise.race([find(), later(LATE)]);
      if (found) return found;
    } catch (error) {
      if (tries < 2) console.warn(error);
    }
    await later(started + pause - now());
  }
}

// The bundle, as soon as it comes. A dead connection never answers: it is asked for again, ever later.
export const readerBundle = () => loading ??= load();

// Of a script that has both.
export const keepReaderBundle = bundle => { loading = Promise.resolve(bundle) };
