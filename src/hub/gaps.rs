//! Gaps and positions: what the hub itself sends a client about its place in the sequence.
//!
//! # Gaps
//!
//! Tells what a client has missed, when it receives a `gap` event, and what that event says:
//!
//! - A client that comes back receives one when its stream begins, if its id is unknown or events after it were evicted
//!   ([`Logs::set_baselines`]).
//! - A slow client receives one before its next events, or its stream ends: [`OnSlow`] decides ([`catch_up`](Hub::catch_up)).
//! - A later subscription with an id receives one if it has missed something ([`Logs::has_missed_after`]), and any before the
//!   state.
//!
//! # Positions
//!
//! A stream begins with its position, so that a client which receives no event can resume too. A quiet stream is sent its
//! position if that has advanced since the last id that the client was sent ([`LastId`]). An id that the application has pushed
//! to the stream itself is not replaced by a position, because the application resumes that client.
//!
//! # The word of the hub
//!
//! An event of the type [`HUB_EVENT`] says what a client cannot see in the events themselves: that the state follows, and that
//! the data of events shows their channels. A client that missed it would lose events or believe a publisher, so it is no
//! comment, which some proxies drop. Publishers cannot send one (`check_fields`).
//!
//! # Blocks
//!
//! A block has its fields in the order event, retry, data, id. Some clients take an id when its line arrives (the standard:
//! at the blank line), so the id is last: such a client never resumes after an event that it has received in part.

use super::channels::TopicId;
use super::cursor::{Baseline, Extent, Part, ResumePoint};
use super::ids::{ClientPosition, LastId};
use super::logs::Logs;
use super::sequence::HUB_EVENT;
#[cfg(doc)]
use super::OnSlow;
use super::{Cursor, GapData, Hub, PositionStyle, Settings};
use crate::event::{encode_to_vec, retry_line, EventId, EventName, Field, LineEnd, Retry, Shared, Text};
use crate::log::Log;
use std::borrow::Cow;

named! {
    /// The reason of a `gap` event: it says why a client may have missed events.
    Gap {
        /// The log has evicted events after the client's last event id.
        Evicted = "evicted",
        /// The hub does not know the client's last event id: it is of another epoch, ahead of the last event, or malformed.
        Unknown = "unknown",
        /// The log has evicted events before the client was sent them.
        Slow = "slow",
    }
}

impl Gap {
    /// Returns the data of the event: what the application gives, or the reason as JSON.
    pub fn data(self, given: Option<&GapData>) -> Cow<'_, str> {
        let given = some_or!(given, return format!("{{\"reason\":\"{}\"}}", self.name()).into());
        Cow::Borrowed(match self {
            Self::Evicted => &given.evicted,
            Self::Unknown => &given.unknown,
            Self::Slow => &given.slow,
        })
    }
}

/// The error of a stream that is to end because it is lagging: a log has evicted events before the stream was sent
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagging;

impl Hub {
    /// Returns true if a stream is lagging: a log has evicted entries that the stream was not sent, and was not sent
    /// a `gap` event for.
    pub fn is_lagging(&self, cursor: &Cursor) -> bool {
        let is_of_state = cursor.parts.as_ref().map_or(false, |parts| parts.last_of_state().is_some());
        if self.logs.evicted_through() <= cursor.seq && !is_of_state || cursor.is_held() {
            return false; // no log has evicted anything after the cursor
        }
        let has_lost_snapshot = || cursor.parts().map_or(false, |parts| self.has_lost_snapshot(parts));
        has_lost_snapshot() || self.logs.has_missed(cursor)
    }

    /// Returns true if a stream is to end: it is lagging in a channel whose policy is [`OnSlow::Disconnect`].
    pub fn has_to_end(&self, cursor: &Cursor) -> bool {
        self.is_lagging(cursor) && self.logs.is_ended_by_lag(cursor)
    }

    /// Prepares a stream for being sent its backlog. If the stream is lagging, it returns a `gap` event for it, or
    /// decides that the stream is sent only the latest entry of each key. Fails with [`Lagging`] if the stream is to end.
    pub fn catch_up(&mut self, cursor: &mut Cursor) -> Result<Vec<OwnBlock>, Lagging> {
        let mut own_blocks = Vec::new();
        if cursor.is_completion_queued() && !cursor.is_ending() {
            self.end_state(cursor);
        }
        if self.is_lagging(cursor) {
            if self.logs.is_ended_by_lag(cursor) {
                self.counts.disconnected += 1;
                return Err(Lagging);
            }
            own_blocks.push(self.report_gap(cursor));
        }
        self.update_compaction(cursor);
        own_blocks.extend(self.continue_state(cursor));
        Ok(own_blocks)
    }

