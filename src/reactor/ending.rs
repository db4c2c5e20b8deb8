//! Ending streams: one, after everything is sent or at once; those whose readers may not read on; or many.
//!
//! # One stream
//!
//! - [`end`](Reactor::end) ends a stream in the way that a command asks for.
//! - [`give_up`](Reactor::give_up) ends the stream of a slow client after a last attempt to send.
//! - [`end_with_retry`](Reactor::end_with_retry) sends the client a reconnection time before it ends the stream.
//! - [`complete`](Reactor::complete) follows when everything is sent.
//!   [`end_at_once`](Reactor::end_at_once) does not wait for that.
//! - [`close`](Reactor::close) closes the socket and frees the slot.
//!
//! # Readers
//!
//! A withdrawn stream is sent what was sent to its own buffer, but nothing more of the logs, whatever was published before: its
//! client may have lost the right to read it. Before that each stream has a turn, so that a client that reads quickly has what
//! was published before, also if its stream has just resumed. A client that reconnects resumes where it was, if the
//! application still lets it. A poll ends in the same way as soon as it is answered, which `hub::readers::polls` decides.
//!
//! # Many streams
//!
//! A hub is drained, or the process shuts down. Each client is sent a random reconnection time (`retry`), and the ends
//! are spread over time, so that the clients do not all reconnect at once.

use super::stream_record::{Deadline, StreamQueue, StreamRecord};
use super::{Answer, Ending, HubId, Io, Reactor, StreamId};
use crate::event::retry_line;
use crate::hub::{FINISH_BLOCK, LIMITED_RETRY};
use crate::stream::{after, Discarded, Reason, Settings, Stream};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

impl<I: Io> Reactor<I> {
    /// The number of times that a slow client's socket is tried at most before the stream ends.
    const LAST_TRIES: usize = 64;
    /// The time that a client has to close its side after the end of its response.
    const LINGER: Duration = Duration::from_secs(2);

    /// Ends a stream. The first call decides. Without its last chunk a response was cut (RFC 9112, section 8), which the
    /// client of a failed stream is to see.
    pub(super) fn end(&mut self, id: StreamId, reason: Reason, ending: Ending) {
        let is_whole = ending == Ending::Flush && matches!(reason, Reason::Application | Reason::Server);
        self.end_as(id, reason, ending, is_whole);
    }

    fn end_as(&mut self, id: StreamId, reason: Reason, ending: Ending, is_whole: bool) {
        if self.record(id).map_or(true, |record| record.has_ended) {
            return;
        }
        if ending == Ending::Discard {
            return self.end_at_once(id, reason);
        }
        if let Some(record) = self.record(id).filter(|record| record.stream.ending.is_none()) {
            if ending == (Ending::HandedOver { is_by_application: false }) {
                record.note_age();
            }
            record.is_transferred = ending == Ending::Transfer;
            record.owes_end = is_whole;
            record.stream.end(reason);
            self.end_subscription(id);
        }
        self.queue(id.slot);
    }

    /// Ends the stream of a slow client. The client is sent those accepted events that its socket still takes.
    pub(super) fn give_up(&mut self, id: StreamId, now: Instant) {
        for _ in 0..Self::LAST_TRIES {
            match self.record(id).filter(|record| !record.has_ended) {
                Some(record) => record.is_blocked = false, // the socket may have room that is not reported yet
                None => break,
            }
            self.flush_stream(id.slot, now);
            if !self.record(id).map_or(false, |record| record.queue != StreamQueue::None) {
                break;
            }
        }
        // If the socket were closed with unread input, the kernel would discard what it has taken but not sent.
        if let Some((StreamRecord { socket: Some(socket), has_ended: false, .. }, io)) = self.record_and_io(id) {
            Self::discard_input(io, socket);
        }
        self.end(id, Reason::Slow, Ending::Discard);
    }

    /// Ends a stream that the process no longer serves, and sends its client a reconnection time.
    pub(super) fn end_with_retry(&mut self, id: StreamId, reason: Reason) {
        self.end_with_retry_of(id, reason, random_retry);
    }

    /// Ends a stream for which a limit has no place.
    pub(super) fn end_limited(&mut self, id: StreamId) {
        let [least, most] = LIMITED_RETRY;
        self.end_with_retry_of(id, Reason::Server, |_| fastrand::u64(least..=most));
    }

