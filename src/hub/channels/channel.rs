//! Channels and patterns of channel names: their logs and subscribers, and the hub's tables of them.

use crate::hub::channels::glob::Glob;
use crate::hub::channels::names::Evicted;
use crate::hub::channels::subscribers::SubscriberList;
use crate::hub::channels::topics::TopicId;
use crate::hub::retention::eviction_clock::Evictions;
use crate::hub::Hub;
use crate::log::Log;
use crate::saved::{Malformed, Restorer, Saved, Saver};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A named sequence of events. The hub removes a channel that has neither subscribers nor entries.
#[derive(Debug)]
pub(in crate::hub) struct Channel {
    pub(in crate::hub) name: Arc<[u8]>,
    /// The time of the log's last eviction, on the hub's eviction clock.
    pub(in crate::hub) evicted_at: u64,
    pub(in crate::hub) log: Log,
    /// The number of the channel's policy.
    pub(in crate::hub) policy: usize,
    /// The streams that are subscribed by the channel's name.
    pub(in crate::hub) subscribers: SubscriberList,
    /// The slots of the patterns that match the name.
    pub(in crate::hub) patterns: Vec<usize>,
    /// Whether something was published since the last eviction, so that the log may exceed its bounds.
    pub(in crate::hub) has_grown: bool,
}

impl Channel {
    /// Returns the sequence number through which the log has evicted anything, if it evicted something after a time
    /// on the eviction clock; else 0.
    pub(in crate::hub) fn evicted_since(&self, clock: u64) -> u64 {
        if self.evicted_at > clock {
            self.log.evicted_through()
        } else {
            0
        }
    }
}

/// A pattern of channel names. The hub removes a pattern without subscribers.
#[derive(Debug)]
pub(in crate::hub) struct Pattern {
    pub(in crate::hub) glob: Glob,
    /// The slots of the channels that match.
    pub(in crate::hub) channels: BTreeSet<usize>,
    /// The streams that are subscribed by this pattern.
    pub(in crate::hub) subscribers: SubscriberList,
    /// The evictions of all matching channels, removed channels included.
    pub(in crate::hub) evictions: Evictions,
    /// The sequence number through which matching channels have discarded even the latest entry of a key.
    pub(in crate::hub) discarded_through: u64,
    /// The same of the channels in which a lagging stream ends.
    pub(in crate::hub) ending_through: u64,
}

impl Hub {
    /// Returns the slot of the channel of that name, which is created if it does not exist.
    pub(in crate::hub) fn channel_or_create(&mut self, name: &[u8]) -> usize {
        if let Some(at) = self.channel_by_name.get(name) {
            return *at;
        }
        let name: Arc<[u8]> = name.into();
        let patterns = self.patterns_matching(&name);
        let at = self.channels.vacant_key();
        let Evicted { through, clock } = self.names.add(Arc::clone(&name), at);
        let policy = self.settings.policy_of(&name);
        let log = Log::new(through, self.policies[policy].compacts());
        for pattern in &patterns {
            self.patterns[*pattern].channels.insert(at);
        }
        self.channels.insert(Channel {
            name: Arc::clone(&name),
            evicted_at: clock,
            log,
            policy,
            subscribers: SubscriberList::default(),
            patterns,
            has_grown: false,
        });
        self.channel_by_name.insert(name, at);
        self.record_ending(at);
        at
    }

    /// Returns the slot of the pattern of that text, which is created if it does not exist.
    pub(in crate::hub) fn pattern_or_create(&mut self, text: &[u8]) -> usize {
        if let Some(at) = self.pattern_by_text.get(text) {
            return at;
        }
        let glob = Glob::new(text);
        let (channels, removed) = self.names.matching(&glob, &mut self.compared);
        let channels: BTreeSet<usize> = channels.into_iter().collect();
        let logs = || channels.iter().map(|at| &self.channels[*at].log);
        let evicted = logs().map(Log::evicted_through).fold(removed, u64::max);
        let discarded_through = logs().map(Log::discarded_through).fold(removed, u64::max);
        let evictions = Evictions::new(self.eviction_clock, evicted);
        // Of removed channels the policy is not known any more.
        let removed = if self.policies[0].disconnects() { removed } else { 0 };
        let ending_through = channels.iter().map(|at| self.channel_ending_through(*at)).fold(removed, u64::max);
        let subscribers = SubscriberList::default();
        let at =
            self.patterns.insert(Pattern { glob, channels, subscribers, evictions, discarded_through, ending_through });
        for channel in &self.patterns[at].channels {
            self.channels[*channel].patterns.push(at);
        }
        self.pattern_by_text.insert(text, at);
        at
    }

