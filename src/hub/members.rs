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
//! of a process before. A member that it has told stays in the list until it tells that the member has gone. Of counted members
//! it is told in a channel that no stream reads, and the number is one for all machines: each of them publishes it when it
//! differs from what the store has told, first those whose members have changed it.

mod lingering;
mod member;
mod slots;
#[cfg(test)]
mod tests;

use super::presence::{kept_channel, room_of, Announcement, KeptMember, MemberData, MemberRequest, Says};
use super::Full;
use crate::event::{Form, Unnumbered};
use crate::saved::{Malformed, Restorer, Saved, Saver};
use crate::stream::{after, StreamId};
use lingering::Lingering;
use member::{Common, Member, SavedMember};
use slots::Slots;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest time between two counts of a channel.
pub const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a machine waits until it publishes a number that members of another machine have changed, which has perhaps died.
const COUNT_RESERVE: Duration = Duration::from_secs(3);

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

/// What streams were told of the number of a channel's members.
#[derive(Clone, Debug)]
struct Count {
    /// The last number.
    published: usize,
    /// When another one may be published.
    next: Instant,
    /// When the number is looked at again.
    due: Option<Instant>,
}

/// What this machine says of a member to the store, which has still to do it.
#[derive(Clone, Debug, Default)]
struct Changing {
    /// How many announcements that is.
    announced: u32,
    /// The data of the member that the store has told last.
    told: Option<MemberData>,
}

/// A channel with members.
#[derive(Clone, Debug)]
struct Room {
    /// The slots of the members, in the order of their ids.
    members: Vec<u32>,
    /// What the newest members have in common.
    common: Arc<Common>,
    count: Option<Count>,
}

impl Room {
    fn new(common: Arc<Common>) -> Self {
        Self { members: Vec::new(), common, count: None }
    }

    /// Finds a member's place in the list, or that which it would have.
    fn search(&self, members: &Slots, id: &[u8]) -> Result<usize, usize> {
        self.members.binary_search_by(|at| members.id(*at).cmp(id))
    }
}

/// The members of a hub.
#[derive(Clone, Debug, Default)]
pub struct Members {
    rooms: HashMap<Arc<[u8]>, Room>,
    members: Slots,
    /// The streams of members.
    streams: BTreeSet<(StreamId, u32)>,
    /// The wills of streams.
    wills: BTreeMap<StreamId, Box<Announcement>>,
    /// The members of which the store is still to be told something.
    changing: BTreeMap<u32, Changing>,
    lingering: Lingering,
    /// The channels whose number is looked at again, by the time.
    counting: BTreeSet<(Instant, Arc<[u8]>)>,
    here: usize,
    refused: u64,
    has_ended: bool,
    /// Whether a store has the order of events.
    is_stored: bool,
}

/// A member that lingers: its channel, as a store keeps it, and its id; and when it leaves.
pub type LingeringMember = ((Box<[u8]>, Box<[u8]>), Instant);

/// Decides whether an event can be retained.
pub type Fits<'a> = &'a dyn Fn(&Announcement) -> Result<(), Full>;

