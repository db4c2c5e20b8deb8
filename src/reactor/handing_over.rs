//! Handing streams over: one to another process, or all to another program, in which the descriptors of their sockets stay
//! open, and nothing else.
//!
//! In another program, a stream at rest continues, as one that a worker hands over: it is one number, the last sequence number
//! of its hub, and may have something in its own buffer. One that is ending continues without the hub: its client is sent the
//! rest of its buffer, but nothing more of the logs. Any other one ends: its client is sent a random reconnection time, and
//! comes back with its last event id.

use super::ending::random_retry;
use super::stream_record::{Buffering, StreamRecord};
use super::{HubId, Io, Reactor, StreamId};
use crate::compression::{Alone, Body};
use crate::event::retry_line;
use crate::hub::{EndedPoll, Hub, SubscribeRequest};
use crate::stream::{Reason, Settings, Stream, StreamEnd};
use std::time::Instant;

/// A stream that another process continues.
#[derive(Debug)]
pub struct Handed<S> {
    /// The client's connection.
    pub socket: S,
    /// The settings.
    pub settings: Settings,
    /// The bytes that the client is still to be sent before anything else, framed and encoded: perhaps the rest of a block
    /// first. Of a stream that ends or is ending, these are all.
    pub unsent: Vec<u8>,
    /// The content so far, `unsent` included.
    pub body: Body,
}

/// What becomes of a stream in another program.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // there is one at a time
pub enum Continuation {
    /// It continues.
    Subscribed {
        /// Its subscription.
        subscription: SubscribeRequest,
        /// When a drain ends it, if one does.
        drained_at: Option<Instant>,
    },
    /// It is ending, and ends when its client was sent the rest.
    Ending {
        /// The end.
        end: StreamEnd,
        /// The labels by which it is counted until then.
        labels: Vec<Box<[u8]>>,
    },
    /// It ends now.
    Cut(StreamEnd),
}

/// The end of a stream that was not ending before an upgrade: its client comes back.
pub const ENDED_BY_UPGRADE: StreamEnd = StreamEnd { reason: Reason::Server, is_by_application: false };

/// A stream that the reactor holds no longer.
#[derive(Debug)]
pub struct Detached<S> {
    /// The way in which it continues. Its socket is perhaps still to come.
    pub handed: Handed<Option<S>>,
    /// The number of bytes that were in its buffer before they were encoded: as many as were counted.
    pub buffered_bytes: usize,
    /// The number of events that end in `unsent`.
    pub buffered_events: usize,
}

impl<I: Io> Reactor<I> {
    /// Gives a stream up that has no subscription. Returns nothing, and does nothing, if it has ended or is ending. No answer
    /// follows: the caller reports the end. A socket that comes later is the caller's, too.
    pub fn detach(&mut self, id: StreamId) -> Option<Detached<I::Socket>> {
        let record = self.record(id)?;
        let is_ending = record.has_ended || record.stream.ending.is_some();
        if is_ending || record.subscription.is_some() {
            return None;
        }
        let mut record = self.records.get_mut(id.slot as usize)?.take()?;
        let buffered_bytes = record.stream.buffered_bytes();
        record.stream.encode_buffered(&mut self.alone);
        self.open_streams -= 1;
        self.hubs.unmark(id);
        if let Some(socket) = &record.socket {
            self.io.unregister(socket);
        }
        let StreamRecord { socket, mut stream, .. } = record;
        let handed = Handed { socket, settings: *stream.settings(), unsent: stream.unsent(), body: *stream.body() };
        self.note_unstalled(&stream);
        Some(Detached { handed, buffered_bytes, buffered_events: stream.discard().events })
    }

    /// Returns the hub with this number.
    pub fn hub(&self, hub: HubId) -> Option<&Hub> {
        self.hubs.get(hub)
    }

