//! Measures how the work of a reactor grows with its streams: 10,000, 100,000 and a million, a hundred in each channel, without
//! sockets. So it shows the reactor's own work, without a system call.
//!
//! Each line has the CPU time of one item with each number of streams, and how many times as long the last one takes as the
//! first one. A million streams do not fit into the caches of a processor, so an item takes some times as long; if it grew with
//! the number of streams, it would take a hundred times as long. The line says what an item is: a delivery, a timer, a stream.
//!
//!     cargo bench --no-default-features --bench million [-- 10000 100000 1000000]
//!
//! The program fails if something takes more than [`MOST`] times as long.

mod cpu;
mod sink;

use cpu::cpu;
use eventsource_xs::compression::{Body, ContentCoding};
use eventsource_xs::event::{Framing, LineEnd, Shared};
use eventsource_xs::hub::{
    self, Access, Call, EndRequest, Epoch, History, OnSlow, Question, Reply, SequencedEvent, Settings,
    SubscribeRequest, Topic,
};
use eventsource_xs::log::Bounds;
use eventsource_xs::reactor::{Answer, Command, Reactor, Ready, StreamInit};
use eventsource_xs::stream::{self, StreamId};
use sink::Sink;
use std::sync::Arc;
use std::time::{Duration, Instant};

const IN_A_CHANNEL: usize = 100;
/// How many times as long one item may take beside a hundred times as many.
const MOST: f64 = 10.0;
const DATA_BYTES: usize = 100;
const HISTORY: usize = 10;
const AGE: Duration = Duration::from_secs(3600);
const KEEPALIVE: Duration = Duration::from_secs(15);
const EPOCH: &str = "01234567";

/// A reactor with streams.
struct World {
    reactor: Reactor<Sink>,
    now: Instant,
    streams: usize,
    channels: usize,
    seq: u64,
}

/// What a stream is subscribed with, by its number.
type Request = fn(&World, usize) -> SubscribeRequest;

fn name(channel: usize) -> Box<[u8]> {
    format!("room/{channel}").into_bytes().into()
}

fn of_channel(world: &World, stream: usize) -> SubscribeRequest {
    SubscribeRequest { topics: vec![Topic::Channel(name(stream % world.channels))], ..Default::default() }
}

/// All streams follow one channel.
fn of_one_channel(_: &World, _: usize) -> SubscribeRequest {
    SubscribeRequest { topics: vec![Topic::Channel(name(0))], ..Default::default() }
}

/// All streams follow one pattern.
fn of_pattern(_: &World, _: usize) -> SubscribeRequest {
    SubscribeRequest { topics: vec![Topic::Pattern(b"room/*"[..].into())], ..Default::default() }
}

fn with_label(world: &World, stream: usize) -> SubscribeRequest {
    let access = Access { labels: vec![label(stream)], max_age: Some(AGE), ..Access::default() };
    SubscribeRequest { access, ..of_channel(world, stream) }
}

fn label(stream: usize) -> Box<[u8]> {
    format!("user/{stream}").into_bytes().into()
}

/// Of a client that has read something, and returns.
fn of_returning(world: &World, stream: usize) -> SubscribeRequest {
    let read = world.seq.saturating_sub(1 + (stream % (5 * world.channels)) as u64);
    SubscribeRequest { after: Some(id(read)), ..of_channel(world, stream) }
}

/// Of a client that has read more elsewhere than this hub has.
fn of_ahead(world: &World, stream: usize) -> SubscribeRequest {
    SubscribeRequest { after: Some(id(world.seq + 1 + stream as u64)), ..of_channel(world, stream) }
}

fn id(seq: u64) -> Box<[u8]> {
    format!("{EPOCH}-{seq}").into_bytes().into()
}

impl World {
    fn new(streams: usize, is_shared: bool) -> Self {
        let now = Instant::now();
        let mut reactor = Reactor::new(Sink::default(), now);
        let history = Bounds { events: HISTORY, bytes: usize::MAX, age: AGE };
        let total_history = Bounds { events: usize::MAX, ..history };
        let settings = Box::new(Settings { on_slow: OnSlow::Gap, ..Settings::new(history, total_history) });
        let history = is_shared.then(|| Box::new(History { epoch: EPOCH.into(), is_shared, ..Default::default() }));
        reactor.apply(Command::CreateHub { hub: 0, epoch: Epoch::new(EPOCH, None), settings, history }, None, now);
        Self { reactor, now, streams, channels: (streams / IN_A_CHANNEL).max(1), seq: 0 }
    }