    /// Decides whether a stream is sent only the latest entry of each key of compacted logs. A lagging stream is, until its
    /// cursor has passed everything that its logs have evicted.
    pub(in crate::hub) fn update_compaction(&mut self, cursor: &mut Cursor) {
        let may_lag =
            cursor.is_compacted || self.logs.can_compact_for(cursor) && self.logs.evicted_through() > cursor.seq;
        if may_lag && cursor.parts().is_none() {
            let was = cursor.is_compacted;
            cursor.is_compacted =
                self.logs.can_compact_for(cursor) && self.logs.channels.evicted_through(&cursor.topics) > cursor.seq;
            self.counts.compacted += u64::from(cursor.is_compacted && !was);
        }
    }

    /// Returns a `gap` event for a lagging stream, which continues with the state if it follows that, otherwise with what the
    /// logs still hold.
    pub(in crate::hub) fn report_gap(&mut self, cursor: &mut Cursor) -> OwnBlock {
        self.counts.skipped += 1;
        if cursor.follows_state {
            self.restart_state(cursor);
            return self.gap_block(cursor, None, Gap::Slow);
        }
        let (seq, compacts) = (cursor.seq, self.logs.can_compact_for(cursor));
        let parts = cursor.ensure_parts();
        let missed = parts.list.iter().map(|part| self.logs.lost_by(part, seq, compacts).through());
        parts.record_gap(missed.max().unwrap_or(0));
        let here = ClientPosition { seq, reported: Some(parts.reported_through) };
        self.gap_block(cursor, Some(here), Gap::Slow)
    }

    /// Returns a `gap` event with a position as its id, and counts it. If the state follows, the hub's word before
    /// it says so: a client clears what it knows at a gap, and the application may give the data.
    pub(in crate::hub) fn gap_block(
        &mut self,
        cursor: &mut Cursor,
        here: Option<ClientPosition>,
        gap: Gap,
    ) -> OwnBlock {
        self.counts.gaps += 1;
        cursor.has_news = true;
        cursor.last_id = LastId::at(here.map_or(0, |here| here.seq));
        let data = gap.data(self.logs.settings().gap_data.as_deref());
        let id = here.map(|here| self.epoch.id(here));
        let gap = block(Some(&self.logs.settings().gap_event), None, Some(&data), id.as_deref()).unwrap_or_default();
        let is_state = cursor.parts().map_or(false, |parts| parts.last_of_state().is_some());
        OwnBlock::Gap([hub_word(false, is_state), gap].concat())
    }
}

/// The events that the parts of a stream have missed when it begins.
#[derive(Default)]
pub(in crate::hub) struct Missed {
    /// The sequence number through which events were evicted, if any were.
    pub(in crate::hub) through: Option<u64>,
    /// The reason for which the client receives a `gap` event, if it does.
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
        let evicted = self.channels.evicted_through(&part.topics);
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
        let clock = if can_miss_older { self.clock.time } else { u64::MAX };
        part.extent.baseline = Baseline { through: evicted, clock };
        let is_compacted = can_compact && self.channels.logs_of(&part.topics).any(Log::is_compacted);
        part.extent.uncompacted_through = if is_compacted { evicted } else { 0 };
    }
}

/// The events that a part of a stream has lost since the stream began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartLoss {
    Nothing,
    /// Entries after the baseline, through this sequence number.
    AfterBaseline(u64),
    /// Entries that the stream began with, although others were evicted already, through this sequence number.
    BeforeBaseline(u64),
}

impl PartLoss {
    /// Returns the sequence number through which entries are lost; 0 if none are.
    fn through(self) -> u64 {
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
        let has_evicted = self.channels.evicted_through(topics) > point.seq.max(point.reported_through);
        let has_entries = || self.channels.logs_of(topics).any(|log| log.after(point.seq).len() > 0);
        point.has_gap() || has_evicted || has_entries()
    }

    /// Returns true if a log has evicted entries that a stream was not sent, and was not sent a `gap` event for.
    fn has_missed(&self, cursor: &Cursor) -> bool {
        let compacts = self.can_compact_for(cursor);
        match cursor.parts() {
            None if compacts => self.channels.discarded_through(&cursor.topics) > cursor.seq,
            None => self.channels.evicted_through(&cursor.topics) > cursor.seq,
            Some(parts) => parts.list.iter().any(|part| self.lost_by(part, cursor.seq, compacts) != PartLoss::Nothing),
        }
    }

