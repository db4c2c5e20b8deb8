//! Sending to one stream: its own buffer and the log, as one gathered write.
//!
//! A stream has two sources. Its own buffer comes first, the log second. Sending from the log takes three steps:
//!
//! 1. [`catch_up`](LogSource::catch_up) checks whether the log has evicted events which the stream was still to be sent.
//! 2. [`gather`](LogSource::gather) puts the next events into the blocks of one write.
//! 3. [`advance`](LogSource::advance) moves the cursor past what the kernel has taken.
//!
//! A log's blocks end their lines in LF. A stream whose lines end in CRLF, or whose events come with the names of their
//! channels, is sent copies of them, through its own buffer. A stream with a content coding shares what is encoded
//! (`hub::sending::blocks`).

use super::io::{is_memory, reason_of};
use super::stream_record::{Buffering, Deadline, StreamQueue, Subscription};
use super::{Answer, Hubs, Io, Reactor};
use crate::compression::{Alone, ContentCoding};
use crate::event::LineEnd;
use crate::hub::{BlockForm, Cursor, Gathered, Hub, NextEncoding, Sent};
use crate::stream::{Reason, Settings, Stream, StreamId};
use std::io::{self, ErrorKind, IoSlice};
use std::time::{Duration, Instant};

/// The most blocks in one write.
pub(super) const MAX_BLOCKS: usize = 256;

/// As many blocks are tried first: to fill [`MAX_BLOCKS`] with nothing costs as much as the rest of a delivery.
const FEW_BLOCKS: usize = 8;

/// The result of sending to one stream.
enum SendResult {
    /// The stream has ended: everything is sent.
    Done,
    /// The stream has to end: the log has evicted entries that it was still to be sent.
    MustEnd,
    /// More can be sent at once, but other streams have their turn first.
    MoreToSend,
    /// More can be sent that other streams have been sent before.
    Behind,
    /// Nothing is left to send.
    Nothing,
    /// The socket takes nothing more for now.
    Stalled,
    /// The stream is a poll, and has to end: its client was sent what is new.
    Answered,
}

impl<I: Io> Reactor<I> {
    /// The most writes in a row for one stream.
    const MAX_WRITES: usize = 4;
    /// The time for which to wait when the system has no memory for a write.
    const RETRY: Duration = Duration::from_millis(50);

    /// Sends to one stream, and does what follows from the result.
    pub(super) fn flush_stream(&mut self, slot: u32, now: Instant) {
        let id = match self.records.get_mut(slot as usize) {
            Some(Some(record)) => {
                record.queue = StreamQueue::None;
                StreamId { slot, serial: record.serial }
            }
            _ => return,
        };
        match self.send_in_turn(id, now) {
            Ok(SendResult::Done) => self.complete(id, now),
            Ok(SendResult::MustEnd) => self.end_at_once(id, Reason::Slow),
            Ok(SendResult::MoreToSend) => self.queue(slot),
            Ok(SendResult::Behind) => self.queue_behind(slot),
            Ok(SendResult::Nothing) => self.arm_timer(slot, now), // the stream's quiet time begins
            Ok(SendResult::Stalled) => self.block(id, now),
            Ok(SendResult::Answered) => self.end_poll(id, now),
            Err(error) if is_memory(&error) => {
                self.stall(id, now);
                if let Some(record) = self.record(id) {
                    record.is_blocked = true;
                    record.deadline = Some(Box::new((now + Self::RETRY, Deadline::Retry)));
                }
                self.arm_timer(slot, now);
            }
            Err(error) => self.end_at_once(id, reason_of(&error)),
        }
    }

    fn send_in_turn(&mut self, id: StreamId, now: Instant) -> io::Result<SendResult> {
        let Self { records, io, answers, hubs, alone, .. } = self;
        let record = match records.get_mut(id.slot as usize) {
            Some(Some(record)) if !record.has_ended => record,
            _ => return Ok(SendResult::Nothing),
        };
        let socket = some_or!(&record.socket, return Ok(SendResult::Nothing));
        let log = LogSource::new(hubs, &mut record.subscription);
        let (buffering, owes_end) = (Buffering { stream: &mut record.stream, id, answers }, &mut record.owes_end);
        let is_blocked = record.is_blocked;
        let mut sender = Sender { io, socket, buffering, log, owes_end, is_blocked, alone, now, bytes: 0 };
        let progress = (0..Self::MAX_WRITES).find_map(|_| sender.send_once().transpose());
        let bytes = sender.bytes;
        if bytes > 0 {
            record.count_taken(bytes);
            self.watch(id.slot, now);
        }
        progress.unwrap_or(Ok(SendResult::MoreToSend))
    }

