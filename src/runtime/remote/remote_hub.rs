//! The calls of a named hub.
//!
//! Each process has a connection of its own, which its event loop serves. The first call that needs one begins it; so does the
//! first call after the connection was lost. A thread of its own connects, and starts the hub process if need be. Calls that
//! return something wait for it. A stream does not: until the connection is made, it waits in the event loop.

use super::hub_log;
use super::kept_settings;
use super::link::Link;
use super::links::connection::{Connection, LinkCommand};
use super::registrations::{lock_remotes, RemoteHub, RemoteRegistration};
use super::response_reader::UNAWAITED;
use super::start::is_served;
use super::unanswered::{too_many, Unanswered};
use crate::hub::SubscribeRequest;
use crate::reactor::StreamId;
use crate::runtime::process::{check_shutdown, lock_process};
use crate::runtime::reactor_handle::ReactorHandle;
use crate::runtime::StreamHandle;
use crate::stream::after;
use crate::sys::{clock, thread};
use crate::wire::{Call, Reply, Request};
use crate::{ErrorCode, Failure};
use std::borrow::Cow;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time within which the link ends, too, after the end of a connection for calls.
const END_OF_ALL: Duration = Duration::from_millis(50);

/// The time for which it is remembered that a hub process could not be reached: calls that do not wait fail at once.
const REMEMBERED: Duration = Duration::from_secs(1);

/// The time that a call waits beyond its own for the attempt to connect that it has begun: both end at the same time, and the
/// attempt knows the reason.
const REASON: Duration = Duration::from_millis(100);

/// The time for which a question waits whether a stream may begin. A hub process that is known to be away is not asked.
const MAY_BEGIN: Duration = Duration::from_secs(1);

/// The result of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// The stream has ended.
    Ended,
    /// The stream is subscribed.
    Now,
    /// The hub process does not answer. The stream is open, and is subscribed as soon as it does. If that takes longer than a
    /// call may take, the client is sent a reconnection time, and the stream ends.
    Waits,
}

/// Returns the time that is that long ago.
fn before(time: Duration) -> Option<Instant> {
    Instant::now().checked_sub(time)
}

impl RemoteHub {
    /// Returns the connection of this process, which is perhaps still to be made. Begins one if there is none. Fails with
    /// `Unavailable`, or why the last attempt has failed, if that was after `since`.
    fn registration(&self, since: Option<Instant>) -> Result<RemoteRegistration, Failure> {
        let mut remotes = lock_remotes();
        check_shutdown()?;
        if let Some(registration) = remotes.get_or_share(self) {
            return Ok(registration);
        }
        let reactor = lock_process().reactor_or_start()?;
        let last = remotes.last(self, &reactor);
        let failure = last.and_then(|last| last.connection.failure());
        let is_away = failure.is_some();
        let known = match failure {
            Some((error, at)) if since.map_or(false, |since| at >= since) => return Err(error),
            Some((error, _)) => error.to_string(),
            None => String::new(),
        };
        let hub = last.map_or_else(|| reactor.new_hub(), |last| last.hub);
        per_process! { static NUMBERS: AtomicU32 = AtomicU32::new(0); }
        // Numbers begin with 1: 0 is the waker's.
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
        let connection = Arc::new(Connection::new(number, is_away));
        reactor.send_link(LinkCommand::Begin(Arc::clone(&connection)));
        let registration = RemoteRegistration { reactor, hub, connection };
        remotes.insert(self.clone(), registration.clone());
        let (remote, RemoteRegistration { reactor, connection, .. }) = (self.clone(), registration.clone());
        let thread = thread::spawn("eventsource-hub", move || remote.connect(&reactor, connection, &known));
        if let Err(error) = thread {
            let RemoteRegistration { reactor, connection, .. } = &registration;
            connection.fail(Failure::unavailable(format!("cannot start a thread: {error}")));
            reactor.send_link(LinkCommand::Fail(Arc::clone(connection)));
        }
        Ok(registration)
    }

    /// Begins a connection if somebody listens.
    pub(super) fn connect_if_served(&self) {
        let is_connected = lock_remotes().get(self).is_some();
        if !is_connected && self.address.place().map_or(false, |place| is_served(&place)) {
            let _ = self.registration(None); // the first call reports the error
        }
    }

