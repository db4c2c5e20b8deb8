//! The thread that reads the stream, and reports everything that is in it.

mod reconnecting;

use super::super::{Began, Draft, MemberPart, StoreEntry, StoreReport};
use super::answer_size::AnswerSize;
use super::connection::{CallError, RedisConnection};
use super::endpoint::Endpoint;
use super::entry::{self, Id, Info, Producers, Stored};
use super::epoch::{Keys, Pointer};
use super::losses::{self, Loss, Position};
use super::shared::{Shared, Sizes, Target};
use super::state::{self, Contents};
use super::ticket_keys;
use super::{ANSWER, BLOCK, CHECK, CHUNK, CHUNK_BYTES, STALE};
use crate::process_log::log_message;
use eventsource_xs::histogram::Scale;
use eventsource_xs::hub::{History, Retain};
use redis::{cmd, from_redis_value, FromRedisValue, Value};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most epochs that are remembered, which must not come back.
const MOST_EPOCHS: usize = 1000;
/// The time that Redis may take for a chunk of the history.
const HISTORY_ANSWER: Duration = Duration::from_secs(10);

/// The reason for which the reader cannot simply continue.
enum Trouble {
    CallError(CallError),
    Loss(Loss),
}

impl From<CallError> for Trouble {
    fn from(fault: CallError) -> Self {
        Self::CallError(fault)
    }
}

impl From<Loss> for Trouble {
    fn from(loss: Loss) -> Self {
        Self::Loss(loss)
    }
}

impl Trouble {
    /// Makes a loss of a refusal that shows one.
    fn of(fault: CallError, epoch: &str) -> Self {
        match losses::shown_by(&fault) {
            Some(reason) => Loss::new(epoch, reason).into(),
            None => fault.into(),
        }
    }
}

/// Reads an answer about the stream of an epoch.
fn read<T: FromRedisValue>(answer: Result<Value, CallError>, epoch: &str) -> Result<T, Trouble> {
    let answer = answer.map_err(|fault| Trouble::of(fault, epoch))?;
    Ok(from_redis_value(answer).map_err(CallError::from)?)
}

/// Adds the likely cause to a connection that was lost instead of a short answer.
fn of_short_answer(fault: CallError) -> CallError {
    let likely =
        "if it closes connections, set its client-output-buffer-limit for normal clients to 0, or to at least six \
                  times the size of your largest event";
    match fault {
        CallError::Cut(why) => CallError::Cut(format!("{why}; {likely}")),
        fault => fault,
    }
}

/// Returns how many bytes entries have.
fn size(list: &[Stored]) -> usize {
    list.iter().filter_map(|stored| stored.event.as_ref()).map(|event| entry::size(&event.draft)).sum()
}

pub struct Reader {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    keys: Keys,
    producer: Box<[u8]>,
    position: Option<Position>,
    /// The epochs that have begun here, the last ones.
    epochs: VecDeque<String>,
    producers: Producers,
    last_check: Instant,
    /// True if the stream had passed everything that it had when the state began to be read.
    has_missed_changes: bool,
    /// How much Redis is asked for.
    answer: AnswerSize,
    /// The kinds of trouble that people were told of.
    warned: HashSet<&'static str>,
}

impl Reader {
    pub fn new(shared: Arc<Shared>, endpoint: Endpoint, hub: &str, producer: &str) -> Self {
        Self {
            shared,
            keys: Keys::new(&endpoint.settings.prefix, hub),
            endpoint,
            producer: producer.as_bytes().into(),
            position: None,
            epochs: VecDeque::new(),
            producers: Producers::default(),
            last_check: Instant::now(),
            has_missed_changes: false,
            answer: AnswerSize::default(),
            warned: HashSet::new(),
        }
    }

