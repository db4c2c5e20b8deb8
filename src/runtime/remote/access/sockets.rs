//! The descriptors that a forked child must not inherit unseen.
//!
//! It closes the sockets to hub processes at once: otherwise a hub process would not see the end of a worker, which may hold a
//! lease, before the end of a child that makes no call. The lock of a hub process, and the socket on which that is to listen,
//! are there only while no thread can fork.

use crate::runtime::wake::sync;
use crate::sys::{descriptor, socket};
use rustix::fd::{AsFd, AsRawFd, RawFd};
use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard};

/// The number of each socket, and its cookie: the number of one that was closed is used again.
type Sockets = Vec<(RawFd, u64)>;

per_process! { static SOCKETS: Mutex<Sockets> = Mutex::new(Vec::new()); }

thread_local! {
    /// True if this thread has the lock. The standard library may start a program by a fork.
    static IS_LOCKED: Cell<bool> = const { Cell::new(false) };
}

fn lock() -> MutexGuard<'static, Sockets> {
    sync::lock(&SOCKETS)
}

/// While this guard exists, no other thread forks.
pub(crate) struct NoFork(MutexGuard<'static, Sockets>);

impl NoFork {
    pub(super) fn new() -> Self {
        let guard = lock();
        IS_LOCKED.with(|is_locked| is_locked.set(true));
        Self(guard)
    }

    /// Has a child close its copy of a socket. A kernel without cookies cannot tell it from others.
    pub(super) fn note(&mut self, socket: &UnixStream) {
        let cookie = socket::cookie(socket.as_fd());
        if cookie != 0 {
            self.0.retain(|(number, cookie)| descriptor::is_socket(*number, *cookie));
            self.0.push((socket.as_raw_fd(), cookie));
        }
    }
}

impl Drop for NoFork {
    fn drop(&mut self) {
        IS_LOCKED.with(|is_locked| is_locked.set(false));
    }
}

/// Waits until no other thread has a descriptor that a forked child must not inherit unseen. Called before a fork; the guard is
/// dropped after it, in both processes.
pub(crate) fn before_fork() -> Option<MutexGuard<'static, Sockets>> {
    let is_own = IS_LOCKED.try_with(Cell::get).unwrap_or(false);
    (!is_own).then(lock)
}

/// In a forked child, closes its copies.
pub(crate) fn close_copies(sockets: &mut Sockets) {
    sockets.drain(..).for_each(|(number, cookie)| drop(descriptor::inherit(number, cookie)));
}
