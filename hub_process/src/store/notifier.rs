//! The notifier of the wire thread: a store has reported.

use rustix::event::{eventfd, EventfdFlags};
use rustix::io::{read, write};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Wakes the wire thread, also when it is dropped.
#[derive(Clone, Debug)]
pub struct WireNotifier(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    descriptor: OwnedFd,
    is_notified: AtomicBool,
}

impl WireNotifier {
    pub fn new() -> io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Shared { descriptor, is_notified: AtomicBool::new(false) })))
    }

    /// Returns the descriptor that is readable from a notification until [`reset`](Self::reset).
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.descriptor.as_fd()
    }

    pub fn notify(&self) {
        if !self.0.is_notified.swap(true, Ordering::SeqCst) {
            let _ = write(&self.0.descriptor, &1_u64.to_ne_bytes());
        }
    }

    /// Called before the reports are taken, so that a later one notifies again.
    pub fn reset(&self) {
        let _ = read(&self.0.descriptor, &mut [0; 8]);
        self.0.is_notified.store(false, Ordering::SeqCst);
    }
}

impl Drop for WireNotifier {
    fn drop(&mut self) {
        self.notify();
    }
}
