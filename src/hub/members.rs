//! The members of a hub's channels: who is behind its streams. And the wills of these streams.
//!
//! A stream may have a member, which its application knows by an id in a channel. With its first stream a member *joins*: an
//! event of the channel, retained with the id as its key. A member whose last stream has left *lingers*: if no other stream
//! of it enters in time, the member *leaves*, and the event that says so forgets the key. So who is here is the state of the
//! channel. A member that is counted only has no events of its own: its channel's number of members is published.
//!
//! [`Members`] only decides. Its caller says which streams enter and leave, in their order, tells the time, and publishes the
//! [announcements](Announcement) in the order in which it is given them.
//!
//! In a hub with a store the announcements of members wait for the store, which tells who is here: also members of other
//! machines, and those of a process before (`stored`). A member that it has told stays in the list until it tells that
//! the member has gone. Of counted members it is told in a channel that no stream reads.
//!
//! Its parts own what they decide: who is in which channel (`member_lists`), which members a stream has (`slots`), when a
//! number is published (`counts`), what the store is asked next of a member (`pending`), whose clients may come back after an
//! upgrade (`away`).

mod away;
mod counts;
mod handing_over;
mod member;
mod member_lists;
mod pending;
mod slots;
mod stored;
#[cfg(test)]
mod tests;

pub use handing_over::HandedMember;
pub use member_lists::{MemberInfo, MemberPage};
pub use pending::MemberChange;
pub use stored::{EntryOrigin, LingeringMember};

use super::presence::{Announcement, KeptMember, MemberData, MemberRequest, MemberUpdate, Statement};
use crate::event::Unsequenced;
use crate::stream::{after, StreamId};
use crate::wait_list::WaitList;
use crate::Failure;
use away::AwayStreams;
use counts::{Counts, Publisher};
use member::Member;
use member_lists::MemberLists;
use pending::Pending;
use slots::MemberStreams;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// The most members of a stream.
pub const MAX_MEMBERS_OF_STREAM: usize = if cfg!(test) { 3 } else { 64 };

/// The channel in which a store keeps a member, and the member's id there.
pub type MemberKey = (Box<[u8]>, Box<[u8]>);

/// The owner of the order of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum OrderOf {
    #[default]
    Hub,
    /// A store of this machine alone.
    Store,
    /// A store of several machines.
    SharedStore,
}

/// The members of a hub.
#[derive(Clone, Debug, Default)]
pub struct Members {
    lists: MemberLists,
    streams: MemberStreams,
    wills: BTreeMap<StreamId, Box<Announcement>>,
    /// The changes of each member that wait for the store; the members that have a new one.
    pending: BTreeMap<MemberKey, Pending>,
    changed: Vec<MemberKey>,
    /// When members leave whose last stream has left, by their slots. Few do, so it is not kept in each member.
    lingering: WaitList<u32, Instant>,
    counts: Counts,
    away: AwayStreams,
    refused: u64,
    order: OrderOf,
    /// True if the data of events names their channel: that of a number has to.
    pub shows_channels: bool,
}

/// Decides whether an event can be retained.
pub type Fits<'a> = &'a dyn Fn(&Announcement) -> Result<(), Failure>;

/// The room for a member that joins.
#[derive(Clone, Copy)]
pub(super) struct Room<'a> {
    /// The most members of its channel.
    pub(super) most: usize,
    /// Decides about its event.
    pub(super) fits: Fits<'a>,
}

/// The outcome for a stream that enters.
enum Entering {
    /// It has the member that is here already.
    Known(u32),
    /// Its member joins.
    Joins,
    /// It has no member.
    Refused,
}

impl Members {
    /// Adds a stream to a member. If the member is new, it joins, unless there is no room; then the stream has no member. Nor
    /// has it more than [`MAX_MEMBERS_OF_STREAM`]. `wall` is the time of the system's clock in milliseconds.
    pub(super) fn enter_stream(
        &mut self,
        stream: StreamId,
        request: MemberRequest,
        room: Room<'_>,
        now: Instant,
        wall: u64,
        out: &mut Vec<Announcement>,
    ) {
        match self.entering(stream, &request, room) {
            Entering::Refused => self.refused += 1,
            Entering::Known(at) => self.return_member(at, stream, request, room.fits, out),
            Entering::Joins => self.join_member(stream, request, now, wall, out),
        }
    }

    fn entering(&mut self, stream: StreamId, request: &MemberRequest, room: Room<'_>) -> Entering {
        let MemberRequest { channel, id, is_counted, join, .. } = request;
        let (known, of_stream) = (self.lists.find(channel, id), self.members_of(stream));
        if of_stream.len() >= MAX_MEMBERS_OF_STREAM && !of_stream.iter().any(|at| Some(*at) == known) {
            return Entering::Refused;
        }
        if let Some(at) = known {
            return Entering::Known(at);
        }
        let has_room = || match self.order {
            _ if !*is_counted => {
                (room.fits)(&Announcement::of_member(channel, id, false, Statement::Here, join.clone())).is_ok()
            }
            OrderOf::Hub => {
                self.counts.has(channel)
                    || (room.fits)(&Announcement::of_count(channel, 1, self.shows_channels)).is_ok()
            }
            _ => true, // the number that follows is retained, not the event
        };
        match self.lists.count(channel) < room.most && has_room() {
            true => Entering::Joins,
            false => Entering::Refused,
        }
    }

