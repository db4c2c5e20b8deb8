//! The cursor of a stream: its topics, and its position in the hub's sequence.

pub(super) mod parts;

use crate::hub::channels::{TopicId, Topics};

use crate::hub::ids::LastId;
use crate::hub::PositionStyle;
use parts::{Part, Parts, ResumePoint};

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
    /// Whether the stream is sent only the latest entry of each key: its logs have evicted entries after the cursor.
    pub(in crate::hub) is_compacted: bool,
    /// How the stream is sent positions.
    pub(in crate::hub) position: PositionStyle,
    /// The last id that the client was sent.
    pub(in crate::hub) last_id: LastId,
    /// Whether each event comes after a comment that names its channel.
    pub(in crate::hub) names_channels: bool,
    /// Whether the stream is sent the state after a gap: of all topics, or of those that `parts` name.
    pub(in crate::hub) follows_state: bool,
    /// Whether the stream is a poll.
    pub(in crate::hub) waiting: Waiting,
    /// Whether the stream was sent something that is new to its client, for a poll.
    pub(in crate::hub) has_news: bool,
}

/// Whether a stream is a poll, and how long it waits.
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

    /// Returns true if each event comes after a comment that names its channel.
    pub fn has_channel_names(&self) -> bool {
        self.names_channels
    }

    /// Records that the application has pushed an id to the stream itself. No position replaces it.
    pub fn record_custom_id(&mut self) {
        self.last_id = LastId::new(self.last_id.seq(), true);
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

    /// Returns the ids, of subscriptions that are still to be made effective, that were unknown when they came.
    pub(in crate::hub) fn unknown_ids(&self) -> impl Iterator<Item = &[u8]> {
        self.points().filter_map(|(_, point)| point.unknown_id.as_deref())
    }

    /// Returns true if the next events are sent by [`replay_into_buffer`](crate::hub::Hub::replay_into_buffer).
    pub fn has_replay(&self) -> bool {
        self.parts.as_ref().map_or(false, |parts| parts.boundary(self.seq).is_some())
    }

    /// Returns true if the position that says that the state is complete is in the stream's buffer. The stream follows the
    /// logs once that is sent.
    pub fn is_completion_queued(&self) -> bool {
        self.parts.as_ref().and_then(|parts| parts.held).map_or(false, |held| held.is_completion_queued)
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
