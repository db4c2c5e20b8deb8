//! The log of one channel: its events within bounds, sorted by sequence number.
//!
//! A [`Log`] evicts entries only when the hub asks it to. It remembers the sequence number through which it has evicted
//! anything ([`Log::evicted_through`]), so that a client that resumes too late receives a `gap` event.
//!
//! The newest entry of a key (`newest`) may outlive the history: of the keys that a publisher retains, until it is replaced or
//! forgotten; in a compacted log of every key, within the bounds of the history. What was replaced or forgotten outlives that
//! while a stream is still sent the state as of an earlier sequence number (`versions`).

#![forbid(unsafe_code)]

mod key_table;
mod newest;
#[cfg(test)]
mod tests;
mod versions;

pub use key_table::KeyTable;
pub use versions::{Snapshots, VersionEntries};

use crate::event::Shared;
use newest::Newest;
use std::collections::vec_deque::{Iter, VecDeque};
use std::time::{Duration, Instant};
use versions::{Replaced, Versions};

/// A shorter span says nothing of the pace of events.
const SHORTEST_SPAN: Duration = Duration::from_millis(1);

/// So many of the last entries are looked at before a binary search.
const NEAR_END: usize = 3;

/// The retention of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The largest number of entries.
    pub events: usize,
    /// The largest number of bytes of all entries.
    pub bytes: usize,
    /// The age at which an entry expires.
    pub age: Duration,
}

/// One event of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The sequence number in the hub's order, from 1 on.
    pub seq: u64,
    /// The time of publication.
    pub at: Instant,
    /// The encoded event.
    pub event: Shared,
    /// The key. Events without one share the empty key.
    pub key: Box<[u8]>,
    /// The entry's effect on the state of its channel.
    pub retain: Retain,
    /// True if the application gave the event its id.
    pub has_custom_id: bool,
    /// The slot of the log's channel in its hub. The log only keeps it.
    pub channel: u32,
}

/// The effect of an event on the state of its channel: the retained event of each key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retain {
    /// Nothing.
    #[default]
    No,
    /// The event is retained, in the place of the one before with its key. That one is `No` from then on.
    Newest,
    /// The key is forgotten.
    Forget,
}

impl Retain {
    /// All of them in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::No, Self::Newest, Self::Forget];

    /// Returns true if an event with it changes the state.
    pub fn changes_state(self) -> bool {
        self != Self::No
    }

    /// Returns how many bytes are retained of an event of so many bytes; none if nothing is.
    pub fn size(self, key: &[u8], event_len: usize) -> Option<usize> {
        Some(key.len() + event_len).filter(|_| self == Self::Newest)
    }
}

impl LogEntry {
    /// Returns the number of bytes of the event and its key.
    pub fn size(&self) -> usize {
        self.event.len() + self.key.len()
    }
}

/// The events of a channel, sorted by sequence number.
///
/// `entries` is the history: all of the last entries. Earlier ones, which the history has evicted, are the newest of their key.
#[derive(Debug, Default)]
pub struct Log {
    entries: VecDeque<LogEntry>,
    bytes: usize,
    evicted_through: u64,
    /// The retained entries: the state of the channel.
    state: Option<Box<Newest>>,
    /// The entries that the state has had, and streams still need.
    versions: Option<Box<Versions>>,
    compacted: Option<Box<Compacted>>,
}

/// The keys of a compacted log.
#[derive(Debug, Default)]
struct Compacted {
    newest: Newest,
    discarded_through: u64,
}

impl Compacted {
    /// Records that the log has discarded an entry. Nothing is lost if a later one has replaced it.
    fn record_discarded(&mut self, discarded: &LogEntry) {
        if self.newest.is_newest(discarded) {
            self.newest.forget(&discarded.key);
            self.discarded_through = self.discarded_through.max(discarded.seq);
        }
    }

    /// Discards the first entries that the history has evicted while these exceed the bounds.
    fn shrink_to(&mut self, bounds: &Bounds, state: &Option<Box<Newest>>, gone: Gone<'_>) {
        while self.newest.exceeds(bounds) && self.discard_first(state, gone) {}
    }

    /// Discards the first entry that the history has evicted. Returns true if there was one.
    fn discard_first(&mut self, state: &Option<Box<Newest>>, gone: Gone<'_>) -> bool {
        let first = self.newest.pop_first();
        if let Some(first) = &first {
            self.discarded_through = self.discarded_through.max(first.seq);
            report_unless_retained(first, state, gone);
        }
        first.is_some()
    }
}

/// Takes the sequence numbers of entries that a log holds no longer, each once. What is kept for [`Snapshots`] alone counts as
/// gone.
pub type Gone<'a> = &'a mut dyn FnMut(u64);