    /// Takes note that the socket takes nothing more for now.
    fn stall(&mut self, id: StreamId, now: Instant) {
        if self.record(id).map_or(false, |record| record.stream.set_stalled(now)) {
            self.answers.push(Answer::Stalled { stream: id });
        }
    }

    /// Waits until the socket is writable.
    fn block(&mut self, id: StreamId, now: Instant) {
        self.stall(id, now);
        if let Some((record, io)) = self.record_and_io(id) {
            let watched = record.socket.as_ref().map_or(Ok(()), |socket| io.watch_writable(socket, id, true));
            record.is_blocked = true;
            if watched.is_err() {
                return self.end_at_once(id, Reason::Error);
            }
            self.watch(id.slot, now);
        }
        self.arm_timer(id.slot, now);
    }

    /// Resumes sending: the socket is writable.
    pub(super) fn unblock(&mut self, id: StreamId) {
        if let Some((record, io)) = self.record_and_io(id) {
            record.is_blocked = false;
            let unwatched = record.socket.as_ref().map_or(Ok(()), |socket| io.watch_writable(socket, id, false));
            if unwatched.is_err() {
                return self.end_at_once(id, Reason::Error);
            }
            self.queue_behind(id.slot);
        }
    }
}

/// One stream while it is sent something.
struct Sender<'a, I: Io> {
    io: &'a mut I,
    socket: &'a I::Socket,
    buffering: Buffering<'a>,
    log: LogSource<'a>,
    owes_end: &'a mut bool,
    is_blocked: bool,
    alone: &'a mut Alone,
    now: Instant,
    /// The number of bytes that the socket has taken.
    bytes: usize,
}

impl<I: Io> Sender<'_, I> {
    /// Makes one write. Returns None if another should follow at once.
    fn send_once(&mut self) -> io::Result<Option<SendResult>> {
        if !self.is_blocked {
            self.buffering.encode_buffered(self.alone);
        }
        let state = self.log.catch_up(&mut self.buffering, self.is_blocked, self.alone);
        if self.is_blocked {
            return Ok(Some(if state == LogState::MustEnd { SendResult::MustEnd } else { SendResult::Nothing }));
        }
        self.buffer_end();
        let (write, sent) = match self.write::<FEW_BLOCKS>(state) {
            Some(written) => written,
            None => self.write::<MAX_BLOCKS>(state).expect("the most blocks are as many as are ever sent"),
        };
        let bytes = match sent {
            _ if write.blocks == 0 && state == LogState::MustEnd => return Ok(Some(SendResult::MustEnd)),
            Ok(bytes) => bytes,
            Err(_) if state == LogState::MustEnd => return Ok(Some(SendResult::MustEnd)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(SendResult::Stalled)),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(None),
            Err(error) => return Err(error),
        };
        let (is_all, is_last, is_behind) = (bytes == write.bytes, write.is_last, write.is_behind);
        self.advance(bytes, is_all, write.gathered);
        if state == LogState::MustEnd {
            return Ok(Some(SendResult::MustEnd)); // the stream's own buffer was sent as far as the socket takes it
        }
        if self.log.is_answered(self.buffering.id, bytes, is_all && is_last) {
            return Ok(Some(SendResult::Answered));
        }
        if !is_all {
            return Ok(Some(SendResult::Stalled)); // the kernel has taken as much as it had room for
        }
        if !is_last {
            return Ok(Some(SendResult::Behind).filter(|_| is_behind));
        }
        self.log.drop_if_finished();
        if self.log.has_no_subscription() && *self.owes_end {
            return Ok(None);
        }
        let is_done = self.log.has_no_subscription() && self.buffering.stream.is_done();
        Ok(Some(if is_done { SendResult::Done } else { SendResult::Nothing }))
    }

    /// Gathers at most so many blocks and sends them. Returns none, and sends nothing, if there may be more blocks than that.
    fn write<const ROOM: usize>(&mut self, state: LogState) -> Option<(GatheredWrite, io::Result<usize>)> {
        let mut blocks = [IoSlice::new(&[]); ROOM];
        let write = GatheredWrite::gather(self.buffering.stream, &self.log, state, &mut blocks);
        let sent = match write.blocks {
            0 => Ok(0),
            count if count == ROOM && ROOM < MAX_BLOCKS => return None,
            count => self.io.send(self.socket, &blocks[..count]),
        };
        Some((write, sent))
    }

    /// Buffers the end of an ending response when everything from the log is sent or buffered.
    fn buffer_end(&mut self) {
        if self.log.has_no_subscription() && std::mem::take(self.owes_end) {
            self.buffering.change(|stream| {
                let end = stream.end_of_response();
                stream.push_raw(end);
            });
        }
    }

    /// Removes what the kernel has taken from the stream's own buffer, and moves its cursor past the rest.
    fn advance(&mut self, bytes: usize, is_all: bool, gathered: Option<Gathered>) {
        if let Some(since) = self.buffering.stream.stalled_since().filter(|_| bytes > 0) {
            self.buffering.answers.push(Answer::Unstalled { stalled_for: self.now.saturating_duration_since(since) });
        }
        let log_bytes = bytes.saturating_sub(self.buffering.stream.buffered_bytes());
        let own_events = self.buffering.stream.advance(bytes, self.now);
        let taken = self.log.advance(self.buffering.stream, gathered, log_bytes, is_all);
        self.bytes += bytes;
        if bytes > 0 {
            let events = own_events + taken.events;
            self.buffering.answers.push(Answer::Sent {
                stream: self.buffering.id,
                bytes,
                events,
                log_bytes: taken.bytes,
            });
        }
    }
}

