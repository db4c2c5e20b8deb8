//! What this machine announces of its members to the store: one change of a member at a time, in their order.
//!
//! A change waits while an earlier one of the same member is asked for. If the store fails it, it is asked again when the store
//! is up. Changes that cancel each other out are not asked for, so at most three of a member wait: that it has gone, that it
//! is here, and that its data has changed.

use super::member_drafts::{is_here, kept_of, key_of, packed, unpacked, EntryOrigin, MemberKey};
use crate::store::{Draft, MemberPart};
use eventsource_xs::hub::KeptMember;
use eventsource_xs::saved;
use eventsource_xs::saved::{Malformed, Restorer, Saved, Saver};
use std::collections::HashMap;

/// The members of this machine.
#[derive(Debug)]
pub struct OwnMembers {
    members: HashMap<MemberKey, Own>,
    /// Whether the store is that of other machines, too.
    is_shared: bool,
}

/// The members, for another program.
#[derive(Debug)]
pub struct SavedMembers(HashMap<MemberKey, Own>);

/// A member. It is small while nothing of it waits.
#[derive(Clone, Debug, Default)]
struct Own {
    /// The [packed] draft that says that the member is here; none if it has gone.
    here: Option<Box<[u8]>>,
    /// Whether a process before this one has announced that.
    is_of_before: bool,
    /// Whether the store has it.
    is_stored: bool,
    /// What waits for the store, if anything.
    pending: Option<Box<Pending>>,
}

#[derive(Clone, Debug, Default)]
struct Pending {
    /// What the store was asked last, unless it has done that.
    asked: Option<Draft>,
    /// Whether it has still to answer. Otherwise it has failed, and has perhaps done it.
    is_asking: bool,
    /// What it is asked then.
    changes: Vec<Draft>,
    /// Says that the member is here as it was before these changes of its data.
    before: Option<Box<[u8]>>,
    /// How often it was announced since nothing waited.
    announced: u32,
}

/// What is to be done for a member.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The store is asked.
    Ask(Draft),
    /// The store has still to answer.
    Wait,
    /// The store has answered all that was announced: so often it was.
    Confirm(u32),
}

/// What follows from an entry of the store for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Nothing: what this machine has announced comes after the entry, or it is not its member.
    None,
    /// The member of a process before has gone.
    Forget,
    /// It is announced again: another machine has taken this one for dead.
    Reannounce,
    /// It has the data of another machine.
    ReplaceData,
    /// A process before this one has announced it.
    Adopt,
}

saved!(Own { here, is_of_before, is_stored, pending });
saved!(Pending { asked, is_asking, changes, before, announced });

impl Saved for SavedMembers {
    fn save(&self, to: &mut Saver) {
        to.add(&self.0);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        from.take().map(Self)
    }
}

impl Own {
    fn is_idle(&self) -> bool {
        self.pending.as_ref().is_none_or(|pending| pending.asked.is_none() && pending.changes.is_empty())
    }

    /// Returns true if nothing waits but that it is here. The store ignores the data of that if others were faster.
    fn has_only_here_pending(&self) -> bool {
        self.pending.iter().flat_map(|pending| pending.asked.iter().chain(&pending.changes)).all(is_here)
    }

