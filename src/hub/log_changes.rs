//! Changes of a hub's logs: an event is appended to the log of its channel, entries that exceed a bound of size are evicted,
//! and those that are too old expire.
//!
//! What follows from a publication is done once for all publications of a turn: appending only marks the topics and the
//! channel. The subscribers of marked topics are walked once before the reactor sends, however many events were published.

use super::channels::{Channel, Channels, TopicId};
use super::ids::LastId;
use super::logs::Logs;
use super::sequence::SequencedEvent;
use super::{Counts, Cursor, Hub, Retention};
use crate::log::{Bounds, Gone, Log, LogEntry, Snapshots};
use crate::stream::{after, StreamId};
use std::time::Instant;

/// The marked topics and channels.
#[derive(Debug, Default)]
pub(in crate::hub) struct PendingWork {
    /// The topics whose subscribers are to be notified.
    to_notify: Vec<TopicId>,
    /// The channels that were published to since the last eviction.
    grown: Vec<usize>,
}

impl PendingWork {
    /// Queues the subscribers of a channel for notification, by its name and by its patterns.
    fn queue_subscribers_of(&mut self, at: usize, channels: &mut Channels) {
        self.queue_subscribers(TopicId::Channel(at as u32), channels);
        for number in 0..channels[at].patterns.len() {
            self.queue_subscribers(TopicId::Pattern(channels[at].patterns[number] as u32), channels);
        }
    }

    /// Queues the subscribers of a topic for [notification](Hub::notify_subscribers).
    pub(in crate::hub) fn queue_subscribers(&mut self, topic: TopicId, channels: &mut Channels) {
        if let Some(subscribers) = channels.subscribers_mut(topic).filter(|subscribers| !subscribers.is_queued) {
            if subscribers.len() > 0 {
                subscribers.is_queued = true;
                self.to_notify.push(topic);
            }
        }
    }

    /// Adds a channel whose log may exceed its bounds.
    pub(in crate::hub) fn add_grown(&mut self, at: usize, channel: &mut Channel) {
        if !std::mem::replace(&mut channel.has_grown, true) {
            self.grown.push(at);
        }
    }

    #[cfg(test)]
    pub(in crate::hub) fn grown(&self) -> impl Iterator<Item = usize> + '_ {
        self.grown.iter().copied()
    }

    /// Forgets a channel that is removed.
    pub(in crate::hub) fn forget_channel(&mut self, at: usize, has_grown: bool) {
        if has_grown {
            self.grown.retain(|grown| *grown != at);
        }
    }

    /// Returns true if nothing is marked.
    #[cfg(test)]
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.to_notify.is_empty() && self.grown.is_empty()
    }
}

impl LogEntry {
    /// Returns the last id of a client that was sent this entry. After an id of the application the hub's own follows in a
    /// block without data, which some clients ignore: a quiet stream is then sent its position.
    pub(in crate::hub) fn last_id(&self) -> LastId {
        LastId::at(self.seq - u64::from(self.has_custom_id))
    }
}

impl Hub {
    /// Appends an event to its channel's log. Only [`evict`](Self::evict) removes entries that exceed the retention, so
    /// that streams that keep up are sent them before.
    ///
    /// `published_at` is now, or when the event was stored. An entry of the [history](Self::stored) is not counted as
    /// published.
    pub fn append(&mut self, event: SequencedEvent, published_at: Instant) {
        let SequencedEvent { seq, channel, event, key, retain, has_custom_id } = event;
        let (at, is_later) = self.logs.add_number(seq, &channel);
        self.counts.published += u64::from(is_later);
        if let Some(stored) = &mut self.stored {
            stored.add_seq(seq);
        }
        self.pending.queue_subscribers_of(at, &mut self.logs.channels);
        let entry = LogEntry { seq, at: published_at, event, key, retain, has_custom_id, channel: at as u32 };
        self.change_log(at, |log, snapshots, gone| log.append(entry, snapshots, gone));
        self.pending.add_grown(at, self.logs.channels.channel_mut(at));
    }

