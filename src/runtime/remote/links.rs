//! The event loop's connections to hub processes, and the streams that were handed over.
//!
//! A client's socket belongs to the reactor, and after the hand-over to the hub process. The state and the slot of the stream
//! stay here until the stream ends or no handle holds it.
//!
//! One queue of commands orders what an interpreter asks for, whether the reactor or a hub process carries it out. A push
//! before the hand-over enters the stream's own buffer, which travels as `unsent` bytes; a later push is forwarded. A handle
//! cannot know which, so it frames every event, and the event loop removes the frame.

use self::connection::{Connection, LinkCommand};
use super::hub_log;
use super::link::{ConnectionLost, Link, MAX_QUEUED_BYTES};
use super::response_reader::UNAWAITED;
use super::unanswered::Unanswered;
use super::LOSSES;
use crate::hub::SubscribeRequest;
use crate::reactor::{Answer, Command, Detached, Ending, Handed, Ready, StreamId};
use crate::runtime::event_loop::streams::Context;
use crate::runtime::stats::add;
use crate::stream::Reason;
use crate::sys::socket::cork;
use crate::wire::{Failure, Open, Reply, Request};
use rustix::fd::{AsFd, OwnedFd};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

mod connected;
pub(crate) mod connection;
mod remote_stream;
#[cfg(test)]
mod tests;
mod waiting;
pub(super) mod worker_leases;

use connected::{Connected, Effect};
use remote_stream::{count_as_sent, encode_request, unsent_of, Parked, RemoteStream};
use waiting::Waiting;

/// All connections, and the streams that were handed over.
#[derive(Debug, Default)]
pub(crate) struct Links {
    links: HashMap<u32, Connected>,
    remotes: HashMap<u64, RemoteStream>,
    parked: HashMap<u64, Parked>,
    waiting: Waiting,
    /// Empty between two reads. It keeps its memory.
    effects: Vec<Effect>,
}

impl Links {
    fn carry_out(&mut self, command: LinkCommand, context: &mut Context<'_>) {
        match command {
            LinkCommand::Begin(connection) => self.waiting.begin(connection),
            LinkCommand::Connect(link, connection) => self.connect(*link, connection, context),
            LinkCommand::Fail(connection) => {
                connection.lose();
                self.fail_waiting(connection.number, context);
                context.handle.notify_all();
            }
            LinkCommand::Await { connection, request } => {
                let linked = self.links.get(&connection.number);
                if linked.map_or(connection.is_coming(), |linked| linked.unanswered.contains_key(&request)) {
                    connection.set_away(true);
                    self.waiting.begin(connection);
                }
            }
            LinkCommand::Send { connection, request, frame } => match self.links.get_mut(&connection.number) {
                Some(linked) => {
                    let bytes = frame.len();
                    linked.queue(request, frame, None);
                    let (queued, waiting) = linked.queued_bytes();
                    connection.set_queued(queued, waiting);
                    connection.subtract_coming(bytes);
                }
                None if request == UNAWAITED => lose_events(1, context),
                None => {
                    connection.return_unsent(request);
                    context.handle.notify_all();
                }
            },
            LinkCommand::Mark { connection, number } => {
                if let Some(linked) = self.links.get_mut(&connection.number) {
                    linked.mark(number);
                }
            }
            LinkCommand::Subscribe { connection, request, stream, subscription, holds, .. } => {
                self.subscribe(&connection, request, stream, *subscription, holds, context);
            }
            LinkCommand::BeginSubscription(stream) => {
                self.forward(&Command::BeginSubscription { stream }, context);
            }
            LinkCommand::Abandon(stream) => {
                if self.parked.remove(&u64::from(stream)).is_some() {
                    self.end(stream.into(), Reason::Error, context);
                }
            }
            LinkCommand::Close(connection) => self.close_if_unused(connection.number, context),
        }
    }

    /// Carries out what has waited: the hub process has answered.
    fn resume_waiting(&mut self, number: u32, context: &mut Context<'_>) {
        let (connection, commands) = some_or!(self.waiting.take(number), return);
        commands.into_iter().for_each(|command| self.carry_out(command, context));
        connection.set_connected();
        context.handle.notify_all();
    }

    /// Fails what has waited: there is no connection. Threads that wait get a response, other streams end with a retry.
    fn fail_waiting(&mut self, number: u32, context: &mut Context<'_>) {
        let (connection, commands) = some_or!(self.waiting.take(number), return);
        for command in commands {
            match command {
                LinkCommand::Send { request: UNAWAITED, .. } => lose_events(1, context),
                LinkCommand::Send { request, .. } => drop(connection.return_unsent(request)),
                LinkCommand::Subscribe { request, stream, .. } => {
                    self.fail_subscription(&connection, request, stream, context);
                }
                _ => {} // of others nobody waits for anything
            }
        }
    }

