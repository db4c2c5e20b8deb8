//! The logs of all channels in one order: what streams are sent, and what they miss, follows from them.
//!
//! [`Logs`] joins the channels with the last sequence number, the last publications and the eviction
//! clock. Reading needs nothing else of a hub. Other parts change the logs (`log_changes`).
//!
//! The backlog of a stream is the entries after its cursor, merged from the logs of its topics.

#[cfg(test)]
mod tests;

use super::channels::evictions::EvictionClock;
use super::channels::{Channel, Channels, TopicId};
use super::cursor::{Extent, Part};
use super::settings::{Policies, Policy};
use super::{Cursor, Hub, Retention, Settings, Topic};
use crate::log::{Bounds, Log, LogEntry, StateEntries, VersionEntries};
use std::cmp::Reverse;
use std::collections::binary_heap::{BinaryHeap, PeekMut};
use std::collections::vec_deque::{self, VecDeque};
use std::collections::BTreeSet;
use std::iter::Peekable;

/// The channels of a hub, and the order of their entries.
#[derive(Debug)]
pub(super) struct Logs {
    pub(super) policies: Policies,
    /// The sequence number of the last event that was published, or of the last one of the history; 0 before the first.
    pub(super) last_seq: u64,
    /// The sequence number through which events were offered to the streams that keep up.
    pub(super) offered_through: u64,
    /// Through this number the history has evicted entries that forget keys, as far as is known.
    pub(super) forgotten_through: u64,
    /// The channels, of which something may change that is not in their logs: subscribers, and marks.
    pub(super) channels: Channels,
    /// The channels of the last publications.
    recent: RecentChannels,
    pub(super) clock: EvictionClock,
    firsts: FirstEntries,
}

impl Logs {
    /// Begins without entries.
    pub(super) fn new(settings: Settings) -> Self {
        Self::with_history(settings, 0, Channels::default(), 0)
    }

    /// Begins after a history: its last sequence number, the tombstones of its channels, and how far these have evicted their
    /// entries.
    pub(super) fn with_history(settings: Settings, last_seq: u64, channels: Channels, evicted_through: u64) -> Self {
        let policies = Policies::new(settings);
        Self {
            firsts: FirstEntries::of(&channels, policies.len()),
            policies,
            last_seq,
            offered_through: last_seq,
            forgotten_through: last_seq,
            channels,
            recent: RecentChannels::default(),
            clock: EvictionClock { through: evicted_through, time: 0 },
        }
    }

    pub(super) fn policy_of(&self, channel: &Channel) -> &Policy {
        &self.policies[channel.policy]
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.policies.settings
    }

    /// Returns the sequence number through which any log has evicted anything.
    pub(super) fn evicted_through(&self) -> u64 {
        self.clock.through
    }

    /// Returns true if a stream may be sent only the newest entry of each key, of compacted logs. One that follows the state is
    /// sent the state again instead: a later event would hide that its key was forgotten.
    pub(super) fn can_compact_for(&self, cursor: &Cursor) -> bool {
        self.policies.can_compact && !cursor.follows_state
    }
}

/// Changes.
impl Logs {
    /// Returns the slot of a topic, which is created if it does not exist.
    pub(super) fn get_or_create_topic(&mut self, topic: &Topic) -> TopicId {
        match topic {
            Topic::Channel(name) => TopicId::Channel(self.channels.get_or_create(name, &self.policies) as u32),
            Topic::Pattern(text) => {
                TopicId::Pattern(self.channels.get_or_create_pattern(text, &self.policies, self.clock.time) as u32)
            }
        }
    }

    /// Gives a sequence number to an event of a channel. Returns the channel's slot, and whether the number is a later one than
    /// the last.
    pub(super) fn add_number(&mut self, seq: u64, channel: &[u8]) -> (usize, bool) {
        let is_later = seq > self.last_seq;
        self.last_seq = self.last_seq.max(seq);
        let at = self.channels.get_or_create(channel, &self.policies);
        self.recent.push(seq, at);
        (at, is_later)
    }

    /// Passes over a sequence number, which no event of a channel has.
    pub(super) fn pass(&mut self, seq: u64) {
        self.last_seq = self.last_seq.max(seq);
    }

    /// Begins to evict entries of a channel that has grown. Returns the bounds of its log if the channel exists.
    pub(super) fn begin_eviction(&mut self, at: usize) -> Option<Bounds> {
        let channel = self.channels.get_mut(at)?;
        channel.has_grown = false;
        Some(self.policies[channel.policy].history)
    }

