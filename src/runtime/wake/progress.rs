//! The streams that have made progress since their last report to another process.
//!
//! A hub process tells the opener of a stream what its clients have taken. It asks for one report at a time, and only for
//! streams that it owes one, so the reactor does nothing for all others.

use super::sync::lock;
use crate::reactor::StreamId;
use crate::sys::epoll::Signal;
use rustix::fd::{AsFd, OwnedFd};
use std::io;
use std::sync::Mutex;

/// The streams to report, and a descriptor that is readable while there are any.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    streams: Vec<StreamId>,
    signal: Option<Signal>,
}

impl Progress {
    /// Adds a stream. Called by the reactor, once for each request of a report.
    pub(crate) fn push(&self, stream: StreamId) {
        let mut queue = lock(&self.0);
        queue.streams.push(stream);
        if let (Some(signal), 1) = (&queue.signal, queue.streams.len()) {
            signal.raise();
        }
    }

    /// Takes all streams.
    pub(crate) fn take(&self) -> Vec<StreamId> {
        let mut queue = lock(&self.0);
        if let (Some(signal), false) = (&queue.signal, queue.streams.is_empty()) {
            signal.lower();
        }
        std::mem::take(&mut queue.streams)
    }

    /// Returns a descriptor that is readable while there are streams to take.
    ///
    /// # Errors
    ///
    /// If the system has no descriptor left.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        let mut queue = lock(&self.0);
        if queue.signal.is_none() {
            let signal = Signal::new()?;
            if !queue.streams.is_empty() {
                signal.raise();
            }
            queue.signal = Some(signal);
        }
        match &queue.signal {
            Some(signal) => signal.descriptor().as_fd().try_clone_to_owned(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
