//! The messages of a worker.

use super::call::Call;
use super::codec::{Coded, Malformed, Reader, Writer};
use super::fields::{FieldList, Fields};
use super::frame::kind_of;
use crate::compression::Body;
use crate::event::Unsequenced;
use crate::hub::{
    is_counted, Access, Announcement, EndRequest, FirstBlock, LogRange, MemberData, MemberRequest, OtherStart,
    Passport, Poll, PollReason, PositionStyle, Presence, Publication, Retain, StartPoint, Statement, StreamLimit,
    SubscribeRequest, Ticket, Topic, MAX_LABELS, MAX_LABEL_BYTES,
};
use crate::stream::{Reason, Settings};
use std::borrow::Cow;

/// The most topics of one message.
pub const MAX_TOPICS: usize = 65_536;

/// The longest name of a lease.
pub const MAX_LEASE_NAME_BYTES: usize = 1200;

/// The lease of the worker that is sent the log of the hub process ([`Log`](super::Response::Log)). Names that applications
/// give leases are UTF-8, so none is this one.
pub const LOG_LEASE: &[u8] = b"\xFFlog";

messages! {
    /// A message of a worker.
    ///
    /// Streams have numbers that their worker gives them, each once. A request with a number other than 0 is answered; the
    /// number is the worker's own, too.
    pub enum Request<'a> {
        /// Publishes an event. The response is [`Published`](super::Response::Published), or
        /// [`Reply`](super::Response::Reply) with the reason why it was refused.
        1 Publish {
            /// The request; 0 if no response is wanted.
            request: u64,
            /// The event.
            publication: Publication<'a, Fields<'a>>,
        },
        /// Hands over a stream, with its socket.
        2 Open(content: Open<'a>),
        /// Hands over a stream whose socket comes later, with [`Attach`](Self::Attach). If that does not come within the
        /// stream's timeout, the stream ends.
        16 OpenWithoutSocket(content: Open<'a>),
        /// Gives a stream its socket, which travels beside the message. The socket is closed if the stream has ended.
        17 Attach {
            /// The stream.
            stream: u64,
        },
        /// Pushes one event to a stream of this worker.
        3 Push {
            /// The stream.
            stream: u64,
            /// The event, not framed.
            event: &'a [u8],
            /// Whether the event has an id.
            has_id: bool,
        },
        /// Subscribes a stream to topics. The response is [`Reply`](super::Response::Reply).
        4 Subscribe {
            /// The request; 0 if no response is wanted.
            request: u64,
            /// The stream.
            stream: u64,
            /// The topics, and where the stream begins.
            subscription: SubscribeRequest,
        },
        /// Makes a stream's held subscriptions effective.
        6 Begin {
            /// The stream.
            stream: u64,
        },
        /// Ends a stream.
        7 End {
            /// The stream.
            stream: u64,
            /// Why.
            reason: Reason,
            /// Whether the buffer is lost instead of being sent.
            discards: bool,
        },
        /// Leaves a stream to the hub process: the worker holds it no longer, and is sent only its end. The stream ends
        /// if it has no subscription.
        8 Release {
            /// The stream.
            stream: u64,
        },
        /// Calls the hub. The response is [`Reply`](super::Response::Reply).
        9 Call {
            /// The request; 0 if no response is wanted.
            request: u64,
            /// The call.
            call: Cow<'a, Call>,
        },
        /// Asks for a lease: of all workers that ask for the same name, one holds it at a time. The response is
        /// [`Elected`](super::Response::Elected), or [`Reply`](super::Response::Reply) with the reason why it was refused.
        14 Elect {
            /// The request, which is the lease's number from then on.
            lease: u64,
            /// The lease's name: 1 to [`MAX_LEASE_NAME_BYTES`] bytes.
            name: &'a [u8],
        },
        /// Gives a lease back, or no longer waits for it.
        15 Resign {
            /// The lease.
            lease: u64,
        },
        /// Numbers what the worker has sent on this connection so far, for its [calls](super::Role::Calls).
        31 Mark {
            /// The number. One that is smaller than another before it says nothing new.
            number: u64,
            /// Whether publishes are among what is numbered; otherwise some of them are still to be sent.
            has_publishes: bool,
        },
        /// On a connection for calls: those that follow are carried out after what the worker has numbered so.
        32 After {
            /// The number of the [`Mark`](Self::Mark).
            mark: u64,
        },
    }
}

/// The number of [`Request::Publish`].
const PUBLISH: u8 = 1;

impl Request<'_> {
    /// Returns true if an encoded request is a publish, which spends [credits](super::Credits).
    pub fn is_publish(frame: &[u8]) -> bool {
        kind_of(frame) == Some(PUBLISH)
    }
}

