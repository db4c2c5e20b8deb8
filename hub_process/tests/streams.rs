//! Streams that are handed over: what their clients are sent, what their openers are told, and what outlives an opener.

mod support;

use eventsource_xs::event::Framing;
use eventsource_xs::remote::CallConnection;
use eventsource_xs::stream::{Reason, Settings};
use eventsource_xs::wire::{Call, HubSettings, NamedSettings, Open, Request, Response, StreamProgress};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{
    event, eventually, follow, open, read_event, read_to_end, read_until, report_with, settings, stream_settings, tcp,
    topics, Asks, Scene, DEADLINE,
};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

#[test]
fn a_stream_receives_its_buffer_then_events_and_resumes() {
    let (scene, mut worker) = Scene::with_worker();
    let mut client = open(&mut worker, 1, HEAD);
    worker.subscribe(1, topics("news", None)).expect("a stream");
    let first = worker.publish(&event("news", "one")).expect("an id");
    worker.publish(&event("sport", "of another channel")).expect("an id");
    let last = worker.publish(&event("news", "two")).expect("an id");
    let text = read_event(&mut client, "two");
    assert!(text.starts_with(HEAD), "{text}");
    assert!(text[HEAD.len()..].starts_with("event: position\ndata: \nid: "), "{text}");
    assert!(text.ends_with(&format!("\n\ndata: one\nid: {first}\n\ndata: two\nid: {last}\n\n")), "{text}");

    // Another worker, the same hub.
    let mut other = scene.client_with(settings());
    let mut client = follow(&mut other, 1, topics("news", Some(&first)));
    assert!(read_event(&mut client, "two").ends_with(&format!("data: two\nid: {last}\n\n")));
    assert_eq!(other.count(b"news").expect("counts").hub.resumed, 1);
}

#[test]
fn a_stream_keeps_its_framing() {
    let (_scene, mut worker) = Scene::with_worker();
    let (socket, mut client) = tcp();
    let settings = Settings { framing: Framing::Chunked, ..stream_settings() };
    worker.open(Open::new(9, settings, b""), socket.as_fd()).expect("a connection");
    worker.send(&Request::Push { stream: 9, event: b"data: x\n\n", has_id: false }, None).expect("a connection");
    worker.send(&Request::End { stream: 9, reason: Reason::Application, discards: false }, None).expect("a connection");
    drop(socket);
    assert_eq!(read_to_end(&mut client), "9\r\ndata: x\n\n\r\n0\r\n\r\n");
    report_with(&mut worker, |report| *report == Response::Ended { stream: 9, reason: Reason::Application });
}

#[test]
fn subscriptions_of_a_handler_are_held_until_it_has_returned() {
    let (_scene, mut worker) = Scene::with_worker();
    worker.publish(&event("a", "before")).expect("an id");
    let (socket, mut client) = tcp();
    let opening = Open { holds: true, ..Open::new(1, stream_settings(), b"") };
    worker.open(opening, socket.as_fd()).expect("a connection");
    let epoch = worker.welcome().epoch.clone();
    for channel in ["a", "b"] {
        worker.subscribe(1, topics(channel, Some(&format!("{epoch}-0")))).expect("a stream");
        worker.publish(&event(channel, channel)).expect("an id");
    }
    worker.send(&Request::Begin { stream: 1 }, None).expect("a connection");
    let text = read_event(&mut client, "b");
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| !data.is_empty());
    let data: Vec<_> = data.collect();
    assert_eq!(data, ["before", "a", "b"], "{text}");
}

/// Hands a stream over whose socket is still to come.
fn open_without_socket(worker: &mut CallConnection, stream: u64, settings: Settings) {
    let opening = Open::new(stream, settings, HEAD.as_bytes());
    worker.send(&Request::OpenWithoutSocket(opening), None).expect("a connection");
}

/// Gives a stream its socket. Returns its client.
fn attach(worker: &mut CallConnection, stream: u64) -> TcpStream {
    let (socket, client) = tcp();
    worker.send(&Request::Attach { stream }, Some(socket.as_fd())).expect("a connection");
    client
}

