//! The subscribers of a topic, and their notification when something is published.
//!
//! Publishing only marks the topic. The subscribers of marked topics are walked once before the reactor sends, however many
//! events were published.

use crate::hub::channels::topics::TopicId;
use crate::hub::{Channel, Hub};
use crate::stream::StreamId;
use std::collections::HashSet;

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
    fn walk(&mut self, is_open: impl FnMut(&StreamId) -> bool) {
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

impl Hub {
    /// Returns the subscribers of a topic, if the topic exists.
    pub(in crate::hub) fn subscribers(&mut self, topic: TopicId) -> Option<&mut SubscriberList> {
        match topic {
            TopicId::Channel(at) => self.channels.get_mut(at as usize).map(|channel| &mut channel.subscribers),
            TopicId::Pattern(at) => self.patterns.get_mut(at as usize).map(|pattern| &mut pattern.subscribers),
        }
    }

    /// Queues the subscribers of a channel for notification, by its name and by its patterns.
    pub(in crate::hub) fn queue_subscribers_of(&mut self, at: usize) {
        self.queue_subscribers(TopicId::Channel(at as u32));
        for number in 0..self.channels[at].patterns.len() {
            self.queue_subscribers(TopicId::Pattern(self.channels[at].patterns[number] as u32));
        }
    }

    /// Queues the subscribers of a topic for [notification](Self::notify_subscribers).
    pub(in crate::hub) fn queue_subscribers(&mut self, topic: TopicId) {
        if let Some(subscribers) = self.subscribers(topic).filter(|subscribers| !subscribers.is_queued) {
            if subscribers.len() > 0 {
                subscribers.is_queued = true;
                self.to_notify.push(topic);
            }
        }
    }

    /// Calls a function with each stream for which something may have been published, once for each of its topics. The
    /// function returns false if the stream has ended; the hub then removes it from the topic's subscribers.
    pub fn notify_subscribers(&mut self, mut notify: impl FnMut(StreamId) -> bool) {
        while let Some(topic) = self.to_notify.pop() {
            // If the list is not queued, the queued topic was removed and its slot reused.
            if let Some(subscribers) = self.subscribers(topic).filter(|subscribers| subscribers.is_queued) {
                subscribers.walk(|stream| notify(*stream));
            }
        }
    }

    /// Returns the number of streams that are subscribed to a channel, by its name or by a pattern.
    ///
    /// A stream with several such topics counts once. Lists then have to be compared, so `is_open` says which streams
    /// of these lists have not ended.
    pub fn subscribers_of(&self, name: &[u8], is_open: impl Fn(StreamId) -> bool) -> usize {
        let mut lists = self.subscriber_lists(name);
        lists.retain(|subscribers| subscribers.len() > 0);
        if let [one] = lists[..] {
            return one.len();
        }
        let streams = lists.iter().flat_map(|subscribers| &subscribers.streams).filter(|stream| is_open(**stream));
        streams.map(|stream| u64::from(*stream)).collect::<HashSet<_>>().len()
    }

    /// Returns the subscribers of a channel, by its name and by each pattern.
    pub(in crate::hub) fn subscriber_lists(&self, name: &[u8]) -> Vec<&SubscriberList> {
        match self.channel_by_name.get(name) {
            Some(at) => {
                let Channel { subscribers, patterns, .. } = &self.channels[*at];
                let by_pattern = patterns.iter().map(|pattern| &self.patterns[*pattern].subscribers);
                std::iter::once(subscribers).chain(by_pattern).collect()
            }
            None => {
                let patterns = self.patterns_matching(name).into_iter();
                patterns.map(|at| &self.patterns[at].subscribers).collect()
            }
        }
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
