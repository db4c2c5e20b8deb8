// The SharedWorker of the tabs: the streams that it reads for them, by their keys.

import { now } from '../clock.js';
import { CLOSED, newId } from '../messages.js';
import { locks } from './locks.js';
import { readerBundle } from './reader_bundle.js';

const streams = new Map();
const alive = newId();                    // the name of a lock that this worker has

function open({ key, request, seed }, SharedStream) {
  const ports = new Set();
  // A tab may still greet a stream that has ended, when another one has its key.
  const forget = () => streams.get(key) === stream && streams.delete(key);
  const send = (message, to) => {
    const data = JSON.stringify(message);  // it is copied for each tab faster than objects are
    for (const port of to ? [to] : ports) port.postMessage(data);
    if (message.readyState === CLOSED) forget();
    // Events that the server sends meanwhile are read later, as one message: so nothing waits in a worker that is killed.
    return new Promise(resolve => setTimeout(resolve, Math.min(8, message.entries?.length)));
  };
  const stream = new SharedStream(request, seed, send);
  stream.ports = ports;
  stream.leave = port => {
    if (!ports.delete(port) || ports.size) return;
    stream.close();
    forget();
  };
  streams.set(key, stream);
  return stream;
}

async function serve({ ports: [port] }) {
  const early = [];
  port.onmessage = ({ data }) => {
    early.push(data);
    port.postMessage('{}');               // the tab knows that the worker lives
  };
  const { SharedStream } = await readerBundle(error => port.postMessage(JSON.stringify({ trouble: `${error}` })));
  let stream;
  const take = data => {
    data.came = now();
    if (data.key) {
      stream = streams.get(data.key) ?? open(data, SharedStream);
      stream.ports.add(port);
      stream.send({ alive }, port);
      if (data.tab) locks?.request(data.tab, () => stream.leave(port));
    }
    if (data.bye) stream?.leave(port);
    else stream?.onTabMessage(data, port);
  };
  early.forEach(take);
  port.onmessage = ({ data }) => take(data);
}

export function serveTabs() {
  locks?.request(alive, () => new Promise(() => {}));
  globalThis.onconnect = serve;
}
