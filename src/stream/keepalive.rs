//! The silence of a stream: when a keepalive is due, and when its client has taken nothing for too long.

use super::{after, Stream};
use std::time::Instant;

impl Stream {
    /// Records that the socket takes nothing. The first call counts until bytes are sent.
    pub fn set_stalled(&mut self, now: Instant) {
        if !self.is_stalled {
            self.is_stalled = true;
            self.since = now;
        }
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
        keepalive.map(|quiet| after(self.since, quiet))
    }

    /// Returns true if the stream was quiet: it is to be sent a keepalive.
    pub fn is_keepalive_due(&self, now: Instant) -> bool {
        matches!(self.next_due(), Some(at) if at <= now)
    }
}
