//! The names of channels, and the tombstones of removed ones: a client that resumes one of these receives a `gap` event for
//! what its log has evicted.
//!
//! Both are in one table, in the order of the names, for patterns. So the removal of a channel changes one value of it, and its
//! creation finds the tombstone where the channel goes.
//!
//! # Patterns
//!
//! Names that begin with a text, and patterns that begin as a name does, are found without a look at all others.
//!
//! Most patterns have some text before their first star (`user/7/*`): a new one is compared only with the names that begin with
//! that text, and a new name only with the patterns whose text it begins with. A pattern that begins with a star is compared
//! with all names: the reactor creates no more patterns and takes no more commands in a turn that has compared many.

use crate::hub::glob::{literal, Glob};
use crate::hub::steps;
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::ops::Bound;
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

/// A channel or a pattern.
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
        let from = (Bound::Included(glob.prefix()), Bound::Unbounded);
        let begun = self.known.range::<[u8], _>(from).take_while(|(name, _)| name.starts_with(glob.prefix()));
        for (_, known) in begun.inspect(|_| *compared += 1).filter(|(name, _)| glob.is_match(name)) {
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

/// The slots of patterns: by what is before their first stars, in its order, and by the rest.
#[derive(Debug, Default)]
pub(super) struct PatternIndex(ByText<ByText<usize>>);

type ByText<T> = BTreeMap<Box<[u8]>, T>;

/// Divides a pattern before its first star.
fn divided(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(literal(text).len())
}

impl PatternIndex {
    pub(super) fn get(&self, text: &[u8]) -> Option<usize> {
        let (literal, rest) = divided(text);
        self.0.get(literal)?.get(rest).copied()
    }

    pub(super) fn insert(&mut self, text: &[u8], at: usize) {
        let (literal, rest) = divided(text);
        self.0.entry(literal.into()).or_default().insert(rest.into(), at);
    }

    pub(super) fn remove(&mut self, text: &[u8]) {
        let (literal, rest) = divided(text);
        if let Some(rests) = self.0.get_mut(literal) {
            rests.remove(rest);
            if rests.is_empty() {
                self.0.remove(literal);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Returns the slots of the patterns whose text before the first star a name begins with.
    pub(super) fn candidates(&self, name: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        let mut begin = name;
        // Backwards from the texts that `begin` itself begins with. The first one that differs shows how much of `begin` any
        // text before it can have.
        'shorter: loop {
            let through = (Bound::Unbounded, Bound::Included(begin));
            for (literal, rests) in self.0.range::<[u8], _>(through).rev() {
                steps::count(1);
                if begin.starts_with(literal) {
                    steps::count(rests.len());
                    found.extend(rests.values());
                } else {
                    let same = begin.iter().zip(&**literal).take_while(|(one, other)| one == other).count();
                    begin = &begin[..same];
                    continue 'shorter;
                }
            }
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::channels::Channels;
    use crate::hub::settings::Policies;
    use crate::hub::{OnSlow, Settings};
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn the_patterns_of_a_name_are_those_whose_literal_text_it_begins_with(
            patterns in proptest::collection::hash_set("[ab!/]{0,4}[*][ab*]{0,2}|[ab!/]{0,4}", 0..30),
            name in "[ab!/]{0,6}",
        ) {
            let patterns: Vec<_> = patterns.into_iter().collect();
            let mut index = PatternIndex::default();
            patterns.iter().zip(0..).for_each(|(text, at)| index.insert(text.as_bytes(), at));
            let mut found = index.candidates(name.as_bytes());
            found.sort_unstable();
            let begins = |at: &usize| name.as_bytes().starts_with(literal(patterns[*at].as_bytes()));
            prop_assert_eq!(found, (0..patterns.len()).filter(begins).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_pattern_and_a_name_take_few_steps_beside_20_000_channels_patterns_and_tombstones() {
        let bounds = crate::log::Bounds { events: 1, bytes: usize::MAX, age: std::time::Duration::MAX };
        let policies = Policies::new(Settings { on_slow: OnSlow::Gap, ..Settings::new(bounds, bounds) });
        let evicted: Vec<(Box<[u8]>, u64)> =
            (0..20_000).map(|number| (format!("user/{number}/gone").into_bytes().into(), 1)).collect();
        let mut channels = Channels::with_evicted(&evicted, 0);
        for number in 0..20_000 {
            channels.get_or_create_pattern(format!("user/{number}/*").as_bytes(), &policies, 1);
            channels.get_or_create(format!("user/{number}/news").as_bytes(), &policies);
        }
        channels.take_compared();
        let steps = steps::of(|| channels.get_or_create(b"user/7/mail", &policies));
        assert!(steps < 100, "{steps} steps for a name");
        assert_eq!(channels.take_compared(), 0);
        let steps = steps::of(|| channels.get_or_create_pattern(b"user/7/**", &policies, 1));
        assert!(steps < 100, "{steps} steps for a pattern");
        assert_eq!(channels.take_compared(), 3, "two channels and a tombstone");
        channels.get_or_create_pattern(b"**/news", &policies, 1);
        assert_eq!(channels.take_compared(), 40_001);
    }
}
