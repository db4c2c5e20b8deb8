//! The loop of the wire thread: it waits, lets each part do what is due, and sends the responses. What happens is decided in
//! the parts: who is connected (`peers`), which hub is served (`served_hub`), what a message does (`greeting`, `requests`),
//! when the hub begins and what follows from its store's reports (`hub_life`), what is logged (`operator_log`), when the
//! process ends (`lifetime`, `control_requests`), and how another program continues (`upgrade`, `arrival`).

mod arrival;
mod control_requests;
mod greeting;
mod http;
mod hub_life;
mod requests;
mod upgrade;

pub use arrival::process_of;

use crate::arguments::Arguments;
use crate::http::{Connections, Service, FIRST_NUMBER};
use crate::inherited::InstanceLock;
use crate::leases::Leases;
use crate::lifetime::{DueAction, Lifetime};
use crate::listening::{raise_limit, Acceptor, Descriptors, Listening, HTTP_METRICS, HTTP_STREAMS};
use crate::new_program::own_program;
use crate::operator_log::{send_lines, Operator};
use crate::peers::{End, Peers, FIRST_TOKEN, MAX_PEERS};
use crate::process_log::{self, log_message, write_objects};
use crate::read_channels::ReadChannels;
use crate::served_hub::{CurrentHub, ServedHub};
use crate::settings::{Precedence, Wanted};
use crate::stored_hub::not_begun;
use crate::streams::{Opener, Streams};
use arrival::Arrival;
use control_requests::ControlRequests;
use eventsource_xs::hub::{Answer, Question};
use eventsource_xs::remote::calls::{self, Asked, Epoll, Readiness, Wait};
use eventsource_xs::remote::kept_settings;
use eventsource_xs::runtime::{self, Mail, Mailbox};
use eventsource_xs::stream::{Reason, StreamId};
use eventsource_xs::wire::{Failure, Frame, FrameBuffer, NamedSettings, Response, StoreSettings, LOG_LEASE};
use hub_life::BEGIN_WITHIN;
use std::collections::HashMap;
use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The interval at which the process looks whether its files are in their places. A call that finds no socket tries again for
/// longer (`timeout`), so that nobody is refused.
const FILE_CHECK: Duration = Duration::from_secs(1);
/// The time for which the end of the process waits until what is buffered for clients is sent.
const LINGER: Duration = Duration::from_secs(2);
/// The time for which the end of the process waits for the store.
const STORE_LINGER: Duration = Duration::from_secs(5);

// All that the loop waits for, beside its peers: the numbers in the epoll set.
const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
const MAIL: u64 = 2;
const _: () = assert!(HTTP_METRICS < FIRST_TOKEN);

/// Serves a hub until nobody needs it or the process is asked to end.
pub fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    calls::ignore_signals();
    raise_limit();
    let mut server = match arguments.state {
        None => begin(arguments)?,
        Some(number) => arrival::resume(arguments, number)?,
    };
    // The streams that were handed over are taken over first, so that they end as all others do.
    while !server.control.ends || server.arrival.is_waiting() {
        server.turn()?;
    }
    server.shut_down();
    Ok(())
}

/// Begins to serve a hub, and listens for HTTP clients.
fn begin(options: Arguments) -> Result<Server, Box<dyn Error>> {
    let (place, epoll) = (options.place()?, Epoll::new()?);
    let listen = |of_systemd| Listening::begin(&options, of_systemd, &epoll);
    let (instance, listening) = InstanceLock::take(&options, &place, listen)?;
    let is_new_hub = !place.log().exists();
    process_log::keep_lines(&place.log()); // from here on the folder is known to be this user's alone
    let kept = Precedence::kept(&place);
    if !options.is_started {
        kept_settings::note_proxy(&place, options.option("--http"));
    }
    if let Some(before) = instance.begin_service() {
        let has_store = kept.store.as_ref().is_some_and(|store| *store != StoreSettings::Memory);
        let what = if has_store { "its store has the history and the state" } else { "history and state are lost" };
        log_message(&format!("the process before, {before}, was killed or has crashed: {what}"));
    }
    let read = ReadChannels::new(place.name().as_str(), place.socket(), is_new_hub, Instant::now());
    let precedence = Precedence::of(&options, place, options.settings.clone().or(kept));
    let mut server = Server::new(options, own_program()?, instance, epoll, listening, precedence)?;
    server.operator.read = read;
    Ok(server)
}

