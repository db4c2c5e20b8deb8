//! Channels, and patterns of their names: the tables of both, which name each other.
//!
//! A channel has a slot, and so has a pattern. A channel knows the patterns that match its name, a pattern the channels. Names
//! of removed channels have tombstones ([`names`]).

pub(super) mod evictions;
pub(super) mod names;
#[cfg(test)]
mod tests;

use super::glob::{self, Glob};
use super::settings::Policies;
use super::Topic;
use crate::log::Log;
use crate::stream::StreamId;
use evictions::Evictions;
use names::{Evicted, Names, PatternIndex};
use slab::Slab;
use std::collections::{BTreeSet, HashMap};
use std::ops::{Deref, Index};
use std::sync::Arc;

/// A topic of a subscription: the slot of a channel or of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum TopicId {
    Channel(u32),
    Pattern(u32),
}

/// The topics of a stream, sorted. Most streams have one, which needs no allocation.
#[derive(Debug)]
pub(super) enum Topics {
    One(TopicId),
    Many(Box<[TopicId]>),
}

impl Default for Topics {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl From<Vec<TopicId>> for Topics {
    fn from(topics: Vec<TopicId>) -> Self {
        match topics[..] {
            [one] => Self::One(one),
            _ => Self::Many(topics.into()),
        }
    }
}

impl Deref for Topics {
    type Target = [TopicId];

    fn deref(&self) -> &[TopicId] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// A named sequence of events. The hub removes a channel that has neither subscribers nor entries.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: Arc<[u8]>,
    /// The time of the log's last eviction, on the hub's eviction clock.
    evicted_at: u64,
    pub(super) log: Log,
    /// The number of the channel's policy.
    pub(super) policy: usize,
    /// The streams that are subscribed by the channel's name.
    subscribers: SubscriberList,
    /// The slots of the patterns that match the name.
    pub(super) patterns: Vec<usize>,
    /// True if something was published since the last eviction, so that the log may exceed its bounds.
    pub(super) has_grown: bool,
}

impl Channel {
    /// Returns the sequence number through which the log has evicted anything, if it evicted something after a time
    /// on the eviction clock; else 0.
    pub(super) fn evicted_since(&self, clock: u64) -> u64 {
        if self.evicted_at > clock {
            self.log.evicted_through()
        } else {
            0
        }
    }

    /// Returns true if one of these sorted topics names the channel, which is at `at`, or matches its name.
    pub(super) fn is_of(&self, at: usize, topics: &[TopicId]) -> bool {
        let has_pattern = |pattern: &usize| topics.binary_search(&TopicId::Pattern(*pattern as u32)).is_ok();
        topics.binary_search(&TopicId::Channel(at as u32)).is_ok() || self.patterns.iter().any(has_pattern)
    }

    /// Returns true if the channel has neither subscribers nor entries.
    fn is_unused(&self) -> bool {
        self.subscribers.len() == 0 && self.log.is_empty()
    }
}

/// A pattern of channel names. The hub removes a pattern without subscribers.
#[derive(Debug)]
struct Pattern {
    glob: Glob,
    /// The slots of the channels that match.
    channels: BTreeSet<usize>,
    /// The streams that are subscribed by this pattern.
    subscribers: SubscriberList,
    /// The evictions of all matching channels, removed channels included.
    evictions: Evictions,
    /// The sequence number through which matching channels have discarded even the latest entry of a key.
    discarded_through: u64,
    /// The same of the channels in which a lagging stream ends.
    ending_through: u64,
}

/// The channels and the patterns of a hub.
#[derive(Debug, Default)]
pub(super) struct Channels {
    slots: Slab<Channel>,
    by_name: HashMap<Arc<[u8]>, usize>,
    /// The same and the tombstones in the order of the names. A publication finds its channel sooner in the hash map.
    names: Names,
    patterns: Slab<Pattern>,
    pattern_by_text: PatternIndex,
    /// The number of names that new patterns were compared with since that was last taken.
    pub(super) compared: usize,
}

impl Index<usize> for Channels {
    type Output = Channel;

