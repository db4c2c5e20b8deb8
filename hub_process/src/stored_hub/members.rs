//! The members of this machine, between the hub in memory and the store: what they announce goes to the store, and the hub
//! lists whom the store has.

use super::drafts::{Purpose, WaitingDraft};
use super::kept_lingering::KeptLingering;
use super::member_drafts::{kept_of, key_of, EntryOrigin, MemberKey};
use super::order::Order;
use super::own_members::{Next, OwnMembers, SavedMembers};
use super::state::StateChange;
use crate::store::{Ask, Draft, DraftKind, MemberPart};
use eventsource_xs::hub::{Members, Retain};
use eventsource_xs::runtime::Error;
use eventsource_xs::wire::Failure;
use eventsource_xs::ErrorCode;
use std::time::{Duration, Instant};

/// How often it is looked whether other members linger.
const LINGER: Duration = Duration::from_millis(500);

/// The members, and who of them lingers.
pub struct StoredMembers {
    own: OwnMembers,
    /// The members that the store has been told to linger, and when it is told next.
    lingering: KeptLingering,
    linger_at: Option<Instant>,
}

impl StoredMembers {
    pub fn new(is_shared: bool) -> Self {
        Self::of(OwnMembers::new(is_shared))
    }

    /// Continues with the members of another program.
    pub fn restore(saved: SavedMembers, is_shared: bool) -> Self {
        Self::of(OwnMembers::restore(saved, is_shared))
    }

    fn of(own: OwnMembers) -> Self {
        Self { own, lingering: KeptLingering::default(), linger_at: None }
    }

    pub fn saved(&self) -> SavedMembers {
        self.own.saved()
    }

    /// Takes what a member announces.
    pub fn announce_change(&mut self, draft: Draft, order: &mut Order, now: Instant) {
        let key = key_of(&draft);
        self.own.add_announcement(draft);
        self.ask_store(&key, order, now);
        self.linger_at.get_or_insert(now + LINGER);
    }

    /// Publishes the number of a channel's members. It is announced again until the store has told it.
    pub fn publish_number(&self, draft: Draft, order: &mut Order, now: Instant) {
        let draft = Draft { once: order.counted().once(&draft.channel, order.position().last_seq), ..draft };
        if !order.is_open() || order.drafts().has_once(&draft.once) {
            return;
        }
        let mut publish = |draft| order.publish(draft, None, WaitingDraft::new(Purpose::Number, None), now);
        if publish(draft.clone()).is_err_and(|failure| failure.code == ErrorCode::Full) {
            // It is sent, and what is retained of the key is older.
            let _ = publish(Draft { retain: Retain::Forget, ..draft });
        }
    }

    /// Asks the store for what waits of a member.
    fn ask_store(&mut self, key: &MemberKey, order: &mut Order, now: Instant) {
        if !order.is_open() {
            return;
        }
        loop {
            let draft = match self.own.next_request(key) {
                Next::Ask(draft) => draft,
                Next::Wait => return,
                Next::Confirm(announced) => {
                    if let Some(members) = order.members_mut() {
                        members.confirm_announcements(&key.0, &key.1, announced);
                    }
                    return;
                }
            };
            match state_change(&draft, order) {
                Ok(state) => {
                    let waiting = WaitingDraft::new(Purpose::Member(key.clone()), None);
                    return order.append(draft, waiting.with_state(state), now);
                }
                Err(_) => self.refuse_member(key, order),
            }
        }
    }

    /// Asks the store for what waits of members.
    fn ask_store_for(&mut self, keys: &[MemberKey], order: &mut Order, now: Instant) {
        keys.iter().for_each(|key| self.ask_store(key, order, now));
    }

    /// Asks the store again for what it has failed.
    pub fn retry_requests(&mut self, order: &mut Order, now: Instant) {
        self.ask_store_for(&self.own.waiting(), order, now);
    }

    /// Announces all members again, of which the store may not know.
    pub fn reannounce_members(&mut self, order: &mut Order, now: Instant) {
        let keys = self.own.reannounce_members();
        self.ask_store_for(&keys, order, now);
    }

