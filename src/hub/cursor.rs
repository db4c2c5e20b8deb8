//! The cursor of a stream: its topics, and its position in the hub's sequence. While topics differ in what is to be sent, it
//! has parts.
//!
//! Each group of topics that begin alike is a part: its topics, and the sequence number after which their events are sent. The
//! parts are removed when the cursor has reached all of these numbers.

use super::channels::{TopicId, Topics};
use super::ids::LastId;
use super::{FirstBlock, PositionStyle};

/// A stream's topics, and the sequence number up to which it has been sent their events.
///
/// Every event of the topics up to that number has been sent, every later one has not. While this differs between
/// topics, the cursor has [parts](crate::hub#several-requests). A cursor never holds events: the backlog of a stream
/// stays in the logs.
#[derive(Debug, Default)]
pub struct Cursor {
    /// The sequence number up to which events have been sent, except as `parts` say.
    pub(in crate::hub) seq: u64,
    /// The topics that the stream is subscribed to, sorted.
    pub(in crate::hub) topics: Topics,
    /// The parts, while topics differ in what has been sent.
    pub(in crate::hub) parts: Option<Box<Parts>>,
    /// True if the stream is sent only the latest entry of each key: its logs have evicted entries after the cursor.
    pub(in crate::hub) is_compacted: bool,
    /// The form of the stream's positions.
    pub(in crate::hub) position: PositionStyle,
    /// The last id that the client was sent.
    pub(in crate::hub) last_id: LastId,
    /// True if each event comes after a comment that names its channel.
    pub(crate) names_channels: bool,
    /// True if the stream is sent the state after a gap: of all topics, or of those that `parts` name.
    pub(in crate::hub) follows_state: bool,
    /// The wait of the stream, if it is a poll.
    pub(in crate::hub) waiting: Waiting,
    /// True if the stream was sent something that is new to its client, for a poll.
    pub(in crate::hub) has_news: bool,
}

/// The wait of a stream, if it is a poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::hub) enum Waiting {
    /// It is not a poll.
    #[default]
    No,
    /// It waits for something new.
    ForNews,
    /// It has waited for long enough: it ends as soon as it was sent everything.
    Over,
}

impl Cursor {
    /// Returns true if the stream is not subscribed, and so has nothing left to be sent.
    pub fn is_idle(&self) -> bool {
        self.topics.is_empty()
    }

    /// Records that the application has pushed an id to the stream itself. No position replaces it.
    pub fn record_pushed_id(&mut self) {
        self.last_id = LastId::new(self.last_id.seq(), true);
    }

    /// Returns the sequence number of the client's last id, and the one up to which the stream was sent.
    pub fn place(&self) -> (u64, u64) {
        (self.last_id.seq(), self.seq)
    }

    /// Returns the number of channels and patterns that the stream is subscribed to.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Returns true if subscriptions are registered that [`begin`](crate::hub::Hub::begin) is still to make effective.
    pub fn is_held(&self) -> bool {
        self.parts.as_ref().map_or(false, |parts| !parts.resume_points.is_empty())
    }

    /// Returns the parts that are still to be made effective, each with its resume point.
    pub(in crate::hub) fn points(&self) -> impl Iterator<Item = (&Part, &ResumePoint)> {
        self.parts.iter().flat_map(|parts| parts.list.iter().zip(&parts.resume_points))
    }

    /// Returns true if the next events are sent by [`replay_into_buffer`](crate::hub::Hub::replay_into_buffer).
    pub fn has_replay(&self) -> bool {
        self.parts.as_ref().map_or(false, |parts| parts.boundary(self.seq).is_some())
    }

    /// Returns true if the position that says that the state is complete is in the stream's buffer. The stream follows the
    /// logs once that is sent.
    pub fn is_completion_queued(&self) -> bool {
        self.parts.as_ref().and_then(|parts| parts.kept).map_or(false, |kept| kept.is_completion_queued)
    }

    /// Returns the sequence number through which the stream is sent the state, and after that a position.
    pub(in crate::hub) fn state_through(&self) -> Option<u64> {
        self.parts.as_ref().and_then(|parts| parts.state_through())
    }

    /// Returns the sequence number through which the stream was sent the state, while it is sent that.
    pub fn state_seq(&self) -> Option<u64> {
        self.state_through().map(|_| self.seq)
    }

