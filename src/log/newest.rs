//! The newest entry of each key of a log, which outlives the history.

use super::{Bounds, KeyTable, LogEntry};
use std::collections::BTreeMap;

/// The newest entry of each key: of all entries, or of those that are retained. While the history holds an entry, only its
/// sequence number is here.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The sequence number of each key's newest entry, in the history or here.
    seqs: KeyTable<u64>,
    /// The newest entries that the history has evicted. In boxes: a node of the map is half empty.
    entries: BTreeMap<u64, Box<LogEntry>>,
    /// The bytes of these.
    bytes: usize,
}

impl Newest {
    /// Records a new entry of the history. It replaces the one of its key before: drops it, or returns its sequence number if
    /// the history has it.
    pub(super) fn record(&mut self, key: &[u8], seq: u64) -> Option<u64> {
        let before = self.seqs.insert(key, seq)?;
        self.drop_replaced(before)
    }

    pub(super) fn is_newest(&self, entry: &LogEntry) -> bool {
        self.seqs.get(&entry.key) == Some(&entry.seq)
    }

    /// Keeps the newest entry of a key, which the history has evicted.
    pub(super) fn keep(&mut self, evicted: LogEntry) {
        self.bytes += evicted.size();
        self.entries.insert(evicted.seq, Box::new(evicted));
    }

    /// Forgets a key: drops its entry, or returns its sequence number if the history has it.
    pub(super) fn forget(&mut self, key: &[u8]) -> Option<u64> {
        let seq = self.seqs.remove(key)?;
        self.drop_replaced(seq)
    }

    fn drop_replaced(&mut self, seq: u64) -> Option<u64> {
        match self.remove(seq) {
            Some(_) => None,
            None => Some(seq),
        }
    }

    /// Forgets the first key whose entry is here, and returns that entry.
    pub(super) fn pop_first(&mut self) -> Option<LogEntry> {
        let seq = *self.entries.keys().next()?;
        let first = *self.remove(seq)?;
        self.seqs.remove(&first.key);
        Some(first)
    }

    fn remove(&mut self, seq: u64) -> Option<Box<LogEntry>> {
        let removed = self.entries.remove(&seq)?;
        self.bytes -= removed.size();
        Some(removed)
    }

    pub(super) fn exceeds(&self, bounds: &Bounds) -> bool {
        self.entries.len() > bounds.events || self.bytes > bounds.bytes
    }

    /// Returns the entries here after a sequence number.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &LogEntry> {
        self.entries.range(seq.saturating_add(1)..).map(|(_, entry)| &**entry)
    }

    pub(super) fn first(&self) -> Option<&LogEntry> {
        self.entries.values().next().map(|first| &**first)
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
