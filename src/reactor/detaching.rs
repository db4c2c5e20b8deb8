//! Giving a stream to another process: what that process needs to continue it.

use super::{Io, Reactor, StreamId};
use crate::stream::Settings;

/// A stream that the reactor holds no longer.
#[derive(Debug)]
pub struct Detached<S> {
    /// The client's connection, unless it is still to come.
    pub socket: Option<S>,
    /// The settings.
    pub settings: Settings,
    /// The bytes that the client receives before anything else, framed: perhaps the rest of a block first.
    pub unsent: Vec<u8>,
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
        let record = self.records.get_mut(id.slot as usize)?.take()?;
        self.open_streams -= 1;
        self.hubs.unmark(id);
        if let Some(socket) = &record.socket {
            self.io.unregister(socket);
        }
        Some(Detached { socket: record.socket, settings: *record.stream.settings(), unsent: record.stream.unsent() })
    }
}
