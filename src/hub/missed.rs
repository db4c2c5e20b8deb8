//! Missed events: evicted entries that a stream was not sent, which a `gap` event has to report.
//!
//! Methods return the sequence number through which events are missed; 0 if none are.

use super::cursor_parts::{Extent, Part};
use super::topics::TopicId;
use super::{Cursor, Hub};

impl Hub {
    /// Returns true if a stream is lagging: a log has evicted entries that the stream was not sent, and was not sent
    /// a `gap` event for.
    pub fn is_lagging(&self, cursor: &Cursor) -> bool {
        if self.evicted_through <= cursor.seq || cursor.is_held() {
            return false; // no log has evicted anything after the cursor
        }
        match &cursor.parts {
            None if self.compacts() => self.discarded_through(&cursor.topics) > cursor.seq,
            None => self.evicted_through(&cursor.topics) > cursor.seq,
            Some(parts) => parts.list.iter().any(|part| self.missed_by(part, cursor.seq) > 0),
        }
    }

    /// Returns the sequence number through which a part misses events that were evicted before they were sent. The cursor
    /// is at `seq`.
    pub(super) fn missed_by(&self, part: &Part, seq: u64) -> u64 {
        let Part { ref topics, extent: Extent { after, until, baseline, uncompacted_through } } = *part;
        let after = after.max(seq);
        let history = self.evicted_through(topics).min(until);
        let discarded = self.discarded_through(topics).min(until);
        if history.max(discarded) <= after {
            return 0;
        }
        let since_baseline = self.evicted_since(topics, baseline.clock).min(until);
        let seen = after.max(baseline.through);
        if !self.compacts() {
            let is_missed = history > seen || (since_baseline > after && after < baseline.through);
            return if is_missed { history } else { 0 };
        }
        if discarded > seen {
            discarded
        } else if since_baseline > after && after < uncompacted_through {
            since_baseline.min(uncompacted_through)
        } else {
            0
        }
    }

    /// Returns the sequence number through which the history of any topic was evicted.
    pub(super) fn evicted_through(&self, topics: &[TopicId]) -> u64 {
        let evicted = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].log.evicted_through(),
            TopicId::Pattern(at) => self.patterns[*at as usize].evictions.through(),
        });
        evicted.max().unwrap_or(0)
    }

    /// Returns the same, of what was evicted after a time on the eviction clock.
    fn evicted_since(&self, topics: &[TopicId], clock: u64) -> u64 {
        let evicted = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].evicted_since(clock),
            TopicId::Pattern(at) => self.patterns[*at as usize].evictions.through_since(clock),
        });
        evicted.max().unwrap_or(0)
    }

    /// Returns the sequence number through which any topic has discarded even the latest entry of a key.
    fn discarded_through(&self, topics: &[TopicId]) -> u64 {
        let discarded = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].log.discarded_through(),
            TopicId::Pattern(at) => self.patterns[*at as usize].discarded_through,
        });
        discarded.max().unwrap_or(0)
    }
}