    /// Called when the store has answered a request of a member.
    pub fn take_answer(&mut self, key: &MemberKey, failure: Option<&Failure>, order: &mut Order, now: Instant) {
        match failure.map(|failure| failure.code) {
            None => self.own.confirm_request(key),
            Some(ErrorCode::Invalid | ErrorCode::Unsupported) => self.refuse_member(key, order),
            // Full is the store's queue. That of the state was found before the store was asked.
            Some(code) => {
                if self.own.fail_request(key, matches!(code, ErrorCode::Full | ErrorCode::Unavailable)) {
                    return order.retry_later(now);
                }
            }
        }
        self.ask_store(key, order, now);
    }

    /// Drops what a member has announced. One that cannot come is not here.
    fn refuse_member(&mut self, key: &MemberKey, order: &mut Order) {
        if let (true, Some(members)) = (self.own.refuse_request(key), order.members_mut()) {
            members.refuse_member(&key.0, &key.1);
        }
    }

    /// Applies what an entry says of a member, if it does.
    pub fn apply_entry(&mut self, draft: &Draft, origin: EntryOrigin, order: &mut Order, now: Instant) {
        if draft.member == MemberPart::None {
            return;
        }
        self.own.apply_entry(draft, origin);
        if let Some(members) = order.members_mut() {
            list_member(members, draft);
            if let DraftKind::CountedMember(_) = draft.kind() {
                members.count_stored_members(&draft.channel, origin == EntryOrigin::OwnMember, now);
            }
        }
        if origin == EntryOrigin::Other {
            self.ask_store(&key_of(draft), order, now);
        }
    }

    /// Called when another history begins, with what the store has kept of the members that linger.
    pub fn begin_history(&mut self, lingering: &[u8], now: Instant) {
        self.lingering = KeptLingering::of_store(lingering, now);
        self.own.forget_stored();
    }

    /// Called when the store has reported its history: members whose streams were those of a process, or of a hub in memory,
    /// before this one linger from now on, and the members are announced.
    pub fn resume_members(&mut self, is_other_history: bool, order: &mut Order, now: Instant) {
        if is_other_history {
            for (key, kept) in self.own.here() {
                let rest = self.lingering.rest(key, now);
                if let Some(members) = order.members_mut() {
                    members.adopt_member(&key.0, &key.1, kept, (now, rest));
                }
            }
        }
        self.lingering = KeptLingering::default();
        self.keep_lingering(order, now);
        self.reannounce_members(order, now);
    }

    /// Returns when it is looked again whether other members linger.
    pub fn next_due(&self) -> Option<Instant> {
        self.linger_at
    }

    /// Lets the store keep which members linger, if it is time.
    pub fn keep_lingering_in_time(&mut self, order: &Order, now: Instant) {
        if self.linger_at.is_some_and(|at| now >= at) {
            self.keep_lingering(order, now);
        }
    }

    /// Lets the store keep which members linger, if that has changed and the store is of this machine alone. Looks again later
    /// while there are members.
    pub fn keep_lingering(&mut self, order: &Order, now: Instant) {
        self.linger_at = None;
        if !order.is_open() || order.is_shared() || self.own.is_empty() && self.lingering.is_empty() {
            return;
        }
        let lingering = order.members().map(Members::lingering).unwrap_or_default();
        if let Some(bytes) = self.lingering.change(lingering, now) {
            order.threads.store.ask(Ask::Linger(bytes));
        }
        self.linger_at = Some(now + LINGER);
    }
}

/// Lists a member, or removes it from the list, as an entry says.
fn list_member(members: &mut Members, Draft { channel, key, member, .. }: &Draft) {
    match member {
        MemberPart::None => {}
        MemberPart::Gone => members.remove_stored_member(channel, key),
        MemberPart::Here(here) | MemberPart::Changed(here) => members.add_stored_member(channel, key, kept_of(here)),
    }
}

/// Returns what the draft of a member will do to the state. Fails if that cannot be.
fn state_change(draft: &Draft, order: &Order) -> Result<Option<StateChange>, Error> {
    let DraftKind::CountedMember(room) = draft.kind() else { return order.state_change(draft) };
    let comes = matches!(draft.member, MemberPart::Here(_));
    if comes && order.retains_without_key(room) && !order.counted().has_number(room) {
        return Err(Error::CountKey); // the number of members would replace what the application retains without a key
    }
    Ok(None)
}
