//! The thread that stores drafts.

use super::super::{Ask, Draft, MemberPart, Report};
use super::append::{write_append, write_lapsed, Appending};
use super::backoff::Backoff;
use super::call_error::{CallError, Refusal};
use super::connection::RedisConnection;
use super::endpoint::Endpoint;
use super::entry::{self, Id, Info};
use super::epoch::StreamKeys;
use super::machines::Machines;
use super::shared::{Sent, Shared, State, Target, Waiting};
use super::{ANSWER, CHUNK, CHUNK_BYTES};
use eventsource_xs::runtime::Error;
use eventsource_xs::wire::{Failure, RedisSettings};
use eventsource_xs::ErrorCode;
use redis::{cmd, Value};
use std::collections::VecDeque;
use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most drafts that wait while Redis is away, if there is no setting for that.
const MOST_WAITING: usize = 100_000;
/// The most bytes of drafts in the queue that waits for Redis.
const MOST_QUEUE_BYTES: usize = 256 << 20;
/// How long the writer waits for the reader, or for a connection, before it looks again.
const SOON: Duration = Duration::from_millis(5);
/// How often the writer looks after the stream's bounds and its own connection.
const UPKEEP: Duration = Duration::from_secs(1);
/// The shortest retention in Redis: a reader that was stopped for longer than a second looks for a loss before it reads on.
const SHORTEST_AGE: Duration = Duration::from_secs(5);
/// How many milliseconds replicas may take to say that they are there.
const REPLICA_MS: u32 = 100;
/// How often Redis is asked how much memory the stream takes.
const WEIGH: Duration = Duration::from_secs(10);

/// The retention of the stream.
struct Retention {
    events: usize,
    bytes: usize,
    age: Duration,
}

