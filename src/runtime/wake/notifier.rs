//! Wakes threads that wait for the reactor.
//!
//! # Problem
//!
//! A thread may wait until the reactor has made a condition true: there is room in a stream's buffer, a stream has
//! ended, an answer has arrived. The reactor changes such state in almost every turn, and hardly ever does a thread
//! wait. A notification must therefore cost next to nothing while no thread waits: no lock and no system call.
//!
//! # Protocol
//!
//! | | waiting thread: [`Notifier::wait`] | reactor: [`Notifier::notify_all`] |
//! |---|---|---|
//! | 1 | locks the mutex, increments `waiters` | has changed the state |
//! | 2 | fence | fence |
//! | 3 | evaluates the condition; sleeps only if it is false | reads `waiters`; notifies if there are any |
//!
//! # Memory ordering
//!
//! As in [`waker`](super::waker), each side writes first and then reads what the other side writes, and the
//! sequentially consistent fences have one total order:
//!
//! - The thread's fence is first: the reactor reads that there is a waiter, and notifies.
//! - The reactor's fence is first: the condition sees the change, and the thread does not sleep.
//!
//! There remains the time between evaluating the condition and sleeping, in which a notification would find no sleeping
//! thread. The thread holds the mutex from before step 3 until the condition variable has put it to sleep, and the
//! reactor takes the mutex once before it notifies. So it notifies either a thread that sleeps or one that has not
//! evaluated the condition yet. No wake-up is lost.
//!
//! `waiters` is accessed relaxed, because it publishes no data. The condition reads its state with the ordering that
//! the state needs.
//!
//! `loom/` tries every interleaving of this protocol.

use super::sync::{fence, lock, AtomicUsize, Condvar, Mutex, Ordering};
#[cfg(feature = "sim")]
use crate::sys::sim;
#[cfg(not(feature = "sim"))]
use std::sync::PoisonError;
use std::time::Instant;

/// The threads that wait for one reactor.
#[derive(Debug, Default)]
pub struct Notifier {
    waiters: AtomicUsize,
    mutex: Mutex<()>,
    notified: Condvar,
}

impl Notifier {
    /// Waits until the condition is true or the deadline has passed. Returns whether the condition is true.
    #[cfg(not(feature = "sim"))]
    pub fn wait(&self, deadline: Instant, condition: impl Fn() -> bool) -> bool {
        let mut guard = lock(&self.mutex);
        self.waiters.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        while !condition() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            guard = self.notified.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        condition()
    }

    #[cfg(feature = "sim")]
    pub fn wait(&self, deadline: Instant, condition: impl Fn() -> bool) -> bool {
        while !condition() && Instant::now() < deadline {
            sim::world().wait(sim::Awaited::Notified(self as *const Self as usize), Some(deadline));
        }
        condition()
    }

    /// Called after the state has changed. Wakes all waiting threads, which evaluate their conditions again.
    pub fn notify_all(&self) {
        #[cfg(feature = "sim")]
        sim::world().notify(self as *const Self as usize);
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            // A thread that has evaluated its condition and does not sleep yet holds the mutex.
            drop(lock(&self.mutex));
            self.notified.notify_all();
        }
    }
}
