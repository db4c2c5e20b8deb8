//! Streams that have ended with the program before an upgrade: their clients have a time in which they may come back, and until
//! then such a stream counts as one that is here.
//!
//! A client that comes back has a new stream, and nobody says which one it has had. So a new stream of a member takes the place
//! of one that is away: of one with the same will, if there is one, otherwise of the first. The will of a stream in whose place
//! no other one has come is published when its time is over.

use crate::stream::StreamId;
use crate::wait_list::WaitList;
use std::collections::BTreeSet;
use std::time::Instant;

/// The streams that are away.
#[derive(Clone, Debug, Default)]
pub(super) struct AwayStreams {
    /// All of them, each with the time that its client has.
    all: WaitList<StreamId, Instant>,
    /// Those in whose place no stream has come, by the slots of their members.
    missing: BTreeSet<(u32, StreamId)>,
    /// The others.
    replaced: BTreeSet<StreamId>,
    /// The streams that have come in their place.
    back: BTreeSet<StreamId>,
}

impl AwayStreams {
    /// Adds a stream with its members, in whose place another one has perhaps come already.
    pub(super) fn add(&mut self, stream: StreamId, until: Instant, members: &[u32], is_replaced: bool) {
        self.all.set(stream, until);
        match is_replaced {
            true => drop(self.replaced.insert(stream)),
            false => self.missing.extend(members.iter().map(|at| (*at, stream))),
        }
    }

    /// Returns the stream that is away in whose place a new stream of a member comes: one with the same will, or the first. A
    /// new stream has one such place, however many members it has.
    pub(super) fn place_for(
        &self,
        new: StreamId,
        at: u32,
        has_its_will: impl Fn(StreamId) -> bool,
    ) -> Option<StreamId> {
        if self.missing.is_empty() || self.back.contains(&new) {
            return None;
        }
        let (first, last) = (StreamId { slot: 0, serial: 0 }, StreamId { slot: u32::MAX, serial: u32::MAX });
        let mut missing = self.missing.range((at, first)..=(at, last)).map(|(_, stream)| *stream);
        let first = missing.clone().next();
        missing.find(|stream| has_its_will(*stream)).or(first)
    }

    /// Lets a new stream take the place of one that is away, and has these members.
    pub(super) fn replace(&mut self, stream: StreamId, members: &[u32], new: StreamId) {
        self.replaced.insert(stream);
        self.back.insert(new);
        members.iter().for_each(|at| self.remove_member(stream, *at));
    }

    /// Returns true if another stream has come in the place of this one.
    pub(super) fn is_replaced(&self, stream: StreamId) -> bool {
        self.replaced.contains(&stream)
    }

    /// Called when a stream has a member no more.
    pub(super) fn remove_member(&mut self, stream: StreamId, at: u32) {
        self.missing.remove(&(at, stream));
    }

    /// Takes the first stream whose time is over. Returns whether another one has come in its place.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(StreamId, bool)> {
        let stream = self.all.take_due(now)?;
        let is_replaced = self.replaced.remove(&stream);
        if self.all.first().is_none() {
            self.back.clear();
        }
        Some((stream, is_replaced))
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.all.first()
    }

    /// Returns the streams, each with the time that its client has, and whether another one has come in its place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, Instant, bool)> + '_ {
        self.all.iter().map(|(until, stream)| (*stream, *until, self.is_replaced(*stream)))
    }

    /// Gives the slots of members other numbers.
    pub(super) fn renumber(&mut self, new: impl Fn(u32) -> u32) {
        self.missing = std::mem::take(&mut self.missing).into_iter().map(|(at, stream)| (new(at), stream)).collect();
    }
}