    /// Calls a function with each stream for which something may have been published, once for each of its topics. The
    /// function returns false if the stream has ended; the hub then removes it from the topic's subscribers.
    pub fn notify_subscribers(&mut self, mut notify: impl FnMut(StreamId) -> bool) {
        let channels = &mut self.logs.channels;
        while let Some(topic) = self.pending.to_notify.pop() {
            // If the list is not queued, the queued topic was removed and its slot reused.
            if let Some(subscribers) = channels.subscribers_mut(topic).filter(|subscribers| subscribers.is_queued) {
                subscribers.walk(|stream| notify(*stream));
            }
        }
    }
}

/// The figures that a hub stores of a log beside it.
struct LogFigures {
    first: Option<u64>,
    history_len: usize,
    discarded_through: u64,
    /// Entries and bytes.
    size: (usize, usize),
    /// Retained keys and bytes.
    retained: (usize, usize),
    version_bytes: usize,
}

impl LogFigures {
    fn of(log: &Log) -> Self {
        Self {
            first: log.first().map(|(seq, _)| seq),
            history_len: log.history_len(),
            discarded_through: log.discarded_through(),
            size: log.size(),
            retained: log.retained(),
            version_bytes: log.version_bytes(),
        }
    }
}

impl Hub {
    /// Sets the settings that may change. The next [`evict`](Self::evict) applies the bounds to all logs.
    pub fn set_retention(&mut self, retention: Retention) {
        let compacted = self.logs.set_retention(retention);
        for (at, channel) in self.logs.channels.iter_mut() {
            self.pending.add_grown(at, channel);
        }
        for (at, bounds) in compacted {
            self.change_log(at, |log, _, gone| log.set_compacted(bounds.as_ref(), gone));
        }
    }

    /// Returns true if something was published, or the retention set, since the last [`evict`](Self::evict).
    pub fn has_grown(&self) -> bool {
        !self.pending.grown.is_empty()
    }

    /// Evicts the entries that exceed the retention or are too old. The caller has offered everything that was published to the
    /// streams that keep up, so such a stream misses nothing, however small the bounds are. Stops before an entry that some of
    /// these held streams are still to be sent, and fails with them.
    pub fn evict(&mut self, now: Instant, held: &[(StreamId, &Cursor)]) -> Result<(), Vec<StreamId>> {
        while let Some(at) = self.pending.grown.pop() {
            // The channel may have been removed.
            if let Some(history) = self.logs.begin_eviction(at) {
                // Evicting the last entry may remove the channel.
                while let Some(first) = self.logs.channels.get(at).and_then(|channel| channel.log.excess(&history)) {
                    if let Err(needing) = self.check_unneeded(first, at, held) {
                        self.pending.add_grown(at, self.logs.channels.channel_mut(at));
                        return Err(needing);
                    }
                    self.change_log(at, |log, snapshots, gone| log.evict_first(&history, snapshots, gone));
                }
            }
        }
        let total_history = self.logs.settings().retention.total_history;
        while let Some((first, at)) = self.logs.first().filter(|_| self.counts.is_over(&total_history)) {
            self.discard(first, at, held)?;
        }
        self.logs.offered_through = self.logs.last_seq;
        for number in 0..self.logs.policies.len() {
            while let Some((first, at)) =
                self.logs.first_of_policy(number).filter(|of| self.logs.is_first_expired(of.1, now))
            {
                self.discard(first, at, held)?;
            }
        }
        self.bound_versions();
        Ok(())
    }

    fn discard(&mut self, first: u64, at: usize, held: &[(StreamId, &Cursor)]) -> Result<(), Vec<StreamId>> {
        self.check_unneeded(first, at, held)?;
        self.change_log(at, Log::discard_first);
        Ok(())
    }

    /// Fails with the held streams that are still to be sent an entry of a channel, if there are any.
    fn check_unneeded(&self, seq: u64, at: usize, held: &[(StreamId, &Cursor)]) -> Result<(), Vec<StreamId>> {
        let needs = |cursor: &Cursor| {
            let first = cursor.points().find(|(part, _)| self.logs.is_of(at, &part.topics));
            first.map_or(false, |(_, point)| point.needs(seq))
        };
        let needing: Vec<_> = held.iter().filter(|(_, cursor)| needs(cursor)).map(|(id, _)| *id).collect();
        Some(()).filter(|()| needing.is_empty()).ok_or(needing)
    }

    /// Returns true if [`evict`](Self::evict) has something to do.
    pub fn is_eviction_due(&self, now: Instant) -> bool {
        self.has_grown() || self.logs.firsts().any(|(_, at)| self.logs.is_first_expired(at, now))
    }