    fn index(&self, at: usize) -> &Channel {
        &self.slots[at]
    }
}

/// Finding.
impl Channels {
    pub(super) fn get(&self, at: usize) -> Option<&Channel> {
        self.slots.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Channel> {
        self.slots.get_mut(at)
    }

    /// Returns the channel in a slot, whose log is to change.
    pub(super) fn channel_mut(&mut self, at: usize) -> &mut Channel {
        &mut self.slots[at]
    }

    /// Returns the slot of a channel.
    pub(super) fn at_name(&self, name: &[u8]) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn iter(&self) -> slab::Iter<'_, Channel> {
        self.slots.iter()
    }

    pub(super) fn iter_mut(&mut self) -> slab::IterMut<'_, Channel> {
        self.slots.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns the number after the last slot that a channel may be in.
    pub(super) fn slots(&self) -> usize {
        self.slots.capacity()
    }

    pub(super) fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    /// Returns the slot of the pattern of that text.
    pub(super) fn pattern_at_text(&self, text: &[u8]) -> Option<usize> {
        self.pattern_by_text.get(text)
    }

    pub(super) fn glob(&self, pattern: usize) -> &Glob {
        &self.patterns[pattern].glob
    }

    /// Returns the slots of the channels of topics. A channel of several topics occurs several times.
    pub(super) fn channels_of<'a>(&'a self, topics: &'a [TopicId]) -> impl Iterator<Item = usize> + 'a {
        topics.iter().flat_map(move |topic| {
            let (one, several) = match topic {
                TopicId::Channel(at) => (Some(*at as usize), None),
                TopicId::Pattern(at) => (None, Some(&self.patterns[*at as usize].channels)),
            };
            one.into_iter().chain(several.into_iter().flatten().copied())
        })
    }

    /// Returns the logs of the channels of topics.
    pub(super) fn logs_of<'a>(&'a self, topics: &'a [TopicId]) -> impl Iterator<Item = &'a Log> {
        self.channels_of(topics).map(move |at| &self.slots[at].log)
    }

    /// Returns the number of the channels of topics. A channel of several topics counts several times.
    pub(super) fn count_of(&self, topics: &[TopicId]) -> usize {
        let channels = |topic: &TopicId| match topic {
            TopicId::Channel(_) => 1,
            TopicId::Pattern(at) => self.patterns[*at as usize].channels.len(),
        };
        topics.iter().map(channels).sum()
    }

    /// Returns the slots of the patterns that match a name.
    fn patterns_matching(&self, name: &[u8]) -> Vec<usize> {
        let mut patterns = self.pattern_by_text.candidates(name);
        patterns.retain(|at| self.patterns[*at].glob.is_match(name));
        patterns
    }

    /// Returns the subscribers of a channel, by its name and by each pattern.
    pub(super) fn subscriber_lists(&self, name: &[u8]) -> Vec<&SubscriberList> {
        match self.by_name.get(name) {
            Some(at) => {
                let Channel { subscribers, patterns, .. } = &self.slots[*at];
                let by_pattern = patterns.iter().map(|pattern| &self.patterns[*pattern].subscribers);
                std::iter::once(subscribers).chain(by_pattern).collect()
            }
            None => {
                let patterns = self.patterns_matching(name).into_iter();
                patterns.map(|at| &self.patterns[at].subscribers).collect()
            }
        }
    }

    /// Returns the number of subscriptions to a channel, by its name and by patterns.
    pub(super) fn subscriptions(&self, at: usize) -> usize {
        let Channel { subscribers, patterns, .. } = &self.slots[at];
        let by_pattern = patterns.iter().map(|pattern| self.patterns[*pattern].subscribers.len());
        subscribers.len() + by_pattern.sum::<usize>()
    }

