//! Sending one subscribed stream from the log of its hub.
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

use super::buffering::Buffering;
use super::hubs::Hubs;
use super::subscriptions::Subscription;
use crate::compression::{Alone, ContentCoding};
use crate::event::LineEnd;
use crate::hub::{BlockForm, Cursor, Gathered, Hub, NextEncoding};
use crate::stream::{Settings, Stream, StreamId};
use std::io::IoSlice;

/// Whether a stream may be sent entries of the log.
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
        /// Whether other streams have been sent the next entry before.
        is_behind: bool,
    },
    /// The stream has to end: the log has evicted entries that it was still to be sent.
    MustEnd,
}

/// The part of the log's entries that the kernel has taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// How many bytes left the log: a whole entry, even if the kernel has taken only a part of it.
    pub(super) bytes: usize,
    /// How many entries were sent to their end.
    pub(super) events: usize,
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
        let (hub, cursor) = match self.hub_and_cursor() {
            Some(both) => both,
            None => return LogState::Open,
        };
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
        let is_copied =
            !is_coded && buffering.stream.settings().line_end == LineEnd::CrLf || cursor.has_channel_names();
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
        let (hub, cursor) = match self.hub_and_cursor() {
            Some(both) => both,
            None => return LogState::Open,
        };
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
    ) -> Taken {
        let (gathered, (hub, cursor)) = match (gathered, self.hub_and_cursor()) {
            (Some(gathered), Some(both)) => (gathered, both),
            _ => return Taken::default(),
        };
        if is_all {
            hub.record_all_sent(cursor, &gathered, stream.body_mut());
            return Taken { bytes, events: gathered.blocks };
        }
        let sent = hub.record_sent(cursor, &form_of(stream), bytes, stream.body_mut());
        if let Some(rest) = sent.rest {
            stream.continue_with(rest);
        }
        Taken { bytes: sent.bytes, events: sent.events }
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
