//! The messages of a worker.

use super::codec::{Malformed, Reader, Writer};
use super::fields::{FieldList, Fields};
use super::frame::{kind_of, write_frame, Frame, TooLong};
use super::settings::{read_stream, write_stream};
use crate::event::Unnumbered;
use crate::hub::{
    Access, Announcement, EndRequest, FirstBlock, MemberData, MemberRequest, PositionStyle, Presence, Retain, Says,
    Start, SubscribeRequest, Topic, MAX_LABELS, MAX_LABEL_BYTES,
};
use crate::stream::{Reason, Settings};
use std::time::Duration;

/// The most topics of one message.
pub const MAX_TOPICS: usize = 65_536;

/// The longest name of a lease.
pub const MAX_LEASE_NAME_BYTES: usize = 1200;

/// A message of a worker.
///
/// Streams have numbers that their worker gives them, each once. A request with a number other than 0 is answered; the
/// number is the worker's own, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Publishes an event. The answer is [`Published`](super::Answer::Published) or [`Refused`](super::Answer::Refused).
    Publish(Publish<'a>),
    /// Hands over a stream, with its socket.
    Open(Open<'a>),
    /// Hands over a stream whose socket comes later, with [`Attach`](Self::Attach). If that does not come within the stream's
    /// timeout, the stream ends.
    OpenWithoutSocket(Open<'a>),
    /// Gives a stream its socket, which travels beside the message. The socket is closed if the stream has ended.
    Attach {
        /// The stream.
        stream: u64,
    },
    /// Pushes one event to a stream of this worker.
    Push {
        /// The stream.
        stream: u64,
        /// The event, not framed.
        event: &'a [u8],
        /// Whether the event has an id.
        has_id: bool,
    },
    /// Subscribes a stream to topics. The answer is [`Done`](super::Answer::Done) or [`Refused`](super::Answer::Refused).
    Subscribe {
        /// The request; 0 if no answer is wanted.
        request: u64,
        /// The stream.
        stream: u64,
        /// The topics, and where the stream begins.
        subscription: SubscribeRequest,
    },
    /// Makes a stream's held subscriptions effective.
    Begin {
        /// The stream.
        stream: u64,
    },
    /// Ends a stream.
    End {
        /// The stream.
        stream: u64,
        /// Why.
        reason: Reason,
        /// Whether the buffer is lost instead of being sent.
        discards: bool,
    },
    /// Leaves a stream to the hub process: the worker holds it no longer, and is sent only its end. The stream ends
    /// if it has no subscription.
    Release {
        /// The stream.
        stream: u64,
    },
    /// Asks for counters. The answer is [`Counted`](super::Answer::Counted) or [`Refused`](super::Answer::Refused).
    Count {
        /// The request.
        request: u64,
        /// The channel whose subscribers are counted.
        channel: &'a [u8],
    },
    /// Drains the hub: ends its streams within a time, and streams that subscribe later at once.
    Drain {
        /// The time.
        within: Duration,
    },
    /// Ends the hub process: its streams end, and each client is sent a reconnection time.
    Stop,
    /// Asks for a part of the list of channels. The answer is [`Channels`](super::Answer::Channels) or
    /// [`Refused`](super::Answer::Refused).
    Channels {
        /// The request.
        request: u64,
        /// The pattern that their names match; empty for all channels.
        pattern: &'a [u8],
        /// Where the list continues: 0, or what the last answer says.
        from: u64,
    },
    /// Asks what the hub process is. The answer is [`Described`](super::Answer::Described).
    Describe {
        /// The request.
        request: u64,
    },
    /// Asks for a lease: of all workers that ask for the same name, one holds it at a time. The answer is
    /// [`Elected`](super::Answer::Elected) or [`Refused`](super::Answer::Refused).
    Elect {
        /// The request, which is the lease's number from then on.
        lease: u64,
        /// The lease's name: 1 to [`MAX_LEASE_NAME_BYTES`] bytes.
        name: &'a [u8],
    },
    /// Ends streams. The answer is [`StreamsEnded`](super::Answer::StreamsEnded) or [`Refused`](super::Answer::Refused).
    EndStreams {
        /// The request.
        request: u64,
        /// Which streams, and how.
        end: EndRequest,
    },
    /// Gives a lease back, or no longer waits for it.
    Resign {
        /// The lease.
        lease: u64,
    },
    /// Asks for a part of the list of a channel's members. The answer is [`Members`](super::Answer::Members) or
    /// [`Refused`](super::Answer::Refused).
    Members {
        /// The request.
        request: u64,
        /// The channel.
        channel: &'a [u8],
        /// The id after which the list continues; none at first.
        after: Option<&'a [u8]>,
    },
    /// Asks how many members a channel has. The answer is [`Number`](super::Answer::Number) or
    /// [`Refused`](super::Answer::Refused).
    CountMembers {
        /// The request.
        request: u64,
        /// The channel.
        channel: &'a [u8],
    },
    /// Changes the data of a member. The answer is [`Number`](super::Answer::Number), 1 if the member is here, or
    /// [`Refused`](super::Answer::Refused).
    UpdateMember {
        /// The request.
        request: u64,
        /// The channel.
        channel: &'a [u8],
        /// The member.
        id: &'a [u8],
        /// The data.
        data: MemberData,
        /// The event that says so.
        event: Unnumbered,
    },
}

/// An event to publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The request; 0 if no answer is wanted.
    pub request: u64,
    /// The channel's name.
    pub channel: &'a [u8],
    /// The key. Empty if the event has none.
    pub key: &'a [u8],
    /// What the event does to the state of its channel.
    pub retain: Retain,
    /// The key that the publisher gives the event: a second publish with it returns the id of the first one. Empty if the
    /// event has none.
    pub once: &'a [u8],
    /// The event's fields. With an id among them, the event has that id for its clients.
    pub fields: Fields<'a>,
}

/// A stream that is handed over: its passport. The socket travels beside the message, or beside a later
/// [`Request::Attach`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// The stream's number.
    pub stream: u64,
    /// The stream's settings.
    pub settings: Settings,
    /// The bytes that the client is still to be sent before anything else, framed: the head of the response, and what else
    /// was buffered.
    pub unsent: &'a [u8],
    /// Whether subscriptions are held until [`Request::Begin`].
    pub holds: bool,
}

