//! Workers that break the rules: they are cut off, descriptors do not leak, and other workers do not notice.

mod support;

use eventsource_xs::remote::calls::{send, Wait};
use eventsource_xs::stream::Reason;
use eventsource_xs::wire::{Answer, FieldList, Open, Publish, Request};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use support::{
    encoded, event, eventually, hello, open, opening, read_to_end, settings, stream_settings, tcp, topics, Scene,
    DEADLINE,
};

/// Connects without the library's client. With a greeting the hub has answered it.
fn connect(scene: &Scene, greets: bool) -> UnixStream {
    let mut socket = UnixStream::connect(scene.place.socket()).expect("a hub");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    if greets {
        socket.write_all(&hello()).expect("a connection");
        let mut length = [0; 4];
        socket.read_exact(&mut length).expect("an answer");
        socket.read_exact(&mut vec![0; u32::from_le_bytes(length) as usize]).expect("an answer");
    }
    socket
}

/// Sends bytes with a socket beside them, and returns the other end of that socket.
fn send_with_socket(worker: &UnixStream, bytes: &[u8]) -> TcpStream {
    let (socket, client) = tcp();
    assert_eq!(send(worker.as_fd(), bytes, Some(socket.as_fd()), Wait::Forever).expect("a connection"), bytes.len());
    client
}

