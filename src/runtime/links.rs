//! The event loop's connections to processes of hubs, and the streams that were handed over.

use super::connection::{Connection, Outcome, UNAWAITED};
use super::losses;
use super::reactor_handle::ReactorHandle;
use super::sockets::Sockets;
use super::stats::add;
use super::stream_table::StreamTable;
use crate::event::Framing;
use crate::hub::SubscribeRequest;
use crate::reactor::{Answer, Command, Detached, Ending, Reactor, Ready, StreamId};
use crate::remote::link::{Lost, MAX_QUEUED_BYTES};
use crate::remote::Link;
use crate::stream::{Reason, Settings};
use crate::wire::{self, FrameBuffer, Open, Request, StoreSettings};
use rustix::fd::OwnedFd;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

#[cfg(test)]
mod tests;

/// What is to be done with a connection.
#[derive(Debug)]
pub(super) enum LinkCommand {
    /// Begins a connection that is still to be made: its requests wait.
    Begin(Arc<Connection>),
    /// Goes on with a connection that was just made.
    Connect(Box<Link>, Arc<Connection>),
    /// Gives up a connection that could not be made.
    Fail(Arc<Connection>),
    /// Has requests wait until the hub's process answers, unless it has answered this one.
    Await { connection: Arc<Connection>, request: u64 },
    /// Sends a request.
    Send {
        connection: Arc<Connection>,
        /// The request's number; 0 if it is not answered, [`UNAWAITED`] if no thread waits for its outcome.
        request: u64,
        frame: Vec<u8>,
    },
    /// Hands a stream over, unless that was done, and subscribes it.
    Subscribe {
        connection: Arc<Connection>,
        request: u64,
        stream: StreamId,
        subscription: SubscribeRequest,
        holds: bool,
        /// How long the stream may wait for the hub's process.
        until: Instant,
    },
    /// Ends a stream that a lost connection has given back, and that is not handed over anew.
    Abandon(StreamId),
    /// Closes the connection as soon as it has no streams.
    Close(Arc<Connection>),
}

impl LinkCommand {
    /// Called instead of carrying the command out: the event loop has ended.
    pub(super) fn fail(&self) {
        match self {
            Self::Begin(connection)
            | Self::Connect(_, connection)
            | Self::Fail(connection)
            | Self::Close(connection) => connection.lose(),
            Self::Send { request: UNAWAITED, .. } => losses::record(1, "the native thread has ended"),
            Self::Send { connection, request, .. } | Self::Subscribe { connection, request, .. } => {
                connection.complete(*request, Outcome::Unsent);
            }
            Self::Abandon(_) | Self::Await { .. } => {}
        }
    }
}

/// The requests for a hub's process that does not answer, by their order: its connection is still to be made, or the process is
/// stopped. A stream that is to be handed over waits with them, and is the reactor's meanwhile.
#[derive(Debug)]
struct Waiting {
    connection: Arc<Connection>,
    commands: BTreeMap<u64, LinkCommand>,
}

/// A stream whose subscriptions wait.
#[derive(Debug)]
struct Held {
    link: u32,
    /// The places of its subscriptions among the commands that wait.
    places: Vec<u64>,
    until: Instant,
}

/// One connection.
#[derive(Debug)]
struct Connected {
    link: Link,
    connection: Arc<Connection>,
    /// The requests that threads wait for and that the kernel has not taken: their numbers, and where they end among all bytes
    /// of the link.
    unsent: VecDeque<(u64, u64)>,
    /// The streams of the subscriptions that are not answered, by request.
    subscribing: HashMap<u64, u64>,
    uncredited: Uncredited,
    order: Order,
    /// How many streams the hub's process has that this process holds no longer. Their ends are counted.
    released: u64,
    /// Whether it is watched for room.
    is_writable_asked: bool,
    /// Whether nobody uses it but its streams.
    is_closing: bool,
}

/// Publishes to a hub with a store that wait for credits, with their numbers. Other requests overtake them: a store decides
/// when an event is published, so nothing is promised about their order.
#[derive(Debug, Default)]
struct Uncredited {
    publishes: VecDeque<(u64, Vec<u8>)>,
    bytes: usize,
}

/// The order of the requests of a connection, and what is known of them.
#[derive(Debug, Default)]
struct Order {
    /// The places of the requests that threads wait for and that are not answered.
    awaited: HashMap<u64, u64>,
    /// The place of the last request, of the last unawaited one, and of the last one that the hub's process has certainly
    /// carried out.
    last: u64,
    last_unawaited: u64,
    last_carried_out: u64,
    /// Whether there are publishes that are still to get a place.
    has_uncredited: bool,
}

