//! The cursor of a stream: its topics, and its position in the hub's sequence.

use super::cursor_parts::{Part, Parts};
use super::last_id::LastId;
use super::topics::{TopicId, Topics};
use super::PositionStyle;

/// A stream's topics, and the sequence number up to which it has been sent their events.
///
/// Every event of the topics up to that number has been sent, every later one has not. While this differs between
/// topics, the cursor has [parts](super#several-requests). A cursor never holds events: the backlog of a stream
/// stays in the logs.
#[derive(Debug, Default)]
pub struct Cursor {
    /// The sequence number up to which events have been sent, except as `parts` say.
    pub(super) seq: u64,
    /// The topics that the stream is subscribed to, sorted.
    pub(super) topics: Topics,
    /// The parts, while topics differ in what has been sent.
    pub(super) parts: Option<Box<Parts>>,
    /// Whether the stream is sent only the latest entry of each key: its logs have evicted entries after the cursor.
    pub(super) is_compacted: bool,
    /// How the stream is sent positions.
    pub(super) position: PositionStyle,
    /// The last id that the client was sent.
    pub(super) last_id: LastId,
    /// Whether each event comes after a comment that names its channel.
    pub(super) names_channels: bool,
    /// The topics whose state the stream is sent after a gap.
    pub(super) state_topics: Option<Box<Topics>>,
}

impl Cursor {
    /// Returns true if the stream is not subscribed, and so has nothing left to be sent.
    pub fn is_idle(&self) -> bool {
        self.topics.is_empty()
    }

    /// Returns true if each event comes after a comment that names its channel.
    pub fn names_channels(&self) -> bool {
        self.names_channels
    }

    /// Returns the number of channels and patterns that the stream is subscribed to.
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Returns true if subscriptions are registered that [`begin`](super::Hub::begin) is still to make effective.
    pub fn is_held(&self) -> bool {
        self.parts.as_ref().map_or(false, |parts| !parts.resume_points.is_empty())
    }

    /// Returns the ids, of subscriptions that are still to be made effective, that were unknown when they came.
    pub(super) fn unknown_ids(&self) -> impl Iterator<Item = &[u8]> {
        let points = self.parts.iter().flat_map(|parts| &parts.resume_points);
        points.filter_map(|point| point.unknown_id.as_deref())
    }

    /// Returns true if the next events are sent by [`replay_into_buffer`](super::Hub::replay_into_buffer).
    pub fn replays_through_buffer(&self) -> bool {
        self.parts.as_ref().map_or(false, |parts| parts.boundary(self.seq).is_some())
    }

    /// Returns the sequence number through which the stream is sent the state, and after that a position.
    pub(super) fn state_through(&self) -> Option<u64> {
        self.parts.as_ref().and_then(|parts| parts.state_through())
    }

    /// Returns true if the stream is sent the state after a gap.
    pub(super) fn follows_state(&self) -> bool {
        self.state_topics.is_some()
    }

    /// Adds topics to those whose state the stream follows.
    pub(super) fn follow_state(&mut self, added: &[TopicId]) {
        let before = self.state_topics.take().unwrap_or_default();
        self.state_topics = Some(Box::new([&before, added].concat().into()));
    }

    /// Returns true if the stream is ending.
    pub(super) fn is_ending(&self) -> bool {
        self.parts.as_ref().map_or(false, |parts| parts.is_ending)
    }

    /// Returns true if the stream is ending and was sent all that was published before.
    pub(super) fn has_ended(&self) -> bool {
        self.parts.as_ref().map_or(false, |parts| parts.is_ending && parts.list.is_empty())
    }

    /// Returns the parts. A cursor without parts gets one with all its topics.
    pub(super) fn ensure_parts(&mut self) -> &mut Parts {
        let Self { seq, topics, parts, .. } = self;
        parts.get_or_insert_with(|| {
            let mut parts = Parts::default();
            if !topics.is_empty() {
                parts.list.push(Part::new(topics.to_vec().into(), *seq));
            }
            Box::new(parts)
        })
    }

    /// Advances the cursor to a sequence number, and removes the parts if they no longer differ.
    pub(super) fn advance(&mut self, seq: u64) {
        self.seq = seq;
        let parts = match &mut self.parts {
            Some(parts) if parts.resume_points.is_empty() => parts,
            _ => return,
        };
        if parts.drop_reached(seq) {
            self.parts = None;
        }
    }
}

saved!(Cursor { seq, topics, parts, is_compacted, position, last_id, names_channels, state_topics });
