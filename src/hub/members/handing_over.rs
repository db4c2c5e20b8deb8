//! Handing over to another program: who is here, and for which streams.
//!
//! A member stays while its streams continue, or while their clients come back: meanwhile a stream that has ended counts as
//! one that is here ([`end_away`](Members::end_away)).

use super::member::Member;
use super::Members;
use crate::hub::presence::{Announcement, KeptMember, MemberRequest, Presence};
use crate::stream::{after, StreamId};
use std::time::{Duration, Instant};

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
    /// For how long it lingers still, if it does.
    pub rest: Option<Duration>,
}

impl Members {
    /// Returns the members that are here.
    pub fn handed(&self, now: Instant) -> impl Iterator<Item = HandedMember> + '_ {
        let here = self.lists.slots().filter(|(_, member)| member.is_here());
        here.map(move |(at, member)| HandedMember {
            channel: (*member.common.channel).into(),
            id: member.id().into(),
            is_counted: member.is_counted,
            kept: member.kept(),
            rest: self.lingering.get(&at).map(|at| at.saturating_duration_since(now)),
        })
    }

    /// Returns the numbers of members that streams were told.
    pub fn published_counts(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.counts.published()
    }

    /// Returns the members and the wills of streams. They change nothing of a member who is here.
    pub fn presences(&self) -> Vec<(StreamId, Presence)> {
        let of_member = |(stream, at)| {
            let member = self.lists.get(at).filter(|member| member.is_here())?;
            Some((stream, Presence { member: Some(member.repeated().into()), will: None }))
        };
        let wills = self.wills.iter();
        let of_wills = wills.map(|(stream, will)| (*stream, Presence { member: None, will: Some(will.clone()) }));
        self.streams.iter().filter_map(of_member).chain(of_wills).collect()
    }

    /// Continues with a member, which lingers: its streams follow.
    pub fn resume_member(&mut self, handed: &HandedMember, wait: Duration, now: Instant) {
        let HandedMember { channel, id, is_counted, kept, rest } = handed;
        let common = self.lists.common(channel, id, &kept.leave);
        let mut member = Member::new(id, *is_counted, kept.clone(), common);
        member.is_own = true;
        let at = self.lists.add(member);
        self.lingering.set(at, after(now, rest.unwrap_or(wait)));
    }

    /// Continues with the number of a channel that streams were told.
    pub fn resume_count(&mut self, channel: &[u8], number: usize, now: Instant) {
        self.counts.resume(self.lists.channel(channel), number, now);
    }

    /// Ends a stream whose client was to come back. If it has, another stream has its member: then its will is none.
    pub fn end_away(&mut self, stream: StreamId, now: Instant, out: &mut Vec<Announcement>) {
        let members = self.members_of(stream);
        let has_other = |at: &u32| self.lists.get(*at).map_or(false, |member| member.streams > 1);
        let is_back = members.iter().any(has_other);
        self.end_stream(stream, is_back, now, out);
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
