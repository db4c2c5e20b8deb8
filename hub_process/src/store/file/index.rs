//! The index of a store's entries: which ones each channel has, and which of them are to be deleted.
//!
//! It is in memory, so that an append writes one table only. A change takes effect in the index at once; what follows from it
//! for the file waits in `garbage` and `changed` until a transaction has carried it out ([`Index::is_written`]). So a full
//! disk delays deletions, and loses none.

use super::size_of;
use crate::store::{Draft, StoreEntry};
use eventsource_xs::hub::Retain;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// The most channels without entries that are remembered one by one.
pub const MOST_EMPTY: usize = 65_536;

/// The index.
#[derive(Debug, Default)]
pub struct Index {
    channels: HashMap<Arc<[u8]>, Channel>,
    /// The first entry of each channel that counts for the bounds.
    firsts: BTreeSet<(u64, Arc<[u8]>)>,
    /// How far the channels that are not in `channels` have evicted entries.
    evicted_through: u64,
    /// Whether the file has another `evicted_through`.
    is_merged: bool,
    /// How many of the channels have no entries.
    empty: usize,
    held: Held,
    garbage: Vec<u64>,
    changed: HashSet<Arc<[u8]>>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The entries that count for the bounds, and their bytes.
    pub events: u64,
    pub bytes: u64,
    /// The entries that are evicted, and retained.
    pub state: u64,
}

/// The entries of a channel, in their order.
#[derive(Debug, Default)]
struct Channel {
    entries: VecDeque<Slot>,
    keyed: Option<Box<Keyed>>,
    held: Held,
    evicted_through: u64,
    /// Whether the file has a row with `evicted_through`.
    has_row: bool,
}

/// The keys of a channel.
#[derive(Debug, Default)]
struct Keyed {
    keys: HashMap<Arc<[u8]>, Key>,
    /// Entries that are evicted, and the latest of their key. Those that are retained are not here.
    kept: BTreeMap<u64, Slot>,
}

/// The sequence numbers of a key's latest entry and of its retained one; 0 if there is none. The empty key has no latest one.
#[derive(Debug, Default)]
struct Key {
    latest: u64,
    retained: u64,
}

#[derive(Debug)]
struct Slot {
    seq: u64,
    at: u64,
    size: u32,
    key: Option<Arc<[u8]>>,
}

/// The row of a channel in the file, as it is to be: none if nothing is to be remembered.
pub type Row = (Arc<[u8]>, Option<u64>);

impl Index {
    /// Creates an index of a file without entries.
    pub fn new(evicted_through: u64) -> Self {
        Self { evicted_through, ..Self::default() }
    }

    /// Adds the row of a channel, before any entries.
    pub fn add_row(&mut self, channel: &[u8], evicted_through: u64) {
        self.empty += 1;
        self.channels.insert(channel.into(), Channel { evicted_through, has_row: true, ..Channel::default() });
    }

    /// Adds an entry. Its sequence number is greater than all others.
    pub fn append(&mut self, entry: &StoreEntry) {
        let name = self.channel_or_create(&entry.draft.channel, self.evicted_through);
        self.change(&name, |of, garbage| of.append(entry, garbage));
    }

    fn channel_or_create(&mut self, name: &[u8], evicted_through: u64) -> Arc<[u8]> {
        if let Some((name, _)) = self.channels.get_key_value(name) {
            return Arc::clone(name);
        }
        let name: Arc<[u8]> = name.into();
        self.empty += 1;
        self.channels.insert(Arc::clone(&name), Channel { evicted_through, ..Channel::default() });
        name
    }

    /// Changes a channel, and what is known of all channels.
    fn change(&mut self, name: &Arc<[u8]>, change: impl FnOnce(&mut Channel, &mut Vec<u64>)) {
        let Some(of) = self.channels.get_mut(name) else { return };
        let (held, first, was_empty) = (of.held, of.first_seq(), of.is_empty());
        change(of, &mut self.garbage);
        self.empty = self.empty + usize::from(of.is_empty()) - usize::from(was_empty);
        if name.is_empty() {
            return; // no bound counts requests to end streams: the hub forgets them
        }
        let all = &mut self.held;
        all.events = all.events + of.held.events - held.events;
        all.bytes = all.bytes + of.held.bytes - held.bytes;
        all.state = all.state + of.held.state - held.state;
        let now_first = of.first_seq();
        if first != now_first {
            let first_of = |seq| (seq, Arc::clone(name));
            if let Some(seq) = first {
                self.firsts.remove(&first_of(seq));
            }
            self.firsts.extend(now_first.map(first_of));
        }
    }

