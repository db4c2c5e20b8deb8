//! Publishing: an event is appended to its channel's log, and the channel's subscribers are queued for notification.

pub(super) mod once_keys;
pub(super) mod pending;
pub(super) mod publication;
pub(super) mod refusal;
pub(super) mod state_sizes;

use crate::event::Shared;
use crate::hub::ids::LastId;
use crate::hub::Hub;
use crate::log::{LogEntry, Retain};
use std::time::Instant;

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
}
