//! Reading what clients send, to see that they leave.
//!
//! Bytes that a client sends after its request have no meaning and are discarded.

use super::io::{is_memory, reason_of};
use super::{Io, Reactor, Ready, StreamId};
use crate::stream::Reason;
use std::io::ErrorKind;
use std::time::Instant;

impl<I: Io> Reactor<I> {
    /// The most reads in a row for one stream.
    const READS: usize = 4;
    /// A client that sends more than this after its request is not an event source, and is disconnected.
    const INPUT_BYTES: u32 = 1 << 20;

    /// Reads from a socket or continues to send to it, as its readiness says.
    pub fn handle_readiness(&mut self, id: StreamId, ready: Ready, now: Instant) {
        if ready.readable || ready.hung_up {
            self.read(id, ready.hung_up);
        }
        if ready.writable {
            self.unblock(id);
        }
        self.arm_timer(id.slot, now);
    }

    /// Discards what the client has sent, and ends the stream if the client has left.
    fn read(&mut self, id: StreamId, has_left: bool) {
        for _ in 0..Self::READS {
            let (record, io) = some_or!(self.record_and_io(id), return);
            match record.socket.as_ref().map_or(Ok(0), |socket| io.discard_input(socket)) {
                Ok(0) => return self.end_at_once(id, Reason::Client),
                Ok(bytes) => record.input_bytes += bytes as u32,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_memory(&error) => break,
                Err(error) => return self.end_at_once(id, reason_of(&error)),
            }
            if record.input_bytes > Self::INPUT_BYTES {
                return self.end_at_once(id, Reason::Error);
            }
        }
        if has_left {
            self.end_at_once(id, Reason::Client);
        }
    }

    /// Discards everything the client has sent, up to a limit for a client that keeps sending.
    pub(super) fn discard_input(io: &mut I, socket: &I::Socket) {
        let mut input_bytes = 0;
        while let Ok(bytes @ 1..) = io.discard_input(socket) {
            input_bytes += bytes as u32;
            if input_bytes > Self::INPUT_BYTES {
                break;
            }
        }
    }
}
