//! How long an upgrade of a hub process takes: from the request to the answer of the new program, and to the first publish.
//!
//! `cargo bench --manifest-path hub_process/Cargo.toml --bench upgrade [STREAMS]`; 10,000 streams by default, as far as the
//! limit of descriptors allows.

use eventsource_xs::compression::ContentCoding;
use eventsource_xs::event::{Field, Text};
use eventsource_xs::hub::{FirstBlock, Publication, SubscribeRequest, Topic};
use eventsource_xs::log::Bounds;
use eventsource_xs::remote::{stop, upgrade, CallConnection, Place, Start};
use eventsource_xs::stream::Settings;
use eventsource_xs::stream::{Framing, LineEnd};
use eventsource_xs::wire::{Call, Counted, FieldList, HubSettings, Name, Open, Request};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

const STREAMS: u64 = 10_000;
const HISTORY_BYTES: usize = 64 << 20;
const UPGRADES: usize = 5;
const PROGRAM: &str = env!("CARGO_BIN_EXE_eventsource-hub");

fn main() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let most = limit.maximum.unwrap_or(u64::MAX) - 300; // the hub keeps some free, and so does this program
    let asked = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(STREAMS);
    let streams = asked.min(most);
    let folder = std::env::temp_dir().join(format!("eventsource-bench-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a new folder");
    let place = Place::new(Name::new("bench").expect("a name"), Some(&folder.join("s"))).expect("a place");
    let start =
        Start { program: Some(Path::new(PROGRAM).to_owned()), needs_settings: false, timeout: Duration::from_secs(60) };
    let history = Bounds { events: 1 << 20, bytes: HISTORY_BYTES, age: Duration::MAX };
    let mut settings = HubSettings::default();
    (settings.hub.history, settings.hub.total_history) = (history, history);
    let mut worker = CallConnection::connect(&start, &place, Some(settings.into())).expect("a hub");
    println!("{streams} streams");
    let mut clients = open(&mut worker, streams);
    measure("no history", &mut worker, &start, &place);
    let large = "x".repeat(10_000);
    let of_history = event("history", &large);
    (0..HISTORY_BYTES / large.len()).for_each(|_| worker.publish_unanswered(&of_history).expect("a connection"));
    counted(&mut worker, b"");
    measure("64 MiB of history", &mut worker, &start, &place);
    worker.publish(&event("live", "the last")).expect("an id");
    for client in &mut clients {
        let (mut text, mut piece) = (Vec::new(), [0; 4096]);
        while !text.windows(8).any(|part| part == b"the last") {
            let count = client.read(&mut piece).expect("a connection");
            assert!(count > 0, "a stream has ended");
            text.extend_from_slice(&piece[..count]);
        }
    }
    println!("the last event has reached all {streams} clients");
    stop(&start, &place).expect("an end");
    let _ = std::fs::remove_dir_all(&folder);
}

fn event<'a>(channel: &'a str, data: &str) -> Publication<'a, FieldList> {
    let fields = FieldList::of([Field::Data(Text::from(data))]);
    Publication { channel: channel.as_bytes(), fields, ..Publication::default() }
}

/// Hands streams over, and returns their clients.
fn open(worker: &mut CallConnection, streams: u64) -> Vec<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let settings = Settings {
        framing: Framing::Chunked,
        coding: ContentCoding::Identity,
        line_end: LineEnd::Lf,
        keepalive: Some(Duration::from_secs(15)),
        timeout: Duration::from_secs(60),
        max_buffered: 1 << 20,
        drop_oldest: false,
        retry: Duration::from_secs(1),
    };
    let mut open = |number| {
        let client = TcpStream::connect(address).expect("a connection");
        let (socket, _) = listener.accept().expect("a connection");
        worker.open(Open::new(number, settings, b""), socket.as_fd()).expect("a connection");
        let topics = vec![Topic::Channel(b"live"[..].into())];
        let first_block = FirstBlock::default();
        let subscription = SubscribeRequest { topics, first_block, ..Default::default() };
        worker.send(&Request::Subscribe { request: 0, stream: number, subscription }, None).expect("a connection");
        client
    };
    let clients = (1..=streams).map(&mut open).collect();
    assert_eq!(counted(worker, b"live").subscribers, streams);
    clients
}

fn measure(what: &str, worker: &mut CallConnection, start: &Start, place: &Place) {
    for _ in 0..UPGRADES {
        let begun = Instant::now();
        upgrade(start, place, Some(Path::new(PROGRAM))).expect("an upgrade");
        let answered = begun.elapsed();
        worker.publish(&event("live", "hello")).expect("an id");
        println!("{what}: upgraded in {answered:?}, published in {:?}", begun.elapsed());
    }
}

/// Returns the counters of a hub and its process.
fn counted(client: &mut CallConnection, channel: &[u8]) -> Counted {
    let reply = client.call(&Call::Count { channel: channel.into() });
    *reply.expect("a reply").counted().expect("counts")
}
