//! The thread that stores drafts: takes what is asked, connects where the reader is, and sends batches of drafts, as commands
//! that append them to the stream.
//!
//! - `replicas`: what must have an entry before it is reported
//! - `upkeep`: what is done now and then; the bounds of the stream

mod replicas;
#[cfg(test)]
mod tests;
mod upkeep;

use super::super::{Draft, DraftKind, MemberPart, StoreCommand, StoreReport};
use super::connection::{Backoff, CallError, RedisConnection};
use super::endpoint::Endpoint;
use super::entry::{self, Id, Info};
use super::epoch::StreamKeys;
use super::in_flight::{InFlight, SendEvent, Sending};
use super::machines::{Lapsed, Machines, LIFETIME};
use super::shared::{Shared, Target};
use super::{losses, scripts, state, ANSWER, CHUNK, CHUNK_BYTES};
use eventsource_xs::codec::encode;
use eventsource_xs::hub::{refused_member_key, Retain};
use eventsource_xs::log::Bounds;
use eventsource_xs::ErrorCode;
use redis::{cmd, from_redis_value, Value};
use replicas::Replicas;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use upkeep::entries_and_age;

/// The time for which the writer waits for the reader, or for a connection, before it looks again.
const SOON: Duration = Duration::from_millis(5);

/// The writer's connection, and what it is for.
struct Session {
    connection: RedisConnection,
    target: Target,
    /// The reader must have read through this id before drafts are sent again.
    awaited: Option<Id>,
    /// When Redis was asked how much memory its stream takes.
    weighed_at: Option<Instant>,
}

