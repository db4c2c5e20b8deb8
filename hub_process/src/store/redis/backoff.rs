//! How long a thread of the store waits before it tries again.

use super::call_error::CallError;
use eventsource_xs::remote::calls::random;
use std::time::Duration;

/// The pauses between attempts to connect: the first, the longest, and the one after an error that only people can correct.
const PAUSES: (Duration, Duration, Duration) =
    (Duration::from_millis(50), Duration::from_secs(1), Duration::from_secs(3));

/// Pauses between attempts: each is twice as long, and random, so that many hubs do not come at once.
pub struct Backoff(Duration);

impl Backoff {
    pub fn new() -> Self {
        Self(PAUSES.0)
    }

    pub fn next(&mut self, fault: &CallError) -> Duration {
        let pause = match fault {
            CallError::Refused(refusal) if refusal.needs_people() => PAUSES.2,
            _ => self.0,
        };
        self.0 = (self.0 * 2).min(PAUSES.1);
        let random = random::bytes::<1>().map_or(128, |[byte]| u32::from(byte));
        pause / 2 + pause * random / 512
    }
}
