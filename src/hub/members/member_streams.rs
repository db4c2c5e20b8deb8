//! Which members a stream has.

use crate::stream::StreamId;
use std::collections::BTreeSet;

/// The streams of members, each with the member's slot.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberStreams(BTreeSet<(StreamId, u32)>);

impl MemberStreams {
    /// Returns the slots of a stream's members.
    pub(super) fn of(&self, stream: StreamId) -> impl Iterator<Item = u32> + '_ {
        self.0.range((stream, 0)..=(stream, u32::MAX)).map(|(_, at)| *at)
    }

    /// Adds a stream to a member. Returns false if the member has it already.
    pub(super) fn add(&mut self, stream: StreamId, at: u32) -> bool {
        self.0.insert((stream, at))
    }

    /// Removes a stream from a member.
    pub(super) fn remove(&mut self, stream: StreamId, at: u32) {
        self.0.remove(&(stream, at));
    }

    /// Returns all streams with the slots of their members.
    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, u32)> + '_ {
        self.0.iter().copied()
    }

    /// Gives the slots other numbers.
    pub(super) fn renumber(&mut self, new: impl Fn(u32) -> u32) {
        self.0 = std::mem::take(&mut self.0).into_iter().map(|(stream, at)| (stream, new(at))).collect();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
