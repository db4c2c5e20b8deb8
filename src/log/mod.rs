//! A channel's bounded history: events by their place in the hub's sequence.
//!
//! A [`Log`] is told when to forget, and says through which place it has forgotten anything, so that nobody who comes
//! back too late is told nothing. Where slow clients get only the newest event of each key, it keeps those longer
//! (`compacted`).

#![forbid(unsafe_code)]

mod compacted;
#[cfg(test)]
mod tests;

use crate::event::Shared;
use compacted::CompactedLog;
use std::collections::vec_deque::{Iter, VecDeque};
use std::time::{Duration, Instant};

/// How much a history may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many events.
    pub events: usize,
    /// How many bytes of them.
    pub bytes: usize,
    /// How old the oldest may be.
    pub age: Duration,
}

/// One event of a channel.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its place in the hub's sequence, from 1 on.
    pub seq: u64,
    /// When it was published.
    pub at: Instant,
    /// Its bytes.
    pub event: Shared,
    /// What it is the newest of; empty is the channel itself.
    pub key: Box<[u8]>,
}

impl LogEntry {
    /// How many bytes it is, its key included.
    pub fn size(&self) -> usize {
        self.event.len() + self.key.len()
    }
}

/// A channel's history, sorted by place.
#[derive(Debug, Default)]
pub struct Log {
    events: VecDeque<LogEntry>,
    bytes: usize,
    forgotten: u64,
    compacted: Option<Box<CompactedLog>>,
}

impl Log {
    /// An empty one, of a channel of which something may have been forgotten before, through that place. It keeps the
    /// newest event of each key longer than others if it is to.
    pub fn new(forgotten: u64, keeps_newest: bool) -> Self {
        Self { forgotten, compacted: keeps_newest.then(|| Box::new(CompactedLog::new(forgotten))), ..Self::default() }
    }

    /// Adds an event, whose place is after all others.
    pub fn append(&mut self, entry: LogEntry) {
        if let Some(compacted) = &mut self.compacted {
            compacted.publish(&entry.key, entry.seq);
        }
        self.bytes += entry.size();
        self.events.push_back(entry);
    }

    /// The events after a place.
    pub fn after(&self, seq: u64) -> Iter<'_, LogEntry> {
        // Mostly it is the last few that are asked for.
        let known = match self.events.back() {
            Some(newest) if newest.seq <= seq => self.events.len(),
            _ => self.events.partition_point(|entry| entry.seq <= seq),
        };
        self.events.range(known..)
    }

    /// The events after one place, through another.
    pub fn between(&self, after: u64, until: u64) -> Iter<'_, LogEntry> {
        match self.events.back() {
            Some(newest) if newest.seq > until => {
                let seq = |bound: u64| self.events.partition_point(|entry| entry.seq <= bound);
                self.events.range(seq(after.min(until))..seq(until))
            }
            _ => self.after(after),
        }
    }

    /// The place of the newest event of the history.
    pub fn last(&self) -> Option<u64> {
        self.events.back().map(|entry| entry.seq)
    }

    /// The event at a place.
    pub fn at(&self, seq: u64) -> Option<&LogEntry> {
        self.after(seq.checked_sub(1)?).next().filter(|entry| entry.seq == seq)
    }

    /// Of the events after a place, forgotten ones included, the newest of each key.
    pub fn newest_after(&self, seq: u64) -> impl Iterator<Item = &LogEntry> {
        let compacted = self.compacted.as_deref();
        let kept = compacted.into_iter().flat_map(move |compacted| compacted.kept_after(seq));
        kept.chain(self.after(seq)).filter(move |entry| compacted.map_or(true, |compacted| compacted.is_newest(entry)))
    }

    /// The place of the oldest event that it holds, and when that was published.
    pub fn first(&self) -> Option<(u64, Instant)> {
        let kept = self.compacted.as_ref().and_then(|compacted| compacted.first());
        kept.or_else(|| self.events.front()).map(|first| (first.seq, first.at))
    }

    /// Whether the history holds more than it may.
    pub fn is_over(&self, bounds: &Bounds) -> bool {
        self.events.len() > bounds.events || (self.bytes > bounds.bytes && self.events.len() > 1)
    }

    /// Forgets the oldest event of the history. The newest of its key is kept, within the same bounds.
    pub fn drop_oldest(&mut self, bounds: &Bounds) {
        if let (Some(dropped), Some(compacted)) = (self.take_oldest(), &mut self.compacted) {
            compacted.keep(dropped, bounds);
        }
    }

    /// Forgets the first event that it holds for good.
    pub fn lose_first(&mut self) {
        if self.compacted.as_mut().map_or(false, |compacted| compacted.lose_first()) {
            return;
        }
        if let (Some(lost), Some(compacted)) = (self.take_oldest(), &mut self.compacted) {
            compacted.lose(&lost);
        }
    }

    fn take_oldest(&mut self) -> Option<LogEntry> {
        let oldest = self.events.pop_front()?;
        self.bytes -= oldest.size();
        self.forgotten = oldest.seq;
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        Some(oldest)
    }

    /// Through which place it has forgotten anything.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Through which place it has forgotten even the newest event of some key.
    pub fn lost(&self) -> u64 {
        self.compacted.as_ref().map_or(self.forgotten, |compacted| compacted.lost())
    }

    /// How many events it holds, and how many bytes of them.
    pub fn held(&self) -> (usize, usize) {
        let (kept, kept_bytes) = self.compacted.as_ref().map_or((0, 0), |compacted| compacted.held());
        (self.events.len() + kept, self.bytes + kept_bytes)
    }

    /// Whether it holds nothing at all.
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }
}
