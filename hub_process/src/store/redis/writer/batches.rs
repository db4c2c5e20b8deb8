//! Batches: the drafts that are sent together, the commands that append them to the stream, and Redis' answers to them.

use super::super::super::{Draft, DraftKind, MemberPart, StoreReport};
use super::super::connection::{CallError, Refusal};
use super::super::entry::{self, Id};
use super::super::epoch::StreamKeys;
use super::super::in_flight::{InFlight, SendEvent};
use super::super::losses;
use super::super::machines::{Lapsed, Machines, LIFETIME};
use super::super::shared::{Shared, Target};
use super::super::{scripts, state, ANSWER, CHUNK, CHUNK_BYTES};
use super::replicas::Replicas;
use super::upkeep::entries_and_age;
use super::Session;
use eventsource_xs::codec::encode;
use eventsource_xs::hub::{self, Retain};
use eventsource_xs::log::Bounds;
use eventsource_xs::wire::Failure;
use redis::{cmd, Value};
use std::sync::Arc;

/// Sends batches under the counts of a producer.
pub struct Batches {
    shared: Arc<Shared>,
    /// Where Redis is, for people.
    place: String,
    producer: Box<str>,
    /// The producer of the events with which members of other machines leave, and the count of the last one.
    reaper: Box<str>,
    reaped: u64,
    pub machines: Machines,
    replicas: Replicas,
}

impl Batches {
    pub fn new(shared: Arc<Shared>, place: &str, producer: &str, replicas: Replicas) -> Self {
        let (place, machines) = (place.into(), Machines::new(producer));
        let reaper = format!("{producer}r").into();
        Self { shared, place, producer: producer.into(), reaper, reaped: 0, machines, replicas }
    }

