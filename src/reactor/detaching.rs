//! Giving a stream to another process: what that process needs to continue it.

use super::handing_over::Handed;
use super::stream_record::StreamRecord;
use super::{Io, Reactor, StreamId};

/// A stream that the reactor holds no longer.
#[derive(Debug)]
pub struct Detached<S> {
    /// How it continues. Its socket is perhaps still to come.
    pub handed: Handed<Option<S>>,
    /// How many bytes were in its buffer before they were encoded: as many as were counted.
    pub buffered_bytes: usize,
    /// How many events end in `unsent`.
    pub buffered_events: usize,
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
        let handed = Handed { socket, settings: *stream.settings(), unsent: stream.unsent(), body: *stream.body() };
        self.note_unstalled(&stream);
        Some(Detached { handed, buffered_bytes, buffered_events: stream.discard().events })
    }
}
