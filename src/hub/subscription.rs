//! Subscribing: registering a stream with topics, and making its subscriptions effective.

use super::cursor_parts::{Baseline, Part};
use super::event_id::Position;
use super::last_id::LastId;
use super::resume_point::ResumePoint;
use super::topics::TopicId;
use super::{Cursor, FirstBlock, Gap, Hub, Notice, SubscribeRequest, Topic};
use crate::stream::StreamId;
use std::time::Instant;

/// The events that a part misses at its resume point.
struct Missed {
    /// The sequence number through which events were evicted, if any were.
    through: Option<u64>,
    /// Why the client receives a `gap` event, if it does.
    gap: Option<Gap>,
}

impl Hub {
    /// Subscribes a stream to the topics of a request, besides those that it is subscribed to already.
    ///
    /// The first subscriptions of a stream become effective when the stream [begins](Self::begin), all of them as one. A later
    /// one begins with new events at once. Its id, if it has one, only decides whether the stream is sent the returned
    /// notice, a `gap` event: the request came too late for the events after that id.
    pub fn subscribe(
        &mut self,
        stream: StreamId,
        cursor: &mut Cursor,
        request: &SubscribeRequest,
        now: Instant,
    ) -> Option<Notice> {
        self.expire(now);
        let is_first = cursor.is_idle();
        let is_later = !is_first && !cursor.is_held();
        if is_later {
            if self.is_up_to_date(cursor) {
                self.advance(cursor, self.last_seq);
            }
            cursor.ensure_parts(); // a part of the topics before these are added
        }
        let added = self.register(stream, cursor, &request.topics);
        if added.is_empty() {
            cursor.advance(cursor.seq);
            return None;
        }
        let point = self.resume_point(request, cursor, &added);
        if is_later {
            return self.subscribe_later(cursor, added, request, &point);
        }
        if is_first {
            cursor.position = request.first_block.position;
            cursor.names_channels = request.first_block.names_channels;
            self.counts.streams += 1;
            self.counts.resumed += u64::from(request.after.is_some());
        }
        let parts = cursor.parts.get_or_insert_with(Box::default);
        if is_first {
            parts.first_block = request.first_block;
        }
        parts.list.push(Part::new(added.into(), point.seq));
        parts.resume_points.push(point);
        None
    }

    /// Makes a later subscription effective.
    fn subscribe_later(
        &mut self,
        cursor: &mut Cursor,
        added: Vec<TopicId>,
        request: &SubscribeRequest,
        point: &ResumePoint,
    ) -> Option<Notice> {
        let has_evicted = self.evicted_through(&added) > point.seq.max(point.reported_through);
        let has_entries = || self.logs(&added).any(|log| log.after(point.seq).len() > 0);
        let misses = request.after.is_some() && (point.gap.is_some() || has_evicted || has_entries());
        let parts = cursor.ensure_parts();
        parts.list.push(Part::new(added.into(), self.last_seq));
        let reported = Some(parts.reported_through).filter(|reported| *reported > cursor.seq);
        let here = Position { seq: cursor.seq, reported };
        let gap = misses.then(|| self.gap_notice(cursor, here, Gap::Unknown));
        cursor.advance(cursor.seq);
        gap
    }

    /// Registers a stream with topics, and returns those that are new to it, sorted.
    fn register(&mut self, stream: StreamId, cursor: &mut Cursor, topics: &[Topic]) -> Vec<TopicId> {
        let id_of = |hub: &mut Self, topic: &Topic| match topic {
            Topic::Channel(name) => TopicId::Channel(hub.channel_or_create(name) as u32),
            Topic::Pattern(text) => TopicId::Pattern(hub.pattern_or_create(text) as u32),
        };
        let mut added: Vec<TopicId> = topics.iter().map(|topic| id_of(self, topic)).collect();
        added.sort_unstable();
        added.dedup();
        added.retain(|topic| cursor.topics.binary_search(topic).is_err());
        for topic in &added {
            if let Some(subscribers) = self.subscribers(*topic) {
                subscribers.add(stream);
            }
        }
        let mut all = [&cursor.topics, &added[..]].concat();
        all.sort_unstable();
        cursor.topics = all.into();
        added
    }

