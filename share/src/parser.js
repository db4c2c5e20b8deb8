// Parses a stream (WHATWG HTML, section 9.2.6). Calls onEvent for each event, and onPosition for an id without an event.
export class Parser {
  rest = '';                              // of a line that has not ended
  #skipsLF = false;
  #data = '';
  #type = '';
  #id;
  retry;                                  // ms, as the stream said last
  keepalive;                              // s: a stream that is silent for twice as long does not come through
  hasId;                                  // the block has an id of its own, as each event of a hub
  #hasComments;                           // they come through, as the keepalives have to

  constructor(onEvent, lastEventId = '', onPosition = () => {}) {
    Object.assign(this, { onEvent, onPosition });
    this.#id = this.lastEventId = lastEventId;
  }

  // Takes the next characters, wherever they were cut.
  push(text) {
    if (!text) return;
    const end = /\r\n?|\n/g;
    let start = end.lastIndex = this.#skipsLF && text[0] === '\n' ? 1 : 0;
    for (let found; (found = end.exec(text)); start = end.lastIndex) {
      const line = this.rest + text.slice(start, found.index);
      this.rest = '';
      this.#take(line);
    }
    this.rest += text.slice(start);
    this.#skipsLF = text.endsWith('\r');
  }

  #take(line) {
    if (!line) return this.#dispatch();
    const [, field, value] = /^([^:]*):? ?(.*)/s.exec(line);
    if (field === 'data') this.#data += value + '\n';
    else if (field === 'event') this.#type = value;
    else if (field === 'id' && !value.includes('\0')) [this.#id, this.hasId] = [value, true];
    else if (field === 'retry' && /^[0-9]+$/.test(value)) this.retry = +value;
    else if (field === 'keepalive' && this.#hasComments) this.keepalive = +value || this.keepalive;
    else if (!field) this.#hasComments = true;
  }

  #dispatch() {
    const data = this.#data, type = this.#type || 'message';
    const before = this.lastEventId;
    this.#data = this.#type = '';
    this.lastEventId = this.#id;
    if (data) this.onEvent({ type, data: data.slice(0, -1), lastEventId: this.#id });
    else if (this.#id !== before) this.onPosition(this.#id);
    this.hasId = false;
  }
}
