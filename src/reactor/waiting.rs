//! Streams that wait, each for a time or a number: found by that in its order, and by the stream.
//!
//! After a failover all clients of a hub may wait at once, so no step looks at each of them.

use super::StreamId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(super) struct Waiting<K> {
    by_key: BTreeSet<(K, StreamId)>,
    keys: BTreeMap<StreamId, K>,
}

impl<K: Copy + Ord> Waiting<K> {
    /// Adds a stream, or replaces what it waits for.
    pub(super) fn set(&mut self, id: StreamId, key: K) {
        self.remove(id);
        self.keys.insert(id, key);
        self.by_key.insert((key, id));
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        if let Some(key) = self.keys.remove(&id) {
            self.by_key.remove(&(key, id));
        }
    }

    pub(super) fn contains(&self, id: StreamId) -> bool {
        self.keys.contains_key(&id)
    }

    /// Returns the stream that waits for the least.
    pub(super) fn first(&self) -> Option<(K, StreamId)> {
        self.by_key.iter().next().copied()
    }

    /// Returns the stream that waits for the least, from a key on.
    pub(super) fn first_from(&self, key: K) -> Option<(K, StreamId)> {
        self.by_key.range((key, StreamId { slot: 0, serial: 0 })..).next().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, StreamId)> + '_ {
        self.by_key.iter().copied()
    }
}

impl<K> Default for Waiting<K> {
    fn default() -> Self {
        Self { by_key: BTreeSet::new(), keys: BTreeMap::new() }
    }
}
