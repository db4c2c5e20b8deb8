//! What follows from a publication, once for all publications of a turn: subscribers are notified, and logs evict entries.
//!
//! Publishing only marks the topics and the channel. The subscribers of marked topics are walked once before the reactor sends,
//! however many events were published.

use crate::hub::channels::channel::Channel;
use crate::hub::channels::topics::TopicId;
use crate::hub::channels::Channels;
use crate::hub::Hub;
use crate::stream::StreamId;

/// The marked topics and channels.
#[derive(Debug, Default)]
pub(in crate::hub) struct PendingWork {
    /// The topics whose subscribers are to be notified.
    to_notify: Vec<TopicId>,
    /// The channels that were published to since the last eviction.
    grown: Vec<usize>,
}

impl PendingWork {
    /// Queues the subscribers of a channel for notification, by its name and by its patterns.
    pub(super) fn queue_subscribers_of(&mut self, at: usize, channels: &mut Channels) {
        self.queue_subscribers(TopicId::Channel(at as u32), channels);
        for number in 0..channels[at].patterns().len() {
            self.queue_subscribers(TopicId::Pattern(channels[at].patterns()[number] as u32), channels);
        }
    }

    /// Queues the subscribers of a topic for [notification](Hub::notify_subscribers).
    pub(in crate::hub) fn queue_subscribers(&mut self, topic: TopicId, channels: &mut Channels) {
        if let Some(subscribers) = channels.subscribers_mut(topic).filter(|subscribers| !subscribers.is_queued) {
            if subscribers.len() > 0 {
                subscribers.is_queued = true;
                self.to_notify.push(topic);
            }
        }
    }

    /// Adds a channel whose log may exceed its bounds.
    pub(in crate::hub) fn add_grown(&mut self, at: usize, channel: &mut Channel) {
        if !std::mem::replace(&mut channel.has_grown, true) {
            self.grown.push(at);
        }
    }

    /// Takes one of these channels, which may have been removed.
    pub(in crate::hub) fn pop_grown(&mut self) -> Option<usize> {
        self.grown.pop()
    }

    #[cfg(test)]
    pub(in crate::hub) fn grown(&self) -> impl Iterator<Item = usize> + '_ {
        self.grown.iter().copied()
    }

    pub(in crate::hub) fn has_grown(&self) -> bool {
        !self.grown.is_empty()
    }

    /// Forgets a channel that is removed.
    pub(in crate::hub) fn forget_channel(&mut self, at: usize, has_grown: bool) {
        if has_grown {
            self.grown.retain(|grown| *grown != at);
        }
    }

    /// Returns true if nothing is marked.
    #[cfg(test)]
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.to_notify.is_empty() && self.grown.is_empty()
    }
}

impl Hub {
    /// Calls a function with each stream for which something may have been published, once for each of its topics. The
    /// function returns false if the stream has ended; the hub then removes it from the topic's subscribers.
    pub fn notify_subscribers(&mut self, mut notify: impl FnMut(StreamId) -> bool) {
        let channels = self.logs.channels_mut();
        while let Some(topic) = self.pending.to_notify.pop() {
            // If the list is not queued, the queued topic was removed and its slot reused.
            if let Some(subscribers) = channels.subscribers_mut(topic).filter(|subscribers| subscribers.is_queued) {
                subscribers.walk(|stream| notify(*stream));
            }
        }
    }
}
