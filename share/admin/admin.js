// The admin page of a hub. "admin_app" in perldoc EventSource::Hub is its manual.
//
// All text of others (names, data, labels, lines of the log) becomes the text of nodes, never HTML.

import { connect } from './eventsource-hub.js';

const $ = id => document.getElementById(id);
const MAX_ROWS = 200;                     // of the tail
const MAX_PACE = 120;                     // looks that the curve shows
const SPAN = 10;                          // seconds over which events are counted, as the hub does for its channels
const ASK_EVERY = 1000;                   // ms between two looks, at least
const ASK_WITHIN = 10000;                 // and at most, however long one takes
const TAKE_EVERY = 100;                   // ms between two times that events of the tail are shown
const MAX_TAKEN = 20;                     // of them at a time

const view = { channel: '', filter: '' };
let looks = [];                           // the last ones of one process, within a span
let asked, timer, tail, pace = [], isPaused = false, held = [], taken = [], skipped = 0;

const format = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const number = value => format.format(value);
const rate = value => value === 0 ? '0' : value < 0.1 ? '< 0.1' : value < 10 ? value.toFixed(1) : number(value);
const plural = (count, word) => `${count} ${word}${count === '1' ? '' : 's'}`;

function bytes(value) {
  const at = value < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(value) / 10));
  return `${number(value / 1024 ** at)} ${['bytes', 'KiB', 'MiB', 'GiB', 'TiB'][at]}`;
}

function duration(seconds) {
  const [unit, size] = [['days', 86400], ['hours', 3600], ['minutes', 60]].find(([, least]) => seconds >= 2 * least) ?? ['seconds', 1];
  return `${number(Math.floor(seconds / size))} ${unit}`;
}

const clock = seconds => new Date(seconds * 1000).toLocaleTimeString('en-GB');

// An element with children, which are nodes or texts.
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.map(child => child?.nodeType ? child : visible(child)));
  return element;
}

// A text whose control characters, marks of direction and other characters that nobody sees are seen: a name cannot pose as
// another one.
function visible(text) {
  return `${text ?? ''}`.replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu,
    char => `\\u{${char.codePointAt(0).toString(16)}}`);
}

