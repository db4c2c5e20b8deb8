//! One client's open response, without its descriptor: what waits to be sent, what is due when, and how it ends.
//!
//! A [`Stream`] does no I/O and reads no clock: it says what is to be sent ([`Stream::gather`]) and is told what was
//! ([`Stream::sent`]), and whoever asks says what time it is. What is pushed are whole *blocks*: an event or a comment
//! with its framing, which is sent whole or, where the stream may [drop](Settings::drop_oldest) blocks, not at all.

#[cfg(test)]
mod tests;

pub use crate::event::Framing;

use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which stream: its place among those of its reactor, and a number that no other stream of that place has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// Its place in the reactor.
    pub slot: u32,
    /// Which of the streams that have had that place.
    pub serial: u32,
}

impl From<StreamId> for u64 {
    fn from(id: StreamId) -> Self {
        Self::from(id.serial) << 32 | Self::from(id.slot)
    }
}

impl From<u64> for StreamId {
    fn from(number: u64) -> Self {
        Self { slot: number as u32, serial: (number >> 32) as u32 }
    }
}

/// Why a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client has left.
    Client,
    /// More waited for the client than it may cost.
    Slow,
    /// The client acknowledged, or took, nothing for too long.
    Timeout,
    /// Something broke: a handler that died, a socket that the kernel refuses.
    Error,
    /// This process ends, or holds as many streams as it may.
    Server,
    /// The application has closed it.
    Application,
}

impl Reason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 6] = [Self::Client, Self::Slow, Self::Timeout, Self::Error, Self::Server, Self::Application];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Slow => "slow",
            Self::Timeout => "timeout",
            Self::Error => "error",
            Self::Server => "server",
            Self::Application => "application",
        }
    }

    /// The reason of that name.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.name().as_bytes() == name)
    }
}

/// What an application decides about its streams; many of them share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How blocks are framed.
    pub framing: Framing,
    /// The quiet after which a comment is sent; never, without.
    pub keepalive: Option<Duration>,
    /// How long a client may take nothing of what waits for it.
    pub timeout: Duration,
    /// How many bytes may wait, unless it is a single block.
    pub max_buffered: usize,
    /// Whether the oldest blocks are dropped when more than that wait.
    pub drop_oldest: bool,
    /// The least reconnection time that clients are told when this process ends.
    pub retry: Duration,
}

/// What a stream has given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Events that were not sent, or not to their end.
    pub events: usize,
    /// How many bytes fewer wait.
    pub bytes: usize,
}

/// The moment after that time. A time without end is a hundred years, for what is added to a moment has to be one too.
pub(crate) fn after(now: Instant, time: Duration) -> Instant {
    now + time.min(Duration::from_secs(100 * 365 * 24 * 60 * 60))
}

/// What is sent in one piece.
#[derive(Debug, Default)]
struct Block {
    bytes: Bytes,
    is_event: bool,
    /// Whether it may be given up for newer ones.
    may_drop: bool,
}

/// What has become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// It was quiet for long: send a comment.
    Keepalive,
    /// The client has taken nothing for too long.
    Timeout,
}

/// One client's open response.
#[derive(Debug)]
pub struct Stream {
    settings: Arc<Settings>,
    /// What is sent next; empty if nothing waits. Alone, since mostly only one block waits.
    front: Block,
    /// Whether part of the front has been sent.
    is_begun: bool,
    /// What is sent after it. In a box, for only streams that lag have a rest.
    #[allow(clippy::box_collection)] // a pointer is a quarter of the size of an empty VecDeque
    rest: Option<Box<VecDeque<Block>>>,
    buffered_bytes: usize,
    /// When something was sent last; if it is stalled, since when the socket has taken nothing.
    since: Instant,
    is_stalled: bool,
    /// Why it ends when all is sent.
    ending: Option<Reason>,
}

impl Stream {
    /// A stream for which nothing waits.
    pub fn new(settings: Arc<Settings>, now: Instant) -> Self {
        Self {
            settings,
            front: Block::default(),
            is_begun: false,
            rest: None,
            buffered_bytes: 0,
            since: now,
            is_stalled: false,
            ending: None,
        }
    }

    /// What the application has decided.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Adds an event, framed, and says what had to be dropped for it.
    pub fn push(&mut self, event: Bytes) -> Lost {
        self.push_unlimited(event);
        let mut lost = Lost::default();
        if self.settings.drop_oldest {
            while self.buffered_bytes > self.settings.max_buffered && self.drop_oldest(&mut lost) {}
        }
        lost
    }

    /// Adds an event, framed, however much waits. Later ones may drop it.
    pub fn push_unlimited(&mut self, event: Bytes) {
        self.add(Block { bytes: event, is_event: true, may_drop: true });
    }

    /// Whether older events may have to be dropped for one of so many bytes.
    pub fn would_drop(&self, bytes: usize) -> bool {
        self.settings.drop_oldest && self.buffered_bytes.saturating_add(bytes) > self.settings.max_buffered
    }

    /// Adds what is no event, framed.
    pub fn push_non_event(&mut self, bytes: Bytes) {
        self.add(Block { bytes, ..Block::default() });
    }

