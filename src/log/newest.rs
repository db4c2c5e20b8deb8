//! The newest entry of each key of a log, which outlives the history.

use super::{Bounds, LogEntry};
use std::collections::{BTreeMap, HashMap};

/// The newest entry of each key: of all entries, or of those that are retained.
///
/// While the history holds an entry, only its sequence number is here.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The sequence number of each key's newest entry, in the history or here.
    seqs: HashMap<Box<[u8]>, u64>,
    /// The newest entries that the history has evicted.
    entries: BTreeMap<u64, LogEntry>,
    /// The bytes of these.
    bytes: usize,
}

impl Newest {
    /// Records a new entry of the history. It replaces the one of its key before, which is dropped.
    pub(super) fn record(&mut self, key: &[u8], seq: u64) {
        match self.seqs.get_mut(key) {
            Some(newest) => {
                let before = std::mem::replace(newest, seq);
                self.remove(before);
            }
            None => drop(self.seqs.insert(key.into(), seq)),
        }
    }

    pub(super) fn is_newest(&self, entry: &LogEntry) -> bool {
        self.seqs.get(&entry.key) == Some(&entry.seq)
    }

    /// Keeps an entry that the history has evicted, if it is the newest of its key.
    pub(super) fn keep(&mut self, evicted: LogEntry) {
        if self.is_newest(&evicted) {
            self.bytes += evicted.size();
            self.entries.insert(evicted.seq, evicted);
        }
    }

    /// Forgets a key and its entry.
    pub(super) fn forget(&mut self, key: &[u8]) {
        if let Some(seq) = self.seqs.remove(key) {
            self.remove(seq);
        }
    }

    /// Forgets the first key whose entry is here, and returns that entry.
    pub(super) fn pop_first(&mut self) -> Option<LogEntry> {
        let seq = *self.entries.keys().next()?;
        let first = self.remove(seq)?;
        self.seqs.remove(&first.key);
        Some(first)
    }

    fn remove(&mut self, seq: u64) -> Option<LogEntry> {
        let removed = self.entries.remove(&seq)?;
        self.bytes -= removed.size();
        Some(removed)
    }

    pub(super) fn exceeds(&self, bounds: &Bounds) -> bool {
        self.entries.len() > bounds.events || self.bytes > bounds.bytes
    }

    /// Returns the entries here after a sequence number.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &LogEntry> {
        self.entries.range(seq.saturating_add(1)..).map(|(_, entry)| entry)
    }

    pub(super) fn first(&self) -> Option<&LogEntry> {
        self.entries.values().next()
    }

    /// Returns the number of keys.
    pub(super) fn keys(&self) -> usize {
        self.seqs.len()
    }

    /// Returns the number of entries here and of their bytes.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
}

saved!(Newest { seqs, entries, bytes });