fn is_closed(worker: &mut UnixStream) -> bool {
    match worker.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn descriptors_of(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").count()
}

#[test]
fn rubbish_cuts_a_worker_off_before_and_after_its_greeting() {
    let scene = Scene::new();
    let mut other = scene.client_with(settings());
    for greets in [false, true] {
        let rubbish: [&[u8]; 4] = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x05\0\0\0\xffabcd", b"\x01\0\0\0\x01"];
        for bytes in rubbish {
            let mut worker = connect(&scene, greets);
            worker.write_all(bytes).expect("a connection");
            assert!(is_closed(&mut worker), "{greets} {bytes:?}");
        }
    }
    other.publish(&event("news", "hello")).expect("others do not notice");
    // Two that have not greeted were rejected; all others were cut off.
    assert_eq!(other.count(b"").expect("counts").cut_off, 6);
}

#[test]
fn a_worker_that_dies_in_the_middle_of_a_frame_with_a_descriptor_leaks_none() {
    let scene = Scene::new();
    let mut other = scene.client_with(settings());
    let pid = other.welcome().pid;
    let before = descriptors_of(pid);
    let bytes = opening(1);
    for cut in [1, 4, 5, bytes.len() / 2, bytes.len() - 1] {
        let worker = connect(&scene, true);
        let mut client = send_with_socket(&worker, &bytes[..cut]);
        // Answered after the hub has received the descriptor.
        other.publish(&event("news", "hello")).expect("an id");
        drop(worker);
        assert_eq!(read_to_end(&mut client), "", "{cut}");
    }
    eventually("all descriptors are closed", || descriptors_of(pid) <= before);
    assert_eq!(other.count(b"").expect("counts").cut_off, 0);
}

#[test]
fn a_descriptor_without_a_stream_cuts_a_worker_off_and_is_closed() {
    let scene = Scene::new();
    let mut other = scene.client_with(settings());
    let fields = FieldList::default();
    let publish =
        encoded(&Request::Publish(Publish { channel: b"news", fields: fields.fields(), ..Publish::default() }));
    let mut worker = connect(&scene, true);
    let mut client = send_with_socket(&worker, &publish);
    assert!(is_closed(&mut worker));
    assert_eq!(read_to_end(&mut client), "");
    // Two with one stream.
    let mut worker = connect(&scene, true);
    let bytes = opening(1);
    let mut clients = [send_with_socket(&worker, &bytes[..9]), send_with_socket(&worker, &bytes[9..])];
    assert!(is_closed(&mut worker));
    for client in &mut clients {
        let _ = client.read_to_end(&mut Vec::new());
    }
    assert_eq!(other.count(b"").expect("counts").cut_off, 2);
}

#[test]
fn a_stream_without_a_descriptor_or_with_a_used_number_cuts_a_worker_off() {
    let scene = Scene::new();
    let mut other = scene.client_with(settings());
    let mut worker = connect(&scene, true);
    worker.write_all(&opening(1)).expect("a connection");
    assert!(is_closed(&mut worker));
    let mut worker = connect(&scene, true);
    let mut clients = [send_with_socket(&worker, &opening(1)), send_with_socket(&worker, &opening(1))];
    assert!(is_closed(&mut worker));
    // The first stream was not subscribed, so it has ended with its opener.
    let texts: Vec<_> = clients.iter_mut().map(read_to_end).collect();
    assert_eq!(texts, ["head", ""]);
    assert_eq!(other.count(b"").expect("counts").cut_off, 2);
}

#[test]
fn a_descriptor_that_is_not_a_connection_ends_its_stream() {
    let scene = Scene::new();
    let mut worker = scene.client_with(settings());
    let file = fs::File::open("/dev/null").expect("a descriptor");
    let opening = Open { stream: 1, settings: stream_settings(), unsent: b"", holds: false };
    worker.open(opening, file.as_fd()).expect("a connection");
    assert_eq!(worker.next_report().expect("a report"), Some(Answer::Ended { stream: 1, reason: Reason::Error }));
}

#[test]
fn a_worker_that_reads_no_answers_is_slowed_and_others_are_not() {
    let scene = Scene::new();
    let mut other = scene.client_with(settings());
    let mut client = open(&mut other, 1, "");
    other.subscribe(1, topics("news", None)).expect("a stream");
    let pid = other.welcome().pid;
    let mut worker = connect(&scene, true);
    worker.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    // Small requests with larger answers, until the hub reads no more of them.
    let count = encoded(&Request::Count { request: 1, channel: b"" }).repeat(1000);
    let mut sent = 0;
    while let Ok(bytes) = worker.write(&count) {
        sent += bytes;
        assert!(sent < 100 << 20, "the hub reads on");
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    let kilobytes: u64 = kilobytes.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes < 64 << 10, "{kilobytes} kB after {sent} bytes");
    other.publish(&event("news", "hello")).expect("an id");
    support::read_event(&mut client, "hello");
    // It leaves without having read anything.
    drop(worker);
    eventually("the hub has closed its connection", || other.count(b"").expect("counts").workers == 1);
}

#[test]
fn a_worker_that_closes_at_once_is_heard() {
    let scene = Scene::new();
    let mut other = scene.client_with(settings());
    let fields = FieldList::default();
    let publish = Request::Publish(Publish { channel: b"news", fields: fields.fields(), ..Publish::default() });
    for _ in 0..20 {
        let mut worker = connect(&scene, true);
        worker.write_all(&encoded(&publish).repeat(100)).expect("a connection");
    }
    eventually("all events are published", || other.count(b"").expect("counts").hub.published == 2000);
}

#[test]
fn the_hub_is_served_while_it_has_no_descriptor_left() {
    let scene = Scene::new();
    let mut other = scene.client_with(settings());
    let number = other.welcome().pid;
    let pid = rustix::process::Pid::from_raw(number as i32).expect("a process id");
    // Every number below the limit is used.
    let is_free = |descriptor: &u64| fs::symlink_metadata(format!("/proc/{number}/fd/{descriptor}")).is_err();
    let least = (0..).find(is_free);
    let limit = rustix::process::Rlimit { current: least, maximum: least };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, limit).expect("its owner may");
    let waiting: Vec<_> = (0..60).map(|_| UnixStream::connect(scene.place.socket()).expect("room to wait")).collect();
    other.publish(&event("news", "hello")).expect("an id");
    // Its socket cannot be received: the stream ends, its worker is served on.
    let (socket, mut client) = tcp();
    let opening = Open { stream: 1, settings: stream_settings(), unsent: b"", holds: false };
    other.open(opening, socket.as_fd()).expect("a connection");
    drop(socket);
    assert_eq!(other.next_report().expect("a report"), Some(Answer::Ended { stream: 1, reason: Reason::Error }));
    assert_eq!(read_to_end(&mut client), "");
    drop(waiting);
    other.publish(&event("news", "hello")).expect("an id");
    let limit = rustix::process::Rlimit { current: Some(1000), maximum: Some(1000) };
    match rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, limit) {
        Ok(_) => drop(scene.client()), // those that wait are accepted
        Err(error) => eprintln!("skipped, because only root may raise a limit: {error}"),
    }
}
