//! Entries of the state that were replaced or forgotten, and what forgets a key, while a stream still needs them: it is sent
//! the state as of a sequence number ([`Snapshots`]), whatever is published meanwhile.
//!
//! The state as of a number has the newest entry of each key up to that number. A stream that has the state as of one number is
//! sent what has changed as of another one: the newest entries after the first number, and those that forget a key which it
//! has. Of a key that has come and gone between two numbers nothing is kept.

use super::{KeyTable, LogEntry, Retain};
use std::collections::btree_map::{BTreeMap, Range};

/// Sequence numbers in ascending order, and how many streams hold each of them.
#[derive(Debug, Default)]
pub struct Snapshots {
    kept: Vec<(u64, u32)>,
}

impl Snapshots {
    /// Holds a sequence number: one that is held already, or a later one than all others.
    pub fn keep(&mut self, seq: u64) {
        match self.kept.binary_search_by_key(&seq, |kept| kept.0) {
            Ok(at) => self.kept[at].1 += 1,
            Err(at) => self.kept.insert(at, (seq, 1)),
        }
    }

    /// Releases a sequence number. Nothing happens if it was [dropped](Self::drop_oldest).
    pub fn release(&mut self, seq: u64) {
        if let Ok(at) = self.kept.binary_search_by_key(&seq, |kept| kept.0) {
            self.kept[at].1 -= 1;
            if self.kept[at].1 == 0 {
                self.kept.remove(at);
            }
        }
    }

    /// Drops the oldest one, whoever holds it.
    pub fn drop_oldest(&mut self) {
        if !self.kept.is_empty() {
            self.kept.remove(0);
        }
    }

    /// Returns true if a sequence number is held.
    pub fn contains(&self, seq: u64) -> bool {
        self.kept.binary_search_by_key(&seq, |kept| kept.0).is_ok()
    }

    /// Returns the newest one.
    pub fn newest(&self) -> Option<u64> {
        self.kept.last().map(|kept| kept.0)
    }

    /// Returns true if none is held.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Returns true if one is held from a sequence number on, before another.
    pub fn any_between(&self, from: u64, before: u64) -> bool {
        self.kept.get(self.kept.partition_point(|kept| kept.0 < from)).map_or(false, |kept| kept.0 < before)
    }
}

/// The kept entries of a log.
#[derive(Debug, Default)]
pub(super) struct Versions {
    kept: BTreeMap<u64, Version>,
    /// Of each key of a kept entry, the sequence numbers of the first entry that a stream may have, and of the newest one.
    changed: KeyTable<(u64, u64)>,
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Version {
    entry: LogEntry,
    /// The sequence number of the entry that has replaced it.
    until: u64,
}

/// The entry that a new one replaces in the state.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) seq: u64,
    /// The entry itself, if a snapshot has it.
    pub(super) entry: Option<LogEntry>,
}

impl Versions {
    /// The bytes that a version takes besides its entry, about.
    const OVERHEAD: usize = 200;

    /// Keeps what a new entry replaces, and the entry itself if it forgets a key that a stream may have.
    pub(super) fn replace(&mut self, replaced: Option<Replaced>, by: &LogEntry, snapshots: &Snapshots) {
        let known = self.changed.get(&by.key).copied();
        let was_there = replaced.is_some();
        if by.retain == Retain::Forget && !was_there {
            return;
        }
        if let Some((born, newest)) = known {
            if let Some(forgetting) = self.kept.get_mut(&newest) {
                forgetting.until = by.seq;
            }
            self.changed.insert(&by.key, (born, by.seq));
        }
        if let Some(Replaced { seq, entry: Some(entry) }) = replaced {
            if known.is_none() {
                self.changed.insert(&by.key, (seq, by.seq));
            }
            self.keep(entry, by.seq);
        }
        let born = self.changed.get(&by.key).map(|(born, _)| *born);
        if by.retain == Retain::Forget && born.map_or(false, |born| snapshots.any_between(born, by.seq)) {
            self.keep(by.clone(), u64::MAX);
        }
    }

    /// Keeps an entry of the history that forgets a key, which the history evicts: a stream that was sent earlier entries of
    /// the history may have the key, though no snapshot has it.
    pub(super) fn keep_evicted(&mut self, entry: &LogEntry, newest_snapshot: u64) {
        if !self.kept.contains_key(&entry.seq) {
            self.keep(entry.clone(), newest_snapshot + 1);
        }
    }

    fn keep(&mut self, entry: LogEntry, until: u64) {
        self.bytes += entry.size() + Self::OVERHEAD;
        self.kept.insert(entry.seq, Version { entry, until });
    }

    /// Drops what no stream needs any more. Returns true if nothing is left.
    pub(super) fn clean(&mut self, snapshots: &Snapshots) -> bool {
        let Self { kept, changed, bytes } = self;
        let is_known = |forgetting: &LogEntry| {
            changed.get(&forgetting.key).map_or(false, |(born, _)| snapshots.any_between(*born, forgetting.seq))
        };
        kept.retain(|seq, Version { entry, until }| {
            let is_newest = *until == u64::MAX;
            let is_needed = if is_newest { is_known(entry) } else { snapshots.any_between(*seq, *until) };
            *bytes -= if is_needed { 0 } else { entry.size() + Self::OVERHEAD };
            is_needed
        });
        changed.retain(|(born, newest)| snapshots.any_between(*born, *newest));
        kept.is_empty() && changed.is_empty()
    }

    /// Returns the entries after one sequence number, through another, which the state as of a third one has. If
    /// `is_change`, also those that forget a key.
    pub(super) fn between(&self, after: u64, through: u64, snapshot: u64, is_change: bool) -> VersionEntries<'_> {
        let through = through.max(after);
        VersionEntries { kept: self.kept.range(after + 1..through + 1), snapshot, is_change }
    }
}

/// Some of the kept entries.
#[derive(Clone, Debug)]
pub struct VersionEntries<'a> {
    kept: Range<'a, u64, Version>,
    snapshot: u64,
    is_change: bool,
}

impl<'a> Iterator for VersionEntries<'a> {
    type Item = &'a LogEntry;

    fn next(&mut self) -> Option<&'a LogEntry> {
        let Self { kept, snapshot, is_change } = self;
        let is_of_state =
            |version: &&Version| version.until > *snapshot && (*is_change || version.entry.retain == Retain::Newest);
        kept.map(|(_, version)| version).find(is_of_state).map(|version| &version.entry)
    }
}
