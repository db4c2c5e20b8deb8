//! The changes of a member that wait for the store of a hub: one at a time, in their order.
//!
//! A change waits while an earlier one of the same member is asked for. If the store fails it, it is asked again when the store
//! is up. Changes that cancel each other out are not asked for, so at most three of a member wait: that it has gone, that it
//! is here, and that its data has changed.

use crate::event::Unsequenced;
use crate::hub::{Announcement, KeptMember, MemberData, Statement};

/// A request to a store: to append the announcement of a member, and to keep this of one that is here.
pub type MemberChange = (Announcement, Option<KeptMember>);

/// The last event of a member of this machine that the store has not refused, with its data. It announces the member again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Here {
    pub(super) event: Unsequenced,
    pub(super) data: MemberData,
}

/// The changes of a member that wait for the store.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    /// The last request to the store, unless it has done that.
    asked: Option<MemberChange>,
    /// True while the store has still to answer. Otherwise it has failed, and has perhaps done it.
    pub(super) is_asking: bool,
    /// The requests after that.
    changes: Vec<MemberChange>,
    /// The data of the member that the store has told last.
    pub(super) stored: Option<MemberData>,
}

impl Here {
    /// Returns how the member of a change is announced again; nothing if it has gone.
    pub(super) fn of((announcement, kept): &MemberChange) -> Option<Box<Self>> {
        let data = kept.as_ref()?.data.clone();
        Some(Box::new(Self { event: announcement.event.clone(), data }))
    }
}

fn is_here(change: &MemberChange) -> bool {
    change.0.statement == Statement::Here
}

impl Pending {
    /// Nothing waits of a member of which the store has these data, if it has it.
    pub(super) fn new(stored: Option<MemberData>) -> Self {
        Self { stored, ..Self::default() }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_none() && self.changes.is_empty()
    }

    /// Returns true if nothing waits but that it is here. The store ignores the data of that if others were faster.
    pub(super) fn has_only_here(&self) -> bool {
        self.asked.iter().chain(&self.changes).all(is_here)
    }

    pub(super) fn has_here(&self) -> bool {
        self.changes.iter().any(is_here)
    }

    /// Adds a change.
    pub(super) fn add(&mut self, change: MemberChange) {
        match (change.0.statement, self.changes.iter().position(is_here)) {
            (Statement::Gone, Some(at)) => {
                self.changes.truncate(at);
                // What was to be announced again was perhaps announced before.
                let last = self.changes.last().or(self.asked.as_ref());
                if last.map_or(true, |(last, _)| last.statement != Statement::Gone) {
                    self.changes.push(change);
                }
            }
            _ => {
                self.changes.retain(|(change, _)| change.statement != Statement::Changed);
                self.changes.push(change);
            }
        }
    }

    /// Announces that the member is here before its changes, unless that waits already.
    pub(super) fn add_first(&mut self, change: MemberChange) {
        if !self.has_here() {
            self.changes.insert(0, change);
        }
    }

    /// Takes note of what the store has of the member. Data of another machine count, also for what waits.
    pub(super) fn note_stored(&mut self, Here { event, data }: &Here, is_overtaken: bool) {
        self.stored = Some(data.clone());
        for (announcement, kept) in self.changes.iter_mut().filter(|_| !is_overtaken) {
            announcement.event = event.clone();
            if let Some(kept) = kept {
                kept.data = data.clone();
            }
        }
    }

    /// Returns the next change that the store needs; nothing if none waits.
    pub(super) fn next_request(&mut self, is_needed: impl Fn(Statement) -> bool) -> Option<MemberChange> {
        while !self.is_idle() {
            let change = self.asked.take().unwrap_or_else(|| self.changes.remove(0));
            if is_needed(change.0.statement) {
                (self.asked, self.is_asking) = (Some(change.clone()), true);
                return Some(change);
            }
        }
        None
    }

    /// Takes what the store was asked, which it has done, or will not do.
    pub(super) fn take_asked(&mut self) -> Option<MemberChange> {
        self.is_asking = false;
        self.asked.take()
    }

    /// Called when the store has failed. Returns false if it is asked no more: it was to be told of a member that `is_gone`
    /// meanwhile, and has certainly not done it.
    pub(super) fn fail(&mut self, is_certain: bool, is_gone: bool) -> bool {
        self.is_asking = false;
        let is_over = is_certain && is_gone && self.asked.as_ref().map_or(false, is_here);
        if is_over {
            (self.asked, self.changes) = (None, Vec::new());
        }
        !is_over
    }

    /// Another history begins, which says what the store has.
    pub(super) fn forget_stored(&mut self) {
        self.stored = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(statement: Statement, text: &str) -> MemberChange {
        let event = Unsequenced::default();
        let data = MemberData { text: text.as_bytes().into(), is_json: false };
        let kept = KeptMember { since: 7, linger: std::time::Duration::ZERO, data, leave: event.clone() };
        let announcement = Announcement::of_member(b"room", b"ann", false, statement, event);
        (announcement, Some(kept).filter(|_| statement != Statement::Gone))
    }

    /// Questions to a store that several machines have, one after the other.
    fn asked(pending: &mut Pending) -> Vec<MemberChange> {
        let next = || {
            let asked = pending.next_request(|_| true)?;
            pending.take_asked();
            Some(asked)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn changes_that_cancel_each_other_out_are_not_asked_for() {
        use Statement::{Changed, Gone, Here};
        let all = |statements: &[Statement]| statements.iter().map(|of| change(*of, "")).collect::<Vec<_>>();
        for (added, expected) in [
            (&[Here, Changed, Changed][..], &[Here, Changed][..]),
            (&[Here, Gone], &[Gone]),
            (&[Gone, Here], &[Gone, Here]),
            (&[Gone, Here, Changed, Gone], &[Gone]),
            (&[Gone, Here, Gone, Here, Changed], &[Gone, Here, Changed]),
        ] {
            let mut pending = Pending::default();
            all(added).into_iter().for_each(|change| pending.add(change));
            assert_eq!(asked(&mut pending), all(expected), "{added:?}");
        }
    }

    #[test]
    fn a_change_that_waits_follows_its_member_that_is_announced_again() {
        let mut pending = Pending::default();
        pending.add(change(Statement::Changed, "new"));
        (0..2).for_each(|_| pending.add_first(change(Statement::Here, "old")));
        assert_eq!(asked(&mut pending), [change(Statement::Here, "old"), change(Statement::Changed, "new")]);
    }
}
