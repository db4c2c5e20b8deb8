import { SHOW } from './warnings.js';

// The state of a channel, or its members: a map that follows the events.
export class LiveMap extends Map {
  #target = new EventTarget();
  #stale = new Set();                     // keys of before a gap
  #hasStaleCount;
  #channel;
  #isMembers;
  #keyField;
  #warnings;
  #hasKeys;                               // an event has had one
  #lacksKeys;                             // one of the state had none

  constructor(ready, channel, isMembers, keyField, warnings) {
    super();
    this.ready = ready.then(() => this);
    this.ready.catch(() => {});
    this.#channel = channel;
    this.#isMembers = isMembers;
    this.#keyField = keyField;
    this.#warnings = warnings;
  }

  addEventListener(...given) {
    this.#target.addEventListener(...given);
  }

  removeEventListener(...given) {
    this.#target.removeEventListener(...given);
  }

  // The methods below are for the stream.
  take({ type, data, at }) {
    if (!at) return;
    const { channel, key, isMember, isGone } = at;
    const isShown = channel !== undefined;
    if (isShown ? ![undefined, channel].includes(this.#channel) : this.#isMembers === !isMember) return;
    let value = data;
    try { value = JSON.parse(value) } catch {}  // a text
    if (isShown) value = value.data;
    // No change of a key: the number of members, or an event that the application has retained without one.
    if (key === null) {
      if (!this.#isMembers || type !== 'count') return;
      return this.#setCount(value);
    }
    this.#hasKeys ||= isGone !== true;
    this.#stale.delete(key);
    this.#put(key, isGone ? undefined : value);
  }

  // An event has come of a hub that does not show channels. If connect has the option key, an event without a key may be beside
  // others that have one: only a whole state without keys says that the option is wrong.
  doubt({ data, at, inState }) {
    if (this.#channel !== undefined) {
      this.#warnings.warn('name', `the hub does not show channels, so state and members have those of all: call them without a name, or ${SHOW}`);
    }
    if (at || this.#isMembers) return;
    this.#lacksKeys ||= inState && data[0] === '{';
    if (!this.#keyField) this.#warnKey('an event has no key');
  }

  #warnKey(what) {
    if (this.#hasKeys) return;
    this.#warnings.warn('key', `${what}, and the map is empty: give connect the option key, the name of a field of the JSON, or ${SHOW}`);
  }

  begin(isComplete) {
    this.#stale = new Set(this.keys());
    this.#hasStaleCount = true;
    this.#lacksKeys = false;
    if (!isComplete) this.complete();
  }

  complete() {
    if (this.#lacksKeys) this.#warnKey(`no event of the state has the key ${this.#keyField}`);
    for (const key of this.#stale) this.#put(key);
    this.#stale.clear();
    if (this.#hasStaleCount) this.#setCount();
  }

  #setCount(count) {
    this.#hasStaleCount = false;
    if (this.count === count) return;
    this.count = count;
    this.#target.dispatchEvent(new Event('count'));
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
