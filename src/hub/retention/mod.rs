//! Retention: evicting entries that exceed a bound of size, and expiring entries that are too old.

pub(super) mod eviction_clock;

use crate::hub::channels::topics::TopicId;
use crate::hub::settings::policies::Policies;
use crate::hub::{Hub, Retention};
use crate::log::{Bounds, Log, Snapshots};
use crate::stream::after;
use std::time::Instant;

impl Hub {
    /// Sets the settings that may change. The next [`evict`](Self::evict) applies the bounds to all logs.
    pub fn set_retention(&mut self, retention: Retention) {
        self.settings = self.settings.clone().with_retention(retention);
        self.policies = Policies::new(&self.settings);
        let mut compacted = Vec::new();
        for (at, channel) in &mut self.channels {
            channel.policy = self.settings.policy_of(&channel.name);
            let policy = &mut self.policies[channel.policy];
            policy.firsts.extend(channel.log.first().map(|(seq, _)| (seq, at)));
            if policy.compacts() || channel.log.is_compacted() {
                compacted.push((at, Some(policy.history).filter(|_| policy.compacts())));
            }
            if !std::mem::replace(&mut channel.has_grown, true) {
                self.grown.push(at);
            }
        }
        for (at, bounds) in compacted {
            self.change_log(at, |log, _| log.set_compacted(bounds.as_ref()));
        }
        self.patterns.iter_mut().for_each(|(_, pattern)| pattern.ending_through = 0); // other channels may end streams now
        let channels: Vec<usize> = self.channels.iter().map(|(at, _)| at).collect();
        channels.into_iter().for_each(|at| self.record_ending(at));
    }

    /// Returns true if something was published, or the retention set, since the last [`evict`](Self::evict).
    pub fn has_grown(&self) -> bool {
        !self.grown.is_empty()
    }

    /// Evicts the entries that exceed the retention. The caller has offered everything that was published to the
    /// streams that keep up, so such a stream misses nothing, however small the bounds are.
    pub fn evict(&mut self, now: Instant) {
        self.offered_through = self.last_seq;
        while let Some(at) = self.grown.pop() {
            if let Some(channel) = self.channels.get_mut(at) {
                channel.has_grown = false;
                let history = self.policies[channel.policy].history;
                // Evicting the last entry may remove the channel.
                while self.channels.get(at).map_or(false, |channel| channel.log.exceeds(&history)) {
                    self.change_log(at, |log, snapshots| log.evict_first(&history, snapshots));
                }
            }
        }
        let total_history = self.settings.total_history;
        while self.is_over_total(&total_history) {
            match self.policies.first() {
                Some((_, at)) => self.change_log(at, Log::discard_first),
                None => break,
            }
        }
        self.expire(now);
        self.bound_versions();
    }

    /// Returns true if all logs together exceed their bounds.
    fn is_over_total(&self, bounds: &Bounds) -> bool {
        let (events, bytes) = (self.counts.events as usize, self.counts.bytes as usize);
        events > bounds.events || (bytes > bounds.bytes && events > 1)
    }

    /// Returns true if [`evict`](Self::evict) would evict or expire something.
    pub fn has_evictions_due(&self, now: Instant) -> bool {
        let mut grown = self.grown.iter().filter_map(|at| self.channels.get(*at));
        let mut firsts = self.policies.iter().filter_map(|policy| policy.firsts.iter().next());
        grown.any(|channel| channel.log.exceeds(&self.policies[channel.policy].history))
            || self.is_over_total(&self.settings.total_history)
            || firsts.any(|(_, at)| self.is_first_expired(*at, now))
    }

    /// Returns true if the first entry of a channel is too old.
    fn is_first_expired(&self, at: usize, now: Instant) -> bool {
        let channel = &self.channels[at];
        let age = self.policies[channel.policy].history.age;
        channel.log.first().map_or(true, |(_, first)| now.saturating_duration_since(first) >= age)
    }

