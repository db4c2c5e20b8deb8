//! The members of a hub's channels: who is behind its streams. And the wills of these streams.
//!
//! A stream may have a member, which its application knows by an id in a channel. With its first stream a member *joins*: an
//! event of the channel, retained with the id as its key. A member whose last stream has left *lingers*: if no other stream
//! of it enters in time, the member *leaves*, and the event that says so forgets the key. So who is here is the state of the
//! channel. A member that is counted only has no events of its own: its channel's number of members is published, at most
//! once in [`COUNT_INTERVAL`].
//!
//! [`Members`] only decides. Its caller says which streams enter and leave, in their order, tells the time, and publishes the
//! [announcements](Announcement) in the order in which it is given them.
//!
//! In a hub with a store the announcements go to the store, which tells who is here: also members of other machines, and those
//! of a process before. A member that it has told stays in the list until it tells that the member has gone.

use super::presence::{Announcement, KeptMember, MemberData, MemberRequest, Says};
use super::state_sizes::Full;
use crate::event::Unnumbered;
use crate::saved::{Malformed, Restorer, Saved, Saver};
use crate::stream::{after, StreamId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// The shortest time between two counts of a channel.
pub const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// The most members of a stream.
pub const MAX_MEMBERS_OF_STREAM: usize = if cfg!(test) { 3 } else { 64 };

/// The longest time for which a member lingers.
pub const MAX_LINGER: Duration = Duration::from_secs(86_400);

/// A member as the list of members shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// The member.
    pub id: Box<[u8]>,
    /// Its data.
    pub data: MemberData,
    /// When it has come, in milliseconds of the system's clock since 1970.
    pub since: u64,
    /// How many streams it has; 0 while it lingers.
    pub streams: u32,
}

/// A part of the list of a channel's members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberPage {
    /// Some members, in the order of their ids.
    pub members: Vec<MemberInfo>,
    /// The id after which the list continues, if there is more.
    pub next: Option<Box<[u8]>>,
}

impl MemberPage {
    /// The most members of a page.
    const MOST: usize = if cfg!(test) { 2 } else { 1000 };
    /// The bytes after which a page ends.
    const MOST_BYTES: usize = 256 << 10;
}

/// Somebody who is here.
#[derive(Clone, Debug)]
struct Member {
    streams: u32,
    since: u64,
    is_counted: bool,
    data: MemberData,
    leave: Unnumbered,
    linger: Duration,
    /// When the member leaves, because it has no stream.
    leaves_at: Option<Instant>,
    /// True if it has streams here, or lingers here. Otherwise only the store says that it is here.
    is_own: bool,
    /// True if the hub's store says that it is here.
    is_told: bool,
}

/// What streams were told of the number of a channel's members.
#[derive(Clone, Debug)]
struct Count {
    /// The last number.
    published: usize,
    /// When another one may be published.
    next: Instant,
}

/// A channel with members.
#[derive(Clone, Debug, Default)]
struct Room {
    members: BTreeMap<Box<[u8]>, Member>,
    count: Option<Count>,
}

/// A channel and a member's id there.
type MemberKey = (Arc<[u8]>, Box<[u8]>);

/// The members and the will of a stream.
#[derive(Clone, Debug, Default)]
struct OfStream {
    members: Vec<MemberKey>,
    will: Option<Box<Announcement>>,
}

impl OfStream {
    fn has(&self, channel: &[u8], id: &[u8]) -> bool {
        self.members.iter().any(|(known, member)| **known == *channel && **member == *id)
    }
}

/// The members of a hub.
#[derive(Clone, Debug, Default)]
pub struct Members {
    rooms: HashMap<Arc<[u8]>, Room>,
    of_stream: HashMap<u64, OfStream>,
    /// The members that linger, by the time at which they leave.
    leaving: BTreeSet<(Instant, MemberKey)>,
    /// The channels whose number is looked at again, by the time.
    counting: BTreeSet<(Instant, Arc<[u8]>)>,
    here: usize,
    refused: u64,
    has_ended: bool,
}

/// Decides whether an event can be retained.
pub type Fits<'a> = &'a dyn Fn(&Announcement) -> Result<(), Full>;

