//! The index beside a naive twin, which has the rule of `store/contract.rs`, and channels that are remembered together.

use crate::store::file::index::{Held, Index, MOST_EMPTY};
use crate::store::file::size_of;
use crate::store::{Draft, StoreEntry};
use eventsource_xs::hub::Retain;
use std::collections::{BTreeMap, BTreeSet};

/// Returns an entry whose channel and key are these numbers; 0 is none.
fn entry(seq: u64, channel: &[u8], key: u8, retain: Retain) -> StoreEntry {
    let key = [key][..usize::from(key != 0)].into();
    StoreEntry {
        seq,
        at: 7 * seq,
        ticket: None,
        draft: Draft { channel: channel.into(), key, retain, ..Draft::default() },
    }
}

/// All entries of all channels, in a list.
#[derive(Default)]
struct Twin {
    entries: Vec<(u64, u8, u8, Retain)>,
    forgotten: BTreeMap<u8, (u64, u64)>,
}

impl Twin {
    /// Returns the entries that are not garbage, and whether they are left only because they are retained.
    fn left(&self) -> BTreeMap<u64, bool> {
        let is_left = |&(seq, channel, key, retain): &(u64, u8, u8, Retain)| {
            let (evicted, discarded) = self.forgotten.get(&channel).copied().unwrap_or_default();
            let later =
                || self.entries.iter().filter(move |other| other.0 > seq && (other.1, other.2) == (channel, key));
            let is_latest = key != 0 && later().next().is_none();
            let is_retained = retain == Retain::Newest && later().all(|other| other.3 == Retain::No);
            let counts = seq > discarded && (seq > evicted || is_latest);
            let is_of_state = is_retained && seq <= evicted;
            (counts || is_retained).then_some((seq, is_of_state))
        };
        self.entries.iter().filter_map(is_left).collect()
    }
}

#[test]
fn the_index_deletes_as_its_naive_twin_does() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut index, mut twin) = (Index::new(0), Twin::default());
        let mut left = BTreeSet::new();
        for seq in 1..200 {
            let channel = random.u8(0..3);
            if random.u8(0..4) == 0 {
                let (evicted, discarded) = (random.u64(0..seq), random.u64(0..seq));
                let evicted = evicted.max(discarded);
                index.forget(&[channel], evicted, discarded);
                let of = twin.forgotten.entry(channel).or_default();
                *of = (of.0.max(evicted), of.1.max(discarded));
            } else {
                let key = random.u8(0..4);
                let retain = Retain::ALL[random.usize(0..3)];
                index.append(&entry(seq, &[channel], key, retain));
                twin.entries.push((seq, channel, key, retain));
                left.insert(seq);
            }
            for seq in index.garbage() {
                assert!(left.remove(seq), "seed {seed}: {seq} is deleted twice");
            }
            index.is_written();
            let expected = twin.left();
            assert_eq!(left, expected.keys().copied().collect(), "seed {seed} after {seq}");
            let counted = || twin.entries.iter().filter(|entry| expected.get(&entry.0) == Some(&false));
            let bytes = counted().map(|entry| size_of(&self::entry(0, b"", entry.2, entry.3).draft) as u64).sum();
            let (events, state) = (counted().count() as u64, expected.values().filter(|of| **of).count() as u64);
            assert_eq!(index.held(), Held { events, bytes, state }, "seed {seed} after {seq}");
            let first = counted().next().map(|entry| (entry.0, 7 * entry.0));
            assert_eq!(index.first().map(|(_, seq, at)| (seq, at)), first, "seed {seed} after {seq}");
        }
    }
}

#[test]
fn channels_beyond_the_limit_are_remembered_together() {
    let mut index = Index::new(0);
    let mut rows = BTreeMap::new();
    let mut others = 0;
    let write = |index: &mut Index, rows: &mut BTreeMap<Vec<u8>, u64>, others: &mut u64| {
        for (name, through) in index.changed_rows() {
            match through {
                Some(through) => rows.insert(name.to_vec(), through),
                None => rows.remove(&*name),
            };
        }
        *others = index.changed_evicted_through().unwrap_or(*others);
        index.is_written();
    };
    let event = |seq, name: &[u8]| entry(seq, name, 0, Retain::No);
    index.append(&event(1, b"lives, evicts nothing"));
    let count = 3 * MOST_EMPTY as u64;
    let name = |number: u64| number.to_string().into_bytes();
    for number in 2..count {
        index.append(&event(number, &name(number)));
        index.forget(&name(number), number, number);
        if number % 1000 == 0 {
            write(&mut index, &mut rows, &mut others);
        }
    }
    write(&mut index, &mut rows, &mut others);
    assert!(rows.len() <= MOST_EMPTY + 1, "{}", rows.len());
    assert!(others > 0 && others < count - MOST_EMPTY as u64 / 3, "{others}");
    assert_eq!(rows[b"lives, evicts nothing".as_slice()], 0);
    for number in 2..count {
        assert!(rows.get(&name(number)).map_or(others >= number, |through| *through == number), "{number}");
    }
    // A channel that nobody remembers counts as one of them.
    index.append(&event(count, b"new"));
    index.forget(b"new", others - 1, 0);
    write(&mut index, &mut rows, &mut others);
    assert_eq!(rows.get(b"new".as_slice()), None);
}
