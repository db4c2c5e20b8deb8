//! Atomics, locks and condition variables: loom's in the models of `loom/`, else the standard library's.
//!
//! `waker.rs` and `notifier.rs` use nothing else to synchronise threads, so loom sees every step of them. The loom
//! crate includes this file too.

// `loom` is set by loom/build.rs, `tsan` by script/sanitize. Newer compilers warn about names that Cargo.toml does not
// declare; Rust 1.63 does not know that warning.
#![allow(unknown_lints, unexpected_cfgs)]

#[cfg(loom)]
pub use loom::sync::{
    atomic::{fence, AtomicU8, AtomicUsize, Ordering},
    Condvar, Mutex, MutexGuard,
};
#[cfg(not(loom))]
pub use std::sync::{
    atomic::{fence, AtomicU8, AtomicUsize, Ordering},
    Condvar, Mutex, MutexGuard,
};

#[cfg(not(any(tsan, feature = "sim")))]
use std::sync::PoisonError;
#[cfg(tsan)]
use std::sync::TryLockError;

#[cfg(feature = "sim")]
pub use crate::sys::sim::lock;

/// Locks a mutex, also after a panic of its holder: everything that is locked here is valid at every moment.
#[cfg(not(any(tsan, feature = "sim")))]
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks a mutex in a way that the thread sanitizer sees. It misses a lock that the thread had to wait for: that part
/// of the standard library is compiled without the sanitizer.
#[cfg(tsan)]
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    loop {
        match mutex.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            Err(TryLockError::Poisoned(guard)) => return guard.into_inner(),
            Ok(guard) => return guard,
        }
    }
}
