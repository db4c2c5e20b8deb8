//! The subscribers of a topic.

use crate::stream::StreamId;
use std::collections::BTreeSet;

/// The streams that are subscribed to a channel or a pattern.
///
/// A stream that has ended stays in the list until the list is next walked: finding it would take as long as walking. So does
/// one that is ending and has left this list before: it is noted beside the list.
#[derive(Debug, Default)]
pub(in crate::hub) struct SubscriberList {
    streams: Vec<StreamId>,
    /// The streams in the list that have left it.
    removed: BTreeSet<StreamId>,
    /// The number of streams without those that have ended.
    count: usize,
    /// Whether the topic is in the hub's queue of notifications.
    pub(in crate::hub) is_queued: bool,
}

impl SubscriberList {
    pub(in crate::hub) fn add(&mut self, stream: StreamId) {
        self.streams.push(stream);
        self.count += 1;
    }

    /// Records that a subscriber has ended. Returns true if most streams in the list have ended.
    pub(in crate::hub) fn record_end(&mut self) -> bool {
        self.count -= 1;
        if self.count == 0 {
            (self.streams, self.removed) = Default::default();
        }
        self.streams.len() > 2 * self.count + 16
    }

    /// Removes a stream that is ending. Returns true if most streams in the list have ended.
    pub(in crate::hub) fn remove(&mut self, stream: StreamId) -> bool {
        self.removed.insert(stream);
        self.record_end()
    }

    /// Calls a function with each stream, and removes the streams for which it returns false.
    pub(in crate::hub) fn walk(&mut self, mut is_open: impl FnMut(&StreamId) -> bool) {
        self.is_queued = false;
        if self.removed.is_empty() {
            return self.streams.retain(is_open);
        }
        let removed = std::mem::take(&mut self.removed);
        self.streams.retain(|stream| !removed.contains(stream) && is_open(stream));
    }

    /// Returns the number of subscribers.
    pub(in crate::hub) fn len(&self) -> usize {
        self.count
    }

    /// Returns the streams in the list, perhaps some that have ended.
    pub(in crate::hub) fn iter(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.streams.iter().copied().filter(move |stream| !self.removed.contains(stream))
    }

    /// Returns the number of streams in the list, those that have ended included.
    #[cfg(test)]
    pub(in crate::hub) fn listed(&self) -> usize {
        self.streams.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_a_stream_reports_a_list_with_mostly_ended_streams() {
        let mut subscribers = SubscriberList::default();
        let stream = |serial| StreamId { slot: serial, serial };
        (1..=20).for_each(|serial| subscribers.add(stream(serial)));
        assert!(!(1..=18).any(|_| subscribers.record_end()));
        assert!(subscribers.remove(stream(20)));
    }

    #[test]
    fn a_removed_stream_is_not_in_the_list_and_leaves_it_with_the_next_walk() {
        let mut subscribers = SubscriberList::default();
        let stream = |serial| StreamId { slot: serial, serial };
        (1..=4).for_each(|serial| subscribers.add(stream(serial)));
        subscribers.remove(stream(2));
        assert_eq!((subscribers.len(), subscribers.iter().count(), subscribers.listed()), (3, 3, 4));
        let mut walked = Vec::new();
        subscribers.walk(|stream| {
            walked.push(stream.serial);
            true
        });
        assert_eq!((&walked[..], subscribers.listed()), (&[1, 3, 4][..], 3));
    }
}
