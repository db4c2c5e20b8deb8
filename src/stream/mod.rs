//! One client's open response, without its socket: its buffer, its timeouts and its end.
//!
//! A [`Stream`] makes no system call and reads no clock. The reactor takes the next bytes from [`Stream::gather`], sends
//! them, and reports with [`Stream::advance`] how many the kernel has taken. The buffer consists of *blocks*: each is an
//! event or a comment with its framing. A block is sent whole, or is dropped whole if the stream
//! [drops its oldest events](Settings::drop_oldest).
//!
//! A stream with a [content coding](Settings::coding) buffers what it is pushed as it is, and encodes it when it can be sent
//! ([`Stream::encode_buffered`]): what is dropped must not be part of the checksum that ends the response.

mod stats;
#[cfg(test)]
mod tests;

pub use crate::event::{Framing, LineEnd};
pub use stats::Stats;

use crate::compression::{Alone, Body, ContentCoding, Piece};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Identifies a stream. A slot is reused when its stream is closed; the serial number tells the streams of a slot apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    /// The stream's slot in its reactor.
    pub slot: u32,
    /// A number that no other stream of this slot has.
    pub serial: u32,
}

impl From<StreamId> for u64 {
    fn from(id: StreamId) -> Self {
        Self::from(id.serial) << 32 | Self::from(id.slot)
    }
}

impl From<u64> for StreamId {
    fn from(number: u64) -> Self {
        Self { slot: number as u32, serial: (number >> 32) as u32 }
    }
}

named! {
    /// The reason for which a stream has ended.
    Reason {
        /// The client has closed or reset the connection.
        Client = "client",
        /// More was buffered for the client than is allowed, or the log has evicted what it was still to be sent.
        Slow = "slow",
        /// The client has acknowledged or taken nothing for too long.
        Timeout = "timeout",
        /// Something has failed: a handler died, or the kernel refused a socket.
        Error = "error",
        /// The process shuts down, drains the stream's hub, or has as many streams as it may have.
        Server = "server",
        /// The application has closed it.
        Application = "application",
    }
}

/// The end of a stream that is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEnd {
    /// The reason.
    pub reason: Reason,
    /// True if the application has decided that it ends, and not its age: then its will is not published.
    pub is_by_application: bool,
}

/// The settings of a stream. Streams with equal settings share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The framing of blocks.
    pub framing: Framing,
    /// The coding of the content.
    pub coding: ContentCoding,
    /// The line end of everything that the stream is sent. Blocks that the application pushes come encoded with it.
    pub line_end: LineEnd,
    /// The quiet time after which a keepalive is sent. `None` sends no keepalives.
    pub keepalive: Option<Duration>,
    /// The time for which a client may take nothing of its buffer, and a stream may wait for its socket.
    pub timeout: Duration,
    /// The most bytes in the buffer. A single block may be larger.
    pub max_buffered: usize,
    /// True if the oldest events are dropped when the buffer exceeds `max_buffered`.
    pub drop_oldest: bool,
    /// The least reconnection time that a client is sent when its stream is refused, drained or shut down.
    pub retry: Duration,
}

impl Settings {
    /// Frames a block whose lines end in LF, with the line end of the stream.
    pub fn frame(&self, block: &[u8]) -> Bytes {
        self.framing.frame(&self.line_end.convert(block))
    }
}

/// How long a stream was silent, and its client has taken nothing, when another program continues it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    /// The time since something was sent last. Of a stalled stream, the time for which its socket has taken nothing.
    pub silent_for: Duration,
    /// True if the stream is stalled.
    pub is_stalled: bool,
    /// True if the next keepalive comes early.
    pub is_early: bool,
    /// The watch of the client, unless that has taken everything.
    pub untaken: Option<Untaken>,
}

/// The watch of a client that has not taken everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untaken {
    /// The time for which it has taken nothing.
    pub since: Duration,
    /// The bytes that it has still to take if it has taken nothing since the last look.
    pub bytes: usize,
    /// For how many bytes it had room then, if that is known.
    pub window: Option<u32>,
}

/// The events and bytes that a stream has discarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// The events that were not sent, or not to their end.
    pub events: usize,
    /// The bytes by which the buffer has shrunk.
    pub bytes: usize,
}

/// Returns `now + time`. A time of more than a hundred years counts as a hundred years, so that the sum cannot overflow.
pub(crate) fn after(now: Instant, time: Duration) -> Instant {
    now + time.min(Duration::from_secs(100 * 365 * 24 * 60 * 60))
}

