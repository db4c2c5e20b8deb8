//! Content codings: a channel's events for 1,000 streams over loopback, as they are, as gzip and as zstd.
//!
//! ```sh
//! cargo bench --no-default-features --features zstd --bench compression
//! ```
//!
//! `bytes` is by how many times fewer bytes each client receives, `CPU` the time of the reactor's thread for a million
//! deliveries, system calls included, and its ratio to that of the same events as they are, in one run. `alone` is a stream
//! that came in the middle of a round.

mod cpu;
mod loopback;

use cpu::cpu;
use eventsource_xs::compression::{Body, ContentCoding};
use eventsource_xs::event::{Framing, LineEnd, Shared};
use eventsource_xs::hub::{Epoch, Retain, SequencedEvent, Settings, SubscribeRequest, Topic};
use eventsource_xs::log::Bounds;
use eventsource_xs::reactor::{Command, Reactor, StreamInit};
use eventsource_xs::stream::{self, StreamId};
use fastrand::Rng;
use loopback::{connection, Loopback};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

const STREAMS: u32 = 1_000;
const LONG: Duration = Duration::from_secs(1_000_000);

/// Makes the data of an event.
type Make = fn(&mut Rng, &mut Vec<[String; 4]>) -> String;

fn any<'a>(rng: &mut Rng, words: &[&'a str]) -> &'a str {
    words[rng.usize(..words.len())]
}

/// A table of 100 rows of which few cells have changed.
fn table(rng: &mut Rng, rows: &mut Vec<[String; 4]>) -> String {
    const STATES: [&str; 3] = ["open", "paid", "sent"];
    for row in rows.len()..100 {
        let user = format!("user{}@example.com", rng.u16(1..=500));
        rows.push([format!("ORD-{row:05}"), any(rng, &STATES).into(), rng.u16(1..1000).to_string(), user]);
    }
    for _ in 0..5 {
        let row = rng.usize(..rows.len());
        rows[row][1] = any(rng, &STATES).into();
        rows[row][2] = rng.u16(1..1000).to_string();
    }
    let line = |[id, state, number, user]: &[String; 4]| {
        format!(
            "data: elements <tr id=\"row-{id}\" class=\"order {state}\"><td>{id}</td><td class=\"state\">{state}</td>\
             <td class=\"num\">{number}</td><td><a href=\"/users/{user}\">{user}</a></td></tr>\n"
        )
    };
    let lines: String = rows.iter().map(line).collect();
    format!("event: patch\ndata: elements <table id=\"orders\">\n{lines}data: elements </table>\n")
}

fn json(rng: &mut Rng, _: &mut Vec<[String; 4]>) -> String {
    let symbol = any(rng, &["ACME", "INIT", "FOO", "BAR"]);
    let (bid, ask, volume) = (rng.u32(..10_000), rng.u32(..10_000), rng.u32(..100_000));
    format!(
        "event: price\ndata: {{\"symbol\": \"{symbol}\", \"bid\": {}.{:02}, \"ask\": {}.{:02}, \"volume\": {volume}}}\n",
        bid / 100,
        bid % 100,
        ask / 100,
        ask % 100
    )
}

fn token(rng: &mut Rng, _: &mut Vec<[String; 4]>) -> String {
    let word =
        any(rng, &["the", "a", "of", "to", "stream", "server", "event", "hub", "client", "window", "data", "worker"]);
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" {word}\"}},\"finish_reason\":null}}]}}\n")
}

fn events(make: Make, count: usize) -> Vec<Shared> {
    let (mut rng, mut rows) = (Rng::with_seed(1), Vec::new());
    let block = |at: usize, data: String| format!("{data}id: abcdefgh-{at}\n\n").into_bytes();
    let blocks = (0..count).map(|at| block(at, make(&mut rng, &mut rows)));
    let shared = |block: Vec<u8>| {
        Shared::write(block.len(), |out| {
            out.copy_from_slice(&block);
            block.len()
        })
    };
    blocks.map(shared).collect()
}

