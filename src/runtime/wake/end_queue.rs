//! The ends of streams that interpreters have yet to take, a queue for each interpreter.

use super::sync::lock;
use crate::reactor::StreamId;
use crate::stream::Reason;
use crate::sys::epoll::Signal;
use rustix::fd::AsRawFd;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::Mutex;

per_process! {
    /// The number of ends that this process has queued. A call that is made for each event reads it without a lock.
    static ENDS: AtomicUsize = AtomicUsize::new(0);
    /// The number of callbacks that the interpreters have queued, by their own count.
    static CALLBACKS: AtomicIsize = AtomicIsize::new(0);
}

/// Returns true if an interpreter of this process has ends to take or callbacks to run.
pub fn has_callbacks() -> bool {
    has_ends() || CALLBACKS.load(Ordering::Relaxed) > 0
}

/// Returns true if an interpreter of this process has ends to take.
pub(crate) fn has_ends() -> bool {
    ENDS.load(Ordering::Relaxed) != 0
}

/// Adds to the number of callbacks that interpreters have queued.
pub fn count_callbacks(added: isize) {
    CALLBACKS.fetch_add(added, Ordering::Relaxed);
}

/// Called in a forked child: the ends of its parent's streams stay with the parent. The interpreter has a copy of its
/// callbacks.
pub(crate) fn enter_child() {
    ENDS.store(0, Ordering::Relaxed);
}

/// The queue of one interpreter, and a descriptor that is readable while the queue is not empty.
#[derive(Debug, Default)]
struct EndQueue {
    ends: VecDeque<(StreamId, Reason)>,
    signal: Option<Signal>,
}

/// The queues by interpreter. A removed interpreter has the entry `None`.
#[derive(Debug, Default)]
pub(crate) struct EndQueues(Mutex<HashMap<u32, Option<EndQueue>>>);

impl EndQueues {
    /// Calls a function with the queue of an interpreter, unless the interpreter was removed.
    fn with<T>(&self, interpreter: u32, function: impl FnOnce(&mut EndQueue) -> T) -> Option<T> {
        lock(&self.0).entry(interpreter).or_insert_with(|| Some(EndQueue::default())).as_mut().map(function)
    }

    /// Queues the end of a stream for an interpreter.
    pub(crate) fn push(&self, interpreter: u32, stream: StreamId, reason: Reason) {
        self.with(interpreter, |queue| {
            queue.ends.push_back((stream, reason));
            ENDS.fetch_add(1, Ordering::Relaxed);
            if let (Some(signal), 1) = (&queue.signal, queue.ends.len()) {
                signal.raise();
            }
        });
    }

    /// Takes the next end of an interpreter.
    pub(crate) fn take(&self, interpreter: u32) -> Option<(StreamId, Reason)> {
        self.with(interpreter, |queue| {
            let end = queue.ends.pop_front();
            if end.is_some() {
                ENDS.fetch_sub(1, Ordering::Relaxed);
            }
            if let (Some(signal), Some(_), true) = (&queue.signal, end, queue.ends.is_empty()) {
                signal.lower();
            }
            end
        })?
    }

    /// Returns a descriptor that is readable while the queue of an interpreter is not empty. Fails if the system has no
    /// descriptor left, or if the interpreter was removed.
    pub(crate) fn descriptor(&self, interpreter: u32) -> io::Result<i32> {
        let number = self.with(interpreter, |queue| {
            if queue.signal.is_none() {
                let signal = Signal::new()?;
                if !queue.ends.is_empty() {
                    signal.raise();
                }
                queue.signal = Some(signal);
            }
            Ok(queue.signal.as_ref().map_or(-1, |signal| signal.descriptor().as_raw_fd()))
        });
        number.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }

    /// Returns true if an interpreter has ends to take.
    pub(crate) fn has_ends(&self, interpreter: u32) -> bool {
        self.with(interpreter, |queue| !queue.ends.is_empty()).unwrap_or(false)
    }

    /// Removes an interpreter and its queue. Later ends for it are dropped.
    pub(crate) fn remove(&self, interpreter: u32) {
        if let Some(Some(queue)) = lock(&self.0).insert(interpreter, None) {
            ENDS.fetch_sub(queue.ends.len(), Ordering::Relaxed);
        }
    }
}