const PUBLISH: u8 = 1;
const OPEN: u8 = 2;
const PUSH: u8 = 3;
const SUBSCRIBE: u8 = 4;
const BEGIN: u8 = 6;
const END: u8 = 7;
const RELEASE: u8 = 8;
const COUNT: u8 = 9;
const DRAIN: u8 = 10;
const STOP: u8 = 11;
const CHANNELS: u8 = 20;
const DESCRIBE: u8 = 21;
const ELECT: u8 = 14;
const RESIGN: u8 = 15;
const OPEN_WITHOUT_SOCKET: u8 = 16;
const ATTACH: u8 = 17;
const END_STREAMS: u8 = 18;
const MEMBERS: u8 = 22;
const COUNT_MEMBERS: u8 = 23;
const UPDATE_MEMBER: u8 = 24;

impl<'a> Request<'a> {
    fn kind(&self) -> u8 {
        match self {
            Self::Publish(_) => PUBLISH,
            Self::Open(_) => OPEN,
            Self::OpenWithoutSocket(_) => OPEN_WITHOUT_SOCKET,
            Self::Attach { .. } => ATTACH,
            Self::Push { .. } => PUSH,
            Self::Subscribe { .. } => SUBSCRIBE,
            Self::Begin { .. } => BEGIN,
            Self::End { .. } => END,
            Self::Release { .. } => RELEASE,
            Self::Count { .. } => COUNT,
            Self::Drain { .. } => DRAIN,
            Self::Stop => STOP,
            Self::Channels { .. } => CHANNELS,
            Self::Describe { .. } => DESCRIBE,
            Self::Elect { .. } => ELECT,
            Self::EndStreams { .. } => END_STREAMS,
            Self::Resign { .. } => RESIGN,
            Self::Members { .. } => MEMBERS,
            Self::CountMembers { .. } => COUNT_MEMBERS,
            Self::UpdateMember { .. } => UPDATE_MEMBER,
        }
    }

    /// Returns true if an encoded request is a publish, which spends [credits](super::Credits).
    pub fn is_publish(frame: &[u8]) -> bool {
        kind_of(frame) == Some(PUBLISH)
    }

