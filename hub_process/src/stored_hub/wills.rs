//! The wills of streams that have ended, until the store has them.

use super::drafts::{Purpose, WaitingDraft};
use super::sequencer::Sequencer;
use crate::process_log::log_message;
use crate::store::Draft;
use eventsource_xs::hub::Retain;
use eventsource_xs::wire::Failure;
use eventsource_xs::ErrorCode;

/// The most wills that may wait for a store that is away.
const MOST: usize = 10_000;

/// The wills that wait until the store is up.
#[derive(Default)]
pub struct Wills {
    waiting: Vec<Draft>,
    /// The number of wills that were lost since the last line of the log, and the reason of the last one.
    lost: (usize, String),
}

impl Wills {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Keeps a will until the store is up, unless too many wait already: then it is lost for that reason.
    pub fn keep(&mut self, will: Draft, otherwise: &str) {
        if self.waiting.len() >= MOST {
            return self.count_lost(1, otherwise);
        }
        self.waiting.push(will);
    }

    /// Asks the store to append those that wait.
    pub fn store(&mut self, sequencer: &mut Sequencer) {
        if !sequencer.is_open() {
            return;
        }
        for mut will in std::mem::take(&mut self.waiting) {
            if sequencer.has_member(&will) {
                will.retain = Retain::No; // the member has come meanwhile
            }
            let waiting = WaitingDraft::new(Purpose::Will(will.clone().into()), None);
            match sequencer.append_event(will.clone(), None, waiting) {
                Ok(_) => {}
                Err(failure) if failure.code == ErrorCode::Unavailable => self.keep(will, &failure.to_string()),
                Err(failure) => self.count_lost(1, &failure.to_string()),
            }
        }
    }

    /// Called when the store has failed one. It waits again if it is certainly not stored.
    pub fn take_back(&mut self, will: Draft, failure: &Failure) {
        match failure.code {
            ErrorCode::Full | ErrorCode::Unavailable => self.keep(will, &failure.to_string()),
            _ => self.count_lost(1, &failure.to_string()),
        }
    }

    /// Takes note that those that wait are lost.
    pub fn lose(&mut self, why: &str) {
        let waiting = std::mem::take(&mut self.waiting).len();
        self.count_lost(waiting, why);
    }

    fn count_lost(&mut self, count: usize, why: &str) {
        if count > 0 {
            self.lost = (self.lost.0 + count, why.into());
        }
    }

    /// Tells the log, once for all that a turn has lost.
    pub fn log_losses(&mut self) {
        let (count, why) = std::mem::take(&mut self.lost);
        log_lost_wills(count, &why);
    }
}

/// Tells the log why wills are lost, if any are.
pub fn log_lost_wills(count: usize, why: &str) {
    match count {
        0 => {}
        1 => log_message(&format!("a will is lost: {why}")),
        _ => log_message(&format!("{count} wills are lost: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_will_that_is_certainly_not_stored_waits_again() {
        let mut wills = Wills::default();
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