    /// Returns the first entry that counts for the bounds: its channel, sequence number and time.
    pub fn first(&self) -> Option<(Arc<[u8]>, u64, u64)> {
        let (seq, channel) = self.firsts.first()?;
        Some((Arc::clone(channel), *seq, self.channels.get(channel)?.first()?.at))
    }

    /// Forgets entries of a channel, as [`ChannelEvictions`](eventsource_xs::hub::ChannelEvictions) says.
    pub fn forget(&mut self, channel: &[u8], evicted_through: u64, discarded_through: u64) {
        let through = evicted_through.max(discarded_through);
        if !self.channels.contains_key(channel) && through <= self.evicted_through {
            return;
        }
        let name = self.channel_or_create(channel, 0);
        self.change(&name, |of, garbage| of.evict(through, discarded_through, garbage));
        let Some(of) = self.channels.get_mut(&name) else { return };
        if through > of.evicted_through {
            of.evicted_through = through;
            self.changed.insert(Arc::clone(&name));
        }
        if of.is_empty() {
            if of.evicted_through <= self.evicted_through {
                self.remove(&name);
            } else if self.empty > MOST_EMPTY {
                self.merge();
            }
        }
    }

    /// Finds what has to be deleted after all entries were added: what a killed process had not yet deleted.
    pub fn find_garbage(&mut self) {
        let channels: Vec<_> = self.channels.iter().map(|(name, of)| (Arc::clone(name), of.evicted_through)).collect();
        for (name, evicted_through) in channels {
            self.forget(&name, evicted_through, 0);
        }
    }

    fn remove(&mut self, name: &Arc<[u8]>) {
        if let Some(removed) = self.channels.remove(name) {
            self.empty -= 1;
            if removed.has_row {
                self.changed.insert(Arc::clone(name));
            } else {
                self.changed.remove(name);
            }
        }
    }

    /// Forgets the half of the channels without entries that has evicted least. From then on any channel that is not in the
    /// index counts as having evicted as much, so those that have entries need rows.
    fn merge(&mut self) {
        let empty = self.channels.iter().filter(|(_, of)| of.is_empty());
        let mut empty: Vec<_> = empty.map(|(name, of)| (of.evicted_through, Arc::clone(name))).collect();
        empty.sort_unstable();
        empty.truncate(empty.len() / 2 + 1);
        for (through, name) in &empty {
            self.evicted_through = self.evicted_through.max(*through);
            self.remove(name);
        }
        let without_row = self.channels.iter().filter(|(_, of)| !of.has_row);
        self.changed.extend(without_row.map(|(name, _)| Arc::clone(name)));
        self.is_merged = true;
    }

    /// Returns the sequence numbers of the entries to delete.
    pub fn garbage(&self) -> &[u64] {
        &self.garbage
    }

    /// Returns the rows to change.
    pub fn changed_rows(&self) -> impl Iterator<Item = Row> + '_ {
        let through = |name: &Arc<[u8]>| self.channels.get(name).map(|of| of.evicted_through);
        self.changed.iter().map(move |name| (Arc::clone(name), through(name)))
    }

    /// Returns how far the channels without a row have evicted entries, if the file has another number.
    pub fn changed_evicted_through(&self) -> Option<u64> {
        self.is_merged.then_some(self.evicted_through)
    }

    /// Returns true if something is to be written.
    pub fn is_changed(&self) -> bool {
        self.is_merged || !self.garbage.is_empty() || !self.changed.is_empty()
    }

    /// Takes note that the file has all changes.
    pub fn is_written(&mut self) {
        self.garbage = Vec::new();
        self.is_merged = false;
        for name in self.changed.drain() {
            if let Some(of) = self.channels.get_mut(&name) {
                of.has_row = true;
            }
        }
    }

    /// Returns how much there is.
    pub fn held(&self) -> Held {
        self.held
    }
}

