//! The reactor's record of one stream: its buffer and its subscription; and how the reactor finds it.

use super::stall_watchdog::StallWatchdog;
use super::stream_members::EndReport;
use super::{Answer, Ending, HubId, Hubs, Io, Reactor, StreamId};
use crate::compression::Alone;
use crate::hub::{is_finish, Cursor, OwnBlock};
use crate::stream::{Discarded, Framing, LineEnd, Reason, Stream, StreamEnd};
use bytes::Bytes;
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
    /// True if the socket took nothing, so that sending waits until it is writable.
    pub(super) is_blocked: bool,
    pub(super) has_ended: bool,
    /// True if another process may continue to use the connection, so that this process must not shut it down.
    pub(super) is_transferred: bool,
    /// True if the end of a response is still to be sent, a trailer or a last chunk, after everything that was published
    /// before.
    pub(super) owes_end: bool,
    /// The members of a hub to which the stream's end is reported, if any.
    pub(super) end_report: EndReport,
    pub(super) presence_hub: HubId,
    /// The bytes that the client has sent after its request.
    pub(super) input_bytes: u32,
    /// True if the client may have something still to take, so that a look is to come: the first one, or a deadline.
    pub(super) is_watched: bool,
    /// In a box, because few streams have one.
    pub(super) deadline: Option<Box<(Instant, Deadline)>>,
    /// The time for which the stream is registered in [`Timers`](super::run_due::Timers).
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

    /// Notes that the stream ends, but not because the application has decided it.
    pub(super) fn note_age(&mut self) {
        if self.end_report == EndReport::Due {
            self.end_report = EndReport::DueOfAge;
        }
    }

    /// Returns how the stream ends if it is ending.
    pub(super) fn end(&self) -> Option<StreamEnd> {
        let reason = self.stream.ending?;
        Some(StreamEnd { reason, is_by_application: self.end_report.is_by_application(reason) })
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

/// A stream's topics and cursor, in one hub.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) hub: HubId,
    pub(super) cursor: Cursor,
}

impl Subscription {
    /// Returns true if the stream was sent everything, and has no topic any more.
    pub(super) fn is_finished(&self) -> bool {
        self.cursor.is_idle()
    }

    /// Unregisters a stream that is closed.
    pub(super) fn remove(self, hubs: &mut Hubs) {
        if let Some(hub) = hubs.get_mut(self.hub) {
            hub.remove_stream(self.cursor);
        }
    }
}

impl<I: Io> Reactor<I> {
    /// Buffers an event for one stream. The event is lost if the stream is ending. The finish ends the stream, as the command
    /// does that follows it: the client may leave before that comes.
    pub(super) fn push(&mut self, id: StreamId, event: Bytes, has_id: bool, now: Instant) {
        if has_id {
            if let Some((_, cursor)) = self.hub_and_cursor(id) {
                cursor.record_pushed_id();
            }
        }
        // An event that the socket takes now need not be dropped.
        if self.record(id).map_or(false, |record| record.stream.would_drop(event.len())) {
            self.flush_stream(id.slot, now);
        }
        let finishes = has_id && is_finish(&event);
        let mut lost = Discarded { events: 1, bytes: event.len() };
        // A stream that has ended at once was mostly left by its client.
        let mut reason = Some(self.record(id).and_then(|record| record.stream.ending).unwrap_or(Reason::Client));
        if let Some(record) = self.record(id).filter(|record| record.stream.ending.is_none()) {
            reason = None;
            lost = match &record.socket {
                Some(_) => record.stream.push(event),
                // Without a socket the client cannot read yet, so the size of the buffer says nothing about the client.
                None => {
                    record.stream.push_unlimited(event);
                    Discarded::default()
                }
            };
            self.queue(id.slot);
        }
        if lost.events > 0 {
            self.answers.push(Answer::Lost { stream: id, lost, reason });
        } else if finishes {
            self.end(id, Reason::Application, Ending::Flush);
        }
    }

    /// Buffers bytes that are not an event, unless the stream is ending.
    pub(super) fn buffer_non_event(&mut self, id: StreamId, bytes: Bytes) {
        let count = bytes.len();
        if let Some(record) = self.record(id).filter(|record| record.stream.ending.is_none()) {
            record.stream.push_non_event(bytes);
            self.answers.push(Answer::Buffered { stream: id, bytes: count });
            self.queue(id.slot);
        }
    }
}

/// A stream whose buffer the reactor itself changes, and where it reports by how much.
#[derive(Debug)]
pub(super) struct Buffering<'a> {
    pub(super) stream: &'a mut Stream,
    pub(super) id: StreamId,
    pub(super) answers: &'a mut Vec<Answer>,
}

impl Buffering<'_> {
    /// Changes the stream, and reports whether its buffer is larger or smaller then.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Stream) -> T) -> T {
        let before = self.stream.buffered_bytes();
        let changed = change(self.stream);
        let after = self.stream.buffered_bytes();
        if after > before {
            self.answers.push(Answer::Buffered { stream: self.id, bytes: after - before });
        }
        if after < before {
            self.answers.push(Answer::Shrunk { stream: self.id, bytes: before - after });
        }
        changed
    }

    /// Encodes what is buffered.
    pub(super) fn encode_buffered(&mut self, alone: &mut Alone) {
        self.change(|stream| stream.encode_buffered(alone));
    }

    /// Buffers the blocks of a hub.
    pub(super) fn buffer_own_blocks(&mut self, own_blocks: impl IntoIterator<Item = OwnBlock>) {
        self.change(|stream| own_blocks.into_iter().for_each(|own_block| buffer_own_block(stream, own_block)));
    }
}

fn buffer_own_block(stream: &mut Stream, own_block: OwnBlock) {
    let settings = *stream.settings();
    match own_block {
        OwnBlock::Position(block) | OwnBlock::Channel(block) => stream.push_non_event(settings.frame(&block)),
        OwnBlock::Gap(block) => stream.push_undroppable(settings.frame(&block)),
        OwnBlock::Event(event) => stream.push_undroppable(match settings.line_end {
            LineEnd::Lf => event.from(settings.framing, 0),
            LineEnd::CrLf => settings.frame(event.bytes(Framing::Plain)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// glibc adds a word to a block and rounds to 16 bytes: one byte more would cost each subscribed stream 16.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_subscription_fits_into_a_block_of_64_bytes() {
        assert!(std::mem::size_of::<Subscription>() <= 56);
    }
}
