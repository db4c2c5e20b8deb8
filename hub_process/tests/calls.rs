//! The connections of a worker on which threads wait for responses: whose they are, their order beside the link, when they end.

mod support;

use eventsource_xs::hub::{Access, MemberData, MemberRequest, Presence, SubscribeRequest};
use eventsource_xs::remote::{Address, CallConnection, Hub, RemoteHub, Start};
use eventsource_xs::wire::{Call, Failure, Frame, HubSettings, Reply, Request, Response, WorkerId, WINDOW_BYTES};
use eventsource_xs::ErrorCode;
use std::borrow::Cow;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use support::{
    connect, encoded, event, eventually, follow, gone, hello, open, read_event, settings, signal, topics, Asks, Scene,
    Signal, DEADLINE,
};

fn calls_for(scene: &Scene, worker: WorkerId) -> Result<CallConnection, Failure> {
    CallConnection::for_worker(&scene.place, worker, DEADLINE)
}

fn calls_of(scene: &Scene, worker: &CallConnection) -> CallConnection {
    calls_for(scene, worker.welcome().worker()).expect("it is welcome")
}

fn publish(calls: &mut CallConnection, data: &str) -> String {
    calls.publish(&event("news", data)).expect("an id")
}

fn mark(worker: &mut CallConnection, number: u64, has_publishes: bool) {
    worker.send(&Request::Mark { number, has_publishes }, None).expect("a connection");
}

#[test]
fn a_worker_with_calls_is_counted_once() {
    let (scene, mut worker) = Scene::with_worker();
    let before = scene.client().welcome().settings.clone();
    let mut calls = [calls_of(&scene, &worker), calls_of(&scene, &worker)];
    let mut client = follow(&mut worker, 1, topics("news", None));
    let epoch = worker.welcome().epoch.clone();
    for (seq, data) in (1..).zip(["one", "two", "three"]) {
        assert_eq!(*publish(&mut calls[seq % 2], data), format!("{epoch}-{seq}"));
        read_event(&mut client, data);
    }
    assert_eq!(worker.publish(&event("news", "four")).expect("an id"), format!("{epoch}-4"));
    eventually("only the worker counts", || calls[0].count(b"").expect("counts").workers == 1);
    assert_eq!(*worker.describe().expect("a process").workers, [std::process::id()]);
    assert_eq!(scene.client().welcome().settings, before);
    // More than the credits for one time.
    let data = "x".repeat(100_000);
    for _ in 0..WINDOW_BYTES as usize * 3 / data.len() {
        publish(&mut calls[0], &data);
    }
}

/// Reads the message of the hub process that comes next, after its length.
fn read_message(socket: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).expect("an answer");
    let mut message = vec![0; u32::from_le_bytes(length) as usize];
    socket.read_exact(&mut message).expect("an answer");
    message
}

#[test]
fn a_call_of_a_later_build_is_refused_and_its_connection_stays() {
    let (scene, mut worker) = Scene::with_worker();
    let mut later = connect(&scene);
    later.write_all(&hello()).expect("a connection");
    read_message(&mut later);
    let call = |number: u8| {
        let mut bytes = encoded(&Request::Call { request: 7, until: 0, call: Cow::Owned(Call::Describe) });
        *bytes.last_mut().expect("the number of the call") = number;
        bytes
    };
    for number in [200, 255] {
        later.write_all(&call(number)).expect("a connection");
        let message = read_message(&mut later);
        let frame = Frame { kind: message[0], message: &message[1..] };
        let Ok(Response::Reply { request: 7, result: Err(refused) }) = Response::decode(frame) else { panic!() };
        let said = format!("this hub process, eventsource-hub {}, does not know", env!("CARGO_PKG_VERSION"));
        assert!(refused.code == ErrorCode::Unsupported && refused.message.starts_with(&said), "{refused}");
    }
    assert_eq!(worker.count(b"").expect("counts").cut_off, 0);
    // The content of a call that is known has one layout.
    later.write_all(&call(0)).expect("a connection");
    assert_eq!(later.read(&mut [0]).expect("an end"), 0);
    assert_eq!(worker.count(b"").expect("counts").cut_off, 1);
}

#[test]
fn a_refused_event_leaves_the_connection_open() {
    let (scene, worker) = Scene::with_worker();
    let mut calls = calls_of(&scene, &worker);
    let mut refused = event("news", "x");
    refused.once = &[b'k'; 257];
    assert_eq!(calls.publish(&refused).expect_err("a long key").field.as_deref(), Some("once"));
    let huge = "x".repeat(17 << 20);
    let refused = calls.publish(&event("news", &huge)).expect_err("it is too large");
    assert_eq!(refused.code, ErrorCode::Invalid);
    assert!(publish(&mut calls, "x").ends_with("-1"));
}

