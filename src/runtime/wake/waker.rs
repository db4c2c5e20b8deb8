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
//! | | reactor: [`Waker::prepare_rest`] | producer: [`Waker::wake`] |
//! |---|---|---|
//! | 1 | stores in `rest` that it sleeps | has added a command to the queue |
//! | 2 | fence | fence |
//! | 3 | looks into the queue; sleeps only if it is empty | reads `rest`; signals if the reactor sleeps |
//!
//! # Memory ordering
//!
//! With acquire and release alone both reads could miss both writes: a processor may delay a write until after a later
//! read of another location (store buffering, which x86 does too). Sequentially consistent fences exclude that. All of
//! them have one total order, so one of the two fences is first:
//!
//! - The reactor's fence is first: the producer reads that the reactor sleeps, and signals.
//! - The producer's fence is first: the reactor sees the command, and does not sleep.
//!
//! In both cases the wake-up is not lost. Both may happen; then the reactor makes one turn too many. `rest` itself is
//! accessed relaxed: it publishes no data, and the queue synchronises its own contents.
//!
//! # One signal a sleep
//!
//! `wake` swaps `rest`, so of many producers one signals. It loads `rest` first: while the reactor is awake, no
//! producer writes to the cache line that all of them read. A signal that arrives after the reactor has woken for
//! another reason is harmless, because the descriptor stays readable until the reactor has read it.
//!
//! # Naps
//!
//! While many streams are opened, one after the other, a signal for each of them would cost more than the rest of the
//! reactor's work. So the reactor naps then: it sleeps, but for a short time at most ([`Rest::Nap`]). [`Waker::wake`] ends
//! a nap, as it ends a sleep. [`Waker::wake_from_sleep`] does not: the command waits until the nap's end. The protocol is the
//! same, and a wake-up that it leaves out is that of the timer.
//!
//! `loom/` tries every interleaving of this protocol.

use super::sync::{fence, AtomicU8, Ordering};

/// The rest of the reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rest {
    /// For a short time, whatever happens.
    Nap = 1,
    /// Until something happens.
    Sleep = 2,
}

const AWAKE: u8 = 0;

/// Tells producers whether the reactor sleeps.
///
/// The reactor swaps `rest` where a store would do: loom knows that nothing comes between the read and the write of a
/// swap only if all writers swap, and would otherwise report lost wake-ups that no machine can lose.
#[derive(Debug)]
pub struct Waker {
    /// [`AWAKE`], or a [`Rest`].
    rest: AtomicU8,
}

impl Waker {
    /// Creates the waker of a reactor that is awake.
    pub fn new() -> Self {
        Self { rest: AtomicU8::new(AWAKE) }
    }

    /// Called by a producer after it has added a command. Returns true if the producer must signal the reactor.
    pub fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.rest.load(Ordering::Relaxed) != AWAKE && self.rest.swap(AWAKE, Ordering::Relaxed) != AWAKE
    }

    /// Called by a producer after it has added a command that may wait until the end of a nap. Returns true if the
    /// producer must signal the reactor.
    pub fn wake_from_sleep(&self) -> bool {
        fence(Ordering::SeqCst);
        let asleep = Rest::Sleep as u8;
        self.rest.load(Ordering::Relaxed) == asleep
            && self.rest.compare_exchange(asleep, AWAKE, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Called by the reactor before it sleeps or naps. Returns true if it may; then a command that is added from here on
    /// is followed by a signal, unless it may wait.
    pub fn prepare_rest(&self, rest: Rest, queue_is_empty: impl FnOnce() -> bool) -> bool {
        self.rest.swap(rest as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may_rest = queue_is_empty();
        if !may_rest {
            self.end_rest();
        }
        may_rest
    }

    /// Called by the reactor after it has slept or napped.
    pub fn end_rest(&self) {
        self.rest.swap(AWAKE, Ordering::Relaxed);
    }
}

impl Default for Waker {
    fn default() -> Self {
        Self::new()
    }
}