    fn is_asking(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.is_asking)
    }

    fn pending(&mut self) -> &mut Pending {
        self.pending.get_or_insert_default()
    }

    fn has_here_pending(&self) -> bool {
        self.pending.iter().flat_map(|pending| &pending.changes).any(is_here)
    }

    fn add_change(&mut self, draft: Draft) {
        let Pending { asked, changes, .. } = self.pending();
        let here = changes.iter().position(is_here);
        match (&draft.member, here) {
            (MemberPart::Gone, Some(at)) => {
                changes.truncate(at);
                // What was to be announced again was perhaps announced before.
                let last = changes.last().or(asked.as_ref());
                if last.is_none_or(|last| last.member != MemberPart::Gone) {
                    changes.push(draft);
                }
            }
            _ => {
                changes.retain(|change| !matches!(change.member, MemberPart::Changed(_)));
                changes.push(draft);
            }
        }
    }

    /// Announces once more that the member is here: another machine has taken this one for dead.
    fn reannounce(&mut self, key: &MemberKey) {
        let again = self.here.as_ref().filter(|_| !self.has_here_pending()).map(|here| unpacked(key, here));
        again.into_iter().for_each(|draft| self.add_change(draft));
    }

    /// Returns what follows from an entry that says that the member is here, or has gone.
    fn effect_of(&self, is_gone: bool, origin: EntryOrigin) -> Effect {
        let is_overtaken = origin == EntryOrigin::OwnMember || !self.has_only_here_pending();
        match is_gone {
            true if self.is_of_before => Effect::Forget,
            _ if is_overtaken => Effect::None,
            true if self.here.is_some() && origin == EntryOrigin::Other => Effect::Reannounce,
            false if self.here.is_some() => Effect::ReplaceData,
            false if origin == EntryOrigin::History => Effect::Adopt,
            _ => Effect::None,
        }
    }

    /// Takes the data of another machine, also for what waits.
    fn replace_data(&mut self, key: &MemberKey, draft: &Draft) {
        self.here = packed(draft);
        let here = self.here.as_ref().map(|here| unpacked(key, here));
        let waiting = self.pending.iter_mut().flat_map(|pending| &mut pending.changes);
        waiting.zip(here).for_each(|(change, here)| *change = here);
    }

    /// Returns what the store was asked, which it has done, or will not do.
    fn take_asked(&mut self) -> Option<Draft> {
        let pending = self.pending();
        pending.is_asking = false;
        pending.asked.take()
    }
}

impl OwnMembers {
    pub fn new(is_shared: bool) -> Self {
        Self::restore(SavedMembers(HashMap::new()), is_shared)
    }

    /// Continues with the members of another program.
    pub fn restore(SavedMembers(members): SavedMembers, is_shared: bool) -> Self {
        Self { members, is_shared }
    }

    pub fn saved(&self) -> SavedMembers {
        SavedMembers(self.members.clone())
    }

    /// Adds what a member announces. Data may be changed of one that is here on another machine only.
    pub fn add_announcement(&mut self, draft: Draft) {
        let own = self.members.entry(key_of(&draft)).or_default();
        let is_change = matches!(draft.member, MemberPart::Changed(_));
        if own.here.is_some() || !is_change {
            let before = std::mem::replace(&mut own.here, packed(&draft)).filter(|_| is_change);
            own.is_of_before = false;
            let pending = own.pending();
            pending.before = pending.before.take().or(before);
        }
        own.pending().announced += u32::from(draft.member != MemberPart::Gone);
        own.add_change(draft);
    }

    /// Returns what is to be done for a member. A store of this machine alone is not asked for what it has already.
    pub fn next_request(&mut self, key: &MemberKey) -> Next {
        let is_shared = self.is_shared;
        let Some(own) = self.members.get_mut(key).filter(|own| !own.is_asking()) else { return Next::Wait };
        while !own.is_idle() {
            let is_stored = own.is_stored;
            let pending = own.pending();
            let draft = pending.asked.take().unwrap_or_else(|| pending.changes.remove(0));
            let is_needed = match draft.member {
                MemberPart::Here(_) => is_shared || !is_stored,
                _ => is_shared || is_stored,
            };
            if is_needed {
                (pending.asked, pending.is_asking) = (Some(draft.clone()), true);
                return Next::Ask(draft);
            }
        }
        let announced = own.pending.take().map_or(0, |pending| pending.announced);
        if own.here.is_none() {
            self.members.remove(key);
        }
        Next::Confirm(announced)
    }

    /// Called when the store has done what it was asked.
    pub fn confirm_request(&mut self, key: &MemberKey) {
        if let Some(own) = self.members.get_mut(key) {
            let done = own.take_asked();
            own.pending().before = done.as_ref().and_then(packed);
        }
    }