/// Returns the last value if the new one is equal: most streams have the same settings as the one before.
pub(crate) fn share<T: PartialEq>(last: &mut Option<Arc<T>>, value: T) -> Arc<T> {
    match last {
        Some(shared) if **shared == value => Arc::clone(shared),
        _ => Arc::clone(last.insert(Arc::new(value))),
    }
}

/// Bytes that are sent whole or not at all.
#[derive(Debug, Default)]
struct BufferedBlock {
    bytes: Bytes,
    /// The number of events that end with it.
    events: u16,
    /// True if the block may be dropped to make room for newer ones.
    may_drop: bool,
    /// True if the block is still to be encoded. The blocks after it are, too.
    is_plain: bool,
}

impl BufferedBlock {
    /// Returns true if both may be one block: a head and a position, which begin most streams, need no queue then.
    fn can_join(&self, next: &Self) -> bool {
        [self, next].iter().all(|block| block.events == 0 && !block.is_plain && block.bytes.len() <= 1024)
    }
}

/// One client's open response.
#[derive(Debug)]
pub struct Stream {
    settings: Arc<Settings>,
    /// The block that is sent next; empty if the buffer is empty. It has a field of its own because mostly there is only
    /// one block.
    front: BufferedBlock,
    /// True if part of the front has been sent.
    is_begun: bool,
    /// The blocks after it. In a box, because only streams that lag have any.
    #[allow(clippy::box_collection)] // a pointer is a quarter of the size of an empty VecDeque
    rest: Option<Box<VecDeque<BufferedBlock>>>,
    buffered_bytes: usize,
    /// When something was sent last. For a stalled stream, since when its socket has taken nothing.
    since: Instant,
    is_stalled: bool,
    /// True if the next keepalive comes early. What holds a response back until a buffer is full may pass on the first bytes of
    /// a stream; a client that is sent more soon after them sees whether anything does.
    pub(crate) is_early: bool,
    /// The reason for which the stream ends when its buffer is empty. `None` if it does not end.
    pub(crate) ending: Option<Reason>,
    /// The content that was sent, and what of the buffer is encoded.
    body: Body,
}

impl Stream {
    /// The most bytes, about, that are encoded as one block.
    const MOST_AT_ONCE: usize = 48 << 10;

    /// Creates a stream with an empty buffer.
    pub fn new(settings: Arc<Settings>, now: Instant) -> Self {
        Self {
            settings,
            front: BufferedBlock::default(),
            is_begun: false,
            rest: None,
            buffered_bytes: 0,
            since: now,
            is_stalled: false,
            is_early: false,
            ending: None,
            body: Body::default(),
        }
    }

    /// Continues a response of which another process has sent the beginning.
    pub fn with_body(self, body: Body) -> Self {
        Self { body, ..self }
    }

    /// Continues a stream of another program, of which this was so at a time.
    pub fn with_liveness(self, liveness: &Liveness, at: Instant) -> Self {
        let Liveness { silent_for, is_stalled, is_early, .. } = *liveness;
        Self { since: at.checked_sub(silent_for).unwrap_or(at), is_stalled, is_early, ..self }
    }

    /// Returns how another program continues the stream. The watch of its client is the reactor's.
    pub fn liveness(&self, now: Instant) -> Liveness {
        let silent_for = now.saturating_duration_since(self.since);
        Liveness { silent_for, is_stalled: self.is_stalled, is_early: self.is_early, untaken: None }
    }

    /// Returns the content that was sent, if all that is buffered is encoded.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Returns the content, to which blocks are added that do not come through the buffer.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Returns the stream's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Buffers a framed event. Returns what was dropped to make room for it.
    pub fn push(&mut self, event: Bytes) -> Discarded {
        self.push_unlimited(event);
        let mut lost = Discarded::default();
        if self.settings.drop_oldest {
            while self.buffered_bytes > self.settings.max_buffered && self.drop_oldest(&mut lost) {}
        }
        lost
    }

    /// Buffers a framed event without dropping older ones. Later events may drop it.
    pub fn push_unlimited(&mut self, event: Bytes) {
        self.add(BufferedBlock { bytes: event, events: 1, may_drop: true, is_plain: self.is_coded() });
    }

    /// Returns true if pushing an event of `bytes` bytes may drop older events.
    pub fn would_drop(&self, bytes: usize) -> bool {
        self.settings.drop_oldest && self.buffered_bytes.saturating_add(bytes) > self.settings.max_buffered
    }

