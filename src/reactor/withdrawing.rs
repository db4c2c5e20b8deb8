//! Ending streams whose readers may not read on, or are to be asked about again.
//!
//! A withdrawn stream is sent what was sent to its own buffer, but nothing more of the logs, whatever was published before: its
//! client may have lost the right to read it. A client that reconnects resumes where it was, if the application still lets it.
//! A poll ends in the same way as soon as it is answered, which `hub::readers::polls` decides.

use super::{Ending, Io, Reactor, StreamId};
use crate::hub::FINISH_BLOCK;
use crate::stream::Reason;
use std::time::Instant;

impl<I: Io> Reactor<I> {
    /// The most streams that one turn ends because of their ages.
    pub(super) const AGED_PER_TURN: usize = 64;

    /// Ends the streams that are old enough.
    pub(super) fn end_aged(&mut self, now: Instant) {
        for id in self.hubs.take_aged(now, Self::AGED_PER_TURN) {
            self.note_age(id);
            self.withdraw(id, false);
        }
        self.end_waits(now);
    }

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

    /// Ends a stream, and sends its client a reconnection time, or an event after which it does not reconnect. Returns false if
    /// the stream is ending already: then it is sent nothing more of the logs.
    pub(super) fn withdraw(&mut self, id: StreamId, finishes: bool) -> bool {
        let (is_ending, is_transferred) = match self.record(id).filter(|record| !record.has_ended) {
            Some(record) => (record.stream.ending().is_some(), record.is_transferred),
            None => return false,
        };
        if !is_ending && !is_transferred {
            if finishes {
                self.begin(id); // the first block of a stream comes first
                if let Some(settings) = self.record(id).map(|record| *record.stream.settings()) {
                    self.buffer_non_event(id, settings.frame(FINISH_BLOCK));
                }
            } else {
                self.send_retry(id);
            }
        }
        self.end_without_logs(id);
        !is_ending
    }

    /// Ends a stream, unless it is ending already. It is sent nothing more of the logs.
    pub(super) fn end_without_logs(&mut self, id: StreamId) {
        self.drop_subscription(id);
        let (is_ending, is_transferred) = match self.record(id) {
            Some(record) => (record.stream.ending().is_some(), record.is_transferred),
            None => return,
        };
        match (is_ending, is_transferred) {
            (true, _) => self.queue(id.slot),
            (false, true) => self.end(id, Reason::Application, Ending::Transfer),
            (false, false) => self.end(id, Reason::Application, Ending::Flush),
        }
    }
}
