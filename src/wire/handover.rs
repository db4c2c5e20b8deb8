//! All that a program hands over to the one that continues as its process: the history of a hub without a store, and
//! connections.
//!
//! The messages up to 63 are the same for all versions of the protocol: increase [`HANDOVER`] when one of them changes, or a
//! type in it. The others are for a program of the same [`VERSION`](super::VERSION): a stream travels as when a worker hands it
//! over.

use super::codec::Reader;
use super::frame::Frame;
use super::request::Open;
use super::settings::NamedSettings;
use super::show_channel::ShowChannel;
use super::Malformed;
use crate::hub::{EndRequest, HandedMember, History, KeptMember, Presence, Retain, SubscribeRequest, Topic};
use crate::stream::{Liveness, StreamEnd, Untaken};
use std::time::Duration;

/// The version of what is handed over between programs of all versions of the protocol.
pub const HANDOVER: u32 = 43;

messages! {
    /// A part of what is handed over.
    pub enum Handover<'a> {
        /// The process: what is not on its command line.
        1 Process(content: Box<HandedProcess>),
        /// The settings of the hub, those that somebody has claimed, and whether the hub is drained.
        2 Settings {
            /// All settings.
            all: Box<NamedSettings>,
            /// The claimed ones.
            claimed: Box<NamedSettings>,
            /// True if streams that come later end at once.
            is_draining: bool,
        },
        /// Where the history of a hub without a store begins. What channels have evicted follows.
        3 History(content: Box<History>),
        /// A channel has evicted entries.
        4 Evicted {
            /// The channel.
            channel: &'a [u8],
            /// The number.
            through: u64,
        },
        /// A part of the event of the next entry.
        5 EventPart {
            /// The bytes.
            bytes: &'a [u8],
        },
        /// An entry of the history or the state, in the order of their numbers.
        6 Entry {
            /// The sequence number.
            seq: u64,
            /// The time since it was published.
            age: Duration,
            /// The channel.
            channel: &'a [u8],
            /// The key.
            key: &'a [u8],
            /// Its effect on the state.
            retain: Retain,
            /// True if its id is the application's.
            has_custom_id: bool,
        },
        /// A key of an event that is published once.
        7 Once {
            /// The key.
            key: &'a [u8],
            /// The id of the event.
            id: &'a str,
            /// The time since it was published.
            age: Duration,
        },
        /// A member who is here.
        8 Member(content: Box<HandedMember>),
        /// The number of members that streams were told last.
        9 MemberCount {
            /// The channel.
            channel: &'a [u8],
            /// The number.
            number: u64,
            /// The time after which streams may be told of another number.
            rest: Duration,
        },
        /// A request to end streams, which withdraws tickets.
        10 End {
            /// When it was carried out, by the system's monotonic clock.
            at: u64,
            /// The request.
            end: EndRequest,
        },
        /// The keys of tickets, encoded. Their times are of the system's monotonic clock.
        11 TicketKeys {
            /// The keys.
            keys: &'a [u8],
        },
        /// A member or the will of a stream.
        12 Presence {
            /// The stream.
            stream: u64,
            /// The member, or the will.
            presence: Presence,
        },
        /// A stream that ends: its client comes back, unless the application has decided that it ends.
        13 Cut {
            /// The descriptor of its socket.
            descriptor: u32,
            /// The stream.
            stream: u64,
            /// The end.
            end: StreamEnd,
            /// The shortest time after which its client comes back; it is twice that at most.
            retry: Duration,
            /// The bytes that its client is sent before.
            bytes: &'a [u8],
        },
        /// A stream that has ended with a program before, and whose client may come back. Its members and its will precede it.
        15 Away {
            /// The stream.
            stream: u64,
            /// The time that its client still has.
            rest: Duration,
            /// True if a stream that is perhaps its client's has begun since.
            is_back: bool,
        },
        /// A member that lingers.
        16 Lingering {
            /// The channel in which a store keeps it.
            channel: &'a [u8],
            /// The member.
            id: &'a [u8],
            /// For how long it stays.
            rest: Duration,
        },
        /// What the process knows of itself and of others as machines of a store.
        17 Machine(content: Box<HandedMachine>),
        /// A poll that has ended, and whose client is about to come back.
        18 EndedPoll {
            /// What it has read.
            topics: Vec<Topic>,
            /// The labels of its stream.
            labels: Vec<Box<[u8]>>,
            /// The first sequence number that the last id of its client may have.
            from: u64,
            /// The last one.
            through: u64,
            /// For how long it is remembered.
            rest: Duration,
            /// True if its client is not to come back.
            is_finished: bool,
        },
        /// A place of a limit that is reserved for a stream which has not subscribed yet.
        19 Reservation {
            /// The label by which the stream will be counted.
            label: &'a [u8],
            /// When the stream was asked for.
            asked_at: u64,
        },
        /// The connection of a worker or a command.
        14 Peer(content: Box<HandedPeer<'a>>),
        /// A worker that holds a lease, or waits for it: those of one lease in their order.
        64 Lease {
            /// The worker.
            peer: u64,
            /// The number that it has given the lease.
            lease: u64,
            /// The name.
            name: &'a [u8],
        },
        /// A stream that was sent everything.
        65 Stream {
            /// The descriptor of its socket.
            descriptor: u32,
            /// The stream.
            open: Open<'a>,
            /// Its subscription.
            subscription: SubscribeRequest,
            /// The time after which a drain ends it, if one does.
            drained_in: Option<Duration>,
        },
        /// A stream that is ending: its client is sent the rest.
        67 Ending {
            /// The descriptor of its socket.
            descriptor: u32,
            /// The stream.
            open: Open<'a>,
            /// The end.
            end: StreamEnd,
            /// The labels by which it is counted until then.
            labels: Vec<Box<[u8]>>,
        },
        /// How long a stream was silent, and its client has taken nothing.
        68 Liveness {
            /// The stream.
            stream: u64,
            /// The times.
            liveness: Liveness,
        },
        /// The opener of a stream.
        66 Opener {
            /// The stream.
            stream: u64,
            /// The worker.
            peer: u64,
            /// The number that it has given the stream.
            number: u64,
            /// The number of bytes that it has pushed, if it holds the stream still.
            pushed: Option<u64>,
        },
    }
}

