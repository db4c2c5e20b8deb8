//! Measures how the cost of a hub grows with the number of its channels, topics, keys and streams.
//!
//! Each line shows the time per item for few items and for sixteen times as many, and the ratio of the two. Each time is
//! the least of five runs. A ratio well above 1 means that one large request delays every other client.
//!
//! Then it sends the state of a channel to streams that begin with it, over loopback, and shows how long that takes and how
//! long the longest turn of the reactor is: so long another stream waits. Both are CPU time; that of the clients does not
//! count.
//!
//!     cargo bench --no-default-features --bench hub [-- state]

mod cpu;
mod loopback;
mod sink;

use cpu::cpu;
use eventsource_xs::compression::{Body, ContentCoding};
use eventsource_xs::event::{Framing, LineEnd, Shared};
use eventsource_xs::hub::{
    BlockForm, Cursor, Epoch, Hub, OnSlow, Retain, SequencedEvent, Settings, StartPoint, SubscribeRequest, Topic,
};
use eventsource_xs::log::Bounds;
use eventsource_xs::reactor::{Command, Reactor, StreamInit};
use eventsource_xs::stream::{self, StreamId};
use loopback::{connection, Loopback};
use sink::Sink;
use std::io::IoSlice;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NEVER: Duration = Duration::from_secs(1_000_000);
const MANY: usize = 16;
const STREAM: StreamId = StreamId { slot: 0, serial: 1 };

fn settings(on_slow: OnSlow, events: usize) -> Settings {
    let history = Bounds { events, bytes: usize::MAX, age: NEVER };
    let total_history = Bounds { events: usize::MAX, ..history };
    Settings { on_slow, ..Settings::new(history, total_history) }
}

fn numbered(seq: u64, channel: Vec<u8>, key: usize) -> SequencedEvent {
    let event = Shared::write(6, |out| {
        out.copy_from_slice(b"data\n\n");
        6
    });
    SequencedEvent {
        seq,
        channel: channel.into(),
        event,
        key: key.to_string().into_bytes().into(),
        retain: Default::default(),
        has_custom_id: false,
    }
}

/// A hub and the sequence number of its newest event.
struct Case {
    hub: Hub,
    newest: u64,
    now: Instant,
}

impl Case {
    fn new(on_slow: OnSlow, events: usize) -> Self {
        Self { hub: Hub::new(Epoch::new("e", None), settings(on_slow, events)), newest: 0, now: Instant::now() }
    }

    fn publish(&mut self, channel: usize, key: usize) {
        self.newest += 1;
        self.hub.append(numbered(self.newest, channel.to_string().into(), key), self.now);
    }

    fn publish_to(&mut self, channel: Vec<u8>) {
        self.newest += 1;
        self.hub.append(numbered(self.newest, channel, 0), self.now);
    }

    fn subscribe(&mut self, topics: &[Topic], start: StartPoint) -> Cursor {
        let mut cursor = Cursor::default();
        let request = SubscribeRequest { topics: topics.into(), start, ..Default::default() };
        self.hub.subscribe(STREAM, &mut cursor, &request);
        self.hub.begin(&mut cursor);
        cursor
    }
}

fn pattern(text: &str) -> Topic {
    Topic::Pattern(text.as_bytes().into())
}

fn time(run: impl FnOnce()) -> Duration {
    let since = Instant::now();
    run();
    since.elapsed()
}

/// Merges the events of `channels` channels into one sequence.
fn merge(channels: usize) -> Duration {
    let mut case = Case::new(OnSlow::Gap, 1000);
    for number in 0..10 * channels {
        case.publish(number % channels, 0);
    }
    let cursor = case.subscribe(&[pattern("**")], StartPoint::Oldest);
    let mut blocks = vec![IoSlice::new(&[]); 10 * channels];
    time(|| assert_eq!(case.hub.gather(&cursor, &PLAIN, usize::MAX, &mut blocks).blocks, 10 * channels))
}

/// Drops `channels` channels that match one pattern because their last events expire.
fn drop_channels(channels: usize) -> Duration {
    let mut case = Case::new(OnSlow::Gap, 1000);
    case.subscribe(&[pattern("**")], StartPoint::Latest);
    for number in 0..channels {
        case.publish(number, 0);
    }
    let now = case.now;
    assert!(case.hub.evict(now, &[]).is_ok());
    time(|| {
        assert!(case.hub.evict(now + NEVER, &[]).is_ok());
        assert_eq!(case.hub.counts().channels, 0);
    })
}

