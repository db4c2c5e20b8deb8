//! The readers: the labels and ages of streams, and requests to end streams by these and by their topics. `stream_limits` has
//! limits of the streams that have a key in common, `polls` the streams that end with something new.
//!
//! A stream may have labels, which its application gives it: `user/7`. Who asks for an end names labels or topics
//! ([`EndRequest`]), and the hub says which streams are meant. A stream may also have an age at which it ends.
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
//! ([`asked_at`](Access::asked_at)): one that is older than a request which means it ends at once, too. A ticket that the
//! application was asked for before is refused, for as long as any is valid. A request that had to be forgotten may have
//! meant anybody: a job that withdraws the rights of many users makes a hub forget others within milliseconds.
//!
//! A stream that the program before this one has handed over is meant by each request of a store's history that follows the
//! stream's position there: that program has not read it.
//!
//! A client that is between two streams is not meant either, nor is it told not to come back: its application, which has
//! withdrawn the right before, is asked again. A request that means later streams would also end those that the application has
//! let in since. Clients between two polls are known (`polls.rs`).

pub(super) mod polls;
pub(super) mod stream_limits;

use super::channels::SubscriberList;
use super::glob::{self, Glob};
use super::ticket::LONGEST_TICKET;
use super::{Access, Hub, SubscribeRequest, Topic};
use crate::stream::{after, StreamId};
use polls::Polls;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stream_limits::Reservations;

/// The first byte of the labels by which streams are [counted](stream_limits). Applications cannot give these.
const COUNTED: u8 = 0;

/// The longest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 256;
/// The most labels of a stream, and of a request, beside those by which streams are counted (`stream_limits`).
pub const MAX_LABELS: usize = 64;

/// The readers of a hub, as it knows them.
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
            self.polls.add(stream, poll, request, now);
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
        let labels = self.labels.of_stream.get(&stream.into()).into_iter().flatten();
        (labels.map(|label| (**label).into()).collect(), self.labels.ends.get(stream.slot as usize).copied().flatten())
    }

    /// Returns true if nothing is kept of any stream.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.reservations.is_empty() && self.polls.is_empty()
    }
}

/// The labels of streams, and the ages at which they end: by these a stream is found. They are kept beside the streams, because
/// most streams have neither.
#[derive(Debug, Default)]
struct Labels {
    of_stream: HashMap<u64, Vec<Arc<[u8]>>>,
    by_label: HashMap<Arc<[u8]>, BTreeSet<u64>>,
    /// When streams end, by their slots: all that have come back with tickets have an age.
    ends: Vec<Option<Instant>>,
    by_end: BTreeSet<(Instant, u64)>,
}

impl Labels {
    /// Adds labels and an age to those of a stream. Returns false if it has too many labels then.
    fn add(&mut self, stream: StreamId, labels: &[Box<[u8]>], ends_at: Option<Instant>) -> bool {
        if let Some(ends_at) = ends_at {
            self.set_end(stream, ends_at);
        }
        let stream = u64::from(stream);
        if labels.is_empty() {
            return self.of_stream.get(&stream).map_or(true, |labels| are_allowed(labels));
        }
        let of_stream = self.of_stream.entry(stream).or_default();
        for label in labels {
            let label =
                self.by_label.get_key_value(&**label).map_or_else(|| Arc::from(&**label), |(of, _)| Arc::clone(of));
            if self.by_label.entry(Arc::clone(&label)).or_default().insert(stream) {
                of_stream.push(label);
            }
        }
        are_allowed(of_stream)
    }

    /// Lets a stream end at a time, unless it ends before.
    fn set_end(&mut self, stream: StreamId, ends_at: Instant) {
        let slot = stream.slot as usize;
        if slot >= self.ends.len() {
            self.ends.resize(slot + 1, None);
        }
        if self.ends[slot].map_or(true, |before| ends_at < before) {
            if let Some(before) = self.ends[slot].replace(ends_at) {
                self.by_end.remove(&(before, stream.into()));
            }
            self.by_end.insert((ends_at, stream.into()));
        }
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
        if let Some(ends_at) = self.ends.get_mut(stream.slot as usize).and_then(Option::take) {
            self.by_end.remove(&(ends_at, stream.into()));
        }
        if self.of_stream.is_empty() {
            return;
        }
        let stream = u64::from(stream);
        for label in self.of_stream.remove(&stream).unwrap_or_default() {
            if let Some(streams) = self.by_label.get_mut(&label) {
                streams.remove(&stream);
                if streams.is_empty() {
                    self.by_label.remove(&label);
                }
            }
        }
    }
}