/// The parts of the wire thread. Each function outside of this file takes those that it may touch.
struct Server {
    options: Arguments,
    epoll: Epoll,
    signals: OwnedFd,
    mailbox: Arc<Mailbox>,
    /// Is readable while there is mail.
    _has_mail: OwnedFd,
    /// The sockets that are ready in a turn.
    ready: Vec<(u64, Readiness)>,
    instance: InstanceLock,
    /// The socket at which peers connect.
    acceptor: Acceptor,
    listening: Listening,
    /// When the process looks next whether its files are in their places.
    file_check: Instant,
    /// The number of descriptors that the process may have, as of this turn.
    descriptor_limit: usize,
    connections: Connections,
    /// The number of HTTP clients that wait for an answer of the hub.
    waiting_clients: usize,
    peers: Peers,
    streams: Streams,
    leases: Leases,
    current: CurrentHub,
    lifetime: Lifetime,
    operator: Operator,
    control: ControlRequests,
    /// The steps that follow an answer of the hub in the reactor, by the numbers of the questions.
    asked: HashMap<u64, Then>,
    arrival: Arrival,
    /// The settings for which the process restarts at the end of this turn.
    wanted: Option<Wanted>,
}

type Then = Box<dyn FnOnce(&mut Server, Result<Answer, Failure>, Instant)>;

impl Server {
    fn new(
        options: Arguments,
        program: PathBuf,
        instance: InstanceLock,
        epoll: Epoll,
        listening: Listening,
        precedence: Precedence,
    ) -> Result<Self, Box<dyn Error>> {
        let (signals, now) = (calls::signals()?, Instant::now());
        epoll.add(signals.as_fd(), SIGNALS)?;
        let mailbox = runtime::mailbox()?;
        let has_mail = mailbox.open()?;
        epoll.add(has_mail.as_fd(), MAIL)?;
        let acceptor = Acceptor::new(instance.listener.try_clone()?.into(), &epoll, LISTENER)?;
        runtime::linger(LINGER);
        if options.logs_objects {
            write_objects(options.name.as_str());
        }
        let settings = precedence.wanted(NamedSettings::default(), None).all;
        Ok(Self {
            epoll,
            signals,
            mailbox,
            _has_mail: has_mail,
            ready: Vec::new(),
            instance,
            acceptor,
            listening,
            file_check: now + FILE_CHECK,
            descriptor_limit: calls::limit(),
            connections: Connections::new(),
            waiting_clients: 0,
            peers: Peers::new(FIRST_TOKEN),
            streams: Streams::default(),
            leases: Leases::default(),
            current: CurrentHub::new(precedence),
            lifetime: Lifetime::new(settings.idle_exit, settings.grace, now),
            operator: Operator::new(now),
            control: ControlRequests::new(program),
            asked: HashMap::new(),
            arrival: Arrival::default(),
            wanted: None,
            options,
        })
    }

