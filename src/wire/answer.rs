//! The messages of the hub process.

use super::codec::{Malformed, Reader, Writer};
use super::failure::Failure;
use super::frame::{write_frame, Frame, TooLong};
use super::hello::Welcome;
use super::request::{read_data, read_reason, write_data};
use super::store_status::StoreStatus;
use crate::hub::{ChannelCounts, ChannelPage, Counts, MemberInfo, MemberPage};
use crate::stream::Reason;
use std::time::Duration;

/// A message of the hub process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Refuses a worker; the connection ends. The message is the same in all versions.
    Rejected(Failure),
    /// Accepts a worker.
    Welcome(Box<Welcome>),
    /// An event was published.
    Published {
        /// The request.
        request: u64,
        /// The event's id in the order of the hub.
        id: &'a str,
    },
    /// A request was refused, and nothing was done.
    Refused {
        /// The request.
        request: u64,
        /// Why.
        failure: Failure,
    },
    /// A request was carried out.
    Done {
        /// The request.
        request: u64,
    },
    /// The state of a stream has changed. The worker knows from it how many bytes are buffered: `buffered`, and what it has
    /// pushed after the first `pushed` bytes. Both are totals, so states can be merged or skipped without an error.
    State {
        /// The stream.
        stream: u64,
        /// How many bytes of [`Push`](super::Request::Push) the stream has got so far.
        pushed: u64,
        /// How many bytes are buffered.
        buffered: u64,
        /// Whether the client's socket takes nothing for now.
        is_stalled: bool,
    },
    /// A stream has ended. This is the last answer about it.
    Ended {
        /// The stream.
        stream: u64,
        /// Why.
        reason: Reason,
    },
    /// The answer to [`Count`](super::Request::Count).
    Counted(Box<Counted>),
    /// The worker may send more.
    Credits {
        /// How many bytes more.
        bytes: u64,
    },
    /// The answer to [`Channels`](super::Request::Channels).
    Channels {
        /// The request.
        request: u64,
        /// A part of the list.
        page: ChannelPage,
    },
    /// The answer to [`Describe`](super::Request::Describe).
    Described(Box<Described>),
    /// Whether the worker holds a lease that it has asked for. Sent once at first, and again when it gets the lease later.
    Elected {
        /// The lease.
        lease: u64,
        /// Whether this worker holds it; otherwise it waits for it.
        is_held: bool,
    },
    /// Streams were ended.
    StreamsEnded {
        /// The request.
        request: u64,
        /// How many of this process.
        count: u64,
    },
    /// A part of the list of a channel's members.
    Members {
        /// The request.
        request: u64,
        /// The part.
        page: MemberPage,
    },
    /// The number that a request has asked for.
    Number {
        /// The request.
        request: u64,
        /// The number.
        number: u64,
    },
    /// The hub's ids begin with another epoch from here on: its store has lost history.
    Epoch {
        /// The epoch.
        epoch: &'a str,
    },
    /// The process continues as the program that was asked for. The layout is the same in all versions.
    Upgraded,
}

/// The identity of a hub process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// The request.
    pub request: u64,
    /// The version of its program.
    pub version: Box<str>,
    /// How long it has run.
    pub age: Duration,
    /// The processes of the connected workers, commands among them, each once.
    pub workers: Vec<u32>,
}

/// The counters of a hub and of its process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The request.
    pub request: u64,
    /// The hub's counters.
    pub hub: Counts,
    /// How many streams are subscribed to the channel.
    pub subscribers: u64,
    /// How many workers are connected, commands among them.
    pub workers: u64,
    /// How many streams are open.
    pub open: u64,
    /// How many streams were refused, because the process had too many streams or too few descriptors.
    pub refused: u64,
    /// How many bytes are buffered for these streams.
    pub buffered: u64,
    /// How many workers were cut off because they broke the rules of the protocol.
    pub cut_off: u64,
    /// The health of the hub's store.
    pub store: StoreStatus,
}

