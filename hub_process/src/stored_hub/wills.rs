//! The wills of streams that have ended, until the store has them.

use super::drafts::{Purpose, WaitingDraft};
use super::losses::Losses;
use super::sequencer::Sequencer;
use crate::store::Draft;
use eventsource_xs::hub::Retain;
use eventsource_xs::wire::Failure;
use eventsource_xs::ErrorCode;

/// How many may wait for a store that is away.
const MOST: usize = 10_000;

/// The wills that wait until the store is up.
pub struct Wills {
    waiting: Vec<Draft>,
    losses: Losses,
}

impl Wills {
    pub fn new() -> Self {
        Self { waiting: Vec::new(), losses: Losses::new("a will is", "wills are") }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Keeps a will until the store is up, unless too many wait already: then it is lost for that reason.
    pub fn keep(&mut self, will: Draft, otherwise: &str) {
        if self.waiting.len() >= MOST {
            return self.losses.add(1, otherwise);
        }
        self.waiting.push(will);
    }

    /// Publishes those that wait.
    pub fn publish(&mut self, sequencer: &mut Sequencer) {
        if !sequencer.is_open() {
            return;
        }
        for mut will in std::mem::take(&mut self.waiting) {
            if sequencer.has_member(&will) {
                will.retain = Retain::No; // the member has come meanwhile
            }
            let waiting = WaitingDraft::new(Purpose::Will(will.clone().into()), None);
            match sequencer.publish(will.clone(), None, waiting) {
                Ok(_) => {}
                Err(failure) if failure.code == ErrorCode::Unavailable => self.keep(will, &failure.to_string()),
                Err(failure) => self.losses.add(1, &failure.to_string()),
            }
        }
    }

    /// Called when the store has failed one. It waits again if it is certainly not stored.
    pub fn take_back(&mut self, will: Draft, failure: &Failure) {
        match failure.code {
            ErrorCode::Full | ErrorCode::Unavailable => self.keep(will, &failure.to_string()),
            _ => self.losses.add(1, &failure.to_string()),
        }
    }

    /// Takes note that those that wait are lost.
    pub fn lose(&mut self, why: &str) {
        self.losses.add(std::mem::take(&mut self.waiting).len(), why);
    }

    pub fn log_losses(&mut self) {
        self.losses.log();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_will_that_is_certainly_not_stored_waits_again() {
        let mut wills = Wills::new();
        for (code, waits) in [
            (ErrorCode::Full, true),
            (ErrorCode::Unavailable, true),
            (ErrorCode::Unknown, false),
            (ErrorCode::Invalid, false),
        ] {
            wills.take_back(Draft::default(), &Failure::new(code, None, "simulated"));
            assert_eq!(!std::mem::take(&mut wills.waiting).is_empty(), waits, "{code:?}");
        }
        (0..MOST + 2).for_each(|_| wills.keep(Draft::default(), "too many"));
        assert_eq!(wills.waiting.len(), MOST);
    }
}
