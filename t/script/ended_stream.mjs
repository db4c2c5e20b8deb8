// The worker of the script, in which a stream ends while a message of a tab is under way: node ended_stream.mjs SCRIPT
//
// A tab greets the stream that has ended when a later tab has begun another one. It prints the number of requests of three tabs.

import {readFileSync} from 'node:fs';

const RESPONSES = [{status: 204, headers: new Headers()}];
const stream = {
  status: 200,
  headers: new Headers({'Content-Type': 'text/event-stream'}),
  body: {getReader: () => ({read: () => new Promise(() => {})})},
};
let asked = 0;
globalThis.fetch = async () => RESPONSES[asked++] ?? stream;
globalThis.navigator ??= {};
globalThis.onconnect = null;
const script = readFileSync(process.argv[2], 'utf8');
[, globalThis.name] = /"(eventsource-hub \d+)"/.exec(script);
(0, eval)(script);

const request = {url: 'http://localhost/events', method: 'GET', gap: 'gap', position: 'position', start: 0, history: 1e6};

// Returns how to greet again when the worker has heard the tab.
async function open() {
  const port = {postMessage() {}};
  await globalThis.onconnect({ports: [port]});
  port.onmessage({data: {key: 'events', request, hello: true}});
  await new Promise(resolve => setTimeout(resolve));
  return () => port.onmessage({data: {hello: true}});
}

const greetAgain = await open();
await open();
greetAgain();
await open();
console.log(asked);
process.exit();
