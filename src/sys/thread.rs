//! Threads beside an interpreter, and what happens to them when it forks.

use std::io;
use std::mem::MaybeUninit;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that no signal handler ever runs on: perl's would crash there, for no interpreter belongs to it.
/// What the thread itself causes, such as a fault, is not blocked.
///
/// # Errors
///
/// If the system has no room for a thread.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let before = block_signals();
    let thread = Builder::new().name(name.into()).spawn(body);
    restore_signals(&before);
    thread
}

/// A thread inherits the mask of the one that starts it.
fn block_signals() -> libc::sigset_t {
    let mut blocked = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: each set is written by the first call that gets it, before anything reads it; on an error of the last
    // (an unknown `how`, which this is not) `before` would be the empty set.
    unsafe {
        libc::sigemptyset(before.as_mut_ptr());
        libc::sigfillset(blocked.as_mut_ptr());
        for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP] {
            libc::sigdelset(blocked.as_mut_ptr(), fault);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, blocked.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: the set was written by `block_signals`; no old one is asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

/// Has functions called around every fork of this process: before it, then in the parent, and in the child, all by the
/// thread that forks. They must not panic, and the child's must not wait for a lock that `before` has not taken.
///
/// # Errors
///
/// If there is no memory.
pub fn at_fork(before: extern "C" fn(), in_parent: extern "C" fn(), in_child: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the functions are there for as long as the process is: the library is never unloaded (`-z nodelete`).
    match unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Has a function called when this process, or a child of it, exits in any way that runs such functions, as `exit` of the
/// C library does.
///
/// # Errors
///
/// If there is no memory.
pub fn at_exit(function: extern "C" fn()) -> io::Result<()> {
    // SAFETY: as for `at_fork`.
    match unsafe { libc::atexit(function) } {
        0 => Ok(()),
        _ => Err(io::ErrorKind::OutOfMemory.into()),
    }
}
