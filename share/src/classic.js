// Both bundles as a classic script, which defines the global EventSourceHub: an old worker cannot import, and does not know
// where its script comes from.

import { connect, Parser } from './page.js';
import { keepReaderBundle } from './page/reader_bundle.js';
import { SharedStream } from './reader.js';

keepReaderBundle({ SharedStream });
globalThis.EventSourceHub = { connect, Parser };
