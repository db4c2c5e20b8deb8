//! The reactor's calls on real sockets.

use crate::reactor::{Io, StreamId};
use crate::runtime::descriptor_reserve;
use crate::sys::epoll::Epoll;
use crate::sys::socket;
use rustix::fd::{AsFd, OwnedFd};
use std::io::{self, IoSlice};
use std::time::Duration;

const SCRATCH_BYTES: usize = 16 << 10;

/// An epoll set, and a buffer for input that is discarded.
pub(crate) struct Sockets {
    pub(crate) epoll: Epoll,
    scratch: Vec<u8>,
}

impl Sockets {
    pub(crate) fn new(epoll: Epoll) -> Self {
        Self { epoll, scratch: vec![0; SCRATCH_BYTES] }
    }
}

impl Io for Sockets {
    type Socket = OwnedFd;

    fn register(&mut self, socket: &OwnedFd, stream: StreamId) -> io::Result<()> {
        self.epoll.add(socket.as_fd(), stream.into())
    }

    fn watch_writable(&mut self, socket: &OwnedFd, stream: StreamId, writable: bool) -> io::Result<()> {
        self.epoll.ask(socket.as_fd(), stream.into(), true, writable)
    }

    fn send(&mut self, socket: &OwnedFd, blocks: &[IoSlice<'_>]) -> io::Result<usize> {
        socket::send(socket.as_fd(), blocks)
    }

    fn untaken_bytes(&mut self, socket: &OwnedFd) -> usize {
        socket::untaken_bytes(socket.as_fd())
    }

    fn window(&mut self, socket: &OwnedFd) -> Option<u32> {
        socket::window(socket.as_fd())
    }

    fn set_tcp_user_timeout(&mut self, socket: &OwnedFd, timeout: Option<Duration>) {
        socket::set_tcp_user_timeout(socket.as_fd(), timeout);
    }

    fn uncork(&mut self, socket: &OwnedFd) {
        socket::cork(socket.as_fd(), false);
    }

    fn discard_input(&mut self, socket: &OwnedFd) -> io::Result<usize> {
        socket::receive(socket.as_fd(), &mut self.scratch)
    }

    fn shutdown(&mut self, socket: &OwnedFd) {
        socket::shut_down_sending(socket.as_fd());
    }

    fn may_linger(&self) -> bool {
        !descriptor_reserve::is_short()
    }

    fn unregister(&mut self, socket: &OwnedFd) {
        self.epoll.remove(socket.as_fd());
    }

    fn close(&mut self, socket: OwnedFd) {
        // Closing alone would leave the socket in the epoll set if a forked child holds a copy of the descriptor.
        self.epoll.remove(socket.as_fd());
    }
}