    /// Records how far a channel's log has evicted and discarded entries.
    pub(super) fn record_eviction(&mut self, at: usize, has_evicted: bool) {
        self.channels.record_eviction(at, has_evicted, &mut self.clock, &self.policies);
    }

    /// Records that a channel's first entry is another one.
    pub(super) fn replace_first(&mut self, at: usize, before: Option<u64>, first: Option<u64>) {
        let firsts = &mut self.firsts.0[self.channels[at].policy];
        if let Some(seq) = before {
            firsts.remove(&(seq, at));
        }
        firsts.extend(first.map(|seq| (seq, at)));
    }

    /// Sets the settings that may change. Returns the channels whose logs are compacted, or were, with their bounds if they
    /// are.
    pub(super) fn set_retention(&mut self, retention: Retention) -> Vec<(usize, Option<Bounds>)> {
        self.policies = Policies::new(Settings { retention, ..self.settings().clone() });
        self.channels.apply_policies(&self.policies);
        self.firsts = FirstEntries::of(&self.channels, self.policies.len());
        let bounds = |channel: &Channel| {
            let policy = &self.policies[channel.policy];
            (policy.is_compacting() || channel.log.is_compacted())
                .then(|| Some(policy.history).filter(|_| policy.is_compacting()))
        };
        self.channels.iter().filter_map(|(at, channel)| Some((at, bounds(channel)?))).collect()
    }

    /// Returns the first entry of all logs: its sequence number, and the channel.
    pub(super) fn first(&self) -> Option<(u64, usize)> {
        self.firsts().min()
    }

    /// Returns the first entry of each policy's logs: its sequence number, and the channel.
    pub(super) fn firsts(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        self.firsts.0.iter().filter_map(|firsts| firsts.iter().next()).copied()
    }

    /// Returns the first entry of a policy's logs.
    pub(super) fn first_of_policy(&self, number: usize) -> Option<(u64, usize)> {
        self.firsts.0[number].iter().next().copied()
    }
}

/// For each policy, the first entry of each channel that has one: its sequence number, and the channel. The channels of a
/// policy expire their entries at one age, so the entry with the smallest number is the next one.
#[derive(Debug, PartialEq, Eq)]
struct FirstEntries(Vec<BTreeSet<(u64, usize)>>);

impl FirstEntries {
    /// Finds the first entries of all channels. There are so many policies.
    fn of(channels: &Channels, policies: usize) -> Self {
        let mut firsts = vec![BTreeSet::new(); policies];
        for (at, channel) in channels.iter() {
            firsts[channel.policy].extend(channel.log.first().map(|(seq, _)| (seq, at)));
        }
        Self(firsts)
    }
}

/// The last publications in order: the sequence number and the channel of each.
///
/// A stream may be subscribed to thousands of channels, of which few have anything new. Scanning these is then faster than
/// looking at each log.
#[derive(Debug, Default)]
struct RecentChannels {
    publications: VecDeque<(u64, u32)>,
    /// The sequence number of the last publication before these; 0 if there was none.
    before: u64,
}

impl RecentChannels {
    const MOST: usize = if cfg!(test) { 64 } else { 4096 };

    fn push(&mut self, seq: u64, channel: usize) {
        self.publications.push_back((seq, channel as u32));
        if self.publications.len() > Self::MOST {
            self.before = self.publications.pop_front().map_or(self.before, |(seq, _)| seq);
        }
    }

    /// Returns true if all publications after a sequence number are here.
    fn has_all_after(&self, seq: u64) -> bool {
        seq >= self.before
    }

    /// Returns the publications after a sequence number.
    fn after(&self, seq: u64) -> vec_deque::Iter<'_, (u64, u32)> {
        let len = self.publications.len();
        let last = self.publications.back().map_or(0, |(seq, _)| *seq);
        // Without a store, numbers increase by one: then this is the first publication after `seq`.
        let dense = len.saturating_sub(usize::try_from(last.saturating_sub(seq)).unwrap_or(usize::MAX));
        match self.publications.get(dense) {
            Some((first, _)) if *first == seq + 1 => self.publications.range(dense..),
            _ => self.publications.range(self.publications.partition_point(|(known, _)| *known <= seq)..),
        }
    }
}

