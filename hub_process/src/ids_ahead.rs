//! Ids that are ahead of the hub: the streams whose clients have named them, and how long these wait.
//!
//! A client may come from another machine with an id that this process has not read yet. The reactor holds its subscription
//! until the hub has published as far, or until the wait is over: after [`LEAST`] if the store is up, otherwise
//! when the store was up for [`UP`], and after [`MOST`] in any case. The client is sent a `gap` event then.
//!
//! If the store was up, and nobody can have invented the id, the wait has shown that the store has lost the event: a master of
//! Redis has died before its replica had it, together with the hubs that have read it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The time for which a stream waits at least.
const LEAST: Duration = Duration::from_secs(5);
/// So long after the store is up again everything that it has was read.
const UP: Duration = Duration::from_secs(3);
/// The time for which a stream waits at most. While the store is down nothing can be delivered, so waiting costs nothing.
const MOST: Duration = Duration::from_secs(60);
/// The interval of checks of the store and of each stream: after a failover there may be thousands.
const CHECK: Duration = Duration::from_millis(250);

/// The streams that wait.
#[derive(Debug, Default)]
pub struct IdsAhead {
    /// By their ids in the library.
    streams: HashMap<u64, StreamAhead>,
    looked_at: Option<Instant>,
}

impl IdsAhead {
    /// Lets a stream wait until the hub has published a sequence number. `is_proven` tells whether only a hub of this epoch can
    /// have given that number.
    pub fn wait_for(&mut self, stream: u64, seq: u64, is_proven: bool, now: Instant) {
        // Another subscription does not make the wait longer.
        let ahead = self.streams.entry(stream).or_insert_with(|| StreamAhead::new(seq, is_proven, now));
        if seq > ahead.seq {
            (ahead.seq, ahead.is_proven) = (seq, is_proven);
        }
    }

    /// Called when a stream has ended.
    pub fn remove(&mut self, stream: u64) {
        self.streams.remove(&stream);
    }

    /// Called when all streams that wait have ended, with the hub of another epoch.
    pub fn clear(&mut self) {
        self.streams.clear();
    }

    /// Returns when [`end_waits`](Self::end_waits) has something to do.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        (!self.streams.is_empty()).then(|| self.looked_at.map_or(now, |at| at + CHECK).max(now))
    }

    /// Ends the waits that are over, with a function that is given the stream's id. `store` returns the last sequence number
    /// of the hub, and whether its store is up. Returns the highest number of an event that the store has lost: the hub of the
    /// next epoch tells the client.
    pub fn end_waits(
        &mut self,
        store: impl FnOnce() -> (u64, bool),
        now: Instant,
        mut end: impl FnMut(u64),
    ) -> Option<u64> {
        if self.streams.is_empty() || self.looked_at.is_some_and(|at| now < at + CHECK) {
            return None;
        }
        let (last_seq, is_up) = store();
        // A store counts as down while nobody looked, for example because the machine stood still.
        let looked_at = self.looked_at.replace(now);
        let was_up = is_up && looked_at.is_none_or(|at| now.saturating_duration_since(at) < UP);
        let mut lost = None;
        self.streams.retain(|stream, ahead| {
            if ahead.seq <= last_seq {
                return false; // the reactor knows
            }
            let is_over = ahead.is_over(was_up, now);
            if is_over && ahead.proves_loss() {
                lost = lost.max(Some(ahead.seq));
            } else if is_over {
                end(*stream);
            }
            !is_over
        });
        lost
    }
}

/// A stream that waits.
#[derive(Debug)]
struct StreamAhead {
    /// The sequence number that it waits for.
    seq: u64,
    /// True if only a hub of this epoch can have given that number.
    is_proven: bool,
    /// Until when it waits if the store stays up.
    until: Instant,
    /// Until when it waits at most.
    at_most: Instant,
}

impl StreamAhead {
    fn new(seq: u64, is_proven: bool, now: Instant) -> Self {
        Self { seq, is_proven, until: now + LEAST, at_most: now + MOST }
    }

    /// Returns true if a wait that is over proves that the store has lost the event: everything that it has was read.
    fn proves_loss(&self) -> bool {
        self.is_proven && self.until < self.at_most
    }

