//! A client to which a relay copies what a hub writes: is it dead? The hub cannot tell, as it sees only the relay.

use crate::reactor::stall_watchdog::StallWatchdog;
use crate::sys::descriptor;
use rustix::fd::RawFd;
use std::time::{Duration, Instant};

/// The watch of a client since its socket was full.
#[derive(Debug, Default)]
pub struct RelayedClient {
    watchdog: Option<StallWatchdog>,
}

impl RelayedClient {
    /// Looks at the client, as the reactor does at its own. Returns the time until the next look, or `None` if the client is
    /// dead.
    pub fn look(&mut self, number: RawFd, timeout: Duration) -> Option<Duration> {
        let now = Instant::now();
        let (untaken, window) = descriptor::untaken(number);
        let seen = self.watchdog.take().filter(|_| untaken > 0);
        let mut watchdog = seen.unwrap_or_else(|| StallWatchdog::new(untaken, window, now));
        watchdog.look(untaken, window, now);
        self.watchdog = Some(watchdog);
        Some(watchdog.next_look(timeout, now).saturating_duration_since(now))
            .filter(|_| !watchdog.is_over(timeout, now))
    }
}