    /// Called when the store has failed. Returns true if it is asked again: not if it was to be told of a member that has
    /// gone meanwhile, and cannot have done it.
    pub fn fail_request(&mut self, key: &MemberKey, is_certain: bool) -> bool {
        let Some(own) = self.members.get_mut(key) else { return false };
        let is_gone = own.here.is_none() && !own.is_stored;
        let pending = own.pending();
        pending.is_asking = false;
        let is_over = is_certain && is_gone && pending.asked.as_ref().is_some_and(is_here);
        if is_over {
            (pending.asked, pending.changes) = (None, Vec::new());
        }
        !is_over
    }

    /// Called when the store will not do what it was asked. Returns true if the member is not here for that. Data that
    /// cannot change are as before.
    pub fn refuse_request(&mut self, key: &MemberKey) -> bool {
        let Some(own) = self.members.get_mut(key) else { return false };
        let asked = own.take_asked();
        if asked.as_ref().is_some_and(is_here) {
            self.members.remove(key);
            return true;
        }
        if own.is_idle() && asked.is_some_and(|draft| matches!(draft.member, MemberPart::Changed(_))) {
            let before = own.pending().before.take();
            own.here = own.here.take().map(|here| before.unwrap_or(here));
        }
        false
    }

    /// Applies an entry of the store. Where machines share it, members that are only on others are none of this one's.
    pub fn apply_entry(&mut self, draft: &Draft, origin: EntryOrigin) {
        let key = key_of(draft);
        let is_gone = draft.member == MemberPart::Gone;
        let own = match is_gone || self.is_shared {
            true => self.members.get_mut(&key),
            false => Some(self.members.entry(key.clone()).or_default()),
        };
        let Some(own) = own else { return };
        let effect = own.effect_of(is_gone, origin);
        own.is_stored = !is_gone;
        match effect {
            Effect::None => {}
            Effect::Forget => own.here = None,
            Effect::Reannounce => own.reannounce(&key),
            Effect::ReplaceData => own.replace_data(&key, draft),
            Effect::Adopt => (own.here, own.is_of_before) = (packed(draft), true),
        }
    }

    /// Called when another history begins: its entries say which members the store has.
    pub fn forget_stored(&mut self) {
        self.members.values_mut().for_each(|own| own.is_stored = false);
    }

    /// Announces the members again that are here, because the store may not know. Returns all members of which something waits.
    pub fn reannounce_members(&mut self) -> Vec<MemberKey> {
        for (key, own) in &mut self.members {
            let again = own.here.as_ref().filter(|_| self.is_shared || !own.is_stored && own.is_idle());
            let again = again.filter(|_| !own.has_here_pending()).map(|here| unpacked(key, here));
            again.into_iter().for_each(|draft| own.pending().changes.insert(0, draft));
            // a change of its data waits after it
        }
        self.waiting()
    }

