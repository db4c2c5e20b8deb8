//! The backlog of a stream: the entries after its cursor, merged from the logs of its topics.

use super::merge::{Merge, MergeSource};
use super::recent_channels::RecentEntries;
use super::Logs;
use crate::hub::channels::topics::TopicId;
use crate::hub::cursor::parts::{Extent, Part};
use crate::hub::{Cursor, Hub};
use std::collections::BTreeSet;

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
