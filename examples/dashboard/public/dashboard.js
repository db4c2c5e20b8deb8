// The page of the demonstration: one EventSource, and what its events change; and one ordinary request a second, to see
// that the server answers while it holds all its streams.

const SHOWN = 60; // seconds that a chart shows
const LINES = 200; // lines of the log that the page keeps
const ROWS = 8; // processes of the server that are listed
const TONES = 6; // colours that processes can have
const PATIENCE = 5000; // milliseconds for an ordinary request

const element = id => document.getElementById(id);
const show = (id, text) => { element(id).textContent = text; };

// A chart is a list of {time, values}; each value becomes a line. The scale is fixed by `most`, or grows with what it
// has to show, from `least` on.
class Chart {
  constructor(card, {label, text, lines = 1, most, least = 0}) {
    Object.assign(this, {label, text, lines, most, least, points: [], at: card.querySelector('.figure')});
    const names = ['first', 'second'].slice(0, lines);
    this.box = document.createElement('div');
    this.box.className = 'chart';
    this.box.innerHTML = `
      <svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img">
        <path class="grid" d="M0 0H100M0 25H100M0 50H100M0 75H100M0 100H100"/>
        ${names.map(name => `<path class="area ${name}"/><path class="line ${name}"/>`).join('')}
      </svg>
      <div class="scale" aria-hidden="true"><span></span><span></span><span></span></div>
      <div class="times" aria-hidden="true"><span>${SHOWN} s ago</span><span>now</span></div>`;
    card.append(this.box);
  }

  add(time, values) {
    this.points.push({time, values});
    while (this.points[0].time < time - SHOWN - 5) this.points.shift();
    this.draw(time);
  }

  draw(now) {
    const most = this.most?.() ?? roundUp(Math.max(this.least, ...this.points.flatMap(point => point.values)));
    for (let line = 0; line < this.lines; line++) {
      const runs = this.runs().map(run => run.map(({time, values}) =>
        [100 - (now - time) / SHOWN * 100, 100 - values[line] / most * 100].map(number => +number.toFixed(2))));
      const [area, stroke] = this.box.querySelectorAll(line ? '.second' : '.first');
      stroke.setAttribute('d', runs.map(run => `M${run.join('L')}`).join(''));
      area.setAttribute('d', runs.map(run => `M${run[0][0]} 100L${run.join('L')}V100Z`).join(''));
    }
    const marks = this.box.querySelectorAll('.scale span');
    [most, most / 2, 0].forEach((mark, row) => { marks[row].textContent = mark ? this.label(mark) : '0'; });
  }

  // Points that follow each other; where the stream was interrupted, the line is.
  runs() {
    const runs = [];
    let before = -Infinity;
    for (const point of this.points) {
      if (point.time - before > 3) runs.push([]);
      runs.at(-1).push(point);
      before = point.time;
    }
    return runs;
  }

  tell(main, beside) {
    this.at.querySelector('output').textContent = main;
    if (beside) this.at.querySelector('small').replaceChildren(...beside);
    this.box.querySelector('svg').setAttribute('aria-label', `${this.text}, the last ${SHOWN} seconds; now ${main}`);
  }
}

// The next of 1, 2, 5, 10, 20, 50, ... so that a scale does not change with every point.
function roundUp(number) {
  const power = 10 ** Math.floor(Math.log10(Math.max(number, 1e-3)));
  return [1, 2, 5, 10].map(step => step * power).find(step => step >= number);
}

function bytes(number, digits = 1) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) { number /= 1000; unit++; }
  return `${number.toFixed(unit && number < 100 ? digits : 0)} ${units[unit]}`;
}

const percent = number => `${Math.round(number)} %`;
const rate = number => `${bytes(number)}/s`;
const roundRate = number => rate(number).replace('.0 ', ' ');
const count = number => number.toLocaleString('en');
const milliseconds = number => `${number.toFixed(number < 10 ? 1 : 0)} ms`;
const several = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;
const key = name => Object.assign(document.createElement('span'), {className: `key ${name}`});

// What is drawn, and how a figure becomes points and words.

let processors;
let memory = 1;

