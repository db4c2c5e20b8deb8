//! The parts of a cursor, while its topics differ in what has been sent.
//!
//! A stream at 8 that subscribes to `c` by the id of event 4 has two parts: its earlier topics after 8, and `c` after
//! 4. Its cursor rewinds to 4. When the cursor is at 8 again the parts do not differ any more, and are removed.
//!
//! An event is *settled* for a part if the stream was sent the event or a `gap` event for it, or begins after it.

use super::glob::Glob;
use super::resume_point::ResumePoint;
use super::tombstones::Evicted;
use super::topics::{TopicId, Topics};
use super::FirstBlock;
use std::sync::Arc;

/// The parts of a cursor.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The parts in the order of their subscriptions. Of the parts that have the same channel, the first one decides
    /// which of its events are sent.
    pub(super) list: Vec<Part>,
    /// Channels that the stream has unsubscribed from, with events that are still to be sent. They precede the list.
    pub(super) unsubscribed: Vec<UnsubscribedChannel>,
    /// Patterns that the stream has unsubscribed from. The hub keeps nothing else of removed channels.
    pub(super) unsubscribed_patterns: Vec<UnsubscribedPattern>,
    /// The resume point of each part of the list. [`begin`](super::Hub::begin) makes the parts effective and empties this.
    pub(super) resume_points: Vec<ResumePoint>,
    /// What the stream is sent when the parts are made effective first.
    pub(super) first_block: FirstBlock,
    /// The stream was sent a `gap` event for evictions through this number. Each event up to it is followed by a
    /// position that says so.
    pub(super) reported_through: u64,
    /// The number of parts that the cursor has had.
    pub(super) serials: u64,
    /// The position of the stream before it rewound for events of new topics.
    pub(super) rewound_from: u64,
}

/// Topics that a stream subscribed to by one request.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) topics: Topics,
    /// Distinguishes the part from all others that the cursor has had. Later parts have greater serials.
    pub(super) serial: u64,
    pub(super) extent: Extent,
}

/// The entries that are still to be sent of a part or of an unsubscribed channel, and the evictions that it does not
/// miss.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    /// Entries up to this number are not sent: the stream has been sent them, or begins after them.
    pub(super) after: u64,
    /// The evictions that the stream does not miss.
    pub(super) baseline: Baseline,
    /// Up to this number all entries that the logs hold are sent, superseded ones included: the client has asked for
    /// them.
    pub(super) uncompacted_through: u64,
}

/// The evictions that a stream does not miss: those through a sequence number, up to a time on the eviction clock.
///
/// Its client received a `gap` event for them, or began after them. Say a client begins with all history, and `a` has
/// evicted through 3. The log of `b` still holds 1 and 2, and the client is sent these. It received no `gap` event,
/// so if `b` evicts 1 and 2 later, before the client is sent them, it misses them though the baseline is 3: that
/// eviction is later than the baseline's time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Baseline {
    pub(super) through: u64,
    /// `u64::MAX` if the time of an eviction does not matter.
    pub(super) clock: u64,
}

/// A channel that the stream has unsubscribed from while some of its events were still to be sent.
///
/// All events of the channel through `until` are settled for the parts that the cursor had then. A later part may ask
/// for the older ones again.
#[derive(Debug)]
pub(super) struct UnsubscribedChannel {
    /// The slot of the channel.
    pub(super) channel: usize,
    /// Distinguishes the channel from a later one in the same slot.
    pub(super) channel_serial: u64,
    /// The channel's name. The hub keeps only that of a removed channel.
    pub(super) name: Arc<[u8]>,
    pub(super) until: u64,
    /// The serial of the last part that the cursor had then.
    pub(super) last_part: u64,
    pub(super) extent: Extent,
}

/// A pattern that the stream has unsubscribed from. The parts that the cursor had then need no event of a matching
/// channel through a sequence number: these are settled.
#[derive(Debug)]
pub(super) struct UnsubscribedPattern {
    pub(super) glob: Glob,
    pub(super) through: u64,
    /// The serial of the last part that the cursor had then.
    pub(super) last_part: u64,
}

impl Baseline {
    /// Evictions through the returned number are never missed, not even later ones. It is 0 if the baseline has a time.
    pub(super) fn settled_through(self) -> u64 {
        if self.clock == u64::MAX {
            self.through
        } else {
            0
        }
    }

    /// Returns the baseline after a `gap` event for evictions through a sequence number.
    pub(super) fn reported(self, through: u64) -> Self {
        Self { through: self.through.max(through), clock: u64::MAX }
    }

