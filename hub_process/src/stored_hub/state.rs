//! The sizes of what is retained, with the drafts that wait for the store: a publisher whose draft waits has its room.

use crate::store::Draft;
use eventsource_xs::hub::StateSizes;
use std::collections::HashMap;

/// What is retained, and what will be when the store has the drafts that wait.
#[derive(Debug, Default)]
pub struct State {
    /// With the drafts that wait.
    pub sizes: StateSizes,
    /// The keys of these drafts.
    waiting: HashMap<ChannelAndKey, WaitingKey>,
}

type ChannelAndKey = (Box<[u8]>, Box<[u8]>);

/// A key of drafts that wait.
#[derive(Debug)]
struct WaitingKey {
    /// Its bytes without the drafts; none if it is not retained.
    stored: Option<usize>,
    /// The tickets of the drafts in their order, and the key's bytes after each.
    drafts: Vec<(u64, Option<usize>)>,
}

/// What an event does to the state.
#[derive(Clone, Debug)]
pub struct StateChange {
    of: ChannelAndKey,
    /// The bytes that the key counts for from then on; none if it is forgotten.
    size: Option<usize>,
}

impl StateChange {
    /// Returns what a draft does to the state, if it does anything, when its event has so many bytes.
    pub fn of(draft: &Draft, event_len: usize) -> Option<Self> {
        let Draft { channel, key, retain, .. } = draft;
        let changes = retain.changes_state();
        changes.then(|| Self { of: (channel.clone(), key.clone()), size: retain.size(key, event_len) })
    }
}

impl State {
    /// Begins with what is retained.
    pub fn of(sizes: StateSizes) -> Self {
        Self { sizes, waiting: HashMap::new() }
    }

    /// Counts a draft that waits for the store.
    pub fn wait(&mut self, ticket: u64, StateChange { of, size }: &StateChange) {
        let stored = self.sizes.size(&of.0, &of.1);
        let key = self.waiting.entry(of.clone()).or_insert(WaitingKey { stored, drafts: Vec::new() });
        key.drafts.push((ticket, *size));
        self.sizes.set(&of.0, &of.1, *size);
    }

    /// Counts an entry. Drafts that wait for its key come after it.
    pub fn store(&mut self, StateChange { of, size }: &StateChange) {
        match self.waiting.get_mut(of) {
            Some(key) => key.stored = *size,
            None => self.sizes.set(&of.0, &of.1, *size),
        }
    }

    /// Takes note that a draft waits no longer: it is stored and counted, or has failed.
    pub fn release(&mut self, ticket: u64, StateChange { of, .. }: &StateChange) {
        let Some(key) = self.waiting.get_mut(of) else { return };
        key.drafts.retain(|(waiting, _)| *waiting != ticket);
        let size = key.drafts.last().map_or(key.stored, |(_, size)| *size);
        if key.drafts.is_empty() {
            self.waiting.remove(of);
        }
        self.sizes.set(&of.0, &of.1, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventsource_xs::hub::Retain;
    use std::collections::BTreeMap;

    #[test]
    fn drafts_count_until_they_fail_and_entries_of_other_machines_count_too() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut state = State::default();
            let mut stored = BTreeMap::new();
            let mut waiting: Vec<(u64, u8, StateChange)> = Vec::new();
            for ticket in 0..100 {
                let (key, retain) = (random.u8(0..3), Retain::ALL[random.usize(1..3)]);
                let draft = Draft { key: [key].into(), retain, ..Draft::default() };
                let change = StateChange::of(&draft, random.usize(1..100)).expect("a change");
                match random.u8(0..5) {
                    0 | 1 => {
                        state.wait(ticket, &change);
                        waiting.push((ticket, key, change));
                    }
                    2 => {
                        state.store(&change);
                        stored.insert(key, change.size);
                    }
                    outcome if !waiting.is_empty() => {
                        let first = if outcome == 3 { 0 } else { random.usize(0..waiting.len()) };
                        let (ticket, key, change) = waiting.remove(first);
                        if outcome == 3 {
                            state.store(&change);
                            stored.insert(key, change.size);
                        }
                        state.release(ticket, &change);
                    }
                    _ => {}
                }
                for key in 0..3 {
                    let last = waiting.iter().rfind(|(_, of, _)| *of == key).map(|(_, _, change)| change.size);
                    let expected = last.unwrap_or_else(|| stored.get(&key).copied().flatten());
                    assert_eq!(state.sizes.size(b"", &[key]), expected, "seed {seed} after {ticket}: {key}");
                }
            }
        }
    }
}