/// The process that hands over. Descriptors are numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HandedProcess {
    /// The path of the program that continues, and the descriptor with which it is run.
    pub program: Box<[u8]>,
    pub program_file: u32,
    /// When it has handed over, by the system's monotonic clock: all times that are handed over count from then.
    pub at: u64,
    /// The socket of the hub, its lock, and whether the socket's file is removed at the end.
    pub listener: u32,
    pub lock: u32,
    pub removes_socket: bool,
    /// The sockets for HTTP clients, and whether the file of the one for streams is removed at the end.
    pub streams: Option<u32>,
    pub metrics: Option<u32>,
    pub removes_streams: bool,
    /// For how long there was no worker, and for how long nobody has used the process; and whether the streams were ended since
    /// the last worker has left.
    pub without_worker: Option<Duration>,
    pub idle: Option<Duration>,
    pub has_ended_streams: bool,
    /// True if a worker or a command has started the process.
    pub is_started: bool,
    /// The connections that are told that the program continues.
    pub requesters: Vec<u32>,
    /// The number of the next connection.
    pub next_token: u64,
    /// The settings of the command line, and those that were named before.
    pub decided: NamedSettings,
    pub known: NamedSettings,
}

/// The machine that a process is for a store of several machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HandedMachine {
    /// The names under which the store may have members of this machine, separated by blanks.
    pub names: Box<str>,
    /// The time for which no member of another machine leaves.
    pub calm: Duration,
    pub dead: Vec<HandedDeadMachine>,
}

/// A machine whose lifetime has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HandedDeadMachine {
    pub name: Box<str>,
    /// The time since the end was seen.
    pub age: Duration,
    pub has_ended_in_order: bool,
}

/// The connection of a worker or a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HandedPeer<'a> {
    pub descriptor: u32,
    pub token: u64,
    /// The time since it has connected.
    pub age: Duration,
    /// The requests that have arrived and were not carried out, with their descriptors.
    pub inbox: &'a [u8],
    pub descriptors: Vec<Option<u32>>,
    /// The responses that were not sent.
    pub unsent: &'a [u8],
    /// The bytes of publishes that were handled and are not granted again yet.
    pub handled: u64,
    pub is_greeted: bool,
    /// True if it waits for the hub, whose welcome follows.
    pub waits: bool,
    pub show_channel: Option<ShowChannel>,
    /// The things that it keeps alive.
    pub keeps: u32,
    /// The worker whose calls come on it, the mark after which they are carried out, and whether one is kept until then.
    pub calls_for: Option<u64>,
    pub after: u64,
    pub is_kept: bool,
    /// The worker's last mark, and the last one that its publishes have reached.
    pub last_mark: u64,
    pub reached_mark: u64,
}

coded! {
    HandedProcess {
        program, program_file, at, listener, lock, removes_socket, streams, metrics, removes_streams,
        without_worker, idle, has_ended_streams, is_started, requesters, next_token, decided, known,
    }
    HandedMember { channel, id, is_counted, kept }
    HandedMachine { names, calm, dead }
    HandedDeadMachine { name, age, has_ended_in_order }
    History { epoch, cipher_key, last_seq, evicted, evicted_through, is_shared, is_own, ends_forgotten_through }
    KeptMember { since, linger, data, leave }
    StreamEnd { reason, is_by_application }
    Liveness { silent_for, is_stalled, is_early, untaken }
    Untaken { since, bytes, window }
    HandedPeer<'a> {
        descriptor, token, age, inbox, descriptors, unsent, handled, is_greeted, waits, show_channel, keeps, calls_for, after, is_kept,
        last_mark, reached_mark,
    }
}

impl<'a> Handover<'a> {
    /// Returns true if it is a part of an entry of the history.
    pub fn is_of_entry(&self) -> bool {
        matches!(self, Self::EventPart { .. } | Self::Entry { .. })
    }

    /// Reads everything that was handed over. Fails with [`Malformed`] if something is another message.
    pub fn read_all(bytes: &'a [u8]) -> Result<Vec<Self>, Malformed> {
        let (mut reader, mut all) = (Reader(bytes), Vec::new());
        while !reader.0.is_empty() {
            all.push(Self::read_one(reader.bytes()?)?);
        }
        Ok(all)
    }

    /// Reads a message, whose length was before it.
    pub fn read_one(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (kind, message) = bytes.split_first().ok_or(Malformed)?;
        Self::decode(Frame { kind: *kind, message })
    }
}