    /// Buffers framed bytes that are not an event: a comment, a position. They are not dropped for newer events.
    pub fn push_non_event(&mut self, bytes: Bytes) {
        self.add(BufferedBlock { bytes, is_plain: self.is_coded(), ..BufferedBlock::default() });
    }

    /// Buffers bytes that are sent as they are: a head, the end of a response.
    pub fn push_raw(&mut self, bytes: Bytes) {
        self.add(BufferedBlock { bytes, ..BufferedBlock::default() });
    }

    /// Buffers a number of events that were encoded alone. Nothing plain is in the buffer.
    pub fn push_piece(&mut self, piece: &Piece, events: usize) {
        self.body.leave(); // the other streams of the round are not sent this
        self.body.add(piece);
        let events = events.try_into().unwrap_or(u16::MAX);
        self.add(BufferedBlock {
            bytes: piece.block.from(self.settings.framing, 0),
            events,
            ..BufferedBlock::default()
        });
    }

    fn is_coded(&self) -> bool {
        self.settings.coding != ContentCoding::Identity
    }

    /// Encodes what is buffered: each event that the application has pushed alone, because the length of one must not tell what
    /// another one contains.
    pub fn encode_buffered(&mut self, alone: &mut Alone) {
        let is_last_plain = || matches!(&self.rest, Some(rest) if rest.back().map_or(false, |last| last.is_plain));
        if !self.front.is_plain && !is_last_plain() {
            return;
        }
        let Settings { framing, coding, .. } = *self.settings;
        let mut plain = self.take_plain();
        while !plain.is_empty() {
            let (mut content, mut events) = (Vec::new(), 0);
            while let Some(block) = plain.pop_front() {
                content.extend_from_slice(framing.unframe(&block.bytes));
                events += usize::from(block.events);
                let is_alone = |block: &BufferedBlock| block.may_drop; // an event that the application has pushed
                if is_alone(&block) || plain.front().map_or(false, is_alone) || content.len() >= Self::MOST_AT_ONCE {
                    break;
                }
            }
            self.push_piece(&alone.encode(coding, &content), events);
        }
    }

    /// Takes the plain blocks out of the buffer.
    fn take_plain(&mut self) -> VecDeque<BufferedBlock> {
        let mut rest = self.rest.take().map_or_else(VecDeque::new, |rest| *rest);
        if self.front.is_plain {
            rest.push_front(std::mem::take(&mut self.front));
        }
        let first = rest.iter().position(|block| block.is_plain).unwrap_or(rest.len());
        let plain = rest.split_off(first);
        self.buffered_bytes -= plain.iter().map(|block| block.bytes.len()).sum::<usize>();
        self.rest = Some(rest).filter(|rest| !rest.is_empty()).map(Box::new);
        plain
    }

    /// Returns the bytes that end the response, if everything before is encoded.
    pub fn end_of_response(&self) -> Bytes {
        let Settings { framing, coding, .. } = *self.settings;
        let end = framing.frame(&self.body.end(coding));
        [&end[..], &framing.end()].concat().into()
    }

    /// Buffers a framed event that is not dropped for newer ones.
    pub fn push_undroppable(&mut self, event: Bytes) {
        self.add(BufferedBlock { bytes: event, events: 1, may_drop: false, is_plain: self.is_coded() });
    }

    /// Buffers the rest of an event that was sent in part from the log. The buffer is empty before.
    pub fn continue_with(&mut self, rest: Bytes) {
        self.add(BufferedBlock { bytes: rest, events: 1, ..BufferedBlock::default() });
        self.is_begun = true;
    }

    fn add(&mut self, block: BufferedBlock) {
        if block.bytes.is_empty() {
            return;
        }
        self.buffered_bytes += block.bytes.len();
        if self.front.bytes.is_empty() {
            self.front = block;
        } else if self.rest.is_none() && self.front.can_join(&block) {
            self.front.bytes = [&*self.front.bytes, &block.bytes].concat().into();
        } else {
            self.rest.get_or_insert_with(Box::default).push_back(block);
        }
    }

