//! Ending a stream: after everything is sent, or at once.
//!
//! - [`end`](Reactor::end) ends a stream in the way that a command asks for.
//! - [`give_up`](Reactor::give_up) ends the stream of a slow client after a last attempt to send.
//! - [`end_with_retry`](Reactor::end_with_retry) sends the client a reconnection time before it ends the stream.
//! - [`complete`](Reactor::complete) follows when everything is sent.
//!   [`end_at_once`](Reactor::end_at_once) does not wait for that.
//! - [`close`](Reactor::close) closes the socket and frees the slot.

use super::stream_record::{Deadline, StreamQueue, StreamRecord};
use super::{Answer, Ending, Io, Reactor, StreamId};
use crate::stream::{Discarded, Reason, Stream};
use std::time::{Duration, Instant};

impl<I: Io> Reactor<I> {
    /// How often a slow client's socket is tried at most before the stream ends.
    const LAST_TRIES: usize = 64;
    /// How long a client has to close its side after the end of its response.
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
        if let Some(record) = self.record(id).filter(|record| record.stream.ending().is_none()) {
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
        if self.record(id).map_or(false, |record| record.is_transferred) {
            return self.end(id, reason, Ending::Transfer);
        }
        self.send_retry(id);
        self.end_as(id, reason, Ending::Flush, true);
    }

    /// Ends a stream whose buffer is empty. The socket lingers until the client closes its side, or for a time: if it were
    /// closed with unread input, the kernel would reset the connection and discard unacknowledged bytes. If few descriptors
    /// are free, the input that has arrived is read, and the socket is closed at once.
    pub(super) fn complete(&mut self, id: StreamId, now: Instant) {
        if let Some((record, io)) = self.record_and_io(id) {
            let reason = record.stream.ending().unwrap_or(Reason::Application);
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
            let ending = record.stream.ending();
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
            self.held.remove(id);
            self.ahead.remove(id);
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