/// Publishes to a channel that keeps the newest event of each of `keys` keys.
fn compact(keys: usize) -> Duration {
    let mut case = Case::new(OnSlow::Latest, keys);
    let now = case.now;
    let mut publish_some = || {
        for number in 0..2 * keys + 2 {
            case.publish(0, number % (2 * keys + 1));
            assert!(case.hub.evict(now, &[]).is_ok());
        }
    };
    publish_some();
    time(publish_some)
}

/// The name of one user's channel.
fn of_user(number: usize) -> Vec<u8> {
    format!("user/{number}/news").into_bytes()
}

fn with_users(users: usize) -> Case {
    let mut case = Case::new(OnSlow::Gap, 1);
    for number in 0..users {
        case.publish_to(of_user(number));
    }
    case
}

/// Publishes once more to each of `users` channels, in another order.
fn publish_to_each(users: usize) -> Duration {
    let mut case = with_users(users);
    time(|| (0..users).for_each(|number| case.publish_to(of_user(number * 7919 % users))))
}

/// Subscribes to 100 new patterns, each of one user's channels, beside the channels of `users` others.
fn subscribe_to_patterns(users: usize) -> Duration {
    let mut case = with_users(users);
    let topics: Vec<_> = (0..100).map(|number| pattern(&format!("user/{number}/*"))).collect();
    time(|| drop(case.subscribe(&topics, StartPoint::Latest)))
}

/// Publishes to `users` new channels, each of which has one pattern of as many.
fn create_channels(users: usize) -> Duration {
    let mut case = Case::new(OnSlow::Gap, 1);
    let topics: Vec<_> = (0..users).map(|number| pattern(&format!("user/{number}/*"))).collect();
    case.subscribe(&topics, StartPoint::Latest);
    time(|| (0..users).for_each(|number| case.publish_to(of_user(number))))
}

/// Returns how each stream begins.
fn init() -> Arc<StreamInit> {
    Arc::new(StreamInit {
        settings: STREAM_SETTINGS,
        head: (&b"head"[..]).into(),
        content: Default::default(),
        body: Body::default(),
        is_inherited: false,
        members_of: None,
        liveness: None,
    })
}

/// Sends 100 events, one a turn of the reactor, to each of `streams` streams.
fn fan_out(streams: usize) -> Duration {
    let now = Instant::now();
    let mut reactor = Reactor::new(Sink::default(), now);
    let hub_settings = Box::new(settings(OnSlow::Gap, 1000));
    reactor.apply(
        Command::CreateHub { hub: 0, epoch: Epoch::new("e", None), settings: hub_settings, history: None },
        None,
        now,
    );
    for slot in 0..streams as u32 {
        let stream = StreamId { slot, serial: 1 };
        reactor.apply(Command::Open { stream, init: init() }, Some(()), now);
        let topics = vec![Topic::Channel(b"0"[..].into())];
        let request = Box::new(SubscribeRequest { topics, ..Default::default() });
        reactor.apply(Command::Subscribe { hub: 0, stream, request, holds: false }, None, now);
    }
    reactor.flush(now);
    reactor.take_answers();
    time(|| {
        for seq in 1..=100 {
            reactor.apply(Command::Publish { hub: 0, event: Box::new(numbered(seq, b"0".to_vec(), 0)) }, None, now);
            reactor.flush(now);
            assert_eq!(reactor.take_answers().len(), streams);
        }
    })
}

/// What a channel's state consists of, beside its history.
struct State {
    keys: usize,
    /// How many channels have the keys.
    channels: usize,
    /// How often each key was published: the history has only replaced events if that is often.
    rounds: usize,
    history: usize,
}

