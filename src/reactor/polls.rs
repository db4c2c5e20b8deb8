//! The ends of polls. When one is answered, `hub::readers::polls` decides.

use super::{Io, Reactor, StreamId};
use std::time::Instant;

impl<I: Io> Reactor<I> {
    /// Ends the polls that have waited for long enough, each as soon as it was sent everything. One that has not begun, because
    /// its hub is behind its client, ends at once.
    pub(super) fn end_waits(&mut self, now: Instant) {
        for id in self.hubs.take_waited(now, Self::AGED_PER_TURN) {
            match self.hub_and_cursor(id) {
                Some((_, cursor)) if !cursor.is_held() => {
                    cursor.end_wait();
                    self.queue(id.slot);
                }
                _ => self.end_poll(id),
            }
        }
    }

    /// Ends a poll in order. It is sent nothing more of the logs. A client that has waited in vain is sent its position, if
    /// that has advanced: so a client of a quiet channel does not fall behind. The end is no decision of the application about
    /// its member.
    pub(super) fn end_poll(&mut self, id: StreamId) {
        self.note_age(id);
        let is_in_vain = self.hub_and_cursor(id).map_or(false, |(_, cursor)| !cursor.has_news());
        let position = if is_in_vain { self.quiet_block(id) } else { None };
        if let (Some(position), Some(record)) = (position, self.record(id)) {
            let position = record.stream.settings().frame(&position);
            self.buffer_non_event(id, position);
        }
        self.end_without_logs(id);
    }
}