    /// Tells the thread that waits for a subscription that there is no connection; a stream for which none waits ends.
    fn fail_subscription(
        &mut self,
        connection: &Connection,
        request: u64,
        stream: StreamId,
        context: &mut Context<'_>,
    ) {
        let is_awaited = connection.return_unsent(request);
        if !is_awaited {
            self.send_back(stream, context);
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

    fn connect(&mut self, link: Link, connection: Arc<Connection>, context: &mut Context<'_>) {
        let number = connection.number;
        if context.reactor.io().epoll.add(link.socket(), number.into()).is_err() {
            connection.lose();
            self.fail_waiting(number, context);
            return context.handle.notify_all();
        }
        let linked = Connected::new(link, connection);
        self.links.insert(number, linked);
        self.resume_waiting(number, context);
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
            self.fail_subscription(connection, request, stream, context);
            return context.handle.notify_all();
        }
        let number = u64::from(stream);
        let mut frame = Vec::new();
        if (Request::Subscribe { request, stream: number, subscription }).encode(&mut frame).is_err() {
            let failure = Failure::new(crate::ErrorCode::Invalid, Some("channels"), "the names are too long");
            let is_awaited = connection.complete(request, Err(Unanswered::Refused(failure)));
            if !is_awaited && !self.forward(&Command::Refuse { stream }, context) {
                self.send_back(stream, context);
            }
            return context.handle.notify_all();
        }
        match self.remotes.get(&number) {
            // Its connection is lost, and so it has ended, which is reported.
            Some(remote) if remote.link != connection.number => {
                connection.complete(request, Ok(Reply::Done));
                return context.handle.notify_all();
            }
            Some(_) => {}
            // The hub process is told of the subscription of a stream that has ended, too: that gives its place of a limit
            // back.
            None => self.hand_over(connection, stream, holds, context),
        }
        if let Some(linked) = self.links.get_mut(&connection.number) {
            linked.unanswered.insert(request, Some(number));
            linked.queue(request, frame, None);
        }
    }

    /// Hands a stream over, unless it has ended.
    fn hand_over(&mut self, connection: &Connection, stream: StreamId, holds: bool, context: &mut Context<'_>) {
        // The sent part of the stream's buffer is subtracted before the rest is.
        for answer in context.reactor.take_answers() {
            context.streams.apply(answer);
        }
        let (number, link) = (u64::from(stream), connection.number);
        let parked = self.parked.remove(&number).or_else(|| detach(stream, link, holds, context));
        let Parked { mut remote, requests } = some_or!(parked, return);
        context.handle.notify_all();
        let is_opened = !requests.is_empty();
        remote.link = link;
        self.remotes.insert(number, remote);
        if let Some(linked) = self.links.get_mut(&link) {
            requests.into_iter().for_each(|(frame, socket)| linked.queue(0, frame, socket));
        }
        if !is_opened {
            self.end(number, Reason::Slow, context); // the client reconnects
        }
    }

    /// Reads the responses of a connection, and does what follows from them.
    fn read(&mut self, number: u32, context: &mut Context<'_>) {
        let linked = some_or!(self.links.get_mut(&number), return);
        let mut effects = std::mem::take(&mut self.effects);
        let read = linked.read(&mut effects);
        effects.drain(..).for_each(|effect| self.apply_effect(number, effect, context));
        self.effects = effects;
        match read {
            Ok(true) => self.resume_waiting(number, context),
            Ok(false) => {}
            Err(ConnectionLost) => self.lose(number, context),
        }
        self.close_if_unused(number, context);
        context.handle.notify_all();
    }

    fn apply_effect(&mut self, link: u32, effect: Effect, context: &mut Context<'_>) {
        match effect {
            Effect::Progress(progress) => {
                let remote = self.remotes.get_mut(&progress.stream).filter(|remote| remote.link == link);
                if let (Some(remote), Some(state)) = (remote, context.streams.get(progress.stream.into())) {
                    remote.apply_progress(&progress, state);
                }
            }
            Effect::Ended { stream, reason } => self.end_reported(link, stream, reason, context),
            Effect::SubscriptionRefused { stream, refusal } => {
                LOSSES.record(1, &refusal);
                let (reason, ending) = (Reason::Error, Ending::Flush);
                self.forward(&Command::End { stream: stream.into(), reason, ending }, context);
            }
            Effect::EventRefused(refusal) => {
                context.handle.count_lost(1, 0);
                LOSSES.record(1, &refusal);
            }
            Effect::Logged(line) => {
                if let Some(linked) = self.links.get(&link) {
                    hub_log::write(&linked.link.welcome().name, &line);
                }
            }
        }
    }

    /// Ends a stream that has ended in the hub process, or counts the end of one that was released.
    fn end_reported(&mut self, link: u32, stream: u64, reason: Reason, context: &mut Context<'_>) {
        if self.remotes.get(&stream).map_or(false, |remote| remote.link == link) {
            self.end(stream, reason, context);
        } else if let Some(linked) = self.links.get_mut(&link).filter(|linked| linked.released > 0) {
            linked.released -= 1;
            count_released(1, reason, context);
        }
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
        self.fail_waiting(number, context);
        if let Some(mut linked) = self.links.remove(&number) {
            context.reactor.io().epoll.remove(linked.link.socket());
            lose_events(linked.connection.take_unanswered(), context);
            let awaited = linked.lose();
            let Connected { link, connection, released, .. } = linked;
            self.park(link, &awaited);
            count_released(released, Reason::Error, context);
            connection.lose();
        }
        let of_link = self.remotes.iter().filter(|(_, remote)| remote.link == number);
        let mut streams: Vec<u64> = of_link.map(|(stream, _)| *stream).collect();
        streams.sort_unstable(); // in the order in which they have begun
        for stream in streams {
            self.end(stream, Reason::Error, context);
        }
        context.handle.notify_all();
    }

    /// Takes back the streams that were still to be sent, if a thread waits for their subscriptions.
    fn park(&mut self, link: Link, awaited: &[u64]) {
        for (stream, requests) in unsent_of(link, awaited) {
            if let Some(remote) = self.remotes.remove(&stream) {
                self.parked.insert(stream, Parked { remote, requests });
            }
        }
    }

    fn close_if_unused(&mut self, number: u32, context: &mut Context<'_>) {
        let is_closed = self.links.get(&number).map_or(false, |linked| {
            let is_unused = !linked.connection.is_used() && linked.released == 0 && self.waiting.is_free(number);
            is_unused && !self.remotes.values().any(|remote| remote.link == number) && linked.connection.close()
        });
        if is_closed {
            self.lose(number, context);
        }
    }
}

/// The methods that the event loop calls.
impl Links {
    /// Returns true if there is something that a hub process is still to be sent.
    pub(crate) fn has_queued(&self) -> bool {
        self.links.values().any(|linked| linked.queued_bytes().0 > 0)
    }

