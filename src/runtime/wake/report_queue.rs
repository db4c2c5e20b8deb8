//! What the thread that serves other processes is to be told: which streams have made progress, and what the members of hubs
//! with a store announce.
//!
//! A hub process tells the opener of a stream what its clients have taken. It asks for one report at a time, and only for
//! streams that it owes one, so the reactor does nothing for all others.

use super::sync::lock;
use crate::sys::epoll::Signal;
use rustix::fd::{AsFd, OwnedFd};
use std::io;
use std::sync::Mutex;

/// Reports, and a descriptor that is readable while there are any.
#[derive(Debug)]
pub(crate) struct ReportQueue<T>(Mutex<Queue<T>>);

#[derive(Debug)]
struct Queue<T> {
    reports: Vec<T>,
    signal: Option<Signal>,
}

impl<T> Default for ReportQueue<T> {
    fn default() -> Self {
        Self(Mutex::new(Queue { reports: Vec::new(), signal: None }))
    }
}

impl<T> ReportQueue<T> {
    /// Adds a report.
    pub(crate) fn push(&self, report: T) {
        let mut queue = lock(&self.0);
        queue.reports.push(report);
        if let (Some(signal), 1) = (&queue.signal, queue.reports.len()) {
            signal.raise();
        }
    }

    /// Takes all reports.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut queue = lock(&self.0);
        if let (Some(signal), false) = (&queue.signal, queue.reports.is_empty()) {
            signal.lower();
        }
        std::mem::take(&mut queue.reports)
    }

    /// Returns a descriptor that is readable while there are reports to take. Fails if the system has no descriptor left.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        let mut queue = lock(&self.0);
        if queue.signal.is_none() {
            let signal = Signal::new()?;
            if !queue.reports.is_empty() {
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