    /// Makes the first subscriptions of a stream effective. The cursor begins at the earliest of their resume points.
    /// The returned notices are the stream's position there, and a `gap` event if its client has missed events.
    pub fn begin(&mut self, cursor: &mut Cursor) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut points = match &mut cursor.parts {
            Some(parts) if !parts.resume_points.is_empty() => std::mem::take(&mut parts.resume_points),
            _ => return notices,
        };
        for (number, point) in points.iter_mut().enumerate() {
            self.resolve_id(point, &cursor.topics);
            cursor.ensure_parts().list[number].extent.after = point.seq;
        }
        cursor.seq = points.iter().map(|point| point.seq).min().unwrap_or(self.last_seq);
        let Missed { through, gap } = self.apply_baselines(cursor, &points);
        let here = Position { seq: cursor.seq, reported: through };
        let position = if gap.is_some() { Position { reported: Some(0), ..here } } else { here };
        notices.extend(self.first_notice(cursor, position, &points));
        if let Some(gap) = gap {
            cursor.ensure_parts().report(through.unwrap_or(0));
            notices.push(self.gap_notice(cursor, here, gap));
        }
        cursor.advance(cursor.seq);
        notices
    }

    /// Returns the first block of a stream: the position, and the reconnection time that the request has. A client that
    /// resumes after an id of the application is sent that id again.
    fn first_notice(&self, cursor: &mut Cursor, position: Position, points: &[ResumePoint]) -> Option<Notice> {
        let FirstBlock { position: style, retry, keeps_id, .. } = cursor.ensure_parts().first_block;
        let custom = points.first().and_then(|first| first.custom_id.as_deref());
        let custom = custom.filter(|id| points.iter().all(|point| point.custom_id.as_deref() == Some(*id)));
        cursor.last_id = LastId::new(position.seq, keeps_id || custom.is_some());
        let id = custom.map_or_else(|| self.epoch.id(position), str::to_owned);
        let id = Some(&*id).filter(|_| !keeps_id);
        self.position_block(style, id, retry).map(Notice::Position)
    }

    /// Sets the baseline of each part, and returns what they miss together. Evicted events are reported before an
    /// unknown id.
    fn apply_baselines(&self, cursor: &mut Cursor, points: &[ResumePoint]) -> Missed {
        let mut all = Missed { through: None, gap: None };
        for (number, point) in points.iter().enumerate() {
            let missed = self.apply_baseline(cursor, number, point);
            all.through = all.through.max(missed.through);
            all.gap = match (all.gap, missed.gap) {
                (Some(Gap::Evicted), _) | (_, None) => all.gap,
                _ => missed.gap,
            };
        }
        all
    }

    /// Sets the baseline of a part to what it misses at its resume point, and returns that.
    fn apply_baseline(&self, cursor: &mut Cursor, number: usize, point: &ResumePoint) -> Missed {
        let compacts = self.compacts();
        let parts = cursor.ensure_parts();
        let part = &mut parts.list[number];
        let evicted = self.evicted_through(&part.topics);
        let through = Some(evicted).filter(|evicted| *evicted > point.seq);
        let is_reported = evicted <= point.seq.max(point.reported_through);
        let evicted_gap = Some(Gap::Evicted).filter(|_| !is_reported);
        // A `gap` event for evicted events replaces the one for an unknown id.
        let gap = point.gap.filter(|gap| evicted_gap.is_none() || *gap != Gap::Unknown).or(evicted_gap);
        // A new client receives no `gap` event. It may still miss older events that it begins with, if there are any.
        let may_miss = point.is_new_client() && through.is_some() && self.has_entry_through(part, evicted);
        let clock = if may_miss { self.eviction_clock } else { u64::MAX };
        part.extent.baseline = Baseline { through: through.unwrap_or(0), clock };
        part.extent.uncompacted_through = through.filter(|_| compacts).unwrap_or(0);
        if !point.is_new_client() {
            parts.reported_through = parts.reported_through.max(through.unwrap_or(0));
        }
        Missed { through, gap }
    }
}
