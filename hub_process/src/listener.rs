//! The socket at which peers connect, and the lock of the hub beside it.

use crate::acceptor::Acceptor;
use crate::inherited::InstanceLock;
use crate::process_log::log_message;
use eventsource_xs::remote::calls::{own_user, peer_user, Epoll};
use eventsource_xs::remote::{start, Place};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The socket that listens.
#[derive(Debug)]
pub struct Listener {
    pub instance: InstanceLock,
    pub acceptor: Acceptor,
}

impl Listener {
    /// Waits for connections from here on.
    pub fn new(instance: InstanceLock, epoll: &Epoll, number: u64) -> io::Result<Self> {
        let acceptor = Acceptor::new(instance.listener.try_clone()?.into(), epoll, number)?;
        Ok(Self { instance, acceptor })
    }

    /// Looks whether the lock is in its place. Returns false if the hub is not that of this process any more: its lock is gone.
    pub fn hold_lock(&mut self) -> bool {
        let is_held = self.instance.hold();
        if !is_held {
            log_message("the file of its lock was removed, so that another process may serve the hub");
            self.instance.removes_socket = false;
        }
        is_held
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
