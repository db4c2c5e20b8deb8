//! What a hub does before its events reach the logs, whoever owns it: the numbers and ids of events, which are published once,
//! what of the state fits, and what members and wills announce.
//!
//! A hub that owns its order [numbers](Sequence::number) an event at once. Over a store the same is checked before the store
//! is asked, and an event has its number when the store has it. Keys of tickets stay beside this: their ciphers are of a
//! higher layer.

use super::publishing::once_keys::OnceKeys;
use super::publishing::refusal::Refusal;
use super::publishing::state_sizes::{Full, StateSizes};
use super::publishing::{Publication, SequencedEvent};
use super::{Announcement, Epoch, Fits, MemberUpdate, Members, PresenceChange, Retain, Retention, Statement};
use crate::event::{EventId, Field, Shared, Text};
use crate::stream::StreamId;
use crate::Failure;
use std::time::Instant;

/// How many leaves and numbers of members that are due are handled before others have their turn.
pub const STEPS: usize = 256;

/// More bytes than the id of an event has, with its line.
const ID_LINE_BYTES: usize = 72;

/// The order of a hub's events, and what takes part in it.
#[derive(Debug)]
pub struct Sequence {
    /// The epoch, with which ids begin.
    pub epoch: Epoch,
    /// The last sequence number that clients may have been given.
    pub last_seq: u64,
    /// The keys of events that are published once.
    pub once: OnceKeys,
    /// The sizes of what is retained, and over a store of what waits for it.
    pub state: StateSizes,
    /// How much may be.
    pub retention: Retention,
    /// The members.
    pub members: Members,
}

impl Sequence {
    /// Begins after a sequence number.
    pub fn new(epoch: Epoch, last_seq: u64, retention: Retention, members: Members) -> Self {
        let once = OnceKeys::new(retention.total_history.events, retention.longest_age());
        Self { epoch, last_seq, once, state: StateSizes::default(), retention, members }
    }

    /// Changes the settings that may change.
    pub fn set_retention(&mut self, retention: Retention) {
        self.once.set_bounds(retention.total_history.events, retention.longest_age());
        self.retention = retention;
    }

    /// Returns the id of the event that was published with this key `once`, if it has one.
    pub fn once_id(&mut self, once: &[u8], now: impl FnOnce() -> Instant) -> Option<&str> {
        if once.is_empty() {
            return None;
        }
        self.once.id_of(once, now())
    }

    /// Checks the application's id of an event, and that its key is not that of a member who is here.
    pub fn check(&self, channel: &[u8], key: &[u8], retain: Retain, id: Option<&[u8]>) -> Result<(), Failure> {
        if id.map_or(false, |id| self.epoch.is_like(id)) {
            return Err(Refusal::ReservedId.into());
        }
        if retain.changes_state() && self.members.has_event(channel, key) {
            return Err(Refusal::MemberKey.into());
        }
        Ok(())
    }