    /// Makes a connection, in a thread of its own. Starts the hub process if need be. Logs why the hub process does not serve
    /// this worker, unless that is `known` from the last attempt.
    fn connect(&self, reactor: &ReactorHandle, connection: Arc<Connection>, known: &str) {
        let connect = || {
            let place = self.address.place()?;
            Link::connect(&self.start, &place, self.settings.clone())
        };
        let made = catch_unwind(AssertUnwindSafe(connect)).unwrap_or(Err(Unanswered::Lost));
        let command = match made {
            Ok(mut link) => {
                connection.note_welcome(link.welcome());
                hub_log::ask(&mut link, connection.next_request());
                LinkCommand::Connect(Box::new(link), connection)
            }
            Err(error) => {
                let is_refusal =
                    matches!(&error, Unanswered::Refused(refusal) if refusal.code == ErrorCode::Unavailable);
                let failure = match error {
                    // Nothing was asked for yet.
                    Unanswered::Lost | Unanswered::Late(_) => self.absent(),
                    error => error.into(),
                };
                if is_refusal && *failure.message != *known {
                    hub_log::write_refusal(self.address.name(), &failure);
                }
                connection.fail(failure);
                LinkCommand::Fail(connection)
            }
        };
        reactor.send_link(command);
    }

    /// Returns the connection of this process. Waits until it is made, or until the deadline.
    pub(super) fn connected(&self, deadline: Instant) -> Result<RemoteRegistration, Failure> {
        let began = Instant::now();
        loop {
            let registration = self.registration(None)?;
            let RemoteRegistration { reactor, connection, .. } = &registration;
            // An attempt that began before this call had less time than the call has.
            let is_own = connection.began >= began;
            let reason = if is_own { REASON } else { Duration::ZERO };
            let left = deadline.saturating_duration_since(Instant::now()) + reason;
            let is_decided = reactor.wait(left, || !connection.is_coming() || reactor.is_dead());
            if is_decided && !connection.is_lost() && !reactor.is_dead() {
                return Ok(registration);
            }
            let failure = connection.failure();
            if is_own && failure.is_some() || Instant::now() >= deadline {
                return Err(failure.map_or_else(|| self.absent(), |(error, _)| error));
            }
        }
    }

    /// Returns the connection of this process as [`connected`](Self::connected) does, but does not wait for a hub process
    /// that is known to be away.
    pub(super) fn connected_soon(&self, deadline: Instant) -> Result<RemoteRegistration, Failure> {
        let registration = self.registration(before(REMEMBERED))?;
        let RemoteRegistration { reactor, connection, .. } = &registration;
        let left = match connection.is_away() {
            true => Duration::ZERO,
            false => deadline.saturating_duration_since(Instant::now()),
        };
        reactor.wait(left, || !connection.is_coming() || reactor.is_dead());
        if connection.is_coming() {
            // The event loop knows whether that is so still.
            reactor.send_link(LinkCommand::Await { connection: Arc::clone(connection), request: 0 });
            return Err(self.absent());
        }
        match connection.failure() {
            Some((error, _)) => Err(error),
            None if connection.is_away() || connection.is_lost() => Err(self.absent()),
            None => Ok(registration),
        }
    }

