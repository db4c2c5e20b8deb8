"""The peer sse-starlette of bench/peers/run and bench/storm: a queue for each stream, in one process of uvicorn.

    GET  /events   a stream
    POST /say      publishes an event whose data is the body

It offers nothing to resume with: a stream begins with the next event.
"""

import asyncio
import os

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

queues = set()
last_id = 0


async def stream():
    queue = asyncio.Queue()
    queues.add(queue)
    try:
        while True:
            yield await queue.get()
    finally:
        queues.discard(queue)


async def events(request):
    return EventSourceResponse(stream(), ping=15)


async def say(request):
    global last_id
    last_id += 1
    event = ServerSentEvent(data=(await request.body()).decode(), id=str(last_id))
    for queue in queues:
        queue.put_nowait(event)
    return Response()


app = Starlette(routes=[Route("/events", events), Route("/say", say, methods=["POST"])])
uvicorn.run(
    app,
    host="127.0.0.1",
    port=int(os.environ["PEER_PORT"]),
    loop="uvloop",
    http="httptools",
    backlog=1024,
    log_level="warning",
    timeout_graceful_shutdown=1,
)
