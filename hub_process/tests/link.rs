//! A connection that never waits: order, descriptors, credits, a bounded queue, and what is left when the hub is gone.

mod support;

use eventsource_xs::remote::calls::{Epoll, Readiness};
use eventsource_xs::remote::link::{Lost, NotQueued, MAX_QUEUED_BYTES};
use eventsource_xs::remote::Link;
use eventsource_xs::stream::Reason;
use eventsource_xs::wire::{Answer, Open, Publish, Request, MAX_FRAME_BYTES, WINDOW_BYTES};
use rustix::process::{kill_process, Pid, Signal};
use std::net::TcpStream;
use support::{event, eventually, kill, read_event, settings, stream_settings, tcp, topics, Scene, DEADLINE};

fn link(scene: &Scene) -> Link {
    Link::new(scene.client_with(settings())).expect("a new connection")
}

fn signal(link: &Link, signal: Signal) {
    kill_process(Pid::from_raw(link.welcome().pid as i32).expect("a process id"), signal).expect("a process");
}

/// Queues a publish. Runs the event loop while the queue is full.
fn publish(link: &mut Link, request: u64, data: &str) {
    let fields = event("", data).fields;
    let publish = Publish { request, channel: b"news", key: b"", once: b"", fields: fields.fields() };
    while let Err((NotQueued::Full, None)) = link.queue(&Request::Publish(publish), None) {
        turn(link, |_| {});
    }
}

/// Waits until the socket is ready, and sends and reads.
fn turn(link: &mut Link, with_answer: impl FnMut(Answer<'_>)) {
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
            Answer::Published { request, id } if request == wanted => found = Some(id.to_owned()),
            _ => {}
        });
    }
    found.unwrap_or_default()
}

#[test]
fn more_than_credits_and_queue_hold_is_sent_in_order() {
    let scene = Scene::new();
    let mut link = link(&scene);
    let data = "x".repeat(1000);
    let count = (MAX_QUEUED_BYTES + WINDOW_BYTES as usize) * 2 / data.len();
    for _ in 0..count {
        publish(&mut link, 0, &data);
    }
    publish(&mut link, 1, "last");
    assert!(id_of(&mut link, 1).ends_with(&format!("-{}", count + 1)));
    assert_eq!((link.queued_bytes(), link.wants_to_write()), (0, false));
}

#[test]
fn each_stream_gets_its_own_socket_among_other_requests() {
    let scene = Scene::new();
    let mut link = link(&scene);
    let mut clients: Vec<TcpStream> = Vec::new();
    for number in 1..=20 {
        let (socket, client) = tcp();
        let head = format!("head {number}\n");
        let open = Open { stream: number, settings: stream_settings(), unsent: head.as_bytes(), holds: false };
        publish(&mut link, 0, &"x".repeat(number as usize * 3000));
        link.queue(&Request::Open(open), Some(socket.into())).expect("room");
        let subscription = topics("news", None);
        link.queue(&Request::Subscribe { request: 0, stream: number, subscription }, None).expect("room");
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
            if let Answer::Ended { stream, reason } = answer {
                ended = Some((stream, reason));
            }
        });
    }
    assert_eq!(ended, Some((20, Reason::Client)));
}

#[test]
fn the_queue_is_bounded_while_the_hub_takes_nothing_and_sent_when_it_does() {
    let scene = Scene::new();
    let mut link = link(&scene);
    signal(&link, Signal::STOP);
    let fields = event("", &"x".repeat(10_000)).fields;
    let publish = Publish { request: 0, channel: b"news", key: b"", once: b"", fields: fields.fields() };
    let mut count = 0;
    while link.queue(&Request::Publish(publish), None).is_ok() {
        link.flush().expect("a connection"); // does not wait
        count += 1;
        assert!(count < 10_000, "the queue has no bound");
    }
    assert!(link.queued_bytes() < MAX_QUEUED_BYTES + 11_000);
    signal(&link, Signal::CONT);
    self::publish(&mut link, 1, "last");
    assert!(id_of(&mut link, 1).ends_with(&format!("-{}", count + 1)));
    let long = vec![b'x'; MAX_FRAME_BYTES];
    let too_long = link.queue(&Request::Push { stream: 1, event: &long, has_id: false }, None);
    assert!(matches!(too_long, Err((NotQueued::TooLong(_), None))));
}

#[test]
fn the_sockets_that_a_killed_hub_has_not_taken_come_back() {
    let scene = Scene::new();
    let mut link = link(&scene);
    kill(link.welcome().pid);
    eventually("the connection has ended", || link.read(|_| {}) == Err(Lost));
    let mut clients = Vec::new();
    for stream in 1..=3 {
        let (socket, client) = tcp();
        let open = Open { stream, settings: stream_settings(), unsent: b"", holds: false };
        link.queue(&Request::Open(open), Some(socket.into())).expect("room");
        clients.push(client);
    }
    assert_eq!(link.flush(), Err(Lost));
    assert_eq!(link.read(|_| {}), Err(Lost));
    let sockets = link.unsent_sockets();
    assert_eq!(sockets.len(), 3);
    // They are open still, and in order.
    for (socket, client) in sockets.into_iter().zip(&clients) {
        let socket = TcpStream::from(socket);
        assert_eq!(socket.peer_addr().expect("a connection"), client.local_addr().expect("a connection"));
    }
    let again = Link::new(scene.client_with(settings())).expect("another hub");
    assert_eq!(again.queued_bytes(), 0);
}
