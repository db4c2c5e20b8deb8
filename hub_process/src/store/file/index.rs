//! The index of a store's entries: which ones each channel has, and which of them are to be deleted.
//!
//! It is in memory, so that an append writes one table only. A change takes effect in the index at once; what follows from it
//! for the file waits in `garbage` and `changed` until a transaction has carried it out ([`Index::is_written`]). So a full
//! disk delays deletions, and loses none.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// The most channels without entries that are remembered one by one.
pub const MOST_EMPTY: usize = 65_536;

/// The index.
#[derive(Debug, Default)]
pub struct Index {
    channels: HashMap<Arc<[u8]>, Channel>,
    /// How far the channels that are not in `channels` have evicted entries.
    evicted_through: u64,
    /// Whether the file has another `evicted_through`.
    is_merged: bool,
    /// How many of the channels have no entries.
    empty: usize,
    events: u64,
    bytes: u64,
    garbage: Vec<u64>,
    changed: HashSet<Arc<[u8]>>,
}

/// The entries of a channel, in their order.
#[derive(Debug, Default)]
struct Channel {
    entries: VecDeque<Slot>,
    keyed: Option<Box<Keyed>>,
    evicted_through: u64,
    /// Whether the file has a row with `evicted_through`.
    has_row: bool,
}

/// The keys of a channel.
#[derive(Debug, Default)]
struct Keyed {
    /// The sequence number of the latest entry of each key.
    latest: HashMap<Arc<[u8]>, u64>,
    /// Entries that are evicted, and the latest of their key.
    kept: BTreeMap<u64, Slot>,
}

#[derive(Debug)]
struct Slot {
    seq: u64,
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
    pub fn append(&mut self, channel: &[u8], key: &[u8], seq: u64, size: usize) {
        let evicted_through = self.evicted_through;
        if !self.channels.contains_key(channel) {
            self.empty += 1;
            self.channels.insert(channel.into(), Channel { evicted_through, ..Channel::default() });
        }
        let Some(of) = self.channels.get_mut(channel) else { return };
        self.empty -= usize::from(of.is_empty());
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let key = (!key.is_empty()).then(|| of.keyed.get_or_insert_default().shared(key));
        if let (Some(key), Some(keyed)) = (&key, &mut of.keyed) {
            let earlier = keyed.latest.insert(Arc::clone(key), seq).and_then(|earlier| keyed.kept.remove(&earlier));
            if let Some(slot) = earlier {
                self.events -= 1;
                self.bytes -= u64::from(slot.size);
                self.garbage.push(slot.seq);
            }
        }
        of.entries.push_back(Slot { seq, size, key });
        self.events += 1;
        self.bytes += u64::from(size);
    }

    /// Forgets entries of a channel, as [`ChannelEvictions`](eventsource_xs::hub::ChannelEvictions) says.
    pub fn forget(&mut self, channel: &[u8], evicted_through: u64, discarded_through: u64) {
        let through = evicted_through.max(discarded_through);
        if !self.channels.contains_key(channel) {
            if through <= self.evicted_through {
                return;
            }
            self.empty += 1;
            self.channels.insert(channel.into(), Channel::default());
        }
        let Some((name, _)) = self.channels.get_key_value(channel) else { return };
        let name = Arc::clone(name);
        let Some(of) = self.channels.get_mut(channel) else { return };
        if through > of.evicted_through {
            of.evicted_through = through;
            self.changed.insert(Arc::clone(&name));
        }
        let was_empty = of.is_empty();
        for slot in of.evict(through, discarded_through) {
            self.events -= 1;
            self.bytes -= u64::from(slot.size);
            self.garbage.push(slot.seq);
        }
        if of.is_empty() {
            self.empty += usize::from(!was_empty);
            if of.evicted_through <= self.evicted_through {
                self.remove(&name);
            } else if self.empty > MOST_EMPTY {
                self.merge();
            }
        }
    }

    /// Finds what has to be deleted after all entries were added: what a killed process had not yet deleted.
    pub fn settle(&mut self) {
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

    /// Returns the number of entries.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Returns the bytes of all entries.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Channel {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.keyed.as_ref().is_none_or(|keyed| keyed.kept.is_empty())
    }

    /// Evicts entries. Returns those that are to be deleted.
    fn evict(&mut self, through: u64, discarded_through: u64) -> Vec<Slot> {
        let mut deleted = Vec::new();
        if let Some(keyed) = &mut self.keyed {
            while keyed.kept.first_key_value().is_some_and(|(seq, _)| *seq <= discarded_through) {
                deleted.extend(keyed.kept.pop_first().map(|(_, slot)| slot));
            }
        }
        while self.entries.front().is_some_and(|slot| slot.seq <= through) {
            let Some(slot) = self.entries.pop_front() else { break };
            match &mut self.keyed {
                Some(keyed) if slot.seq > discarded_through && keyed.is_latest(&slot) => {
                    keyed.kept.insert(slot.seq, slot);
                }
                _ => deleted.push(slot),
            }
        }
        if let Some(keyed) = &mut self.keyed {
            for slot in deleted.iter().filter(|slot| slot.key.is_some()) {
                if keyed.is_latest(slot) {
                    slot.key.as_ref().map(|key| keyed.latest.remove(key));
                }
            }
            if keyed.latest.is_empty() {
                self.keyed = None;
            }
        }
        deleted
    }
}

impl Keyed {
    /// Returns the key as it is in the index, so that it is in memory once.
    fn shared(&self, key: &[u8]) -> Arc<[u8]> {
        self.latest.get_key_value(key).map_or_else(|| key.into(), |(key, _)| Arc::clone(key))
    }

    fn is_latest(&self, slot: &Slot) -> bool {
        slot.key.as_ref().is_some_and(|key| self.latest.get(key) == Some(&slot.seq))
    }
}
