//! Counts and delays of the events that all streams have received since the last `expect`.

use crate::event::Event;
use crate::histogram::Histogram;
use std::time::Duration;

/// Counts, and two histograms of delays: since the event was pushed to its stream, and since its round was due. Only the
/// second shows a server that one stream has held up.
#[derive(Default)]
pub struct Tally {
    pub received: u64,
    /// Events that are missing before a received one.
    pub gaps: u64,
    /// Events that were received again, or after a later one.
    pub duplicates: u64,
    pub malformed: u64,
    /// Calls of `recv` that returned bytes.
    pub reads: u64,
    /// Streams that the server has ended. An end behind unread bytes is not seen.
    pub ended: u64,
    since_push: Histogram,
    since_due: Histogram,
    /// When the first event was pushed, and when the last one was received.
    first_push_ns: Option<u64>,
    last_ns: u64,
}

impl Tally {
    /// Counts an event that was received at `now_ns`. `next_id` is the id that its stream expects, `None` before its first
    /// event. Returns true if the event is new.
    pub fn take(&mut self, event: Event, next_id: &mut Option<u64>, now_ns: u64) -> bool {
        let expected = next_id.unwrap_or(event.id);
        if event.id < expected {
            self.duplicates += 1;
            return false;
        }
        self.gaps += event.id - expected;
        *next_id = Some(event.id + 1);
        self.received += 1;
        self.first_push_ns = Some(self.first_push_ns.map_or(event.pushed_ns, |first| first.min(event.pushed_ns)));
        self.last_ns = now_ns;
        self.since_push.add(now_ns.saturating_sub(event.pushed_ns));
        self.since_due.add(now_ns.saturating_sub(event.due_ns));
        true
    }

    /// Returns the time since the last event; zero before the first one.
    pub fn quiet(&self, now_ns: u64) -> Duration {
        self.first_push_ns.map_or(Duration::ZERO, |_| Duration::from_nanos(now_ns.saturating_sub(self.last_ns)))
    }

    /// Returns the time from the first push to the last arrival; zero if there was none.
    pub fn span(&self) -> Duration {
        self.first_push_ns.map_or(Duration::ZERO, |first| Duration::from_nanos(self.last_ns.saturating_sub(first)))
    }

    /// Returns the members of a JSON object, without the braces.
    pub fn json(&self) -> String {
        let counts = format!(
            r#""received":{},"gaps":{},"duplicates":{},"malformed":{},"reads":{},"ended":{}"#,
            self.received, self.gaps, self.duplicates, self.malformed, self.reads, self.ended,
        );
        let (span, push, due) = (self.span().as_secs_f64(), self.since_push.json(), self.since_due.json());
        format!(r#"{counts},"span":{span:.3},"since_push":{push},"since_due":{due}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_duplicates_are_counted() {
        let (mut tally, mut next_id) = (Tally::default(), None);
        let new = [5, 6, 6, 9, 8, 10].map(|id| tally.take(Event { id, due_ns: 0, pushed_ns: 0 }, &mut next_id, 1));
        assert_eq!(new, [true, true, false, true, false, true]);
        assert_eq!((tally.received, tally.gaps, tally.duplicates), (4, 2, 2));
    }

    #[test]
    fn the_span_is_from_the_first_push_to_the_last_arrival() {
        let (mut tally, mut next_id) = (Tally::default(), None);
        assert_eq!((tally.span(), tally.quiet(99)), (Duration::ZERO, Duration::ZERO));
        for (id, pushed_ns, now_ns) in [(1, 10, 12), (2, 11, 19), (3, 15, 30)] {
            tally.take(Event { id, due_ns: 0, pushed_ns }, &mut next_id, now_ns);
        }
        assert_eq!(tally.span(), Duration::from_nanos(20));
        assert_eq!(tally.quiet(37), Duration::from_nanos(7));
    }
}
