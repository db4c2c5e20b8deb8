//! Hubs that continue with a history, of a store or of the program before: where they begin, what their store may forget, and
//! what another program continues with.
//!
//! A store gives events their sequence numbers, which increase, but not always by one. Its hub begins with a [`History`], is
//! then published the entries that the store still has, and continues with new ones. What the store has no longer is known by
//! tombstones, so a client that resumes before it is sent a `gap` event.
//!
//! A hub without a store knows which ids it has given: all up to the last one. With holes between the numbers, an id in a hole
//! was never given, or belonged to an event that the store has lost. [`StoreMemory`] remembers the numbers of retained entries,
//! so that such an id is unknown.
//!
//! A hub without a store hands its history over to another program, which begins with that as with one of a store, and the
//! subscriptions of streams that were sent everything.

#[cfg(test)]
mod tests;

use super::channels::{Channels, TopicId};
use super::logs::Logs;
use super::{
    Access, Cursor, Epoch, FirstBlock, Hub, OtherStart, Readers, Settings, StartPoint, SubscribeRequest, Topic,
};
use crate::log::LogEntry;
use crate::stream::StreamId;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Where a hub begins that continues with stored events.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The epoch, with which ids begin.
    pub epoch: Box<str>,
    /// The key of opaque ids. It is used only if the hub's ids are opaque.
    pub cipher_key: [u8; 16],
    /// The sequence number of the last entry that the store has ever had in this epoch; 0 if none.
    pub last_seq: u64,
    /// The sequence numbers through which channels have evicted entries.
    pub evicted: Vec<(Box<[u8]>, u64)>,
    /// The same for all other channels.
    pub evicted_through: u64,
    /// True if other hubs use the store: a client may come from one of them with an id that this hub has not read yet.
    pub is_shared: bool,
    /// True if the hub gives the numbers, in the place of another program: then each up to the last one is known.
    pub is_own: bool,
    /// Until when requests to end streams may be forgotten, by the system's monotonic clock.
    pub ends_forgotten_through: u64,
}

/// The evictions of a hub: its store may forget these entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evictions {
    /// The sequence numbers of the entries that the hub has no longer: not in the history, and not in the state.
    pub numbers: Vec<u64>,
    /// Channels that have evicted entries, and through which number.
    pub channels: HashMap<Arc<[u8]>, u64>,
    /// The same of all channels whose own number is not remembered. It counts for those, too, that have evicted less.
    pub others: u64,
}

/// The memory that only a hub with stored events needs.
#[derive(Debug, Default)]
pub(in crate::hub) struct StoreMemory {
    /// The last sequence number of the history.
    history_through: u64,
    /// The sequence numbers of all entries after what any log has evicted, sorted. The logs hold all of these.
    seqs: VecDeque<u64>,
    /// True if other hubs use the store.
    is_shared: bool,
    /// What was evicted since that was last taken. A shared store is not told, for it has bounds of its own.
    evictions: Evictions,
}

impl fmt::Debug for History {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key.
        let Self { epoch, cipher_key: _, last_seq, evicted, evicted_through, is_shared, .. } = self;
        let mut out = out.debug_struct("History");
        out.field("epoch", epoch).field("last_seq", last_seq);
        out.field("evicted", evicted).field("evicted_through", evicted_through).field("is_shared", is_shared).finish()
    }
}

impl History {
    /// Returns the greatest sequence number that the history has given.
    pub fn through(&self) -> u64 {
        self.evicted.iter().map(|(_, through)| *through).fold(self.last_seq.max(self.evicted_through), u64::max)
    }
}

impl Evictions {
    /// Returns true if there is nothing to forget.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.channels.is_empty()
    }

    /// Adds what was evicted later.
    pub fn extend(&mut self, later: Self) {
        self.numbers.extend(later.numbers);
        self.channels.extend(later.channels);
        self.others = self.others.max(later.others);
    }
}

impl StoreMemory {
    /// Records the number of an entry, the greatest of all.
    pub(in crate::hub) fn add_seq(&mut self, seq: u64) {
        self.seqs.push_back(seq);
    }

