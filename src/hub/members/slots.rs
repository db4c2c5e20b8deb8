//! The members of all channels in numbered slots, so that lists of them are lists of small numbers; and which of them a stream
//! has.

use crate::hub::members::member::Member;
use crate::stream::StreamId;
use std::collections::BTreeSet;

/// Members by the numbers of their slots. A free slot is used again.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// In parts, all of them with as many slots: one list would take up to twice the memory while it grows.
    parts: Vec<Box<[Option<Member>]>>,
    free: Vec<u32>,
}

impl Slots {
    /// The slots of a part.
    const PART: usize = if cfg!(test) { 2 } else { 64 };

    fn slot(&mut self, at: u32) -> Option<&mut Option<Member>> {
        self.parts.get_mut(at as usize / Self::PART)?.get_mut(at as usize % Self::PART)
    }

    pub(super) fn get(&self, at: u32) -> Option<&Member> {
        self.parts.get(at as usize / Self::PART)?.get(at as usize % Self::PART)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Member> {
        self.slot(at)?.as_mut()
    }

    /// Returns the id of a member.
    pub(super) fn id(&self, at: u32) -> &[u8] {
        self.get(at).map_or(&[], Member::id)
    }

    pub(super) fn add(&mut self, member: Member) -> u32 {
        if self.free.is_empty() {
            let slots = (self.parts.len() * Self::PART) as u32;
            self.free.extend((slots..slots + Self::PART as u32).rev());
            self.parts.push((0..Self::PART).map(|_| None).collect());
        }
        let at = self.free.pop().unwrap_or(0);
        if let Some(slot) = self.slot(at) {
            *slot = Some(member);
        }
        at
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<Member> {
        let member = self.slot(at)?.take()?;
        self.free.push(at);
        Some(member)
    }

    /// Gives back the memory of slots if most are free. Returns the new number of each.
    pub(super) fn pack(&mut self) -> Option<Vec<u32>> {
        if self.free.len() <= 4 * Self::PART || self.free.len() <= self.parts.len() * Self::PART / 2 {
            return None;
        }
        let Self { parts, .. } = std::mem::take(self);
        let members = parts.into_iter().flat_map(<[_]>::into_vec);
        Some(members.map(|member| member.map_or(0, |member| self.add(member))).collect())
    }

    /// Returns the members with their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Member)> {
        (0..).zip(self.parts.iter().flat_map(|part| &**part)).filter_map(|(at, member)| Some((at, member.as_ref()?)))
    }
}

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
