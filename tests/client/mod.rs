//! A client at the other end of a socket, and a wait for a condition.

#![allow(dead_code)] // no file of tests uses all of it

use eventsource_xs::compression::{Body, ContentCoding};
use eventsource_xs::parse::{Event, Parser};
use eventsource_xs::runtime::{OpenOptions, StreamHandle};
use eventsource_xs::stream::{Framing, LineEnd, Settings};
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Longer than any step takes, also on a slow machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until a condition is true. Fails if it is not true before the deadline.
pub fn eventually(expected: &str, is_true: impl FnMut() -> bool) {
    assert!(is_eventually(is_true), "not within {DEADLINE:?}: {expected}");
}

/// Waits until a condition is true. Returns false if it is not true before the deadline.
pub fn is_eventually(mut is_true: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + DEADLINE;
    while !is_true() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

pub fn settings() -> Settings {
    Settings {
        framing: Framing::Plain,
        coding: ContentCoding::Identity,
        line_end: LineEnd::Lf,
        keepalive: None,
        timeout: DEADLINE * 2,
        max_buffered: 100_000,
        drop_oldest: false,
        retry: Duration::from_secs(3),
    }
}

/// Returns the opening of a stream that ends with its handle.
pub fn opening(socket: impl Into<Option<OwnedFd>>, settings: Settings) -> OpenOptions<'static> {
    OpenOptions {
        socket: socket.into(),
        head: b"head\n",
        content: b"",
        body: Body::default(),
        settings,
        waits: false,
        ends_with_handle: true,
        interpreter: 0,
        max_streams: usize::MAX,
        handler_limit: None,
        may_wait: false,
        members_of: None,
    }
}

pub fn open(opening: OpenOptions<'_>) -> StreamHandle {
    StreamHandle::open(opening).map_err(|(error, _)| error).expect("a stream")
}

/// Connects a client over a Unix socket.
pub fn local() -> (OwnedFd, UnixStream) {
    let (server, client) = UnixStream::pair().expect("a pair of sockets");
    client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    (server.into(), client)
}

/// Connects a client over TCP.
pub fn tcp() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    (listener.accept().expect("a connection").0.into(), client)
}

/// Returns true if an eventfd was written since it was last read.
pub fn is_raised(descriptor: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).expect("an open descriptor");
    text.lines().any(|line| line.starts_with("eventfd-count:") && !line.ends_with(" 0"))
}

/// Reads until the text ends with `end`.
pub fn read_until(client: &mut impl Read, end: &str) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(end.as_bytes()) {
        match client.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&text)),
        }
    }
    String::from_utf8(text).expect("text")
}

/// Reads events, and calls a function with each, until it returns true.
pub fn read_events(client: &mut impl Read, parser: &mut Parser, mut is_last: impl FnMut(Event) -> bool) {
    let mut bytes = [0; 65_536];
    loop {
        while let Some(event) = parser.next_event() {
            if is_last(event) {
                return;
            }
        }
        let count = client.read(&mut bytes).expect("more bytes");
        assert!(count > 0, "the stream is open");
        parser.feed(&bytes[..count]).expect("small events");
    }
}

/// Reads until the connection is closed or reset.
pub fn read_to_end(client: &mut impl Read) -> String {
    let mut text = Vec::new();
    match client.read_to_end(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error} after {} bytes", text.len()),
    }
    String::from_utf8(text).expect("text")
}
