//! The names of channels, and the tombstones of removed ones: a client that resumes one of these receives a `gap` event for
//! what its log has evicted.
//!
//! Both are in one table, in the order of the names, for patterns. So the removal of a channel changes one value of it, and its
//! creation finds the tombstone where the channel goes.

use super::prefixes::matching;
use crate::hub::glob::Glob;
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;

/// The names of channels and of removed channels.
///
/// Beyond a number of tombstones the oldest are merged into one for all unknown channels: any of these may have evicted
/// what one of the merged channels has.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<Arc<[u8]>, Known>,
    /// The names with tombstones in the order of removal, with the removals' numbers. Some of the channels exist again, or were
    /// removed again.
    order: VecDeque<(Arc<[u8]>, u64)>,
    /// The number of removals.
    removals: u64,
    /// The number of tombstones, and the bytes of their names.
    tombstones: (usize, usize),
    /// The merged tombstones.
    merged: Evicted,
}

/// What has a name.
#[derive(Debug)]
enum Known {
    /// The channel in this slot.
    Channel(usize),
    Removed(Tombstone),
}

/// The evictions of a channel: the sequence number that they reach, and the time of the last one on the eviction clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evicted {
    pub(super) through: u64,
    pub(super) clock: u64,
}

#[derive(Debug)]
struct Tombstone {
    evicted: Evicted,
    /// The number of the removal.
    removal: u64,
}

impl Names {
    const MOST: usize = 65_536;
    const MOST_BYTES: usize = 4 << 20;

    /// Begins with a tombstone of all channels: any of them may have evicted entries through a sequence number.
    pub(super) fn new(through: u64) -> Self {
        Self { merged: Evicted { through, clock: 0 }, ..Self::default() }
    }

    /// Adds a channel in the place of its tombstone. Returns how far the channel has evicted its entries.
    pub(super) fn add(&mut self, name: Arc<[u8]>, at: usize) -> Evicted {
        let bytes = name.len();
        match self.known.insert(name, Known::Channel(at)) {
            Some(Known::Removed(tombstone)) => {
                self.tombstones = (self.tombstones.0 - 1, self.tombstones.1 - bytes);
                tombstone.evicted
            }
            _ => self.merged,
        }
    }

    /// Removes a channel. A tombstone remembers what it has evicted.
    pub(super) fn remove(&mut self, name: Arc<[u8]>, evicted: Evicted) {
        if evicted.through <= self.merged.through && evicted.clock <= self.merged.clock {
            self.known.remove(&name); // any unknown channel counts as having evicted that much
            return;
        }
        self.removals += 1;
        let tombstone = Known::Removed(Tombstone { evicted, removal: self.removals });
        let before = match self.known.get_mut(&name) {
            Some(known) => Some(mem::replace(known, tombstone)),
            None => self.known.insert(Arc::clone(&name), tombstone),
        };
        if !matches!(before, Some(Known::Removed(_))) {
            self.tombstones = (self.tombstones.0 + 1, self.tombstones.1 + name.len());
        }
        self.order.push_back((name, self.removals));
        // A channel that is created and removed again and again displaces no other tombstone.
        if self.order.len() > 2 * self.tombstones.0 + 16 {
            let known = &self.known;
            self.order.retain(|(name, removal)| matches!(known.get(name), Some(Known::Removed(tombstone)) if tombstone.removal == *removal));
        }
        while self.tombstones.0 > Self::MOST || self.tombstones.1 > Self::MOST_BYTES {
            match self.order.pop_front() {
                Some((name, removal)) => self.merge(&name, removal),
                None => break,
            }
        }
    }

    /// Merges the tombstone of a removal into the one of unknown channels, if the channel has it still.
    fn merge(&mut self, name: &[u8], removal: u64) {
        match self.known.get(name) {
            Some(Known::Removed(tombstone)) if tombstone.removal == removal => {
                let (evicted, Evicted { through, clock }) = (tombstone.evicted, self.merged);
                self.merged = Evicted { through: through.max(evicted.through), clock: clock.max(evicted.clock) };
                self.tombstones = (self.tombstones.0 - 1, self.tombstones.1 - name.len());
                self.known.remove(name);
            }
            _ => {}
        }
    }

