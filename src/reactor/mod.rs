//! The I/O engine: sends what is buffered and published to many clients, and sees which of them leave.
//!
//! A [`Reactor`] makes no system call and reads no clock: an [`Io`] makes the calls, and each method is given the time.
//! It holds no lock and starts no thread. It takes [`Command`]s and gives [`Answer`]s, both plain data. The
//! `runtime` module runs it in a thread beside the interpreter.
//!
//! Here are the commands, the hubs and their logs, and a turn of sending: which streams are sent something, in which order.
//! Streams that keep up come first, from the send queue. Streams that lag behind what others have been sent take turns
//! with each other. Eviction comes last, so that a client that keeps up misses nothing, however short the log is.
//!
//! The other files, in the order in which an event travels:
//!
//! - `command`: what the reactor is asked, and what it reports
//! - `beginning`: opening a stream, attaching its socket, subscribing it to topics
//! - `stream_record`: the record of one stream, and its own buffer; here a pushed event enters it
//! - `sending`: one gathered write to one stream, from its buffer and the log
//! - `reading`: what clients send, and that they leave
//! - `handing_over`: giving a stream to another process, or all streams to another program
//! - `ending`: the end of one stream, of those by their labels, topics and ages, and of many: draining a hub, shutting down
//! - `stream_members`: which streams with members have entered and left
//! - `run_due`: what is due, and when; `stall_watchdog`: when a client is dead that takes nothing
//! - `io`: the system calls, and what their errors mean
//!
//! A published event takes this way:
//!
//! ```text
//! apply(Publish) ─> Hub::append                      the event enters its channel's log
//! flush ─> flush_queued ─> queue_subscribers         subscribers are queued, once each
//!                       ─> flush_stream ─> send      one stream, at most four writes in a row
//!                                           ├─> LogSource::catch_up   gap if its entries were evicted
//!                                           ├─> LogSource::gather     its next entries
//!                                           ├─> Io::send              one write: own buffer, then entries
//!                                           └─> LogSource::advance    its cursor moves on
//!       ─> Hubs::evict                               logs are cut to their bounds
//! ```

#![forbid(unsafe_code)]

mod beginning;
mod command;
mod ending;
mod handing_over;
mod io;
mod reading;
mod run_due;
mod sending;
pub(crate) mod stall_watchdog;
mod stream_members;
mod stream_record;
#[cfg(test)]
mod tests;

pub use command::{Answer, Command, Ending, HubId, StreamId, StreamInit};
pub use handing_over::{Continuation, Detached, Handed, ENDED_BY_UPGRADE};
pub use io::{Io, Ready};

use crate::compression::Alone;
use crate::hub::{self, Cursor, Epoch, History, Hub, Question, Reply};
use crate::stream::{after, Reason, Settings};
use crate::wait_list::WaitList;
use beginning::Subscribing;
use ending::Spread;
use run_due::Timers;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use stream_members::Presences;
use stream_record::{StreamQueue, StreamRecord};

/// Sends to many clients.
#[derive(Debug)]
pub struct Reactor<I: Io> {
    io: I,
    /// The streams by their slots.
    records: Vec<Option<StreamRecord<I::Socket>>>,
    open_streams: usize,
    /// The settings of the stream that was opened last. Mostly all streams have equal settings, and share them.
    last_settings: Option<Arc<Settings>>,
    hubs: Hubs,
    presences: Presences,
    /// Streams whose subscriptions are held, each with the time at which they take effect at the latest.
    held: WaitList<StreamId, Instant>,
    /// Streams whose clients are ahead of their hub, each with the hub and the sequence number up to which its client has read.
    ahead: WaitList<StreamId, (HubId, u64)>,
    /// The slots of the streams that the next flush sends to.
    send_queue: Vec<u32>,
    /// The slots of lagging streams, which take turns.
    behind_queue: VecDeque<u32>,
    /// The number of calls that this turn has made for streams that keep up.
    prompt_calls: usize,
    /// The number of this turn's calls for lagging streams that are used up.
    behind_calls: usize,
    /// A subscription whose patterns do not all exist yet. No command is executed before it takes effect.
    subscribing: Option<Subscribing>,
    /// The number of names that the new patterns of this turn were compared with.
    compared: usize,
    timers: Timers,
    /// The first looks at clients that were sent something.
    first_looks: Timers,
    /// Encodes what is sent to one stream alone.
    alone: Alone,
    /// The streams that a drain of their hub ends, each with the time at which it does.
    drained: WaitList<StreamId, Instant>,
    /// The shutdown, until all streams have ended.
    shutdown: Option<Spread>,
    /// True if a shutdown has begun. New streams are refused from then on.
    is_shutting_down: bool,
    answers: Vec<Answer>,
}

