//! Which entries are in the stream twice: a hub that lost its connection sends again what it cannot find.

use super::entry::Id;
use std::collections::HashMap;

/// The most producers that are remembered.
const MOST: usize = 4096;

/// The last count of each producer.
#[derive(Debug, Default)]
pub struct Producers {
    seen: HashMap<Box<[u8]>, (u64, Id)>,
}

impl Producers {
    /// Takes note of an entry. Returns false if it was there before: the counts of a producer increase.
    pub fn note(&mut self, producer: &[u8], count: u64, id: Id) -> bool {
        if let Some((last, at)) = self.seen.get_mut(producer) {
            if count <= *last {
                return false;
            }
            (*last, *at) = (count, id);
            return true;
        }
        if self.seen.len() >= MOST {
            self.forget_half();
        }
        self.seen.insert(producer.into(), (count, id));
        true
    }

    /// Forgets the producers whose last entries are the oldest.
    fn forget_half(&mut self) {
        let mut ids: Vec<Id> = self.seen.values().map(|(_, id)| *id).collect();
        ids.sort_unstable();
        let middle = ids[ids.len() / 2];
        self.seen.retain(|_, (_, id)| *id >= middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_new_once() {
        let mut producers = Producers::default();
        let id = Id::default();
        for (producer, count, expected) in
            [("a", 1, true), ("a", 1, false), ("b", 1, true), ("a", 3, true), ("a", 2, false), ("b", 2, true)]
        {
            assert_eq!(producers.note(producer.as_bytes(), count, id), expected, "{producer}:{count}");
        }
    }

    #[test]
    fn the_producers_of_old_entries_are_forgotten() {
        let mut producers = Producers::default();
        for ms in 0..3 * MOST as u64 {
            producers.note(format!("p{ms}").as_bytes(), 1, Id { ms, part: 0 });
        }
        assert!(producers.seen.len() <= MOST);
        let has = |ms: usize| producers.seen.contains_key(format!("p{ms}").as_bytes());
        assert!(has(3 * MOST - 1) && !has(0));
    }
}
