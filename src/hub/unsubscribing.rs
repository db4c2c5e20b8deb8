//! Unsubscribing from topics, and removing a stream that has ended.
//!
//! A stream that unsubscribes is still to be sent what was published before. The cursor keeps that as ranges of logs.

use super::backlog::LogRange;
use super::cursor_parts::{Parts, UnsubscribedChannel, UnsubscribedPattern};
use super::subscribers::SubscriberList;
use super::topics::{TopicId, Topics};
use super::{Cursor, Hub, Topic};
use crate::stream::StreamId;
use std::collections::HashSet;
use std::sync::Arc;

impl Hub {
    /// Unsubscribes a stream from topics, or from all. The stream is still to be sent what was published before.
    pub fn unsubscribe(&mut self, stream: StreamId, cursor: &mut Cursor, topics: Option<&[Topic]>) {
        let named = topics.map(|topics| topics.iter().filter_map(|topic| self.topic_id(topic)).collect::<HashSet<_>>());
        let is_left = |topic: &TopicId| named.as_ref().map_or(true, |named| named.contains(topic));
        let (left, kept): (Vec<_>, Vec<_>) = cursor.topics.iter().copied().partition(is_left);
        if left.is_empty() {
            return;
        }
        let is_held = cursor.is_held();
        let channels = if is_held { Vec::new() } else { self.unsubscribed_channels(cursor, &kept) };
        if cursor.parts.is_some() || !channels.is_empty() {
            let seq = cursor.seq;
            let parts = cursor.ensure_parts();
            parts.unsubscribed.extend(channels);
            let left: HashSet<TopicId> = left.iter().copied().collect();
            if !is_held {
                self.record_unsubscribed_patterns(parts, seq, &left); // a held subscription has settled nothing
            }
            parts.retain_topics(|topic| !left.contains(topic));
        }
        self.unregister(stream, left);
        cursor.topics = kept.into();
        if cursor.topics.is_empty() && cursor.parts.as_ref().map_or(false, |parts| parts.unsubscribed.is_empty()) {
            cursor.parts = None;
        }
        cursor.advance(cursor.seq);
        self.count_idle(cursor);
    }

    /// Returns the channels that a stream unsubscribes from by keeping only these topics, and of which it is still to
    /// be sent something.
    fn unsubscribed_channels(&self, cursor: &Cursor, kept: &[TopicId]) -> Vec<UnsubscribedChannel> {
        if cursor.parts.is_none() && self.backlog(cursor).next().is_none() {
            return Vec::new();
        }
        let parts: Vec<&Topics> = match &cursor.parts {
            Some(parts) => parts.list.iter().map(|part| &part.topics).collect(),
            None => vec![&cursor.topics],
        };
        // The channels that each part keeps. A part keeps a channel if it has it by another topic too.
        let is_kept = |topic: &TopicId| kept.binary_search(topic).is_ok();
        let kept_of = |topics: &&Topics| {
            let kept: Vec<TopicId> = topics.iter().copied().filter(is_kept).collect();
            self.channels_of(&kept).collect::<HashSet<usize>>()
        };
        let kept: Vec<HashSet<usize>> = parts.iter().map(kept_of).collect();
        let last_part = cursor.parts.as_ref().map_or(1, |parts| parts.serials);
        let ranges = self.ranges(cursor, cursor.seq).into_iter();
        let left = ranges.filter(|range| range.part.map_or(false, |part| !kept[part].contains(&range.channel)));
        let unsubscribed = left.filter_map(|range| {
            let is_of_others = kept.iter().any(|kept| kept.contains(&range.channel));
            self.unsubscribed_range(&range, last_part, is_of_others)
        });
        unsubscribed.collect()
    }

    /// Returns what a stream is still to be sent of a channel that it unsubscribes from; none if there is nothing.
    ///
    /// If another part keeps the channel, what is settled is kept too, so that the other part does not send it again.
    fn unsubscribed_range(&self, range: &LogRange, last_part: u64, is_of_others: bool) -> Option<UnsubscribedChannel> {
        let &LogRange { channel, extent, .. } = range;
        let last = self.entries(range).and_then(|entries| entries.last()).map(|last| last.seq);
        let settled = extent.settled_through();
        let until = if is_of_others { last.unwrap_or(settled).max(settled) } else { last? };
        let (channel_serial, name) = (self.channels[channel].serial, Arc::clone(&self.channels[channel].name));
        Some(UnsubscribedChannel { channel, channel_serial, name, until, last_part, extent })
    }

    /// Records the patterns that a stream unsubscribes from, if they have settled events that its cursor has not
    /// reached.
    fn record_unsubscribed_patterns(&self, parts: &mut Parts, seq: u64, left: &HashSet<TopicId>) {
        let last_part = parts.serials;
        for part in parts.list.iter().filter(|part| part.extent.settled_through() > seq) {
            for topic in part.topics.iter().filter(|topic| left.contains(topic)) {
                if let TopicId::Pattern(at) = topic {
                    let glob = self.patterns[*at as usize].glob.clone();
                    let through = part.extent.settled_through();
                    parts.unsubscribed_patterns.push(UnsubscribedPattern { glob, through, last_part });
                }
            }
        }
    }

    fn unregister(&mut self, stream: StreamId, topics: Vec<TopicId>) {
        for topic in topics {
            let is_mostly_ended = self.subscribers(topic).map_or(false, |subscribers| subscribers.remove(stream));
            if is_mostly_ended {
                self.queue_subscribers(topic); // walking the list cleans it
            }
            self.remove_if_unused(topic);
        }
    }

    /// Removes a stream that has ended.
    pub fn remove_stream(&mut self, cursor: Cursor) {
        self.counts.streams -= u64::from(!cursor.is_idle());
        for topic in &*cursor.topics {
            let is_mostly_ended = self.subscribers(*topic).map_or(false, SubscriberList::record_end);
            if is_mostly_ended {
                self.queue_subscribers(*topic); // walking the list cleans it
            }
            self.remove_if_unused(*topic);
        }
    }

    /// Stops counting a stream that is neither subscribed nor has anything left to be sent.
    pub(super) fn count_idle(&mut self, cursor: &Cursor) {
        self.counts.streams -= u64::from(cursor.is_idle());
    }
}