impl Channel {
    fn is_empty(&self) -> bool {
        (self.held.events, self.held.state) == (0, 0)
    }

    /// Returns the first entry that counts for the bounds.
    fn first(&self) -> Option<&Slot> {
        let kept = self.keyed.as_ref().and_then(|keyed| keyed.kept.values().next());
        kept.or_else(|| self.entries.front())
    }

    fn first_seq(&self) -> Option<u64> {
        self.first().map(|first| first.seq)
    }

    /// Adds an entry, which may replace those of its key that were kept.
    fn append(&mut self, entry: &StoreEntry, garbage: &mut Vec<u64>) {
        let StoreEntry { seq, at, draft, .. } = entry;
        let size = u32::try_from(size_of(draft)).unwrap_or(u32::MAX);
        let key = self.replace(*seq, draft, garbage);
        self.entries.push_back(Slot { seq: *seq, at: *at, size, key });
        self.held.events += 1;
        self.held.bytes += u64::from(size);
    }

    /// Takes note of a new entry of a key. Returns the key as it is in the index, so that it is in memory once.
    fn replace(&mut self, seq: u64, draft: &Draft, garbage: &mut Vec<u64>) -> Option<Arc<[u8]>> {
        let Draft { key, retain, .. } = draft;
        if key.is_empty() && !retain.changes_state() {
            return None;
        }
        let Self { entries, keyed, held, .. } = self;
        let Keyed { keys, kept } = &mut **keyed.get_or_insert_default();
        let key: Arc<[u8]> = keys.get_key_value(&**key).map_or_else(|| (**key).into(), |(key, _)| Arc::clone(key));
        let of = keys.entry(Arc::clone(&key)).or_default();
        if retain.changes_state() {
            let earlier = std::mem::replace(&mut of.retained, if *retain == Retain::Newest { seq } else { 0 });
            if earlier != 0 && entries.front().is_none_or(|first| earlier < first.seq) {
                held.state -= 1;
                garbage.push(earlier);
            }
        }
        if !key.is_empty() {
            let earlier = std::mem::replace(&mut of.latest, seq);
            if let Some(slot) = kept.remove(&earlier) {
                held.delete(&slot, garbage);
            }
        }
        Some(key)
    }

    /// Evicts entries. Those that are retained stay, and count for the bounds no longer.
    fn evict(&mut self, through: u64, discarded_through: u64, garbage: &mut Vec<u64>) {
        let Self { entries, keyed, held, .. } = self;
        if let Some(keyed) = keyed {
            while let Some(first) = keyed.kept.first_entry().filter(|first| *first.key() <= discarded_through) {
                let slot = first.remove();
                held.delete(&slot, garbage);
                keyed.forget(&slot);
            }
        }
        while entries.front().is_some_and(|slot| slot.seq <= through) {
            let Some(slot) = entries.pop_front() else { break };
            let key = slot.key.as_ref().and_then(|key| keyed.as_ref()?.keys.get(key));
            let [retained, latest] = key.map_or([0, 0], |key| [key.retained, key.latest]);
            if retained == slot.seq {
                held.events -= 1;
                held.bytes -= u64::from(slot.size);
                held.state += 1;
                continue;
            }
            let is_kept = latest == slot.seq && slot.seq > discarded_through;
            if !is_kept {
                held.delete(&slot, garbage);
            }
            match keyed {
                Some(keyed) if is_kept => drop(keyed.kept.insert(slot.seq, slot)),
                Some(keyed) => keyed.forget(&slot),
                None => {}
            }
        }
        if keyed.as_ref().is_some_and(|keyed| keyed.keys.is_empty()) {
            *keyed = None;
        }
    }
}

impl Held {
    fn delete(&mut self, slot: &Slot, garbage: &mut Vec<u64>) {
        self.events -= 1;
        self.bytes -= u64::from(slot.size);
        garbage.push(slot.seq);
    }
}

impl Keyed {
    /// Forgets a deleted entry, and its key if that has no other.
    fn forget(&mut self, slot: &Slot) {
        let Some(key) = &slot.key else { return };
        let Some(of) = self.keys.get_mut(key) else { return };
        if of.latest == slot.seq {
            of.latest = 0;
        }
        if (of.latest, of.retained) == (0, 0) {
            self.keys.remove(key);
        }
    }
}
