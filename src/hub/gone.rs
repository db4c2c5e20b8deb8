//! What channels that have vanished had forgotten, so that those who come back to one are told.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The places through which channels that are no more had forgotten, by name. Of too many the first become one number:
/// what any of them had forgotten, any unknown channel may have.
#[derive(Debug, Default)]
pub(super) struct Gone {
    by_name: HashMap<Arc<[u8]>, u64>,
    /// In the order in which they vanished. Some are back since, or have vanished again.
    order: VecDeque<(Arc<[u8]>, u64)>,
    all: u64,
}

impl Gone {
    const MOST: usize = 65_536;

    pub(super) fn insert(&mut self, name: Arc<[u8]>, forgotten: u64) {
        if forgotten <= self.all {
            return; // that is what any is taken to have forgotten
        }
        self.by_name.insert(Arc::clone(&name), forgotten);
        self.order.push_back((name, forgotten));
        while self.order.len() > Self::MOST {
            if let Some((name, forgotten)) = self.order.pop_front() {
                if self.by_name.get(&name) == Some(&forgotten) {
                    self.by_name.remove(&name);
                    self.all = self.all.max(forgotten);
                }
            }
        }
    }

    /// What a channel of that name, which is there again, had forgotten.
    pub(super) fn take(&mut self, name: &[u8]) -> u64 {
        self.by_name.remove(name).unwrap_or(self.all)
    }

    /// What the channels whose names match had forgotten.
    pub(super) fn forgotten(&self, matches: impl Fn(&[u8]) -> bool) -> u64 {
        let matching = self.by_name.iter().filter(|(name, _)| matches(name)).map(|(_, forgotten)| *forgotten);
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
        assert!(gone.by_name.len() <= Gone::MOST && gone.order.len() <= Gone::MOST);
        // Names that somebody makes up push nothing out.
        let all = gone.all;
        for number in 0..100 {
            let name = format!("made up {number}").into_bytes();
            let forgotten = gone.take(&name);
            gone.insert(name.into(), forgotten);
        }
        assert_eq!((gone.all, gone.take(b"65535")), (all, 65_545));
    }
}