    /// Returns the parts, while topics differ in what is to be sent.
    pub(in crate::hub) fn parts(&self) -> Option<&Parts> {
        self.parts.as_deref().filter(|parts| !parts.is_uniform())
    }

    /// Records whether the stream follows the state of topics that were added to it.
    pub(in crate::hub) fn record_state(&mut self, added: &[TopicId], follows: bool) {
        if !follows && !self.follows_state {
            return;
        }
        let mut state = if self.follows_state { self.state_topics(added) } else { Vec::new() };
        if follows {
            state.extend_from_slice(added);
        }
        state.sort_unstable();
        let some = if state.len() < self.topics.len() { state } else { Vec::new() };
        self.follows_state = true;
        if !some.is_empty() || self.parts.is_some() {
            self.parts.get_or_insert_with(Box::default).state_topics = some.into();
        }
    }

    /// Returns the topics whose state the stream follows, without some that were added to it.
    pub(in crate::hub) fn state_topics(&self, added: &[TopicId]) -> Vec<TopicId> {
        let some = self.parts.as_ref().map(|parts| &parts.state_topics).filter(|some| !some.is_empty());
        let topics = some.unwrap_or(&self.topics).iter().copied();
        topics.filter(|topic| added.binary_search(topic).is_err()).collect()
    }

    /// Returns true if the stream is ending.
    pub(in crate::hub) fn is_ending(&self) -> bool {
        self.parts.as_ref().map_or(false, |parts| parts.is_ending)
    }

    /// Returns true if the stream is ending and was sent all that was published before.
    pub(in crate::hub) fn has_ended(&self) -> bool {
        self.parts.as_ref().map_or(false, |parts| parts.is_ending && parts.list.is_empty())
    }

    /// Returns the parts. A cursor without parts gets one with all its topics.
    pub(in crate::hub) fn ensure_parts(&mut self) -> &mut Parts {
        let Self { seq, topics, parts, .. } = self;
        let parts = parts.get_or_insert_with(Box::default);
        if parts.is_uniform() && !topics.is_empty() {
            parts.list.push(Part::new(topics.to_vec().into(), *seq));
        }
        parts
    }

    /// Advances the cursor to a sequence number, and removes the parts if they no longer differ.
    pub(in crate::hub) fn advance(&mut self, seq: u64) {
        self.seq = seq;
        let parts = match &mut self.parts {
            Some(parts) if parts.resume_points.is_empty() => parts,
            _ => return,
        };
        if parts.drop_reached(seq) {
            let state_topics = std::mem::take(&mut parts.state_topics);
            let has_some = !state_topics.is_empty();
            self.parts = has_some.then(|| Box::new(Parts { state_topics, ..Parts::default() }));
        }
    }
}

/// The parts of a cursor.
#[derive(Debug, Default)]
pub(in crate::hub) struct Parts {
    /// The parts in the order in which they came. A stream is sent an event that is due for any of them.
    pub(in crate::hub) list: Vec<Part>,
    /// True if a channel of several parts is sent as the first of them says: they are those with which the stream began.
    pub(in crate::hub) is_ordered: bool,
    /// The resume point of each part of the list. [`begin`](crate::hub::Hub::begin) makes the parts effective and empties this.
    pub(in crate::hub) resume_points: Vec<ResumePoint>,
    /// The first block, which the stream is sent when the parts are made effective.
    pub(in crate::hub) first_block: FirstBlock,
    /// The stream was sent a `gap` event for evictions through this number. Each event up to it is followed by a
    /// position that says so. While a stream is sent the state: the ids of entries up to it say how much of that came.
    pub(in crate::hub) reported_through: u64,
    /// True if the stream ends when all parts are sent. Each part then has one channel.
    pub(in crate::hub) is_ending: bool,
    /// The topics whose state the stream follows, sorted, if it does not follow that of all.
    pub(in crate::hub) state_topics: Topics,
    /// The snapshots that the stream holds while it is sent the state.
    pub(in crate::hub) kept: Option<KeptSnapshots>,
}

/// The sequence numbers as of which a stream is sent the state (`state_phases`).
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct KeptSnapshots {
    /// The stream has the state as of this number, and is sent what has changed since.
    pub(in crate::hub) since: Option<u64>,
    /// It is sent the state as of this number.
    pub(in crate::hub) through: u64,
    /// The stream ends with the state as of this number, after another phase.
    pub(in crate::hub) end: Option<u64>,
    /// The last sequence number when the stream began with the state.
    pub(in crate::hub) began: u64,
    /// True if the position that says that the state is complete is in the stream's buffer. The stream follows the logs once
    /// that is sent.
    pub(in crate::hub) is_completion_queued: bool,
}

