//! A fork: what happens to the reactor of this process before it, and after it in the parent and in the child.
//!
//! A forked child starts a reactor of its own. It never touches or drops what its parent's reactor held, because a thread that
//! does not exist in the child may have held the locks. What becomes of the connections to hub processes is in `remote`'s
//! `fork_handlers`.

use super::{lock_process, Process, PROCESS};
use crate::runtime::generation::{begin_fork, end_fork, enter_child, TurnGuard};
use crate::runtime::wake::end_queue;
use crate::runtime::wake::sync::lock;
use crate::sys::thread;
use std::cell::RefCell;
use std::io;
use std::sync::{MutexGuard, Once};
use std::time::Duration;

/// How long a fork waits until the pushes of the running handler are sent, so that clients get them before the child's.
const FLUSH_BEFORE_FORK: Duration = Duration::from_secs(2);

/// The locks that a fork holds.
type ForkGuards = (MutexGuard<'static, Process>, TurnGuard);

thread_local! {
    /// The guards, in the thread that forks, from before the fork until after it.
    static FORK_GUARDS: RefCell<Option<ForkGuards>> = const { RefCell::new(None) };
}

extern "C" fn before_fork() {
    let process = lock_process();
    if let Some((reactor, state)) =
        process.running().and_then(|reactor| Some((reactor, reactor.running_handler.stream()?)))
    {
        let is_sent = || state.buffered_bytes() == 0 || state.reason().is_some() || reactor.is_dead();
        reactor.wait(FLUSH_BEFORE_FORK, is_sent);
    }
    let no_fork = begin_fork();
    // Fails only while the thread ends, which does not fork.
    let _ = FORK_GUARDS.try_with(|guards| *guards.borrow_mut() = Some((process, no_fork)));
}

extern "C" fn after_fork() {
    let guards = FORK_GUARDS.try_with(|guards| guards.borrow_mut().take());
    match guards.ok().flatten() {
        Some((_process, no_fork)) => end_fork(Some(no_fork)),
        None => end_fork(None),
    }
}

extern "C" fn after_fork_in_child() {
    enter_child();
    end_queue::enter_child();
    after_fork();
    lock(&PROCESS).forget_parent();
}

/// Registers the functions above, which the C library calls around each fork. Does so once.
///
/// # Errors
///
/// If the system has no memory.
pub(crate) fn register() -> io::Result<()> {
    static HANDLERS: Once = Once::new();
    let mut registered = Ok(());
    HANDLERS.call_once(|| registered = thread::at_fork(before_fork, after_fork, after_fork_in_child));
    registered
}
