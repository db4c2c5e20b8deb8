//! Subscribing: registering a stream with topics, where these begin in the hub's sequence (resume points), and the first block
//! of a stream: its position, a reconnection time, and a `gap` event if its client has missed events; and the end of a
//! subscription.

use super::channels::{SubscriberList, TopicId, Topics};
use super::cursor::{ClientId, Extent, Part, ResumePoint};
use super::gaps::{block, hub_word, Missed};
use super::ids::{ClientPosition, LastId};
use super::logs::Logs;
use super::{Cursor, FirstBlock, Gap, Hub, OwnBlock, StartPoint, SubscribeRequest, Topic};
use crate::stream::StreamId;
use std::collections::BTreeSet;

/// Registering.
impl Hub {
    /// Subscribes a stream to the topics of a request, besides those that it is subscribed to already.
    ///
    /// The first subscriptions of a stream become effective when the stream [begins](Self::begin), all of them as one. A later
    /// one begins with new events at once. Its id, if it has one, only decides whether the stream is sent the returned
    /// block, a `gap` event: the request came too late for the events after that id.
    pub fn subscribe(&mut self, stream: StreamId, cursor: &mut Cursor, request: &SubscribeRequest) -> Option<OwnBlock> {
        let is_first = cursor.is_idle();
        if !is_first && !cursor.is_held() {
            return self.subscribe_later(stream, cursor, request);
        }
        for (topics, start) in request.groups() {
            let (mut added, before) = self.logs.register(stream, cursor, topics);
            let point = self.resume_point(request, start, &added, &before);
            // A channel that an earlier pattern has begins as that does.
            added.retain(|topic| !matches!(topic, TopicId::Channel(at) if self.logs.is_of(*at as usize, &before)));
            if !added.is_empty() {
                cursor.record_state(&added, start == StartPoint::State);
                let parts = cursor.parts.get_or_insert_with(Box::default);
                parts.list.push(Part::new(added.into(), point.seq));
                parts.resume_points.push(point);
            }
        }
        if let Some(parts) = cursor.parts.as_mut().filter(|_| is_first) {
            parts.first_block = request.first_block;
            cursor.position = request.first_block.position;
            cursor.names_channels = request.first_block.names_channels;
            self.counts.streams += 1;
            self.counts.resumed += u64::from(request.after.is_some() && !request.first_block.is_sent);
        }
        None
    }

    /// Makes a later subscription effective, which has one start. A client takes the first position for the end of the state,
    /// and clears what it knows at a gap, so the state comes after a gap.
    fn subscribe_later(
        &mut self,
        stream: StreamId,
        cursor: &mut Cursor,
        request: &SubscribeRequest,
    ) -> Option<OwnBlock> {
        if self.is_up_to_date(cursor) {
            self.advance(cursor, self.logs.last_seq);
        }
        cursor.ensure_parts(); // a part of the topics before these are added
        let (added, before) = self.logs.register(stream, cursor, &request.topics);
        if added.is_empty() {
            cursor.advance(cursor.seq);
            return None;
        }
        cursor.record_state(&added, request.start == StartPoint::State);
        let point = self.resume_point(request, request.start, &added, &before);
        let has_missed = request.after.is_some() && self.logs.has_missed_after(&added, &point);
        let parts = cursor.ensure_parts();
        parts.list.push(Part::new(added.into(), self.logs.last_seq));
        let reported = Some(parts.reported_through).filter(|reported| *reported > cursor.seq);
        let here = ClientPosition { seq: cursor.seq, reported };
        if cursor.follows_state && (has_missed || request.start == StartPoint::State) {
            self.restart_state(cursor);
            // A client that leaves before the state comes with this id receives the gap again, and then the state.
            let here = ClientPosition { reported: Some(0), ..here };
            return Some(self.gap_block(cursor, Some(here), Gap::Unknown));
        }
        let gap = has_missed.then(|| self.gap_block(cursor, Some(here), Gap::Unknown));
        cursor.advance(cursor.seq);
        gap
    }

    /// Creates the patterns among the topics of a request, until they were compared with so many names. Returns true if all
    /// exist.
    pub fn create_patterns(&mut self, topics: &[Topic], most_compared: usize) -> bool {
        topics.iter().all(|topic| match topic {
            Topic::Pattern(text) if self.logs.channels.pattern_at_text(text).is_none() => {
                let may_compare = self.logs.channels.compared < most_compared;
                if may_compare {
                    self.logs.get_or_create_topic(topic);
                }
                may_compare
            }
            _ => true,
        })
    }