/// A stream that is handed over: its passport. The socket travels beside the message, or beside a later
/// [`Request::Attach`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// The stream's number.
    pub stream: u64,
    /// The stream's settings.
    pub settings: Settings,
    /// The bytes that the client is still to be sent before anything else, framed and encoded: the head of the response, and
    /// what else was buffered.
    pub unsent: &'a [u8],
    /// The content so far, `unsent` included.
    pub body: Body,
    /// Whether subscriptions are held until [`Request::Begin`].
    pub holds: bool,
}

impl<'a> Open<'a> {
    /// A stream whose body is empty so far, and whose subscriptions are not held.
    pub fn new(stream: u64, settings: Settings, unsent: &'a [u8]) -> Self {
        Self { stream, settings, unsent, body: Body::default(), holds: false }
    }
}

coded!(StartPoint by { 0: Latest, 1: Oldest, 2: Last(count), 3: State });
coded!(Topic by { 0: Channel(name), 1: Pattern(name) }, at most MAX_TOPICS);

coded!(checked
    Access { labels by read_labels, max_age, asked_at, poll }
    EndRequest { labels by read_labels, topics, finishes }
    MemberRequest {
        channel by read_given_name, id by read_given_name, linger, is_counted, data, join, update, leave
    }
    MemberData { text by read_text, is_json }
    FirstBlock { position, retry, keeps_id, names_channels; is_sent: false }
    Announcement { channel by read_given_name, key by read_name, retain, event; statement: Statement::Nothing } // a will
);

type SentPublication<'a> = Publication<'a, Fields<'a>>;

coded! {
    Open<'a> { stream, settings, unsent, body, holds }
    SentPublication<'a> { channel, key, retain, once, fields }
    Passport { settings, may_be_coded, head, opening, retry, cookies, fields }
    Ticket { expires_at, known_through, owner, limits, request, binding, passport }
    StreamLimit { label, most }
    SubscribeRequest { topics, after, start, other_starts, first_block, access, presence }
    OtherStart { from, start }
    LogRange { is_state, after, through, last }
    Poll { wait, reason }
    Presence { member, will }
}

coded!(
    Reason in Reason::ALL,
    PollReason in PollReason::ALL,
    Retain in Retain::ALL,
    PositionStyle in [PositionStyle::Event, PositionStyle::Id, PositionStyle::None],
);

/// Reads labels, of which a stream has a few short ones of the application, beside those by which it is counted.
fn read_labels(from: &mut Reader<'_>) -> Result<Vec<Box<[u8]>>, Malformed> {
    let labels = Vec::<Box<[u8]>>::read(from)?;
    let are_few = labels.iter().filter(|label| !is_counted(label)).count() <= MAX_LABELS
        && labels.iter().all(|label| label.len() <= MAX_LABEL_BYTES);
    are_few.then_some(labels).ok_or(Malformed)
}

/// The longest name of a channel, and the longest key: those that applications may give.
const MAX_NAME_BYTES: usize = 1024;

/// Reads a name, which is UTF-8: the workers that list members decode it.
fn read_name(from: &mut Reader<'_>) -> Result<Box<[u8]>, Malformed> {
    let is_name = |name: &&[u8]| name.len() <= MAX_NAME_BYTES && std::str::from_utf8(name).is_ok();
    Some(from.bytes()?).filter(is_name).map(Into::into).ok_or(Malformed)
}

fn read_given_name(from: &mut Reader<'_>) -> Result<Box<[u8]>, Malformed> {
    Some(read_name(from)?).filter(|name| !name.is_empty()).ok_or(Malformed)
}

/// Reads the data of a member, which is UTF-8, too.
fn read_text(from: &mut Reader<'_>) -> Result<Box<[u8]>, Malformed> {
    from.str().map(|text| text.as_bytes().into())
}

/// An event travels as its fields, which the other side checks. It is malformed unless its fields are those of a block.
impl Coded<'_> for Unsequenced {
    fn write(&self, to: &mut Writer<'_>) {
        FieldList::from(self).fields().write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let fields = Fields::read(from)?;
        let event = Self::of(fields.iter());
        let is_of_block = FieldList::from(&event).fields() == fields;
        is_of_block.then_some(event).ok_or(Malformed)
    }
}
