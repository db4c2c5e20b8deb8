// The classic script defines one global object.

import * as hub from './eventsource-hub.js';

declare global {
    var EventSourceHub: { connect: typeof hub.connect; Parser: typeof hub.Parser };
}