    pub(super) fn merged_through(&self) -> u64 {
        self.merged.through
    }

    /// Returns the tombstones, and the number through which any other removed channel may have evicted its entries.
    pub(super) fn tombstones(&self) -> (impl Iterator<Item = (&Arc<[u8]>, u64)>, u64) {
        let removed = self.known.iter().filter_map(|(name, known)| match known {
            Known::Channel(_) => None,
            Known::Removed(tombstone) => Some((name, tombstone.evicted.through)),
        });
        (removed, self.merged.through)
    }

    /// Returns the slots of the channels whose names match a pattern, and the sequence number through which any removed channel
    /// has evicted its entries whose name does. Channels of merged tombstones count as matching. Adds how many names are
    /// compared.
    pub(super) fn matching(&self, glob: &Glob, compared: &mut usize) -> (Vec<usize>, u64) {
        let (mut channels, mut through) = (Vec::new(), self.merged.through);
        for known in matching(&self.known, glob, compared) {
            match known {
                Known::Channel(at) => channels.push(*at),
                Known::Removed(tombstone) => through = through.max(tombstone.evicted.through),
            }
        }
        (channels, through)
    }

    #[cfg(test)]
    pub(super) fn channel(&self, name: &[u8]) -> Option<usize> {
        match self.known.get(name) {
            Some(Known::Channel(at)) => Some(*at),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) fn channels(&self) -> usize {
        self.known.len() - self.tombstones.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(through: u64) -> Evicted {
        Evicted { through, clock: through }
    }

    fn create(names: &mut Names, name: &[u8]) -> Evicted {
        names.add(name.into(), 0)
    }

    fn evicted_through(names: &Names, wanted: &[u8]) -> u64 {
        names.matching(&Glob::new(wanted), &mut 0).1
    }

    #[test]
    fn tombstones_beyond_the_most_are_merged_into_one_for_unknown_channels() {
        let mut names = Names::default();
        names.remove(b"first"[..].into(), at(5));
        names.remove(b"never published to"[..].into(), at(0));
        assert_eq!((create(&mut names, b"first"), create(&mut names, b"other")), (at(5), at(0)));
        names.remove(b"first"[..].into(), at(6));
        for number in 0..Names::MOST as u64 {
            names.remove(number.to_string().into_bytes().into(), at(10 + number));
        }
        assert_eq!(
            (create(&mut names, b"first"), create(&mut names, b"other"), create(&mut names, b"7")),
            (at(6), at(6), at(17))
        );
        assert_eq!(evicted_through(&names, b"9"), 19);
        assert!(names.tombstones.0 <= Names::MOST && names.order.len() <= 2 * Names::MOST + 16);
        // Unknown names that a client makes up displace no tombstone.
        let merged = names.merged;
        for number in 0..100 {
            let name = format!("made up {number}").into_bytes();
            let evicted = create(&mut names, &name);
            names.remove(name.into(), evicted);
        }
        let made_again = create(&mut names, b"65535");
        assert_eq!((names.merged, made_again), (merged, at(65_545)));
    }

    #[test]
    fn a_channel_that_is_removed_again_and_again_displaces_no_other_tombstone() {
        let mut names = Names::default();
        names.remove(b"one"[..].into(), at(5));
        for _ in 0..=2 * Names::MOST {
            let evicted = create(&mut names, b"other").through;
            names.remove(b"other"[..].into(), at(evicted.max(7)));
        }
        assert_eq!((names.merged, create(&mut names, b"one"), names.order.len() < 100), (at(0), at(5), true));
    }

    #[test]
    fn long_names_take_no_more_than_the_allowed_bytes() {
        let mut names = Names::default();
        for number in 0..2 * Names::MOST_BYTES / 1000 {
            names.remove(format!("{number:01000}").into_bytes().into(), at(number as u64 + 1));
        }
        assert!(
            names.tombstones.1 <= Names::MOST_BYTES && names.tombstones.0 <= Names::MOST_BYTES / 1000,
            "{}",
            names.tombstones.1
        );
        assert_eq!(create(&mut names, format!("{:01000}", 0).as_bytes()), names.merged);
    }
}
