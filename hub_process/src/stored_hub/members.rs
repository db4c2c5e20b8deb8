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
            (MemberPart::Gone, Some(at)) => self.changes.truncate(at),
            (MemberPart::Here(_), Some(_)) => {}
            _ => {
                self.changes.retain(|change| !matches!(change.member, MemberPart::Changed(_)));
                self.changes.push(draft);
            }
        }
    }
}

impl OwnMembers {
    /// Takes note of what a member says.
    pub fn announce(&mut self, draft: Draft) {
        let own = self.0.entry(key_of(&draft)).or_default();
        (own.here, own.is_of_before) = (here_of(&draft), false);
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

    /// Takes note that the store has failed: it is asked again.
    pub fn failed(&mut self, key: &MemberKey) {
        self.0.get_mut(key).into_iter().for_each(|own| own.is_asking = false);
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
            again.into_iter().for_each(|draft| own.add(draft));
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
