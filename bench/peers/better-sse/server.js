// The peer better-sse of bench/peers/run and bench/storm: sessions in one channel, on Node's own HTTP server, in one process.
//
//   GET  /events                             a stream
//   POST /push?rounds=R&interval=S&bytes=B   broadcasts R events, S seconds apart or flat out if S is 0, each with B bytes
//                                            of data. Answers when all are broadcast; they may not all be sent then.
//   POST /say                                broadcasts an event whose data is the body
//
// A session knows the last id of its client (lastId). What is to be sent again is up to the application: with PEER_KEEP it
// keeps so many events.
//
// The event loop has a turn between two events. Otherwise Node would send nothing and keep all events in memory. The data is
// sent unchanged instead of as JSON, so that the bytes are those of the other peers; this is less work than the default.

import {createServer} from "node:http";
import {setImmediate as turn, setTimeout as sleep} from "node:timers/promises";
import {createChannel, createSession} from "better-sse";

const channel = createChannel();
const now = () => process.hrtime.bigint(); // CLOCK_MONOTONIC in ns, which the benchmark's client reads too
const kept = [];
const keep = Number(process.env.PEER_KEEP || 0);
let lastId = 0;

function broadcast(data) {
    lastId++;
    if (keep) {
        kept.push({id: lastId, data});
        if (kept.length > keep) kept.shift();
    }
    channel.broadcast(data, "message", {eventId: String(lastId)});
}

async function body(request) {
    let text = "";
    for await (const piece of request) text += piece;
    return text;
}

async function publish({rounds, interval, bytes}) {
    const intervalNs = BigInt(Math.round(interval * 1e9));
    let due = now();
    let late = 0;
    for (let round = 0; round < rounds; round++) {
        const pauseNs = due - now();
        if (pauseNs > 0n) await sleep(Math.ceil(Number(pauseNs) / 1e6));
        else await turn();
        const data = `${due} ${now()} `.padEnd(bytes, "x");
        broadcast(data);
        const then = now();
        due = intervalNs ? due + intervalNs : then;
        if (then > due) late++;
    }
    return {pushed: rounds, late};
}

const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    if (url.pathname === "/events") {
        const options = {keepAlive: 15_000, serializer: (data) => data};
        const session = await createSession(request, response, options);
        if (session.lastId !== "") {
            const from = kept.findLastIndex(({id}) => id <= Number(session.lastId)) + 1;
            for (const {id, data} of kept.slice(from)) session.push(data, "message", String(id));
        }
        channel.register(session);
    } else if (url.pathname === "/say") {
        broadcast(await body(request));
        response.end();
    } else if (url.pathname === "/push") {
        const plan = Object.fromEntries([...url.searchParams].map(([name, value]) => [name, Number(value)]));
        response.end(JSON.stringify(await publish(plan)));
    } else {
        response.writeHead(404).end();
    }
});
server.requestTimeout = 0; // a push may take minutes
server.listen({port: Number(process.env.PEER_PORT), host: "127.0.0.1", backlog: 1024});