impl Retention {
    /// Returns the most entries, and their age in milliseconds.
    fn bounds(&self) -> (usize, u64) {
        (self.events.max(CHUNK), u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The connection, and what it is for.
struct Session {
    connection: RedisConnection,
    target: Target,
    /// The reader must have read through this id before drafts are sent again.
    awaited: Option<Id>,
}

pub struct Writer {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    producer: String,
    asks: Receiver<Ask>,
    timeout: Duration,
    /// How many drafts may wait for Redis to come back.
    queue: usize,
    replicas: u32,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Whether the drafts that wait are in the queue for a Redis that is away.
    is_queueing: bool,
    retention: Retention,
    machines: Machines,
    session: Option<Session>,
    count: u64,
    next_attempt: Instant,
    backoff: Backoff,
    last_upkeep: Instant,
    last_weighing: Option<Instant>,
    is_closing: bool,
    /// Whether the hub continues when this has ended.
    hub_continues: bool,
}

impl Writer {
    pub fn new(
        shared: Arc<Shared>,
        endpoint: Endpoint,
        settings: &RedisSettings,
        producer: &str,
        asks: Receiver<Ask>,
    ) -> Self {
        let now = Instant::now();
        Self {
            shared,
            endpoint,
            producer: producer.into(),
            asks,
            timeout: settings.timeout,
            queue: settings.queue as usize,
            replicas: settings.replicas,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            is_queueing: false,
            retention: Retention { events: 1_000_000, bytes: usize::MAX, age: Duration::MAX },
            machines: Machines::new(producer),
            session: None,
            count: 0,
            next_attempt: now,
            backoff: Backoff::new(),
            last_upkeep: now,
            last_weighing: None,
            is_closing: false,
            hub_continues: false,
        }
    }

    pub fn run(mut self) {
        loop {
            self.gather();
            self.expire();
            if self.is_closing && self.is_done() || self.shared.lock().is_closing {
                break;
            }
            if let Err(fault) = self.work() {
                self.disconnect(&fault);
            }
            self.look_whether_to_queue();
            let waiting = self.waiting.len();
            let is_up = self.is_ready();
            self.shared.update(|state| {
                state.waiting = waiting;
                state.is_writer_up = is_up;
            });
            self.shared.refresh();
        }
        if let (Some(Session { connection, target, .. }), false) = (&mut self.session, self.hub_continues) {
            self.machines.end(connection, &target.keys);
        }
        self.shared.update(|state| state.is_closing = true);
    }

    fn is_done(&self) -> bool {
        let state = self.shared.lock();
        self.waiting.is_empty() && state.sent.is_empty() && state.returned.is_empty()
    }

    /// Takes what was asked, and waits for it if there is nothing else to do.
    fn gather(&mut self) {
        if let Some(pause) = self.pause() {
            if self.is_closing {
                // Nobody asks any more; the reader may be done soon.
                drop(self.shared.wait(self.shared.lock(), pause));
            } else {
                match self.asks.recv_timeout(pause) {
                    Ok(ask) => self.accept(ask),
                    Err(RecvTimeoutError::Timeout) => return,
                    Err(RecvTimeoutError::Disconnected) => self.close(),
                }
            }
        }
        // A draft has its time from here on, so those that cannot be sent soon stay where they are.
        let most = if self.session.is_some() { 2 * CHUNK } else { (2 * MOST_WAITING).max(self.queue + 1) };
        while !self.is_closing && self.waiting.len() < most {
            match self.asks.try_recv() {
                Ok(ask) => self.accept(ask),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.close(),
            }
        }
    }

    /// Returns how long the writer may sleep; none if there is work.
    fn pause(&self) -> Option<Duration> {
        let state = self.shared.lock();
        let is_ready = self.is_ready();
        if is_ready && (!self.waiting.is_empty() || !state.returned.is_empty() || self.machines.is_scanning()) {
            return None;
        }
        // The writer waits for the reader or for Redis, or has drafts that may have to fail.
        let is_idle = is_ready && state.sent.is_empty();
        Some(if is_idle { Duration::from_millis(250) } else { SOON })
    }

    fn accept(&mut self, ask: Ask) {
        match ask {
            Ask::Append { ticket, draft } => self.append(ticket, draft),
            Ask::Retain { events, bytes, age } => self.retention = Retention { events, bytes, age },
            Ask::Forget(_) | Ask::Linger(_) => {} // the stream evicts by its own bounds, and a lease says who lingers
            Ask::Lost(reason) => self.shared.update(|state| state.lost = Some((state.generation, reason.into()))),
            Ask::Close { hub_continues } => {
                self.hub_continues = hub_continues;
                self.close();
            }
        }
    }

    fn append(&mut self, ticket: u64, draft: Draft) {
        // While Redis takes drafts, the workers' credits bound how many wait, and a publisher without answers must lose none.
        if self.is_away() {
            let most = if self.queue > 0 { self.queue } else { MOST_WAITING };
            let on_their_way = self.shared.lock().sent.len();
            if self.waiting.len() + on_their_way >= most || self.waiting_bytes >= MOST_QUEUE_BYTES {
                let (count, trouble) = (self.waiting.len() + on_their_way, self.shared.lock().trouble.clone());
                let message = format!("the event was not published: {count} events wait already ({trouble})");
                return self.shared.fail((ticket, &draft), ErrorCode::Full, &message);
            }
        }
        let deadline = (self.queue == 0).then(|| Instant::now() + self.timeout);
        self.shared.note_member(&draft);
        self.waiting_bytes += draft.bytes();
        self.waiting.push_back(Waiting { ticket, draft, deadline });
        if self.is_queueing {
            self.shared.reporter.report(Report::Queued(vec![ticket]));
        }
    }

    /// Returns true if Redis is away. The reader may have noticed before the writer.
    fn is_away(&self) -> bool {
        self.session.is_none() || self.shared.lock().target.is_none()
    }

    /// When Redis has gone and drafts may wait for it, they are the queue's from here on, and no requests of workers any more.
    fn look_whether_to_queue(&mut self) {
        let is_queueing = self.queue > 0 && self.is_away();
        if is_queueing && !std::mem::replace(&mut self.is_queueing, is_queueing) {
            let state = self.shared.lock();
            let sent = state.sent.values().chain(&state.returned).map(|sent| sent.ticket);
            let tickets: Vec<u64> = self.waiting.iter().map(|waiting| waiting.ticket).chain(sent).collect();
            drop(state);
            self.shared.reporter.report(Report::Queued(tickets));
        }
        self.is_queueing = is_queueing;
    }

    /// Has everything end within the timeout.
    fn close(&mut self) {
        self.is_closing = true;
        let end = Instant::now() + self.timeout;
        for waiting in &mut self.waiting {
            waiting.deadline = Some(waiting.deadline.map_or(end, |deadline| deadline.min(end)));
        }
        self.queue = 0;
    }

    /// Fails the drafts whose time is over.
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.waiting.front() {
            if first.deadline.is_none_or(|deadline| deadline > now) {
                break;
            }
            let Some(Waiting { ticket, draft, .. }) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= draft.bytes();
            self.shared.fail_unavailable((ticket, &draft), &self.trouble());
        }
        if self.queue > 0 && !self.is_ready() {
            return; // they wait until Redis is back
        }
        let mut late = Vec::new();
        self.shared.update(|state| {
            while let Some(first) = state.sent.first_entry() {
                if first.get().deadline > now {
                    break;
                }
                late.push(first.remove());
            }
            let (over, rest) = mem::take(&mut state.returned).into_iter().partition(|sent: &Sent| sent.deadline <= now);
            state.returned = rest;
            late.extend::<Vec<Sent>>(over);
        });
        for sent in late {
            self.shared.fail_sent(&sent, &self.trouble());
        }
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
        let is_other =
            |session: &Session| session.target.generation != target.generation || session.target.url != target.url;
        if self.session.as_ref().is_some_and(is_other) {
            self.drop_session();
        }
        if self.session.is_none() && !self.connect(target)? || !self.has_reader_caught_up() {
            return Ok(());
        }
        self.send_batch()?;
        self.tend_members()?;
        self.keep_up()
    }

    fn drop_session(&mut self) -> bool {
        let had_one = self.session.take().is_some();
        if had_one {
            self.shared.update(|state| {
                state.has_unsent = true;
                state.sent.values_mut().for_each(|sent| sent.is_on_wire = false);
            });
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
            Err(CallError::Refused(refusal)) if refusal.message.contains("no such key") => {
                self.hint_loss(target.generation, "the stream is gone: it was deleted or evicted");
                self.next_attempt = Instant::now() + SOON;
                return Ok(false);
            }
            Err(fault) => return Err(fault),
        };
        let awaited = Some(awaited.unwrap_or_default());
        self.session = Some(Session { connection, target, awaited });
        self.last_weighing = None; // the stream is perhaps another one
        Ok(true)
    }

    /// Waits, after a reconnection, until the reader has found those of the drafts that are in the stream.
    fn has_reader_caught_up(&mut self) -> bool {
        let Some(session) = &mut self.session else { return false };
        let Some(awaited) = session.awaited else { return true };
        let mut state = self.shared.lock();
        let is_same = state.target.as_ref().is_some_and(|target| target.generation == session.target.generation);
        if !is_same || state.read_through < awaited {
            return false;
        }
        if !state.acknowledged.is_empty() {
            drop(state);
            let generation = session.target.generation;
            self.hint_loss(generation, "the stream lacks an entry that Redis has acknowledged");
            return false;
        }
        session.awaited = None;
        self.backoff = Backoff::new();
        // Readers would take a count that is not greater than one they have read for a repetition.
        let first_new = state.own_count.saturating_add(1);
        let rest = state.sent.split_off(&first_new);
        let before = mem::replace(&mut state.sent, rest);
        for sent in before.into_values() {
            self.count += 1;
            state.sent.insert(self.count, sent);
        }
        state.has_unsent = !state.sent.is_empty();
        drop(state);
        self.announce_members();
        true
    }

    /// Sends as much as fits in a batch, and takes the answers.
    fn send_batch(&mut self) -> Result<(), CallError> {
        let Some(mut session) = self.session.take() else { return Ok(()) };
        let result = self.exchange(&mut session);
        // Before the session is dropped, so that its drafts count as unsent.
        self.session = Some(session);
        result
    }

    fn exchange(&mut self, session: &mut Session) -> Result<(), CallError> {
        let (mut bytes, counts) = self.encode_batch(&session.target);
        if counts.is_empty() {
            return Ok(());
        }
        let wait = if self.replicas > 0 { self.time_for_replicas(&counts) } else { Duration::ZERO };
        if self.replicas > 0 {
            cmd("WAIT").arg(self.replicas).arg(wait.as_millis() as u64).write_packed_command(&mut bytes);
        }
        session.connection.set_patience(ANSWER + wait)?;
        session.connection.send(&bytes)?;
        let mut fault = None;
        let mut stored = Vec::with_capacity(counts.len());
        for count in counts {
            match session.connection.receive() {
                Ok(answer) if self.has_done(count, &answer) || self.is_of_member(count, &answer) => {}
                Ok(answer) => match Id::of(&answer) {
                    Some(id) => stored.push((count, id)),
                    None => self.take_back(count, &session.target, "the stream is gone: it was deleted or evicted"),
                },
                Err(CallError::Refused(refusal)) => {
                    if let Some(passing) = self.take_refusal(count, &session.target, refusal) {
                        fault = Some(passing);
                    }
                }
                Err(cut) => {
                    fault = Some(cut);
                    break;
                }
            }
        }
        let is_cut = matches!(fault, Some(CallError::Cut(_) | CallError::Invalid(_)));
        self.note_ids(&stored, &session.target);
        if self.replicas > 0 && !is_cut {
            let answer = session.connection.receive();
            self.confirm(&stored, answer)?;
        }
        fault.map_or(Ok(()), Err)
    }

    /// Encodes what is sent next: first what must be sent again.
    fn encode_batch(&mut self, target: &Target) -> (Vec<u8>, Vec<u64>) {
        let (mut bytes, mut counts) = (Vec::new(), Vec::new());
        let mut state = self.shared.lock();
        if state.target.as_ref().is_none_or(|current| current.generation != target.generation) {
            return (bytes, counts);
        }
        let (most, age_ms) = self.retention.bounds();
        let machines = &mut self.machines;
        let to = Appending { keys: &target.keys, most, age_ms, producer: &self.producer };
        let now = Instant::now();
        for mut sent in mem::take(&mut state.returned) {
            self.count += 1;
            (sent.copies, sent.is_on_wire, sent.id) = (0, false, None);
            state.sent.insert(self.count, sent);
            state.has_unsent = true;
        }
        if state.has_unsent {
            state.has_unsent = false;
            for (count, sent) in &mut state.sent {
                if sent.is_on_wire {
                    continue;
                }
                if counts.len() >= CHUNK || bytes.len() >= CHUNK_BYTES {
                    state.has_unsent = true;
                    break;
                }
                if self.queue > 0 {
                    (sent.deadline, sent.since) = (now + self.timeout, now);
                }
                (sent.is_on_wire, sent.copies, sent.id) = (true, sent.copies + 1, None);
                write_append(&mut bytes, &to, *count, &sent.draft, machines.name_for(&sent.draft));
                counts.push(*count);
            }
        }
        while counts.len() < CHUNK && bytes.len() < CHUNK_BYTES && !state.has_unsent {
            let Some(Waiting { ticket, draft, deadline }) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= draft.bytes();
            self.count += 1;
            write_append(&mut bytes, &to, self.count, &draft, machines.name_for(&draft));
            counts.push(self.count);
            let sent = Sent {
                ticket,
                draft,
                deadline: deadline.unwrap_or(now + self.timeout),
                since: now,
                copies: 1,
                is_on_wire: true,
                id: None,
                is_confirmed: self.replicas == 0,
            };
            state.sent.insert(self.count, sent);
        }
        (bytes, counts)
    }

    /// Takes the answer for a draft of a member that needed no entry, or was carried out before.
    fn has_done(&self, count: u64, answer: &Value) -> bool {
        if !matches!(entry::text(answer), Some(b"done" | b"0-0")) {
            return false;
        }
        let done = self.shared.update(|state| {
            let sent = state.sent.get(&count).filter(|sent| sent.draft.member != MemberPart::None)?;
            let ticket = sent.ticket;
            state.sent.remove(&count);
            Some(ticket)
        });
        done.into_iter().for_each(|ticket| self.shared.reporter.report(Report::Done(ticket)));
        done.is_some() || entry::text(answer) == Some(b"done")
    }

    /// Takes the answer for a draft whose key is that of a member.
    fn is_of_member(&self, count: u64, answer: &Value) -> bool {
        if entry::text(answer) != Some(b"member") {
            return false;
        }
        let error = Error::MemberKey;
        let failure = Failure::new(error.code(), error.field(), &error.to_string());
        let sent = self.shared.update(|state| state.sent.remove(&count));
        sent.into_iter().for_each(|Sent { ticket, .. }| {
            self.shared.reporter.report(Report::Failed { ticket, failure: failure.clone() });
        });
        true
    }

    /// Has the hub announce its members: Redis may have lost what it was told of them.
    fn announce_members(&mut self) {
        self.shared.take_failed_member();
        self.machines.begin();
        self.shared.reporter.report(Report::Announce);
    }

    /// Renews the lease of this machine, and has members leave those whose lease has ended.
    fn tend_members(&mut self) -> Result<(), CallError> {
        if !self.shared.has_members() {
            return Ok(());
        }
        let Some(mut session) = self.session.take() else { return Ok(()) };
        let result = self.tend_machines(&mut session);
        self.session = Some(session);
        if !result? {
            self.announce_members();
        }
        Ok(())
    }

    /// Returns false if the members must be announced again.
    fn tend_machines(&mut self, Session { connection, target, .. }: &mut Session) -> Result<bool, CallError> {
        if !self.machines.tend(connection, &target.keys)? {
            return Ok(false);
        }
        let lapsed = self.machines.lapsed(connection, &target.keys)?;
        let mut bytes = Vec::new();
        let (most, age_ms) = self.retention.bounds();
        let to = Appending { keys: &target.keys, most, age_ms, producer: &self.producer };
        for lapsed in &lapsed {
            self.count += 1;
            write_lapsed(&mut bytes, &to, self.count, lapsed);
        }
        if !lapsed.is_empty() {
            connection.send(&bytes)?;
        }
        for _ in lapsed {
            match connection.receive() {
                Err(CallError::Refused(_)) | Ok(_) => {} // the next look finds it again
                Err(cut) => return Err(cut),
            }
        }
        Ok(self.shared.lock().is_refusing || !self.shared.take_failed_member())
    }

    fn note_ids(&self, stored: &[(u64, Id)], target: &Target) {
        let mut state = self.shared.lock();
        if !stored.is_empty() && self.replicas == 0 {
            state.is_refusing = false;
        }
        for (count, id) in stored {
            if *id > state.read_through && state.generation == target.generation {
                state.acknowledged.insert(*id);
            }
            if let Some(sent) = state.sent.get_mut(count) {
                sent.id = Some(*id);
            }
        }
    }

    /// Takes note that the stream is gone, and so the draft not stored.
    fn take_back(&self, count: u64, target: &Target, reason: &str) {
        self.refused(count);
        self.hint_loss(target.generation, reason);
    }

    /// Takes note that a draft is certainly not stored by what was sent last.
    fn refused(&self, count: u64) {
        self.shared.update(|state| {
            if let Some(sent) = state.sent.get_mut(&count) {
                sent.copies -= 1;
            }
        });
    }

    /// Takes a refusal. Returns it if the draft can be sent again later, on another connection.
    fn take_refusal(&self, count: u64, target: &Target, refusal: Refusal) -> Option<CallError> {
        if refusal.is_passing() {
            self.refused(count);
            return Some(CallError::Refused(refusal));
        }
        let is_lost = refusal.code == "WRONGTYPE"
            || refusal.message.contains("exhausted")
            || refusal.message.contains("equal or smaller");
        if is_lost {
            self.take_back(count, target, &refusal.message);
            return None;
        }
        self.refused(count);
        let sent = self.shared.update(|state| {
            state.is_refusing = true;
            state.sent.remove(&count)
        });
        let message = self.shared.record(self.endpoint.shown(), &CallError::Refused(refusal));
        if let Some(sent) = sent {
            self.shared.fail_sent(&sent, &message);
        }
        None
    }

    /// Returns how long Redis may wait for replicas: until the first draft of a batch fails.
    fn time_for_replicas(&self, counts: &[u64]) -> Duration {
        let state = self.shared.lock();
        let deadlines = counts.iter().filter_map(|count| state.sent.get(count)).map(|sent| sent.deadline);
        let first = deadlines.min().unwrap_or_else(Instant::now);
        first.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)).min(self.timeout)
    }