/// Reports an entry that neither the history nor its compaction has any longer.
fn report_unless_retained(entry: &LogEntry, state: &Option<Box<Newest>>, gone: Gone<'_>) {
    if !state.as_ref().map_or(false, |state| state.is_newest(entry)) {
        gone(entry.seq);
    }
}

/// The retained entries of a log, some of them.
///
/// This is small, so that a merge of a thousand logs is quick to begin.
#[derive(Clone, Debug)]
pub struct StateEntries<'a> {
    log: &'a Log,
    /// The index of the next one to look at: first in what only the state holds, then in the history.
    at: usize,
    through: u64,
}

impl<'a> Iterator for StateEntries<'a> {
    type Item = &'a LogEntry;

    fn next(&mut self) -> Option<&'a LogEntry> {
        let Self { log: Log { entries, state, .. }, through, .. } = *self;
        let slots = &state.as_deref()?.slots;
        loop {
            let entry = match slots.get(self.at) {
                Some((_, kept)) => kept.as_deref(),
                None => Some(entries.get(self.at - slots.len())?),
            };
            if entry.map_or(false, |entry| entry.seq > through) {
                return None;
            }
            self.at += 1;
            if let Some(entry) = entry.filter(|entry| entry.retain == Retain::Newest) {
                return Some(entry);
            }
        }
    }
}

impl Log {
    /// Creates an empty log.
    ///
    /// An earlier log of the same channel may have evicted entries through `evicted_through`; 0 if none did. If
    /// `is_compacted`, the log keeps the newest entry of each key beyond its history.
    pub fn new(evicted_through: u64, is_compacted: bool) -> Self {
        let compacted = Compacted { discarded_through: evicted_through, ..Compacted::default() };
        Self { evicted_through, compacted: is_compacted.then(|| Box::new(compacted)), ..Self::default() }
    }

    /// Returns true if the log keeps the newest entry of each key beyond its history.
    pub fn is_compacted(&self) -> bool {
        self.compacted.is_some()
    }

    /// Keeps the newest entry of each key beyond the history from here on, within `bounds`, or discards what only that
    /// has kept.
    pub fn set_compacted(&mut self, bounds: Option<&Bounds>, gone: Gone<'_>) {
        let Self { compacted, entries, evicted_through, state, .. } = self;
        let bounds = match bounds {
            Some(bounds) => bounds,
            None => {
                if let Some(mut all) = compacted.take() {
                    while all.discard_first(state, gone) {}
                }
                return;
            }
        };
        let compacted = compacted.get_or_insert_with(|| {
            let mut newest = Newest::default();
            for entry in entries.iter() {
                newest.record(&entry.key, entry.seq);
            }
            Box::new(Compacted { newest, discarded_through: *evicted_through })
        });
        compacted.shrink_to(bounds, state, gone);
    }

    /// Appends an entry. Its sequence number is greater than all others of the log. What it replaces in the state is kept for
    /// the streams that are sent the state as of one of the `snapshots`.
    ///
    /// A retained entry that an earlier log has evicted comes back from a store: only the state holds it.
    pub fn append(&mut self, entry: LogEntry, snapshots: &Snapshots, gone: Gone<'_>) {
        let is_of_state_only = entry.retain == Retain::Newest && entry.seq <= self.evicted_through;
        if let Some(compacted) = self.compacted.as_mut().filter(|_| !is_of_state_only) {
            if let Some((_, Some(kept))) = compacted.newest.record(&entry.key, entry.seq) {
                report_unless_retained(&kept, &self.state, gone);
            }
        }
        let replaced = match (entry.retain, &mut self.state) {
            (Retain::Newest, state) => state.get_or_insert_with(Box::default).record(&entry.key, entry.seq),
            (Retain::Forget, Some(state)) => state.forget(&entry.key),
            _ => None,
        };
        if let Some((seq, Some(_))) = replaced {
            gone(seq);
        }
        if is_of_state_only {
            return self.state.get_or_insert_with(Box::default).keep(entry);
        }
        let replaced = replaced.map(|(seq, kept)| self.take_replaced(seq, kept, entry.seq, snapshots));
        let is_needed = replaced.as_ref().map_or(false, |replaced| replaced.entry.is_some());
        if entry.retain.changes_state() && (is_needed || self.versions.is_some()) {
            self.versions.get_or_insert_with(Box::default).replace(replaced, &entry, snapshots);
        }
        self.bytes += entry.size();
        self.entries.push_back(entry);
    }

