//! The messages of a worker, and the fields of the events in them.

use super::codec::{Coded, Malformed, Reader, Writer};
use super::frame::{kind_of, Frame};
use crate::compression::Body;
use crate::event::{EventId, EventName, Field, FieldError, Retry, Text, Unsequenced};
use crate::hub::{
    is_counted, Access, Announcement, Call, EndRequest, FirstBlock, LogRange, MemberData, MemberRequest, OtherStart,
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
            /// True if the event has an id.
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
            /// The reason.
            reason: Reason,
            /// True if the buffer is lost instead of being sent.
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
            /// The time of the system's monotonic clock from which nobody waits for the reply, so that the hub does nothing; 0
            /// if the hub is to carry the call out however late that is.
            until: u64,
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
            /// True if publishes are among what is numbered; otherwise some of them are still to be sent.
            has_publishes: bool,
        },
        /// On a connection for calls: those that follow are carried out after what the worker has numbered so.
        32 After {
            /// The number of the [`Mark`](Self::Mark).
            mark: u64,
        },
    }
}

/// The number of [`Request::Publish`], and that of [`Request::Call`].
const PUBLISH: u8 = 1;
const CALL: u8 = 9;

impl Request<'_> {
    /// Returns true if an encoded request is a publish, which spends [credits](super::Credits).
    pub fn is_publish(frame: &[u8]) -> bool {
        kind_of(frame) == Some(PUBLISH)
    }

    /// Returns the request and the number of a call that this version does not know: that of a later build.
    pub fn unknown_call(frame: Frame<'_>) -> Option<(u64, u8)> {
        let mut reader = Some(Reader(frame.message)).filter(|_| frame.kind == CALL)?;
        let (request, (_, call)) = <(u64, (u64, u8))>::read(&mut reader).ok()?;
        Some((request, call)).filter(|_| !Call::NUMBERS.contains(&call))
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
    /// True if subscriptions are held until [`Request::Begin`].
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
    Access { labels by read_labels, limits, max_age, asked_at, poll }
    EndRequest { labels by read_labels, topics, finishes }
    MemberRequest {
        channel by read_given_name, id by read_given_name, linger, is_counted, data, join, update, leave
    }
    MemberData { text by read_text, is_json }
    FirstBlock { position, retry, keeps_id, names_channels; shows_channels: false, is_sent: false }
    Announcement { channel by read_given_name, key by read_name, retain, event; statement: Statement::Nothing } // a will
);

type SentPublication<'a> = Publication<'a, Fields<'a>>;

