// The links of a tab to what reads the stream for it.

import { newId, NAME } from '../messages.js';
import { elect } from './election.js';
import { hold, locks } from './locks.js';
import { SELF, readerBundle } from './reader_bundle.js';
import { plain } from './url.js';

// Each link has how to send to a SharedStream, and how to leave it. A function that makes one throws, or calls fail(), where it
// does not work; fail(true) for another try.
export function linkToWorker(hub, fail) {
  const { key, request, script } = hub;
  const gone = new AbortController();
  // The page may be of another kind than its worker; as a module, both kinds work.
  const { href } = plain(script);
  const worker = new SharedWorker(href, { type: href === SELF.url ? SELF.type : 'module', name: NAME });
  const { port } = worker;
  const name = newId();
  worker.onerror = () => fail();
  port.onmessage = ({ data }) => {
    data = JSON.parse(data);
    if (data.trouble) console.warn(`${script}: ${data.trouble}`);
    // At once, Firefox would connect to the worker that has ended.
    if (data.alive) locks?.request(data.alive, gone, () => setTimeout(fail, 1000, true)).catch(() => {});
    hub.receive(data);
  };
  const greet = tab => port.postMessage({ key, request, tab, ...hub.hello });
  hold(name, gone, () => greet(name)).catch(() => greet());
  return {
    send: message => port.postMessage(message),
    // Chromium freezes a worker with its last page, before it hears and with its stream open. A message to a page in the
    // back/forward cache has it dropped.
    leave(isHidden) {
      gone.abort();
      port.postMessage({ bye: true });
      port.onmessage = worker.onerror = null;  // Chromium keeps both until the page ends
      port.close();
      if (isHidden) {
        new BroadcastChannel(name).onmessage = fail;
        new BroadcastChannel(name).postMessage(0);
      }
    },
  };
}

// The tab reads the stream itself. The bundle for that may come when it has left; until then the link is late.
const readHere = make => (hub, fail) => {
  let link, isLeft;
  readerBundle(console.warn).then(({ SharedStream }) => isLeft || (link = make(hub, fail, SharedStream))).catch(() => fail());
  return {
    get isLate() {
      return !link;
    },
    send: message => link?.send(message),
    leave() {
      isLeft = true;
      link?.leave();
    },
  };
};

export const linkToElectedTab = readHere(elect);

export const linkToOwnStream = readHere((hub, fail, SharedStream) => {
  const stream = new SharedStream(hub.request, hub.hello.seed, message => hub.receive(message));
  queueMicrotask(() => hub.greet());
  return { send: message => stream.onTabMessage({ ...message, came: 0 }), leave: () => stream.close() };
});
