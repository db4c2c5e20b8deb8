//! Calls of the application to a hub: each call has one reply. Both are owned values, for a hub of this process and in
//! messages.

use super::store_status::StoreStatus;
use crate::histogram::{Histogram, Times};
use crate::hub::{
    Answer, ChannelCounts, ChannelPage, Counts, EndRequest, LogPage, LogRange, LoggedEvent, MemberInfo, MemberPage,
    MemberUpdate, Members, Question, Ticket,
};
use crate::stream::Stats;
use crate::Failure;
use std::time::Duration;

/// A call. Its reply is named beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Has the store copy everything into a new file. Done, when the copy is complete.
    BackUp {
        /// The absolute path of the file, which does not exist.
        path: Box<[u8]>,
    },
    /// Returns a part of the list of channels.
    Channels {
        /// The pattern that their names match; empty for all channels.
        pattern: Box<[u8]>,
        /// Where the list continues: 0, or what the last reply says.
        from: u64,
    },
    /// Returns counters.
    Count {
        /// The channel whose subscribers are counted.
        channel: Box<[u8]>,
    },
    /// Returns how many members a channel has.
    CountMembers {
        /// The channel.
        channel: Box<[u8]>,
    },
    /// Counts a request of a page of another origin that was refused. Done.
    CountRefusedOrigin,
    /// Returns what the hub process is.
    Describe,
    /// Drains the hub: ends its streams one after the other within a time, and streams that subscribe later at once. Each
    /// client is sent a reconnection time. Done.
    Drain {
        /// The time.
        within: Duration,
    },
    /// Ends the streams that are meant, and returns how many of this machine. A subscription that was asked for before ends,
    /// too.
    EndStreams(EndRequest),
    /// Returns a part of the list of a channel's members.
    Members {
        /// The channel.
        channel: Box<[u8]>,
        /// The id after which the list continues; none at first.
        after: Option<Box<[u8]>>,
    },
    /// Returns the oldest event of a channel after which a client can resume without a gap.
    Oldest {
        /// The channel.
        channel: Box<[u8]>,
    },
    /// Opens a ticket, and reserves the places of its stream. Returns nothing if no stream may begin with it.
    OpenTicket {
        /// The ticket.
        sealed: Box<[u8]>,
        /// The binding of the ticket.
        binding: Box<[u8]>,
    },
    /// Returns a part of a channel's history or state.
    ReadLog {
        /// The channel.
        channel: Box<[u8]>,
        /// The range that is read.
        range: LogRange,
    },
    /// Reserves a place for a stream with a label, unless so many have one; if 0, gives one back. Returns 1 if the stream may
    /// begin.
    Reserve {
        /// The label.
        label: Box<[u8]>,
        /// The most streams with this label.
        most: usize,
    },
    /// Seals a ticket, unless it has more bytes then, also without its passport.
    SealTicket {
        /// The ticket.
        ticket: Box<Ticket>,
        /// The time for which it is valid at most.
        valid_for: Duration,
        /// The most bytes that it may have.
        most: usize,
    },
    /// Changes the data of a member. Returns 1 if the member is here.
    UpdateMember(MemberUpdate),
}

coded!(Call by {
    0: BackUp { path },
    1: Channels { pattern, from },
    2: Count { channel },
    3: CountMembers { channel },
    4: CountRefusedOrigin,
    5: Describe,
    6: Drain { within },
    7: EndStreams(end),
    8: Members { channel, after },
    9: OpenTicket { sealed, binding },
    10: ReadLog { channel, range },
    11: Reserve { label, most },
    12: SealTicket { ticket, valid_for, most },
    13: UpdateMember(update),
    14: Oldest { channel },
});

impl Call {
    /// Returns what the hub in the reactor is asked first, at this time of the system's monotonic clock; nothing for a call
    /// that is not asked there, or only when a ticket was opened.
    pub fn question(&self, at: u64) -> Option<Question> {
        Some(match self {
            Self::Channels { pattern, from } => {
                Question::Channels { pattern: Some(pattern.clone()).filter(|pattern| !pattern.is_empty()), from: *from }
            }
            Self::Count { channel } => Question::Count { channel: channel.clone() },
            Self::CountMembers { .. } | Self::Members { .. } | Self::UpdateMember(_) => Question::reports(),
            Self::EndStreams(end) => Question::EndStreams { request: Box::new(end.clone()), at },
            Self::Oldest { channel } => Question::Oldest { channel: channel.clone() },
            Self::ReadLog { channel, range } => Question::ReadLog { channel: channel.clone(), range: *range },
            Self::Reserve { label, most } => Question::Reserve { label: label.clone(), most: *most },
            Self::BackUp { .. }
            | Self::CountRefusedOrigin
            | Self::Describe
            | Self::Drain { .. }
            | Self::OpenTicket { .. }
            | Self::SealTicket { .. } => return None,
        })
    }

