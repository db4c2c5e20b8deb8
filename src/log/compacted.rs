//! The newest event of each key, kept beyond a history that has too little room for it.

use super::{Bounds, LogEntry};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is the newest of its key, and of the newest those that the history has dropped.
#[derive(Debug, Default)]
pub(super) struct CompactedLog {
    /// The place of each key's newest event, unless that is lost.
    newest: HashMap<Box<[u8]>, u64>,
    /// By place.
    kept: BTreeMap<u64, LogEntry>,
    /// Those of them that have a newer one by now, and are no longer kept when there are too many. With as many keys as there
    /// is room for that is at each event, so they are known.
    stale: BTreeSet<u64>,
    bytes: usize,
    lost: u64,
}

impl CompactedLog {
    /// Of a channel that had lost even the newest events of its keys through that place.
    pub(super) fn new(lost: u64) -> Self {
        Self { lost, ..Self::default() }
    }

    pub(super) fn publish(&mut self, key: &[u8], seq: u64) {
        match self.newest.get_mut(key) {
            Some(newest) => {
                let before = std::mem::replace(newest, seq);
                if self.kept.contains_key(&before) {
                    self.stale.insert(before);
                }
            }
            None => drop(self.newest.insert(key.into(), seq)),
        }
    }

    pub(super) fn is_newest(&self, entry: &LogEntry) -> bool {
        self.newest.get(&entry.key) == Some(&entry.seq)
    }

    pub(super) fn kept_after(&self, seq: u64) -> impl Iterator<Item = &LogEntry> {
        self.kept.range(seq.saturating_add(1)..).map(|(_, entry)| entry)
    }

    /// Keeps what the history has dropped, if it is the newest of its key.
    pub(super) fn keep(&mut self, dropped: LogEntry, bounds: &Bounds) {
        if !self.is_newest(&dropped) {
            return;
        }
        self.bytes += dropped.size();
        self.kept.insert(dropped.seq, dropped);
        if self.is_over(bounds) {
            self.sweep();
        }
        while self.is_over(bounds) {
            self.lose_first();
        }
    }

    fn is_over(&self, bounds: &Bounds) -> bool {
        self.kept.len() > bounds.events || self.bytes > bounds.bytes
    }

    /// Lets go of what is not the newest of its key any more.
    fn sweep(&mut self) {
        for seq in std::mem::take(&mut self.stale) {
            let stale = self.kept.remove(&seq);
            self.bytes -= stale.map_or(0, |stale| stale.size());
        }
    }

    /// Lets go of the first that is kept, if any is.
    pub(super) fn lose_first(&mut self) -> bool {
        let seq = self.kept.keys().next().copied();
        let first = seq.and_then(|seq| self.kept.remove(&seq));
        if let Some(first) = &first {
            self.stale.remove(&first.seq);
            self.bytes -= first.size();
            self.lose(first);
        }
        first.is_some()
    }

    /// What is gone for good.
    pub(super) fn lose(&mut self, gone: &LogEntry) {
        if self.is_newest(gone) {
            self.newest.remove(&gone.key);
            self.lost = self.lost.max(gone.seq);
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn first(&self) -> Option<&LogEntry> {
        self.kept.values().next()
    }

    pub(super) fn held(&self) -> (usize, usize) {
        (self.kept.len(), self.bytes)
    }
}
