//! What the application asks a hub: each call has one reply, and both are owned values, for a hub of this process and in
//! messages. And the questions of other threads to the hub in the reactor, among them what calls ask. The history and the state
//! of a channel are read in parts.
//!
//! Calls and replies are messages, so a change here is one of the protocol. Increase [`VERSION`](crate::wire::VERSION), unless
//! that was done since the last release, when a call or a reply is added, removed or has other fields: the field of a type in
//! it, too. The numbers below stay those of what they stand for. `src/wire/tests.rs` has a sum over all calls and replies, and
//! fails when one of them changes. A process that does not know a call of a later build refuses it, and names its version.

use super::{
    ChannelCounts, ChannelPage, Counts, EndRequest, EndedPoll, Evictions, Hub, MemberInfo, MemberPage, MemberUpdate,
    Members, StoreStatus, Ticket, TicketOutcome, COUNT_KEY,
};
use crate::event::Framing;
use crate::histogram::{Histogram, Times};
use crate::log::LogEntry;
use crate::stream::{Stats, StreamId};
use crate::Failure;
use std::time::{Duration, Instant};

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
    /// Returns the id after which a client receives what is published from now on, in all channels.
    LastId,
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
    /// Reserves a place for a stream with a label, unless so many have one; if 0, gives that of the stream back. Returns 1 if
    /// the stream may begin.
    Reserve {
        /// The label.
        label: Box<[u8]>,
        /// The most streams with this label.
        most: usize,
        /// The time of the [subscription](crate::hub::Access::asked_at), by which the place is known.
        asked_at: u64,
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
    11: Reserve { label, most, asked_at },
    12: SealTicket { ticket, valid_for, most },
    13: UpdateMember(update),
    14: Oldest { channel },
    15: LastId,
});

impl Call {
    /// Returns what the hub in the reactor is asked first, at this time of the system's monotonic clock; nothing for a call
    /// that is not asked there, or only when a ticket was opened.
    pub fn question(&self, at: u64) -> Option<Question> {
        match self {
            Self::Channels { .. }
            | Self::Count { .. }
            | Self::EndStreams(_)
            | Self::LastId
            | Self::Oldest { .. }
            | Self::ReadLog { .. }
            | Self::Reserve { .. } => Some(Question::Call { call: self.clone(), at }),
            Self::CountMembers { .. } | Self::Members { .. } | Self::UpdateMember(_) => Some(Question::reports()),
            Self::BackUp { .. }
            | Self::CountRefusedOrigin
            | Self::Describe
            | Self::Drain { .. }
            | Self::OpenTicket { .. }
            | Self::SealTicket { .. } => None,
        }
    }

