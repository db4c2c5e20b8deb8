//! The wait before a member's leave: how long a member stays whose last stream has left.
//!
//! Few members linger, so when one leaves is not kept in each member.

use crate::stream::after;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// The longest time for which a member lingers.
const MAX_LINGER: Duration = Duration::from_secs(86_400);

/// Returns for how long a member lingers for which an application asks so long.
pub(super) fn bounded(linger: Duration) -> Duration {
    linger.min(MAX_LINGER)
}

/// When members leave, by their slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Lingering {
    by_time: BTreeSet<(Instant, u32)>,
    of: HashMap<u32, Instant>,
}

impl Lingering {
    /// Begins the wait of a member whose last stream has left.
    pub(super) fn begin(&mut self, slot: u32, linger: Duration, now: Instant) {
        self.resume(slot, after(now, linger));
    }

    /// Begins the wait of a member whose streams were those of a process before, in which it has perhaps waited already: so
    /// long would it have waited still.
    pub(super) fn begin_rest(&mut self, slot: u32, linger: Duration, rest: Option<Duration>, now: Instant) {
        self.begin(slot, rest.map_or(linger, |rest| rest.min(linger)), now);
    }

    /// Resumes the wait of a member that does not wait.
    pub(super) fn resume(&mut self, slot: u32, leaves_at: Instant) {
        self.by_time.insert((leaves_at, slot));
        self.of.insert(slot, leaves_at);
    }

    /// Ends the wait of a member, if it waits: a stream has entered, or the member is removed.
    pub(super) fn end(&mut self, slot: u32) {
        if let Some(leaves_at) = self.of.remove(&slot) {
            self.by_time.remove(&(leaves_at, slot));
        }
        if self.of.is_empty() {
            self.of = HashMap::new();
        }
    }

    /// Takes the first member that has waited long enough: it leaves.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u32> {
        let (_, slot) = self.iter().next().filter(|(leaves_at, _)| *leaves_at <= now)?;
        self.end(slot);
        Some(slot)
    }

    /// Returns when the first member leaves.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.iter().next().map(|(leaves_at, _)| leaves_at)
    }

    /// Returns when a member leaves, if it lingers.
    pub(super) fn leaves_at(&self, slot: u32) -> Option<Instant> {
        self.of.get(&slot).copied()
    }

    /// Returns all members that linger, by the times at which they leave.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Instant, u32)> + '_ {
        self.by_time.iter().copied()
    }

    /// Gives the slots other numbers.
    pub(super) fn renumber(&mut self, new: impl Fn(u32) -> u32) {
        let before = std::mem::take(self).by_time;
        before.into_iter().for_each(|(leaves_at, slot)| self.resume(new(slot), leaves_at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_leave_in_the_order_of_their_times_unless_a_stream_enters() {
        let (mut lingering, now) = (Lingering::default(), Instant::now());
        let seconds = Duration::from_secs;
        for (slot, linger) in [(1, 9), (2, 3), (3, 6)] {
            lingering.begin(slot, seconds(linger), now);
        }
        lingering.begin_rest(4, seconds(9), Some(seconds(1)), now);
        lingering.begin_rest(5, seconds(2), Some(seconds(99)), now);
        lingering.end(3);
        assert_eq!(lingering.next_due(), Some(now + seconds(1)));
        assert_eq!(lingering.take_due(now), None);
        let left: Vec<u32> = std::iter::from_fn(|| lingering.take_due(now + seconds(8))).collect();
        assert_eq!(left, [4, 5, 2]);
        lingering.renumber(|slot| slot + 10);
        assert_eq!((lingering.leaves_at(11), lingering.leaves_at(1)), (Some(now + seconds(9)), None));
    }
}
