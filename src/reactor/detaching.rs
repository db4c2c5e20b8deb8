//! Giving a stream to another process: what that process needs to continue it.

use super::stream_record::StreamRecord;
use super::{Io, Reactor, StreamId};
use crate::compression::Body;
use crate::stream::Settings;

/// A stream that the reactor holds no longer.
#[derive(Debug)]
pub struct Detached<S> {
    /// The client's connection, unless it is still to come.
    pub socket: Option<S>,
    /// The settings.
    pub settings: Settings,
    /// The bytes that the client receives before anything else, framed and encoded: perhaps the rest of a block first.
    pub unsent: Vec<u8>,
    /// How many bytes were in its buffer before they were encoded: as many as were counted.
    pub buffered_bytes: usize,
    /// How many events end in `unsent`.
    pub buffered_events: usize,
    /// The content so far, `unsent` included.
    pub body: Body,
}

impl<I: Io> Reactor<I> {
    /// Gives a stream up that has no subscription. Returns nothing, and does nothing, if it has ended or is ending. No answer
    /// follows: the caller reports the end. A socket that comes later is the caller's, too.
    pub fn detach(&mut self, id: StreamId) -> Option<Detached<I::Socket>> {
        let record = self.record(id)?;
        let is_ending = record.has_ended || record.stream.ending().is_some();
        if is_ending || record.subscription.is_some() {
            return None;
        }
        let mut record = self.records.get_mut(id.slot as usize)?.take()?;
        let buffered_bytes = record.stream.buffered_bytes();
        record.stream.encode_buffered(&mut self.alone);
        self.open_streams -= 1;
        self.hubs.unmark(id);
        if let Some(socket) = &record.socket {
            self.io.unregister(socket);
        }
        let StreamRecord { socket, mut stream, .. } = record;
        let (settings, unsent, body) = (*stream.settings(), stream.unsent(), *stream.body());
        self.note_unstalled(&stream);
        let buffered_events = stream.discard().events;
        Some(Detached { socket, settings, unsent, buffered_bytes, buffered_events, body })
    }
}
