//! Polls: streams that end as soon as their clients have something new. A client polls if something between it and the server
//! holds back what has not ended.
//!
//! A poll begins as any stream. It is answered, and ends in order, when it was sent everything that there is and something of
//! that is new to its client: an event, a gap, the state, or its first id. If there is nothing new, it waits for
//! that, and ends when it has waited for long enough. A client that has missed much is answered after some bytes, if it can
//! resume there.
//!
//! A later position, as a keepalive or when a client of the state resumes, is not new by itself: otherwise a client of a quiet
//! channel would poll without a pause while others are busy.

use crate::hub::cursor::{Parts, Waiting};
use crate::hub::{Access, Cursor, Hub, Poll, PollReason, PositionStyle};
use crate::stream::{after, StreamId};
use crate::wait_list::WaitList;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The bytes after which a poll is answered, though there is more to send.
const MOST_BYTES: usize = if cfg!(test) { 1_000 } else { 256 << 10 };

/// The time for which a poll that does not wait for news may wait for its hub to be no longer behind its client.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// The time for which the member of a poll stays after its end at the least: the next poll comes meanwhile.
pub const POLL_LINGER: Duration = Duration::from_secs(15);

/// The open polls. They are kept beside the streams, because most streams are none.
#[derive(Debug, Default)]
pub(super) struct Polls {
    /// The bytes that each was sent.
    sent_bytes: BTreeMap<StreamId, usize>,
    /// Until when those wait that have not waited for long enough.
    ends: WaitList<StreamId, Instant>,
}

impl Polls {
    pub(super) fn add(&mut self, stream: StreamId, poll: &Poll, now: Instant) {
        self.ends.set(stream, after(now, Access::random_age(poll.wait.max(LEAST_WAIT))));
        self.sent_bytes.insert(stream, 0);
    }

    pub(super) fn remove(&mut self, stream: StreamId) {
        self.sent_bytes.remove(&stream);
        self.ends.remove(&stream);
    }

    /// Returns when the first poll has waited for long enough.
    pub(super) fn first_end(&self) -> Option<Instant> {
        self.ends.first()
    }

    /// Counts what a poll was sent. Returns true if that is much.
    fn count(&mut self, stream: StreamId, bytes: usize) -> bool {
        self.sent_bytes.get_mut(&stream).map_or(false, |sent_bytes| {
            *sent_bytes += bytes;
            *sent_bytes >= MOST_BYTES
        })
    }

    /// Returns true if no poll is open.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.sent_bytes.is_empty() && self.ends.first().is_none()
    }
}

impl super::Readers {
    /// Takes the next poll that has waited for long enough.
    pub fn pop_waited(&mut self, now: Instant) -> Option<StreamId> {
        self.polls.ends.take_due(now)
    }

    /// Returns how many polls are open.
    pub(in crate::hub) fn open_polls(&self) -> u64 {
        self.polls.sent_bytes.len() as u64
    }
}

impl Cursor {
    /// Records that the stream is a poll. A client that polls needs an id to continue after, whatever the style is.
    fn record_poll(&mut self, poll: &Poll) {
        self.waiting = if poll.wait > Duration::ZERO { Waiting::ForNews } else { Waiting::Over };
        if self.position == PositionStyle::None {
            self.position = PositionStyle::Id;
            if let Some(parts) = &mut self.parts {
                parts.first_block.position = PositionStyle::Id;
            }
        }
    }

    /// Returns true if the stream is a poll.
    pub fn is_poll(&self) -> bool {
        self.waiting != Waiting::No
    }

    /// Returns true if the stream was sent something that is new to its client.
    pub fn has_news(&self) -> bool {
        self.has_news
    }

    /// Lets a poll end as soon as it was sent everything, whether or not that is new.
    pub fn end_wait(&mut self) {
        self.waiting = Waiting::Over;
    }

    /// Returns true if a client that is sent no more than so far continues there without a gap. In the middle of the state it
    /// begins anew; and what a compacted log has left out would be a gap.
    fn can_resume_here(&self) -> bool {
        let is_uncompacted = |parts: &Parts| parts.list.iter().any(|part| part.extent.uncompacted_through > self.seq);
        let has_whole = |parts: &Parts| parts.last_of_state().is_none() && !is_uncompacted(parts);
        !self.is_held() && !self.is_compacted && self.parts().map_or(true, has_whole)
    }
}

impl Hub {
    /// Counts the bytes that a poll was sent, the last of its blocks if `is_last`. Returns true if it is answered, and ends.
    pub fn is_answered(&mut self, stream: StreamId, cursor: &Cursor, bytes: usize, is_last: bool) -> bool {
        let is_much = self.readers.polls.count(stream, bytes);
        if cursor.is_ending() {
            return false;
        }
        let is_over = cursor.has_news || cursor.waiting == Waiting::Over;
        cursor.has_news && is_much && cursor.can_resume_here() || is_over && is_last && self.is_up_to_date(cursor)
    }

    /// Makes a poll of a stream.
    pub fn begin_poll(&mut self, cursor: &mut Cursor, poll: &Poll) {
        cursor.record_poll(poll);
        *match poll.reason {
            PollReason::Mute => &mut self.counts.polls_mute,
            PollReason::Silent => &mut self.counts.polls_silent,
            PollReason::Refused => &mut self.counts.polls_refused,
            PollReason::Cut => &mut self.counts.polls_cut,
            PollReason::Other => &mut self.counts.polls_other,
        } += 1;
    }
}