/// Returns true if a stream may have all these labels.
fn are_allowed(labels: &[Arc<[u8]>]) -> bool {
    labels.iter().filter(|label| !is_counted(label)).count() <= MAX_LABELS
}

/// Returns true if a label counts streams, and is not one of the application.
pub fn is_counted(label: &[u8]) -> bool {
    label.first() == Some(&COUNTED)
}

/// The event that ends a stream for good, with the id that [no published event has](crate::hub::Publication::check). A client
/// that reconnects sends the id, and is answered with the status 204.
pub const FINISH_BLOCK: &[u8] = b"event: finish\ndata: finish\nid: eventsource-finished\n\n";

/// The most requests that are remembered, and the most bytes of their labels and topics.
pub const MOST_REMEMBERED: (usize, usize) = (1000, 1 << 20);
/// The time for which they are remembered: as long as a [`Ticket`](crate::hub::Ticket) may be valid.
const REMEMBERED: Duration = LONGEST_TICKET;
/// The time that an application may take between the question and the subscription. Older requests of a store's history mean no
/// subscription. Tickets of a store that machines share are compared with its history itself.
pub const LONGEST_ANSWER: Duration = Duration::from_secs(60);

/// A request to end streams: those with one of the labels, and those that read what one of the topics names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndRequest {
    /// The labels.
    pub labels: Vec<Box<[u8]>>,
    /// The topics.
    pub topics: Vec<Topic>,
    /// True if the clients are told not to come back.
    pub finishes: bool,
}

impl EndRequest {
    /// Returns true if it means a stream with this subscription.
    pub fn means(&self, subscription: &SubscribeRequest) -> bool {
        let SubscribeRequest { topics, access: Access { labels, .. }, .. } = subscription;
        labels.iter().any(|label| self.labels.contains(label))
            || topics.iter().any(|topic| self.topics.iter().any(|of| has_common_name(topic, of)))
    }

    /// Returns how many bytes its labels and topics have.
    pub fn bytes(&self) -> usize {
        let topics = self.topics.iter().map(|(Topic::Channel(name) | Topic::Pattern(name))| name.len());
        self.labels.iter().map(|label| label.len()).chain(topics).sum()
    }
}

/// A request that was carried out.
#[derive(Debug)]
struct CarriedOut {
    /// When: nanoseconds of the system's monotonic clock.
    at: u64,
    /// Its sequence number in a store that other machines share, otherwise 0.
    seq: u64,
    request: EndRequest,
}

/// The last requests. The hub compares them with subscriptions, and its owner with tickets.
#[derive(Debug, Default)]
pub struct EndRequests {
    /// In the order of their times.
    requests: VecDeque<CarriedOut>,
    /// The time of the last request that was forgotten.
    forgotten_through: u64,
    /// The greatest sequence number of these.
    forgotten_seq: u64,
}

impl EndRequests {
    /// Begins without those that were carried out until then.
    pub fn after(forgotten_through: u64) -> Self {
        Self { forgotten_through, ..Self::default() }
    }

    /// Remembers a request that is carried out at a time, and its sequence number in a store that other machines share.
    pub fn add(&mut self, request: &EndRequest, at: u64, seq: u64) {
        let oldest = at.saturating_sub(REMEMBERED.as_nanos() as u64);
        let place = self.requests.partition_point(|other| other.at <= at);
        self.requests.insert(place, CarriedOut { at, seq, request: request.clone() });
        while self.requests.front().map_or(false, |first| first.at < oldest) || self.has_too_many() {
            let CarriedOut { at, seq, .. } = some_or!(self.requests.pop_front(), return);
            self.forgotten_through = self.forgotten_through.max(at);
            self.forgotten_seq = self.forgotten_seq.max(seq);
        }
    }