    /// Forgets the numbers up to one that a log has evicted.
    pub(in crate::hub) fn forget_seqs(&mut self, through: u64) {
        while self.seqs.front().map_or(false, |first| *first <= through) {
            self.seqs.pop_front();
        }
    }

    /// Returns true if a sequence number is not that of an entry, after what any log has evicted. A store of one machine
    /// forgets entries that are no events, such as those of counted members. The process before has given their numbers to
    /// clients.
    fn is_hole(&self, seq: u64, evicted_through: u64) -> bool {
        let known_through = if self.is_shared { 0 } else { self.history_through };
        let is_known = seq <= evicted_through.max(known_through) || seq == self.history_through;
        !is_known && self.seqs.binary_search(&seq).is_err()
    }

    /// Returns the sequence number of the entry before another one.
    fn seq_before(&self, seq: u64, evicted_through: u64) -> u64 {
        match self.seqs.partition_point(|known| *known < seq).checked_sub(1) {
            Some(at) => self.seqs[at],
            None => evicted_through.min(seq - 1),
        }
    }

    /// Records that the hub has an entry no longer.
    pub(in crate::hub) fn record_gone(&mut self, seq: u64) {
        if !self.is_shared {
            self.evictions.numbers.push(seq);
        }
    }

    /// Records how far a channel has evicted its entries.
    pub(in crate::hub) fn record_evictions(&mut self, name: &Arc<[u8]>, through: u64) {
        if !self.is_shared {
            self.evictions.channels.insert(Arc::clone(name), through);
        }
    }
}

impl Hub {
    /// Creates a hub that continues with stored events.
    ///
    /// The entries of its history are published next, in their order, and before any stream subscribes: a stream that has
    /// begun is not sent older events. So are the retained entries that the history has evicted, which are of the state only.
    pub fn stored(epoch: Epoch, settings: Settings, history: &History) -> Self {
        let named = history.evicted.iter().map(|(_, through)| *through);
        let evicted_through = named.fold(history.evicted_through, u64::max);
        let last_seq = history.through();
        let channels = Channels::with_evicted(&history.evicted, history.evicted_through);
        let stored = StoreMemory { history_through: last_seq, is_shared: history.is_shared, ..StoreMemory::default() };
        let logs = Logs::with_history(settings, last_seq, channels, evicted_through);
        let stored = (!history.is_own).then(|| Box::new(stored));
        let readers = Readers::after(history.ends_forgotten_through);
        Self { stored, readers, ..Self::with_logs(epoch, logs) }
    }

    /// Takes note of an entry of the store that is not an event of a channel: another hub that begins after it gives its number
    /// to clients.
    pub fn pass(&mut self, seq: u64) {
        self.logs.pass(seq);
        if let Some(stored) = &mut self.stored {
            stored.add_seq(seq);
        }
    }

    /// Returns true if a client may have been given a sequence number: not if it is in a hole between stored entries.
    pub(in crate::hub) fn is_known_seq(&self, seq: u64) -> bool {
        let is_hole = |stored: &StoreMemory| stored.is_hole(seq, self.logs.evicted_through());
        seq <= self.logs.last_seq && !self.stored.as_deref().map_or(false, is_hole)
    }

    /// Returns the sequence number that the hub must reach before it knows where a held subscription resumes; none if it
    /// knows. Another hub of the same store has published further, and has given the client its id.
    pub fn awaited_seq(&self, cursor: &Cursor) -> Option<u64> {
        let seqs = cursor.points().filter_map(|(_, point)| self.epoch.seq(point.unknown_id.as_deref()?));
        seqs.max().filter(|seq| self.has_shared_store() && *seq > self.logs.last_seq)
    }

    /// Returns true if other hubs publish what this one reads of its store.
    pub(in crate::hub) fn has_shared_store(&self) -> bool {
        self.stored.as_deref().map_or(false, |stored| stored.is_shared)
    }

    /// Returns true if a store has the hub's history.
    pub fn has_store(&self) -> bool {
        self.stored.is_some()
    }