    /// Adds an event, framed, that is not dropped for newer ones.
    pub fn push_undroppable(&mut self, event: Bytes) {
        self.add(Block { bytes: event, is_event: true, may_drop: false });
    }

    /// Says that an event that many streams share is on its way, and what is left of it. Nothing else waits.
    pub fn continue_with(&mut self, rest: Bytes) {
        self.push_undroppable(rest);
        self.is_begun = true;
    }

    fn add(&mut self, block: Block) {
        if block.bytes.is_empty() {
            return;
        }
        self.buffered_bytes += block.bytes.len();
        if self.front.bytes.is_empty() {
            self.front = block;
        } else {
            self.rest.get_or_insert_with(Box::default).push_back(block);
        }
    }

    /// Drops the oldest event that is neither partly sent nor the newest.
    fn drop_oldest(&mut self, lost: &mut Lost) -> bool {
        let rest = match &mut self.rest {
            Some(rest) => rest,
            None => return false,
        };
        let dropped = if self.front.may_drop && !self.is_begun {
            rest.pop_front().map(|next| std::mem::replace(&mut self.front, next))
        } else {
            // The front is sent first in any case. What else may not be dropped is rare, and stays before the oldest.
            let at = rest.iter().position(|block| block.may_drop);
            at.filter(|at| at + 1 < rest.len()).and_then(|at| rest.remove(at))
        };
        let dropped = match dropped {
            Some(dropped) => dropped,
            None => return false,
        };
        self.buffered_bytes -= dropped.bytes.len();
        lost.events += 1;
        lost.bytes += dropped.bytes.len();
        true
    }

    /// Says that the stream is to end when all is sent. The first reason counts.
    pub fn end(&mut self, reason: Reason) {
        self.ending.get_or_insert(reason);
    }

    /// Why it is to end, once all is sent.
    pub fn ending(&self) -> Option<Reason> {
        self.ending
    }

    /// How many bytes wait.
    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// Whether all is sent and nothing more will come.
    pub fn is_done(&self) -> bool {
        self.ending.is_some() && self.buffered_bytes == 0
    }

    /// Puts what is to be sent next into `blocks`, and says how many there are.
    pub fn gather<'a>(&'a self, blocks: &mut [IoSlice<'a>]) -> usize {
        let rest = self.rest.iter().flat_map(|rest| rest.iter());
        let waiting = std::iter::once(&self.front).chain(rest).filter(|block| !block.bytes.is_empty());
        blocks.iter_mut().zip(waiting).map(|(place, block)| *place = IoSlice::new(&block.bytes)).count()
    }

    /// Forgets what was sent, and says how many events have been sent to their end. More may have been sent than waits
    /// here: of what many streams share.
    pub fn advance(&mut self, bytes: usize, now: Instant) -> usize {
        let mut events = 0;
        let own = bytes.min(self.buffered_bytes);
        let mut rest = own;
        while rest > 0 && rest >= self.front.bytes.len() {
            rest -= self.front.bytes.len();
            events += usize::from(self.front.is_event);
            self.front = self.rest.as_mut().and_then(|rest| rest.pop_front()).unwrap_or_default();
            self.is_begun = false;
        }
        if rest > 0 {
            let _ = self.front.bytes.split_to(rest);
            self.is_begun = true;
        }
        if matches!(&self.rest, Some(rest) if rest.is_empty()) {
            self.rest = None;
        }
        if bytes > 0 {
            self.buffered_bytes -= own;
            self.since = now;
            self.is_stalled = false;
        }
        events
    }

    /// Says that the socket took nothing.
    pub fn set_stalled(&mut self, now: Instant) {
        if !self.is_stalled {
            self.is_stalled = true;
            self.since = now;
        }
    }

    /// Since when the socket has taken nothing.
    pub fn stalled_since(&self) -> Option<Instant> {
        Some(self.since).filter(|_| self.is_stalled)
    }

    /// Gives up all that waits.
    pub fn discard(&mut self) -> Lost {
        self.is_begun = false;
        self.is_stalled = false;
        let front = std::mem::take(&mut self.front);
        let rest = std::mem::take(&mut self.rest);
        let rest = rest.iter().flat_map(|rest| rest.iter());
        let events = std::iter::once(&front).chain(rest).filter(|block| block.is_event).count();
        Lost { events, bytes: std::mem::take(&mut self.buffered_bytes) }
    }

    /// When the next thing will be due, if nothing happens before.
    pub fn next_due(&self) -> Option<Instant> {
        match self.stalled_since() {
            Some(since) => Some(after(since, self.settings.timeout)),
            None if self.buffered_bytes > 0 => None,
            None => self.settings.keepalive.map(|quiet| after(self.since, quiet)),
        }
    }

    /// What is due.
    pub fn due(&self, now: Instant) -> Due {
        match self.next_due() {
            Some(at) if at <= now && self.is_stalled => Due::Timeout,
            Some(at) if at <= now => Due::Keepalive,
            _ => Due::Nothing,
        }
    }
}
