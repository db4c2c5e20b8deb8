//! Threads beside an interpreter, and functions that run around a fork and at exit.

#[cfg(feature = "sim")]
use super::sim;
use std::io;
use std::mem::MaybeUninit;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Container runtimes that do not know the system call refuse it, instead of saying that there is none.
const REFUSED: &str =
    "no thread can be started, because the system call clone3 is refused; update Docker to 20.10.10 or newer, \
                       or allow clone3 in the seccomp profile of the container";

/// Starts a thread that no signal handler ever runs on: perl's handlers would crash there, because no interpreter belongs to
/// the thread. A signal for the process does not interrupt the thread's system calls either, so that no client of a store takes
/// it for a failure. Signals that the thread itself causes, such as a fault, are not blocked. Fails if the system cannot create
/// a thread.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    #[cfg(feature = "sim")]
    let body = sim::world().adopt(Box::new(body));
    let before = block_signals();
    let thread = Builder::new().name(name.into()).spawn(body);
    restore_signals(&before);
    thread.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => io::Error::new(error.kind(), REFUSED),
        _ => error,
    })
}

/// Lets this thread do nothing for a time.
pub fn sleep(time: Duration) {
    #[cfg(not(feature = "sim"))]
    std::thread::sleep(time);
    #[cfg(feature = "sim")]
    sim::wait_within(sim::Awaited::Time, Some(time));
}

/// Blocks signals on this thread and returns the previous mask. A thread inherits the mask of the one that starts it.
fn block_signals() -> libc::sigset_t {
    let mut blocked = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: each set is written by the first call that gets it, before anything reads it. The last call fails only for an
    // unknown `how`, which SIG_SETMASK is not; `before` would then be the empty set.
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
    // SAFETY: `block_signals` has written the set; the null pointer asks for no previous mask.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

/// Registers functions that run around every fork of this process: before it, after it in the parent, and after it in the
/// child, each on the thread that forks. They must not panic. `in_child` must not wait for a lock that `before` has not
/// taken. Fails if the system has no memory.
pub fn at_fork(before: extern "C" fn(), in_parent: extern "C" fn(), in_child: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the functions exist until the process ends, because the library is never unloaded (`-z nodelete`).
    match unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Registers a function that runs when this process, or a child of it, exits in a way that runs such functions, as `exit`
/// of the C library does. Fails if the system has no memory.
pub fn at_exit(function: extern "C" fn()) -> io::Result<()> {
    // SAFETY: as in `at_fork`.
    match unsafe { libc::atexit(function) } {
        0 => Ok(()),
        _ => Err(io::ErrorKind::OutOfMemory.into()),
    }
}
