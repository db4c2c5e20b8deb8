//! Whatever an HTTP client sends to a hub process, cut anywhere: its head is read as if it had come at once, and nothing before
//! its end; the client receives its whole answer; and no connection outlives its time.
#![no_main]
#![allow(dead_code)] // what only the program uses

/// Modules of the program.
#[path = "../../hub_process/src/http"]
mod http {
    pub mod connections;
}

use arbitrary::Arbitrary;
use eventsource_xs::remote::calls::Epoll;
use http::connections::{Client, Connections, Head, Service, MAX_HEAD};
use libfuzzer_sys::fuzz_target;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// More than a connection may need without its client.
const TURNS: usize = 10;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// The lengths of the pieces in which the bytes are sent, but the last.
    cuts: Vec<u8>,
    /// The length of the answer.
    answer: u32,
    /// Whether the client closes its side behind its request.
    closes: bool,
    bytes: &'a [u8],
}

/// Whatever is a head is one by its last byte, and says each thing once.
fn check_head(bytes: &[u8]) {
    let Ok(Some(head)) = Head::read(bytes) else { return };
    for len in 0..head.len {
        assert!(matches!(Head::read(&bytes[..len]), Ok(None)), "a head of {len} bytes");
    }
    assert!(bytes[..head.len].ends_with(b"\n"));
    for name in ["host", "cookie", "last-event-id", "prefer"] {
        let value = head.field(name).unwrap_or_default();
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{name}: {value:?}");
    }
    if let Some((path, query)) = head.path_and_query() {
        let target = if head.target.contains('?') { format!("{path}?{query}") } else { path.to_owned() };
        assert_eq!(target, head.target);
    }
}

/// Serves what is ready, until nothing is or the head of a client is there.
fn serve(connections: &mut Connections, epoll: &Epoll, now: Instant) -> Option<Client> {
    for _ in 0..TURNS {
        let mut ready = Vec::new();
        epoll.wait(Some(Duration::ZERO), |number, readiness| ready.push((number, readiness))).expect("an epoll set");
        if ready.is_empty() {
            return None;
        }
        for (number, readiness) in ready {
            let found = connections.serve(number, readiness, epoll, now);
            if found.is_some() {
                return found;
            }
        }
    }
    panic!("a connection is always ready");
}

fuzz_target!(|input: Input<'_>| {
    check_head(input.bytes);
    let (epoll, now) = (Epoll::new().expect("an epoll set"), Instant::now());
    let (mut socket, server) = UnixStream::pair().expect("a pair of sockets");
    let mut connections = Connections::new();
    let mut found = connections.add(server.into(), Service::Streams, &epoll, now);
    let (mut sent, mut cuts) = (0, input.cuts.iter());
    while found.is_none() && sent < input.bytes.len() {
        let rest = &input.bytes[sent..];
        let length = cuts.next().map_or(rest.len(), |cut| usize::from(*cut).max(1)).min(rest.len()).min(MAX_HEAD);
        socket.write_all(&rest[..length]).expect("a connection");
        sent += length;
        found = serve(&mut connections, &epoll, now);
        let is_head = matches!(Head::read(&input.bytes[..sent]), Ok(Some(_)));
        assert!(found.is_some() || !is_head, "a head was not seen");
        assert!(found.is_some() || sent < MAX_HEAD, "more than a head may have");
    }
    if input.closes {
        let _ = socket.shutdown(Shutdown::Write);
    }
    if let Some(client) = found {
        assert!(input.bytes.starts_with(&client.bytes) && client.bytes.len() <= MAX_HEAD);
        assert!(!matches!(Head::read(&client.bytes), Ok(None)), "a part of a head");
        let answer = vec![b'a'; (input.answer % 300_000) as usize];
        connections.answer(client, answer.clone(), &epoll, now);
        socket.set_nonblocking(true).expect("an option");
        let (mut received, mut room) = (Vec::new(), vec![0; 65_536]);
        while received.len() < answer.len() {
            match socket.read(&mut room) {
                Ok(0) => panic!("{} bytes of {}", received.len(), answer.len()),
                Ok(count) => received.extend_from_slice(&room[..count]),
                Err(_) => assert!(serve(&mut connections, &epoll, now).is_none()),
            }
        }
        assert_eq!(received, answer);
    }
    serve(&mut connections, &epoll, now);
    connections.run_timers(now + Duration::from_secs(60), Vec::new);
    assert_eq!(connections.len(), 0, "connections stay");
});
