// Lines in the console of the page, each once: what the script finds wrong, and what mends it.

export const SHOW = "give the hub show_channel => 'data'";

const LOG_IN = 'is the visitor logged in, and may this page read it?';
const REMEDIES = {
  0: 'is the server there, and does it allow pages of this origin?',
  200: 'is this the URL of a stream, and is the visitor logged in?',
  401: LOG_IN,
  403: LOG_IN,
  404: 'is the URL right?',
  429: 'see max_streams and max_streams_per of the server',
};

// What became of a request, by the status of its answer; nothing, if that was meant so.
export function troubleOf(status, isEnd) {
  if (status === undefined || status === 204) return;
  const answer = { 0: 'no answer that the page may read', 200: 'the answer is no event stream' }[status] ?? `the answer has the status ${status}`;
  const remedy = REMEDIES[status] ?? (status > 499 ? "see the server's log" : 'see "connect" in EventSource::Browser');
  return `${answer}${isEnd ? ', so the stream has ended' : ''}: ${remedy}`;
}

export class Warnings {
  #url;
  #given = new Set();

  constructor(url) {
    this.#url = url;
  }

  // A kind is warned of once; without a text it is passed over.
  warn(kind, text) {
    if (!this.#given.has(kind) && text) console.warn(`${this.#url}: ${text}`);
    this.#given.add(kind);
  }
}