/// A stream that was handed over.
#[derive(Debug)]
struct Remote {
    link: u32,
    framing: Framing,
    /// Whether the stream drops events if too many are buffered.
    drops: bool,
    /// How many bytes were pushed, without framing.
    pushed: u64,
    /// How many of the buffered bytes that its state counts came from here.
    accounted: usize,
}

/// A stream whose connection was lost before the stream was handed over. A thread waits for its subscription, and makes it
/// again.
#[derive(Debug)]
struct Parked {
    /// None if it is still to come.
    socket: Option<OwnedFd>,
    settings: Settings,
    unsent: Vec<u8>,
    /// The end that was asked for.
    end: Option<(Reason, bool)>,
}

/// What the commands work on.
pub(super) struct Context<'a> {
    pub(super) reactor: &'a mut Reactor<Sockets>,
    pub(super) streams: &'a mut StreamTable,
    pub(super) handle: &'a ReactorHandle,
}

/// All connections, and the streams that were handed over.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: HashMap<u32, Connected>,
    remotes: HashMap<u64, Remote>,
    parked: HashMap<u64, Parked>,
    /// What waits, by the numbers of the connections.
    waiting: HashMap<u32, Waiting>,
    /// The streams that wait, and when they are told to come back.
    held: HashMap<u64, Held>,
    due: BTreeSet<(Instant, u64)>,
    last_place: u64,
}

impl Connected {
    /// Queues a request. Keeps it in mind if a thread waits for it.
    fn queue(&mut self, request: u64, frame: Vec<u8>, socket: Option<OwnedFd>) {
        if request == UNAWAITED {
            self.connection.count_unanswered();
        }
        let has_store = self.link.welcome().settings.store != StoreSettings::Memory;
        if has_store && Request::is_publish(&frame) {
            self.uncredited.bytes += frame.len();
            self.uncredited.publishes.push_back((request, frame));
            self.queue_uncredited();
        } else {
            self.queue_now(request, frame, socket);
        }
    }

    /// Queues the publishes for which there are credits.
    fn queue_uncredited(&mut self) {
        while self.link.may_publish() {
            let (request, frame) = match self.uncredited.publishes.pop_front() {
                Some(next) => next,
                None => break,
            };
            self.uncredited.bytes -= frame.len();
            self.queue_now(request, frame, None);
        }
        self.order.set_uncredited(!self.uncredited.publishes.is_empty(), &self.connection);
    }

    fn queue_now(&mut self, request: u64, frame: Vec<u8>, socket: Option<OwnedFd>) {
        self.link.queue_frame(frame, socket);
        self.order.add(request, &self.connection);
        if request != 0 && request != UNAWAITED {
            self.unsent.push_back((request, self.link.accepted_bytes()));
        }
    }

    /// Returns how many bytes are queued, and how many of them wait for credits.
    fn queued_bytes(&self) -> (usize, usize) {
        (self.link.queued_bytes() + self.uncredited.bytes, self.uncredited.bytes)
    }

    /// Forgets the requests that the kernel has taken. Returns true if the queue has room again.
    fn note_sent(&mut self) -> bool {
        let sent = self.link.sent_bytes();
        while self.unsent.front().map_or(false, |(_, end)| *end <= sent) {
            self.unsent.pop_front();
        }
        self.connection.set_queued(self.queued_bytes())
    }
}

impl Order {
    fn add(&mut self, request: u64, connection: &Connection) {
        self.last += 1;
        connection.set_quiet(false);
        match request {
            0 => {}
            UNAWAITED => self.last_unawaited = self.last,
            _ => drop(self.awaited.insert(request, self.last)),
        }
    }

    /// Takes note of the answer to a request. The hub's process carries requests out in their order, so those before this one
    /// were carried out, too.
    fn note_answer(&mut self, request: u64, connection: &Connection) {
        let place = match request {
            UNAWAITED => Some(self.last_unawaited).filter(|_| connection.count_answered()),
            _ => self.awaited.remove(&request),
        };
        self.last_carried_out = self.last_carried_out.max(place.unwrap_or(0));
        self.report(connection);
    }

    fn set_uncredited(&mut self, has_uncredited: bool, connection: &Connection) {
        self.has_uncredited = has_uncredited;
        self.report(connection);
    }

    fn report(&self, connection: &Connection) {
        connection.set_quiet(self.last_carried_out == self.last && !self.has_uncredited);
    }
}