    /// Reads until the connection breaks, or the store is closed, which is no fault.
    fn serve(&mut self, connection: &mut RedisConnection, was_ready: &mut bool) -> Option<CallError> {
        let mut next = match self.position {
            Some(_) => self.check(connection),
            None => self.begin_first(connection),
        };
        loop {
            next = match next {
                Ok(()) if self.shared.lock().is_closing => return None,
                Ok(()) => {
                    *was_ready |= self.publish_target(connection);
                    self.round(connection)
                }
                Err(Trouble::Loss(loss)) => self.begin_after(connection, loss),
                Err(Trouble::CallError(fault)) => {
                    let is_shortest = self.answer.reduce();
                    return Some(if is_shortest { of_short_answer(fault) } else { fault });
                }
            }
        }
    }

    /// Tells the writer where to write, once the history is complete.
    fn publish_target(&mut self, connection: &RedisConnection) -> bool {
        let Some(position) = &self.position else { return false };
        if position.history_end.is_some() {
            return false;
        }
        self.shared.reporter.set_read(Some(Instant::now()));
        self.shared.update(|state| {
            state.last_round = Instant::now();
            if state.target.as_ref().is_none_or(|target| target.url != connection.url) {
                let (generation, url) = (state.generation, connection.url.clone());
                state.target = Some(Target { url, keys: position.keys.clone(), generation });
            }
        });
        true
    }

    fn begin_first(&mut self, connection: &mut RedisConnection) -> Result<(), Trouble> {
        let pointer = match self.keys.read(connection)? {
            Some(pointer) => pointer,
            None => self.keys.replace(connection, "", "")?,
        };
        self.begin(connection, pointer, "")
    }

    /// Begins with another epoch after a loss, which another hub has perhaps begun.
    fn begin_after(&mut self, connection: &mut RedisConnection, loss: Loss) -> Result<(), Trouble> {
        let reason = loss.reason().to_owned();
        self.shared.reporter.record_error(&reason);
        let pointer = match (loss, &self.position) {
            (Loss::Lost { epoch, .. }, _) => self.keys.replace(connection, &epoch, &reason)?,
            (Loss::Changed(pointer), _) => pointer,
            (Loss::Missed, Some(position)) => position.pointer.clone(),
            (Loss::Missed, None) => return self.begin_first(connection),
        };
        self.begin(connection, pointer, &reason)
    }

    /// Reports a beginning: the state before the history, then the history.
    fn begin(&mut self, connection: &mut RedisConnection, pointer: Pointer, reason: &str) -> Result<(), Trouble> {
        let keys = self.keys.of(&pointer.epoch);
        let stream = &keys.stream;
        let refused = |fault| Trouble::of(fault, &pointer.epoch);
        connection.set_read_timeout(HISTORY_ANSWER)?;
        let mut asked = self.answer.ask(); // XINFO answers with two entries
        let (before, retained, info, first) = if std::mem::take(&mut self.has_missed_changes) {
            let command = state::read_command(&keys, asked);
            let (retained, info, first) =
                connection.call::<(Contents, Info, Vec<Stored>)>(&command).map_err(refused)?;
            (None, retained, info, first)
        } else {
            let read_info = cmd("XINFO").arg("STREAM").arg(stream).clone();
            let before = connection.call::<Info>(&read_info).map_err(refused)?.last;
            let retained = Contents::read(connection, &keys.state, &mut self.answer).map_err(refused)?;
            asked = self.answer.ask();
            let read_first = cmd("XRANGE").arg(stream).arg("-").arg("+").arg("COUNT").arg(asked).clone();
            let [info, first] = connection.calls([&read_info, &read_first])?;
            (Some(before), retained, read(info, &pointer.epoch)?, read::<Vec<Stored>>(first, &pointer.epoch)?)
        };
        self.answer.adapt(first.len(), size(&first));
        pointer.compare_state(&retained.epoch)?;
        let first_id = first.first().map(|first| first.id);
        if before.is_some_and(|before| info.last > before && first_id.is_none_or(|first| first > before)) {
            self.has_missed_changes = true;
            return Err(Loss::Missed.into()); // perhaps one that has changed the state while that was read
        }
        retained.remove_producers(connection, &keys.state, info.last)?;
        let last_seq = pointer.seq(info.last)?;
        let evicted_through = match first.first() {
            Some(first) => pointer.seq(first.id)?.saturating_sub(1),
            None => last_seq,
        };
        let ticket_keys = ticket_keys::read(connection, &self.keys, &pointer.epoch)?;
        self.start_generation(&pointer); // from here on nothing fails, so that it is known what was reported
        self.shared.reporter.update(|status| status.events = info.length);
        let (epoch, cipher_key) = (pointer.epoch.as_str().into(), pointer.cipher_key);
        let history = History { epoch, cipher_key, last_seq, evicted_through, ..History::default() };
        let (reason, lingering) = (reason.into(), Box::default());
        self.shared.reporter.report(StoreReport::Began(Began { history, reason, lingering }));
        self.report_ticket_keys(ticket_keys);
        self.report_state(retained, &pointer, first_id.unwrap_or(Id { part: info.last.part + 1, ..info.last }));
        let before_all = Id { ms: pointer.origin, part: 0 };
        let last = if first.is_empty() { info.last } else { before_all };
        self.position = Some(Position { pointer, keys, last, mark: None, history_end: Some(info.last) });
        let is_complete = first.len() < asked;
        self.take(first)?;
        if is_complete {
            self.finish_history();
            return Ok(());
        }
        self.read_on(connection)
    }