const charts = {
  cpu: new Chart(element('cpu'), {text: 'Use of the processor', label: percent, most: () => 100}),
  memory: new Chart(element('memory'), {text: 'Memory in use', label: number => bytes(number), most: () => memory}),
  load: new Chart(element('load'), {text: 'Load', least: 1, label: number => number.toFixed(number % 1 ? 1 : 0)}),
  network: new Chart(element('network'), {text: 'Network', least: 1000, label: roundRate, lines: 2}),
  request: new Chart(element('request'), {text: 'Time of an ordinary request', least: 10, label: number => `${number} ms`}),
};

const readers = {
  cpu(cpu) {
    charts.cpu.tell(percent(cpu));
    return [cpu];
  },
  memory({used, total}) {
    memory = total;
    charts.memory.tell(bytes(used), [`of ${bytes(total)}, ${percent(used / total * 100)}`]);
    return [used];
  },
  load([one, five, fifteen]) {
    const cores = processors ? `; ${processors} core${processors > 1 ? 's' : ''}` : '';
    charts.load.least = processors ?? 1;
    charts.load.tell(one.toFixed(2), [`${five.toFixed(2)} in 5 min, ${fifteen.toFixed(2)} in 15${cores}`]);
    return [one];
  },
  network({received, sent}) {
    charts.network.tell(rate(received), [key('first'), 'received', key('second'), `sent ${rate(sent)}`]);
    return [received, sent];
  },
};

function drawFigures(figures) {
  drawWorkers(figures);
  for (const [name, read] of Object.entries(readers)) {
    if (name in figures) charts[name].add(figures.time, read(figures[name]));
    else if (!charts[name].points.length) sayNone(charts[name]);
  }
}

// Two figures in a row without it: this system does not tell.
function sayNone(chart) {
  chart.missed = (chart.missed ?? 0) + 1;
  if (chart.missed === 3) {
    chart.box.className = 'chart none';
    chart.box.textContent = 'This system does not tell.';
  }
}

