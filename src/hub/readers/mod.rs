//! Who reads: the labels and ages of streams, requests to end streams, limits of the streams that have a key in common, and
//! polls.

pub(super) mod ends;
pub(super) mod labels;
pub(super) mod polls;
pub(super) mod stream_limits;

use super::{Access, SubscribeRequest};
use crate::stream::{after, StreamId};
use ends::EndRequests;
use labels::Labels;
use polls::Polls;
use std::time::Instant;
use stream_limits::Reservations;

/// What a hub knows of those who read.
#[derive(Debug, Default)]
pub struct Readers {
    labels: Labels,
    /// The last requests to end streams.
    pub requests: EndRequests,
    /// The streams that may begin.
    reservations: Reservations,
    polls: Polls,
}

impl Readers {
    /// Begins without streams: requests to end them that were carried out until then may be forgotten.
    pub(super) fn after(ends_forgotten_through: u64) -> Self {
        Self { requests: EndRequests::after(ends_forgotten_through), ..Self::default() }
    }

    /// Adds the labels and the age of a stream, as its request to subscribe has them, and whether it is a poll. Returns false
    /// if the stream has too many labels.
    pub fn add_stream(&mut self, stream: StreamId, request: &SubscribeRequest, now: Instant) -> bool {
        let Access { labels, max_age, poll, .. } = &request.access;
        if let Some(poll) = poll {
            self.polls.add(stream, poll, now);
        }
        self.labels.add(stream, labels, max_age.map(|age| after(now, age)))
    }

    /// Removes what is known of a stream that is closed.
    pub fn remove_stream(&mut self, stream: StreamId) {
        self.labels.remove(stream);
        self.polls.remove(stream);
    }

    /// Returns the labels of a stream, and when it ends because of its age.
    pub(super) fn labels_of(&self, stream: StreamId) -> (Vec<Box<[u8]>>, Option<Instant>) {
        self.labels.of(stream)
    }

    /// Returns true if nothing is kept of any stream.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.reservations.is_empty() && self.polls.is_empty()
    }
}