    /// Adds a stream to a member that is here: on this machine, or on others. The member stays as it is if the request has no
    /// event for other data, because it repeats what the application has said before.
    fn return_member(
        &mut self,
        at: u32,
        stream: StreamId,
        request: MemberRequest,
        fits: Fits<'_>,
        out: &mut Vec<Announcement>,
    ) {
        let MemberRequest { channel, id, linger, data, join, update, leave, is_counted: _ } = request;
        let is_repeated = update.is_empty();
        let common = self.lists.common(&channel, &id, &leave);
        self.add_stream(stream, at);
        if let Some(member) = self.lists.get_mut(at) {
            if !is_repeated {
                member.set_linger(linger);
                member.common = common;
            }
            if !std::mem::replace(&mut member.is_own, true) {
                self.announce(at, Statement::Here, join, Some(&data), out);
            }
        }
        if !is_repeated {
            let _ = self.update_member(MemberUpdate { channel, id, data, event: update }, fits, out);
            // otherwise the member keeps its data
        }
    }

    fn join_member(
        &mut self,
        stream: StreamId,
        request: MemberRequest,
        now: Instant,
        wall: u64,
        out: &mut Vec<Announcement>,
    ) {
        let MemberRequest { channel, id, linger, is_counted, data, join, leave, update: _ } = request;
        let common = self.lists.common(&channel, &id, &leave);
        let name = Arc::clone(&common.channel);
        let kept = KeptMember { since: wall, linger, data: data.clone(), leave };
        let mut member = Member::new(&id, is_counted, kept, common);
        member.is_own = true;
        let at = self.lists.add(member);
        self.add_stream(stream, at);
        self.announce(at, Statement::Here, join, Some(&data), out);
        if self.order == OrderOf::Hub {
            if is_counted {
                self.counts.begin(Arc::clone(&name), now);
            }
            self.recount(&name, now, out); // otherwise when the store has told the member
        }
    }

    /// Sets the will of a stream, in the place of an earlier one.
    pub fn set_will(&mut self, stream: StreamId, will: Box<Announcement>) {
        self.wills.insert(stream, will);
    }

    /// Takes the wills of all streams: these end, because another hub takes the place of this one. A stream whose client has
    /// come back has none.
    pub fn take_wills(&mut self) -> Vec<Announcement> {
        let Self { wills, away, .. } = self;
        let lost = std::mem::take(wills).into_iter().filter(|(stream, _)| !away.is_replaced(*stream));
        lost.map(|(_, will)| *will).collect()
    }

    /// Returns true if the hub itself retains an event with this key: of somebody who is here.
    pub fn has_event(&self, channel: &[u8], key: &[u8]) -> bool {
        self.lists.find(channel, key).and_then(|at| self.lists.get(at)).map_or(false, |member| !member.is_counted)
    }

    /// Announces a member, before its data change. The events of a member that is counted are for the store, and for no stream.
    fn announce(
        &mut self,
        at: u32,
        statement: Statement,
        event: Unsequenced,
        data: Option<&MemberData>,
        out: &mut Vec<Announcement>,
    ) {
        let member = match self.lists.get(at) {
            Some(member) if !member.is_counted || self.order != OrderOf::Hub => member,
            _ => return,
        };
        let announcement = member.announcement(statement, event);
        match self.order {
            OrderOf::Hub => out.push(announcement),
            _ => self.announce_to_store(at, announcement, data),
        }
    }

    /// Removes a stream that has ended. Its will is published, unless its application has ended it.
    pub fn end_stream(
        &mut self,
        stream: StreamId,
        is_ended_by_application: bool,
        now: Instant,
        out: &mut Vec<Announcement>,
    ) {
        self.drop_stream(stream, is_ended_by_application, now, out);
        let mut left = usize::MAX; // of others nothing is due
        self.run_due(now, &mut left, out);
    }

    /// Removes a stream. Its members linger if it was their last one.
    fn drop_stream(&mut self, stream: StreamId, has_no_will: bool, now: Instant, out: &mut Vec<Announcement>) {
        let will = self.wills.remove(&stream);
        out.extend(will.filter(|_| !has_no_will).map(|will| *will));
        for at in self.members_of(stream) {
            self.remove_stream(stream, at);
            if let Some(member) = self.lists.get(at).filter(|member| member.streams == 0) {
                self.lingering.set(at, after(now, member.linger()));
            }
        }
    }