impl KeptSnapshots {
    /// Returns all of these numbers.
    pub(in crate::hub) fn snapshots(&self) -> impl Iterator<Item = u64> {
        [self.since, Some(self.through), self.end].into_iter().flatten()
    }
}

/// The last event id that a client has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum ClientId {
    /// The client is new: it has sent none, and so has missed nothing.
    None,
    /// The hub does not know it. The request's `start` determines the resume point.
    Unknown,
    /// The hub knows it.
    Known,
    /// The hub knows it, and it says that the client is still to receive a `gap` event.
    BeforeGap,
}

/// The beginning of a subscription in the hub's sequence.
#[derive(Debug)]
pub(in crate::hub) struct ResumePoint {
    /// The sequence number after which it begins.
    pub(in crate::hub) seq: u64,
    /// Evictions through this number need no `gap` event.
    pub(in crate::hub) reported_through: u64,
    pub(in crate::hub) client_id: ClientId,
    /// The id, if it is unknown. The hub may know it when it has read more of its store.
    pub(in crate::hub) unknown_id: Option<Box<[u8]>>,
    /// True if the request starts with the state.
    pub(in crate::hub) follows_state: bool,
}

impl ResumePoint {
    pub(in crate::hub) fn is_new_client(&self) -> bool {
        self.client_id == ClientId::None
    }

    /// Returns true if the client's id determines the resume point.
    pub(in crate::hub) fn has_known_id(&self) -> bool {
        matches!(self.client_id, ClientId::Known | ClientId::BeforeGap)
    }

    /// Returns the sequence number through which the client has the state as of [`seq`](Self::seq), if it was not told that it
    /// is complete.
    pub(in crate::hub) fn state_after(&self) -> Option<u64> {
        Some(self.reported_through).filter(|after| self.follows_state && *after > 0 && *after <= self.seq)
    }

    /// Returns true if a held stream is still to be sent an entry of the part. A state is that of when the stream begins.
    pub(in crate::hub) fn needs(&self, seq: u64) -> bool {
        let is_state = self.follows_state && !self.has_known_id();
        self.unknown_id.is_some() || seq > self.seq && !is_state
    }

    /// Returns true if the client receives a `gap` event whatever was evicted.
    pub(in crate::hub) fn has_gap(&self) -> bool {
        matches!(self.client_id, ClientId::Unknown | ClientId::BeforeGap)
    }
}

/// Topics that begin alike.
#[derive(Debug)]
pub(in crate::hub) struct Part {
    pub(in crate::hub) topics: Topics,
    pub(in crate::hub) extent: Extent,
}

/// The entries that are still to be sent of a part, and the evictions that it does not miss.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct Extent {
    /// Entries up to this number are not sent: the stream has been sent them, or begins after them.
    pub(in crate::hub) after: u64,
    /// Entries after this number are not sent: the stream has ended before they were published.
    pub(in crate::hub) until: u64,
    /// The evictions that the stream does not miss.
    pub(in crate::hub) baseline: Baseline,
    /// Up to this number all entries that the logs hold are sent, superseded ones included: the client has asked for
    /// them.
    pub(in crate::hub) uncompacted_through: u64,
    /// The state is sent as of this number, if there is one.
    pub(in crate::hub) state_through: Option<u64>,
    /// While the state is sent: of entries through this number only those of the state are sent, of later ones all that the
    /// log holds. Otherwise: a client that resumes, perhaps in the middle of the state, has all of it once it was sent the
    /// entries through this number; 0 if it was told so.
    pub(in crate::hub) state_since: u64,
}

/// The evictions that a stream does not miss: those through a sequence number, up to a time on the eviction clock.
///
/// Its client received a `gap` event for them, or began after them. Say a client begins with all history, and `a` has
/// evicted through 3. The log of `b` still holds 1 and 2, and the client is sent these. It received no `gap` event,
/// so if `b` evicts 1 and 2 later, before the client is sent them, it misses them though the baseline is 3: that
/// eviction is later than the baseline's time.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::hub) struct Baseline {
    pub(in crate::hub) through: u64,
    /// `u64::MAX` if the time of an eviction does not matter.
    pub(in crate::hub) clock: u64,
}