impl Members {
    /// Adds a stream to a member. If the member is new, it joins, unless its channel has `most` members or its event does not
    /// fit; then the stream has no member. Nor has it more than [`MAX_MEMBERS_OF_STREAM`]. `wall` is the time of the system's
    /// clock in milliseconds.
    pub fn enter(
        &mut self,
        stream: StreamId,
        request: MemberRequest,
        (most, fits): (usize, Fits<'_>),
        (now, wall): (Instant, u64),
        out: &mut Vec<Announcement>,
    ) {
        if self.has_ended {
            return;
        }
        let MemberRequest { channel, id, linger, is_counted, data, join, update, leave } = request;
        let linger = linger.min(MAX_LINGER);
        let is_full = |of: &OfStream| of.members.len() >= MAX_MEMBERS_OF_STREAM && !of.has(&channel, &id);
        if self.of_stream.get(&stream.into()).map_or(false, is_full) {
            self.refused += 1;
            return;
        }
        let name: Arc<[u8]> =
            self.rooms.get_key_value(&*channel).map_or_else(|| Arc::from(&*channel), |(name, _)| Arc::clone(name));
        let is_here = self.rooms.get(&name).map_or(false, |room| room.members.contains_key(&id));
        if is_here {
            self.add_stream(stream, &name, &id);
            if let Some(member) = self.member_mut(&name, &id) {
                (member.linger, member.leave) = (linger, leave);
                if !std::mem::replace(&mut member.is_own, true) {
                    out.push(Announcement::of_member(&name, &id, Says::Here, join));
                }
            }
            let _ = self.update(&channel, &id, data, update, fits, out); // otherwise the member keeps its data
            return;
        }
        let room = self.rooms.get(&name);
        let joins = match is_counted {
            false => Announcement::of_member(&name, &id, Says::Here, join),
            true => Announcement::of_count(&name, 1),
        };
        let is_known = is_counted && room.map_or(false, |room| room.count.is_some());
        if room.map_or(0, |room| room.members.len()) >= most || !is_known && fits(&joins).is_err() {
            self.refused += 1;
            return;
        }
        let room = self.rooms.entry(Arc::clone(&name)).or_default();
        let member = Member {
            streams: 0,
            since: wall,
            is_counted,
            data,
            leave,
            linger,
            leaves_at: None,
            is_own: true,
            is_told: false,
        };
        room.members.insert(id.clone(), member);
        if is_counted && room.count.is_none() {
            room.count = Some(Count { published: 0, next: now });
        }
        self.here += 1;
        if !is_counted {
            out.push(joins);
        }
        self.add_stream(stream, &name, &id);
        self.count_anew(&name, now, out);
    }

    /// Sets the will of a stream, in the place of an earlier one.
    pub fn set_will(&mut self, stream: StreamId, will: Box<Announcement>) {
        self.of_stream.entry(stream.into()).or_default().will = Some(will);
    }

    /// Removes a stream that has ended. Its will is published, unless its application has ended it.
    pub fn leave(
        &mut self,
        stream: StreamId,
        is_ended_by_application: bool,
        now: Instant,
        out: &mut Vec<Announcement>,
    ) {
        let OfStream { members, will } = match self.of_stream.remove(&stream.into()) {
            Some(of_stream) => of_stream,
            None => return,
        };
        out.extend(will.filter(|_| !is_ended_by_application).map(|will| *will));
        for (channel, id) in members {
            let member = match self.member_mut(&channel, &id) {
                Some(member) => member,
                None => continue,
            };
            member.streams -= 1;
            if member.streams == 0 {
                let at = after(now, member.linger);
                member.leaves_at = Some(at);
                self.leaving.insert((at, (channel, id)));
            }
        }
        let mut left = usize::MAX; // of others nothing is due
        self.run_due(now, &mut left, out);
    }

    /// Changes the data of a member. Returns false if it is not here.
    ///
    /// # Errors
    ///
    /// [`Full`] if the event does not fit; then nothing has changed.
    pub fn update(
        &mut self,
        channel: &[u8],
        id: &[u8],
        data: MemberData,
        event: Unnumbered,
        fits: Fits<'_>,
        out: &mut Vec<Announcement>,
    ) -> Result<bool, Full> {
        let member = match self.member_mut(channel, id) {
            Some(member) => member,
            None => return Ok(false),
        };
        if member.data != data {
            if !member.is_counted {
                let event = Announcement::of_member(channel, id, Says::Changed, event);
                fits(&event)?;
                out.push(event);
            }
            member.data = data;
        }
        Ok(true)
    }

    /// When [`run_due`](Self::run_due) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        let leaving = self.leaving.iter().next().map(|(at, _)| *at);
        let counting = self.counting.iter().next().map(|(at, _)| *at);
        leaving.into_iter().chain(counting).min()
    }