    /// Changes the data of a member. Returns false if it is not here.
    ///
    /// # Errors
    ///
    /// `Full` if the event does not fit; then nothing has changed.
    pub fn update_member(
        &mut self,
        MemberUpdate { channel, id, data, event }: MemberUpdate,
        fits: Fits<'_>,
        out: &mut Vec<Announcement>,
    ) -> Result<bool, Failure> {
        let (at, member) = some_or!(self.lists.find_mut(&channel, &id), return Ok(false));
        let (is_counted, is_same) = (member.is_counted, member.data() == data);
        if !is_same {
            if !is_counted {
                fits(&Announcement::of_member(&channel, &id, is_counted, Statement::Changed, event.clone()))?;
            }
            self.announce(at, Statement::Changed, event, Some(&data), out);
            if let Some(member) = self.lists.get_mut(at) {
                member.set_data(&data);
            }
        }
        Ok(true)
    }

    /// When [`run_due`](Self::run_due) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.lingering.first().into_iter().chain(self.counts.next_due()).chain(self.away.next_due()).min()
    }

    /// Ends members whose linger is over, and streams whose clients have not come back, and publishes numbers that have
    /// changed. Each takes a step from `left`; if none is left, there may be more to do.
    pub fn run_due(&mut self, now: Instant, left: &mut usize, out: &mut Vec<Announcement>) {
        while *left > 0 {
            if let Some(at) = self.lingering.take_due(now) {
                self.end_member(at, now, out);
            } else if let Some((stream, is_back)) = self.away.take_due(now) {
                self.drop_stream(stream, is_back, now, out);
            } else {
                break;
            }
            *left -= 1;
        }
        while *left > 0 {
            match self.counts.take_due(now) {
                Some(channel) => self.recount(&channel, now, out),
                None => break,
            }
            *left -= 1;
        }
    }

    /// Returns how many members a channel has.
    pub fn count(&self, channel: &[u8]) -> usize {
        self.lists.count(channel)
    }

    /// Returns a part of the list of a channel's members: those after an id, or from the first one.
    pub fn page(&self, channel: &[u8], after: Option<&[u8]>) -> MemberPage {
        self.lists.page(channel, after)
    }

    /// Returns how many members are here, and how many streams have opened without the member that they were to have.
    pub fn totals(&self) -> (usize, u64) {
        (self.lists.listed, self.refused)
    }

    /// Returns the members of a stream. Those that the store has refused meanwhile are none.
    fn members_of(&mut self, stream: StreamId) -> Vec<u32> {
        let is_here = |at: &u32| self.lists.get(*at).map_or(false, Member::is_here);
        let (here, refused): (_, Vec<u32>) = self.streams.of(stream).partition(is_here);
        refused.into_iter().for_each(|at| self.remove_stream(stream, at));
        here
    }

    /// Counts a stream for a member that is here, once. With its first one a member that lingers does so no more.
    fn add_stream(&mut self, stream: StreamId, at: u32) {
        if let Some(member) = self.lists.get_mut(at).filter(|_| self.streams.add(stream, at)) {
            member.streams += 1;
            self.lingering.remove(&at);
            self.replace_away(stream, at);
        }
    }

    /// Counts a stream of a member no more.
    fn remove_stream(&mut self, stream: StreamId, at: u32) {
        self.streams.remove(stream, at);
        self.away.remove_member(stream, at);
        if let Some(member) = self.lists.get_mut(at) {
            member.streams -= 1;
            if member.streams == 0 && !member.is_here() {
                self.lists.free_slot(at);
            }
        }
    }

    /// Announces that a member leaves, and removes it unless that is the store's to tell.
    fn end_member(&mut self, at: u32, now: Instant, out: &mut Vec<Announcement>) {
        let member = some_or!(self.lists.get_mut(at), return);
        member.is_own = false;
        let (channel, is_stored, leave) = (Arc::clone(&member.common.channel), member.is_stored(), member.leave());
        self.announce(at, Statement::Gone, leave, None, out);
        if !is_stored {
            self.remove_member(at);
            self.recount(&channel, now, out);
        }
    }

    /// Removes a member that is neither of here nor told. Its slot stays while streams have it.
    fn remove_member(&mut self, at: u32) {
        self.lingering.remove(&at);
        self.lists.remove(at);
    }

    /// Gives back the memory of many that have left.
    fn pack(&mut self) {
        if let Some(new) = self.lists.pack() {
            let of = |at: u32| new.get(at as usize).copied().unwrap_or(0);
            self.streams.renumber(of);
            self.away.renumber(of);
            for (leaves_at, slot) in std::mem::take(&mut self.lingering).iter() {
                self.lingering.set(of(*slot), *leaves_at);
            }
        }
    }

    /// Publishes the number of a channel's members if it is time.
    fn recount(&mut self, channel: &Arc<[u8]>, now: Instant, out: &mut Vec<Announcement>) {
        let Self { lists, counts, order, shows_channels, .. } = self;
        let publisher = if *order == OrderOf::Hub { Publisher::Hub } else { Publisher::Store };
        let all = lists.count(channel);
        let number = || match publisher {
            Publisher::Hub => all,
            Publisher::Store => lists.of_channel(channel).filter(|member| member.is_stored()).count(), // as on all machines
        };
        let number = counts.take_number(channel, all == 0, number, publisher, now);
        out.extend(number.map(|number| Announcement::of_count(channel, number, *shows_channels)));
    }
}
