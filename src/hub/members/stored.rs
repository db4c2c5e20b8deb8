//! What the store of a hub tells of members, in its order, for all machines.

use super::super::presence::{kept_channel, room_of, KeptMember};
use super::member::Member;
use super::Members;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A member that lingers: its channel, as a store keeps it, and its id; and when it leaves.
pub type LingeringMember = ((Box<[u8]>, Box<[u8]>), Instant);

/// Whether a store has a member: a machine may have had it counted only, and another one announced.
fn stored_bit(is_counted: bool) -> u8 {
    1 << u8::from(is_counted)
}

impl Members {
    /// Returns what a store keeps of a member in a channel.
    pub fn kept_member(&self, channel: &[u8], id: &[u8]) -> Option<KeptMember> {
        self.rooms.get(self.rooms.find(room_of(channel).0, id)?).map(Member::kept)
    }

    /// Lists a member that the store has, which it keeps in a channel. Its data there are those of the list, unless this
    /// machine has still to say something of it.
    pub fn add_stored_member(&mut self, channel: &[u8], id: &[u8], kept: KeptMember) {
        let (channel, is_counted) = room_of(channel);
        if let Some((at, member)) = self.rooms.find_mut(channel, id) {
            member.stored |= stored_bit(is_counted);
            if !self.unconfirmed.note_stored(at, Some(&kept.data)) {
                member.set_data(&kept.data);
            }
            return;
        }
        let mut member = self.new_member((channel, is_counted), id, kept);
        member.stored = stored_bit(is_counted);
        self.rooms.add(member);
    }

    /// Removes a member that the store has no longer, unless it is one of this machine.
    pub fn remove_stored_member(&mut self, channel: &[u8], id: &[u8]) {
        let (channel, is_counted) = room_of(channel);
        if let Some((at, member)) = self.rooms.find_mut(channel, id) {
            member.stored &= !stored_bit(is_counted);
            let is_here = member.is_here(); // one of here is announced again
            self.unconfirmed.note_stored(at, None);
            if !is_here {
                self.remove_member(at);
                self.pack();
            }
        }
    }

    /// Counts the members of a channel again: the store has told that a counted one has come or gone. If this machine has
    /// announced that, it publishes another number, otherwise only if nobody has done so.
    pub fn count_stored_members(&mut self, channel: &[u8], is_own: bool, now: Instant) {
        let channel = self.rooms.channel(room_of(channel).0);
        self.counts.begin(Arc::clone(&channel), now);
        self.counts.note_change(&channel, is_own, now);
    }

    /// Takes note of the number of a channel's members that the store has told.
    pub fn note_stored_number(&mut self, channel: &[u8], number: usize, now: Instant) {
        self.counts.note_published(self.rooms.channel(channel), number, now);
    }

    /// Returns the members that linger here.
    pub fn lingering(&self) -> Vec<LingeringMember> {
        let member = |(at, slot): (Instant, u32)| {
            let member = self.rooms.get(slot)?;
            Some(((kept_channel(&member.common.channel, member.is_counted), member.id().into()), at))
        };
        self.lingering.iter().filter_map(member).collect()
    }

    /// Lets a member linger here whose streams were those of a process, or of a hub, before this one: at most for `rest` if it
    /// has lingered there.
    pub fn adopt_member(
        &mut self,
        channel: &[u8],
        id: &[u8],
        kept: KeptMember,
        (now, rest): (Instant, Option<Duration>),
    ) {
        let room = room_of(channel);
        let at = self.rooms.find(room.0, id).unwrap_or_else(|| {
            let member = self.new_member(room, id, kept);
            self.rooms.add(member)
        });
        if let Some(member) = self.rooms.get_mut(at).filter(|member| !member.is_own) {
            member.is_own = true;
            self.lingering.begin_rest(at, (member.linger(), rest), now);
        }
    }

    fn new_member(&self, (channel, is_counted): (&[u8], bool), id: &[u8], kept: KeptMember) -> Member {
        let common = self.rooms.common(channel, id, &kept.leave);
        let mut member = Member::new(id, kept, common);
        member.is_counted = is_counted;
        member
    }

    /// Removes a member whose event the store has refused. Its streams have no member from here on.
    pub fn refuse_member(&mut self, channel: &[u8], id: &[u8]) {
        self.refused += 1;
        if let Some((at, member)) = self.rooms.find_mut(room_of(channel).0, id) {
            (member.is_own, member.stored) = (false, 0);
            self.remove_member(at);
            self.pack();
        }
    }

    /// Counts an announcement of a member, before its data change, until the store has done it.
    pub(super) fn note_announced(&mut self, at: u32) {
        if self.is_stored {
            let member = self.rooms.get(at).filter(|member| member.is_stored());
            self.unconfirmed.add(at, || member.map(Member::data));
        }
    }

    /// Takes note that the store has answered a number of announcements of a member, and that no more of those wait. If that is
    /// all, the member has the data of the store, also if that has refused a change.
    pub fn confirm_announcements(&mut self, channel: &[u8], id: &[u8], count: u32) {
        if let Some((at, member)) = self.rooms.find_mut(room_of(channel).0, id) {
            if let Some(data) = self.unconfirmed.confirm(at, count) {
                member.set_data(&data);
            }
        }
    }
}
