"""The Python clients, each event as a line of JSON: python python.py CLIENT PHASE=URL...

httpx-sse and sseclient-py leave it to the application to reconnect: the loop below does so, with the last event ID, until
the response is 204."""

import json
import sys
import threading
import time

PAUSE = 0.05  # seconds


def httpx_sse(url, headers):
    import httpx
    import httpx_sse

    with httpx.Client(timeout=httpx.Timeout(30), trust_env=False) as client:
        with httpx_sse.connect_sse(client, "GET", url, headers=headers) as source:
            if source.response.status_code == 204:
                return
            yield None
            for event in source.iter_sse():
                yield event.event, event.data, event.id


def sseclient_py(url, headers):
    import requests
    import sseclient

    session = requests.Session()
    session.trust_env = False
    response = session.get(url, headers=headers, stream=True, timeout=30)
    if response.status_code == 204:
        return
    yield None
    for event in sseclient.SSEClient(response).events():
        yield event.event, event.data, event.id


CLIENTS = {"httpx-sse": httpx_sse, "sseclient-py": sseclient_py}
write = threading.Lock()


def say(phase, **line):
    with write:
        print(json.dumps({"phase": phase, **line}), flush=True)


def read(client, phase, url):
    last, opened = "", True
    while opened:
        opened = False
        try:
            headers = {"Accept": "text/event-stream"}
            if last:
                headers["Last-Event-ID"] = last
            for event in CLIENTS[client](url, headers):
                opened = True
                if event is not None:
                    kind, data, event_id = event
                    last = event_id or last
                    say(phase, type=kind, data=data, id=event_id or "")
            say(phase, state="closed" if opened else "end")
        except Exception as error:  # whatever the client raises for a cut
            opened = True
            say(phase, state="error", error=f"{type(error).__name__}: {error}")
        time.sleep(PAUSE)


threads = [threading.Thread(target=read, args=(sys.argv[1], *stream.split("=", 1)), daemon=True) for stream in sys.argv[2:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
