//! The thread that stores drafts: takes what is asked, connects where the reader is, and sends.
//!
//! - `batches`: what is sent together, as commands, and the answers
//! - `replicas`: what must have an entry before it is reported
//! - `upkeep`: what is done now and then; the bounds of the stream

mod batches;
mod replicas;
mod upkeep;

use super::super::{Draft, StoreCommand, StoreReport};
use super::connection::{Backoff, CallError, RedisConnection};
use super::endpoint::Endpoint;
use super::entry::{Id, Info};
use super::losses;
use super::shared::{Shared, Target};
use batches::Batches;
use eventsource_xs::log::Bounds;
use eventsource_xs::wire::RedisSettings;
use eventsource_xs::ErrorCode;
use redis::cmd;
use replicas::Replicas;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use upkeep::Upkeep;

/// How long the writer waits for the reader, or for a connection, before it looks again.
const SOON: Duration = Duration::from_millis(5);

/// The writer's connection, and what it is for.
struct Session {
    connection: RedisConnection,
    target: Target,
    /// The reader must have read through this id before drafts are sent again.
    awaited: Option<Id>,
}

impl Session {
    /// Returns true if it is a connection to where the reader is connected.
    fn is_to(&self, target: &Target) -> bool {
        self.target.generation == target.generation && self.target.url == target.url
    }
}

pub struct Writer {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    commands: Receiver<StoreCommand>,
    batches: Batches,
    retention: Bounds,
    replicas: Replicas,
    upkeep: Upkeep,
    session: Option<Session>,
    next_attempt: Instant,
    backoff: Backoff,
    is_closing: bool,
}

impl Writer {
    pub fn new(
        shared: Arc<Shared>,
        endpoint: Endpoint,
        settings: &RedisSettings,
        producer: &str,
        commands: Receiver<StoreCommand>,
    ) -> Self {
        let now = Instant::now();
        let replicas = Replicas::new(settings.replicas, settings.timeout);
        Self {
            batches: Batches::new(Arc::clone(&shared), endpoint.shown(), producer, replicas),
            shared,
            endpoint,
            commands,
            retention: Bounds { events: 1_000_000, bytes: usize::MAX, age: Duration::MAX },
            replicas,
            upkeep: Upkeep::new(now),
            session: None,
            next_attempt: now,
            backoff: Backoff::new(),
            is_closing: false,
        }
    }

    pub fn run(mut self) {
        loop {
            self.gather();
            self.expire();
            if self.is_closing && self.shared.lock().in_flight.is_empty() || self.shared.lock().is_closing {
                break;
            }
            if let Err(fault) = self.work() {
                self.disconnect(&fault);
            }
            let is_up = self.is_ready();
            self.shared.update(|state| state.is_writer_up = is_up);
            self.shared.refresh();
        }
        if let Some(session) = &mut self.session {
            self.batches.machines.end(&mut session.connection, &session.target.keys);
        }
        self.shared.update(|state| state.is_closing = true);
    }

    /// Takes what was asked, and waits for it if there is nothing else to do.
    fn gather(&mut self) {
        if let Some(pause) = self.pause() {
            if self.is_closing {
                // Nobody asks any more; the reader may be done soon.
                drop(self.shared.wait(self.shared.lock(), pause));
            } else {
                match self.commands.recv_timeout(pause) {
                    Ok(command) => self.accept(command),
                    Err(RecvTimeoutError::Timeout) => return,
                    Err(RecvTimeoutError::Disconnected) => self.is_closing = true,
                }
            }
        }
        let room = self.shared.lock().in_flight.room(self.session.is_some());
        for _ in 0..room {
            if self.is_closing {
                return;
            }
            match self.commands.try_recv() {
                Ok(command) => self.accept(command),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.is_closing = true,
            }
        }
    }

    /// Returns how long the writer may sleep; none if there is work.
    fn pause(&self) -> Option<Duration> {
        let state = self.shared.lock();
        let is_ready = self.is_ready();
        if is_ready && (state.in_flight.has_unsent() && state.lost.is_none() || self.batches.machines.is_scanning()) {
            return None;
        }
        // The writer waits for the reader or for Redis, or has drafts that may have to fail.
        let is_idle = is_ready && state.in_flight.is_empty();
        Some(if is_idle { Duration::from_millis(250) } else { SOON })
    }

    fn accept(&mut self, command: StoreCommand) {
        match command {
            StoreCommand::Append { ticket, draft } => self.append(ticket, draft),
            StoreCommand::Retain(retention) => self.retention = retention,
            // Its own bounds evict; a lifetime says who lingers.
            StoreCommand::Forget { .. } | StoreCommand::Linger(_) | StoreCommand::BackUp { .. } => {}
            StoreCommand::ReadTicketKeys => self.shared.update(|state| state.wants_ticket_keys = true),
            StoreCommand::Lost(reason) => self.shared.update(|state| state.lost = Some(reason.into())),
            StoreCommand::Close => self.is_closing = true,
        }
    }