/// The blocks that one write offers to the kernel.
struct GatheredWrite {
    blocks: usize,
    bytes: usize,
    /// The blocks that come from the log.
    gathered: Option<Gathered>,
    /// True if nothing is left to send after this write.
    is_last: bool,
    /// True if other streams have been sent some of these blocks before.
    is_behind: bool,
}

impl GatheredWrite {
    fn gather<'b>(stream: &'b Stream, log: &'b LogSource<'_>, state: LogState, blocks: &mut [IoSlice<'b>]) -> Self {
        let room = blocks.len();
        let own = stream.gather(blocks);
        let log_blocks = if state == LogState::Open { &mut blocks[own..] } else { &mut [] };
        let gathered = log.gather(stream, log_blocks);
        let count = own + gathered.as_ref().map_or(0, |gathered| gathered.blocks);
        let is_log_end = gathered.as_ref().map_or(true, |gathered| gathered.is_end);
        let is_buffer_first = matches!(state, LogState::Later | LogState::Copying { .. });
        Self {
            blocks: count,
            bytes: blocks[..count].iter().map(|block| block.len()).sum(),
            is_last: !is_buffer_first && count < room && is_log_end,
            is_behind: matches!(state, LogState::Later | LogState::Copying { is_behind: true })
                || gathered.as_ref().map_or(false, |gathered| gathered.was_offered_before),
            gathered,
        }
    }
}

/// Says whether a stream may be sent entries of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogState {
    /// The stream may be sent entries.
    Open,
    /// The stream's handler may still subscribe it to more topics: no entry is sent yet.
    Held,
    /// The stream's own buffer has to be sent first: it holds own blocks, and events that need one. More of those are
    /// buffered only after that, so that a client that does not read costs no more memory.
    Later,
    /// The stream's own buffer has to be sent first: it holds copies of entries. The next ones are copied only after that.
    Copying {
        /// True if other streams have been sent the next entry before.
        is_behind: bool,
    },
    /// The stream has to end: the log has evicted entries that it was still to be sent.
    MustEnd,
}

/// Returns the form in which a stream is sent entries.
fn form_of(stream: &Stream) -> BlockForm {
    let Settings { framing, coding, line_end, .. } = *stream.settings();
    BlockForm { framing, coding, line_end, round: stream.body().round() }
}

/// The log that one stream is subscribed to, and the stream's cursor in it.
#[derive(Debug)]
pub(super) struct LogSource<'a> {
    hub: Option<&'a mut Hub>,
    subscription: &'a mut Option<Box<Subscription>>,
}

impl<'a> LogSource<'a> {
    /// The most bytes of the log in one write, about: the kernel copies them.
    const MAX_LOG_BYTES: usize = 256 << 10;
    /// The most bytes of the log, about, that are copied into the buffer of a stream at once.
    const MAX_COPIED_BYTES: usize = 48 << 10;

    pub(super) fn new(hubs: &'a mut Hubs, subscription: &'a mut Option<Box<Subscription>>) -> Self {
        let hub = subscription.as_ref().and_then(|subscription| hubs.get_mut(subscription.hub));
        Self { hub, subscription }
    }

    /// Returns true if the stream has no subscription.
    pub(super) fn has_no_subscription(&self) -> bool {
        self.subscription.is_none()
    }

    fn hub_and_cursor(&mut self) -> Option<(&mut Hub, &mut Cursor)> {
        Some((self.hub.as_deref_mut()?, &mut self.subscription.as_deref_mut()?.cursor))
    }

