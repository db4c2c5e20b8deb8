//! The beginning of a stream: it is opened, gets its socket, and is subscribed to the channels of a hub.
//!
//! The first subscriptions of a stream may be held: they take effect together when the stream's handler returns or pushes,
//! after [`HOLD`](Reactor::HOLD), or before a log evicts an entry of theirs. So no id claims events of a channel that the
//! handler was still to subscribe to.
//!
//! If the client of such a stream is ahead of its hub, which other hubs share a store with, they are held further: until the
//! hub has published as far as the client has read, before anything of that is evicted, or until
//! `Command::StopWaiting`. Neither a handler, nor a push, nor a full log ends that.

use super::stall_watchdog::StallWatchdog;
use super::stream_members::EndReport;
use super::stream_record::{Buffering, Deadline, StreamQueue, StreamRecord, Subscription};
use super::{Answer, HubId, Io, Reactor, StreamId, StreamInit};
use crate::hub::{Cursor, Hub, SubscribeRequest, POLL_LINGER};
use crate::stream::{after, share, Liveness, Reason, Stream};
use std::time::{Duration, Instant};

impl<I: Io> Reactor<I> {
    /// Opens a stream, with or without its socket. It ends at once if the process is shutting down.
    pub(super) fn open(&mut self, id: StreamId, init: &StreamInit, socket: Option<I::Socket>, now: Instant) {
        let StreamInit { settings, ref head, ref content, body, is_inherited, members_of, ref liveness } = *init;
        let mut stream = Stream::new(share(&mut self.last_settings, settings), now).with_body(body);
        if let Some((at, liveness)) = liveness.as_deref() {
            stream = stream.with_liveness(liveness, *at);
            self.answers.extend(liveness.is_stalled.then_some(Answer::Stalled { stream: id }));
        }
        stream.push_raw(head.clone());
        stream.push_non_event(content.clone());
        let slot = id.slot as usize;
        if slot >= self.records.len() {
            self.records.resize_with(slot + 1, || None);
        }
        self.records[slot] = Some(StreamRecord {
            stream,
            subscription: None,
            socket: None,
            serial: id.serial,
            queue: StreamQueue::None,
            is_blocked: false,
            has_ended: false,
            is_transferred: is_inherited,
            owes_end: false,
            end_report: if members_of.is_some() { EndReport::Due } else { EndReport::None },
            presence_hub: members_of.unwrap_or(0),
            input_bytes: 0,
            is_watched: false,
            deadline: None,
            timer: None,
        });
        self.open_streams += 1;
        match socket {
            Some(socket) => {
                self.attach(id, socket, now);
                if let Some((at, Liveness { untaken: Some(untaken), .. })) = liveness.as_deref() {
                    self.continue_watch(id, StallWatchdog::resume(*untaken, *at), now);
                }
            }
            None => {
                if let Some(record) = self.record(id) {
                    record.deadline = Some(Box::new((after(now, settings.timeout), Deadline::Attach)));
                }
                self.arm_timer(id.slot, now);
            }
        }
        if self.is_shutting_down {
            self.end_with_retry(id, Reason::Server);
        }
    }

    /// Gives a stream its socket, to which a server has written the head. The kernel has kept that, and sends it with what is
    /// buffered, in one segment.
    pub(super) fn attach_late(&mut self, id: StreamId, socket: I::Socket, now: Instant) {
        self.attach(id, socket, now);
        self.flush_stream(id.slot, now);
        if let Some((StreamRecord { socket: Some(socket), .. }, io)) = self.record_and_io(id) {
            io.uncork(socket);
        }
    }

    /// Gives a stream its socket. The socket is closed if the stream has ended.
    pub(super) fn attach(&mut self, id: StreamId, socket: I::Socket, now: Instant) {
        match self.record_and_io(id) {
            None => self.io.close(socket),
            Some((record, io)) => {
                let registered = io.register(&socket, id);
                record.deadline = None;
                record.socket = Some(socket);
                if registered.is_err() {
                    // The system has no memory for one more socket. The stream is still sent what its socket takes at once.
                    self.end_with_retry(id, Reason::Error);
                }
                self.watch(id.slot, now); // another process may have sent something
                self.queue(id.slot);
                self.arm_timer(id.slot, now);
            }
        }
    }
}

/// A stream that is to be subscribed to topics of a hub.
#[derive(Debug)]
pub(super) struct Subscribing {
    pub(super) hub: HubId,
    pub(super) stream: StreamId,
    pub(super) request: Box<SubscribeRequest>,
    /// True if the stream's first subscriptions take effect only when it begins.
    pub(super) holds: bool,
}

impl<I: Io> Reactor<I> {
    /// The longest time that subscriptions are held for a handler, which may run for long without a push.
    const HOLD: Duration = Duration::from_secs(5);