/// Sends a state to streams that begin with it at the same time. Prints the time for each stream and the longest turn.
fn send_state(what: &str, state: &State, streams: usize) {
    let &State { keys, channels, rounds, history } = state;
    let now = Instant::now();
    let mut reactor = Reactor::new(Loopback::default(), now);
    let hub_settings = Box::new(settings(OnSlow::Gap, history));
    reactor.apply(
        Command::CreateHub { hub: 0, epoch: Epoch::new("01234567", None), settings: hub_settings, history: None },
        None,
        now,
    );
    let data = [b"data: ".to_vec(), vec![b'x'; 100], b"\nid: 01234567-12345\n\n".to_vec()].concat();
    for seq in 1..=keys * rounds {
        let channel = (seq % channels).to_string().into_bytes();
        let event = Shared::write(data.len(), |out| {
            out.copy_from_slice(&data);
            data.len()
        });
        let numbered = numbered(seq as u64, channel, seq % keys);
        let event = Box::new(SequencedEvent { event, retain: Retain::Newest, ..numbered });
        reactor.apply(Command::Publish { hub: 0, event }, None, now);
        reactor.flush(now);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    for slot in 0..streams as u32 {
        let stream = StreamId { slot, serial: 1 };
        reactor.apply(Command::Open { stream, init: init() }, Some(connection(&listener)), now);
        let request =
            Box::new(SubscribeRequest { topics: vec![pattern("*")], start: StartPoint::State, ..Default::default() });
        reactor.apply(Command::Subscribe { hub: 0, stream, request, holds: false }, None, now);
    }
    let (mut all, mut longest, mut turns) = (Duration::ZERO, Duration::ZERO, 0);
    while all == Duration::ZERO || reactor.is_busy() {
        let (since, reading) = (cpu(), reactor.io().reading);
        reactor.flush(now);
        reactor.take_answers();
        let turn = cpu() - since - (reactor.io().reading - reading);
        (all, longest, turns) = (all + turn, longest.max(turn), turns + 1);
    }
    let least = streams * keys * data.len();
    assert!(reactor.io().received > least, "{} of {least} bytes", reactor.io().received);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let each = milliseconds(all) / streams as f64;
    println!("{what:50} {streams:8} {each:10.2} {:10.2} {turns:8}", milliseconds(longest));
}

fn send_states() {
    println!(
        "{:50} {:>8} {:>10} {:>10} {:>8}",
        "a state of 10,000 keys of 100 bytes", "streams", "ms each", "turn, ms", "turns"
    );
    for streams in [1, 100, 1000] {
        let usual = State { keys: 10_000, channels: 1, rounds: 1, history: 1000 };
        send_state("most of it older than the history", &usual, streams);
        send_state("all of it in the history", &State { history: 20_000, ..usual }, streams);
        send_state("a history of 20,000 events before it", &State { history: 30_000, rounds: 3, ..usual }, streams);
        send_state("of 1,000 channels, by a pattern", &State { channels: 1000, ..usual }, streams);
    }
}

const PLAIN: BlockForm =
    BlockForm { framing: Framing::Plain, coding: ContentCoding::Identity, line_end: LineEnd::Lf, round: None };
const STREAM_SETTINGS: stream::Settings = stream::Settings {
    framing: Framing::Plain,
    coding: ContentCoding::Identity,
    line_end: LineEnd::Lf,
    keepalive: None,
    timeout: NEVER,
    max_buffered: 1 << 20,
    drop_oldest: false,
    retry: Duration::ZERO,
};

fn main() {
    type Run = fn(usize) -> Duration;
    let cases: [(&str, Run, usize); 7] = [
        ("merging channels", merge, 500),
        ("dropping channels", drop_channels, 1000),
        ("publishing with keys kept", compact, 250),
        ("publishing to channels", publish_to_each, 3000),
        ("100 patterns beside channels", subscribe_to_patterns, 3000),
        ("new channels beside patterns", create_channels, 500),
        ("sending 100 events to streams", fan_out, 250),
    ];
    if std::env::args().any(|argument| argument == "state") {
        return send_states();
    }
    println!("{:30} {:>8} {:>10} {:>8} {:>10} {:>6}", "", "of", "ns each", "of", "ns each", "ratio");
    for (name, run, few) in cases {
        let each = |count| {
            let least = (0..5).map(|_| run(count)).min().unwrap_or_default();
            least.as_nanos() as f64 / count as f64
        };
        let (of_few, of_many) = (each(few), each(MANY * few));
        println!("{name:30} {few:8} {of_few:10.0} {:8} {of_many:10.0} {:6.1}", MANY * few, of_many / of_few);
    }
    send_states();
}
