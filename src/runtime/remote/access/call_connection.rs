//! A connection to a hub on which a thread waits for responses: that of a command or job, or one of those that a worker has
//! beside its [`Link`](super::link::Link). On that, the event loop would send and read, and each publish change threads four
//! times: 1.56 times the CPU time, and nearly twice as long (`bench/record/hub-publish.txt`).
//!
//! It starts no thread, so a command can be killed without harm. Publishes are begun and answered in batches. A response to a
//! request that was given up is dropped.

use super::greeting::{connect, greet, Greeted};
use super::place::{failed_at, Address, Place};
use super::response_reader::{left_until, reply_of, Replied, ResponseReader};
use super::sockets::NoFork;
use super::start::{check_peer, connect_once, Start};
use super::unanswered::{too_many, Unanswered};
use crate::hub::{Publication, SubscribeRequest};
use crate::runtime::descriptor_reserve;
use crate::runtime::wake::notifier::Notifier;
use crate::runtime::wake::sync::lock;
use crate::stream::after;
use crate::sys::socket::{send, wait_for_room, Wait};
use crate::wire::{
    Call, Failure, FieldList, Hello, NamedSettings, Open, Reply, Request, Response, Role, Welcome, WorkerId,
};
use rustix::fd::{AsFd, BorrowedFd};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The number of bytes of unanswered requests that are collected before they are sent.
const BATCH_BYTES: usize = 32 << 10;

/// The room that the buffer of requests keeps.
const KEPT_BYTES: usize = 64 << 10;

/// The most publishes that are begun before any is answered. Their responses fit a socket's buffer, so neither side waits for
/// the other to read.
pub const MAX_PENDING: usize = 256;

/// A connection to a hub. Each call waits for its response.
#[derive(Debug)]
pub struct CallConnection {
    responses: ResponseReader,
    welcome: Welcome,
    unsent: Vec<u8>,
    /// The mark of the worker's link after which its calls are carried out.
    mark: u64,
    last_request: u64,
    /// The last request that was sent, at least in part.
    last_sent: u64,
    /// The states and ends of streams that this connection has opened.
    reports: VecDeque<Response<'static>>,
    /// The publishes that were begun. Those that have no response yet are perhaps before others that have one: a hub refuses an
    /// event at once, and its store takes time for another one.
    pending: VecDeque<Begun>,
    /// The responses to those before, in their order.
    answered: Vec<PublishResult>,
    timeout: Duration,
}

/// The id of an event, or why it was refused.
type PublishResult = Result<String, Failure>;

/// A publish that was begun.
#[derive(Debug)]
struct Begun {
    request: u64,
    response: Option<PublishResult>,
}

impl CallConnection {
    /// Connects to a hub, and starts its process if need be. Without settings the hub is taken as it is. Fails with
    /// `Unavailable`, or `Refused` if the hub has other settings or another version.
    pub fn connect(start: &Start, place: &Place, settings: Option<NamedSettings>) -> Result<Self, Failure> {
        Ok(Self::new(connect(start, place, settings, |_, _| {})?, start.timeout))
    }

    /// Connects for the calls of a worker. A forked child closes its copy. Errors are those of [`connect`](Self::connect), or
    /// `Unknown`.
    pub fn for_worker(place: &Place, worker: WorkerId, timeout: Duration) -> Result<Self, Failure> {
        let socket = connect_once(place, NoFork::note)
            .map_err(|error| failed_at(place.socket(), "cannot connect to", &error))?;
        let hello = Hello { name: place.name().clone(), role: Role::Calls(worker) };
        match greet(check_peer(socket, place)?, &hello, timeout)? {
            Some(greeted) if greeted.0.pid == worker.process => Ok(Self::new(greeted, timeout)),
            _ => Err(Failure::unknown()),
        }
    }

    fn new((welcome, responses): Greeted, timeout: Duration) -> Self {
        let (unsent, mark, last_request, last_sent, reports, pending, answered) = Default::default();
        Self { responses, welcome, unsent, mark, last_request, last_sent, reports, pending, answered, timeout }
    }

    /// Closes the connection, unless somebody else has closed its descriptor.
    pub fn leave(self) {
        self.responses.leave();
    }

    /// Has the later calls carried out after what the link of the worker has sent before a mark.
    pub fn follow(&mut self, mark: u64) -> Result<(), Unanswered> {
        if mark > self.mark {
            Request::After { mark }.encode(&mut self.unsent)?;
            self.mark = mark;
        }
        Ok(())
    }

