//! The state of a reactor, with which the reactor of a new program continues.
//!
//! The message that hands a stream over to a hub process (`wire::Open`) cannot replace it: such a stream has no cursor yet.

use super::hubs::Hubs;
use super::shutdown::Spread;
use super::stream_members::Presences;
use super::stream_record::{Deadline, StreamQueue, StreamRecord};
use super::subscriptions::Subscription;
use super::{Io, Reactor, StreamId};
use crate::saved::{Malformed, Restorer, Saved, Saver};
use crate::stream::{Reason, Stream};
use std::collections::VecDeque;
use std::time::Instant;

/// The number of a stream's socket while the stream has none.
const NO_SOCKET: i32 = -1;

impl Saved for Deadline {
    fn save(&self, to: &mut Saver) {
        to.add(&match self {
            Self::Attach => 0u8,
            Self::Retry | Self::Look(_) => 1, // looks are not saved
            Self::Linger => 2,
        });
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        match from.take::<u8>()? {
            0 => Ok(Self::Attach),
            1 => Ok(Self::Retry),
            2 => Ok(Self::Linger),
            _ => Err(Malformed),
        }
    }
}

/// The state of a reactor. The sockets are numbers of descriptors.
#[derive(Debug)]
pub struct ReactorState {
    records: Vec<Option<StreamRecord<i32>>>,
    hubs: Hubs,
    presences: Presences,
    held: VecDeque<(Instant, StreamId)>,
    ahead: Vec<(u64, StreamId)>,
    drains: Vec<Spread>,
}

saved!(ReactorState { records, hubs, presences, held, ahead, drains });

impl Saved for StreamRecord<i32> {
    fn save(&self, to: &mut Saver) {
        save_record(self, |number| *number, to);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            stream: from.take::<Stream>()?,
            subscription: from.take::<Option<Box<Subscription>>>()?,
            socket: Some(from.take()?).filter(|number| *number != NO_SOCKET),
            serial: from.take()?,
            queue: StreamQueue::None,
            is_blocked: false,
            has_ended: from.take()?,
            is_transferred: from.take()?,
            owes_end: from.take()?,
            end_report: from.take()?,
            presence_hub: from.take()?,
            input_bytes: from.take()?,
            is_watched: false,
            deadline: from.take()?,
            timer: None,
        })
    }
}

/// Saves a stream. What the queues and timers hold of it is not saved: the new reactor tries to send to each stream.
fn save_record<S>(record: &StreamRecord<S>, number: impl Fn(&S) -> i32, to: &mut Saver) {
    let StreamRecord {
        stream,
        subscription,
        socket,
        serial,
        queue: _,
        is_blocked: _,
        has_ended,
        is_transferred,
        owes_end,
        end_report,
        presence_hub,
        input_bytes,
        is_watched: _,
        deadline,
        timer: _,
    } = record;
    to.add(stream);
    to.add(subscription);
    to.add(&socket.as_ref().map_or(NO_SOCKET, number));
    to.add(serial);
    to.add(has_ended);
    to.add(is_transferred);
    to.add(owes_end);
    to.add(end_report);
    to.add(presence_hub);
    to.add(input_bytes);
    // The new program looks anew at each client.
    to.add(&deadline.clone().filter(|deadline| !matches!(deadline.1, Deadline::Look(_))));
}

impl<I: Io> Reactor<I> {
    /// Saves a [`ReactorState`]. Commands and answers are not part of it: the caller has executed and taken them. `number`
    /// returns the number of a socket's descriptor.
    pub fn save(&self, number: impl Fn(&I::Socket) -> i32, to: &mut Saver) {
        to.add_count(self.records.len());
        for record in &self.records {
            to.add(&record.is_some());
            if let Some(record) = record {
                save_record(record, &number, to);
            }
        }
        to.add(&self.hubs);
        to.add(&self.presences);
        to.add(&self.held.iter().collect::<VecDeque<_>>());
        to.add(&self.ahead.iter().map(|((_, seq), id)| (seq, id)).collect::<Vec<_>>());
        to.add(&self.drains);
    }

    /// Returns the socket of a stream.
    pub fn socket(&mut self, id: StreamId) -> Option<&I::Socket> {
        self.record(id).and_then(|record| record.socket.as_ref())
    }

    /// Continues with the streams and hubs of another reactor. `adopt` makes a socket of the number of its descriptor; a
    /// stream whose socket it cannot make ends.
    pub fn restore(&mut self, state: ReactorState, mut adopt: impl FnMut(i32) -> Option<I::Socket>, now: Instant) {
        let ReactorState { records, hubs, presences, held, ahead, drains } = state;
        self.hubs = hubs;
        self.presences = presences;
        self.held = held.into_iter().collect();
        let hub_of = |id: StreamId| records.get(id.slot as usize)?.as_ref()?.subscription.as_ref().map(|it| it.hub);
        self.ahead = ahead.into_iter().filter_map(|(seq, id)| Some(((hub_of(id)?, seq), id))).collect();
        self.drains = drains;
        self.records.resize_with(records.len(), || None);
        for (slot, record) in records.into_iter().enumerate() {
            if let Some(record) = record {
                self.restore_record(slot as u32, record, &mut adopt, now);
            }
        }
    }

    fn restore_record(
        &mut self,
        slot: u32,
        record: StreamRecord<i32>,
        adopt: &mut impl FnMut(i32) -> Option<I::Socket>,
        now: Instant,
    ) {
        let StreamRecord { mut stream, socket: number, .. } = record;
        let settings = *stream.settings();
        stream.share_settings(self.share(settings));
        let id = StreamId { slot, serial: record.serial };
        let socket = number.and_then(adopt);
        let is_lost = number.is_some() && socket.is_none();
        let is_registered = socket.as_ref().map_or(true, |socket| self.io.register(socket, id).is_ok());
        self.open_streams += usize::from(!record.has_ended);
        self.records[slot as usize] = Some(StreamRecord {
            stream,
            subscription: record.subscription,
            socket,
            serial: record.serial,
            queue: StreamQueue::None,
            is_blocked: false,
            has_ended: record.has_ended,
            is_transferred: record.is_transferred,
            owes_end: record.owes_end,
            end_report: record.end_report,
            presence_hub: record.presence_hub,
            input_bytes: record.input_bytes,
            is_watched: false,
            deadline: record.deadline,
            timer: None,
        });
        if is_lost {
            return self.end_at_once(id, Reason::Error);
        }
        if !is_registered {
            self.end_with_retry(id, Reason::Error);
        }
        self.watch(slot, now);
        self.queue_by_position(id);
        self.arm_timer(slot, now);
    }
}