    fn append(&mut self, ticket: u64, draft: Draft) {
        let mut state = self.shared.lock();
        // While Redis takes drafts, the workers' credits bound how many wait, and a publisher without answers must lose none.
        let is_away = self.session.is_none() || state.target.is_none(); // the reader may have noticed before
        if is_away && state.in_flight.is_full() {
            let why = format!("{} events wait already ({})", state.in_flight.len(), state.trouble);
            drop(state);
            return self.shared.fail((ticket, &draft), ErrorCode::Full, &why);
        }
        self.shared.note_member(&draft);
        state.in_flight.add(ticket, draft, Instant::now());
    }

    /// Fails the drafts whose time is over.
    fn expire(&mut self) {
        let late = self.shared.lock().in_flight.remove_late(Instant::now());
        late.iter().for_each(|sent| self.shared.fail_sent(sent, &self.trouble()));
    }

    fn trouble(&self) -> String {
        if self.session.is_some() {
            return format!("Redis at {} has not confirmed it in time", self.endpoint.shown());
        }
        self.shared.lock().trouble.clone()
    }

    fn is_ready(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.awaited.is_none())
    }

    /// Connects if need be, then sends what waits.
    fn work(&mut self) -> Result<(), CallError> {
        let Some(target) = self.shared.lock().target.clone() else {
            self.drop_session();
            return Ok(());
        };
        if self.session.as_ref().is_some_and(|session| !session.is_to(&target)) {
            self.drop_session();
        }
        if self.session.is_none() && !self.connect(target)? || !self.has_reader_caught_up() {
            return Ok(());
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        self.batches.send(session, &self.retention)?;
        if self.shared.has_members() && !self.batches.tend_machines(session, &self.retention)? {
            self.announce_members();
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        self.upkeep.run(session, &self.shared, &self.retention, self.replicas)
    }

    /// Lets the hub announce its members: Redis may have lost what it was told of them.
    fn announce_members(&mut self) {
        self.shared.take_failed_member();
        self.batches.machines.begin();
        self.shared.reporter.report(StoreReport::Announce);
    }

    fn drop_session(&mut self) -> bool {
        let had_one = self.session.take().is_some();
        if had_one {
            self.shared.update(|state| state.in_flight.cut());
        }
        had_one
    }

    fn disconnect(&mut self, fault: &CallError) {
        self.shared.record(self.endpoint.shown(), fault);
        if self.drop_session() {
            self.shared.reporter.update(|status| status.reconnects += 1);
        }
        self.next_attempt = Instant::now() + self.backoff.next(fault);
    }

    /// Connects to the reader's Redis. Returns false if it is too early, or the stream is gone.
    fn connect(&mut self, target: Target) -> Result<bool, CallError> {
        if Instant::now() < self.next_attempt {
            return Ok(false);
        }
        let mut connection = self.endpoint.connect(&target.url)?;
        let awaited = match connection.call(cmd("XINFO").arg("STREAM").arg(&target.keys.stream)) {
            Ok(info) => Info::parse(&info).map(|info| info.last),
            Err(CallError::Refused(refusal)) => match losses::shown_by(&refusal) {
                None => return Err(CallError::Refused(refusal)),
                Some(reason) => {
                    self.shared.hint_loss(target.generation, reason);
                    self.next_attempt = Instant::now() + SOON;
                    return Ok(false);
                }
            },
            Err(fault) => return Err(fault),
        };
        let awaited = Some(awaited.unwrap_or_default());
        self.session = Some(Session { connection, target, awaited });
        self.upkeep.restart();
        Ok(true)
    }

    /// Waits, after a reconnection, until the reader has found those of the drafts that are in the stream.
    fn has_reader_caught_up(&mut self) -> bool {
        let Some(session) = &mut self.session else { return false };
        let Some(awaited) = session.awaited else { return true };
        let mut state = self.shared.lock();
        let is_same = state.target.as_ref().is_some_and(|target| target.generation == session.target.generation);
        if !is_same || state.in_flight.read_through() < awaited {
            return false;
        }
        if state.in_flight.has_unread() {
            drop(state);
            let generation = session.target.generation;
            self.shared.hint_loss(generation, "the stream lacks an entry that Redis has acknowledged");
            return false;
        }
        session.awaited = None;
        self.backoff = Backoff::new();
        state.in_flight.renumber_passed();
        drop(state);
        self.announce_members();
        true
    }
}