function addLine(number, line) {
  const [, time, text, status = ''] = line.match(/^(\S+) (.*?)(?: HTTP\/[\d.]+ (\d{3}))?$/) ?? [line, '', line];
  const item = document.createElement('li');
  const isNote = text.startsWith('NOTE ');
  item.className = `new ${isNote ? 'note' : status >= '400' ? 'trouble' : 'fine'}`;
  const parts = {number, time, text: isNote ? text.slice(5) : text, status};
  for (const [name, value] of Object.entries(parts)) {
    const part = document.createElement(name === 'time' ? 'time' : 'span');
    part.className = name;
    part.textContent = value;
    item.append(part);
  }
  const log = element('log');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
  log.append(item);
  while (log.children.length > LINES) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// Who holds the streams: the server's processes, each with a colour as long as it runs, and what the crowd sees of them.

const tones = new Map();

function giveTones(pids) {
  for (const pid of tones.keys()) if (!pids.includes(pid)) tones.delete(pid);
  for (const pid of pids.filter(pid => !tones.has(pid))) {
    const taken = [...tones.values()];
    const free = [...Array(TONES).keys()].find(tone => !taken.includes(tone));
    tones.set(pid, free ?? pid % TONES);
  }
}

function drawWorkers({viewers, workers}) {
  giveTones(workers.map(worker => worker.pid));
  const holding = workers.filter(worker => worker.streams).length;
  show('viewers', count(viewers));
  show('holders', `${viewers === 1 ? 'viewer' : 'viewers'}, held by ${several(holding, 'process', 'processes')}`);
  const rows = new Map([...element('workers').rows].map(row => [+row.dataset.pid, row]));
  element('workers').replaceChildren(...workers.slice(0, ROWS).map(({pid, streams, events, bytes: sent}) => {
    const row = rows.get(pid) ?? workerRow(pid);
    row.dataset.tone = tones.get(pid);
    row.querySelector('.bar').style.setProperty('--part', streams / Math.max(viewers, 1));
    [count(streams), count(events), bytes(sent)].forEach((text, cell) => { row.cells[cell + 2].textContent = text; });
    return row;
  }));
}

function workerRow(pid) {
  const row = document.createElement('tr');
  row.innerHTML = `<th scope="row"><i></i> ${pid}</th><td class="part"><div class="bar"></div></td><td></td><td></td><td></td>`;
  row.dataset.pid = pid;
  return row;
}

// One dot a client, in the colour of the process that serves it.
function drawSeats({workers = [], served_by: servedBy = []}) {
  const seats = element('seats');
  while (seats.children.length < servedBy.length) seats.append(document.createElement('i'));
  while (seats.children.length > servedBy.length) seats.lastChild.remove();
  seats.dataset.size = servedBy.length > 600 ? 'small' : servedBy.length > 240 ? 'medium' : 'large';
  servedBy.forEach((worker, seat) => {
    const tone = tones.get(workers[worker]) ?? 'none';
    if (seats.children[seat].dataset.tone !== `${tone}`) seats.children[seat].dataset.tone = tone;
  });
}

function drawCrowd(crowd) {
  drawSeats(crowd);
  element('crowd').classList.toggle('none', !crowd.size);
  if (!crowd.size) return show('crowd-about', 'There is none: script/demo brings one.');
  show('crowd-connected', count(crowd.connected));
  show('crowd-about', `of ${several(crowd.size, 'client')} connected`);
  show('crowd-rate', `${count(Math.round(crowd.rate))}/s`);
  show('crowd-reached', crowd.line ? `${count(crowd.reached)} of ${count(crowd.size)}` : '–');
  element('crowd-reached').dataset.line = crowd.line;
  show('crowd-returns', several(crowd.returns, 'time'));
  for (const name of ['gaps', 'duplicates']) {
    show(`crowd-${name}`, count(crowd[name]));
    element(`crowd-${name}`).className = crowd[name] ? 'bad' : 'good';
  }
}

// The ordinary request: it asks what the crowd sees, by a connection like any other.

async function ask() {
  const begin = performance.now();
  try {
    const response = await fetch('crowd', {cache: 'no-store', signal: AbortSignal.timeout(PATIENCE)});
    const crowd = await response.json();
    showRequest(performance.now() - begin, response.headers.get('X-Worker'));
    drawCrowd(crowd);
  } catch {
    charts.request.tell('–', ['no answer yet']);
  }
  setTimeout(ask, 1000);
}

function showRequest(time, worker) {
  charts.request.add(Date.now() / 1000, [time]);
  const slowest = Math.max(...charts.request.points.map(point => point.values[0]));
  charts.request.tell(milliseconds(time), [`answered by ${worker}; ${milliseconds(slowest)} at most`]);
}

// The stream.

let source;
let received = 0;
let opened = 0;

function showState() {
  const state = ['connecting', 'open', 'closed'][source.readyState];
  element('state').dataset.state = state;
  element('state').firstChild.textContent = state;
  element('toggle').textContent = state === 'closed' ? 'Open a stream' : 'Close this stream';
}

// Hears an event of this name, whose data goes to the handler.
function hear(name, handle) {
  source.addEventListener(name, event => {
    show('received', ++received);
    if (event.lastEventId) show('last-event-id', event.lastEventId);
    handle(event);
  });
}

function open() {
  source = new EventSource('events');
  source.onerror = showState;
  source.onopen = () => { show('opened', ++opened); showState(); };
  hear('figures', event => drawFigures(JSON.parse(event.data)));
  hear('log', event => addLine(event.lastEventId, event.data));
  hear('server', event => {
    const server = JSON.parse(event.data);
    processors = server.processors;
    show('name', server.name);
    show('about', `Perl ${server.perl} on ${server.system}, by server-sent events`);
    show('served-by', `${server.manner} ${server.pid}`);
  });
  showState();
}

element('toggle').onclick = () => {
  if (source.readyState === EventSource.CLOSED) {
    element('log').replaceChildren();
    open();
  } else {
    source.close();
    showState();
  }
};
element('end').onclick = () => fetch('end', {method: 'POST'});
element('write').onsubmit = event => {
  event.preventDefault();
  const note = element('note');
  if (note.value.trim()) fetch('log', {method: 'POST', body: note.value});
  note.value = '';
};

open();
setTimeout(ask, 1000); // when the page itself is there
