//! Gaps: why a client may have missed events, when it receives a `gap` event, and what that event says.
//!
//! - A client that comes back receives one when its stream begins, if its id is unknown or events after it were evicted
//!   ([`missed_at`](Hub::missed_at)).
//! - A slow client receives one before its next events, or its stream ends: [`OnSlow`] decides ([`catch_up`](Hub::catch_up)).
//! - A later subscription with an id receives one if it has missed something ([`misses_after`](Hub::misses_after)).
//!
//! The methods about missed events return the sequence number through which events are missed; 0 if none are.

use crate::hub::channels::topics::TopicId;
use crate::hub::ids::event_id::Position;
use crate::hub::ids::last_id::LastId;
use crate::hub::sending::cursor_parts::{Baseline, Extent, Part, Parts, ResumePoint};
use crate::hub::sending::positions::block;
use crate::hub::{Cursor, Hub, Notice};
use crate::log::Log;
use std::borrow::Cow;
use std::fmt;

/// Why a client may have missed events: the reason of a `gap` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The log has evicted events after the client's last event id.
    Evicted,
    /// The hub does not know the client's last event id: it is of another epoch, ahead of the last event, or malformed.
    Unknown,
    /// The log has evicted events before the client was sent them.
    Slow,
}

impl Gap {
    /// Returns the reason as the `gap` event names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Unknown => "unknown",
            Self::Slow => "slow",
        }
    }

    /// Returns the data of the event: what the application gives, or the reason as JSON.
    pub fn data(self, given: Option<&GapData>) -> Cow<'_, str> {
        let given = match given {
            Some(given) => given,
            None => return format!("{{\"reason\":\"{}\"}}", self.name()).into(),
        };
        Cow::Borrowed(match self {
            Self::Evicted => &given.evicted,
            Self::Unknown => &given.unknown,
            Self::Slow => &given.slow,
        })
    }
}

/// The data of the `gap` event for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapData {
    /// For [`Gap::Evicted`].
    pub evicted: Box<str>,
    /// For [`Gap::Unknown`].
    pub unknown: Box<str>,
    /// For [`Gap::Slow`].
    pub slow: Box<str>,
}

/// How the hub treats a lagging stream: one whose log has evicted entries before the stream was sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSlow {
    /// The stream ends. Its client reconnects and receives a `gap` event.
    Disconnect,
    /// The stream is sent a `gap` event, then the entries that the log still holds.
    Gap,
    /// The logs are compacted: the stream is sent the latest entry of each channel, or of each key, and continues
    /// there.
    Latest,
}

/// The error of a stream that is to end because it is lagging: a log has evicted events before the stream was sent
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagging;

impl fmt::Display for Lagging {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the log has evicted events before the stream was sent them")
    }
}

impl std::error::Error for Lagging {}

saved!(Gap: Evicted, Unknown, Slow);
saved!(GapData { evicted, unknown, slow });
saved!(OnSlow: Disconnect, Gap, Latest);

/// The events that a part misses at its resume point.
pub(in crate::hub) struct Missed {
    /// The sequence number through which events were evicted, if any were.
    pub(in crate::hub) through: Option<u64>,
    /// Why the client receives a `gap` event, if it does.
    pub(in crate::hub) gap: Option<Gap>,
}

/// At the beginning of a stream.
impl Hub {
    /// Sets the baseline of each part, and returns what they miss together. Evicted events are reported before an
    /// unknown id.
    pub(in crate::hub) fn missed_at(&self, cursor: &mut Cursor, points: &[ResumePoint]) -> Missed {
        let mut all = Missed { through: None, gap: None };
        for (number, point) in points.iter().enumerate() {
            let missed = self.apply_baseline(cursor, number, point);
            all.through = all.through.max(missed.through);
            all.gap = match (all.gap, missed.gap) {
                (Some(Gap::Evicted), _) | (_, None) => all.gap,
                _ => missed.gap,
            };
        }
        all
    }

    /// Sets the baseline of a part to what it misses at its resume point, and returns that.
    fn apply_baseline(&self, cursor: &mut Cursor, number: usize, point: &ResumePoint) -> Missed {
        let may_compact = self.compacts_for(cursor);
        let is_evicted = |part: &Part| self.evicted_through(&part.topics) > point.seq;
        let parts = cursor.ensure_parts();
        let part = &mut parts.list[number];
        if part.extent.state_through.is_some() {
            let gap = if point.is_start || !is_evicted(part) { Gap::Unknown } else { Gap::Evicted };
            return Missed { through: None, gap: Some(gap).filter(|_| !point.is_new_client()) };
        }
        let evicted = self.evicted_through(&part.topics);
        let through = Some(evicted).filter(|evicted| *evicted > point.seq);
        let is_reported = evicted <= point.seq.max(point.reported_through);
        let evicted_gap = Some(Gap::Evicted).filter(|_| !is_reported);
        // A `gap` event for evicted events replaces the one for an unknown id.
        let gap = evicted_gap.or(Some(Gap::Unknown).filter(|_| point.has_gap));
        // A new client receives no `gap` event. It may still miss older events that it begins with, if there are any.
        let may_miss = point.is_new_client() && through.is_some() && self.has_entry_through(part, evicted);
        let clock = if may_miss { self.eviction_clock } else { u64::MAX };
        part.extent.baseline = Baseline { through: through.unwrap_or(0), clock };
        let is_compacted = || may_compact && self.logs(&part.topics).any(Log::is_compacted);
        part.extent.uncompacted_through = through.filter(|_| is_compacted()).unwrap_or(0);
        if !point.is_new_client() {
            parts.reported_through = parts.reported_through.max(through.unwrap_or(0));
        }
        Missed { through, gap }
    }
}