    /// Returns what a part has lost if the cursor is at `seq`. With `compacts`, it has not lost what a newer entry of its key
    /// replaces. It has not lost anything of the state, which is sent as of a snapshot.
    fn lost_by(&self, part: &Part, seq: u64, compacts: bool) -> PartLoss {
        let Part { ref topics, extent: Extent { after, until, baseline, state_through, .. } } = *part;
        if state_through.is_some() {
            return PartLoss::Nothing;
        }
        let channels = &self.channels;
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
    fn is_ended_by_lag(&self, cursor: &Cursor) -> bool {
        if cursor.follows_state && cursor.is_ending() {
            return true;
        }
        if self.policies.len() == 1 {
            return self.policies[0].is_disconnecting();
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
        let mut channels = self.channels.channels_of(topics).map(|at| &self.channels[at]);
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
        self.channels.ending_through(topics, &self.policies)
    }
}

/// Returns the word of the hub that the data of the stream's events shows their channels, and that the state follows: at the
/// beginning of a stream, and before a `gap` event. Empty if there is nothing to say.
pub(in crate::hub) fn hub_word(shows_channels: bool, is_state: bool) -> Vec<u8> {
    let data = match (shows_channels, is_state) {
        (false, false) => return Vec::new(),
        (true, false) => "{\"show_channel\":\"data\"}",
        (false, true) => "{\"state\":true}",
        (true, true) => "{\"show_channel\":\"data\",\"state\":true}",
    };
    block(Some(HUB_EVENT), None, Some(data), None).unwrap_or_default()
}

/// A block for one stream's own buffer, which is sent before anything of the logs.
#[derive(Clone, Debug)]
pub enum OwnBlock {
    /// The stream's position, a reconnection time, or both in one block, after the word of the hub.
    Position(Vec<u8>),
    /// A comment that names the channel of the next event.
    Channel(Vec<u8>),
    /// A `gap` event.
    Gap(Vec<u8>),
    /// An event of a log.
    Event(Shared),
}

/// Encodes fields, the id last. A reconnection time alone is a line. Returns none if there is no field.
pub(in crate::hub) fn block(
    event: Option<&str>,
    retry: Option<u64>,
    data: Option<&str>,
    id: Option<&str>,
) -> Option<Vec<u8>> {
    if event.is_none() && data.is_none() && id.is_none() {
        return retry.map(retry_line);
    }
    let retry = retry.map(|retry| retry.to_string());
    let event = event.and_then(|name| EventName::new(Text::from(name)).ok()).map(Field::Event);
    let retry = retry.as_deref().and_then(|retry| Retry::new(Text::from(retry)).ok()).map(Field::Retry);
    let data = data.map(|data| Field::Data(Text::from(data)));
    let id = id.and_then(|id| EventId::new(Text::from(id)).ok()).map(Field::Id);
    let fields: Vec<Field<'_>> = [event, retry, data, id].into_iter().flatten().collect();
    (!fields.is_empty()).then(|| encode_to_vec(&fields, LineEnd::Lf))
}

impl Settings {
    /// Returns a block with an id and a reconnection time, as far as there are any and the style allows.
    pub(in crate::hub) fn position_block(
        &self,
        style: PositionStyle,
        id: Option<&str>,
        retry: Option<u64>,
    ) -> Option<Vec<u8>> {
        match style {
            PositionStyle::Event if id.is_none() && retry.is_none() => None,
            PositionStyle::Event => block(Some(&self.position_event), retry, Some(""), id),
            PositionStyle::Id => block(None, retry, None, id),
            PositionStyle::None => block(None, retry, None, None),
        }
    }
}

impl Hub {
    /// Returns true if a stream has no backlog and is not lagging. Its position is then the last sequence number,
    /// whatever its topics are.
    pub fn is_up_to_date(&self, cursor: &Cursor) -> bool {
        !cursor.is_held()
            && !cursor.has_replay()
            && cursor.state_through().is_none()
            && self.logs.backlog(cursor).next().is_none()
            && !self.is_lagging(cursor)
    }

    /// Returns the id of the position of a quiet stream, which is sent next. None if the client needs no other id than the
    /// one that it has, or if the stream is still to be sent something.
    fn advance_to_position(&mut self, cursor: &mut Cursor) -> Option<String> {
        let is_silent = cursor.position == PositionStyle::None || cursor.last_id.is_pushed();
        if is_silent || cursor.last_id.seq() >= self.logs.last_seq || !self.is_up_to_date(cursor) {
            return None;
        }
        self.advance(cursor, self.logs.last_seq);
        cursor.last_id = LastId::at(self.logs.last_seq);
        Some(self.epoch.event_id(self.logs.last_seq))
    }

    /// Returns the position of a quiet stream as a block, if it has advanced since the last id that the client was sent.
    pub fn quiet_block(&mut self, cursor: &mut Cursor) -> Option<Vec<u8>> {
        let id = self.advance_to_position(cursor)?;
        self.logs.settings().position_block(cursor.position, Some(&id), None)
    }

    /// Returns the last block of a stream that ends: a reconnection time in milliseconds, and the position if it has
    /// advanced. Otherwise the block is no event, because a page in the midst of a state takes a position for its end.
    pub fn last_block(&mut self, cursor: &mut Cursor, retry: u64) -> Option<Vec<u8>> {
        let id = self.advance_to_position(cursor);
        match cursor.position {
            PositionStyle::Event if id.is_none() => Some(format!("retry: {retry}\n\n").into()),
            style => self.logs.settings().position_block(style, id.as_deref(), Some(retry)),
        }
    }
}
