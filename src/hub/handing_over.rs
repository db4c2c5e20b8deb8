//! Handing over to another program: the history of a hub without a store, and the subscriptions of streams that were sent
//! everything. The other program begins with that history as with one of a store.

use crate::hub::channels::TopicId;
use crate::hub::{Access, Cursor, FirstBlock, History, Hub, OtherStart, StartPoint, SubscribeRequest, Topic};
use crate::log::LogEntry;
use crate::stream::StreamId;
use std::time::Instant;

impl Hub {
    /// Returns where a hub begins that continues this one. [`entries`](Self::entries) follow.
    pub fn history(&self) -> History {
        let (evicted, evicted_through) = self.logs.channels().all_evictions();
        History {
            epoch: self.epoch.as_str().into(),
            cipher_key: self.epoch.key().unwrap_or_default(),
            last_seq: self.logs.last_seq(),
            evicted,
            evicted_through,
            is_shared: false,
            is_own: true,
            ends_forgotten_through: self.readers.end_requests().1,
        }
    }

    /// Returns all entries of the history and the state in their order, each with the name of its channel.
    pub fn entries(&self) -> Vec<(&[u8], &LogEntry)> {
        let mut all = Vec::new();
        for (_, channel) in self.logs.channels().iter() {
            let state = channel.log.state(0, u64::MAX).into_iter().flatten();
            let entries = channel.log.after(0).chain(channel.log.newest_after(0)).chain(state);
            all.extend(entries.map(|entry| (&*channel.name, entry)));
        }
        all.sort_unstable_by_key(|(_, entry)| entry.seq);
        all.dedup_by_key(|(_, entry)| entry.seq);
        all
    }

    /// Returns the subscription with which another program continues a stream that has nothing more to be sent: after the last
    /// sequence number, without a first block. Returns nothing for any other stream, and for a poll.
    pub fn handed_subscription(
        &mut self,
        stream: StreamId,
        cursor: &mut Cursor,
        now: Instant,
    ) -> Option<SubscribeRequest> {
        if cursor.is_idle() || cursor.is_ending() || cursor.is_poll() || !self.is_up_to_date(cursor) {
            return None;
        }
        self.advance(cursor, self.logs.last_seq());
        if cursor.parts().is_some() {
            return None;
        }
        let state = if cursor.follows_state { cursor.state_topics(&[]) } else { Vec::new() };
        let others = cursor.topics.iter().copied().filter(|topic| !state.contains(topic));
        let topics: Vec<_> = state.iter().copied().chain(others).map(|topic| self.topic(topic)).collect();
        let latest = OtherStart { from: state.len(), start: StartPoint::Latest };
        let other_starts = if (1..topics.len()).contains(&state.len()) { vec![latest] } else { Vec::new() };
        let (labels, ends_at) = self.readers.labels_of(stream);
        let max_age = ends_at.map(|at| at.saturating_duration_since(now));
        Some(SubscribeRequest {
            topics,
            after: Some(self.epoch.event_id(self.logs.last_seq()).into_bytes().into()),
            start: if state.is_empty() { StartPoint::Latest } else { StartPoint::State },
            other_starts,
            first_block: FirstBlock {
                position: cursor.position,
                retry: None,
                keeps_id: cursor.last_id.is_custom(),
                names_channels: cursor.names_channels,
                is_sent: true,
            },
            access: Access { labels, max_age, ..Access::default() },
            presence: Default::default(),
        })
    }

    fn topic(&self, topic: TopicId) -> Topic {
        let channels = self.logs.channels();
        match topic {
            TopicId::Channel(at) => Topic::Channel((*channels[at as usize].name).into()),
            TopicId::Pattern(at) => Topic::Pattern(channels.glob(at as usize).text().into()),
        }
    }
}
