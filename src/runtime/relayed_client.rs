//! A client to which a relay copies what a hub writes: is it dead? The hub cannot tell, as it sees only the relay.

use crate::reactor::patience::Patience;
use crate::sys::descriptor;
use rustix::fd::RawFd;
use std::time::{Duration, Instant};

/// What was seen of a client since its socket was full.
#[derive(Clone, Debug, Default)]
pub struct RelayedClient {
    patience: Option<Patience>,
}

impl RelayedClient {
    /// Looks at the client, as the reactor does at its own. Returns the time until the next look, or `None` if the client is
    /// dead.
    pub fn look(&mut self, number: RawFd, timeout: Duration) -> Option<Duration> {
        let now = Instant::now();
        let (untaken, window) = descriptor::untaken(number);
        let seen = self.patience.take().filter(|_| untaken > 0);
        let mut patience = seen.unwrap_or_else(|| Patience::new(untaken, window, now));
        patience.look(untaken, window, now);
        self.patience = Some(patience);
        Some(patience.next_look(timeout, now).saturating_duration_since(now))
            .filter(|_| !patience.is_over(timeout, now))
    }
}
