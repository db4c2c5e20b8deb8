//! Waking a reactor that sleeps, and only one that sleeps: a system call for each event would cost as much as sending it.
//!
//! Who adds to the queue rings afterwards; who is about to sleep says so first and looks at the queue once more. In the one
//! total order that the fences make of these four steps, either the sleeper sees what was added or the ringer sees that
//! it sleeps. `loom/` tries every interleaving.

use super::sync::{fence, AtomicBool, Ordering};

/// Whether a reactor sleeps.
///
/// The sleeper swaps where it could store: loom does not know that nothing comes between what a swap reads and what it
/// writes unless all who write swap, and would tell of wake-ups that no machine can lose.
#[derive(Debug)]
pub struct Waker {
    is_asleep: AtomicBool,
}

impl Waker {
    /// The bell of one who is awake.
    pub fn new() -> Self {
        Self { is_asleep: AtomicBool::new(false) }
    }

    /// Called after something was added to the queue. True for the one who has to wake the sleeper.
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        self.is_asleep.load(Ordering::Relaxed) && self.is_asleep.swap(false, Ordering::Relaxed)
    }

    /// Called by the one who wants to sleep. True if it may: then it is woken as soon as something is added.
    pub fn may_sleep(&self, queue_is_empty: impl FnOnce() -> bool) -> bool {
        self.is_asleep.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may_sleep = queue_is_empty();
        if !may_sleep {
            self.wake();
        }
        may_sleep
    }

    /// Called by the one who slept.
    pub fn wake(&self) {
        self.is_asleep.swap(false, Ordering::Relaxed);
    }
}

impl Default for Waker {
    fn default() -> Self {
        Self::new()
    }
}