    /// Returns the subscribers that read a channel of a topic.
    pub(super) fn readers_of(&self, topic: &Topic) -> Vec<&SubscriberList> {
        match topic {
            Topic::Channel(name) => self.subscriber_lists(name),
            Topic::Pattern(text) => {
                let glob = Glob::new(text);
                let patterns =
                    self.patterns.iter().filter(|(_, pattern)| glob::can_match_same(pattern.glob.text(), text));
                let (channels, _) = self.names.matching(&glob, &mut 0);
                let by_name = channels.iter().map(|at| &self.slots[*at].subscribers);
                by_name.chain(patterns.map(|(_, pattern)| &pattern.subscribers)).collect()
            }
        }
    }

    /// Returns the subscribers of a topic, if the topic exists.
    pub(super) fn subscribers_mut(&mut self, topic: TopicId) -> Option<&mut SubscriberList> {
        match topic {
            TopicId::Channel(at) => self.slots.get_mut(at as usize).map(|channel| &mut channel.subscribers),
            TopicId::Pattern(at) => self.patterns.get_mut(at as usize).map(|pattern| &mut pattern.subscribers),
        }
    }
}

/// Creating and removing.
impl Channels {
    /// Begins with a tombstone of each of these channels, and one of all others: they have evicted entries through these
    /// sequence numbers.
    pub(super) fn with_evicted(evicted: &[(Box<[u8]>, u64)], others: u64) -> Self {
        let mut names = Names::new(others);
        for (name, through) in evicted {
            names.remove((**name).into(), Evicted { through: *through, clock: 0 });
        }
        Self { names, ..Self::default() }
    }

    /// Returns the slot of the channel of that name, which is created if it does not exist.
    pub(super) fn get_or_create(&mut self, name: &[u8], policies: &Policies) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let name: Arc<[u8]> = name.into();
        let patterns = self.patterns_matching(&name);
        let at = self.slots.vacant_key();
        let Evicted { through, clock } = self.names.add(Arc::clone(&name), at);
        let policy = policies.number_of(&name);
        let log = Log::new(through, policies[policy].is_compacting());
        for pattern in &patterns {
            self.patterns[*pattern].channels.insert(at);
        }
        self.slots.insert(Channel {
            name: Arc::clone(&name),
            evicted_at: clock,
            log,
            policy,
            subscribers: SubscriberList::default(),
            patterns,
            has_grown: false,
        });
        self.by_name.insert(name, at);
        self.record_ending(at, policies);
        at
    }

    /// Returns the slot of the pattern of that text, which is created if it does not exist. `clock` is the time on the eviction
    /// clock.
    pub(super) fn get_or_create_pattern(&mut self, text: &[u8], policies: &Policies, clock: u64) -> usize {
        if let Some(at) = self.pattern_by_text.get(text) {
            return at;
        }
        let glob = Glob::new(text);
        let (channels, removed) = self.names.matching(&glob, &mut self.compared);
        let channels: BTreeSet<usize> = channels.into_iter().collect();
        let logs = || channels.iter().map(|at| &self.slots[*at].log);
        let evicted = logs().map(Log::evicted_through).fold(removed, u64::max);
        let discarded_through = logs().map(Log::discarded_through).fold(removed, u64::max);
        let evictions = Evictions::new(clock, evicted);
        // Of removed channels the policy is not known any more.
        let removed = if policies[0].is_disconnecting() { removed } else { 0 };
        let ending_through =
            channels.iter().map(|at| self.channel_ending_through(*at, policies)).fold(removed, u64::max);
        let subscribers = SubscriberList::default();
        let at =
            self.patterns.insert(Pattern { glob, channels, subscribers, evictions, discarded_through, ending_through });
        for channel in &self.patterns[at].channels {
            self.slots[*channel].patterns.push(at);
        }
        self.pattern_by_text.insert(text, at);
        at
    }

    /// Returns the number through which channels without a tombstone of their own count as having evicted entries.
    pub(in crate::hub) fn merged_through(&self) -> u64 {
        self.names.merged_through()
    }

