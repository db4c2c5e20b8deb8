// The clients that need a browser. Each event that one delivers is sent to the parent page as a line.

const query = new URLSearchParams(location.search);
const [client, phase, url] = ['client', 'phase', 'url'].map(name => query.get(name));
const TYPES = ['message', 'custom', 'done', 'finish', 'gap', 'position'];

const say = line => parent.postMessage({client, phase, ...line}, '*');
const event = ({type, data, lastEventId}) => say({type, data, id: lastEventId ?? ''});

const script = src => new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement('script'), {src, onload: resolve, onerror: reject});
    document.head.append(element);
});

const listen = source => {
    for (const type of TYPES) source.addEventListener(type, event);
    source.onerror = () => say({state: source.readyState === 2 ? 'end' : 'error'});
};

const CLIENTS = {
    'Chromium': () => listen(new EventSource(url)),

    'event-source-polyfill': async () => {
        await script('/modules/event-source-polyfill/src/eventsource.js');
        listen(new EventSourcePolyfill(url));
    },

    'fetch-event-source': async () => {
        const {fetchEventSource} = await import('/modules/@microsoft/fetch-event-source/lib/esm/index.js');
        const onerror = () => { say({state: 'error'}) };
        const onmessage = ({event: type, data, id}) => event({type: type || 'message', data, lastEventId: id});
        await fetchEventSource(url, {openWhenHidden: true, onerror, onmessage});
        say({state: 'end'});
    },

    // The page has the signals that it was sent; the client shows all its events as datastar-fetch.
    'Datastar': async () => {
        document.addEventListener('datastar-fetch', ({detail: {type, argsRaw}}) => {
            if (type === 'datastar-patch-signals') {
                const {gap, sent} = JSON.parse(argsRaw.signals);
                event(gap ? {type: 'gap', data: ''} : {type: 'message', data: sent});
            }
            else if (type === 'finished' || type === 'retries-failed') say({state: 'end'});
            else if (type === 'retrying') say({state: 'error'});
            else if (type !== 'started') event({type, data: JSON.stringify(argsRaw)});
        });
        const element = document.createElement('div');
        element.dataset.init = `@get('${url}', {openWhenHidden: true})`;
        document.body.append(element);
        await import('datastar');
    },

    'htmx': async () => {
        await script('/modules/htmx.org/dist/htmx.js');
        await script('/modules/htmx-ext-sse/sse.js');
        const element = document.createElement('div');
        element.setAttribute('hx-ext', 'sse');
        element.setAttribute('sse-connect', url);
        for (const type of TYPES) {
            const target = document.createElement('div');
            target.setAttribute('sse-swap', type);
            element.append(target);
        }
        element.addEventListener('htmx:sseMessage', ({detail}) => event(detail));
        element.addEventListener('htmx:sseError', () => say({state: 'error'}));
        document.body.append(element);
        htmx.process(element);
    },

    'htmx 4': async () => {
        await script('/modules/htmx-4/dist/htmx.js');
        await script('/modules/htmx-4/dist/ext/hx-sse.js');
        const element = document.createElement('div');
        element.setAttribute('hx-sse:connect', url);
        element.setAttribute('hx-swap', 'none');
        element.setAttribute('hx-config', '{"sse": {"pauseOnBackground": false}}');
        element.addEventListener('htmx:sse:after:message', ({detail: {message: {event: type, data, id}}}) =>
            event({type: type || 'message', data, lastEventId: id}));
        element.addEventListener('htmx:sse:error', () => say({state: 'error'}));
        for (const type of ['htmx:sse:close', 'htmx:error', 'htmx:after:request'])
            element.addEventListener(type, () => say({state: 'end'}));
        document.body.append(element);
        htmx.process(element);
    },
};

say({state: 'starts'});
CLIENTS[client]().catch(error => say({state: 'end', error: `${error}`}));