/// Sends each event in a turn of its own. Returns the CPU time, and the bytes that all clients have received.
fn deliver(events: &[Shared], coding: ContentCoding, comes_late: bool) -> (Duration, usize) {
    let now = Instant::now();
    let mut reactor = Reactor::new(Loopback::default(), now);
    let history = Bounds { events: 1_000, bytes: 1 << 30, age: LONG };
    let settings = Box::new(Settings::new(history, history));
    reactor.apply(
        Command::CreateHub { hub: 0, epoch: Epoch::new("abcdefgh", None), settings, history: None },
        None,
        now,
    );
    let settings = stream::Settings {
        framing: Framing::Chunked,
        coding,
        line_end: LineEnd::Lf,
        keepalive: None,
        timeout: LONG,
        max_buffered: 1 << 22,
        drop_oldest: false,
        retry: Duration::ZERO,
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let open = |reactor: &mut Reactor<Loopback>, slot| {
        let stream = StreamId { slot, serial: 1 };
        let head = settings.framing.frame(coding.beginning());
        let init = Arc::new(StreamInit {
            settings,
            head,
            content: Default::default(),
            body: Body::default(),
            is_inherited: false,
            members_of: None,
            liveness: None,
        });
        reactor.apply(Command::Open { stream, init }, Some(connection(&listener)), now);
        let topics = vec![Topic::Channel(b"0"[..].into())];
        let request = Box::new(SubscribeRequest { topics, ..Default::default() });
        reactor.apply(Command::Subscribe { hub: 0, stream, request, holds: false }, None, now);
        reactor.flush(now);
    };
    if comes_late {
        open(&mut reactor, STREAMS); // it begins the round
    } else {
        (0..STREAMS).for_each(|slot| open(&mut reactor, slot));
    }
    let mut before = (Duration::ZERO, Duration::ZERO, 0);
    for (at, event) in events.iter().enumerate() {
        if at == 1 && comes_late {
            (0..STREAMS).for_each(|slot| open(&mut reactor, slot));
        }
        if at == 1 {
            reactor.take_answers();
            before = (cpu(), reactor.io().reading, reactor.io().received);
        }
        let event = SequencedEvent {
            seq: at as u64 + 1,
            channel: b"0"[..].into(),
            event: event.clone(),
            key: Box::default(),
            retain: Retain::No,
            has_custom_id: false,
        };
        reactor.apply(Command::Publish { hub: 0, event: Box::new(event) }, None, now);
        reactor.flush(now);
        reactor.take_answers();
    }
    let (since, reading, received) = before;
    (cpu() - since - (reactor.io().reading - reading), reactor.io().received - received)
}

fn main() {
    println!("{:24} {:>8} {:>9} {:>8} {:>10} {:>6}", "events", "coding", "bytes", "fewer", "CPU s/mio", "ratio");
    let kinds: [(&str, Make, usize); 3] =
        [("a table of 100 rows", table, 101), ("JSON", json, 1001), ("tokens", token, 1001)];
    for (name, make, count) in kinds {
        let events = events(make, count);
        let mut plain = (0.0, 1.0);
        for coding in ContentCoding::ALL {
            for comes_late in [false, true] {
                if comes_late && *coding == ContentCoding::Identity {
                    continue;
                }
                let events = if comes_late { &events[..events.len().min(40)] } else { &events[..] };
                let (time, bytes) = deliver(events, *coding, comes_late);
                let deliveries = f64::from(STREAMS) * (events.len() - 1) as f64;
                let (each, bytes) = (time.as_secs_f64() / deliveries * 1e6, bytes as f64 / deliveries);
                if *coding == ContentCoding::Identity {
                    plain = (bytes, each);
                }
                let what = if comes_late { format!("{name}, alone") } else { name.to_owned() };
                println!(
                    "{what:24} {:>8} {bytes:>9.1} {:>8.1} {each:>10.2} {:>6.2}",
                    coding.name(),
                    plain.0 / bytes,
                    each / plain.1
                );
            }
        }
    }
}
