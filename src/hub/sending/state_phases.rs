//! Sending the state to a stream, in phases that end whatever is published meanwhile.
//!
//! A stream is sent the state as of a sequence number, its *snapshot*: the newest entry of each key up to there, in the order
//! of their numbers. The logs keep what that state has until the stream has been sent it
//! ([`Snapshots`]). If the history still holds everything after the snapshot, the state is complete: the
//! stream is sent the position that says so, and then continues as any other. If the stream lags, that begins only now: the
//! client has read that the state is complete. Otherwise the next phase sends what has changed since, as of a later snapshot:
//! the newest entries of the keys that have changed, and what forgets keys.
//!
//! Each phase is shorter than the one before if the client reads faster than the state changes. If it does not, the state is
//! complete as of the last snapshot: the client is told so, and is then a slow client like any other. So a client receives a
//! complete state after a few times its size.
//!
//! A client that comes back may have lost its connection in the middle of the state. No id says so: an event of the state has
//! the same id for all. So each stream that resumes and follows the state is sent its position after what it has missed.
//!
//! If that was evicted, it would begin with the state again, and never have it if its streams are always cut before. So the ids
//! that a poll is sent with the state say of what state it has how much. The next one is sent the rest of that, as far as it is
//! still so, and all that has come since, as in a phase: no log has evicted what forgets a key since.
//!
//! What the logs keep for snapshots is bounded by what they hold otherwise. Beyond that the oldest snapshot is dropped, and its
//! streams are lagging.

use crate::hub::channels::TopicId;
use crate::hub::cursor::{KeptSnapshots, Part, Parts};
use crate::hub::gaps::block;
use crate::hub::ids::LastId;
use crate::hub::logs::Logs;
use crate::hub::{Cursor, Hub, OwnBlock, PositionStyle};
use crate::log::Snapshots;
use std::collections::BTreeSet;

impl Hub {
    /// Keeps the snapshot of a stream that begins with the state, or has some of that as of an earlier number.
    pub(in crate::hub) fn keep_first_snapshot(&mut self, after: u64) -> KeptSnapshots {
        let (through, began) = (self.keep_snapshot(after), self.logs.last_seq);
        KeptSnapshots { since: None, through, end: None, began, is_completion_queued: false }
    }

    /// Keeps the snapshot of a stream that has the state as of an earlier number, and returns it.
    fn keep_snapshot(&mut self, after: u64) -> u64 {
        self.snapshots.keep_after(after, self.logs.last_seq, self.counts.log_bytes())
    }

    /// Releases what a stream has kept.
    pub(in crate::hub) fn release_snapshots(&mut self, kept: Option<KeptSnapshots>) {
        if kept.map_or(false, |kept| self.snapshots.release(&kept)) {
            self.clean_versions();
        }
    }

    /// Drops what no snapshot needs any more.
    fn clean_versions(&mut self) {
        for at in self.snapshots.channels() {
            self.change_log(at, |log, snapshots, _| log.clean(snapshots));
            self.remove_if_unused(TopicId::Channel(at as u32));
        }
        self.snapshots.cleaned_bytes = self.snapshots.bytes; // nothing that the logs keep is superfluous
    }

    /// Bounds what is kept for snapshots: drops the oldest.
    pub(in crate::hub) fn bound_versions(&mut self) {
        if self.snapshots.is_too_much(self.counts.log_bytes()) {
            self.clean_versions();
        }
        while self.snapshots.is_too_much(self.counts.log_bytes()) {
            self.snapshots.kept.drop_oldest();
            self.clean_versions();
        }
    }

    /// Returns true if a stream is sent the state as of a snapshot that was dropped, or of a process before. One that was told
    /// that the state is complete needs its snapshot no more.
    pub(in crate::hub) fn has_lost_snapshot(&self, parts: &Parts) -> bool {
        let is_there = |kept: &KeptSnapshots| kept.is_completion_queued || self.snapshots.has_all(kept);
        parts.last_of_state().is_some() && !parts.kept.as_ref().map_or(false, is_there)
    }

