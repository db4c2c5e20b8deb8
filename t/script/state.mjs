// Follows the maps of a hub while it changes them, and prints what they have after each step: node state.mjs SCRIPT < CASES
//
// CASES has [{url, options, names}] in a line: the URL of a hub of state.psgi, and the names of the maps' channels, if it shows
// them. With only: 'ready' the map is followed until the state is complete. With only: 'lines' it is followed until another
// event has come, and the result has the lines of the console.

import {text} from 'node:stream/consumers';
import {pathToFileURL} from 'node:url';

const lines = [];
console.warn = line => lines.push(line);

const {connect} = await import(pathToFileURL(process.argv[2]));

async function until(condition) {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5));
}

const numbers = map => [...map].map(([key, value]) => [key, value.left]);

async function follow({url, options, only, names: [stock, people] = []}) {
  if (only === 'lines') {
    const hub = connect(`${url}/events?member=${Math.random()}`, options);
    const map = hub.state(stock);
    await hub.ready;
    const came = new Promise(resolve => hub.addEventListener('plain', resolve, {once: true}));
    await fetch(`${url}/plain`);
    await came;
    hub.close();
    return {said: lines.filter(line => line.startsWith(hub.url)), size: map.size};
  }
  if (only) return {left: numbers(await connect(url, options).state().ready)};
  const ask = path => fetch(`${url}/${path}`).then(response => response.text());
  const enter = id => connect(`${url}/events?member=${id}`, options);
  const steps = [];
  let changes = [], least = Infinity;
  await ask('set?key=a&left=1');
  await ask('set?key=b&left=2');

  const hub = enter('ann');
  const second = enter('ann');            // its map is asked for later
  const left = hub.state(stock), here = hub.members(people);
  for (const map of [left, here]) {
    map.addEventListener('change', ({key, value, previous}) => {
      least = Math.min(least, left.size);
      changes.push([key, value?.left ?? value?.name ?? null, previous?.left ?? previous?.name ?? null]);
    });
  }
  const step = (name, given) => {
    steps.push({name, changes, least, left: numbers(left), here: [...here.keys()], ...given});
    [changes, least] = [[], Infinity];
  };

  await Promise.all([hub.ready, left.ready, here.ready, second.ready]);
  await until(() => here.has('ann'));
  step('begins');
  await ask('update?key=c&left=3');
  await ask('set?key=a&left=4');
  await until(() => left.get('a').left === 4);
  step('set');
  await ask('forget?key=a');
  await until(() => !left.has('a') && second.lastEventId === hub.lastEventId);
  step('forget', {later: numbers(second.state(stock))});
  second.close();
  const other = enter('bob');
  await until(() => here.has('bob'));
  other.close();
  await until(() => !here.has('bob'));
  step('members');
  const complete = new Promise(resolve => {
    hub.addEventListener('gap', () => hub.addEventListener('position', resolve), {once: true});
  });
  await ask('away');
  await complete;
  await until(() => here.has('ann'));
  step('gap');
  hub.close();
  const late = await left.ready.then(() => 'kept', () => 'rejected');
  const never = connect(`${url}/events?member=eve`, options);
  never.close();
  const counted = connect(`${url}/hall`, options);
  const hall = counted.members(people && 'hall');
  const told = [];
  for (const type of ['change', 'count']) hall.addEventListener(type, event => told.push([type, event.key, hall.count]));
  await until(() => told.length);
  const lobby = people && counted.members('lobby');
  const others = people ? ['bob', 'cleo'].map(id => connect(`${url}/lobby?member=${id}`, options)) : [];
  await until(() => !lobby || lobby.count === 2);
  others.forEach(other => other.close());
  counted.close();
  const said = lines.filter(line => line.startsWith(`${url}/`));
  return {steps, late, told, said, closed: await never.state(stock).ready.then(() => 'kept', () => 'rejected')};
}

const cases = (await text(process.stdin)).trim().split('\n').map(line => JSON.parse(line)[0]);
for (const result of await Promise.all(cases.map(follow))) console.log(JSON.stringify(result));
process.exit();