    /// Carries out a command of a thread, perhaps later.
    pub(crate) fn apply(&mut self, command: LinkCommand, context: &mut Context<'_>) {
        if let Some(command) = self.waiting.keep(command, |stream| self.remotes.contains_key(&stream)) {
            self.carry_out(command, context);
        }
    }

    /// Forwards a command for a stream that was handed over. Returns false if it is the reactor's.
    pub(crate) fn forward(&mut self, command: &Command, context: &mut Context<'_>) -> bool {
        let stream = match command {
            Command::Push { stream, .. }
            | Command::End { stream, .. }
            | Command::Refuse { stream }
            | Command::BeginSubscription { stream } => u64::from(*stream),
            _ => return false,
        };
        if self.waiting.change(stream, command) {
            return true;
        }
        if let Some(Parked { remote, requests }) = self.parked.get_mut(&stream) {
            let request = remote.request_of(stream, command, false, context);
            requests.extend(request.map(|request| (encode_request(stream, &request), None)));
            return true;
        }
        let remote = some_or!(self.remotes.get_mut(&stream), return false);
        if let Some(linked) = self.links.get_mut(&remote.link) {
            let (queued, overtaken) = linked.queued_bytes();
            let is_full = queued - overtaken >= MAX_QUEUED_BYTES;
            if let Some(request) = remote.request_of(stream, command, is_full, context) {
                linked.queue(0, encode_request(stream, &request), None);
            }
        }
        true
    }

    /// Takes the socket of a stream that was handed over without it. Returns it if the stream is the reactor's.
    pub(crate) fn attach(&mut self, stream: StreamId, socket: OwnedFd) -> Option<OwnedFd> {
        let number = u64::from(stream);
        let (parked, remote) = (self.parked.get_mut(&number), self.remotes.get(&number));
        let linked = remote.and_then(|remote| self.links.get_mut(&remote.link));
        if parked.is_none() && linked.is_none() {
            return Some(socket);
        }
        cork(socket.as_fd(), false); // another process need not know of it
        let frame = encode_request(number, &Request::Attach { stream: number });
        if let Some(parked) = parked {
            parked.requests.push((frame, Some(socket)));
        } else if let Some(linked) = linked {
            linked.queue(0, frame, Some(socket));
        }
        None
    }

