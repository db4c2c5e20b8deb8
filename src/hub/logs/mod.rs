//! The logs of all channels in one order: what streams are sent, and what they miss, follows from them.
//!
//! [`Logs`] joins the channels with the last sequence number, the application's ids, the last publications and the eviction
//! clock. Reading needs nothing else of a hub. Other parts change the logs: publishing appends, retention evicts.

mod backlog;
#[cfg(test)]
mod tests;

use super::channels::eviction_clock::EvictionClock;
use super::channels::{Channel, Channels, TopicId};
use super::ids::custom_ids::CustomIds;
use super::settings::policies::{Policies, Policy};
use super::{Cursor, Retention, Settings, Topic};
use crate::log::Bounds;
use std::collections::vec_deque::{self, VecDeque};
use std::collections::BTreeSet;

/// The channels of a hub, and the order of their entries.
#[derive(Debug)]
pub(super) struct Logs {
    policies: Policies,
    /// The sequence number of the last event that was published, or of the last one of the history; 0 before the first.
    last_seq: u64,
    /// The sequence number through which events were offered to the streams that keep up.
    offered_through: u64,
    /// Through this number the history has evicted entries that forget keys, as far as is known.
    pub(super) forgotten_through: u64,
    channels: Channels,
    custom_ids: CustomIds,
    /// The channels of the last publications.
    recent: RecentChannels,
    clock: EvictionClock,
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
            custom_ids: CustomIds::default(),
            recent: RecentChannels::default(),
            clock: EvictionClock::new(evicted_through),
        }
    }

    pub(super) fn channels(&self) -> &Channels {
        &self.channels
    }

    /// Returns the channels, of which something may change that is not in their logs: subscribers, and marks.
    pub(super) fn channels_mut(&mut self) -> &mut Channels {
        &mut self.channels
    }

    pub(super) fn policies(&self) -> &Policies {
        &self.policies
    }

    pub(super) fn policy_of(&self, channel: &Channel) -> &Policy {
        &self.policies[channel.policy]
    }

    pub(super) fn settings(&self) -> &Settings {
        self.policies.settings()
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub(super) fn offered_through(&self) -> u64 {
        self.offered_through
    }

    /// Returns the sequence number through which any log has evicted anything.
    pub(super) fn evicted_through(&self) -> u64 {
        self.clock.through()
    }

    /// Returns the time on the eviction clock.
    pub(super) fn eviction_time(&self) -> u64 {
        self.clock.time()
    }

    /// Returns true if a stream may be sent only the newest entry of each key, of compacted logs. One that follows the state is
    /// sent the state again instead: a later event would hide that its key was forgotten.
    pub(super) fn can_compact_for(&self, cursor: &Cursor) -> bool {
        self.policies.can_compact() && !cursor.follows_state
    }

    /// Returns the sequence number of the first event with an id of the application in any of these topics.
    pub(super) fn custom_seq(&self, id: &[u8], topics: &[TopicId]) -> Option<u64> {
        let channels = topics.iter().filter_map(|topic| match topic {
            TopicId::Channel(at) => Some(&self.channels[*at as usize].name),
            TopicId::Pattern(_) => None,
        });
        let patterns = topics.iter().filter_map(|topic| match topic {
            TopicId::Channel(_) => None,
            TopicId::Pattern(at) => Some(self.channels.glob(*at as usize)),
        });
        self.custom_ids.seq(id, channels, &patterns.collect::<Vec<_>>())
    }
}

/// Changes.
impl Logs {
    /// Returns the slot of a topic, which is created if it does not exist.
    pub(super) fn get_or_create_topic(&mut self, topic: &Topic) -> TopicId {
        match topic {
            Topic::Channel(name) => TopicId::Channel(self.channels.get_or_create(name, &self.policies) as u32),
            Topic::Pattern(text) => {
                TopicId::Pattern(self.channels.get_or_create_pattern(text, &self.policies, self.clock.time()) as u32)
            }
        }
    }

    /// Gives a sequence number to an event of a channel. Returns the channel's slot, and whether the number is a later one than
    /// the last.
    pub(super) fn add_number(&mut self, seq: u64, channel: &[u8], id: Option<&[u8]>) -> (usize, bool) {
        let is_later = seq > self.last_seq;
        self.last_seq = self.last_seq.max(seq);
        let at = self.channels.get_or_create(channel, &self.policies);
        if let Some(id) = id {
            self.custom_ids.insert(&self.channels[at].name, id, seq);
        }
        self.recent.push(seq, at);
        (at, is_later)
    }

    /// Passes over a sequence number, which no event of a channel has.
    pub(super) fn pass(&mut self, seq: u64) {
        self.last_seq = self.last_seq.max(seq);
    }

    /// Records that all events were offered to the streams that keep up.
    pub(super) fn record_offered(&mut self) {
        self.offered_through = self.last_seq;
    }

    /// Begins to evict entries of a channel that has grown. Returns the bounds of its log if the channel exists.
    pub(super) fn begin_eviction(&mut self, at: usize) -> Option<Bounds> {
        let channel = self.channels.get_mut(at)?;
        channel.has_grown = false;
        Some(self.policies[channel.policy].history())
    }

    /// Records how far a channel's log has evicted and discarded entries.
    pub(super) fn record_eviction(&mut self, at: usize, has_evicted: bool) {
        self.channels.record_eviction(at, has_evicted, &mut self.clock, &self.policies);
    }

    /// Records that a channel's first entry is another one.
    pub(super) fn replace_first(&mut self, at: usize, before: Option<u64>, first: Option<u64>) {
        self.firsts.replace(self.channels[at].policy, at, before, first);
    }

    /// Sets the settings that may change. Returns the channels whose logs are compacted, or were, with their bounds if they
    /// are.
    pub(super) fn set_retention(&mut self, retention: Retention) -> Vec<(usize, Option<Bounds>)> {
        self.policies = self.policies.with_retention(retention);
        self.channels.apply_policies(&self.policies);
        self.firsts = FirstEntries::of(&self.channels, self.policies.len());
        let bounds = |channel: &Channel| {
            let policy = &self.policies[channel.policy];
            (policy.is_compacting() || channel.log.is_compacted())
                .then(|| Some(policy.history()).filter(|_| policy.is_compacting()))
        };
        self.channels.iter().filter_map(|(at, channel)| Some((at, bounds(channel)?))).collect()
    }

    /// Returns the first entry of all logs: its sequence number, and the channel.
    pub(super) fn first(&self) -> Option<(u64, usize)> {
        self.firsts.iter().min()
    }

    /// Returns the first entry of each policy's logs: its sequence number, and the channel.
    pub(super) fn firsts(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        self.firsts.iter()
    }

    /// Returns the first entry of a policy's logs.
    pub(super) fn first_of_policy(&self, number: usize) -> Option<(u64, usize)> {
        self.firsts.of_policy(number)
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

    /// Records that a channel's first entry is another one.
    fn replace(&mut self, policy: usize, at: usize, before: Option<u64>, first: Option<u64>) {
        if let Some(seq) = before {
            self.0[policy].remove(&(seq, at));
        }
        if let Some(seq) = first {
            self.0[policy].insert((seq, at));
        }
    }

    /// Returns the first entry of the channels of a policy.
    fn of_policy(&self, policy: usize) -> Option<(u64, usize)> {
        self.0[policy].iter().next().copied()
    }

    /// Returns the first entry of the channels of each policy that have one.
    fn iter(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        self.0.iter().filter_map(|firsts| firsts.iter().next()).copied()
    }

    /// Returns true if no channel has an entry.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeSet::is_empty)
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
