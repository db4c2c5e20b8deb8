//! The snapshots as of which streams are sent the state, and what the logs keep for them: it is bounded.

use crate::hub::cursor::parts::HeldSnapshots;
use crate::log::Snapshots;
use std::collections::BTreeSet;

/// The bytes that logs may keep for snapshots beyond [`KEPT_TIMES`] of what they hold.
const LEAST_KEPT: u64 = if cfg!(test) { 30_000 } else { 1 << 20 };
/// How many times of what the logs hold they may keep for snapshots.
const KEPT_TIMES: u64 = 4;

/// The snapshots of a hub.
#[derive(Debug, Default)]
pub(in crate::hub) struct StateSnapshots {
    /// The sequence numbers as of which streams are sent the state.
    held: Snapshots,
    /// The channels whose logs keep something for these.
    channels: BTreeSet<usize>,
    /// How many bytes that is.
    bytes: u64,
    /// How many it was when nothing of it was superfluous.
    cleaned_bytes: u64,
}

/// Returns how many bytes the logs may keep for snapshots. They hold so many otherwise.
fn most_bytes(log_bytes: u64) -> u64 {
    KEPT_TIMES * log_bytes + LEAST_KEPT
}

impl StateSnapshots {
    /// Returns the sequence numbers as of which streams are sent the state.
    pub(in crate::hub) fn held(&self) -> &Snapshots {
        &self.held
    }

    /// Holds the snapshot of a stream that has the state as of an earlier number, and returns it. If much is kept for others
    /// already, the stream shares the newest of theirs.
    pub(super) fn hold_after(&mut self, after: u64, last_seq: u64, log_bytes: u64) -> u64 {
        let is_much = self.bytes > most_bytes(log_bytes) / 2;
        let newest = self.held.newest().filter(|newest| is_much && *newest > after);
        let snapshot = newest.unwrap_or(last_seq);
        self.held.hold(snapshot);
        snapshot
    }

    /// Holds a snapshot.
    pub(in crate::hub) fn hold(&mut self, snapshot: u64) {
        self.held.hold(snapshot);
    }

    /// Releases what a stream has held. Returns true if much of what the logs keep may be superfluous now.
    pub(super) fn release(&mut self, held: &HeldSnapshots) -> bool {
        held.snapshots().for_each(|snapshot| self.held.release(snapshot));
        self.held.is_empty() || self.bytes > 2 * self.cleaned_bytes + LEAST_KEPT
    }

    /// Returns true if all snapshots of a stream are there.
    pub(in crate::hub) fn has_all(&self, held: &HeldSnapshots) -> bool {
        held.snapshots().all(|snapshot| self.held.contains(snapshot))
    }

    /// Drops the oldest snapshot, whoever holds it.
    pub(super) fn drop_oldest(&mut self) {
        self.held.drop_oldest();
    }

    /// Records how many bytes a log keeps for snapshots.
    pub(in crate::hub) fn record_kept(&mut self, channel: usize, before: u64, now: u64) {
        self.bytes = self.bytes + now - before;
        if now > 0 {
            self.channels.insert(channel);
        } else {
            self.channels.remove(&channel);
        }
    }

    /// Returns the channels whose logs keep something.
    pub(in crate::hub) fn channels(&self) -> Vec<usize> {
        self.channels.iter().copied().collect()
    }

    /// Records that nothing that the logs keep is superfluous.
    pub(super) fn record_clean(&mut self) {
        self.cleaned_bytes = self.bytes;
    }

    /// Returns true if the logs keep more than they may.
    pub(super) fn is_too_much(&self, log_bytes: u64) -> bool {
        self.bytes > most_bytes(log_bytes)
    }

    /// Returns how many bytes the logs keep.
    #[cfg(test)]
    pub(in crate::hub) fn bytes(&self) -> u64 {
        self.bytes
    }
}