const REJECTED: u8 = 0;
const WELCOME: u8 = 1;
const PUBLISHED: u8 = 2;
const REFUSED: u8 = 3;
const DONE: u8 = 4;
const STATE: u8 = 5;
const ENDED: u8 = 6;
const COUNTED: u8 = 7;
const CREDITS: u8 = 8;
const CHANNELS: u8 = 20;
const DESCRIBED: u8 = 21;
const ELECTED: u8 = 14;
const EPOCH: u8 = 22;
const STREAMS_ENDED: u8 = 23;
const MEMBERS: u8 = 24;
const NUMBER: u8 = 25;
const UPGRADED: u8 = 255;

impl<'a> Answer<'a> {
    fn kind(&self) -> u8 {
        match self {
            Self::Rejected(_) => REJECTED,
            Self::Welcome(_) => WELCOME,
            Self::Published { .. } => PUBLISHED,
            Self::Refused { .. } => REFUSED,
            Self::Done { .. } => DONE,
            Self::State { .. } => STATE,
            Self::Ended { .. } => ENDED,
            Self::Counted(_) => COUNTED,
            Self::Credits { .. } => CREDITS,
            Self::Channels { .. } => CHANNELS,
            Self::Described(_) => DESCRIBED,
            Self::Elected { .. } => ELECTED,
            Self::StreamsEnded { .. } => STREAMS_ENDED,
            Self::Epoch { .. } => EPOCH,
            Self::Members { .. } => MEMBERS,
            Self::Number { .. } => NUMBER,
            Self::Upgraded => UPGRADED,
        }
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
            Self::Rejected(failure) => failure.write(writer),
            Self::Welcome(welcome) => welcome.write(writer),
            Self::Published { request, id } => {
                writer.u64(*request);
                writer.bytes(id.as_bytes());
            }
            Self::Refused { request, failure } => {
                writer.u64(*request);
                failure.write(writer);
            }
            Self::Done { request } => writer.u64(*request),
            Self::State { stream, pushed, buffered, is_stalled } => {
                writer.u64(*stream);
                writer.u64(*pushed);
                writer.u64(*buffered);
                writer.bool(*is_stalled);
            }
            Self::Ended { stream, reason } => {
                writer.u64(*stream);
                writer.u8(*reason as u8);
            }
            Self::Counted(counted) => counted.write(writer),
            Self::Credits { bytes } => writer.u64(*bytes),
            Self::Channels { request, page } => {
                writer.u64(*request);
                write_page(writer, page);
            }
            Self::Described(described) => described.write(writer),
            Self::StreamsEnded { request, count } => {
                writer.u64(*request);
                writer.u64(*count);
            }
            Self::Epoch { epoch } => writer.bytes(epoch.as_bytes()),
            Self::Members { request, page } => {
                writer.u64(*request);
                write_members(writer, page);
            }
            Self::Number { request, number } => {
                writer.u64(*request);
                writer.u64(*number);
            }
            Self::Elected { lease, is_held } => {
                writer.u64(*lease);
                writer.bool(*is_held);
            }
            Self::Upgraded => {}
        }
    }

    /// Decodes a message.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the frame is not a message of a hub process.
    pub fn decode(frame: Frame<'a>) -> Result<Self, Malformed> {
        let mut reader = Reader(frame.message);
        let answer = Self::read(frame.kind, &mut reader)?;
        reader.end()?;
        Ok(answer)
    }

    fn read(kind: u8, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match kind {
            REJECTED => Self::Rejected(Failure::read(reader)?),
            WELCOME => Self::Welcome(Box::new(Welcome::read(reader)?)),
            PUBLISHED => Self::Published { request: reader.u64()?, id: reader.str()? },
            REFUSED => Self::Refused { request: reader.u64()?, failure: Failure::read(reader)? },
            DONE => Self::Done { request: reader.u64()? },
            STATE => Self::State {
                stream: reader.u64()?,
                pushed: reader.u64()?,
                buffered: reader.u64()?,
                is_stalled: reader.bool()?,
            },
            ENDED => Self::Ended { stream: reader.u64()?, reason: read_reason(reader)? },
            COUNTED => Self::Counted(Box::new(Counted::read(reader)?)),
            CREDITS => Self::Credits { bytes: reader.u64()? },
            CHANNELS => Self::Channels { request: reader.u64()?, page: read_page(reader)? },
            DESCRIBED => Self::Described(Box::new(Described::read(reader)?)),
            ELECTED => Self::Elected { lease: reader.u64()?, is_held: reader.bool()? },
            STREAMS_ENDED => Self::StreamsEnded { request: reader.u64()?, count: reader.u64()? },
            EPOCH => Self::Epoch { epoch: reader.str()? },
            MEMBERS => Self::Members { request: reader.u64()?, page: read_members(reader)? },
            NUMBER => Self::Number { request: reader.u64()?, number: reader.u64()? },
            UPGRADED => Self::Upgraded,
            _ => return Err(Malformed),
        })
    }
}

