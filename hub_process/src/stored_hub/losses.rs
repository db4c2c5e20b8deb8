//! Events that are lost and whose publishers are told nothing. The log has their number, once for all that a turn has lost.

use crate::process_log::log_message;

/// How many were lost since the log was told, and why the last one was.
#[derive(Debug)]
pub struct Losses {
    /// What the log says of one, and of more.
    words: [&'static str; 2],
    count: u64,
    why: String,
}

impl Losses {
    pub fn new(one: &'static str, many: &'static str) -> Self {
        Self { words: [one, many], count: 0, why: String::new() }
    }

    pub fn add(&mut self, count: usize, why: &str) {
        if count > 0 {
            (self.count, self.why) = (self.count + count as u64, why.into());
        }
    }

    /// Tells the log.
    pub fn log(&mut self) {
        self.take_line().into_iter().for_each(|line| log_message(&line));
    }

    fn take_line(&mut self) -> Option<String> {
        let ([one, many], why) = (self.words, std::mem::take(&mut self.why));
        match std::mem::take(&mut self.count) {
            0 => None,
            1 => Some(format!("{one} lost: {why}")),
            count => Some(format!("{count} {many} lost: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_turn_has_lost_is_one_line_with_the_last_reason() {
        let mut losses = Losses::new("a will is", "wills are");
        losses.add(0, "none");
        assert_eq!(losses.take_line(), None);
        losses.add(1, "it was one");
        assert_eq!(losses.take_line().as_deref(), Some("a will is lost: it was one"));
        losses.add(1, "first");
        losses.add(7, "last");
        assert_eq!(losses.take_line().as_deref(), Some("8 wills are lost: last"));
        assert_eq!(losses.take_line(), None);
    }
}
