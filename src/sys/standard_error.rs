//! Standard error, which the server may have made a file, a terminal, a pipe or a socket. A write never makes this process
//! wait.

use super::descriptor::is_null;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fd::AsFd;
use rustix::io::{fcntl_getfd, write};
use std::io::stderr;

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Returns true if nobody reads what is written there: it is closed, or `/dev/null`.
pub fn is_unread() -> bool {
    let stderr = stderr();
    !cfg!(feature = "sim") && (fcntl_getfd(&stderr).is_err() || is_null(stderr.as_fd()))
}

/// Writes bytes if they are taken at once, as a pipe takes up to 4096 of them (PIPE_BUF). Returns whether they were.
pub fn write_at_once(bytes: &[u8]) -> bool {
    #[cfg(feature = "sim")]
    return super::sim::world().log(bytes);
    #[cfg(not(feature = "sim"))]
    {
        let stderr = stderr();
        let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
        let is_ready = matches!(poll(&mut polled, Some(&AT_ONCE)), Ok(1));
        is_ready && write(&stderr, bytes) == Ok(bytes.len())
    }
}