    /// Returns the polls of a hub whose clients come back to another program.
    pub fn handed_polls(&self, hub: HubId, now: Instant) -> impl Iterator<Item = EndedPoll> + '_ {
        let place_of = move |id: StreamId| {
            let record = self.records.get(id.slot as usize)?.as_ref()?;
            Some((&record.subscription.as_deref()?.cursor, record.stream.settings().retry))
        };
        self.hub(hub).into_iter().flat_map(move |hub| hub.handed_polls(place_of, now))
    }

    /// Calls a function with each stream that has a socket, in the order in which they have begun, and with what becomes of it.
    /// Nothing changes here, except that positions may be buffered that would be due later.
    pub fn hand_over(
        &mut self,
        may_continue: bool,
        now: Instant,
        mut each: impl FnMut(StreamId, Handed<&I::Socket>, Continuation),
    ) {
        let records = self.records.iter().enumerate();
        let open = records.filter_map(|(slot, record)| {
            let record = record.as_ref().filter(|record| !record.has_ended)?;
            Some(StreamId { slot: slot as u32, serial: record.serial })
        });
        let mut open: Vec<StreamId> = open.collect();
        open.sort_unstable_by_key(|id| u64::from(*id));
        for id in open {
            let subscription = if may_continue { self.handed_subscription(id, now) } else { None };
            let Self { hubs, records, answers, alone, drained, .. } = self;
            let record = some_or!(&mut records[id.slot as usize], continue);
            Buffering { stream: &mut record.stream, id, answers }.encode_buffered(alone);
            let (settings, body) = (*record.stream.settings(), *record.stream.body());
            let (unsent, continuation) = match (record.end(), subscription) {
                (Some(end), _) => {
                    let mut unsent = record.stream.unsent();
                    if record.owes_end {
                        unsent.extend_from_slice(&record.stream.end_of_response());
                    }
                    let continuation = match may_continue {
                        true => Continuation::Ending { end, labels: hubs.counted_labels_of(id) },
                        false => Continuation::Cut(end),
                    };
                    (unsent, continuation)
                }
                (None, Some(subscription)) => {
                    let drained_at = drained.get(&id);
                    (record.stream.unsent(), Continuation::Subscribed { subscription, drained_at })
                }
                (None, None) => (last_bytes(&record.stream, alone, now), Continuation::Cut(ENDED_BY_UPGRADE)),
            };
            if let Some(socket) = &record.socket {
                each(id, Handed { socket, settings, unsent, body }, continuation);
            }
        }
    }

    /// Counts a stream by its labels, unless it has ended.
    pub(super) fn count_stream(&mut self, hub: HubId, stream: StreamId, labels: &[Box<[u8]>]) {
        if self.record(stream).map_or(false, |record| !record.has_ended) {
            self.hubs.change(hub, |hub| hub.readers.count_stream(stream, labels));
        }
    }

    /// Returns how a stream at rest continues, and buffers the position that it would be sent when it is quiet.
    fn handed_subscription(&mut self, id: StreamId, now: Instant) -> Option<SubscribeRequest> {
        let record = self.record(id).filter(|record| record.stream.ending.is_none())?;
        let (hub, settings) = (record.subscription.as_ref()?.hub, *record.stream.settings());
        if self.hubs.is_closed(hub) {
            return None;
        }
        let (hub, cursor) = self.hub_and_cursor(id)?;
        let subscription = hub.handed_subscription(id, cursor, now)?;
        if let Some(position) = hub.quiet_block(cursor) {
            self.buffer_non_event(id, settings.frame(&position));
        }
        Some(subscription)
    }
}

/// Returns all that the client of a stream is still sent that ends now: what is buffered, and a reconnection time.
fn last_bytes(stream: &Stream, alone: &mut Alone, now: Instant) -> Vec<u8> {
    let settings = *stream.settings();
    let mut last = Stream::new(settings.into(), now).with_body(*stream.body());
    last.push_raw(stream.unsent().into());
    last.push_non_event(settings.frame(&retry_line(random_retry(&settings))));
    last.encode_buffered(alone);
    last.push_raw(last.end_of_response());
    last.unsent()
}