#[test]
fn only_a_worker_of_this_process_has_them() {
    let (scene, mut worker) = Scene::with_worker();
    let WorkerId { process, number } = worker.welcome().worker();
    let mut calls = calls_of(&scene, &worker);
    let others = [(process + 1, number), (process, number + 1), (process, 0), (process, u64::MAX)];
    for (process, number) in others {
        match calls_for(&scene, WorkerId { process, number }) {
            Err(failure) => assert_eq!(failure.code, ErrorCode::Unavailable),
            other => panic!("{process} {number}: {other:?}"),
        }
    }
    assert!(publish(&mut calls, "x").ends_with("-1"));
    assert_eq!(worker.count(b"").expect("counts").hub.published, 1);
}

/// Sends a publish after a mark, calls a function, and returns the outcome of the publish.
fn while_kept(calls: &mut CallConnection, after: u64, act: impl FnOnce()) -> Result<String, Failure> {
    calls.follow(after).expect("a short request");
    calls.begin_publish(&event("news", "after")).expect("a connection");
    calls.flush().expect("a connection");
    act();
    calls.publish_results().map(|mut all| all.remove(0).expect("an id"))
}

#[test]
fn a_call_comes_after_what_its_worker_has_sent_before_the_mark() {
    let (scene, mut worker) = Scene::with_worker();
    let mut client = follow(&mut worker, 1, topics("news", None));
    let (mut calls, mut others) = (calls_of(&scene, &worker), calls_of(&scene, &worker));
    for (round, is_first) in (1..).zip([true, false, true, false]) {
        let data = format!("before {round}");
        let mut send = || {
            worker.publish_unanswered(&event("news", &data)).expect("a connection");
            mark(&mut worker, round, true);
        };
        let published = match is_first {
            true => {
                send();
                while_kept(&mut calls, round, || {})
            }
            false => while_kept(&mut calls, round, || {
                publish(&mut others, "another thread is not kept");
                send();
            }),
        };
        published.expect("an id");
        let text = read_event(&mut client, "after");
        assert!(text.contains(&format!("data: {data}\n")), "{text}");
    }
}

#[test]
fn a_publish_waits_for_publishes_without_credits_and_another_call_does_not() {
    let (scene, mut worker) = Scene::with_worker();
    let mut calls = calls_of(&scene, &worker);
    mark(&mut worker, 7, false);
    calls.follow(7).expect("a short request");
    assert_eq!(calls.count(b"").expect("counts").hub.published, 0);
    let published = while_kept(&mut calls, 8, || {
        worker.publish(&event("news", "x")).expect("an id");
        mark(&mut worker, 8, true);
    });
    assert!(published.expect("an id").ends_with("-2"));
}

#[test]
fn a_call_whose_mark_does_not_come_before_the_end_of_its_worker_is_not_carried_out() {
    let (scene, worker) = Scene::with_worker();
    let mut other = scene.client();
    let mut calls = calls_of(&scene, &worker);
    let published = while_kept(&mut calls, 7, || drop(worker));
    assert_eq!(published.expect_err("it is rejected").code, ErrorCode::Unavailable);
    assert_eq!(other.count(b"").expect("counts").hub.published, 0);
}

#[test]
fn requests_that_a_stopped_process_has_not_read_are_not_carried_out() {
    let (scene, mut worker) = Scene::with_worker();
    let within = Duration::from_millis(200);
    let mut calls = None;
    eventually("it is welcome in time", || {
        calls = CallConnection::for_worker(&scene.place, worker.welcome().worker(), within).ok();
        calls.is_some()
    });
    signal(worker.welcome().pid, Signal::STOP);
    let late = calls.as_mut().map(|calls| calls.publish(&event("news", &"x".repeat(8 << 20))));
    assert_eq!(late.and_then(Result::err).map(|failure| failure.code), Some(ErrorCode::Unavailable));
    drop(calls);
    signal(worker.welcome().pid, Signal::CONT);
    assert_eq!(worker.count(b"").expect("counts").hub.published, 0);
}

fn place(label: &str, most: usize, asked_at: u64) -> Call {
    Call::Reserve { label: label.as_bytes().into(), most, asked_at }
}

fn has_place(peer: &mut CallConnection, label: &str, asked_at: u64) -> bool {
    peer.call(&place(label, 1, asked_at)).expect("a reply") == Reply::Number(1)
}

