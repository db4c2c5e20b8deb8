// The bundle of a page: server-sent events by a stream that does not give up, one for all tabs, with its state as maps.
// Its manual is EventSource::Browser, of the distribution EventSource-XS.

import { NAME } from './messages.js';
import { Hub } from './page/hub.js';
import { serveTabs } from './page/worker.js';

export { Parser } from './parser.js';

// Opens the stream of a URL.
export const connect = (url, options) => new Hub(url, options);

// The SharedWorker of the tabs; an application's own one has another name.
if ('onconnect' in globalThis && globalThis.name === NAME) serveTabs();
