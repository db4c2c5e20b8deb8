//! The timers of all streams, in coarse ticks, so that thousands of streams wake the reactor once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The slots of streams by the times of their timers.
#[derive(Debug)]
pub(super) struct Timers {
    start: Instant,
    by_time: BTreeMap<Instant, Vec<u32>>,
}

impl Timers {
    /// A tick is this fraction of the time until a timer is due. The timer may be late by one tick.
    const TICKS: u32 = 16;

    pub(super) fn new(start: Instant) -> Self {
        Self { start, by_time: BTreeMap::new() }
    }

    /// Returns the first tick after `due`. The longer the time until then, the longer the ticks. The result is never `now`:
    /// what was due and could not be done is not tried again at once.
    pub(super) fn tick(&self, now: Instant, due: Instant) -> Instant {
        let due = due.max(now);
        let tick = (due.saturating_duration_since(now) / Self::TICKS).max(Duration::from_millis(1));
        // With a power of two the ticks of streams that were opened at different times coincide.
        let tick = (tick.as_micros() as u64 + 1).next_power_of_two() / 2;
        let since = due.saturating_duration_since(self.start).as_micros() as u64;
        self.start + Duration::from_micros((since / tick + 1) * tick)
    }

    pub(super) fn insert(&mut self, at: Instant, slot: u32) {
        self.by_time.entry(at).or_default().push(slot);
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.by_time.keys().next().copied()
    }

    /// Returns the number of timers, including those that were replaced by earlier ones.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_time.values().map(Vec::len).sum()
    }

    /// Takes the slots of the first tick that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Instant, Vec<u32>)> {
        let at = self.first().filter(|at| *at <= now)?;
        Some((at, self.by_time.remove(&at)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_never_early_and_at_most_a_sixteenth_late() {
        let start = Instant::now();
        let timers = Timers::new(start);
        for (now, due) in [(0, 15_000), (7, 15_007), (100, 101), (5, 5), (3_600_000, 3_615_000), (0, 10)] {
            let (now, due) = (start + Duration::from_millis(now), start + Duration::from_millis(due));
            let tick = timers.tick(now, due);
            assert!(tick > due, "{:?}", tick - start);
            assert!(
                tick - due <= (due - now) / 16 + Duration::from_millis(1),
                "{:?} after {:?}",
                tick - due,
                due - now
            );
        }
    }

    #[test]
    fn streams_opened_within_a_half_second_share_a_tick() {
        let start = Instant::now();
        let timers = Timers::new(start);
        let tick = |opened| {
            let opened = start + Duration::from_millis(opened);
            timers.tick(opened, opened + Duration::from_secs(15))
        };
        let ticks: std::collections::BTreeSet<_> = (0..5_000).map(tick).collect();
        assert!(ticks.len() <= 11, "{} wake-ups for 5 seconds of streams", ticks.len());
    }
}
