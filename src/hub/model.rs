//! What has to be so whatever has happened, for the models of others to check.

use super::*;

impl Hub {
    /// Looks at everything that is kept in two places. Slow.
    pub(crate) fn check(&self) {
        let logs = || self.channels.iter().map(|(_, channel)| &channel.log);
        let held = logs().map(Log::held).fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1));
        let is_held = |channel: &&Channel| !channel.log.is_empty();
        let names: usize = self.channels.iter().map(|(_, at)| at).filter(is_held).map(|at| at.name.len()).sum();
        assert_eq!((self.counts.events, self.counts.bytes), (held.0 as u64, (held.1 + names) as u64));
        let first = |(at, channel): (usize, &Channel)| channel.log.first().map(|(seq, _)| (seq, at));
        let oldest: BTreeSet<_> = self.channels.iter().filter_map(first).collect();
        assert_eq!(self.oldest, oldest);
        assert_eq!(self.by_name.len(), self.channels.len());
        for (at, channel) in &self.channels {
            assert_eq!(self.by_name.get(&channel.name), Some(&at));
            assert!(!channel.log.is_empty() || channel.subscribers.len() > 0, "it is kept for nobody");
            assert_eq!(channel.has_grown, self.grown.contains(&at));
            for (number, pattern) in &self.patterns {
                let is_match = pattern.glob.matches(&channel.name);
                assert_eq!(channel.patterns.contains(&number), is_match);
                assert_eq!(pattern.channels.iter().filter(|other| **other == at).count(), usize::from(is_match));
                assert!(!is_match || pattern.forgotten.newest() >= channel.log.evicted_through());
            }
        }
        let of_patterns = self.patterns.iter().map(|(_, pattern)| &pattern.subscribers);
        for subscribers in self.channels.iter().map(|(_, channel)| &channel.subscribers).chain(of_patterns) {
            assert!(subscribers.is_marked || subscribers.listed() <= 2 * subscribers.len() + 16, "{subscribers:?}");
        }
        let known = |pattern: &Pattern| pattern.channels.iter().all(|at| self.channels.contains(*at));
        assert!(self.patterns.iter().all(|(_, pattern)| pattern.subscribers.len() > 0 && known(pattern)));
        assert_eq!(self.pattern_by_text.len(), self.patterns.len());
        for (at, pattern) in &self.patterns {
            assert_eq!(self.pattern_by_text.get(pattern.glob.text()), Some(&at));
        }
        assert!(self.grown.len() <= self.channels.len());
        assert!(self.custom_ids.len() <= self.counts.published as usize);
    }

    /// Whether it holds nothing but what clients that come back may ask for: ids, and what was forgotten.
    pub(crate) fn is_at_rest(&self) -> bool {
        let lists = (self.marked.len(), self.grown.len(), self.oldest.len());
        self.channels.is_empty() && self.patterns.is_empty() && lists == (0, 0, 0)
    }
}