impl<I: Io> Reactor<I> {
    /// The most names that new patterns are compared with before the turn ends.
    const MOST_COMPARED: usize = if cfg!(test) { 100 } else { 65_536 };
    /// The number of answers and queued streams that an idle reactor keeps room for.
    const IDLE_CAPACITY: usize = 1024;

    /// Creates a reactor without streams.
    pub fn new(io: I, now: Instant) -> Self {
        Self {
            io,
            records: Vec::new(),
            open_streams: 0,
            last_settings: None,
            hubs: Hubs::default(),
            presences: Presences::default(),
            held: WaitList::default(),
            ahead: WaitList::default(),
            send_queue: Vec::new(),
            behind_queue: VecDeque::new(),
            prompt_calls: 0,
            behind_calls: 0,
            subscribing: None,
            compared: 0,
            timers: Timers::new(now),
            first_looks: Timers::new(now),
            alone: Alone::default(),
            drained: WaitList::default(),
            shutdown: None,
            is_shutting_down: false,
            answers: Vec::new(),
        }
    }

    /// Returns what makes the system calls.
    pub fn io(&mut self) -> &mut I {
        &mut self.io
    }

    /// Takes the answers since the last call.
    pub fn take_answers(&mut self) -> std::vec::Drain<'_, Answer> {
        self.answers.drain(..)
    }

    /// Returns true if the commands since the last flush have taken so long that other streams are to be sent something before
    /// the next one.
    pub fn is_turn_over(&self) -> bool {
        self.compared >= Self::MOST_COMPARED
    }

    /// Frees memory that only a busy moment needed.
    pub fn shrink(&mut self) {
        self.answers.shrink_to(Self::IDLE_CAPACITY);
        self.send_queue.shrink_to(Self::IDLE_CAPACITY);
    }

    /// Executes a command. Commands for streams that have ended have no effect; an event that they carry is lost.
    ///
    /// Most commands send nothing by themselves: [`flush`](Self::flush) does. Commands that depend on the state of a log
    /// flush first, and a slow client's stream is flushed before it ends.
    pub fn apply(&mut self, command: Command, socket: Option<I::Socket>, now: Instant) {
        while self.subscribing.is_some() {
            self.continue_subscribing(now); // for a caller that does not ask whether the turn is over
        }
        match command {
            Command::Open { stream, init } => self.open(stream, &init, socket, now),
            Command::Refuse { stream } => self.end_with_retry(stream, Reason::Server),
            Command::Attach { stream } => {
                if let Some(socket) = socket {
                    self.attach_late(stream, socket, now);
                }
            }
            Command::Push { stream, event, has_id } => self.push(stream, event, has_id, now),
            Command::End { stream, reason: Reason::Slow, ending: Ending::Discard } => self.give_up(stream, now),
            Command::End { stream, reason, ending } => self.end(stream, reason, ending),
            Command::ReleaseState { .. } => {} // for the event loop
            Command::CreateHub { hub, epoch, settings, history } => {
                self.hubs.create(hub, epoch, *settings, history.as_deref());
            }
            Command::SetRetention { hub, retention } => self.hubs.change(hub, |hub| hub.set_retention(*retention)),
            Command::Publish { hub, event } => self.hubs.change(hub, |hub| hub.append(*event, now)),
            Command::PublishStored { hub, event, at } => self.hubs.change(hub, |hub| hub.append(*event, at)),
            Command::PassStored { hub, seq } => self.hubs.change(hub, |hub| hub.pass(seq)),
            Command::Subscribe { hub, stream, request, holds } => {
                self.subscribe(Subscribing { hub, stream, request, holds }, now);
            }
            Command::BeginSubscription { stream } => self.begin(stream),
            Command::StopWaiting { stream } => self.begin_now(stream),
            Command::Ask { hub, request_id, question } => self.ask(hub, request_id, *question, now),
            Command::CountTicket { hub, outcome } => self.hubs.change(hub, |hub| hub.count_ticket(outcome)),
            Command::Drain { hub, within } => self.drain(hub, within, now),
            Command::DrainStream { stream, within } => self.drain_stream(stream, after(now, within)),
            Command::CountStream { hub, stream, labels } => self.count_stream(hub, stream, &labels),
            Command::SetDraining { hub, is_draining } => drop(self.hubs.set_draining(hub, is_draining)),
            Command::CloseHub { hub } => self.close_hub(hub),
            Command::ShutDown { within } => self.shut_down(within, now),
        }
    }
}

