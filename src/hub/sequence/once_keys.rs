//! The keys that publishers give their events, so that a repeated publish is none.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// The most bytes of a key.
pub const MAX_ONCE_BYTES: usize = 256;

/// The most keys that are remembered, whatever the bounds of the history.
const MAX_KEYS: usize = 1 << 20;

/// The keys of the last events, within the bounds of the hub's history.
#[derive(Clone, Debug)]
pub struct OnceKeys {
    ids: HashMap<Box<[u8]>, Box<str>>,
    by_age: VecDeque<(Instant, Box<[u8]>)>,
    max_keys: usize,
    max_age: Duration,
}

impl OnceKeys {
    /// Begins without keys.
    pub fn new(max_keys: usize, max_age: Duration) -> Self {
        Self { ids: HashMap::new(), by_age: VecDeque::new(), max_keys: max_keys.min(MAX_KEYS), max_age }
    }

    /// Sets how many keys are remembered, and for how long.
    pub fn set_bounds(&mut self, max_keys: usize, max_age: Duration) {
        (self.max_keys, self.max_age) = (max_keys.min(MAX_KEYS), max_age);
    }

    /// Returns the id of the event that was published with a key.
    pub fn id_of(&mut self, key: &[u8], now: Instant) -> Option<&str> {
        self.forget(self.max_keys, now);
        self.ids.get(key).map(|id| &**id)
    }

    /// Remembers the id of an event with a new key.
    pub fn insert(&mut self, key: &[u8], id: &str, now: Instant) {
        self.forget(self.max_keys.saturating_sub(1), now);
        if self.ids.insert(key.into(), id.into()).is_none() {
            self.by_age.push_back((now, key.into()));
        }
    }

    /// Returns the keys with the ids of their events and when they were published, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &str, Instant)> {
        self.by_age.iter().filter_map(move |(since, key)| Some((&**key, &**self.ids.get(key)?, *since)))
    }

    fn forget(&mut self, max_keys: usize, now: Instant) {
        while let Some((since, _)) = self.by_age.front() {
            if self.by_age.len() <= max_keys && now.saturating_duration_since(*since) < self.max_age {
                break;
            }
            if let Some((_, key)) = self.by_age.pop_front() {
                self.ids.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_within_the_bounds_of_the_history() {
        let start = Instant::now();
        let mut keys = OnceKeys::new(2, Duration::from_secs(10));
        keys.insert(b"a", "1", start);
        assert_eq!(keys.id_of(b"a", start), Some("1"));
        keys.insert(b"b", "2", start + Duration::from_secs(5));
        keys.insert(b"c", "3", start + Duration::from_secs(5));
        let ids = |keys: &mut OnceKeys, seconds| {
            [b"a", b"b", b"c"].map(|key| keys.id_of(key, start + Duration::from_secs(seconds)).map(str::to_owned))
        };
        assert_eq!(ids(&mut keys, 9), [None, Some("2".to_owned()), Some("3".to_owned())]);
        assert_eq!(ids(&mut keys, 15), [None, None, None]);
        assert!(keys.ids.is_empty());
    }
}
