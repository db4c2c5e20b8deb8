//! A connection that never waits: order, descriptors, credits, its queue, and what is left when the hub is gone. Leases: one
//! worker holds each, and the next one gets it when the holder resigns, leaves, is killed or misbehaves.

mod support;

use eventsource_xs::hub::{EndRequest, LogRange, Publication};
use eventsource_xs::remote::calls::{Epoll, Readiness};
use eventsource_xs::remote::link::{ConnectionLost, MAX_QUEUED_BYTES};
use eventsource_xs::remote::Link;
use eventsource_xs::stream::Reason;
use eventsource_xs::wire::{Call, Open, Request, Response, WINDOW_BYTES};
use std::borrow::Cow;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use support::{event, eventually, kill, read_event, signal, stream_settings, tcp, topics, Scene, Signal, DEADLINE};

fn queue(link: &mut Link, request: &Request<'_>, socket: Option<OwnedFd>) {
    let mut frame = Vec::new();
    request.encode(&mut frame).expect("a short request");
    link.queue_frame(frame, socket);
}

/// Queues a publish. Runs the event loop while the queue is full.
fn publish(link: &mut Link, request: u64, data: &str) {
    let fields = event("", data).fields;
    let publication = Publication { channel: b"news", fields: fields.fields(), ..Publication::default() };
    while link.queued_bytes() >= MAX_QUEUED_BYTES {
        turn(link, |_| {});
    }
    queue(link, &Request::Publish { request, publication }, None);
}

