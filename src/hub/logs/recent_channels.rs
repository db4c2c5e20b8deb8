//! The channels of the last publications.
//!
//! A stream may be subscribed to thousands of channels, of which few have anything new. Scanning the last
//! publications is then faster than looking at each log.

use crate::hub::channels::topics::TopicId;
use crate::hub::channels::Channels;
use crate::log::LogEntry;
use std::collections::vec_deque::{Iter, VecDeque};

/// The last publications in order: the sequence number and the channel of each.
#[derive(Debug, Default)]
pub(super) struct RecentChannels {
    publications: VecDeque<(u64, u32)>,
    /// The sequence number of the last publication before these; 0 if there was none.
    before: u64,
}

impl RecentChannels {
    const MOST: usize = if cfg!(test) { 64 } else { 4096 };

    pub(super) fn push(&mut self, seq: u64, channel: usize) {
        self.publications.push_back((seq, channel as u32));
        if self.publications.len() > Self::MOST {
            self.before = self.publications.pop_front().map_or(self.before, |(seq, _)| seq);
        }
    }

    /// Returns true if all publications after a sequence number are here.
    pub(super) fn has_all_after(&self, seq: u64) -> bool {
        seq >= self.before
    }

    /// Returns the publications after a sequence number.
    pub(super) fn after(&self, seq: u64) -> Iter<'_, (u64, u32)> {
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

/// The entries of topics after a sequence number, found by scanning the last publications.
pub(in crate::hub) struct RecentEntries<'a> {
    channels: &'a Channels,
    topics: &'a [TopicId],
    publications: Iter<'a, (u64, u32)>,
}

impl<'a> RecentEntries<'a> {
    pub(super) fn new(recent: &'a RecentChannels, channels: &'a Channels, topics: &'a [TopicId], seq: u64) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_returns_later_publications_with_and_without_holes() {
        for step in [1, 7] {
            let mut recent = RecentChannels::default();
            assert!(recent.has_all_after(0) && recent.after(0).next().is_none());
            let count = RecentChannels::MOST as u64 + 10;
            let seqs: Vec<u64> = (1..=count).map(|number| step * number + u64::from(step > 1 && number > 50)).collect();
            seqs.iter().for_each(|seq| recent.push(*seq, 0));
            for seq in 0..=step * (count + 1) {
                assert_eq!(recent.has_all_after(seq), seq >= seqs[9], "{seq}");
                let later = seqs[10..].iter().filter(|later| **later > seq);
                assert!(recent.after(seq).map(|(seq, _)| seq).eq(later), "after {seq} in steps of {step}");
            }
        }
    }
}
