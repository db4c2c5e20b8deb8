//! What this process has accepted for processes of hubs and is lost, until an interpreter tells the application of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};

/// How many losses no interpreter has taken yet. Calls that are made for each event read it without a lock.
static LOSSES: AtomicU64 = AtomicU64::new(0);

/// The cause of the first of them. Its lock is only tried: a fork may have copied it while it was held.
static CAUSE: Mutex<String> = Mutex::new(String::new());

/// Returns true if [`take_losses`] has losses to return.
pub fn has_losses() -> bool {
    LOSSES.load(Ordering::Relaxed) > 0
}

/// Takes the losses: how many there were, and the cause of the first.
pub fn take_losses() -> (u64, String) {
    (LOSSES.swap(0, Ordering::Relaxed), with_cause(std::mem::take).unwrap_or_default())
}

/// Records losses. The caller counts events among the lost ones of its reactor.
pub(super) fn record(count: u64, cause: &str) {
    if count > 0 && LOSSES.fetch_add(count, Ordering::Relaxed) == 0 {
        with_cause(|text| cause.clone_into(text));
    }
}

/// Called in a forked child: its parent tells of its own losses.
pub(super) fn enter_child() {
    LOSSES.store(0, Ordering::Relaxed);
}

fn with_cause<T>(function: impl FnOnce(&mut String) -> T) -> Option<T> {
    match CAUSE.try_lock() {
        Ok(mut cause) => Some(function(&mut cause)),
        Err(TryLockError::Poisoned(poisoned)) => Some(function(&mut poisoned.into_inner())),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_summed_with_the_cause_of_the_first_and_taken_once() {
        record(0, "none");
        assert!(!has_losses());
        record(2, "first");
        record(3, "second");
        assert!(has_losses());
        assert_eq!(take_losses(), (5, "first".to_owned()));
        assert_eq!(take_losses(), (0, String::new()));
        record(1, "of the parent");
        enter_child();
        assert!(!has_losses());
        record(1, "own");
        assert_eq!(take_losses(), (1, "own".to_owned()));
    }
}
