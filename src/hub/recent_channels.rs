//! The channels of the last publications.
//!
//! A stream may be subscribed to thousands of channels, of which few have anything new. Scanning the last
//! publications is then faster than looking at each log.

use super::topics::TopicId;
use super::Hub;
use crate::log::LogEntry;
use std::collections::VecDeque;

/// The channels of the last publications, in order.
#[derive(Debug, Default)]
pub(super) struct RecentChannels {
    channels: VecDeque<u32>,
    /// The sequence number of the first publication.
    first_seq: u64,
}

impl RecentChannels {
    const MOST: usize = if cfg!(test) { 64 } else { 4096 };

    pub(super) fn push(&mut self, seq: u64, channel: usize) {
        if self.channels.is_empty() || seq != self.first_seq + self.channels.len() as u64 {
            self.channels.clear();
            self.first_seq = seq;
        }
        self.channels.push_back(channel as u32);
        if self.channels.len() > Self::MOST {
            self.channels.pop_front();
            self.first_seq += 1;
        }
    }

    /// Returns true if all publications after a sequence number are here.
    pub(super) fn covers(&self, seq: u64) -> bool {
        !self.channels.is_empty() && seq + 1 >= self.first_seq
    }

    fn channel(&self, seq: u64) -> Option<u32> {
        self.channels.get((seq - self.first_seq) as usize).copied()
    }
}

/// The entries of topics after a sequence number, found by scanning the last publications.
pub(super) struct RecentEntries<'a> {
    pub(super) hub: &'a Hub,
    pub(super) topics: &'a [TopicId],
    pub(super) seq: u64,
}

impl<'a> Iterator for RecentEntries<'a> {
    type Item = &'a LogEntry;

    fn next(&mut self) -> Option<&'a LogEntry> {
        loop {
            self.seq += 1;
            let at = self.hub.recent.channel(self.seq)?;
            // The channel may have been removed, and its slot reused. Then the log has no entry with this number.
            let entry = self.hub.channels.get(at as usize).and_then(|channel| {
                let has_pattern =
                    |pattern: &usize| self.topics.binary_search(&TopicId::Pattern(*pattern as u32)).is_ok();
                let by_name = self.topics.binary_search(&TopicId::Channel(at)).is_ok();
                (by_name || channel.patterns.iter().any(has_pattern)).then(|| channel.log.at(self.seq)).flatten()
            });
            if entry.is_some() {
                return entry;
            }
        }
    }
}

saved!(RecentChannels { channels, first_seq });