impl Logs {
    /// Returns the backlog of a stream.
    pub(in crate::hub) fn backlog<'a>(&'a self, cursor: &'a Cursor) -> Merge<'a> {
        /// From so many logs on, scanning the last publications is faster than looking at each log.
        const MANY: usize = 8;
        let Cursor { seq, ref topics, is_compacted, .. } = *cursor;
        if let Some(parts) = cursor.parts() {
            let list = if cursor.is_held() { &[] } else { &parts.list[..] };
            let through = parts.state_through().unwrap_or(u64::MAX);
            let compacts = self.can_compact_for(cursor);
            let parts = list.iter().enumerate().map(|(at, part)| (part, parts.before(at)));
            return parts.flat_map(|(part, before)| self.sources(part, before, seq, through, compacts)).collect();
        }
        if seq >= self.last_seq {
            return Merge::Nothing;
        }
        let Self { recent, channels, .. } = self;
        if let [TopicId::Channel(at)] = topics[..] {
            // The topics of most streams: the general way would take a third of what a delivery costs here.
            let log = channels.get(at as usize).map(|channel| &channel.log);
            return log
                .and_then(|log| MergeSource::of(log, seq, u64::MAX, is_compacted))
                .map_or(Merge::Nothing, Merge::One);
        }
        if !is_compacted && recent.has_all_after(seq) && channels.logs_of(topics).nth(MANY).is_some() {
            return Merge::Recent(RecentEntries::new(recent, channels, topics, seq));
        }
        channels.logs_of(topics).filter_map(|log| MergeSource::of(log, seq, u64::MAX, is_compacted)).collect()
    }

    /// Returns the entries of each log of a part that none of the parts before has, through a sequence number, for a cursor
    /// that is at `seq`. A log that has evicted some of them gives only the newest entry of each key if the part is compacted.
    fn sources<'a>(
        &'a self,
        part: &'a Part,
        before: &'a [Part],
        seq: u64,
        through: u64,
        compacts: bool,
    ) -> impl Iterator<Item = MergeSource<'a>> + 'a {
        let Extent { after, until, uncompacted_through, state_since, state_through, .. } = part.extent;
        let (after, until) = (after.max(seq), until.min(through));
        let compacts = compacts && uncompacted_through <= after;
        let is_before = move |at| before.iter().any(|part| self.is_of(at, &part.topics));
        let channels = self.channels.channels_of(&part.topics).filter(move |at| !is_before(*at));
        channels.map(move |at| &self.channels[at].log).flat_map(move |log| {
            // What came after the beginning of the state is sent as long as this log holds it.
            let state = state_through.map_or(0, |through| through.min(log.evicted_through().max(state_since)));
            if state <= after {
                return [MergeSource::of(log, after, until, compacts), None].into_iter().flatten();
            }
            let later = if until > state { MergeSource::of(log, state, until, compacts) } else { None };
            let last = state.min(until);
            let snapshot = state_through.unwrap_or(0);
            let versions = log.versions(after, last, snapshot, part.extent.after > 0).map(MergeSource::Versions);
            [MergeSource::of_state(log, after, last, later), versions].into_iter().flatten()
        })
    }

    /// Returns true if a channel is one of sorted topics.
    pub(in crate::hub) fn is_of(&self, at: usize, topics: &[TopicId]) -> bool {
        self.channels[at].is_of(at, topics)
    }

    /// Returns the channels of topics that may have an entry after a sequence number. A pattern may have thousands of channels,
    /// of which few have one.
    pub(in crate::hub) fn channels_with_entries(&self, topics: &[TopicId], seq: u64) -> BTreeSet<usize> {
        let Self { recent, channels, .. } = self;
        let publications = recent.after(seq);
        if !recent.has_all_after(seq) || publications.len() >= channels.count_of(topics) {
            return channels.channels_of(topics).collect();
        }
        let is_of = |at: &usize| channels.get(*at).map_or(false, |channel| channel.is_of(*at, topics));
        publications.map(|(_, at)| *at as usize).filter(is_of).collect()
    }

    /// Returns true if a part has an entry after its beginning, up to a sequence number.
    pub(in crate::hub) fn has_entry_through(&self, part: &Part, through: u64) -> bool {
        let mut sources = self.sources(part, &[], 0, u64::MAX, true);
        sources.any(|mut entries| entries.next().map_or(false, |first| first.seq <= through))
    }

    /// Returns the sequence number of the last entry that is still to be sent of a part; none if there is nothing.
    pub(in crate::hub) fn last_to_send(&self, part: &Part, seq: u64, compacts: bool) -> Option<u64> {
        self.sources(part, &[], seq, u64::MAX, compacts).flatten().last().map(|entry| entry.seq)
    }
}

