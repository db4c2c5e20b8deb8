//! How fast a hub process publishes: with an answer to each event, and without answers, from one process and from four.
//!
//! `cargo bench --manifest-path hub_process/Cargo.toml`

use eventsource_xs::compression::ContentCoding;
use eventsource_xs::event::{Field, LineEnd, Text};
use eventsource_xs::hub::{Publication, SubscribeRequest, Topic};
use eventsource_xs::remote::{stop, CallConnection, Place, Start};
use eventsource_xs::stream::{Framing, Settings};
use eventsource_xs::wire::{Call, Counted, FieldList, HubSettings, Name, Open};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ANSWERED: usize = 20_000;
const UNANSWERED: usize = 2_000_000;
const STREAMS: u64 = 5_000;
const PUBLISHERS: usize = 4;

/// The environment variable that makes this program one of several publishers: the socket of the hub.
const PUBLISHER: &str = "EVENTSOURCE_BENCH_PUBLISHER";

fn main() {
    if let Some(socket) = std::env::var_os(PUBLISHER) {
        return be_publisher(Path::new(&socket));
    }
    let folder = std::env::temp_dir().join(format!("eventsource-bench-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a new folder");
    let place = Place::new(Name::new("bench").expect("a name"), Some(&folder.join("s"))).expect("a place");
    let program = Some(Path::new(env!("CARGO_BIN_EXE_eventsource-hub")).to_owned());
    let start = Start { program, needs_settings: false, timeout: Duration::from_secs(60) };
    let begun = Instant::now();
    let mut client = CallConnection::connect(&start, &place, Some(HubSettings::default().into())).expect("a hub");
    println!("start of a process: {:?}", begun.elapsed());
    let publication = publication(b"news", &"x".repeat(100));
    answered(&mut client, &publication);
    unanswered(&mut client, &publication);
    from_several_processes(&mut client, &place);
    handed_over(&mut client);
    stop(&start, &place).expect("an end");
    let _ = std::fs::remove_dir_all(&folder);
}

fn publication<'a>(channel: &'a [u8], text: &str) -> Publication<'a, FieldList> {
    Publication { channel, fields: FieldList::of([Field::Data(Text::from(text))]), ..Publication::default() }
}

/// Publishes an event, and waits for its id.
fn answer_to(client: &mut CallConnection, publication: &Publication<'_, FieldList>) {
    let publish = |request| eventsource_xs::wire::Request::Publish { request, publication: publication.borrowed() };
    client.ask(publish).expect("an id");
}

fn answered(client: &mut CallConnection, publication: &Publication<'_, FieldList>) {
    let mut times: Vec<Duration> = (0..ANSWERED)
        .map(|_| {
            let begun = Instant::now();
            answer_to(client, publication);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |per_mille: usize| times[times.len() * per_mille / 1000];
    println!("publish with its answer: median {:?}, 99 % {:?}, 99.9 % {:?}", at(500), at(990), at(999));
}

fn unanswered(client: &mut CallConnection, publication: &Publication<'_, FieldList>) {
    let before = counted(client, b"").hub.published;
    let begun = Instant::now();
    for _ in 0..UNANSWERED {
        client.publish_unanswered(publication).expect("a connection");
    }
    client.flush().expect("a connection");
    let sent = begun.elapsed();
    let after = counted(client, b"");
    let all = begun.elapsed();
    assert_eq!(after.hub.published - before, UNANSWERED as u64);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / UNANSWERED as f64;
    println!(
        "publish without answers: {:.2} µs each to send, {:.2} µs each until all are published",
        each(sent),
        each(all)
    );
}

/// Publishes without answers until standard input ends. Says when it has connected.
fn be_publisher(socket: &Path) {
    let place = Place::new(Name::new("bench").expect("a name"), Some(socket)).expect("a place");
    let start = Start { program: None, needs_settings: false, timeout: Duration::from_secs(60) };
    let mut client = CallConnection::connect(&start, &place, None).expect("a hub");
    let publication = publication(b"news", &"x".repeat(100));
    println!("connected");
    std::io::stdin().read_exact(&mut [0]).expect("the start");
    for _ in 0..UNANSWERED / PUBLISHERS {
        client.publish_unanswered(&publication).expect("a connection");
    }
    client.flush().expect("a connection");
    counted(&mut client, b""); // everything before it is published
}

fn from_several_processes(client: &mut CallConnection, place: &Place) {
    let before = counted(client, b"").hub.published;
    let program = std::env::current_exe().expect("this program");
    let start = |_| {
        let mut command = Command::new(&program);
        command.env(PUBLISHER, place.socket()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let mut said = [0; 10];
        child.stdout.as_mut().expect("a pipe").read_exact(&mut said).expect("a connection");
        child
    };
    let mut children: Vec<Child> = (0..PUBLISHERS).map(start).collect();
    let begun = Instant::now();
    for child in &mut children {
        child.stdin.as_mut().expect("a pipe").write_all(b"\n").expect("a pipe");
    }
    for mut child in children {
        assert!(child.wait().expect("an end").success());
    }
    let took = begun.elapsed().as_secs_f64();
    let published = counted(client, b"").hub.published - before;
    assert_eq!(published, UNANSWERED as u64);
    println!("publish without answers from {PUBLISHERS} processes: {:.0} a second in all", published as f64 / took);
}

fn handed_over(client: &mut CallConnection) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let settings = Settings {
        framing: Framing::Plain,
        coding: ContentCoding::Identity,
        line_end: LineEnd::Lf,
        keepalive: None,
        timeout: Duration::from_secs(60),
        max_buffered: 1 << 20,
        drop_oldest: false,
        retry: Duration::from_secs(1),
    };
    let connect = |_| (TcpStream::connect(address).expect("a connection"), listener.accept().expect("a connection").0);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
    let mut sockets: Vec<(TcpStream, TcpStream)> = (0..STREAMS).map(connect).collect();
    let begun = Instant::now();
    for (number, (_, socket)) in (1..).zip(&sockets) {
        client.open(Open::new(number, settings, b""), socket.as_fd()).expect("a connection");
        let topics = vec![Topic::Channel(b"live"[..].into())];
        let subscription = SubscribeRequest { topics, ..Default::default() };
        let request = eventsource_xs::wire::Request::Subscribe { request: 0, stream: number, subscription };
        client.send(&request, None).expect("a connection");
    }
    assert_eq!(counted(client, b"live").subscribers, STREAMS);
    println!("hand over and subscribe: {:.1} µs a stream", begun.elapsed().as_secs_f64() * 1e6 / STREAMS as f64);
    let begun = Instant::now();
    answer_to(client, &publication(b"live", "to all"));
    for (socket, _) in &mut sockets {
        let mut text = Vec::new();
        let mut bytes = [0; 1000];
        while !(text.ends_with(b"\n\n") && text.windows(6).any(|part| part == b"to all")) {
            let count = socket.read(&mut bytes).expect("a connection");
            text.extend_from_slice(&bytes[..count]);
        }
    }
    println!("one event to {STREAMS} streams: {:?}", begun.elapsed());
}

/// Returns the counters of a hub and its process.
fn counted(client: &mut CallConnection, channel: &[u8]) -> Counted {
    let reply = client.call(&Call::Count { channel: channel.into() });
    *reply.expect("a reply").counted().expect("counts")
}
