//! A reactor's sockets without system calls.

use eventsource_xs::reactor::Io;
use eventsource_xs::stream::StreamId;
use std::io::{self, ErrorKind, IoSlice};
use std::time::Duration;

/// An [`Io`] whose sockets take everything at once, or nothing, all alike.
#[derive(Default)]
pub struct Sink {
    /// Whether the sockets are full.
    #[allow(dead_code)] // each benchmark is a program of its own
    pub is_full: bool,
    /// How many blocks the sockets have taken, and how many bytes.
    #[allow(dead_code)]
    pub sent: (usize, usize),
}

impl Io for Sink {
    type Socket = ();

    fn register(&mut self, _: &(), _: StreamId) -> io::Result<()> {
        Ok(())
    }

    fn watch_writable(&mut self, _: &(), _: StreamId, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, _: &(), blocks: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_full {
            return Err(ErrorKind::WouldBlock.into());
        }
        let bytes = blocks.iter().map(|block| block.len()).sum();
        self.sent = (self.sent.0 + blocks.len(), self.sent.1 + bytes);
        Ok(bytes)
    }

    fn untaken_bytes(&mut self, _: &Self::Socket) -> usize {
        0
    }

    fn window(&mut self, _: &Self::Socket) -> Option<u32> {
        Some(0)
    }

    fn set_tcp_user_timeout(&mut self, _: &Self::Socket, _: Duration) {}

    fn uncork(&mut self, _: &Self::Socket) {}

    fn discard_input(&mut self, _: &()) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn may_linger(&self) -> bool {
        false
    }

    fn shutdown(&mut self, _: &()) {}

    fn unregister(&mut self, (): &()) {}

    fn close(&mut self, (): ()) {}
}
