//! The loop that serves workers. `upgrade` continues as another program.

mod upgrade;

pub use upgrade::SavedServer;

use crate::arguments::Arguments;
use crate::hub::{check_claims, must_begin_anew, Hub, Source};
use crate::inherited::{take_kept, Seat};
use crate::leases::{Candidate, Leases};
use crate::lifetime::{Due, Lifetime};
use crate::messages::{self, report, say, write_objects};
use crate::metrics_listener;
use crate::peer::{End, Keeps, Peer};
use crate::protocol;
use crate::publishing::{failure_of, Asker, Published};
use crate::run_options::RunOptions;
use crate::store::check_built;
use crate::stored_hub::{Progress, StoredHub};
use crate::streams::{Opener, Stream, Streams};
use crate::streams_ahead::StreamAhead;
use crate::watch::Watch;
use eventsource_xs::histogram::{Histogram, Scale, Times};
use eventsource_xs::hub::{EndRequest, HubEntry};
use eventsource_xs::remote::calls::{self, duplicate, own_user, peer_user, Asked, Epoll, Readiness, Wait};
use eventsource_xs::remote::{kept_settings, start};
use eventsource_xs::runtime::{self, HubHandle};
use eventsource_xs::stream::Reason;
use eventsource_xs::wire::{
    Answer, Counted, Described, Failure, Frame, Hello, HubSettings, NamedSettings, Open, Publish, Request, Role, Stop,
    Upgrade, Welcome, WorkerId, LOG_LEASE, WINDOW_BYTES,
};
use eventsource_xs::ErrorCode;
use rustix::net::{accept_with, SocketFlags};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use upgrade::{own_program, Upgrading};

const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
const ENDS: u64 = 2;
const PROGRESS: u64 = 3;
const STORE: u64 = 4;
const MEMBERS: u64 = 5;
const LOG: u64 = 6;
const FIRST_WORKER: u64 = 16;

/// The most connections of workers and commands. Workers may have half as many publish connections beside them.
const MAX_PEERS: usize = 4096;
/// How often a publish connection is read before the first one of its worker: more than its socket can hold.
const MOST_PUBLISHER_READS: usize = 256;
/// How many descriptors this process needs beside those of streams and workers: its own, those of streams that end, and those
/// that workers hand over.
const OWN_DESCRIPTORS: usize = 20;
/// How many descriptors a store needs.
const STORE_DESCRIPTORS: usize = 12;
/// How long no connection is accepted when this process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often workers are looked at that may have had their time.
const SWEEP: Duration = Duration::from_secs(1);
/// How often the process looks whether its lock is in its place.
const LOCK_CHECK: Duration = Duration::from_secs(30);
/// How long the end of the process waits until what is buffered for clients is sent.
const LINGER: Duration = Duration::from_secs(2);
/// How often it is looked whether the store is up.
const AHEAD_CHECK: Duration = Duration::from_millis(250);
/// How long an upgrade or the end of the process waits for the store.
const STORE_LINGER: Duration = Duration::from_secs(5);

/// Serves a hub until nobody needs it or the process is asked to end.
pub fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    raise_descriptor_limit();
    let (mut server, monitors) = match arguments.state {
        Some(number) => {
            messages::keep(&arguments.place()?.log());
            let server = Server::restore(&take_kept(number)?.into())?;
            // The listener has ended with the program before. Streams do not end because monitors cannot be answered.
            let monitors = server.options.metrics().map(metrics_listener::listen).transpose();
            (
                server,
                monitors.unwrap_or_else(|error| {
                    say(&error.to_string());
                    None
                }),
            )
        }
        None => {
            let options = arguments.run_options()?;
            let monitors = options.metrics().map(metrics_listener::listen).transpose()?;
            let seat = Seat::take(arguments, &options.place)?;
            messages::keep(&options.place.log()); // from here on the folder is known to be this user's alone
            let known = known_settings(&options);
            (Server::new(options, own_program()?, seat, known)?, monitors)
        }
    };
    if let Some(listener) = monitors {
        metrics_listener::serve(listener, server.options.place.clone(), server.options.metrics_hosts());
    }
    while !server.is_ending {
        server.turn()?;
    }
    server.shut_down();
    Ok(())
}

/// Returns the settings with which a process begins: those of its command line, and those that are kept.
fn known_settings(options: &RunOptions) -> NamedSettings {
    let kept = kept_settings::read(&options.place).unwrap_or_else(|message| {
        say(&message);
        None
    });
    options.settings().or(kept.unwrap_or_default())
}

/// Allows this process all descriptors that it may have: it holds the streams of all workers.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// How many connections keep what they use from ending.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    workers: usize,
    commands: usize,
}

impl Kept {
    fn number(&mut self, keeps: Keeps) -> Option<&mut usize> {
        match keeps {
            Keeps::Nothing => None,
            Keeps::Process => Some(&mut self.commands),
            Keeps::Streams => Some(&mut self.workers),
        }
    }

    /// Counts a connection that has greeted or published.
    fn keep(&mut self, peer: &mut Peer, keeps: Keeps) {
        peer.keeps = keeps;
        self.add(peer);
    }

    fn add(&mut self, peer: &Peer) {
        self.number(peer.keeps).into_iter().for_each(|number| *number += 1);
    }

    fn leave(&mut self, peer: &Peer) {
        self.number(peer.keeps).into_iter().for_each(|number| *number -= 1);
    }
}

