//! The messages of the hub process.

use super::codec::{Coded, Malformed, Reader, Writer};
use super::failure::Failure;
use super::first_messages::Welcome;
use super::store_status::StoreStatus;
use crate::histogram::{Histogram, Times};
use crate::hub::{ChannelCounts, ChannelPage, Counts, LogPage, LoggedEvent, MemberInfo, MemberPage};
use crate::stream::{Reason, Stats};
use std::time::Duration;

messages! {
    /// A message of the hub process.
    pub enum Response<'a> {
        /// Refuses a worker; the connection ends. The message is the same in all versions.
        0 Rejected(content: Failure),
        /// Accepts a worker.
        1 Welcome(content: Box<Welcome>),
        /// An event was published.
        2 Published {
            /// The request.
            request: u64,
            /// The event's id in the order of the hub.
            id: &'a str,
        },
        /// A request was refused, and nothing was done.
        3 Refused {
            /// The request.
            request: u64,
            /// Why.
            failure: Failure,
        },
        /// A request was carried out.
        4 Done {
            /// The request.
            request: u64,
        },
        /// The state of a stream has changed. The worker knows from it how many bytes are buffered: `buffered`, and what it has
        /// pushed after the first `pushed` bytes. Both are totals, so states can be merged or skipped without an error.
        5 State {
            /// The stream.
            stream: u64,
            /// How many bytes of [`Push`](super::Request::Push) the stream has got so far.
            pushed: u64,
            /// How many bytes are buffered.
            buffered: u64,
            /// Whether the client's socket takes nothing for now.
            is_stalled: bool,
        },
        /// A stream has ended. This is the last response about it.
        6 Ended {
            /// The stream.
            stream: u64,
            /// Why.
            reason: Reason,
        },
        /// The response to [`Count`](super::Request::Count).
        7 Counted(content: Box<Counted>),
        /// The worker may send more.
        8 Credits {
            /// How many bytes more.
            bytes: u64,
        },
        /// The response to [`Channels`](super::Request::Channels).
        20 Channels {
            /// The request.
            request: u64,
            /// A part of the list.
            page: ChannelPage,
        },
        /// The response to [`Describe`](super::Request::Describe).
        21 Described(content: Box<Described>),
        /// Whether the worker holds a lease that it has asked for. Sent once at first, and again when it gets the lease later.
        14 Elected {
            /// The lease.
            lease: u64,
            /// Whether this worker holds it; otherwise it waits for it.
            is_held: bool,
        },
        /// Streams were ended.
        23 StreamsEnded {
            /// The request.
            request: u64,
            /// How many of this process.
            count: u64,
        },
        /// A part of the list of a channel's members.
        24 Members {
            /// The request.
            request: u64,
            /// The part.
            page: MemberPage,
        },
        /// The number that a request has asked for.
        25 Number {
            /// The request.
            request: u64,
            /// The number.
            number: u64,
        },
        /// The hub's ids begin with another epoch from here on: its store has lost history.
        22 Epoch {
            /// The epoch.
            epoch: &'a str,
        },
        /// A line of the process's log. Only the worker is sent it that holds the lease [`LOG_LEASE`](super::LOG_LEASE).
        26 Log {
            /// The line, without its end.
            line: &'a str,
        },
        /// A part of a channel's history or state.
        27 LogPage {
            /// The request.
            request: u64,
            /// The part.
            page: LogPage,
        },
        /// A ticket, sealed or opened; nothing if there is none, or if no stream may begin with it.
        28 Ticket {
            /// The request.
            request: u64,
            /// The bytes.
            bytes: Option<&'a [u8]>,
        },
        /// The process continues as the program that was asked for. The layout is the same in all versions.
        255 Upgraded,
    }
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
    /// The streams of the process.
    pub streams: Stats,
    /// The times that it has measured.
    pub times: Times,
    /// How many workers were cut off because they broke the rules of the protocol.
    pub cut_off: u64,
    /// When the process has begun, in milliseconds since 1970.
    pub started_at: u64,
    /// The health of the hub's store.
    pub store: StoreStatus,
}

coded! {
    Counted { request, hub, subscribers, workers, streams, times, cut_off, started_at, store }
    Times { send, age, store_wait }
    Histogram { counts, sum }
    Stats {
        open, opened, refused, ended, events, bytes, lost, buffered, stalled, wakeups, longest_delay_ns, refused_origins,
    }
    Described { request, version, age, workers }
    ChannelPage { next, channels }
    ChannelCounts { name, subscribers, events, bytes, keys, events_per_hour, last_id }
    MemberPage { next, members }
    MemberInfo { id, data, since, streams }
    LogPage { events, next, through }
    LoggedEvent { key, block }
}

impl Coded<'_> for Counts {
    fn write(&self, to: &mut Writer<'_>) {
        self.numbers().write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Coded::read(from).map(Self::of_numbers)
    }
}
