//! The members that linger: few of all, so when they leave is not kept in each member.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

/// When members leave, by their slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Lingering {
    by_time: BTreeSet<(Instant, u32)>,
    of: HashMap<u32, Instant>,
}

impl Lingering {
    /// Lets a member linger that does not.
    pub(super) fn add(&mut self, slot: u32, leaves_at: Instant) {
        self.by_time.insert((leaves_at, slot));
        self.of.insert(slot, leaves_at);
    }

    /// Lets a member linger no more, if it does.
    pub(super) fn remove(&mut self, slot: u32) {
        if let Some(leaves_at) = self.of.remove(&slot) {
            self.by_time.remove(&(leaves_at, slot));
        }
        if self.of.is_empty() {
            self.of = HashMap::new();
        }
    }

    /// Returns when a member leaves, if it lingers.
    pub(super) fn of(&self, slot: u32) -> Option<Instant> {
        self.of.get(&slot).copied()
    }

    /// Returns all of them, by the time.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Instant, u32)> + '_ {
        self.by_time.iter().copied()
    }

    /// Returns the member that leaves first, and when.
    pub(super) fn first(&self) -> Option<(Instant, u32)> {
        self.by_time.iter().next().copied()
    }

    /// Gives the slots other numbers.
    pub(super) fn renumber(&mut self, new: impl Fn(u32) -> u32) {
        let before = std::mem::take(self).by_time;
        before.into_iter().for_each(|(leaves_at, slot)| self.add(new(slot), leaves_at));
    }
}