    /// Returns what the hub process has said about itself.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Publishes an event without waiting for a response, and so without knowing its id. The event may be sent with later
    /// ones, at the latest by [`flush`](Self::flush). Errors are those of [`flush`](Self::flush).
    pub fn publish_unanswered(&mut self, publication: &Publication<'_, FieldList>) -> Result<(), Failure> {
        self.collect(0, publication)
    }

    /// Hands over a stream with its socket, which may be closed then. Errors are those of [`send`](Self::send).
    pub fn open(&mut self, open: Open<'_>, socket: BorrowedFd<'_>) -> Result<(), Failure> {
        self.send(&Request::Open(open), Some(socket))
    }

    /// Subscribes a stream of this connection. Errors are those of [`ask`](Self::ask).
    pub fn subscribe(&mut self, stream: u64, subscription: SubscribeRequest) -> Result<(), Failure> {
        self.ask(|request| Request::Subscribe { request, stream, subscription }).map(drop)
    }

    /// Makes a call, and waits for the reply. Errors are those of [`ask`](Self::ask).
    pub fn call(&mut self, call: &Call) -> Result<Reply, Failure> {
        self.ask(|request| Request::Call { request, until: 0, call: Cow::Borrowed(call) })
    }

    /// Makes a request, and waits for the reply. Fails with `Unavailable` if it was not carried out, `Unknown` if that is not
    /// known, `Refused` if the hub has refused it.
    pub fn ask<'a>(&mut self, request: impl FnOnce(u64) -> Request<'a>) -> Result<Reply, Failure> {
        Ok(self.ask_until(self.deadline(), request)?)
    }

    /// Has the store copy everything into a new file, and waits for that as long as the hub process answers. Errors are those
    /// of [`ask`](Self::ask).
    pub fn back_up(&mut self, path: &[u8]) -> Result<(), Failure> {
        let (request, call) = (self.next_request(), Cow::Owned(Call::BackUp { path: path.into() }));
        self.send(&Request::Call { request, until: 0, call }, None)?;
        self.pending.push_back(Begun { request, response: None });
        while !self.pending.is_empty() {
            match self.take_response() {
                Err(Unanswered::Late(_)) => drop(self.call(&Call::Describe)?),
                other => other?,
            }
        }
        self.answered.pop().map_or(Err(Failure::unknown()), |result| result.map(drop))
    }

    /// Begins to publish an event; the request may be sent with later ones. [`publish_results`](Self::publish_results) sends
    /// what is left and returns what became of it. At most [`MAX_PENDING`] are sent before any is answered. Errors are those of
    /// [`send`](Self::send). Events that were begun before are then perhaps published.
    pub fn begin_publish(&mut self, publication: &Publication<'_, FieldList>) -> Result<(), Failure> {
        while self.pending.len() >= MAX_PENDING {
            self.flush()?;
            self.take_response()?;
        }
        let request = self.next_request();
        self.collect(request, publication)
    }

    /// Collects a publish, and sends what was collected when it is a batch.
    fn collect(&mut self, request: u64, publication: &Publication<'_, FieldList>) -> Result<(), Failure> {
        self.queue(&Request::Publish { request, publication: publication.borrowed() }, self.deadline())?;
        if request > 0 {
            self.pending.push_back(Begun { request, response: None });
        }
        match self.unsent.len() < BATCH_BYTES {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// Returns the ids of the events that were begun, or why the hub has refused them, in their order. Waits for the responses.
    /// After an error, the responses that came before it are returned first, and the error by the next call. Fails with
    /// `Unknown`: the events that are not answered were perhaps published; with `Unavailable` none of them was.
    pub fn publish_results(&mut self) -> Result<Vec<PublishResult>, Failure> {
        let collected = self.write_out(None, self.deadline()).and_then(|()| {
            while !self.pending.is_empty() {
                self.take_response()?;
            }
            Ok(())
        });
        match collected {
            Err(error) if self.answered.is_empty() => Err(error.into()),
            _ => Ok(std::mem::take(&mut self.answered)),
        }
    }

    /// Takes the response to the oldest of the events that were begun.
    fn take_response(&mut self) -> Result<(), Unanswered> {
        let deadline = self.deadline();
        while self.pending.front().map_or(false, |oldest| oldest.response.is_none()) {
            self.read_response(deadline)?;
        }
        self.answered.extend(self.pending.pop_front().and_then(|oldest| oldest.response));
        Ok(())
    }

    /// Returns the next [state](Response::State) or [end](Response::Ended) of a stream of this connection; none if there is
    /// none within the timeout. Fails with `Unavailable` or `Unknown` if the connection has ended.
    pub fn next_report(&mut self) -> Result<Option<Response<'static>>, Failure> {
        loop {
            if let Some(report) = self.reports.pop_front() {
                return Ok(Some(report));
            }
            match self.read_response(self.deadline()) {
                Ok(_) => {}
                Err(Unanswered::Late(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a request, and what was collected before. With the socket of a stream it is an [`Open`]. Fails with
    /// `Unavailable` if the connection has ended or the hub process takes nothing, `Invalid` if the request
    /// is too long.
    pub fn send(&mut self, request: &Request<'_>, socket: Option<BorrowedFd<'_>>) -> Result<(), Failure> {
        if socket.is_some() {
            self.flush()?; // so that the descriptor is beside the first byte of its request
        }
        let deadline = self.deadline();
        self.queue(request, deadline)?;
        Ok(self.write_out(socket, deadline)?)
    }

    /// Sends what was collected. Errors are those of [`send`](Self::send).
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.write_out(None, self.deadline())?)
    }

    /// Makes a request, and waits for its response until a deadline.
    pub(crate) fn ask_until<'a>(
        &mut self,
        deadline: Instant,
        request: impl FnOnce(u64) -> Request<'a>,
    ) -> Result<Reply, Unanswered> {
        let number = self.next_request();
        self.queue(&request(number), deadline)?;
        self.write_out(None, deadline)?;
        loop {
            match self.read_response(deadline)? {
                Some((answered, result)) if answered == number => return result.map_err(Unanswered::Refused),
                _ => {}
            }
        }
    }

    /// Returns until when a call that begins now may take.
    fn deadline(&self) -> Instant {
        after(Instant::now(), self.timeout)
    }

    fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }

    /// Collects a request. A publish waits for credits first.
    fn queue(&mut self, request: &Request<'_>, deadline: Instant) -> Result<(), Unanswered> {
        let is_publish = matches!(request, Request::Publish { .. });
        if is_publish && !self.responses.credits.may_send() {
            self.write_out(None, deadline)?;
            while !self.responses.credits.may_send() {
                self.read_response(deadline).map_err(|error| self.unsent_for(error))?;
            }
        }
        let before = self.unsent.len();
        request.encode(&mut self.unsent)?;
        if is_publish {
            let _ = self.responses.credits.spend(self.unsent.len() - before);
        }
        Ok(())
    }

    fn write_out(&mut self, mut descriptor: Option<BorrowedFd<'_>>, deadline: Instant) -> Result<(), Unanswered> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            let error = match send(self.responses.socket.as_fd(), &self.unsent[sent..], descriptor, Wait::Never) {
                Ok(count) => {
                    (sent, descriptor, self.last_sent) = (sent + count, None, self.last_request);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match left_until(deadline) {
                    Some(left) => {
                        wait_for_room(self.responses.socket.as_fd(), left);
                        continue;
                    }
                    None => Unanswered::Late(Some(self.welcome.name.clone())),
                },
                Err(_) => Unanswered::Lost,
            };
            let _ = self.responses.socket.shutdown(Shutdown::Both); // a part of a request was perhaps sent
            return Err(self.unsent_for(error));
        }
        self.unsent.clear();
        self.unsent.shrink_to(KEPT_BYTES);
        Ok(())
    }

    /// Returns what an error means for a request that was not sent completely: it was not carried out, unless others that were
    /// begun perhaps were.
    fn unsent_for(&self, error: Unanswered) -> Unanswered {
        let name = &self.welcome.name;
        match error {
            error if self.pending.front().map_or(false, |begun| begun.request <= self.last_sent) => error,
            Unanswered::Late(_) => Unanswered::Unsent(format!("the hub process {name} takes nothing")),
            _ => Unanswered::Unsent(format!("lost the hub process {name}")),
        }
    }

    /// Reads one response. Takes note of it, unless it is to a request that was not begun: that is returned.
    fn read_response(&mut self, deadline: Instant) -> Result<Option<Replied>, Unanswered> {
        let response = match reply_of(self.responses.wait(deadline)?) {
            Ok((request, result)) => {
                return match self.pending.binary_search_by_key(&request, |begun| begun.request) {
                    Ok(at) => {
                        self.pending[at].response = Some(result.and_then(Reply::id).map(Into::into));
                        Ok(None)
                    }
                    Err(_) => Ok(Some((request, result))),
                };
            }
            Err(response) => response,
        };
        match response {
            Response::Rejected(failure) => return Err(Unanswered::Unsent(failure.to_string())), // the call was not carried out
            Response::State(progress) => self.reports.push_back(Response::State(progress)),
            Response::Ended { stream, reason } => self.reports.push_back(Response::Ended { stream, reason }),
            Response::Epoch { epoch } => self.welcome.epoch = epoch.into(),
            _ => {}
        }
        Ok(None)
    }
}

