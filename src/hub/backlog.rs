//! The backlog of a stream: the entries after its cursor, merged from the logs of its topics.

use super::cursor_parts::{Extent, UnsubscribedChannel};
use super::merge::{Merge, Source};
use super::recent_channels::RecentEntries;
use super::topics::TopicId;
use super::{Channel, Cursor, Hub, OnSlow};
use std::collections::{HashMap, HashSet};

/// A range of one channel's log that a stream is still to be sent: the entries after `extent.after`, up to `until`.
pub(super) struct LogRange {
    pub(super) channel: usize,
    pub(super) extent: Extent,
    pub(super) until: u64,
    /// The index of the part of the cursor that the range belongs to; none, if the stream has unsubscribed from the
    /// channel.
    pub(super) part: Option<usize>,
    /// Whether only the latest entry of each key is sent if the log has evicted some entries of the range.
    compacts: bool,
}

impl Hub {
    /// Returns true if something was published after the stream's cursor, whatever its topics are.
    pub fn is_behind(&self, cursor: &Cursor) -> bool {
        cursor.seq < self.last_seq
    }

    /// Returns the number of logs that the backlog of a stream is merged from.
    pub fn logs_to_merge(&self, cursor: &Cursor) -> usize {
        let channels = |topic: &TopicId| match topic {
            TopicId::Channel(_) => 1,
            TopicId::Pattern(at) => self.patterns[*at as usize].channels.len(),
        };
        cursor.topics.iter().map(channels).sum()
    }

    /// Returns true if the hub's logs are compacted.
    pub(super) fn compacts(&self) -> bool {
        self.settings.on_slow == OnSlow::Latest
    }

    /// Returns the backlog of a stream.
    pub(super) fn backlog<'a>(&'a self, cursor: &'a Cursor) -> Merge<'a> {
        /// From so many logs on, scanning the last publications is faster than looking at each log.
        const MANY: usize = 8;
        let Cursor { seq, ref topics, ref parts, is_compacted, .. } = *cursor;
        match parts {
            Some(parts) if parts.is_one() && parts.resume_points.is_empty() => {
                let part = &parts.list[0];
                let after = part.extent.after.max(seq);
                let compacts = self.compacts() && part.extent.uncompacted_through <= after;
                return self.merge(&part.topics, after, compacts);
            }
            Some(_) => return self.backlog_of_parts(cursor, seq, None),
            None => {}
        }
        if seq >= self.last_seq {
            return Merge::Nothing;
        }
        if !is_compacted && self.recent.covers(seq) && self.logs(topics).nth(MANY).is_some() {
            return Merge::Recent(RecentEntries::new(self, topics, seq));
        }
        self.merge(topics, seq, is_compacted)
    }

    /// Merges the entries of topics after a sequence number. With `compacts`, a log that has evicted some of them
    /// gives only the latest entry of each key.
    fn merge<'a>(&'a self, topics: &'a [TopicId], after: u64, compacts: bool) -> Merge<'a> {
        self.logs(topics).filter_map(move |log| Source::of(log, after, u64::MAX, compacts)).collect()
    }

    /// Returns the backlog that a stream would have with its cursor at `seq`: of one part, or of all.
    fn backlog_of_parts<'a>(&'a self, cursor: &Cursor, seq: u64, part: Option<usize>) -> Merge<'a> {
        if cursor.is_held() {
            return Merge::Nothing;
        }
        let ranges = self.ranges(cursor, seq).into_iter().filter(|range| part.is_none() || range.part == part);
        ranges.filter_map(|range| self.entries(&range)).collect()
    }

    /// Returns true if a part has an entry after its beginning, up to a sequence number.
    pub(super) fn has_entry_through(&self, cursor: &Cursor, part: usize, through: u64) -> bool {
        self.backlog_of_parts(cursor, 0, Some(part)).next().map_or(false, |first| first.seq <= through)
    }

    /// Returns the entries of a range, if there are any.
    pub(super) fn entries(&self, range: &LogRange) -> Option<Source<'_>> {
        let LogRange { channel, extent, until, compacts, .. } = *range;
        Source::of(&self.channels[channel].log, extent.after, until, compacts)
    }

    /// Returns the ranges that a stream would still have to be sent with its cursor at `seq`, a channel at a time.
    /// This is slower than [`merge`](Self::merge), and needed only for cursors with parts.
    pub(super) fn ranges(&self, cursor: &Cursor, seq: u64) -> Vec<LogRange> {
        let mut ranges: Vec<LogRange> = Vec::new();
        let mut unsubscribed: HashMap<usize, Vec<&UnsubscribedChannel>> = HashMap::new();
        for left in cursor.parts.iter().flat_map(|parts| &parts.unsubscribed) {
            if self.unsubscribed_channel(left).is_some() {
                unsubscribed.entry(left.channel).or_default().push(left);
                ranges.push(self.range(left.channel, None, left.extent, left.extent.after.max(seq), left.until));
            }
        }
        let mut taken: HashSet<usize> = HashSet::new();
        let whole = cursor.parts.is_none().then(|| (&cursor.topics, 0, Extent::default()));
        let parts = cursor.parts.iter().flat_map(|parts| &parts.list);
        let parts = parts.map(|part| (&part.topics, part.serial, part.extent));
        for (number, (topics, serial, extent)) in whole.into_iter().chain(parts).enumerate() {
            for channel in self.channels_of(topics).filter(|channel| taken.insert(*channel)) {
                let mut after = extent.after.max(seq);
                // Entries from before the stream unsubscribed are in the ranges above, and are not sent twice.
                for left in unsubscribed.get(&channel).into_iter().flatten() {
                    if left.extent.after > after && left.last_part < serial {
                        ranges.push(self.range(channel, Some(number), extent, after, left.extent.after));
                    }
                    after = after.max(left.until);
                }
                ranges.push(self.range(channel, Some(number), extent, after, u64::MAX));
            }
        }
        ranges
    }

    /// Returns the range of a channel's log after `after`, up to `until`, with the rest of an extent.
    fn range(&self, channel: usize, part: Option<usize>, extent: Extent, after: u64, until: u64) -> LogRange {
        let compacts = self.compacts() && extent.uncompacted_through <= after;
        LogRange { channel, extent: Extent { after, ..extent }, until, part, compacts }
    }

    /// Returns the channel that a stream has unsubscribed from, if it was not removed since.
    pub(super) fn unsubscribed_channel(&self, left: &UnsubscribedChannel) -> Option<&Channel> {
        self.channels.get(left.channel).filter(|channel| channel.serial == left.channel_serial)
    }
}