impl Parked {
    /// Returns the stream of a request that was not sent.
    fn of(open: &Open<'_>, socket: Option<OwnedFd>) -> Self {
        Self { socket, settings: open.settings, unsent: open.unsent.to_vec(), end: None }
    }
}

impl Links {
    /// Returns true if there is nothing that a command could be about.
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.remotes.is_empty() && self.parked.is_empty() && self.waiting.is_empty()
    }

    /// Returns true if there is something that a hub's process is still to be sent.
    pub(super) fn have_queued(&self) -> bool {
        self.links.values().any(|linked| linked.queued_bytes().0 > 0)
    }

    /// Carries a command out, perhaps later.
    pub(super) fn apply(&mut self, command: LinkCommand, context: &mut Context<'_>) {
        if let Some(command) = self.hold(command) {
            self.carry_out(command, context);
        }
    }

    /// Has a command wait if its hub's process does not answer. Returns it otherwise.
    fn hold(&mut self, command: LinkCommand) -> Option<LinkCommand> {
        let (connection, held) = match &command {
            LinkCommand::Send { connection, .. } => (connection, None),
            LinkCommand::Subscribe { connection, stream, until, .. } => {
                (connection, Some((u64::from(*stream), *until)))
            }
            LinkCommand::Close(connection) if connection.is_coming() => (connection, None),
            _ => return Some(command),
        };
        let link = connection.number;
        let is_handed_over = held.map_or(false, |(stream, _)| self.remotes.contains_key(&stream));
        let waiting = match self.waiting.get_mut(&link) {
            Some(waiting) if !is_handed_over => waiting,
            _ => return Some(command),
        };
        self.last_place += 1;
        waiting.commands.insert(self.last_place, command);
        if let Some((stream, until)) = held {
            let held = self.held.entry(stream).or_insert(Held { link, places: Vec::new(), until });
            held.places.push(self.last_place);
            self.due.insert((held.until, stream));
        }
        None
    }

    fn carry_out(&mut self, command: LinkCommand, context: &mut Context<'_>) {
        match command {
            LinkCommand::Begin(connection) => self.wait_for(connection),
            LinkCommand::Connect(link, connection) => self.connect(*link, connection, context),
            LinkCommand::Fail(connection) => {
                connection.lose();
                self.give_up(connection.number, context);
                context.handle.notify_all();
            }
            LinkCommand::Await { connection, request } => {
                let linked = self.links.get(&connection.number);
                if linked.map_or(connection.is_coming(), |linked| linked.order.awaited.contains_key(&request)) {
                    connection.set_away(true);
                    self.wait_for(connection);
                }
            }
            LinkCommand::Send { connection, request, frame } => match self.links.get_mut(&connection.number) {
                Some(linked) => {
                    let bytes = frame.len();
                    linked.queue(request, frame, None);
                    connection.subtract_coming(bytes, linked.queued_bytes());
                }
                None if request == UNAWAITED => lose_events(1, context),
                None => unsent(&connection, request, context),
            },
            LinkCommand::Subscribe { connection, request, stream, subscription, holds, .. } => {
                self.subscribe(&connection, request, stream, subscription, holds, context);
            }
            LinkCommand::Abandon(stream) => {
                if self.parked.remove(&u64::from(stream)).is_some() {
                    self.end(stream.into(), Reason::Error, context);
                }
            }
            LinkCommand::Close(connection) => {
                if let Some(linked) = self.links.get_mut(&connection.number) {
                    linked.is_closing = true;
                }
                self.close_if_unused(connection.number, context);
            }
        }
    }

    /// Has the requests of a connection wait.
    fn wait_for(&mut self, connection: Arc<Connection>) {
        let number = connection.number;
        self.waiting.entry(number).or_insert(Waiting { connection, commands: BTreeMap::new() });
    }

    /// Carries out what has waited: the hub's process has answered.
    fn go_on(&mut self, number: u32, context: &mut Context<'_>) {
        let Waiting { connection, commands } = match self.waiting.remove(&number) {
            Some(waiting) => waiting,
            None => return,
        };
        for command in commands.into_values() {
            if let LinkCommand::Subscribe { stream, .. } = &command {
                self.forget_held(u64::from(*stream));
            }
            self.carry_out(command, context);
        }
        connection.set_connected();
        context.handle.notify_all();
    }

    /// Gives up what has waited: there is no connection. Threads that wait are told, other streams end with a retry.
    fn give_up(&mut self, number: u32, context: &mut Context<'_>) {
        let Waiting { connection, commands } = match self.waiting.remove(&number) {
            Some(waiting) => waiting,
            None => return,
        };
        for command in commands.into_values() {
            match command {
                LinkCommand::Send { request: UNAWAITED, .. } => lose_events(1, context),
                LinkCommand::Send { request, .. } => drop(connection.complete(request, Outcome::Unsent)),
                LinkCommand::Subscribe { request, stream, .. } => {
                    self.forget_held(u64::from(stream));
                    if !connection.complete(request, Outcome::Unsent) {
                        self.send_back(stream, context);
                    }
                }
                _ => {}
            }
        }
    }

    fn forget_held(&mut self, stream: u64) -> Option<Held> {
        let held = self.held.remove(&stream)?;
        self.due.remove(&(held.until, stream));
        Some(held)
    }

    /// Forgets that a subscription of a stream waits. Without subscriptions the stream waits no longer, and the reactor keeps
    /// it; one that it gave away already ends when its time is over.
    fn forget_place(&mut self, stream: u64, place: u64) {
        let held = self.held.get_mut(&stream);
        let has_none = held.map_or(false, |held| {
            held.places.retain(|other| *other != place);
            held.places.is_empty()
        });
        if has_none && !self.parked.contains_key(&stream) {
            self.forget_held(stream);
        }
    }

    /// Ends a stream that could not be handed over. Its client is sent a reconnection time.
    fn send_back(&mut self, stream: StreamId, context: &mut Context<'_>) {
        if self.parked.remove(&u64::from(stream)).is_some() {
            return self.end(stream.into(), Reason::Error, context);
        }
        if let Some(state) = context.streams.get(stream) {
            state.close();
        }
        context.reactor.apply(Command::Refuse { stream }, None, Instant::now());
    }

    /// Returns when [`run_due`](Self::run_due) has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.iter().next().map(|(until, _)| *until)
    }

    /// Ends the streams that have waited for long enough.
    pub(super) fn run_due(&mut self, now: Instant, context: &mut Context<'_>) {
        while let Some((_, stream)) = self.due.iter().next().copied().filter(|(until, _)| *until <= now) {
            if let Some(Held { link, places, .. }) = self.forget_held(stream) {
                for place in places {
                    self.drop_waiting(link, place);
                }
                self.send_back(stream.into(), context);
                context.handle.notify_all();
            }
        }
    }

    /// Drops a subscription that waits.
    fn drop_waiting(&mut self, link: u32, place: u64) {
        let waiting = self.waiting.get_mut(&link);
        if let Some(LinkCommand::Subscribe { connection, request, .. }) =
            waiting.and_then(|waiting| waiting.commands.remove(&place))
        {
            connection.complete(request, Outcome::Done);
        }
    }

    /// Changes the subscriptions of a stream that waits as a command for the stream says. Returns true if the command is not
    /// for the reactor.
    fn change_held(&mut self, stream: u64, command: &Command) -> bool {
        let (link, places) = match self.held.get(&stream) {
            Some(held) => (held.link, held.places.clone()),
            None => return false,
        };
        for place in places {
            let waiting = self.waiting.get_mut(&link).and_then(|waiting| waiting.commands.get_mut(&place));
            let (subscription, holds) = match waiting {
                Some(LinkCommand::Subscribe { subscription, holds, .. }) => (subscription, holds),
                _ => continue,
            };
            match command {
                Command::BeginSubscription { .. } => *holds = false,
                Command::Push { has_id, .. } => subscription.first_block.keeps_id |= has_id,
                Command::Unsubscribe { topics: Some(topics), .. } => {
                    subscription.topics.retain(|topic| !topics.contains(topic));
                }
                Command::Unsubscribe { topics: None, .. } => subscription.topics.clear(),
                _ => {}
            }
            if subscription.topics.is_empty() {
                self.drop_waiting(link, place);
                self.forget_place(stream, place);
            }
        }
        matches!(command, Command::BeginSubscription { .. } | Command::Unsubscribe { .. })
    }

    fn connect(&mut self, link: Link, connection: Arc<Connection>, context: &mut Context<'_>) {
        let number = connection.number;
        if context.reactor.io().epoll.add(link.socket(), number.into()).is_err() {
            connection.lose();
            self.give_up(number, context);
            return context.handle.notify_all();
        }
        let linked = Connected {
            link,
            connection,
            unsent: VecDeque::new(),
            subscribing: HashMap::new(),
            uncredited: Uncredited::default(),
            order: Order::default(),
            released: 0,
            is_writable_asked: false,
            is_closing: false,
        };
        self.links.insert(number, linked);
        self.go_on(number, context);
        self.read(number, context); // what has come with the welcome
    }

    /// Hands a stream over, unless that was done, and subscribes it.
    fn subscribe(
        &mut self,
        connection: &Arc<Connection>,
        request: u64,
        stream: StreamId,
        subscription: SubscribeRequest,
        holds: bool,
        context: &mut Context<'_>,
    ) {
        if !self.links.contains_key(&connection.number) {
            if !connection.complete(request, Outcome::Unsent) {
                self.send_back(stream, context);
            }
            return context.handle.notify_all();
        }
        let number = u64::from(stream);
        let mut frame = Vec::new();
        if (Request::Subscribe { request, stream: number, subscription }).encode(&mut frame).is_err() {
            let failure = wire::Failure::new(crate::ErrorCode::Invalid, Some("channels"), "the names are too long");
            let is_awaited = connection.complete(request, Outcome::Refused(failure));
            if !is_awaited && !self.forward(&Command::Refuse { stream }, context) {
                self.send_back(stream, context);
            }
            return context.handle.notify_all();
        }
        let is_there = match self.remotes.get(&number) {
            Some(remote) => remote.link == connection.number, // otherwise its connection is lost
            None => self.hand_over(connection, stream, holds, context),
        };
        if !is_there {
            connection.complete(request, Outcome::Done); // it has ended, which is reported
            return context.handle.notify_all();
        }
        if let Some(linked) = self.links.get_mut(&connection.number) {
            linked.subscribing.insert(request, number);
            linked.queue(request, frame, None);
        }
    }

    /// Hands a stream over. Returns false if it has ended.
    fn hand_over(&mut self, connection: &Connection, stream: StreamId, holds: bool, context: &mut Context<'_>) -> bool {
        // What the reactor has sent of the stream's buffer is subtracted before the rest is.
        for answer in context.reactor.take_answers() {
            context.streams.apply(answer);
        }
        let number = u64::from(stream);
        let (parked, holds) = match self.parked.remove(&number) {
            Some(parked) => (parked, holds),
            None => match context.reactor.detach(stream) {
                Some(Detached { socket, settings, unsent }) => {
                    count_as_sent(context, unsent.len());
                    if let Some(state) = context.streams.get(stream) {
                        state.subtract_buffered(unsent.len());
                        state.hand_over(socket.is_some());
                    }
                    add(&context.handle.counts.handed_over, 1);
                    (Parked { socket, settings, unsent, end: None }, holds)
                }
                None => return false,
            },
        };
        context.handle.notify_all();
        let Parked { socket, settings, unsent, end } = parked;
        let mut opening = Vec::new();
        let open = Open { stream: number, settings, unsent: &unsent, holds };
        let request = if socket.is_some() { Request::Open(open) } else { Request::OpenWithoutSocket(open) };
        let is_encoded = request.encode(&mut opening).is_ok();
        let Settings { framing, drop_oldest: drops, .. } = settings;
        let remote = Remote { link: connection.number, framing, drops, pushed: 0, accounted: 0 };
        self.remotes.insert(number, remote);
        let linked = match self.links.get_mut(&connection.number) {
            Some(linked) => linked,
            None => return false, // the caller has looked
        };
        if is_encoded {
            linked.queue(0, opening, socket);
            if let Some((reason, discards)) = end {
                let mut frame = Vec::new();
                let _ = Request::End { stream: number, reason, discards }.encode(&mut frame); // it is short
                linked.queue(0, frame, None);
            }
        } else {
            drop(socket); // more is buffered than a message may have; the client reconnects
            self.end(number, Reason::Slow, context);
        }
        is_encoded
    }

    /// Takes the socket of a stream that was handed over without it. Returns it if the stream is the reactor's.
    pub(super) fn attach(&mut self, stream: StreamId, socket: OwnedFd) -> Option<OwnedFd> {
        let number = u64::from(stream);
        if let Some(parked) = self.parked.get_mut(&number) {
            parked.socket = Some(socket);
            return None;
        }
        let linked = match self.remotes.get(&number).map(|remote| self.links.get_mut(&remote.link)) {
            Some(Some(linked)) => linked,
            _ => return Some(socket),
        };
        let mut frame = Vec::new();
        let _ = Request::Attach { stream: number }.encode(&mut frame); // it is short
        linked.queue(0, frame, Some(socket));
        None
    }

    /// Forwards a command for a stream that was handed over. Returns false if it is the reactor's.
    pub(super) fn forward(&mut self, command: &Command, context: &mut Context<'_>) -> bool {
        let stream = match command {
            Command::Push { stream, .. }
            | Command::End { stream, .. }
            | Command::Refuse { stream }
            | Command::BeginSubscription { stream }
            | Command::Unsubscribe { stream, .. } => u64::from(*stream),
            _ => return false,
        };
        if !self.held.is_empty() && self.change_held(stream, command) {
            return true;
        }
        if let Some(parked) = self.parked.get_mut(&stream) {
            return match command {
                Command::Push { event, .. } => {
                    count_as_sent(context, event.len());
                    if let Some(state) = context.streams.get(stream.into()) {
                        state.subtract_buffered(event.len());
                    }
                    parked.unsent.extend_from_slice(event);
                    true
                }
                Command::End { reason, ending, .. } => {
                    parked.end.get_or_insert((*reason, *ending == Ending::Discard));
                    true
                }
                _ => true,
            };
        }
        let (remote, linked) = match self.remotes.get_mut(&stream) {
            Some(remote) => match self.links.get_mut(&remote.link) {
                Some(linked) => (remote, linked),
                None => return true,
            },
            None => return false,
        };
        let request = match command {
            Command::Push { event, has_id, .. } => {
                let block = remote.framing.unframe(event);
                count_as_sent(context, event.len());
                // Other streams are bounded by what their producers see as buffered.
                if remote.drops && linked.link.queued_bytes() >= MAX_QUEUED_BYTES {
                    context.handle.count_lost(1, 0);
                    if let Some(state) = context.streams.get(stream.into()) {
                        state.subtract_buffered(event.len());
                    }
                    return true;
                }
                add(&context.handle.counts.events, 1);
                remote.pushed += block.len() as u64;
                remote.accounted += event.len();
                Request::Push { stream, event: block, has_id: *has_id }
            }
            Command::End { reason, ending, .. } => {
                Request::End { stream, reason: *reason, discards: *ending == Ending::Discard }
            }
            Command::Refuse { .. } => Request::End { stream, reason: Reason::Server, discards: false },
            Command::Unsubscribe { topics, .. } => Request::Unsubscribe { stream, topics: topics.clone() },
            _ => Request::Begin { stream },
        };
        let mut frame = Vec::new();
        if request.encode(&mut frame).is_err() {
            // An event that is longer than any message.
            let end = Request::End { stream, reason: Reason::Slow, discards: true };
            let _ = end.encode(&mut frame); // it is short
        }
        linked.queue(0, frame, None);
        true
    }

    /// Called when a stream's handle was dropped. If it was the last one, and nobody wants to know of the end, a stream that
    /// was handed over is left to the hub's process, and nothing is kept of it here. Returns true if so.
    pub(super) fn release(&mut self, stream: StreamId, context: &mut Context<'_>) -> bool {
        let number = u64::from(stream);
        let linked = match self.remotes.get(&number).and_then(|remote| self.links.get_mut(&remote.link)) {
            Some(linked) => linked,
            None => return false,
        };
        // A socket that is still to come is the stream's.
        let is_attached = context.streams.get(stream).map_or(false, |state| state.is_attached());
        if !is_attached || !context.streams.forget(stream) {
            return false;
        }
        self.remotes.remove(&number);
        linked.released += 1;
        let mut frame = Vec::new();
        let _ = Request::Release { stream: number }.encode(&mut frame); // it is short
        linked.queue(0, frame, None);
        true
    }

    /// Called when a connection is ready.
    pub(super) fn handle_readiness(&mut self, number: u32, ready: Ready, context: &mut Context<'_>) {
        if ready.readable || ready.hung_up {
            self.read(number, context);
        }
    }

    fn read(&mut self, number: u32, context: &mut Context<'_>) {
        let linked = match self.links.get_mut(&number) {
            Some(linked) => linked,
            None => return,
        };
        let Connected { link, connection, order, subscribing, .. } = linked;
        let remotes = &mut self.remotes;
        let (mut ended, mut refused, mut has_answered) = (Vec::new(), Vec::new(), false);
        let mut unsubscribed = Vec::new();
        let mut complete = |request: u64, outcome: Outcome| {
            order.note_answer(request, connection); // the thread that waits may ask again at once
            match (request, outcome) {
                (UNAWAITED, Outcome::Refused(failure)) => refused.push(failure),
                (UNAWAITED, _) => {}
                (_, outcome) => {
                    let is_refused = matches!(outcome, Outcome::Refused(_));
                    let stream = subscribing.remove(&request).filter(|_| is_refused);
                    if !connection.complete(request, outcome) {
                        unsubscribed.extend(stream);
                    }
                }
            }
        };
        let mut take = |answer: wire::Answer<'_>| match answer {
            wire::Answer::Published { request: UNAWAITED, .. } => complete(UNAWAITED, Outcome::Done),
            wire::Answer::Published { request, id } => complete(request, Outcome::Published(id.into())),
            wire::Answer::Done { request } => complete(request, Outcome::Done),
            wire::Answer::Counted(counted) => complete(counted.request, Outcome::Counted(counted)),
            wire::Answer::StreamsEnded { request, count } => complete(request, Outcome::StreamsEnded(count)),
            wire::Answer::Refused { request, failure } => complete(request, Outcome::Refused(failure)),
            wire::Answer::State { stream, pushed, buffered, is_stalled } => {
                let remote = remotes.get_mut(&stream).filter(|remote| remote.link == number);
                if let (Some(remote), Some(state)) = (remote, context.streams.get(stream.into())) {
                    let pushed_since = remote.pushed.saturating_sub(pushed);
                    let now = usize::try_from(buffered.saturating_add(pushed_since)).unwrap_or(usize::MAX / 2);
                    state.add_buffered(now);
                    state.subtract_buffered(std::mem::replace(&mut remote.accounted, now));
                    state.set_stalled(is_stalled);
                }
            }
            wire::Answer::Ended { stream, reason } => ended.push((stream, reason)),
            wire::Answer::Elected { lease, is_held } => {
                connection.leases.answer(lease, is_held);
                complete(lease, Outcome::Done);
            }
            wire::Answer::Credits { .. } | wire::Answer::Rejected(_) | wire::Answer::Welcome(_) => {}
            wire::Answer::Epoch { epoch } => connection.set_epoch(epoch),
            // Only commands ask for these.
            wire::Answer::Channels { .. } | wire::Answer::Described(_) | wire::Answer::Upgraded => {}
        };
        let read = link.read(|answer| {
            has_answered = true;
            take(answer);
        });
        linked.queue_uncredited(); // there may be credits for them now
        for failure in refused {
            context.handle.count_lost(1, 0);
            losses::record(1, &failure.to_string());
        }
        // Nobody waits to be told of the refusal.
        for stream in unsubscribed {
            let (reason, ending) = (Reason::Error, Ending::Flush);
            self.forward(&Command::End { stream: stream.into(), reason, ending }, context);
        }
        for (stream, reason) in ended {
            if self.remotes.get(&stream).map_or(false, |remote| remote.link == number) {
                self.end(stream, reason, context);
            } else if let Some(linked) = self.links.get_mut(&number).filter(|linked| linked.released > 0) {
                linked.released -= 1;
                count_released(1, reason, context);
            }
        }
        if read.is_err() {
            self.lose(number, context);
        } else if has_answered {
            self.go_on(number, context);
        }
        self.close_if_unused(number, context);
        context.handle.notify_all();
    }

    /// Reports the end of a stream that was handed over.
    fn end(&mut self, stream: u64, reason: Reason, context: &mut Context<'_>) {
        self.remotes.remove(&stream);
        add(&context.handle.counts.returned, 1);
        context.streams.apply(Answer::Ended { stream: stream.into(), reason });
        context.streams.apply(Answer::Closed { stream: stream.into() });
        context.handle.notify_all();
    }

    /// Ends a connection, its streams and its requests.
    fn lose(&mut self, number: u32, context: &mut Context<'_>) {
        self.give_up(number, context);
        if let Some(linked) = self.links.remove(&number) {
            context.reactor.io().epoll.remove(linked.link.socket());
            let Connected { link, connection, unsent, uncredited, order, released, .. } = linked;
            let Order { awaited: mut sent, .. } = order;
            lose_events(connection.take_unanswered(), context);
            // Nothing of these was carried out: their callers connect anew.
            let mut awaited = Vec::new();
            for (request, _) in unsent {
                sent.remove(&request);
                if connection.complete(request, Outcome::Unsent) {
                    awaited.push(request);
                }
            }
            for (request, _) in sent {
                connection.complete(request, Outcome::Lost);
            }
            for (request, _) in uncredited.publishes {
                connection.complete(request, Outcome::Unsent);
            }
            self.park(number, link, &awaited, context);
            count_released(released, Reason::Error, context);
            connection.lose();
        }
        let of_link = self.remotes.iter().filter(|(_, remote)| remote.link == number);
        let streams: Vec<u64> = of_link.map(|(stream, _)| *stream).collect();
        for stream in streams {
            self.end(stream, Reason::Error, context);
        }
        context.handle.notify_all();
    }

    /// Keeps the streams that were not handed over yet, if a thread waits for their subscriptions.
    fn park(&mut self, number: u32, link: Link, awaited: &[u64], context: &mut Context<'_>) {
        let mut opened: HashMap<u64, Parked> = HashMap::new();
        let mut subscribed = Vec::new();
        for (bytes, mut socket) in link.unsent() {
            let mut requests = FrameBuffer::default();
            requests.feed(&bytes);
            while let Ok(Some(frame)) = requests.next_frame() {
                match Request::decode(frame) {
                    Ok(Request::Open(open)) if socket.is_some() => {
                        opened.insert(open.stream, Parked::of(&open, socket.take()));
                    }
                    Ok(Request::OpenWithoutSocket(open)) => {
                        opened.insert(open.stream, Parked::of(&open, None));
                    }
                    Ok(Request::Attach { stream }) => {
                        if let Some(parked) = opened.get_mut(&stream) {
                            parked.socket = socket.take();
                        }
                    }
                    Ok(Request::Push { stream, event, .. }) => {
                        if let Some(parked) = opened.get_mut(&stream) {
                            parked.unsent.extend_from_slice(&parked.settings.framing.frame(event));
                        }
                    }
                    Ok(Request::End { stream, reason, discards }) => {
                        if let Some(parked) = opened.get_mut(&stream) {
                            parked.end.get_or_insert((reason, discards));
                        }
                    }
                    Ok(Request::Subscribe { request, stream, .. }) if awaited.contains(&request) => {
                        subscribed.push(stream);
                    }
                    _ => {}
                }
            }
        }
        for stream in subscribed {
            let is_of_link = self.remotes.get(&stream).map_or(false, |remote| remote.link == number);
            if let (true, Some(parked)) = (is_of_link, opened.remove(&stream)) {
                let accounted = self.remotes.remove(&stream).map_or(0, |remote| remote.accounted);
                if let Some(state) = context.streams.get(stream.into()) {
                    state.subtract_buffered(accounted);
                }
                self.parked.insert(stream, parked);
            }
        }
    }

    fn close_if_unused(&mut self, number: u32, context: &mut Context<'_>) {
        let is_unused = self.links.get(&number).map_or(false, |linked| {
            linked.is_closing && linked.released == 0 && linked.queued_bytes().0 == 0 && linked.connection.is_settled()
        });
        let is_unused = is_unused && !self.waiting.contains_key(&number);
        if is_unused && !self.remotes.values().any(|remote| remote.link == number) {
            self.lose(number, context);
        }
    }

    /// Sends what the kernel takes.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) {
        let mut lost = Vec::new();
        for (number, linked) in &mut self.links {
            let flushed = linked.link.flush().and_then(|()| {
                if linked.note_sent() {
                    context.handle.notify_all();
                }
                let is_asked = linked.link.wants_to_write();
                if is_asked != std::mem::replace(&mut linked.is_writable_asked, is_asked) {
                    let epoll = &context.reactor.io().epoll;
                    return epoll.ask_writable(linked.link.socket(), u64::from(*number), is_asked).map_err(|_| Lost);
                }
                Ok(())
            });
            if flushed.is_err() {
                lost.push(*number);
            }
        }
        for number in lost {
            self.read(number, context); // the answers that came before the end
            self.lose(number, context);
        }
        let closing: Vec<u32> =
            self.links.iter().filter(|(_, linked)| linked.is_closing).map(|(number, _)| *number).collect();
        for number in closing {
            self.close_if_unused(number, context);
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.links.values().for_each(|linked| linked.connection.lose());
        self.waiting.values().for_each(|waiting| waiting.connection.lose());
    }
}

/// Counts events that were published to the process of a hub, and that it has perhaps not got.
fn lose_events(count: u64, context: &mut Context<'_>) {
    context.handle.count_lost(count as usize, 0);
    losses::record(count, "the connection to the hub's process broke");
}

/// Counts the ends of streams that this process holds no longer.
fn count_released(count: u64, reason: Reason, context: &mut Context<'_>) {
    add(&context.handle.counts.returned, count);
    (0..count).for_each(|_| context.streams.count_forgotten(reason));
}

fn unsent(connection: &Connection, request: u64, context: &mut Context<'_>) {
    connection.complete(request, Outcome::Unsent);
    context.handle.notify_all();
}

/// Counts bytes as sent that another process has to send.
fn count_as_sent(context: &mut Context<'_>, bytes: usize) {
    add(&context.handle.counts.bytes, bytes as u64);
}