impl<I: Io> Reactor<I> {
    /// The fewest calls a turn for lagging streams. There are as many as for those that keep up, if that is more: so they delay
    /// those by little, and clients that return together are sent what they missed while others are sent what is new.
    const BEHIND_CALLS: usize = if cfg!(test) { 1024 } else { 32 };
    /// A call counts as one more for each of these many logs that have to be merged for the stream.
    const LOGS_PER_CALL: usize = 64;
    /// The same of entries among which retained ones are searched.
    const ENTRIES_PER_CALL: usize = 4096;

    /// Sends what is buffered and what was published, then evicts from the logs.
    pub fn flush(&mut self, now: Instant) {
        self.flush_queued(now);
        (self.prompt_calls, self.behind_calls) = (0, 0);
        self.evict(now);
        self.continue_subscribing(now);
        // Checked here because what was sent above may have ended the last stream.
        if self.open_streams == 0 {
            self.shutdown = None;
        }
    }

    /// Sends and evicts before a command whose result depends on the hub's log.
    pub(super) fn flush_hub(&mut self, hub: HubId, now: Instant) {
        if self.hubs.get(hub).map_or(false, |hub| hub.is_eviction_due(now)) {
            self.flush_queued(now);
            self.evict(now);
        }
    }

    /// Sends to the streams that keep up, then to those that lag.
    pub(super) fn flush_queued(&mut self, now: Instant) {
        self.begin_caught_up();
        self.queue_subscribers();
        loop {
            let mut queued = std::mem::take(&mut self.send_queue);
            self.prompt_calls += queued.len();
            for slot in queued.drain(..) {
                self.flush_queued_in(StreamQueue::Send, slot, now);
            }
            // Streams that were queued again went into a new vector. Mostly there are none.
            queued.append(&mut self.send_queue);
            self.send_queue = queued;
            // A client that continues to read is sent everything before eviction, so that a burst does not make it slow.
            let may_evict = |reactor: &Self| reactor.send_queue.is_empty() || !reactor.hubs.have_grown();
            if may_evict(self) {
                self.flush_behind(now); // this may queue streams that have caught up
                if may_evict(self) {
                    break;
                }
            }
        }
    }

    /// Queues the subscribers of the channels to which something was published.
    fn queue_subscribers(&mut self) {
        let Self { hubs, records, send_queue, .. } = self;
        for hub in hubs.iter_mut() {
            hub.notify_subscribers(|id| match records.get_mut(id.slot as usize) {
                Some(Some(record)) if record.serial == id.serial && record.subscription.is_some() => {
                    if record.queue == StreamQueue::None {
                        record.queue = StreamQueue::Send;
                        send_queue.push(id.slot);
                    }
                    true
                }
                _ => false,
            });
        }
    }

    /// Sends to lagging streams in turn, until the calls of this turn of the reactor are used up.
    fn flush_behind(&mut self, now: Instant) {
        let most = Self::BEHIND_CALLS.max(self.prompt_calls);
        while self.behind_calls < most {
            let slot = some_or!(self.behind_queue.pop_front(), return);
            let logs = self.subscribed_in(slot).map_or(0, |(hub, cursor)| hub.logs_to_merge(cursor));
            self.behind_calls += 1 + logs / Self::LOGS_PER_CALL;
            let state_seq = self.subscribed_in(slot).and_then(|(_, cursor)| cursor.state_seq());
            self.flush_queued_in(StreamQueue::Behind, slot, now);
            if let (Some(seq), Some((hub, cursor))) = (state_seq, self.subscribed_in(slot)) {
                self.behind_calls += hub.state_entries_after(cursor, seq) / Self::ENTRIES_PER_CALL;
            }
        }
    }

    /// Gives each lagging stream a turn before a request to end streams. A stream that has just resumed is sent what was
    /// published before.
    fn flush_all_behind(&mut self, now: Instant) {
        for _ in 0..self.behind_queue.len() {
            let slot = some_or!(self.behind_queue.pop_front(), return);
            self.flush_queued_in(StreamQueue::Behind, slot, now);
        }
    }

