//! Filling one stream's own buffer: with pushed events, comments and the blocks of its hub.

use super::{Answer, Io, Reactor, StreamId};
use crate::compression::Alone;
use crate::hub::OwnBlock;
use crate::stream::{Discarded, Framing, LineEnd, Reason, Stream};
use bytes::Bytes;
use std::time::Instant;

impl<I: Io> Reactor<I> {
    /// Buffers an event for one stream. The event is lost if the stream is ending.
    pub(super) fn push(&mut self, id: StreamId, event: Bytes, has_id: bool, now: Instant) {
        if has_id {
            self.record_custom_id(id);
        }
        // An event that the socket takes now need not be dropped.
        if self.record(id).map_or(false, |record| record.stream.would_drop(event.len())) {
            self.flush_stream(id.slot, now);
        }
        let mut lost = Discarded { events: 1, bytes: event.len() };
        // A stream that has ended at once was mostly left by its client.
        let mut reason = Some(self.record(id).and_then(|record| record.stream.ending()).unwrap_or(Reason::Client));
        if let Some(record) = self.record(id).filter(|record| record.stream.ending().is_none()) {
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
        }
    }

    /// Buffers bytes that are not an event, unless the stream is ending.
    pub(super) fn buffer_non_event(&mut self, id: StreamId, bytes: Bytes) {
        let count = bytes.len();
        if let Some(record) = self.record(id).filter(|record| record.stream.ending().is_none()) {
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
    pub(super) fn buffer_own_blocks(&mut self, own_blocks: Vec<OwnBlock>) {
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
