//! What this machine says of its members to the store: one change of a member at a time, in their order.
//!
//! A change waits while an earlier one of the same member is asked for. If the store fails it, it is said again when the store
//! is up. Changes that cancel each other out are not said, so at most three of a member wait: that it has gone, that it is
//! here, and that its data has changed.

use crate::store::{Draft, MemberHere, MemberPart};
use eventsource_xs::event::Unnumbered;
use eventsource_xs::hub::{Announcement, KeptMember, MemberData, Retain, Says};
use eventsource_xs::saved;
use eventsource_xs::saved::{Malformed, Restorer, Saved, Saver};
use eventsource_xs::wire::FieldList;
use std::collections::HashMap;

/// A channel and a member's id there.
pub type MemberKey = (Box<[u8]>, Box<[u8]>);

/// The members of this machine.
#[derive(Clone, Debug, Default)]
pub struct OwnMembers(HashMap<MemberKey, Own>);

/// A member. It is small while it has nothing to say.
#[derive(Clone, Debug, Default)]
struct Own {
    /// The [packed](packed) draft that says that the member is here; none if it has gone.
    here: Option<Box<[u8]>>,
    /// Whether a process before this one has said that.
    is_of_before: bool,
    /// Whether the store has it.
    is_stored: bool,
    /// What it has to say, if anything.
    saying: Option<Box<Saying>>,
}

#[derive(Clone, Debug, Default)]
struct Saying {
    /// What the store was asked last, unless it has done that.
    asked: Option<Draft>,
    /// Whether it has still to answer. Otherwise it has failed, and has perhaps done it.
    is_asking: bool,
    /// What it is asked then.
    changes: Vec<Draft>,
    /// Says that the member is here as it was before these changes of its data.
    before: Option<Box<[u8]>>,
    /// How often it was announced since it had nothing to say.
    announced: u32,
}

/// What is to be done for a member.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The store is asked.
    Ask(Draft),
    /// The store has still to answer.
    Wait,
    /// The store has answered all that was announced so often.
    Rest(u32),
}

saved!(Own { here, is_of_before, is_stored, saying });
saved!(Saying { asked, is_asking, changes, before, announced });

impl Saved for OwnMembers {
    fn save(&self, to: &mut Saver) {
        to.add(&self.0);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        from.take().map(Self)
    }
}

/// Returns the draft of what a member or a will announces.
pub fn draft_of(announcement: Announcement, kept: Option<KeptMember>) -> Draft {
    let here = || {
        kept.map(|KeptMember { since, linger, data: MemberData { text, is_json }, leave }| {
            let rest = [&since.to_le_bytes()[..], &[is_json.into()], &text].concat().into();
            Box::new(MemberHere { linger, leave: FieldList::of_block(leave.bytes(), false), rest })
        })
    };
    let member = match announcement.says {
        Says::Nothing | Says::Number => MemberPart::None,
        Says::Here => MemberPart::Here(here().unwrap_or_default()),
        Says::Changed => MemberPart::Changed(here().unwrap_or_default()),
        Says::Gone => MemberPart::Gone,
    };
    let fields = FieldList::of_block(announcement.event.bytes(), false);
    Draft {
        channel: announcement.channel,
        key: announcement.key,
        retain: announcement.retain,
        fields,
        member,
        ..Draft::default()
    }
}

/// Returns what a store has kept of a member.
pub fn kept_of(MemberHere { linger, leave, rest }: &MemberHere) -> KeptMember {
    let (since, data) = rest.split_first_chunk().unwrap_or((&[0; 8], &[]));
    let (is_json, text) = data.split_first().unwrap_or((&0, &[]));
    KeptMember {
        since: u64::from_le_bytes(*since),
        linger: *linger,
        data: MemberData { text: text.into(), is_json: *is_json != 0 },
        leave: Unnumbered::of(leave.fields().iter()),
    }
}

fn key_of(draft: &Draft) -> MemberKey {
    (draft.channel.clone(), draft.key.clone())
}

fn is_here(draft: &Draft) -> bool {
    matches!(draft.member, MemberPart::Here(_))
}

