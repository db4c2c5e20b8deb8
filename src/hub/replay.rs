//! Replaying events through a stream's own buffer, with positions between them.
//!
//! An event's id says that all events up to it were sent. Two things need more than that, and the logs hold only events:
//! after a `gap` event older events follow, and the client has to know up to where evictions were reported; after a cursor
//! was rewound the client has to know from where.

use super::event_id::Position;
use super::{Cursor, Hub, Notice};
use std::fmt;

/// The error of a backlog that cannot be moved into a stream's own buffer: it is too large, or the stream is
/// [overrun](super::Overrun). The stream stays subscribed.
#[derive(Debug)]
pub struct BacklogExceeded {
    /// The notices that the cursor has advanced past. The stream is still to be sent them.
    pub notices: Vec<Notice>,
}

impl fmt::Display for BacklogExceeded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the backlog of the stream exceeds its buffer")
    }
}

impl std::error::Error for BacklogExceeded {}

impl Hub {
    /// Returns the next events of a stream for which the log is not enough. After a `gap` event each is followed by a
    /// position with the reported evictions; after a rewind the position from before it ends them.
    ///
    /// A call returns a limited number of bytes, for the client may not read.
    pub fn replay(&mut self, cursor: &mut Cursor) -> Vec<Notice> {
        /// So many bytes at a time.
        const MOST_BYTES: usize = if cfg!(test) { 700 } else { 48 << 10 };
        /// What an event costs besides its bytes, with its position.
        const OVERHEAD: usize = 160;
        let mut notices = Vec::new();
        let boundary = cursor.parts.as_ref().and_then(|parts| parts.boundary(cursor.seq));
        let (through, reported, rewound_from) = match (boundary, &cursor.parts) {
            (Some(through), Some(parts)) => (through, parts.reported_through, parts.rewound_from),
            _ => return notices,
        };
        let (mut bytes, mut count) = (0, 0);
        let mut seq = through;
        let mut last = cursor.seq;
        for entry in self.backlog(cursor).take_while(|entry| entry.seq <= through) {
            if bytes >= MOST_BYTES {
                seq = last;
                break;
            }
            last = entry.seq;
            bytes += entry.event.len() + OVERHEAD;
            count += 1;
            notices.push(Notice::Event(entry.event.clone()));
            if last <= reported {
                notices.push(self.position_notice(Position { seq: last, reported: Some(reported) }));
            }
        }
        if seq == through && rewound_from == through {
            notices.push(self.position_notice(Position::at(through)));
        }
        self.counts.delivered += count;
        self.advance(cursor, seq);
        notices
    }

    /// Takes all of the backlog of a stream that has unsubscribed from everything, if that is at most `most_bytes`. The
    /// stream has then left the hub.
    ///
    /// # Errors
    ///
    /// [`BacklogExceeded`] if the backlog is larger, or the stream is lagging and to end. The stream has not left.
    pub fn take_backlog(&mut self, cursor: &mut Cursor, most_bytes: usize) -> Result<Vec<Notice>, BacklogExceeded> {
        let mut notices = Vec::new();
        if self.is_lagging(cursor) {
            if self.disconnects() {
                return Err(BacklogExceeded { notices });
            }
            notices.push(self.skip(cursor));
        }
        let mut room = most_bytes;
        while cursor.is_replaying() {
            let replayed = self.replay(cursor);
            let fits = room.checked_sub(replayed.iter().map(Notice::len).sum());
            notices.extend(replayed);
            match fits {
                Some(rest) => room = rest,
                None => return Err(BacklogExceeded { notices }),
            }
        }
        match self.events_within(cursor, room) {
            Some(events) => {
                self.counts.delivered += events.len() as u64;
                notices.extend(events);
                self.leave(std::mem::take(cursor));
                Ok(notices)
            }
            None => Err(BacklogExceeded { notices }),
        }
    }

    /// Returns the events of a backlog; none if they have more bytes than there is room for.
    fn events_within(&self, cursor: &Cursor, room: usize) -> Option<Vec<Notice>> {
        let events = self.backlog(cursor).scan(room, |room, entry| {
            let fits = room.checked_sub(entry.event.len());
            *room = fits.unwrap_or(0);
            Some(fits.map(|_| Notice::Event(entry.event.clone())))
        });
        events.collect()
    }

    /// Returns a position as a notice.
    pub(super) fn position_notice(&self, position: Position) -> Notice {
        Notice::Position(self.epoch.block(position))
    }
}
