//! Sends what waits to many clients, and sees which of them have left.
//!
//! A [`Reactor`] knows neither system calls nor clocks: an [`Io`] makes the calls, and who runs it says what time it is. It
//! is told by [`Command`]s, and tells by [`Answer`]s, both plain data. In a process it runs in one thread, next to the
//! interpreter:
//!
//! - `command`: what it is told and what it answers
//! - `subscription`: streams that follow the channels of a hub
//! - `shutdown`: ending many streams without having all clients come back at once
//! - `errors`: what an error of a socket says about its client
//! - `timers`: when which stream is to be looked at
//! - [`waker`]: waking it, only if it sleeps
//! - [`change`]: waiting for what it does
//! - `link`: the way to it, with what is counted on the way
//! - `state`: what who pushes can see of a stream without asking
//! - `process`: the reactor of this process: its thread, its start, what a fork does to it (Linux)
//! - `reserve`: the descriptors that stay free for the application (Linux)
//! - `handle`: a stream as the application holds it (Linux)
//! - `publisher`: a hub as the application holds it (Linux)

mod command;
mod errors;
mod shutdown;
mod subscriptions;
mod timers;

#[cfg(test)]
mod tests;

pub use command::{Answer, Beginning, Command, Ending, HubId, StreamId};

use crate::stream::{after, Due, Lost, Reason, Settings, Stream};
use bytes::Bytes;
use errors::{is_memory, reason_of};
use shutdown::Spread;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};
use subscriptions::{Hubs, SendDecision, Subscription};
use timers::Timers;

/// The system calls that a reactor needs.
pub trait Io {
    /// A connection to a client.
    type Socket;

    /// Has the reactor told when the client sends something or leaves.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn add(&mut self, socket: &Self::Socket, stream: StreamId) -> io::Result<()>;

    /// Has the reactor told, or no longer told, when the socket takes bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn ask_writable(&mut self, socket: &Self::Socket, stream: StreamId, writable: bool) -> io::Result<()>;

