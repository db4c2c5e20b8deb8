//! Ending streams by who reads them: labels, topics, ages.
//!
//! A stream may have labels, which its application gives it: `user/7`. Who asks for an end names labels or topics
//! ([`EndRequest`]), and the hub says which streams are meant. A stream may also have an age at which it ends. Labels and ages
//! are kept beside the streams ([`Marks`]), because most streams have neither.
//!
//! # Who reads what a topic names
//!
//! A stream reads a channel by its name or by a pattern that matches it. So a topic of a request means each stream that has a
//! topic with a name in common: otherwise somebody would read on by a pattern what may not be read any more.
//!
//! # Order
//!
//! A stream that subscribes after a request is not meant by it. But an application may be asked for a stream, find that its
//! user may read, and subscribe only after another process has withdrawn that right and asked for the end. So a hub remembers
//! requests for a while ([`REMEMBERED`]), and a subscription says since when the application knows what it does
//! ([`asked_at`](Access::asked_at)): one that is older than a request which means it ends at once, too.

use crate::hub::channels::glob::{self, Glob};
use crate::hub::channels::subscribers::SubscriberList;
use crate::hub::{Access, Hub, SubscribeRequest, Topic};
use crate::stream::{after, StreamId};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The event that ends a stream for good, with the id that [no published event has](crate::hub::check_published_id). A client
/// that reconnects sends the id, and is answered with the status 204.
pub const FINISH_BLOCK: &[u8] = b"event: finish\ndata: finish\nid: eventsource-finished\n\n";

/// The first byte of the labels by which streams are [counted](crate::hub::limits). Applications cannot give these.
const COUNTED: u8 = 0;

/// The longest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 256;
/// The most labels of a stream, and of a request, beside those by which streams are counted (`limits`).
pub const MAX_LABELS: usize = 64;
/// The most requests that are remembered, and the most bytes of their labels and topics.
const MOST_REMEMBERED: (usize, usize) = (1000, 1 << 20);
/// How long they are.
pub const REMEMBERED: Duration = Duration::from_secs(60);

/// A request to end streams: those with one of the labels, and those that read what one of the topics names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndRequest {
    /// The labels.
    pub labels: Vec<Box<[u8]>>,
    /// The topics.
    pub topics: Vec<Topic>,
    /// Whether the clients are told not to come back.
    pub finishes: bool,
}

impl EndRequest {
    fn bytes(&self) -> usize {
        let topics = self.topics.iter().map(|(Topic::Channel(name) | Topic::Pattern(name))| name.len());
        self.labels.iter().map(|label| label.len()).chain(topics).sum()
    }
}

/// A stream with labels or an age.
#[derive(Debug, Default)]
struct Mark {
    labels: Vec<Arc<[u8]>>,
    ends_at: Option<Instant>,
}

/// The labels and ages of streams.
#[derive(Debug, Default)]
pub(in crate::hub) struct Marks {
    of_stream: HashMap<u64, Mark>,
    by_label: HashMap<Arc<[u8]>, BTreeSet<u64>>,
    by_end: BTreeSet<(Instant, u64)>,
    /// The last requests, and when they were carried out: nanoseconds of the system's monotonic clock.
    requests: VecDeque<(u64, EndRequest)>,
}

impl Marks {
    fn add(&mut self, stream: StreamId, labels: &[Box<[u8]>], ends_at: Option<Instant>) {
        let stream = u64::from(stream);
        if labels.is_empty() && ends_at.is_none() {
            return;
        }
        let mark = self.of_stream.entry(stream).or_default();
        for label in labels {
            let label =
                self.by_label.get_key_value(&**label).map_or_else(|| Arc::from(&**label), |(of, _)| Arc::clone(of));
            if self.by_label.entry(Arc::clone(&label)).or_default().insert(stream) {
                mark.labels.push(label);
            }
        }
        if let Some(ends_at) = ends_at.filter(|ends_at| mark.ends_at.map_or(true, |before| *ends_at < before)) {
            if let Some(before) = mark.ends_at.replace(ends_at) {
                self.by_end.remove(&(before, stream));
            }
            self.by_end.insert((ends_at, stream));
        }
    }

    /// Returns how many streams have a label.
    pub(in crate::hub) fn count(&self, label: &[u8]) -> usize {
        self.by_label.get(label).map_or(0, BTreeSet::len)
    }

