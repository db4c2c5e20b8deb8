//! The effect of a fork on the connections to hub processes.

use super::losses;
use super::registrations::lock_remotes;
use super::serving::lock_serving;
use super::start;
use crate::runtime::process::forks;
use std::io;

/// Registers the function below, which is called before each fork. Fails if the system has no memory.
pub(super) fn register() -> io::Result<()> {
    forks::register_with(lock_all)
}

/// Takes the locks of this layer, in their order. The function that it returns holds them, and is called in the child.
fn lock_all() -> Box<dyn FnOnce(bool)> {
    // A child would keep the lock of a hub process. First: the thread that holds this one may itself fork, to start a hub
    // process, and takes the others then.
    let connecting = start::before_fork();
    // The child closes the connections of its parent.
    let mut remotes = lock_remotes();
    // The child serves the same hubs.
    let mut serving = lock_serving();
    Box::new(move |had_reactor| {
        let _connecting = connecting;
        losses::enter_child();
        // Closes the copies of connections to hubs at once: otherwise the hub would not see the end of the parent, which may
        // hold a lease, before the end of a child that makes no call.
        remotes.leave_to_parent();
        serving.enter_child(had_reactor);
    })
}