    /// Records in a channel's patterns how far it has evicted entries, if a lagging stream ends in it.
    pub(in crate::hub) fn record_ending(&mut self, at: usize) {
        let ending_through = self.channel_ending_through(at);
        for pattern in &self.channels[at].patterns {
            let pattern = &mut self.patterns[*pattern];
            pattern.ending_through = pattern.ending_through.max(ending_through);
        }
    }

    /// Removes a channel that has neither subscribers nor entries, or a pattern without subscribers.
    pub(in crate::hub) fn remove_if_unused(&mut self, topic: TopicId) {
        match topic {
            TopicId::Channel(at) => self.remove_channel_if_unused(at as usize),
            TopicId::Pattern(at) => self.remove_pattern_if_unused(at as usize),
        }
    }

    /// Removes a channel that has neither subscribers nor entries. A tombstone remembers what its log has evicted.
    fn remove_channel_if_unused(&mut self, at: usize) {
        if self.channels[at].subscribers.len() == 0 && self.channels[at].log.is_empty() {
            let channel = self.channels.remove(at);
            self.forget_rounds(TopicId::Channel(at as u32));
            if channel.has_grown {
                self.grown.retain(|grown| *grown != at);
            }
            self.channel_by_name.remove(&channel.name);
            for pattern in channel.patterns {
                self.patterns[pattern].channels.remove(&at);
            }
            let evicted = Evicted { through: channel.log.evicted_through(), clock: channel.evicted_at };
            self.names.remove(channel.name, evicted);
        }
    }

    fn remove_pattern_if_unused(&mut self, at: usize) {
        if self.patterns[at].subscribers.len() == 0 {
            let pattern = self.patterns.remove(at);
            self.forget_rounds(TopicId::Pattern(at as u32));
            self.pattern_by_text.remove(pattern.glob.text());
            for channel in pattern.channels {
                self.channels[channel].patterns.retain(|other| *other != at);
            }
        }
    }

    /// Returns the slots of the channels of topics. A channel of several topics occurs several times.
    pub(in crate::hub) fn channels_of<'a>(&'a self, topics: &'a [TopicId]) -> impl Iterator<Item = usize> + 'a {
        topics.iter().flat_map(move |topic| {
            let (one, several) = match topic {
                TopicId::Channel(at) => (Some(*at as usize), None),
                TopicId::Pattern(at) => (None, Some(&self.patterns[*at as usize].channels)),
            };
            one.into_iter().chain(several.into_iter().flatten().copied())
        })
    }

    /// Returns the logs of the channels of topics.
    pub(in crate::hub) fn logs<'a>(&'a self, topics: &'a [TopicId]) -> impl Iterator<Item = &'a Log> {
        self.channels_of(topics).map(move |at| &self.channels[at].log)
    }
}

saved!(Channel { name, evicted_at, log, policy, subscribers, patterns, has_grown });

/// Earlier releases restore the number through which entries that forget a key may be evicted.
impl Saved for Pattern {
    fn save(&self, to: &mut Saver) {
        let Self { glob, channels, subscribers, evictions, discarded_through, ending_through } = self;
        to.add(glob);
        to.add(channels);
        to.add(subscribers);
        to.add(evictions);
        to.add(discarded_through);
        to.add(&evictions.through());
        to.add(ending_through);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        let (glob, channels, subscribers) = (from.take()?, from.take()?, from.take()?);
        let (evictions, discarded_through) = (from.take()?, from.take()?);
        from.take::<u64>()?;
        Ok(Self { glob, channels, subscribers, evictions, discarded_through, ending_through: from.take()? })
    }
}