    fn has_too_many(&self) -> bool {
        let bytes: usize = self.requests.iter().map(|carried_out| carried_out.request.bytes()).sum();
        self.requests.len() > MOST_REMEMBERED.0 || bytes > MOST_REMEMBERED.1 && self.requests.len() > 1
    }

    /// Returns those that were carried out since some time, the last one first.
    fn since(&self, at: u64) -> impl Iterator<Item = &EndRequest> {
        self.requests.iter().rev().take_while(move |carried_out| carried_out.at >= at).map(|of| &of.request)
    }

    /// Returns something if a request means the subscription of a stream that was handed over at a sequence number, and has a
    /// greater one: that of the first one, and whether the client is told not to come back.
    fn after_seq(&self, subscription: &SubscribeRequest, seq: u64) -> Option<(u64, bool)> {
        let means = |of: &&CarriedOut| of.seq > seq && of.request.means(subscription);
        let first = self.requests.iter().filter(means).map(|of| of.seq).min();
        let finishes = self.requests.iter().filter(means).any(|of| of.request.finishes);
        first.map(|first| (first, finishes)).or((self.forgotten_seq > seq).then_some((seq, false)))
    }

    /// Returns something if a request that means a subscription was carried out after the application was asked for it, or one
    /// of which that is not known any more: whether the client is told not to come back.
    pub fn overtaking(&self, subscription: &SubscribeRequest) -> Option<bool> {
        let asked_at = Some(subscription.access.asked_at).filter(|at| *at > 0)?;
        let mut means = self.since(asked_at).filter(|request| request.means(subscription)).peekable();
        let is_overtaken = means.peek().is_some() || asked_at <= self.forgotten_through;
        is_overtaken.then(|| means.any(|request| request.finishes))
    }

    /// Returns true if the subscription of a ticket is [overtaken](Self::overtaking), or if it is not known when the
    /// application was asked for it.
    pub fn withdraw(&self, subscription: &SubscribeRequest) -> bool {
        subscription.access.asked_at == 0 || self.overtaking(subscription).is_some()
    }
}

/// Returns true if a topic of a stream and one of a request have a name in common.
fn has_common_name(one: &Topic, other: &Topic) -> bool {
    match (one, other) {
        (Topic::Channel(one), Topic::Channel(other)) => one == other,
        (Topic::Channel(name), Topic::Pattern(text)) | (Topic::Pattern(text), Topic::Channel(name)) => {
            name.starts_with(glob::literal(text)) && Glob::new(text).is_match(name)
        }
        (Topic::Pattern(one), Topic::Pattern(other)) => glob::can_match_same(one, other),
    }
}

impl Readers {
    /// Returns the requests that are remembered, with the times at which they were carried out, and until when others were.
    pub fn end_requests(&self) -> (impl Iterator<Item = (u64, &EndRequest)>, u64) {
        let requests = self.requests.requests.iter().map(|of| (of.at, &of.request));
        (requests, self.requests.forgotten_through)
    }

    /// Takes the next stream that is old enough to end.
    pub fn pop_aged(&mut self, now: Instant) -> Option<StreamId> {
        let (_, stream) = self.labels.first_end().filter(|(at, _)| *at <= now)?;
        self.labels.remove(stream.into());
        Some(stream.into())
    }

    /// Returns when the first stream is old enough to end, or a poll has waited for long enough.
    pub fn next_aged(&self) -> Option<Instant> {
        [self.labels.first_end().map(|(at, _)| at), self.polls.first_end()].into_iter().flatten().min()
    }
}

