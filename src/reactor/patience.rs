//! Patience with a slow client, which takes less at a time than the kernel expects.
//!
//! The kernel ends a connection whose peer acknowledges nothing for the stream's timeout. It takes a client for dead, too, that
//! reads all the time but whose window stays smaller than a segment: 64 KB on the loopback interface. So the reactor looks
//! itself, several times in a timeout, after the socket has stalled or has taken much: how much of what the socket has taken is
//! still to be taken by the client? While there is any, the kernel's timer is off. A client that has taken nothing between the
//! looks of a whole timeout is dead. What the kernel has for a client when its stream ends, it sends in its own time.

use crate::stream::after;
use std::time::{Duration, Instant};

/// The bytes after which a client that has not stalled is looked at. It takes fewer in time, or is dead.
pub(super) const MUCH: u16 = if cfg!(test) { 1024 } else { 16 << 10 };

/// The looks in a timeout.
const LOOKS: u32 = 4;

/// What was seen of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// When the client has taken something last, as far as was seen.
    since: Instant,
    /// What it would still have to take if it had taken nothing since the last look, in bytes. None before the first look.
    expected: Option<usize>,
    /// Whether the kernel counts the bytes that it has taken, and nothing beside. If not, what it takes tells nothing of what
    /// the client has taken, but that it is alive.
    is_exact: bool,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, expected: None, is_exact: true }
    }

    /// Returns true once the client was looked at: the kernel's timer is off.
    pub(super) fn has_begun(&self) -> bool {
        self.expected.is_some()
    }

    /// Begins with the first look, which may be late, and tells nothing of the time before.
    pub(super) fn begin(&mut self, is_exact: bool, timeout: Duration, now: Instant) {
        self.is_exact = is_exact;
        let planned = now.checked_sub(timeout / LOOKS).unwrap_or(now);
        self.since = self.since.max(planned);
    }

    /// Counts what the socket has taken.
    pub(super) fn count_taken(&mut self, bytes: usize) {
        if let Some(expected) = self.expected.as_mut().filter(|_| bytes > 0) {
            *expected = if self.is_exact { expected.saturating_add(bytes) } else { usize::MAX };
        }
    }

    /// Looks at a client that has that many bytes still to take. Returns false if it is dead.
    pub(super) fn look(&mut self, untaken: usize, timeout: Duration, now: Instant) -> bool {
        if matches!(self.expected, Some(expected) if untaken < expected) {
            self.since = now;
        }
        self.expected = Some(untaken);
        now < after(self.since, timeout)
    }

    /// When the next look is due.
    pub(super) fn next_look(&self, timeout: Duration, now: Instant) -> Instant {
        after(now, timeout / LOOKS).min(after(self.since, timeout))
    }
}
