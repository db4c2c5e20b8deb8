// What bench/peers/run measures as better-sse: sessions in one channel, on Node's own http server, in one process.
//
//   GET  /events                             a stream
//   POST /push?rounds=R&interval=S&bytes=B   broadcasts R events, S seconds apart or flat out with 0, each with B bytes of
//                                            data; answers when all are broadcast, which is not when all are sent
//
// Between two events the event loop has a turn: Node sends nothing before, and would keep all events for all clients in
// memory. The data is sent as it is, not as JSON, so that it is the same bytes as everywhere; less work than the default.

import {createServer} from "node:http";
import {setImmediate as turn, setTimeout as sleep} from "node:timers/promises";
import {createChannel, createSession} from "better-sse";

const channel = createChannel();
const now = () => process.hrtime.bigint(); // CLOCK_MONOTONIC in ns, as the client of the benchmark reads it
let lastId = 0;

async function publish({rounds, interval, bytes}) {
    const intervalNs = BigInt(Math.round(interval * 1e9));
    let due = now();
    let late = 0;
    for (let round = 0; round < rounds; round++) {
        const pauseNs = due - now();
        if (pauseNs > 0n) await sleep(Math.ceil(Number(pauseNs) / 1e6));
        else await turn();
        const data = `${due} ${now()} `.padEnd(bytes, "x");
        channel.broadcast(data, "message", {eventId: String(++lastId)});
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
        channel.register(await createSession(request, response, options));
    } else if (url.pathname === "/push") {
        const plan = Object.fromEntries([...url.searchParams].map(([name, value]) => [name, Number(value)]));
        response.end(JSON.stringify(await publish(plan)));
    } else {
        response.writeHead(404).end();
    }
});
server.requestTimeout = 0; // a push may take minutes
server.listen({port: Number(process.env.PEER_PORT), host: "127.0.0.1", backlog: 1024});
