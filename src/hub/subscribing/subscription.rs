//! Subscribing: registering a stream with topics, and making its subscriptions effective.

use crate::hub::channels::topics::{TopicId, Topics};
use crate::hub::cursor::parts::Part;
use crate::hub::ids::plain_and_opaque::ClientPosition;
use crate::hub::logs::Logs;
use crate::hub::{Cursor, Gap, Hub, OwnBlock, StartPoint, SubscribeRequest, Topic};
use crate::stream::StreamId;

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
            let point = self.resume_point(request, start, cursor, (&added, &before));
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
            self.advance(cursor, self.logs.last_seq());
        }
        cursor.ensure_parts(); // a part of the topics before these are added
        let (added, before) = self.logs.register(stream, cursor, &request.topics);
        if added.is_empty() {
            cursor.advance(cursor.seq);
            return None;
        }
        cursor.record_state(&added, request.start == StartPoint::State);
        let point = self.resume_point(request, request.start, cursor, (&added, &before));
        let has_missed = request.after.is_some() && self.logs.has_missed_after(&added, &point);
        let parts = cursor.ensure_parts();
        parts.list.push(Part::new(added.into(), self.logs.last_seq()));
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
            Topic::Pattern(text) if self.logs.channels().pattern_at_text(text).is_none() => {
                let may_compare = self.logs.channels().compared() < most_compared;
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
                if let Some(at) = self.logs.channels().pattern_at_text(text) {
                    self.remove_if_unused(TopicId::Pattern(at as u32));
                }
            }
        }
    }

    /// Returns how many names the new patterns of subscriptions were compared with since the last call.
    pub fn take_compared(&mut self) -> usize {
        self.logs.channels_mut().take_compared()
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
            if let Some(subscribers) = self.channels_mut().subscribers_mut(*topic) {
                subscribers.add(stream);
            }
        }
        let mut all = [&cursor.topics, &added[..]].concat();
        all.sort_unstable();
        let before = std::mem::replace(&mut cursor.topics, all.into());
        (added, before)
    }
}