    /// Reports the retained events that are older than the history.
    fn report_state(&mut self, retained: Contents, pointer: &Pointer, end: Id) {
        let entry = |(id, draft): (Id, Draft)| {
            let seq = id.seq(pointer.origin)?;
            Some((id, StoreEntry { seq, at: id.ms, ticket: None, draft }))
        };
        let older = retained.events.into_iter().take_while(|(id, _)| *id < end).filter_map(entry);
        let (ids, mut out): (Vec<Id>, Vec<StoreEntry>) = older.unzip();
        let unread = out.iter().position(|entry| entry.draft.is_unread());
        flush(&self.shared, &mut out);
        if let Some(index) = unread {
            self.warn_of_unread(ids[index]);
        }
    }

    /// Reports the keys of tickets, if Redis gives them.
    fn report_ticket_keys(&mut self, answer: ticket_keys::Answer) {
        match answer {
            Ok(None) => {}
            Ok(Some(keys)) => self.shared.reporter.report(StoreReport::TicketKeys(keys)),
            Err(why) => {
                let message = format!(
                    "Redis at {} gives no keys of tickets, so the application is asked for each stream: {why}; its user \
                     needs the commands HMGET, HSET, DEL, PEXPIRE and TIME, also in scripts",
                    self.shared.place
                );
                self.warn("tickets", &message);
            }
        }
    }

    /// Makes the drafts in flight those of the new epoch. In the same epoch they are perhaps in the history.
    fn start_generation(&mut self, pointer: &Pointer) {
        let before = self.position.as_ref().map(|position| &position.pointer.epoch);
        let is_same = before == Some(&pointer.epoch);
        self.producers = Producers::default();
        self.shared.reporter.set_read(None);
        self.epochs.retain(|known| *known != pointer.epoch);
        self.epochs.push_back(pointer.epoch.clone());
        if self.epochs.len() > MOST_EPOCHS {
            self.epochs.pop_front();
        }
        self.shared.update(|state| {
            state.in_flight.restart(is_same);
            state.generation += 1;
            state.target = None;
            state.sizes = Sizes::default();
            state.lost = None;
        });
        if before.is_some() && !is_same {
            self.shared.reporter.update(|status| status.epoch_changes += 1);
        }
    }

    /// Reports that the history is complete. Drafts of this epoch that were sent before and are not in it were perhaps evicted.
    fn finish_history(&mut self) {
        let Some(position) = &mut self.position else { return };
        if position.history_end.take().is_none() {
            return;
        }
        self.shared.reporter.set_read(Some(Instant::now()));
        self.shared.reporter.report(StoreReport::Ready);
        let missing = self.shared.update(|state| state.in_flight.remove_missing());
        for sent in missing {
            self.shared.fail_sent(&sent, "it is not in the history that this hub has read after a pause");
        }
    }