/// Later.
impl Hub {
    /// Returns true if a later subscription, which begins with new events, misses any after its resume point.
    pub(in crate::hub) fn misses_after(&self, topics: &[TopicId], point: &ResumePoint) -> bool {
        let has_evicted = self.evicted_through(topics) > point.seq.max(point.reported_through);
        let has_entries = || self.logs(topics).any(|log| log.after(point.seq).len() > 0);
        point.has_gap || has_evicted || has_entries()
    }

    /// Returns true if a stream is to end: it is lagging in a channel whose policy is [`OnSlow::Disconnect`].
    pub fn must_end(&self, cursor: &Cursor) -> bool {
        self.is_lagging(cursor) && self.ends(cursor)
    }

    /// Returns true if a lagging stream ends. One that is ending anyway cannot begin with the state again.
    fn ends(&self, cursor: &Cursor) -> bool {
        if cursor.follows_state && cursor.is_ending() {
            return true;
        }
        if cursor.parts().map_or(false, Parts::is_of_process_before) {
            return false;
        }
        if self.policies.len() == 1 {
            return self.policies[0].disconnects();
        }
        let seq = cursor.seq;
        match cursor.parts() {
            None => self.ending_through(&cursor.topics) > seq,
            Some(parts) => parts.list.iter().any(|part| self.ends_by(part, seq, self.compacts_for(cursor))),
        }
    }

    /// Returns true if a part misses events of a channel in which a lagging stream ends.
    fn ends_by(&self, part: &Part, seq: u64, compacts: bool) -> bool {
        let Part { ref topics, extent: Extent { after, until, baseline, state_through, .. } } = *part;
        let after = after.max(seq);
        match self.missed_by(part, seq, compacts) {
            _ if state_through.is_some() => self.channels_of(topics).any(|at| self.channel_ends(at)), // its snapshot is lost
            0 => false,
            missed if missed > baseline.through => self.ending_through(topics).min(until) > after.max(baseline.through),
            // What the stream began with was evicted later. Of removed channels the hub does not know when.
            _ => self
                .channels_of(topics)
                .any(|at| self.channel_ends(at) && self.channels[at].evicted_since(baseline.clock).min(until) > after),
        }
    }

    /// Prepares a stream for being sent its backlog. If the stream is lagging, it returns a `gap` event for it, or
    /// decides that the stream is sent only the latest entry of each key.
    ///
    /// # Errors
    ///
    /// [`Lagging`] if the stream is to end.
    pub fn catch_up(&mut self, cursor: &mut Cursor) -> Result<Vec<Notice>, Lagging> {
        let mut notices = Vec::new();
        if cursor.is_told() && !cursor.is_ending() {
            self.end_state(cursor);
        }
        if self.is_lagging(cursor) {
            if self.ends(cursor) {
                self.counts.disconnected += 1;
                return Err(Lagging);
            }
            notices.push(self.report_gap(cursor));
        }
        self.update_compaction(cursor);
        notices.extend(self.continue_state(cursor));
        Ok(notices)
    }

    /// Decides whether a stream is sent only the latest entry of each key of compacted logs. A lagging stream is, until its
    /// cursor has passed everything that its logs have evicted.
    pub(in crate::hub) fn update_compaction(&mut self, cursor: &mut Cursor) {
        let may_lag = cursor.is_compacted || self.compacts_for(cursor) && self.evicted_through > cursor.seq;
        if may_lag && cursor.parts().is_none() {
            let was = cursor.is_compacted;
            cursor.is_compacted = self.compacts_for(cursor) && self.evicted_through(&cursor.topics) > cursor.seq;
            self.counts.compacted += u64::from(cursor.is_compacted && !was);
        }
    }

