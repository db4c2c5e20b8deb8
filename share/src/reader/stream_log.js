// The replica of whoever reads the stream: it makes entries, and says what a tab lacks.

import { newId } from '../messages.js';
import { Replica, epochOf, markOf } from '../replica.js';

// Returns the place of an event in the state: its channel (undefined if it does not say), its key, and whether that is
// forgotten. Only the hub says whether its events show both (isShown; undefined if they do not), never the data itself, which
// publishers write. The number of members is no object there, either.
function locate(type, data, isShown, keyField) {
  if (isShown === false) return;
  const isOfMember = /^(join|update|leave)$/.test(type);
  let json;
  if ((isShown || isOfMember || keyField) && data[0] === '{') try { json = JSON.parse(data) } catch {}
  if (isShown && json) return 'key' in json && { channel: json.channel, key: json.key, isGone: !!json.forget };
  if (type === 'count') return { key: null, isMember: true };
  if (isShown) return;
  if (type === 'forget') return { key: data, isGone: true };
  const own = keyField && json?.[keyField];
  const isMember = isOfMember && (own === undefined || keyField === 'id');
  const key = isMember ? json?.id : own;
  return /string|number/.test(typeof key) && { key: `${key}`, isMember, isGone: isMember && type === 'leave' };
}

export class StreamLog extends Replica {
  #log = (Math.random() * 1e9 | 0) + '-';
  #made = 0;

  // A stream without ids before it, and one after a gap, may begin with the state. After another gap come older events, with a
  // position each and the gap's line.
  make({ type, data, isShown, lastEventId: id, hasId, isState }) {
    const { gap, key } = this.request;
    const prev = this.last;
    const line = type === gap ? newId() : undefined;
    const inState = isState ? line ?? newId() : line ? undefined : this.inState;
    const epoch = hasId && !this.isEvent({ type }) ? epochOf(id) : undefined;
    const end = this.ring.at(-1);
    const isNew = inState || this.hasPositions && this.isEvent({ type }) && this.isEvent(end);
    return { type, data, id, tag: this.#log + ++this.#made, after: this.tag, prev, epoch, inState, isShown, line: line ?? (isNew ? undefined : end?.line), at: locate(type, data, isShown, key) };
  }

  // Returns the entries that a tab lacks; undefined if they are not known. A tab of another line that has an older event was
  // not told of the gap. Late, no position will follow the last event.
  since({ last, inState, line, mark, tag }, isLate) {
    const { ring } = this;
    // An id does not say how far a tab is, if several events have it. Of a tab that comes from another stream it is all that
    // is known.
    if (tag) {
      if (tag === this.tag) return [];
      const lacked = ring.slice(ring.findIndex(entry => entry.after === tag));
      let at = tag;
      if (lacked[0] && lacked.every(entry => entry.after === at && (at = entry.tag))) return lacked;
      if (!last || tag.startsWith(this.#log)) return;
    }
    if (inState) return;                  // no other stream has the events of that state
    const end = ring.at(-1);
    const isTold = (entry, isSure) => !last || !entry?.line || entry.line === line || this.hasPositions && isSure;
    // An id that the hub has not given names no place, and one of another epoch was not followed by these entries. A server
    // without positions has given the ids of this line.
    if (this.epoch ? last && epochOf(last) !== this.epoch : line && line !== this.line) return;
    if (last === this.last && !this.inState) return isTold(end, isLate || !this.isEvent(end)) ? [] : undefined;
    const isNext = ({ id, prev }) => prev === last && id !== last;
    let had = 0, from = ring.findLastIndex(isNext);
    // An id of the application that several events have.
    if (last && ring[from]?.id !== ring.find(isNext)?.id) return;
    // A position that came to another stream only.
    if (from < 0 && !this.inState) {
      if (mark === this.mark) return [];
      const isIt = entry => markOf(entry) === mark;
      had = 1;
      from = ring.findLastIndex(isIt);
      if (from !== ring.findIndex(isIt)) return;
    }
    const rest = ring.slice(from);  // there are holes in that of a tab that came late
    const isChain = (entry, i) => (i < had || !entry.inState) && (!i || entry.prev === rest[i - 1].id);
    if (from >= 0 && isTold(rest[0], this.isEvent(rest[0])) && rest.every(isChain) && end.id === this.last) return rest.slice(had);
  }

  // Returns the entries for a new tab, and for one that lacks too much.
  snapshot(hasGap) {
    const { gap, position, start } = this.request;
    const tail = this.ring.filter(entry => !entry.at && this.isEvent(entry)).slice(start || Infinity);
    const kept = new Set([...this.state, ...tail]);
    const entries = this.seed.entries.filter(entry => kept.has(entry));
    const own = { id: this.last, prev: this.last, inState: this.inState };
    if (hasGap) entries.unshift({ type: gap, data: '{"reason":"evicted"}', ...own, line: this.line });
    if (this.isComplete) entries.push({ type: position, data: '', ...own });
    return entries;
  }
}
