//! The events of the hub before, while the store takes them. Nobody reads this hub until it has: they are history, and new to
//! no client.

use super::drafts::Drafts;
use super::losses::Losses;

/// Events that move to the store.
pub struct MovedEvents {
    /// The last ticket of those that wait.
    last: Option<u64>,
    losses: Losses,
}

impl MovedEvents {
    pub fn new() -> Self {
        Self { last: None, losses: Losses::new("an event of before is", "events of before are") }
    }

    /// Waits for the drafts that wait now.
    pub fn begin(&mut self, drafts: &Drafts) {
        self.last = drafts.tickets().next_back();
    }

    /// Takes note that an event is lost. Its publisher was answered.
    pub fn lose(&mut self, why: &str) {
        self.losses.add(1, why);
    }

    pub fn log_losses(&mut self) {
        self.losses.log();
    }

    /// Returns true if some are not stored yet.
    pub fn are_waiting(&self) -> bool {
        self.last.is_some()
    }

    /// Returns true if the store has answered for the last of them, which it does once.
    pub fn end(&mut self, drafts: &Drafts) -> bool {
        let has_ended = self.last.is_some_and(|last| !drafts.has_through(last));
        if has_ended {
            self.last = None;
        }
        has_ended
    }
}