    /// Subscribes a stream, after the patterns of its request were created. If they are to be compared with too many names
    /// for one turn, [`flush`](Self::flush) continues.
    pub(super) fn subscribe(&mut self, subscribing: Subscribing, now: Instant) {
        let Subscribing { hub, stream, request, .. } = &subscribing;
        self.flush_hub(*hub, now); // the stream begins with the log as it is after eviction
        let is_open = self.record(*stream).is_some();
        if let Some(hub) = self.hubs.get_mut(*hub).filter(|_| is_open) {
            let has_all = hub.create_patterns(&request.topics, Self::MOST_COMPARED.saturating_sub(self.compared));
            self.compared += hub.take_compared();
            if !has_all {
                self.subscribing = Some(subscribing);
                return;
            }
        }
        self.subscribe_now(&subscribing, now);
        if let Some(hub) = self.hubs.get_mut(subscribing.hub) {
            hub.remove_unused_patterns(&subscribing.request.topics);
        }
    }

    /// Begins a turn with the subscription that the last turn did not finish.
    pub(super) fn continue_subscribing(&mut self, now: Instant) {
        self.compared = 0;
        if let Some(subscribing) = self.subscribing.take() {
            self.subscribe(subscribing, now);
        }
    }

    fn subscribe_now(&mut self, subscribing: &Subscribing, now: Instant) {
        let Subscribing { hub, stream: id, ref request, holds } = *subscribing;
        let may_begin = self.hubs.get_mut(hub).map_or(true, |hub| hub.readers.take_reservations(request, now));
        if !self.hubs.is_open(hub) {
            return self.end_with_retry(id, Reason::Server);
        }
        if self.record(id).map_or(true, |record| record.stream.ending.is_some()) {
            return;
        }
        let end_of_handed = self.hubs.get(hub).and_then(|hub| hub.end_of_handed(request));
        if let Some(finishes) = self.hubs.get(hub).and_then(|hub| hub.readers.requests.overtaking(request)) {
            self.withdraw(id, finishes);
            return;
        }
        if self.hubs.get_mut(hub).map_or(false, |hub| hub.has_finished_before(request, now)) {
            self.withdraw(id, true);
            return;
        }
        if !may_begin {
            self.hubs.get_mut(hub).into_iter().for_each(Hub::count_limited);
            return self.end_limited(id);
        }
        if !self.hubs.get_mut(hub).map_or(true, |hub| hub.readers.add_stream(id, request, now)) {
            return self.end_with_retry(id, Reason::Error);
        }
        let (record, hubs, answers) = some_or!(self.record_and_hubs(id), return);
        let subscription =
            record.subscription.get_or_insert_with(|| Box::new(Subscription { hub, cursor: Cursor::default() }));
        let is_own = subscription.hub == hub; // otherwise the stream is subscribed to another hub
        let hub = some_or!(hubs.get_mut(hub).filter(|_| is_own), return);
        if request.access.poll.is_none() && subscription.cursor.topics() == 0 && !request.first_block.is_sent {
            record.stream.is_early = true;
        }
        let before = subscription.cursor.topics();
        let later = hub.subscribe(id, &mut subscription.cursor, request);
        if let Some(poll) = &request.access.poll {
            hub.begin_poll(&mut subscription.cursor, poll);
        }
        let added = subscription.cursor.topics() - before;
        if added < request.topics.len() {
            answers.push(Answer::TopicsRemoved { stream: id, count: request.topics.len() - added });
        }
        let begins = !holds && hub.awaited_seq(&subscription.cursor).is_none();
        let first = if begins { hub.begin(&mut subscription.cursor) } else { Vec::new() };
        let is_held = subscription.cursor.is_held();
        let hub = subscription.hub;
        if subscription.is_finished() {
            record.subscription = None;
        }
        Buffering { stream: &mut record.stream, id, answers }.buffer_own_blocks(later.into_iter().chain(first));
        let mut presence = request.presence.clone();
        if let (Some(_), Some(member)) = (request.access.poll, &mut presence.member) {
            member.linger = member.linger.max(POLL_LINGER);
        }
        self.note_presence(id, presence);
        if !is_held {
            self.enter(id, hub);
        }
        if let Some((seq, finishes)) = end_of_handed {
            self.buffer_before_end(id, seq);
            self.withdraw(id, finishes);
            return;
        }
        match (is_held, holds) {
            (true, true) => self.hold(id, now),
            (true, false) => self.begin(id),
            (false, _) => self.queue_by_position(id),
        }
    }

    /// Buffers the events through a sequence number of a stream that ends there, as many as its client may be behind.
    fn buffer_before_end(&mut self, id: StreamId, seq: u64) {
        let (record, hubs, answers) = some_or!(self.record_and_hubs(id), return);
        let Subscription { hub, cursor } = some_or!(record.subscription.as_deref_mut(), return);
        let most_bytes = record.stream.settings().max_buffered;
        let events = hubs.get_mut(*hub).map(|hub| hub.replay_before_end(cursor, seq, most_bytes));
        Buffering { stream: &mut record.stream, id, answers }.buffer_own_blocks(events.into_iter().flatten());
    }

