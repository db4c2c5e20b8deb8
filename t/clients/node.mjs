// npm's eventsource, each event as a line of JSON: node node.mjs MODULES VERSION PHASE=URL...
// MODULES is the folder of the packages, VERSION the major version.

import {createRequire} from 'node:module';
import {pathToFileURL} from 'node:url';

const [modules, version, ...streams] = process.argv.slice(2);
const packages = createRequire(`${modules}/`);
const main = packages.resolve(`eventsource-${version}`);
const imported = version === '2' ? {EventSource: packages(main)} : await import(pathToFileURL(main));

for (const stream of streams) {
    const [, phase, url] = /^(\w+)=(.*)/.exec(stream);
    const say = line => process.stdout.write(`${JSON.stringify({phase, ...line})}\n`);
    const source = new imported.EventSource(url);
    for (const name of ['message', 'custom', 'done', 'finish', 'gap', 'position']) {
        source.addEventListener(name, ({type, data, lastEventId}) => say({type, data, id: lastEventId}));
    }
    // Version 2 closes itself after the event.
    source.onerror = ({message}) =>
        setImmediate(() => say({state: source.readyState === 2 ? 'end' : 'error', error: message}));
}