    /// Removes those of the patterns that no stream was subscribed to.
    pub fn remove_unused_patterns(&mut self, topics: &[Topic]) {
        for topic in topics {
            if let Topic::Pattern(text) = topic {
                if let Some(at) = self.logs.channels.pattern_at_text(text) {
                    self.remove_if_unused(TopicId::Pattern(at as u32));
                }
            }
        }
    }

    /// Returns how many names the new patterns of subscriptions were compared with since the last call.
    pub fn take_compared(&mut self) -> usize {
        self.logs.channels.take_compared()
    }
}

/// Where topics begin.
impl Hub {
    /// Returns where topics of a request resume, which begin at `start`: those that were added to others of the stream.
    fn resume_point(
        &self,
        request: &SubscribeRequest,
        start: StartPoint,
        added: &[TopicId],
        before: &[TopicId],
    ) -> ResumePoint {
        let follows_state = start == StartPoint::State;
        if let Some(point) = request.after.as_deref().and_then(|id| self.point_of_id(id)) {
            return ResumePoint { follows_state, ..point };
        }
        let seq = match start {
            StartPoint::Latest => self.logs.last_seq,
            StartPoint::Oldest | StartPoint::State => 0,
            StartPoint::Last(count) => self.seq_before_last(count, added, before),
        };
        let client_id = if request.after.is_some() { ClientId::Unknown } else { ClientId::None };
        let (reported_through, unknown_id) = (self.logs.last_seq, request.after.clone());
        ResumePoint { seq, reported_through, client_id, unknown_id, follows_state }
    }

    /// Returns the resume point of an id; none if the hub does not know the id.
    fn point_of_id(&self, id: &[u8]) -> Option<ResumePoint> {
        let ClientPosition { seq, reported } =
            self.epoch.position(id).filter(|position| self.is_known_seq(position.seq))?;
        let client_id = if reported == Some(0) { ClientId::BeforeGap } else { ClientId::Known };
        let reported_through = reported.unwrap_or(0).min(self.logs.last_seq);
        Some(ResumePoint { seq, reported_through, client_id, unknown_id: None, follows_state: false })
    }

    /// Resolves an id that was unknown while the hub had not read its store so far.
    fn resolve_id(&self, point: &mut ResumePoint) {
        let unknown = point.unknown_id.take().filter(|_| self.has_shared_store());
        if let Some(known) = unknown.and_then(|id| self.point_of_id(&id)) {
            *point = ResumePoint { follows_state: point.follows_state, ..known };
        }
    }

    /// Returns a sequence number after which topics have `count` events, without the channels of those before; 0 if they have
    /// fewer.
    fn seq_before_last(&self, count: usize, topics: &[TopicId], before: &[TopicId]) -> u64 {
        let channels = self.logs.channels.channels_of(topics);
        let channels: BTreeSet<usize> = channels.filter(|at| !self.logs.is_of(*at, before)).collect();
        let logs = || channels.iter().map(|at| &self.logs.channels[*at].log);
        let all: usize = logs().map(|log| log.after(0).len()).sum();
        if count == 0 {
            return self.logs.last_seq;
        } else if all < count {
            return 0;
        }
        let mut last: Vec<u64> = logs().flat_map(|log| log.after(0).rev().take(count).map(|entry| entry.seq)).collect();
        let first = last.len() - count;
        self.seq_before(*last.select_nth_unstable(first).1)
    }
}

/// The first block.
impl Hub {
    /// Makes the first subscriptions of a stream effective. The cursor begins at the earliest of their resume points.
    /// The returned blocks are the stream's position there, and a `gap` event if its client has missed events.
    pub fn begin(&mut self, cursor: &mut Cursor) -> Vec<OwnBlock> {
        let mut points = match &mut cursor.parts {
            Some(parts) if !parts.resume_points.is_empty() => std::mem::take(&mut parts.resume_points),
            _ => return Vec::new(),
        };
        points.iter_mut().for_each(|point| self.resolve_id(point));
        self.place_parts(cursor, &points);
        // The client is sent its first id, or another one, or is told that its state is complete.
        let is_in_state = points.iter().any(|point| point.state_after().is_some());
        cursor.has_news = is_in_state || !points.iter().all(ResumePoint::has_known_id);
        let missed = self.logs.set_baselines(cursor, &points);
        let own_blocks = self.first_blocks(cursor, &missed);
        if cursor.state_through().is_some() {
            // There are no positions before the state is complete. If the client may be cut before, ids say what it has.
            let has_marks = cursor.is_poll() || is_in_state;
            let parts = cursor.ensure_parts();
            let through = parts.list.iter().map(|part| part.extent.state_through.unwrap_or(0)).min();
            parts.reported_through = through.filter(|_| has_marks).unwrap_or(0);
        }
        cursor.advance(cursor.seq);
        own_blocks
    }

