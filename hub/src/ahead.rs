//! Streams whose clients are ahead of the hub, and how long they wait.
//!
//! A client may come from another machine with an id that this process has not read yet. The reactor holds its subscription
//! until the hub has published as far, or until it is told that the wait is over: after [`LEAST`] if the store is up, otherwise
//! when the store was up for [`UP`], and after [`MOST`] in any case. The client is told of a gap then.

use eventsource_xs::saved;
use std::time::{Duration, Instant};

/// How long a stream waits at least.
const LEAST: Duration = Duration::from_secs(5);
/// So long after the store is up again everything that it has was read.
const UP: Duration = Duration::from_secs(3);
/// How long a stream waits at most. While the store is down nothing can be delivered, so waiting costs nothing.
const MOST: Duration = Duration::from_secs(60);

/// A stream that waits.
#[derive(Clone, Debug)]
pub struct Ahead {
    pub stream: u64,
    /// The sequence number that it waits for.
    pub seq: u64,
    /// Until when it waits if the store stays up.
    until: Instant,
    /// Until when it waits at most.
    at_most: Instant,
}

saved!(Ahead { stream, seq, until, at_most });

impl Ahead {
    pub fn new(stream: u64, seq: u64, now: Instant) -> Self {
        Self { stream, seq, until: now + LEAST, at_most: now + MOST }
    }

    /// Returns true if the wait is over. Call it often: a store counts as up if it was up at each call.
    pub fn is_over(&mut self, is_up: bool, now: Instant) -> bool {
        if !is_up {
            self.until = self.until.max(now + UP).min(self.at_most);
        }
        now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_waits_until_the_store_was_up_for_a_while_at_least_5_and_at_most_60_seconds() {
        // When the store is down, in seconds, and when the wait is over.
        for (down, over) in [(0..0, 5), (0..1, 5), (1..4, 6), (4..5, 7), (0..30, 32), (3..58, 60), (0..100, 60)] {
            let start = Instant::now();
            let mut ahead = Ahead::new(1, 7, start);
            let is_over = |second: &u64| {
                let now = start + Duration::from_secs(*second);
                ahead.is_over(!down.contains(second), now)
            };
            assert_eq!((0..).find(is_over), Some(over), "down {down:?}");
        }
    }
}
