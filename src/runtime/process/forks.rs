//! A fork: the locks that it takes before, and what happens after it in the parent and in the child.
//!
//! A forked child starts a reactor of its own. It never touches or drops what its parent's reactor held, because a thread that
//! does not exist in the child may have held its locks. The fork itself takes the locks that a child needs, so no other thread
//! holds one of them at that moment. [`lock_all`] has all of them, in their order: a thread that holds one takes only later
//! ones, or tries. `loom/` has a model of that.

use super::lock_process;
use crate::runtime::generation::{count_fork, TURNS};
use crate::runtime::remote::registrations::lock_remotes;
use crate::runtime::remote::serving::lock_serving;
use crate::runtime::remote::{sockets, LOSSES};
use crate::runtime::wake::{end_queue, sync::lock};
use crate::sys::thread;
use std::cell::RefCell;
use std::io;
use std::sync::Once;
use std::time::Duration;

/// The time for which a fork waits until the pushes of the running handler are sent, so that clients get them before the
/// child's.
const FLUSH_BEFORE_FORK: Duration = Duration::from_secs(2);

thread_local! {
    /// The function that keeps the locks and is called in the child: in the thread that forks, from before the fork until
    /// after it.
    static LOCKED: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Takes all locks, in their order, with the reason for each. The function that it returns holds them.
fn lock_all() -> Box<dyn FnOnce()> {
    // A child would keep the lock of a hub process, and its copies of sockets. First: the thread that holds this one may itself
    // fork, to start a hub process, and takes the others then.
    let mut sockets = sockets::before_fork();
    // The child has connections of its own. Calls of named hubs take the lock of the process while they hold this one.
    let mut remotes = lock_remotes();
    // The child serves the same hubs.
    let mut serving = lock_serving();
    // The child replaces the reactor and the hubs.
    let mut process = lock_process();
    // While turns still begin.
    if let Some((reactor, state)) =
        process.running().and_then(|reactor| Some((reactor, reactor.running_handler.stream()?)))
    {
        let is_sent = || state.buffered_bytes() == 0 || state.reason().is_some() || reactor.is_dead();
        reactor.wait(FLUSH_BEFORE_FORK, is_sent);
    }
    // The child finds sockets and the states of their streams in step. Last: a turn only tries the locks above.
    let turns = (lock(&TURNS.next), lock(&TURNS.running));
    Box::new(move || {
        let _turns = turns;
        let had_reactor = process.started.is_some();
        process.forget_parent();
        LOSSES.enter_child();
        remotes.leave_to_parent();
        if let Some(sockets) = &mut sockets {
            sockets::close_copies(sockets);
        }
        serving.enter_child(had_reactor);
    })
}

extern "C" fn before_fork() {
    // Fails only while the thread ends, which does not fork.
    let _ = LOCKED.try_with(|locked| *locked.borrow_mut() = Some(lock_all()));
}

fn end_fork(is_child: bool) -> Option<Box<dyn FnOnce()>> {
    count_fork(is_child);
    LOCKED.try_with(|locked| locked.borrow_mut().take()).ok().flatten()
}

extern "C" fn after_fork() {
    drop(end_fork(false));
}

extern "C" fn after_fork_in_child() {
    end_queue::enter_child();
    if let Some(enter_child) = end_fork(true) {
        enter_child();
    }
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