struct Server {
    options: RunOptions,
    /// The settings that were named for this hub, here or in earlier processes. They are kept for the next one.
    known: NamedSettings,
    /// The path that this program has been started from, whichever file is there now.
    program: PathBuf,
    epoll: Epoll,
    seat: Seat,
    signals: OwnedFd,
    /// Descriptors that are readable while the reactor has ends, progress and announcements of members to report.
    _reports: [OwnedFd; 3],
    hub: Option<Hub>,
    /// The hub in whose place that one is, until its store has begun. It has events that are nowhere else.
    predecessor: Option<Hub>,
    /// The workers that have greeted and wait for the hub's store.
    greeting: Vec<u64>,
    /// Why the store has not begun, if it still tries to.
    cannot_begin: Option<Failure>,
    /// Streams whose clients are ahead of the hub, by their ids in the library.
    ahead: HashMap<u64, StreamAhead>,
    peers: HashMap<u64, Peer>,
    /// The publish connections of workers, by their workers.
    publishers: HashMap<u64, u64>,
    next_token: u64,
    streams: Streams,
    leases: Leases,
    lifetime: Lifetime,
    ready: Vec<(u64, Readiness)>,
    /// The workers that have answers to be sent.
    answered: Vec<u64>,
    /// When the process has begun.
    started: Instant,
    /// When workers are looked at that may have had their time.
    sweep: Option<Instant>,
    /// When the process looks next whether its lock is in its place.
    lock_check: Instant,
    /// Since when no connection is accepted.
    accept_pause: Option<Instant>,
    cut_off: u64,
    /// How long publishes have waited for the store.
    store_wait: Histogram,
    /// What the log was told.
    watch: Watch,
    /// Whether it has one that streams have no member.
    has_said_of_members: bool,
    kept: Kept,
    /// Whether something was published since the timers ran: a command may come and go in one turn.
    was_used: bool,
    is_ending: bool,
    /// Whether a command has ended the hub: its settings are forgotten.
    is_stopped: bool,
    upgrading: Option<Upgrading>,
}

impl Server {
    fn new(options: RunOptions, program: PathBuf, seat: Seat, known: NamedSettings) -> Result<Self, Box<dyn Error>> {
        let signals = calls::signals()?;
        let epoll = Epoll::new()?;
        seat.listener.set_nonblocking(true)?;
        epoll.add(seat.listener.as_fd(), LISTENER)?;
        epoll.add(signals.as_fd(), SIGNALS)?;
        let reports = [
            duplicate(runtime::notify_descriptor(0)?)?,
            runtime::progress_descriptor()?,
            runtime::announced_descriptor()?,
        ];
        epoll.add(reports[0].as_fd(), ENDS)?;
        epoll.add(reports[1].as_fd(), PROGRESS)?;
        epoll.add(reports[2].as_fd(), MEMBERS)?;
        messages::unsent_descriptor().map_or(Ok(()), |unsent| epoll.add(unsent, LOG))?;
        runtime::linger(LINGER);
        if options.logs_objects {
            write_objects(options.place.name().as_str());
        }
        let settings = known.clone().over(HubSettings::default());
        let server = Self {
            options,
            known,
            program,
            epoll,
            seat,
            signals,
            _reports: reports,
            hub: None,
            predecessor: None,
            greeting: Vec::new(),
            cannot_begin: None,
            ahead: HashMap::new(),
            peers: HashMap::new(),
            publishers: HashMap::new(),
            next_token: FIRST_WORKER,
            streams: Streams::default(),
            leases: Leases::default(),
            lifetime: Lifetime::new(settings.idle_exit, settings.grace, Instant::now()),
            ready: Vec::new(),
            answered: Vec::new(),
            started: Instant::now(),
            sweep: None,
            lock_check: Instant::now() + LOCK_CHECK,
            accept_pause: None,
            cut_off: 0,
            store_wait: Histogram::default(),
            watch: Watch::new(&runtime::stats()),
            has_said_of_members: false,
            kept: Kept::default(),
            was_used: false,
            is_ending: false,
            is_stopped: false,
            upgrading: None,
        };
        server.keep_settings();
        Ok(server)
    }

    /// Keeps the settings for the next process.
    fn keep_settings(&self) {
        if let Err(error) = kept_settings::write(&self.options.place, &self.known) {
            say(&format!(
                "the settings of the hub cannot be kept in {}: {error}",
                self.options.place.settings().display()
            ));
        }
    }

