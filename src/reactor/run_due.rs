//! Doing what is due: keepalives, timeouts, deadlines, held subscriptions, drains. `flush` follows, which evicts.
//!
//! The timers of streams have coarse ticks, so that thousands of streams wake the reactor once.

use super::ending::Spread;
use super::stall_watchdog::{first_look, StallWatchdog};
use super::stream_record::Deadline;
use super::{Io, Reactor, StreamId};
use crate::stream::{Liveness, Reason};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

impl<I: Io> Reactor<I> {
    /// When [`run_due`](Self::run_due) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        let shutdown = self.shutdown.as_ref().map(Spread::next_due);
        let timers = [self.timers.first(), self.first_looks.first()];
        timers
            .iter()
            .chain(&[shutdown, self.drained.first(), self.held.first(), self.hubs.next_due()])
            .copied()
            .flatten()
            .min()
    }

    /// Does everything that is due.
    pub fn run_due(&mut self, now: Instant) {
        while let Some((at, slots)) = self.timers.take_due(now) {
            for slot in slots {
                self.fire_timer(slot, at, now);
            }
        }
        while let Some((_, slots)) = self.first_looks.take_due(now) {
            for slot in slots {
                self.look_first(slot, now);
            }
        }
        self.begin_held(now);
        self.end_aged(now);
        self.continue_draining(now);
        self.continue_shutdown(now);
    }

    /// Handles the timer of one stream.
    fn fire_timer(&mut self, slot: u32, at: Instant, now: Instant) {
        let record = match self.records.get_mut(slot as usize) {
            Some(Some(record)) if record.timer == Some(at) => record,
            _ => return, // the stream has set an earlier timer since, or the slot was reused
        };
        record.timer = None;
        let id = StreamId { slot, serial: record.serial };
        if let Some((_, kind)) = record.deadline.as_deref().copied().filter(|(due, _)| *due <= now) {
            match kind {
                Deadline::Attach => return self.end_at_once(id, Reason::Timeout),
                Deadline::Linger => return self.close(id),
                Deadline::Retry if record.stream.has_timed_out(now) => return self.end_at_once(id, Reason::Timeout),
                Deadline::Retry => {
                    record.deadline = None;
                    record.is_watched = false;
                    record.is_blocked = false;
                    self.watch(slot, now);
                    self.queue(slot);
                }
                Deadline::Look(watchdog) => self.check_client(id, Some(watchdog), now),
            }
        }
        self.send_keepalive_if_due(id, now);
        self.arm_timer(slot, now);
    }

    /// Looks at a client later that may have something to take, unless a look is to come.
    pub(super) fn watch(&mut self, slot: u32, now: Instant) {
        if let Some(Some(record)) = self.records.get_mut(slot as usize) {
            if !record.is_watched && record.socket.is_some() {
                record.is_watched = true;
                let due = first_look(record.stream.settings().timeout, now);
                self.first_looks.insert(self.timers.tick(now, due), slot);
            }
        }
    }

    /// Makes the first look. It is early if the slot had another stream, or the stream another look, which does no harm.
    fn look_first(&mut self, slot: u32, now: Instant) {
        if let Some(Some(record)) = self.records.get(slot as usize) {
            if record.is_watched && record.deadline.is_none() {
                self.check_client(StreamId { slot, serial: record.serial }, None, now);
                self.arm_timer(slot, now);
            }
        }
    }

    /// Looks at a client: that ends if it has taken everything, and the stream ends if it has taken nothing for too long.
    fn check_client(&mut self, id: StreamId, watchdog: Option<StallWatchdog>, now: Instant) {
        let (record, io) = some_or!(self.record_and_io(id), return);
        let untaken = record.socket.as_ref().map_or(0, |socket| io.untaken_bytes(socket));
        if untaken == 0 && record.stream.stalled_since().is_none() {
            record.is_watched = false;
            record.deadline = None;
            return;
        }
        let timeout = record.stream.settings().timeout;
        let window = record.socket.as_ref().and_then(|socket| io.window(socket));
        let mut watchdog = watchdog.unwrap_or_else(|| StallWatchdog::new(untaken, window, now));
        watchdog.look(untaken, window, now);
        if watchdog.is_over(timeout, now) {
            return self.end_at_once(id, Reason::Timeout);
        }
        record.deadline = Some(Box::new((watchdog.next_look(timeout, now), Deadline::Look(watchdog))));
    }

    /// Continues the watch of a client by another program.
    pub(super) fn continue_watch(&mut self, id: StreamId, watchdog: StallWatchdog, now: Instant) {
        if let Some(record) = self.record(id) {
            let due = watchdog.next_look(record.stream.settings().timeout, now);
            record.is_watched = true;
            record.deadline = Some(Box::new((due, Deadline::Look(watchdog))));
            self.arm_timer(id.slot, now);
        }
    }

    /// Calls a function with each stream that has a socket, and with how long it was silent and its client has taken nothing. A
    /// client that was not looked at yet is looked at now: otherwise upgrades could put the first look off for ever.
    pub fn hand_over_liveness(&mut self, now: Instant, mut each: impl FnMut(StreamId, Liveness)) {
        let Self { records, io, .. } = self;
        for (slot, record) in (0..).zip(records) {
            let record = some_or!(record.as_ref().filter(|record| !record.has_ended), continue);
            let socket = some_or!(&record.socket, continue);
            let untaken = match record.deadline.as_deref() {
                Some((_, Deadline::Look(watchdog))) => Some(watchdog.untaken(now)),
                _ if record.is_watched => {
                    let bytes = io.untaken_bytes(socket);
                    let is_all = bytes == 0 && record.stream.stalled_since().is_none();
                    (!is_all).then(|| StallWatchdog::new(bytes, io.window(socket), now).untaken(now))
                }
                _ => None,
            };
            each(StreamId { slot, serial: record.serial }, Liveness { untaken, ..record.stream.liveness(now) });
        }
    }

    /// Lets the kernel drop, within another timeout, what it has for a client that is dead.
    pub(super) fn give_up_in_kernel(&mut self, id: StreamId) {
        if let Some((record, io)) = self.record_and_io(id) {
            if let Some(socket) = &record.socket {
                io.set_tcp_user_timeout(socket, record.stream.settings().timeout);
            }
        }
    }

    fn send_keepalive_if_due(&mut self, id: StreamId, now: Instant) {
        let settings = match self.record(id) {
            Some(record) if record.socket.is_some() && !record.has_ended && record.stream.is_keepalive_due(now) => {
                record.stream.is_early = false;
                *record.stream.settings()
            }
            _ => return,
        };
        let position = self.quiet_block(id).map(|position| settings.frame(&position));
        self.buffer_non_event(id, position.unwrap_or_else(|| settings.framing.keepalive(settings.line_end)));
    }

    /// Sets the stream's timer to what is due next, unless an earlier timer is set.
    pub(super) fn arm_timer(&mut self, slot: u32, now: Instant) {
        if let Some(Some(record)) = self.records.get_mut(slot as usize) {
            if let Some(due) = record.next_due() {
                if record.timer.map_or(false, |timer| timer <= due) {
                    return; // that timer sets the next one
                }
                let at = self.timers.tick(now, due);
                if record.timer.map_or(true, |timer| at < timer) {
                    record.timer = Some(at);
                    self.timers.insert(at, slot);
                }
            }
        }
    }
}

