//! The commands that append entries to the stream.

use super::super::{Draft, DraftKind, MemberPart};
use super::epoch::StreamKeys;
use super::machines::{Lapsed, LIFETIME};
use super::{scripts, state};
use eventsource_xs::codec::encode;
use eventsource_xs::hub::Retain;
use redis::cmd;

/// How entries are appended.
pub struct Appending<'a> {
    pub keys: &'a StreamKeys,
    /// The retention of the stream.
    pub most: usize,
    pub age_ms: u64,
    pub producer: &'a str,
}

/// Appends the command that stores a draft. Redis stores the names of fields once for a hundred entries that have the same.
/// Every string of an entry costs Redis and each hub that reads it, so what is empty has no field, and the name of the key's
/// field says what the event does to the state.
/// `machine` is the one that a member is on, or not.
pub fn write_append(out: &mut Vec<u8>, to: &Appending<'_>, count: u64, draft: &Draft, machine: &str) {
    let happened = match draft.member {
        MemberPart::None => return write(out, to, count, draft, None),
        MemberPart::Here(_) => "here",
        MemberPart::Changed(_) => "changed",
        MemberPart::Gone => "gone",
    };
    write(out, to, count, draft, Some((happened, machine)));
}

/// Appends the command that removes a machine, whose lifetime has ended, from a member.
pub fn write_lapsed(out: &mut Vec<u8>, to: &Appending<'_>, count: u64, Lapsed { machine, draft }: &Lapsed) {
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
    use super::super::entry::{event, Event};
    use super::super::epoch::Keys;
    use super::*;
    use eventsource_xs::event::{Field, Text, Unsequenced};
    use eventsource_xs::hub::{EndRequest, KeptMember};
    use eventsource_xs::wire::FieldList;
    use redis::Value;
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
