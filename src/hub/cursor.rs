//! Where a stream is in the hub's sequence.
//!
//! Mostly a [`Cursor`] is one sequence number: every event of the stream's topics up to it has been sent, every later one
//! is still to come. While topics differ in that, each group of them is a [`Part`]: a stream that has subscribed to more
//! reads the older events of the new topics only, a stream that has unsubscribed still reads what was published before.
//! A cursor never holds events: what a stream is behind stays in the log.

use super::glob::Glob;
use super::{Gap, Topics};

/// A stream's position in the sequence, and its topics.
#[derive(Debug, Default)]
pub struct Cursor {
    /// The events of its topics up to this number were sent, except as its parts say.
    pub(super) seq: u64,
    /// The topics with which it is registered, sorted.
    pub(super) topics: Topics,
    /// What differs among its topics; none, if nothing does.
    pub(super) parts: Option<Box<Parts>>,
    /// Whether only the newest event of each key is sent for the time being.
    pub(super) is_conflated: bool,
}

/// The parts of a cursor.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// In the order of their subscriptions: the first one that has a channel decides which of its events are sent.
    pub(super) list: Vec<Part>,
    /// What is still to be sent of channels that were unsubscribed from. They come before the list.
    pub(super) leaving: Vec<Leaving>,
    /// Patterns that were unsubscribed from: of channels that have vanished that is all that is known.
    pub(super) left_patterns: Vec<LeftPattern>,
    /// Where each part of the list resumes, until [`begin`](super::Hub::begin) tells the client; then empty.
    pub(super) opening: Vec<ResumePoint>,
    /// A gap through this number was reported. Each event up to it is followed by a position that says so.
    pub(super) told: u64,
    /// How many parts there were.
    pub(super) serials: u64,
    /// The stream was here before it went back for events of new topics.
    pub(super) went_back_from: u64,
}

/// Topics that were subscribed to at once.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) topics: Topics,
    /// Which of all parts of its cursor it is.
    pub(super) serial: u64,
    /// Their events up to this number are not sent: the stream has them, or begins after them.
    pub(super) after: u64,
    pub(super) excuse: Excuse,
    /// Up to this number all that the log holds is sent, whatever newer events of a key there are: that was asked for.
    pub(super) plain: u64,
}

/// A channel that the stream has unsubscribed from, with events that were published before. For the parts that were there
/// then, all of its events up to the last of those are settled; a later one may ask for the older ones again.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) channel: usize,
    /// Distinguishes the channel from a later one in the same slot.
    pub(super) serial: u64,
    pub(super) after: u64,
    pub(super) until: u64,
    /// The last of the parts that were there.
    pub(super) part: u64,
    pub(super) excuse: Excuse,
    pub(super) plain: u64,
}

/// A pattern that the stream has unsubscribed from. The parts that were there then need nothing of what it matches, through
/// a sequence number: the stream has it.
#[derive(Debug)]
pub(super) struct LeftPattern {
    pub(super) glob: Glob,
    pub(super) through: u64,
    /// The last of those parts.
    pub(super) part: u64,
}

/// Which evictions need no report: those through a sequence number that happened before a time on the hub's clock of
/// evictions. The client was told of a gap through there, or began after them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Excuse {
    pub(super) through: u64,
    pub(super) before: u64,
}

/// Where a subscription begins.
#[derive(Debug)]
pub(super) struct ResumePoint {
    pub(super) seq: u64,
    /// The client knows, or need not know, what was evicted through this number.
    pub(super) told: u64,
    /// Why it is told of a gap in any case.
    pub(super) gap: Option<Gap>,
    /// The id that was given and says nothing here, or not yet: a later request may be for its channel.
    pub(super) unknown_id: Option<Box<[u8]>>,
    /// Whether the client says nothing of what it has received.
    pub(super) is_start: bool,
}

impl Excuse {
    /// Through which number nothing has to be reported any more, whenever it is evicted.
    pub(super) fn settles(self) -> u64 {
        if self.before == u64::MAX {
            self.through
        } else {
            0
        }
    }

    /// The same, with a gap reported through `through` or later.
    pub(super) fn reported(self, through: u64) -> Self {
        Self { through: self.through.max(through), before: u64::MAX }
    }

