//! A request to subscribe: the topics, and where the stream begins.

use crate::hub::presence::Presence;
use std::time::Duration;

/// A subscription that a stream asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The channels and patterns. A channel of several begins as the first of them does.
    pub topics: Vec<Topic>,
    /// The id of the last event that the client received. Clients can send any bytes here.
    pub after: Option<Box<[u8]>>,
    /// The beginning of the stream if the id is missing or unknown.
    pub start: StartPoint,
    /// The last topics, if they begin otherwise: in groups, each of which ends where the next one begins.
    pub other_starts: Vec<OtherStart>,
    /// The first block of the stream. It counts with the first request of a stream.
    pub first_block: FirstBlock,
    /// The reader, as its application knows it.
    pub access: Access,
    /// The member and the will of the stream.
    pub presence: Presence,
}

/// The beginning of the topics of a request from one of them on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherStart {
    /// The index of the first of them.
    pub from: usize,
    /// Where they begin.
    pub start: StartPoint,
}

impl SubscribeRequest {
    /// Returns the topics in groups that begin alike.
    pub fn groups(&self) -> impl Iterator<Item = (&[Topic], StartPoint)> + '_ {
        let first = std::iter::once(OtherStart { from: 0, start: self.start });
        let ends = self.other_starts.iter().map(|other| other.from).chain([self.topics.len()]);
        let groups = first.chain(self.other_starts.iter().copied()).zip(ends);
        groups.filter_map(move |(OtherStart { from, start }, end)| Some((self.topics.get(from..end)?, start)))
    }
}

/// The reader of a stream, as the application knows it at the subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// By what the stream can be [ended](crate::hub::EndRequest): at most [`MAX_LABELS`](crate::hub::MAX_LABELS).
    pub labels: Vec<Box<[u8]>>,
    /// The limits of the labels by which the stream is counted. A stream without a reservation needs a free place of each.
    pub limits: Vec<StreamLimit>,
    /// When the stream ends.
    pub max_age: Option<Duration>,
    /// When the application was asked, in nanoseconds of the system's monotonic clock; 0 if that does not matter.
    pub asked_at: u64,
    /// The poll, if the stream is one.
    pub poll: Option<Poll>,
}

/// The number of streams that may have a label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamLimit {
    /// The label.
    pub label: Box<[u8]>,
    /// The most streams.
    pub most: u64,
}

impl StreamLimit {
    /// The most streams, as a number of this machine.
    pub(super) fn most(&self) -> usize {
        usize::try_from(self.most).unwrap_or(usize::MAX)
    }
}

/// A poll: a stream that ends as soon as its client was sent something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// The time for which the client waits for something new.
    pub wait: Duration,
    /// The reason for which it polls.
    pub reason: PollReason,
}

named! {
    /// The reason for which a client polls.
    PollReason {
        /// The first bytes of its stream did not come.
        Mute = "mute",
        /// Its stream was silent for longer than a keepalive takes.
        Silent = "silent",
        /// Its streams are answered by errors.
        Refused = "refused",
        /// Its streams are cut.
        Cut = "cut",
        /// Any other.
        Other = "other",
    }
}

impl Access {
    /// Returns an age at which a stream ends that may have this age at most: streams that began together do not come back
    /// together.
    pub fn random_age(most: Duration) -> Duration {
        most.mul_f64(1.0 - fastrand::f64() / 4.0)
    }
}

/// The first block of a stream, and the form of its later positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstBlock {
    /// The form of the stream's positions.
    pub position: PositionStyle,
    /// The reconnection time in milliseconds, if the client is sent one.
    pub retry: Option<u64>,
    /// True if the client has an id from which the application resumes it itself. No position replaces it.
    pub keeps_id: bool,
    /// True if each event comes after a comment that [names](crate::hub::Hub::copy_into_buffer) its channel.
    pub names_channels: bool,
    /// True if the data of events shows their channels, which the stream is told. The owner of the hub knows; no message has
    /// this.
    pub shows_channels: bool,
    /// True if another process has sent the block: nothing is sent. No message has this.
    pub is_sent: bool,
}

named! {
    /// The form in which a stream is sent its position.
    #[derive(Default)]
    PositionStyle {
        /// As an event of its own type, with empty data. Every client takes the id of such a block.
        #[default]
        Event = "event",
        /// As a block without data. By the standard, clients take its id and report no event.
        Id = "id",
        /// Not at all.
        None = "none",
    }
}

/// A channel or a pattern in a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The channel of that name.
    Channel(Box<[u8]>),
    /// All channels whose names match: `*` stands for any characters but `/`, `**` for any characters.
    Pattern(Box<[u8]>),
}

/// The beginning of a stream whose client sends no last event id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartPoint {
    /// With events that are published from now on.
    #[default]
    Latest,
    /// With all events that the logs hold.
    Oldest,
    /// With that many of the last events that the logs hold.
    Last(usize),
    /// With the state: the retained events. A client that has missed events is sent the state again, too.
    State,
}
