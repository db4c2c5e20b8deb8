//! Handing over to another program: who is here, and for which streams.
//!
//! A member stays while its streams continue, or while their clients come back: meanwhile a stream that has ended counts as
//! one that is here (`away`).

use super::member::Member;
use super::{MemberKey, Members};
use crate::hub::presence::{KeptMember, MemberRequest, Presence};
use crate::stream::StreamId;
use std::time::Instant;

/// A member of a hub without a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedMember {
    /// The channel.
    pub channel: Box<[u8]>,
    /// The member.
    pub id: Box<[u8]>,
    /// True if it is counted only.
    pub is_counted: bool,
    /// The things that are known of it.
    pub kept: KeptMember,
}

impl Members {
    /// Returns the members that are here.
    pub fn handed(&self) -> impl Iterator<Item = HandedMember> + '_ {
        let here = self.lists.slots().filter(|(_, member)| member.is_here());
        here.map(|(_, member)| HandedMember {
            channel: (*member.common.channel).into(),
            id: member.id().into(),
            is_counted: member.is_counted,
            kept: member.kept(),
        })
    }

    /// Returns the numbers of members that streams were told, and when they may be told of another one.
    pub fn published_counts(&self) -> impl Iterator<Item = (&[u8], usize, Instant)> {
        self.counts.published()
    }

    /// Returns the members and the wills of streams, in the order in which these have begun. They change nothing of a member
    /// who is here.
    pub fn presences(&self) -> Vec<(StreamId, Presence)> {
        let of_member = |(stream, at)| {
            let member = self.lists.get(at).filter(|member| member.is_here())?;
            Some((stream, Presence { member: Some(member.repeated().into()), will: None }))
        };
        let wills = self.wills.iter();
        let of_wills = wills.map(|(stream, will)| (*stream, Presence { member: None, will: Some(will.clone()) }));
        let mut all: Vec<_> = self.streams.iter().filter_map(of_member).chain(of_wills).collect();
        all.sort_by_key(|(stream, _)| u64::from(*stream));
        all
    }

    /// Returns the streams that are away, each with the time that its client has, and whether another one has come in its
    /// place.
    pub fn away(&self) -> impl Iterator<Item = (StreamId, Instant, bool)> + '_ {
        self.away.iter()
    }

    /// Lets a stream that has members wait until its client is back, for which another one has perhaps come already.
    pub fn await_return(&mut self, stream: StreamId, until: Instant, is_back: bool) {
        let members = self.members_of(stream);
        self.away.add(stream, until, &members, is_back);
    }

    /// Lets a new stream of a member take the place of one that is away, if there is one.
    pub(super) fn replace_away(&mut self, new: StreamId, at: u32) {
        let Self { away, wills, .. } = self;
        let has_its_will = |stream: StreamId| wills.get(&stream) == wills.get(&new);
        if let Some(stream) = away.place_for(new, at, has_its_will) {
            let members = self.members_of(stream);
            self.away.replace(stream, &members, new);
        }
    }

    /// Continues with a member, which lingers until a time: its streams follow.
    pub fn resume_member(&mut self, handed: &HandedMember, until: Instant) {
        let HandedMember { channel, id, is_counted, kept } = handed;
        let common = self.lists.common(channel, id, &kept.leave);
        let mut member = Member::new(id, *is_counted, kept.clone(), common);
        member.is_own = true;
        let at = self.lists.add(member);
        self.lingering.set(at, until);
    }

    /// Continues with a member that lingers until a time.
    pub fn resume_linger(&mut self, key: &MemberKey, until: Instant) {
        if let Some((at, _)) = self.find_mut(key) {
            self.lingering.set(at, until);
        }
    }

    /// Continues with the number of a channel that streams were told. They may be told of another one at a time.
    pub fn resume_count(&mut self, channel: &[u8], number: usize, next: Instant) {
        self.counts.resume(self.lists.channel(channel), number, next);
    }

    /// Continues with the time at which streams may be told of another number. The store has told the last number.
    pub fn resume_count_time(&mut self, channel: &[u8], next: Instant) {
        if let Some(number) = self.counts.number(channel) {
            self.resume_count(channel, number, next);
        }
    }
}

impl Member {
    /// Returns a request of a stream of this member that changes nothing.
    fn repeated(&self) -> MemberRequest {
        let KeptMember { linger, data, leave, .. } = self.kept();
        MemberRequest {
            channel: (*self.common.channel).into(),
            id: self.id().into(),
            linger,
            is_counted: self.is_counted,
            data,
            join: self.here.as_ref().map(|here| here.event.clone()).unwrap_or_default(),
            update: Default::default(),
            leave,
        }
    }
}
