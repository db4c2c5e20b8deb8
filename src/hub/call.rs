//! Questions of other threads to a hub: each question has one answer, and both are owned values. The history and the state of
//! a channel are read in parts.

use super::{ChannelPage, Counts, EndRequest, Evictions, Hub, Ticket, TicketOutcome, COUNT_KEY};
use crate::event::Framing;
use crate::log::LogEntry;
use crate::stream::StreamId;
use std::time::{Duration, Instant};

/// A question to a hub.
#[derive(Debug)]
pub enum Question {
    /// The counts of the hub, and the number of streams that are subscribed to a channel.
    Count {
        /// The channel.
        channel: Box<[u8]>,
    },
    /// A part of the list of channels: those whose names match the pattern, or all.
    Channels {
        /// The pattern.
        pattern: Option<Box<[u8]>>,
        /// Where the list continues: 0, or what the last page says.
        from: u64,
    },
    /// A part of a channel's history or state.
    ReadLog {
        /// The channel.
        channel: Box<[u8]>,
        /// The range that is read.
        range: LogRange,
    },
    /// The oldest event of a channel after which a client can resume without a gap.
    Oldest {
        /// The channel.
        channel: Box<[u8]>,
    },
    /// The evictions of channels since the last question. Only a hub with stored events collects them.
    TakeEvictions,
    /// Ends streams, and asks how many.
    EndStreams {
        /// Which streams, and how.
        request: Box<EndRequest>,
        /// The time of the system's monotonic clock, in nanoseconds.
        at: u64,
    },
    /// Asks whether a stream with a label may begin, for which a place is reserved then.
    Reserve {
        /// The label.
        label: Box<[u8]>,
        /// The most streams with this label.
        most: usize,
    },
    /// Asks whether a stream may begin with a ticket that has limits: a place of each is reserved then.
    Admit {
        /// The ticket.
        ticket: Box<Ticket>,
        /// True if a refusal is counted: it is not if the application is asked, which opens the ticket again.
        counts_refusal: bool,
    },
}

impl Question {
    /// Returns a question whose answer follows all that the reactor knows of streams.
    pub fn reports() -> Self {
        Self::Count { channel: Box::default() }
    }

    /// Returns true if the answer depends on what is evicted.
    pub(crate) fn follows_eviction(&self) -> bool {
        matches!(self, Self::Count { .. } | Self::Oldest { .. } | Self::TakeEvictions | Self::EndStreams { .. })
    }
}

macro_rules! answers {
    ($($(#[$doc:meta])* $answer:ident($type:ty), $taken:ident;)+) => {
        /// The answer to a [`Question`].
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Answer {
            $($(#[$doc])* $answer($type),)+
        }

        impl Answer {
            $(
                $(#[$doc])*
                pub fn $taken(self) -> $type {
                    match self {
                        Self::$answer(value) => value,
                        _ => Default::default(),
                    }
                }
            )+
        }
    };
}

answers! {
    /// The counts, and the number of subscribers.
    Counted(Box<(Counts, usize)>), counted;
    /// The part of the list of channels.
    Channels(ChannelPage), channels;
    /// The part of a channel's history or state.
    Log(LogPage), log;
    /// The id of the event, and how long ago it was published; nothing if the history has none.
    Oldest(Option<(Box<str>, Duration)>), oldest;
    /// The evictions.
    Evictions(Evictions), evictions;
    /// The streams that are to end.
    Ending(Vec<StreamId>), ending;
    /// The number of streams that were ended; 1 if a place was reserved.
    Number(usize), number;
    /// The ticket, if a stream may begin with it.
    Admitted(Option<Box<Ticket>>), admitted;
}

impl Hub {
    /// Answers a question. The caller ends the streams that are to end, and says which streams have not ended.
    pub fn ask(&mut self, question: Question, is_open: impl Fn(StreamId) -> bool, now: Instant) -> Answer {
        match question {
            Question::Count { channel } => {
                Answer::Counted(Box::new((self.counts(), self.subscribers_of(&channel, is_open))))
            }
            Question::Channels { pattern, from } => Answer::Channels(self.channel_page(pattern.as_deref(), from, now)),
            Question::ReadLog { channel, range } => Answer::Log(self.log_page(&channel, range)),
            Question::Oldest { channel } => Answer::Oldest(self.oldest(&channel, now)),
            Question::TakeEvictions => Answer::Evictions(self.take_evictions()),
            Question::EndStreams { request, at } => Answer::Ending(self.streams_to_end(&request, at)),
            Question::Reserve { label, most } => Answer::Number(self.reserve(&label, most, now).into()),
            Question::Admit { ticket, counts_refusal } => {
                let is_accepted = self.readers.reserve_all(&ticket.limits, now);
                if is_accepted || counts_refusal {
                    let outcome = if is_accepted { TicketOutcome::Accepted } else { TicketOutcome::Limited };
                    self.count_ticket(outcome);
                }
                Answer::Admitted(is_accepted.then_some(ticket))
            }
        }
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