    /// Sends as much as fits in a batch, and takes the answers.
    pub fn send(&mut self, session: &mut Session, retention: &Bounds) -> Result<(), CallError> {
        let (mut bytes, counts) = self.encode(&session.target, retention);
        if counts.is_empty() {
            return Ok(());
        }
        let timeout = self.replicas.timeout(&self.shared, &counts);
        self.replicas.write_wait(&mut bytes, timeout);
        session.connection.set_read_timeout(ANSWER + timeout)?;
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

    /// Encodes what is sent next. Returns the commands, and the counts of their drafts.
    fn encode(&mut self, target: &Target, retention: &Bounds) -> (Vec<u8>, Vec<u64>) {
        let Self { shared, producer, machines, .. } = self;
        let (mut bytes, mut counts) = (Vec::new(), Vec::new());
        let mut state = shared.lock();
        if state.lost.is_some() || state.target.as_ref().is_none_or(|current| current.generation != target.generation) {
            return (bytes, counts);
        }
        let (most, age_ms) = entries_and_age(retention);
        let to = Appending { keys: &target.keys, most, age_ms, producer };
        state.in_flight.send(|count, draft| {
            let has_room = counts.len() < CHUNK && bytes.len() < CHUNK_BYTES;
            if has_room {
                write_append(&mut bytes, &to, count, draft, machines.name_for(draft));
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
        let reporter = &self.shared.reporter;
        let text = entry::text(answer);
        if let Some(b"done" | b"0-0") = text {
            // A draft of a member needed no entry, or was carried out before.
            let done = self.in_flight(|in_flight| in_flight.remove_of_member(count));
            let is_done = done.is_some() || text == Some(b"done");
            done.into_iter().for_each(|sent| reporter.report(StoreReport::Done(sent.ticket)));
            if is_done {
                return None;
            }
        } else if text == Some(b"member") {
            let failure = || Failure::from(hub::Refusal::MemberKey);
            let sent = self.in_flight(|in_flight| in_flight.remove(count));
            sent.into_iter()
                .for_each(|sent| reporter.report(StoreReport::Failed { ticket: sent.ticket, failure: failure() }));
            return None;
        }
        let id = Id::of(answer);
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
    fn take_refusal(&self, count: u64, target: &Target, refusal: Refusal) -> Option<CallError> {
        self.in_flight(|in_flight| in_flight.apply([count], SendEvent::Refused));
        if refusal.is_passing() {
            return Some(CallError::Refused(refusal));
        }
        if let Some(reason) = losses::shown_by(&refusal) {
            self.shared.hint_loss(target.generation, reason);
            return None;
        }
        let sent = self.shared.update(|state| {
            state.is_refusing = true;
            state.in_flight.remove(count)
        });
        let message = self.shared.record(&self.place, &CallError::Refused(refusal));
        sent.into_iter().for_each(|sent| self.shared.fail_sent(&sent, &message));
        None
    }

    /// Renews the lifetime of this machine, and lets members leave those whose lifetime has ended. Returns false if the members
    /// must be announced again.
    pub fn tend_machines(&mut self, session: &mut Session, retention: &Bounds) -> Result<bool, CallError> {
        let Session { connection, target, .. } = session;
        if !self.machines.tend(connection, &target.keys)? {
            return Ok(false);
        }
        let lapsed = self.machines.lapsed(connection, &target.keys)?;
        let mut bytes = Vec::new();
        let (most, age_ms) = entries_and_age(retention);
        let to = Appending { keys: &target.keys, most, age_ms, producer: &self.reaper };
        for lapsed in &lapsed {
            self.reaped += 1;
            write_lapsed(&mut bytes, &to, self.reaped, lapsed);
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
}

/// How entries are appended.
struct Appending<'a> {
    keys: &'a StreamKeys,
    /// The retention of the stream.
    most: usize,
    age_ms: u64,
    producer: &'a str,
}

/// Appends the command that stores a draft. Redis stores the names of fields once for a hundred entries that have the same.
/// Every string of an entry costs Redis and each hub that reads it, so what is empty has no field, and the name of the key's
/// field says what the event does to the state.
/// `machine` is the one that a member is on, or not.
fn write_append(out: &mut Vec<u8>, to: &Appending<'_>, count: u64, draft: &Draft, machine: &str) {
    let happened = match draft.member {
        MemberPart::None => return write(out, to, count, draft, None),
        MemberPart::Here(_) => "here",
        MemberPart::Changed(_) => "changed",
        MemberPart::Gone => "gone",
    };
    write(out, to, count, draft, Some((happened, machine)));
}

/// Appends the command that removes a machine, whose lifetime has ended, from a member.
fn write_lapsed(out: &mut Vec<u8>, to: &Appending<'_>, count: u64, Lapsed { machine, draft }: &Lapsed) {
    write(out, to, count, draft, Some(("reap", machine)));
}

fn write(out: &mut Vec<u8>, to: &Appending<'_>, count: u64, draft: &Draft, member: Option<(&str, &str)>) {
    let Appending { keys: StreamKeys { stream, state, once, .. }, most, age_ms, producer } = *to;
    let mut command;
    if draft.retain == Retain::No {
        command = cmd("XADD");
        command.arg(stream).arg("NOMKSTREAM").arg("MAXLEN").arg("~").arg(most).arg("*");
    } else {
        command = cmd("EVAL");
        command.arg(if member.is_some() { scripts::APPEND_MEMBER.as_str() } else { scripts::APPEND.as_str() });
        command.arg(3).arg(stream).arg(state).arg(once);
        if let Some((happened, machine)) = member {
            command.arg(happened).arg(machine).arg(LIFETIME.as_millis() as u64);
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

#[cfg(test)]
mod tests {
    use super::super::super::entry::{event, Event};
    use super::super::super::epoch::Keys;
    use super::*;
    use eventsource_xs::event::{Field, Text, Unsequenced};
    use eventsource_xs::hub::{EndRequest, KeptMember};
    use eventsource_xs::wire::FieldList;
    use std::iter;

    /// Returns the event of the entry that a command adds.
    fn added(draft: &Draft) -> Event {
        let mut bytes = Vec::new();
        let keys = Keys::new("es", "shop").of("e1");
        let to = Appending { keys: &keys, most: 1000, age_ms: 60_000, producer: "producer" };
        write_append(&mut bytes, &to, 7, draft, "m");
        let Value::Array(mut words) = redis::parse_redis_value(&bytes).expect("a command") else {
            panic!("no command")
        };
        // After XADD stream NOMKSTREAM MAXLEN ~ 1000 *, or EVAL script 3 stream state once 1000 60000 field. For members,
        // three more come before 1000.
        let before = if draft.retain == Retain::No { 7 } else { 9 };
        let fields = words.split_off(before + if draft.member == MemberPart::None { 0 } else { 3 });
        event(fields).expect("an event")
    }

    #[test]
    fn an_event_is_read_as_it_was_added_with_and_without_keys() {
        for (key, once) in [("", ""), ("k", ""), ("", "o"), ("k", "o")] {
            for retain in Retain::ALL {
                let [channel, key, once] = ["news", key, once].map(|text| text.as_bytes().into());
                let fields = FieldList::of([Field::Data(Text::from("1"))]);
                let draft = Draft { channel, key, once, fields, retain, ..Draft::default() };
                let Event { draft: read, producer, count } = added(&draft);
                assert_eq!((read, &producer[..], count), (draft, &b"producer"[..], 7));
            }
        }
    }

    #[test]
    fn what_is_said_of_a_member_and_a_request_to_end_streams_are_read_as_they_were_added() {
        let fields = FieldList::of([Field::Data(Text::from("1"))]);
        let leave = Unsequenced::of(iter::once(Field::Data(Text::from("left"))));
        let here = KeptMember { leave, since: 7, ..KeptMember::default() };
        let of_member = |retain, member| {
            let [channel, key] = ["room", "ann"].map(|text| text.as_bytes().into());
            Draft { channel, key, fields: fields.clone(), retain, member, ..Draft::default() }
        };
        let end = EndRequest { labels: vec![b"user/7"[..].into()], finishes: true, ..EndRequest::default() };
        for draft in [
            of_member(Retain::Newest, MemberPart::Here(here.into())),
            of_member(Retain::Forget, MemberPart::Gone),
            Draft::of_end(&end),
        ] {
            assert_eq!(added(&draft).draft, draft);
        }
    }
}
