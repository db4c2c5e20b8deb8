//! Log compaction: the latest entry of each key outlives the history.

use super::{Bounds, LogEntry};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The compacted part of a log: of the entries that the history has evicted, the latest of each key.
///
/// An entry is *superseded* when a later one of its key is published. Superseded entries are removed when the bounds
/// are exceeded. With as many keys as the bounds allow this happens at each event, so the log keeps a list of them
/// rather than search all entries.
#[derive(Debug, Default)]
pub(super) struct CompactedLog {
    /// The sequence number of each key's latest entry, in the history or here. Without the keys whose latest is
    /// discarded.
    latest: HashMap<Box<[u8]>, u64>,
    /// The entries by sequence number.
    entries: BTreeMap<u64, LogEntry>,
    /// The sequence numbers of the entries here that are superseded.
    superseded: BTreeSet<u64>,
    bytes: usize,
    discarded_through: u64,
}

impl CompactedLog {
    /// Creates the compacted part of a log. An earlier log of the channel discarded entries through
    /// `discarded_through`.
    pub(super) fn new(discarded_through: u64) -> Self {
        Self { discarded_through, ..Self::default() }
    }

    /// Records that the history has a new entry of a key, which supersedes the one before.
    pub(super) fn record(&mut self, key: &[u8], seq: u64) {
        match self.latest.get_mut(key) {
            Some(latest) => {
                let before = std::mem::replace(latest, seq);
                if self.entries.contains_key(&before) {
                    self.superseded.insert(before);
                }
            }
            None => drop(self.latest.insert(key.into(), seq)),
        }
    }

    pub(super) fn is_latest(&self, entry: &LogEntry) -> bool {
        self.latest.get(&entry.key) == Some(&entry.seq)
    }

    /// Returns the entries after a sequence number, superseded ones included.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &LogEntry> {
        self.entries.range(seq.saturating_add(1)..).map(|(_, entry)| entry)
    }

    /// Keeps an entry that the history has evicted, if it is the latest of its key, and discards what exceeds the
    /// bounds.
    pub(super) fn keep(&mut self, evicted: LogEntry, bounds: &Bounds) {
        if !self.is_latest(&evicted) {
            return;
        }
        self.bytes += evicted.size();
        self.entries.insert(evicted.seq, evicted);
        if self.exceeds(bounds) {
            self.remove_superseded();
        }
        while self.exceeds(bounds) {
            self.discard_first();
        }
    }

    fn exceeds(&self, bounds: &Bounds) -> bool {
        self.entries.len() > bounds.events || self.bytes > bounds.bytes
    }

    fn remove_superseded(&mut self) {
        for seq in std::mem::take(&mut self.superseded) {
            let removed = self.entries.remove(&seq);
            self.bytes -= removed.map_or(0, |removed| removed.size());
        }
    }

    /// Discards the first entry. Returns true if there was one.
    pub(super) fn discard_first(&mut self) -> bool {
        let seq = self.entries.keys().next().copied();
        let first = seq.and_then(|seq| self.entries.remove(&seq));
        if let Some(first) = &first {
            self.superseded.remove(&first.seq);
            self.bytes -= first.size();
            self.record_discarded(first);
        }
        first.is_some()
    }

    /// Records that the log has discarded an entry. Nothing is lost if the entry was superseded.
    pub(super) fn record_discarded(&mut self, discarded: &LogEntry) {
        if self.is_latest(discarded) {
            self.latest.remove(&discarded.key);
            self.discarded_through = self.discarded_through.max(discarded.seq);
        }
    }

    /// Returns the sequence number through which the latest entry of a key was discarded.
    pub(super) fn discarded_through(&self) -> u64 {
        self.discarded_through
    }

    pub(super) fn first(&self) -> Option<&LogEntry> {
        self.entries.values().next()
    }

    /// Returns the number of entries and of their bytes.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
}

saved!(CompactedLog { latest, entries, superseded, bytes, discarded_through });
