//! When is a client dead that takes nothing? One that is slow, but takes something, is never ended here: its hub decides that
//! when a log has evicted what it was still to be sent (`gaps`), and a push when its buffer is full.
//!
//! The kernel's own timer (`TCP_USER_TIMEOUT`) cannot tell. It ends clients that read all the time but whose window stays
//! smaller than a segment, which is 64 KB on the loopback interface. After a stall it may count from the beginning of an
//! earlier one: since Linux 5.11 `icsk_probes_tstamp` is cleared only by a window with room for all that was written at once.
//! So that timer is off, and the reactor looks itself, a quarter of the timeout after the socket has taken something: what has
//! the client still to take? If it has taken everything, nobody looks until the socket takes more. Otherwise the reactor looks
//! four times in a timeout. The client has taken something if it has acknowledged bytes, or has made room for more: the kernel
//! may send nothing for a while into a window that has opened, as it probes at growing intervals. Other acknowledgements show
//! only that the client's machine lives. A client that has taken nothing between the looks of a whole timeout is dead.
//!
//! What the kernel has for a client when its stream ends, it sends in its own time.

use crate::stream::{after, Untaken};
use std::time::{Duration, Instant};

/// The looks in a timeout.
const LOOKS: u32 = 4;

/// When the first look is due at a client whose socket has taken something.
pub(super) fn first_look(timeout: Duration, now: Instant) -> Instant {
    after(now, timeout / LOOKS)
}

/// The watch of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StallWatchdog {
    /// The last look before which the client has, or may have, taken something.
    since: Instant,
    /// The bytes that it has still to take if it has taken nothing since the last look.
    expected: usize,
    /// For how many bytes it had room then. `None` if the kernel counts more than the bytes that the socket has taken: then
    /// what the socket takes tells nothing of what the client has taken, but that it is alive.
    window: Option<u32>,
}

impl StallWatchdog {
    /// Begins with the first look, which tells nothing of the time before.
    pub(crate) fn new(untaken: usize, window: Option<u32>, now: Instant) -> Self {
        Self { since: now, expected: untaken, window }
    }

    /// Continues the watch of another program, of which this was so at a time.
    pub(super) fn resume(Untaken { since, bytes, window }: Untaken, at: Instant) -> Self {
        Self { since: at.checked_sub(since).unwrap_or(at), expected: bytes, window }
    }

    /// Returns how another program continues the watch.
    pub(super) fn untaken(&self, now: Instant) -> Untaken {
        let since = now.saturating_duration_since(self.since);
        Untaken { since, bytes: self.expected, window: self.window }
    }

    /// Counts what the socket has taken.
    pub(super) fn count_taken(&mut self, bytes: usize) {
        self.expected = if self.window.is_some() { self.expected.saturating_add(bytes) } else { usize::MAX };
    }

    /// Looks at a client that has that many bytes still to take.
    pub(crate) fn look(&mut self, untaken: usize, window: Option<u32>, now: Instant) {
        if untaken < self.expected || window > self.window {
            self.since = now;
        }
        self.expected = untaken;
        self.window = window;
    }

    /// Returns true if the client is dead.
    pub(crate) fn is_over(&self, timeout: Duration, now: Instant) -> bool {
        after(self.since, timeout) <= now
    }

    /// When the next look is due.
    pub(crate) fn next_look(&self, timeout: Duration, now: Instant) -> Instant {
        after(now, timeout / LOOKS).min(after(self.since, timeout))
    }
}
