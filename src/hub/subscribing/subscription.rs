//! Subscribing: registering a stream with topics, and making its subscriptions effective.

use crate::hub::channels::topics::TopicId;
use crate::hub::cursor::parts::{Part, ResumePoint};
use crate::hub::ids::plain_and_opaque::ClientPosition;
use crate::hub::logs::Logs;
use crate::hub::{Cursor, Gap, Hub, OwnBlock, StartPoint, SubscribeRequest, Topic};
use crate::stream::StreamId;
use std::time::Instant;

impl Hub {
    /// Subscribes a stream to the topics of a request, besides those that it is subscribed to already.
    ///
    /// The first subscriptions of a stream become effective when the stream [begins](Self::begin), all of them as one. A later
    /// one begins with new events at once. Its id, if it has one, only decides whether the stream is sent the returned
    /// block, a `gap` event: the request came too late for the events after that id.
    pub fn subscribe(
        &mut self,
        stream: StreamId,
        cursor: &mut Cursor,
        request: &SubscribeRequest,
        now: Instant,
    ) -> Option<OwnBlock> {
        self.expire(now);
        let is_first = cursor.is_idle();
        let is_later = !is_first && !cursor.is_held();
        if is_later {
            if self.is_up_to_date(cursor) {
                self.advance(cursor, self.logs.last_seq());
            }
            cursor.ensure_parts(); // a part of the topics before these are added
        }
        let mut added = self.logs.register(stream, cursor, &request.topics);
        let point = self.resume_point(request, cursor, &added);
        if !is_later {
            self.logs.leave_to_earlier(cursor, &mut added);
        }
        if added.is_empty() {
            cursor.advance(cursor.seq);
            return None;
        }
        cursor.record_state(&added, request.start == StartPoint::State);
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

    /// Makes a later subscription effective. A client takes the first position for the end of the state, and clears what it
    /// knows at a gap, so the state comes after a gap.
    fn subscribe_later(
        &mut self,
        cursor: &mut Cursor,
        added: Vec<TopicId>,
        request: &SubscribeRequest,
        point: &ResumePoint,
    ) -> Option<OwnBlock> {
        let has_missed = request.after.is_some() && self.logs.has_missed_after(&added, point);
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
    /// Registers a stream with topics, and returns those that are new to it, sorted.
    fn register(&mut self, stream: StreamId, cursor: &mut Cursor, topics: &[Topic]) -> Vec<TopicId> {
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
        cursor.topics = all.into();
        added
    }

    /// Removes channels from the topics that were added to a stream if an earlier topic of the stream, a pattern, has them: they
    /// begin as that does.
    fn leave_to_earlier(&self, cursor: &Cursor, added: &mut Vec<TopicId>) {
        if added.len() < cursor.topics.len() {
            let is_own = |topic: &&TopicId| match topic {
                TopicId::Channel(at) => !self.has_earlier(*at as usize, cursor, added),
                TopicId::Pattern(_) => true,
            };
            *added = added.iter().filter(is_own).copied().collect();
        }
    }

    /// Returns true if a stream has a channel by a topic that is not one of those that were added.
    pub(super) fn has_earlier(&self, at: usize, cursor: &Cursor, added: &[TopicId]) -> bool {
        let is_earlier =
            |topic: TopicId| cursor.topics.binary_search(&topic).is_ok() && added.binary_search(&topic).is_err();
        let mut patterns = self.channels()[at].patterns().iter();
        is_earlier(TopicId::Channel(at as u32)) || patterns.any(|at| is_earlier(TopicId::Pattern(*at as u32)))
    }
}
