//! Publishing to a hub process: ids, order, refusals, repeated keys, more than the credits allow.

mod support;

use eventsource_xs::event::{EventId, EventName, Field, Retry, Text};
use eventsource_xs::hub::Publication;
use eventsource_xs::wire::{FieldList, Request, MAX_FRAME_BYTES, WINDOW_BYTES};
use eventsource_xs::ErrorCode;
use support::{event, follow, read_event, topics, Asks, Scene};

#[test]
fn ids_of_all_workers_are_in_one_order() {
    let scene = Scene::new();
    let mut workers = [scene.client(), scene.client()];
    let mut ids = Vec::new();
    for _ in 0..3 {
        for worker in &mut workers {
            ids.push(worker.publish(&event("news", "hello")).expect("an id"));
        }
    }
    let epoch = workers[0].welcome().epoch.clone();
    assert_eq!(ids, (1..=6).map(|seq| format!("{epoch}-{seq}")).collect::<Vec<_>>());
}

#[test]
fn a_repeated_publish_with_the_same_key_returns_the_first_id() {
    let scene = Scene::new();
    let mut worker = scene.client();
    let once = |key| Publication { once: key, ..event("news", "hello") };
    let first = worker.publish(&once(b"k")).expect("an id");
    assert_ne!(worker.publish(&once(b"l")).expect("an id"), first);
    assert_eq!(scene.client().publish(&once(b"k")).expect("an id"), first);
    assert_eq!(worker.count(b"").expect("counts").hub.published, 2);
    let long = [b'k'; 257];
    assert!(matches!(worker.publish(&once(&long)), Err(failure) if failure.field.as_deref() == Some("once")));
}

#[test]
fn an_error_of_the_hub_names_the_field() {
    let scene = Scene::new();
    let mut worker = scene.client();
    let epoch = worker.welcome().epoch.clone();
    let reserved = format!("{epoch}-7");
    let cases = [
        (Field::Event(EventName::new(Text::from("gap")).expect("a name")), "event"),
        (Field::Retry(Retry::new(Text::from("86400001")).expect("digits")), "retry"),
        (Field::Id(EventId::new(Text::from(" 7")).expect("an id")), "id"),
        (Field::Id(EventId::new(Text::from(&*reserved)).expect("an id")), "id"),
    ];
    for (field, name) in cases {
        let fields = FieldList::of([field, Field::Data(Text::from("x"))]);
        let publication = Publication { channel: b"news", fields, ..Publication::default() };
        match worker.publish(&publication) {
            Err(failure) => assert_eq!(failure.field.as_deref(), Some(name)),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(worker.count(b"").expect("counts").hub.published, 0);
}

#[test]
fn an_event_with_an_id_of_its_own_has_that_id_for_clients() {
    let (_scene, mut worker) = Scene::with_worker();
    let mut client = follow(&mut worker, 1, topics("news", None));
    let fields =
        [Field::Id(EventId::new(Text::from("order-7")).expect("an id")), Field::Data(Text::latin1(b"caf\xe9"))];
    let publication = Publication { channel: b"news", fields: FieldList::of(fields), ..Publication::default() };
    worker.publish(&publication).expect("an id");
    assert!(read_event(&mut client, "café").ends_with("data: café\nid: order-7\n\n"));
}

#[test]
fn more_than_the_credits_allow_waits_for_credits_and_arrives_in_order() {
    let (_scene, mut worker) = Scene::with_worker();
    let data = "x".repeat(10_000);
    let count = WINDOW_BYTES as usize * 3 / data.len();
    for _ in 0..count {
        worker.publish_unanswered(&event("news", &data)).expect("a connection");
    }
    let id = worker.publish(&event("news", "last")).expect("an id");
    assert!(id.ends_with(&format!("-{}", count + 1)), "{id}");
}

#[test]
fn an_event_too_long_for_a_message_is_refused_before_it_is_sent() {
    let scene = Scene::new();
    let mut worker = scene.client();
    let data = "x".repeat(MAX_FRAME_BYTES);
    let refused = worker.publish(&event("news", &data)).expect_err("it is too large");
    assert_eq!((refused.code, refused.field.as_deref()), (ErrorCode::Invalid, Some("data")));
    let shorter = &data[..MAX_FRAME_BYTES - 100];
    worker.publish(&event("news", shorter)).expect("an id");
    worker.send(&Request::Release { stream: 7 }, None).expect("nothing happens for an unknown stream");
    worker.publish(&event("news", "short")).expect("an id");
}

#[test]
fn a_publish_cut_before_its_answer_is_unknown_and_later_ones_are_unavailable() {
    let scene = Scene::new();
    let mut worker = scene.client();
    support::kill(worker.welcome().pid);
    let first = worker.publish(&event("news", "hello")).expect_err("no hub");
    assert!(matches!(first.code, ErrorCode::Unknown | ErrorCode::Unavailable), "{first:?}");
    let second = worker.publish(&event("news", "hello")).expect_err("no hub");
    assert_eq!(second.code, ErrorCode::Unavailable);
}
