//! The k-way merge of several logs by sequence number.

use super::recent_channels::RecentEntries;
use crate::log::{Log, LogEntry, StateEntries, VersionEntries};
use std::cmp::Ordering;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::collections::vec_deque;

/// One input of a merge: entries of one log.
pub(in crate::hub) enum MergeSource<'a> {
    All(vec_deque::Iter<'a, LogEntry>),
    State(StateEntries<'a>),
    Versions(VersionEntries<'a>),
    /// Some of the entries: the newest of each key.
    Newest(Box<dyn Iterator<Item = &'a LogEntry> + 'a>),
}

impl<'a> MergeSource<'a> {
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

    /// Returns the retained entries of a log after one sequence number, through another; then what `later` has.
    pub(super) fn of_state(log: &'a Log, after: u64, through: u64, later: Option<Self>) -> Option<Self> {
        match (log.state(after, through), later) {
            (None, later) => later,
            (Some(state), None) => Some(Self::State(state)),
            (Some(state), Some(later)) => Some(Self::Newest(Box::new(state.chain(later)))),
        }
    }
}

impl<'a> Iterator for MergeSource<'a> {
    type Item = &'a LogEntry;

    #[inline] // a stream that keeps up has one source and one entry: 3 % of what it costs to find that
    fn next(&mut self) -> Option<&'a LogEntry> {
        match self {
            Self::All(entries) => entries.next(),
            Self::State(entries) => entries.next(),
            Self::Versions(entries) => entries.next(),
            Self::Newest(entries) => entries.next(),
        }
    }
}

/// The next entry of a source. Ordered in reverse by sequence number, because a `BinaryHeap` gives the greatest first. The
/// heap moves and compares these often, so they are small and have the number themselves.
pub(in crate::hub) struct Peeked<'a> {
    seq: u64,
    next: &'a LogEntry,
    source: usize,
}

impl<'a> Peeked<'a> {
    fn new(source: usize, next: &'a LogEntry) -> Self {
        Self { seq: next.seq, next, source }
    }
}

impl Ord for Peeked<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.seq.cmp(&self.seq)
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
pub(in crate::hub) enum Merge<'a> {
    Nothing,
    One(MergeSource<'a>),
    Recent(RecentEntries<'a>),
    Many(Vec<MergeSource<'a>>, BinaryHeap<Peeked<'a>>),
}

impl<'a> FromIterator<MergeSource<'a>> for Merge<'a> {
    fn from_iter<I: IntoIterator<Item = MergeSource<'a>>>(sources: I) -> Self {
        let mut sources = sources.into_iter();
        match (sources.next(), sources.next()) {
            (None, _) => Self::Nothing,
            (Some(one), None) => Self::One(one),
            (Some(one), Some(other)) => {
                let mut all: Vec<_> = [one, other].into_iter().chain(sources).collect();
                let heads = all.iter_mut().enumerate().filter_map(|(at, source)| Some(Peeked::new(at, source.next()?)));
                let heads = heads.collect::<Vec<_>>().into();
                Self::Many(all, heads)
            }
        }
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = &'a LogEntry;

    fn next(&mut self) -> Option<&'a LogEntry> {
        let (sources, heads) = match self {
            Self::Nothing => return None,
            Self::One(entries) => return entries.next(),
            Self::Recent(entries) => return entries.next(),
            Self::Many(sources, heads) => (sources, heads),
        };
        let next = heads.peek()?.next;
        while let Some(mut first) = heads.peek_mut().filter(|first| first.seq == next.seq) {
            match sources[first.source].next() {
                Some(entry) => *first = Peeked::new(first.source, entry),
                None => drop(PeekMut::pop(first)),
            }
        }
        Some(next)
    }
}
