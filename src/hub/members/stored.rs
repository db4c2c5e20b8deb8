//! Members over a store: what this machine announces of its members waits here until the store has it, and what the store
//! tells, in its order and for all machines, is listed.

use super::super::presence::{channel_of_kept, kept_channel, Announcement, KeptMember, MemberData, Statement};
use super::member::Member;
use super::pending::{Here, MemberChange, Pending};
use super::{MemberKey, Members, OrderOf};
use crate::event::Unsequenced;
use crate::stream::after;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A member that lingers, and when it leaves.
pub type LingeringMember = (MemberKey, Instant);

/// The machine that has asked for the entry of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryOrigin {
    /// This machine, for a member of its own.
    OwnMember,
    /// Anybody else, just now.
    Other,
    /// Anybody else, before the store has begun.
    History,
}

/// The bit of a member that a store has: a machine may have had it counted only, and another one announced.
fn stored_bit(is_counted: bool) -> u8 {
    1 << u8::from(is_counted)
}

fn key_of(member: &Member) -> MemberKey {
    (kept_channel(&member.common.channel, member.is_counted), member.id().into())
}

/// Returns the change that says that a member is here.
fn here_again(member: &Member, Here { event, data }: &Here) -> MemberChange {
    let kept = KeptMember { data: data.clone(), ..member.kept() };
    (member.announcement(Statement::Here, event.clone()), Some(kept))
}

impl Members {
    /// The members of a hub whose events a store has, which is that of other machines, too, or not.
    pub fn stored(is_shared: bool) -> Self {
        let order = if is_shared { OrderOf::SharedStore } else { OrderOf::Store };
        Self { order, ..Self::default() }
    }

    /// Returns true if a store has them.
    pub(in crate::hub) fn are_stored(&self) -> bool {
        self.order != OrderOf::Hub
    }

    /// Lets the store be asked for a change of a member, before its data change.
    pub(super) fn announce_to_store(&mut self, at: u32, announcement: Announcement, data: Option<&MemberData>) {
        let member = some_or!(self.lists.get_mut(at), return);
        let kept = data.map(|data| KeptMember { data: data.clone(), ..member.kept() });
        let (statement, change) = (announcement.statement, (announcement, kept));
        let stored = member.is_stored().then(|| member.data());
        if statement != Statement::Changed {
            member.here = Here::of(&change); // otherwise when the store has done it
        }
        let key = key_of(member);
        self.pending.entry(key.clone()).or_insert_with(|| Pending::new(stored)).add(change);
        self.changed.push(key);
    }

    /// Takes the members of which something was announced.
    pub fn take_changed(&mut self) -> Vec<MemberKey> {
        std::mem::take(&mut self.changed)
    }

    /// Returns the members of which something waits for the store, in the order of their keys.
    pub fn waiting(&self) -> Vec<MemberKey> {
        let waiting = self.pending.iter().filter(|(_, pending)| !pending.is_asking);
        waiting.map(|(key, _)| key.clone()).collect()
    }

    /// Returns what the store is to be asked for a member, unless it has still to answer. A store of this machine alone is not
    /// asked for what it has already. If nothing waits any more, the member has the data of the store, also if that has refused
    /// a change.
    pub fn next_request(&mut self, key: &MemberKey) -> Option<MemberChange> {
        let (is_shared, is_stored) = (self.order == OrderOf::SharedStore, self.is_in_store(key));
        let is_needed = |statement| is_shared || is_stored == (statement != Statement::Here);
        let pending = self.pending.get_mut(key).filter(|pending| !pending.is_asking)?;
        let request = pending.next_request(is_needed);
        if request.is_none() {
            let stored = self.pending.remove(key).and_then(|pending| pending.stored);
            if let (Some(data), Some((_, member))) = (stored, self.find_mut(key)) {
                member.set_data(&data);
            }
        }
        request
    }

    fn find(&self, (channel, id): &MemberKey) -> Option<&Member> {
        self.lists.get(self.lists.find(channel_of_kept(channel).0, id)?)
    }

    pub(super) fn find_mut(&mut self, (channel, id): &MemberKey) -> Option<(u32, &mut Member)> {
        self.lists.find_mut(channel_of_kept(channel).0, id)
    }

