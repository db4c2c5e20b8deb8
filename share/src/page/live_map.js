// The state of a channel, or its members: a map that follows the events.
export class LiveMap extends Map {
  #target = new EventTarget();
  #stale = new Set();                     // keys of before a gap
  #accepts;
  #isMembers;

  constructor(ready, channel, isMembers) {
    super();
    this.ready = ready.then(() => this);
    this.ready.catch(() => {});
    this.#isMembers = isMembers;
    this.#accepts = ({ at }) => at && (at.isShown ? channel === undefined || channel === at.channel : isMembers === !!at.isMember);
  }

  addEventListener(...given) {
    this.#target.addEventListener(...given);
  }

  removeEventListener(...given) {
    this.#target.removeEventListener(...given);
  }

  // The methods below are for the stream.
  take(entry) {
    if (!this.#accepts(entry)) return;
    const { key, isGone, isShown } = entry.at;
    let value = entry.data;
    try { value = JSON.parse(value) } catch {}  // a text
    if (isShown) value = value.data;
    // No change of a key: the number of members, or an event that the application has retained without one.
    if (key === null) {
      if (!this.#isMembers || entry.type !== 'count') return;
      this.count = value;
      return this.#target.dispatchEvent(new Event('count'));
    }
    this.#stale.delete(key);
    this.#put(key, isGone ? undefined : value);
  }

  begin(isComplete) {
    this.#stale = new Set(this.keys());
    if (!isComplete) this.complete();
  }

  complete() {
    for (const key of this.#stale) this.#put(key);
    this.#stale.clear();
  }

  // A key moves to the end: all tabs have the same order, that of the events.
  #put(key, value) {
    const previous = this.get(key);
    if (!this.delete(key) && value === undefined) return;
    if (value !== undefined) this.set(key, value);
    this.#tell(key, value, previous);
  }

  #tell(key, value, previous) {
    this.#target.dispatchEvent(Object.assign(new Event('change'), { key, value, previous }));
  }
}
