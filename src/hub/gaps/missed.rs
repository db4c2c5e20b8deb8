//! What a stream has missed: entries that were evicted before it was sent them.

use super::Gap;
use crate::hub::channels::topics::TopicId;
use crate::hub::cursor::parts::{Baseline, Extent, Part, ResumePoint};
use crate::hub::logs::Logs;
use crate::hub::Cursor;
use crate::log::Log;

/// What the parts of a stream have missed when it begins.
#[derive(Default)]
pub(in crate::hub) struct Missed {
    /// The sequence number through which events were evicted, if any were.
    pub(in crate::hub) through: Option<u64>,
    /// Why the client receives a `gap` event, if it does.
    pub(in crate::hub) gap: Option<Gap>,
}

impl Missed {
    /// Adds what another part has missed. Evicted events are reported before an unknown id.
    fn add(&mut self, other: &Self) {
        self.through = self.through.max(other.through);
        if self.gap != Some(Gap::Evicted) {
            self.gap = other.gap.or(self.gap);
        }
    }
}

/// At the beginning of a stream.
impl Logs {
    /// Sets the baseline of each part to what it has missed at its resume point, and returns what all have.
    pub(in crate::hub) fn set_baselines(&self, cursor: &mut Cursor, points: &[ResumePoint]) -> Missed {
        let can_compact = self.can_compact_for(cursor);
        let parts = cursor.ensure_parts();
        let mut all = Missed::default();
        for (part, point) in parts.list.iter_mut().zip(points) {
            let missed = self.missed_at(part, point);
            if part.extent.state_through.is_none() {
                self.set_baseline(part, point, missed.through, can_compact);
                let reported = missed.through.filter(|_| !point.is_new_client());
                parts.reported_through = parts.reported_through.max(reported.unwrap_or(0));
            }
            all.add(&missed);
        }
        all
    }

    /// Returns what a part has missed at its resume point. A new client has missed nothing, and receives no `gap` event.
    fn missed_at(&self, part: &Part, point: &ResumePoint) -> Missed {
        let evicted = self.channels().evicted_through(&part.topics);
        let is_evicted = evicted > point.seq;
        if part.extent.state_through.is_some() {
            let gap = if point.has_known_id() && is_evicted { Gap::Evicted } else { Gap::Unknown };
            let has_gap = !point.is_new_client() && part.extent.after == 0;
            return Missed { through: None, gap: Some(gap).filter(|_| has_gap) };
        }
        let gap = if is_evicted && evicted > point.reported_through {
            Some(Gap::Evicted) // it replaces the one for an unknown id
        } else {
            Some(Gap::Unknown).filter(|_| point.has_gap())
        };
        Missed { through: Some(evicted).filter(|_| is_evicted), gap }
    }

    /// Sets the baseline of a part: it does not miss what was evicted through a sequence number, if it was. Its client receives
    /// a `gap` event for that, or is new.
    fn set_baseline(&self, part: &mut Part, point: &ResumePoint, through: Option<u64>, can_compact: bool) {
        let evicted = match through {
            Some(evicted) => evicted,
            None => {
                part.extent.baseline = Baseline { through: 0, clock: u64::MAX };
                part.extent.uncompacted_through = 0;
                return;
            }
        };
        // A new client may begin with older events. It misses these if they are evicted later.
        let can_miss_older = point.is_new_client() && self.has_entry_through(part, evicted);
        let clock = if can_miss_older { self.eviction_time() } else { u64::MAX };
        part.extent.baseline = Baseline { through: evicted, clock };
        let is_compacted = can_compact && self.channels().logs_of(&part.topics).any(Log::is_compacted);
        part.extent.uncompacted_through = if is_compacted { evicted } else { 0 };
    }
}

/// What a part of a stream has lost since the stream began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartLoss {
    Nothing,
    /// Entries after the baseline, through this sequence number.
    AfterBaseline(u64),
    /// Entries that the stream began with, although others were evicted already, through this sequence number.
    BeforeBaseline(u64),
}

impl PartLoss {
    /// Returns the sequence number through which entries are lost; 0 if none are.
    pub(super) fn through(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::AfterBaseline(through) | Self::BeforeBaseline(through) => through,
        }
    }
}