impl Counted {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.request);
        write_counts(writer, &self.hub);
        for number in [self.subscribers, self.workers, self.open, self.refused, self.buffered, self.cut_off] {
            writer.u64(number);
        }
        self.store.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            request: reader.u64()?,
            hub: read_counts(reader)?,
            subscribers: reader.u64()?,
            workers: reader.u64()?,
            open: reader.u64()?,
            refused: reader.u64()?,
            buffered: reader.u64()?,
            cut_off: reader.u64()?,
            store: StoreStatus::read(reader)?,
        })
    }
}

impl Described {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.u64(self.request);
        writer.bytes(self.version.as_bytes());
        writer.duration(self.age);
        writer.u32(self.workers.len().try_into().unwrap_or(u32::MAX));
        for worker in &self.workers {
            writer.u32(*worker);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (request, version, age) = (reader.u64()?, reader.str()?.into(), reader.duration()?);
        let workers = (0..reader.u32()?).map(|_| reader.u32()).collect::<Result<_, _>>()?;
        Ok(Self { request, version, age, workers })
    }
}

fn write_page(writer: &mut Writer<'_>, page: &ChannelPage) {
    writer.option(page.next, Writer::u64);
    writer.u32(page.channels.len().try_into().unwrap_or(u32::MAX));
    for ChannelCounts { name, subscribers, events, bytes, keys, last_id } in &page.channels {
        writer.bytes(name);
        for number in [subscribers, events, bytes, keys] {
            writer.u64(*number);
        }
        writer.bytes(last_id.as_bytes());
    }
}

fn read_page(reader: &mut Reader<'_>) -> Result<ChannelPage, Malformed> {
    let (next, count) = (reader.option(Reader::u64)?, reader.u32()?);
    let channel = |_| {
        Ok(ChannelCounts {
            name: reader.bytes()?.into(),
            subscribers: reader.u64()?,
            events: reader.u64()?,
            bytes: reader.u64()?,
            keys: reader.u64()?,
            last_id: reader.str()?.into(),
        })
    };
    Ok(ChannelPage { channels: (0..count).map(channel).collect::<Result<_, _>>()?, next })
}

fn write_members(writer: &mut Writer<'_>, page: &MemberPage) {
    writer.option(page.next.as_deref(), Writer::bytes);
    writer.u32(page.members.len().try_into().unwrap_or(u32::MAX));
    for MemberInfo { id, data, since, streams } in &page.members {
        writer.bytes(id);
        write_data(writer, data);
        writer.u64(*since);
        writer.u32(*streams);
    }
}

fn read_members(reader: &mut Reader<'_>) -> Result<MemberPage, Malformed> {
    let (next, count) = (reader.option(Reader::bytes)?.map(Into::into), reader.u32()?);
    let member = |_| {
        Ok(MemberInfo {
            id: reader.bytes()?.into(),
            data: read_data(reader)?,
            since: reader.u64()?,
            streams: reader.u32()?,
        })
    };
    Ok(MemberPage { members: (0..count).map(member).collect::<Result<_, _>>()?, next })
}

fn write_counts(writer: &mut Writer<'_>, counts: &Counts) {
    counts.numbers().iter().for_each(|number| writer.u64(*number));
}

fn read_counts(reader: &mut Reader<'_>) -> Result<Counts, Malformed> {
    let mut numbers = [0; Counts::LEN];
    for number in &mut numbers {
        *number = reader.u64()?;
    }
    Ok(Counts::of_numbers(numbers))
}
