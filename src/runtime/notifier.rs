//! Waiting for something to change, which costs those who change it next to nothing while nobody waits.
//!
//! Who waits says so first and looks then; who has changed something looks afterwards whether somebody waits. As with the
//! [`waker`](super::bell), in the one total order that the fences make of these four steps one of the two sees the other.
//! `loom/` tries every interleaving.

use super::sync::{fence, lock, AtomicUsize, Condvar, Mutex, Ordering};
use std::sync::PoisonError;
use std::time::Instant;

/// Those who wait for a change.
#[derive(Debug, Default)]
pub struct Notifier {
    waiters: AtomicUsize,
    mutex: Mutex<()>,
    told: Condvar,
}

impl Notifier {
    /// Waits until something has changed that makes `is_over` true, at most until then. Whether it is true.
    pub fn wait(&self, until: Instant, is_over: impl Fn() -> bool) -> bool {
        let mut guard = lock(&self.mutex);
        self.waiters.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        while !is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            guard = self.told.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        is_over()
    }

    /// Called after something has changed.
    pub fn tell(&self) {
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            // Who has looked already and does not sleep yet holds it.
            drop(lock(&self.mutex));
            self.told.notify_all();
        }
    }
}