    /// Sends what the system takes now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldBlock`] if it takes nothing now.
    fn send(&mut self, socket: &Self::Socket, blocks: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Reads and forgets what the client has sent. 0 says that it has closed its side.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldBlock`] if there is nothing now.
    fn drain(&mut self, socket: &Self::Socket) -> io::Result<usize>;

    /// Whether a socket that has ended may stay open for a while. Not if few descriptors are left.
    fn may_linger(&self) -> bool;

    /// Says that nothing more is sent.
    fn finish(&mut self, socket: &Self::Socket);

    /// Lets go of the socket.
    fn close(&mut self, socket: Self::Socket);
}

/// What is known of a socket, told by who waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// It takes bytes again.
    pub writable: bool,
    /// The client has sent something.
    pub readable: bool,
    /// The client has closed its side, or the connection is broken.
    pub left: bool,
}

/// A time that only some streams have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deadline {
    /// Its socket has to have come.
    Attach,
    /// The system may have memory again.
    Retry,
    /// It has ended, and was given the time to say so to its client.
    Linger,
}

struct Entry<S> {
    stream: Stream,
    /// The channels that it follows, if it does.
    subscription: Option<Box<Subscription>>,
    socket: Option<S>,
    serial: u32,
    is_dirty: bool,
    is_blocked: bool,
    has_ended: bool,
    is_handed_over: bool,
    /// Whether what ends the response is still to be sent, after all that was published before.
    owes_end: bool,
    drained_bytes: u32,
    /// What has to have happened by then, if anything.
    deadline: Option<Instant>,
    awaited: Deadline,
    timer: Option<Instant>,
}

/// At most so many blocks go out in one call.
const GATHERED: usize = 256;
/// And about so many bytes of the log, for the kernel copies them.
const GATHERED_BYTES: usize = 256 << 10;

/// Sends what waits to many clients.
pub struct Reactor<I: Io> {
    io: I,
    entries: Vec<Option<Entry<I::Socket>>>,
    dirty: Vec<u32>,
    /// Streams that are behind what others have been sent, or were: they take turns.
    lagging: VecDeque<u32>,
    /// How many calls are left for them in this turn.
    lagging_calls: usize,
    /// Streams that have subscribed to something and are not to be sent it yet, each until a time at the latest.
    held: VecDeque<(Instant, StreamId)>,
    timers: Timers,
    hubs: Hubs,
    /// The ends of hubs' streams.
    drains: Vec<(HubId, Spread)>,
    /// The end of the process.
    shutdown: Option<Spread>,
    /// Whether the process ends, or has ended all its streams.
    is_ending: bool,
    open_streams: usize,
    /// The settings that came last: mostly all streams have the same, and share them.
    settings: Option<Arc<Settings>>,
    answers: Vec<Answer>,
}

impl<I: Io> Reactor<I> {
    /// At most so many calls in a row for one stream, then others have their turn.
    const CALLS: usize = 4;
    /// A client that sends more than that after its request is no client of ours.
    const DRAINED_BYTES: u32 = 1 << 20;
    /// So long at most a stream waits for its handler to subscribe it to more.
    const HOLD: Duration = Duration::from_secs(5);
    /// At most so many streams of a hub end in a turn because it is drained.
    const ENDS: usize = 64;
    /// So often a slow client's socket is tried at most before the client is given up.
    const LAST_TRIES: usize = 64;
    /// At most so many calls a turn for streams that lag, so that those who keep up do not wait for them long.
    const LAGGING_CALLS: usize = if cfg!(test) { 1024 } else { 64 };
    /// A call for a stream that has so many logs to look at more counts as one more.
    const LOGS_A_CALL: usize = 64;
    /// How long a client that was told the end may take to close its side.
    const LINGER: Duration = Duration::from_secs(2);
    /// So many answers and streams to be sent to it has room for while it sleeps.
    const RESTING: usize = 1024;
    /// How long to wait when the system has no memory for what is sent.
    const RETRY: Duration = Duration::from_millis(50);

    /// A reactor without streams.
    pub fn new(io: I, now: Instant) -> Self {
        Self {
            io,
            entries: Vec::new(),
            dirty: Vec::new(),
            lagging: VecDeque::new(),
            lagging_calls: Self::LAGGING_CALLS,
            held: VecDeque::new(),
            timers: Timers::new(now),
            hubs: Hubs::default(),
            drains: Vec::new(),
            shutdown: None,
            is_ending: false,
            open_streams: 0,
            settings: None,
            answers: Vec::new(),
        }
    }

    /// What makes its system calls.
    pub fn io(&mut self) -> &mut I {
        &mut self.io
    }

    /// Takes what it has answered since it was asked last.
    pub fn answers(&mut self) -> std::vec::Drain<'_, Answer> {
        self.answers.drain(..)
    }

    /// Gives back memory that only a moment with much to do needed.
    pub fn rest(&mut self) {
        self.answers.shrink_to(Self::RESTING);
        self.dirty.shrink_to(Self::RESTING);
    }

    /// Does what it is told. Nothing is sent before [`flush`](Self::flush), unless somebody asks a hub or a slow client is given
    /// up. Commands for streams that have ended change nothing; an event that they carry is lost.
    pub fn apply(&mut self, command: Command, socket: Option<I::Socket>, now: Instant) {
        match command {
            Command::Open { stream, beginning } => {
                self.open(stream, *beginning, socket, now);
                if self.is_ending {
                    self.refuse(stream, Reason::Server);
                }
            }
            Command::Refuse { stream } => self.refuse(stream, Reason::Server),
            Command::Attach { stream } => {
                if let Some(socket) = socket {
                    self.attach(stream, socket, now);
                }
            }
            Command::Push { stream, event } => self.push(stream, event, now),
            Command::End { stream, reason: Reason::Slow, ending: Ending::Discard } => self.give_up(stream, now),
            Command::End { stream, reason, ending } => self.end(stream, reason, ending),
            Command::Hub { hub, epoch, settings } => self.hubs.insert(hub, epoch, *settings),
            Command::Publish { hub, publication } => {
                if let Some(hub) = self.hubs.get_mut(hub) {
                    hub.publish(*publication, now);
                }
            }
            Command::Subscribe { hub, stream, request, holds } => self.subscribe(hub, stream, &request, holds, now),
            Command::Begin { stream } => self.begin(stream),
            Command::Unsubscribe { stream, topics } => self.unsubscribe(stream, topics.as_deref(), now),
            Command::Release { .. } => {} // that is for who tells
            Command::Drain { hub, within } => self.drain_hub(hub, within, now),
            Command::Leave { hub } => self.leave_hub(hub),
            Command::Ask { hub, ticket, channel } => self.ask(hub, ticket, &channel, now),
            Command::Finish { within } => self.finish(within, now),
        }
    }

    /// Sends what waits and was not tried yet.
    pub fn flush(&mut self, now: Instant) {
        self.offer(now);
        // The next turn has as many calls again.
        self.lagging_calls = Self::LAGGING_CALLS;
        // Evicting comes last: a client that keeps up misses nothing, however short the history is.
        self.hubs.forget(now);
        // Here, for the last stream may have ended by what was sent to it.
        if self.open_streams == 0 && self.shutdown.take().is_some() {
            self.answers.push(Answer::Finished);
        }
    }

    /// Offers what was published to all streams that keep up, and then to those that lag.
    fn offer(&mut self, now: Instant) {
        self.begin_before_eviction(now);
        self.mark_subscribers();
        loop {
            let mut dirty = std::mem::take(&mut self.dirty);
            for slot in dirty.drain(..) {
                self.flush_one(slot, now);
            }
            // What is to go on in the next turn was put into a new vector; mostly nothing was.
            dirty.append(&mut self.dirty);
            self.dirty = dirty;
            // A client that reads on is offered all before anything is evicted: a burst says nothing about it.
            let is_offered = |reactor: &Self| reactor.dirty.is_empty() || !reactor.hubs.have_grown();
            if is_offered(self) {
                self.send_to_lagging(now); // of which some may have caught up
                if is_offered(self) {
                    break;
                }
            }
        }
    }

    /// Sends to streams that lag, which take turns, as many calls a turn as may be: they may be many, each with much to
    /// send.
    fn send_to_lagging(&mut self, now: Instant) {
        while self.lagging_calls > 0 {
            let slot = match self.lagging.pop_front() {
                Some(slot) => slot,
                None => return,
            };
            if let Some(Some(entry)) = self.entries.get(slot as usize) {
                let logs = subscriptions::logs_to_merge(&self.hubs, &entry.subscription);
                self.lagging_calls = self.lagging_calls.saturating_sub(1 + logs / Self::LOGS_A_CALL);
            }
            self.flush_one(slot, now);
        }
    }

    /// Whether there is something to send at once.
    pub fn is_busy(&self) -> bool {
        !self.dirty.is_empty() || !self.lagging.is_empty()
    }

    /// When [`fire`](Self::fire) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        let shutdown = self.shutdown.as_ref().map(Spread::next_due);
        let draining = self.drains.iter().map(|(_, drain)| drain.next_due()).min();
        let held = self.held.front().map(|(until, _)| *until);
        [self.timers.first(), shutdown, draining, held, self.hubs.next_due()].iter().copied().flatten().min()
    }

    /// Does what is due: keepalives, ends of patience.
    pub fn fire(&mut self, now: Instant) {
        while let Some((at, slots)) = self.timers.take_due(now) {
            for slot in slots {
                self.look(slot, at, now);
            }
        }
        self.begin_held(now);
        self.begin_before_eviction(now);
        if !self.is_busy() {
            self.hubs.expire(now); // else what was published is offered before
        }
        self.continue_draining(now);
        self.continue_shutdown(now);
    }

    /// Does what a socket is ready for.
    pub fn ready(&mut self, id: StreamId, ready: Ready, now: Instant) {
        if ready.readable || ready.left {
            self.read(id, ready.left);
        }
        if ready.writable {
            self.unblock(id);
        }
        self.rearm(id.slot, now);
    }

    /// Gives up all that waits, for it can no longer be sent, and ends the connections: a child may hold their sockets too.
    pub fn discard(&mut self) -> Lost {
        let mut all = Lost::default();
        for entry in self.entries.iter_mut().flatten() {
            if let (Some(socket), false) = (&entry.socket, entry.is_handed_over) {
                self.io.finish(socket);
            }
            let lost = entry.stream.discard();
            all.events += lost.events;
            all.bytes += lost.bytes;
        }
        all
    }

    /// The stream, if it is (still) there.
    fn entry(&mut self, id: StreamId) -> Option<&mut Entry<I::Socket>> {
        self.entries.get_mut(id.slot as usize)?.as_mut().filter(|entry| entry.serial == id.serial)
    }

    /// The same, with what makes the system calls.
    fn entry_and_io(&mut self, id: StreamId) -> Option<(&mut Entry<I::Socket>, &mut I)> {
        let entry = self.entries.get_mut(id.slot as usize)?.as_mut().filter(|entry| entry.serial == id.serial)?;
        Some((entry, &mut self.io))
    }

    /// Has the stream looked at by the next flush.
    fn mark(&mut self, slot: u32) {
        if let Some(Some(entry)) = self.entries.get_mut(slot as usize) {
            if !entry.is_dirty {
                entry.is_dirty = true;
                self.dirty.push(slot);
            }
        }
    }

    /// Has the stream sent something when its turn comes, if it has subscriptions, and may lag; otherwise by the next flush.
    fn mark_lagging(&mut self, slot: u32) {
        match self.entries.get_mut(slot as usize) {
            Some(Some(entry)) if entry.subscription.is_some() => {
                if !std::mem::replace(&mut entry.is_dirty, true) {
                    self.lagging.push_back(slot);
                }
            }
            _ => self.mark(slot),
        }
    }

    /// Sees to it that the stream is looked at when its next thing is due.
    fn rearm(&mut self, slot: u32, now: Instant) {
        if let Some(Some(entry)) = self.entries.get_mut(slot as usize) {
            if let Some(due) = entry.next_due() {
                if entry.timer.map_or(false, |timer| timer <= due) {
                    return; // it is looked at before, and asks again then
                }
                let at = self.timers.tick(now, due);
                if entry.timer.map_or(true, |timer| at < timer) {
                    entry.timer = Some(at);
                    self.timers.insert(at, slot);
                }
            }
        }
    }

    fn open(&mut self, id: StreamId, beginning: Beginning, socket: Option<I::Socket>, now: Instant) {
        let Beginning { settings, head, is_inherited } = beginning;
        let shared = match &self.settings {
            Some(shared) if **shared == settings => Arc::clone(shared),
            _ => Arc::clone(self.settings.insert(Arc::new(settings))),
        };
        let mut stream = Stream::new(shared, now);
        stream.push_around(head);
        let slot = id.slot as usize;
        if slot >= self.entries.len() {
            self.entries.resize_with(slot + 1, || None);
        }
        self.entries[slot] = Some(Entry {
            stream,
            subscription: None,
            socket: None,
            serial: id.serial,
            is_dirty: false,
            is_blocked: false,
            has_ended: false,
            is_handed_over: is_inherited,
            owes_end: false,
            drained_bytes: 0,
            deadline: Some(after(now, settings.timeout)),
            awaited: Deadline::Attach,
            timer: None,
        });
        self.open_streams += 1;
        match socket {
            Some(socket) => self.attach(id, socket, now),
            None => self.rearm(id.slot, now),
        }
    }

    fn attach(&mut self, id: StreamId, socket: I::Socket, now: Instant) {
        match self.entry_and_io(id) {
            None => self.io.close(socket),
            Some((entry, io)) => {
                let added = io.add(&socket, id);
                entry.socket = Some(socket);
                entry.deadline = None;
                if added.is_err() {
                    // No memory for one more: what fits into the socket is sent all the same.
                    self.refuse(id, Reason::Error);
                }
                self.mark(id.slot);
                self.rearm(id.slot, now);
            }
        }
    }

    fn push(&mut self, id: StreamId, event: Bytes, now: Instant) {
        if self.entry(id).map_or(false, |entry| entry.stream.ending().is_none()) {
            self.push_behind(id, now);
        }
        // What the client takes now need not be dropped.
        if self.entry(id).map_or(false, |entry| entry.stream.drops_for(event.len())) {
            self.flush_one(id.slot, now);
        }
        let mut lost = Lost { events: 1, bytes: event.len() };
        if let Some(entry) = self.entry(id).filter(|entry| entry.stream.ending().is_none()) {
            lost = match &entry.socket {
                Some(_) => entry.stream.push(event),
                // Its client cannot read yet, so what waits says nothing about it.
                None => {
                    entry.stream.push_unlimited(event);
                    Lost::default()
                }
            };
            self.mark(id.slot);
        }
        if lost.events > 0 {
            self.answers.push(Answer::Lost { stream: id, lost });
        }
    }

    /// Adds what is no event, where the end is not there already.
    fn add(&mut self, id: StreamId, bytes: Bytes) {
        let count = bytes.len();
        if let Some(entry) = self.entry(id).filter(|entry| entry.stream.ending().is_none()) {
            entry.stream.push_around(bytes);
            self.answers.push(Answer::Added { stream: id, bytes: count });
            self.mark(id.slot);
        }
    }

    /// Ends the stream of a slow client. What the socket takes of the events that were accepted is sent before.
    fn give_up(&mut self, id: StreamId, now: Instant) {
        for _ in 0..Self::LAST_TRIES {
            match self.entry(id).filter(|entry| !entry.has_ended) {
                Some(entry) => entry.is_blocked = false, // its socket may take bytes again without the reactor's knowing
                None => break,
            }
            self.flush_one(id.slot, now);
            if !self.entry(id).map_or(false, |entry| entry.is_dirty) {
                break;
            }
        }
        // If something were unread, closing would have the kernel throw away what it has taken.
        if let Some((Entry { socket: Some(socket), has_ended: false, .. }, io)) = self.entry_and_io(id) {
            Self::drain(io, socket);
        }
        self.end(id, Reason::Slow, Ending::Discard);
    }

    fn end(&mut self, id: StreamId, reason: Reason, ending: Ending) {
        let framing = match self.entry(id) {
            Some(entry) if !entry.has_ended => entry.stream.settings().framing,
            _ => return,
        };
        if ending == Ending::Discard {
            return self.fail(id, reason);
        }
        if self.entry(id).map_or(false, |entry| entry.stream.ending().is_none()) {
            if let Some(entry) = self.entry(id) {
                entry.is_handed_over = ending == Ending::HandOver;
                entry.owes_end = ending == Ending::Flush && !framing.end().is_empty();
                entry.stream.end(reason);
            }
            self.end_subscription(id);
        }
        self.mark(id.slot);
    }

    /// One stream too many, or too late.
    fn refuse(&mut self, id: StreamId, reason: Reason) {
        if self.entry(id).map_or(false, |entry| entry.is_handed_over) {
            return self.end(id, reason, Ending::HandOver);
        }
        self.send_away(id);
        self.end(id, reason, Ending::Flush);
    }

    fn flush_one(&mut self, slot: u32, now: Instant) {
        let id = match self.entries.get_mut(slot as usize) {
            Some(Some(entry)) => {
                entry.is_dirty = false;
                StreamId { slot, serial: entry.serial }
            }
            _ => return,
        };
        match self.send(id, now) {
            Ok(Progress::Done) => self.complete(id, now),
            Ok(Progress::Overtaken) => self.fail(id, Reason::Slow),
            Ok(Progress::MoreToSend) => self.mark(slot),
            Ok(Progress::Lagging) => self.mark_lagging(slot),
            Ok(Progress::Nothing) => self.rearm(slot, now), // from here on it is quiet
            Ok(Progress::Stalled) => {
                if let Some((entry, io)) = self.entry_and_io(id) {
                    entry.stream.stalled(now);
                    let asked = entry.socket.as_ref().map_or(Ok(()), |socket| io.ask_writable(socket, id, true));
                    entry.is_blocked = true;
                    if asked.is_err() {
                        return self.fail(id, Reason::Error);
                    }
                    self.answers.push(Answer::Stalled { stream: id });
                }
                self.rearm(slot, now);
            }
            Err(error) if is_memory(&error) => {
                if let Some(entry) = self.entry(id) {
                    entry.stream.stalled(now);
                    entry.is_blocked = true;
                    entry.deadline = Some(now + Self::RETRY);
                    entry.awaited = Deadline::Retry;
                }
                self.rearm(slot, now);
            }
            Err(error) => self.fail(id, reason_of(&error)),
        }
    }

    fn send(&mut self, id: StreamId, now: Instant) -> io::Result<Progress> {
        let Self { entries, io, answers, hubs, .. } = self;
        let entry = match entries.get_mut(id.slot as usize) {
            Some(Some(entry)) if !entry.has_ended => entry,
            _ => return Ok(Progress::Nothing),
        };
        let socket = match &entry.socket {
            Some(socket) => socket,
            None => return Ok(Progress::Nothing),
        };
        for _ in 0..Self::CALLS {
            let decision = subscriptions::catch_up(
                hubs,
                &mut entry.subscription,
                &mut entry.stream,
                entry.is_blocked,
                id,
                answers,
            );
            if entry.is_blocked {
                return Ok(if decision == SendDecision::Overtaken { Progress::Overtaken } else { Progress::Nothing });
            }
            if entry.subscription.is_none() && std::mem::take(&mut entry.owes_end) {
                let end = entry.stream.settings().framing.end();
                answers.push(Answer::Added { stream: id, bytes: end.len() });
                entry.stream.push_around(end);
            }
            let mut blocks = [IoSlice::new(&[]); GATHERED];
            let own = entry.stream.gather(&mut blocks);
            let log_blocks = if decision == SendDecision::Open { &mut blocks[own..] } else { &mut [] };
            let gathered = subscriptions::gather(hubs, &entry.subscription, &entry.stream, GATHERED_BYTES, log_blocks);
            let count = own + gathered.as_ref().map_or(0, |gathered| gathered.blocks);
            let is_lagging =
                decision == SendDecision::Later || gathered.as_ref().map_or(false, |gathered| gathered.is_replay);
            let is_rest = count < GATHERED && gathered.as_ref().map_or(true, |gathered| gathered.is_end);
            let offered: usize = blocks[..count].iter().map(|block| block.len()).sum();
            let bytes = match count {
                0 => 0,
                _ => match io.send(socket, &blocks[..count]) {
                    Ok(bytes) => bytes,
                    Err(_) if decision == SendDecision::Overtaken => return Ok(Progress::Overtaken),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Stalled),
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                },
            };
            if decision == SendDecision::Overtaken && count == 0 {
                return Ok(Progress::Overtaken);
            }
            if let Some(since) = entry.stream.stalled_at() {
                answers.push(Answer::Delayed { time: now.saturating_duration_since(since) });
            }
            let shared_bytes = bytes.saturating_sub(entry.stream.waiting_bytes());
            let own_events = entry.stream.sent(bytes, now);
            let is_all = bytes == offered;
            let (shared, events) =
                subscriptions::sent(hubs, &mut entry.subscription, &mut entry.stream, gathered, shared_bytes, is_all);
            if bytes > 0 {
                answers.push(Answer::Sent { stream: id, bytes, events: own_events + events, shared });
            }
            if decision == SendDecision::Overtaken {
                return Ok(Progress::Overtaken); // what was buffered for it alone is sent, as far as its socket takes it
            }
            if !is_all {
                return Ok(Progress::Stalled); // the kernel has taken what it had room for
            }
            if is_rest && decision != SendDecision::Later {
                if entry.subscription.as_ref().map_or(false, |subscription| subscription.is_over()) {
                    entry.subscription = None;
                }
                if entry.subscription.is_some() || !entry.owes_end {
                    let is_done = entry.subscription.is_none() && entry.stream.is_done();
                    return Ok(if is_done { Progress::Done } else { Progress::Nothing });
                }
            } else if is_lagging {
                return Ok(Progress::Lagging);
            }
        }
        Ok(Progress::MoreToSend)
    }

    /// The socket takes bytes again.
    fn unblock(&mut self, id: StreamId) {
        if let Some((entry, io)) = self.entry_and_io(id) {
            entry.is_blocked = false;
            let asked = entry.socket.as_ref().map_or(Ok(()), |socket| io.ask_writable(socket, id, false));
            if asked.is_err() {
                return self.fail(id, Reason::Error);
            }
            self.mark_lagging(id.slot);
        }
    }

    /// What a client sends after its request says nothing, but that it ends says that the client leaves.
    fn read(&mut self, id: StreamId, has_left: bool) {
        for _ in 0..Self::CALLS {
            let (entry, io) = match self.entry_and_io(id) {
                Some((entry, io)) => (entry, io),
                None => return,
            };
            let drained = entry.socket.as_ref().map_or(Ok(0), |socket| io.drain(socket));
            match drained {
                Ok(0) => return self.fail(id, Reason::Client),
                Ok(bytes) => entry.drained_bytes += bytes as u32,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_memory(&error) => break,
                Err(error) => return self.fail(id, reason_of(&error)),
            }
            if entry.drained_bytes > Self::DRAINED_BYTES {
                return self.fail(id, Reason::Error);
            }
        }
        if has_left {
            self.fail(id, Reason::Client);
        }
    }

    /// All is sent, the stream has ended; the client is given the time to see it. If the socket were closed while
    /// something that the client sent is unread the kernel would reset the connection, and what is under way be lost. Where
    /// few descriptors are left it is closed at once, and only what the client has sent by then is read.
    fn complete(&mut self, id: StreamId, now: Instant) {
        if let Some((entry, io)) = self.entry_and_io(id) {
            let reason = entry.stream.ending().unwrap_or(Reason::Application);
            entry.has_ended = true;
            entry.deadline = Some(now + Self::LINGER);
            entry.awaited = Deadline::Linger;
            let closes_at_once = entry.is_handed_over || !io.may_linger();
            if let (Some(socket), true) = (&entry.socket, closes_at_once) {
                Self::drain(io, socket);
            }
            self.finish_socket(id);
            self.open_streams -= 1;
            self.answers.push(Answer::Ended { stream: id, reason });
            if closes_at_once {
                self.close(id);
            } else {
                self.rearm(id.slot, now);
            }
        }
    }

    /// Reads what the client has sent, though not for ever if it goes on sending.
    fn drain(io: &mut I, socket: &I::Socket) {
        let mut drained_bytes = 0;
        while let Ok(bytes @ 1..) = io.drain(socket) {
            drained_bytes += bytes as u32;
            if drained_bytes > Self::DRAINED_BYTES {
                break;
            }
        }
    }

    /// The stream ends here and now; what waits is lost.
    fn fail(&mut self, id: StreamId, reason: Reason) {
        if let Some(entry) = self.entry(id) {
            let has_ended = entry.has_ended;
            let ending = entry.stream.ending();
            let has_rest = entry.subscription.is_some();
            let lost = entry.stream.discard();
            if lost != Lost::default() {
                self.answers.push(Answer::Lost { stream: id, lost });
            }
            if !has_ended {
                // What it was to end of stands, unless that came to nothing.
                let reason = ending.filter(|_| lost.events == 0 && !has_rest).unwrap_or(reason);
                self.open_streams -= 1;
                self.answers.push(Answer::Ended { stream: id, reason });
            }
            self.finish_socket(id);
            self.close(id);
        }
    }

    /// Ends the connection for every process that holds it, unless one of them goes on with it.
    fn finish_socket(&mut self, id: StreamId) {
        if let Some((Entry { socket: Some(socket), is_handed_over: false, .. }, io)) = self.entry_and_io(id) {
            io.finish(socket);
        }
    }

    fn close(&mut self, id: StreamId) {
        if let Some(entry) = self.entries[id.slot as usize].take() {
            if let Some(subscription) = entry.subscription {
                self.hubs.leave(*subscription);
            }
            if let Some(socket) = entry.socket {
                self.io.close(socket);
            }
            self.answers.push(Answer::Closed { stream: id });
        }
    }

    /// A time has come for which the stream had asked.
    fn look(&mut self, slot: u32, at: Instant, now: Instant) {
        let entry = match self.entries.get_mut(slot as usize) {
            Some(Some(entry)) if entry.timer == Some(at) => entry,
            _ => return, // it has asked for an earlier one since, or is another stream
        };
        entry.timer = None;
        let id = StreamId { slot, serial: entry.serial };
        if entry.deadline.map_or(false, |due| due <= now) {
            match entry.awaited {
                Deadline::Attach => return self.fail(id, Reason::Timeout),
                Deadline::Linger => return self.close(id),
                Deadline::Retry => {
                    entry.deadline = None;
                    entry.is_blocked = false;
                    self.mark(slot);
                }
            }
        }
        self.look_at_stream(id, now);
        self.rearm(slot, now);
    }

    fn look_at_stream(&mut self, id: StreamId, now: Instant) {
        let due = match self.entry(id) {
            Some(entry) if entry.socket.is_some() && !entry.has_ended => entry.stream.due(now),
            _ => return,
        };
        match due {
            Due::Nothing => {}
            Due::Timeout => self.fail(id, Reason::Timeout),
            Due::Keepalive => {
                if let Some(framing) = self.entry(id).map(|entry| entry.stream.settings().framing) {
                    let position = self.position(id).map(|position| framing.frame(&position));
                    self.add(id, position.unwrap_or_else(|| framing.keepalive()));
                }
            }
        }
    }
}

impl<S> Entry<S> {
    fn next_due(&self) -> Option<Instant> {
        let stream = if self.socket.is_some() && !self.has_ended { self.stream.next_due() } else { None };
        [stream, self.deadline].iter().copied().flatten().min()
    }
}

/// How far sending came.
enum Progress {
    Done,
    /// History has overtaken the stream, which is to end for that.
    Overtaken,
    MoreToSend,
    /// There is more to send that others have been sent before.
    Lagging,
    Nothing,
    Stalled,
}