/// The slots of streams by the times of their timers.
#[derive(Debug)]
pub(super) struct Timers {
    start: Instant,
    by_time: BTreeMap<Instant, Vec<u32>>,
}

impl Timers {
    /// A tick is this fraction of the time until a timer is due. The timer may be late by one tick.
    const TICKS: u32 = 16;

    pub(super) fn new(start: Instant) -> Self {
        Self { start, by_time: BTreeMap::new() }
    }

    /// Returns the first tick after `due`. The longer the time until then, the longer the ticks. The result is never `now`:
    /// what was due and could not be done is not tried again at once.
    pub(super) fn tick(&self, now: Instant, due: Instant) -> Instant {
        let due = due.max(now);
        let tick = (due.saturating_duration_since(now) / Self::TICKS).max(Duration::from_millis(1));
        // With a power of two the ticks of streams that were opened at different times coincide.
        let tick = (tick.as_micros() as u64 + 1).next_power_of_two() / 2;
        let since = due.saturating_duration_since(self.start).as_micros() as u64;
        self.start + Duration::from_micros((since / tick + 1) * tick)
    }

    pub(super) fn insert(&mut self, at: Instant, slot: u32) {
        self.by_time.entry(at).or_default().push(slot);
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.by_time.keys().next().copied()
    }

    /// Returns the number of timers, including those that were replaced by earlier ones.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_time.values().map(Vec::len).sum()
    }

    /// Takes the slots of the first tick that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Instant, Vec<u32>)> {
        let at = self.first().filter(|at| *at <= now)?;
        Some((at, self.by_time.remove(&at)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_never_early_and_at_most_a_sixteenth_late() {
        let start = Instant::now();
        let timers = Timers::new(start);
        for (now, due) in [(0, 15_000), (7, 15_007), (100, 101), (5, 5), (3_600_000, 3_615_000), (0, 10)] {
            let (now, due) = (start + Duration::from_millis(now), start + Duration::from_millis(due));
            let tick = timers.tick(now, due);
            assert!(tick > due, "{:?}", tick - start);
            assert!(
                tick - due <= (due - now) / 16 + Duration::from_millis(1),
                "{:?} after {:?}",
                tick - due,
                due - now
            );
        }
    }

    #[test]
    fn streams_opened_within_a_half_second_share_a_tick() {
        let start = Instant::now();
        let timers = Timers::new(start);
        let tick = |opened| {
            let opened = start + Duration::from_millis(opened);
            timers.tick(opened, opened + Duration::from_secs(15))
        };
        let ticks: std::collections::BTreeSet<_> = (0..5_000).map(tick).collect();
        assert!(ticks.len() <= 11, "{} wake-ups for 5 seconds of streams", ticks.len());
    }
}