    /// Whether an eviction, through `evicted` at a time, takes something that a stream at `after` is to be sent.
    pub(super) fn misses(self, after: u64, evicted: u64, clock: u64) -> bool {
        evicted > after && (evicted > self.through || clock > self.before)
    }
}

impl Part {
    /// Through which number the stream has all that it is to have: it was sent that, or told of a gap.
    pub(super) fn settled(&self) -> u64 {
        self.after.max(self.excuse.settles())
    }
}

impl Parts {
    /// A gap through a sequence number is reported to a stream: whatever of that is evicted from here on its client has been
    /// told of.
    pub(super) fn report(&mut self, through: u64) {
        self.told = self.told.max(through);
        let excuses = self.list.iter_mut().map(|part| &mut part.excuse);
        for excuse in excuses.chain(self.leaving.iter_mut().map(|leaving| &mut leaving.excuse)) {
            *excuse = excuse.reported(through);
        }
    }

    /// The next sequence number at which what is sent changes its form, after one.
    pub(super) fn boundary(&self, seq: u64) -> Option<u64> {
        let plain = self.list.iter().map(|part| part.plain).chain(self.leaving.iter().map(|leaving| leaving.plain));
        plain.chain([self.told, self.went_back_from]).filter(|at| *at > seq).min()
    }

    /// A stream may have so many parts; with each change that its client is too slow for there are more of them.
    const MOST: usize = 8192;

    /// Adds a part, whose events after a sequence number are to be sent. Returns its place in the list.
    pub(super) fn add(&mut self, topics: Topics, after: u64) -> usize {
        self.serials += 1;
        self.list.push(Part { topics, serial: self.serials, after, excuse: Excuse::default(), plain: 0 });
        self.list.len() - 1
    }

    fn count(&self) -> usize {
        self.list.len() + self.leaving.len() + self.left_patterns.len()
    }

    /// Whether there is but one part, so that its topics tell all about it.
    pub(super) fn is_one(&self) -> bool {
        self.list.len() == 1 && self.leaving.is_empty() && self.left_patterns.is_empty()
    }
}

impl Cursor {
    /// Whether it is neither subscribed to anything nor has anything to send.
    pub fn is_idle(&self) -> bool {
        self.topics.is_empty() && self.parts.is_none()
    }

    /// How many channels and patterns it is subscribed to.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Whether it is subscribed to anything.
    pub fn is_subscribed(&self) -> bool {
        !self.topics.is_empty()
    }

    /// Whether it has subscriptions that [`begin`](super::Hub::begin) is still to make effective.
    pub fn is_opening(&self) -> bool {
        self.parts.as_ref().map_or(false, |parts| !parts.opening.is_empty())
    }

    /// Whether its next events go out by [`replay`](super::Hub::replay).
    pub fn is_replaying(&self) -> bool {
        self.parts.as_ref().map_or(false, |parts| parts.boundary(self.seq).is_some())
    }

    /// Whether it has changed its topics so often, with a client that does not read, that its parts cost too much.
    pub fn has_too_many_parts(&self) -> bool {
        self.parts.as_ref().map_or(false, |parts| parts.count() > Parts::MOST)
    }

    /// Its parts, made if need be.
    pub(super) fn parts(&mut self) -> &mut Parts {
        let Self { seq, topics, parts, .. } = self;
        parts.get_or_insert_with(|| {
            let mut parts = Parts::default();
            if !topics.is_empty() {
                parts.add(topics.to_vec().into(), *seq);
            }
            Box::new(parts)
        })
    }

    /// Goes on to a sequence number, and lets go of the parts that do not differ any more.
    pub(super) fn advance(&mut self, seq: u64) {
        self.seq = seq;
        let parts = match &mut self.parts {
            Some(parts) if parts.opening.is_empty() => parts,
            _ => return,
        };
        parts.leaving.retain(|leaving| leaving.until > seq);
        parts.left_patterns.retain(|left| left.through > seq);
        let is_level = |part: &Part| part.after.max(part.excuse.through) <= seq;
        if parts.boundary(seq).is_none() && parts.leaving.is_empty() && parts.list.iter().all(is_level) {
            self.parts = None;
        }
    }
}
