//! Tombstones of removed channels: a client that resumes one receives a `gap` event for what its log has evicted.

use super::glob::Glob;
use super::prefixes::matching;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The tombstones of removed channels, by name.
///
/// Beyond a number of them the oldest are merged into one for all unknown channels: any of these may have evicted
/// what one of the merged channels has.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    by_name: BTreeMap<Arc<[u8]>, Tombstone>,
    /// The names in the order of removal, with the removals' numbers. Some of the channels exist again, or were
    /// removed again.
    order: VecDeque<(Arc<[u8]>, u64)>,
    /// The number of removals.
    removals: u64,
    /// The bytes of the names in `by_name`.
    bytes: usize,
    /// The merged tombstones.
    merged: Evicted,
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

impl Tombstones {
    const MOST: usize = 65_536;
    const MOST_BYTES: usize = 4 << 20;

    /// Begins with a tombstone of all channels: any of them may have evicted entries through a sequence number.
    pub(super) fn new(through: u64) -> Self {
        Self { merged: Evicted { through, clock: 0 }, ..Self::default() }
    }

    pub(super) fn insert(&mut self, name: Arc<[u8]>, evicted: Evicted) {
        if evicted.through <= self.merged.through && evicted.clock <= self.merged.clock {
            return; // any unknown channel counts as having evicted that much
        }
        self.removals += 1;
        self.bytes += name.len();
        if self.by_name.insert(Arc::clone(&name), Tombstone { evicted, removal: self.removals }).is_some() {
            self.bytes -= name.len();
        }
        self.order.push_back((name, self.removals));
        // A channel that is created and removed again and again displaces no other tombstone.
        if self.order.len() > 2 * self.by_name.len() + 16 {
            let by_name = &self.by_name;
            self.order
                .retain(|(name, removal)| by_name.get(name).map_or(false, |tombstone| tombstone.removal == *removal));
        }
        while self.by_name.len() > Self::MOST || self.bytes > Self::MOST_BYTES {
            match self.order.pop_front() {
                Some((name, removal)) => self.merge(&name, removal),
                None => break,
            }
        }
    }

    /// Merges a tombstone into the one of unknown channels, unless it is of a later removal.
    fn merge(&mut self, name: &[u8], removal: u64) {
        if self.by_name.get(name).map_or(false, |tombstone| tombstone.removal == removal) {
            if let Some(Tombstone { evicted, .. }) = self.remove(name) {
                let Evicted { through, clock } = self.merged;
                self.merged = Evicted { through: through.max(evicted.through), clock: clock.max(evicted.clock) };
            }
        }
    }

    fn remove(&mut self, name: &[u8]) -> Option<Tombstone> {
        let tombstone = self.by_name.remove(name);
        self.bytes -= tombstone.as_ref().map_or(0, |_| name.len());
        tombstone
    }

    /// Removes the tombstone of a channel that is created again. Returns how far the channel has evicted its entries.
    pub(super) fn take(&mut self, name: &[u8]) -> Evicted {
        self.remove(name).map_or(self.merged, |tombstone| tombstone.evicted)
    }

    /// Returns the sequence number through which any removed channel has evicted its entries whose name matches a pattern.
    /// Channels of merged tombstones count as matching. Adds how many names are compared.
    pub(super) fn evicted_through(&self, glob: &Glob, compared: &mut usize) -> u64 {
        let named = matching(&self.by_name, glob, compared);
        named.map(|tombstone| tombstone.evicted.through).fold(self.merged.through, u64::max)
    }
}

saved!(Tombstones { by_name, order, removals, bytes, merged });
saved!(Evicted { through, clock });
saved!(Tombstone { evicted, removal });

#[cfg(test)]
mod tests {
    use super::*;

    fn at(through: u64) -> Evicted {
        Evicted { through, clock: through }
    }

    fn evicted_through(tombstones: &Tombstones, wanted: &[u8]) -> u64 {
        tombstones.evicted_through(&Glob::new(wanted), &mut 0)
    }

    #[test]
    fn tombstones_beyond_the_most_are_merged_into_one_for_unknown_channels() {
        let mut tombstones = Tombstones::default();
        tombstones.insert(b"first"[..].into(), at(5));
        tombstones.insert(b"never published to"[..].into(), at(0));
        assert_eq!((tombstones.take(b"first"), tombstones.take(b"other")), (at(5), at(0)));
        tombstones.insert(b"first"[..].into(), at(6));
        for number in 0..Tombstones::MOST as u64 {
            tombstones.insert(number.to_string().into_bytes().into(), at(10 + number));
        }
        assert_eq!(
            (tombstones.take(b"first"), tombstones.take(b"other"), tombstones.take(b"7")),
            (at(6), at(6), at(17))
        );
        assert_eq!(evicted_through(&tombstones, b"9"), 19);
        assert!(tombstones.by_name.len() <= Tombstones::MOST && tombstones.order.len() <= 2 * Tombstones::MOST + 16);
        // Unknown names that a client makes up displace no tombstone.
        let merged = tombstones.merged;
        for number in 0..100 {
            let name = format!("made up {number}").into_bytes();
            let evicted = tombstones.take(&name);
            tombstones.insert(name.into(), evicted);
        }
        assert_eq!((tombstones.merged, tombstones.take(b"65535")), (merged, at(65_545)));
    }

    #[test]
    fn a_channel_that_is_removed_again_and_again_displaces_no_other_tombstone() {
        let mut tombstones = Tombstones::default();
        tombstones.insert(b"one"[..].into(), at(5));
        for _ in 0..=2 * Tombstones::MOST {
            let evicted = tombstones.take(b"other").through;
            tombstones.insert(b"other"[..].into(), at(evicted.max(7)));
        }
        assert_eq!((tombstones.merged, tombstones.take(b"one"), tombstones.order.len() < 100), (at(0), at(5), true));
    }

    #[test]
    fn long_names_take_no_more_than_the_allowed_bytes() {
        let mut tombstones = Tombstones::default();
        for number in 0..2 * Tombstones::MOST_BYTES / 1000 {
            tombstones.insert(format!("{number:01000}").into_bytes().into(), at(number as u64 + 1));
        }
        assert!(
            tombstones.bytes <= Tombstones::MOST_BYTES && tombstones.by_name.len() <= Tombstones::MOST_BYTES / 1000,
            "{}",
            tombstones.bytes
        );
        assert_eq!(tombstones.take(format!("{:01000}", 0).as_bytes()), tombstones.merged);
    }
}
