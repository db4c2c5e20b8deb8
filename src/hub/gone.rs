//! What channels that have vanished had forgotten, so that those who come back to one are told.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The places through which channels that are no more had forgotten, by name. Of too many the first become one number:
/// what any of them had forgotten, any unknown channel may have.
#[derive(Debug, Default)]
pub(super) struct Gone {
    by_name: HashMap<Arc<[u8]>, Forgotten>,
    /// In the order in which they vanished, with their numbers. Some are back since, or have vanished again.
    order: VecDeque<(Arc<[u8]>, u64)>,
    /// How many channels have vanished.
    number: u64,
    all: u64,
}

#[derive(Debug)]
struct Forgotten {
    through: u64,
    /// Which of all that have vanished it was.
    number: u64,
}

impl Gone {
    const MOST: usize = 65_536;

    pub(super) fn insert(&mut self, name: Arc<[u8]>, forgotten: u64) {
        if forgotten <= self.all {
            return; // that is what any is taken to have forgotten
        }
        self.number += 1;
        self.by_name.insert(Arc::clone(&name), Forgotten { through: forgotten, number: self.number });
        self.order.push_back((name, self.number));
        // Channels that come and go again and again push nothing out.
        if self.order.len() > 2 * self.by_name.len() + 16 {
            let by_name = &self.by_name;
            self.order.retain(|(name, number)| by_name.get(name).map_or(false, |gone| gone.number == *number));
        }
        while self.by_name.len() > Self::MOST {
            match self.order.pop_front() {
                Some((name, number)) => self.make_room(&name, number),
                None => break,
            }
        }
    }

    fn make_room(&mut self, name: &[u8], number: u64) {
        if self.by_name.get(name).map_or(false, |gone| gone.number == number) {
            let gone = self.by_name.remove(name);
            self.all = gone.map_or(self.all, |gone| self.all.max(gone.through));
        }
    }

    /// What a channel of that name, which is there again, had forgotten.
    pub(super) fn take(&mut self, name: &[u8]) -> u64 {
        self.by_name.remove(name).map_or(self.all, |gone| gone.through)
    }

    /// What the channels whose names match had forgotten.
    pub(super) fn forgotten(&self, matches: impl Fn(&[u8]) -> bool) -> u64 {
        let matching = self.by_name.iter().filter(|(name, _)| matches(name)).map(|(_, gone)| gone.through);
        matching.max().unwrap_or(0).max(self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_the_first_are_remembered_together() {
        let mut gone = Gone::default();
        gone.insert(b"first"[..].into(), 5);
        gone.insert(b"never published to"[..].into(), 0);
        assert_eq!((gone.take(b"first"), gone.take(b"other")), (5, 0));
        gone.insert(b"first"[..].into(), 6);
        for number in 0..Gone::MOST as u64 {
            gone.insert(number.to_string().into_bytes().into(), 10 + number);
        }
        assert_eq!((gone.take(b"first"), gone.take(b"other"), gone.take(b"7")), (6, 6, 17));
        assert_eq!(gone.forgotten(|name| name == b"9"), 19);
        assert!(gone.by_name.len() <= Gone::MOST && gone.order.len() <= 2 * Gone::MOST + 16);
        // Names that somebody makes up push nothing out.
        let all = gone.all;
        for number in 0..100 {
            let name = format!("made up {number}").into_bytes();
            let forgotten = gone.take(&name);
            gone.insert(name.into(), forgotten);
        }
        assert_eq!((gone.all, gone.take(b"65535")), (all, 65_545));
    }

    #[test]
    fn a_channel_that_comes_and_goes_pushes_nothing_out() {
        let mut gone = Gone::default();
        gone.insert(b"one"[..].into(), 5);
        for _ in 0..=2 * Gone::MOST {
            let forgotten = gone.take(b"other");
            gone.insert(b"other"[..].into(), forgotten.max(7));
        }
        assert_eq!((gone.all, gone.take(b"one"), gone.order.len() < 100), (0, 5, true));
    }
}