impl Hub {
    /// Returns the streams that a request means, perhaps some that have ended, each once. Remembers the request, which is
    /// carried out at `at`, a time of the system's monotonic clock in nanoseconds, and whose sequence number in a store that
    /// other machines share is `seq`, otherwise 0.
    pub fn streams_to_end(&mut self, request: &EndRequest, at: u64, seq: u64) -> Vec<StreamId> {
        let by_label =
            request.labels.iter().filter_map(|label| self.readers.labels.by_label.get(&**label)).flatten().copied();
        let lists = request.topics.iter().flat_map(|topic| self.logs.channels.readers_of(topic));
        let by_topic = lists.flat_map(SubscriberList::iter).map(u64::from);
        let streams: BTreeSet<u64> = by_label.chain(by_topic).collect();
        self.readers.requests.add(request, at, seq);
        if request.finishes {
            self.readers.polls.finish_ended(request);
        }
        streams.into_iter().map(Into::into).collect()
    }

    /// Returns something if a request means a stream that the program before this one has handed over, and that program has not
    /// read the request: its sequence number, and whether the client is told not to come back.
    pub fn end_of_handed(&self, subscription: &SubscribeRequest) -> Option<(u64, bool)> {
        let after = subscription.after.as_deref().filter(|_| subscription.first_block.is_sent)?;
        self.readers.requests.after_seq(subscription, self.epoch.seq(after)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(labels: &[&str], topics: &[&str]) -> EndRequest {
        EndRequest { labels: names(labels), topics: topics_of(topics), finishes: false }
    }

    fn names(names: &[&str]) -> Vec<Box<[u8]>> {
        names.iter().map(|name| name.as_bytes().into()).collect()
    }

    fn topics_of(names: &[&str]) -> Vec<Topic> {
        let topic = |name: &&str| match name.contains('*') {
            true => Topic::Pattern(name.as_bytes().into()),
            false => Topic::Channel(name.as_bytes().into()),
        };
        names.iter().map(topic).collect()
    }

    /// Returns true if a ticket is not withdrawn whose application was asked at a time.
    fn admit(ends: &EndRequests, asked_at: u64, labels: &[&str], topics: &[&str]) -> bool {
        let access = Access { asked_at, labels: names(labels), ..Access::default() };
        !ends.withdraw(&SubscribeRequest { topics: topics_of(topics), access, ..SubscribeRequest::default() })
    }

    #[test]
    fn a_ticket_is_refused_if_what_it_allows_was_withdrawn_since() {
        let mut ends = EndRequests::default();
        ends.add(&end(&["a"], &["o/*"]), 1000, 0);
        for (asked_at, names, topics, expected) in [
            (999, &["a"][..], &["c"][..], false),
            (1000, &["a"], &["c"], false),
            (1001, &["a"], &["c"], true),
            (999, &["b"], &["c"], true),
            (999, &["b", "a"], &["c"], false),
            (999, &[], &["o/1"], false),
            (999, &[], &["c", "o/1"], false),
            (999, &[], &["c", "*/1", "p"], false),
            (999, &[], &["p/1"], true),
            (0, &["b"], &["c"], false),
        ] {
            assert_eq!(admit(&ends, asked_at, names, topics), expected, "{asked_at} {names:?} {topics:?}");
        }
    }

    #[test]
    fn a_ticket_is_refused_if_what_was_withdrawn_since_had_to_be_forgotten() {
        let hour = 3_600_000_000_000;
        let mut ends = EndRequests::default();
        ends.add(&end(&["a"], &[]), 10, 0);
        ends.add(&end(&["a"], &[]), 5, 0);
        assert!(!admit(&ends, 7, &["a"], &["c"]), "requests of other machines come late");
        assert!(admit(&ends, 7, &["b"], &["c"]));
        (0..999).for_each(|number| ends.add(&end(&["x"], &[]), 20 + number, 0));
        assert!(!admit(&ends, 5, &["b"], &["c"]), "1,000 requests are known, not the one of this time");
        assert!(admit(&ends, 6, &["b"], &["c"]) && !admit(&ends, 6, &["a"], &["c"]));
        ends.add(&end(&["x"], &[]), 10 + hour, 0);
        assert!(!admit(&ends, 9, &["a"], &["c"]), "for as long as a ticket may be valid");
        let next = EndRequests::after(ends.forgotten_through);
        assert!(!admit(&next, 9, &["b"], &["c"]) && admit(&next, 11, &["b"], &["c"]), "in the next program, too");
    }
}
