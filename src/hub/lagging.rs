//! Lagging streams: a `gap` event, compaction, or the end of the stream. [`OnSlow`] decides which.

use super::event_id::Position;
use super::{Cursor, Gap, Hub, Notice, OnSlow};
use std::fmt;

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

impl Hub {
    /// Returns true if lagging streams end.
    pub fn disconnects(&self) -> bool {
        self.settings.on_slow == OnSlow::Disconnect
    }

    /// Prepares a stream for being sent its backlog. If the stream is lagging, it returns a `gap` event for it, or
    /// decides that the stream is sent only the latest entry of each key.
    ///
    /// # Errors
    ///
    /// [`Lagging`] if the stream is lagging, and lagging streams are to end.
    pub fn catch_up(&mut self, cursor: &mut Cursor) -> Result<Vec<Notice>, Lagging> {
        let mut notices = Vec::new();
        if self.is_lagging(cursor) {
            if self.disconnects() {
                self.counts.disconnected += 1;
                return Err(Lagging);
            }
            notices.push(self.report_gap(cursor));
        }
        self.update_compaction(cursor);
        Ok(notices)
    }

    /// Decides whether a stream is sent only the latest entry of each key. A lagging stream is, until its cursor has
    /// passed everything that its logs have evicted.
    pub(super) fn update_compaction(&mut self, cursor: &mut Cursor) {
        let may_lag = cursor.is_compacted || self.evicted_through > cursor.seq;
        if self.compacts() && may_lag && cursor.parts.is_none() {
            let was = cursor.is_compacted;
            cursor.is_compacted = self.evicted_through(&cursor.topics) > cursor.seq;
            self.counts.compacted += u64::from(cursor.is_compacted && !was);
        }
    }

    /// Returns a `gap` event for a lagging stream, which continues with what the logs still hold.
    pub(super) fn report_gap(&mut self, cursor: &mut Cursor) -> Notice {
        self.counts.skipped += 1;
        let seq = cursor.seq;
        let parts = cursor.ensure_parts();
        parts.report(parts.list.iter().map(|part| self.missed_by(part, seq)).max().unwrap_or(0));
        let here = Position { seq, reported: Some(parts.reported_through) };
        self.gap_notice(cursor, here, Gap::Slow)
    }
}