/// Waits until the socket is ready, and sends and reads.
fn turn(link: &mut Link, with_answer: impl FnMut(Response<'_>)) {
    let epoll = Epoll::new().expect("a descriptor");
    epoll.add(link.socket(), 1).expect("a socket");
    epoll.ask(link.socket(), 1, true, link.wants_to_write()).expect("a socket");
    let mut ready = Readiness::default();
    epoll.wait(Some(DEADLINE), |_, readiness| ready = readiness).expect("a wait");
    assert_ne!(ready, Readiness::default(), "nothing happens");
    if ready.readable {
        link.read(with_answer).expect("a connection");
    }
    link.flush().expect("a connection");
}

/// Runs until a publish is answered, and returns its id.
fn id_of(link: &mut Link, wanted: u64) -> String {
    let mut found = None;
    while found.is_none() {
        turn(link, |answer| match answer {
            Response::Published { request, id } if request == wanted => found = Some(id.to_owned()),
            _ => {}
        });
    }
    found.unwrap_or_default()
}

#[test]
fn more_than_credits_and_queue_hold_is_sent_in_order() {
    let scene = Scene::new();
    let mut link = scene.link();
    let data = "x".repeat(1000);
    let count = (MAX_QUEUED_BYTES + WINDOW_BYTES as usize) * 2 / data.len();
    for _ in 0..count {
        publish(&mut link, 0, &data);
    }
    publish(&mut link, 1, "last");
    assert!(id_of(&mut link, 1).ends_with(&format!("-{}", count + 1)));
    assert_eq!((link.queued_bytes(), link.wants_to_write()), (0, false));
}

/// All are sent in one write, and read in one turn of the hub process.
#[test]
fn a_publish_is_answered_while_questions_before_it_still_wait_for_the_reactor() {
    let scene = Scene::new();
    let mut link = scene.link();
    let (channel, end) = (&b"news"[..], EndRequest { labels: vec![b"nobody"[..].into()], ..EndRequest::default() });
    let channel = || channel.into();
    let calls = [
        Call::Count { channel: channel() },
        Call::Members { channel: channel(), after: None },
        Call::ReadLog { channel: channel(), range: LogRange::default() },
        Call::EndStreams(end),
    ];
    for (request, call) in (1..).zip(calls) {
        queue(&mut link, &Request::Call { request, until: 0, call: Cow::Owned(call) }, None);
    }
    publish(&mut link, 5, "x");
    let mut answered = Vec::new();
    while answered.len() < 5 {
        turn(&mut link, |answer| {
            answered.push(match answer {
                Response::Reply { request, result: Ok(_) } | Response::Published { request, .. } => request,
                other => panic!("{other:?}"),
            });
        });
    }
    assert_eq!(answered, [5, 1, 2, 3, 4]);
}

#[test]
fn each_stream_gets_its_own_socket_among_other_requests() {
    let scene = Scene::new();
    let mut link = scene.link();
    let mut clients: Vec<TcpStream> = Vec::new();
    for number in 1..=20 {
        let (socket, client) = tcp();
        let head = format!("head {number}\n");
        let open = Open::new(number, stream_settings(), head.as_bytes());
        publish(&mut link, 0, &"x".repeat(number as usize * 3000));
        queue(&mut link, &Request::Open(open), Some(socket));
        let subscription = topics("news", None);
        queue(&mut link, &Request::Subscribe { request: 0, stream: number, subscription }, None);
        clients.push(client);
    }
    publish(&mut link, 7, "to all");
    link.flush().expect("a connection");
    id_of(&mut link, 7);
    for (number, client) in (1..).zip(&mut clients) {
        let text = read_event(client, "to all");
        assert!(text.starts_with(&format!("head {number}\n")), "{number}: {text}");
    }
    clients.truncate(19);
    let mut ended = None;
    while ended.is_none() {
        turn(&mut link, |answer| {
            if let Response::Ended { stream, reason } = answer {
                ended = Some((stream, reason));
            }
        });
    }
    assert_eq!(ended, Some((20, Reason::Client)));
}

#[test]
fn the_queue_grows_while_the_hub_takes_nothing_and_is_sent_when_it_does() {
    let scene = Scene::new();
    let mut link = scene.link();
    signal(link.welcome().pid, Signal::STOP);
    let fields = event("", &"x".repeat(10_000)).fields;
    let publication = Publication { channel: b"news", fields: fields.fields(), ..Publication::default() };
    let mut count = 0;
    while link.queued_bytes() < MAX_QUEUED_BYTES {
        queue(&mut link, &Request::Publish { request: 0, publication }, None);
        link.flush().expect("a connection"); // does not wait
        count += 1;
    }
    signal(link.welcome().pid, Signal::CONT);
    self::publish(&mut link, 1, "last");
    assert!(id_of(&mut link, 1).ends_with(&format!("-{}", count + 1)));
}

#[test]
fn the_sockets_that_a_killed_hub_has_not_taken_come_back() {
    let scene = Scene::new();
    let mut link = scene.link();
    kill(link.welcome().pid);
    eventually("the connection has ended", || link.read(|_| {}) == Err(ConnectionLost));
    let mut clients = Vec::new();
    for stream in 1..=3 {
        let (socket, client) = tcp();
        let open = Open::new(stream, stream_settings(), b"");
        queue(&mut link, &Request::Open(open), Some(socket));
        clients.push(client);
    }
    assert_eq!(link.flush(), Err(ConnectionLost));
    assert_eq!(link.read(|_| {}), Err(ConnectionLost));
    let sockets: Vec<OwnedFd> = link.unsent().into_iter().filter_map(|(_, socket)| socket).collect();
    assert_eq!(sockets.len(), 3);
    // They are open still, and in order.
    for (socket, client) in sockets.into_iter().zip(&clients) {
        let socket = TcpStream::from(socket);
        assert_eq!(socket.peer_addr().expect("a connection"), client.local_addr().expect("a connection"));
    }
    let again = scene.link();
    assert_eq!(again.queued_bytes(), 0);
}

fn ask(link: &mut Link, request: &Request<'_>) {
    queue(link, request, None);
    link.flush().expect("a connection");
}

/// Returns the next news about leases, as text; nothing if there is none within the time.
fn news(link: &mut Link, within: Duration) -> Option<String> {
    let deadline = Instant::now() + within;
    let mut found = None;
    while found.is_none() && Instant::now() < deadline {
        link.read(|answer| match answer {
            Response::Elected { lease, is_held } => found = Some(format!("{lease} {is_held}")),
            Response::Reply { request, result: Err(failure) } => found = Some(format!("{request} {:?}", failure.code)),
            _ => {}
        })
        .expect("a connection");
        std::thread::sleep(Duration::from_millis(1));
    }
    found
}

fn elect(link: &mut Link, lease: u64) -> Option<String> {
    ask(link, &Request::Elect { lease, name: b"supply" });
    news(link, DEADLINE)
}

#[test]
fn the_next_worker_gets_the_lease_however_its_holder_goes() {
    let scene = Scene::new();
    let mut links: Vec<Link> = (0..4).map(|_| scene.link()).collect();
    let answers: Vec<Option<String>> = links.iter_mut().map(|link| elect(link, 7)).collect();
    assert_eq!(answers, ["7 true", "7 false", "7 false", "7 false"].map(|text| Some(text.to_owned())));

    ask(&mut links[0], &Request::Resign { lease: 7 });
    assert_eq!(news(&mut links[1], DEADLINE).as_deref(), Some("7 true"), "its holder has resigned");
    assert_eq!(elect(&mut links[0], 8).as_deref(), Some("8 false"));

    drop(links.remove(1));
    assert_eq!(news(&mut links[1], DEADLINE).as_deref(), Some("7 true"), "its holder has left");

    ask(&mut links[1], &Request::Elect { lease: 7, name: b"supply" }); // a number that it has used
    assert_eq!(news(&mut links[2], DEADLINE).as_deref(), Some("7 true"), "its holder was cut off");
    assert_eq!(news(&mut links[0], Duration::from_millis(50)), None, "the others still wait");
}

#[test]
fn a_name_that_is_none_is_refused() {
    let scene = Scene::new();
    let mut link = scene.link();
    ask(&mut link, &Request::Elect { lease: 1, name: b"" });
    assert_eq!(news(&mut link, DEADLINE).as_deref(), Some("1 Invalid"));
    assert_eq!(elect(&mut link, 1).as_deref(), Some("1 true"), "the number is free");
}