    /// Makes a request, and waits for its reply. Connects anew, until the timeout, if it was not carried out. A request without
    /// which a stream may begin waits for a short time only (`is_soon`), and not for a hub process that is known to be away.
    /// The request is made with its number, and with the time of the system's monotonic clock until which it waits.
    pub(super) fn ask<'a>(
        &self,
        is_soon: bool,
        request: impl Fn(u64, u64) -> Request<'a>,
    ) -> Result<Reply, Unanswered> {
        let timeout = self.start.timeout.min(if is_soon { MAY_BEGIN } else { Duration::MAX });
        let until = clock::monotonic().saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        let deadline = after(Instant::now(), timeout);
        loop {
            let connected = if is_soon { self.connected_soon(deadline) } else { self.connected(deadline) };
            let RemoteRegistration { reactor, connection, .. } = connected?;
            let mark = mark(&reactor, &connection, if is_soon { Instant::now() } else { deadline })?;
            let worker = connection.worker().ok_or_else(|| self.lost())?;
            let asked = connection.calls.call(&self.address, worker, mark, deadline, |number| request(number, until));
            let left = deadline.saturating_duration_since(Instant::now());
            match asked {
                Err(Unanswered::Unsent(_) | Unanswered::Late(_)) if is_soon && left.is_zero() => {
                    // The response says when it is back.
                    let request = connection.next_request();
                    let call = Cow::Owned(Call::Describe);
                    queue(&reactor, &connection, request, &Request::Call { request, until: 0, call })?;
                    reactor.send_link(LinkCommand::Await { connection: Arc::clone(&connection), request });
                }
                Err(Unanswered::Unsent(_) | Unanswered::Lost) => {
                    // A process that ends closes all connections, but not at once.
                    reactor.wait(left.min(END_OF_ALL), || connection.is_lost() || reactor.is_dead());
                }
                _ => {}
            }
            match asked {
                Err(Unanswered::Unsent(_)) if left > Duration::ZERO => {}
                asked => return asked,
            }
        }
    }

    fn absent(&self) -> Failure {
        self.address.place().map_or_else(|error| error, |place| kept_settings::no_answer(&place, Some(&self.settings)))
    }

    pub(super) fn lost(&self) -> Failure {
        Failure::unavailable(format!("lost the hub process {}", self.address.name()))
    }

    /// Queues a request whose outcome nobody waits for.
    pub(super) fn queue_unawaited<'a>(&self, request: impl FnOnce(u64) -> Request<'a>) -> Result<(), Failure> {
        let RemoteRegistration { reactor, connection, .. } = self.registration(before(REMEMBERED))?;
        if !connection.has_room(true) {
            return Err(too_many());
        }
        queue(&reactor, &connection, UNAWAITED, &request(UNAWAITED))
    }

    /// Makes a call, and waits for the reply. If the hub process does not answer whether a stream may begin, it may by its
    /// label, but not with its ticket.
    pub(super) fn call(&self, call: &Call) -> Result<Reply, Failure> {
        let request = |request, until| {
            let until = if call.reserves() { until } else { 0 };
            Request::Call { request, until, call: Cow::Borrowed(call) }
        };
        if *call == Call::CountRefusedOrigin {
            self.send_if_there(&request(0, 0)); // the client does not wait for it
            return Ok(Reply::Done);
        }
        match (call, self.ask(call.is_optional(), request)) {
            // The process was killed, which this one did not know. The next one may have the keys.
            (Call::OpenTicket { .. }, Err(Unanswered::Lost)) => self.ask(true, request),
            (_, asked) => asked,
        }
        .or_else(|unanswered| match (call, unanswered) {
            (Call::OpenTicket { .. }, Unanswered::Late(_)) => Ok(Reply::Admitted(None)),
            (Call::Reserve { .. }, Unanswered::Late(_)) => Ok(Reply::Number(1)),
            // A place is given back when the hub process answers again. Another process does not have it.
            (Call::Reserve { most: 0, .. }, _) => {
                self.send_if_there(&request(0, 0));
                Ok(Reply::Number(0))
            }
            (_, unanswered) => Err(unanswered.into()),
        })
    }

    /// Hands a stream over, unless that was done, and subscribes it. If the hub process does not answer soon, the stream
    /// waits in the event loop, and the call does not: see [`Subscribed::Waits`]. It never waits if the hub process has just
    /// admitted the stream. If that process is gone meanwhile, the stream ends, and its client comes back.
    pub(super) fn subscribe(
        &self,
        stream: &mut StreamHandle,
        subscription: SubscribeRequest,
        is_admitted: bool,
    ) -> Result<Subscribed, Failure> {
        let began = Instant::now();
        let until = after(began, self.start.timeout);
        // A connection may be lost before the socket was sent. Then the stream waits here for the next one.
        let mut parked = None;
        let abandon = |parked: &Option<Arc<ReactorHandle>>, stream: StreamId| {
            if let Some(reactor) = &parked {
                reactor.send_link(LinkCommand::Abandon(stream));
            }
        };
        loop {
            let RemoteRegistration { reactor, hub, connection } = match self.registration(before(REMEMBERED)) {
                Ok(registration) => registration,
                Err(error) => {
                    abandon(&parked, stream.reactor_id());
                    return Err(error);
                }
            };
            let prepared = stream.prepare(&reactor, hub, subscription.clone(), None);
            let (subscription, holds) = match prepared {
                Ok(Some(prepared)) => prepared,
                other => {
                    abandon(&parked, stream.reactor_id());
                    return other.map(|_| Subscribed::Ended);
                }
            };
            let request = if is_admitted { connection.next_request() } else { connection.begin() };
            let (id, shared) = (stream.reactor_id(), Arc::clone(&connection));
            let command = LinkCommand::Subscribe {
                connection: shared,
                request,
                stream: id,
                subscription: Box::new(subscription),
                holds,
                until,
            };
            reactor.send_link(command);
            if is_admitted {
                reactor.count_forwarded();
                stream.note_waiting_for_hub();
                return Ok(Subscribed::Now);
            }
            match wait(&reactor, &connection, request, connection.optional_wait().saturating_sub(began.elapsed())) {
                Err(Unanswered::Unsent(_)) => parked = Some(reactor),
                Ok(_) => return Ok(Subscribed::Now),
                Err(Unanswered::Late(_)) => {
                    reactor.send_link(LinkCommand::Await { connection, request });
                    reactor.count_forwarded();
                    stream.note_waiting_for_hub();
                    return Ok(Subscribed::Waits);
                }
                Err(unanswered) => return Err(unanswered.into()),
            }
            if Instant::now() >= until {
                abandon(&parked, id);
                return Err(self.lost());
            }
        }
    }

    /// Returns the epoch, with which the hub's ids begin.
    pub(super) fn epoch(&self) -> Result<Box<str>, Failure> {
        let RemoteRegistration { connection, .. } = self.connected(after(Instant::now(), self.start.timeout))?;
        connection.hub_identity().map(|hub| hub.epoch).ok_or_else(|| self.absent())
    }

    /// Returns the epoch, unless the hub process is away. Waits as a subscription does.
    pub(super) fn known_epoch(&self) -> Option<Box<str>> {
        let RemoteRegistration { reactor, connection, .. } = self.registration(before(REMEMBERED)).ok()?;
        reactor.wait(connection.optional_wait(), || !connection.is_coming() || reactor.is_dead());
        connection.hub_identity().map(|hub| hub.epoch)
    }

    /// Sends a request that is not answered, if the hub process is there.
    fn send_if_there(&self, request: &Request<'_>) {
        if let Ok(RemoteRegistration { reactor, connection, .. }) = self.registration(before(REMEMBERED)) {
            if connection.hub_identity().is_some() && connection.has_room(false) {
                let _ = queue(&reactor, &connection, 0, request); // it is short
            }
        }
    }
}