    /// Reads what follows the last entry until nothing follows. The answer begins with the last entry if nothing after it was
    /// evicted, which XREAD would not show.
    fn read_on(&mut self, connection: &mut RedisConnection) -> Result<(), Trouble> {
        loop {
            let Some(position) = &self.position else { return Ok(()) };
            let asked = self.answer.ask();
            let mut command = cmd("XRANGE");
            command.arg(&position.keys.stream).arg(position.last.to_string()).arg("+").arg("COUNT").arg(asked);
            let refused = |fault| Trouble::of(fault, &position.pointer.epoch);
            let mut list: Vec<Stored> = connection.call(&command).map_err(refused)?;
            if !position.is_last(list.first())? {
                return Err(Loss::Missed.into());
            }
            self.answer.adapt(list.len(), size(&list));
            let is_complete = list.len() < asked;
            list.remove(0);
            self.take(list)?;
            let position = self.position.as_ref();
            if is_complete
                || position.is_some_and(|position| position.history_end.is_some_and(|end| position.last >= end))
            {
                self.finish_history();
            }
            if is_complete {
                return Ok(());
            }
            self.shared.update(|state| state.last_round = Instant::now());
        }
    }

    /// Reads new entries, or looks for a loss.
    fn round(&mut self, connection: &mut RedisConnection) -> Result<(), Trouble> {
        let Some(position) = &self.position else { return self.begin_first(connection) };
        if let Some(reason) = &self.shared.lock().lost {
            return Err(Loss::new(&position.pointer.epoch, reason).into());
        }
        connection.set_read_timeout(ANSWER + BLOCK)?;
        if self.last_check.elapsed() >= CHECK {
            self.check(connection)?;
            if self.shared.update(|state| std::mem::take(&mut state.wants_ticket_keys)) {
                let Some(position) = &self.position else { return Ok(()) };
                let read = ticket_keys::read(connection, &self.keys, &position.pointer.epoch)?;
                self.report_ticket_keys(read);
            }
            return self.look_around(connection);
        }
        let (block, asked) = (BLOCK.as_millis() as u64, self.answer.entries().min(CHUNK));
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(asked).arg("BLOCK").arg(block);
        command.arg("STREAMS").arg(&position.keys.stream).arg(position.last.to_string());
        let streams: Vec<(Value, Vec<Stored>)> = connection.call(&command)?;
        let list: Vec<Stored> = streams.into_iter().flat_map(|(_, list)| list).collect();
        if list.len() >= asked || size(&list) >= CHUNK_BYTES {
            return self.read_on(connection);
        }
        self.take(list)
    }

    /// Looks for a loss, and reads on.
    fn check(&mut self, connection: &mut RedisConnection) -> Result<(), Trouble> {
        let Some(position) = &self.position else { return self.begin_first(connection) };
        let (last, asked) = (position.last, self.answer.ask().min(CHUNK));
        self.last_check = Instant::now();
        let [time, state, pointer, info, list] = connection.calls([
            &cmd("TIME"),
            cmd("HGET").arg(&position.keys.state).arg(state::EPOCH), // before the pointer: another hub may replace both
            &self.keys.read_command(),
            cmd("XINFO").arg("STREAM").arg(&position.keys.stream),
            cmd("XRANGE").arg(&position.keys.stream).arg(last.to_string()).arg("+").arg("COUNT").arg(asked),
        ])?;
        let epoch = &position.pointer.epoch;
        self.set_clock(time);
        position.compare_pointer(Pointer::parse(read(pointer, epoch)?)?, &self.epochs)?;
        position.pointer.compare_state(&read::<Vec<u8>>(state, epoch)?)?;
        let info: Info = read(info, epoch)?;
        let mut list: Vec<Stored> = read(list, epoch)?;
        self.answer.adapt(list.len(), size(&list));
        let exists = position.compare_stream(&info, list.first())?;
        let is_complete = list.len() < asked;
        if exists {
            list.remove(0);
        }
        self.shared.update(|state| {
            state.last_round = Instant::now();
            if let Some(first) = info.first {
                state.sizes.forget_before(first);
            }
        });
        self.shared.reporter.update(|status| status.events = info.length);
        self.take(list)?;
        if !is_complete {
            return self.read_on(connection);
        }
        // Also if the last entry was deleted by hand, the writer must not wait for it.
        self.shared.update(|state| state.in_flight.read(&[], info.last));
        self.finish_history();
        Ok(())
    }

