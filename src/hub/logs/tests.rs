//! Invariants of the logs, checked by tests after each step, and a test of the last publications.

use super::*;
use std::collections::HashSet;

impl Logs {
    /// Asserts that everything that is stored twice agrees. Slow.
    pub(in crate::hub) fn check(&self, grown: &HashSet<usize>) {
        self.channels.check(&self.policies, grown);
        assert_eq!(self.firsts, FirstEntries::of(&self.channels, self.policies.len()));
    }

    /// Returns true if the logs hold only what returning clients may need: ids and tombstones.
    pub(in crate::hub) fn is_at_rest(&self) -> bool {
        self.channels.is_empty() && self.firsts.0.iter().all(BTreeSet::is_empty)
    }
}

#[test]
fn after_returns_later_publications_with_and_without_holes() {
    for step in [1, 7] {
        let mut recent = RecentChannels::default();
        assert!(recent.has_all_after(0) && recent.after(0).next().is_none());
        let count = RecentChannels::MOST as u64 + 10;
        let seqs: Vec<u64> = (1..=count).map(|number| step * number + u64::from(step > 1 && number > 50)).collect();
        seqs.iter().for_each(|seq| recent.push(*seq, 0));
        for seq in 0..=step * (count + 1) {
            assert_eq!(recent.has_all_after(seq), seq >= seqs[9], "{seq}");
            let later = seqs[10..].iter().filter(|later| **later > seq);
            assert!(recent.after(seq).map(|(seq, _)| seq).eq(later), "after {seq} in steps of {step}");
        }
    }
}