/// Queues a request with its number: 0 if it is not answered, [`UNAWAITED`] if its outcome is only counted.
pub(super) fn queue(
    reactor: &ReactorHandle,
    connection: &Arc<Connection>,
    number: u64,
    request: &Request<'_>,
) -> Result<(), Failure> {
    let mut frame = Vec::new();
    request.encode(&mut frame)?;
    connection.add_coming(frame.len());
    reactor.send_link(LinkCommand::Send { connection: Arc::clone(connection), request: number, frame });
    reactor.count_forwarded();
    Ok(())
}

/// Returns the number of a mark that comes on the link after everything that this thread has sent there. Sends it, unless
/// another one has come after that. Fails with `Full` if there is no room until the deadline.
fn mark(reactor: &ReactorHandle, connection: &Arc<Connection>, deadline: Instant) -> Result<u64, Failure> {
    let number = reactor.forwarded();
    if connection.last_mark.load(Ordering::Acquire) < number {
        let may_queue = || connection.has_room(false) || connection.is_lost() || reactor.is_dead();
        if !reactor.wait(deadline.saturating_duration_since(Instant::now()), may_queue) {
            return Err(too_many());
        }
        reactor.send_link(LinkCommand::Mark { connection: Arc::clone(connection), number });
        connection.last_mark.fetch_max(number, Ordering::Release);
    }
    Ok(number)
}

/// Waits until it is known what became of a request on the link. Fails with [`Unanswered::Unsent`] if the caller should
/// connect anew.
pub(super) fn wait(
    reactor: &ReactorHandle,
    connection: &Connection,
    request: u64,
    timeout: Duration,
) -> Result<Reply, Unanswered> {
    // The event loop completes every request, also those of a lost connection, unless it dies.
    reactor.wait(timeout, || connection.is_completed(request) || reactor.is_dead());
    let is_dead = reactor.is_dead(); // before the outcome is taken: it may have come before the death
    match connection.take_outcome(request) {
        Some(outcome) => outcome,
        None if is_dead => Err(Unanswered::Lost),
        None => Err(Unanswered::Late(connection.hub_identity().map(|hub| hub.name))),
    }
}