impl Hub {
    /// Returns true if something after the stream's cursor was offered before to the streams that keep up, whatever its topics
    /// are.
    pub fn is_behind(&self, cursor: &Cursor) -> bool {
        cursor.seq < self.logs.offered_through
    }

    /// Returns the number of logs that the backlog of a stream is merged from.
    pub fn logs_to_merge(&self, cursor: &Cursor) -> usize {
        self.logs.channels.count_of(&cursor.topics)
    }

    /// Returns at most how many entries were looked at to send a stream the part of the state after a sequence number: in the
    /// history the retained ones are among others.
    pub fn state_entries_after(&self, cursor: &Cursor, seq: u64) -> usize {
        cursor.seq.saturating_sub(seq).min(self.counts.events) as usize // a gap may have begun the state again
    }
}

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
    fn of(log: &'a Log, after: u64, through: u64, compacts: bool) -> Option<Self> {
        if compacts && log.is_compacted() && log.evicted_through() > after {
            let newest = log.newest_after(after).take_while(move |entry| entry.seq <= through);
            return Some(Self::Newest(Box::new(newest)));
        }
        let entries = log.between(after, through);
        (entries.len() > 0).then(|| Self::All(entries))
    }

    /// Returns the retained entries of a log after one sequence number, through another; then what `later` has.
    fn of_state(log: &'a Log, after: u64, through: u64, later: Option<Self>) -> Option<Self> {
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

/// The merged entries of all sources, by sequence number. An entry of two sources, by the channel's name and by a
/// pattern, is there once. With a heap, merging thousands of channels takes a few steps an entry, and the reactor is
/// not held up.
pub(in crate::hub) enum Merge<'a> {
    Nothing,
    One(MergeSource<'a>),
    Recent(RecentEntries<'a>),
    /// The sources, and the sequence number of the next entry of each, with its place. The heap moves and compares these often,
    /// so they are small. A `BinaryHeap` gives the greatest first.
    Many(Vec<Peekable<MergeSource<'a>>>, BinaryHeap<Reverse<(u64, usize)>>),
}

impl<'a> FromIterator<MergeSource<'a>> for Merge<'a> {
    fn from_iter<I: IntoIterator<Item = MergeSource<'a>>>(sources: I) -> Self {
        let mut sources = sources.into_iter();
        match (sources.next(), sources.next()) {
            (None, _) => Self::Nothing,
            (Some(one), None) => Self::One(one),
            (Some(one), Some(other)) => {
                let mut all: Vec<_> = [one, other].into_iter().chain(sources).map(Iterator::peekable).collect();
                let heads =
                    all.iter_mut().enumerate().filter_map(|(at, source)| Some(Reverse((source.peek()?.seq, at))));
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
        let Reverse((next, _)) = *heads.peek()?;
        let mut entry = None;
        while let Some(mut first) = heads.peek_mut().filter(|first| first.0 .0 == next) {
            let source = &mut sources[first.0 .1];
            entry = source.next();
            match source.peek() {
                Some(later) => first.0 .0 = later.seq,
                None => drop(PeekMut::pop(first)),
            }
        }
        entry
    }
}

/// The entries of topics after a sequence number, found by scanning the last publications.
pub(in crate::hub) struct RecentEntries<'a> {
    channels: &'a Channels,
    topics: &'a [TopicId],
    publications: vec_deque::Iter<'a, (u64, u32)>,
}

impl<'a> RecentEntries<'a> {
    fn new(recent: &'a RecentChannels, channels: &'a Channels, topics: &'a [TopicId], seq: u64) -> Self {
        Self { channels, topics, publications: recent.after(seq) }
    }
}

impl<'a> Iterator for RecentEntries<'a> {
    type Item = &'a LogEntry;

    fn next(&mut self) -> Option<&'a LogEntry> {
        loop {
            let (seq, at) = *self.publications.next()?;
            // The channel may have been removed, and its slot reused. Then the log has no entry with this number.
            let channel = self.channels.get(at as usize).filter(|channel| channel.is_of(at as usize, self.topics));
            let entry = channel.and_then(|channel| channel.log.at(seq));
            if entry.is_some() {
                return entry;
            }
        }
    }
}