    /// Takes an entry out of the state, because another one has replaced it or has forgotten its key.
    fn take_replaced(&mut self, seq: u64, kept: Option<Box<LogEntry>>, by: u64, snapshots: &Snapshots) -> Replaced {
        let is_needed = snapshots.any_between(seq, by);
        if let Some(kept) = kept {
            return Replaced { seq, entry: Some(*kept).filter(|_| is_needed) };
        }
        let at = self.entries.partition_point(|entry| entry.seq < seq);
        let replaced = self.entries.get_mut(at).filter(|entry| entry.seq == seq);
        let entry = replaced.and_then(|replaced| {
            let entry = is_needed.then(|| replaced.clone());
            replaced.retain = Retain::No;
            entry
        });
        Replaced { seq, entry }
    }

    /// Drops what was kept for streams that are gone, or that have been sent it.
    pub fn clean(&mut self, snapshots: &Snapshots) {
        if self.versions.as_mut().map_or(false, |versions| versions.clean(snapshots)) {
            self.versions = None;
        }
    }

    /// Returns about how many bytes are kept for streams that are sent an earlier state.
    pub fn version_bytes(&self) -> usize {
        self.versions.as_ref().map_or(0, |versions| versions.bytes)
    }

    /// Returns what the state as of a sequence number has had after one number, through another, besides what it has still. If
    /// `is_change`, also what forgets keys that the state had before. None if there is nothing.
    pub fn versions(&self, after: u64, through: u64, snapshot: u64, is_change: bool) -> Option<VersionEntries<'_>> {
        self.versions.as_ref().map(|versions| versions.between(after, through, snapshot, is_change))
    }

    /// Returns the entries of the history after a sequence number.
    pub fn after(&self, seq: u64) -> Iter<'_, LogEntry> {
        // Most streams keep up, so mostly nothing or the last entry is after `seq`. Otherwise an entry far from the end would
        // be read, which no cache has.
        let len = self.entries.len();
        let is_sent = |at: usize| self.entries.get(at).map_or(true, |entry| entry.seq <= seq);
        let first = match (1..=NEAR_END.min(len)).find(|back| is_sent(len - back)) {
            Some(back) => len + 1 - back,
            None => self.entries.partition_point(|entry| entry.seq <= seq),
        };
        self.entries.range(first..)
    }

    /// Returns the entries of the history after one sequence number, through another.
    pub fn between(&self, after: u64, through: u64) -> Iter<'_, LogEntry> {
        match self.entries.back() {
            Some(last) if last.seq > through => {
                let end = |bound: u64| self.entries.partition_point(|entry| entry.seq <= bound);
                self.entries.range(end(after.min(through))..end(through))
            }
            _ => self.after(after),
        }
    }

    /// Returns the entry of the history with a sequence number.
    pub fn at(&self, seq: u64) -> Option<&LogEntry> {
        self.after(seq.checked_sub(1)?).next().filter(|entry| entry.seq == seq)
    }

    /// Returns the newest entry of each key after a sequence number, if the log is compacted; otherwise those of the history.
    pub fn newest_after(&self, seq: u64) -> impl Iterator<Item = &LogEntry> {
        let newest = self.compacted.as_ref().map(|compacted| &compacted.newest);
        let evicted = newest.into_iter().flat_map(move |newest| newest.after(seq));
        evicted.chain(self.after(seq)).filter(move |entry| newest.map_or(true, |newest| newest.is_newest(entry)))
    }

    /// Returns the retained entries after one sequence number, through another. None if nothing is retained.
    pub fn state(&self, after: u64, through: u64) -> Option<StateEntries<'_>> {
        let state = self.state.as_deref()?;
        let slots = state.slots.len();
        let at = match state.slot_after(after) {
            at if at == slots => slots + self.entries.len() - self.after(after).len(),
            at => at,
        };
        Some(StateEntries { log: self, at, through })
    }

    /// Returns the first entry: its sequence number and the time of its publication. Entries that only the state holds do not
    /// count: they do not expire.
    pub fn first(&self) -> Option<(u64, Instant)> {
        let compacted = self.compacted.as_ref().and_then(|compacted| compacted.newest.first());
        compacted.or_else(|| self.entries.front()).map(|first| (first.seq, first.at))
    }

    /// Returns the first entry of the history if that exceeds its bounds. A single entry may be larger than the bound of bytes.
    pub fn excess(&self, bounds: &Bounds) -> Option<u64> {
        let len = self.entries.len();
        self.first_of_history().filter(|_| len > bounds.events || (self.bytes > bounds.bytes && len > 1))
    }

    /// Evicts the first entry of the history. If it is the newest of its key, a compacted log keeps it within `bounds`. If it
    /// forgets a key, it is kept for streams that are sent the state as of one of the `snapshots`.
    pub fn evict_first(&mut self, bounds: &Bounds, snapshots: &Snapshots, gone: Gone<'_>) {
        let evicted = self.pop_first(snapshots);
        match (evicted, &mut self.compacted) {
            (Some(evicted), Some(compacted)) => {
                if compacted.newest.is_newest(&evicted) {
                    compacted.newest.keep(evicted);
                } else {
                    report_unless_retained(&evicted, &self.state, gone);
                }
                compacted.shrink_to(bounds, &self.state, gone);
            }
            (Some(evicted), None) => gone(evicted.seq),
            (None, _) => {}
        }
    }

    /// Discards the first entry of the log, compacted entries first. Only the state may keep it, and the `snapshots`.
    pub fn discard_first(&mut self, snapshots: &Snapshots, gone: Gone<'_>) {
        let Self { compacted, state, .. } = self;
        if compacted.as_mut().map_or(false, |compacted| compacted.discard_first(state, gone)) {
            return;
        }
        if let Some(discarded) = self.pop_first(snapshots) {
            report_unless_retained(&discarded, &self.state, gone);
            if let Some(compacted) = &mut self.compacted {
                compacted.record_discarded(&discarded);
            }
        }
    }

    /// Removes the first entry of the history. Returns it, unless only the state keeps it.
    fn pop_first(&mut self, snapshots: &Snapshots) -> Option<LogEntry> {
        let first = self.entries.pop_front()?;
        if let Some(newest) = snapshots.newest().filter(|newest| first.retain == Retain::Forget && *newest >= first.seq)
        {
            self.versions.get_or_insert_with(Box::default).keep_evicted(&first, newest);
        }
        self.bytes -= first.size();
        // An earlier log may have evicted more than this one knows of: stored entries come back.
        self.evicted_through = self.evicted_through.max(first.seq);
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
        let compacts = self.compacted.is_some();
        match self.state.as_mut().filter(|_| first.retain == Retain::Newest) {
            Some(state) if compacts => state.keep(first.clone()),
            Some(state) => {
                state.keep(first);
                return None;
            }
            None => {}
        }
        Some(first)
    }

    /// Returns the sequence number through which the history has evicted anything; 0 if it has evicted nothing.
    pub fn evicted_through(&self) -> u64 {
        self.evicted_through
    }

    /// Returns the sequence number through which the log has discarded even the latest entry of a key. A log without
    /// compaction discards what its history evicts.
    pub fn discarded_through(&self) -> u64 {
        self.compacted.as_ref().map_or(self.evicted_through, |compacted| compacted.discarded_through)
    }

    /// Returns the number of entries of the history.
    pub fn history_len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the sequence number of the first entry of the history.
    pub fn first_of_history(&self) -> Option<u64> {
        self.entries.front().map(|first| first.seq)
    }

    /// Returns the sequence number of the first entry of the history if that forgets a key.
    pub fn first_forgetting(&self) -> Option<u64> {
        self.entries.front().filter(|first| first.retain == Retain::Forget).map(|first| first.seq)
    }

    /// Returns how many entries an hour has at the pace of the last `span`. The history may be shorter than that: then its own
    /// span counts.
    pub fn entries_per_hour(&self, now: Instant, span: Duration) -> u64 {
        let begin = now.checked_sub(span);
        let first = begin.map_or(0, |begin| self.entries.partition_point(|entry| entry.at <= begin));
        let is_short = first == 0 && self.evicted_through > 0;
        let oldest = self.entries.front().filter(|_| is_short);
        let measured = oldest.map_or(span, |oldest| now.saturating_duration_since(oldest.at)).max(SHORTEST_SPAN);
        let count = (self.entries.len() - first) as u128;
        u64::try_from(count * 3_600_000_000 / measured.as_micros()).unwrap_or(u64::MAX)
    }

    /// Returns the number of entries and of their bytes, without those that only the state holds.
    pub fn size(&self) -> (usize, usize) {
        let (entries, bytes) = self.compacted.as_ref().map_or((0, 0), |compacted| compacted.newest.size);
        (self.entries.len() + entries, self.bytes + bytes)
    }

    /// Returns the number of retained keys, and the bytes of the entries that only the state holds.
    pub fn retained(&self) -> (usize, usize) {
        self.state.as_ref().map_or((0, 0), |state| (state.keys(), state.size.1))
    }

    /// Returns true if the log holds no entry, compacted, retained and kept ones included.
    pub fn is_empty(&self) -> bool {
        self.first().is_none() && self.retained().0 == 0 && self.versions.is_none()
    }
}
