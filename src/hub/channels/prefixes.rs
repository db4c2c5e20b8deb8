//! Finding names that begin with a text, and patterns that begin as a name does, without a look at all others.
//!
//! Most patterns have some text before their first star (`user/7/*`): a new one is compared only with the names that begin with
//! that text, and a new name only with the patterns whose text it begins with. A pattern that begins with a star is compared
//! with all names: the reactor creates no more patterns and takes no more commands in a turn that has compared many.

use crate::hub::glob::{literal, Glob};
use crate::hub::steps;
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
    counted.filter(move |(name, _)| glob.is_match(name)).map(|(_, value)| value)
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
    use crate::hub::settings::policies::Policies;
    use crate::hub::{OnSlow, Settings};
    use proptest::prelude::*;

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