/// Later.
impl Logs {
    /// Returns true if a later subscription, which begins with new events, has missed any after its resume point.
    pub(in crate::hub) fn has_missed_after(&self, topics: &[TopicId], point: &ResumePoint) -> bool {
        let has_evicted = self.channels().evicted_through(topics) > point.seq.max(point.reported_through);
        let has_entries = || self.channels().logs_of(topics).any(|log| log.after(point.seq).len() > 0);
        point.has_gap() || has_evicted || has_entries()
    }

    /// Returns true if a log has evicted entries that a stream was not sent, and was not sent a `gap` event for.
    pub(super) fn has_missed(&self, cursor: &Cursor) -> bool {
        let compacts = self.can_compact_for(cursor);
        match cursor.parts() {
            None if compacts => self.channels().discarded_through(&cursor.topics) > cursor.seq,
            None => self.channels().evicted_through(&cursor.topics) > cursor.seq,
            Some(parts) => parts.list.iter().any(|part| self.lost_by(part, cursor.seq, compacts) != PartLoss::Nothing),
        }
    }

    /// Returns what a part has lost if the cursor is at `seq`. With `compacts`, it has not lost what a newer entry of its key
    /// replaces. It has not lost anything of the state, which is sent as of a snapshot.
    pub(super) fn lost_by(&self, part: &Part, seq: u64, compacts: bool) -> PartLoss {
        let Part { ref topics, extent: Extent { after, until, baseline, state_through, .. } } = *part;
        if state_through.is_some() {
            return PartLoss::Nothing;
        }
        let channels = self.channels();
        let after = after.max(seq);
        let evicted = channels.evicted_through(topics).min(until);
        let discarded = channels.discarded_through(topics).min(until);
        if evicted.max(discarded) <= after {
            return PartLoss::Nothing;
        }
        let lost = if compacts { discarded } else { evicted };
        if lost > after.max(baseline.through) {
            PartLoss::AfterBaseline(lost)
        } else if after < baseline.through && channels.evicted_since(topics, baseline.clock).min(until) > after {
            PartLoss::BeforeBaseline(evicted.min(baseline.through))
        } else {
            PartLoss::Nothing
        }
    }

    /// Returns true if a lagging stream ends. One that is ending anyway cannot begin with the state again.
    pub(super) fn is_ended_by_lag(&self, cursor: &Cursor) -> bool {
        if cursor.follows_state && cursor.is_ending() {
            return true;
        }
        if self.policies().len() == 1 {
            return self.policies()[0].is_disconnecting();
        }
        let (seq, compacts) = (cursor.seq, self.can_compact_for(cursor));
        match cursor.parts() {
            None => self.ending_through(&cursor.topics) > seq,
            Some(parts) => parts.list.iter().any(|part| self.is_ended_by(part, seq, compacts)),
        }
    }

    /// Returns true if a part has lost entries of a channel in which a lagging stream ends.
    fn is_ended_by(&self, part: &Part, seq: u64, compacts: bool) -> bool {
        let Part { ref topics, extent: Extent { after, until, baseline, state_through, .. } } = *part;
        let mut channels = self.channels().channels_of(topics).map(|at| &self.channels()[at]);
        if state_through.is_some() {
            return channels.any(|channel| self.policy_of(channel).is_disconnecting());
            // its snapshot is lost
        }
        let after = after.max(seq);
        match self.lost_by(part, seq, compacts) {
            PartLoss::Nothing => false,
            PartLoss::AfterBaseline(_) => self.ending_through(topics).min(until) > after.max(baseline.through),
            // Of removed channels the hub does not know when they have evicted what.
            PartLoss::BeforeBaseline(_) => channels.any(|channel| {
                self.policy_of(channel).is_disconnecting() && channel.evicted_since(baseline.clock).min(until) > after
            }),
        }
    }

    /// Returns the sequence number through which topics have discarded entries in whose channels a lagging stream ends.
    fn ending_through(&self, topics: &[TopicId]) -> u64 {
        self.channels().ending_through(topics, self.policies())
    }
}
