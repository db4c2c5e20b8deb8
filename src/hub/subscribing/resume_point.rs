//! Resume points: where a subscription begins in the hub's sequence.

use crate::hub::channels::topics::TopicId;
use crate::hub::cursor::parts::{ClientId, ResumePoint};
use crate::hub::ids::plain_and_opaque::ClientPosition;
use crate::hub::{Cursor, Hub, StartPoint, SubscribeRequest};
use std::collections::BTreeSet;

impl Hub {
    /// Returns where topics of a request resume, which begin at `start`: those that were added to others of the stream.
    pub(in crate::hub) fn resume_point(
        &self,
        request: &SubscribeRequest,
        start: StartPoint,
        cursor: &Cursor,
        (added, before): (&[TopicId], &[TopicId]),
    ) -> ResumePoint {
        let follows_state = start == StartPoint::State;
        if let Some(point) = request.after.as_deref().and_then(|id| self.point_of_id(id, &cursor.topics)) {
            return ResumePoint { follows_state, ..point };
        }
        let seq = match start {
            StartPoint::Latest => self.logs.last_seq(),
            StartPoint::Oldest | StartPoint::State => 0,
            StartPoint::Last(count) => self.seq_before_last(count, added, before),
        };
        let client_id = if request.after.is_some() { ClientId::Unknown } else { ClientId::None };
        let (reported_through, unknown_id) = (self.logs.last_seq(), request.after.clone());
        ResumePoint { seq, reported_through, client_id, unknown_id, follows_state, custom_id: None }
    }

    /// Returns the resume point of an id; none if the hub does not know the id in any of these topics.
    fn point_of_id(&self, id: &[u8], topics: &[TopicId]) -> Option<ResumePoint> {
        let custom = self.logs.custom_seq(id, topics).map(ClientPosition::at);
        let custom_id = custom.and_then(|_| std::str::from_utf8(id).ok()).map(Into::into);
        let ClientPosition { seq, reported } =
            custom.or_else(|| self.epoch.position(id)).filter(|position| self.is_known_seq(position.seq))?;
        let client_id = if reported == Some(0) { ClientId::BeforeGap } else { ClientId::Known };
        let reported_through = reported.unwrap_or(0).min(self.logs.last_seq());
        Some(ResumePoint { seq, reported_through, client_id, unknown_id: None, follows_state: false, custom_id })
    }

    /// Resolves an id that was unknown while the stream had only some of its topics, or the hub had not read its store so far.
    pub(in crate::hub) fn resolve_id(&self, point: &mut ResumePoint, topics: &[TopicId]) {
        let known = point.unknown_id.take().and_then(|id| self.point_of_id(&id, topics));
        if let Some(known) = known.filter(|known| known.custom_id.is_some() || self.has_shared_store()) {
            *point = ResumePoint { follows_state: point.follows_state, ..known };
        }
    }

    /// Returns a sequence number after which topics have `count` events, without the channels of those before; 0 if they have
    /// fewer.
    fn seq_before_last(&self, count: usize, topics: &[TopicId], before: &[TopicId]) -> u64 {
        let channels = self.logs.channels().channels_of(topics);
        let channels: BTreeSet<usize> = channels.filter(|at| !self.logs.is_of(*at, before)).collect();
        let logs = || channels.iter().map(|at| &self.logs.channels()[*at].log);
        let all: usize = logs().map(|log| log.after(0).len()).sum();
        if count == 0 {
            return self.logs.last_seq();
        } else if all < count {
            return 0;
        }
        let mut last: Vec<u64> = logs().flat_map(|log| log.after(0).rev().take(count).map(|entry| entry.seq)).collect();
        let first = last.len() - count;
        self.seq_before(*last.select_nth_unstable(first).1)
    }
}
