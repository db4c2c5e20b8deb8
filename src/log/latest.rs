//! The newest event of each key, kept beyond a history that has too little room for it.

use super::{Bounds, Logged};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is the newest of its key, and of the newest those that the history has dropped.
#[derive(Debug, Default)]
pub(super) struct Latest {
    /// The place of each key's newest event, unless that is lost.
    newest: HashMap<Box<[u8]>, u64>,
    /// By place.
    kept: BTreeMap<u64, Logged>,
    /// Those of them that have a newer one by now, and are no longer kept when there are too many. With as many keys as there
    /// is room for that is at each event, so they are known.
    stale: BTreeSet<u64>,
    bytes: usize,
    lost: u64,
}

impl Latest {
    /// Of a channel that had lost even the newest events of its keys through that place.
    pub(super) fn new(lost: u64) -> Self {
        Self { lost, ..Self::default() }
    }

    pub(super) fn publish(&mut self, key: &[u8], place: u64) {
        match self.newest.get_mut(key) {
            Some(newest) => {
                let before = std::mem::replace(newest, place);
                if self.kept.contains_key(&before) {
                    self.stale.insert(before);
                }
            }
            None => drop(self.newest.insert(key.into(), place)),
        }
    }

    pub(super) fn is_newest(&self, logged: &Logged) -> bool {
        self.newest.get(&logged.key) == Some(&logged.place)
    }

    pub(super) fn kept_after(&self, place: u64) -> impl Iterator<Item = &Logged> {
        self.kept.range(place.saturating_add(1)..).map(|(_, logged)| logged)
    }

    /// Keeps what the history has dropped, if it is the newest of its key.
    pub(super) fn keep(&mut self, dropped: Logged, bounds: &Bounds) {
        if !self.is_newest(&dropped) {
            return;
        }
        self.bytes += dropped.size();
        self.kept.insert(dropped.place, dropped);
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
        for place in std::mem::take(&mut self.stale) {
            let stale = self.kept.remove(&place);
            self.bytes -= stale.map_or(0, |stale| stale.size());
        }
    }

    /// Lets go of the first that is kept, if any is.
    pub(super) fn lose_first(&mut self) -> bool {
        let place = self.kept.keys().next().copied();
        let first = place.and_then(|place| self.kept.remove(&place));
        if let Some(first) = &first {
            self.stale.remove(&first.place);
            self.bytes -= first.size();
            self.lose(first);
        }
        first.is_some()
    }

    /// What is gone for good.
    pub(super) fn lose(&mut self, gone: &Logged) {
        if self.is_newest(gone) {
            self.newest.remove(&gone.key);
            self.lost = self.lost.max(gone.place);
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn first(&self) -> Option<&Logged> {
        self.kept.values().next()
    }

    pub(super) fn held(&self) -> (usize, usize) {
        (self.kept.len(), self.bytes)
    }
}
