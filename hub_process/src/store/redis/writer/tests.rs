//! The commands that append entries, against what reads them.

use super::super::entry::{event, Event};
use super::super::epoch::Keys;
use super::*;
use eventsource_xs::event::{Field, Text, Unsequenced};
use eventsource_xs::hub::{EndRequest, KeptMember};
use eventsource_xs::wire::FieldList;
use std::iter;

/// Returns the event of the entry that a command adds.
fn added(draft: &Draft) -> Event {
    let mut bytes = Vec::new();
    let keys = Keys::new("es", "shop").of("e1");
    let retention = Bounds { events: 1000, bytes: usize::MAX, age: Duration::from_secs(60) };
    let to = Appending { keys: &keys, retention: &retention, producer: "producer" };
    write_append(&mut bytes, &to, 7, draft, ("m", ""));
    let Value::Array(mut words) = redis::parse_redis_value(&bytes).expect("a command") else { panic!("no command") };
    // After XADD stream NOMKSTREAM MAXLEN ~ 1000 *, or EVAL script 3 stream state once 1000 60000 field. For members,
    // four more come before 1000.
    let before = if draft.retain == Retain::No { 7 } else { 9 };
    let fields = words.split_off(before + if draft.member == MemberPart::None { 0 } else { 4 });
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