    /// Lets each part begin at its resume point, or with the state, and the cursor at the earliest of these. A client that
    /// resumes may have only some of the state: it has all of it when it has been sent what was published before.
    fn place_parts(&mut self, cursor: &mut Cursor, points: &[ResumePoint]) {
        let list = &cursor.ensure_parts().list;
        let has_missed = list.iter().zip(points).any(|(part, point)| self.logs.has_missed_at(part, point));
        let state_after = |point: &ResumePoint| point.state_after().filter(|_| !has_missed);
        let starts_with_state = |point: &ResumePoint| {
            point.follows_state && (!point.has_known_id() || has_missed || point.state_after().is_some())
        };
        let as_of = points.iter().filter_map(|point| state_after(point).map(|_| point.seq)).max().unwrap_or(0);
        let kept = points.iter().any(starts_with_state).then(|| self.keep_first_snapshot(as_of));
        let last_seq = self.logs.last_seq;
        let parts = cursor.ensure_parts();
        (parts.kept, parts.is_ordered) = (kept, true);
        for (part, point) in parts.list.iter_mut().zip(points) {
            if let Some(kept) = kept.filter(|_| starts_with_state(point)) {
                *part = Part::of_state(std::mem::take(&mut part.topics), kept.through);
                if let Some(after) = state_after(point) {
                    (part.extent.after, part.extent.state_since) = (after, point.seq);
                }
            } else {
                part.extent.after = point.seq;
                if point.follows_state && point.seq < last_seq {
                    part.extent.state_since = last_seq;
                }
            }
        }
        let first = parts.list.iter().map(|part| part.extent.after).min();
        cursor.seq = first.unwrap_or(self.logs.last_seq);
    }

    /// Returns the first block of a stream, and a `gap` event if its client has missed events.
    fn first_blocks(&mut self, cursor: &mut Cursor, missed: &Missed) -> Vec<OwnBlock> {
        let Missed { through, gap } = *missed;
        let here = ClientPosition { seq: cursor.seq, reported: through };
        let position = if gap.is_some() { ClientPosition { reported: Some(0), ..here } } else { here };
        let mut own_blocks: Vec<OwnBlock> = self.first_position(cursor, position).into_iter().collect();
        if let Some(gap) = gap {
            let has_position = cursor.state_through().is_none();
            cursor.ensure_parts().record_gap(through.unwrap_or(0));
            own_blocks.push(self.gap_block(cursor, Some(here).filter(|_| has_position), gap));
        }
        own_blocks
    }

    /// Returns the first block of a stream: the word of the hub, the position, and the reconnection time that the request has.
    /// A stream that begins with the state has no position before the state is complete. The hub's word says so: what comes
    /// until then is not all that was published in between.
    fn first_position(&self, cursor: &mut Cursor, position: ClientPosition) -> Option<OwnBlock> {
        let FirstBlock { position: style, retry, keeps_id, shows_channels, is_sent, .. } =
            cursor.ensure_parts().first_block;
        cursor.last_id = LastId::new(position.seq, keeps_id);
        if is_sent {
            return None;
        }
        let is_state = cursor.state_through().is_some();
        let position = if is_state {
            block(None, retry, None, None)
        } else {
            let id = Some(self.epoch.id(position)).filter(|_| !keeps_id);
            self.logs.settings().position_block(style, id.as_deref(), retry)
        };
        let first = [hub_word(shows_channels, is_state), position.unwrap_or_default()].concat();
        Some(first).filter(|first| !first.is_empty()).map(OwnBlock::Position)
    }
}

impl Logs {
    /// Registers a stream with topics, and returns those that are new to it, sorted, and those before them.
    fn register(&mut self, stream: StreamId, cursor: &mut Cursor, topics: &[Topic]) -> (Vec<TopicId>, Topics) {
        let mut added: Vec<TopicId> = topics.iter().map(|topic| self.get_or_create_topic(topic)).collect();
        added.sort_unstable();
        added.dedup();
        added.retain(|topic| cursor.topics.binary_search(topic).is_err());
        for topic in &added {
            if let Some(subscribers) = self.channels.subscribers_mut(*topic) {
                subscribers.add(stream);
            }
        }
        let mut all = [&cursor.topics, &added[..]].concat();
        all.sort_unstable();
        let before = std::mem::replace(&mut cursor.topics, all.into());
        (added, before)
    }