    /// Waits for readiness and timers, and does what is due.
    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        let now = Instant::now();
        let until = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(now));
        let pause = until(self.accept_pause.map(|since| since + ACCEPT_PAUSE));
        let ahead = (!self.ahead.is_empty()).then(|| now + AHEAD_CHECK);
        let store = until(self.stored().and_then(|stored| stored.next_due()).into_iter().chain(ahead).min());
        let watch = until(self.watch.next_due());
        let timeout =
            [self.lifetime.next_due(now), until(self.sweep), pause, until(Some(self.lock_check)), store, watch]
                .into_iter()
                .flatten()
                .min();
        let mut ready = std::mem::take(&mut self.ready);
        self.epoll.wait(timeout, |token, readiness| ready.push((token, readiness)))?;
        let now = Instant::now();
        for (token, readiness) in ready.drain(..) {
            match token {
                LISTENER => self.accept(now),
                SIGNALS => self.take_signals(),
                ENDS => self.report_ends(),
                PROGRESS => self.report_progress(),
                MEMBERS => self.take_announced(),
                STORE => self.take_store_reports(now),
                LOG => messages::silence_bell(), // lines are sent in each turn
                _ => self.serve(token, readiness, now),
            }
        }
        self.ready = ready;
        self.run_timers(now)?;
        self.send_log();
        self.flush_answers(now);
        if let Some(upgrading) = self.upgrading.take().filter(|_| !self.is_ending) {
            self.upgrade(&upgrading);
        }
        Ok(())
    }

    fn take_signals(&mut self) {
        while let Some(asked) = calls::next_signal(self.signals.as_fd()) {
            match asked {
                Asked::End => self.is_ending = true,
                Asked::Upgrade => self.upgrade_to_installed(),
            }
        }
    }

    fn run_timers(&mut self, now: Instant) -> Result<(), Box<dyn Error>> {
        if self.accept_pause.is_some_and(|since| now >= since + ACCEPT_PAUSE) {
            self.accept_pause = None;
            self.epoll.add(self.seat.listener.as_fd(), LISTENER)?;
        }
        if self.sweep.is_some_and(|at| now >= at) {
            self.sweep_peers(now);
        }
        if now >= self.lock_check {
            self.lock_check = now + LOCK_CHECK;
            if !self.seat.hold() {
                say("the file of its lock was removed, so that another process may serve the hub");
                (self.seat.removes_socket, self.is_ending) = (false, true);
            }
        }
        if self.stored().is_some_and(|stored| stored.run_timers(now)) {
            self.watch_store()?;
        }
        self.tell_operator(now);
        self.let_go_on(now);
        // A worker that waits for the store may be about to use the process.
        let is_used = std::mem::take(&mut self.was_used) || !self.greeting.is_empty() || self.kept.commands > 0;
        // An event that waits for the store is worth as much as a worker.
        let waits = self.stored().is_some_and(|stored| stored.has_waiting());
        let workers = self.kept.workers + usize::from(waits);
        match self.lifetime.update(workers, self.streams.len(), is_used, now) {
            Some(Due::EndStreams) => self.streams.end_all_with_retry(),
            // A command that is connected may be about to publish.
            Some(Due::Exit) if self.peer_count() > 0 => self.lifetime.put_exit_off(now),
            Some(Due::Exit) => self.is_ending = true,
            None => {}
        }
        Ok(())
    }

    /// Writes what an operator must know into the log.
    fn tell_operator(&mut self, now: Instant) {
        if !self.watch.is_due(now) {
            return;
        }
        let store = self.stored().map(|stored| stored.status());
        for line in self.watch.look(&runtime::stats(), store.as_ref(), now) {
            report(line.event, line.message, &line.fields);
        }
    }

    /// Sends the lines of the log to the worker that writes them, once there is one.
    fn send_log(&mut self) {
        let holder = messages::has_unsent().then(|| self.leases.holder(LOG_LEASE)).flatten();
        if let Some(peer) = holder.and_then(|holder| self.peers.get_mut(&holder)) {
            for line in messages::take_unsent() {
                peer.answer(&Answer::Log { line: &line });
            }
            self.answered.push(peer.token());
        }
    }

    fn stored(&mut self) -> Option<&mut StoredHub> {
        self.hub.as_mut().and_then(Hub::stored_mut)
    }

    /// Returns the hub; nothing while it does not exist, or its store has not begun.
    fn handle(&self) -> Option<&HubHandle> {
        self.hub.as_ref().and_then(Hub::handle)
    }

    /// Waits for the reports of the hub's store from here on.
    fn watch_store(&mut self) -> io::Result<()> {
        let stored = self.hub.as_mut().and_then(Hub::stored_mut);
        stored.map_or(Ok(()), |stored| self.epoll.add(stored.descriptor(), STORE))
    }

    /// Drops the hub, with its store.
    fn drop_hub(&mut self) {
        self.unwatch_store();
        (self.hub, self.cannot_begin) = (None, None);
    }

    fn unwatch_store(&mut self) {
        if let Some(stored) = self.hub.as_mut().and_then(Hub::stored_mut) {
            self.epoll.remove(stored.descriptor());
        }
    }

    fn take_store_reports(&mut self, now: Instant) {
        let Some(stored) = self.stored() else { return };
        let progress = stored.take_reports(now);
        self.answer_progress(progress, now);
    }

    /// Ends the wait of streams whose time is over: their clients are sent a `gap` event.
    fn let_go_on(&mut self, now: Instant) {
        if self.ahead.is_empty() {
            return;
        }
        let (last_seq, is_up) = self.stored().map_or((u64::MAX, true), |stored| (stored.last_seq(), stored.is_up()));
        let mut lost = None;
        self.ahead.retain(|_, ahead| {
            if ahead.seq <= last_seq {
                return false; // the reactor knows
            }
            let is_over = ahead.is_over(is_up, now);
            if is_over && ahead.proves_loss() {
                lost = lost.max(Some(ahead.seq)); // the client is told by the hub of the next epoch
            } else if is_over {
                runtime::stop_waiting(ahead.stream.into());
            }
            !is_over
        });
        if let (Some(seq), Some(stored)) = (lost, self.stored()) {
            stored.lacks(seq);
        }
    }

    /// Tells workers what has become of their events, and of the hub that they wait for.
    fn answer_progress(&mut self, progress: Progress, now: Instant) {
        for (peer, bytes) in progress.queued {
            let Some(peer) = self.peers.get_mut(&peer) else { continue };
            grant(peer, bytes);
            self.answered.push(peer.token());
        }
        for told in progress.told {
            let Asker { peer, request, bytes, since } = told.asker;
            if let (Some(since), None) = (since, told.ended) {
                self.store_wait.record(&Scale::DELAYS, now.duration_since(since));
            }
            let Some(peer) = self.peers.get_mut(&peer) else { continue };
            match (told.result, told.ended) {
                (Ok(_), Some(count)) => peer.answer(&Answer::StreamsEnded { request, count: count as u64 }),
                (Ok(id), None) if request > 0 => peer.answer(&Answer::Published { request, id: &id }),
                (Ok(_), None) => {}
                (Err(failure), _) => refuse(peer, request, failure),
            }
            grant(peer, bytes);
            self.answered.push(peer.token());
        }
        if let Some(epoch) = progress.epoch {
            self.ahead.clear(); // their streams have ended with the hub of the other epoch
            self.tell_epoch(&epoch);
        }
        match progress.cannot_begin {
            Some((failure, true)) => self.cannot_begin = Some(failure),
            Some((failure, false)) => {
                self.reject_greeting(&failure, now, |_| true);
                if self.stored().is_some_and(|stored| !stored.is_ready()) {
                    self.drop_hub(); // the next worker tries again
                    self.hub = self.predecessor.take();
                }
            }
            None => {}
        }
        if progress.is_ready && self.succeed(now) {
            self.cannot_begin = None;
            for token in std::mem::take(&mut self.greeting) {
                let welcome = self.welcome(token);
                let Some(peer) = self.peers.get_mut(&token) else { continue };
                peer.answer(&welcome.unwrap_or_else(Answer::Rejected));
                self.answered.push(token);
            }
        }
    }

    /// Tells workers that wait for their welcome why they are not served.
    fn reject_greeting(&mut self, failure: &Failure, now: Instant, is_meant: impl Fn(&Peer) -> bool) {
        for token in std::mem::take(&mut self.greeting) {
            match self.peers.remove(&token) {
                Some(mut peer) if is_meant(&peer) => {
                    peer.answer(&Answer::Rejected(failure.clone()));
                    let _ = peer.flush(&self.epoll, now); // it has left
                    self.end_peer(peer, End::Rejected);
                }
                Some(peer) => {
                    self.peers.insert(token, peer);
                    self.greeting.push(token);
                }
                None => {}
            }
        }
    }

    fn sweep_peers(&mut self, now: Instant) {
        if let Some(failure) = self.cannot_begin.clone() {
            self.reject_greeting(&failure, now, |peer| peer.has_waited(now));
        }
        let overdue: Vec<(u64, End)> =
            self.peers.iter().filter_map(|(token, peer)| Some((*token, peer.overdue(now)?))).collect();
        for (token, end) in overdue {
            if let Some(peer) = self.peers.remove(&token) {
                self.end_peer(peer, end);
            }
        }
        let is_needed = !self.greeting.is_empty() || self.peers.values().any(Peer::may_be_overdue);
        self.sweep = is_needed.then(|| now + SWEEP);
    }

    fn accept(&mut self, now: Instant) {
        loop {
            match accept_with(&self.seat.listener, SocketFlags::CLOEXEC) {
                Ok(socket) => self.add_peer(socket, now),
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
                Err(_) => {
                    self.epoll.remove(self.seat.listener.as_fd());
                    self.accept_pause = Some(now);
                    return;
                }
            }
        }
    }

    /// Adds a connection of this user. Others are told why not, and closed.
    fn add_peer(&mut self, socket: OwnedFd, now: Instant) {
        let token = self.next_token;
        let is_added = match self.obstacle(&socket) {
            None => self.epoll.add(socket.as_fd(), token).is_ok(),
            Some(failure) => {
                let mut bytes = Vec::new();
                let _ = Answer::Rejected(failure).encode(&mut bytes); // it is short
                let _ = calls::send(socket.as_fd(), &bytes, None, Wait::Never); // it has left
                false
            }
        };
        if is_added {
            self.next_token += 1;
            self.peers.insert(token, Peer::new(socket, token, now));
            self.sweep.get_or_insert(now + SWEEP);
        }
    }

    fn own_descriptors(&self) -> usize {
        let has_store = self.hub.as_ref().is_some_and(|served| !matches!(served.source, Source::Own(_)));
        OWN_DESCRIPTORS + if has_store { STORE_DESCRIPTORS } else { 0 }
    }

    /// Returns why a connection is not served.
    fn obstacle(&self, socket: &OwnedFd) -> Option<Failure> {
        if !peer_user(socket.as_fd()).is_ok_and(|user| user == own_user()) {
            let message = format!("this is the hub process {} of another user", self.options.place.name());
            return Some(Failure::new(ErrorCode::Unavailable, None, &message));
        }
        // Streams leave more descriptors free (`descriptor_reserve`), so their sockets can be taken even to be refused.
        let used = self.peers.len() + self.streams.len() + self.own_descriptors();
        if self.peer_count() >= MAX_PEERS || used >= calls::limit() {
            let message = "the hub process has as many connections as it may have: raise its limit of descriptors";
            return Some(Failure::new(ErrorCode::Unavailable, None, message));
        }
        None
    }

    /// Returns how many workers and commands are connected. Publish connections are those of workers.
    fn peer_count(&self) -> usize {
        self.peers.len().saturating_sub(self.publishers.len())
    }

    /// Serves a worker whose connection is ready.
    fn serve(&mut self, token: u64, readiness: Readiness, now: Instant) {
        self.serve_publisher_of(token, now);
        let Some(mut peer) = self.peers.remove(&token) else { return };
        if readiness.hung_up && !peer.is_readable() {
            peer.stop_answering();
        }
        let served = match peer.is_readable() && (readiness.readable || readiness.hung_up) {
            true => self.read_requests(&mut peer, now).map(|_| ()),
            false => Ok(()),
        };
        self.end_turn(peer, served, now);
    }

    /// Carries out what a worker has sent on its publish connection, before what it has sent on the first one. A worker
    /// publishes there when everything that came before was carried out, so what is left on the first one came later, even if
    /// the worker has not waited for the answer.
    fn serve_publisher_of(&mut self, peer: u64, now: Instant) {
        let Some(mut publisher) = self.publishers.get(&peer).and_then(|token| self.peers.remove(token)) else {
            return;
        };
        let mut served = Ok(());
        for _ in 0..MOST_PUBLISHER_READS {
            match publisher.is_readable().then(|| self.read_requests(&mut publisher, now)) {
                Some(Ok(true)) => {}
                Some(Err(end)) => {
                    served = Err(end);
                    break;
                }
                Some(Ok(false)) | None => break,
            }
        }
        self.end_turn(publisher, served, now);
    }

    /// Sends a worker its answers, and puts it back.
    fn end_turn(&mut self, mut peer: Peer, served: Result<(), End>, now: Instant) {
        match served.and_then(|()| peer.flush(&self.epoll, now)) {
            Ok(()) => self.keep(peer, now),
            Err(end) => {
                let _ = peer.flush(&self.epoll, now); // the reason of a rejection
                self.end_peer(peer, end);
            }
        }
    }

    /// Puts a worker back that was served.
    fn keep(&mut self, peer: Peer, now: Instant) {
        if peer.may_be_overdue() {
            self.sweep.get_or_insert(now + SWEEP);
        }
        self.peers.insert(peer.token(), peer);
    }

    /// Reads once, and carries out what has arrived completely. Returns true if there may be more to read.
    fn read_requests(&mut self, peer: &mut Peer, now: Instant) -> Result<bool, End> {
        let has_read = peer.read()?;
        let mut inbox = std::mem::take(&mut peer.inbox);
        let carried_out = loop {
            match inbox.next_frame() {
                Ok(None) => break Ok(()),
                Ok(Some(frame)) => match self.carry_out(peer, frame, now) {
                    Ok(()) => {}
                    Err(end) => break Err(end),
                },
                Err(_) => break Err(End::Malformed),
            }
        };
        peer.inbox = inbox;
        carried_out?;
        peer.check_greeting(peer.inbox.len())?;
        peer.check_descriptors()?;
        Ok(has_read)
    }

    fn carry_out(&mut self, peer: &mut Peer, frame: Frame<'_>, now: Instant) -> Result<(), End> {
        let bytes = frame.wire_bytes();
        if !peer.is_greeted {
            peer.check_greeting(bytes)?;
            return match (Upgrade::decode(frame), Stop::decode(frame)) {
                (Some(upgrade), _) => self.ask_for_upgrade(peer, upgrade),
                (_, Some(stop)) => self.stop(peer, stop),
                _ => self.greet(peer, frame, now),
            };
        }
        match Request::decode(frame).map_err(|_| End::Malformed)? {
            Request::Publish(publish) => {
                if !peer.credits.spend(bytes) {
                    return Err(End::Flood);
                }
                if self.publish(peer, &publish, bytes, now) {
                    grant(peer, bytes);
                }
                Ok(())
            }
            // A publish connection only publishes.
            _ if peer.publishes_for.is_some() => Err(End::Malformed),
            request => self.request(peer, request, now),
        }
    }

    fn greet(&mut self, peer: &mut Peer, frame: Frame<'_>, now: Instant) -> Result<(), End> {
        let taken = Hello::decode_version(frame, protocol::version()).and_then(|hello| {
            self.check_name(hello.name.as_str())?;
            match hello.role {
                Role::Command => self.take_settings(NamedSettings::default(), now),
                Role::Worker(settings) => {
                    self.take_settings(*settings, now)?;
                    if self.kept.workers == 0 {
                        self.end_drain();
                    }
                    self.kept.keep(peer, Keeps::Streams);
                    Ok(())
                }
                Role::Publisher(of) => self.add_publisher(peer, of, now),
            }
        });
        peer.is_greeted = taken.is_ok();
        if peer.is_greeted && self.hub.is_some() && self.handle().is_none() {
            self.greeting.push(peer.token());
            self.sweep.get_or_insert(now + SWEEP);
            return Ok(());
        }
        let welcome = taken.and_then(|()| self.welcome(peer.token()));
        let is_welcome = welcome.is_ok();
        peer.answer(&welcome.unwrap_or_else(Answer::Rejected));
        is_welcome.then_some(()).ok_or(End::Rejected)
    }

    /// Called when a worker comes where none is: those that were drained have gone.
    fn end_drain(&self) {
        if let Some(hub) = self.handle() {
            let _ = hub.end_drain(); // fails only while the process ends
        }
    }

    /// Ends the process at the end of this turn, and with it the connection of the command that asks.
    fn stop(&mut self, peer: &mut Peer, stop: Stop<'_>) -> Result<(), End> {
        if let Err(failure) = self.check_name(stop.name) {
            peer.answer(&Answer::Rejected(failure));
            return Err(End::Rejected);
        }
        (self.is_ending, self.is_stopped) = (true, true);
        Ok(())
    }

    fn check_name(&self, given: &str) -> Result<(), Failure> {
        let name = self.options.place.name();
        if given != name.as_str() {
            let message = format!("this is the hub process {name}, not {given}");
            return Err(Failure::new(ErrorCode::Invalid, Some("name"), &message));
        }
        Ok(())
    }

    /// Takes the publish connection of a worker, in the place of one that it has perhaps given up. A worker can do without.
    fn add_publisher(&mut self, publisher: &mut Peer, of: WorkerId, now: Instant) -> Result<(), Failure> {
        let refused = |why: &str| Err(Failure::new(ErrorCode::Unavailable, None, why));
        let has_first =
            self.peers.get(&of.number).is_some_and(|first| first.is_greeted && first.publishes_for.is_none());
        if of.process != std::process::id() || !has_first || self.handle().is_none() {
            return refused("the worker is not connected to this process");
        }
        self.serve_publisher_of(of.number, now);
        if let Some(earlier) = self.publishers.get(&of.number).and_then(|token| self.peers.remove(token)) {
            self.end_peer(earlier, End::Closed);
        }
        // The other half is for first connections, which cannot do without.
        let room = calls::limit().saturating_sub(self.own_descriptors() + self.streams.len()).min(MAX_PEERS);
        if self.peers.len() >= room / 2 {
            return refused("half of the connections that this process may have are in use");
        }
        publisher.publishes_for = Some(of.number);
        self.publishers.insert(of.number, publisher.token());
        Ok(())
    }

    /// Takes the settings that a worker names; a command names none. The first call creates the hub.
    fn take_settings(&mut self, given: NamedSettings, now: Instant) -> Result<(), Failure> {
        let given = self.options.settings().or(given);
        let unavailable = |error: io::Error| Failure::new(ErrorCode::Unavailable, None, &error.to_string());
        if let Some(served) = &self.hub {
            check_claims(&served.claimed, &given)?;
        }
        let known = given.clone().or(self.known.clone());
        let of_hub = self.hub.as_ref().map(|served| served.settings.clone());
        let wanted = given.clone().over(of_hub.unwrap_or_else(|| known.clone().over(HubSettings::default())));
        if wanted.hub.gap_event == wanted.hub.position_event {
            let message = "position_event is the name of the hub's event for gaps: choose another";
            return Err(Failure::new(ErrorCode::Refused, Some("position_event"), message));
        }
        check_built(&wanted.store).map_err(|message| Failure::new(ErrorCode::Refused, Some("store"), &message))?;
        match &mut self.hub {
            Some(served) if !must_begin_anew(&served.settings, &wanted) => {
                served.adopt(&wanted);
                served.claimed = given.clone().or(std::mem::take(&mut served.claimed));
            }
            _ => self.begin(wanted.clone(), &given, now).map_err(unavailable)?,
        }
        let (idle_exit, grace) = (&mut self.lifetime.idle_exit, &mut self.lifetime.grace);
        (*idle_exit, *grace) = (given.idle_exit.unwrap_or(*idle_exit), given.grace.unwrap_or(*grace));
        if known != self.known {
            self.known = known;
            self.keep_settings();
        }
        Ok(())
    }

    /// Begins the hub: the first one, or another one in the place of one whose settings nobody has named. Its events are
    /// published to the other one, unless a store has them, and its streams end and come back.
    fn begin(&mut self, settings: HubSettings, given: &NamedSettings, now: Instant) -> io::Result<()> {
        self.finish_store(STORE_LINGER, now);
        self.unwatch_store();
        let before = self.hub.take();
        let claimed = before.as_ref().map(|before| before.claimed.clone()).unwrap_or_default();
        match Hub::new(&self.options, settings, given.clone().or(claimed)) {
            Ok(next) => {
                self.hub = Some(next);
                self.predecessor = before.filter(|before| before.has_own_events()).or(self.predecessor.take());
            }
            Err(error) => {
                self.hub = before;
                if let Some(stored) = self.stored() {
                    stored.restart()?;
                }
                self.watch_store()?;
                return Err(error);
            }
        }
        self.watch_store()?;
        if self.handle().is_some() {
            self.succeed(now);
        }
        Ok(())
    }

    /// Publishes the events of the hub before to the hub in its place, and ends its streams. Tells workers the epoch when the
    /// hub has these events, and returns true then. A stream that subscribes before that would be sent them as new ones.
    fn succeed(&mut self, now: Instant) -> bool {
        if let (Some(before), Some(served)) = (self.predecessor.take(), &mut self.hub) {
            match before.handle().map_or(Ok(Vec::new()), HubHandle::entries) {
                Ok(events) if served.takes_events_of_before(runtime::stats().opened > 0) => {
                    served.take_events(events, now);
                }
                Ok(events) => report_left_out(&events),
                Err(error) => say(&format!("the events of before are lost: {error}")),
            }
        }
        let Some(epoch) = self.handle().map(HubHandle::epoch) else { return false };
        epoch.into_iter().for_each(|epoch| self.tell_epoch(&epoch));
        true
    }

    /// Tells workers the epoch that has begun. Those who still wait for their welcome are told it with that.
    fn tell_epoch(&mut self, epoch: &str) {
        let Self { peers, greeting, answered, .. } = self;
        let is_told =
            |peer: &Peer| peer.is_greeted && peer.publishes_for.is_none() && !greeting.contains(&peer.token());
        for (token, peer) in peers.iter_mut().filter(|(_, peer)| is_told(peer)) {
            peer.answer(&Answer::Epoch { epoch });
            answered.push(*token);
        }
    }

    fn welcome(&self, number: u64) -> Result<Answer<'static>, Failure> {
        let (Some(served), Some(handle)) = (&self.hub, self.handle()) else {
            return Err(not_begun());
        };
        let epoch = handle.epoch().map_err(|error| failure_of(&error))?;
        let settings =
            HubSettings { idle_exit: self.lifetime.idle_exit, grace: self.lifetime.grace, ..served.settings.clone() };
        let name = self.options.place.name().clone();
        let pid = std::process::id();
        Ok(Answer::Welcome(Box::new(Welcome { name, pid, number, epoch, settings, credits: WINDOW_BYTES })))
    }

    fn request(&mut self, peer: &mut Peer, request: Request<'_>, now: Instant) -> Result<(), End> {
        match request {
            Request::Publish(_) => {} // carried out before
            Request::Open(open) => {
                let socket = take_socket(peer)?;
                let opened = socket.ok_or(Reason::Error).map(Some);
                self.open(peer, &open, opened)?;
            }
            Request::OpenWithoutSocket(open) => self.open(peer, &open, Ok(None))?,
            Request::Attach { stream } => {
                let socket = take_socket(peer)?;
                if let Some(stream) = peer.streams.get(&stream).and_then(|id| self.streams.get_mut(*id)) {
                    stream.attach(socket)?;
                }
            }
            Request::Push { stream, event, has_id } => {
                self.with_stream(peer, stream, |stream| stream.push(event, has_id));
            }
            Request::Subscribe { request, stream, subscription } => {
                if let Some(Err(failure)) = self.hub.as_ref().map(|served| served.check(&subscription.presence)) {
                    refuse(peer, request, failure);
                    return Ok(());
                }
                let id = peer.streams.get(&stream).copied();
                let seq = self.stored().and_then(|stored| stored.seq_ahead(subscription.after.as_deref()));
                if let (Some(seq), Some(id)) = (seq, id.filter(|id| self.streams.get_mut(*id).is_some())) {
                    let is_proven = self.stored().is_some_and(|stored| stored.is_proven(subscription.after.as_deref()));
                    let ahead = StreamAhead::new(id, seq, is_proven, now);
                    self.ahead.entry(id).or_insert_with(|| ahead.clone()).also(&ahead);
                }
                if subscription.presence.member.is_some() {
                    self.say_of_refused_members();
                }
                let handle = self.hub.as_ref().and_then(Hub::handle).filter(|handle| !handle.has_ended());
                match (handle, id.and_then(|id| self.streams.get_mut(id))) {
                    (Some(hub), Some(stream)) => {
                        if let Err(error) = hub.subscribe(&mut stream.handle, subscription) {
                            refuse(peer, request, failure_of(&error));
                            return Ok(());
                        }
                    }
                    (None, Some(stream)) => stream.handle.end_with_retry(), // the store begins anew
                    (_, None) => {}
                }
                done(peer, request); // also if the stream has ended; that is reported
            }
            Request::Begin { stream } => self.with_stream(peer, stream, Stream::begin),
            Request::End { stream, reason, discards } => {
                self.with_stream(peer, stream, |stream| stream.end(reason, discards));
            }
            Request::Release { stream } => {
                if let Some(id) = peer.streams.remove(&stream) {
                    self.streams.release(id);
                }
            }
            Request::Count { request, channel } => self.count(peer, request, channel),
            Request::EndStreams { request, end } => self.end_streams(peer, request, end),
            Request::Drain { within } => {
                if let Some(hub) = self.handle() {
                    let _ = hub.drain(within); // fails only while the process ends, which drains, too
                }
            }
            Request::Channels { request, pattern, from } => self.ask_hub(peer, request, |hub| {
                let page = hub.channel_page(Some(pattern).filter(|pattern| !pattern.is_empty()), from)?;
                Ok(Answer::Channels { request, page })
            }),
            Request::Describe { request } => self.describe(peer, request, now),
            Request::Elect { lease, name } => self.elect(peer, lease, name)?,
            Request::Members { request, channel, after } => {
                self.ask_hub(peer, request, |hub| {
                    hub.member_page(channel, after).map(|page| Answer::Members { request, page })
                });
            }
            Request::CountMembers { request, channel } => self.ask_hub(peer, request, |hub| {
                hub.count_members(channel).map(|number| Answer::Number { request, number: number as u64 })
            }),
            Request::Reserve { request, label, most } => self.ask_hub(peer, request, |hub| {
                let is_granted = hub.reserve(label, usize::try_from(most).unwrap_or(usize::MAX))?;
                Ok(Answer::Number { request, number: is_granted.into() })
            }),
            Request::UpdateMember { request, channel, id, data, event } => {
                let checked = self.hub.as_ref().map(|served| served.check_member((channel, id), &data, &event));
                if let Some(Err(failure)) = checked {
                    refuse(peer, request, failure);
                    return Ok(());
                }
                self.ask_hub(peer, request, |hub| {
                    let is_here = hub.update_member(channel, id, data, event)?;
                    Ok(Answer::Number { request, number: is_here.into() })
                });
            }
            Request::Resign { lease } => {
                let next = self.leases.resign(Candidate { peer: peer.token(), lease });
                if next.is_some_and(|next| next.peer == peer.token()) {
                    next.into_iter().for_each(|next| peer.answer(&elected(next, true)));
                } else {
                    self.report_elected(next);
                }
            }
        }
        Ok(())
    }

    /// Says once that a stream has opened without its member. The statistics count them.
    fn say_of_refused_members(&mut self) {
        if !self.has_said_of_members && self.handle().is_some_and(HubHandle::has_refused_members) {
            self.has_said_of_members = true;
            say("a stream has opened without its member: a channel has max_members, the state is full, or the application \
                 retains an event without a key where members are counted");
        }
    }

    /// Calls a function with a stream of a worker, unless it has ended.
    fn with_stream(&mut self, peer: &Peer, number: u64, function: impl FnOnce(&mut Stream)) {
        let id = peer.streams.get(&number);
        if let Some(stream) = id.and_then(|id| self.streams.get_mut(*id)) {
            function(stream);
        }
    }

    /// Publishes an event. Returns false if it waits for the hub's store to take it; until then its bytes are not handled.
    fn publish(&mut self, peer: &mut Peer, publish: &Publish<'_>, bytes: usize, now: Instant) -> bool {
        let asker = Asker { peer: peer.token(), request: publish.request, bytes, since: Some(now) };
        self.was_used = true;
        if peer.keeps == Keeps::Nothing && peer.publishes_for.is_none() {
            self.kept.keep(peer, Keeps::Process);
        }
        let Some(served) = &mut self.hub else { return true };
        match served.publish(publish, asker, now) {
            Ok(Published::Id(id)) if publish.request > 0 => {
                peer.answer(&Answer::Published { request: publish.request, id: &id });
            }
            Ok(Published::Id(_) | Published::Queued) => {}
            Ok(Published::Waits) => return false,
            Err(failure) => refuse(peer, publish.request, failure),
        }
        true
    }

    /// Takes over a stream, with its socket if that has come. The socket is closed if that fails, and the worker is sent
    /// the stream's end.
    fn open(&mut self, peer: &mut Peer, open: &Open<'_>, socket: Result<Option<OwnedFd>, Reason>) -> Result<(), End> {
        if peer.streams.contains_key(&open.stream) {
            return Err(End::Malformed);
        }
        let opener = Opener { peer: peer.token(), number: open.stream };
        let max_streams = self.hub.as_ref().map_or(usize::MAX, |served| served.settings.max_streams);
        // A stream without its socket counts as if it had one.
        let descriptors = calls::limit().saturating_sub(self.own_descriptors() + self.peers.len());
        let opened = socket.and_then(|socket| {
            let most = if socket.is_some() { max_streams } else { max_streams.min(descriptors) };
            Stream::open(open, socket, opener, most)
        });
        match opened {
            Ok(stream) => drop(peer.streams.insert(open.stream, self.streams.insert(stream))),
            Err(reason) => peer.answer(&Answer::Ended { stream: open.stream, reason }),
        }
        Ok(())
    }

    fn count(&mut self, peer: &mut Peer, request: u64, channel: &[u8]) {
        let Some(served) = &self.hub else { return };
        let Some(counted) = served.counts_and_subscribers(channel) else {
            return refuse(peer, request, not_begun());
        };
        match counted {
            Ok((hub, subscribers)) => {
                peer.answer(&Answer::Counted(Box::new(Counted {
                    request,
                    hub,
                    subscribers: subscribers as u64,
                    workers: self.peer_count() as u64 + 1, // the one that is served is not among them
                    streams: runtime::stats(),
                    times: Times { store_wait: self.store_wait, ..runtime::times() },
                    cut_off: self.cut_off,
                    store: served.store_status(),
                })));
            }
            Err(error) => refuse(peer, request, failure_of(&error)),
        }
    }

    fn end_streams(&mut self, peer: &mut Peer, request: u64, end: EndRequest) {
        let asker = Asker { peer: peer.token(), request, bytes: 0, since: None };
        let Some(served) = &mut self.hub else { return };
        match served.end_streams(end, asker) {
            Ok(Some(count)) => peer.answer(&Answer::StreamsEnded { request, count: count as u64 }),
            Ok(None) => {} // it waits for the hub's store
            Err(failure) => refuse(peer, request, failure),
        }
    }

    /// Answers with what the hub says.
    fn ask_hub(
        &self,
        peer: &mut Peer,
        request: u64,
        ask: impl FnOnce(&HubHandle) -> Result<Answer<'static>, runtime::Error>,
    ) {
        let Some(hub) = self.handle() else { return refuse(peer, request, not_begun()) };
        match ask(hub) {
            Ok(answer) => peer.answer(&answer),
            Err(error) => refuse(peer, request, failure_of(&error)),
        }
    }

    fn describe(&mut self, peer: &mut Peer, request: u64, now: Instant) {
        let others = self.peers.values().filter(|other| other.is_greeted).filter_map(Peer::process);
        let mut peers: Vec<u32> = others.chain(peer.process()).collect();
        peers.sort_unstable();
        peers.dedup();
        let (version, age) = (env!("CARGO_PKG_VERSION").into(), now.duration_since(self.started));
        peer.answer(&Answer::Described(Box::new(Described { request, version, age, workers: peers })));
    }

    fn elect(&mut self, peer: &mut Peer, lease: u64, name: &[u8]) -> Result<(), End> {
        let candidate = Candidate { peer: peer.token(), lease };
        if self.leases.contains(candidate) {
            return Err(End::Malformed);
        }
        match self.leases.elect(candidate, name) {
            Ok(is_held) => peer.answer(&elected(candidate, is_held)),
            Err(failure) => refuse(peer, lease, failure),
        }
        Ok(())
    }

    /// Tells workers that they hold a lease now.
    fn report_elected(&mut self, candidates: impl IntoIterator<Item = Candidate>) {
        for candidate in candidates {
            if let Some(peer) = self.peers.get_mut(&candidate.peer) {
                peer.answer(&elected(candidate, true));
                self.answered.push(peer.token());
            }
        }
    }

    /// Leaves a worker's streams to themselves, gives its leases to others, and closes its connection.
    fn end_peer(&mut self, peer: Peer, end: End) {
        if end.is_cut_off() {
            self.cut_off += 1;
            say(&format!("cut a worker off: {end}"));
        }
        self.kept.leave(&peer);
        for id in peer.streams.values() {
            self.streams.release(*id);
        }
        match peer.publishes_for {
            Some(first) if self.publishers.get(&first) == Some(&peer.token()) => drop(self.publishers.remove(&first)),
            Some(_) => {} // it was replaced
            None => drop(self.publishers.remove(&peer.token()).and_then(|publisher| self.peers.remove(&publisher))),
        }
        let next = self.leases.leave(peer.token());
        self.report_elected(next);
    }

    /// Tells openers which of their streams have ended.
    fn report_ends(&mut self) {
        while let Some((id, reason)) = runtime::take_ended(0) {
            self.ahead.remove(&id.into());
            if let Some(Opener { peer, number }) = self.streams.remove(id) {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.streams.remove(&number);
                    peer.answer(&Answer::Ended { stream: number, reason });
                    self.answered.push(peer.token());
                }
            }
        }
    }

    /// Tells openers what the clients of their streams have taken.
    fn report_progress(&mut self) {
        for id in runtime::take_progress() {
            let Some(stream) = self.streams.get_mut(id.into()) else { continue };
            let Opener { peer, number } = stream.opener;
            if let Some(peer) = self.peers.get_mut(&peer) {
                peer.answer(&stream.state(number));
                self.answered.push(peer.token());
            }
        }
    }

    /// Takes what members and wills of a hub with a store have announced.
    fn take_announced(&mut self) {
        let announced = runtime::take_announced();
        let Some(stored) = self.stored() else { return };
        for announced in announced {
            // A hub of before has ended its streams, and its members linger in this one.
            if stored.handle().is_some_and(|handle| handle.has_announced(&announced)) {
                stored.announce(announced.announcement, announced.kept);
            }
        }
    }

    fn flush_answers(&mut self, now: Instant) {
        // The end of a worker may give another one a lease.
        while !self.answered.is_empty() {
            let mut answered = std::mem::take(&mut self.answered);
            answered.sort_unstable();
            answered.dedup();
            for token in answered {
                let Some(mut peer) = self.peers.remove(&token) else { continue };
                match peer.flush(&self.epoll, now) {
                    Ok(()) => self.keep(peer, now),
                    Err(end) => self.end_peer(peer, end),
                }
            }
        }
    }

    /// Ends the streams, tells their openers, and gives the socket up. The lock is free when the process has ended.
    fn shut_down(mut self) {
        // Without its lock the files may be those of another process.
        if self.seat.is_held() {
            if self.seat.removes_socket {
                let _ = start::remove_socket(self.options.place.socket());
            }
            if self.is_stopped {
                kept_settings::forget(&self.options.place);
            }
        }
        if self.stored().is_some() {
            self.close_store();
        }
        runtime::shutdown();
        self.report_ends();
        self.send_log();
        self.flush_answers(Instant::now());
    }

    /// Ends the streams and then the store, which is sent their wills, and the events of the hub before if it has still to get
    /// these.
    fn close_store(&mut self) {
        runtime::end_streams();
        let until = Instant::now() + STORE_LINGER;
        if self.predecessor.is_some() {
            let begun = self.stored().map(|stored| stored.wait_until_ready(until)).unwrap_or_default();
            self.answer_progress(begun, Instant::now());
        }
        if self.predecessor.is_some() {
            say("the events of before are lost: the process ends, and the hub's store has not begun");
        }
        self.finish_store(until.saturating_duration_since(Instant::now()), Instant::now());
    }

    /// Ends the store, if there is one, when it has the wills of the streams: these have ended, or do so with the hub.
    fn finish_store(&mut self, within: Duration, now: Instant) {
        if self.stored().is_none() {
            return;
        }
        let _ = self.handle().map(HubHandle::announce_members); // fails only if the reactor has died, with its wills
        self.take_announced();
        if let Some(stored) = self.stored() {
            let progress = stored.finish(within);
            self.answer_progress(progress, now);
        }
    }
}