    /// Releases entries that replicas have. Those that they lack are perhaps lost by the next failover.
    fn confirm(&self, stored: &[(u64, Id)], answer: Result<Value, CallError>) -> Result<(), CallError> {
        let (reached, fault) = match answer {
            Ok(Value::Int(reached)) => (reached, None),
            Ok(_) => (0, None),
            Err(fault @ CallError::Refused(_)) => {
                self.shared.record(self.endpoint.shown(), &fault);
                (0, None)
            }
            Err(fault) => (0, Some(fault)),
        };
        if let Some(fault) = fault {
            return Err(fault);
        }
        let is_reached = reached >= i64::from(self.replicas);
        let failed: Vec<Sent> = self.shared.update(|state| {
            state.is_refusing = !is_reached;
            if is_reached {
                for (count, _) in stored {
                    state.sent.get_mut(count).into_iter().for_each(|sent| sent.is_confirmed = true);
                }
                return Vec::new();
            }
            stored.iter().filter_map(|(count, _)| state.sent.remove(count)).collect()
        });
        if !is_reached {
            let message = format!("{reached} replicas have it, and {} should", self.replicas);
            self.shared.reporter.record_error(&format!("an event was perhaps lost: {message}"));
            failed.iter().for_each(|sent| self.shared.fail_sent(sent, &message));
        }
        Ok(())
    }