    /// Ends members whose linger is over, and publishes numbers that have changed. Each takes a step from `left`; if none is
    /// left, there may be more to do.
    pub fn run_due(&mut self, now: Instant, left: &mut usize, out: &mut Vec<Announcement>) {
        while let Some(first) = self.leaving.iter().next().filter(|(at, _)| *left > 0 && *at <= now).cloned() {
            *left -= 1;
            self.leaving.remove(&first);
            let (_, (channel, id)) = first;
            self.end_linger(&channel, &id, now, out);
        }
        while let Some(first) = self.counting.iter().next().filter(|(at, _)| *left > 0 && *at <= now).cloned() {
            *left -= 1;
            self.counting.remove(&first);
            self.count_anew(&first.1, now, out);
        }
    }

    /// Ends all members, and publishes the wills of all streams: the hub ends. Nobody enters any more.
    pub fn end(&mut self, out: &mut Vec<Announcement>) {
        let Self { rooms, of_stream, refused, .. } = std::mem::take(self);
        (self.has_ended, self.refused) = (true, refused);
        let wills: BTreeMap<_, _> = of_stream.into_iter().filter_map(|(stream, of)| Some((stream, of.will?))).collect();
        out.extend(wills.into_values().map(|will| *will));
        for (channel, Room { members, count }) in rooms {
            out.extend(count.map(|_| Announcement::of_count(&channel, 0)));
            for (id, Member { leave, .. }) in members.into_iter().filter(|(_, member)| !member.is_counted) {
                out.push(Announcement::of_member(&channel, &id, Says::Gone, leave));
            }
        }
    }

    /// Returns true if the hub has ended.
    pub fn have_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns how many members a channel has.
    pub fn count(&self, channel: &[u8]) -> usize {
        self.rooms.get(channel).map_or(0, |room| room.members.len())
    }