    /// Returns true if the wait is over. `was_up` tells whether the store was up since the last call.
    fn is_over(&mut self, was_up: bool, now: Instant) -> bool {
        if !was_up {
            self.until = self.until.max(now + UP).min(self.at_most);
        }
        now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_subscribes_again_and_again_waits_once_for_the_highest_number() {
        let now = Instant::now();
        let mut ids = IdsAhead::default();
        for (seq, is_proven, later) in [(7, false, 0), (9, true, 1), (8, false, 2), (9, false, 3)] {
            ids.wait_for(1, seq, is_proven, now + later * LEAST);
        }
        let ahead = ids.streams.get_mut(&1).expect("a stream that waits");
        assert_eq!((ahead.seq, ahead.proves_loss()), (9, true));
        let is_over = |second: &u64| ahead.is_over(true, now + Duration::from_secs(*second));
        assert_eq!((0..).find(is_over), Some(LEAST.as_secs()));
    }

    #[test]
    fn a_wait_ends_with_the_event_with_the_stream_with_its_time_or_with_the_loss_of_the_store() {
        let now = Instant::now();
        let mut ids = IdsAhead::default();
        assert_eq!(ids.next_due(now), None);
        for (stream, seq, is_proven) in [(1, 5, false), (2, 7, false), (3, 8, false), (4, 9, true), (5, 8, true)] {
            ids.wait_for(stream, seq, is_proven, now);
        }
        assert_eq!(ids.next_due(now), Some(now));
        ids.remove(3);
        let mut ended = Vec::new();
        let mut end_waits = |ids: &mut IdsAhead, second| {
            let lost = ids.end_waits(|| (5, true), now + Duration::from_secs(second), |stream| ended.push(stream));
            (lost, ids.streams.len(), ended.clone())
        };
        assert_eq!(end_waits(&mut ids, 1), (None, 3, vec![]));
        (2..LEAST.as_secs()).for_each(|second| drop(end_waits(&mut ids, second)));
        assert_eq!(end_waits(&mut ids, LEAST.as_secs()), (Some(9), 0, vec![2]));
    }

    #[test]
    fn the_streams_are_looked_at_a_few_times_a_second_however_many_turns_there_are() {
        let (now, mut ids, mut looks) = (Instant::now(), IdsAhead::default(), 0);
        ids.wait_for(1, 7, false, now);
        for millisecond in 0..1000 {
            let store = || {
                looks += 1;
                (5, true)
            };
            assert_eq!(ids.end_waits(store, now + Duration::from_millis(millisecond), |_| {}), None);
        }
        assert_eq!(looks, 4);
    }

    #[test]
    fn a_stream_waits_until_the_store_was_up_for_a_while_at_least_5_and_at_most_60_seconds() {
        // When the store is down, in seconds, when the wait is over, and whether everything was read then.
        for (down, over, is_read) in [
            (0..0, 5, true),
            (0..1, 5, true),
            (1..4, 6, true),
            (4..5, 7, true),
            (0..30, 32, true),
            (3..58, 60, false),
            (0..100, 60, false),
        ] {
            let start = Instant::now();
            let mut ahead = StreamAhead::new(7, true, start);
            let is_over = |second: &u64| {
                let now = start + Duration::from_secs(*second);
                ahead.is_over(!down.contains(second), now)
            };
            assert_eq!((0..).find(is_over), Some(over), "down {down:?}");
            assert_eq!(ahead.proves_loss(), is_read, "down {down:?}");
            assert!(!StreamAhead { is_proven: false, ..ahead }.proves_loss());
        }
    }

    #[test]
    fn a_process_that_stood_still_has_read_nothing_meanwhile() {
        for (resumes, is_read) in [(6, true), (58, false)] {
            let (start, mut ids, mut lost) = (Instant::now(), IdsAhead::default(), None);
            ids.wait_for(1, 7, true, start);
            let mut is_over = |second: &u64| {
                lost = ids.end_waits(|| (5, true), start + Duration::from_secs(*second), |_| {});
                ids.streams.is_empty()
            };
            assert!(!is_over(&1));
            assert_eq!((resumes..).find(is_over), Some((resumes + 3).min(60)));
            assert_eq!(lost.is_some(), is_read);
        }
    }
}
