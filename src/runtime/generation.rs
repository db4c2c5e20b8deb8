//! The number of forks of this process, and the locks that keep forks out of the reactor's turns.
//!
//! A forked child has the memory of its parent but not its threads. Everything that belongs to the reactor's thread
//! therefore stores the generation that made it, and a child leaves alone what an earlier generation made.

use super::wake::turn_lock::TurnLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

/// The number of forks between this process and the one that loaded the library.
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// The number of forks of this process and its ancestors.
static FORKS: AtomicU32 = AtomicU32::new(0);
per_process! {
    /// Held by the reactor while it changes what a child would inherit, and during a fork.
    pub(super) static TURNS: TurnLock = TurnLock { next: Mutex::new(()), running: Mutex::new(()) };
}

/// Returns the generation of this process. A child's generation differs from its parent's.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Acquire)
}

/// Returns the number of forks so far. If it has changed, a child may hold what existed before.
pub(crate) fn fork_count() -> u32 {
    FORKS.load(Ordering::Acquire)
}

/// Begins a turn of the reactor, which lasts until the guard is dropped. Forks happen before or after it.
pub(crate) fn lock_turn() -> MutexGuard<'static, ()> {
    TURNS.lock_turn()
}

/// Called after a fork, in the parent and in the child, while the locks are held.
pub(super) fn count_fork(is_child: bool) {
    GENERATION.fetch_add(is_child.into(), Ordering::AcqRel);
    FORKS.fetch_add(1, Ordering::AcqRel);
}
