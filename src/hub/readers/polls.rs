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
//!
//! A client between two polls is told not to come back, too, if a request to end streams for good means the poll before: an
//! event that is published just before that request answers the poll. So polls that have ended are remembered for
//! [`POLL_LINGER`]. The next poll of the client is one of the same topics and labels that begins where the other one has ended.
//! Another program that continues the hub remembers them, too, and those polls that end with the program before.

use crate::hub::cursor::{Parts, Waiting};
use crate::hub::{Access, Cursor, EndRequest, Hub, Poll, PollReason, PositionStyle, SubscribeRequest};
use crate::stream::{after, StreamId};
use crate::wait_list::WaitList;
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The bytes after which a poll is answered, though there is more to send.
const MOST_BYTES: usize = if cfg!(test) { 1_000 } else { 256 << 10 };

/// The time for which a poll that does not wait for news may wait for its hub to be no longer behind its client.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// The time for which the member of a poll stays after its end at the least: the next poll comes meanwhile.
pub const POLL_LINGER: Duration = Duration::from_secs(15);

/// The most polls that have ended and are remembered.
const MOST_ENDED: usize = 10_000;

/// The polls. They are kept beside the streams, because most streams are none.
#[derive(Debug, Default)]
pub(super) struct Polls {
    open: BTreeMap<StreamId, OpenPoll>,
    /// Until when those wait that have not waited for long enough.
    ends: WaitList<StreamId, Instant>,
    ended: VecDeque<EndedPoll>,
}

#[derive(Debug)]
struct OpenPoll {
    sent_bytes: usize,
    /// What it reads: topics and labels.
    reads: SubscribeRequest,
}

/// A poll whose client is about to come back.
#[derive(Clone, Debug)]
pub struct EndedPoll {
    /// Until when it is remembered.
    pub until: Instant,
    /// What it has read: topics and labels.
    pub reads: SubscribeRequest,
    /// The sequence numbers that the client's last id may have.
    pub seqs: RangeInclusive<u64>,
    /// True if the client is not to come back.
    pub is_finished: bool,
}

impl Polls {
    pub(super) fn add(&mut self, stream: StreamId, poll: &Poll, request: &SubscribeRequest, now: Instant) {
        self.ends.set(stream, after(now, Access::random_age(poll.wait.max(LEAST_WAIT))));
        let access = Access { labels: request.access.labels.clone(), ..Access::default() };
        let reads = SubscribeRequest { topics: request.topics.clone(), access, ..SubscribeRequest::default() };
        self.open.insert(stream, OpenPoll { sent_bytes: 0, reads });
    }

    pub(super) fn remove(&mut self, stream: StreamId) {
        self.open.remove(&stream);
        self.ends.remove(&stream);
    }

    /// Remembers that a poll has ended.
    fn remember(&mut self, poll: EndedPoll, now: Instant) {
        self.ended.push_back(poll);
        self.forget_ended(now);
    }

    fn forget_ended(&mut self, now: Instant) {
        let is_old = |poll: &EndedPoll| poll.until < now;
        while self.ended.len() > MOST_ENDED || self.ended.front().map_or(false, is_old) {
            self.ended.pop_front();
        }
    }

    /// Lets the clients of polls that have ended be told not to come back, if a request means these.
    pub(super) fn finish_ended(&mut self, request: &EndRequest) {
        self.ended.iter_mut().for_each(|poll| poll.is_finished |= request.means(&poll.reads));
    }

    /// Takes the poll after which a client comes with another one. Returns true if it is not to come back.
    fn take_ended(&mut self, request: &SubscribeRequest, seq: u64, now: Instant) -> bool {
        self.forget_ended(now);
        let is_before = |poll: &EndedPoll| {
            let EndedPoll { until, reads, seqs, .. } = poll;
            *until >= now
                && seqs.contains(&seq)
                && reads.topics == request.topics
                && reads.access.labels == request.access.labels
        };
        let found = self.ended.iter().position(is_before).and_then(|at| self.ended.remove(at));
        found.map_or(false, |poll| poll.is_finished)
    }

    /// Returns when the first poll has waited for long enough.
    pub(super) fn first_end(&self) -> Option<Instant> {
        self.ends.first()
    }

    /// Counts what a poll was sent. Returns true if that is much.
    fn count(&mut self, stream: StreamId, bytes: usize) -> bool {
        self.open.get_mut(&stream).map_or(false, |poll| {
            poll.sent_bytes += bytes;
            poll.sent_bytes >= MOST_BYTES
        })
    }

    /// Returns true if no poll is open.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.ends.first().is_none()
    }
}

impl super::Readers {
    /// Takes the next poll that has waited for long enough.
    pub fn pop_waited(&mut self, now: Instant) -> Option<StreamId> {
        self.polls.ends.take_due(now)
    }

    /// Returns how many polls are open.
    pub(in crate::hub) fn open_polls(&self) -> u64 {
        self.polls.open.len() as u64
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

    /// Takes note that a poll ends, and its client is about to come back.
    pub fn record_poll_end(&mut self, stream: StreamId, cursor: &Cursor, now: Instant) {
        if let Some(OpenPoll { reads, .. }) = self.readers.polls.open.remove(&stream) {
            let (until, seqs) = (after(now, POLL_LINGER), self.seqs_of(cursor));
            self.readers.polls.remember(EndedPoll { until, reads, seqs, is_finished: false }, now);
        }
    }

    /// Returns the sequence numbers that the last id of a poll's client may have.
    fn seqs_of(&self, cursor: &Cursor) -> RangeInclusive<u64> {
        let known = |id: &[u8]| self.epoch.seq(id);
        let held = cursor.points().map(|(_, point)| point.unknown_id.as_deref().and_then(known).unwrap_or(point.seq));
        let (last_seq, seq) = cursor.place();
        held.map(|seq| seq..=seq).next().unwrap_or(last_seq..=seq)
    }

    /// Returns the polls that another program remembers: those that have ended, and those that end with this program. Of these
    /// `place_of` returns the cursor, and the shortest time after which the client comes back; it is twice that at most.
    pub fn handed_polls<'a>(
        &'a self,
        place_of: impl Fn(StreamId) -> Option<(&'a Cursor, Duration)> + 'a,
        now: Instant,
    ) -> impl Iterator<Item = EndedPoll> + 'a {
        let Polls { open, ended, .. } = &self.readers.polls;
        let cut = open.iter().filter_map(move |(stream, OpenPoll { reads, .. })| {
            let (cursor, retry) = place_of(*stream)?;
            let (until, seqs) = (after(now, POLL_LINGER.saturating_add(retry)), self.seqs_of(cursor));
            Some(EndedPoll { until, reads: reads.clone(), seqs, is_finished: false })
        });
        ended.iter().cloned().chain(cut)
    }

    /// Remembers a poll of the program before. A request to end streams means it, too, if that program did not know the request
    /// yet: one that is later than the time at which its application was asked.
    pub fn resume_poll(&mut self, mut poll: EndedPoll, now: Instant) {
        poll.is_finished |= self.readers.requests.overtaking(&poll.reads) == Some(true);
        self.readers.polls.remember(poll, now);
    }

    /// Returns true if the client of a poll is told not to come back, because a request has meant the poll before.
    pub fn has_finished_before(&mut self, request: &SubscribeRequest, now: Instant) -> bool {
        let position = request.after.as_deref().filter(|_| request.access.poll.is_some());
        let seq = position.and_then(|id| self.epoch.seq(id));
        seq.map_or(false, |seq| self.readers.polls.take_ended(request, seq, now))
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