    /// Drops the oldest event that may be dropped. An event that was sent in part and the newest event stay. Returns false
    /// if there is none.
    fn drop_oldest(&mut self, lost: &mut Discarded) -> bool {
        let rest = some_or!(&mut self.rest, return false);
        let dropped = if self.front.may_drop && !self.is_begun {
            rest.pop_front().map(|next| std::mem::replace(&mut self.front, next))
        } else {
            // The front cannot be dropped. Further blocks that cannot be dropped are rare, so the search is short.
            let at = rest.iter().position(|block| block.may_drop);
            at.filter(|at| at + 1 < rest.len()).and_then(|at| rest.remove(at))
        };
        let dropped = some_or!(dropped, return false);
        self.buffered_bytes -= dropped.bytes.len();
        lost.events += 1;
        lost.bytes += dropped.bytes.len();
        true
    }

    /// Ends the stream when its buffer is empty. The first reason counts.
    pub fn end(&mut self, reason: Reason) {
        self.ending.get_or_insert(reason);
    }

    /// Returns the number of bytes in the buffer.
    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// Returns true if the stream is ending and its buffer is empty.
    pub fn is_done(&self) -> bool {
        self.ending.is_some() && self.buffered_bytes == 0
    }

    /// Returns the blocks of the buffer. The first one may be empty.
    fn buffered(&self) -> impl Iterator<Item = &BufferedBlock> {
        std::iter::once(&self.front).chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    /// Puts the next blocks to send into `blocks`. Returns their number.
    pub fn gather<'a>(&'a self, blocks: &mut [IoSlice<'a>]) -> usize {
        let buffered = self.buffered().filter(|block| !block.bytes.is_empty());
        blocks.iter_mut().zip(buffered).map(|(slice, block)| *slice = IoSlice::new(&block.bytes)).count()
    }

    /// Returns a copy of the buffer: what the client is still to be sent.
    pub fn unsent(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.buffered_bytes);
        self.buffered().for_each(|block| bytes.extend_from_slice(&block.bytes));
        bytes
    }

    /// Removes from the buffer what the kernel has taken. Returns how many events were sent to their end. `bytes` may
    /// exceed the buffer: the rest came from the log.
    pub fn advance(&mut self, bytes: usize, now: Instant) -> usize {
        let mut events = 0;
        let own = bytes.min(self.buffered_bytes);
        let mut rest = own;
        while rest > 0 && rest >= self.front.bytes.len() {
            rest -= self.front.bytes.len();
            events += usize::from(self.front.events);
            self.front = self.rest.as_mut().and_then(|rest| rest.pop_front()).unwrap_or_default();
            self.is_begun = false;
        }
        if rest > 0 {
            let _ = self.front.bytes.split_to(rest);
            self.is_begun = true;
        }
        if matches!(&self.rest, Some(rest) if rest.is_empty()) {
            self.rest = None;
        }
        if bytes > 0 {
            self.buffered_bytes -= own;
            self.since = now;
            self.is_stalled = false;
        }
        events
    }

    /// Discards the buffer. Returns what is lost.
    pub fn discard(&mut self) -> Discarded {
        let events = self.buffered().map(|block| usize::from(block.events)).sum();
        (self.front, self.is_begun, self.rest) = Default::default();
        Discarded { events, bytes: std::mem::take(&mut self.buffered_bytes) }
    }
}

/// The quiet time after which an early keepalive is sent.
const EARLY_KEEPALIVE: Duration = Duration::from_secs(2);

impl Stream {
    /// Records that the socket takes nothing. The first call counts until bytes are sent: others return false.
    pub fn set_stalled(&mut self, now: Instant) -> bool {
        if !self.is_stalled {
            self.since = now;
        }
        !std::mem::replace(&mut self.is_stalled, true)
    }

    /// Returns since when the socket has taken nothing. `None` if the stream is not stalled.
    pub fn stalled_since(&self) -> Option<Instant> {
        Some(self.since).filter(|_| self.is_stalled)
    }

    /// Returns true if the socket has taken nothing for the whole timeout.
    pub fn has_timed_out(&self, now: Instant) -> bool {
        matches!(self.stalled_since(), Some(since) if after(since, self.settings.timeout) <= now)
    }

    /// Returns when a keepalive will be due. `None` while the stream is stalled, or its buffer holds bytes.
    pub fn next_due(&self) -> Option<Instant> {
        let keepalive = self.settings.keepalive.filter(|_| !self.is_stalled && self.buffered_bytes == 0);
        let most = if self.is_early { EARLY_KEEPALIVE } else { Duration::MAX };
        keepalive.map(|quiet| after(self.since, quiet.min(most)))
    }

    /// Returns true if the stream was quiet: it is to be sent a keepalive.
    pub fn is_keepalive_due(&self, now: Instant) -> bool {
        matches!(self.next_due(), Some(at) if at <= now)
    }
}