    /// Returns true if the client has missed events of a part. Then each part that follows the state begins with it: the client
    /// receives one gap, whatever it has missed.
    fn has_missed_at(&self, part: &Part, point: &ResumePoint) -> bool {
        let seen = if point.follows_state { point.seq } else { point.seq.max(point.reported_through) };
        let lost = match point.state_after() {
            Some(_) => self.forgotten_through,
            None => self.channels.evicted_through(&part.topics),
        };
        point.has_gap() || (point.has_known_id() && lost > seen)
    }
}

impl Hub {
    /// Ends the subscription of a stream that ends. The stream is still to be sent what was published before: then its cursor
    /// has a part for each channel of which there is something, and is subscribed to nothing else.
    pub fn end_subscription(&mut self, stream: StreamId, cursor: &mut Cursor) {
        let list = if cursor.is_held() { Vec::new() } else { self.logs.parts_to_send(cursor) };
        if list.is_empty() {
            return self.remove_stream(std::mem::take(cursor));
        }
        let topics: BTreeSet<TopicId> = list.iter().flat_map(|part| part.topics.iter().copied()).collect();
        let topics: Topics = topics.into_iter().collect::<Vec<_>>().into();
        for topic in topics.iter().filter(|topic| cursor.topics.binary_search(topic).is_err()) {
            if let Some(subscribers) = self.logs.channels.subscribers_mut(*topic) {
                subscribers.add(stream); // so that the channel is not removed
            }
        }
        for topic in cursor.topics.iter().filter(|topic| topics.binary_search(topic).is_err()) {
            self.leave_topic(*topic, |subscribers| subscribers.remove(stream));
        }
        cursor.topics = topics;
        let last_seq = self.logs.last_seq;
        let parts = cursor.ensure_parts();
        (parts.list, parts.is_ending) = (list, true);
        if let Some(kept) = &mut parts.kept {
            if kept.through < last_seq {
                kept.end = Some(last_seq);
                self.snapshots.keep(last_seq);
            }
        }
    }

    /// Removes a stream that has ended.
    pub fn remove_stream(&mut self, cursor: Cursor) {
        self.release_snapshots(cursor.parts.as_ref().and_then(|parts| parts.kept));
        self.counts.streams -= u64::from(!cursor.is_idle());
        for topic in &*cursor.topics {
            self.leave_topic(*topic, SubscriberList::record_end);
        }
    }

    /// Lets a stream leave a topic, and removes the topic if it is no longer used. If most streams in its list have ended, has
    /// the list walked, which cleans it.
    fn leave_topic(&mut self, topic: TopicId, leave: impl FnOnce(&mut SubscriberList) -> bool) {
        if self.logs.channels.subscribers_mut(topic).map_or(false, leave) {
            self.pending.queue_subscribers(topic, &mut self.logs.channels);
        }
        self.remove_if_unused(topic);
    }
}

impl Logs {
    /// Returns a part for each channel of which a stream is still to be sent something.
    fn parts_to_send(&self, cursor: &Cursor) -> Vec<Part> {
        let whole = Part::new(cursor.topics.to_vec().into(), cursor.seq);
        let parts = cursor.parts();
        let list = parts.map_or(std::slice::from_ref(&whole), |parts| &parts.list);
        let rest = list.iter().enumerate().flat_map(|(at, part)| {
            let before = parts.map_or(&[][..], |parts| parts.before(at));
            let channels: BTreeSet<usize> = match part.extent.state_through {
                Some(_) => self.channels.channels_of(&part.topics).collect(),
                None => self.channels_with_entries(&part.topics, part.extent.after.max(cursor.seq)),
            };
            let is_before = move |at| before.iter().any(|part| self.is_of(at, &part.topics));
            channels.into_iter().filter(move |at| !is_before(*at)).filter_map(move |at| {
                let of_channel = Part { topics: Topics::One(TopicId::Channel(at as u32)), extent: part.extent };
                if part.extent.state_through.is_some() {
                    let extent = Extent { until: self.last_seq, ..part.extent };
                    return Some(Part { extent, ..of_channel });
                }
                let last = self.last_to_send(&of_channel, cursor.seq, self.can_compact_for(cursor))?;
                Some(Part { extent: Extent { until: last, ..part.extent }, ..of_channel })
            })
        });
        rest.collect()
    }
}
