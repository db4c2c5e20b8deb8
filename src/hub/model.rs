//! Invariants of a hub, checked by tests after each step.

use super::*;
use crate::log::Log;

impl Hub {
    /// Asserts that everything the hub stores twice agrees. Slow.
    pub(crate) fn check(&self) {
        self.check_counts();
        self.check_channels();
        self.check_patterns();
        self.check_subscribers();
        assert!(self.grown.len() <= self.channels.len());
        assert!(self.stored.is_some() || self.custom_ids.len() <= self.counts.published as usize);
    }

    /// Returns true if a channel's history holds an entry.
    pub(crate) fn holds(&self, channel: &[u8], seq: u64) -> bool {
        let at = self.channel_by_name.get(channel);
        at.map_or(false, |at| self.channels[*at].log.at(seq).is_some())
    }

    fn check_counts(&self) {
        let logs = || self.channels.iter().map(|(_, channel)| &channel.log);
        let held = logs().map(Log::held).fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1));
        let is_held = |channel: &&Channel| channel.log.first().is_some();
        let names: usize = self.channels.iter().map(|(_, at)| at).filter(is_held).map(|at| at.name.len()).sum();
        assert_eq!((self.counts.events, self.counts.bytes), (held.0 as u64, (held.1 + names) as u64));
        for (number, policy) in self.policies.iter().enumerate() {
            let of_policy = self.channels.iter().filter(|(_, channel)| channel.policy == number);
            let firsts = of_policy.filter_map(|(at, channel)| channel.log.first().map(|(seq, _)| (seq, at)));
            assert_eq!(policy.firsts, firsts.collect());
        }
    }

    fn check_channels(&self) {
        assert_eq!(self.channel_by_name.len(), self.channels.len());
        assert_eq!(self.names.channels(), self.channels.len());
        for (at, channel) in &self.channels {
            assert_eq!(self.channel_by_name.get(&channel.name), Some(&at));
            assert_eq!(self.names.channel(&channel.name), Some(at));
            assert_eq!(channel.policy, self.settings.policy_of(&channel.name));
            assert_eq!(channel.log.is_compacted(), self.policies[channel.policy].compacts());
            assert!(!channel.log.is_empty() || channel.subscribers.len() > 0, "an unused channel is removed");
            assert_eq!(channel.has_grown, self.grown.contains(&at));
            for (number, pattern) in &self.patterns {
                let is_match = pattern.glob.matches(&channel.name);
                assert_eq!(channel.patterns.contains(&number), is_match);
                assert_eq!(pattern.channels.iter().filter(|other| **other == at).count(), usize::from(is_match));
                assert!(!is_match || pattern.evictions.through() >= channel.log.evicted_through());
                assert!(!is_match || pattern.ending_through >= self.channel_ending_through(at));
            }
        }
    }

    fn check_patterns(&self) {
        let may_end = self.policies.iter().any(settings::policies::Policy::disconnects);
        assert!(may_end || self.patterns.iter().all(|(_, pattern)| pattern.ending_through == 0));
        let known = |pattern: &Pattern| pattern.channels.iter().all(|at| self.channels.contains(*at));
        assert!(self.patterns.iter().all(|(_, pattern)| pattern.subscribers.len() > 0 && known(pattern)));
        assert_eq!(self.pattern_by_text.len(), self.patterns.len());
        for (at, pattern) in &self.patterns {
            assert_eq!(self.pattern_by_text.get(pattern.glob.text()), Some(at));
        }
    }

    fn check_subscribers(&self) {
        let of_patterns = self.patterns.iter().map(|(_, pattern)| &pattern.subscribers);
        for subscribers in self.channels.iter().map(|(_, channel)| &channel.subscribers).chain(of_patterns) {
            assert!(subscribers.is_queued || subscribers.listed() <= 2 * subscribers.len() + 16, "{subscribers:?}");
        }
    }

    /// Returns true if the hub holds only what returning clients may need: ids and tombstones.
    pub(crate) fn is_at_rest(&self) -> bool {
        let firsts = self.policies.iter().map(|policy| policy.firsts.len()).sum();
        let lists = (self.to_notify.len(), self.grown.len(), firsts);
        self.channels.is_empty()
            && self.patterns.is_empty()
            && lists == (0, 0, 0)
            && self.marks.is_empty()
            && self.reservations.is_empty()
    }
}

impl Settings {
    /// Returns how a stream that lags in a channel is treated.
    pub(crate) fn on_slow_of(&self, channel: &[u8]) -> OnSlow {
        Policies::new(self)[self.policy_of(channel)].on_slow
    }
}