#[test]
fn a_stream_misses_nothing_before_its_socket_comes() {
    let (scene, mut worker) = Scene::with_worker();
    open_without_socket(&mut worker, 1, stream_settings());
    worker.subscribe(1, topics("news", None)).expect("a stream");
    let first = worker.publish(&event("news", "one")).expect("an id");
    worker.send(&Request::Push { stream: 1, event: b"data: own\n\n", has_id: false }, None).expect("a connection");
    let mut client = attach(&mut worker, 1);
    let last = worker.publish(&event("news", "two")).expect("an id");
    let text = read_event(&mut client, "two");
    assert!(text.starts_with(HEAD) && text.contains("data: own\n\n"), "{text}");
    assert!(text.ends_with(&format!("data: one\nid: {first}\n\ndata: two\nid: {last}\n\n")), "{text}");
    // It is a stream as any other: it outlives its worker.
    drop(worker);
    let mut other = scene.client_with(settings());
    other.publish(&event("news", "three")).expect("an id");
    read_event(&mut client, "three");
}

#[test]
fn a_stream_whose_socket_does_not_come_ends() {
    let (scene, mut other) = Scene::with_worker();
    let mut worker = scene.client_with(settings());
    let impatient = Settings { timeout: Duration::from_millis(10), ..stream_settings() };
    open_without_socket(&mut worker, 1, impatient);
    report_with(&mut worker, |report| *report == Response::Ended { stream: 1, reason: Reason::Timeout });
    let mut late = attach(&mut worker, 1);
    assert_eq!(read_to_end(&mut late), "");
    // With its worker, and if it is pushed too much.
    open_without_socket(&mut worker, 2, stream_settings());
    let event = [&b"data: "[..], &[b'x'; 1 << 20], b"\n\n"].concat();
    for _ in 0..20 {
        worker.send(&Request::Push { stream: 2, event: &event, has_id: false }, None).expect("a connection");
    }
    report_with(&mut worker, |report| *report == Response::Ended { stream: 2, reason: Reason::Slow });
    open_without_socket(&mut worker, 3, stream_settings());
    worker.subscribe(3, topics("news", None)).expect("a stream");
    assert_eq!(other.count(b"news").expect("counts").subscribers, 1);
    drop(worker);
    eventually("the stream has ended", || other.count(b"news").expect("counts").streams.open == 0);
}

#[test]
fn a_refused_stream_whose_socket_does_not_come_ends_with_its_worker() {
    let scene = Scene::new();
    let mut other = scene.client_with(HubSettings { max_streams: 1, ..settings() });
    let _client = open(&mut other, 1, HEAD);
    let mut worker = scene.client_with(NamedSettings::default());
    let patient = Settings { timeout: DEADLINE * 10, ..stream_settings() };
    open_without_socket(&mut worker, 1, patient);
    let counted = worker.count(b"").expect("counts");
    assert_eq!((counted.streams.open, counted.streams.refused), (2, 1));
    drop(worker);
    eventually("the stream has ended", || other.count(b"").expect("counts").streams.open == 1);
}

#[test]
fn the_opener_learns_how_much_the_client_has_read() {
    let (_scene, mut worker) = Scene::with_worker();
    let mut client = open(&mut worker, 1, "head\n");
    let push = |worker: &mut CallConnection, event: &[u8]| {
        worker.send(&Request::Push { stream: 1, event, has_id: false }, None).expect("a connection");
    };
    push(&mut worker, b"data: x\n\n");
    let taken = Response::State(StreamProgress { stream: 1, pushed: 9, buffered: 0, is_stalled: false });
    report_with(&mut worker, |report| *report == taken);
    assert_eq!(read_until(&mut client, "x\n\n"), "head\ndata: x\n\n");

    // More than the kernel takes from a client that does not read.
    let event = [&b"data: "[..], &[b'y'; 100_000], b"\n\n"].concat();
    let mut pushed = 9;
    let buffered = loop {
        push(&mut worker, &event);
        pushed += event.len() as u64;
        let is_taken = |report: &Response<'_>| matches!(report, Response::State(StreamProgress { pushed: known, .. }) if *known == pushed);
        // The client takes each event, or it is stalled.
        let state = report_with(&mut worker, |report| {
            is_taken(report)
                && matches!(
                    report,
                    Response::State(StreamProgress { buffered: 0, .. })
                        | Response::State(StreamProgress { is_stalled: true, .. })
                )
        });
        if let Response::State(StreamProgress { buffered: more @ 1.., .. }) = state {
            break more;
        }
    };
    assert!(buffered < 1 << 20, "{buffered}");
    // It reads on.
    let mut rest = vec![0; pushed as usize - 9];
    client.read_exact(&mut rest).expect("all that was pushed");
    report_with(&mut worker, |report| {
        matches!(report, Response::State(StreamProgress { buffered: 0, is_stalled: false, .. }))
    });
}

