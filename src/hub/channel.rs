//! Channels, patterns of their names, and who follows them.

use super::eviction::Evictions;
use super::glob::Glob;
use crate::log::Log;
use crate::stream::StreamId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Streams that follow. One that has left stays in the list until that is walked, for to find it would take as long.
#[derive(Debug, Default)]
pub(super) struct SubscriberList {
    streams: Vec<StreamId>,
    count: usize,
    /// Whether it is to be walked: something was published.
    pub(super) is_marked: bool,
}

impl SubscriberList {
    pub(super) fn add(&mut self, stream: StreamId) {
        self.streams.push(stream);
        self.count += 1;
    }

    /// Counts one that has left. True if most in the list have.
    pub(super) fn leave(&mut self) -> bool {
        self.count -= 1;
        if self.count == 0 {
            self.streams = Vec::new();
        }
        self.streams.len() > 2 * self.count + 16
    }

    /// Takes one out that is still there, but follows no longer. True if most in the list have left.
    pub(super) fn remove(&mut self, stream: StreamId) -> bool {
        self.streams.retain(|other| *other != stream);
        self.leave()
    }

    /// Calls a function with each, and forgets those for which it says that they have left.
    pub(super) fn walk(&mut self, is_there: impl FnMut(&StreamId) -> bool) {
        self.is_marked = false;
        self.streams.retain(is_there);
    }

    /// Those who follow, and some who have left.
    pub(super) fn streams(&self) -> impl Iterator<Item = &StreamId> {
        self.streams.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// How many are in the list, those that have left included.
    #[cfg(test)]
    pub(super) fn listed(&self) -> usize {
        self.streams.len()
    }
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: Arc<[u8]>,
    /// Distinguishes it from every other channel that there was.
    pub(super) serial: u64,
    /// When it evicted something last, on the hub's clock of evictions.
    pub(super) evicted_at: u64,
    pub(super) log: Log,
    pub(super) subscribers: SubscriberList,
    /// The patterns that its name matches.
    pub(super) patterns: Vec<usize>,
    /// Whether its history may hold more than it may.
    pub(super) has_grown: bool,
}

impl Channel {
    /// Through which sequence number its log has evicted anything, if it has evicted something after a time; else 0.
    pub(super) fn forgotten_since(&self, clock: u64) -> u64 {
        if self.evicted_at > clock {
            self.log.evicted_through()
        } else {
            0
        }
    }
}

#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) glob: Glob,
    pub(super) channels: BTreeSet<usize>,
    pub(super) subscribers: SubscriberList,
    /// What any channel of that pattern has evicted, those that are no more included.
    pub(super) forgotten: Evictions,
    /// Through which place even the newest events of keys are lost.
    pub(super) lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn also_who_is_taken_out_may_leave_most_of_the_list_behind() {
        let mut subscribers = SubscriberList::default();
        let stream = |serial| StreamId { slot: serial, serial };
        (1..=20).for_each(|serial| subscribers.add(stream(serial)));
        assert!(!(1..=18).any(|_| subscribers.leave()));
        assert!(subscribers.remove(stream(20)));
    }
}
