//! The drafts that have not been sent: those that wait for the next batch, or for a Redis that is away.

use super::super::super::Draft;
use super::super::CHUNK;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The most drafts that wait while Redis is away, if there is no setting for that.
const MOST_WAITING: usize = 100_000;
/// The most bytes of drafts in the queue that waits for Redis.
const MOST_BYTES: usize = 256 << 20;

/// A draft that has not been sent.
#[derive(Debug)]
pub struct Waiting {
    pub ticket: u64,
    pub draft: Draft,
    /// When it fails. None while it waits for Redis to come back.
    pub deadline: Option<Instant>,
}

pub struct Queue {
    drafts: VecDeque<Waiting>,
    bytes: usize,
    /// How many drafts may wait for Redis to come back. Without any, each has its time.
    capacity: usize,
    timeout: Duration,
    /// Whether the drafts wait for a Redis that is away.
    is_of_away: bool,
}

impl Queue {
    pub fn new(capacity: usize, timeout: Duration) -> Self {
        Self { drafts: VecDeque::new(), bytes: 0, capacity, timeout, is_of_away: false }
    }

    pub fn len(&self) -> usize {
        self.drafts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Returns true if drafts wait until Redis is back, however long that takes.
    pub fn outlasts(&self) -> bool {
        self.capacity > 0
    }

    /// Returns true if no more may wait for a Redis that is away, with those that were sent.
    pub fn is_full(&self, sent: usize) -> bool {
        let most = if self.outlasts() { self.capacity } else { MOST_WAITING };
        self.len() + sent >= most || self.bytes >= MOST_BYTES
    }

    /// Returns true if the asks are left where they are. A draft has its time from when it is added, so those that cannot be
    /// sent soon stay there.
    pub fn has_enough(&self, is_connected: bool) -> bool {
        let most = if is_connected { 2 * CHUNK } else { (2 * MOST_WAITING).max(self.capacity + 1) };
        self.len() >= most
    }

    /// Adds a draft. Returns true if it waits for a Redis that is away.
    pub fn push(&mut self, ticket: u64, draft: Draft, now: Instant) -> bool {
        let deadline = (!self.outlasts()).then(|| now + self.timeout);
        self.bytes += draft.bytes();
        self.drafts.push_back(Waiting { ticket, draft, deadline });
        self.is_of_away
    }

    pub fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.drafts.pop_front()?;
        self.bytes -= waiting.draft.bytes();
        Some(waiting)
    }

    /// Removes the first draft if its time is over.
    pub fn pop_late(&mut self, now: Instant) -> Option<Waiting> {
        let is_late = self.drafts.front()?.deadline.is_some_and(|deadline| deadline <= now);
        is_late.then(|| self.pop()).flatten()
    }

    /// Takes note of whether Redis is away. Returns true if the drafts wait for it from now on: they are not requests of
    /// workers any more.
    pub fn set_away(&mut self, is_away: bool) -> bool {
        let is_of_away = self.outlasts() && is_away;
        let begins = is_of_away && !self.is_of_away;
        self.is_of_away = is_of_away;
        begins
    }

    /// Returns the tickets of the drafts.
    pub fn tickets(&self) -> impl Iterator<Item = u64> + '_ {
        self.drafts.iter().map(|waiting| waiting.ticket)
    }

    /// Gives all drafts their time: the store ends.
    pub fn close(&mut self, now: Instant) {
        let end = now + self.timeout;
        for waiting in &mut self.drafts {
            waiting.deadline = Some(waiting.deadline.map_or(end, |deadline| deadline.min(end)));
        }
        self.capacity = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    #[test]
    fn drafts_have_their_time_unless_they_may_wait_for_redis() {
        let now = Instant::now();
        for (capacity, is_late) in [(0, true), (2, false)] {
            let mut queue = Queue::new(capacity, TIMEOUT);
            assert!(!queue.push(1, Draft::default(), now));
            assert!(queue.pop_late(now).is_none(), "it has time");
            assert_eq!(queue.pop_late(now + TIMEOUT).is_some(), is_late);
            assert_eq!((queue.set_away(true), queue.set_away(true)), (capacity > 0, false), "it begins once");
            assert_eq!(queue.push(2, Draft::default(), now + TIMEOUT), capacity > 0);
            assert_eq!(queue.is_full(0), capacity > 0, "two wait");
            queue.close(now);
            assert!(queue.pop_late(now + TIMEOUT).is_some(), "all have their time at the end");
        }
    }

    #[test]
    fn bytes_are_counted_while_drafts_wait() {
        let mut queue = Queue::new(10, TIMEOUT);
        let large = || Draft { key: vec![b'k'; MOST_BYTES].into(), ..Draft::default() };
        queue.push(1, large(), Instant::now());
        assert!(queue.is_full(0));
        assert_eq!(queue.pop().map(|waiting| waiting.ticket), Some(1));
        assert!(queue.is_empty() && !queue.is_full(9) && queue.is_full(10));
    }
}
