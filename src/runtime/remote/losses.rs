//! Lost events and subscriptions that this process had accepted for hub processes, until an interpreter reports them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};

per_process! {
    /// The losses of this process that no interpreter has taken yet.
    pub static LOSSES: Losses = Losses::new();
}

/// Losses, until they are taken.
#[derive(Debug)]
pub struct Losses {
    /// Their number. Calls that are made for each event read it without a lock.
    count: AtomicU64,
    /// The cause of the first of them. Its lock is only tried: a fork may have copied it while it was held.
    cause: Mutex<String>,
}

impl Losses {
    const fn new() -> Self {
        Self { count: AtomicU64::new(0), cause: Mutex::new(String::new()) }
    }

    /// Returns true if there are any.
    pub fn are_there(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Takes them: how many there were, and the cause of the first.
    pub fn take(&self) -> (u64, String) {
        (self.count.swap(0, Ordering::Relaxed), self.with_cause(std::mem::take).unwrap_or_default())
    }

    /// Records some. The caller counts events among the lost ones of its reactor.
    pub(super) fn record(&self, count: u64, cause: &str) {
        if count > 0 && self.count.fetch_add(count, Ordering::Relaxed) == 0 {
            self.with_cause(|text| cause.clone_into(text));
        }
    }

    /// Called in a forked child: its parent tells of its own losses.
    pub(crate) fn enter_child(&self) {
        self.count.store(0, Ordering::Relaxed);
    }

    fn with_cause<T>(&self, function: impl FnOnce(&mut String) -> T) -> Option<T> {
        match self.cause.try_lock() {
            Ok(mut cause) => Some(function(&mut cause)),
            Err(TryLockError::Poisoned(poisoned)) => Some(function(&mut poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_summed_with_the_cause_of_the_first_and_taken_once() {
        let losses = Losses::new();
        losses.record(0, "none");
        assert!(!losses.are_there());
        losses.record(2, "first");
        losses.record(3, "second");
        assert!(losses.are_there());
        assert_eq!(losses.take(), (5, "first".to_owned()));
        assert_eq!(losses.take(), (0, String::new()));
        losses.record(1, "of the parent");
        losses.enter_child();
        assert!(!losses.are_there());
        losses.record(1, "own");
        assert_eq!(losses.take(), (1, "own".to_owned()));
    }
}