    /// Continues a stream that was sent a phase of the state: with the next phase, or with the position that says that the
    /// state is complete.
    pub(in crate::hub) fn continue_state(&mut self, cursor: &mut Cursor) -> Option<OwnBlock> {
        let is_ending = cursor.is_ending();
        let parts = cursor.parts.as_deref()?;
        if let Some(through) = parts.resumed_through().filter(|through| cursor.seq >= *through && !is_ending) {
            let position = self.complete_block(cursor, through, cursor.last_id.is_pushed());
            self.end_state(cursor);
            return position;
        }
        let kept = parts.kept.filter(|kept| cursor.seq >= kept.through)?;
        if is_ending {
            if let Some(end) = kept.end {
                self.change_phase(cursor, KeptSnapshots { since: Some(kept.through), through: end, end: None, ..kept });
            }
            return None;
        }
        let is_evicted = self.logs.has_evicted_state_after(parts, kept.through);
        if is_evicted && kept.is_next_shorter(self.logs.last_seq) {
            let through = self.keep_snapshot(kept.through);
            self.change_phase(cursor, KeptSnapshots { since: Some(kept.through), through, ..kept });
            return None;
        }
        let position = self.complete_block(cursor, kept.through, false);
        if position.is_some() || is_evicted {
            // The position is sent first. Then the stream may be lagging.
            cursor.ensure_parts().kept = Some(KeptSnapshots { is_completion_queued: true, ..kept });
        } else {
            self.end_state(cursor);
        }
        position
    }

    /// Begins the next phase of the state. Its snapshots are kept.
    fn change_phase(&mut self, cursor: &mut Cursor, kept: KeptSnapshots) {
        let parts = cursor.ensure_parts();
        for part in parts.list.iter_mut().filter(|part| part.extent.state_through.is_some()) {
            let since = kept.since.unwrap_or(0);
            part.extend_state(kept.through);
            (part.extent.after, part.extent.state_since) = (since, since.max(kept.began));
        }
        parts.reported_through = parts.reported_through.min(1) * kept.through;
        let before = parts.kept.replace(kept);
        // The stream has the state as of the snapshot after this one.
        self.release_snapshots(
            before.and_then(|before| Some(KeptSnapshots { through: before.since?, since: None, end: None, ..before })),
        );
    }

    /// Returns the position that says that the state is complete: an event, also for streams that are sent positions without
    /// data, because the page has to see it.
    fn complete_block(&self, cursor: &mut Cursor, through: u64, keeps_id: bool) -> Option<OwnBlock> {
        let keeps_id = keeps_id || cursor.ensure_parts().first_block.keeps_id;
        cursor.last_id = LastId::new(through, keeps_id);
        let id = Some(self.epoch.event_id(through)).filter(|_| !keeps_id);
        let is_completion_queued = cursor.position != PositionStyle::None;
        let position = is_completion_queued
            .then(|| block(Some(&self.logs.settings().position_event), None, Some(""), id.as_deref()));
        position.flatten().map(OwnBlock::Position)
    }

    /// Ends the state of a stream that has been sent all of it.
    pub(in crate::hub) fn end_state(&mut self, cursor: &mut Cursor) {
        let seq = cursor.seq;
        let parts = cursor.ensure_parts();
        for Part { extent, .. } in &mut parts.list {
            (extent.state_through, extent.state_since) = (None, 0);
        }
        let kept = parts.kept.take();
        self.release_snapshots(kept);
        self.advance(cursor, seq);
    }

