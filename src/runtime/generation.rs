//! How often this process has forked, and the lock that keeps forks out of the reactor's turns.
//!
//! A forked child has the memory of its parent but not its threads. Everything that belongs to the reactor's thread
//! therefore stores the generation that made it, and a child leaves alone what an earlier generation made.

use super::wake::sync::lock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

/// The number of forks between this process and the one that loaded the library.
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// The number of forks of this process and its ancestors.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// Held by the reactor while it changes what a child would inherit, and during a fork.
static TURN: Mutex<()> = Mutex::new(());
/// Whether a fork waits for the end of the reactor's turn.
static IS_FORKING: AtomicBool = AtomicBool::new(false);

/// While this guard exists no fork begins, except that of the thread that holds it.
pub(crate) type TurnGuard = MutexGuard<'static, ()>;

/// Returns the generation of this process. A child's generation differs from its parent's.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Acquire)
}

/// Returns the number of forks so far. If it has changed, a child may hold what existed before.
pub(crate) fn fork_count() -> u32 {
    FORKS.load(Ordering::Acquire)
}

/// Begins a turn of the reactor, which lasts until the guard is dropped. Forks happen before or after it.
///
/// A fork that waits goes first. A mutex is not fair: a busy reactor would take it again and again.
pub(crate) fn lock_turn() -> TurnGuard {
    while IS_FORKING.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    lock(&TURN)
}

/// Called before a fork. Waits for the end of the reactor's turn. No turn begins before [`end_fork`].
pub(super) fn begin_fork() -> TurnGuard {
    IS_FORKING.store(true, Ordering::Release);
    lock(&TURN)
}

/// Called in the child before [`end_fork`].
pub(super) fn enter_child() {
    GENERATION.fetch_add(1, Ordering::AcqRel);
}

/// Called after a fork, in the parent and in the child, with the guard of [`begin_fork`].
pub(super) fn end_fork(guard: Option<TurnGuard>) {
    FORKS.fetch_add(1, Ordering::AcqRel);
    drop(guard);
    IS_FORKING.store(false, Ordering::Release);
}
