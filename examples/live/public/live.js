// A window of the demonstration: a stream whose events update the page.

import { connect } from './hub.js';

const NAMES = ['Teal', 'Violet', 'Blue', 'Amber', 'Pink', 'Lime'];
const ROWS = 200; // notes that the page keeps
const SHOWN = 60; // seconds of a chart

const element = id => document.getElementById(id);
const setText = (at, text) => { if (at.textContent !== String(text)) at.textContent = text; }; // is announced once
const show = (id, text) => setText(element(id), text);
const count = number => number.toLocaleString('en');
const several = (number, noun) => `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
const milliseconds = number => `${number.toFixed(number < 10 ? 1 : 0)} ms`;
const span = (className, text) => Object.assign(document.createElement('span'), {className, textContent: text});

// This window: the author that other windows show, and an id that stays when the page is loaded anew.
let me = new URLSearchParams(location.search).get('as') ?? NAMES[Math.floor(Math.random() * NAMES.length)];
window.name ||= `w${crypto.getRandomValues(new Uint32Array(2)).join('')}`;

function setAuthor(item, author) {
  item.textContent = author ?? '';
  item.dataset.tone = NAMES.includes(author) ? NAMES.indexOf(author) : 'none';
}

// The stream. Tabs share one by default; here each window is somebody, whom the others see come and leave, and whose connection
// can be cut alone. So it has a stream of its own, which tells the name of now whenever it reconnects.

let opened = 0;
let replayed = 0;
let gaps = 0;
let here;
let absence; // the last time without a stream: {since, until, isComplete, notes, gap, row, clock}
let cutSeconds = 0; // how long the next one shall last

const hub = connect(`window?window=${window.name}`, {
  share: false,
  key: 'tile',
  headers: async () => {
    if (absence) await new Promise(go => setTimeout(go, absence.since + cutSeconds * 1000 - performance.now()));
    return {'X-Name': encodeURIComponent(me)};
  },
});
hub.onerror = streamLost;

// `here` is sent first and has the number of events published so far: those of them that follow are replayed. With a store
// a hub does not count them one by one, so the time tells. A hub's ids are its epoch, a dash and a sequence number.
hear('here', data => { here = data; streamOpened(); showWorker(); });
hear('notes', (note, id) => { addNote(note, id); eventReceived(id, note.time); });
hear('figures', (figures, id) => { drawFigures(figures); eventReceived(id, figures.time); });
hear('gap', ({reason}) => { show('told', ++gaps); gapReceived(reason); });

const isReplayed = (id, time) => opened > 1 && (here.store ? time < here.time : +id.split('-')[1] <= here.published);

function hear(channel, handle) {
  hub.addEventListener(channel, ({data, lastEventId}) => handle(JSON.parse(data), lastEventId));
}

for (const type of ['notes', 'figures', 'gap', 'position', 'board', 'forget', 'join', 'update', 'leave']) {
  hub.addEventListener(type, ({lastEventId}) => show('last-event-id', lastEventId));
}

// The status of the connection, as the page shows it: all of it follows from `absence` and `opened`.

const STATES = {connecting: 'connecting', open: 'open', lost: 'reconnecting', refused: 'refused; reload the page'};
const GAPS = {unknown: 'the hub was restarted: notes may be missing', evicted: 'notes are missing: the history no longer has them'};
const gapText = reason => GAPS[reason] ?? GAPS.evicted;

const isAway = () => absence && !absence.until;
const stateNow = () => hub.readyState === hub.CLOSED ? 'refused' : isAway() ? 'lost' : opened ? 'open' : 'connecting';
const awaySeconds = () => ((absence.until ?? performance.now()) - absence.since) / 1000;

function showConnection() {
  const state = stateNow();
  element('state').dataset.state = state;
  setText(element('state').firstElementChild, STATES[state]);
  show('countdown', state === 'lost' ? `${Math.round(awaySeconds())} s` : '');
  if (absence) setText(absence.row, isAway() ? 'Not connected' : `Disconnected for ${awaySeconds().toFixed(1)} s${missed()}`);
}

// Until the replay ends, nobody knows that no note was missed.
function missed() {
  const {gap, isComplete, notes} = absence;
  const replay = notes ? `, ${several(notes, 'note')} replayed` : '';
  return gap ? `${replay}; ${gapText(gap)}` : replay || (isComplete ? ', no notes missed' : '');
}

function streamOpened() {
  show('opened', ++opened);
  cutSeconds = 0;
  if (absence) absence.until ??= performance.now(), clearInterval(absence.clock);
  showConnection();
}

function streamLost() {
  if (opened && !isAway()) {
    absence = {since: performance.now(), notes: 0, row: addBreak('')};
    absence.clock = setInterval(showConnection, 250);
  }
  showConnection();
}

// A gap before or in the replay belongs to the absence. Later the hub has dropped what this window has not read.
function gapReceived(reason) {
  if (!absence || absence.isComplete) return addBreak(gapText(reason).replace(/^./, first => first.toUpperCase()));
  absence.gap = reason;
  showConnection();
}

function eventReceived(id, time) {
  if (!absence || isAway() || absence.isComplete || isReplayed(id, time)) return;
  absence.isComplete = true;
  showConnection();
}

// Notes.

let pending; // the last note of this window, until it is received

function addNote({from, text, time}, id) {
  const row = document.createElement('li');
  const author = span('author', '');
  setAuthor(author, from);
  const at = document.createElement('time');
  at.textContent = new Date(time * 1000).toLocaleTimeString('en-GB');
  row.append(at, author, span('text', text));
  if (isReplayed(id, time)) {
    row.className = 'replayed';
    row.append(span('badge', 'replayed'));
    show('replayed', ++replayed);
    if (absence) absence.notes++, showConnection();
  } else if (opened) row.className = 'new';
  row.append(span('id', id));
  addRow(row);
  if (pending && from === me && text === pending.text) {
    show('there-and-back', milliseconds(performance.now() - pending.since));
    pending = null;
  }
}

function addBreak(text) {
  const row = Object.assign(document.createElement('li'), {className: 'break', textContent: text});
  addRow(row);
  return row;
}

function addRow(row) {
  element('notes').append(row);
  while (element('notes').children.length > ROWS) element('notes').firstChild.remove();
}

// Who is here, and the board: the state of two channels, which the script follows.

const people = hub.members();
people.addEventListener('change', () => {
  const named = [...people.values()].sort((one, other) => one.name.localeCompare(other.name));
  element('people').replaceChildren(...named.map(({id, name}) => {
    const person = document.createElement('li');
    setAuthor(person, name);
    person.className = id === window.name ? 'author me' : 'author';
    return person;
  }));
});

const tiles = Array.from({length: 12}, (_, number) => {
  const tile = Object.assign(document.createElement('button'), {type: 'button'});
  tile.ariaLabel = `Tile ${number + 1}`;
  tile.onclick = () => ask('board', {tile: number, from: tile.textContent ? null : me});
  return tile;
});

hub.state().addEventListener('change', ({key, value}) => { if (tiles[key]) setAuthor(tiles[key], value?.from); });

element('tiles').append(...tiles);

// Requests of the page.

const ask = (path, what) =>
  fetch(path, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(what)});

element('write').onsubmit = event => {
  event.preventDefault();
  const text = element('note').value.trim();
  element('note').value = '';
  if (!text) return;
  pending = {text, since: performance.now()};
  ask('notes', {from: me, text});
};

// Has the server end this stream.
const cut = seconds => { cutSeconds = seconds; ask('cut', {window: window.name}); };
element('cut').onclick = () => cut(2);
element('cut-for-long').onclick = () => cut(10);

const act = what => ask('act', {what, from: me, pid: String(here.pid)});
element('kill-worker').onclick = () => act('worker');
element('deploy').onclick = () => act('deploy');
element('kill-hub').onclick = () => act('hub');

// Figures and charts.

class Chart {
  constructor(card, {label, text, least}) {
    Object.assign(this, {label, text, least, points: [], at: card.querySelector('.figure')});
    this.box = document.createElement('div');
    this.box.className = 'chart';
    this.box.innerHTML = `
      <svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img">
        <path class="grid" d="M0 0H100M0 25H100M0 50H100M0 75H100M0 100H100"/><path class="area"/><path class="line"/>
      </svg>
      <div class="scale" aria-hidden="true"><span></span><span></span><span></span></div>
      <div class="times" aria-hidden="true"><span>${SHOWN} s ago</span><span>now</span></div>`;
    card.append(this.box);
  }

  add(time, value) {
    this.points.push({time, value});
    while (this.points[0].time < time - SHOWN - 5) this.points.shift();
    const most = roundUp(Math.max(this.least, ...this.points.map(point => point.value)));
    const line = this.points.map(point =>
      [100 - (time - point.time) / SHOWN * 100, 100 - point.value / most * 100].map(number => +number.toFixed(2)));
    this.box.querySelector('.line').setAttribute('d', `M${line.join('L')}`);
    this.box.querySelector('.area').setAttribute('d', `M${line[0][0]} 100L${line.join('L')}V100Z`);
    const marks = this.box.querySelectorAll('.scale span');
    [most, most / 2, 0].forEach((mark, row) => { marks[row].textContent = mark ? this.label(mark) : '0'; });
  }

  show(main, beside) {
    this.at.querySelector('output').textContent = main;
    this.at.querySelector('small').textContent = beside;
    this.box.querySelector('svg').setAttribute('aria-label', `${this.text}, the last ${SHOWN} seconds; now ${main}`);
  }
}

// Rounds up to one of 1, 2, 5, 10, 20, 50, ... so that the scale of a chart changes seldom.
function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map(step => step * power).find(step => step >= number);
}

const charts = {
  deliveries: new Chart(element('deliveries'), {text: 'Events delivered', least: 10, label: number => `${count(number)}/s`}),
  request: new Chart(element('request'), {text: 'Time of an ordinary request', least: 5, label: number => `${number} ms`}),
};

let before; // the previous figures

function drawFigures(figures) {
  const {time, hub, crowd} = figures;
  show('streams', count(hub.streams));
  const windows = several(Math.max(hub.streams - crowd.connected, 0), 'window');
  show('about', `${windows} and ${crowd.connected} of ${several(crowd.size, 'client')} that reconnect at random`);
  show('returns', count(crowd.returns));
  for (const figure of ['missed', 'twice']) {
    show(figure, count(crowd[figure]));
    element(figure).className = crowd[figure] ? 'bad' : 'good';
  }
  show('gaps', count(hub.gaps));
  processes = figures.processes;
  showWorker();
  drawSeats(crowd.seats);
  if (before && time > before.time && hub.delivered >= before.hub.delivered) {
    const rate = (hub.delivered - before.hub.delivered) / (time - before.time);
    charts.deliveries.add(time, rate);
    const totals = `${count(hub.published)} published, ${count(hub.delivered)} delivered${savings(hub.compression)}`;
    charts.deliveries.show(`${count(Math.round(rate))}/s`, totals);
  }
  if (crowd.took) {
    charts.request.add(time, crowd.took * 1000);
    const slowest = Math.max(...charts.request.points.map(point => point.value));
    charts.request.show(milliseconds(crowd.took * 1000), `process ${figures.pid}; ${milliseconds(slowest)} at most`);
  }
  before = figures;
}

// How many bytes compression has saved.
function savings({before: bytes, after}) {
  return bytes ? `, ${count(bytes - after)} bytes saved (${Math.round(100 * (1 - after / bytes))} %)` : '';
}

let processes; // the newest list of the server's processes

// What happens when a hub with a store is killed.
const KEPT = {
  file: 'When the hub is killed, clients reconnect and miss nothing: it keeps its events in a file.',
  redis: 'When the hub is killed, clients reconnect and miss nothing: it keeps its events in Redis.',
};

// The worker that has opened this window's stream, and whether it still runs.
function showWorker() {
  element('processes').hidden = !here.has_process;
  if (here.store) show('when-killed', KEPT[here.store]);
  show('worker', here.pid);
  if (!processes) return;
  const {workers, hub} = processes;
  const isOver = workers.length > 0 && !workers.includes(here.pid);
  show('worker-state', isOver ? 'has ended' : '');
  show('workers', workers.join(' '));
  show('hub', hub ?? '–');
}

function drawSeats(seats) {
  const box = element('seats');
  while (box.children.length < seats.length) box.append(document.createElement('i'));
  while (box.children.length > seats.length) box.lastChild.remove();
  box.dataset.size = seats.length > 600 ? 'small' : seats.length > 240 ? 'medium' : 'large';
  [...seats].forEach((seat, at) => { box.children[at].className = seat === '1' ? 'lit' : ''; });
}

element('as').onchange = () => {
  me = element('as').value.trim() || me;
  element('as').value = me;
  setAuthor(element('me'), me);
  ask('name', {window: window.name, as: me});
};

element('as').value = me;
setAuthor(element('me'), me);