impl Members {
    /// The members of a hub whose events a store has, or not.
    pub fn new(is_stored: bool) -> Self {
        Self { is_stored, ..Self::default() }
    }

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
        let known = self.find(&channel, &id);
        let of_stream = self.of_stream(stream);
        if of_stream.len() >= MAX_MEMBERS_OF_STREAM && !of_stream.iter().any(|at| Some(*at) == known) {
            self.refused += 1;
            return;
        }
        let common = self.common(&channel, &id, &leave);
        if let Some(at) = known {
            self.add_stream(stream, at);
            if let Some(member) = self.members.get_mut(at) {
                member.set_linger(linger);
                member.common = common;
                if !std::mem::replace(&mut member.is_own, true) {
                    out.push(Announcement::of_member((&channel, &id, member.is_counted), Says::Here, join));
                    self.note_announced(at);
                }
            }
            let _ = self.update(&channel, &id, data, update, fits, out); // otherwise the member keeps its data
            return;
        }
        let room = self.rooms.get(&*channel);
        let joins = match is_counted && !self.is_stored {
            false => Announcement::of_member((&channel, &id, is_counted), Says::Here, join),
            true => Announcement::of_count(&channel, 1),
        };
        let is_known = is_counted && (self.is_stored || room.map_or(false, |room| room.count.is_some()));
        if room.map_or(0, |room| room.members.len()) >= most || !is_known && fits(&joins).is_err() {
            self.refused += 1;
            return;
        }
        let mut member = Member::new(&id, KeptMember { since: wall, linger, data, leave }, Arc::clone(&common));
        (member.is_counted, member.is_own) = (is_counted, true);
        let at = self.add(member);
        self.note_announced(at);
        match self.rooms.get_mut(&*channel).filter(|_| is_counted && !self.is_stored) {
            Some(room) => room.count = room.count.take().or(Some(Count { published: 0, next: now, due: None })),
            None => out.push(joins),
        }
        self.add_stream(stream, at);
        if !self.is_stored {
            self.count_anew(&common.channel, now, out); // otherwise when the store has told the member
        }
    }

    /// Sets the will of a stream, in the place of an earlier one.
    pub fn set_will(&mut self, stream: StreamId, will: Box<Announcement>) {
        self.wills.insert(stream, will);
    }

    /// Takes the wills of all streams: these end, because another hub takes the place of this one.
    pub fn take_wills(&mut self) -> Vec<Announcement> {
        std::mem::take(&mut self.wills).into_values().map(|will| *will).collect()
    }

    /// Returns true if the hub itself retains an event with this key: of somebody who is here, or without a key the number of
    /// members.
    pub fn have(&self, channel: &[u8], key: &[u8]) -> bool {
        if key.is_empty() {
            let is_counted = |room: &Room| {
                room.count.as_ref().map_or(false, |count| count.published > 0 || !room.members.is_empty())
            };
            return self.rooms.get(channel).map_or(false, is_counted);
        }
        self.find(channel, key).and_then(|at| self.members.get(at)).map_or(false, |member| !member.is_counted)
    }

    /// Removes a stream that has ended. Its will is published, unless its application has ended it.
    pub fn leave(
        &mut self,
        stream: StreamId,
        is_ended_by_application: bool,
        now: Instant,
        out: &mut Vec<Announcement>,
    ) {
        let will = self.wills.remove(&stream);
        out.extend(will.filter(|_| !is_ended_by_application).map(|will| *will));
        for at in self.of_stream(stream) {
            self.remove_stream(stream, at);
            if let Some(member) = self.members.get_mut(at).filter(|member| member.streams == 0) {
                self.lingering.add(at, after(now, member.linger()));
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
        let is_stored = self.is_stored;
        let (at, member) = match self.find_mut(channel, id) {
            Some(found) => found,
            None => return Ok(false),
        };
        if member.data() != data {
            let event = Announcement::of_member((channel, id, member.is_counted), Says::Changed, event);
            if !member.is_counted {
                fits(&event)?;
            }
            if !member.is_counted || is_stored {
                out.push(event);
            }
            self.note_announced(at);
            self.members.get_mut(at).into_iter().for_each(|member| member.set_data(&data));
        }
        Ok(true)
    }

    /// When [`run_due`](Self::run_due) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        let leaving = self.lingering.first().map(|(at, _)| at);
        let counting = self.counting.iter().next().map(|(at, _)| *at);
        leaving.into_iter().chain(counting).min()
    }

    /// Ends members whose linger is over, and publishes numbers that have changed. Each takes a step from `left`; if none is
    /// left, there may be more to do.
    pub fn run_due(&mut self, now: Instant, left: &mut usize, out: &mut Vec<Announcement>) {
        while let Some((_, first)) = self.lingering.first().filter(|(at, _)| *left > 0 && *at <= now) {
            *left -= 1;
            self.lingering.remove(first);
            self.end_linger(first, now, out);
        }
        while let Some(first) = self.counting.iter().next().filter(|(at, _)| *left > 0 && *at <= now).cloned() {
            *left -= 1;
            self.counting.remove(&first);
            self.count_mut(&first.1).into_iter().for_each(|count| count.due = None);
            self.count_anew(&first.1, now, out);
        }
    }

    /// Ends all members, and publishes the wills of all streams: the hub ends. Nobody enters any more.
    pub fn end(&mut self, out: &mut Vec<Announcement>) {
        let Self { rooms, members, wills, refused, is_stored, .. } = std::mem::take(self);
        (self.has_ended, self.refused, self.is_stored) = (true, refused, is_stored);
        out.extend(wills.into_values().map(|will| *will));
        for (channel, Room { members: of_room, count, .. }) in rooms {
            out.extend(count.map(|_| Announcement::of_count(&channel, 0)));
            for member in of_room.iter().filter_map(|at| members.get(*at)).filter(|member| !member.is_counted) {
                out.push(Announcement::of_member((&channel, member.id(), false), Says::Gone, member.leave()));
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
        let from = after.map_or(0, |after| room.search(&self.members, after).map_or_else(|at| at, |at| at + 1));
        let mut bytes = 0;
        for member in room.members[from..].iter().filter_map(|at| self.members.get(*at)) {
            if page.members.len() == MemberPage::MOST || bytes > MemberPage::MOST_BYTES {
                page.next = page.members.last().map(|last| last.id.clone());
                break;
            }
            let (id, data) = (member.id().into(), member.data());
            page.members.push(MemberInfo { id, data, since: member.since, streams: member.streams });
            bytes += member.bytes();
        }
        page
    }

    /// Returns how many members are here, and how many streams have opened without the member that they were to have.
    pub fn totals(&self) -> (usize, u64) {
        (self.here, self.refused)
    }

    fn find(&self, channel: &[u8], id: &[u8]) -> Option<u32> {
        let room = self.rooms.get(channel)?;
        room.search(&self.members, id).ok().map(|at| room.members[at])
    }

    fn find_mut(&mut self, channel: &[u8], id: &[u8]) -> Option<(u32, &mut Member)> {
        let at = self.find(channel, id)?;
        Some((at, self.members.get_mut(at)?))
    }

    fn count_mut(&mut self, channel: &[u8]) -> Option<&mut Count> {
        self.rooms.get_mut(channel)?.count.as_mut()
    }

    /// Returns what a new member has in common with others of its channel.
    fn common(&self, channel: &[u8], id: &[u8], leave: &Unnumbered) -> Arc<Common> {
        let common = self.rooms.get(channel).map(|room| &room.common);
        match common.filter(|common| common.leave.with(id) == *leave) {
            Some(common) => Arc::clone(common),
            None => {
                let channel = common.map_or_else(|| Arc::from(channel), |common| Arc::clone(&common.channel));
                Arc::new(Common { channel, leave: Form::of(leave, id) })
            }
        }
    }

    /// Adds a member that is not here.
    fn add(&mut self, member: Member) -> u32 {
        let common = Arc::clone(&member.common);
        let at = self.members.add(member);
        let new = || Room::new(Arc::clone(&common));
        let room = self.rooms.entry(Arc::clone(&common.channel)).or_insert_with(new);
        if let Err(place) = room.search(&self.members, self.members.id(at)) {
            room.members.insert(place, at);
            self.here += 1;
        }
        room.common = common;
        at
    }

    /// Returns the members of a stream. Those that the store has refused meanwhile are none.
    fn of_stream(&mut self, stream: StreamId) -> Vec<u32> {
        let all: Vec<u32> = self.streams.range((stream, 0)..=(stream, u32::MAX)).map(|(_, at)| *at).collect();
        let (here, refused) = all.into_iter().partition(|at| self.members.get(*at).map_or(false, Member::is_here));
        let refused: Vec<u32> = refused;
        refused.into_iter().for_each(|at| self.remove_stream(stream, at));
        here
    }

    /// Counts an announcement of a member, before its data change, until the store has done it.
    fn note_announced(&mut self, at: u32) {
        if self.is_stored {
            let member = self.members.get(at).filter(|member| member.told > 0);
            let new = || Changing { announced: 0, told: member.map(Member::data) };
            self.changing.entry(at).or_insert_with(new).announced += 1;
        }
    }

    /// Counts a stream for a member that is here, once.
    fn add_stream(&mut self, stream: StreamId, at: u32) {
        let member = match self.members.get_mut(at) {
            Some(member) if self.streams.insert((stream, at)) => member,
            _ => return,
        };
        member.streams += 1;
        self.lingering.remove(at);
    }

    /// Counts a stream of a member no more.
    fn remove_stream(&mut self, stream: StreamId, at: u32) {
        self.streams.remove(&(stream, at));
        if let Some(member) = self.members.get_mut(at) {
            member.streams -= 1;
            if member.streams == 0 && !member.is_here() {
                self.members.remove(at);
            }
        }
    }

    /// Announces that a member leaves, and removes it unless that is the store's to tell.
    fn end_linger(&mut self, at: u32, now: Instant, out: &mut Vec<Announcement>) {
        let member = match self.members.get_mut(at) {
            Some(member) => member,
            None => return,
        };
        member.is_own = false;
        let channel = Arc::clone(&member.common.channel);
        if !member.is_counted || self.is_stored {
            let who = (&*channel, member.id(), member.is_counted);
            out.push(Announcement::of_member(who, Says::Gone, member.leave()));
        }
        if member.told == 0 {
            self.remove(at);
            self.count_anew(&channel, now, out);
        }
    }

    /// Removes a member that is neither of here nor told. Its slot stays while streams have it.
    fn remove(&mut self, at: u32) {
        let Self { rooms, members, changing, lingering, here, .. } = self;
        let member = match members.get_mut(at) {
            Some(member) => member,
            None => return,
        };
        changing.remove(&at);
        lingering.remove(at);
        let (streams, common) = (member.streams, Arc::clone(&member.common));
        if let Some(room) = rooms.get_mut(&common.channel) {
            if let Ok(place) = room.search(members, members.id(at)) {
                room.members.remove(place);
                *here -= 1;
            }
            if room.members.len() < room.members.capacity() / 4 {
                room.members.shrink_to(2 * room.members.len());
            }
            if room.members.is_empty() && room.count.is_none() {
                rooms.remove(&common.channel);
            }
        }
        if streams == 0 {
            members.remove(at);
        }
    }

    /// Gives back the memory of many that have left.
    fn pack(&mut self) {
        let Self { rooms, members, streams, changing, lingering, .. } = self;
        if let Some(new) = members.pack() {
            let of = |at: u32| new.get(at as usize).copied().unwrap_or(0);
            *streams = std::mem::take(streams).into_iter().map(|(stream, at)| (stream, of(at))).collect();
            *changing = std::mem::take(changing).into_iter().map(|(at, changing)| (of(at), changing)).collect();
            lingering.renumber(of);
            rooms.values_mut().flat_map(|room| &mut room.members).for_each(|at| *at = of(*at));
        }
    }

    /// Returns what a store keeps of a member in a channel.
    pub fn kept(&self, channel: &[u8], id: &[u8]) -> Option<KeptMember> {
        self.members.get(self.find(room_of(channel).0, id)?).map(Member::kept)
    }

    /// Takes note that the store has a member, which it keeps in a channel. Its data there are those of the list, unless this
    /// machine has still to say something of it.
    pub fn tell_here(&mut self, channel: &[u8], id: &[u8], kept: KeptMember) {
        let (channel, is_counted) = room_of(channel);
        let known = self.find(channel, id);
        let Self { members, changing, .. } = self;
        if let Some((at, member)) = known.and_then(|at| Some((at, members.get_mut(at)?))) {
            member.told |= 1 << u8::from(is_counted);
            match changing.get_mut(&at) {
                Some(changing) => changing.told = Some(kept.data),
                None => member.set_data(&kept.data),
            }
            return;
        }
        let common = self.common(channel, id, &kept.leave);
        let mut member = Member::new(id, kept, common);
        (member.told, member.is_counted) = (1 << u8::from(is_counted), is_counted);
        self.add(member);
    }

    /// Takes note that the store no longer has a member.
    pub fn tell_gone(&mut self, channel: &[u8], id: &[u8]) {
        let (channel, is_counted) = room_of(channel);
        if let Some((at, member)) = self.find_mut(channel, id) {
            member.told &= !(1 << u8::from(is_counted));
            let is_here = member.is_here(); // one of here is announced again
            self.changing.get_mut(&at).into_iter().for_each(|changing| changing.told = None);
            if !is_here {
                self.remove(at);
                self.pack();
            }
        }
    }

    /// Called when the store has told that a counted member of a channel has come or gone. The last number that it has told was
    /// `published`. If this machine has said so, it publishes another one, otherwise only if nobody has done that.
    pub fn tell_counted(&mut self, channel: &[u8], published: usize, is_own: bool, now: Instant) {
        let (name, count) = self.count_or_insert(room_of(channel).0, published, now);
        let at = if is_own { count.next } else { after(now, COUNT_RESERVE) };
        self.look_at_number(&name, at);
    }

    /// Takes note of the number of a channel's members that the store has told. It is perhaps that of members who have gone
    /// meanwhile, so a number of a channel without members is looked at, too.
    pub fn tell_number(&mut self, channel: &[u8], number: usize, now: Instant) {
        if number == 0 && self.count_mut(channel).is_none() {
            return;
        }
        let (name, count) = self.count_or_insert(channel, number, now);
        (count.published, count.next) = (number, after(now, COUNT_INTERVAL));
        let at = after(count.next, COUNT_RESERVE);
        self.look_at_number(&name, at);
    }

    fn count_or_insert(&mut self, channel: &[u8], published: usize, now: Instant) -> (Arc<[u8]>, &mut Count) {
        let common = self.common(channel, &[], &Unnumbered::default());
        let name = Arc::clone(&common.channel);
        let room = self.rooms.entry(Arc::clone(&name)).or_insert_with(|| Room::new(common));
        (name, room.count.get_or_insert(Count { published, next: now, due: None }))
    }

    /// Returns the members that linger here.
    pub fn lingering(&self) -> Vec<LingeringMember> {
        let member = |(at, slot): (Instant, u32)| {
            let member = self.members.get(slot)?;
            Some(((kept_channel(&member.common.channel, member.is_counted), member.id().into()), at))
        };
        self.lingering.iter().filter_map(member).collect()
    }

    /// Lets a member linger here whose streams were those of a process, or of a hub, before this one: at most for `rest` if it
    /// has lingered there.
    pub fn adopt(&mut self, channel: &[u8], id: &[u8], kept: KeptMember, (now, rest): (Instant, Option<Duration>)) {
        let (channel, is_counted) = room_of(channel);
        let at = self.find(channel, id).unwrap_or_else(|| {
            let common = self.common(channel, id, &kept.leave);
            let mut member = Member::new(id, kept, common);
            member.is_counted = is_counted;
            self.add(member)
        });
        if let Some(member) = self.members.get_mut(at).filter(|member| !member.is_own) {
            member.is_own = true;
            let linger = rest.map_or(member.linger(), |rest| rest.min(member.linger()));
            self.lingering.add(at, after(now, linger));
        }
    }

    /// Removes a member whose event the store has refused. Its streams have no member from here on.
    pub fn refuse(&mut self, channel: &[u8], id: &[u8]) {
        self.refused += 1;
        if let Some((at, member)) = self.find_mut(room_of(channel).0, id) {
            (member.is_own, member.told) = (false, 0);
            self.remove(at);
            self.pack();
        }
    }

    /// Takes note that the store has answered a number of announcements of a member, and that no more of those wait. If that is
    /// all, the member has the data that the store has told, also if that has refused a change.
    pub fn settle(&mut self, channel: &[u8], id: &[u8], announced: u32) {
        let at = self.find(room_of(channel).0, id);
        let (at, changing) = match at.and_then(|at| Some((at, self.changing.get_mut(&at)?))) {
            Some(found) => found,
            None => return,
        };
        changing.announced = changing.announced.saturating_sub(announced);
        if changing.announced == 0 {
            let told = self.changing.remove(&at).and_then(|changing| changing.told);
            if let Some((member, data)) = self.members.get_mut(at).zip(told) {
                member.set_data(&data);
            }
        }
    }

    /// Publishes the number of a channel's members if it has changed and its time has come; otherwise the channel is looked at
    /// again. Removes a channel that has nobody.
    fn count_anew(&mut self, channel: &Arc<[u8]>, now: Instant, out: &mut Vec<Announcement>) {
        let Room { members, count, .. } = match self.rooms.get_mut(channel) {
            Some(room) => room,
            None => return,
        };
        let mut number = members.len();
        if let Some(Count { published, next, due }) = count {
            let may_publish = *next <= now;
            if self.is_stored && may_publish {
                let slots = &self.members;
                let is_told = |at: &&u32| slots.get(**at).map_or(false, |member| member.told > 0);
                number = members.iter().filter(is_told).count(); // the same on all machines
            }
            if may_publish && *published != number {
                out.push(Announcement::of_count(channel, number));
                *next = after(now, COUNT_INTERVAL);
                if !self.is_stored {
                    *published = number; // otherwise the store tells it
                }
            } else if may_publish && members.is_empty() {
                if let Some(due) = *due {
                    self.counting.remove(&(due, Arc::clone(channel)));
                }
                *count = None;
            }
        }
        if members.is_empty() && count.is_none() {
            self.rooms.remove(channel);
        } else if let Some(Count { next, .. }) = count.as_ref().filter(|count| count.next > now) {
            let at = *next;
            self.look_at_number(channel, at);
        }
    }

    /// Looks at the number of a channel's members at a time, if not before.
    fn look_at_number(&mut self, channel: &Arc<[u8]>, at: Instant) {
        let due = match self.count_mut(channel) {
            Some(count) if count.due.map_or(true, |due| at < due) => count.due.replace(at),
            _ => return,
        };
        if let Some(due) = due {
            self.counting.remove(&(due, Arc::clone(channel)));
        }
        self.counting.insert((at, Arc::clone(channel)));
    }
}

saved!(Count { published, next, due });
saved!(Changing { announced, told });

/// What is due follows from the rest.
impl Saved for Members {
    fn save(&self, to: &mut Saver) {
        let mut streams: HashMap<u32, Vec<StreamId>> = HashMap::new();
        self.streams.iter().for_each(|(stream, at)| streams.entry(*at).or_default().push(*stream));
        let saved = |(at, member): (u32, &Member)| {
            member.saved(
                streams.remove(&at).unwrap_or_default(),
                self.lingering.of(at),
                self.changing.get(&at).cloned(),
            )
        };
        to.add(&self.members.iter().map(saved).collect::<Vec<SavedMember>>());
        let counts = self.rooms.iter().filter_map(|(channel, room)| Some((Arc::clone(channel), room.count.clone()?)));
        to.add(&counts.collect::<HashMap<Arc<[u8]>, Count>>());
        to.add(&self.wills);
        to.add(&self.refused);
        to.add(&self.is_stored);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        let mut members = Self::default();
        for saved in from.take::<Vec<SavedMember>>()? {
            let common = members.common(&saved.channel, &saved.id, &saved.kept.leave);
            let leaves_at = saved.leaves_at;
            let (member, streams, changing) = saved.restored(common);
            let at = if member.is_here() { members.add(member) } else { members.members.add(member) };
            members.changing.extend(changing.map(|changing| (at, changing)));
            leaves_at.into_iter().for_each(|leaves_at| members.lingering.add(at, leaves_at));
            members.streams.extend(streams.into_iter().map(|stream| (stream, at)));
        }
        for (channel, count) in from.take::<HashMap<Arc<[u8]>, Count>>()? {
            let common = members.common(&channel, &[], &Unnumbered::default());
            members.counting.extend(count.due.map(|due| (due, Arc::clone(&common.channel))));
            let room = members.rooms.entry(Arc::clone(&common.channel));
            room.or_insert_with(|| Room::new(common)).count = Some(count);
        }
        (members.wills, members.refused, members.is_stored) = (from.take()?, from.take()?, from.take()?);
        Ok(members)
    }
}
