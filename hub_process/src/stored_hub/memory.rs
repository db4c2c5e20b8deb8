//! The hub in memory whose events a store keeps: the store gives them their sequence numbers, and these their ids here.

use super::state::{size_of, State, StateChange};
use crate::publishing::encode;
use crate::store::Draft;
use eventsource_xs::hub::{given_ids, Epoch, History, OnceKeys, Refusal, Retain, SequencedEvent};
use eventsource_xs::runtime::HubHandle;
use eventsource_xs::wire::{Failure, Fields, HubSettings};
use std::time::Instant;

/// A hub whose sequence numbers a store gives.
pub struct MemoryHub {
    pub handle: HubHandle,
    pub ids: Ids,
    pub state: State,
}

/// The ids of the hub, and those of events with a key `once`.
#[derive(Clone, Debug)]
pub struct Ids {
    pub epoch: Epoch,
    pub once: OnceKeys,
}

impl MemoryHub {
    /// Begins where the store does.
    pub fn begin(settings: &HubSettings, history: &History) -> Result<Self, Failure> {
        let handle = HubHandle::stored(settings.hub.clone(), settings.max_topics, history)?;
        let epoch = Epoch::new(&history.epoch, settings.hub.opaque_ids.then_some(history.cipher_key));
        let once = OnceKeys::new(settings.hub.total_history.events, settings.hub.retention().longest_age());
        Ok(Self { handle, ids: Ids { epoch, once }, state: State::default() })
    }

    /// Takes over the settings that may change.
    pub fn adopt(&mut self, settings: &HubSettings) {
        let retention = settings.hub.retention();
        self.ids.once.set_bounds(retention.total_history.events, retention.longest_age());
        self.handle.set_bounds(retention, settings.max_topics);
    }

    /// Checks an id that the application gives an event: it must not look like one of the hub's.
    pub fn check_own_id(&self, id: &[u8]) -> Result<(), Failure> {
        if self.ids.epoch.is_like(id) {
            return Err(Refusal::ReservedId.into());
        }
        Ok(())
    }

    /// Returns the id of the event with the key `once` of a draft, if it has one and that is remembered.
    pub fn once_id(&mut self, draft: &Draft) -> Option<String> {
        if draft.once.is_empty() {
            return None;
        }
        self.ids.once.id_of(&draft.once, Instant::now()).map(str::to_owned)
    }

    /// Returns what a draft will do to the state, if it does anything.
    ///
    /// # Errors
    ///
    /// `Full` if it does not fit.
    pub fn state_change(&self, draft: &Draft) -> Result<Option<StateChange>, Failure> {
        if let Some(size) = size_of(draft) {
            self.handle.check_state(&self.state.sizes, &draft.channel, &draft.key, size)?;
        }
        Ok(StateChange::of(draft))
    }

    /// Publishes an entry with these fields, which may be others than those of its draft. Returns its id.
    pub fn publish(&mut self, seq: u64, at: Instant, draft: &Draft, fields: Fields<'_>) -> Result<String, Failure> {
        let made = self.ids.epoch.event_id(seq);
        let event = encode(fields, &made);
        self.state.store(draft);
        // An event in place of one that cannot be read is not a state: the key is no longer retained.
        let retain = match draft.retain {
            Retain::Newest if draft.is_unread() => Retain::Forget,
            retain => retain,
        };
        let (channel, key, id) =
            (draft.channel.clone(), draft.key.clone(), given_ids(fields.iter()).next().map(Into::into));
        self.handle.append(SequencedEvent { seq, channel, event, key, retain, id }, at)?;
        if !draft.once.is_empty() {
            self.ids.once.insert(&draft.once, &made, at);
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventsource_xs::event::{Field, Text};
    use eventsource_xs::wire::{Call, FieldList};

    #[test]
    fn an_event_in_place_of_one_that_cannot_be_read_is_not_retained() {
        let history = History { epoch: "e".into(), ..History::default() };
        let mut hub = MemoryHub::begin(&HubSettings::default(), &history).expect("a hub");
        let fields = FieldList::of([Field::Data(Text::from("x"))]);
        let draft = |fields| Draft {
            channel: b"c"[..].into(),
            key: b"k"[..].into(),
            retain: Retain::Newest,
            fields,
            ..Draft::default()
        };
        let (read, unread) = (draft(fields.clone()), draft(FieldList::default()));
        let now = Instant::now();
        for (seq, draft, keys) in [(1, &read, 1), (2, &unread, 0), (3, &read, 1)] {
            hub.publish(seq, now, draft, fields.fields()).expect("an id");
            let counted = hub.handle.call(&Call::Count { channel: Box::default() }).expect("counts");
            assert_eq!(
                (counted.counted().expect("counts").hub.keys, hub.state.sizes.size(b"c", b"k").is_some()),
                (keys, keys > 0),
                "{seq}"
            );
        }
    }
}