    fn end_with_retry_of(&mut self, id: StreamId, reason: Reason, retry: impl FnOnce(&Settings) -> u64) {
        if self.record(id).map_or(false, |record| record.is_transferred) {
            return self.end(id, reason, Ending::Transfer);
        }
        self.send_retry_of(id, retry);
        self.end_as(id, reason, Ending::Flush, true);
    }

    /// Ends a stream whose buffer is empty. The socket lingers until the client closes its side, or for a time: if it were
    /// closed with unread input, the kernel would reset the connection and discard unacknowledged bytes. If few descriptors
    /// are free, the input that has arrived is read, and the socket is closed at once.
    pub(super) fn complete(&mut self, id: StreamId, now: Instant) {
        if let Some((record, io)) = self.record_and_io(id) {
            let reason = record.stream.ending.unwrap_or(Reason::Application);
            record.has_ended = true;
            record.deadline = Some(Box::new((now + Self::LINGER, Deadline::Linger)));
            let closes_at_once = record.is_transferred || !io.may_linger();
            if let (Some(socket), true) = (&record.socket, closes_at_once) {
                Self::discard_input(io, socket);
            }
            self.shut_socket_down(id);
            self.report_end(id, reason);
            self.hubs.unmark(id); // a client that comes back is not counted twice
            if closes_at_once {
                self.close(id);
            } else {
                self.arm_timer(id.slot, now);
            }
        }
    }

    /// Ends a stream at once. What is buffered is lost.
    pub(super) fn end_at_once(&mut self, id: StreamId, reason: Reason) {
        if let Some(record) = self.record(id) {
            let has_ended = record.has_ended;
            let ending = record.stream.ending;
            let has_subscription = record.subscription.is_some();
            let lost = record.stream.discard();
            if lost != Discarded::default() {
                self.answers.push(Answer::Lost { stream: id, lost, reason: Some(reason) });
            }
            if !has_ended {
                // A stream that was ending keeps its reason unless an event is lost.
                let reason = ending.filter(|_| lost.events == 0 && !has_subscription).unwrap_or(reason);
                self.report_end(id, reason);
            }
            if reason == Reason::Timeout {
                self.give_up_in_kernel(id);
            }
            self.shut_socket_down(id);
            self.close(id);
        }
    }

    /// Shuts the connection down for every process that holds it, unless one of them continues to use it.
    fn shut_socket_down(&mut self, id: StreamId) {
        if let Some((StreamRecord { socket: Some(socket), is_transferred: false, .. }, io)) = self.record_and_io(id) {
            io.shutdown(socket);
        }
    }

    /// Closes the socket and frees the slot.
    pub(super) fn close(&mut self, id: StreamId) {
        if let Some(record) = self.records[id.slot as usize].take() {
            self.held.remove(&id);
            self.ahead.remove(&id);
            self.drained.remove(&id);
            if let Some(subscription) = record.subscription {
                subscription.remove(&mut self.hubs);
            }
            self.hubs.unmark(id);
            self.note_unstalled(&record.stream);
            if let Some(socket) = record.socket {
                self.io.close(socket);
            }
            self.answers.push(Answer::Closed { stream: id });
        }
    }

    /// Takes note that a stream which is given up waits no longer until its client takes more.
    pub(super) fn note_unstalled(&mut self, stream: &Stream) {
        if stream.stalled_since().is_some() {
            self.answers.push(Answer::Unstalled { stalled_for: Duration::ZERO });
        }
    }

    /// Discards all buffers and shuts all connections down, including those that a forked child shares. Returns what is
    /// lost. The reactor cannot be used afterwards.
    pub fn discard(&mut self) -> Discarded {
        let mut all = Discarded::default();
        for record in self.records.iter_mut().flatten() {
            if let (Some(socket), false) = (&record.socket, record.is_transferred) {
                self.io.shutdown(socket);
            }
            let lost = record.stream.discard();
            all.events += lost.events;
            all.bytes += lost.bytes;
        }
        all
    }
}

impl<I: Io> Reactor<I> {
    /// The most streams that one turn ends because of their ages.
    pub(super) const AGED_PER_TURN: usize = 64;

    /// Ends the streams that are old enough.
    pub(super) fn end_aged(&mut self, now: Instant) {
        for id in self.hubs.take_aged(now, Self::AGED_PER_TURN) {
            self.note_age(id);
            self.withdraw(id, false);
        }
        self.end_waits(now);
    }