    /// Returns the reply, when the reactor has answered and its reports of members are applied.
    pub fn reply(&self, answer: Answer, members: &Members) -> Reply {
        match (self, Reply::from(answer)) {
            (Self::CountMembers { channel }, _) => Reply::Number(members.count(channel) as u64),
            (Self::Members { channel, after }, _) => Reply::Members(members.page(channel, after.as_deref())),
            (_, Reply::Counted(mut counted)) => {
                let (here, refused) = members.totals();
                (counted.hub.members, counted.hub.members_refused) = (here as u64, refused);
                Reply::Counted(counted)
            }
            (_, reply) => reply,
        }
    }

    /// Returns true if a stream may begin without the reply.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_optional(&self) -> bool {
        matches!(self, Self::OpenTicket { .. } | Self::Reserve { .. } | Self::SealTicket { .. })
    }
}

/// Makes the replies of their list, and for each what takes it: after another reply it is not known what became of the call.
macro_rules! replies {
    ($($(#[$doc:meta])* $number:literal $reply:ident($type:ty), $taken:ident;)+) => {
        /// The reply to a [`Call`].
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Reply {
            /// It was carried out.
            Done,
            $($(#[$doc])* $reply($type),)+
        }

        coded!(Reply by { 0: Done, $($number: $reply(content)),+ });

        impl Reply {
            $(
                $(#[$doc])*
                pub fn $taken(self) -> Result<$type, Failure> {
                    match self {
                        Self::$reply(value) => Ok(value),
                        _ => Err(Failure::unknown()),
                    }
                }
            )+
        }
    };
}

replies! {
    /// The id of an event that was published, in the order of the hub.
    1 Id(Box<str>), id;
    /// The number that was asked for.
    2 Number(u64), number;
    /// The counters.
    3 Counted(Box<Counted>), counted;
    /// A part of the list of channels.
    4 Channels(ChannelPage), channels;
    /// A part of the list of a channel's members.
    5 Members(MemberPage), members;
    /// A part of a channel's history or state.
    6 Log(LogPage), log;
    /// The id of the event, and how long ago it was published; nothing if the history has none.
    10 Oldest(Option<(Box<str>, Duration)>), oldest;
    /// A ticket that was sealed, unless it is too large.
    7 Sealed(Option<Box<[u8]>>), sealed;
    /// A ticket that was opened, if a stream may begin with it.
    8 Admitted(Option<Box<Ticket>>), admitted;
    /// The identity of the hub process.
    9 Described(Box<Described>), described;
}

impl Reply {
    /// The number that was asked for, as one of this machine.
    pub fn size(self) -> Result<usize, Failure> {
        self.number().map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Counted(counted) => {
                let (hub, subscribers) = *counted;
                Self::Counted(Box::new(Counted { hub, subscribers: subscribers as u64, ..Counted::default() }))
            }
            Answer::Channels(page) => Self::Channels(page),
            Answer::Log(page) => Self::Log(page),
            Answer::Oldest(event) => Self::Oldest(event),
            Answer::Number(number) => Self::Number(number as u64),
            Answer::Admitted(ticket) => Self::Admitted(ticket),
            Answer::Evictions(_) | Answer::Ending(_) => Self::Done, // no call asks for them
        }
    }
}

/// The identity of a hub process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// The version of its program.
    pub version: Box<str>,
    /// The time for which it has run.
    pub age: Duration,
    /// The processes of the connected workers, commands among them, each once.
    pub workers: Vec<u32>,
}

/// The counters of a hub, and of its process if it has a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The hub's counters.
    pub hub: Counts,
    /// The number of streams that are subscribed to the channel.
    pub subscribers: u64,
    /// The hub process; 0 for a hub without a name, of which all that follows is nothing.
    pub pid: u32,
    /// The number of workers that are connected, commands among them.
    pub workers: u64,
    /// The streams of the process.
    pub streams: Stats,
    /// The times that it has measured.
    pub times: Times,
    /// The number of workers that were cut off because they broke the rules of the protocol.
    pub cut_off: u64,
    /// When the process has begun, in milliseconds since 1970.
    pub started_at: u64,
    /// The health of the hub's store.
    pub store: StoreStatus,
}

coded! {
    Counted { hub, subscribers, pid, workers, streams, times, cut_off, started_at, store }
    Times { send, age, store_wait }
    Histogram { counts, sum }
    Stats {
        open, opened, refused, ended, events, bytes, lost, buffered, stalled, wakeups, longest_delay_ns, refused_origins,
    }
    Described { version, age, workers }
    ChannelPage { next, channels }
    ChannelCounts { name, subscribers, events, bytes, keys, events_per_hour, last_id }
    MemberPage { next, members }
    MemberInfo { id, data, since, streams }
    MemberUpdate { channel, id, data, event }
    LogPage { events, next, through }
    LoggedEvent { key, block }
}