    /// Appends the message as a frame.
    ///
    /// # Errors
    ///
    /// [`TooLong`]; then nothing is appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        write_frame(out, self.kind(), |writer| self.write(writer))
    }

    fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Publish(publish) => publish.write(writer),
            Self::Open(open) | Self::OpenWithoutSocket(open) => open.write(writer),
            Self::Push { stream, event, has_id } => {
                writer.u64(*stream);
                writer.bytes(event);
                writer.bool(*has_id);
            }
            Self::Subscribe { request, stream, subscription } => {
                let SubscribeRequest { topics, after, start, first_block, access, presence } = subscription;
                writer.u64(*request);
                writer.u64(*stream);
                write_topics(writer, topics);
                writer.option(after.as_deref(), Writer::bytes);
                write_start(writer, *start);
                write_first_block(writer, *first_block);
                write_access(writer, access);
                write_presence(writer, presence);
            }
            Self::Begin { stream } | Self::Release { stream } | Self::Attach { stream } => writer.u64(*stream),
            Self::End { stream, reason, discards } => {
                writer.u64(*stream);
                writer.u8(*reason as u8);
                writer.bool(*discards);
            }
            Self::Count { request, channel } => {
                writer.u64(*request);
                writer.bytes(channel);
            }
            Self::Drain { within } => writer.duration(*within),
            Self::Stop => {}
            Self::Channels { request, pattern, from } => {
                writer.u64(*request);
                writer.bytes(pattern);
                writer.u64(*from);
            }
            Self::Describe { request } => writer.u64(*request),
            Self::Elect { lease, name } => {
                writer.u64(*lease);
                writer.bytes(name);
            }
            Self::EndStreams { request, end } => {
                writer.u64(*request);
                write_end(writer, end);
            }
            Self::Resign { lease } => writer.u64(*lease),
            Self::Members { request, channel, after } => {
                writer.u64(*request);
                writer.bytes(channel);
                writer.option(*after, Writer::bytes);
            }
            Self::CountMembers { request, channel } => {
                writer.u64(*request);
                writer.bytes(channel);
            }
            Self::UpdateMember { request, channel, id, data, event } => {
                writer.u64(*request);
                writer.bytes(channel);
                writer.bytes(id);
                write_data(writer, data);
                write_event(writer, event);
            }
        }
    }

    /// Decodes a message.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the frame is not a message of a worker.
    pub fn decode(frame: Frame<'a>) -> Result<Self, Malformed> {
        let mut reader = Reader(frame.message);
        let request = Self::read(frame.kind, &mut reader)?;
        reader.end()?;
        Ok(request)
    }

    fn read(kind: u8, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match kind {
            PUBLISH => Self::Publish(Publish::read(reader)?),
            OPEN => Self::Open(Open::read(reader)?),
            OPEN_WITHOUT_SOCKET => Self::OpenWithoutSocket(Open::read(reader)?),
            ATTACH => Self::Attach { stream: reader.u64()? },
            PUSH => Self::Push { stream: reader.u64()?, event: reader.bytes()?, has_id: reader.bool()? },
            SUBSCRIBE => Self::Subscribe {
                request: reader.u64()?,
                stream: reader.u64()?,
                subscription: SubscribeRequest {
                    topics: read_topics(reader)?,
                    after: reader.option(Reader::bytes)?.map(Into::into),
                    start: read_start(reader)?,
                    first_block: read_first_block(reader)?,
                    access: read_access(reader)?,
                    presence: read_presence(reader)?,
                },
            },
            BEGIN => Self::Begin { stream: reader.u64()? },
            END => Self::End { stream: reader.u64()?, reason: read_reason(reader)?, discards: reader.bool()? },
            RELEASE => Self::Release { stream: reader.u64()? },
            COUNT => Self::Count { request: reader.u64()?, channel: reader.bytes()? },
            DRAIN => Self::Drain { within: reader.duration()? },
            STOP => Self::Stop,
            CHANNELS => Self::Channels { request: reader.u64()?, pattern: reader.bytes()?, from: reader.u64()? },
            DESCRIBE => Self::Describe { request: reader.u64()? },
            ELECT => Self::Elect { lease: reader.u64()?, name: reader.bytes()? },
            END_STREAMS => Self::EndStreams { request: reader.u64()?, end: read_end(reader)? },
            RESIGN => Self::Resign { lease: reader.u64()? },
            MEMBERS => {
                Self::Members { request: reader.u64()?, channel: reader.bytes()?, after: reader.option(Reader::bytes)? }
            }
            COUNT_MEMBERS => Self::CountMembers { request: reader.u64()?, channel: reader.bytes()? },
            UPDATE_MEMBER => Self::UpdateMember {
                request: reader.u64()?,
                channel: reader.bytes()?,
                id: reader.bytes()?,
                data: read_data(reader)?,
                event: read_event(reader)?,
            },
            _ => return Err(Malformed),
        })
    }
}