    fn is_in_store(&self, key: &MemberKey) -> bool {
        self.find(key).map_or(false, |member| member.stored & stored_bit(channel_of_kept(&key.0).1) > 0)
    }

    /// Called when the store has done what it was asked for a member.
    pub fn confirm_request(&mut self, key: &MemberKey) {
        let pending = self.pending.get_mut(key);
        let done = pending.and_then(|pending| pending.take_asked().filter(|_| !pending.has_here()));
        let changed = done.filter(|(announcement, _)| announcement.statement == Statement::Changed);
        let member = self.find_mut(key).filter(|(_, member)| member.is_own);
        if let (Some(change), Some((_, member))) = (&changed, member) {
            member.here = Here::of(change);
        }
    }

    /// Called when the store has failed. Returns true if it is asked again: not if it was to be told of a member that has
    /// gone meanwhile, and cannot have done it.
    pub fn fail_request(&mut self, key: &MemberKey, is_certain: bool) -> bool {
        let is_gone = !self.find(key).map_or(false, |member| member.is_own) && !self.is_in_store(key);
        self.pending.get_mut(key).map_or(false, |pending| pending.fail(is_certain, is_gone))
    }

    /// Called when the store will not do what it was asked. A member that cannot come is not here: its streams have no member
    /// from here on. Data that cannot change are as before.
    pub fn refuse_request(&mut self, key: &MemberKey) {
        let refused = self.pending.get_mut(key).and_then(Pending::take_asked);
        if refused.map_or(false, |(announcement, _)| announcement.statement == Statement::Here) {
            self.refuse_member(key);
        }
    }

    pub(super) fn refuse_member(&mut self, key: &MemberKey) {
        self.refused += 1;
        self.pending.remove(key);
        if let Some((at, member)) = self.find_mut(key) {
            (member.is_own, member.stored, member.here) = (false, 0, None);
            self.remove_member(at);
            self.pack();
        }
    }

    /// Applies what an entry says of a member that the store keeps in a channel: it is here, with these data and this event, or
    /// it has gone.
    pub fn apply_entry(
        &mut self,
        key: &MemberKey,
        here: Option<(KeptMember, Unsequenced)>,
        origin: EntryOrigin,
        now: Instant,
    ) {
        match here {
            Some((kept, event)) => self.add_stored_member(key, kept, event, origin),
            None => self.remove_stored_member(key, origin),
        }
        let (channel, is_counted) = channel_of_kept(&key.0);
        if is_counted {
            let channel = self.lists.channel(channel);
            self.counts.begin(Arc::clone(&channel), now);
            self.counts.note_change(&channel, origin == EntryOrigin::OwnMember, now);
        }
    }

    /// Returns true if what this machine announces of a member comes after an entry.
    fn is_overtaken(&self, key: &MemberKey, origin: EntryOrigin) -> bool {
        let pending = self.pending.get(key);
        origin == EntryOrigin::OwnMember || pending.map_or(false, |pending| !pending.has_only_here())
    }

    /// Lists a member that the store has. Its data there are those of the list, unless this machine has still to say something
    /// of it. A store of this machine alone has the members of a process before, which are announced as they were.
    fn add_stored_member(&mut self, key: &MemberKey, kept: KeptMember, event: Unsequenced, origin: EntryOrigin) {
        let ((channel, is_counted), is_overtaken) = (channel_of_kept(&key.0), self.is_overtaken(key, origin));
        let found = self.lists.find(channel, &key.1);
        let is_of_before = origin == EntryOrigin::History && self.order == OrderOf::Store;
        let at = found.unwrap_or_else(|| {
            let common = self.lists.common(channel, &key.1, &kept.leave);
            self.lists.add(Member::new(&key.1, is_counted, kept.clone(), common))
        });
        let pending = self.pending.get_mut(key);
        if let Some(member) = self.lists.get_mut(at) {
            member.stored |= stored_bit(is_counted);
            if pending.is_none() || !is_overtaken {
                member.set_data(&kept.data);
            }
            let here = Here { event, data: kept.data };
            if let Some(pending) = pending {
                pending.note_stored(&here, is_overtaken);
            }
            if (member.is_own || is_of_before) && !is_overtaken {
                member.here = Some(here.into());
            }
        }
    }