/// The most connections of a process for calls.
const MOST_CONNECTIONS: usize = 4;

/// The connections to a hub process on which threads of this process wait for responses. They belong to a connection of the
/// event loop, and end with it. A thread takes one that is free, makes one, or waits: a few serve many threads, and each is a
/// descriptor of both processes.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    state: Mutex<CallsState>,
    changed: Notifier,
}

#[derive(Debug, Default)]
struct CallsState {
    free: Vec<CallConnection>,
    /// The number of connections, with those that are taken.
    count: usize,
    /// True if the hub process has refused another one.
    is_refused: bool,
    is_closed: bool,
}

/// A connection that a thread has taken, or makes. It is given back if it still is one.
struct Taken<'a>(&'a Calls, Option<CallConnection>);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        match self.1.take().filter(|_| !state.is_closed && !std::thread::panicking()) {
            Some(connection) => state.free.push(connection),
            None => state.count -= 1,
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

impl Calls {
    /// Makes a request after what the link has sent before a mark, and waits for its reply. Fails with
    /// `Unavailable` if it was not carried out, `Unknown` if that is not known, `Full` if other threads use all connections.
    pub(crate) fn call<'a>(
        &self,
        address: &Address,
        worker: WorkerId,
        mark: u64,
        deadline: Instant,
        request: impl FnOnce(u64) -> Request<'a>,
    ) -> Result<Reply, Unanswered> {
        let mut taken = self.take(address, worker, deadline)?;
        let reply = match &mut taken.1 {
            Some(connection) => connection.follow(mark).and_then(|()| connection.ask_until(deadline, request)),
            None => Err(Unanswered::Lost), // `take` has one
        };
        if matches!(reply, Err(Unanswered::Unsent(_) | Unanswered::Lost)) {
            taken.1.take().into_iter().for_each(CallConnection::leave);
        }
        reply
    }