impl<'a> Publish<'a> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.request);
        writer.bytes(self.channel);
        writer.bytes(self.key);
        writer.u8(self.retain as u8);
        writer.bytes(self.once);
        self.fields.write(writer);
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            request: reader.u64()?,
            channel: reader.bytes()?,
            key: reader.bytes()?,
            retain: read_retain(reader)?,
            once: reader.bytes()?,
            fields: Fields::read(reader)?,
        })
    }
}

impl<'a> Open<'a> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.stream);
        write_stream(writer, &self.settings);
        writer.bytes(self.unsent);
        writer.bool(self.holds);
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            stream: reader.u64()?,
            settings: read_stream(reader)?,
            unsent: reader.bytes()?,
            holds: reader.bool()?,
        })
    }
}

fn write_topics(writer: &mut Writer<'_>, topics: &[Topic]) {
    writer.u32(topics.len().try_into().unwrap_or(u32::MAX));
    for topic in topics {
        let (is_pattern, name) = match topic {
            Topic::Channel(name) => (false, name),
            Topic::Pattern(name) => (true, name),
        };
        writer.bool(is_pattern);
        writer.bytes(name);
    }
}

fn read_topics(reader: &mut Reader<'_>) -> Result<Vec<Topic>, Malformed> {
    let count = reader.u32()? as usize;
    if count > MAX_TOPICS {
        return Err(Malformed);
    }
    let topic = |_| {
        let is_pattern = reader.bool()?;
        let name = reader.bytes()?.into();
        Ok(if is_pattern { Topic::Pattern(name) } else { Topic::Channel(name) })
    };
    (0..count).map(topic).collect()
}

fn write_labels(writer: &mut Writer<'_>, labels: &[Box<[u8]>]) {
    writer.u32(labels.len().try_into().unwrap_or(u32::MAX));
    labels.iter().for_each(|label| writer.bytes(label));
}

fn read_labels(reader: &mut Reader<'_>) -> Result<Vec<Box<[u8]>>, Malformed> {
    let count = reader.u32()? as usize;
    if count > MAX_LABELS {
        return Err(Malformed);
    }
    let label = |_| {
        Ok(reader.bytes()?).and_then(|label| (label.len() <= MAX_LABEL_BYTES).then(|| label.into()).ok_or(Malformed))
    };
    (0..count).map(label).collect()
}

fn write_access(writer: &mut Writer<'_>, Access { labels, max_age, asked_at }: &Access) {
    write_labels(writer, labels);
    writer.option(*max_age, Writer::duration);
    writer.u64(*asked_at);
}

fn read_access(reader: &mut Reader<'_>) -> Result<Access, Malformed> {
    Ok(Access { labels: read_labels(reader)?, max_age: reader.option(Reader::duration)?, asked_at: reader.u64()? })
}

/// The longest name of a channel, and the longest key: those that applications may give.
const MAX_NAME_BYTES: usize = 1024;

fn write_presence(writer: &mut Writer<'_>, Presence { member, will }: &Presence) {
    writer.option(member.as_deref(), |writer, member| {
        let MemberRequest { channel, id, linger, is_counted, data, join, update, leave } = member;
        writer.bytes(channel);
        writer.bytes(id);
        writer.duration(*linger);
        writer.bool(*is_counted);
        write_data(writer, data);
        [join, update, leave].iter().for_each(|event| write_event(writer, event));
    });
    writer.option(will.as_deref(), |writer, Announcement { channel, key, retain, event, .. }| {
        writer.bytes(channel);
        writer.bytes(key);
        writer.u8(*retain as u8);
        write_event(writer, event);
    });
}

fn read_presence(reader: &mut Reader<'_>) -> Result<Presence, Malformed> {
    let member = reader.option(|reader| {
        Ok(Box::new(MemberRequest {
            channel: read_given_name(reader)?,
            id: read_given_name(reader)?,
            linger: reader.duration()?,
            is_counted: reader.bool()?,
            data: read_data(reader)?,
            join: read_event(reader)?,
            update: read_event(reader)?,
            leave: read_event(reader)?,
        }))
    })?;
    let will = reader.option(|reader| {
        Ok(Box::new(Announcement {
            channel: read_given_name(reader)?,
            key: read_name(reader)?,
            retain: read_retain(reader)?,
            event: read_event(reader)?,
            says: Says::Nothing,
        }))
    })?;
    Ok(Presence { member, will })
}

