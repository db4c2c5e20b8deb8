//! Wakes the reactor, with a system call only if it sleeps.
//!
//! # Problem
//!
//! A producer adds a command to the queue while the reactor's thread works, falls asleep or sleeps in `epoll_wait`. If
//! it sleeps, the producer has to write to a descriptor that the reactor waits for. A write for each command would cost
//! as much as sending the event, so producers need to know whether the reactor sleeps. A plain flag is not enough:
//!
//! 1. The reactor finds the queue empty.
//! 2. A producer adds a command, reads that the reactor is awake, and does not signal.
//! 3. The reactor sets the flag and sleeps, with a command in its queue.
//!
//! # Protocol
//!
//! Each side writes first and then reads what the other side writes:
//!
//! | | reactor: [`Waker::prepare_sleep`] | producer: [`Waker::wake`] |
//! |---|---|---|
//! | 1 | sets `is_asleep` | has added a command to the queue |
//! | 2 | fence | fence |
//! | 3 | looks into the queue; sleeps only if it is empty | reads `is_asleep`; signals if it is set |
//!
//! # Memory ordering
//!
//! With acquire and release alone both reads could miss both writes: a processor may delay a write until after a later
//! read of another location (store buffering, which x86 does too). Sequentially consistent fences exclude that. All of
//! them have one total order, so one of the two fences is first:
//!
//! - The reactor's fence is first: the producer reads `is_asleep` as set, and signals.
//! - The producer's fence is first: the reactor sees the command, and does not sleep.
//!
//! In both cases the wake-up is not lost. Both may happen; then the reactor makes one turn too many. The flag itself is
//! accessed relaxed: it publishes no data, and the queue synchronises its own contents.
//!
//! # One signal a sleep
//!
//! `wake` swaps the flag, so of many producers one signals. It loads the flag first: while the reactor is awake, no
//! producer writes to the cache line that all of them read. A signal that arrives after the reactor has woken for
//! another reason is harmless, because the descriptor stays readable until the reactor has read it.
//!
//! `loom/` tries every interleaving of this protocol.

use super::sync::{fence, AtomicBool, Ordering};

/// Tells producers whether the reactor sleeps.
///
/// The reactor swaps the flag where a store would do: loom knows that nothing comes between the read and the write of a
/// swap only if all writers swap, and would otherwise report lost wake-ups that no machine can lose.
#[derive(Debug)]
pub struct Waker {
    is_asleep: AtomicBool,
}

impl Waker {
    /// Creates the waker of a reactor that is awake.
    pub fn new() -> Self {
        Self { is_asleep: AtomicBool::new(false) }
    }

    /// Called by a producer after it has added a command. Returns true if the producer must signal the reactor.
    pub fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.is_asleep.load(Ordering::Relaxed) && self.is_asleep.swap(false, Ordering::Relaxed)
    }

    /// Called by the reactor before it sleeps. Returns true if it may sleep; then a command that is added from here on
    /// is followed by a signal.
    pub fn prepare_sleep(&self, queue_is_empty: impl FnOnce() -> bool) -> bool {
        self.is_asleep.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may_sleep = queue_is_empty();
        if !may_sleep {
            self.end_sleep();
        }
        may_sleep
    }

    /// Called by the reactor after it has slept.
    pub fn end_sleep(&self) {
        self.is_asleep.swap(false, Ordering::Relaxed);
    }
}

impl Default for Waker {
    fn default() -> Self {
        Self::new()
    }
}