    /// Removes a member that the store has no longer, unless it is one of this machine: another machine has taken this one for
    /// dead, so it is announced again.
    fn remove_stored_member(&mut self, key: &MemberKey, origin: EntryOrigin) {
        let ((channel, is_counted), is_overtaken) = (channel_of_kept(&key.0), self.is_overtaken(key, origin));
        if let Some(pending) = self.pending.get_mut(key) {
            pending.forget_stored();
        }
        let (at, member) = some_or!(self.lists.find_mut(channel, &key.1), return);
        member.stored &= !stored_bit(is_counted);
        if !member.is_here() {
            self.remove_member(at);
            self.pack();
        } else if let (EntryOrigin::Other, false, Some(here)) = (origin, is_overtaken, &member.here) {
            let again = here_again(member, here);
            let pending = self.pending.entry(key.clone()).or_default();
            if !pending.has_here() {
                pending.add(again);
            }
        }
    }

    /// Returns true if nobody is here, and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lists.listed == 0 && self.pending.is_empty()
    }

    /// Takes note of the number of a channel's members that the store has told.
    pub fn note_stored_number(&mut self, channel: &[u8], number: usize, now: Instant) {
        self.counts.note_published(self.lists.channel(channel), number, now);
    }

    /// Announces the members again that are here, because the store may not know. Returns all members of which something waits.
    pub fn reannounce(&mut self) -> Vec<MemberKey> {
        let Self { lists, pending, order, .. } = self;
        for member in lists.all().filter(|member| member.is_own) {
            let key = key_of(member);
            let is_stored = member.stored & stored_bit(member.is_counted) > 0;
            let is_idle = pending.get(&key).map_or(true, Pending::is_idle);
            if let Some(here) = member.here.as_ref().filter(|_| *order == OrderOf::SharedStore || !is_stored && is_idle)
            {
                let stored = member.is_stored().then(|| member.data());
                // a change of its data waits after it
                pending.entry(key).or_insert_with(|| Pending::new(stored)).add_first(here_again(member, here));
            }
        }
        self.waiting()
    }

    /// Returns the members that linger here.
    pub fn lingering(&self) -> Vec<LingeringMember> {
        let member = |(at, slot): &(Instant, u32)| Some((key_of(self.lists.get(*slot)?), *at));
        self.lingering.iter().filter_map(member).collect()
    }

    /// Begins with another history of the store, whose entries say which members that has. Streams have ended, and the
    /// members of this machine stay.
    pub fn restart(&mut self) {
        let Self { lists, pending, refused, order, shows_channels, .. } = std::mem::take(self);
        (self.pending, self.refused, self.order, self.shows_channels) = (pending, refused, order, shows_channels);
        self.pending.values_mut().for_each(Pending::forget_stored);
        for member in lists.all().filter(|member| member.is_own) {
            let mut member = member.clone();
            (member.streams, member.stored) = (0, 0);
            self.lists.add(member);
        }
    }

    /// Called when the store has reported its history. A process or a hub before this one had the streams of this machine's
    /// members, so the members linger. A member that lingered before stays for its `rest` at most, and any other one stays for
    /// `least` at least. A shared store does not say which members were on this machine, so members with a `rest` linger, too.
    /// The store has them under a former name.
    pub fn resume(&mut self, rest: impl Fn(&MemberKey) -> Option<Duration>, least: Duration, now: Instant) {
        let of_before = self.lists.slots().filter_map(|(at, member)| {
            let rest = rest(&key_of(member));
            (member.here.is_some() || rest.is_some() && member.streams == 0).then_some((at, rest))
        });
        let slots: Vec<(u32, Option<Duration>)> = of_before.collect();
        for (at, rest) in slots {
            if let Some(member) = self.lists.get_mut(at) {
                member.is_own |= member.here.is_some();
                let linger = member.linger().max(least);
                self.lingering.set(at, after(now, rest.map_or(linger, |rest| rest.min(linger))));
            }
        }
    }
}
