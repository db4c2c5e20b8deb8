//! Events that are lost and whose publishers are told nothing: wills, and those of a hub before. The log has their number, once
//! for all that a turn has lost.

use crate::messages::say;

/// How many were lost since the log was told, and why the last one was.
#[derive(Debug, Default)]
struct Lost {
    count: u64,
    why: String,
}

/// What was lost since the log was told.
#[derive(Debug, Default)]
pub(super) struct Losses {
    wills: Lost,
    events: Lost,
}

impl Losses {
    pub(super) fn add_wills(&mut self, count: usize, why: &str) {
        self.wills.add(count, why);
    }

    pub(super) fn add_event(&mut self, why: &str) {
        self.events.add(1, why);
    }

    /// Tells the log.
    pub(super) fn log(&mut self) {
        let lines = [
            self.wills.take("a will is", "wills are"),
            self.events.take("an event of before is", "events of before are"),
        ];
        lines.into_iter().flatten().for_each(|line| say(&line));
    }
}

impl Lost {
    fn add(&mut self, count: usize, why: &str) {
        if count > 0 {
            (self.count, self.why) = (self.count + count as u64, why.into());
        }
    }

    fn take(&mut self, one: &str, many: &str) -> Option<String> {
        let Self { count, why } = std::mem::take(self);
        match count {
            0 => None,
            1 => Some(format!("{one} lost: {why}")),
            _ => Some(format!("{count} {many} lost: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_turn_has_lost_is_one_line_with_the_last_reason() {
        let mut lost = Lost::default();
        let take = |lost: &mut Lost| lost.take("a will is", "wills are");
        lost.add(0, "none");
        assert_eq!(take(&mut lost), None);
        lost.add(1, "it was one");
        assert_eq!(take(&mut lost).as_deref(), Some("a will is lost: it was one"));
        lost.add(1, "first");
        lost.add(7, "last");
        assert_eq!(take(&mut lost).as_deref(), Some("8 wills are lost: last"));
        assert_eq!(take(&mut lost), None);
    }
}
