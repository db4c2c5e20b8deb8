//! Whatever a worker sends, cut anywhere, with sockets or without: the hub process never panics, closes the connection,
//! ends its streams, and serves another worker as before.
//!
//! eventsource-hub runs in a thread of this process, so that the fuzzer sees which code it reaches. Its modules are
//! included as they are; only `main` is another one. libFuzzer ends the process if any thread panics, and bounds its memory.
#![no_main]
#![allow(dead_code)] // what only `main` and the commands use

/// The modules of the program, beside its `main`.
#[path = "../../hub_process/src"]
mod program {
    pub mod arguments;
    pub mod commands;
    pub mod http;
    pub mod ids_ahead;
    pub mod inherited;
    pub mod leases;
    pub mod lifetime;
    pub mod listening;
    pub mod log_pauses;
    pub mod new_program;
    pub mod operator_log;
    pub mod peers;
    pub mod process_log;
    pub mod protocol;
    pub mod read_channels;
    pub mod served_hub;
    pub mod server;
    pub mod settings;
    pub mod store;
    pub mod stored_hub;
    pub mod streams;
}

// They name each other by `crate::`.
use program::{
    arguments, http, ids_ahead, inherited, leases, lifetime, listening, log_pauses, new_program, operator_log, peers,
    process_log, protocol, read_channels, served_hub, server, settings, store, stored_hub, streams,
};

use arbitrary::Arbitrary;
use arguments::Arguments;
use eventsource_xs::compression::ContentCoding;
use eventsource_xs::event::{Field, Framing, LineEnd, Text};
use eventsource_xs::hub::{FirstBlock, LogRange, Publication, Retain, StartPoint, SubscribeRequest, Topic};
use eventsource_xs::remote::calls::{send, Wait};
use eventsource_xs::remote::{self, CallConnection, Place};
use eventsource_xs::stream::{Reason, Settings};
use eventsource_xs::wire::{Call, FieldList, FrameBuffer, Hello, Name, Open, Request, Role, Stop, Upgrade, VERSION};
use libfuzzer_sys::fuzz_target;
use std::borrow::Cow;
use std::io::Read;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(10);

/// The most pieces of an input but the last.
const PIECES: usize = 64;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Whether the connection begins with a greeting.
    greets: bool,
    messages: Vec<Message<'a>>,
    /// The lengths of the pieces in which the bytes are sent. Beside an odd one goes a socket.
    cuts: Vec<u8>,
}