    /// Takes that number.
    pub(super) fn take_compared(&mut self) -> usize {
        std::mem::take(&mut self.compared)
    }

    /// Removes a channel that has neither subscribers nor entries, and returns whether it has grown. A tombstone remembers what
    /// its log has evicted.
    pub(super) fn remove_if_unused(&mut self, at: usize) -> Option<bool> {
        if !self.slots[at].is_unused() {
            return None;
        }
        let channel = self.slots.remove(at);
        self.by_name.remove(&channel.name);
        for pattern in channel.patterns {
            self.patterns[pattern].channels.remove(&at);
        }
        let evicted = Evicted { through: channel.log.evicted_through(), clock: channel.evicted_at };
        self.names.remove(channel.name, evicted);
        Some(channel.has_grown)
    }

    /// Removes a pattern without subscribers. Returns true if it has none.
    pub(super) fn remove_pattern_if_unused(&mut self, at: usize) -> bool {
        let is_unused = self.patterns[at].subscribers.len() == 0;
        if is_unused {
            let pattern = self.patterns.remove(at);
            self.pattern_by_text.remove(pattern.glob.text());
            for channel in pattern.channels {
                self.slots[channel].patterns.retain(|other| *other != at);
            }
        }
        is_unused
    }

    /// Gives each channel the number of its policy.
    pub(super) fn apply_policies(&mut self, policies: &Policies) {
        self.slots.iter_mut().for_each(|(_, channel)| channel.policy = policies.number_of(&channel.name));
        self.patterns.iter_mut().for_each(|(_, pattern)| pattern.ending_through = 0); // other channels may end streams now
        let channels: Vec<usize> = self.slots.iter().map(|(at, _)| at).collect();
        channels.into_iter().for_each(|at| self.record_ending(at, policies));
    }
}

/// The streams that are subscribed to a channel or a pattern.
///
/// A stream that has ended stays in the list until the list is next walked: finding it would take as long as walking. So does
/// one that is ending and has left this list before: it is noted beside the list.
#[derive(Debug, Default)]
pub(in crate::hub) struct SubscriberList {
    streams: Vec<StreamId>,
    /// The streams in the list that have left it.
    removed: BTreeSet<StreamId>,
    /// The number of streams without those that have ended.
    count: usize,
    /// True if the topic is in the hub's queue of notifications.
    pub(in crate::hub) is_queued: bool,
}

impl SubscriberList {
    pub(in crate::hub) fn add(&mut self, stream: StreamId) {
        self.streams.push(stream);
        self.count += 1;
    }

    /// Records that a subscriber has ended. Returns true if most streams in the list have ended.
    pub(in crate::hub) fn record_end(&mut self) -> bool {
        self.count -= 1;
        if self.count == 0 {
            (self.streams, self.removed) = Default::default();
        }
        self.streams.len() > 2 * self.count + 16
    }

    /// Removes a stream that is ending. Returns true if most streams in the list have ended.
    pub(in crate::hub) fn remove(&mut self, stream: StreamId) -> bool {
        self.removed.insert(stream);
        self.record_end()
    }

    /// Calls a function with each stream, and removes the streams for which it returns false.
    pub(in crate::hub) fn walk(&mut self, mut is_open: impl FnMut(&StreamId) -> bool) {
        self.is_queued = false;
        if self.removed.is_empty() {
            return self.streams.retain(is_open);
        }
        let removed = std::mem::take(&mut self.removed);
        self.streams.retain(|stream| !removed.contains(stream) && is_open(stream));
    }

    /// Returns the number of subscribers.
    pub(in crate::hub) fn len(&self) -> usize {
        self.count
    }

    /// Returns the streams in the list, perhaps some that have ended.
    pub(in crate::hub) fn iter(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.streams.iter().copied().filter(move |stream| !self.removed.contains(stream))
    }
}
