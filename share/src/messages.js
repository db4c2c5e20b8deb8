// The messages between tabs and a SharedStream, which reads the stream for all of them: in a SharedWorker; without one in the
// tab that holds the lock of the stream's key, which is elected anew when that tab goes or hangs; without locks in each tab
// for itself.
//
// message    from whom to whom      fields                          what follows
// hello      tab to stream          place and seed of the replica;  the welcome, when the stream is open and knows what the
//                                   to a worker key, request, tab   tab lacks; until then its state. elsewhere, if the tab is
//                                                                   of another user. The seed, which a BroadcastChannel has
//                                                                   not, is what a stream begins with. isSettled: the stream
//                                                                   begins there after its next event only. hasMoved: it has
//                                                                   begun again for this tab
// call       tab to stream          call: 'renew', 'wake', 'ask'    an empty message; the response and the wait for the next
//                                                                   one end, or that wait, or nothing
// bye        tab to worker          bye                             the stream ends if it was the last tab
// alive      worker to tab          alive: the name of a lock       when the tab is granted it, that worker has ended: the tab
//                                                                   joins the next one
// welcome    stream to the tab of   welcome: the place; entries;    a tab of this owner that is still where it asked (asked)
//            the hello; at first    asked: tag of the hello; '': to dispatches the entries, takes the place, and follows the
//            to all                 tabs without an id              stream
// leads      a new stream to all    leads                           a tab that follows no stream says hello
// entries    stream to all          entries                         a tab that follows dispatches them; it says hello again
//                                                                   if one is not the next after its own
// state      stream to all, and to  readyState, status, reason,     the events open, error and transport, and the end. reason:
//            a tab that waits       elsewhere                       why it polls. elsewhere: whose cookies ended it; a tab
//                                                                   without an owner joins that stream
// elsewhere  stream to a tab        elsewhere: a user               the tab joins another stream, of that user
// trouble    worker to a tab        trouble: an error               the console has it: that of a worker is out of sight
// yields     stream to a tab        yields; term: the next one      the stream begins again where the tab is, which leads the
//                                                                   next term if it was elected
//
// From a worker they are JSON. In a BroadcastChannel those of tabs have their sender (from), those for one tab its name (to),
// and all have their term.

import { now } from './clock.js';

export const NAME = 'eventsource-hub 9';  // the number is that of the messages, and of the bundles
export const CONNECTING = 0, OPEN = 1, CLOSED = 2;
export const FINISHED = 'eventsource-finished';  // the id of a stream that its server has finished
export const MAX_DELAY = 3e4;             // ms between two attempts, unless Retry-After says more; until an answer
export const LOOK_EVERY = 5e3;            // ms

export const newId = () => NAME + Math.random() + now();