pub struct Writer {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    commands: Receiver<StoreCommand>,
    producer: Box<str>,
    /// The producer of the events with which members of other machines leave, and the count of the last one.
    reaper: Box<str>,
    reaped: u64,
    machines: Machines,
    retention: Bounds,
    replicas: Replicas,
    last_upkeep: Instant,
    session: Option<Session>,
    /// The tickets with which the hub has asked whether Redis answers.
    pings: Vec<u64>,
    next_attempt: Instant,
    backoff: Backoff,
    /// True if the connection is made anew because a signal has interrupted a wait: meanwhile the store is as up as before.
    was_interrupted: bool,
    is_closing: bool,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, endpoint: Endpoint, producer: &str, commands: Receiver<StoreCommand>) -> Self {
        let now = Instant::now();
        Self {
            shared,
            replicas: Replicas::new(endpoint.settings.replicas, endpoint.settings.timeout),
            endpoint,
            commands,
            producer: producer.into(),
            reaper: format!("{producer}r").into(),
            reaped: 0,
            machines: Machines::new(producer),
            retention: Bounds { events: 1_000_000, bytes: usize::MAX, age: Duration::MAX },
            last_upkeep: now,
            session: None,
            pings: Vec::new(),
            next_attempt: now,
            backoff: Backoff::new(),
            was_interrupted: false,
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
            self.was_interrupted &= !is_up;
            self.shared.update(|state| state.is_writer_up = is_up || self.was_interrupted && state.is_writer_up);
            self.shared.refresh();
        }
        if let Some(session) = &mut self.session {
            self.machines.end(&mut session.connection, &session.target.keys);
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
        if is_ready && (state.in_flight.has_unsent() && state.lost.is_none() || self.machines.cursor.is_some()) {
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
            StoreCommand::Replace(machine) => self.machines.replace(machine),
            StoreCommand::ReadTicketKeys => self.shared.update(|state| state.wants_ticket_keys = true),
            StoreCommand::Lost(reason) => self.shared.update(|state| state.lost = Some(reason.into())),
            StoreCommand::Ping { ticket } => self.pings.push(ticket),
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
            return self.shared.fail(ticket, &draft, ErrorCode::Full, &why);
        }
        state.has_members |= draft.member != MemberPart::None;
        state.in_flight.add(ticket, draft, Instant::now());
    }

    /// Fails the drafts whose time is over.
    fn expire(&mut self) {
        let late = self.shared.lock().in_flight.remove_late(Instant::now());
        late.iter().for_each(|sent| self.shared.fail_sent(sent, &self.trouble()));
    }

    fn trouble(&self) -> String {
        if self.session.is_some() {
            return format!("Redis at {} has not confirmed it in time", self.shared.place);
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
        if self.session.as_ref().is_some_and(|session| session.target != target) {
            self.drop_session();
        }
        if self.session.is_none() && !self.connect(target)? || !self.has_reader_caught_up() {
            return Ok(());
        }
        let Some(mut session) = self.session.take() else { return Ok(()) };
        let worked = self.work_on(&mut session);
        self.session = Some(session);
        worked
    }

    fn work_on(&mut self, session: &mut Session) -> Result<(), CallError> {
        self.send_batch(session)?;
        self.answer_pings(session)?;
        let has_members = self.shared.lock().has_members;
        if has_members && !self.tend_machines(session)? {
            self.announce_members();
        }
        if self.last_upkeep.elapsed() < upkeep::INTERVAL {
            return Ok(());
        }
        self.last_upkeep = Instant::now();
        upkeep::run(session, &self.shared, &self.retention, self.replicas)
    }

    /// Tells the hub that Redis answers, if it has asked.
    fn answer_pings(&mut self, session: &mut Session) -> Result<(), CallError> {
        if !self.pings.is_empty() {
            session.connection.set_read_timeout(ANSWER)?;
            session.connection.call::<Value>(&cmd("PING"))?;
        }
        self.pings.drain(..).for_each(|ticket| self.shared.reporter.report(StoreReport::Done(ticket)));
        Ok(())
    }

    /// Lets the hub announce its members: Redis may have lost what it was told of them.
    fn announce_members(&mut self) {
        self.shared.take_failed_member();
        self.machines.begin();
        self.report_machine();
        self.shared.reporter.report(StoreReport::Announce);
    }

    /// Lets the program after an upgrade continue with what is known of machines.
    fn report_machine(&mut self) {
        if let Some(state) = self.machines.take_state() {
            self.shared.reporter.set_machine(state);
        }
    }

    fn drop_session(&mut self) -> bool {
        let had_one = self.session.take().is_some();
        if had_one {
            self.shared.update(|state| state.in_flight.cut());
        }
        had_one
    }

    fn disconnect(&mut self, fault: &CallError) {
        self.was_interrupted = matches!(fault, CallError::Interrupted);
        if self.was_interrupted {
            self.drop_session();
            return;
        }
        self.shared.record(fault);
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
        let awaited = match connection.call::<Info>(cmd("XINFO").arg("STREAM").arg(&target.keys.stream)) {
            Ok(info) => info.last,
            Err(fault) => {
                let Some(reason) = losses::shown_by(&fault) else { return Err(fault) };
                self.shared.hint_loss(target.generation, reason);
                self.next_attempt = Instant::now() + SOON;
                return Ok(false);
            }
        };
        self.session = Some(Session { connection, target, awaited: Some(awaited), weighed_at: None });
        Ok(true)
    }

    /// Waits, after a reconnection, until the reader has found those of the drafts that are in the stream.
    fn has_reader_caught_up(&mut self) -> bool {
        let Some(session) = &mut self.session else { return false };
        let Some(awaited) = session.awaited else { return true };
        let mut state = self.shared.lock();
        let is_same = state.target.as_ref().is_some_and(|target| target.generation == session.target.generation);
        if !is_same || state.in_flight.read_through < awaited {
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

    /// Sends as much as fits in a batch, and takes the answers.
    fn send_batch(&mut self, session: &mut Session) -> Result<(), CallError> {
        let (mut bytes, counts) = self.encode_batch(&session.target);
        if counts.is_empty() {
            return Ok(());
        }
        let timeout = self.replicas.timeout(&self.shared, &counts);
        self.replicas.write_wait(&mut bytes, timeout);
        session.connection.set_read_timeout(ANSWER + timeout)?;
        session.connection.send(&bytes)?;
        let (stored, fault) = self.take_answers(session, counts);
        let is_cut = fault.as_ref().is_some_and(|fault| !matches!(fault, CallError::Refused { .. }));
        self.keep_ids(&stored, &session.target);
        if self.replicas.are_needed() && !is_cut {
            let answer = session.connection.receive();
            self.replicas.confirm(&self.shared, &stored, answer)?;
        }
        fault.map_or(Ok(()), Err)
    }

    /// Encodes what is sent next. Returns the commands, and the counts of their drafts.
    fn encode_batch(&mut self, target: &Target) -> (Vec<u8>, Vec<u64>) {
        let Self { shared, producer, machines, retention, .. } = self;
        let (mut bytes, mut counts) = (Vec::new(), Vec::new());
        let mut state = shared.lock();
        if state.lost.is_some() || state.target.as_ref().is_none_or(|current| current.generation != target.generation) {
            return (bytes, counts);
        }
        let to = Appending { keys: &target.keys, retention, producer };
        state.in_flight.send(|count, draft| {
            let has_room = counts.len() < CHUNK && bytes.len() < CHUNK_BYTES;
            if has_room {
                write_append(&mut bytes, &to, count, draft, machines.names_for(draft));
                counts.push(count);
            }
            has_room
        });
        drop(state);
        (bytes, counts)
    }

    /// Takes the answers to a batch. Returns the ids of what is stored, and why the connection is of no use any more.
    fn take_answers(&self, session: &mut Session, counts: Vec<u64>) -> (Vec<(u64, Id)>, Option<CallError>) {
        let (mut stored, mut fault) = (Vec::with_capacity(counts.len()), None);
        for count in counts {
            match session.connection.receive() {
                Ok(answer) => stored.extend(self.take_answer(count, answer, &session.target).map(|id| (count, id))),
                Err(refusal @ CallError::Refused { .. }) => {
                    fault = self.take_refusal(count, &session.target, refusal).or(fault);
                }
                Err(cut) => return (stored, Some(cut)),
            }
        }
        (stored, fault)
    }

    /// Takes the answer to a draft. Returns the id if it is stored.
    fn take_answer(&self, count: u64, answer: Value, target: &Target) -> Option<Id> {
        let reporter = &self.shared.reporter;
        match entry::text(&answer) {
            // A draft of a member needed no entry, or was carried out before.
            Some(text @ (b"done" | b"0-0")) => {
                let done = self.in_flight(|in_flight| in_flight.remove_of_member(count));
                if let Some(sent) = &done {
                    reporter.report(StoreReport::Done(sent.ticket));
                }
                if done.is_some() || text == b"done" {
                    return None;
                }
            }
            Some(b"member") => {
                let Sending { ticket, .. } = self.in_flight(|in_flight| in_flight.remove(count))?;
                reporter.report(StoreReport::Failed { ticket, failure: refused_member_key() });
                return None;
            }
            _ => {}
        }
        let id = from_redis_value::<Id>(answer).ok();
        if id.is_none() {
            self.in_flight(|in_flight| in_flight.apply([count], SendEvent::Refused));
            self.shared.hint_loss(target.generation, losses::GONE);
        }
        id
    }

    fn in_flight<T>(&self, change: impl FnOnce(&mut InFlight) -> T) -> T {
        self.shared.update(|state| change(&mut state.in_flight))
    }

    fn keep_ids(&self, stored: &[(u64, Id)], target: &Target) {
        let mut state = self.shared.lock();
        if !stored.is_empty() && !self.replicas.are_needed() {
            state.is_refusing = false;
        }
        if state.generation == target.generation {
            stored.iter().for_each(|(_, id)| state.in_flight.acknowledge(*id));
        }
        state.in_flight.apply(stored.iter().map(|(count, _)| *count), SendEvent::Stored);
    }

    /// Takes a refusal. Returns it if the draft can be sent again later, on another connection.
    fn take_refusal(&self, count: u64, target: &Target, refusal: CallError) -> Option<CallError> {
        self.in_flight(|in_flight| in_flight.apply([count], SendEvent::Refused));
        if refusal.is_passing() {
            return Some(refusal);
        }
        if let Some(reason) = losses::shown_by(&refusal) {
            self.shared.hint_loss(target.generation, reason);
            return None;
        }
        let sent = self.shared.update(|state| {
            state.is_refusing = true;
            state.in_flight.remove(count)
        });
        let message = self.shared.record(&refusal);
        if let Some(sent) = sent {
            self.shared.fail_sent(&sent, &message);
        }
        None
    }

    /// Renews the lifetime of this machine, and lets members leave those whose lifetime has ended. Returns false if the members
    /// must be announced again.
    fn tend_machines(&mut self, session: &mut Session) -> Result<bool, CallError> {
        let Session { connection, target, .. } = session;
        if !self.machines.tend(connection, &target.keys)? {
            return Ok(false);
        }
        let lapsed = self.machines.lapsed(connection, &target.keys)?;
        self.report_machine();
        let mut bytes = Vec::new();
        let to = Appending { keys: &target.keys, retention: &self.retention, producer: &self.reaper };
        for lapsed in &lapsed {
            self.reaped += 1;
            let Lapsed { machine, draft } = lapsed;
            write(&mut bytes, &to, self.reaped, draft, Some(("reap", (machine, ""))));
        }
        if !lapsed.is_empty() {
            connection.send(&bytes)?;
        }
        for _ in lapsed {
            match connection.receive() {
                Err(CallError::Refused { .. }) | Ok(_) => {} // the next look finds it again
                Err(cut) => return Err(cut),
            }
        }
        let is_refusing = self.shared.lock().is_refusing;
        Ok(is_refusing || !self.shared.take_failed_member())
    }
}

/// The stream to which entries are appended, and by whom.
struct Appending<'a> {
    keys: &'a StreamKeys,
    retention: &'a Bounds,
    producer: &'a str,
}

/// Appends the command that stores a draft. Redis stores the names of fields once for a hundred entries that have the same.
/// Every string of an entry costs Redis and each hub that reads it, so what is empty has no field, and the name of the key's
/// field says what the event does to the state.
/// `machines` are the name of the machine that a member is on, or not, and the former names that it replaces.
fn write_append(out: &mut Vec<u8>, to: &Appending<'_>, count: u64, draft: &Draft, machines: (&str, &str)) {
    let happened = match draft.member {
        MemberPart::None => return write(out, to, count, draft, None),
        MemberPart::Here(_) => "here",
        MemberPart::Changed(_) => "changed",
        MemberPart::Gone => "gone",
    };
    write(out, to, count, draft, Some((happened, machines)));
}

fn write(out: &mut Vec<u8>, to: &Appending<'_>, count: u64, draft: &Draft, member: Option<(&str, (&str, &str))>) {
    let Appending { keys: StreamKeys { stream, state, once, .. }, retention, producer } = *to;
    let (most, age_ms) = entries_and_age(retention);
    let mut command;
    if draft.retain == Retain::No {
        command = cmd("XADD");
        command.arg(stream).arg("NOMKSTREAM").arg("MAXLEN").arg("~").arg(most).arg("*");
    } else {
        command = cmd("EVAL");
        command.arg(if member.is_some() { scripts::APPEND_MEMBER.as_str() } else { scripts::APPEND.as_str() });
        command.arg(3).arg(stream).arg(state).arg(once);
        if let Some((happened, (machine, former))) = member {
            command.arg(happened).arg(machine).arg(LIFETIME.as_millis() as u64).arg(former);
        }
        command.arg(most).arg(age_ms).arg(state::field(&draft.channel, &draft.key));
    }
    if draft.kind() == DraftKind::End {
        // Hubs that know no such request find no event here.
        command.arg("e").arg(&draft.key[..]);
    } else {
        command.arg("c").arg(&draft.channel[..]);
        let name = match draft.retain {
            Retain::No => "k",
            Retain::Newest => "r",
            Retain::Forget => "x",
        };
        for (name, value) in [(name, &draft.key), ("o", &draft.once)] {
            if !value.is_empty() || ["r", "x"].contains(&name) {
                command.arg(name).arg(&value[..]);
            }
        }
        if draft.member != MemberPart::None {
            command.arg("m").arg(encode(&draft.member));
        }
        command.arg("f").arg(draft.fields.as_bytes());
    }
    command.arg("p").arg(format!("{producer}:{count}"));
    command.write_packed_command(out);
}
