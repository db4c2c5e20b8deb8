// The bundle of whoever reads a stream: a SharedWorker, an elected tab, or a tab that shares none.

export { SharedStream } from './reader/shared_stream.js';
export { NAME } from './messages.js';
