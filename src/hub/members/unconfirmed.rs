//! What this machine has announced of members, and the store has still to do.

use crate::hub::MemberData;
use std::collections::BTreeMap;

/// What is announced of a member.
#[derive(Clone, Debug, Default)]
pub(super) struct Announced {
    /// How many announcements that is.
    count: u32,
    /// The data of the member that the store has told last.
    stored: Option<MemberData>,
}

/// The members of which the store has still to do something, by their slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Unconfirmed(BTreeMap<u32, Announced>);

impl Unconfirmed {
    /// Adds an announcement of a member, of which the store has these data, if it has it.
    pub(super) fn add(&mut self, at: u32, stored: impl FnOnce() -> Option<MemberData>) {
        self.0.entry(at).or_insert_with(|| Announced { count: 0, stored: stored() }).count += 1;
    }

    /// Takes note of what the store has of a member. Returns false if nothing is announced of it.
    pub(super) fn note_stored(&mut self, at: u32, data: Option<&MemberData>) -> bool {
        self.0.get_mut(&at).map(|announced| announced.stored = data.cloned()).is_some()
    }

    /// Takes note that the store has answered so many announcements of a member. If that is all, returns the data that it has.
    pub(super) fn confirm(&mut self, at: u32, count: u32) -> Option<MemberData> {
        let announced = self.0.get_mut(&at)?;
        announced.count = announced.count.saturating_sub(count);
        if announced.count > 0 {
            return None;
        }
        self.remove(at)?.stored
    }

    /// Removes what is announced of a member.
    pub(super) fn remove(&mut self, at: u32) -> Option<Announced> {
        self.0.remove(&at)
    }

    /// Returns what is announced of a member.
    pub(super) fn of(&self, at: u32) -> Option<&Announced> {
        self.0.get(&at)
    }

    /// Resumes what was saved.
    pub(super) fn restore(&mut self, at: u32, announced: Option<Announced>) {
        self.0.extend(announced.map(|announced| (at, announced)));
    }

    /// Gives the slots other numbers.
    pub(super) fn renumber(&mut self, new: impl Fn(u32) -> u32) {
        self.0 = std::mem::take(&mut self.0).into_iter().map(|(at, announced)| (new(at), announced)).collect();
    }
}

saved!(Announced { count, stored });