    /// Gives an event the next number, unless one with its key `once` was published. `published` is called with the id of that
    /// event.
    pub fn number<'a>(
        &mut self,
        publication: Publication<'_, impl Iterator<Item = Field<'a>> + Clone>,
        id: Option<&[u8]>,
        now: impl Fn() -> Instant,
        published: impl FnOnce(&str),
    ) -> Result<Option<SequencedEvent>, Failure> {
        let Publication { channel, key, retain, once, fields } = publication;
        if let Some(id) = self.once_id(once, &now) {
            published(id);
            return Ok(None);
        }
        self.check(channel, key, retain, id)?;
        let made = self.epoch.event_id(self.last_seq + 1);
        let event = Shared::with_id_last(fields, EventId::new(Text::from(&*made)).ok());
        self.state.change(channel, key, (retain, event.len()), &self.retention)?;
        if !once.is_empty() {
            self.once.insert(once, &made, now());
        }
        published(&made);
        Ok(Some(self.next_event((channel.into(), key.into(), retain), event, id.map(Into::into))))
    }

    /// Gives an event the next number, which its id has already.
    fn next_event(
        &mut self,
        (channel, key, retain): (Box<[u8]>, Box<[u8]>, Retain),
        event: Shared,
        id: Option<Box<[u8]>>,
    ) -> SequencedEvent {
        self.last_seq += 1;
        SequencedEvent { seq: self.last_seq, channel, event, key, retain, id }
    }

    /// Gives an event of a member or a will the next number. One that does not fit, which only a will or a growing number can
    /// be, is sent, and its key forgotten.
    pub fn number_announcement(
        &mut self,
        Announcement { channel, key, retain, event, .. }: Announcement,
    ) -> SequencedEvent {
        let event = event.with_id(&self.epoch.event_id(self.last_seq + 1));
        let retain = match self.state.change(&channel, &key, (retain, event.len()), &self.retention) {
            Ok(()) => retain,
            Err(Full { .. }) => {
                let _ = self.state.change(&channel, &key, (Retain::Forget, 0), &self.retention); // never full
                Retain::Forget // what is retained of the key is older
            }
        };
        self.next_event((channel, key, retain), event, None)
    }

    /// Applies a change of a stream to the members. `wall` is the time of the system's clock in milliseconds.
    #[must_use]
    pub fn apply(&mut self, stream: StreamId, change: PresenceChange, (at, wall): (Instant, u64)) -> Vec<Announcement> {
        let most = self.retention.max_members;
        self.change_members(|members, fits, out| match change {
            PresenceChange::Entered(member) => members.enter_stream(stream, *member, (most, fits), (at, wall), out),
            PresenceChange::Willed(will) => members.set_will(stream, will),
            PresenceChange::Away => members.end_away(stream, at, out),
            PresenceChange::Left { is_by_application } => members.end_stream(stream, is_by_application, at, out),
        })
        .0
    }

    /// Does what is due for the members, in at most `left` steps, which it counts down.
    #[must_use]
    pub fn run_due(&mut self, now: Instant, left: &mut usize) -> Vec<Announcement> {
        self.change_members(|members, _, out| members.run_due(now, left, out)).0
    }

    /// Changes the data of a member. Returns whether it is here. Fails if its event does not fit.
    pub fn update_member(&mut self, update: MemberUpdate) -> Result<(bool, Vec<Announcement>), Failure> {
        let (out, updated) = self.change_members(|members, fits, out| members.update_member(update, fits, out));
        Ok((updated?, out))
    }

    /// Changes the members, and returns what is to be published. A will does not change what is retained of a member who is
    /// here: it is sent.
    fn change_members<T>(
        &mut self,
        change: impl FnOnce(&mut Members, Fits<'_>, &mut Vec<Announcement>) -> T,
    ) -> (Vec<Announcement>, T) {
        let Self { members, state, retention, .. } = self;
        // A store says itself whether a member fits beside what else is retained then.
        let (alone, is_stored) = (StateSizes::default(), members.are_stored());
        let sizes = if is_stored { &alone } else { &*state };
        let fits = |announced: &Announcement| {
            let Announcement { channel, key, event, .. } = announced;
            sizes.check(channel, key, key.len() + event.bytes().len() + ID_LINE_BYTES, retention)
        };
        let mut out = Vec::new();
        let changed = change(members, &fits, &mut out);
        for Announcement { channel, key, statement, retain, .. } in &mut out {
            if *statement == Statement::Nothing && members.has_event(channel, key) {
                *retain = Retain::No;
            }
        }
        (out, changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Unsequenced;
    use crate::hub::{Settings, StateBounds};
    use crate::log::Bounds;
    use std::time::Duration;

    #[test]
    fn a_will_that_does_not_fit_is_sent_and_its_key_forgotten() {
        let bounds = Bounds { events: 10, bytes: 1000, age: Duration::MAX };
        let mut settings = Settings::new(bounds, bounds);
        settings.retention.state = StateBounds { keys: 9, bytes: 100 };
        let mut sequence = Sequence::new(Epoch::new("e", None), 0, settings.retention.clone(), Members::default());
        for (slot, (bytes, retain)) in (0..).zip([(10, Retain::Newest), (200, Retain::Forget), (10, Retain::Newest)]) {
            let event = Unsequenced::of(std::iter::once(Field::Data(Text::from(&*"x".repeat(bytes)))));
            let (channel, key, statement) = (b"wills"[..].into(), b"k"[..].into(), Statement::Nothing);
            let will = Announcement { channel, key, retain: Retain::Newest, event, statement };
            let (stream, times) = (StreamId { slot, serial: 1 }, (Instant::now(), 0));
            assert_eq!(sequence.apply(stream, PresenceChange::Willed(will.into()), times), []);
            let left = sequence.apply(stream, PresenceChange::Left { is_by_application: false }, times);
            let published: Vec<_> = left.into_iter().map(|will| sequence.number_announcement(will)).collect();
            assert_eq!((published.len(), published[0].retain), (1, retain));
            assert_eq!(sequence.state.size(b"wills", b"k").is_some(), retain == Retain::Newest);
        }
    }
}