// A text that has not changed is left alone: a reader may be selecting it, and a screen reader would read it again.
function write(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

const listed = {};
function list(id, items, makeItem, none) {
  const all = JSON.stringify([items, none]);
  if (listed[id] === all) return;
  listed[id] = all;
  const remark = none && make('li', { class: 'none' }, none);
  $(id).replaceChildren(...items.map(makeItem), ...remark ? [remark] : []);
}

function state(text, kind) {
  write('state', text);
  $('state').dataset.kind = kind;
}

// The conclusions from a look.

const perSecond = (field, from, to) => (to[field] - from[field]) / (to.time - from.time);

function show(look) {
  if (looks.at(-1)?.pid !== look.pid || looks.at(-1).published > look.published) looks = [];
  const [last] = looks.slice(-1);
  looks = [...looks.filter(({ time }) => look.time - time < SPAN + 0.5), { ...look, channels: undefined, lines: undefined }];
  if (last) pace = [...pace, perSecond('published', last, look)].slice(-MAX_PACE);
  const [first] = looks;
  const published = last && perSecond('published', first, look), delivered = last && perSecond('delivered', first, look);
  const trouble = look.store && !look.store.up ? 'the store is down' : look.trouble;
  state(visible(trouble ?? 'open'), trouble ? 'bad' : 'good');
  showProcess(look);
  showFlow(look, published, delivered);
  showNumbers(look);
  showChannels(look);
  showChosen(look.chosen);
  if (view.channel && !tail) follow(view.channel);
  showStore(look.store);
  list('log', look.lines.slice().reverse(), ({ time, message }) => make('li', {}, make('time', {}, clock(time)), ' ', message),
    look.lines.length ? '' : look.name !== null ? 'no line yet' : 'a hub without a name has no hub process, and no log of its own');
}

function showProcess(look) {
  const parts = [look.name !== null ? `hub process ${look.pid}` : `the hub of the process ${look.pid}`];
  if (look.age !== undefined) parts.push(`up for ${duration(look.age)}`);
  if (look.version !== undefined) parts.push(`version ${look.version}`);
  if (look.workers) parts.push(plural(number(look.workers.length), 'worker') + ' connected');
  write('process', parts.join(' · '));
  const name = visible(look.name ?? 'without a name');
  write('hub', name);
  document.title = `Hub ${name}`;
}

function showFlow(look, published, delivered) {
  const streams = plural(number(look.streams), 'stream');
  let text;
  if (published === undefined) text = `${streams} open; looking how many events come\u2026`;
  else if (!published) text = `No event has come for ${duration(look.time - looks[0].time)}; ${number(look.published)} came before. ${streams} wait${look.streams === 1 ? 's' : ''} for the next.`;
  else text = `${rate(published)} events a second come, and ${rate(delivered)} are sent a second, to ${streams}.`;
  write('flow', text);
  if (!pace.length) return;
  const most = Math.max(1, ...pace);
  const points = pace.map((value, at) => `${2 * (MAX_PACE - pace.length + at)},${(38 - 36 * value / most).toFixed(1)}`);
  $('pace').firstElementChild.setAttribute('d', `M${points.join('L')}`);
}

function showNumbers(look) {
  const slow = Object.values(look.slow ?? {}).reduce((sum, count) => sum + count, 0);
  const { waiting, ...polls } = look.polls ?? {};
  const reasons = Object.entries(polls).filter(([, count]) => count);
  const { issued, accepted, too_large: tooLarge, ...refused } = look.tickets ?? {};
  const refusals = Object.entries({ 'too large': tooLarge, ...refused }).filter(([, count]) => count);
  const numbers = [
    ['Streams', look.streams], ['Channels', look.counted], ['Members here', look.members?.here],
    ['Events published', look.published], ['Events sent', look.delivered], ['In the history', look.history?.events],
    ['In the state', look.state?.keys], ['Streams resumed', look.resumed], ['Gaps', look.gaps, look.gaps > 0],
    ['Slow clients', slow, slow > 0], ['Streams refused', look.refused, look.refused > 0],
    ['Polls that wait', waiting], ...reasons.map(([reason, count]) => [`Polls: ${reason}`, count, true]),
    ['Tickets issued', issued], ['Streams by ticket', accepted],
    ...refusals.map(([reason, count]) => [`Tickets: ${reason}`, count, reason !== 'expired']),
  ];
  $('numbers').replaceChildren(...numbers.filter(([, value]) => value !== undefined).map(([name, value, isWarning]) =>
    make('div', isWarning ? { class: 'warning' } : {}, make('dt', {}, name), make('dd', {}, number(value)))));
  $('note').hidden = look.name !== null;
  write('note', 'This hub has no name: each process of the server has its own, and these are the counts of the one that has answered. With a name all of them share one hub.');
}

function showChannels(look) {
  const { channels, matching, problem } = look;
  const more = matching - channels.length;
  write('shown', problem ?? (more > 0 ? `the ${number(channels.length)} busiest; ${number(more)} more` : plural(number(matching), 'channel')));
  const table = $('channels');
  const old = new Map([...table.children].map((row, at) => [row.dataset.channel, { row, at }]));
  // Nothing moves under the pointer or the keyboard of a reader.
  const order = ({ name }) => old.get(name)?.at ?? Infinity;
  if (table.matches(':hover, :focus-within')) channels.sort((a, b) => order(a) - order(b) || 0);
  const rows = channels.map(channel => showChannel(old.get(channel.name)?.row ?? makeChannel(channel.name), channel));
  if (rows.length !== table.childElementCount || rows.some((row, at) => row !== table.children[at])) table.replaceChildren(...rows);
}

function makeChannel(name) {
  const button = make('button', { type: 'button' }, name);
  const row = make('tr', {}, make('th', { scope: 'row' }, button), ...Array.from({ length: 4 }, () => make('td', {})));
  button.dataset.channel = row.dataset.channel = name;
  return row;
}

function showChannel(line, { name, ...counts }) {
  const cells = [rate(counts.rate), number(counts.subscribers), number(counts.events), number(counts.keys)];
  cells.forEach((cell, at) => { line.children[at + 1].textContent = cell });
  line.classList.toggle('busy', counts.rate > 0);
  line.querySelector('button').setAttribute('aria-pressed', String(name === view.channel));
  return line;
}

function showChosen(chosen) {
  if (!chosen || chosen.name !== view.channel) return;
  write('counts', countsOf(chosen));
  const { members, state: retained = [], keys = 0 } = chosen;
  const member = ({ id, data, streams }) =>
    make('li', {}, make('b', {}, id), ` ${plural(number(streams), 'stream')} `, make('code', {}, data));
  list('members', members, member, chosen.has_more_members ? 'and more' : members.length ? '' : 'nobody');
  const rest = keys - retained.length;
  const more = rest <= 0 ? '' : retained.length ? `and ${number(rest)} more` : `${plural(number(keys), 'key')}, which are not read here`;
  list('retained', retained, row, keys || retained.length ? more : 'nothing is retained');
}

function countsOf({ name, subscribers, rate: perSecond, events, bytes: size }) {
  if (name.includes('*')) return 'The events of all channels that match.';
  if (subscribers === undefined) return 'There is no channel with this name now.';
  return [`${rate(perSecond)} events a second over ${SPAN} s`, `${plural(number(subscribers), 'stream')} (a tail is one, too)`,
    `${number(events)} events and ${bytes(size)} in the history`].join(' · ');
}

function showStore(store) {
  if (!store) return void ($('store').textContent = 'In the memory of this process.');
  const parts = [`${store.kind}${store.place ? ` (${store.place})` : ''}`];
  if (store.kind !== 'memory') {
    parts.push(store.up ? 'up' : 'down', `${number(store.events)} events, ${bytes(store.bytes)}`, `${number(store.pending)} wait to be stored`);
    if (store.failed) parts.push(`${number(store.failed)} could not be stored`);
    if (store.last_error) parts.push(`last error ${duration(store.last_error_age)} ago: ${store.last_error}`);
  }
  write('store', visible(parts.join(' · ')));
  $('store').classList.toggle('problem', !store.up);
}

// The tail.

function row({ channel, event, id, data, length }) {
  const size = length > data.length ? [make('i', {}, ` \u2026 ${number(length)} characters`)] : [];
  const parts = [channel && make('b', {}, channel), event !== 'message' && make('em', {}, event), id && make('small', {}, id)];
  return make('li', channel ? {} : { class: 'own' }, ...parts.filter(Boolean).flatMap(part => [part, ' ']), make('code', {}, data), ...size);
}

// Takes an event of the tail. More than a page can show may come at once.
function take(event) {
  if (!taken.length) setTimeout(showTaken, TAKE_EVERY);
  taken.push(event);
  if (taken.length > MAX_TAKEN) skipped++, taken.shift();
}

function showTaken() {
  const added = taken.splice(0).map(row).reverse();
  if (skipped) added.push(make('li', { class: 'none' }, `${number(skipped)} events are not shown: more come than this page can show`));
  skipped = 0;
  if (isPaused) {
    held = [...added, ...held].slice(0, MAX_ROWS);
    $('held').textContent = `${number(held.length)} held back`;
    return;
  }
  const target = $('tail');
  target.prepend(...added);
  while (target.childElementCount > MAX_ROWS) target.lastElementChild.remove();
}

const remark = text => take({ channel: '', event: 'message', id: '', data: text, length: text.length });

// A URL of this application. fetch refuses the name and password that the page's own may have.
function here(path) {
  const url = new URL(path, location);
  url.username = url.password = '';
  return url;
}

// Asks for a look, and then for the next one. A query that is not the last one is over.
async function ask(query = asked = new URLSearchParams(Object.entries(view).filter(([, value]) => value))) {
  clearTimeout(timer);
  const began = performance.now();
  const failed = (text, flow = '') => { looks = []; state(text, 'bad'); write('flow', visible(flow)) };
  try {
    const response = await fetch(here(`look?${query}`));
    const { ok, status } = response, answer = await (ok ? response.json() : response.text());
    if (query !== asked) return;
    if (ok) show(answer);
    else if (status === 503) failed('the hub process is away; waiting for it', answer);
    else return failed(`this page may not read any more (${status}): load it again`, answer);
  } catch {
    if (query === asked) failed('no connection to the server; trying again');
  }
  const took = performance.now() - began;                               // many channels take time
  const pause = Math.min(Math.max(ASK_EVERY, 10 * took), ASK_WITHIN);
  if (query === asked) timer = setTimeout(ask, pause, query);
}

// The tail is the events themselves.
async function follow(channel) {
  const current = tail = connect(`tail?${new URLSearchParams({ channel })}`, { share: false, state: 0 });
  try {
    for await (const { type, data, lastEventId } of current) {
      if (current !== tail) return;
      if (type !== 'position') take({ channel: type === 'gap' ? '' : channel, event: type, id: lastEventId, data: data.slice(0, 1000), length: data.length });
    }
  } catch { if (current === tail) remark('the tail has ended') }
}

// The actions of the reader.

function choose(channel) {
  view.channel = channel;
  location.hash = channel ? `#${encodeURIComponent(channel)}` : '';
  $('chosen').hidden = !channel;
  $('name').textContent = visible(channel);
  $('counts').textContent = '';
  for (const id of ['tail', 'members', 'retained']) {
    delete listed[id];
    $(id).replaceChildren();
  }
  [held, taken, skipped] = [[], [], 0];
  if (channel) $('channel').value = channel;
  for (const button of $('channels').querySelectorAll('button')) button.setAttribute('aria-pressed', String(button.dataset.channel === channel));
  tail?.close();
  tail = undefined;
  ask();
}

function pause(isOn) {
  isPaused = isOn;
  $('pause').setAttribute('aria-pressed', String(isOn));
  $('held').textContent = '';
  if (isOn) return;
  $('tail').prepend(...held);
  held = [];
  showTaken();
}

// Sends a form, and shows what the server answers.
async function send(form, done) {
  const output = form.querySelector('output');
  const fields = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value]));
  output.textContent = '\u2026';
  try {
    const response = await fetch(here(form.id), { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(fields) });
    output.textContent = visible(response.ok ? done(await response.json()) : await response.text());
  } catch { output.textContent = 'no answer: it is not known whether it was done' }
}

$('channels').addEventListener('click', ({ target }) => {
  const { channel } = target.closest('button')?.dataset ?? {};
  if (channel !== undefined) choose(channel === view.channel ? '' : channel);
});
$('choose').addEventListener('submit', event => { event.preventDefault(); choose($('other').value) });
$('close').addEventListener('click', () => choose(''));
$('clear').addEventListener('click', () => { held = []; $('held').textContent = ''; $('tail').replaceChildren() });
$('pause').addEventListener('click', () => pause(!isPaused));
let typing;
$('filter').addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => { view.filter = $('filter').value; ask() }, 300);
});
$('publish').addEventListener('submit', event => { event.preventDefault(); send(event.target, ({ id }) => `published as ${id}`) });
$('end').addEventListener('submit', event => { event.preventDefault(); send(event.target, ({ count }) => `${plural(number(count), 'stream')} ended`) });
addEventListener('hashchange', () => {
  const channel = hash();
  if (channel !== view.channel) choose(channel);
});

function hash() {
  try { return decodeURIComponent(location.hash.slice(1)) } catch { return '' }
}

choose(hash());