/// Returns the draft that says that a member is here, as one that says so or has changed it does, in one piece: there is one
/// for each member.
fn packed(draft: &Draft) -> Option<Box<[u8]>> {
    let fields = draft.fields.as_bytes();
    let length = fields.len() as u32; // a message has less than 4 GB
    match draft.member {
        MemberPart::Here(_) | MemberPart::Changed(_) => {
            Some([&length.to_le_bytes()[..], fields, &draft.member.encode()].concat().into())
        }
        MemberPart::None | MemberPart::Gone => None,
    }
}

/// Returns the draft of what is [packed].
fn unpacked((channel, key): &MemberKey, here: &[u8]) -> Draft {
    let (length, rest) = here.split_first_chunk().unwrap_or((&[0; 4], &[]));
    let (fields, member) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).unwrap_or_default();
    let fields = FieldList::from_bytes(fields).unwrap_or_default();
    let (channel, key, member) = (channel.clone(), key.clone(), MemberPart::decode(member));
    Draft { channel, key, retain: Retain::Newest, fields, member, ..Draft::default() }
}

impl Own {
    fn is_idle(&self) -> bool {
        self.saying.as_ref().is_none_or(|saying| saying.asked.is_none() && saying.changes.is_empty())
    }

    /// Returns true if all that it has to say is that it is here. The store ignores the data of that if others were faster.
    fn has_only_here_to_say(&self) -> bool {
        self.saying.iter().flat_map(|saying| saying.asked.iter().chain(&saying.changes)).all(is_here)
    }

    fn is_asking(&self) -> bool {
        self.saying.as_ref().is_some_and(|saying| saying.is_asking)
    }

    fn saying(&mut self) -> &mut Saying {
        self.saying.get_or_insert_default()
    }

    fn says_here(&self) -> bool {
        self.saying.iter().flat_map(|saying| &saying.changes).any(is_here)
    }

