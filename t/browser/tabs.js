// The page of tabs.psgi: it connects to the URL of its query, and keeps what it receives.

const query = new URLSearchParams(location.search);
for (const name of (query.get('without') ?? '').split(',')) {
    if (name === 'SharedWorker') delete globalThis.SharedWorker;
    if (name === 'locks') Object.defineProperty(navigator, 'locks', {value: undefined});
}
if (query.has('heard')) {
    window.heard = [];
    globalThis.SharedWorker = class extends SharedWorker {
        constructor(...given) {
            super(...given);
            this.port.addEventListener('message', ({data}) => window.heard.push(data));
        }
    };
}
if (query.has('dead')) {
    const real = SharedWorker;
    globalThis.SharedWorker = function () {
        globalThis.SharedWorker = real;
        this.port = new MessageChannel().port1;
    };
}

const received = window.received = [];  // numbers, and the reasons of gaps
const events = window.events = [];      // what the stream itself reports
const mine = window.mine = [];          // the events of the user
window.known = {};                      // the maps, by channel

// The numbers that do not follow the one before.
window.violations = () => received.map((number, at) => at && number !== received[at - 1] + 1 && `${number} after ${received[at - 1]}`)
    .filter(violation => violation);

// The name of the tab whose page reads the stream.
window.leader = async () => {
    const {held} = await navigator.locks.query();
    const term = ({name}) => /[0-9]*$/.exec(name)[0];
    const its = held.filter(({name}) => name.startsWith('eventsource-hub') && name.includes('{'))
        .sort((one, other) => term(one) - term(other)).at(-1)?.clientId;
    return held.find(({name, clientId}) => clientId === its && name.startsWith('tab '))?.name.slice(4);
};
addEventListener('pageshow', ({persisted}) => { window.persisted = persisted; });

// What a page that is prerendered has asked for, and when it has a stream.
const requested = [];
if (document.prerendering) {
    const real = fetch;
    globalThis.fetch = (...given) => {
        requested.push(given[0]);
        return real(...given);
    };
}

async function begin() {
    const {connect} = globalThis.EventSourceHub ?? await import('/hub.js');
    const options = JSON.parse(query.get('options') ?? '{}');
    const hub = window.hub = connect(query.get('url'), options);
    hub.onopen = () => events.push('open');
    hub.onerror = ({status}) => events.push(status ? `error ${status}` : 'error');
    hub.onmessage = ({data}) => {
        const {channel, data: number} = data[0] === '{' ? JSON.parse(data) : {channel: 'numbers', data};
        if (channel === 'numbers') received.push(+number);
        if (parent !== window) parent.postMessage(received, '*');
    };
    hub.addEventListener('transport', ({transport, reason}) => events.push(`${transport} ${reason}`));
    hub.addEventListener('mine', ({data}) => mine.push(data));
    hub.addEventListener('gap', ({data}) => received.push(JSON.parse(data).reason));
    for (const name of query.getAll('state')) window.known[name] = hub.state(name);
    for (const name of query.getAll('members')) window.known[name] = hub.members(name);
    if (document.prerendering) {
        hub.addEventListener('open', () => { localStorage.shown = 'open'; });
        setTimeout(() => { localStorage.prerendered = `requested ${JSON.stringify(requested)}`; });
    }
    navigator.locks?.request(`tab ${query.get('tab')}`, () => new Promise(() => {}));
}
begin();