    /// A reactor whose streams are open and subscribed.
    fn with(streams: usize, request: Request) -> Self {
        let mut world = Self::new(streams, false);
        world.open(request, false);
        world
    }

    fn open(&mut self, request: Request, holds: bool) {
        for slot in 0..self.streams {
            let stream = StreamId { slot: slot as u32, serial: 1 };
            let head = (&b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"[..]).into();
            let (content, body) = (Default::default(), Body::default());
            let init = Arc::new(StreamInit {
                settings: SETTINGS,
                head,
                content,
                body,
                is_inherited: false,
                members_of: None,
                liveness: None,
            });
            self.reactor.apply(Command::Open { stream, init }, Some(()), self.now);
            let request = Box::new(request(self, slot));
            self.reactor.apply(Command::Subscribe { hub: 0, stream, request, holds }, None, self.now);
            if slot % 64 == 63 {
                self.turn();
            }
        }
        self.rest();
    }

    fn publish(&mut self, channel: usize) {
        self.seq += 1;
        let event = Shared::write(DATA_BYTES, |out| {
            out.fill(b'x');
            DATA_BYTES
        });
        let (key, retain, has_custom_id) = (Default::default(), Default::default(), false);
        let event =
            Box::new(SequencedEvent { seq: self.seq, channel: name(channel), event, key, retain, has_custom_id });
        self.reactor.apply(Command::Publish { hub: 0, event }, None, self.now);
    }

    fn publish_to_all(&mut self) {
        (0..self.channels).for_each(|channel| self.publish(channel));
    }

    /// One turn, as the event loop makes it.
    fn turn(&mut self) {
        self.reactor.run_due(self.now);
        self.reactor.flush(self.now);
        self.reactor.take_answers();
    }

    fn rest(&mut self) {
        self.turn();
        while self.reactor.is_busy() {
            self.turn();
        }
    }

    fn set_full(&mut self, is_full: bool) {
        self.reactor.io().is_full = is_full;
    }

    fn is_ready(&mut self, ready: Ready) {
        for slot in 0..self.streams as u32 {
            self.reactor.handle_readiness(StreamId { slot, serial: 1 }, ready, self.now);
        }
    }
}

/// Returns the CPU time of each of so many items, since other programs use the processors, too.
fn each(items: usize, run: impl FnOnce()) -> f64 {
    let since = cpu();
    run();
    (cpu() - since).as_nanos() as f64 / items.max(1) as f64
}

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: usize = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

fn opening(streams: usize) -> f64 {
    let mut world = World::new(streams, false);
    each(streams, || world.open(of_channel, false))
}

fn opening_of_pattern(streams: usize) -> f64 {
    let mut world = World::new(streams, false);
    world.publish_to_all();
    world.rest();
    each(streams, || world.open(of_pattern, false))
}

fn memory(streams: usize) -> f64 {
    let before = resident_bytes();
    let world = World::with(streams, of_channel);
    let bytes = resident_bytes() - before;
    drop(world);
    bytes as f64 / streams as f64
}

fn delivery(streams: usize) -> f64 {
    let mut world = World::with(streams, of_channel);
    world.publish_to_all();
    world.rest();
    world.publish_to_all();
    let before = world.reactor.io().sent.0;
    let time = each(streams, || world.rest());
    assert_eq!(world.reactor.io().sent.0 - before, streams);
    time
}

fn delivery_of_one_channel(streams: usize) -> f64 {
    let mut world = World::with(streams, of_one_channel);
    world.publish(0);
    world.rest();
    world.publish(0);
    each(streams, || world.rest())
}

/// The other streams are idle.
fn delivery_in_one_turn(streams: usize) -> f64 {
    let mut world = World::with(streams, of_channel);
    world.publish_to_all();
    world.rest();
    let turns = world.channels.min(100);
    let before = world.reactor.io().sent.0;
    let time = each(turns * IN_A_CHANNEL, || {
        for turn in 0..turns {
            world.publish(turn * 7919 % world.channels);
            world.rest();
        }
    });
    assert_eq!(world.reactor.io().sent.0 - before, turns * IN_A_CHANNEL);
    time
}

/// Keepalives of streams that were opened over fifteen seconds.
fn timer(streams: usize) -> f64 {
    let mut world = World::with(streams, of_channel);
    let until = world.now + 4 * KEEPALIVE;
    let before = world.reactor.io().sent.0;
    let since = cpu();
    while let Some(due) = world.reactor.next_due().filter(|due| *due < until) {
        world.now = due;
        world.rest();
    }
    let keepalives = world.reactor.io().sent.0 - before;
    assert!(keepalives >= 2 * streams, "{keepalives} keepalives");
    (cpu() - since).as_nanos() as f64 / keepalives as f64
}

/// Clients whose sockets are full, until their channels have evicted what they have not read, and then read on.
fn slow_client(streams: usize) -> f64 {
    let mut world = World::with(streams, of_channel);
    world.set_full(true);
    each(streams, || {
        for _ in 0..2 * HISTORY {
            world.publish_to_all();
            world.rest();
        }
        world.set_full(false);
        world.is_ready(Ready { writable: true, ..Default::default() });
        world.rest();
    })
}

/// An event that exceeds its channel's history.
fn eviction(streams: usize) -> f64 {
    let mut world = World::new(streams, false);
    (0..HISTORY).for_each(|_| world.publish_to_all());
    world.rest();
    world.publish_to_all();
    each(world.channels, || world.rest())
}

/// The event that exceeds the history of one channel, beside all others.
fn eviction_in_one_turn(streams: usize) -> f64 {
    let mut world = World::new(streams, false);
    (0..HISTORY).for_each(|_| world.publish_to_all());
    world.rest();
    let turns = 100;
    let mut time = 0.0;
    for turn in 0..turns {
        world.publish(turn * 7919 % world.channels);
        time += each(turns, || world.turn());
    }
    time
}

fn expiry(streams: usize) -> f64 {
    let mut world = World::new(streams, false);
    (0..HISTORY).for_each(|_| world.publish_to_all());
    world.rest();
    world.now += 2 * AGE;
    each(HISTORY * world.channels, || world.rest())
}

fn resumption(streams: usize) -> f64 {
    let mut world = World::new(streams, false);
    (0..HISTORY).for_each(|_| world.publish_to_all());
    world.rest();
    each(streams, || world.open(of_returning, false))
}

fn leaving(streams: usize, request: Request) -> f64 {
    let mut world = World::with(streams, request);
    each(streams, || {
        world.is_ready(Ready { hung_up: true, ..Default::default() });
        world.rest();
    })
}

fn leave(streams: usize) -> f64 {
    leaving(streams, of_channel)
}

fn leave_one_channel(streams: usize) -> f64 {
    leaving(streams, of_one_channel)
}

fn draining(streams: usize, request: Request, is_full: bool) -> f64 {
    let mut world = World::new(streams, false);
    world.publish_to_all();
    world.rest();
    world.open(request, false);
    world.set_full(is_full);
    (0..HISTORY).for_each(|channel| world.publish(channel));
    world.rest();
    each(streams, || {
        world.reactor.apply(Command::Drain { hub: 0, within: Duration::ZERO }, None, world.now);
        let mut due = Some(world.now);
        while due.map_or(false, |due| due <= world.now) {
            world.turn();
            due = world.reactor.next_due();
        }
    })
}

fn drain(streams: usize) -> f64 {
    draining(streams, of_one_channel, false)
}

fn drain_of_pattern(streams: usize) -> f64 {
    draining(streams, of_pattern, false)
}

fn drain_of_slow_clients(streams: usize) -> f64 {
    draining(streams, of_pattern, true)
}

/// Clients that are ahead of a hub which shares its store, until it has caught up.
fn ahead(streams: usize) -> f64 {
    let mut world = World::new(streams, true);
    world.publish(0);
    world.rest();
    each(streams, || {
        world.open(of_ahead, false);
        for turn in 1..=streams {
            world.publish(turn % world.channels);
            if turn % world.channels == 0 {
                world.rest();
            }
        }
        world.rest();
    })
}

/// Streams whose handlers still run.
fn held(streams: usize) -> f64 {
    let mut world = World::new(streams, false);
    each(streams, || {
        world.open(of_channel, true);
        for slot in (0..streams as u32).rev() {
            let stream = StreamId { slot, serial: 1 };
            world.reactor.apply(Command::BeginSubscription { stream }, None, world.now);
        }
        world.rest();
    })
}

fn end_by_label(streams: usize) -> f64 {
    let mut world = World::with(streams, with_label);
    let turns = 1000.min(streams);
    each(turns, || {
        for turn in 0..turns {
            let request = EndRequest { labels: vec![label(turn * 7919 % streams)], ..Default::default() };
            let question = Box::new(Question::Call { call: Call::EndStreams(request), at: 1 });
            let end = Command::Ask { hub: 0, request_id: 1, question };
            world.reactor.apply(end, None, world.now);
            world.reactor.flush(world.now);
            assert!(world
                .reactor
                .take_answers()
                .any(|it| matches!(it, Answer::Answered { answer: hub::Answer::Reply(Reply::Number(1)), .. })));
        }
    })
}

fn end_by_age(streams: usize) -> f64 {
    let mut world = World::with(streams, with_label);
    world.now += AGE;
    each(streams, || {
        while world.reactor.next_due().map_or(false, |due| due <= world.now) {
            world.rest();
        }
    })
}

const SETTINGS: stream::Settings = stream::Settings {
    framing: Framing::Chunked,
    coding: ContentCoding::Identity,
    line_end: LineEnd::Lf,
    keepalive: Some(KEEPALIVE),
    timeout: Duration::from_secs(60),
    max_buffered: 1 << 20,
    drop_oldest: false,
    retry: Duration::ZERO,
};

/// A line: what it measures, and how.
type Case = (&'static str, fn(usize) -> f64);

const CASES: &[Case] = &[
    ("bytes of a subscribed stream", memory),
    ("ns to open and subscribe a stream", opening),
    ("ns of the same, a pattern of all channels", opening_of_pattern),
    ("ns of a delivery, each channel has an event", delivery),
    ("ns of a delivery, all streams in one channel", delivery_of_one_channel),
    ("ns of a delivery, one channel has an event", delivery_in_one_turn),
    ("ns of a keepalive, its timer and its write", timer),
    ("ns of a client that is slow, until it reads on", slow_client),
    ("ns of an eviction, each channel has one", eviction),
    ("ns of an eviction, one channel has one", eviction_in_one_turn),
    ("ns of an event that expires", expiry),
    ("ns to open and resume a stream", resumption),
    ("ns of a client that leaves", leave),
    ("ns of a client that leaves, all in one channel", leave_one_channel),
    ("ns of a drained stream, all in one channel", drain),
    ("ns of a drained stream, a pattern of all channels", drain_of_pattern),
    ("ns of the same, ten events behind", drain_of_slow_clients),
    ("ns of a client that is ahead of a shared hub", ahead),
    ("ns of a stream that is held for its handler", held),
    ("ns of an end by a label", end_by_label),
    ("ns of an end by age", end_by_age),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut counts: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let only: Vec<&String> = arguments.iter().filter(|argument| argument.parse::<usize>().is_err()).collect();
    if counts.is_empty() {
        counts = vec![10_000, 100_000, 1_000_000];
    }
    let columns: String = counts.iter().map(|count| format!("{count:>11}")).collect();
    println!("{:52}{columns}{:>7}", "", "ratio");
    let mut growing = Vec::new();
    for &(what, run) in CASES.iter().filter(|(what, _)| only.iter().all(|word| what.contains(&***word))) {
        let times: Vec<f64> = counts.iter().map(|&count| run(count)).collect();
        let ratio = times[times.len() - 1] / times[0];
        let columns: String = times.iter().map(|time| format!("{time:11.0}")).collect();
        println!("{what:52}{columns}{ratio:7.1}");
        growing.extend((ratio > MOST).then_some(what));
    }
    assert!(growing.is_empty(), "grows faster than n log n: {growing:?}");
}
