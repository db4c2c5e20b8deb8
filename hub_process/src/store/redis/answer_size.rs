//! How many entries Redis is asked for at once, so that its answers have about a mebibyte. Redis closes a connection for which
//! more waits than `client-output-buffer-limit` allows, and counts entries only.

/// The bytes that an answer is to have, as long as no connection was lost because of one.
const BYTES: usize = 1 << 20;
/// The least bytes.
const LEAST_BYTES: usize = 1 << 14;
/// The number of entries that are asked for first, when nothing is known of their sizes.
const FIRST: usize = 64;
/// The least number: an answer may begin with an entry that is known already.
const LEAST: usize = 2;
/// The most.
const MOST: usize = 4000;

/// The number of entries that the next answer may have.
#[derive(Debug)]
pub struct AnswerSize {
    entries: usize,
    bytes: usize,
    /// True while Redis owes an answer with that many entries.
    is_awaited: bool,
}

impl Default for AnswerSize {
    fn default() -> Self {
        Self { entries: FIRST, bytes: BYTES, is_awaited: false }
    }
}

impl AnswerSize {
    /// The number for an answer that most often has few entries, or none.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// The number for an answer that will probably have so many. [`Self::adapt`] says that it has come.
    pub fn ask(&mut self) -> usize {
        self.is_awaited = true;
        self.entries
    }

    /// Adapts the number to an answer with so many entries and bytes. It grows slowly, because the next entries may be larger.
    pub fn adapt(&mut self, entries: usize, bytes: usize) {
        self.is_awaited = false;
        if entries > 0 {
            let fitting = entries.saturating_mul(self.bytes) / bytes.max(1);
            self.entries = fitting.min(4 * self.entries).clamp(LEAST, MOST);
        }
    }

    /// Reduces the number after a connection was lost. If an answer was awaited, it was perhaps too long, so that all later
    /// ones are shorter. Returns true if the shortest one was awaited.
    pub fn reduce(&mut self) -> bool {
        let is_shortest = self.is_awaited && self.entries == LEAST;
        self.entries = (self.entries / 8).max(LEAST);
        if std::mem::take(&mut self.is_awaited) {
            self.bytes = (self.bytes / 2).max(LEAST_BYTES);
        }
        is_shortest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_entries_follows_their_size_and_is_reduced_after_a_loss() {
        let mut size = AnswerSize::default();
        let mut entries_after = |change: fn(&mut AnswerSize)| {
            change(&mut size);
            size.entries()
        };
        assert_eq!(entries_after(|size| size.adapt(64, 0)), 256);
        assert_eq!(entries_after(|size| size.adapt(0, 0)), 256);
        assert_eq!(entries_after(|size| size.adapt(256, 2 * BYTES)), 128);
        assert_eq!(entries_after(|size| size.adapt(1, BYTES / 16)), 16);
        assert_eq!(entries_after(|size| assert!(!size.reduce())), LEAST);
        assert_eq!(entries_after(|size| size.adapt(2, 100 * BYTES)), LEAST);
        (0..20).for_each(|_| size.adapt(1, 1));
        assert_eq!(size.entries(), MOST);
    }

    #[test]
    fn answers_are_shorter_after_a_connection_was_lost_that_owed_one() {
        let entries_after_losses = |losses: usize, is_awaited: bool| {
            let mut size = AnswerSize::default();
            for _ in 0..losses {
                if is_awaited {
                    size.ask();
                }
                size.reduce();
            }
            (0..20).for_each(|_| size.adapt(1, 1024));
            size.entries()
        };
        assert_eq!(entries_after_losses(3, false), BYTES / 1024);
        assert_eq!(entries_after_losses(3, true), BYTES / 8 / 1024);
        assert_eq!(entries_after_losses(30, true), LEAST_BYTES / 1024);
        let mut size = AnswerSize::default();
        let is_shortest: Vec<bool> = (0..4).map(|_| (size.ask(), size.reduce()).1).collect();
        assert_eq!(is_shortest, [false, false, true, true]);
    }
}