#[test]
fn a_place_for_which_nobody_waits_any_more_is_not_reserved_but_given_back() {
    let (scene, mut worker) = Scene::with_worker();
    let address = Address::new(scene.place.name().clone(), Some(scene.place.socket().to_owned())).expect("a path");
    let start = Start { program: None, needs_settings: false, timeout: Duration::from_millis(200) };
    let hub = Hub::named(RemoteHub::new(address, start, settings().into())).expect("memory");
    eventually("it is connected", || hub.call(Call::LastId).is_ok());
    assert!(has_place(&mut worker, "\0=kept", 1) && !has_place(&mut worker, "\0=kept", 2));
    signal(worker.welcome().pid, Signal::STOP);
    assert_eq!(hub.call(place("\0=late", 1, 1)), Ok(Reply::Number(1)), "the stream may begin");
    let _ = hub.call(place("\0=kept", 0, 1)); // nobody waits for it
    signal(worker.welcome().pid, Signal::CONT);
    eventually("both were read", || hub.call(Call::LastId).is_ok());
    assert!(has_place(&mut worker, "\0=late", 2) && has_place(&mut worker, "\0=kept", 2));
}

#[test]
fn a_reserved_place_stays_reserved_through_upgrades_until_it_is_given_back() {
    let (scene, mut worker) = Scene::with_worker();
    assert!(has_place(&mut worker, "\0=a", 1));
    scene.upgrade();
    scene.upgrade();
    assert!(!has_place(&mut worker, "\0=a", 2));
    worker.call(&place("\0=a", 0, 1)).expect("a reply");
    assert!(has_place(&mut worker, "\0=a", 2));
}

#[test]
fn a_stream_whose_subscription_is_refused_gives_its_place_back() {
    let (scene, mut worker) = Scene::with_worker();
    let client = open(&mut worker, 1, "");
    assert!(has_place(&mut worker, "\0=a", 7) && !has_place(&mut worker, "\0=a", 8));
    let access = Access { labels: vec![b"\0=a"[..].into()], asked_at: 7, ..Access::default() };
    let data = MemberData { text: vec![b'x'; 65_537].into(), is_json: false };
    let (channel, id) = (b"news"[..].into(), b"ann"[..].into());
    let member = Some(Box::new(MemberRequest { channel, id, data, ..MemberRequest::default() }));
    let presence = Presence { member, will: None };
    let refused = worker.subscribe(1, SubscribeRequest { access, presence, ..topics("news", None) });
    assert_eq!(refused.expect_err("a large member").field.as_deref(), Some("data"));
    assert!(has_place(&mut worker, "\0=a", 8));
    drop((scene, client));
}

#[test]
fn they_end_with_their_worker_and_keep_no_process_alive() {
    let scene = Scene::new();
    let short = HubSettings { idle_exit: Duration::from_millis(50), ..settings() };
    let (worker, other) = (scene.client_with(short.clone()), scene.client_with(short));
    let pid = worker.welcome().pid;
    let (mut calls, mut others) = (calls_of(&scene, &worker), calls_of(&scene, &other));
    publish(&mut calls, "x");
    drop(worker);
    eventually("it ends", || calls.publish(&event("news", "x")).is_err());
    publish(&mut others, "x");
    drop(other);
    gone(pid);
}

#[test]
fn an_upgrade_leaves_them_as_they_are() {
    let (scene, mut worker) = Scene::with_worker();
    let mut calls = calls_of(&scene, &worker);
    publish(&mut calls, "x");
    for seq in 2..4 {
        mark(&mut worker, seq, true);
        let published = while_kept(&mut calls, seq + 1, || {
            scene.upgrade();
            mark(&mut worker, seq + 1, true);
        });
        assert!(published.expect("an id").ends_with(&format!("-{seq}")));
        eventually("only the worker counts", || worker.count(b"").expect("counts").workers == 1);
    }
    drop(worker);
    eventually("it ends with its worker", || calls.publish(&event("news", "x")).is_err());
}

#[test]
fn more_than_one_leave_half_of_the_places_to_workers() {
    let scene = Scene::new();
    let mut hub = scene.limited("-n 128");
    let (mut workers, mut calls) = (Vec::new(), Vec::new());
    let refused = loop {
        let worker = scene.client_with(settings());
        let id = worker.welcome().worker();
        workers.push(worker);
        calls.push(calls_for(&scene, id).expect("it is welcome"));
        match calls_for(&scene, id) {
            Ok(second) => calls.push(second),
            Err(error) => break error.to_string(),
        }
        assert!(workers.len() < 64, "they take every connection");
    };
    assert!(refused.contains("half of the connections"), "{refused}");
    let start = Start { program: None, ..Scene::start() };
    let connect = || CallConnection::connect(&start, &scene.place, None).ok();
    let more = (0..128).map_while(|_| connect()).collect::<Vec<_>>();
    assert!(more.len() >= workers.len(), "{} workers after {} with three connections", more.len(), workers.len());
    calls.iter_mut().for_each(|calls| drop(publish(calls, "x")));
    drop(more);
    eventually("there is room again", || connect().is_some());
    scene.stop();
    assert!(hub.wait().expect("it ends").success());
}
