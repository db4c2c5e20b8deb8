//! One turn of sending: which streams are sent something, and in which order.
//!
//! Streams that keep up come first, from the send queue. Streams that lag behind what others have been sent take turns
//! with each other. Eviction comes last, so that a client that keeps up misses nothing, however short the log is.

use super::stream_record::StreamQueue;
use super::subscriptions::Subscription;
use super::{Answer, HubId, Io, Reactor};
use std::time::Instant;

impl<I: Io> Reactor<I> {
    /// The fewest calls a turn for lagging streams. There are as many as for those that keep up, if that is more: so they delay
    /// those by little, and clients that return together are sent what they missed while others are sent what is new.
    const BEHIND_CALLS: usize = if cfg!(test) { 1024 } else { 32 };
    /// A call counts as one more for each of these many logs that have to be merged for the stream.
    const LOGS_PER_CALL: usize = 64;
    /// The same of entries among which retained ones are searched.
    const ENTRIES_PER_CALL: usize = 4096;

    /// Sends what is buffered and what was published, then evicts from the logs.
    pub fn flush(&mut self, now: Instant) {
        self.flush_queued(now);
        (self.prompt_calls, self.behind_calls) = (0, 0);
        self.evict(now);
        self.continue_subscribing(now);
        // Checked here because what was sent above may have ended the last stream.
        if self.open_streams == 0 && self.shutdown.take().is_some() {
            self.answers.push(Answer::ShutdownComplete);
        }
    }

    /// Sends and evicts before a command whose result depends on the hub's log.
    pub(super) fn flush_hub(&mut self, hub: HubId, now: Instant) {
        if self.hubs.get(hub).map_or(false, |hub| hub.is_eviction_due(now)) {
            self.flush_queued(now);
            self.evict(now);
        }
    }

    /// Sends to the streams that keep up, then to those that lag.
    pub(super) fn flush_queued(&mut self, now: Instant) {
        self.begin_caught_up();
        self.queue_subscribers();
        loop {
            let mut queued = std::mem::take(&mut self.send_queue);
            self.prompt_calls += queued.len();
            for slot in queued.drain(..) {
                self.flush_queued_in(StreamQueue::Send, slot, now);
            }
            // Streams that were queued again went into a new vector. Mostly there are none.
            queued.append(&mut self.send_queue);
            self.send_queue = queued;
            // A client that continues to read is sent everything before eviction, so that a burst does not make it slow.
            let may_evict = |reactor: &Self| reactor.send_queue.is_empty() || !reactor.hubs.have_grown();
            if may_evict(self) {
                self.flush_behind(now); // this may queue streams that have caught up
                if may_evict(self) {
                    break;
                }
            }
        }
    }

    /// Queues the subscribers of the channels to which something was published.
    fn queue_subscribers(&mut self) {
        let Self { hubs, records, send_queue, .. } = self;
        for hub in hubs.iter_mut() {
            hub.notify_subscribers(|id| match records.get_mut(id.slot as usize) {
                Some(Some(record)) if record.serial == id.serial && record.subscription.is_some() => {
                    if record.queue == StreamQueue::None {
                        record.queue = StreamQueue::Send;
                        send_queue.push(id.slot);
                    }
                    true
                }
                _ => false,
            });
        }
    }

    /// Sends to lagging streams in turn, until the calls of this turn of the reactor are used up.
    fn flush_behind(&mut self, now: Instant) {
        let most = Self::BEHIND_CALLS.max(self.prompt_calls);
        while self.behind_calls < most {
            let slot = match self.behind_queue.pop_front() {
                Some(slot) => slot,
                None => return,
            };
            let logs = self.subscription(slot).map_or(0, |subscription| subscription.logs_to_merge(&self.hubs));
            self.behind_calls += 1 + logs / Self::LOGS_PER_CALL;
            let state_seq = self.subscription(slot).and_then(|subscription| subscription.cursor.state_seq());
            self.flush_queued_in(StreamQueue::Behind, slot, now);
            if let (Some(seq), Some(subscription)) = (state_seq, self.subscription(slot)) {
                self.behind_calls += subscription.state_entries_after(&self.hubs, seq) / Self::ENTRIES_PER_CALL;
            }
        }
    }

    fn subscription(&self, slot: u32) -> Option<&Subscription> {
        self.records.get(slot as usize)?.as_ref()?.subscription.as_deref()
    }

    /// Sends to a stream, unless it has left the queue or was sent something meanwhile.
    fn flush_queued_in(&mut self, queue: StreamQueue, slot: u32, now: Instant) {
        if let Some(Some(record)) = self.records.get(slot as usize) {
            if record.queue == queue {
                self.flush_stream(slot, now);
            }
        }
    }

    /// Returns true if there is something to send without waiting for a socket.
    pub fn is_busy(&self) -> bool {
        !self.send_queue.is_empty() || !self.behind_queue.is_empty() || self.subscribing.is_some()
    }

    /// Queues a stream for the next flush.
    pub(super) fn queue(&mut self, slot: u32) {
        if let Some(Some(record)) = self.records.get_mut(slot as usize) {
            if record.queue == StreamQueue::None {
                record.queue = StreamQueue::Send;
                self.send_queue.push(slot);
            }
        }
    }

    /// Takes a stream out of the send queue, which it is in to be sent its head.
    pub(super) fn leave_send_queue(&mut self, slot: u32) {
        if let Some(Some(record)) = self.records.get_mut(slot as usize) {
            if record.queue == StreamQueue::Send {
                record.queue = StreamQueue::None;
            }
        }
    }

    /// Queues a stream that may lag: it takes turns with other lagging streams if it has a subscription.
    pub(super) fn queue_behind(&mut self, slot: u32) {
        match self.records.get_mut(slot as usize) {
            Some(Some(record)) if record.subscription.is_some() => {
                if record.queue == StreamQueue::None {
                    record.queue = StreamQueue::Behind;
                    self.behind_queue.push_back(slot);
                }
            }
            _ => self.queue(slot),
        }
    }
}