    /// Waits for readiness and timers, and does what is due.
    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        let timeout = self.next_due(Instant::now());
        let mut ready = std::mem::take(&mut self.ready);
        self.epoll.wait(timeout, |number, readiness| ready.push((number, readiness)))?;
        let now = Instant::now();
        self.descriptor_limit = calls::limit();
        for (number, readiness) in ready.drain(..) {
            match number {
                LISTENER => self.accept(now),
                SIGNALS => self.take_signals(),
                MAIL => {
                    self.take_mail(now);
                }
                HTTP_STREAMS => http::accept(self, Service::Streams, now),
                HTTP_METRICS => http::accept(self, Service::Metrics, now),
                client if client >= FIRST_NUMBER => http::serve(self, client, readiness, now),
                peer => self.serve(peer, readiness, now),
            }
        }
        self.ready = ready;
        self.run_timers(now)?;
        self.ask_for_store(now);
        self.send_log();
        self.flush_responses(now);
        // A store that has just begun, or lost its connection, is soon up.
        let is_up = self.current.stored().is_none_or(|stored| stored.has_begun() && stored.is_up());
        let may_begin = is_up && !self.arrival.is_waiting();
        if let Some(upgrading) = self.control.take_upgrade(|asked| may_begin || now >= asked + BEGIN_WITHIN) {
            self.upgrade(&upgrading);
        }
        let may_restart = !self.control.ends && !self.arrival.is_waiting() && self.control.upgrade_asked().is_none();
        if let Some(wanted) = self.wanted.take_if(|_| may_restart) {
            self.restart(&wanted);
        }
        if self.current.handle().is_some_and(|hub| hub.is_dead()) {
            log_message("the process ends: the thread of its streams has ended, which is a defect of eventsource-hub");
            self.control.ends = true;
        }
        Ok(())
    }

    /// Returns how long until something is due.
    fn next_due(&mut self, now: Instant) -> Option<Duration> {
        let hub = self.current.hub.as_ref().and_then(ServedHub::next_due);
        let due = [
            self.peers.sweep,
            self.acceptor.paused_until,
            Some(self.file_check),
            hub,
            self.streams.ahead.next_due(now),
            self.operator.watch.due,
            self.listening.next_due(),
            self.connections.next_due(),
            self.arrival.next_due(),
            self.control.upgrade_asked().map(|asked| asked + BEGIN_WITHIN),
        ];
        let until = due.into_iter().flatten().map(|at| at.saturating_duration_since(now));
        until.chain(self.lifetime.next_due(now)).min()
    }

    fn take_signals(&mut self) {
        while let Some(asked) = calls::next_signal(self.signals.as_fd()) {
            match asked {
                Asked::End => self.control.ends = true,
                Asked::Upgrade => drop(self.control.upgrade(None, None)), // if it ends or continues already, it need not
            }
        }
    }

    fn run_timers(&mut self, now: Instant) -> Result<(), Box<dyn Error>> {
        self.run_arrival(now);
        greeting::greet_waiting(self, now);
        self.reject_impatient(now);
        for (token, end) in self.peers.overdue(now) {
            self.end_peer(token, end);
        }
        self.acceptor.run_timers(&self.epoll, now)?;
        self.listening.run_timers(&self.epoll, now)?;
        self.check_files(now);
        self.connections.run_timers(now, http::too_late);
        if let Some(hub) = self.current.hub.as_mut() {
            hub.run_timers(now);
        }
        let Self { current, streams, operator, .. } = self;
        operator.log_changes(|| current.stored().map(|stored| stored.status()), now);
        let store = || current.stored().map_or((u64::MAX, true), |stored| (stored.given_through(), stored.is_up()));
        let lost = streams.ahead.end_waits(store, now, |id| runtime::stop_waiting(id.into()));
        if let (Some(seq), Some(stored)) = (lost, current.stored()) {
            stored.report_missing(seq);
        }
        self.update_lifetime(now);
        Ok(())
    }

    /// Looks whether the lock, the socket of peers and that of `--http` are in their places.
    fn check_files(&mut self, now: Instant) {
        if now < self.file_check {
            return;
        }
        self.file_check = now + FILE_CHECK;
        if !self.instance.keep(now) {
            self.control.ends = true;
        } else if let Some(made) = self.instance.restore_socket() {
            let path = self.instance.socket().display();
            self.acceptor.restore(&self.epoll, &path, made, "no worker or command can connect");
        }
        if let Some(endpoint) = &self.options.http {
            self.listening.restore_file(endpoint, &self.epoll);
        }
    }

    /// Returns how many workers keep the streams. The workers that were handed over count as one until they are taken over: a
    /// worker that connects meanwhile is not the first.
    fn workers(&self) -> usize {
        self.peers.workers() + usize::from(self.arrival.is_waiting())
    }

    fn update_lifetime(&mut self, now: Instant) {
        // An event that waits for the store is worth as much as a worker.
        let waits = self.current.stored().is_some_and(|stored| stored.has_waiting());
        let workers = self.workers() + usize::from(waits);
        match self.lifetime.update(workers, self.streams.count(), self.peers.take_use(), now) {
            Some(DueAction::EndStreams) => self.streams.end_all_with_retry(),
            // A command that is connected may be about to publish.
            Some(DueAction::Exit) if self.peers.count() > 0 => self.lifetime.postpone_exit(now),
            Some(DueAction::Exit) => self.control.ends = true,
            None => {}
        }
    }

    /// Sends the lines of the log to the worker that writes them, once there is one.
    fn send_log(&mut self) {
        let holder = process_log::has_unsent().then(|| self.leases.holder(LOG_LEASE)).flatten();
        if let Some(holder) = holder {
            self.peers.answer_with(holder, send_lines);
        }
    }

    fn accept(&mut self, now: Instant) {
        while let Some(socket) = self.acceptor.accept(&self.epoll, now) {
            self.keep_descriptors();
            match self.obstacle(&socket) {
                // It fails only without memory. The peer tries again.
                None => drop(self.peers.add(socket, &self.epoll, now)),
                Some(failure) => {
                    // Neither matters: the response is short, and the peer has perhaps left.
                    let mut bytes = Vec::new();
                    let _ = Response::Rejected(failure).encode(&mut bytes);
                    let _ = calls::send(socket.as_fd(), &bytes, None, Wait::Never);
                }
            }
        }
    }

    /// Returns why a connection is not served.
    fn obstacle(&self, socket: &OwnedFd) -> Option<Failure> {
        let failure = |message: &str| Some(Failure::unavailable(message));
        if calls::peer_user(socket.as_fd()).map_or(true, |user| user != calls::own_user()) {
            return failure(&format!("this is the hub process {} of another user", self.options.name));
        }
        if self.peers.count() >= MAX_PEERS || !self.descriptors().has_room() {
            return failure("the hub process has as many connections as it may have: raise its limit of descriptors");
        }
        None
    }

    /// Returns what has descriptors.
    fn descriptors(&self) -> Descriptors {
        let has_store = self.current.hub.as_ref().is_some_and(|hub| hub.settings.store != StoreSettings::Memory);
        let clients = self.connections.len() + self.waiting_clients;
        let (peers, streams) = (self.peers.len(), self.streams.count());
        Descriptors { most: self.descriptor_limit, peers, clients, streams, has_store }
    }

    /// Closes connections of HTTP clients that take descriptors from workers.
    fn keep_descriptors(&mut self) {
        let most = self.descriptors().for_clients();
        self.connections.keep_at_most(most);
    }

    /// Serves a peer whose connection is ready.
    fn serve(&mut self, token: u64, readiness: Readiness, now: Instant) {
        let Some(peer) = self.peers.get_mut(token) else { return };
        if readiness.hung_up && !peer.is_readable() {
            peer.stop_answering();
        }
        let served = match peer.is_readable() && (readiness.readable || readiness.hung_up) {
            true => self.peers.read(token).and_then(|inbox| self.carry_out_all(token, inbox, now)),
            false => Ok(()),
        };
        self.end_turn(token, served, now);
        for calls in self.peers.kept_calls(token) {
            let inbox = self.peers.take_inbox(calls);
            let served = self.carry_out_all(calls, inbox, now);
            self.end_turn(calls, served, now);
        }
    }

    /// Sends a peer its responses: also the reason, if its connection ends.
    fn end_turn(&mut self, token: u64, served: Result<(), End>, now: Instant) {
        let flushed = self.peers.flush(token, &self.epoll, now);
        if let Err(end) = served.and(flushed) {
            self.end_peer(token, end);
        }
    }

    /// Ends a connection, and says why.
    fn reject(&mut self, token: u64, failure: Failure, now: Instant) {
        self.peers.answer(token, &Response::Rejected(failure));
        self.end_turn(token, Err(End::Rejected), now);
    }

    /// Carries out what has arrived completely, up to a call that is kept.
    fn carry_out_all(&mut self, token: u64, mut inbox: FrameBuffer, now: Instant) -> Result<(), End> {
        let carried_out = loop {
            if self.peers.keep_call(token, inbox.bytes()) {
                break Ok(());
            }
            match inbox.next_frame() {
                Ok(None) => break Ok(()),
                Ok(Some(frame)) => match self.carry_out(token, frame, now) {
                    Ok(()) => {}
                    Err(end) => break Err(end),
                },
                Err(_) => break Err(End::Malformed),
            }
        };
        let returned = self.peers.return_inbox(token, inbox);
        carried_out.and(returned)
    }

    fn carry_out(&mut self, token: u64, frame: Frame<'_>, now: Instant) -> Result<(), End> {
        let peer = self.peers.get_mut(token).ok_or(End::Closed)?;
        if peer.is_greeted {
            return requests::carry_out(self, token, frame, now);
        }
        if peer.greeting.is_some() {
            return Err(End::Malformed); // it has greeted, and nothing may follow before the welcome
        }
        peer.check_greeting(frame.wire_bytes())?;
        greeting::carry_out(self, token, frame, now)
    }

    /// Leaves a peer's streams to themselves, gives its leases to others, and closes its connections.
    fn end_peer(&mut self, token: u64, end: End) {
        for calls in self.peers.kept_calls(token) {
            let failure = Failure::unavailable("the connection of the worker has ended before the call");
            self.reject(calls, failure, Instant::now());
        }
        let calls: Vec<u64> = self.peers.calls_of(token).collect();
        calls.into_iter().for_each(|calls| self.end_peer(calls, End::Closed));
        let Self { peers, streams, leases, operator, .. } = self;
        let Some(peer) = peers.remove(token) else { return };
        operator.count_end(end);
        let mut held: Vec<u64> = peer.streams.into_values().collect();
        held.sort_unstable(); // in the order in which they have begun
        held.into_iter().for_each(|id| streams.release(id));
        requests::announce_holders(peers, leases.resign_all(token));
        if self.workers() == 0 {
            self.current.release_claims();
        }
    }

    /// Asks the hub in the reactor. The function is called with the answer, in a later turn; at once if the hub has not begun.
    fn ask(
        &mut self,
        question: Question,
        now: Instant,
        then: impl FnOnce(&mut Self, Result<Answer, Failure>, Instant) + 'static,
    ) {
        let hub = self.current.handle().ok_or_else(not_begun);
        match hub.map(|hub| hub.ask_later(question)) {
            Ok(number) => drop(self.asked.insert(number, Box::new(then))),
            Err(failure) => then(self, Err(failure), now),
        }
    }

    /// Asks what the store's part of the hub has to know.
    fn ask_for_store(&mut self, now: Instant) {
        let Some(stored) = self.current.stored() else { return };
        for question in stored.take_questions() {
            let Some(asked) = self.current.handle().cloned() else { return };
            self.ask(question, now, move |server, answer, _| {
                let stored = server
                    .current
                    .stored()
                    .filter(|stored| stored.handle().is_some_and(|hub| Arc::ptr_eq(hub, &asked)));
                if let Some((stored, answer)) = stored.zip(answer.ok()) {
                    stored.take_answer(answer);
                }
            });
        }
    }

    /// Takes what the reactor and the store have reported. Returns true if members or wills have changed, of which events are
    /// made.
    fn take_mail(&mut self, now: Instant) -> bool {
        let mut has_changed = false;
        for mail in self.mailbox.take() {
            has_changed |= matches!(mail, Mail::Presence(_));
            match mail {
                Mail::Answered(number, answer) => {
                    let answer = answer.ok_or_else(runtime::no_answer);
                    if let Some(then) = self.asked.remove(&number) {
                        then(self, answer, now);
                    }
                }
                Mail::Presence(report) => self.current.apply_presence(report, now),
                Mail::Ended(id, reason) => self.report_end(id, reason),
                Mail::Progress(id) => self.report_progress(id),
                Mail::Elsewhere => self.take_store_reports(now),
            }
        }
        has_changed
    }

    /// Waits until the reactor has answered everything, and takes that: something ends.
    fn wait_for_reactor(&mut self, now: Instant) {
        let _ = self.current.handle().map(|hub| hub.ask(Question::reports())); // fails only if the reactor has died
        self.take_mail(now);
    }

    /// Tells an opener that its stream has ended.
    fn report_end(&mut self, id: StreamId, reason: Reason) {
        if let Some(Opener { peer, number }) = self.streams.remove(id) {
            self.peers.answer_with(peer, |peer| {
                peer.streams.remove(&number);
                peer.answer(&Response::Ended { stream: number, reason });
            });
        }
    }

    /// Tells an opener what the client of its stream has taken.
    fn report_progress(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id.into()) else { return };
        let Opener { peer, number } = stream.opener;
        self.peers.answer_with(peer, |peer| peer.answer(&stream.state(number)));
    }

    fn flush_responses(&mut self, now: Instant) {
        // The end of a worker may give another one a lease.
        loop {
            let ended = self.peers.flush_answered(&self.epoll, now);
            if ended.is_empty() {
                break;
            }
            ended.into_iter().for_each(|(token, end)| self.end_peer(token, end));
        }
    }

    /// Ends the streams, tells their openers, and gives the socket up. The lock is free when the process has ended.
    fn shut_down(mut self) {
        if self.instance.end_service() && self.control.forgets {
            self.current.precedence.forget();
        }
        self.listening.close(self.options.http.as_ref());
        self.wait_for_reactor(Instant::now());
        self.close_store();
        runtime::shutdown();
        self.take_mail(Instant::now());
        self.send_log();
        self.flush_responses(Instant::now());
    }
}
