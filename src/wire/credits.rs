//! How much a worker may publish before the hub process has handled it: what bounds the events that wait for a hub's store.
//!
//! Only publishes spend credits. All other requests are carried out when they are read, so nothing is to be bounded, and a
//! store that is slow keeps none of them waiting.

/// How many bytes of publishes a worker may have sent that the hub process has not handled.
pub const WINDOW_BYTES: u64 = 4 << 20;

/// The credits of one connection, counted by each side.
///
/// A publish may be sent while there are credits left, even if it costs more than these: an event of any size can be sent, and
/// the hub process never has more than the window and one frame to handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credits {
    left: i64,
    /// The bytes that were handled and are not granted again yet.
    handled: u64,
}

impl Credits {
    /// Begins with the credits of a [`Welcome`](super::Welcome).
    pub fn new(bytes: u64) -> Self {
        Self { left: i64::try_from(bytes).unwrap_or(i64::MAX), handled: 0 }
    }

    /// Continues in a hub process that has handled all publishes, and has still to grant so many bytes again.
    pub fn after(bytes: u64, handled: u64) -> Self {
        Self { handled, ..Self::new(bytes.saturating_sub(handled)) }
    }

    /// Returns the bytes that are still to be granted again.
    pub fn handled(&self) -> u64 {
        self.handled
    }

    /// Returns true if a publish may be sent.
    pub fn may_send(&self) -> bool {
        self.left > 0
    }

    /// Counts a frame of that many bytes. Returns false if it was not allowed.
    #[must_use]
    pub fn spend(&mut self, bytes: usize) -> bool {
        let may_send = self.may_send();
        self.left = self.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        may_send
    }

    /// In the worker, adds what the hub process has granted.
    pub fn add(&mut self, bytes: u64) {
        self.left = self.left.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// In the hub process, counts a frame as handled. Returns the bytes to grant, if they are worth a message.
    pub fn handle(&mut self, bytes: usize) -> Option<u64> {
        self.handled += bytes as u64;
        if self.handled < WINDOW_BYTES / 4 {
            return None;
        }
        let granted = std::mem::take(&mut self.handled);
        self.add(granted);
        Some(granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_obeys_its_credits_is_never_cut_off_and_never_stuck() {
        for size in [1, 100, WINDOW_BYTES as usize / 4, WINDOW_BYTES as usize * 3] {
            let (mut worker, mut hub) = (Credits::new(WINDOW_BYTES), Credits::new(WINDOW_BYTES));
            for _ in 0..WINDOW_BYTES as usize * 4 / size + 4 {
                let mut sent = 0;
                while worker.may_send() && sent < 3 {
                    assert!(worker.spend(size) && hub.spend(size));
                    sent += 1;
                }
                assert!(sent > 0, "{size}");
                for _ in 0..sent {
                    worker.add(hub.handle(size).unwrap_or(0));
                }
            }
        }
    }

    #[test]
    fn a_frame_without_credits_is_refused() {
        let mut credits = Credits::new(10);
        assert_eq!([credits.spend(9), credits.spend(9), credits.spend(1)], [true, true, false]);
    }
}