    /// Returns when [`evict`](Self::evict) is due if nothing is published before. Entries expire up to a sixteenth of
    /// their age late, so that the reactor does not wake for each of them.
    pub fn next_due(&self) -> Option<Instant> {
        let due = self.logs.firsts().filter_map(|(_, at)| {
            let channel = &self.logs.channels[at];
            let (_, first) = channel.log.first()?;
            let age = self.logs.policy_of(channel).history.age;
            Some(after(first, age.saturating_add(age / 16)))
        });
        due.min()
    }

    /// Changes a channel's log, and what the hub stores about all logs.
    pub(super) fn change_log(&mut self, at: usize, change: impl FnOnce(&mut Log, &Snapshots, Gone<'_>)) {
        let log = &mut self.logs.channels.channel_mut(at).log;
        let (before, forgetting) = (LogFigures::of(log), log.first_forgetting());
        let stored = &mut self.stored;
        change(log, &self.snapshots.kept, &mut |seq| {
            if let Some(stored) = stored {
                stored.record_gone(seq);
            }
        });
        let now = LogFigures::of(log);
        let has_evicted = now.history_len < before.history_len;
        let counts = &mut self.counts;
        for (count, before, now) in [
            (&mut counts.events, before.size.0, now.size.0),
            (&mut counts.bytes, before.size.1, now.size.1),
            (&mut counts.keys, before.retained.0, now.retained.0),
            (&mut counts.state_bytes, before.retained.1, now.retained.1),
        ] {
            *count = *count + now as u64 - before as u64;
        }
        if before.version_bytes != now.version_bytes {
            self.snapshots.record_kept(at, before.version_bytes as u64, now.version_bytes as u64);
        }
        if let Some(seq) = forgetting.filter(|_| has_evicted) {
            self.logs.forgotten_through = self.logs.forgotten_through.max(seq);
        }
        if has_evicted || now.discarded_through > before.discarded_through {
            self.record_eviction(at, has_evicted);
        }
        if before.first != now.first {
            self.replace_first(at, before.first, now.first);
        }
    }

    /// Records how far a channel's log has evicted and discarded entries.
    fn record_eviction(&mut self, at: usize, has_evicted: bool) {
        self.logs.record_eviction(at, has_evicted);
        if let Some(stored) = &mut self.stored {
            let channel = &self.logs.channels[at];
            stored.record_evictions(&channel.name, channel.log.evicted_through());
            stored.forget_seqs(self.logs.evicted_through());
        }
    }

    /// Records that the first entry of a log is another one. An empty log may leave its channel unused.
    fn replace_first(&mut self, at: usize, before: Option<u64>, first: Option<u64>) {
        self.logs.replace_first(at, before, first);
        let name = self.logs.channels[at].name.len() as u64;
        if before.is_none() {
            self.counts.bytes += name;
        }
        if first.is_none() {
            self.counts.bytes -= name;
            self.remove_if_unused(TopicId::Channel(at as u32));
        }
    }

    /// Removes a channel that has neither subscribers nor entries, or a pattern without subscribers.
    pub(super) fn remove_if_unused(&mut self, topic: TopicId) {
        let channels = &mut self.logs.channels;
        match topic {
            TopicId::Channel(at) => match channels.remove_if_unused(at as usize) {
                Some(had_grown) => self.pending.forget_channel(at as usize, had_grown),
                None => return,
            },
            TopicId::Pattern(at) if channels.remove_pattern_if_unused(at as usize) => {}
            TopicId::Pattern(_) => return,
        }
        self.encoding.forget_topic(topic);
    }
}

impl Logs {
    /// Returns true if the first entry of a channel is too old.
    fn is_first_expired(&self, at: usize, now: Instant) -> bool {
        let channel = &self.channels[at];
        let age = self.policy_of(channel).history.age;
        channel.log.first().map_or(true, |(_, first)| now.saturating_duration_since(first) >= age)
    }
}

impl Counts {
    /// Returns true if all logs together exceed their bounds.
    fn is_over(&self, bounds: &Bounds) -> bool {
        let (events, bytes) = (self.events as usize, self.bytes as usize);
        events > bounds.events || (bytes > bounds.bytes && events > 1)
    }
}
