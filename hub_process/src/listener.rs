//! The socket at which peers connect, and the lock of the hub beside it.

use crate::acceptor::Acceptor;
use crate::inherited::InstanceLock;
use crate::process_log::log_message;
use eventsource_xs::remote::calls::{own_user, peer_user, Epoll};
use eventsource_xs::remote::{start, Place};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How often the process looks whether its lock is in its place.
const LOCK_CHECK: Duration = Duration::from_secs(30);

/// The socket that listens.
#[derive(Debug)]
pub struct Listener {
    instance: InstanceLock,
    acceptor: Acceptor,
    /// When the process looks next whether its lock is in its place.
    lock_check: Instant,
}

impl Listener {
    /// Waits for connections from here on.
    pub fn new(instance: InstanceLock, epoll: &Epoll, number: u64) -> io::Result<Self> {
        let acceptor = Acceptor::new(instance.listener.try_clone()?.into(), epoll, number)?;
        Ok(Self { instance, acceptor, lock_check: Instant::now() + LOCK_CHECK })
    }

    /// Returns what this process has of its hub alone.
    pub fn instance(&self) -> &InstanceLock {
        &self.instance
    }

    /// Accepts the next connection, if there is one.
    pub fn accept(&mut self, epoll: &Epoll, now: Instant) -> Option<OwnedFd> {
        self.acceptor.accept(epoll, now)
    }

    /// Returns when [`run_timers`](Self::run_timers) has something to do.
    pub fn next_due(&self) -> Instant {
        self.acceptor.next_due().map_or(self.lock_check, |until| until.min(self.lock_check))
    }

    /// Accepts again after a pause. Returns false if the hub is not that of this process any more: its lock is gone.
    pub fn run_timers(&mut self, epoll: &Epoll, now: Instant) -> io::Result<bool> {
        self.acceptor.run_timers(epoll, now)?;
        if now < self.lock_check {
            return Ok(true);
        }
        self.lock_check = now + LOCK_CHECK;
        let is_held = self.instance.hold();
        if !is_held {
            log_message("the file of its lock was removed, so that another process may serve the hub");
            self.instance.removes_socket = false;
        }
        Ok(is_held)
    }

    /// Removes the socket, if this process has made it. Returns true if the files of the hub are its own: without its lock they
    /// may be those of another process.
    pub fn close(&self, place: &Place) -> bool {
        let is_held = self.instance.is_held();
        if is_held {
            if self.instance.removes_socket {
                let _ = start::remove_socket(place.socket());
            }
            self.instance.end_service();
        }
        is_held
    }
}

/// Returns true if a connection is that of a process of this user.
pub fn is_of_own_user(socket: &OwnedFd) -> bool {
    peer_user(socket.as_fd()).is_ok_and(|user| user == own_user())
}