    /// Returns the hub that a slot's stream is subscribed to, and its cursor there.
    pub(super) fn subscribed_in(&self, slot: u32) -> Option<(&Hub, &Cursor)> {
        let subscription = self.records.get(slot as usize)?.as_ref()?.subscription.as_deref()?;
        Some((self.hubs.get(subscription.hub)?, &subscription.cursor))
    }

    /// Sends to a stream, unless it has left the queue or was sent something meanwhile.
    fn flush_queued_in(&mut self, queue: StreamQueue, slot: u32, now: Instant) {
        if let Some(Some(record)) = self.records.get(slot as usize) {
            if record.queue == queue {
                self.flush_stream(slot, now);
            }
        }
    }

    /// Returns true if all streams have ended after [`Command::ShutDown`].
    pub fn has_shut_down(&self) -> bool {
        self.is_shutting_down && self.shutdown.is_none()
    }

    /// Returns true if there is something to send without waiting for a socket.
    pub fn is_busy(&self) -> bool {
        !self.send_queue.is_empty() || !self.behind_queue.is_empty() || self.subscribing.is_some()
    }

    /// Queues a stream for the next flush.
    pub(super) fn queue(&mut self, slot: u32) {
        if let Some(Some(record)) = self.records.get_mut(slot as usize) {
            if record.queue == StreamQueue::None {
                record.queue = StreamQueue::Send;
                self.send_queue.push(slot);
            }
        }
    }

    /// Takes a stream out of the send queue, which it is in to be sent its head.
    pub(super) fn leave_send_queue(&mut self, slot: u32) {
        if let Some(Some(record)) = self.records.get_mut(slot as usize) {
            if record.queue == StreamQueue::Send {
                record.queue = StreamQueue::None;
            }
        }
    }

    /// Queues a stream that may lag: it takes turns with other lagging streams if it has a subscription.
    pub(super) fn queue_behind(&mut self, slot: u32) {
        match self.records.get_mut(slot as usize) {
            Some(Some(record)) if record.subscription.is_some() => {
                if record.queue == StreamQueue::None {
                    record.queue = StreamQueue::Behind;
                    self.behind_queue.push_back(slot);
                }
            }
            _ => self.queue(slot),
        }
    }
}

#[derive(Debug)]
struct HubState {
    hub: Hub,
    /// True if new subscribers are refused.
    is_draining: bool,
    /// True if the hub is dropped with its last stream, because it has no publisher any more.
    is_closed: bool,
}

/// All hubs by their ids. An application may create and drop any number of them.
#[derive(Debug, Default)]
pub(super) struct Hubs(BTreeMap<HubId, HubState>);

impl Hubs {
    pub(super) fn create(&mut self, id: HubId, epoch: Epoch, settings: hub::Settings, history: Option<&History>) {
        let hub = match history {
            None => Hub::new(epoch, settings),
            Some(history) => Hub::stored(epoch, settings, history),
        };
        self.0.insert(id, HubState { hub, is_draining: false, is_closed: false });
    }

    pub(super) fn get(&self, id: HubId) -> Option<&Hub> {
        self.0.get(&id).map(|state| &state.hub)
    }