    /// Expires the entries that are too old, except those that were not yet offered to the streams that keep up.
    pub fn expire(&mut self, now: Instant) {
        for number in 0..self.policies.len() {
            while let Some(&(seq, at)) = self.policies[number].firsts.iter().next() {
                if seq > self.offered_through || !self.is_first_expired(at, now) {
                    break;
                }
                self.change_log(at, Log::discard_first);
            }
        }
    }

    /// Returns when [`expire`](Self::expire) is due if nothing is published before. Entries expire up to a sixteenth of
    /// their age late, so that the reactor does not wake for each of them.
    pub fn next_due(&self) -> Option<Instant> {
        let due = self.policies.iter().filter_map(|policy| {
            let (_, at) = policy.firsts.iter().next()?;
            let (_, first) = self.channels[*at].log.first()?;
            Some(after(first, policy.history.age.saturating_add(policy.history.age / 16)))
        });
        due.min()
    }

    /// Changes a channel's log, and what the hub stores about all logs.
    pub(in crate::hub) fn change_log(&mut self, at: usize, change: impl FnOnce(&mut Log, &Snapshots)) {
        let log = &mut self.channels[at].log;
        let (first, held, retained, history) = (log.first(), log.held(), log.retained(), log.history_len());
        let (discarded, versions) = (log.discarded_through(), log.version_bytes());
        change(log, &self.snapshots);
        let (now_first, now_held, now_retained) = (log.first(), log.held(), log.retained());
        let (has_evicted, has_discarded) = (log.history_len() < history, log.discarded_through() > discarded);
        let now_versions = log.version_bytes();
        let counts = &mut self.counts;
        for (count, before, now) in [
            (&mut counts.events, held.0, now_held.0),
            (&mut counts.bytes, held.1, now_held.1),
            (&mut counts.keys, retained.0, now_retained.0),
            (&mut counts.state_bytes, retained.1, now_retained.1),
        ] {
            *count = *count + now as u64 - before as u64;
        }
        if versions != now_versions {
            self.record_versions(at, versions as u64, now_versions as u64);
        }
        if has_evicted || has_discarded {
            self.record_eviction(at, has_evicted);
        }
        if first != now_first {
            self.update_first_seq(at, first.map(|(seq, _)| seq), now_first.map(|(seq, _)| seq));
        }
    }

    /// Records in the hub and in the channel's patterns how far the channel's log has evicted and discarded entries.
    fn record_eviction(&mut self, at: usize, has_evicted: bool) {
        let channel = &mut self.channels[at];
        if has_evicted {
            self.eviction_clock += 1;
            channel.evicted_at = self.eviction_clock;
        }
        let (evicted, discarded) = (channel.log.evicted_through(), channel.log.discarded_through());
        self.evicted_through = self.evicted_through.max(evicted).max(discarded);
        for pattern in &channel.patterns {
            let pattern = &mut self.patterns[*pattern];
            if has_evicted {
                pattern.evictions.record(self.eviction_clock, evicted);
            }
            pattern.discarded_through = pattern.discarded_through.max(discarded);
        }
        if let Some(stored) = &mut self.stored {
            stored.record_evictions(&channel.name, &channel.log);
            stored.forget_seqs(self.evicted_through);
        }
        self.record_ending(at);
    }

    /// Updates the index of first entries after the first entry of a log has changed. An empty log may leave its channel
    /// unused.
    fn update_first_seq(&mut self, at: usize, before: Option<u64>, first: Option<u64>) {
        let channel = &self.channels[at];
        let (name, firsts) = (channel.name.len() as u64, &mut self.policies[channel.policy].firsts);
        match before {
            Some(seq) => drop(firsts.remove(&(seq, at))),
            None => self.counts.bytes += name,
        }
        match first {
            Some(seq) => drop(firsts.insert((seq, at))),
            None => {
                self.counts.bytes -= name;
                self.remove_if_unused(TopicId::Channel(at as u32));
            }
        }
    }
}
