//! The newest event of each key, kept beyond a history that has too little room for it.

use super::{Bounds, Logged};
use std::collections::{HashMap, VecDeque};

/// What is the newest of its key, and of the newest those that the history has dropped.
#[derive(Debug, Default)]
pub(super) struct Latest {
    /// The place of each key's newest event, unless that is lost.
    newest: HashMap<Box<[u8]>, u64>,
    /// By place. Some have a newer one by now, and are no longer kept when there are too many.
    kept: VecDeque<Logged>,
    bytes: usize,
    lost: u64,
}

impl Latest {
    pub(super) fn publish(&mut self, key: &[u8], place: u64) {
        match self.newest.get_mut(key) {
            Some(newest) => *newest = place,
            None => drop(self.newest.insert(key.into(), place)),
        }
    }

    pub(super) fn is_newest(&self, logged: &Logged) -> bool {
        self.newest.get(&logged.key) == Some(&logged.place)
    }

    pub(super) fn kept_after(&self, place: u64) -> impl Iterator<Item = &Logged> {
        self.kept.range(self.kept.partition_point(|logged| logged.place <= place)..)
    }

    /// Keeps what the history has dropped, if it is the newest of its key.
    pub(super) fn keep(&mut self, dropped: Logged, bounds: &Bounds) {
        if !self.is_newest(&dropped) {
            return;
        }
        self.bytes += dropped.event.len();
        self.kept.push_back(dropped);
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
        let newest = &self.newest;
        self.kept.retain(|logged| newest.get(&logged.key) == Some(&logged.place));
        self.bytes = self.kept.iter().map(|logged| logged.event.len()).sum();
    }

    /// Lets go of the first that is kept, if any is.
    pub(super) fn lose_first(&mut self) -> bool {
        let first = self.kept.pop_front();
        if let Some(first) = &first {
            self.bytes -= first.event.len();
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
        self.kept.front()
    }

    pub(super) fn held(&self) -> (usize, usize) {
        (self.kept.len(), self.bytes)
    }
}
