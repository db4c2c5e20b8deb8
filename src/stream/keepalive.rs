//! The silence of a stream: when a keepalive is due, and when its client has taken nothing for too long.

use super::{after, Stream};
use std::time::{Duration, Instant};

/// The quiet time after which an early keepalive is sent.
const EARLY_KEEPALIVE: Duration = Duration::from_secs(2);

impl Stream {
    /// Has the next keepalive come early. What holds a response back until a buffer is full may pass on the first bytes of a
    /// stream; a client that is sent more soon after them sees whether anything does.
    pub fn send_early_keepalive(&mut self) {
        self.is_early = true;
    }

    /// Records that the stream is sent a keepalive.
    pub fn set_kept_alive(&mut self) {
        self.is_early = false;
    }

    /// Records that the socket takes nothing. The first call counts until bytes are sent: others return false.
    pub fn set_stalled(&mut self, now: Instant) -> bool {
        if !self.is_stalled {
            self.since = now;
        }
        !std::mem::replace(&mut self.is_stalled, true)
    }

    /// Returns since when the socket has taken nothing. `None` if the stream is not stalled.
    pub fn stalled_since(&self) -> Option<Instant> {
        Some(self.since).filter(|_| self.is_stalled)
    }

    /// Returns true if the socket has taken nothing for the whole timeout.
    pub fn has_timed_out(&self, now: Instant) -> bool {
        matches!(self.stalled_since(), Some(since) if after(since, self.settings.timeout) <= now)
    }

    /// Returns when a keepalive will be due. `None` while the stream is stalled, or its buffer holds bytes.
    pub fn next_due(&self) -> Option<Instant> {
        let keepalive = self.settings.keepalive.filter(|_| !self.is_stalled && self.buffered_bytes == 0);
        let most = if self.is_early { EARLY_KEEPALIVE } else { Duration::MAX };
        keepalive.map(|quiet| after(self.since, quiet.min(most)))
    }

    /// Returns true if the stream was quiet: it is to be sent a keepalive.
    pub fn is_keepalive_due(&self, now: Instant) -> bool {
        matches!(self.next_due(), Some(at) if at <= now)
    }
}
