//! The end of a stream's subscription.

use crate::hub::channels::subscribers::SubscriberList;
use crate::hub::channels::{TopicId, Topics};
use crate::hub::cursor::parts::{Extent, Part};
use crate::hub::logs::Logs;
use crate::hub::{Cursor, Hub};
use crate::stream::StreamId;
use std::collections::BTreeSet;

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
            if let Some(subscribers) = self.logs.channels_mut().subscribers_mut(*topic) {
                subscribers.add(stream); // so that the channel is not removed
            }
        }
        for topic in cursor.topics.iter().filter(|topic| topics.binary_search(topic).is_err()) {
            let is_mostly_ended = self
                .logs
                .channels_mut()
                .subscribers_mut(*topic)
                .map_or(false, |subscribers| subscribers.remove(stream));
            self.clean_topic(*topic, is_mostly_ended);
        }
        cursor.topics = topics;
        let last_seq = self.logs.last_seq();
        let parts = cursor.ensure_parts();
        (parts.list, parts.is_ending) = (list, true);
        if let Some(held) = &mut parts.held {
            if held.through < last_seq {
                held.end = Some(last_seq);
                self.snapshots.hold(last_seq);
            }
        }
    }

    /// Removes a stream that has ended.
    pub fn remove_stream(&mut self, cursor: Cursor) {
        self.release_snapshots(cursor.parts.as_ref().and_then(|parts| parts.held));
        self.counts.streams -= u64::from(!cursor.is_idle());
        for topic in &*cursor.topics {
            let is_mostly_ended =
                self.logs.channels_mut().subscribers_mut(*topic).map_or(false, SubscriberList::record_end);
            self.clean_topic(*topic, is_mostly_ended);
        }
    }

    /// Removes a topic that is no longer used. If most streams in its list have ended, has the list walked, which cleans it.
    fn clean_topic(&mut self, topic: TopicId, is_mostly_ended: bool) {
        if is_mostly_ended {
            self.pending.queue_subscribers(topic, self.logs.channels_mut());
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
                Some(_) => self.channels().channels_of(&part.topics).collect(),
                None => self.channels_with_entries(&part.topics, part.extent.after.max(cursor.seq)),
            };
            let is_before = move |at| before.iter().any(|part| self.is_of(at, &part.topics));
            channels.into_iter().filter(move |at| !is_before(*at)).filter_map(move |at| {
                let of_channel = Part { topics: Topics::One(TopicId::Channel(at as u32)), extent: part.extent };
                if part.extent.state_through.is_some() {
                    let extent = Extent { until: self.last_seq(), ..part.extent };
                    return Some(Part { extent, ..of_channel });
                }
                let last = self.last_to_send(&of_channel, cursor.seq, self.can_compact_for(cursor))?;
                Some(Part { extent: Extent { until: last, ..part.extent }, ..of_channel })
            })
        });
        rest.collect()
    }
}