    fn add(&mut self, draft: Draft) {
        let Saying { asked, changes, .. } = self.saying();
        let here = changes.iter().position(is_here);
        match (&draft.member, here) {
            (MemberPart::Gone, Some(at)) => {
                changes.truncate(at);
                // What was to be said again was perhaps said before.
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

    /// Returns what the store was asked, which it has done, or will not do.
    fn take_asked(&mut self) -> Option<Draft> {
        let saying = self.saying();
        saying.is_asking = false;
        saying.asked.take()
    }
}

impl OwnMembers {
    /// Takes note of what a member says. Data may be changed of one that is here on another machine only.
    pub fn announce(&mut self, draft: Draft) {
        let own = self.0.entry(key_of(&draft)).or_default();
        let is_change = matches!(draft.member, MemberPart::Changed(_));
        if own.here.is_some() || !is_change {
            let before = std::mem::replace(&mut own.here, packed(&draft)).filter(|_| is_change);
            own.is_of_before = false;
            let saying = own.saying();
            saying.before = saying.before.take().or(before);
        }
        own.saying().announced += u32::from(draft.member != MemberPart::Gone);
        own.add(draft);
    }

    /// Returns what is to be done for a member. A store of this machine alone is not asked for what it has already.
    pub fn next(&mut self, key: &MemberKey, is_shared: bool) -> Next {
        let Some(own) = self.0.get_mut(key).filter(|own| !own.is_asking()) else { return Next::Wait };
        while !own.is_idle() {
            let is_stored = own.is_stored;
            let saying = own.saying();
            let draft = saying.asked.take().unwrap_or_else(|| saying.changes.remove(0));
            let is_needed = match draft.member {
                MemberPart::Here(_) => is_shared || !is_stored,
                _ => is_shared || is_stored,
            };
            if is_needed {
                (saying.asked, saying.is_asking) = (Some(draft.clone()), true);
                return Next::Ask(draft);
            }
        }
        let announced = own.saying.take().map_or(0, |saying| saying.announced);
        if own.here.is_none() {
            self.0.remove(key);
        }
        Next::Rest(announced)
    }

    /// Takes note that the store has done what it was asked.
    pub fn done(&mut self, key: &MemberKey) {
        if let Some(own) = self.0.get_mut(key) {
            let done = own.take_asked();
            own.saying().before = done.as_ref().and_then(packed);
        }
    }

    /// Takes note that the store has failed. Returns true if it is asked again: not if it was to be told of a member that has
    /// gone meanwhile, and cannot have done it.
    pub fn failed(&mut self, key: &MemberKey, is_certain: bool) -> bool {
        let Some(own) = self.0.get_mut(key) else { return false };
        let is_gone = own.here.is_none() && !own.is_stored;
        let saying = own.saying();
        saying.is_asking = false;
        let is_over = is_certain && is_gone && saying.asked.as_ref().is_some_and(is_here);
        if is_over {
            (saying.asked, saying.changes) = (None, Vec::new());
        }
        !is_over
    }

    /// Takes note that the store will not do what it was asked. Returns true if the member is not here for that. Data that
    /// cannot change are as before.
    pub fn refused(&mut self, key: &MemberKey) -> bool {
        let Some(own) = self.0.get_mut(key) else { return false };
        let asked = own.take_asked();
        if asked.as_ref().is_some_and(is_here) {
            self.0.remove(key);
            return true;
        }
        if own.is_idle() && asked.is_some_and(|draft| matches!(draft.member, MemberPart::Changed(_))) {
            let before = own.saying().before.take();
            own.here = own.here.take().map(|here| before.unwrap_or(here));
        }
        false
    }

    /// Takes note of an entry of the store.
    pub fn note(&mut self, draft: &Draft, is_own: bool, is_shared: bool, is_new: bool) {
        let key = key_of(draft);
        let own = match draft.member {
            MemberPart::None => return,
            MemberPart::Gone => self.0.get_mut(&key),
            _ if is_shared => self.0.get_mut(&key),
            _ => Some(self.0.entry(key_of(draft)).or_default()),
        };
        let Some(own) = own else { return };
        let is_newer = !is_own && own.has_only_here_to_say();
        own.is_stored = draft.member != MemberPart::Gone;
        if !own.is_stored && own.is_of_before {
            own.here = None;
        } else if !own.is_stored {
            // Another machine has taken this one for dead.
            let again =
                own.here.as_ref().filter(|_| is_new && is_newer && !own.says_here()).map(|here| unpacked(&key, here));
            again.into_iter().for_each(|draft| own.add(draft));
        } else if own.here.is_some() && is_newer {
            own.here = packed(draft);
            let here = own.here.as_ref().map(|here| unpacked(&key, here));
            let waiting = own.saying.iter_mut().flat_map(|saying| &mut saying.changes);
            waiting.zip(here).for_each(|(change, here)| *change = here);
        } else if !is_new && is_newer {
            (own.here, own.is_of_before) = (packed(draft), true);
        }
    }

    /// Takes note that another history begins: what the store has will be told.
    pub fn begin(&mut self) {
        self.0.values_mut().for_each(|own| own.is_stored = false);
    }

    /// Says again that members are here, because the store may not know. Returns all members with something to say.
    pub fn say_again(&mut self, is_shared: bool) -> Vec<MemberKey> {
        for (key, own) in &mut self.0 {
            let again = own.here.as_ref().filter(|_| is_shared || !own.is_stored && own.is_idle());
            let again = again.filter(|_| !own.says_here()).map(|here| unpacked(key, here));
            again.into_iter().for_each(|draft| own.saying().changes.insert(0, draft));
            // a change of its data waits after it
        }
        self.waiting()
    }

    /// Returns the members with something to say, in an order that is always the same.
    pub fn waiting(&self) -> Vec<MemberKey> {
        let waits = |own: &Own| !own.is_asking() && (!own.is_idle() || own.here.is_none());
        let mut keys: Vec<_> = self.0.iter().filter(|(_, own)| waits(own)).map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys
    }

    /// Returns true if there are none.
    pub fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the members that are here, with what a store keeps of them.
    pub fn here(&self) -> impl Iterator<Item = (&MemberKey, KeptMember)> {
        self.0.iter().filter_map(|(key, own)| match &unpacked(key, own.here.as_ref()?).member {
            MemberPart::Here(here) => Some((key, kept_of(here))),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let Next::Ask(draft) = own.next(&key, true) else { return None };
            own.done(&key);
            Some(draft)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_change_of_a_member_of_another_machine_does_not_make_it_one_of_this() {
        let mut own = OwnMembers::default();
        own.announce(changed());
        assert_eq!(asked(&mut own), [changed()]);
        own.note(&draft(MemberPart::Gone), false, true, true);
        assert!(own.say_again(true).is_empty() && own.here().next().is_none());
    }

    #[test]
    fn a_change_that_waits_is_said_after_its_member_is_announced_again() {
        let mut own = OwnMembers::default();
        own.announce(here());
        assert_eq!(asked(&mut own), [here()]);
        own.announce(changed());
        own.say_again(true);
        assert_eq!(asked(&mut own), [here(), changed()]);
    }

    #[test]
    fn a_refused_change_is_not_announced_again() {
        let data = |text: &str| Box::new(MemberHere { rest: text.as_bytes().into(), ..MemberHere::default() });
        let mut own = OwnMembers::default();
        let key = key_of(&here());
        own.announce(here());
        assert_eq!(asked(&mut own), [here()]);
        for text in ["small", "large", "larger"] {
            own.announce(draft(MemberPart::Changed(data(text))));
            assert!(matches!(own.next(&key, true), Next::Ask(_)));
            match text {
                "small" => own.done(&key),
                _ => assert!(!own.refused(&key)),
            }
            assert!(matches!(own.next(&key, true), Next::Rest(_)));
        }
        own.announce(draft(MemberPart::Changed(data("large"))));
        assert!(matches!(own.next(&key, true), Next::Ask(_)));
        own.announce(draft(MemberPart::Changed(data("larger"))));
        assert!(!own.refused(&key), "another change waits");
        assert!(matches!(own.next(&key, true), Next::Ask(_)));
        assert!(!own.refused(&key));
        own.say_again(true);
        assert_eq!(asked(&mut own), [draft(MemberPart::Here(data("small")))]);
    }

    #[test]
    fn newer_data_of_another_machine_counts_while_a_member_is_announced() {
        let data = |text: &str| Box::new(MemberHere { rest: text.as_bytes().into(), ..MemberHere::default() });
        let mut own = OwnMembers::default();
        let key = key_of(&here());
        own.announce(draft(MemberPart::Here(data("old"))));
        assert!(matches!(own.next(&key, true), Next::Ask(_)));
        let newer = draft(MemberPart::Here(data("new")));
        own.note(&newer, false, true, true);
        own.done(&key);
        own.say_again(true);
        assert_eq!(asked(&mut own), std::slice::from_ref(&newer));
        own.announce(draft(MemberPart::Changed(data("newest"))));
        assert!(matches!(own.next(&key, true), Next::Ask(_)));
        own.note(&newer, false, true, true);
        own.done(&key);
        own.say_again(true);
        assert_eq!(asked(&mut own), [draft(MemberPart::Here(data("newest")))], "a change on its way came after it");
    }

    #[test]
    fn a_member_that_was_to_be_announced_again_says_that_it_has_gone() {
        let mut own = OwnMembers::default();
        own.announce(here());
        assert_eq!(asked(&mut own), [here()]);
        own.say_again(true);
        own.announce(draft(MemberPart::Gone));
        assert_eq!(asked(&mut own), [draft(MemberPart::Gone)]);
        assert!(own.0.is_empty());
    }

    #[test]
    fn a_member_of_whom_the_store_was_not_told_is_not_kept_when_it_has_gone() {
        let mut own = OwnMembers::default();
        let key = key_of(&here());
        own.announce(here());
        assert_eq!(own.next(&key, true), Next::Ask(here()));
        own.announce(draft(MemberPart::Gone));
        assert!(!own.failed(&key, true));
        assert_eq!(own.next(&key, true), Next::Rest(1));
        assert!(own.0.is_empty());
    }
}