    pub(super) fn get_mut(&mut self, id: HubId) -> Option<&mut Hub> {
        self.0.get_mut(&id).map(|state| &mut state.hub)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Hub> {
        self.0.values_mut().map(|state| &mut state.hub)
    }

    /// Returns true if streams may subscribe to the hub.
    pub(super) fn is_open(&self, id: HubId) -> bool {
        self.0.get(&id).map_or(false, |state| !state.is_draining && !state.is_closed)
    }

    /// Returns true if the hub is dropped with its last stream.
    pub(super) fn is_closed(&self, id: HubId) -> bool {
        self.0.get(&id).map_or(true, |state| state.is_closed)
    }

    /// Changes a hub, unless it was dropped. The next [`flush`](Reactor::flush) sends streams what was appended, and evicts
    /// what exceeds the bounds.
    pub(super) fn change(&mut self, id: HubId, change: impl FnOnce(&mut Hub)) {
        if let Some(hub) = self.get_mut(id) {
            change(hub);
        }
    }

    /// Returns true if something was published since the last eviction.
    pub(super) fn have_grown(&self) -> bool {
        self.0.values().any(|state| state.hub.has_grown())
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().flat_map(|state| [state.hub.next_due(), state.hub.readers.next_aged()]).flatten().min()
    }

    /// Takes streams that are old enough to end, at most so many.
    pub(super) fn take_aged(&mut self, now: Instant, most: usize) -> Vec<StreamId> {
        self.iter_mut().flat_map(|hub| std::iter::from_fn(move || hub.readers.pop_aged(now))).take(most).collect()
    }

    /// Takes polls that have waited for long enough, at most so many.
    pub(super) fn take_waited(&mut self, now: Instant, most: usize) -> Vec<StreamId> {
        self.iter_mut().flat_map(|hub| std::iter::from_fn(move || hub.readers.pop_waited(now))).take(most).collect()
    }

    /// Forgets the labels and the age of a stream that is no longer here.
    pub(super) fn unmark(&mut self, stream: StreamId) {
        self.iter_mut().for_each(|hub| hub.readers.remove_stream(stream));
    }

    /// Returns the labels by which a stream is counted.
    pub(super) fn counted_labels_of(&self, stream: StreamId) -> Vec<Box<[u8]>> {
        self.0.values().flat_map(|state| state.hub.readers.counted_labels_of(stream)).collect()
    }

    /// Refuses new subscribers from here on, or accepts them again. Returns false if the hub does not exist.
    pub(super) fn set_draining(&mut self, id: HubId, is_draining: bool) -> bool {
        self.0.get_mut(&id).map(|state| state.is_draining = is_draining).is_some()
    }
}

impl<I: Io> Reactor<I> {
    /// Evicts from the logs, and drops closed hubs without streams. Held streams begin before something is evicted that they
    /// are still to be sent, because they have not been slow.
    pub(super) fn evict(&mut self, now: Instant) {
        loop {
            let Self { hubs, records, held, .. } = self;
            let mut needing = Vec::new();
            for (hub_id, HubState { hub, .. }) in &mut hubs.0 {
                let of_hub = held.iter().filter_map(|(_, id)| {
                    let subscription = records.get(id.slot as usize)?.as_ref()?.subscription.as_deref()?;
                    (subscription.hub == *hub_id).then_some((*id, &subscription.cursor))
                });
                needing.extend(hub.evict(now, &of_hub.collect::<Vec<_>>()).err().into_iter().flatten());
            }
            if needing.is_empty() {
                break;
            }
            needing.into_iter().for_each(|id| self.begin(id));
            self.flush_queued(now);
        }
        self.hubs.0.retain(|_, state| !state.is_closed || state.hub.counts().streams > 0);
    }

    /// Ends the hub's streams after everything that was published, then drops the hub.
    pub(super) fn close_hub(&mut self, id: HubId) {
        for stream in self.streams_of(id) {
            self.end_with_retry(stream, Reason::Application); // the client reconnects, perhaps to another hub
        }
        match self.hubs.0.get_mut(&id) {
            Some(state) if state.hub.counts().streams > 0 => state.is_closed = true,
            _ => drop(self.hubs.0.remove(&id)),
        }
    }

    /// Asks a hub, and ends the streams that a question means.
    pub(super) fn ask(&mut self, id: HubId, request_id: u64, question: Question, now: Instant) {
        if question.follows_eviction() {
            self.flush_hub(id, now);
        }
        let finishes = question.end_request().map(|end| end.finishes);
        if finishes.is_some() {
            self.flush_all_behind(now);
        }
        let Self { hubs, records, .. } = self;
        let is_subscribed = |stream: StreamId| match records.get(stream.slot as usize) {
            Some(Some(record)) => record.serial == stream.serial && record.subscription.is_some(),
            _ => false,
        };
        // Nobody asks a hub that was dropped.
        let answer = hubs.get_mut(id).map(|hub| hub.ask(question, is_subscribed, now));
        let answer = match answer.unwrap_or(hub::Answer::Reply(Reply::Number(0))) {
            hub::Answer::Ending(streams) => {
                let ended = streams.into_iter().filter(|id| self.withdraw(*id, finishes == Some(true))).count();
                hub::Answer::Reply(Reply::Number(ended as u64))
            }
            answer => answer,
        };
        self.answers.push(Answer::Answered { request_id, answer });
    }

    /// Returns the streams that have a subscription to a hub.
    pub(super) fn streams_of(&self, id: HubId) -> Vec<StreamId> {
        let records = self.records.iter().enumerate();
        let streams = records.filter_map(|(slot, record)| {
            let record = record.as_ref()?;
            record.subscription.as_ref().filter(|subscription| subscription.hub == id)?;
            Some(StreamId { slot: slot as u32, serial: record.serial })
        });
        streams.collect()
    }
}
