//! A connection whose other side, a hub process, is the test.

#![cfg(not(miri))] // system calls

use super::*;
use crate::event::{Field, Text};
use crate::runtime::remote::tests::HubSide;
use crate::wire::{HubSettings, Name, WINDOW_BYTES};
use crate::ErrorCode;
use std::os::unix::net::UnixStream;
use std::thread;

/// Longer than any step takes.
const LONG: Duration = Duration::from_secs(30);

/// Returns the number of the next request.
fn next(hub: &mut HubSide) -> u64 {
    hub.next(|request| match request {
        Request::Publish { request, .. } => request,
        other => panic!("{other:?}"),
    })
}

fn connection(credits: u64) -> (CallConnection, HubSide) {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let (name, settings) = (Name::new("test").expect("a name"), HubSettings::default());
    let welcome = Welcome { name, pid: 1, epoch: "epoch".into(), settings, credits, number: 1 };
    (CallConnection::new((welcome, ResponseReader::greeted(ours, credits)), LONG), HubSide::new(theirs))
}

fn publish(connection: &mut CallConnection, bytes: usize, within: Duration) -> Result<Box<str>, Unanswered> {
    let text = "x".repeat(bytes);
    let fields = FieldList::of([Field::Data(Text::from(&*text))]);
    let publication = Publication { channel: b"news", fields: fields.fields(), ..Publication::default() };
    let request = |request| Request::Publish { request, publication };
    Ok(connection.ask_until(Instant::now() + within, request)?.id()?)
}

#[test]
fn each_request_gets_its_own_answer() {
    let (mut connection, mut hub) = connection(WINDOW_BYTES);
    let responses = thread::spawn(move || {
        let request = next(&mut hub);
        hub.answer(&Response::Published { request, id: "epoch-1" });
        let request = next(&mut hub);
        let failure = Failure::new(ErrorCode::Invalid, Some("id"), "no");
        hub.answer(&Response::Published { request: request - 1, id: "of another" });
        hub.answer(&Response::Reply { request, result: Err(failure) });
        let request = next(&mut hub);
        hub.answer(&Response::Published { request, id: "epoch-2" });
    });
    assert_eq!(&*publish(&mut connection, 10, LONG).expect("an id"), "epoch-1");
    let refused = publish(&mut connection, 10, LONG);
    assert!(matches!(refused, Err(Unanswered::Refused(_))), "{refused:?}");
    assert_eq!(&*publish(&mut connection, 10, LONG).expect("an id"), "epoch-2");
    responses.join().expect("no panic");
}

#[test]
fn a_call_takes_no_longer_than_its_time_and_a_late_response_is_dropped() {
    let (mut connection, mut hub) = connection(WINDOW_BYTES);
    let late = publish(&mut connection, 10, Duration::from_millis(20));
    assert!(matches!(late, Err(Unanswered::Late(_))), "{late:?}");
    let responses = thread::spawn(move || {
        for id in ["late", "epoch-2"] {
            let request = next(&mut hub);
            hub.answer(&Response::Published { request, id });
        }
    });
    assert_eq!(&*publish(&mut connection, 10, LONG).expect("an id"), "epoch-2");
    responses.join().expect("no panic");
}

#[test]
fn a_request_that_was_not_sent_completely_or_is_rejected_is_not_carried_out() {
    let is_unavailable = |published| matches!(published, Err(Unanswered::Unsent(_)));
    let (mut unread, _hub) = connection(WINDOW_BYTES);
    assert!(is_unavailable(publish(&mut unread, 8 << 20, Duration::from_millis(20))));
    let (mut closed, hub) = connection(WINDOW_BYTES);
    drop(hub);
    assert!(is_unavailable(publish(&mut closed, 10, LONG)));
    for is_rejected in [true, false] {
        let (mut connection, mut hub) = connection(WINDOW_BYTES);
        let ends = thread::spawn(move || {
            assert_eq!(next(&mut hub), 1);
            let failure = Failure::new(ErrorCode::Unavailable, None, "the link has ended");
            if is_rejected {
                hub.answer(&Response::Rejected(failure));
            }
        });
        let published = publish(&mut connection, 10, LONG);
        ends.join().expect("no panic");
        match is_rejected {
            true => assert!(is_unavailable(published)),
            false => assert!(matches!(published, Err(Unanswered::Lost)), "{published:?}"),
        }
    }
}

#[test]
fn without_credits_nothing_is_sent() {
    let (mut connection, mut hub) = connection(1);
    let responses = thread::spawn(move || {
        let request = next(&mut hub);
        hub.answer(&Response::Published { request, id: "epoch-1" });
        hub
    });
    assert!(publish(&mut connection, 10, LONG).is_ok());
    let mut hub = responses.join().expect("no panic");
    let unsent = publish(&mut connection, 10, Duration::from_millis(20));
    assert!(matches!(unsent, Err(Unanswered::Unsent(_))), "{unsent:?}");
    hub.answer(&Response::Credits { bytes: 1000 });
    let responses = thread::spawn(move || {
        let request = next(&mut hub);
        hub.answer(&Response::Published { request, id: "epoch-2" });
    });
    assert_eq!(&*publish(&mut connection, 10, LONG).expect("an id"), "epoch-2");
    responses.join().expect("no panic");
}

#[test]
fn a_mark_is_named_once() {
    let (mut connection, mut hub) = connection(WINDOW_BYTES);
    let responses = thread::spawn(move || {
        for mark in [7, 8] {
            hub.next(|got| assert_eq!(got, Request::After { mark }));
            for _ in 0..2 {
                let request = next(&mut hub);
                hub.answer(&Response::Published { request, id: "epoch-1" });
            }
        }
    });
    for mark in [7, 6, 8, 8] {
        connection.follow(mark).expect("a short request");
        assert!(publish(&mut connection, 10, LONG).is_ok());
    }
    responses.join().expect("no panic");
}
