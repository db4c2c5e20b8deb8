//! The event loop's connections to processes of hubs, and the streams that were handed over.

use super::connection::{Connection, Outcome};
use super::reactor_handle::ReactorHandle;
use super::sockets::Sockets;
use super::stats::add;
use super::stream_table::StreamTable;
use crate::event::Framing;
use crate::hub::SubscribeRequest;
use crate::reactor::{Answer, Command, Detached, Ending, Reactor, Ready, StreamId};
use crate::remote::link::{Lost, MAX_QUEUED_BYTES};
use crate::remote::Link;
use crate::stream::Reason;
use crate::wire::{self, Open, Request};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// What is to be done with a connection.
#[derive(Debug)]
pub(super) enum LinkCommand {
    /// Goes on with a connection that was just made.
    Connect(Box<Link>, Arc<Connection>),
    /// Sends a request.
    Send {
        connection: Arc<Connection>,
        /// The request's number; 0 if nobody waits for its outcome.
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
    },
    /// Closes the connection as soon as it has no streams.
    Close(Arc<Connection>),
}

impl LinkCommand {
    /// Called instead of carrying the command out: the event loop has ended.
    pub(super) fn fail(&self) {
        match self {
            Self::Connect(_, connection) | Self::Close(connection) => connection.lose(),
            Self::Send { connection, request, .. } | Self::Subscribe { connection, request, .. } => {
                connection.complete(*request, Outcome::Unsent);
            }
        }
    }
}

/// One connection.
#[derive(Debug)]
struct Connected {
    link: Link,
    connection: Arc<Connection>,
    /// Whether it is watched for room.
    is_writable_asked: bool,
    /// Whether nobody uses it but its streams.
    is_closing: bool,
}

/// A stream that was handed over.
#[derive(Debug)]
struct Remote {
    link: u32,
    framing: Framing,
    /// How many bytes were pushed, without framing.
    pushed: u64,
    /// How many of the buffered bytes that its state counts came from here.
    accounted: usize,
}

/// A subscription of a stream that has no socket yet.
#[derive(Debug)]
struct Waiting {
    connection: Arc<Connection>,
    subscription: SubscribeRequest,
    holds: bool,
}

/// What the commands work on.
pub(super) struct Context<'a> {
    pub(super) reactor: &'a mut Reactor<Sockets>,
    pub(super) streams: &'a mut StreamTable,
    pub(super) handle: &'a ReactorHandle,
    pub(super) now: Instant,
}

/// All connections, and the streams that were handed over.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: HashMap<u32, Connected>,
    remotes: HashMap<u64, Remote>,
    waiting: HashMap<u64, Vec<Waiting>>,
}

