//! Finding names that begin with a text, and patterns that begin as a name does, without a look at all others.
//!
//! Most patterns have some text before their first star (`user/7/*`): a new one is compared only with the names that begin with
//! that text, and a new name only with the patterns whose text it begins with. A pattern that begins with a star is compared
//! with all names: the reactor creates no more patterns and takes no more commands in a turn that has compared many.

use super::glob::{literal, Glob};
use super::steps;
use super::Hub;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Returns the values of the names that match a pattern, in the order of the names. Adds how many names are compared.
pub(super) fn matching<'a, V>(
    names: &'a BTreeMap<Arc<[u8]>, V>,
    glob: &'a Glob,
    compared: &'a mut usize,
) -> impl Iterator<Item = &'a V> {
    let from = (Bound::Included(glob.prefix()), Bound::Unbounded);
    let begun = names.range::<[u8], _>(from).take_while(move |(name, _)| name.starts_with(glob.prefix()));
    let counted = begun.inspect(move |_| *compared += 1);
    counted.filter(move |(name, _)| glob.matches(name)).map(|(_, value)| value)
}

/// A pattern's text before its first star, and the rest.
type Parts = (Box<[u8]>, Box<[u8]>);

/// The slots of patterns, in the order of what is before their first stars.
#[derive(Debug, Default)]
pub(super) struct PatternIndex(BTreeMap<Parts, usize>);

impl PatternIndex {
    fn key(text: &[u8]) -> Parts {
        let (literal, rest) = text.split_at(literal(text).len());
        (literal.into(), rest.into())
    }

    pub(super) fn get(&self, text: &[u8]) -> Option<usize> {
        self.0.get(&Self::key(text)).copied()
    }

    pub(super) fn insert(&mut self, text: &[u8], at: usize) {
        self.0.insert(Self::key(text), at);
    }

    pub(super) fn remove(&mut self, text: &[u8]) {
        self.0.remove(&Self::key(text));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the slots of the patterns whose text before the first star a name begins with.
    fn candidates(&self, name: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        let mut begin = name;
        // Backwards from the texts that `begin` itself begins with. The first one that differs shows how much of `begin` any
        // text before it can have.
        'shorter: loop {
            let end = ([begin, &[0]].concat().into(), Box::default());
            for ((literal, _), at) in self.0.range(..end).rev() {
                steps::count(1);
                if begin.starts_with(literal) {
                    found.push(*at);
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

impl<'a> FromIterator<(&'a [u8], usize)> for PatternIndex {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], usize)>>(patterns: I) -> Self {
        Self(patterns.into_iter().map(|(text, at)| (Self::key(text), at)).collect())
    }
}

impl Hub {
    /// Returns the slots of the patterns that match a name.
    pub(super) fn patterns_matching(&self, name: &[u8]) -> Vec<usize> {
        let mut patterns = self.pattern_by_text.candidates(name);
        patterns.retain(|at| self.patterns[*at].glob.matches(name));
        patterns
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Epoch, OnSlow};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_patterns_of_a_name_are_those_whose_literal_text_it_begins_with(
            patterns in proptest::collection::hash_set("[ab!/]{0,4}[*][ab*]{0,2}|[ab!/]{0,4}", 0..30),
            name in "[ab!/]{0,6}",
        ) {
            let patterns: Vec<_> = patterns.into_iter().collect();
            let index: PatternIndex = patterns.iter().map(String::as_bytes).zip(0..).collect();
            let mut found = index.candidates(name.as_bytes());
            found.sort_unstable();
            let begins = |at: &usize| name.as_bytes().starts_with(literal(patterns[*at].as_bytes()));
            prop_assert_eq!(found, (0..patterns.len()).filter(begins).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_pattern_and_a_name_take_few_steps_beside_20_000_channels_patterns_and_tombstones() {
        let bounds = crate::log::Bounds { events: 1, bytes: usize::MAX, age: std::time::Duration::MAX };
        let settings = crate::hub::Settings { on_slow: OnSlow::Gap, ..crate::hub::Settings::new(bounds, bounds) };
        let mut hub = Hub::new(Epoch::new("e", None), settings);
        for number in 0..20_000 {
            hub.pattern_or_create(format!("user/{number}/*").as_bytes());
            hub.channel_or_create(format!("user/{number}/news").as_bytes());
            let evicted = super::super::tombstones::Evicted { through: 1, clock: 1 };
            hub.tombstones.insert(format!("user/{number}/gone").into_bytes().into(), evicted);
        }
        hub.take_compared();
        let steps = steps::of(|| hub.channel_or_create(b"user/7/mail"));
        assert!(steps < 100, "{steps} steps for a name");
        assert_eq!(hub.take_compared(), 0);
        let steps = steps::of(|| hub.pattern_or_create(b"user/7/**"));
        assert!(steps < 100, "{steps} steps for a pattern");
        assert_eq!(hub.take_compared(), 3, "two channels and a tombstone");
        hub.pattern_or_create(b"**/news");
        assert_eq!(hub.take_compared(), 40_001);
    }
}
