//! Gaps: why a client may have missed events, when it receives a `gap` event, and what that event says.
//!
//! - A client that comes back receives one when its stream begins, if its id is unknown or events after it were evicted
//!   ([`Logs::set_baselines`]).
//! - A slow client receives one before its next events, or its stream ends: [`OnSlow`] decides ([`catch_up`](Hub::catch_up)).
//! - A later subscription with an id receives one if it has missed something ([`Logs::has_missed_after`]), and any before the
//!   state.
//!
//! [`missed`] finds what a stream has missed.

pub(super) mod missed;

use super::ids::plain_and_opaque::ClientPosition;
use super::ids::LastId;
use super::sending::positions::{block, STATE_COMMENT};
#[cfg(doc)]
use super::{logs::Logs, OnSlow};
use super::{Cursor, GapData, Hub, OwnBlock};
use std::borrow::Cow;

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
                self.logs.can_compact_for(cursor) && self.logs.channels().evicted_through(&cursor.topics) > cursor.seq;
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

    /// Returns a `gap` event with a position as its id, and counts it. If the state follows, a comment before it says so: a
    /// client clears what it knows at a gap, and the application may give the data.
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
        OwnBlock::Gap(if is_state { [STATE_COMMENT, &gap].concat() } else { gap })
    }
}
