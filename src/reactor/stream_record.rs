//! The reactor's record of one stream, and how the reactor finds it.

use super::hubs::Hubs;
use super::stall_watchdog::StallWatchdog;
use super::stream_members::EndReport;
use super::subscriptions::Subscription;
use super::{Answer, HubId, Io, Reactor, StreamId};
use crate::stream::Stream;
use std::time::Instant;

/// The purpose of [`StreamRecord::deadline`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Deadline {
    /// The stream ends unless its socket has come.
    Attach,
    /// Sending is tried again: the system had no memory.
    Retry,
    /// The socket is closed: the stream has ended, and its client had time to read the rest.
    Linger,
    /// It is looked at what a client has taken that had not taken everything at the last look.
    Look(StallWatchdog),
}

/// The queue that a stream is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamQueue {
    None,
    /// The send queue.
    Send,
    /// The queue of lagging streams. A stream that was in the send queue before has left that.
    Behind,
}

/// One stream with its socket and its subscription.
#[derive(Debug)]
pub(super) struct StreamRecord<S> {
    pub(super) stream: Stream,
    /// The subscription, if the stream has one. In a box, because most streams of some applications have none.
    pub(super) subscription: Option<Box<Subscription>>,
    pub(super) socket: Option<S>,
    pub(super) serial: u32,
    /// The queue that the stream is in.
    pub(super) queue: StreamQueue,
    /// Whether the socket took nothing, so that sending waits until it is writable.
    pub(super) is_blocked: bool,
    pub(super) has_ended: bool,
    /// True if another process may continue to use the connection, so that this process must not shut it down.
    pub(super) is_transferred: bool,
    /// Whether the end of a response is still to be sent, a trailer or a last chunk, after everything that was published
    /// before.
    pub(super) owes_end: bool,
    /// Whether the stream's end is reported to the members of a hub, and which hub that is.
    pub(super) end_report: EndReport,
    pub(super) presence_hub: HubId,
    /// How much the client has sent after its request.
    pub(super) input_bytes: u32,
    /// Whether the client may have something still to take, so that a look is to come: the first one, or a deadline.
    pub(super) is_watched: bool,
    /// In a box, because few streams have one.
    pub(super) deadline: Option<Box<(Instant, Deadline)>>,
    /// The time for which the stream is registered in [`Timers`](super::timers::Timers).
    pub(super) timer: Option<Instant>,
}

impl<S> StreamRecord<S> {
    /// When the stream or its deadline is due next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let stream = if self.socket.is_some() && !self.has_ended { self.stream.next_due() } else { None };
        [stream, self.deadline.as_deref().map(|(at, _)| *at)].iter().copied().flatten().min()
    }

    /// Counts what the socket has taken, for the next look at the client.
    pub(super) fn count_taken(&mut self, bytes: usize) {
        if let Some((_, Deadline::Look(watchdog))) = self.deadline.as_deref_mut() {
            watchdog.count_taken(bytes);
        }
    }
}

/// The record of a stream with what its subscription needs.
pub(super) type RecordAndHubs<'a, S> = (&'a mut StreamRecord<S>, &'a mut Hubs, &'a mut Vec<Answer>);

impl<I: Io> Reactor<I> {
    /// Returns the record of a stream. None if the stream is closed, whether or not its slot was reused.
    pub(super) fn record(&mut self, id: StreamId) -> Option<&mut StreamRecord<I::Socket>> {
        self.record_and_io(id).map(|(record, _)| record)
    }

    /// Returns the record of a stream together with what makes the system calls.
    pub(super) fn record_and_io(&mut self, id: StreamId) -> Option<(&mut StreamRecord<I::Socket>, &mut I)> {
        let record = self.records.get_mut(id.slot as usize)?.as_mut().filter(|record| record.serial == id.serial)?;
        Some((record, &mut self.io))
    }

    /// Returns the record of a stream together with the hubs.
    pub(super) fn record_and_hubs(&mut self, id: StreamId) -> Option<RecordAndHubs<'_, I::Socket>> {
        let record = self.records.get_mut(id.slot as usize)?.as_mut().filter(|record| record.serial == id.serial)?;
        Some((record, &mut self.hubs, &mut self.answers))
    }
}
