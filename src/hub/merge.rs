//! The k-way merge of several logs by sequence number.

use super::recent_channels::RecentEntries;
use crate::log::{Log, LogEntry, StateEntries};
use std::cmp::Ordering;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::collections::vec_deque;

/// One input of a merge: entries of one log.
pub(super) enum Source<'a> {
    All(vec_deque::Iter<'a, LogEntry>),
    State(StateEntries<'a>),
    /// Some of the entries: the newest of each key.
    Newest(Box<dyn Iterator<Item = &'a LogEntry> + 'a>),
}

impl<'a> Source<'a> {
    /// Returns the entries of a log after one sequence number, through another. With `compacts`, a log that has
    /// evicted some of them gives only the newest entry of each key.
    pub(super) fn of(log: &'a Log, after: u64, through: u64, compacts: bool) -> Option<Self> {
        if compacts && log.is_compacted() && log.evicted_through() > after {
            let newest = log.newest_after(after).take_while(move |entry| entry.seq <= through);
            return Some(Self::Newest(Box::new(newest)));
        }
        let entries = log.between(after, through);
        (entries.len() > 0).then(|| Self::All(entries))
    }

    /// Returns the retained entries of a log after one sequence number, through another, and those that have forgotten keys
    /// after `since`; then what `later` has.
    pub(super) fn of_state(
        log: &'a Log,
        (after, since): (u64, u64),
        through: u64,
        later: Option<Self>,
    ) -> Option<Self> {
        match (log.state(after, through, since), later) {
            (None, later) => later,
            (Some(state), None) => Some(Self::State(state)),
            (Some(state), Some(later)) => Some(Self::Newest(Box::new(state.chain(later)))),
        }
    }
}

impl<'a> Iterator for Source<'a> {
    type Item = &'a LogEntry;

    fn next(&mut self) -> Option<&'a LogEntry> {
        match self {
            Self::All(entries) => entries.next(),
            Self::State(entries) => entries.next(),
            Self::Newest(entries) => entries.next(),
        }
    }
}

/// A source and its next entry. Ordered in reverse by sequence number, because a `BinaryHeap` gives the greatest first.
pub(super) struct Peeked<'a> {
    next: &'a LogEntry,
    rest: Source<'a>,
}

impl<'a> Peeked<'a> {
    fn new(mut source: Source<'a>) -> Option<Self> {
        Some(Self { next: source.next()?, rest: source })
    }
}

impl Ord for Peeked<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.next.seq.cmp(&self.next.seq)
    }
}

impl PartialOrd for Peeked<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Peeked<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Peeked<'_> {}

/// The merged entries of all sources, by sequence number. An entry of two sources, by the channel's name and by a
/// pattern, is there once. With a heap, merging thousands of channels takes a few steps an entry, and the reactor is
/// not held up.
pub(super) enum Merge<'a> {
    Nothing,
    One(Source<'a>),
    Recent(RecentEntries<'a>),
    Many(BinaryHeap<Peeked<'a>>),
}

impl<'a> FromIterator<Source<'a>> for Merge<'a> {
    fn from_iter<I: IntoIterator<Item = Source<'a>>>(sources: I) -> Self {
        let mut sources = sources.into_iter();
        match (sources.next(), sources.next()) {
            (None, _) => Self::Nothing,
            (Some(one), None) => Self::One(one),
            (Some(one), Some(other)) => {
                let all = [one, other].into_iter().chain(sources);
                Self::Many(all.filter_map(Peeked::new).collect::<Vec<_>>().into())
            }
        }
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = &'a LogEntry;

    fn next(&mut self) -> Option<&'a LogEntry> {
        let sources = match self {
            Self::Nothing => return None,
            Self::One(entries) => return entries.next(),
            Self::Recent(entries) => return entries.next(),
            Self::Many(sources) => sources,
        };
        let next = sources.peek()?.next;
        while let Some(mut first) = sources.peek_mut().filter(|first| first.next.seq == next.seq) {
            match first.rest.next() {
                Some(entry) => first.next = entry,
                None => drop(PeekMut::pop(first)),
            }
        }
        Some(next)
    }
}