    /// Returns the reply, when the reactor has answered and its reports of members are applied.
    pub fn reply(&self, answer: Answer, members: &Members) -> Reply {
        match (self, answer.reply()) {
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

    /// Returns true if the call reserves places, so that it is not to be carried out when nobody waits for it any more.
    pub(crate) fn reserves(&self) -> bool {
        matches!(self, Self::OpenTicket { .. } | Self::Reserve { most: 1.., .. })
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
    /// The id of an event that was published, in the order of the hub, or the last id there.
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

/// A question to a hub.
#[derive(Debug)]
pub enum Question {
    /// The part of a call that the hub in the reactor answers.
    Call {
        /// The call.
        call: Call,
        /// The time of the system's monotonic clock, in nanoseconds.
        at: u64,
    },
    /// Ends the streams that a request means which another machine has made.
    End {
        /// The request.
        request: EndRequest,
        /// When it was made: a time of the system's monotonic clock, in nanoseconds.
        at: u64,
        /// Its sequence number.
        seq: u64,
    },
    /// The evictions of channels since the last question. Only a hub with stored events collects them.
    TakeEvictions,
    /// Asks whether a stream may begin with a ticket that has limits: a place of each is reserved then.
    Admit {
        /// The ticket.
        ticket: Box<Ticket>,
        /// True if a refusal is counted: it is not if the application is asked, which opens the ticket again.
        counts_refusal: bool,
    },
    /// Has the hub remember a poll that has ended with another program.
    ResumePoll(Box<EndedPoll>),
}

impl Question {
    /// Asks for the counts of the hub, and the number of streams that are subscribed to a channel.
    pub fn count(channel: impl Into<Box<[u8]>>) -> Self {
        Self::Call { call: Call::Count { channel: channel.into() }, at: 0 }
    }

    /// Returns a question whose answer follows all that the reactor knows of streams.
    pub fn reports() -> Self {
        Self::count(&b""[..])
    }

    /// Returns true if places of limits are reserved.
    pub(crate) fn reserves(&self) -> bool {
        match self {
            Self::Admit { .. } => true,
            Self::Call { call, .. } => call.reserves(),
            _ => false,
        }
    }

    /// Returns the request to end streams that it makes.
    pub(crate) fn end_request(&self) -> Option<&EndRequest> {
        match self {
            Self::Call { call: Call::EndStreams(request), .. } | Self::End { request, .. } => Some(request),
            _ => None,
        }
    }

    /// Returns true if the answer depends on what is evicted.
    pub(crate) fn follows_eviction(&self) -> bool {
        use Call::{Count, Oldest};
        let is_of_history = matches!(self, Self::TakeEvictions | Self::Call { call: Count { .. } | Oldest { .. }, .. });
        is_of_history || self.end_request().is_some()
    }
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The reply to a call. Its owner completes it. A ticket is replied to as the call that opens it.
    Reply(Reply),
    /// The evictions.
    Evictions(Evictions),
    /// The streams that are to end.
    Ending(Vec<StreamId>),
}

impl Answer {
    /// Returns the reply.
    pub fn reply(self) -> Reply {
        match self {
            Self::Reply(reply) => reply,
            Self::Evictions(_) | Self::Ending(_) => Reply::Done, // no call asks for them
        }
    }

    /// Returns the evictions.
    pub fn evictions(self) -> Evictions {
        match self {
            Self::Evictions(evictions) => evictions,
            _ => Evictions::default(),
        }
    }
}

impl Hub {
    /// Answers a question. The caller ends the streams that are to end, and says which streams have not ended.
    pub fn ask(&mut self, question: Question, is_open: impl Fn(StreamId) -> bool, now: Instant) -> Answer {
        Answer::Reply(match question {
            Question::Call { call, at } => match call {
                Call::Channels { pattern, from } => Reply::Channels(self.channel_page(&pattern, from, now)),
                Call::Count { channel } => {
                    let subscribers = self.subscribers_of(&channel, is_open) as u64;
                    Reply::Counted(Box::new(Counted { hub: self.counts(), subscribers, ..Counted::default() }))
                }
                Call::EndStreams(request) => return Answer::Ending(self.streams_to_end(&request, at, 0)),
                Call::LastId => Reply::Id(self.epoch.event_id(self.logs.last_seq).into()),
                Call::Oldest { channel } => Reply::Oldest(self.oldest(&channel, now)),
                Call::ReadLog { channel, range } => Reply::Log(self.log_page(&channel, range)),
                Call::Reserve { label, most, asked_at } => {
                    Reply::Number(self.reserve(&label, most, asked_at, now).into())
                }
                _ => Reply::Done, // the hub is not asked
            },
            Question::End { request, at, seq } => return Answer::Ending(self.streams_to_end(&request, at, seq)),
            Question::TakeEvictions => return Answer::Evictions(self.take_evictions()),
            Question::ResumePoll(poll) => {
                self.resume_poll(*poll, now);
                Reply::Done
            }
            Question::Admit { ticket, counts_refusal } => {
                let is_accepted = self.readers.reserve_all(&ticket, now);
                if is_accepted || counts_refusal {
                    let outcome = if is_accepted { TicketOutcome::Accepted } else { TicketOutcome::Limited };
                    self.count_ticket(outcome);
                }
                Reply::Admitted(is_accepted.then_some(ticket))
            }
        })
    }

    /// Returns the first event of a channel's history: all that is evicted is before it. What is retained beyond the history is
    /// older, but events between were evicted.
    fn oldest(&self, channel: &[u8], now: Instant) -> Option<(Box<str>, Duration)> {
        let log = &self.logs.channels[self.logs.channels.at_name(channel)?].log;
        let entry = log.after(log.evicted_through()).next()?;
        Some((self.epoch.event_id(entry.seq).into(), now.saturating_duration_since(entry.at)))
    }
}

/// The range of a channel's log that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRange {
    /// True if the state is read; otherwise the history.
    pub is_state: bool,
    /// The sequence number after which entries are read.
    pub after: u64,
    /// The sequence number through which the history is read; 0 for all of it.
    pub through: u64,
    /// The number of entries of the history that are read, the last ones; 0 for all.
    pub last: u64,
}

/// An entry as applications read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The key. Events without one have an empty key.
    pub key: Box<[u8]>,
    /// The event as clients are sent it, without framing.
    pub block: Box<[u8]>,
}

/// A part of a channel's history or state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// Some entries, in their order.
    pub events: Vec<LoggedEvent>,
    /// The sequence number after which there is more.
    pub next: Option<u64>,
    /// The sequence number through which the history was read.
    pub through: u64,
}

impl LogPage {
    /// The most entries of a page.
    const MOST: usize = if cfg!(test) { 2 } else { 1000 };
    /// The most bytes of a page with several entries.
    const MOST_BYTES: usize = 256 << 10;

    /// Returns how many bytes of keys and events the page has.
    pub fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.key.len() + event.block.len()).sum()
    }

    /// Adds the first entries, as many as a page has.
    fn fill<'a>(&mut self, entries: impl Iterator<Item = &'a LogEntry>) {
        let (mut bytes, mut last) = (0, 0);
        for entry in entries {
            bytes += entry.size();
            if self.events.len() == Self::MOST || bytes > Self::MOST_BYTES && !self.events.is_empty() {
                self.next = Some(last);
                break;
            }
            last = entry.seq;
            // The key of a number of members is the hub's own.
            let key = if *entry.key == *COUNT_KEY { Box::default() } else { entry.key.clone() };
            self.events.push(LoggedEvent { key, block: entry.event.bytes(Framing::Plain).into() });
        }
    }
}

impl Hub {
    /// Returns a part of the history or the state of a channel. A key of the state that changes between two parts comes in the
    /// second one, perhaps once more.
    pub fn log_page(&self, channel: &[u8], range: LogRange) -> LogPage {
        let LogRange { is_state, after, through, last } = range;
        let through = if through == 0 { self.logs.last_seq } else { through };
        let mut page = LogPage { through, ..LogPage::default() };
        let log = &self.logs.channels[some_or!(self.logs.channels.at_name(channel), return page)].log;
        if is_state {
            page.fill(log.state(after, u64::MAX).into_iter().flatten());
        } else {
            let entries = log.between(after, through);
            let wanted = usize::try_from(last).unwrap_or(usize::MAX);
            let skipped = if wanted == 0 { 0 } else { entries.len().saturating_sub(wanted) };
            page.fill(entries.skip(skipped));
        }
        page
    }
}
