// A tab knows of a stream the newest event of each key, the last events, and the position. An entry is an event with the id
// before it: so a tab knows whether it is the next one; without a type it is an id only. The entries of a state are no
// history, until it is complete: each has the name of that state. An entry has a name of its own (tag), too, and that of the
// entry before it (after): so the stream that made it knows what a tab lacks.

// An event takes more than its characters, all of which publishers write.
const sizeOf = ({ type, data, id }) => (type + data + id).length + 100;

// Names an event: that of a state, and an older one after a gap, say nothing of what came between.
export const markOf = ({ inState, line, id }) => [inState ?? line, id] + '';

// All ids that a hub gives in one life begin with its epoch. Publishers, handlers and other servers use others, and again.
export const epochOf = id => /^[^-]*-/.exec(id)?.[0];

export class Replica {
  #request;
  #ring = [];
  #state = new Map();
  #size = 0;
  #stateSize = 0;
  #isNamed;                               // the last event has an id of the application: the hub's follows it
  // Its place in the stream: { ...replica }.
  last;                                   // undefined until the tab has been welcomed
  isComplete;                             // whether it has a whole state; false: it will have one again
  inState;                                // the name of the state that is not complete
  owner;                                  // whose stream it is
  epoch;                                  // of the hub's ids, as far as is known
  line;                                   // what counts together: a gap begins another line
  mark;                                   // of the last event: positions follow it, which a replay does not repeat
  isCurrent;                              // the hub has said that nothing has come after the last event
  tag;                                    // of the last entry: no other one has it
  count = 0;                              // events with an id of their own
  isFull;                                 // the state has had more than there is room for: keys are missing
  hasPositions = false;                   // its server sends them, as a hub does

  constructor(request, { entries = [], ...place } = {}) {
    this.#request = request;
    for (const entry of entries) this.add(entry);
    Object.assign(this, place);
  }

  get seed() {
    const state = new Set(this.state);
    for (const entry of this.#ring) state.delete(entry);
    return { entries: [...state, ...this.#ring], ...this };
  }

  get request() {
    return this.#request;
  }

  get ring() {
    return this.#ring;
  }

  get state() {
    return this.#state.values();
  }

  isEvent({ type } = {}) {
    return type && type !== this.#request.gap && type !== this.#request.position;
  }

  add(entry) {
    const { gap, position, history, state } = this.#request;
    const { type, id, prev, at } = entry;
    const completes = type === position && !this.isComplete;
    const isEvent = this.isEvent(entry);
    this.last = id;
    this.epoch = type === gap ? entry.epoch : this.epoch ?? entry.epoch;  // a handler may push an id without data later
    this.inState = type === position ? undefined : entry.inState;
    this.hasPositions ||= !type || type === position;
    if (id !== prev || entry.line) this.isCurrent = !isEvent && !entry.line && !entry.inState;
    if (id !== prev) {
      if (isEvent) this.count++;
      if (isEvent || this.#isNamed) this.mark = markOf(entry);
      this.#isNamed = isEvent && this.epoch && epochOf(id) !== this.epoch;
    }
    if (completes) this.isComplete = true;
    if (type === gap) {
      this.isComplete &&= false;
      this.line = this.mark = entry.line;
      this.#ring = [];
      this.#state.clear();
      this.#size = this.#stateSize = 0;
      this.isFull &&= false;
    } else if (at) {
      const place = JSON.stringify([at.channel, at.key, !at.isMember]);
      const old = this.#state.get(place);
      if (old) this.#stateSize -= sizeOf(old);
      this.#state.delete(place);
      if (!at.isGone && this.#stateSize + sizeOf(entry) > state) at.isGone = 2;  // no room, which other tabs are told
      this.isFull ||= at.isGone > 1;
      if (!at.isGone) {
        this.#state.set(place, entry);
        this.#stateSize += sizeOf(entry);
      }
    }
    if (type === position && id === prev && !completes) return;
    this.tag = entry.tag ?? this.tag;
    this.#ring.push(entry);
    this.#size += sizeOf(entry);
    while (this.#size > history) this.#size -= sizeOf(this.#ring.shift());
  }
}
