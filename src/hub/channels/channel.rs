//! A channel, and a pattern of channel names: their logs, evictions and subscribers.

use super::eviction_clock::Evictions;
use super::subscribers::SubscriberList;
use super::topics::TopicId;
use crate::hub::glob::Glob;
use crate::log::Log;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A named sequence of events. The hub removes a channel that has neither subscribers nor entries.
#[derive(Debug)]
pub(in crate::hub) struct Channel {
    pub(in crate::hub) name: Arc<[u8]>,
    /// The time of the log's last eviction, on the hub's eviction clock.
    pub(super) evicted_at: u64,
    pub(in crate::hub) log: Log,
    /// The number of the channel's policy.
    pub(in crate::hub) policy: usize,
    /// The streams that are subscribed by the channel's name.
    pub(super) subscribers: SubscriberList,
    /// The slots of the patterns that match the name.
    pub(super) patterns: Vec<usize>,
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

    /// Returns true if one of these sorted topics names the channel, which is at `at`, or matches its name.
    pub(in crate::hub) fn is_of(&self, at: usize, topics: &[TopicId]) -> bool {
        let has_pattern = |pattern: &usize| topics.binary_search(&TopicId::Pattern(*pattern as u32)).is_ok();
        topics.binary_search(&TopicId::Channel(at as u32)).is_ok() || self.patterns().iter().any(has_pattern)
    }

    /// Returns the slots of the patterns that match the name.
    pub(in crate::hub) fn patterns(&self) -> &[usize] {
        &self.patterns
    }

    /// Returns true if the channel has neither subscribers nor entries.
    pub(super) fn is_unused(&self) -> bool {
        self.subscribers.len() == 0 && self.log.is_empty()
    }
}

/// A pattern of channel names. The hub removes a pattern without subscribers.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) glob: Glob,
    /// The slots of the channels that match.
    pub(super) channels: BTreeSet<usize>,
    /// The streams that are subscribed by this pattern.
    pub(super) subscribers: SubscriberList,
    /// The evictions of all matching channels, removed channels included.
    pub(super) evictions: Evictions,
    /// The sequence number through which matching channels have discarded even the latest entry of a key.
    pub(super) discarded_through: u64,
    /// The same of the channels in which a lagging stream ends.
    pub(super) ending_through: u64,
}
