//! The effect of a fork on the connections to hub processes.

use super::losses;
use super::registrations::lock_remotes;
use super::serving::lock_serving;
use super::sockets::{before_fork, close_copies};
use crate::runtime::process::forks;
use std::io;

/// Registers the function below, which is called before each fork. Fails if the system has no memory.
pub(super) fn register() -> io::Result<()> {
    forks::register_with(lock_all)
}

/// Takes the locks of this layer, in their order. The function that it returns holds them, and is called in the child.
fn lock_all() -> Box<dyn FnOnce(bool)> {
    // A child would keep the lock of a hub process, and its copies of sockets. First: the thread that holds this one may itself
    // fork, to start a hub process, and takes the others then.
    let mut sockets = before_fork();
    // The child has connections of its own.
    let mut remotes = lock_remotes();
    // The child serves the same hubs.
    let mut serving = lock_serving();
    Box::new(move |had_reactor| {
        losses::enter_child();
        remotes.leave_to_parent();
        sockets.iter_mut().for_each(|sockets| close_copies(sockets));
        serving.enter_child(had_reactor);
    })
}
