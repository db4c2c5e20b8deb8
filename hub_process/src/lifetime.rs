//! When the process has nothing to do any more.

use eventsource_xs::wire::{HandedProcess, HubSettings};
use std::time::{Duration, Instant};

/// The time for which the end of the process is postponed.
const MOMENT: Duration = Duration::from_secs(1);

/// The due action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueAction {
    /// The last worker has been away for too long: the streams end.
    EndStreams,
    /// There was no worker and no stream, and nothing was published, for too long: the process ends.
    Exit,
}

/// The clocks of the process.
#[derive(Clone, Debug)]
pub struct Lifetime {
    idle_exit: Duration,
    grace: Duration,
    /// Since when there is no worker.
    without_worker: Option<Instant>,
    /// Since when nobody uses the process.
    idle: Option<Instant>,
    /// True if the streams were ended since the last worker has left.
    has_ended_streams: bool,
}

impl Lifetime {
    pub fn new(idle_exit: Duration, grace: Duration, now: Instant) -> Self {
        Self { idle_exit, grace, without_worker: Some(now), idle: Some(now), has_ended_streams: false }
    }

    /// Takes over the times that the hub has now.
    pub fn adopt(&mut self, settings: &HubSettings) {
        (self.idle_exit, self.grace) = (settings.idle_exit, settings.grace);
    }

    /// Takes note of what there is: workers, streams, and whether anything else uses the process. Returns what is due.
    pub fn update(&mut self, workers: usize, streams: usize, is_used: bool, now: Instant) -> Option<DueAction> {
        if workers > 0 {
            (self.without_worker, self.has_ended_streams) = (None, false);
        } else {
            self.without_worker.get_or_insert(now);
        }
        if workers + streams > 0 || is_used {
            self.idle = None;
        } else {
            self.idle.get_or_insert(now);
        }
        let is_over = |since: Option<Instant>, time| since.is_some_and(|since| now.duration_since(since) >= time);
        if is_over(self.idle, self.idle_exit) {
            Some(DueAction::Exit)
        } else if streams > 0 && !self.has_ended_streams && is_over(self.without_worker, self.grace) {
            self.has_ended_streams = true;
            Some(DueAction::EndStreams)
        } else {
            None
        }
    }

    /// Hands the clocks over, as they are at a time.
    pub fn hand_over(&self, at: Instant, to: &mut HandedProcess) {
        let age = |since: Instant| at.saturating_duration_since(since);
        (to.without_worker, to.idle) = (self.without_worker.map(age), self.idle.map(age));
        to.has_ended_streams = self.has_ended_streams;
    }

    /// Continues with the clocks of another program, which it has handed over `at` a time.
    pub fn resume(&mut self, handed: &HandedProcess, at: Instant) {
        let since = |age: Duration| at.checked_sub(age).unwrap_or(at);
        (self.without_worker, self.idle) = (handed.without_worker.map(since), handed.idle.map(since));
        self.has_ended_streams = handed.has_ended_streams;
    }

    /// Delays the end of the process by a moment. It then ends if nobody uses it.
    pub fn postpone_exit(&mut self, now: Instant) {
        let moment = self.idle_exit.min(MOMENT);
        self.idle = Some(now.checked_sub(self.idle_exit - moment).unwrap_or(now));
    }

    /// Returns how long until something may be due. A time beyond any clock counts as none.
    pub fn next_due(&self, now: Instant) -> Option<Duration> {
        let of_streams = self.without_worker.filter(|_| self.idle.is_none() && !self.has_ended_streams);
        let until = |since: Instant, time| Some(since.checked_add(time)?.saturating_duration_since(now));
        let idle = self.idle.and_then(|since| until(since, self.idle_exit));
        let grace = of_streams.and_then(|since| until(since, self.grace));
        idle.into_iter().chain(grace).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn streams_end_a_while_after_the_last_worker_and_the_process_after_the_last_stream() {
        let start = Instant::now();
        let at = |seconds| start + SECOND * seconds;
        let mut lifetime = Lifetime::new(SECOND * 10, SECOND * 3, start);
        for (seconds, workers, streams, due) in [
            (9, 0, 0, None),
            (9, 1, 0, None),
            (30, 1, 2, None),
            (31, 0, 2, None),
            (33, 0, 2, None),
            (34, 0, 2, Some(DueAction::EndStreams)),
            (35, 0, 2, None),
            (36, 0, 0, None),
            (45, 0, 0, None),
            (46, 0, 0, Some(DueAction::Exit)),
        ] {
            assert_eq!(lifetime.update(workers, streams, false, at(seconds)), due, "{seconds}");
        }
    }

    #[test]
    fn a_worker_that_comes_back_within_the_grace_keeps_the_streams() {
        let start = Instant::now();
        let mut lifetime = Lifetime::new(SECOND, SECOND, start);
        for (workers, seconds) in [(1, 0), (0, 10), (1, 10), (0, 20)] {
            assert_eq!(lifetime.update(workers, 1, false, start + SECOND * seconds), None);
        }
        assert_eq!(lifetime.next_due(start + SECOND * 20), Some(SECOND));
    }

    #[test]
    fn a_command_keeps_the_process_alive_but_not_its_streams() {
        let start = Instant::now();
        let at = |seconds| start + SECOND * seconds;
        let mut lifetime = Lifetime::new(SECOND * 10, SECOND * 3, start);
        for (seconds, streams, is_used, due) in [
            (2, 1, true, None),
            (3, 1, true, Some(DueAction::EndStreams)),
            (9, 0, true, None),
            (10, 0, false, None),
            (19, 0, false, None),
            (20, 0, false, Some(DueAction::Exit)),
        ] {
            assert_eq!(lifetime.update(0, streams, is_used, at(seconds)), due, "{seconds}");
        }
        lifetime.postpone_exit(at(20));
        assert_eq!((lifetime.update(0, 0, false, at(20)), lifetime.next_due(at(20))), (None, Some(MOMENT)));
        assert_eq!(lifetime.update(0, 0, false, at(21)), Some(DueAction::Exit));
    }

    #[test]
    fn without_end_nothing_is_ever_due() {
        let start = Instant::now();
        let mut lifetime = Lifetime::new(Duration::MAX, Duration::MAX, start);
        for streams in [0, 1] {
            assert_eq!(lifetime.update(0, streams, false, start + SECOND * 1_000_000), None);
            assert_eq!(lifetime.next_due(start), None);
        }
    }
}