fn not_begun() -> Failure {
    Failure::new(ErrorCode::Unavailable, None, "the hub's store has not begun")
}

/// Says which events are not in the store of the hub that has begun in the place of another one.
fn report_left_out(events: &[HubEntry]) {
    if !events.is_empty() {
        say(&format!(
            "{} events of before are not in the store, for it has events of other machines, whose clients would receive them \
             as new ones: clients receive a gap, and what is retained is to be published again",
            events.len()
        ));
    }
}

/// Takes the descriptor that has come with a request. Returns nothing if this process could not take it, or if it is no
/// connection.
fn take_socket(peer: &mut Peer) -> Result<Option<OwnedFd>, End> {
    let taken = peer.descriptors.pop_front().ok_or(End::Descriptors)?;
    Ok(taken.filter(|socket| calls::is_connection(socket.as_raw_fd())))
}

/// Refuses a request, unless no answer is wanted.
fn refuse(peer: &mut Peer, request: u64, failure: Failure) {
    if request > 0 {
        peer.answer(&Answer::Refused { request, failure });
    }
}

/// Counts the bytes of a request as handled, so that the worker may send more.
fn grant(peer: &mut Peer, bytes: usize) {
    if let Some(bytes) = peer.credits.handle(bytes) {
        peer.answer(&Answer::Credits { bytes });
    }
}

fn elected(candidate: Candidate, is_held: bool) -> Answer<'static> {
    Answer::Elected { lease: candidate.lease, is_held }
}

fn done(peer: &mut Peer, request: u64) {
    if request > 0 {
        peer.answer(&Answer::Done { request });
    }
}