    /// Lets a stream begin with the state again. Topics whose state it does not follow continue with what the logs still hold.
    pub(in crate::hub) fn restart_state(&mut self, cursor: &mut Cursor) {
        let seq = std::mem::take(&mut cursor.seq);
        let of_state = cursor.state_topics(&[]);
        let whole = Part::new(cursor.topics.to_vec().into(), seq);
        let parts = cursor.parts.take().map_or_else(Parts::default, |parts| *parts);
        self.release_snapshots(parts.kept);
        let kept = self.keep_first_snapshot(0);
        let mut list = vec![Part::of_state(of_state.clone().into(), kept.through)];
        let (before, state_topics) = (if parts.is_uniform() { vec![whole] } else { parts.list }, parts.state_topics);
        for Part { topics, extent } in before {
            let others =
                topics.iter().copied().filter(|topic| of_state.binary_search(topic).is_err()).collect::<Vec<_>>();
            if !others.is_empty() {
                let mut part = Part::new(others.into(), extent.after.max(seq));
                part.extent.baseline.through = self.logs.channels.evicted_through(&part.topics);
                part.extent.baseline.clock = u64::MAX;
                list.push(part);
            }
        }
        cursor.parts = Some(Box::new(Parts { list, kept: Some(kept), state_topics, ..Parts::default() }));
        cursor.is_compacted = false;
    }
}

impl Logs {
    /// Returns true if the history has evicted something after a sequence number of topics whose state a stream is sent.
    fn has_evicted_state_after(&self, parts: &Parts, through: u64) -> bool {
        let mut of_state = parts.list.iter().filter(|part| part.extent.state_through.is_some());
        of_state.any(|part| self.channels.evicted_through(&part.topics) > through)
    }
}

impl KeptSnapshots {
    /// Returns true if a phase that begins at a sequence number is shorter than the one before, as far as there was one.
    fn is_next_shorter(&self, last_seq: u64) -> bool {
        self.since.map_or(true, |since| 4 * (last_seq - self.through) <= 3 * (self.through - since))
    }
}

/// The bytes that logs may keep for snapshots beyond [`KEPT_TIMES`] of what they hold.
const LEAST_KEPT: u64 = if cfg!(test) { 30_000 } else { 1 << 20 };
/// The most that logs may keep for snapshots, as a multiple of what they have otherwise.
const KEPT_TIMES: u64 = 4;

/// The snapshots of a hub.
#[derive(Debug, Default)]
pub(in crate::hub) struct StateSnapshots {
    /// The sequence numbers as of which streams are sent the state.
    pub(in crate::hub) kept: Snapshots,
    /// The channels whose logs keep something for these.
    channels: BTreeSet<usize>,
    /// Its bytes.
    pub(in crate::hub) bytes: u64,
    /// Its bytes when nothing of it was superfluous.
    cleaned_bytes: u64,
}

/// Returns how many bytes the logs may keep for snapshots. They hold so many otherwise.
fn most_bytes(log_bytes: u64) -> u64 {
    KEPT_TIMES * log_bytes + LEAST_KEPT
}

impl StateSnapshots {
    /// Keeps the snapshot of a stream that has the state as of an earlier number, and returns it. If much is kept for others
    /// already, the stream shares the newest of theirs.
    pub(super) fn keep_after(&mut self, after: u64, last_seq: u64, log_bytes: u64) -> u64 {
        let is_much = self.bytes > most_bytes(log_bytes) / 2;
        let newest = self.kept.newest().filter(|newest| is_much && *newest > after);
        let snapshot = newest.unwrap_or(last_seq);
        self.kept.keep(snapshot);
        snapshot
    }

    /// Holds a snapshot.
    pub(in crate::hub) fn keep(&mut self, snapshot: u64) {
        self.kept.keep(snapshot);
    }

    /// Releases what a stream has kept. Returns true if much of what the logs keep may be superfluous now.
    pub(super) fn release(&mut self, kept: &KeptSnapshots) -> bool {
        kept.snapshots().for_each(|snapshot| self.kept.release(snapshot));
        self.kept.is_empty() || self.bytes > 2 * self.cleaned_bytes + LEAST_KEPT
    }

    /// Returns true if all snapshots of a stream are there.
    pub(in crate::hub) fn has_all(&self, kept: &KeptSnapshots) -> bool {
        kept.snapshots().all(|snapshot| self.kept.contains(snapshot))
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

    /// Returns true if the logs keep more than they may.
    pub(super) fn is_too_much(&self, log_bytes: u64) -> bool {
        self.bytes > most_bytes(log_bytes)
    }
}
