//! The second connection of a worker, on which it publishes and waits: whose it is, what it may do, its order beside the first
//! one, when it ends.

mod support;

use eventsource_xs::hub::Publication;
use eventsource_xs::remote::calls::{send, Wait};
use eventsource_xs::remote::publisher::{NewPublisher, Unpublished};
use eventsource_xs::remote::{CallConnection, Error, Publisher, Start};
use eventsource_xs::wire::{Hello, HubSettings, Name, Request, Role, WorkerId, WINDOW_BYTES};
use eventsource_xs::ErrorCode;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use support::{event, eventually, follow, gone, read_event, settings, topics, Scene, Signal, DEADLINE};

fn greet(scene: &Scene, worker: WorkerId) -> Result<Publisher, Error> {
    NewPublisher::connect(&scene.place).expect("a hub").greet(&scene.place, worker, DEADLINE)
}

fn publisher_of(scene: &Scene, worker: &CallConnection) -> Publisher {
    greet(scene, worker.welcome().worker()).expect("it is welcome")
}

fn publish_within(publisher: &mut Publisher, data: &str, time: Duration) -> Result<Box<str>, Unpublished> {
    let fields = event("", data).fields;
    let publication = Publication { channel: b"news", fields: fields.fields(), ..Publication::default() };
    publisher.publish(publication, Instant::now() + time)
}

fn publish(publisher: &mut Publisher, data: &str) -> Box<str> {
    publish_within(publisher, data, DEADLINE).expect("an id")
}

fn signal(worker: &CallConnection, signal: Signal) {
    let pid = worker.welcome().pid;
    support::signal(pid, signal);
    if signal == Signal::STOP {
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        eventually("it stops", || stat().contains(") T "));
    }
}

#[test]
fn a_publish_connection_is_not_counted_as_a_worker() {
    let (scene, mut worker) = Scene::with_worker();
    let before = scene.client().welcome().settings.clone();
    let mut publisher = publisher_of(&scene, &worker);
    let mut client = follow(&mut worker, 1, topics("news", None));
    let epoch = worker.welcome().epoch.clone();
    for (seq, data) in (1..).zip(["one", "two", "three"]) {
        assert_eq!(*publish(&mut publisher, data), format!("{epoch}-{seq}"));
        read_event(&mut client, data);
    }
    assert_eq!(worker.publish(&event("news", "four")).expect("an id"), format!("{epoch}-4"));
    eventually("only the worker counts", || worker.count(b"").expect("counts").workers == 1);
    assert_eq!(*worker.describe().expect("a process").workers, [std::process::id()]);
    assert_eq!(scene.client().welcome().settings, before);
    // More than the credits for one time.
    let data = "x".repeat(100_000);
    for _ in 0..WINDOW_BYTES as usize * 3 / data.len() {
        publish(&mut publisher, &data);
    }
}

#[test]
fn a_refused_event_leaves_the_connection_open() {
    let (scene, worker) = Scene::with_worker();
    let mut publisher = publisher_of(&scene, &worker);
    let long = [b'k'; 257];
    let fields = event("", "x").fields;
    let refused = Publication { channel: b"news", once: &long, fields: fields.fields(), ..Publication::default() };
    match publisher.publish(refused, Instant::now() + DEADLINE) {
        Err(Unpublished::Refused(error)) => assert_eq!(error.field(), Some("once")),
        other => panic!("{other:?}"),
    }
    let huge = "x".repeat(17 << 20);
    assert!(matches!(
        publish_within(&mut publisher, &huge, DEADLINE),
        Err(Unpublished::Refused(Error::Invalid { .. }))
    ));
    assert!(publish(&mut publisher, "x").ends_with("-1"));
}

#[test]
fn a_publish_connection_changes_no_settings() {
    let (scene, first) = Scene::with_worker();
    let mut newer = settings();
    newer.hub.history.events = 3;
    let mut second = scene.client_with(newer.clone());
    let mut publisher = publisher_of(&scene, &first);
    (0..10).for_each(|_| drop(publish(&mut publisher, "x")));
    assert_eq!(scene.client().welcome().settings, newer);
    assert_eq!(second.count(b"").expect("counts").hub.events, 3);
}

#[test]
fn only_a_worker_of_this_process_has_one() {
    let (scene, mut worker) = Scene::with_worker();
    let WorkerId { process, number } = worker.welcome().worker();
    let mut publisher = publisher_of(&scene, &worker);
    let others = [(process + 1, number), (process, number + 1), (process, 0), (process, u64::MAX)];
    for (process, number) in others {
        match greet(&scene, WorkerId { process, number }) {
            Err(Error::Refused(failure)) => assert_eq!(failure.code, ErrorCode::Unavailable),
            other => panic!("{process} {number}: {other:?}"),
        }
    }
    assert!(publish(&mut publisher, "x").ends_with("-1"));
    // A second one takes the place of the first.
    let mut again = publisher_of(&scene, &worker);
    assert!(publish(&mut again, "x").ends_with("-2"));
    assert!(matches!(
        publish_within(&mut publisher, "x", DEADLINE),
        Err(Unpublished::Unsent | Unpublished::Unanswered(_))
    ));
    assert!(publish(&mut again, "x").ends_with("-3"));
    assert_eq!(worker.count(b"").expect("counts").hub.published, 3);
}