/// A message, or any bytes. Streams have few numbers, so that messages are about streams that exist.
#[derive(Arbitrary, Debug)]
enum Message<'a> {
    Bytes(&'a [u8]),
    Publish { channel: &'a [u8], key: &'a [u8], retain: u8, once: &'a [u8], data: &'a str, is_answered: bool },
    Open { stream: u8, unsent: &'a [u8], holds: bool, has_socket: bool, is_chunked: bool, drops: bool, most: u16 },
    Attach { stream: u8 },
    Push { stream: u8, event: &'a [u8], has_id: bool },
    Subscribe { stream: u8, channels: Vec<&'a [u8]>, pattern: Option<&'a [u8]>, after: Option<&'a [u8]>, start: u8 },
    Begin { stream: u8 },
    End { stream: u8, reason: u8, discards: bool },
    Release { stream: u8 },
    Count { channel: &'a [u8] },
    Channels { pattern: &'a [u8], from: u8 },
    Describe,
    ReadLog { channel: &'a [u8], is_state: bool, after: u8, last: u8 },
    Members { channel: &'a [u8], after: Option<&'a [u8]> },
    CountMembers { channel: &'a [u8] },
    Reserve { label: &'a [u8], most: u8, asked_at: u64 },
    OpenTicket { sealed: &'a [u8], binding: &'a [u8] },
    Elect { lease: u8, name: &'a [u8] },
    Resign { lease: u8 },
    Mark { number: u64, has_publishes: bool },
    After { mark: u64 },
}

fn called(request: u64, call: Call) -> Request<'static> {
    Request::Call { request, until: 0, call: Cow::Owned(call) }
}

fn stream(number: u8) -> u64 {
    (number % 4).into()
}

impl Message<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        let fields;
        let request = match *self {
            Self::Bytes(bytes) => return out.extend_from_slice(bytes),
            Self::Publish { channel, key, retain, once, data, is_answered } => {
                let retain = Retain::ALL[usize::from(retain) % Retain::ALL.len()];
                fields = FieldList::of([Field::Data(Text::from(data))]);
                let request = is_answered.into();
                let fields = fields.fields();
                Request::Publish { request, publication: Publication { channel, key, retain, once, fields } }
            }
            Self::Open { stream: number, unsent, holds, has_socket, is_chunked, drops, most } => {
                let settings = Settings {
                    framing: if is_chunked { Framing::Chunked } else { Framing::Plain },
                    coding: ContentCoding::ALL[usize::from(most) % ContentCoding::ALL.len()],
                    line_end: if most % 2 == 0 { LineEnd::Lf } else { LineEnd::CrLf },
                    keepalive: None,
                    timeout: DEADLINE,
                    max_buffered: most.into(),
                    drop_oldest: drops,
                    retry: Duration::ZERO,
                };
                let open = Open { holds, ..Open::new(stream(number), settings, unsent) };
                if has_socket {
                    Request::Open(open)
                } else {
                    Request::OpenWithoutSocket(open)
                }
            }
            Self::Attach { stream: number } => Request::Attach { stream: stream(number) },
            Self::Push { stream: number, event, has_id } => Request::Push { stream: stream(number), event, has_id },
            Self::Subscribe { stream: number, ref channels, pattern, after, start } => {
                let channels = channels.iter().map(|name| Topic::Channel((*name).into()));
                let topics = channels.chain(pattern.map(|text| Topic::Pattern(text.into()))).collect();
                let start = match start % 3 {
                    0 => StartPoint::Latest,
                    1 => StartPoint::Oldest,
                    _ => StartPoint::Last(start.into()),
                };
                let first_block = FirstBlock::default();
                let subscription =
                    SubscribeRequest { topics, after: after.map(Into::into), start, first_block, ..Default::default() };
                Request::Subscribe { request: 9, stream: stream(number), subscription }
            }
            Self::Begin { stream: number } => Request::Begin { stream: stream(number) },
            Self::End { stream: number, reason, discards } => {
                let reason = Reason::ALL[usize::from(reason) % Reason::ALL.len()];
                Request::End { stream: stream(number), reason, discards }
            }
            Self::Release { stream: number } => Request::Release { stream: stream(number) },
            Self::Count { channel } => called(7, Call::Count { channel: channel.into() }),
            Self::Channels { pattern, from } => {
                called(8, Call::Channels { pattern: pattern.into(), from: from.into() })
            }
            Self::Describe => called(6, Call::Describe),
            Self::ReadLog { channel, is_state, after, last } => {
                let range = LogRange { is_state, after: after.into(), through: 0, last: last.into() };
                called(5, Call::ReadLog { channel: channel.into(), range })
            }
            Self::Members { channel, after } => {
                called(4, Call::Members { channel: channel.into(), after: after.map(Into::into) })
            }
            Self::CountMembers { channel } => called(3, Call::CountMembers { channel: channel.into() }),
            Self::Reserve { label, most, asked_at } => {
                called(2, Call::Reserve { label: label.into(), most: most.into(), asked_at })
            }
            Self::OpenTicket { sealed, binding } => {
                called(1, Call::OpenTicket { sealed: sealed.into(), binding: binding.into() })
            }
            Self::Elect { lease, name } => Request::Elect { lease: lease.into(), name },
            Self::Resign { lease } => Request::Resign { lease: lease.into() },
            Self::Mark { number, has_publishes } => Request::Mark { number, has_publishes },
            Self::After { mark } => Request::After { mark },
        };
        let _ = request.encode(out); // one that is too long is left out
    }
}

/// Returns true if the bytes ask for what every worker may ask for, but what would end the server or run another program; or if
/// they set the bounds of its memory.
fn are_excluded(bytes: &[u8]) -> bool {
    let mut buffer = FrameBuffer::default();
    buffer.feed(bytes);
    while let Ok(Some(frame)) = buffer.next_frame() {
        let has_settings = Hello::decode(frame, VERSION).is_ok_and(|hello| matches!(hello.role, Role::Worker(_)));
        let is_drain = |request| matches!(request, Request::Call { call, .. } if matches!(*call, Call::Drain { .. }));
        let drains = Request::decode(frame).is_ok_and(is_drain);
        if has_settings || drains || Upgrade::decode(frame).is_some() || Stop::decode(frame).is_some() {
            return true;
        }
    }
    false
}

struct Hub {
    place: Place,
    /// A worker that obeys.
    witness: Mutex<CallConnection>,
    /// Removes the folder of the socket when this process ends and so closes its standard input.
    _broom: Child,
}

/// Starts the hub with the first input.
fn hub() -> &'static Hub {
    static HUB: OnceLock<Hub> = OnceLock::new();
    HUB.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("eventsource-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut broom = Command::new("sh");
        broom.args(["-c", r#"cat >/dev/null; rm -rf "$0""#]).arg(&folder).stdin(Stdio::piped());
        let broom = broom.spawn().expect("a shell");
        let words = ["run".into(), "--socket".into(), folder.join("s").into_os_string()];
        let arguments = Arguments::parse(words.into_iter()).expect("a command");
        let place = arguments.place().expect("a place");
        thread::spawn(move || {
            server::run(arguments).expect("a server");
            panic!("the server has ended");
        });
        let start = remote::Start { program: None, needs_settings: false, timeout: DEADLINE };
        let since = Instant::now();
        let witness = loop {
            match CallConnection::connect(&start, &place, None) {
                Ok(client) => break client,
                Err(error) => assert!(since.elapsed() < DEADLINE, "{error}"),
            }
            thread::yield_now();
        };
        Hub { place, witness: Mutex::new(witness), _broom: broom }
    })
}

fuzz_target!(|input: Input<'_>| {
    let hub = hub();
    let mut bytes = Vec::new();
    if input.greets {
        let name = Name::new("default").expect("a name");
        Hello { name, role: Role::Command }.encode(&mut bytes).expect("it is short");
    }
    input.messages.iter().for_each(|message| message.encode(&mut bytes));
    if are_excluded(&bytes) {
        return;
    }
    let mut socket = UnixStream::connect(hub.place.socket()).expect("a hub");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut clients = Vec::new();
    let (mut rest, mut cuts) = (&bytes[..], input.cuts.iter().take(PIECES));
    while !rest.is_empty() {
        let cut = cuts.next();
        let length = cut.map_or(rest.len(), |cut| usize::from(*cut).max(1)).min(rest.len());
        let (client, server) = UnixStream::pair().expect("a pair of sockets");
        let beside = cut.filter(|cut| **cut % 2 == 1).map(|_| server.as_fd());
        match send(socket.as_fd(), &rest[..length], beside, Wait::Forever) {
            Ok(sent) => rest = &rest[sent..],
            Err(_) => break, // it was cut off
        }
        clients.push(client);
    }
    let _ = socket.shutdown(Shutdown::Write);
    let mut answers = [0; 4096];
    while match socket.read(&mut answers) {
        Ok(count) => count > 0,
        Err(error) => {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the connection stays open");
            false
        }
    } {}
    drop(clients);
    let mut witness = hub.witness.lock().expect("no panic");
    let since = Instant::now();
    loop {
        let reply = witness.call(&Call::Count { channel: Box::default() }).expect("a reply");
        let counted = reply.counted().expect("counters");
        if (counted.workers, counted.streams.open) == (1, 0) {
            break;
        }
        assert!(
            since.elapsed() < DEADLINE,
            "{} connections and {} streams stay",
            counted.workers,
            counted.streams.open
        );
    }
});
