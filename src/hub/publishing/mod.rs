//! Publishing: an event is appended to its channel's log, and the channel's subscribers are queued for notification.
//!
//! What follows from a publication is done once for all publications of a turn: publishing only marks the topics and the
//! channel. The subscribers of marked topics are walked once before the reactor sends, however many events were published.

pub(super) mod once_keys;
pub(super) mod refusal;
pub(super) mod state_sizes;

use crate::event::Shared;
use crate::hub::channels::{Channel, Channels, TopicId};
use crate::hub::ids::LastId;
use crate::hub::Hub;
use crate::log::{LogEntry, Retain};
use crate::stream::StreamId;
use std::time::Instant;

/// An event that is to be published, with its fields in one of their forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publication<'a, F> {
    /// The channel's name.
    pub channel: &'a [u8],
    /// The key: a later event with the same key replaces this one. Empty if the event has none.
    pub key: &'a [u8],
    /// The effect of the event on the state of its channel.
    pub retain: Retain,
    /// The key that the producer gives the event: a second publish with it returns the id of the first one. Empty if the event
    /// has none.
    pub once: &'a [u8],
    /// The event's fields. With an id among them, the event has that id for its clients.
    pub fields: F,
}

impl<'a, F> Publication<'a, F> {
    /// Returns the same event with its fields in another form.
    pub fn map<G>(self, form: impl FnOnce(F) -> G) -> Publication<'a, G> {
        let Self { channel, key, retain, once, fields } = self;
        Publication { channel, key, retain, once, fields: form(fields) }
    }
}

/// An event that has its sequence number and its id.
#[derive(Clone, Debug)]
pub struct SequencedEvent {
    /// The sequence number: the next one of the hub, or one that a store has given.
    pub seq: u64,
    /// The name of the channel.
    pub channel: Box<[u8]>,
    /// The encoded event, its id included.
    pub event: Shared,
    /// The key, for the state of the channel and for [`OnSlow::Latest`](crate::hub::OnSlow::Latest). Empty if the event has
    /// none.
    pub key: Box<[u8]>,
    /// The effect of the event on the state of its channel.
    pub retain: Retain,
    /// The id, if the application chose it.
    pub id: Option<Box<[u8]>>,
}

impl SequencedEvent {
    /// Returns how many bytes of memory the event takes. For a small event that is mostly this struct.
    pub fn size(&self) -> usize {
        let id = self.id.as_ref().map_or(0, |id| id.len());
        std::mem::size_of::<Self>() + self.event.len() + self.channel.len() + self.key.len() + id
    }
}

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
    fn queue_subscribers_of(&mut self, at: usize, channels: &mut Channels) {
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

impl LogEntry {
    /// Returns the last id of a client that was sent this entry.
    pub(in crate::hub) fn last_id(&self) -> LastId {
        LastId::new(self.seq, self.has_custom_id)
    }
}

impl Hub {
    /// Appends an event to its channel's log. Only [`evict`](Self::evict) removes entries that exceed the retention, so
    /// that streams that keep up are sent them before.
    ///
    /// `published_at` is now, or when the event was stored. An entry of the [history](Self::stored) is not counted as
    /// published.
    pub fn append(&mut self, event: SequencedEvent, published_at: Instant) {
        let SequencedEvent { seq, channel, event, key, retain, id } = event;
        let (at, is_later) = self.logs.add_number(seq, &channel, id.as_deref());
        self.counts.published += u64::from(is_later);
        if let Some(stored) = &mut self.stored {
            stored.add_seq(seq);
        }
        self.pending.queue_subscribers_of(at, self.logs.channels_mut());
        let has_custom_id = id.is_some();
        let entry = LogEntry { seq, at: published_at, event, key, retain, has_custom_id, channel: at as u32 };
        self.change_log(at, |log, snapshots, gone| log.append(entry, snapshots, gone));
        self.pending.add_grown(at, self.logs.channels_mut().channel_mut(at));
    }

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
