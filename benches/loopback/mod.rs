//! A reactor's connections over loopback, in one thread.

use crate::cpu::cpu;
use eventsource_xs::reactor::Io;
use eventsource_xs::stream::StreamId;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// An [`Io`] of connections over loopback: the stream's end, and the client's. What was sent is read at once.
#[derive(Default)]
pub struct Loopback {
    bytes: Vec<u8>,
    /// How many bytes all clients have received.
    pub received: usize,
    /// The CPU time of the clients.
    pub reading: Duration,
}

impl Io for Loopback {
    type Socket = (TcpStream, TcpStream);

    fn register(&mut self, _: &Self::Socket, _: StreamId) -> io::Result<()> {
        Ok(())
    }

    fn watch_writable(&mut self, _: &Self::Socket, _: StreamId, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, (ours, theirs): &Self::Socket, blocks: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = (&mut &*ours).write_vectored(blocks)?;
        self.bytes.resize(count.max(self.bytes.len()), 0);
        self.received += count;
        let since = cpu();
        (&mut &*theirs).read_exact(&mut self.bytes[..count])?;
        self.reading += cpu() - since;
        Ok(count)
    }

    fn untaken_bytes(&mut self, _: &Self::Socket) -> usize {
        0
    }

    fn window(&mut self, _: &Self::Socket) -> Option<u32> {
        Some(0)
    }

    fn set_tcp_user_timeout(&mut self, _: &Self::Socket, _: Duration) {}

    fn uncork(&mut self, _: &Self::Socket) {}

    fn discard_input(&mut self, _: &Self::Socket) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn may_linger(&self) -> bool {
        true
    }

    fn shutdown(&mut self, _: &Self::Socket) {}

    fn unregister(&mut self, _: &Self::Socket) {}

    fn close(&mut self, _: Self::Socket) {}
}

pub fn connection(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let theirs = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    (listener.accept().expect("a connection").0, theirs)
}
