//! The socketpair of a takeover, which is kept for the next one: a new pair would cost more than all other calls on it.
//!
//! A pair is kept only if no other process can have a copy of it, and used again only if it is still this pair and nothing
//! is in it. Otherwise a new one is made.

use super::forks::fork_count;
use crate::sys::{descriptor, socket};
use rustix::fd::{AsFd, OwnedFd};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

/// A socketpair.
#[derive(Debug)]
pub(super) struct Pair {
    /// The end that a server writes to. The server has a copy of it.
    pub(super) theirs: OwnedFd,
    pub(super) ours: OwnedFd,
    /// The number of forks when the pair was made, or `None` if forks were not counted then.
    forks: Option<u32>,
    /// The [cookies](socket::cookie) of the two ends.
    cookies: [u64; 2],
}

/// The pair that waits for the next takeover. A thread that does not get the lock at once goes without: in a forked child
/// nobody might unlock it.
static SPARE: Mutex<Option<Pair>> = Mutex::new(None);
/// Whether forks are counted: a stream has begun, and with it the reactor.
static COUNTS_FORKS: AtomicBool = AtomicBool::new(false);

impl Pair {
    /// Returns the spare pair, or a new one.
    ///
    /// # Errors
    ///
    /// If the limit of descriptors is reached.
    pub(super) fn take() -> io::Result<Self> {
        let spare = SPARE.try_lock().ok().and_then(|mut spare| spare.take());
        if let Some(pair) = spare.and_then(Self::if_usable) {
            return Ok(pair);
        }
        let (theirs, ours) = socket::pair()?;
        let cookies = [socket::cookie(theirs.as_fd()), socket::cookie(ours.as_fd())];
        let forks = Some(fork_count()).filter(|_| COUNTS_FORKS.load(Ordering::Acquire));
        Ok(Self { theirs, ours, forks, cookies })
    }

    /// Keeps the pair for the next takeover. The stream of this one has begun, and its server writes elsewhere.
    pub(super) fn keep(self) {
        COUNTS_FORKS.store(true, Ordering::Release);
        if self.is_private() && !self.cookies.contains(&0) {
            if let Ok(mut spare) = SPARE.try_lock() {
                if let Some(former) = spare.replace(self) {
                    former.close_own();
                }
            }
        }
    }

    /// Returns true if no process was forked that may have a copy.
    fn is_private(&self) -> bool {
        self.forks == Some(fork_count())
    }

    fn if_usable(self) -> Option<Self> {
        if self.is_private() && self.is_own() && self.is_empty() {
            return Some(self);
        }
        self.close_own();
        None
    }

    /// Returns true if the two descriptors are still those of this pair: daemons close all descriptors, and the numbers may be
    /// reused.
    fn is_own(&self) -> bool {
        self.cookies == [socket::cookie(self.theirs.as_fd()), socket::cookie(self.ours.as_fd())]
    }

    fn is_empty(&self) -> bool {
        let read = socket::receive(self.ours.as_fd(), &mut [0; 1]);
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Closes the pair, unless its numbers belong to other code by now.
    fn close_own(self) {
        if !self.is_own() {
            let Self { theirs, ours, .. } = self;
            let _numbers = [theirs, ours].map(descriptor::into_number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    fn pair() -> Pair {
        COUNTS_FORKS.store(true, Ordering::Release);
        let (theirs, ours) = socket::pair().expect("a pair of sockets");
        let cookies = [socket::cookie(theirs.as_fd()), socket::cookie(ours.as_fd())];
        Pair { theirs, ours, forks: Some(fork_count()), cookies }
    }

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn a_pair_is_used_again_only_if_it_is_private_and_empty() {
        assert!(pair().if_usable().is_some());
        assert!(Pair { forks: None, ..pair() }.if_usable().is_none());
        assert!(Pair { forks: Some(fork_count().wrapping_sub(1)), ..pair() }.if_usable().is_none());
        let written = pair();
        socket::send_all(written.theirs.as_fd(), b"late", std::time::Duration::ZERO);
        assert!(written.if_usable().is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn a_pair_whose_numbers_belong_to_other_sockets_is_left_alone() {
        let (pair, (other, mut peer)) = (pair(), UnixStream::pair().expect("a pair of sockets"));
        descriptor::replace(pair.ours.as_raw_fd(), other.as_raw_fd()).expect("both are open");
        drop(other);
        assert!(pair.if_usable().is_none());
        std::io::Write::write_all(&mut peer, b"x").expect("the other socket is still open");
    }
}
