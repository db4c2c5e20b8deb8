// Parses streams with the parser of a script, whole and cut in many ways: node parse.mjs SCRIPT < STREAMS
//
// Reads [base64] in each line; writes a JSON object for each: the events of the whole stream, the last event ID, the
// reconnection time, and the first way of cutting the stream that gives anything else.

import {createInterface} from 'node:readline';
import {pathToFileURL} from 'node:url';

const {Parser} = await import(pathToFileURL(process.argv[2]));
const SHORT = 200;  // bytes of a stream that is cut at every offset
const WAYS = 5;     // of cutting a stream at random
let random = 1;

function parse(pieces) {
  const events = [];
  const parser = new Parser(event => events.push(event));
  const decoder = new TextDecoder();
  for (const piece of pieces) parser.push(decoder.decode(piece, {stream: true}));
  return JSON.stringify({events, id: parser.lastEventId, retry: parser.retry ?? null});
}

function cut(bytes, ...offsets) {
  return [0, ...offsets].map((offset, at) => bytes.subarray(offset, offsets[at] ?? bytes.length));
}

// A linear congruential generator: the same cuts in every run.
function draw(limit) {
  random = (random * 1103515245 + 12345) % 2 ** 31;
  return (random >> 16) % limit;
}

function* ways(bytes) {
  yield cut(bytes, ...bytes.keys());
  if (bytes.length <= SHORT) for (const offset of bytes.keys()) yield cut(bytes, offset);
  for (let way = 0; way < WAYS; way++) {
    const offsets = Array.from({length: 1 + draw(20)}, () => draw(bytes.length + 1));
    yield cut(bytes, ...offsets.sort((a, b) => a - b));
  }
}

for await (const line of createInterface({input: process.stdin})) {
  const bytes = Buffer.from(JSON.parse(line)[0], 'base64');
  const whole = parse([bytes]);
  const strange = [...ways(bytes)].find(pieces => parse(pieces) !== whole);
  const pieces = strange?.map(piece => piece.toString('latin1')) ?? null;
  console.log(JSON.stringify({...JSON.parse(whole), strange: pieces && {pieces, seen: parse(strange)}}));
}
