//! Invariants of the channels and patterns, checked by tests after each step, and tests of lists of subscribers.

use super::*;
use std::collections::HashSet;

impl Channels {
    /// Asserts that everything that is stored twice agrees. Slow.
    pub(in crate::hub) fn check(&self, policies: &Policies, grown: &HashSet<usize>) {
        self.check_channels(policies, grown);
        self.check_patterns(policies);
        let of_patterns = self.patterns.iter().map(|(_, pattern)| &pattern.subscribers);
        for subscribers in self.slots.iter().map(|(_, channel)| &channel.subscribers).chain(of_patterns) {
            assert!(
                subscribers.is_queued || subscribers.streams.len() <= 2 * subscribers.len() + 16,
                "{subscribers:?}"
            );
        }
    }

    fn check_channels(&self, policies: &Policies, grown: &HashSet<usize>) {
        assert_eq!(self.by_name.len(), self.slots.len());
        assert_eq!(self.names.channels(), self.slots.len());
        for (at, channel) in &self.slots {
            assert_eq!(self.by_name.get(&channel.name), Some(&at));
            assert_eq!(self.names.channel(&channel.name), Some(at));
            assert_eq!(channel.policy, policies.number_of(&channel.name));
            assert_eq!(channel.log.is_compacted(), policies[channel.policy].is_compacting());
            assert!(!channel.is_unused(), "an unused channel is removed");
            assert_eq!(channel.has_grown, grown.contains(&at));
            for (number, pattern) in &self.patterns {
                let is_match = pattern.glob.is_match(&channel.name);
                assert_eq!(channel.patterns.contains(&number), is_match);
                assert_eq!(pattern.channels.iter().filter(|other| **other == at).count(), usize::from(is_match));
                assert!(!is_match || pattern.evictions.through() >= channel.log.evicted_through());
                assert!(!is_match || pattern.ending_through >= self.channel_ending_through(at, policies));
            }
        }
    }

    fn check_patterns(&self, policies: &Policies) {
        let may_end = (0..policies.len()).any(|number| policies[number].is_disconnecting());
        assert!(may_end || self.patterns.iter().all(|(_, pattern)| pattern.ending_through == 0));
        let known = |pattern: &Pattern| pattern.channels.iter().all(|at| self.slots.contains(*at));
        assert!(self.patterns.iter().all(|(_, pattern)| pattern.subscribers.len() > 0 && known(pattern)));
        assert_eq!(self.pattern_by_text.len(), self.patterns.len());
        for (at, pattern) in &self.patterns {
            assert_eq!(self.pattern_by_text.get(pattern.glob.text()), Some(at));
        }
    }

    /// Returns true if there are only tombstones.
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.patterns.is_empty()
    }
}

#[test]
fn removing_a_stream_reports_a_list_with_mostly_ended_streams() {
    let mut subscribers = SubscriberList::default();
    let stream = |serial| StreamId { slot: serial, serial };
    (1..=20).for_each(|serial| subscribers.add(stream(serial)));
    assert!(!(1..=18).any(|_| subscribers.record_end()));
    assert!(subscribers.remove(stream(20)));
}

#[test]
fn a_removed_stream_is_not_in_the_list_and_leaves_it_with_the_next_walk() {
    let mut subscribers = SubscriberList::default();
    let stream = |serial| StreamId { slot: serial, serial };
    (1..=4).for_each(|serial| subscribers.add(stream(serial)));
    subscribers.remove(stream(2));
    assert_eq!((subscribers.len(), subscribers.iter().count(), subscribers.streams.len()), (3, 3, 4));
    let mut walked = Vec::new();
    subscribers.walk(|stream| {
        walked.push(stream.serial);
        true
    });
    assert_eq!((&walked[..], subscribers.streams.len()), (&[1, 3, 4][..], 3));
}