/// Reads a name, which is UTF-8: the workers that list members decode it.
fn read_name(reader: &mut Reader<'_>) -> Result<Box<[u8]>, Malformed> {
    let is_name = |name: &&[u8]| name.len() <= MAX_NAME_BYTES && std::str::from_utf8(name).is_ok();
    Some(reader.bytes()?).filter(is_name).map(Into::into).ok_or(Malformed)
}

fn read_given_name(reader: &mut Reader<'_>) -> Result<Box<[u8]>, Malformed> {
    Some(read_name(reader)?).filter(|name| !name.is_empty()).ok_or(Malformed)
}

pub(super) fn write_data(writer: &mut Writer<'_>, MemberData { text, is_json }: &MemberData) {
    writer.bytes(text);
    writer.bool(*is_json);
}

pub(super) fn read_data(reader: &mut Reader<'_>) -> Result<MemberData, Malformed> {
    let text = std::str::from_utf8(reader.bytes()?).map_err(|_| Malformed)?;
    Ok(MemberData { text: text.as_bytes().into(), is_json: reader.bool()? })
}

/// Writes an event as its fields, which the other side checks.
fn write_event(writer: &mut Writer<'_>, event: &Unnumbered) {
    FieldList::of_block(event.bytes(), false).fields().write(writer);
}

/// Reads an event. It is malformed unless its fields are those of a block.
fn read_event(reader: &mut Reader<'_>) -> Result<Unnumbered, Malformed> {
    let fields = Fields::read(reader)?;
    let event = Unnumbered::of(fields.iter());
    let is_of_block = FieldList::of_block(event.bytes(), false).fields() == fields;
    is_of_block.then_some(event).ok_or(Malformed)
}

fn write_end(writer: &mut Writer<'_>, EndRequest { labels, topics, finishes }: &EndRequest) {
    write_labels(writer, labels);
    write_topics(writer, topics);
    writer.bool(*finishes);
}

fn read_end(reader: &mut Reader<'_>) -> Result<EndRequest, Malformed> {
    Ok(EndRequest { labels: read_labels(reader)?, topics: read_topics(reader)?, finishes: reader.bool()? })
}

/// Returns a request to end streams as bytes, for a store that several hubs share.
pub fn encode_end(end: &EndRequest) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_end(&mut Writer(&mut bytes), end);
    bytes
}

/// Takes a request to end streams from bytes. What follows it is of a later version.
///
/// # Errors
///
/// [`Malformed`] if the bytes are no such request.
pub fn decode_end(bytes: &[u8]) -> Result<EndRequest, Malformed> {
    read_end(&mut Reader(bytes))
}

fn read_retain(reader: &mut Reader<'_>) -> Result<Retain, Malformed> {
    Retain::ALL.get(usize::from(reader.u8()?)).copied().ok_or(Malformed)
}

fn write_start(writer: &mut Writer<'_>, start: Start) {
    match start {
        Start::Latest => writer.u8(0),
        Start::Oldest => writer.u8(1),
        Start::Last(count) => {
            writer.u8(2);
            writer.size(count);
        }
        Start::State => writer.u8(3),
    }
}

fn read_start(reader: &mut Reader<'_>) -> Result<Start, Malformed> {
    match reader.u8()? {
        0 => Ok(Start::Latest),
        1 => Ok(Start::Oldest),
        2 => reader.size().map(Start::Last),
        3 => Ok(Start::State),
        _ => Err(Malformed),
    }
}

fn write_first_block(writer: &mut Writer<'_>, FirstBlock { position, retry, keeps_id, names_channels }: FirstBlock) {
    writer.u8(position as u8);
    writer.option(retry, Writer::u64);
    writer.bool(keeps_id);
    writer.bool(names_channels);
}

fn read_first_block(reader: &mut Reader<'_>) -> Result<FirstBlock, Malformed> {
    let styles = [PositionStyle::Event, PositionStyle::Id, PositionStyle::None];
    let style = reader.u8()?;
    Ok(FirstBlock {
        position: styles.iter().copied().find(|known| *known as u8 == style).ok_or(Malformed)?,
        retry: reader.option(Reader::u64)?,
        keeps_id: reader.bool()?,
        names_channels: reader.bool()?,
    })
}

pub(super) fn read_reason(reader: &mut Reader<'_>) -> Result<Reason, Malformed> {
    Reason::ALL.get(usize::from(reader.u8()?)).copied().ok_or(Malformed)
}
