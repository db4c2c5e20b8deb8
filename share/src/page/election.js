// The tab that reads the stream for all, where there is no SharedWorker.
//
// A tab that has no answer leads the next term, which has a lock of its own. A leader that hangs does not know: when it wakes
// up, tabs of a later term do not hear what it sends, and the first message of a later leader ends it. So no event comes twice.
// Were its lock stolen, tabs could not tell what it sends before it hears of that. Only a leader moves others to its term: were
// they to ask for the lock of that, too, one of them might get it, who knows no more than the leader that has yielded.

import { NAME, newId } from '../messages.js';
import { hold } from './locks.js';

export function elect(hub, fail, SharedStream) {
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
      hub.receive({ yields: data.yields });
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