#[test]
fn a_push_beyond_the_limit_ends_the_stream_as_slow() {
    let (_scene, mut worker) = Scene::with_worker();
    let _client = open(&mut worker, 1, "");
    let event = vec![b'y'; 500_000];
    for _ in 0..100 {
        worker.send(&Request::Push { stream: 1, event: &event, has_id: false }, None).expect("a connection");
    }
    report_with(&mut worker, |report| *report == Response::Ended { stream: 1, reason: Reason::Slow });
}

#[test]
fn the_opener_learns_that_a_client_has_disconnected() {
    let (_scene, mut worker) = Scene::with_worker();
    let client = open(&mut worker, 7, "head");
    worker.subscribe(7, topics("news", None)).expect("a stream");
    drop(client);
    report_with(&mut worker, |report| *report == Response::Ended { stream: 7, reason: Reason::Client });
    // A request about a stream that has ended meanwhile is not a mistake.
    worker.subscribe(7, topics("sport", None)).expect("no stream");
    assert_eq!(worker.count(b"news").expect("counts").streams.open, 0);
}

#[test]
fn a_released_stream_stays_open_if_it_is_subscribed() {
    let (_scene, mut worker) = Scene::with_worker();
    let (mut subscribed, mut other) = (open(&mut worker, 1, ""), open(&mut worker, 2, "head"));
    worker.subscribe(1, topics("news", None)).expect("a stream");
    for stream in [1, 2] {
        worker.send(&Request::Release { stream }, None).expect("a connection");
    }
    worker.publish(&event("news", "hello")).expect("an id");
    read_event(&mut subscribed, "hello");
    assert_eq!(read_to_end(&mut other), "head");
}

#[test]
fn a_released_stream_whose_subscription_was_refused_ends() {
    let scene = Scene::new();
    let mut worker = scene.client_with(HubSettings { max_topics: 1, ..settings() });
    let mut client = open(&mut worker, 1, "head");
    let mut two = topics("news", None);
    two.topics.extend(topics("sport", None).topics);
    worker.subscribe(1, two).expect_err("too many");
    worker.send(&Request::Release { stream: 1 }, None).expect("a connection");
    assert_eq!(read_to_end(&mut client), "head");
}

#[test]
fn the_opener_learns_of_the_end_of_a_released_stream() {
    let (_scene, mut worker) = Scene::with_worker();
    for stream in 1..10 {
        // The slots are used again.
        let client = follow(&mut worker, stream, topics("news", None));
        worker.send(&Request::Release { stream }, None).expect("a connection");
        drop(client);
        report_with(&mut worker, |report| *report == Response::Ended { stream, reason: Reason::Client });
    }
    assert_eq!(worker.count(b"news").expect("counts").streams.open, 0);
}

#[test]
fn more_topics_than_a_stream_may_have_are_refused() {
    let scene = Scene::new();
    let mut worker = scene.client_with(HubSettings { max_topics: 1, ..settings() });
    let _client = follow(&mut worker, 1, topics("news", None));
    let error = worker.subscribe(1, topics("sport", None)).expect_err("too many");
    assert!(error.to_string().contains("at most 1 channels and patterns"), "{error}");
}

