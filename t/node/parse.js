// Parses blocks of an event stream with npm's eventsource-parser, each on its own.
//
// Reads one base64 string a line; writes one JSON object a line: the events as an EventSource would dispatch them, the
// comments, the reconnection times, and whatever line was neither of these nor a field of the standard.

import {createParser} from 'eventsource-parser';
import {createInterface} from 'node:readline';

function parse(bytes) {
  const seen = {events: [], comments: [], retries: [], strange: []};
  let lastEventId = '';
  const parser = createParser({
    onEvent({event = 'message', id, data}) {
      lastEventId = id ?? lastEventId;
      seen.events.push({event, id: lastEventId, data});
    },
    onComment: comment => seen.comments.push(comment),
    onRetry: retry => seen.retries.push(retry),
    onError({type, line}) {
      if (type !== 'invalid-retry') seen.strange.push(line);
    },
  });
  parser.feed(new TextDecoder('utf-8', {fatal: true}).decode(bytes));
  return seen;
}

for await (const line of createInterface({input: process.stdin})) {
  console.log(JSON.stringify(parse(Buffer.from(line, 'base64'))));
}