impl Links {
    /// Returns true if there is nothing that a command could be about.
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.remotes.is_empty() && self.waiting.is_empty()
    }

    /// Carries a command out.
    pub(super) fn apply(&mut self, command: LinkCommand, context: &mut Context<'_>) {
        match command {
            LinkCommand::Connect(link, connection) => self.connect(*link, connection, context),
            LinkCommand::Send { connection, request, frame } => match self.links.get_mut(&connection.number) {
                Some(linked) if linked.link.queued_bytes() >= MAX_QUEUED_BYTES => {
                    connection.complete(request, Outcome::Full);
                    context.handle.notify_all();
                }
                Some(linked) => linked.link.queue_frame(frame, None),
                None => unsent(&connection, request, context),
            },
            LinkCommand::Subscribe { connection, request, stream, subscription, holds } => {
                if context.reactor.awaits_socket(stream) {
                    let waiting = Waiting { connection: Arc::clone(&connection), subscription, holds };
                    self.waiting.entry(stream.into()).or_default().push(waiting);
                    connection.complete(request, Outcome::Done);
                    context.handle.notify_all();
                } else {
                    self.subscribe(&connection, request, stream, subscription, holds, context);
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

    fn connect(&mut self, link: Link, connection: Arc<Connection>, context: &mut Context<'_>) {
        let number = connection.number;
        if context.reactor.io().epoll.add(link.socket(), number.into()).is_err() {
            connection.lose();
            return context.handle.notify_all();
        }
        self.links.insert(number, Connected { link, connection, is_writable_asked: false, is_closing: false });
        self.read(number, context); // what has come with the welcome
    }

    /// Subscribes a stream that has a socket or has ended.
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
            return unsent(connection, request, context);
        }
        let number = u64::from(stream);
        let mut frame = Vec::new();
        if (Request::Subscribe { request, stream: number, subscription }).encode(&mut frame).is_err() {
            let failure = wire::Failure::new(crate::ErrorCode::Invalid, Some("channels"), "the names are too long");
            connection.complete(request, Outcome::Refused(failure));
            return context.handle.notify_all();
        }
        if !self.remotes.contains_key(&number) && !self.hand_over(connection, stream, holds, context) {
            connection.complete(request, Outcome::Done); // it has ended, which is reported
            return context.handle.notify_all();
        }
        if let Some(linked) = self.links.get_mut(&connection.number) {
            linked.link.queue_frame(frame, None);
        }
    }

    /// Hands a stream over. Returns false if it has ended.
    fn hand_over(&mut self, connection: &Connection, stream: StreamId, holds: bool, context: &mut Context<'_>) -> bool {
        // What the reactor has sent of the stream's buffer is subtracted before the rest is.
        for answer in context.reactor.take_answers() {
            if let Answer::Closed { stream } = &answer {
                self.waiting.remove(&u64::from(*stream));
            }
            context.streams.apply(answer);
        }
        context.handle.notify_all();
        let (linked, detached) = match (self.links.get_mut(&connection.number), context.reactor.detach(stream)) {
            (Some(linked), Some(detached)) => (linked, detached),
            _ => return false,
        };
        let Detached { socket, settings, unsent } = detached;
        let number = u64::from(stream);
        let mut opening = Vec::new();
        let is_encoded =
            Request::Open(Open { stream: number, settings, unsent: &unsent, holds }).encode(&mut opening).is_ok();
        count_as_sent(context, unsent.len());
        if let Some(state) = context.streams.get(stream) {
            state.subtract_buffered(unsent.len());
            state.hand_over();
        }
        add(&context.handle.counts.handed_over, 1);
        let remote = Remote { link: connection.number, framing: settings.framing, pushed: 0, accounted: 0 };
        self.remotes.insert(number, remote);
        if is_encoded {
            linked.link.queue_frame(opening, Some(socket));
        } else {
            drop(socket); // more is buffered than a message may have; the client reconnects
            self.end(number, Reason::Slow, context);
        }
        is_encoded
    }

    /// Called when a stream is closed, which may have waited for its socket.
    pub(super) fn closed(&mut self, stream: StreamId) {
        if !self.waiting.is_empty() {
            self.waiting.remove(&stream.into());
        }
    }

    /// Hands a stream over that waited for its socket.
    pub(super) fn attached(&mut self, stream: StreamId, context: &mut Context<'_>) {
        for Waiting { connection, subscription, holds } in self.waiting.remove(&stream.into()).unwrap_or_default() {
            if connection.is_lost() {
                let end = Command::End { stream, reason: Reason::Error, ending: Ending::Discard };
                return context.reactor.apply(end, None, context.now);
            }
            self.subscribe(&connection, 0, stream, subscription, holds, context);
        }
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
        if let (Command::BeginSubscription { .. }, Some(waiting)) = (command, self.waiting.get_mut(&stream)) {
            waiting.iter_mut().for_each(|waiting| waiting.holds = false);
            return true;
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
                if linked.link.queued_bytes() >= MAX_QUEUED_BYTES {
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
        linked.link.queue_frame(frame, None);
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
        let (remotes, connection) = (&mut self.remotes, &linked.connection);
        let mut ended = Vec::new();
        let read = linked.link.read(|answer| match answer {
            wire::Answer::Published { request, id } => connection.complete(request, Outcome::Published(id.into())),
            wire::Answer::Done { request } => connection.complete(request, Outcome::Done),
            wire::Answer::Counted(counted) => connection.complete(counted.request, Outcome::Counted(counted)),
            wire::Answer::Refused { request, failure } => connection.complete(request, Outcome::Refused(failure)),
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
            wire::Answer::Credits { .. }
            | wire::Answer::Rejected(_)
            | wire::Answer::Welcome(_)
            | wire::Answer::Upgraded => {}
        });
        for (stream, reason) in ended {
            if self.remotes.get(&stream).map_or(false, |remote| remote.link == number) {
                self.end(stream, reason, context);
            }
        }
        if read.is_err() {
            self.lose(number, context);
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
        if let Some(linked) = self.links.remove(&number) {
            context.reactor.io().epoll.remove(linked.link.socket());
            linked.connection.lose();
        }
        let of_link = self.remotes.iter().filter(|(_, remote)| remote.link == number);
        let streams: Vec<u64> = of_link.map(|(stream, _)| *stream).collect();
        for stream in streams {
            self.end(stream, Reason::Error, context);
        }
        context.handle.notify_all();
    }

    fn close_if_unused(&mut self, number: u32, context: &mut Context<'_>) {
        let is_closing = self.links.get(&number).map_or(false, |linked| linked.is_closing);
        if is_closing && !self.remotes.values().any(|remote| remote.link == number) {
            if let Some(linked) = self.links.get_mut(&number) {
                let _ = linked.link.flush();
            }
            self.lose(number, context);
        }
    }

    /// Sends what the kernel takes.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) {
        let mut lost = Vec::new();
        for (number, linked) in &mut self.links {
            let flushed = linked.link.flush().and_then(|()| {
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
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.links.values().for_each(|linked| linked.connection.lose());
    }
}

fn unsent(connection: &Connection, request: u64, context: &mut Context<'_>) {
    connection.complete(request, Outcome::Unsent);
    context.handle.notify_all();
}

/// Counts bytes as sent that another process has to send.
fn count_as_sent(context: &mut Context<'_>, bytes: usize) {
    add(&context.handle.counts.bytes, bytes as u64);
}
