//! The retention of the stream.

use super::super::entry::{self, Id};
use super::super::shared::State;
use super::super::CHUNK;
use redis::Value;
use std::time::Duration;

/// The shortest retention in Redis: a reader that was stopped for longer than a second looks for a loss before it reads on.
const SHORTEST_AGE: Duration = Duration::from_secs(5);

pub struct Retention {
    pub events: usize,
    pub bytes: usize,
    pub age: Duration,
}

impl Retention {
    /// Returns the most entries, and their age in milliseconds.
    pub fn bounds(&self) -> (usize, u64) {
        (self.events.max(CHUNK), u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX))
    }

    /// Returns the id before which the stream need not keep anything at a time of Redis. The last entry stays: it shows that
    /// nothing is lost.
    pub fn first_to_keep(&self, state: &mut State, time: Option<&Value>) -> Option<Id> {
        let by_bytes = state.sizes.cut(self.bytes);
        let age = self.age.max(SHORTEST_AGE);
        let oldest = u64::try_from(age.as_millis()).ok().and_then(|age| time.and_then(entry::time)?.checked_sub(age));
        let by_age = oldest.map(|ms| Id { ms, part: 0 }).filter(|first| state.sizes.begins_before(*first));
        let first = by_bytes.max(by_age)?;
        Some(first.min(state.in_flight.read_through()))
    }
}
