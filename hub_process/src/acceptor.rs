//! A socket that listens, in an epoll set.

use eventsource_xs::remote::calls::Epoll;
use rustix::io::Errno;
use rustix::net::{accept_with, SocketFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long no connection is accepted when this process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Acceptor {
    socket: OwnedFd,
    /// Its number in the epoll set.
    number: u64,
    /// Until when no connection is accepted.
    paused_until: Option<Instant>,
}

impl Acceptor {
    /// Waits for connections from here on.
    pub fn new(socket: OwnedFd, epoll: &Epoll, number: u64) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        epoll.add(socket.as_fd(), number)?;
        Ok(Self { socket, number, paused_until: None })
    }

    /// Accepts the next connection, if there is one.
    pub fn accept(&mut self, epoll: &Epoll, now: Instant) -> Option<OwnedFd> {
        loop {
            match accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(socket) => return Some(socket),
                Err(Errno::AGAIN) => return None,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => {
                    self.pause(epoll, now);
                    return None;
                }
            }
        }
    }

    /// Leaves connections to wait for a while.
    pub fn pause(&mut self, epoll: &Epoll, now: Instant) {
        epoll.remove(self.socket.as_fd());
        self.paused_until = Some(now + PAUSE);
    }

    /// Ends a pause with the next [`run_timers`](Self::run_timers).
    pub fn end_pause(&mut self, now: Instant) {
        self.paused_until = self.paused_until.map(|until| until.min(now));
    }

    /// Returns when [`run_timers`](Self::run_timers) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Accepts again after a pause.
    pub fn run_timers(&mut self, epoll: &Epoll, now: Instant) -> io::Result<()> {
        if self.paused_until.is_some_and(|until| now >= until) {
            self.paused_until = None;
            epoll.add(self.socket.as_fd(), self.number)?;
        }
        Ok(())
    }

    /// Waits for connections at another socket from here on, and closes this one.
    pub fn replace(&mut self, socket: OwnedFd, epoll: &Epoll) -> io::Result<()> {
        *self = Self::new(socket, epoll, self.number)?;
        Ok(())
    }

    pub fn descriptor(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Acceptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
