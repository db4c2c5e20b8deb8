//! The newest entry of each key of a log, which outlives the history.

use super::{Bounds, KeyTable, LogEntry};
use std::collections::VecDeque;

/// The newest entry of each key: of all entries, or of those that are retained. While the history holds an entry, only its
/// sequence number is here.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The sequence number of each key's newest entry, in the history or here.
    seqs: KeyTable<u64>,
    /// The newest entries that the history has evicted, sorted by their sequence numbers. Removed ones leave a hole, but not
    /// the first, and at most as many as there are entries. In boxes: the memory for more is up to as large.
    pub(super) slots: VecDeque<Slot>,
    /// The number of entries here, and of their bytes.
    pub(super) size: (usize, usize),
}

/// An entry's sequence number, and the entry if it is still here.
type Slot = (u64, Option<Box<LogEntry>>);

impl Newest {
    /// Records a new entry of the history. It replaces the one of its key before, whose sequence number is returned, and the
    /// entry itself unless the history has it.
    pub(super) fn record(&mut self, key: &[u8], seq: u64) -> Option<(u64, Option<Box<LogEntry>>)> {
        let before = self.seqs.insert(key, seq)?;
        Some((before, self.remove(before)))
    }

    pub(super) fn is_newest(&self, entry: &LogEntry) -> bool {
        self.seqs.get(&entry.key) == Some(&entry.seq)
    }

    /// Keeps the newest entry of a key, which the history has evicted. It comes after all others here: a history evicts its
    /// entries in their order, and of a store's those come first that an earlier one has evicted.
    pub(super) fn keep(&mut self, evicted: LogEntry) {
        debug_assert!(self.slots.back().map_or(true, |(last, _)| *last < evicted.seq));
        self.size = (self.size.0 + 1, self.size.1 + evicted.size());
        self.slots.push_back((evicted.seq, Some(Box::new(evicted))));
    }

    /// Forgets a key. Returns the sequence number of its entry, and the entry itself unless the history has it.
    pub(super) fn forget(&mut self, key: &[u8]) -> Option<(u64, Option<Box<LogEntry>>)> {
        let seq = self.seqs.remove(key)?;
        Some((seq, self.remove(seq)))
    }

    /// Forgets the first key whose entry is here, and returns that entry.
    pub(super) fn pop_first(&mut self) -> Option<LogEntry> {
        let seq = self.first()?.seq;
        let first = *self.remove(seq)?;
        self.seqs.remove(&first.key);
        Some(first)
    }

    fn remove(&mut self, seq: u64) -> Option<Box<LogEntry>> {
        let at = self.slots.binary_search_by_key(&seq, |slot| slot.0).ok()?;
        let removed = self.slots[at].1.take()?;
        self.size = (self.size.0 - 1, self.size.1 - removed.size());
        if self.slots.len() > 2 * self.size.0 {
            self.slots.retain(|slot| slot.1.is_some());
            self.slots.shrink_to(2 * self.size.0 + 8);
        }
        while self.slots.front().map_or(false, |slot| slot.1.is_none()) {
            self.slots.pop_front();
        }
        Some(removed)
    }

    pub(super) fn exceeds(&self, bounds: &Bounds) -> bool {
        self.size.0 > bounds.events || self.size.1 > bounds.bytes
    }

    /// Returns the index of the first slot after a sequence number.
    pub(super) fn slot_after(&self, seq: u64) -> usize {
        self.slots.partition_point(|slot| slot.0 <= seq)
    }

    /// Returns the entries here after a sequence number.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &LogEntry> {
        self.slots.range(self.slot_after(seq)..).filter_map(|slot| slot.1.as_deref())
    }

    pub(super) fn first(&self) -> Option<&LogEntry> {
        self.slots.front().and_then(|slot| slot.1.as_deref())
    }

    /// Returns the number of keys.
    pub(super) fn keys(&self) -> usize {
        self.seqs.len()
    }
}
