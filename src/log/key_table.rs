//! Values by key, without the keys: they would take more memory than everything else.

use std::collections::hash_map::{HashMap, RandomState};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

/// A value for each key of a channel.
///
/// Keys are told apart by a hash with a random seed. That two of 100,000 keys have the same one is less likely than 1 in 10^9,
/// and nobody can choose such keys.
#[derive(Clone, Debug)]
pub struct KeyTable<V> {
    seed: RandomState,
    values: HashMap<u64, V, BuildHasherDefault<Unhashed>>,
}

/// The hasher of a key's hash: it stays as it is.
#[derive(Clone, Debug, Default)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<V> Default for KeyTable<V> {
    fn default() -> Self {
        Self { seed: RandomState::new(), values: HashMap::default() }
    }
}

impl<V> KeyTable<V> {
    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// Returns a key's value.
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        self.values.get(&self.hash(key))
    }

    /// Gives a key a value, and returns the one before.
    pub fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        self.values.insert(self.hash(key), value)
    }

    /// Removes a key, and returns its value.
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        self.values.remove(&self.hash(key))
    }

    /// Removes the keys whose values do not have a property.
    pub fn retain(&mut self, has: impl Fn(&V) -> bool) {
        self.values.retain(|_, value| has(value));
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns true if there is no key.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}
