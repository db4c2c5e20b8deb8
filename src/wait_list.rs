//! A list of keys that wait, in the order of what each waits for: mostly a time.

use std::collections::{BTreeMap, BTreeSet};

/// Keys, each with what it waits for; the one that waits for the least is first.
#[derive(Clone, Debug)]
pub(crate) struct WaitList<K, T> {
    in_order: BTreeSet<(T, K)>,
    by_key: BTreeMap<K, T>,
}

impl<K: Clone + Ord, T: Copy + Ord> WaitList<K, T> {
    /// Adds a key, or replaces what it waits for.
    pub(crate) fn set(&mut self, key: K, awaited: T) {
        self.remove(&key);
        self.by_key.insert(key.clone(), awaited);
        self.in_order.insert((awaited, key));
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some((key, awaited)) = self.by_key.remove_entry(key) {
            self.in_order.remove(&(awaited, key));
        }
    }

    /// Returns what a key waits for, if it waits.
    pub(crate) fn get(&self, key: &K) -> Option<T> {
        self.by_key.get(key).copied()
    }

    /// Returns the least that any waits for.
    pub(crate) fn first(&self) -> Option<T> {
        self.iter().next().map(|(awaited, _)| *awaited)
    }

    /// Returns the first one from a place in the order on.
    pub(crate) fn first_from(&self, place: (T, K)) -> Option<&(T, K)> {
        self.in_order.range(place..).next()
    }

    /// Takes the first one, if what it waits for has been reached.
    pub(crate) fn take_due(&mut self, reached: T) -> Option<K> {
        let (_, key) = self.iter().next().filter(|(awaited, _)| *awaited <= reached)?.clone();
        self.remove(&key);
        Some(key)
    }

    /// Returns all in their order, each after what it waits for.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(T, K)> {
        self.in_order.iter()
    }
}

impl<K, T> Default for WaitList<K, T> {
    fn default() -> Self {
        Self { in_order: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_in_order_when_what_they_wait_for_is_reached_unless_they_are_removed() {
        let mut list = WaitList::default();
        for (key, awaited) in [(1, 9), (2, 3), (3, 6), (4, 7), (4, 1), (5, 2)] {
            list.set(key, awaited);
        }
        list.remove(&3);
        assert_eq!((list.first(), list.take_due(0)), (Some(1), None));
        assert_eq!((list.first_from((2, 6)), list.get(&4), list.get(&3)), (Some(&(3, 2)), Some(1), None));
        let taken: Vec<i32> = std::iter::from_fn(|| list.take_due(8)).collect();
        assert_eq!((taken, list.iter().count()), (vec![4, 5, 2], 1));
    }
}
