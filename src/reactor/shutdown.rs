//! Ending many streams: each client is told to come back at a time of its own, and the ends are spread, so that they do not
//! all come at once.

use super::{Ending, Io, Reactor, StreamId};
use crate::stream::{after, Reason};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Streams, each with the time at which it is to end.
pub(super) struct Spread {
    queue: VecDeque<(Instant, StreamId)>,
    /// When all of them are to have ended.
    pub(super) until: Instant,
}

impl Spread {
    pub(super) fn new(streams: Vec<StreamId>, time: Duration, now: Instant) -> Self {
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

    /// The next stream whose time has come.
    fn next(&mut self, now: Instant) -> Option<StreamId> {
        if self.next_due() > now {
            return None;
        }
        self.queue.pop_front().map(|(_, stream)| stream)
    }
}

impl<I: Io> Reactor<I> {
    /// Tells the client after which time, one of its own, it is to come back.
    pub(super) fn send_away(&mut self, id: StreamId) {
        if let Some(settings) = self.entry(id).map(|entry| *entry.stream.settings()) {
            let least = settings.retry.as_millis().clamp(1, u128::from(u32::MAX)) as u64;
            let retry = format!("retry: {}\r\n\r\n", fastrand::u64(least..=2 * least));
            let mut block = self.position(id).unwrap_or_default();
            block.extend_from_slice(retry.as_bytes());
            self.add(id, settings.framing.frame(&block));
        }
    }

    /// Sends the streams of hubs away whose time has come.
    pub(super) fn continue_draining(&mut self, now: Instant) {
        let mut drains = std::mem::take(&mut self.drains);
        for (hub, drain) in &mut drains {
            for id in std::iter::from_fn(|| drain.next(now)).take(Self::ENDS) {
                // What follows nothing of that hub any more is the application's again, or another hub's.
                let subscription = self.entry(id).and_then(|entry| entry.subscription.as_ref());
                if subscription.map_or(false, |subscription| subscription.is_of(*hub)) {
                    self.refuse(id, Reason::Server);
                }
            }
        }
        drains.retain(|(_, drain)| !drain.queue.is_empty());
        self.drains = drains;
    }

    /// Every client is told to come back at a time of its own, and the ends are spread, so that they do not all come at
    /// once.
    pub(super) fn finish(&mut self, within: Duration, now: Instant) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.until = shutdown.until.min(after(now, within));
            return;
        }
        self.is_ending = true;
        let open = self.entries.iter().enumerate().filter_map(|(slot, entry)| {
            let entry = entry.as_ref().filter(|entry| !entry.has_ended && entry.stream.ending().is_none())?;
            Some(StreamId { slot: slot as u32, serial: entry.serial })
        });
        let open: Vec<StreamId> = open.collect();
        let mut leaving = Vec::with_capacity(open.len());
        for id in open {
            if self.entry(id).map_or(false, |entry| entry.is_handed_over) {
                self.end(id, Reason::Server, Ending::HandOver);
                continue;
            }
            self.send_away(id);
            leaving.push(id);
        }
        // Not longer than it is good for, and half of the time is for those that are slow to take what waits.
        let spread = (within / 2).min(Duration::from_millis(leaving.len() as u64));
        // Even without time what the sockets take at once is sent.
        let until = after(now, within.max(Duration::from_millis(1)));
        self.shutdown = Some(Spread { until, ..Spread::new(leaving, spread, now) });
    }

    pub(super) fn continue_shutdown(&mut self, now: Instant) {
        while let Some(shutdown) = &mut self.shutdown {
            match shutdown.next(now) {
                Some(id) => self.end(id, Reason::Server, Ending::Flush),
                None => break,
            }
        }
        if self.shutdown.as_ref().map_or(false, |shutdown| shutdown.until <= now) {
            self.flush(now); // what the system takes is not lost
            for slot in 0..self.entries.len() {
                if let Some(serial) = self.entries[slot].as_ref().map(|entry| entry.serial) {
                    self.fail(StreamId { slot: slot as u32, serial }, Reason::Server);
                }
            }
        }
    }
}
