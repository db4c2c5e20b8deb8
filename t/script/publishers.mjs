// What publishers can do to a page with the script: node publishers.mjs SCRIPT < CASES
//
// CASES has [{url, path, options, names, member, posts}] in a line: the URL of a hub of publishers.psgi, the member that the page
// waits for, and [type, body] of what is posted while the page has the stream. The result has the maps before and after that,
// what the page received, and what its console says.

import {text} from 'node:stream/consumers';
import {pathToFileURL} from 'node:url';

const {connect} = await import(pathToFileURL(process.argv[2]));
const warnings = [];
console.warn = warning => warnings.push(warning);

const until = async condition => {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5));
};

async function follow({url, path = 'events', options, posts, names: [room] = [], member}) {
  const ask = path => fetch(`${url}/${path}`).then(response => response.text());
  const post = (type, body) => fetch(`${url}/ps/room`, {method: 'POST', headers: {'Content-Type': type}, body}).then(({status}) => status);
  const hub = connect(`${url}/${path}`, {share: false, ...options});
  const state = hub.state(room), members = hub.members(room);
  const received = [], transports = [];
  let errors = 0, isLast;
  hub.addEventListener('error', () => errors++);
  hub.addEventListener('transport', ({transport}) => transports.push(transport));
  hub.onmessage = ({data}) => {
    if (data.includes('the last one')) isLast = true;
    else received.push(data.slice(0, 100));
  };
  await hub.ready;
  await until(() => !member || members.has(member));
  const maps = () => JSON.stringify([[...members], [...state], members.count ?? null]);
  const before = maps(), asked = await ask('../asked'), statuses = [];
  for (const given of posts) statuses.push(await post(...given));
  await post('text/plain', 'the last one');
  await until(() => isLast);
  const result = {before, after: maps(), statuses, received, errors, transports, asked: await ask('../asked') - asked, kept: JSON.stringify(hub.hello).length, sizes: [state.size, members.size]};
  hub.close();
  return result;
}

const cases = (await text(process.stdin)).trim().split('\n').map(line => JSON.parse(line)[0]);
for (const given of cases) {
  const result = await follow(given);
  console.log(JSON.stringify({...result, warnings: warnings.splice(0).map(warning => warning.replace(/^\S+ /, ''))}));
}
process.exit();
