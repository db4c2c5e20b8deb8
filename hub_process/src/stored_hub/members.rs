//! What this machine says of its members to the store: one change of a member at a time, in their order.
//!
//! A change waits while an earlier one of the same member is asked for. If the store fails it, it is said again when the store
//! is up. Changes that cancel each other out are not said, so at most three of a member wait: that it has gone, that it is
//! here, and that its data has changed.

use crate::store::{Draft, MemberHere, MemberPart};
use eventsource_xs::event::Unnumbered;
use eventsource_xs::hub::{KeptMember, MemberData, Says};
use eventsource_xs::runtime::Announced;
use eventsource_xs::saved;
use eventsource_xs::saved::{Malformed, Restorer, Saved, Saver};
use eventsource_xs::wire::FieldList;
use std::collections::HashMap;

/// A channel and a member's id there.
pub type MemberKey = (Box<[u8]>, Box<[u8]>);

/// The members of this machine.
#[derive(Clone, Debug, Default)]
pub struct OwnMembers(HashMap<MemberKey, Own>);

#[derive(Clone, Debug, Default)]
struct Own {
    /// The draft that says that the member is here; none if it has gone.
    here: Option<Draft>,
    /// Whether a process before this one has said that.
    is_of_before: bool,
    /// Whether the store has it.
    is_stored: bool,
    /// What the store was asked last, unless it has done that.
    asked: Option<Draft>,
    /// Whether it has still to answer. Otherwise it has failed, and has perhaps done it.
    is_asking: bool,
    /// What it is asked then.
    changes: Vec<Draft>,
}

saved!(Own { here, is_of_before, is_stored, asked, is_asking, changes });

impl Saved for OwnMembers {
    fn save(&self, to: &mut Saver) {
        to.add(&self.0);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        from.take().map(Self)
    }
}