    /// Returns true if a stream misses events by an eviction. Entries up to `after` are not sent to it.
    pub(super) fn misses(self, after: u64, evicted: Evicted) -> bool {
        evicted.through > after && (evicted.through > self.through || evicted.clock > self.clock)
    }
}

impl Extent {
    /// Returns the sequence number through which all events are settled.
    pub(super) fn settled_through(&self) -> u64 {
        self.after.max(self.baseline.settled_through())
    }
}

impl Parts {
    /// The largest number of parts. Each change of topics adds to them while the client does not read.
    const MOST: usize = 8192;

    /// Adds a part, whose events after a sequence number are to be sent. Returns its index in the list.
    pub(super) fn add(&mut self, topics: Topics, after: u64) -> usize {
        self.serials += 1;
        self.list.push(Part { topics, serial: self.serials, extent: Extent { after, ..Extent::default() } });
        self.list.len() - 1
    }

    /// Records that the stream is sent a `gap` event for evictions through a sequence number. It misses none of these,
    /// whenever they happen.
    pub(super) fn report(&mut self, through: u64) {
        self.reported_through = self.reported_through.max(through);
        let extents = self.list.iter_mut().map(|part| &mut part.extent);
        for extent in extents.chain(self.unsubscribed.iter_mut().map(|channel| &mut channel.extent)) {
            extent.baseline = extent.baseline.reported(through);
        }
    }

    /// Returns the next sequence number after `seq` at which a stage of the replay through the stream's buffer ends.
    pub(super) fn boundary(&self, seq: u64) -> Option<u64> {
        let extents = self.list.iter().map(|part| &part.extent);
        let extents = extents.chain(self.unsubscribed.iter().map(|channel| &channel.extent));
        let uncompacted = extents.map(|extent| extent.uncompacted_through);
        uncompacted.chain([self.reported_through, self.rewound_from]).filter(|at| *at > seq).min()
    }

    /// Returns true if there is only one part, and nothing of unsubscribed topics.
    pub(super) fn is_one(&self) -> bool {
        self.list.len() == 1 && self.unsubscribed.is_empty() && self.unsubscribed_patterns.is_empty()
    }

    pub(super) fn is_too_many(&self) -> bool {
        self.list.len() + self.unsubscribed.len() + self.unsubscribed_patterns.len() > Self::MOST
    }

    /// Returns true if an unsubscribed pattern or channel has settled a channel's events through a sequence number for a part.
    pub(super) fn has_settled(&self, part: &Part, channel: &[u8], through: u64) -> bool {
        let settles = |last_part: u64, until: u64| part.serial <= last_part && through <= until;
        let mut patterns = self.unsubscribed_patterns.iter().filter(|left| settles(left.last_part, left.through));
        let mut channels = self.unsubscribed.iter().filter(|left| settles(left.last_part, left.until));
        patterns.any(|left| left.glob.matches(channel)) || channels.any(|left| *left.name == *channel)
    }

    /// Keeps the topics of each part for which a function returns true, and removes the parts without topics.
    pub(super) fn retain_topics(&mut self, is_kept: impl Fn(&TopicId) -> bool) {
        for part in &mut self.list {
            part.topics = part.topics.iter().copied().filter(&is_kept).collect::<Vec<_>>().into();
        }
        let mut list = self.list.iter();
        self.resume_points.retain(|_| list.next().map_or(false, |part| !part.topics.is_empty()));
        self.list.retain(|part| !part.topics.is_empty());
    }

    /// Removes the records that are redundant once the cursor has reached `seq`. Returns true if the parts do not differ
    /// any more.
    pub(super) fn drop_reached(&mut self, seq: u64) -> bool {
        self.unsubscribed.retain(|channel| channel.until > seq);
        self.unsubscribed_patterns.retain(|pattern| pattern.through > seq);
        let is_reached = |part: &Part| part.extent.after.max(part.extent.baseline.through) <= seq;
        self.boundary(seq).is_none() && self.unsubscribed.is_empty() && self.list.iter().all(is_reached)
    }
}

saved!(Parts {
    list,
    unsubscribed,
    unsubscribed_patterns,
    resume_points,
    first_block,
    reported_through,
    serials,
    rewound_from,
});
saved!(Part { topics, serial, extent });
saved!(Extent { after, baseline, uncompacted_through });
saved!(Baseline { through, clock });
saved!(UnsubscribedChannel { channel, name, channel_serial, until, last_part, extent });
saved!(UnsubscribedPattern { glob, through, last_part });
