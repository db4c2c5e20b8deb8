//! What a process that stands on its own needs: a session, no inherited descriptors, signals as readiness.

use super::descriptor;
use rustix::fd::{FromRawFd, OwnedFd, RawFd};
use std::io;
use std::mem::MaybeUninit;

/// Begins a session of this process's own: signals to the group or the terminal of its parent do not reach it any more.
///
/// # Errors
///
/// If this process leads a process group already.
pub fn begin_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Has the next `exec` close all descriptors but the standard ones.
///
/// # Errors
///
/// If the system does not say which descriptors are open.
pub fn close_at_exec() -> io::Result<()> {
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for number in open.into_iter().filter(|number| *number > 2) {
        // Fails for the descriptor of the listing, which is closed.
        let _ = descriptor::set_close_at_exec(number);
    }
    Ok(())
}

/// Blocks the signals that ask a process to end (INT, TERM, HUP), in this thread and in those that it starts. Returns a
/// descriptor that is readable when one of them has come, even if the process that started this one ignores them.
///
/// # Errors
///
/// If the limit of descriptors is reached.
pub fn termination_signals() -> io::Result<OwnedFd> {
    let mut signals = MaybeUninit::uninit();
    // SAFETY: the first call writes the set, before anything reads it. The default action is no function of this process, and
    // never runs, because the signals are blocked. `signalfd` returns a new descriptor, which nothing else
    // owns, or -1.
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(signals.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, signals.as_ptr(), std::ptr::null_mut());
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::signal(signal, libc::SIG_DFL);
        }
        match libc::signalfd(-1, signals.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            number => Ok(OwnedFd::from_raw_fd(number)),
        }
    }
}