    fn hint_loss(&self, generation: u64, reason: &str) {
        self.shared.update(|state| state.lost = Some((generation, reason.into())));
    }

    /// Trims the stream by age and bytes, and looks whether the connection works.
    fn keep_up(&mut self) -> Result<(), CallError> {
        if self.last_upkeep.elapsed() < UPKEEP {
            return Ok(());
        }
        self.last_upkeep = Instant::now();
        let Some(session) = &mut self.session else { return Ok(()) };
        session.connection.set_patience(ANSWER)?;
        if self.shared.lock().is_refusing {
            let is_refusing = is_refusing(&mut session.connection, &session.target.keys.stream, self.replicas)?;
            self.shared.update(|state| state.is_refusing = is_refusing);
        }
        let [time] = session.connection.calls([&cmd("TIME")])?;
        let first = first_to_keep(&mut self.shared.lock(), &self.retention, time.ok().as_ref());
        if let Some(first) = first {
            let mut trim = cmd("XTRIM");
            trim.arg(&session.target.keys.stream).arg("MINID").arg("~").arg(first.to_string());
            let _ = session.connection.calls([&trim])?; // a user who may not trim has MAXLEN
        }
        if self.last_weighing.is_none_or(|last| last.elapsed() >= WEIGH) {
            self.last_weighing = Some(Instant::now());
            let usage = |key: &String| cmd("MEMORY").arg("USAGE").arg(key).clone();
            let StreamKeys { stream, state, .. } = &session.target.keys;
            let weights = session.connection.calls([&usage(stream), &usage(state)])?;
            if let [Ok(Value::Int(stream)), Ok(Value::Int(state))] = weights {
                self.shared.reporter.update(|status| status.bytes = (stream + state).try_into().unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// Asks Redis whether it would refuse an entry: because it is full, or may not be written to, or lacks replicas. It refuses the
/// entry of the question in any case, because its id comes too late; only the reason tells.
fn is_refusing(connection: &mut RedisConnection, stream: &str, replicas: u32) -> Result<bool, CallError> {
    let mut append = cmd("XADD");
    append.arg(stream).arg("NOMKSTREAM").arg("0-1").arg("question").arg("");
    let mut wait = cmd("WAIT");
    wait.arg(replicas).arg(REPLICA_MS);
    let takes =
        |answer: Result<Value, Refusal>| matches!(answer, Err(refusal) if refusal.message.contains("equal or smaller"));
    if replicas == 0 {
        let [answer] = connection.calls([&append])?;
        return Ok(!takes(answer));
    }
    let [answer, reached] = connection.calls([&append, &wait])?;
    let has_replicas = matches!(reached, Ok(Value::Int(reached)) if reached >= i64::from(replicas));
    Ok(!takes(answer) || !has_replicas)
}

/// Returns the id before which the stream need not keep anything. The last entry stays: it shows that nothing is lost.
fn first_to_keep(state: &mut State, retention: &Retention, time: Option<&Value>) -> Option<Id> {
    let by_bytes = state.sizes.cut(retention.bytes);
    let age = retention.age.max(SHORTEST_AGE);
    let oldest = u64::try_from(age.as_millis()).ok().and_then(|age| time.and_then(entry::time)?.checked_sub(age));
    let by_age = oldest.map(|ms| Id { ms, part: 0 }).filter(|first| state.sizes.begins_before(*first));
    let first = by_bytes.max(by_age)?;
    Some(first.min(state.read_through))
}
