//! What channels that have vanished had forgotten, so that those who come back to one are told.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Through which sequence number channels that are no more had evicted their events, by name. Of too many the first become
/// one number: what any of them had evicted, any unknown channel may have.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    by_name: HashMap<Arc<[u8]>, Forgotten>,
    /// In the order in which they vanished, with their numbers. Some are back since, or have vanished again.
    order: VecDeque<(Arc<[u8]>, u64)>,
    /// How many channels have vanished.
    number: u64,
    /// The bytes of the names.
    bytes: usize,
    all: Evicted,
}

/// What a channel had evicted: through which sequence number, and when it did so last, on the hub's clock of evictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evicted {
    pub(super) through: u64,
    pub(super) clock: u64,
}

#[derive(Debug)]
struct Forgotten {
    evicted: Evicted,
    /// Which of all that have vanished it was.
    number: u64,
}

impl Tombstones {
    const MOST: usize = 65_536;
    const MOST_BYTES: usize = 4 << 20;

    pub(super) fn insert(&mut self, name: Arc<[u8]>, evicted: Evicted) {
        if evicted.through <= self.all.through && evicted.clock <= self.all.clock {
            return; // that is what any is taken to have evicted
        }
        self.number += 1;
        self.bytes += name.len();
        if self.by_name.insert(Arc::clone(&name), Forgotten { evicted, number: self.number }).is_some() {
            self.bytes -= name.len();
        }
        self.order.push_back((name, self.number));
        // Channels that come and go again and again push nothing out.
        if self.order.len() > 2 * self.by_name.len() + 16 {
            let by_name = &self.by_name;
            self.order.retain(|(name, number)| by_name.get(name).map_or(false, |gone| gone.number == *number));
        }
        while self.by_name.len() > Self::MOST || self.bytes > Self::MOST_BYTES {
            match self.order.pop_front() {
                Some((name, number)) => self.make_room(&name, number),
                None => break,
            }
        }
    }

    fn make_room(&mut self, name: &[u8], number: u64) {
        if self.by_name.get(name).map_or(false, |gone| gone.number == number) {
            if let Some(Forgotten { evicted, .. }) = self.remove(name) {
                let Evicted { through, clock } = self.all;
                self.all = Evicted { through: through.max(evicted.through), clock: clock.max(evicted.clock) };
            }
        }
    }

    fn remove(&mut self, name: &[u8]) -> Option<Forgotten> {
        let gone = self.by_name.remove(name);
        self.bytes -= gone.as_ref().map_or(0, |_| name.len());
        gone
    }

    /// What a channel of that name, which is there again, had evicted.
    pub(super) fn take(&mut self, name: &[u8]) -> Evicted {
        self.remove(name).map_or(self.all, |gone| gone.evicted)
    }

    /// Through which sequence number the channels had evicted that a function is true of: of a name, and of none for all
    /// channels whose names are not known any more.
    pub(super) fn forgotten(&self, is_wanted: impl Fn(Option<&[u8]>, Evicted) -> bool) -> u64 {
        let named = self.by_name.iter().filter(|(name, gone)| is_wanted(Some(name), gone.evicted));
        let unnamed = Some(self.all).filter(|all| is_wanted(None, *all));
        named.map(|(_, gone)| gone.evicted.through).chain(unnamed.map(|all| all.through)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(through: u64) -> Evicted {
        Evicted { through, clock: through }
    }

    fn forgotten(gone: &Tombstones, wanted: &[u8]) -> u64 {
        gone.forgotten(|name, _| name.map_or(true, |name| name == wanted))
    }

    #[test]
    fn of_too_many_the_first_are_remembered_together() {
        let mut gone = Tombstones::default();
        gone.insert(b"first"[..].into(), at(5));
        gone.insert(b"never published to"[..].into(), at(0));
        assert_eq!((gone.take(b"first"), gone.take(b"other")), (at(5), at(0)));
        gone.insert(b"first"[..].into(), at(6));
        for number in 0..Tombstones::MOST as u64 {
            gone.insert(number.to_string().into_bytes().into(), at(10 + number));
        }
        assert_eq!((gone.take(b"first"), gone.take(b"other"), gone.take(b"7")), (at(6), at(6), at(17)));
        assert_eq!(forgotten(&gone, b"9"), 19);
        assert!(gone.by_name.len() <= Tombstones::MOST && gone.order.len() <= 2 * Tombstones::MOST + 16);
        // Names that somebody makes up push nothing out.
        let all = gone.all;
        for number in 0..100 {
            let name = format!("made up {number}").into_bytes();
            let evicted = gone.take(&name);
            gone.insert(name.into(), evicted);
        }
        assert_eq!((gone.all, gone.take(b"65535")), (all, at(65_545)));
    }

    #[test]
    fn a_channel_that_comes_and_goes_pushes_nothing_out() {
        let mut gone = Tombstones::default();
        gone.insert(b"one"[..].into(), at(5));
        for _ in 0..=2 * Tombstones::MOST {
            let evicted = gone.take(b"other").through;
            gone.insert(b"other"[..].into(), at(evicted.max(7)));
        }
        assert_eq!((gone.all, gone.take(b"one"), gone.order.len() < 100), (at(0), at(5), true));
    }

    #[test]
    fn long_names_take_no_more_than_the_bytes_that_are_allowed() {
        let mut gone = Tombstones::default();
        for number in 0..2 * Tombstones::MOST_BYTES / 1000 {
            gone.insert(format!("{number:01000}").into_bytes().into(), at(number as u64 + 1));
        }
        assert!(
            gone.bytes <= Tombstones::MOST_BYTES && gone.by_name.len() <= Tombstones::MOST_BYTES / 1000,
            "{}",
            gone.bytes
        );
        assert_eq!(gone.take(format!("{:01000}", 0).as_bytes()), gone.all);
    }
}