    /// Queues a stream that resumes with the lagging streams, and any other stream for the next flush. One that was held until
    /// the hub has caught up with its client is sent what is new before that is evicted, however many such streams there are.
    pub(super) fn queue_by_position(&mut self, id: StreamId) {
        if self.subscribed_in(id.slot).map_or(false, |(hub, cursor)| hub.is_behind(cursor)) {
            self.leave_send_queue(id.slot);
            self.queue_behind(id.slot);
        } else {
            self.queue(id.slot);
        }
    }

    /// Holds a stream's subscriptions for a limited time.
    fn hold(&mut self, id: StreamId, now: Instant) {
        if self.held.get(&id).is_none() {
            self.held.set(id, now + Self::HOLD);
        }
    }

    /// Makes a stream's held subscriptions effective, or has them wait until the hub is no longer behind the client.
    pub(super) fn begin(&mut self, id: StreamId) {
        self.held.remove(&id);
        let awaited = self.record_and_hubs(id).and_then(|(record, hubs, _)| {
            let Subscription { hub, cursor } = record.subscription.as_deref()?;
            Some((*hub, hubs.get(*hub)?.awaited_seq(cursor)?))
        });
        match awaited {
            None => self.begin_now(id),
            Some(awaited) => self.ahead.set(id, awaited),
        }
    }

    /// Makes a stream's held subscriptions effective, wherever its client is.
    pub(super) fn begin_now(&mut self, id: StreamId) {
        self.ahead.remove(&id);
        if let Some((record, hubs, answers)) = self.record_and_hubs(id) {
            if let Some(Subscription { hub, cursor }) = record.subscription.as_deref_mut() {
                let own_blocks = hubs.get_mut(*hub).map_or_else(Vec::new, |hub| hub.begin(cursor));
                let hub = *hub;
                Buffering { stream: &mut record.stream, id, answers }.buffer_own_blocks(own_blocks);
                self.enter(id, hub);
                self.queue_by_position(id);
            }
        }
    }

    /// Makes subscriptions effective that were held for too long.
    pub(super) fn begin_held(&mut self, now: Instant) {
        while let Some(id) = self.held.take_due(now) {
            self.begin(id);
        }
    }

    /// Makes the subscriptions effective of clients whose hub has caught up with them. Called before eviction.
    pub(super) fn begin_caught_up(&mut self) {
        let mut from = ((0, 0), StreamId { slot: 0, serial: 0 });
        while let Some(((hub, seq), id)) = self.ahead.first_from(from).copied() {
            if self.hubs.get(hub).map_or(false, |hub| hub.last_seq() < seq) {
                from.0 = (hub + 1, 0);
                continue;
            }
            self.ahead.remove(&id);
            if self.held.get(&id).is_none() {
                self.begin(id);
            }
        }
    }

    /// Ends the subscription of a stream that ends. It is still sent what was published before.
    pub(super) fn end_subscription(&mut self, id: StreamId) {
        self.begin(id);
        let (record, hubs, answers) = some_or!(self.record_and_hubs(id), return);
        if let Some(Subscription { hub, cursor }) = record.subscription.as_deref_mut() {
            if let Some(hub) = hubs.get_mut(*hub) {
                // A gap in the topics is reported while the stream has them. One that was told that its state is complete lags
                // from there on.
                loop {
                    let is_completion_queued = cursor.is_completion_queued() && record.stream.buffered_bytes() > 0;
                    match hub.catch_up(cursor) {
                        Ok(own_blocks) => {
                            Buffering { stream: &mut record.stream, id, answers }.buffer_own_blocks(own_blocks)
                        }
                        Err(_) if is_completion_queued => {
                            hub.remove_stream(std::mem::take(cursor)); // it is sent that, and no more
                            record.stream.ending = Some(Reason::Slow);
                            record.owes_end = false;
                        }
                        Err(_) => return self.end_at_once(id, Reason::Slow),
                    }
                    if !cursor.is_completion_queued() {
                        break;
                    }
                }
                hub.end_subscription(id, cursor);
            }
            if cursor.is_idle() {
                record.subscription = None;
            }
            self.queue(id.slot);
        }
    }

    /// Returns the position of a quiet stream as a block, if it has advanced.
    pub(super) fn quiet_block(&mut self, id: StreamId) -> Option<Vec<u8>> {
        let (hub, cursor) = self.hub_and_cursor(id)?;
        hub.quiet_block(cursor)
    }

    /// Drops a stream's subscription, and with it everything that the stream is still to be sent of the logs.
    pub(super) fn drop_subscription(&mut self, id: StreamId) {
        self.held.remove(&id);
        if let Some((record, hubs, _)) = self.record_and_hubs(id) {
            if let Some(subscription) = record.subscription.take() {
                subscription.remove(hubs);
            }
        }
    }

    pub(super) fn hub_and_cursor(&mut self, id: StreamId) -> Option<(&mut Hub, &mut Cursor)> {
        let (record, hubs, _) = self.record_and_hubs(id)?;
        let Subscription { hub, cursor } = record.subscription.as_deref_mut()?;
        Some((hubs.get_mut(*hub)?, cursor))
    }
}
