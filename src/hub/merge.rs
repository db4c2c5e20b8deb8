//! The events of several channels in the order of their places.

use super::{Hub, TopicId};
use crate::log::{Log, LogEntry};
use std::cmp::Ordering;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::collections::vec_deque::{self, VecDeque};

/// Which channel the last events were published to. Of thousands of channels mostly none has anything new, and to ask each
/// would take long.
#[derive(Debug, Default)]
pub(super) struct Recent {
    channels: VecDeque<u32>,
    /// The place of the first.
    first: u64,
}

impl Recent {
    const MOST: usize = if cfg!(test) { 64 } else { 4096 };

    pub(super) fn push(&mut self, seq: u64, channel: usize) {
        if self.channels.is_empty() || seq != self.first + self.channels.len() as u64 {
            self.channels.clear();
            self.first = seq;
        }
        self.channels.push_back(channel as u32);
        if self.channels.len() > Self::MOST {
            self.channels.pop_front();
            self.first += 1;
        }
    }

    /// Whether it has all that comes after a place.
    pub(super) fn covers(&self, seq: u64) -> bool {
        !self.channels.is_empty() && seq + 1 >= self.first
    }

    fn channel(&self, seq: u64) -> Option<u32> {
        self.channels.get((seq - self.first) as usize).copied()
    }
}

/// All events after a place, of which those are picked that are followed.
pub(super) struct Picked<'a> {
    pub(super) hub: &'a Hub,
    pub(super) topics: &'a [TopicId],
    pub(super) seq: u64,
}

impl<'a> Iterator for Picked<'a> {
    type Item = &'a LogEntry;

    fn next(&mut self) -> Option<&'a LogEntry> {
        loop {
            self.seq += 1;
            let at = self.hub.recent.channel(self.seq)?;
            // If it has vanished since, or is another by now, that event is not there.
            let event = self.hub.channels.get(at as usize).and_then(|channel| {
                let is_of = |pattern: &usize| self.topics.binary_search(&TopicId::Pattern(*pattern as u32)).is_ok();
                let by_name = self.topics.binary_search(&TopicId::Channel(at)).is_ok();
                (by_name || channel.patterns.iter().any(is_of)).then(|| channel.log.at(self.seq)).flatten()
            });
            if event.is_some() {
                return event;
            }
        }
    }
}

/// One channel's events.
pub(super) enum Source<'a> {
    All(vec_deque::Iter<'a, LogEntry>),
    /// Of each key the newest.
    Newest(Box<dyn Iterator<Item = &'a LogEntry> + 'a>),
}

impl<'a> Source<'a> {
    /// The events of a log after one sequence number, through another. If the log has evicted some of them, and that is
    /// wanted, only the newest of each key.
    pub(super) fn of(log: &'a Log, after: u64, until: u64, conflates: bool) -> Option<Self> {
        if conflates && log.evicted_through() > after {
            return Some(Self::Newest(Box::new(log.latest_after(after).take_while(move |event| event.seq <= until))));
        }
        let events = log.between(after, until);
        (events.len() > 0).then(|| Self::All(events))
    }
}

impl<'a> Iterator for Source<'a> {
    type Item = &'a LogEntry;

    fn next(&mut self) -> Option<&'a LogEntry> {
        match self {
            Self::All(events) => events.next(),
            Self::Newest(events) => events.next(),
        }
    }
}

/// A part whose next event is known. The greater comes first.
pub(super) struct Begun<'a> {
    next: &'a LogEntry,
    rest: Source<'a>,
}

impl<'a> Begun<'a> {
    fn new(mut part: Source<'a>) -> Option<Self> {
        Some(Self { next: part.next()?, rest: part })
    }
}

impl Ord for Begun<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.next.seq.cmp(&self.next.seq)
    }
}

impl PartialOrd for Begun<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Begun<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Begun<'_> {}

/// All parts, merged. A channel that is there twice, by its name and by a pattern, counts once. With thousands of channels
/// each event is found in a few steps, for the reactor has others to see to.
pub(super) enum Merge<'a> {
    Nothing,
    One(Source<'a>),
    Picked(Picked<'a>),
    Many(BinaryHeap<Begun<'a>>),
}

impl<'a> FromIterator<Source<'a>> for Merge<'a> {
    fn from_iter<I: IntoIterator<Item = Source<'a>>>(parts: I) -> Self {
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next()) {
            (None, _) => Self::Nothing,
            (Some(one), None) => Self::One(one),
            (Some(one), Some(other)) => {
                let all = [one, other].into_iter().chain(parts);
                Self::Many(all.filter_map(Begun::new).collect::<Vec<_>>().into())
            }
        }
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = &'a LogEntry;

    fn next(&mut self) -> Option<&'a LogEntry> {
        let parts = match self {
            Self::Nothing => return None,
            Self::One(events) => return events.next(),
            Self::Picked(events) => return events.next(),
            Self::Many(parts) => parts,
        };
        let next = parts.peek()?.next;
        while let Some(mut first) = parts.peek_mut().filter(|first| first.next.seq == next.seq) {
            match first.rest.next() {
                Some(event) => first.next = event,
                None => drop(PeekMut::pop(first)),
            }
        }
        Some(next)
    }
}
