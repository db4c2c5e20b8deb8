//! Who reads: the labels and ages of streams, requests to end streams, limits of the streams that have a key in common, and
//! polls.

pub(super) mod ends;
pub(super) mod polls;
pub(super) mod stream_limits;

use super::{Access, SubscribeRequest};
use crate::stream::{after, StreamId};
use ends::EndRequests;
use polls::Polls;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;
use stream_limits::Reservations;

/// The first byte of the labels by which streams are [counted](stream_limits). Applications cannot give these.
const COUNTED: u8 = 0;

/// The longest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 256;
/// The most labels of a stream, and of a request, beside those by which streams are counted (`stream_limits`).
pub const MAX_LABELS: usize = 64;

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

/// A stream with labels or an age.
#[derive(Debug, Default)]
struct Labelled {
    labels: Vec<Arc<[u8]>>,
    ends_at: Option<Instant>,
}

impl Labelled {
    fn is_allowed(&self) -> bool {
        self.labels.iter().filter(|label| !is_counted(label)).count() <= MAX_LABELS
    }
}

/// The labels of streams, and the ages at which they end: by these a stream is found. They are kept beside the streams, because
/// most streams have neither.
#[derive(Debug, Default)]
struct Labels {
    of_stream: HashMap<u64, Labelled>,
    by_label: HashMap<Arc<[u8]>, BTreeSet<u64>>,
    by_end: BTreeSet<(Instant, u64)>,
}

impl Labels {
    /// Adds labels and an age to those of a stream. Returns false if it has too many labels then.
    fn add(&mut self, stream: StreamId, labels: &[Box<[u8]>], ends_at: Option<Instant>) -> bool {
        let stream = u64::from(stream);
        if labels.is_empty() && ends_at.is_none() {
            return self.of_stream.get(&stream).map_or(true, Labelled::is_allowed);
        }
        let labelled = self.of_stream.entry(stream).or_default();
        for label in labels {
            let label =
                self.by_label.get_key_value(&**label).map_or_else(|| Arc::from(&**label), |(of, _)| Arc::clone(of));
            if self.by_label.entry(Arc::clone(&label)).or_default().insert(stream) {
                labelled.labels.push(label);
            }
        }
        if let Some(ends_at) = ends_at.filter(|ends_at| labelled.ends_at.map_or(true, |before| *ends_at < before)) {
            if let Some(before) = labelled.ends_at.replace(ends_at) {
                self.by_end.remove(&(before, stream));
            }
            self.by_end.insert((ends_at, stream));
        }
        labelled.is_allowed()
    }

    /// Returns the labels of a stream, and when it ends.
    fn of(&self, stream: StreamId) -> (Vec<Box<[u8]>>, Option<Instant>) {
        let labelled = self.of_stream.get(&stream.into());
        labelled.map_or((Vec::new(), None), |of| (of.labels.iter().map(|label| (**label).into()).collect(), of.ends_at))
    }

    /// Returns the streams that have a label.
    fn streams(&self, label: &[u8]) -> impl Iterator<Item = u64> + '_ {
        self.by_label.get(label).into_iter().flatten().copied()
    }

    /// Returns the stream that is old enough to end first, and when.
    fn first_end(&self) -> Option<(Instant, u64)> {
        self.by_end.iter().next().copied()
    }

    /// Returns how many streams have a label.
    fn count(&self, label: &[u8]) -> usize {
        self.by_label.get(label).map_or(0, BTreeSet::len)
    }

    /// Returns true if nothing is kept of any stream.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.of_stream.is_empty() && self.by_label.is_empty() && self.by_end.is_empty()
    }

    /// Removes a stream that is closed.
    fn remove(&mut self, stream: StreamId) {
        if self.of_stream.is_empty() {
            return;
        }
        let stream = u64::from(stream);
        let Labelled { labels, ends_at } = match self.of_stream.remove(&stream) {
            Some(labelled) => labelled,
            None => return,
        };
        for label in labels {
            if let Some(streams) = self.by_label.get_mut(&label) {
                streams.remove(&stream);
                if streams.is_empty() {
                    self.by_label.remove(&label);
                }
            }
        }
        if let Some(ends_at) = ends_at {
            self.by_end.remove(&(ends_at, stream));
        }
    }
}

/// Returns true if a label counts streams, and is not one of the application.
pub fn is_counted(label: &[u8]) -> bool {
    label.first() == Some(&COUNTED)
}
