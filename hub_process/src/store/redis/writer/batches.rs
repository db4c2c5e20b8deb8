//! Batches: the drafts that are sent together, and Redis' answers to them.

use super::super::super::{MemberPart, Report};
use super::super::append_commands::{write_append, write_lapsed, Appending};
use super::super::call_error::{CallError, Refusal};
use super::super::entry::{self, Id};
use super::super::machines::Machines;
use super::super::shared::{Sent, Shared, State, Target, Waiting};
use super::super::{ANSWER, CHUNK, CHUNK_BYTES};
use super::queue::Queue;
use super::replicas::Replicas;
use super::retention::Retention;
use super::session::Session;
use eventsource_xs::runtime::Error;
use eventsource_xs::wire::Failure;
use redis::Value;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Drafts that are sent together.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    counts: Vec<u64>,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.counts.len() >= CHUNK || self.bytes.len() >= CHUNK_BYTES
    }
}

/// Sends batches under the counts of a producer.
pub struct Batches {
    shared: Arc<Shared>,
    /// Where Redis is, for people.
    place: String,
    producer: Arc<str>,
    /// The count of the last draft.
    count: u64,
    machines: Machines,
    replicas: Replicas,
    timeout: Duration,
}

impl Batches {
    pub fn new(shared: Arc<Shared>, place: &str, producer: &str, replicas: Replicas, timeout: Duration) -> Self {
        let (place, machines) = (place.into(), Machines::new(producer));
        Self { shared, place, producer: producer.into(), count: 0, machines, replicas, timeout }
    }

    /// Sends as much as fits in a batch, and takes the answers.
    pub fn send(&mut self, session: &mut Session, queue: &mut Queue, retention: &Retention) -> Result<(), CallError> {
        let Batch { mut bytes, counts } = self.encode(&session.target, queue, retention);
        if counts.is_empty() {
            return Ok(());
        }
        let patience = self.replicas.patience(&self.shared, &counts);
        self.replicas.write_wait(&mut bytes, patience);
        session.connection.set_patience(ANSWER + patience)?;
        session.connection.send(&bytes)?;
        let (stored, fault) = self.take_answers(session, counts);
        let is_cut = matches!(fault, Some(CallError::Cut(_) | CallError::Invalid(_)));
        self.keep_ids(&stored, &session.target);
        if self.replicas.are_needed() && !is_cut {
            let answer = session.connection.receive();
            self.replicas.confirm(&self.shared, &self.place, &stored, answer)?;
        }
        fault.map_or(Ok(()), Err)
    }

    /// Encodes what is sent next: first what must be sent again.
    fn encode(&mut self, target: &Target, queue: &mut Queue, retention: &Retention) -> Batch {
        let mut batch = Batch::default();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if state.target.as_ref().is_none_or(|current| current.generation != target.generation) {
            return batch;
        }
        let (most, age_ms) = retention.bounds();
        let producer = Arc::clone(&self.producer);
        let to = Appending { keys: &target.keys, most, age_ms, producer: &producer };
        self.renumber_returned(&mut state);
        self.encode_unsent(&mut batch, &mut state, &to, queue.outlasts());
        if !state.has_unsent {
            self.encode_queued(&mut batch, &mut state, &to, queue);
        }
        batch
    }

    /// Gives drafts of another epoch new counts.
    fn renumber_returned(&mut self, state: &mut State) {
        for mut sent in mem::take(&mut state.returned) {
            self.count += 1;
            (sent.copies, sent.is_on_wire, sent.id) = (0, false, None);
            state.sent.insert(self.count, sent);
            state.has_unsent = true;
        }
    }

    /// Encodes drafts that were sent on another connection. Those that have waited for Redis have their time from now on.
    fn encode_unsent(&mut self, batch: &mut Batch, state: &mut State, to: &Appending<'_>, have_waited: bool) {
        if !mem::take(&mut state.has_unsent) {
            return;
        }
        let now = Instant::now();
        for (count, sent) in state.sent.iter_mut().filter(|(_, sent)| !sent.is_on_wire) {
            if batch.is_full() {
                state.has_unsent = true;
                break;
            }
            if have_waited {
                (sent.deadline, sent.since) = (now + self.timeout, now);
            }
            (sent.is_on_wire, sent.copies, sent.id) = (true, sent.copies + 1, None);
            write_append(&mut batch.bytes, to, *count, &sent.draft, self.machines.name_for(&sent.draft));
            batch.counts.push(*count);
        }
    }

    /// Encodes drafts that have not been sent.
    fn encode_queued(&mut self, batch: &mut Batch, state: &mut State, to: &Appending<'_>, queue: &mut Queue) {
        let now = Instant::now();
        while !batch.is_full() {
            let Some(Waiting { ticket, draft, deadline }) = queue.pop() else { break };
            self.count += 1;
            write_append(&mut batch.bytes, to, self.count, &draft, self.machines.name_for(&draft));
            batch.counts.push(self.count);
            let sent = Sent {
                ticket,
                draft,
                deadline: deadline.unwrap_or(now + self.timeout),
                since: now,
                copies: 1,
                is_on_wire: true,
                id: None,
                is_confirmed: !self.replicas.are_needed(),
            };
            state.sent.insert(self.count, sent);
        }
    }

