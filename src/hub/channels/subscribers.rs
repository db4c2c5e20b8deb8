//! The subscribers of a topic.

use crate::stream::StreamId;

/// The streams that are subscribed to a channel or a pattern.
///
/// A stream that has ended stays in the list until the list is next walked: finding it would take as long as walking.
#[derive(Debug, Default)]
pub(in crate::hub) struct SubscriberList {
    streams: Vec<StreamId>,
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
            self.streams = Vec::new();
        }
        self.streams.len() > 2 * self.count + 16
    }

    /// Removes a stream that is ending. Returns true if most streams in the list have ended.
    pub(in crate::hub) fn remove(&mut self, stream: StreamId) -> bool {
        self.streams.retain(|other| *other != stream);
        self.record_end()
    }

    /// Calls a function with each stream, and removes the streams for which it returns false.
    pub(in crate::hub) fn walk(&mut self, is_open: impl FnMut(&StreamId) -> bool) {
        self.is_queued = false;
        self.streams.retain(is_open);
    }

    /// Returns the number of subscribers.
    pub(in crate::hub) fn len(&self) -> usize {
        self.count
    }

    /// Returns the streams in the list, perhaps some that have ended.
    pub(in crate::hub) fn iter(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.streams.iter().copied()
    }

    /// Returns the number of streams in the list, those that have ended included.
    #[cfg(test)]
    pub(in crate::hub) fn listed(&self) -> usize {
        self.streams.len()
    }
}

saved!(SubscriberList { streams, count, is_queued });

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
}