    /// Returns true if nothing is kept of any stream.
    #[cfg(test)]
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.of_stream.is_empty() && self.by_label.is_empty() && self.by_end.is_empty()
    }

    fn remove(&mut self, stream: StreamId) {
        if self.of_stream.is_empty() {
            return;
        }
        let stream = u64::from(stream);
        let Mark { labels, ends_at } = match self.of_stream.remove(&stream) {
            Some(mark) => mark,
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
pub(in crate::hub) fn is_counted(label: &[u8]) -> bool {
    label.first() == Some(&COUNTED)
}

/// Returns true if a topic of a stream and one of a request have a name in common.
fn meet(one: &Topic, other: &Topic) -> bool {
    match (one, other) {
        (Topic::Channel(one), Topic::Channel(other)) => one == other,
        (Topic::Channel(name), Topic::Pattern(text)) | (Topic::Pattern(text), Topic::Channel(name)) => {
            name.starts_with(glob::literal(text)) && Glob::new(text).matches(name)
        }
        (Topic::Pattern(one), Topic::Pattern(other)) => glob::meet(one, other),
    }
}

impl Hub {
    /// Marks a stream with the labels and the age of a request to subscribe. Returns false if it has too many labels.
    pub fn mark(&mut self, stream: StreamId, request: &SubscribeRequest, now: Instant) -> bool {
        let Access { labels, max_age, .. } = &request.access;
        // Streams that began together do not come back together.
        let ends_at = max_age.map(|age| after(now, age.mul_f64(1.0 - fastrand::f64() / 4.0)));
        self.marks.add(stream, labels, ends_at);
        let mark = self.marks.of_stream.get(&stream.into());
        mark.map_or(true, |mark| mark.labels.iter().filter(|label| !is_counted(label)).count() <= MAX_LABELS)
    }

    /// Removes the marks of a stream that is closed.
    pub fn unmark(&mut self, stream: StreamId) {
        self.marks.remove(stream);
    }

    /// Returns something if a request that means a subscription was carried out after the application was asked for it:
    /// whether the client is told not to come back.
    pub fn is_overtaken(&self, subscription: &SubscribeRequest) -> Option<bool> {
        let SubscribeRequest { topics, access: Access { labels, asked_at, .. }, .. } = subscription;
        let later = self.marks.requests.iter().filter(|(at, _)| *at >= *asked_at && *asked_at > 0);
        let mut means = later.filter(|(_, request)| {
            labels.iter().any(|label| request.labels.contains(label))
                || topics.iter().any(|topic| request.topics.iter().any(|of| meet(topic, of)))
        });
        let first = means.next()?;
        Some(first.1.finishes || means.any(|(_, request)| request.finishes))
    }

    /// Returns the streams that a request means, perhaps some that have ended, each once. Remembers the request, which is
    /// carried out at `at`, a time of the system's monotonic clock in nanoseconds.
    pub fn streams_to_end(&mut self, request: &EndRequest, at: u64) -> Vec<StreamId> {
        let mut streams = BTreeSet::new();
        for label in &request.labels {
            streams.extend(self.marks.by_label.get(&**label).into_iter().flatten().copied());
        }
        for topic in &request.topics {
            streams.extend(self.readers_of(topic));
        }
        let requests = &mut self.marks.requests;
        let oldest = at.saturating_sub(REMEMBERED.as_nanos() as u64);
        requests.push_back((at, request.clone()));
        let is_too_much = |requests: &VecDeque<(u64, EndRequest)>| {
            let bytes: usize = requests.iter().map(|(_, request)| request.bytes()).sum();
            requests.len() > MOST_REMEMBERED.0 || bytes > MOST_REMEMBERED.1 && requests.len() > 1
        };
        while requests.front().map_or(false, |(at, _)| *at < oldest) || is_too_much(requests) {
            requests.pop_front();
        }
        streams.into_iter().map(Into::into).collect()
    }

    /// Returns the streams that read a channel of a topic, perhaps some that have ended.
    fn readers_of(&self, topic: &Topic) -> Vec<u64> {
        let lists: Vec<&SubscriberList> = match topic {
            Topic::Channel(name) => self.subscriber_lists(name),
            Topic::Pattern(text) => {
                let glob = Glob::new(text);
                let patterns = self.patterns.iter().filter(|(_, pattern)| glob::meet(pattern.glob.text(), text));
                let (channels, _) = self.names.matching(&glob, &mut 0);
                let by_name = channels.iter().map(|at| &self.channels[*at].subscribers);
                by_name.chain(patterns.map(|(_, pattern)| &pattern.subscribers)).collect()
            }
        };
        lists.iter().flat_map(|subscribers| subscribers.iter()).map(u64::from).collect()
    }

    /// Takes the next stream that is old enough to end.
    pub fn pop_aged(&mut self, now: Instant) -> Option<StreamId> {
        let (_, stream) = self.marks.by_end.iter().next().copied().filter(|(at, _)| *at <= now)?;
        let stream = stream.into();
        self.marks.remove(stream);
        Some(stream)
    }

    /// When the first stream is old enough to end.
    pub fn next_aged(&self) -> Option<Instant> {
        self.marks.by_end.iter().next().map(|(at, _)| *at)
    }
}

saved!(EndRequest { labels, topics, finishes });
saved!(Mark { labels, ends_at });
saved!(Marks { of_stream, by_label, by_end, requests });