    /// Returns the members of which something waits, in an order that is always the same.
    pub fn waiting(&self) -> Vec<MemberKey> {
        let waits = |own: &Own| !own.is_asking() && (!own.is_idle() || own.here.is_none());
        let mut keys: Vec<_> = self.members.iter().filter(|(_, own)| waits(own)).map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns the members that are here, with what a store keeps of them.
    pub fn here(&self) -> impl Iterator<Item = (&MemberKey, KeptMember)> {
        self.members.iter().filter_map(|(key, own)| match &unpacked(key, own.here.as_ref()?).member {
            MemberPart::Here(here) => Some((key, kept_of(here))),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemberHere;
    use eventsource_xs::hub::Retain;

    fn draft(member: MemberPart) -> Draft {
        let retain = if member == MemberPart::Gone { Retain::Forget } else { Retain::Newest };
        Draft { channel: (*b"room").into(), key: (*b"ann").into(), retain, member, ..Draft::default() }
    }

    fn here() -> Draft {
        draft(MemberPart::Here(Box::default()))
    }

    fn changed() -> Draft {
        draft(MemberPart::Changed(Box::default()))
    }

    /// What the store is asked, one after the other.
    fn asked(own: &mut OwnMembers) -> Vec<Draft> {
        let key = key_of(&here());
        let next = || {
            let Next::Ask(draft) = own.next_request(&key) else { return None };
            own.confirm_request(&key);
            Some(draft)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_change_of_a_member_of_another_machine_does_not_make_it_one_of_this() {
        let mut own = OwnMembers::new(true);
        own.add_announcement(changed());
        assert_eq!(asked(&mut own), [changed()]);
        own.apply_entry(&draft(MemberPart::Gone), EntryOrigin::Other);
        assert!(own.reannounce_members().is_empty() && own.here().next().is_none());
    }

    #[test]
    fn a_change_that_waits_follows_its_member_that_is_announced_again() {
        let mut own = OwnMembers::new(true);
        own.add_announcement(here());
        assert_eq!(asked(&mut own), [here()]);
        own.add_announcement(changed());
        own.reannounce_members();
        assert_eq!(asked(&mut own), [here(), changed()]);
    }

    #[test]
    fn a_refused_change_is_not_announced_again() {
        let data = |text: &str| Box::new(MemberHere { rest: text.as_bytes().into(), ..MemberHere::default() });
        let mut own = OwnMembers::new(true);
        let key = key_of(&here());
        own.add_announcement(here());
        assert_eq!(asked(&mut own), [here()]);
        for text in ["small", "large", "larger"] {
            own.add_announcement(draft(MemberPart::Changed(data(text))));
            assert!(matches!(own.next_request(&key), Next::Ask(_)));
            match text {
                "small" => own.confirm_request(&key),
                _ => assert!(!own.refuse_request(&key)),
            }
            assert!(matches!(own.next_request(&key), Next::Confirm(_)));
        }
        own.add_announcement(draft(MemberPart::Changed(data("large"))));
        assert!(matches!(own.next_request(&key), Next::Ask(_)));
        own.add_announcement(draft(MemberPart::Changed(data("larger"))));
        assert!(!own.refuse_request(&key), "another change waits");
        assert!(matches!(own.next_request(&key), Next::Ask(_)));
        assert!(!own.refuse_request(&key));
        own.reannounce_members();
        assert_eq!(asked(&mut own), [draft(MemberPart::Here(data("small")))]);
    }

    #[test]
    fn newer_data_of_another_machine_counts_while_a_member_is_announced() {
        let data = |text: &str| Box::new(MemberHere { rest: text.as_bytes().into(), ..MemberHere::default() });
        let mut own = OwnMembers::new(true);
        let key = key_of(&here());
        own.add_announcement(draft(MemberPart::Here(data("old"))));
        assert!(matches!(own.next_request(&key), Next::Ask(_)));
        let newer = draft(MemberPart::Here(data("new")));
        own.apply_entry(&newer, EntryOrigin::Other);
        own.confirm_request(&key);
        own.reannounce_members();
        assert_eq!(asked(&mut own), std::slice::from_ref(&newer));
        own.add_announcement(draft(MemberPart::Changed(data("newest"))));
        assert!(matches!(own.next_request(&key), Next::Ask(_)));
        own.apply_entry(&newer, EntryOrigin::Other);
        own.confirm_request(&key);
        own.reannounce_members();
        assert_eq!(asked(&mut own), [draft(MemberPart::Here(data("newest")))], "a change on its way came after it");
    }

    #[test]
    fn a_member_that_was_to_be_announced_again_announces_that_it_has_gone() {
        let mut own = OwnMembers::new(true);
        own.add_announcement(here());
        assert_eq!(asked(&mut own), [here()]);
        own.reannounce_members();
        own.add_announcement(draft(MemberPart::Gone));
        assert_eq!(asked(&mut own), [draft(MemberPart::Gone)]);
        assert!(own.members.is_empty());
    }

    #[test]
    fn a_member_of_whom_the_store_was_not_told_is_not_kept_when_it_has_gone() {
        let mut own = OwnMembers::new(true);
        let key = key_of(&here());
        own.add_announcement(here());
        assert_eq!(own.next_request(&key), Next::Ask(here()));
        own.add_announcement(draft(MemberPart::Gone));
        assert!(!own.fail_request(&key, true));
        assert_eq!(own.next_request(&key), Next::Confirm(1));
        assert!(own.members.is_empty());
    }
}
