//! Waiting for something to change, which costs those who change it next to nothing while nobody waits.
//!
//! Who waits says so first and looks then; who has changed something looks afterwards whether somebody waits. As with the
//! [`waker`](super::bell), in the one total order that the fences make of these four steps one of the two sees the other.
//! `loom/` tries every interleaving.

// Rust 1.63 warns if it is told of this name, newer ones if not.
#![allow(unknown_lints, unexpected_cfgs)]

#[cfg(loom)]
use loom::sync::atomic::{fence, AtomicUsize, Ordering};
#[cfg(loom)]
use loom::sync::{Condvar, Mutex};
#[cfg(not(loom))]
use std::sync::atomic::{fence, AtomicUsize, Ordering};
#[cfg(not(loom))]
use std::sync::{Condvar, Mutex};

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
        let mut guard = self.mutex.lock().unwrap_or_else(PoisonError::into_inner);
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
            drop(self.mutex.lock().unwrap_or_else(PoisonError::into_inner));
            self.told.notify_all();
        }
    }
}
