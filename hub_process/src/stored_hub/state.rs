//! The drafts that wait for the store in the sizes of what is retained: a publisher whose draft waits has its room.
//!
//! The fields of a draft count as their event, whose id the store has still to give.

use crate::store::Draft;
use eventsource_xs::hub::StateSizes;
use std::collections::hash_map::DefaultHasher;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// The keys of drafts that wait for the store, by their hashes.
#[derive(Debug, Default)]
pub struct WaitingState(HashMap<u64, WaitingKey>);

/// A key of drafts that wait.
#[derive(Debug)]
struct WaitingKey {
    /// Its bytes without the drafts; none if it is not retained.
    stored: Option<usize>,
    /// The tickets of the drafts in their order, and the key's bytes after each.
    drafts: Vec<(u64, Option<usize>)>,
}

/// The effect of a draft on the state.
#[derive(Clone, Debug)]
pub struct StateChange {
    channel: Box<[u8]>,
    key: Box<[u8]>,
    size: Option<usize>,
}

impl StateChange {
    /// Returns what a draft does to the state, if it does anything.
    pub fn of(draft: &Draft) -> Option<Self> {
        let (channel, key) = (&draft.channel, &draft.key);
        draft.retain.changes_state().then(|| Self { channel: channel.clone(), key: key.clone(), size: size_of(draft) })
    }
}

/// Returns the bytes that a key counts for after a draft; none if it is forgotten, or cannot be read.
pub fn size_of(draft: &Draft) -> Option<usize> {
    draft.retain.size(&draft.key, draft.fields.as_bytes().len()).filter(|_| !draft.is_unread())
}

fn hash_of(channel: &[u8], key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (channel, key).hash(&mut hasher);
    hasher.finish()
}

impl WaitingState {
    /// Counts a draft that waits for the store.
    pub fn wait(&mut self, sizes: &mut StateSizes, ticket: u64, change: &StateChange) {
        let StateChange { channel, key, size } = change;
        let stored = sizes.size(channel, key);
        let waiting = self.0.entry(hash_of(channel, key)).or_insert(WaitingKey { stored, drafts: Vec::new() });
        waiting.drafts.push((ticket, *size));
        sizes.set(channel, key, *size);
    }

    /// Counts the draft of an entry. Drafts that wait for its key come after it.
    pub fn store(&mut self, sizes: &mut StateSizes, draft: &Draft) {
        let Draft { channel, key, retain, .. } = draft;
        if retain.changes_state() {
            match self.0.get_mut(&hash_of(channel, key)) {
                Some(waiting) => waiting.stored = size_of(draft),
                None => sizes.set(channel, key, size_of(draft)),
            }
        }
    }

    /// Takes note that a draft waits no longer: it is stored and counted, or has failed.
    pub fn release(&mut self, sizes: &mut StateSizes, ticket: u64, StateChange { channel, key, .. }: &StateChange) {
        let hash = hash_of(channel, key);
        let Some(waiting) = self.0.get_mut(&hash) else { return };
        waiting.drafts.retain(|(waiting, _)| *waiting != ticket);
        let size = waiting.drafts.last().map_or(waiting.stored, |(_, size)| *size);
        if waiting.drafts.is_empty() {
            self.0.remove(&hash);
        }
        sizes.set(channel, key, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventsource_xs::event::{Field, Text};
    use eventsource_xs::hub::Retain;
    use eventsource_xs::wire::FieldList;
    use std::collections::BTreeMap;

    #[test]
    fn drafts_count_until_they_fail_and_entries_of_other_machines_count_too() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut state, mut sizes) = (WaitingState::default(), StateSizes::default());
            let mut stored = BTreeMap::new();
            let mut waiting: Vec<(u64, Draft, StateChange)> = Vec::new();
            for ticket in 0..100 {
                let (key, retain) = (random.u8(0..3), Retain::ALL[random.usize(1..3)]);
                let data = "x".repeat(random.usize(1..100));
                let fields = FieldList::of([Field::Data(Text::from(&*data))]);
                let draft = Draft { key: [key].into(), retain, fields, ..Draft::default() };
                let change = StateChange::of(&draft).expect("a change");
                match random.u8(0..5) {
                    0 | 1 => {
                        state.wait(&mut sizes, ticket, &change);
                        waiting.push((ticket, draft, change));
                    }
                    2 => {
                        state.store(&mut sizes, &draft);
                        stored.insert(key, change.size);
                    }
                    outcome if !waiting.is_empty() => {
                        let first = if outcome == 3 { 0 } else { random.usize(0..waiting.len()) };
                        let (ticket, draft, change) = waiting.remove(first);
                        if outcome == 3 {
                            state.store(&mut sizes, &draft);
                            stored.insert(draft.key[0], change.size);
                        }
                        state.release(&mut sizes, ticket, &change);
                    }
                    _ => {}
                }
                for key in 0..3 {
                    let last =
                        waiting.iter().rfind(|(_, draft, _)| draft.key[0] == key).map(|(_, _, change)| change.size);
                    let expected = last.unwrap_or_else(|| stored.get(&key).copied().flatten());
                    assert_eq!(sizes.size(b"", &[key]), expected, "seed {seed} after {ticket}: {key}");
                }
            }
        }
    }
}