    fn take(&self, address: &Address, worker: WorkerId, deadline: Instant) -> Result<Taken<'_>, Unanswered> {
        loop {
            let mut state = lock(&self.state);
            if state.is_closed {
                return Err(Unanswered::Unsent(format!("lost the hub process {}", address.name())));
            }
            if let Some(connection) = state.free.pop() {
                return Ok(Taken(self, Some(connection)));
            }
            let may_have_more =
                || state.count < MOST_CONNECTIONS && !state.is_refused && descriptor_reserve::has_spare();
            if state.count == 0 || may_have_more() {
                state.count += 1;
                drop(state);
                let mut taken = Taken(self, None);
                let connect = |left| CallConnection::for_worker(&address.place()?, worker, left);
                match left_until(deadline).map_or_else(|| Err(Unanswered::Late(None).into()), connect) {
                    Ok(connection) => {
                        taken.1 = Some(connection);
                        return Ok(taken);
                    }
                    Err(error) => {
                        drop(taken);
                        state = lock(&self.state);
                        if state.count == 0 {
                            return Err(Unanswered::Unsent(error.to_string()));
                        }
                        state.is_refused = true;
                    }
                }
            }
            drop(state);
            let is_changed = || {
                let state = lock(&self.state);
                !state.free.is_empty() || state.count == 0 || state.is_closed
            };
            if !self.changed.wait(deadline, is_changed) {
                return Err(too_many().into());
            }
        }
    }

    /// Closes the connections. A thread that has taken one closes it when it gives it back.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        state.count -= state.free.len();
        state.free.clear();
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