    /// Returns a `gap` event for a lagging stream, which continues with the state if it follows that, otherwise with what the
    /// logs still hold.
    pub(in crate::hub) fn report_gap(&mut self, cursor: &mut Cursor) -> Notice {
        if cursor.follows_state {
            let is_new_process = cursor.parts().map_or(false, Parts::is_of_process_before);
            self.counts.skipped += u64::from(!is_new_process);
            self.begin_state_again(cursor);
            return self.gap_notice(cursor, None, if is_new_process { Gap::Unknown } else { Gap::Slow });
        }
        self.counts.skipped += 1;
        let (seq, compacts) = (cursor.seq, self.compacts_for(cursor));
        let parts = cursor.ensure_parts();
        parts.report(parts.list.iter().map(|part| self.missed_by(part, seq, compacts)).max().unwrap_or(0));
        let here = Position { seq, reported: Some(parts.reported_through) };
        self.gap_notice(cursor, Some(here), Gap::Slow)
    }

    /// Returns a `gap` event with a position as its id, and counts it.
    pub(in crate::hub) fn gap_notice(&mut self, cursor: &mut Cursor, here: Option<Position>, gap: Gap) -> Notice {
        self.counts.gaps += 1;
        cursor.last_id = LastId::at(here.map_or(0, |here| here.seq));
        let data = gap.data(self.settings.gap_data.as_deref());
        let id = here.map(|here| self.epoch.id(here));
        Notice::Gap(block(Some(&self.settings.gap_event), None, Some(&data), id.as_deref()).unwrap_or_default())
    }
}

/// The missed events.
impl Hub {
    /// Returns true if a stream is lagging: a log has evicted entries that the stream was not sent, and was not sent
    /// a `gap` event for.
    pub fn is_lagging(&self, cursor: &Cursor) -> bool {
        let is_of_state = cursor.parts.as_ref().map_or(false, |parts| parts.last_of_state().is_some());
        if self.evicted_through <= cursor.seq && !is_of_state || cursor.is_held() {
            return false; // no log has evicted anything after the cursor
        }
        match cursor.parts() {
            None if self.compacts_for(cursor) => self.discarded_through(&cursor.topics) > cursor.seq,
            None => self.evicted_through(&cursor.topics) > cursor.seq,
            Some(parts) => {
                let compacts = self.compacts_for(cursor);
                let misses = || parts.list.iter().any(|part| self.missed_by(part, cursor.seq, compacts) > 0);
                self.has_lost_snapshot(parts) || misses()
            }
        }
    }

    /// Returns the sequence number through which a part misses events that were evicted before they were sent. The cursor
    /// is at `seq`.
    pub(in crate::hub) fn missed_by(&self, part: &Part, seq: u64, compacts: bool) -> u64 {
        let Part { ref topics, extent: Extent { after, until, baseline, state_through, .. } } = *part;
        if state_through.is_some() {
            return 0;
        }
        let after = after.max(seq);
        let history = self.evicted_through(topics).min(until);
        let discarded = self.discarded_through(topics).min(until);
        if history.max(discarded) <= after {
            return 0;
        }
        let lost = if compacts { discarded } else { history };
        if lost > after.max(baseline.through) {
            lost
        } else if after < baseline.through && self.evicted_since(topics, baseline.clock).min(until) > after {
            history.min(baseline.through)
        } else {
            0
        }
    }

    /// Returns the sequence number through which the history of any topic was evicted.
    pub(in crate::hub) fn evicted_through(&self, topics: &[TopicId]) -> u64 {
        let evicted = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].log.evicted_through(),
            TopicId::Pattern(at) => self.patterns[*at as usize].evictions.through(),
        });
        evicted.max().unwrap_or(0)
    }

    /// Returns the same, of what was evicted after a time on the eviction clock.
    fn evicted_since(&self, topics: &[TopicId], clock: u64) -> u64 {
        let evicted = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].evicted_since(clock),
            TopicId::Pattern(at) => self.patterns[*at as usize].evictions.through_since(clock),
        });
        evicted.max().unwrap_or(0)
    }

    /// Returns the sequence number through which any topic has discarded even the latest entry of a key.
    fn discarded_through(&self, topics: &[TopicId]) -> u64 {
        let discarded = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].log.discarded_through(),
            TopicId::Pattern(at) => self.patterns[*at as usize].discarded_through,
        });
        discarded.max().unwrap_or(0)
    }

    /// Returns the sequence number through which those have done so in whose channels a lagging stream ends.
    fn ending_through(&self, topics: &[TopicId]) -> u64 {
        let ending = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channel_ending_through(*at as usize),
            TopicId::Pattern(at) => self.patterns[*at as usize].ending_through,
        });
        ending.max().unwrap_or(0)
    }

    pub(in crate::hub) fn channel_ending_through(&self, at: usize) -> u64 {
        if self.channel_ends(at) {
            self.channels[at].log.discarded_through()
        } else {
            0
        }
    }

    /// Returns true if a lagging stream ends in a channel.
    fn channel_ends(&self, at: usize) -> bool {
        self.policies[self.channels[at].policy].disconnects()
    }
}
