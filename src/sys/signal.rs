//! Signals that this library sends to its own process.

use std::os::raw::c_int;

/// Returns the id of the calling thread.
pub fn current_thread() -> i32 {
    // SAFETY: takes nothing and returns a number, which always fits.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// Returns what a signal does in this process: the address of its handler, or the number of the default or of ignoring it.
/// Returns 0, the default, for an unknown signal.
pub fn action(signal: c_int) -> usize {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer changes nothing. The struct is plain data, for which zeros are valid if the call fails.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction
    }
}

/// Sends a signal to a thread of this process. Does nothing if there is no such thread.
pub fn send_to_thread(process: i32, thread: i32, signal: c_int) {
    // SAFETY: takes three numbers. The kernel refuses a thread that is not of this process.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
}

/// Sends a signal to this process; to its process group if this process leads one, and so to the commands that it runs.
fn send_to_group(signal: c_int) {
    // SAFETY: these take numbers at most. 0 stands for the group of this process.
    unsafe {
        let process = libc::getpid();
        libc::kill(if libc::getpgrp() == process { 0 } else { process }, signal);
    }
}

/// Asks this process to end, with its process group if it leads one.
pub fn terminate() {
    send_to_group(libc::SIGTERM);
}

/// Ends this process at once, with its process group if it leads one.
pub fn kill() {
    send_to_group(libc::SIGKILL);
}
