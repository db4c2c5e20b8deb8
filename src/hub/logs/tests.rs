//! Invariants of the logs, checked by tests after each step.

use super::*;
use std::collections::HashSet;

impl Logs {
    /// Asserts that everything that is stored twice agrees. Slow.
    pub(in crate::hub) fn check(&self, grown: &HashSet<usize>) {
        self.channels.check(&self.policies, grown);
        assert_eq!(self.firsts, FirstEntries::of(&self.channels, self.policies.len()));
    }

    pub(in crate::hub) fn custom_ids(&self) -> usize {
        self.custom_ids.len()
    }

    /// Returns true if the logs hold only what returning clients may need: ids and tombstones.
    pub(in crate::hub) fn is_at_rest(&self) -> bool {
        self.channels.is_empty() && self.firsts.is_empty()
    }
}