    /// Returns a part of the list of a channel's members: those after an id, or from the first one.
    pub fn page(&self, channel: &[u8], after: Option<&[u8]>) -> MemberPage {
        let mut page = MemberPage::default();
        let room = match self.rooms.get(channel) {
            Some(room) => room,
            None => return page,
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut bytes = 0;
        for (id, Member { data, since, streams, .. }) in room.members.range::<[u8], _>((from, Bound::Unbounded)) {
            if page.members.len() == MemberPage::MOST || bytes > MemberPage::MOST_BYTES {
                page.next = page.members.last().map(|last| last.id.clone());
                break;
            }
            bytes += id.len() + data.text.len();
            page.members.push(MemberInfo { id: id.clone(), data: data.clone(), since: *since, streams: *streams });
        }
        page
    }

    /// Returns how many members are here, and how many streams have opened without the member that they were to have.
    pub fn totals(&self) -> (usize, u64) {
        (self.here, self.refused)
    }

    fn member_mut(&mut self, channel: &[u8], id: &[u8]) -> Option<&mut Member> {
        self.rooms.get_mut(channel)?.members.get_mut(id)
    }

    /// Counts a stream for a member that is here, once.
    fn add_stream(&mut self, stream: StreamId, channel: &Arc<[u8]>, id: &[u8]) {
        let of_stream = self.of_stream.entry(stream.into()).or_default();
        if of_stream.has(channel, id) {
            return;
        }
        of_stream.members.reserve_exact(1); // most streams have one
        of_stream.members.push((Arc::clone(channel), id.into()));
        if let Some(member) = self.member_mut(channel, id) {
            member.streams += 1;
            if let Some(at) = member.leaves_at.take() {
                self.leaving.remove(&(at, (Arc::clone(channel), id.into())));
            }
        }
    }

    /// Announces that a member leaves, and removes it unless that is the store's to tell.
    fn end_linger(&mut self, channel: &Arc<[u8]>, id: &[u8], now: Instant, out: &mut Vec<Announcement>) {
        let member = match self.member_mut(channel, id) {
            Some(member) => member,
            None => return,
        };
        member.leaves_at = None;
        member.is_own = false;
        if !member.is_counted {
            out.push(Announcement::of_member(channel, id, Says::Gone, member.leave.clone()));
        }
        if !member.is_told {
            self.remove(channel, id);
            self.count_anew(channel, now, out);
        }
    }

    fn remove(&mut self, channel: &[u8], id: &[u8]) {
        let room = match self.rooms.get_mut(channel) {
            Some(room) => room,
            None => return,
        };
        let leaves_at = room.members.remove(id).map(|member| member.leaves_at);
        self.here -= usize::from(leaves_at.is_some());
        if let Some(at) = leaves_at.flatten() {
            self.leaving.remove(&(at, (channel.into(), id.into())));
        }
        if room.members.is_empty() && room.count.is_none() {
            self.rooms.remove(channel);
        }
    }

    /// Returns what a store keeps of a member.
    pub fn kept(&self, channel: &[u8], id: &[u8]) -> Option<KeptMember> {
        let Member { since, linger, data, leave, .. } = self.rooms.get(channel)?.members.get(id)?;
        Some(KeptMember { since: *since, linger: *linger, data: data.clone(), leave: leave.clone() })
    }

    /// Takes note that the store has a member. What it keeps replaces what is known here, if it is `newer`.
    pub fn tell_here(&mut self, channel: &[u8], id: &[u8], kept: KeptMember, is_newer: bool) {
        let KeptMember { since, linger, data, leave } = kept;
        if let Some(member) = self.member_mut(channel, id) {
            member.is_told = true;
            if is_newer {
                member.data = data;
            }
            return;
        }
        let member = Member {
            streams: 0,
            since,
            is_counted: false,
            data,
            leave,
            linger,
            leaves_at: None,
            is_own: false,
            is_told: true,
        };
        self.rooms.entry(channel.into()).or_default().members.insert(id.into(), member);
        self.here += 1;
    }

    /// Takes note that the store no longer has a member.
    pub fn tell_gone(&mut self, channel: &[u8], id: &[u8]) {
        match self.member_mut(channel, id) {
            Some(member) if member.is_own => member.is_told = false, // it is announced again
            Some(_) => self.remove(channel, id),
            None => {}
        }
    }

    /// Lets a member linger here whose streams were those of a process, or of a hub, before this one.
    pub fn adopt(&mut self, channel: &[u8], id: &[u8], kept: KeptMember, now: Instant) {
        if self.member_mut(channel, id).is_none() {
            self.tell_here(channel, id, kept, true);
            self.member_mut(channel, id).into_iter().for_each(|member| member.is_told = false);
        }
        if let Some(member) = self.member_mut(channel, id).filter(|member| !member.is_own) {
            let at = after(now, member.linger);
            member.is_own = true;
            member.leaves_at = Some(at);
            self.leaving.insert((at, (channel.into(), id.into())));
        }
    }

    /// Removes a member whose event the store has refused. Its streams have no member from here on.
    pub fn refuse(&mut self, channel: &[u8], id: &[u8]) {
        self.refused += 1;
        self.remove(channel, id);
        for of_stream in self.of_stream.values_mut() {
            of_stream.members.retain(|(known, member)| **known != *channel || **member != *id);
        }
    }

    /// Publishes the number of a channel's members if it has changed and its time has come; otherwise the channel is looked at
    /// again. Removes a channel that has nobody.
    fn count_anew(&mut self, channel: &Arc<[u8]>, now: Instant, out: &mut Vec<Announcement>) {
        let Room { members, count } = match self.rooms.get_mut(channel) {
            Some(room) => room,
            None => return,
        };
        let number = members.len();
        if let Some(Count { published, next }) = count {
            let may_publish = *next <= now;
            if may_publish && *published != number {
                out.push(Announcement::of_count(channel, number));
                (*published, *next) = (number, after(now, COUNT_INTERVAL));
            } else if may_publish {
                *count = count.take().filter(|_| number > 0);
            }
            if let Some(Count { next, .. }) = count.as_ref().filter(|count| count.next > now) {
                self.counting.insert((*next, Arc::clone(channel)));
            }
        }
        if number == 0 && count.is_none() {
            self.rooms.remove(channel);
        }
    }
}

saved!(Member { streams, since, is_counted, data, leave, linger, leaves_at, is_own, is_told });
saved!(Count { published, next });
saved!(Room { members, count });
saved!(OfStream { members, will });

/// What is due follows from the rest.
impl Saved for Members {
    fn save(&self, to: &mut Saver) {
        to.add(&self.rooms);
        to.add(&self.of_stream);
        to.add(&self.refused);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        let mut members =
            Self { rooms: from.take()?, of_stream: from.take()?, refused: from.take()?, ..Self::default() };
        for (channel, Room { members: of_room, count }) in &members.rooms {
            members.here += of_room.len();
            for (id, member) in of_room {
                members.leaving.extend(member.leaves_at.map(|at| (at, (Arc::clone(channel), id.clone()))));
            }
            members.counting.extend(count.as_ref().map(|count| (count.next, Arc::clone(channel))));
        }
        Ok(members)
    }
}