    /// Takes the answers to a batch. Returns the ids of what is stored, and why the connection is of no use any more.
    fn take_answers(&self, session: &mut Session, counts: Vec<u64>) -> (Vec<(u64, Id)>, Option<CallError>) {
        let (mut stored, mut fault) = (Vec::with_capacity(counts.len()), None);
        for count in counts {
            match session.connection.receive() {
                Ok(answer) => stored.extend(self.take_answer(count, &answer, &session.target).map(|id| (count, id))),
                Err(CallError::Refused(refusal)) => {
                    fault = self.take_refusal(count, &session.target, refusal).or(fault);
                }
                Err(cut) => return (stored, Some(cut)),
            }
        }
        (stored, fault)
    }

    /// Takes the answer to a draft. Returns the id if it is stored.
    fn take_answer(&self, count: u64, answer: &Value, target: &Target) -> Option<Id> {
        let text = entry::text(answer);
        match text {
            Some(b"done" | b"0-0") if self.has_done(count) || text == Some(b"done") => return None,
            Some(b"member") => {
                self.refuse_key(count);
                return None;
            }
            _ => {}
        }
        let id = Id::of(answer);
        if id.is_none() {
            self.take_back(count, target, "the stream is gone: it was deleted or evicted");
        }
        id
    }

    /// Takes note that a draft of a member needed no entry, or was carried out before. Returns false if it is not of a member.
    fn has_done(&self, count: u64) -> bool {
        let done = self.shared.update(|state| {
            let sent = state.sent.get(&count).filter(|sent| sent.draft.member != MemberPart::None)?;
            let ticket = sent.ticket;
            state.sent.remove(&count);
            Some(ticket)
        });
        done.into_iter().for_each(|ticket| self.shared.reporter.report(Report::Done(ticket)));
        done.is_some()
    }

    /// Fails a draft whose key is that of a member.
    fn refuse_key(&self, count: u64) {
        let error = Error::MemberKey;
        let failure = Failure::new(error.code(), error.field(), &error.to_string());
        let sent = self.shared.update(|state| state.sent.remove(&count));
        sent.into_iter().for_each(|Sent { ticket, .. }| {
            self.shared.reporter.report(Report::Failed { ticket, failure: failure.clone() });
        });
    }

    fn keep_ids(&self, stored: &[(u64, Id)], target: &Target) {
        let mut state = self.shared.lock();
        if !stored.is_empty() && !self.replicas.are_needed() {
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
        self.recall(count);
        self.shared.hint_loss(target.generation, reason);
    }

    /// Takes note that a draft is certainly not stored by what was sent last.
    fn recall(&self, count: u64) {
        self.shared.update(|state| {
            if let Some(sent) = state.sent.get_mut(&count) {
                sent.copies -= 1;
            }
        });
    }

    /// Takes a refusal. Returns it if the draft can be sent again later, on another connection.
    fn take_refusal(&self, count: u64, target: &Target, refusal: Refusal) -> Option<CallError> {
        if refusal.is_passing() {
            self.recall(count);
            return Some(CallError::Refused(refusal));
        }
        let is_lost = refusal.code == "WRONGTYPE"
            || refusal.message.contains("exhausted")
            || refusal.message.contains("equal or smaller");
        if is_lost {
            self.take_back(count, target, &refusal.message);
            return None;
        }
        self.recall(count);
        let sent = self.shared.update(|state| {
            state.is_refusing = true;
            state.sent.remove(&count)
        });
        let message = self.shared.record(&self.place, &CallError::Refused(refusal));
        if let Some(sent) = sent {
            self.shared.fail_sent(&sent, &message);
        }
        None
    }

    /// Renews the lifetime of this machine, and lets members leave those whose lifetime has ended. Returns false if the members
    /// must be announced again.
    pub fn tend_machines(&mut self, session: &mut Session, retention: &Retention) -> Result<bool, CallError> {
        let Session { connection, target, .. } = session;
        if !self.machines.tend(connection, &target.keys)? {
            return Ok(false);
        }
        let lapsed = self.machines.lapsed(connection, &target.keys)?;
        let mut bytes = Vec::new();
        let (most, age_ms) = retention.bounds();
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

    /// Takes another name for this machine. Its members are announced under it.
    pub fn rename_machine(&mut self) {
        self.machines.begin();
    }

    /// Ends the lifetime of this machine.
    pub fn end_machine(&mut self, Session { connection, target, .. }: &mut Session) {
        self.machines.end(connection, &target.keys);
    }

    /// Returns true if members of other machines are still to be read.
    pub fn is_scanning(&self) -> bool {
        self.machines.is_scanning()
    }

    /// Gives drafts that were sent new counts if the reader has read a later one: it would take theirs for repetitions.
    pub fn renumber_passed(&mut self, state: &mut State) {
        let first_new = state.own_count.saturating_add(1);
        let rest = state.sent.split_off(&first_new);
        let before = mem::replace(&mut state.sent, rest);
        for sent in before.into_values() {
            self.count += 1;
            state.sent.insert(self.count, sent);
        }
        state.has_unsent = !state.sent.is_empty();
    }
}
