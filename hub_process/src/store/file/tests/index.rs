//! The index beside a naive twin, and channels that are remembered together.

use crate::store::file::index::{Index, MOST_EMPTY};
use std::collections::{BTreeMap, BTreeSet};

/// All entries of all channels, in a list.
#[derive(Default)]
struct Twin {
    entries: Vec<(u64, u8, u8)>,
    forgotten: BTreeMap<u8, (u64, u64)>,
}

impl Twin {
    fn left(&self) -> BTreeSet<u64> {
        let is_left = |(seq, channel, key): &(u64, u8, u8)| {
            let (evicted, discarded) = self.forgotten.get(channel).copied().unwrap_or_default();
            let later = |other: &(u64, u8, u8)| other.0 > *seq && (other.1, other.2) == (*channel, *key);
            let is_latest = *key != 0 && !self.entries.iter().any(later);
            *seq > discarded && (*seq > evicted || is_latest)
        };
        self.entries.iter().filter(|entry| is_left(entry)).map(|(seq, ..)| *seq).collect()
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
                index.append(&[channel], &[key][..usize::from(key != 0)], seq, 10);
                twin.entries.push((seq, channel, key));
                left.insert(seq);
            }
            for seq in index.garbage() {
                assert!(left.remove(seq), "seed {seed}: {seq} is deleted twice");
            }
            index.is_written();
            assert_eq!(left, twin.left(), "seed {seed} after {seq}");
            assert_eq!((index.events(), index.bytes()), (left.len() as u64, 10 * left.len() as u64));
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
    index.append(b"lives, evicts nothing", b"", 1, 1);
    let count = 3 * MOST_EMPTY as u64;
    let name = |number: u64| number.to_string().into_bytes();
    for number in 2..count {
        index.append(&name(number), b"", number, 1);
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
    index.append(b"new", b"", count, 1);
    index.forget(b"new", others - 1, 0);
    write(&mut index, &mut rows, &mut others);
    assert_eq!(rows.get(b"new".as_slice()), None);
}
