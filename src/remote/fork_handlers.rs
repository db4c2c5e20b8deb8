//! The effect of a fork on the connections to hub processes.
//!
//! The functions here run around those of the runtime, which they are registered after: before a fork first, in the child
//! last.

use super::losses;
use super::registrations::{lock_remotes, Remotes};
use super::serving::{lock_serving, Serving};
use super::start;
use crate::runtime::process::{forks, lock_process};
use crate::sys::thread;
use std::cell::RefCell;
use std::io;
use std::sync::{MutexGuard, Once};

/// The locks that a fork holds.
struct HeldLocks {
    remotes: MutexGuard<'static, Remotes>,
    serving: MutexGuard<'static, Serving>,
    has_reactor: bool,
    _connecting: Option<MutexGuard<'static, ()>>,
}

thread_local! {
    /// In the thread that forks, from before the fork until after it.
    static HELD: RefCell<Option<HeldLocks>> = const { RefCell::new(None) };
}

/// Registers the functions below, which the C library calls around each fork. Does so once. Fails if the system has no memory.
pub(super) fn register() -> io::Result<()> {
    static HANDLERS: Once = Once::new();
    forks::register()?;
    let mut registered = Ok(());
    HANDLERS.call_once(|| registered = thread::at_fork(before_fork, after_fork, after_fork_in_child));
    registered
}

extern "C" fn before_fork() {
    // First: the thread that holds this one may itself fork, to start a hub process.
    let _connecting = start::before_fork();
    let (remotes, serving) = (lock_remotes(), lock_serving());
    let has_reactor = lock_process().has_started();
    // Fails only while the thread ends, which does not fork.
    let _ = HELD.try_with(|held| *held.borrow_mut() = Some(HeldLocks { remotes, serving, has_reactor, _connecting }));
}

fn take_held() -> Option<HeldLocks> {
    HELD.try_with(|held| held.borrow_mut().take()).ok().flatten()
}

extern "C" fn after_fork() {
    drop(take_held());
}

extern "C" fn after_fork_in_child() {
    losses::enter_child();
    // Closes the copies of connections to hubs at once: otherwise the hub would not see the end of the parent, which may hold
    // a lease, before the end of a child that makes no call.
    if let Some(mut held) = take_held() {
        held.remotes.leave_to_parent();
        held.serving.enter_child(held.has_reactor);
    }
}