#[test]
fn a_stream_beyond_max_streams_is_sent_a_retry_and_counted_until_a_worker_allows_more() {
    let scene = Scene::new();
    let mut worker = scene.client_with(HubSettings { max_streams: 2, ..settings() });
    let mut clients: Vec<_> = (1..=2).map(|stream| open(&mut worker, stream, HEAD)).collect();
    clients.iter_mut().for_each(|client| drop(read_until(client, HEAD)));
    // Another worker, whose settings are those of the hub, is bound by them, too.
    let mut unnamed = scene.client_with(NamedSettings::default());
    let mut refused = open(&mut unnamed, 1, HEAD);
    let text = read_to_end(&mut refused);
    assert!(text.starts_with(HEAD) && text.contains("retry: "), "{text}");
    let counted = worker.count(b"").expect("counts");
    assert_eq!((counted.streams.open, counted.streams.refused), (2, 1));
    let mut newer = scene.client_with(HubSettings { max_streams: 3, ..settings() });
    let mut third = open(&mut newer, 1, HEAD);
    newer.subscribe(1, topics("news", None)).expect("a stream");
    newer.publish(&event("news", "hello")).expect("an id");
    read_event(&mut third, "hello");
    assert_eq!(newer.count(b"").expect("counts").streams.refused, 1);
}

/// The process of a worker, which the test below kills: accepts a connection, hands it over, and waits.
#[test]
fn worker_process() {
    let Ok(folder) = std::env::var("HUB_TEST_WORKER") else { return };
    let place = eventsource_xs::remote::Place::new(
        eventsource_xs::wire::Name::new("shop").expect("a name"),
        Some(&std::path::Path::new(&folder).join("s")),
    );
    let mut worker =
        CallConnection::connect(&Scene::start(), &place.expect("a place"), Some(settings().into())).expect("a hub");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("port {}", listener.local_addr().expect("an address").port());
    let (socket, _) = listener.accept().expect("a client");
    let opening = Open::new(1, stream_settings(), HEAD.as_bytes());
    worker.open(opening, socket.as_fd()).expect("a connection");
    worker.subscribe(1, topics("news", None)).expect("a stream");
    println!("ready");
    std::thread::sleep(DEADLINE * 10);
}

#[test]
fn a_drain_lasts_until_the_last_worker_has_gone() {
    let scene = Scene::new();
    let mut workers = [(); 2].map(|()| scene.client_with(settings()));
    let mut client = open(&mut workers[0], 1, "");
    workers[0].subscribe(1, topics("news", None)).expect("a stream");
    scene.client().call(&Call::Drain { within: Duration::ZERO }).expect("a connection");
    assert!(read_to_end(&mut client).contains("retry: "));
    let [first, mut second] = workers;
    drop(first);
    let mut third = scene.client_with(settings());
    for worker in [&mut second, &mut third] {
        let mut client = follow(worker, 2, topics("news", None));
        assert!(read_to_end(&mut client).contains("retry: "));
    }
    drop((second, third));
    let mut watching = scene.client();
    eventually("the workers have gone", || watching.count(b"").expect("counts").workers == 1);
    let mut again = scene.client_with(settings());
    let mut client = follow(&mut again, 1, topics("news", None));
    again.publish(&event("news", "after the drain")).expect("an id");
    read_event(&mut client, "after the drain");
}

#[test]
fn a_stream_outlives_its_worker_that_is_killed_and_ends_after_the_grace() {
    let scene = Scene::new();
    let mut process = Command::new(std::env::current_exe().expect("this program"))
        .args(["worker_process", "--exact", "--nocapture"])
        .env("HUB_TEST_WORKER", &scene.folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program");
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    let port = lines.find_map(|line| line.split("port ").nth(1)?.parse::<u16>().ok()).expect("a port");
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("a worker");
    client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("a connection");
    lines.find(|line| line == "ready").expect("a stream");
    process.kill().expect("a process");
    process.wait().expect("it has ended");

    let mut other = scene.client();
    other.publish(&event("news", "after the kill")).expect("an id");
    let text = read_event(&mut client, "after the kill");
    assert!(text.starts_with(HEAD), "{text}");
    eventually("the hub has seen that the worker is gone", || other.count(b"").expect("counts").workers == 1);

    // The last worker leaves.
    let mut last = scene.client_with(HubSettings { grace: Duration::from_millis(50), ..settings() });
    last.publish(&event("news", "the last")).expect("an id");
    drop((other, last));
    let text = read_to_end(&mut client);
    assert!(text.contains("data: the last\n") && text.contains("retry: "), "{text}");
    client.shutdown(Shutdown::Both).ok();
    let mut later = scene.client();
    assert_eq!(later.count(b"").expect("counts").hub.published, 2); // the hub itself continues
}