    /// Checks whether the log has evicted events which the stream was still to be sent, and buffers the blocks for its
    /// client. If the socket is blocked, the blocks come later, except that a hub that disconnects slow clients does so at
    /// once.
    pub(super) fn catch_up(&mut self, buffering: &mut Buffering<'_>, is_blocked: bool, alone: &mut Alone) -> LogState {
        let (hub, cursor) = some_or!(self.hub_and_cursor(), return LogState::Open);
        if cursor.is_held() {
            return LogState::Held;
        }
        let has_buffered = is_blocked || buffering.stream.buffered_bytes() > 0;
        if has_buffered
            && (is_blocked || cursor.is_completion_queued() || hub.is_lagging(cursor))
            && !hub.has_to_end(cursor)
        {
            return LogState::Later;
        }
        let mut own_blocks = match hub.catch_up(cursor) {
            Ok(own_blocks) => own_blocks,
            Err(_) => return LogState::MustEnd,
        };
        if cursor.has_replay() && !has_buffered {
            own_blocks.extend(hub.replay_into_buffer(cursor));
        }
        let is_coded = buffering.stream.settings().coding != ContentCoding::Identity;
        let is_copied = !is_coded && buffering.stream.settings().line_end == LineEnd::CrLf || cursor.names_channels;
        let copies = is_copied && !cursor.has_replay();
        let most_bytes = Self::MAX_COPIED_BYTES.min(buffering.stream.settings().max_buffered);
        if copies && !has_buffered && own_blocks.is_empty() {
            own_blocks = hub.copy_into_buffer(cursor, most_bytes);
        }
        let is_empty = own_blocks.is_empty();
        buffering.buffer_own_blocks(own_blocks);
        if is_coded && !is_blocked {
            buffering.encode_buffered(alone);
        }
        if cursor.has_replay() || cursor.is_completion_queued() {
            return LogState::Later;
        }
        if let Some(was_offered_before) = hub.has_next_been_offered(cursor).filter(|_| copies) {
            return LogState::Copying { is_behind: was_offered_before };
        }
        if is_coded && !is_copied {
            let alone = Some(alone).filter(|_| !has_buffered && is_empty);
            return self.encode_next(buffering, alone, most_bytes);
        }
        self.drop_if_finished();
        LogState::Open
    }

    /// Encodes the next entries of a stream with a content coding: for the round that it is in or joins, otherwise into its
    /// own buffer, if `alone` is given.
    fn encode_next(&mut self, buffering: &mut Buffering<'_>, alone: Option<&mut Alone>, most_bytes: usize) -> LogState {
        let (hub, cursor) = some_or!(self.hub_and_cursor(), return LogState::Open);
        let form = form_of(buffering.stream);
        let is_behind = buffering.change(|stream| match hub.encode_next(cursor, &form) {
            NextEncoding::Nothing | NextEncoding::Round => None,
            NextEncoding::Joins(round) => {
                stream.body_mut().join(round);
                None
            }
            NextEncoding::Batch => {
                if let Some((piece, events)) = alone.and_then(|alone| hub.next_batch(cursor, &form, most_bytes, alone))
                {
                    stream.push_piece(&piece, events);
                }
                hub.has_next_been_offered(cursor)
            }
        });
        if let Some(is_behind) = is_behind {
            return LogState::Copying { is_behind };
        }
        self.drop_if_finished();
        LogState::Open
    }

    /// Puts the next entries into `blocks`.
    pub(super) fn gather<'b>(&'b self, stream: &Stream, blocks: &mut [IoSlice<'b>]) -> Option<Gathered> {
        let subscription = self.subscription.as_deref().filter(|_| !blocks.is_empty())?;
        let hub = self.hub.as_deref()?;
        Some(hub.gather(&subscription.cursor, &form_of(stream), Self::MAX_LOG_BYTES, blocks))
    }

    /// Moves the cursor by `bytes` bytes of the log, or past all that was gathered. The stream's own buffer receives the
    /// rest of an entry that the kernel has taken in part.
    pub(super) fn advance(
        &mut self,
        stream: &mut Stream,
        gathered: Option<Gathered>,
        bytes: usize,
        is_all: bool,
    ) -> Sent {
        let (gathered, (hub, cursor)) = some_or!(gathered.zip(self.hub_and_cursor()), return Sent::default());
        if is_all {
            hub.record_all_sent(cursor, &gathered, stream.body_mut());
            return Sent { bytes, events: gathered.blocks, rest: None };
        }
        let mut sent = hub.record_sent(cursor, &form_of(stream), bytes, stream.body_mut());
        if let Some(rest) = sent.rest.take() {
            stream.continue_with(rest);
        }
        sent
    }

    /// Returns true if the stream is a poll that is answered with these bytes, the last of its blocks if `is_last`.
    pub(super) fn is_answered(&mut self, id: StreamId, bytes: usize, is_last: bool) -> bool {
        match self.hub_and_cursor() {
            Some((hub, cursor)) if cursor.is_poll() => hub.is_answered(id, cursor, bytes, is_last),
            _ => false,
        }
    }

    /// Drops the subscription of a stream that ends after its last entry was sent.
    pub(super) fn drop_if_finished(&mut self) {
        if self.subscription.as_ref().map_or(false, |subscription| subscription.is_finished()) {
            *self.subscription = None;
        }
    }
}
