//! The bell that wakes the wire thread when a store has reported.

use rustix::io::{read, write};
use rustix::pipe::{pipe_with, PipeFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Wakes the wire thread: a pipe of one byte.
#[derive(Debug)]
pub struct Bell {
    reader: OwnedFd,
    writer: OwnedFd,
    is_rung: AtomicBool,
}

impl Bell {
    /// Returns the descriptor that is readable while the bell has rung.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    pub fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { reader, writer, is_rung: AtomicBool::new(false) })
    }

    fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::SeqCst) {
            let _ = write(&self.writer, b"!"); // a pipe that is full rings, too
        }
    }

    /// Called before the reports are taken, so that a later one rings again.
    pub fn silence(&self) {
        let _ = read(&self.reader, &mut [0; 16]);
        self.is_rung.store(false, Ordering::SeqCst);
    }
}

/// Rings when it is dropped, too.
#[derive(Clone, Debug)]
pub struct Ringer(Arc<Bell>);

impl Ringer {
    pub fn of(bell: &Arc<Bell>) -> Self {
        Self(Arc::clone(bell))
    }

    pub fn ring(&self) {
        self.0.ring();
    }
}

impl Drop for Ringer {
    fn drop(&mut self) {
        self.0.ring();
    }
}