/// Returns the draft of what a member or a will announces.
pub fn draft_of(Announced { announcement, kept, .. }: Announced) -> Draft {
    let here = || {
        kept.map(|KeptMember { since, linger, data: MemberData { text, is_json }, leave }| {
            let rest = [&since.to_le_bytes()[..], &[is_json.into()], &text].concat().into();
            Box::new(MemberHere { linger, leave: FieldList::of_block(leave.bytes(), false), rest })
        })
    };
    let member = match announcement.says {
        Says::Nothing => MemberPart::None,
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

/// Returns the draft that says that a member is here, as one that says so or has changed it does.
fn here_of(draft: &Draft) -> Option<Draft> {
    match &draft.member {
        MemberPart::Here(here) | MemberPart::Changed(here) => {
            Some(Draft { member: MemberPart::Here(here.clone()), ..draft.clone() })
        }
        MemberPart::None | MemberPart::Gone => None,
    }
}

impl Own {
    fn is_idle(&self) -> bool {
        self.asked.is_none() && self.changes.is_empty()
    }

    fn add(&mut self, draft: Draft) {
        let here = self.changes.iter().position(is_here);
        match (&draft.member, here) {
            (MemberPart::Gone, Some(at)) => {
                self.changes.truncate(at);
                // What was to be said again was perhaps said before.
                let last = self.changes.last().or(self.asked.as_ref());
                if last.is_none_or(|last| last.member != MemberPart::Gone) {
                    self.changes.push(draft);
                }
            }
            _ => {
                self.changes.retain(|change| !matches!(change.member, MemberPart::Changed(_)));
                self.changes.push(draft);
            }
        }
    }
}

impl OwnMembers {
    /// Takes note of what a member says. Data may be changed of one that is here on another machine only.
    pub fn announce(&mut self, draft: Draft) {
        let own = self.0.entry(key_of(&draft)).or_default();
        if own.here.is_some() || !matches!(draft.member, MemberPart::Changed(_)) {
            (own.here, own.is_of_before) = (here_of(&draft), false);
        }
        own.add(draft);
    }

    /// Returns the next draft of a member for the store, if it can be asked now. A store of this machine alone is not asked
    /// for what it has already.
    pub fn next(&mut self, key: &MemberKey, is_shared: bool) -> Option<Draft> {
        let own = self.0.get_mut(key).filter(|own| !own.is_asking)?;
        while own.asked.is_some() || !own.changes.is_empty() {
            let draft = own.asked.take().unwrap_or_else(|| own.changes.remove(0));
            let is_needed = match draft.member {
                MemberPart::Here(_) => is_shared || !own.is_stored,
                _ => is_shared || own.is_stored,
            };
            if is_needed {
                (own.asked, own.is_asking) = (Some(draft.clone()), true);
                return Some(draft);
            }
        }
        if own.here.is_none() {
            self.0.remove(key);
        }
        None
    }

    /// Takes note that the store has done what it was asked.
    pub fn done(&mut self, key: &MemberKey) {
        self.0.get_mut(key).into_iter().for_each(|own| (own.asked, own.is_asking) = (None, false));
    }

    /// Takes note that the store has failed: it is asked again, unless it was to be told of a member that has gone meanwhile,
    /// and cannot have done it.
    pub fn failed(&mut self, key: &MemberKey, is_certain: bool) {
        let Some(own) = self.0.get_mut(key) else { return };
        own.is_asking = false;
        if is_certain && own.here.is_none() && !own.is_stored && own.asked.as_ref().is_some_and(is_here) {
            self.0.remove(key);
        }
    }

    /// Takes note that the store will not do what it was asked. Returns true if the member is not here for that.
    pub fn refused(&mut self, key: &MemberKey) -> bool {
        let Some(own) = self.0.get_mut(key) else { return false };
        own.is_asking = false;
        let is_refused = own.asked.take().as_ref().is_some_and(is_here);
        if is_refused {
            self.0.remove(key);
        }
        is_refused
    }

    /// Takes note of an entry of the store. Returns true if what it says is newer than what is known here.
    pub fn note(&mut self, draft: &Draft, is_own: bool, is_shared: bool, is_new: bool) -> bool {
        let key = key_of(draft);
        let own = match draft.member {
            MemberPart::None => return false,
            MemberPart::Gone => self.0.get_mut(&key),
            _ if is_shared => self.0.get_mut(&key),
            _ => Some(self.0.entry(key).or_default()),
        };
        let Some(own) = own else { return true };
        let is_newer = !is_own && own.is_idle();
        own.is_stored = draft.member != MemberPart::Gone;
        if !own.is_stored && own.is_of_before {
            own.here = None;
        } else if !own.is_stored {
            // Another machine has taken this one for dead.
            let again = own.here.clone().filter(|_| is_new && is_newer);
            again.into_iter().for_each(|draft| own.add(draft));
        } else if own.here.is_some() && is_newer {
            own.here = here_of(draft);
        } else if !is_new && is_newer {
            (own.here, own.is_of_before) = (here_of(draft), true);
        }
        is_newer
    }

    /// Takes note that another history begins: what the store has will be told.
    pub fn begin(&mut self) {
        self.0.values_mut().for_each(|own| own.is_stored = false);
    }

    /// Says again that members are here, because the store may not know. Returns all members with something to say.
    pub fn say_again(&mut self, is_shared: bool) -> Vec<MemberKey> {
        for own in self.0.values_mut() {
            let again = own.here.clone().filter(|_| is_shared || !own.is_stored && own.is_idle());
            let again = again.filter(|_| !own.changes.iter().any(is_here));
            again.into_iter().for_each(|draft| own.changes.insert(0, draft)); // a change of its data waits after it
        }
        self.waiting()
    }

    /// Returns the members with something to say.
    pub fn waiting(&self) -> Vec<MemberKey> {
        let waits = |own: &Own| !own.is_asking && (!own.is_idle() || own.here.is_none());
        self.0.iter().filter(|(_, own)| waits(own)).map(|(key, _)| key.clone()).collect()
    }

    /// Returns the members that are here, with what a store keeps of them.
    pub fn here(&self) -> impl Iterator<Item = (&MemberKey, KeptMember)> {
        self.0.iter().filter_map(|(key, own)| match &own.here.as_ref()?.member {
            MemberPart::Here(here) => Some((key, kept_of(here))),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(member: MemberPart) -> Draft {
        Draft { channel: (*b"room").into(), key: (*b"ann").into(), member, ..Draft::default() }
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
            let draft = own.next(&key, true)?;
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
        assert_eq!(own.next(&key, true), Some(here()));
        own.announce(draft(MemberPart::Gone));
        own.failed(&key, true);
        assert!(own.0.is_empty());
    }
}
