//! How many entries Redis is asked for at once, so that its answers have about a mebibyte. Redis closes a connection for which
//! more waits than `client-output-buffer-limit` allows, and counts entries only.

/// The bytes that an answer is to have.
const BYTES: usize = 1 << 20;
/// The number of entries that are asked for first, when nothing is known of their sizes.
const FIRST: usize = 64;
/// The least number: an answer may begin with an entry that is known already.
const LEAST: usize = 2;
/// The most.
const MOST: usize = 4000;

/// The number of entries that the next answer may have.
#[derive(Debug)]
pub struct AnswerSize(usize);

impl Default for AnswerSize {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl AnswerSize {
    pub fn entries(&self) -> usize {
        self.0
    }

    /// Adapts the number to an answer with so many bytes. It grows slowly, because the next entries may be larger.
    pub fn adapt(&mut self, bytes: usize) {
        let fitting = self.0.saturating_mul(BYTES) / bytes.max(1);
        self.0 = fitting.min(4 * self.0).clamp(LEAST, MOST);
    }

    /// Reduces the number after a connection was lost, perhaps because an answer was too long.
    pub fn reduce(&mut self) {
        self.0 = (self.0 / 8).max(LEAST);
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
        assert_eq!(entries_after(|size| size.adapt(0)), 256);
        assert_eq!(entries_after(|size| size.adapt(2 * BYTES)), 128);
        assert_eq!(entries_after(AnswerSize::reduce), 16);
        assert_eq!(entries_after(AnswerSize::reduce), LEAST);
        assert_eq!(entries_after(|size| size.adapt(100 * BYTES)), LEAST);
        (0..20).for_each(|_| size.adapt(1));
        assert_eq!(size.entries(), MOST);
    }
}