    /// Returns the sequence number of the last event that was published, or of the last one of the history.
    pub fn last_seq(&self) -> u64 {
        self.logs.last_seq
    }

    /// Returns a sequence number that a client may be given to resume with the entry `seq`: there is no entry between.
    pub(in crate::hub) fn seq_before(&self, seq: u64) -> u64 {
        match &self.stored {
            None => seq - 1,
            Some(stored) => stored.seq_before(seq, self.logs.evicted_through()),
        }
    }

    /// Takes what was evicted since the last call. Only a hub whose store no other hub uses remembers that.
    pub fn take_evictions(&mut self) -> Evictions {
        let taken = self.stored.as_mut().map(|stored| std::mem::take(&mut stored.evictions)).unwrap_or_default();
        Evictions { others: self.logs.channels.merged_through(), ..taken }
    }
}

impl Hub {
    /// Returns where a hub begins that continues this one. [`entries`](Self::entries) follow.
    pub fn history(&self) -> History {
        let (evicted, evicted_through) = self.logs.channels.all_evictions();
        History {
            epoch: self.epoch.as_str().into(),
            cipher_key: self.epoch.key().unwrap_or_default(),
            last_seq: self.logs.last_seq,
            evicted,
            evicted_through,
            is_shared: false,
            is_own: true,
            ends_forgotten_through: self.readers.end_requests().1,
        }
    }

    /// Returns all entries of the history and the state in their order, each with the name of its channel.
    pub fn entries(&self) -> Vec<(&[u8], &LogEntry)> {
        let mut all = Vec::new();
        for (_, channel) in self.logs.channels.iter() {
            let state = channel.log.state(0, u64::MAX).into_iter().flatten();
            let entries = channel.log.after(0).chain(channel.log.newest_after(0)).chain(state);
            all.extend(entries.map(|entry| (&*channel.name, entry)));
        }
        all.sort_unstable_by_key(|(_, entry)| entry.seq);
        all.dedup_by_key(|(_, entry)| entry.seq);
        all
    }

    /// Returns the subscription with which another program continues a stream that has nothing more to be sent: after the last
    /// sequence number, without a first block. Returns nothing for any other stream, and for a poll.
    pub fn handed_subscription(
        &mut self,
        stream: StreamId,
        cursor: &mut Cursor,
        now: Instant,
    ) -> Option<SubscribeRequest> {
        if cursor.is_idle() || cursor.is_ending() || cursor.is_poll() || !self.is_up_to_date(cursor) {
            return None;
        }
        self.advance(cursor, self.logs.last_seq);
        if cursor.parts().is_some() {
            return None;
        }
        let state = if cursor.follows_state { cursor.state_topics(&[]) } else { Vec::new() };
        let others = cursor.topics.iter().copied().filter(|topic| !state.contains(topic));
        let topics: Vec<_> = state.iter().copied().chain(others).map(|topic| self.topic(topic)).collect();
        let latest = OtherStart { from: state.len(), start: StartPoint::Latest };
        let other_starts = if (1..topics.len()).contains(&state.len()) { vec![latest] } else { Vec::new() };
        let (labels, ends_at) = self.readers.labels_of(stream);
        let max_age = ends_at.map(|at| at.saturating_duration_since(now));
        Some(SubscribeRequest {
            topics,
            after: Some(self.epoch.event_id(self.logs.last_seq).into_bytes().into()),
            start: if state.is_empty() { StartPoint::Latest } else { StartPoint::State },
            other_starts,
            first_block: FirstBlock {
                position: cursor.position,
                retry: None,
                keeps_id: cursor.last_id.is_pushed(),
                names_channels: cursor.names_channels,
                shows_channels: false,
                is_sent: true,
            },
            access: Access { labels, max_age, ..Access::default() },
            presence: Default::default(),
        })
    }

    fn topic(&self, topic: TopicId) -> Topic {
        let channels = &self.logs.channels;
        match topic {
            TopicId::Channel(at) => Topic::Channel((*channels[at as usize].name).into()),
            TopicId::Pattern(at) => Topic::Pattern(channels.glob(at as usize).text().into()),
        }
    }
}