    /// Called when a stream's handle was dropped. If it was the last one, and nobody wants to know of the end, a stream that
    /// was handed over is left to the hub process, and nothing is kept of it here. Returns true if so.
    pub(crate) fn release(&mut self, stream: StreamId, context: &mut Context<'_>) -> bool {
        let number = u64::from(stream);
        let linked =
            some_or!(self.remotes.get(&number).and_then(|remote| self.links.get_mut(&remote.link)), return false);
        // A socket that is still to come is the stream's.
        let is_attached = context.streams.get(stream).map_or(false, |state| state.is_attached());
        if !is_attached || !context.streams.forget(stream) {
            return false;
        }
        self.remotes.remove(&number);
        linked.released += 1;
        linked.queue(0, encode_request(number, &Request::Release { stream: number }), None);
        true
    }

    /// Called when a connection is ready. It was added to the epoll set as the slot of a stream with the serial number 0.
    pub(crate) fn handle_readiness(&mut self, number: u32, ready: Ready, context: &mut Context<'_>) {
        if ready.readable || ready.hung_up {
            self.read(number, context);
        }
    }

    /// Returns when [`run_due`](Self::run_due) has something to do.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting.next_due()
    }

    /// Does what is due.
    pub(crate) fn run_due(&mut self, now: Instant, context: &mut Context<'_>) {
        while let Some(stream) = self.waiting.take_due(now) {
            self.send_back(stream.into(), context);
            context.handle.notify_all();
        }
    }

    /// Sends what the kernel takes.
    pub(crate) fn flush(&mut self, context: &mut Context<'_>) {
        let mut lost = Vec::new();
        for (number, linked) in &mut self.links {
            let flushed = linked.link.flush().and_then(|()| {
                if linked.note_sent() {
                    context.handle.notify_all();
                }
                let is_asked = linked.link.wants_to_write();
                if is_asked != std::mem::replace(&mut linked.is_writable_asked, is_asked) {
                    let epoll = &context.reactor.io().epoll;
                    return epoll
                        .ask(linked.link.socket(), u64::from(*number), true, is_asked)
                        .map_err(|_| ConnectionLost);
                }
                Ok(())
            });
            if flushed.is_err() {
                lost.push(*number);
            }
        }
        for number in lost {
            self.read(number, context); // the responses that came before the end
            self.lose(number, context);
        }
        let closing: Vec<u32> =
            self.links.iter().filter(|(_, linked)| !linked.connection.is_used()).map(|(number, _)| *number).collect();
        for number in closing {
            self.close_if_unused(number, context);
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.links.values().for_each(|linked| linked.connection.lose());
    }
}

/// Counts events that were published to a hub process, and that it has perhaps not got.
fn lose_events(count: u64, context: &mut Context<'_>) {
    context.handle.count_lost(count as usize, 0);
    LOSSES.record(count, "the connection to the hub process broke");
}

/// Counts the ends of streams that this process holds no longer.
fn count_released(count: u64, reason: Reason, context: &mut Context<'_>) {
    add(&context.handle.counts.returned, count);
    (0..count).for_each(|_| context.streams.count_forgotten(reason));
}

/// Takes a stream from the reactor, to hand it over on a connection. Returns nothing if it has ended; no request if more is
/// buffered than a message may have.
fn detach(stream: StreamId, link: u32, holds: bool, context: &mut Context<'_>) -> Option<Parked> {
    let Detached { handed, buffered_bytes, buffered_events } = context.reactor.detach(stream)?;
    let Handed { socket, settings, unsent, body } = handed;
    count_as_sent(context, buffered_events, buffered_bytes);
    if let Some(state) = context.streams.get(stream) {
        state.subtract_buffered(buffered_bytes);
        state.hand_over(socket.is_some());
    }
    add(&context.handle.counts.handed_over, 1);
    let open = Open { stream: stream.into(), settings, unsent: &unsent, body, holds };
    let request = if socket.is_some() { Request::Open(open) } else { Request::OpenWithoutSocket(open) };
    let mut frame = Vec::new();
    let requests = request.encode(&mut frame).map(|()| (frame, socket)).into_iter().collect();
    Some(Parked { remote: RemoteStream::new(link, &settings), requests })
}