#[test]
fn it_may_only_publish() {
    let (scene, mut worker) = Scene::with_worker();
    let mut hello = Vec::new();
    let role = Role::Publisher(worker.welcome().worker());
    Hello { name: Name::new("shop").expect("a name"), role }.encode(&mut hello).expect("a short message");
    let mut socket = UnixStream::connect(scene.place.socket()).expect("a hub");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    Request::Count { request: 1, channel: b"" }.encode(&mut hello).expect("a short message");
    send(socket.as_fd(), &hello, None, Wait::Forever).expect("a connection");
    let _ = socket.read_to_end(&mut Vec::new()).expect("the welcome, and the end");
    assert_eq!(worker.count(b"").expect("counts").cut_off, 1);
    publish(&mut publisher_of(&scene, &worker), "x");
}

#[test]
fn its_publishes_come_before_later_ones_on_the_first_connection() {
    let (scene, mut worker) = Scene::with_worker();
    let mut client = follow(&mut worker, 1, topics("news", None));
    for round in 0..5 {
        let mut publisher = publisher_of(&scene, &worker);
        signal(&worker, Signal::STOP);
        // The kernel reports this connection first.
        worker.publish_unanswered(&event("other", "x")).expect("a connection");
        worker.flush().expect("a connection");
        let late = publish_within(&mut publisher, &format!("first {round}"), Duration::from_millis(10));
        assert!(matches!(late, Err(Unpublished::Unanswered(Error::Timeout(_)))), "{late:?}");
        drop(publisher);
        worker.publish_unanswered(&event("news", &format!("after {round}"))).expect("a connection");
        worker.flush().expect("a connection");
        signal(&worker, Signal::CONT);
        let text = read_event(&mut client, &format!("after {round}"));
        assert!(text.contains(&format!("data: first {round}\n")), "{text}");
    }
}

#[test]
fn an_answer_that_comes_after_a_second_of_silence_is_taken() {
    let (scene, worker) = Scene::with_worker();
    let greeting = Duration::from_millis(100);
    let greet = || {
        let made = NewPublisher::connect(&scene.place).expect("a hub");
        made.greet(&scene.place, worker.welcome().worker(), greeting).ok()
    };
    let mut made = None;
    eventually("it is welcome in time", || {
        made = greet();
        made.is_some()
    });
    let mut publisher = made.expect("a connection");
    signal(&worker, Signal::STOP);
    let id = std::thread::scope(|scope| {
        let published = scope.spawn(|| publish(&mut publisher, "x"));
        std::thread::sleep(greeting * 10);
        signal(&worker, Signal::CONT);
        published.join().expect("no panic")
    });
    assert!(id.ends_with("-1"));
}

#[test]
fn requests_that_a_stopped_process_has_not_read_are_unsent() {
    let (scene, mut worker) = Scene::with_worker();
    let mut publisher = publisher_of(&scene, &worker);
    signal(&worker, Signal::STOP);
    let large = "x".repeat(8 << 20);
    let late = publish_within(&mut publisher, &large, Duration::from_millis(50));
    assert!(matches!(late, Err(Unpublished::Unsent)), "{late:?}");
    drop(publisher);
    signal(&worker, Signal::CONT);
    assert_eq!(worker.count(b"").expect("counts").hub.published, 0);
}

#[test]
fn it_ends_with_its_worker_and_keeps_no_process_alive() {
    let scene = Scene::new();
    let short = HubSettings { idle_exit: Duration::from_millis(50), ..settings() };
    let (worker, other) = (scene.client_with(short.clone()), scene.client_with(short));
    let pid = worker.welcome().pid;
    let (mut publisher, mut others) = (publisher_of(&scene, &worker), publisher_of(&scene, &other));
    publish(&mut publisher, "x");
    drop(worker);
    eventually("it ends", || publish_within(&mut publisher, "x", DEADLINE).is_err());
    publish(&mut others, "x");
    drop(other);
    gone(pid);
}

#[test]
fn an_upgrade_leaves_it_as_it_is() {
    let (scene, mut worker) = Scene::with_worker();
    let mut publisher = publisher_of(&scene, &worker);
    publish(&mut publisher, "x");
    for seq in 2..4 {
        scene.upgrade();
        assert!(publish(&mut publisher, "x").ends_with(&format!("-{seq}")));
        eventually("only the worker counts", || worker.count(b"").expect("counts").workers == 1);
    }
    drop(worker);
    eventually("it ends with its worker", || publish_within(&mut publisher, "x", DEADLINE).is_err());
}

#[test]
fn publish_connections_leave_half_of_the_places_to_workers() {
    let scene = Scene::new();
    let mut hub = scene.limited("-n 128");
    let mut workers = vec![scene.client_with(settings())];
    let mut publishers = Vec::new();
    let refused = loop {
        let worker = scene.client_with(settings());
        match greet(&scene, worker.welcome().worker()) {
            Ok(publisher) => publishers.push(publisher),
            Err(error) => break error.to_string(),
        }
        workers.push(worker);
        assert!(workers.len() < 64, "it takes every connection");
    };
    assert!(refused.contains("half of the connections"), "{refused}");
    let start = Start { program: None, ..Scene::start() };
    let more = (0..128).map_while(|_| CallConnection::connect(&start, &scene.place, None).ok()).collect::<Vec<_>>();
    assert!(more.len() >= publishers.len(), "{} workers after {} with two connections", more.len(), publishers.len());
    publishers.iter_mut().for_each(|publisher| drop(publish(publisher, "x")));
    drop(more);
    eventually("there is room again", || CallConnection::connect(&start, &scene.place, None).is_ok());
    scene.stop();
    assert!(hub.wait().expect("it ends").success());
}