impl Part {
    /// Creates a part of which all events after a sequence number are to be sent.
    pub(in crate::hub) fn new(topics: Topics, after: u64) -> Self {
        let (until, baseline) = (u64::MAX, Baseline::default());
        let extent = Extent { after, until, baseline, uncompacted_through: 0, state_through: None, state_since: 0 };
        Self { topics, extent }
    }

    /// Creates a part of which the state as of a sequence number is to be sent, and then all events.
    pub(in crate::hub) fn of_state(topics: Topics, through: u64) -> Self {
        let mut part = Self::new(topics, 0);
        part.extent.state_since = through;
        part.extend_state(through);
        part
    }

    /// Lets the state be that as of a sequence number. What was evicted before needs no `gap` event.
    pub(in crate::hub) fn extend_state(&mut self, through: u64) {
        self.extent.state_through = Some(through);
        self.extent.baseline = Baseline { through, clock: u64::MAX };
    }
}

impl Parts {
    /// Records that the stream is sent a `gap` event for evictions through a sequence number. It misses none of these,
    /// whenever they happen.
    pub(in crate::hub) fn record_gap(&mut self, through: u64) {
        self.reported_through = self.reported_through.max(through);
        for Part { extent: Extent { baseline, .. }, .. } in &mut self.list {
            *baseline = Baseline { through: baseline.through.max(through), clock: u64::MAX };
        }
    }

    /// Returns the parts before one of the list if it leaves their channels to them. Only a pattern can have some of these.
    pub(in crate::hub) fn before(&self, at: usize) -> &[Part] {
        let has_pattern = matches!(self.list[at].topics.last(), Some(TopicId::Pattern(_)));
        &self.list[..if self.is_ordered && has_pattern { at } else { 0 }]
    }

    /// Returns the next sequence number after `seq` at which a stage of the replay through the stream's buffer ends.
    pub(in crate::hub) fn boundary(&self, seq: u64) -> Option<u64> {
        let uncompacted = self.list.iter().map(|part| part.extent.uncompacted_through);
        uncompacted.chain([self.reported_through]).filter(|at| *at > seq).min()
    }

    /// Returns true if there are no parts: topics do not differ in what is to be sent.
    pub(in crate::hub) fn is_uniform(&self) -> bool {
        self.list.is_empty() && self.resume_points.is_empty() && !self.is_ending
    }

    /// Returns the sequence number through which the state is sent.
    pub(in crate::hub) fn last_of_state(&self) -> Option<u64> {
        self.list.iter().filter_map(|part| part.extent.state_through).max()
    }

    /// Returns the sequence number as of which the client of a stream that is sent the state has what it was sent of that, if
    /// that is a later one.
    pub(in crate::hub) fn state_as_of(&self) -> Option<u64> {
        let is_first_phase = self.kept.map_or(false, |kept| kept.since.is_none());
        let of_state = self.list.iter().find(|part| part.extent.state_through.is_some())?;
        Some(if is_first_phase { of_state.extent.state_since } else { 0 })
    }

    /// Returns the sequence number through which the client of a resumed stream is sent what it has missed of the state.
    pub(in crate::hub) fn resumed_through(&self) -> Option<u64> {
        let resumed = self.list.iter().filter(|part| part.extent.state_through.is_none());
        resumed.map(|part| part.extent.state_since).max().filter(|through| *through > 0)
    }

    /// Returns the sequence number through which the state, or what was missed of it, is sent, if more than the rest follows:
    /// a position, or another phase. A stream that ends is sent no position.
    pub(in crate::hub) fn state_through(&self) -> Option<u64> {
        let is_followed = self.kept.map_or(false, |kept| kept.end.is_some());
        let through = self.last_of_state().or_else(|| self.resumed_through());
        through.filter(|_| !self.is_ending || is_followed)
    }

    /// Removes the parts that are redundant once the cursor has reached `seq`. Returns true if all are: they differ no more.
    pub(in crate::hub) fn drop_reached(&mut self, seq: u64) -> bool {
        if self.is_ending {
            self.list.retain(|part| part.extent.until > seq);
            return false; // an empty list says that the stream has ended
        }
        let is_reached = |part: &Part| part.extent.after.max(part.extent.baseline.through) <= seq;
        self.boundary(seq).is_none() && self.state_through().is_none() && self.list.iter().all(is_reached)
    }
}
