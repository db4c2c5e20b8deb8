// A worker of an application, dedicated or shared, which has a stream of the script. It answers each message with what that was
// and what the stream has brought.

import {connect} from '/hub.js';

const numbers = [];
const hub = connect('/numbers');
hub.onmessage = ({data}) => numbers.push(+data);

function serve(port) {
    port.addEventListener('message', ({data}) => port.postMessage({data, numbers, state: hub.readyState, url: hub.url}));
    port.start?.();
}

if ('onconnect' in globalThis) globalThis.addEventListener('connect', ({ports: [port]}) => serve(port));
else serve(globalThis);