    /// Looks whether this is still the Redis that takes entries.
    fn look_around(&mut self, connection: &RedisConnection) -> Result<(), Trouble> {
        self.shared.refresh();
        let state = self.shared.lock();
        if state.master.as_ref().is_some_and(|url| *url != connection.url) {
            return Err(CallError::Cut(format!("{} is no longer the master", connection.address)).into());
        }
        let unread = state.in_flight.has_overdue(STALE);
        drop(state);
        if unread {
            return Err(CallError::Cut(format!("{} lacks entries that it has acknowledged", connection.address)).into());
        }
        Ok(())
    }

    /// Reports entries.
    fn take(&mut self, list: Vec<Stored>) -> Result<(), Trouble> {
        let Some(position) = &mut self.position else { return Ok(()) };
        let mut out = Vec::with_capacity(list.len());
        let mut sizes = Vec::with_capacity(list.len());
        let mut own = Vec::new();
        let mut trouble = None;
        let mut unread = None;
        if let Some(last) = list.last() {
            position.mark = last.mark();
        }
        for stored in list {
            let id = stored.id;
            let seq = match position.pointer.seq(id) {
                Ok(seq) => seq,
                Err(loss) => {
                    trouble = Some(loss);
                    break;
                }
            };
            position.last = id;
            let Some(event) = stored.event else { continue };
            sizes.push((id, entry::size(&event.draft)));
            unread = unread.or_else(|| event.draft.is_unread().then_some(id));
            if event.producer == self.producer {
                own.push(id);
            }
            let is_new = self.producers.note(&event.producer, event.count, id);
            if !is_new && event.draft.retain == Retain::No {
                continue;
            }
            let ticket = (event.producer == self.producer)
                .then(|| self.shared.claim(event.count, || flush(&self.shared, &mut out)))
                .flatten();
            out.push(StoreEntry { seq, at: id.ms, ticket, draft: event.draft });
        }
        let lag = match out.last() {
            Some(entry) if position.history_end.is_none() => Some(self.shared.reporter.age(entry.at)),
            _ => None,
        };
        flush(&self.shared, &mut out);
        let last = position.last;
        self.shared.update(|state| {
            sizes.into_iter().for_each(|(id, size)| state.sizes.add(id, size));
            state.in_flight.read(&own, last);
            state.last_round = Instant::now();
        });
        if let Some(lag) = lag {
            self.shared.reporter.update(|status| {
                status.lag = lag;
                status.arrivals.record(&Scale::DELAYS, Duration::from_millis(lag));
            });
        }
        if let Some(id) = unread {
            self.warn_of_unread(id);
        }
        trouble.map_or(Ok(()), |loss| Err(loss.into()))
    }

    fn warn_of_unread(&mut self, id: Id) {
        let message =
            format!("this machine cannot read the entry {id}, which is of a later version: upgrade this machine too");
        self.warn("unread", &message);
    }

    /// Takes note of trouble of some kind: the log is told once, the status each time.
    fn warn(&mut self, kind: &'static str, message: &str) {
        if self.warned.insert(kind) {
            log_message(message);
        }
        self.shared.reporter.record_error(message);
    }
}

/// Reports entries, and takes note of members.
fn flush(shared: &Shared, out: &mut Vec<StoreEntry>) {
    if out.iter().any(|entry| entry.draft.member != MemberPart::None) {
        shared.lock().has_members = true;
    }
    if !out.is_empty() {
        shared.reporter.report(StoreReport::Entries(std::mem::take(out)));
    }
}
