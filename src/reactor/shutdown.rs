//! Ending many streams: draining a hub, and shutting down with the process.
//!
//! Each client is sent a random reconnection time (`retry`), and the ends are spread over time, so that the clients do not
//! all reconnect at once.

use super::{Ending, HubId, Io, Reactor, StreamId};
use crate::event::retry_line;
use crate::stream::{after, Reason, Settings};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Streams, each with the time at which it is to end.
#[derive(Debug)]
pub(super) struct Spread {
    queue: VecDeque<(Instant, StreamId)>,
    /// When all of them are to have ended.
    until: Instant,
}

impl Spread {
    fn new(streams: Vec<StreamId>, time: Duration, now: Instant) -> Self {
        let until = after(now, time);
        let time = until - now;
        let count = streams.len().max(1) as u32;
        let at = |number| now + time / count * number as u32;
        let queue = streams.into_iter().enumerate().map(|(number, stream)| (at(number), stream)).collect();
        Self { queue, until }
    }

    pub(super) fn next_due(&self) -> Instant {
        self.queue.front().map_or(self.until, |(at, _)| *at.min(&self.until))
    }

    /// Takes the next stream that is due to end.
    fn pop_due(&mut self, now: Instant) -> Option<StreamId> {
        if self.next_due() > now {
            return None;
        }
        self.queue.pop_front().map(|(_, stream)| stream)
    }
}

/// Returns a random reconnection time in milliseconds, between one and two times the stream's
/// [`retry`](crate::stream::Settings::retry).
pub(super) fn random_retry(settings: &Settings) -> u64 {
    let least = settings.retry.as_millis().clamp(1, u128::from(u32::MAX)) as u64;
    fastrand::u64(least..=2 * least)
}

impl<I: Io> Reactor<I> {
    /// The most streams that one turn ends because their hub is drained.
    const ENDS_PER_TURN: usize = 64;

    /// Sends a client a random reconnection time, and its position if that has advanced.
    pub(super) fn send_retry(&mut self, id: StreamId) {
        self.begin(id); // the first block of a stream comes first
        if let Some(settings) = self.record(id).map(|record| *record.stream.settings()) {
            let retry = random_retry(&settings);
            let block = self.last_block(id, retry).unwrap_or_else(|| retry_line(retry));
            self.buffer_non_event(id, settings.frame(&block));
        }
    }

    /// Drains a hub: refuses new subscribers, and ends the streams one by one.
    pub(super) fn drain(&mut self, hub: HubId, within: Duration, now: Instant) {
        if self.hubs.start_draining(hub) {
            let streams = self.streams_of(hub);
            self.drains.push(Spread::new(streams, within, now));
        }
    }

    /// Ends the streams of drained hubs that are due.
    pub(super) fn continue_draining(&mut self, now: Instant) {
        let mut drains = std::mem::take(&mut self.drains);
        for drain in &mut drains {
            for id in std::iter::from_fn(|| drain.pop_due(now)).take(Self::ENDS_PER_TURN) {
                self.end_with_retry(id, Reason::Server);
            }
        }
        drains.retain(|drain| !drain.queue.is_empty());
        self.drains = drains;
    }

    /// Shuts down: sends each client a reconnection time, and ends all streams one by one. A second call can only shorten
    /// the time.
    pub(super) fn shut_down(&mut self, within: Duration, now: Instant) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.until = shutdown.until.min(after(now, within));
            return;
        }
        self.is_shutting_down = true;
        let mut ending = Vec::new();
        for id in self.streams_to_end() {
            if self.record(id).map_or(false, |record| record.is_transferred) {
                self.end(id, Reason::Server, Ending::Transfer);
            } else {
                self.send_retry(id);
                ending.push(id);
            }
        }
        // A millisecond a stream is enough, and half of the time is left for clients that read slowly.
        let spread = (within / 2).min(Duration::from_millis(ending.len() as u64));
        // Even without time the sockets are sent what they take at once.
        let until = after(now, within.max(Duration::from_millis(1)));
        self.shutdown = Some(Spread { until, ..Spread::new(ending, spread, now) });
    }

    /// Returns the streams that are not ending yet.
    fn streams_to_end(&self) -> Vec<StreamId> {
        let open = self.records.iter().enumerate().filter_map(|(slot, record)| {
            let record = record.as_ref().filter(|record| !record.has_ended && record.stream.ending().is_none())?;
            Some(StreamId { slot: slot as u32, serial: record.serial })
        });
        open.collect()
    }

    /// Ends the streams that are due. When the time is up, ends all streams.
    pub(super) fn continue_shutdown(&mut self, now: Instant) {
        while let Some(shutdown) = &mut self.shutdown {
            match shutdown.pop_due(now) {
                Some(id) => self.end(id, Reason::Server, Ending::Flush),
                None => break,
            }
        }
        if self.shutdown.as_ref().map_or(false, |shutdown| shutdown.until <= now) {
            self.flush(now); // the sockets are sent what they still take
            for slot in 0..self.records.len() {
                if let Some(serial) = self.records[slot].as_ref().map(|record| record.serial) {
                    self.end_at_once(StreamId { slot: slot as u32, serial }, Reason::Server);
                }
            }
        }
    }
}