    /// Ends the polls that have waited for long enough, each as soon as it was sent everything. One that has not begun, because
    /// its hub is behind its client, ends at once.
    pub(super) fn end_waits(&mut self, now: Instant) {
        for id in self.hubs.take_waited(now, Self::AGED_PER_TURN) {
            match self.hub_and_cursor(id) {
                Some((_, cursor)) if !cursor.is_held() => {
                    cursor.end_wait();
                    self.queue(id.slot);
                }
                _ => self.end_poll(id, now),
            }
        }
    }

    /// Ends a poll in order. It is sent nothing more of the logs. A client that has waited in vain is sent its position, if
    /// that has advanced: so a client of a quiet channel does not fall behind. The end is no decision of the application about
    /// its member.
    pub(super) fn end_poll(&mut self, id: StreamId, now: Instant) {
        self.note_age(id);
        let is_in_vain = self.hub_and_cursor(id).map_or(false, |(_, cursor)| !cursor.has_news());
        let position = if is_in_vain { self.quiet_block(id) } else { None };
        if let (Some(position), Some(record)) = (position, self.record(id)) {
            let position = record.stream.settings().frame(&position);
            self.buffer_non_event(id, position);
        }
        if let Some((hub, cursor)) = self.hub_and_cursor(id) {
            hub.record_poll_end(id, cursor, now);
        }
        self.end_without_logs(id);
    }

    /// Ends a stream, and sends its client a reconnection time, or an event after which it does not reconnect. Returns false if
    /// the stream is ending already: then it is sent nothing more of the logs.
    pub(super) fn withdraw(&mut self, id: StreamId, finishes: bool) -> bool {
        let record = some_or!(self.record(id).filter(|record| !record.has_ended), return false);
        let (is_ending, is_transferred) = (record.stream.ending.is_some(), record.is_transferred);
        if !is_ending && !is_transferred {
            if finishes {
                self.begin(id); // the first block of a stream comes first
                if let Some(settings) = self.record(id).map(|record| *record.stream.settings()) {
                    self.buffer_non_event(id, settings.frame(FINISH_BLOCK));
                }
            } else {
                self.send_retry(id);
            }
        }
        self.end_without_logs(id);
        !is_ending
    }

    /// Ends a stream, unless it is ending already. It is sent nothing more of the logs.
    pub(super) fn end_without_logs(&mut self, id: StreamId) {
        self.drop_subscription(id);
        let record = some_or!(self.record(id), return);
        let (is_ending, is_transferred) = (record.stream.ending.is_some(), record.is_transferred);
        match (is_ending, is_transferred) {
            (true, _) => self.queue(id.slot),
            (false, true) => self.end(id, Reason::Application, Ending::Transfer),
            (false, false) => self.end(id, Reason::Application, Ending::Flush),
        }
    }
}

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
        self.send_retry_of(id, random_retry);
    }

    fn send_retry_of(&mut self, id: StreamId, retry: impl FnOnce(&Settings) -> u64) {
        self.begin(id); // the first block of a stream comes first
        if let Some(settings) = self.record(id).map(|record| *record.stream.settings()) {
            let retry = retry(&settings);
            let block = self.hub_and_cursor(id).and_then(|(hub, cursor)| hub.last_block(cursor, retry));
            let block = block.unwrap_or_else(|| retry_line(retry));
            self.buffer_non_event(id, settings.frame(&block));
        }
    }

    /// Drains a hub: refuses new subscribers, and ends the streams one by one.
    pub(super) fn drain(&mut self, hub: HubId, within: Duration, now: Instant) {
        if self.hubs.set_draining(hub, true) {
            let spread = Spread::new(self.streams_of(hub), within, now);
            spread.queue.into_iter().for_each(|(at, id)| self.drain_stream(id, at));
        }
    }

    /// Lets a drain end a stream at a time, unless one ends it before.
    pub(super) fn drain_stream(&mut self, id: StreamId, at: Instant) {
        let is_first = self.drained.get(&id).map_or(true, |before| at < before);
        if is_first && self.record(id).is_some() {
            self.drained.set(id, at);
        }
    }

    /// Ends the streams of drained hubs that are due.
    pub(super) fn continue_draining(&mut self, now: Instant) {
        for _ in 0..Self::ENDS_PER_TURN {
            let id = some_or!(self.drained.take_due(now), break);
            self.end_with_retry(id, Reason::Server);
        }
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
            let record = record.as_ref().filter(|record| !record.has_ended && record.stream.ending.is_none())?;
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