coded! {
    Open<'a> { stream, settings, unsent, body, holds }
    SentPublication<'a> { channel, key, retain, once, fields }
    Passport { settings, may_be_coded, head, opening, retry, cookies, fields }
    Ticket { expires_at, known_through, owner, request, binding, passport }
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
    PositionStyle in PositionStyle::ALL,
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

/// The fields of an event as they are in a message: any sequence of them, each valid, without the id that its hub gives it.
///
/// Fields travel, not the bytes of an event: the hub process encodes the event with its id, and checks it by constructing it.
/// So no worker can send bytes to clients that are not an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a>(&'a [u8]);

/// Fields, to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldList(Vec<u8>);

const EVENT: u8 = 1;
const ID: u8 = 2;
const RETRY: u8 = 3;
const DATA: u8 = 4;
const COMMENT: u8 = 5;
const BLANK: u8 = 6;

impl FieldList {
    /// Encodes fields.
    pub fn of<'a>(fields: impl IntoIterator<Item = Field<'a>>) -> Self {
        let mut list = Self::default();
        for field in fields {
            list.push(field);
        }
        list
    }

    /// Returns the fields of an encoded event whose lines end in LF, without its id.
    pub fn of_block(block: &[u8]) -> Self {
        let block = String::from_utf8_lossy(block);
        let lines = block.strip_suffix('\n').unwrap_or(&block);
        let lines = lines.strip_suffix('\n').unwrap_or(lines); // comments alone have no blank line
        let mut list = Self::default();
        let mut lines = lines.split('\n').map(|line| line.split_once(": ")).peekable();
        while let Some(line) = lines.next() {
            let (name, first) = line.unwrap_or(("blank", ""));
            let mut text = first.to_owned();
            let may_have_lines = matches!(name, "data" | "");
            while let Some(Some((_, next))) = lines.next_if(|next| may_have_lines && is_of(*next, name)) {
                text.push('\n');
                text.push_str(next);
            }
            let text = Text::from(&*text);
            match name {
                "event" => EventName::new(text).into_iter().for_each(|name| list.push(Field::Event(name))),
                "id" => {}
                "retry" => Retry::new(text).into_iter().for_each(|retry| list.push(Field::Retry(retry))),
                "data" => list.push(Field::Data(text)),
                "" => list.push(Field::Comment(text)),
                _ => list.push(Field::Blank),
            }
        }
        list
    }

    fn push(&mut self, field: Field<'_>) {
        let (kind, text) = match field {
            Field::Event(name) => (EVENT, name.text()),
            Field::Id(id) => (ID, id.text()),
            Field::Retry(retry) => (RETRY, retry.text()),
            Field::Data(text) => (DATA, text),
            Field::Comment(text) => (COMMENT, text),
            Field::Blank => (BLANK, Text::from("")),
        };
        let mut writer = Writer(&mut self.0);
        kind.write(&mut writer);
        writer.bytes(&text.to_utf8());
    }

    /// Returns the fields.
    pub fn fields(&self) -> Fields<'_> {
        Fields(&self.0)
    }

    /// Returns the fields as bytes, for a store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes fields that a store has kept as bytes, and checks all of them. Fails with [`Malformed`] if the bytes are not
    /// fields.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        check_fields(bytes)?;
        Ok(Self(bytes.into()))
    }
}

impl Publication<'_, FieldList> {
    /// Returns the event as a message has it.
    pub fn borrowed(&self) -> Publication<'_, Fields<'_>> {
        let Self { channel, key, retain, once, ref fields } = *self;
        Publication { channel, key, retain, once, fields: fields.fields() }
    }
}

fn is_of(line: Option<(&str, &str)>, field: &str) -> bool {
    line.map_or(false, |(name, _)| name == field)
}

/// Checks that bytes are fields.
fn check_fields(bytes: &[u8]) -> Result<(), Malformed> {
    let mut rest = Reader(bytes);
    while !rest.0.is_empty() {
        read_field(&mut rest)?;
    }
    Ok(())
}

impl From<&Unsequenced> for FieldList {
    fn from(event: &Unsequenced) -> Self {
        Self::of_block(event.bytes())
    }
}

impl From<Fields<'_>> for FieldList {
    fn from(fields: Fields<'_>) -> Self {
        Self(fields.0.into())
    }
}

impl Coded<'_> for FieldList {
    fn write(&self, to: &mut Writer<'_>) {
        self.fields().write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_bytes(from.bytes()?)
    }
}

impl<'a> Coded<'a> for Fields<'a> {
    fn write(&self, to: &mut Writer<'_>) {
        to.bytes(self.0);
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let fields = Self(from.bytes()?);
        check_fields(fields.0)?;
        Ok(fields)
    }
}

impl<'a> Fields<'a> {
    /// Returns the fields in their order.
    pub fn iter(self) -> impl Iterator<Item = Field<'a>> + Clone {
        let mut rest = Reader(self.0);
        // The fields were checked when they were read, so the iterator ends where they end.
        std::iter::from_fn(move || read_field(&mut rest).ok())
    }
}

fn read_field<'a>(reader: &mut Reader<'a>) -> Result<Field<'a>, Malformed> {
    let refused = |_: FieldError| Malformed;
    let kind = u8::read(reader)?;
    let text = Text::from(reader.str()?);
    match kind {
        EVENT => EventName::new(text).map(Field::Event).map_err(refused),
        ID => EventId::new(text).map(Field::Id).map_err(refused),
        RETRY => Retry::new(text).map(Field::Retry).map_err(refused),
        DATA => Ok(Field::Data(text)),
        COMMENT => Ok(Field::Comment(text)),
        BLANK if text.bytes().is_empty() => Ok(Field::Blank),
        _ => Err(Malformed),
    }
}
