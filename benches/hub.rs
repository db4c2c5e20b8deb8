//! Measures how the costs of a hub grow with the number of channels, topics and keys. Each line has the time per item for
//! few items and for sixteen times as many, the shortest of five runs, and their ratio. A ratio well above 1 means that the
//! cost grows faster than the number of items.
//!
//!     cargo bench --no-default-features --bench hub

use eventsource_xs::event::{Framing, Shared};
use eventsource_xs::hub::{Cursor, Epoch, Hub, OnSlow, Publication, Request, Settings, Start, Topic};
use eventsource_xs::log::Bounds;
use eventsource_xs::stream::StreamId;
use std::io::IoSlice;
use std::time::{Duration, Instant};

const NEVER: Duration = Duration::from_secs(1_000_000);
const MANY: usize = 16;

/// A hub, and the sequence number of its newest event.
struct Case {
    hub: Hub,
    newest: u64,
    now: Instant,
}

impl Case {
    fn new(on_slow: OnSlow, events: usize) -> Self {
        let history = Bounds { events, bytes: usize::MAX, age: NEVER };
        let total_history = Bounds { events: usize::MAX, ..history };
        let settings = Settings { history, total_history, on_slow, gap_event: "gap".into(), opaque_ids: false };
        Self { hub: Hub::new(Epoch::new("e", None), settings), newest: 0, now: Instant::now() }
    }

    fn publish(&mut self, channel: usize, key: usize) {
        let event = Shared::write(6, |out| {
            out.copy_from_slice(b"data\n\n");
            6
        });
        let (channel, key) = (channel.to_string().into_bytes().into(), key.to_string().into_bytes().into());
        self.newest += 1;
        self.hub.publish(Publication { seq: self.newest, channel, event, key, id: None }, self.now);
    }

    fn subscribe(&mut self, topics: &[Topic], start: Start) -> Cursor {
        let mut cursor = Cursor::default();
        let request = Request { topics: topics.into(), after: None, start };
        self.hub.subscribe(STREAM, &mut cursor, &request, self.now);
        self.hub.begin(&mut cursor);
        cursor
    }
}

const STREAM: StreamId = StreamId { slot: 0, serial: 1 };

fn pattern(text: &str) -> Topic {
    Topic::Pattern(text.as_bytes().into())
}

fn time(what: impl FnOnce()) -> Duration {
    let since = Instant::now();
    what();
    since.elapsed()
}

/// Merges the events of so many channels in their order.
fn merge(channels: usize) -> Duration {
    let mut case = Case::new(OnSlow::Gap, 1000);
    for number in 0..10 * channels {
        case.publish(number % channels, 0);
    }
    let cursor = case.subscribe(&[pattern("**")], Start::Oldest);
    let mut blocks = vec![IoSlice::new(&[]); 10 * channels];
    time(|| assert_eq!(case.hub.gather(&cursor, Framing::Plain, usize::MAX, &mut blocks).blocks, 10 * channels))
}

/// Expires so many channels that a pattern matches.
fn vanish(channels: usize) -> Duration {
    let mut case = Case::new(OnSlow::Gap, 1000);
    case.subscribe(&[pattern("**")], Start::Newest);
    for number in 0..channels {
        case.publish(number, 0);
    }
    let now = case.now;
    case.hub.forget(now);
    time(|| {
        case.hub.expire(now + NEVER);
        assert_eq!(case.hub.counts().channels, 0);
    })
}

/// Unsubscribes a stream from so many channels.
fn leave(count: usize) -> Duration {
    let mut case = Case::new(OnSlow::Gap, 1000);
    let channel = |number: usize| Topic::Channel(number.to_string().into_bytes().into());
    let topics: Vec<Topic> = (0..count).map(channel).chain([pattern("*"), pattern("**")]).collect();
    let mut cursor = case.subscribe(&topics, Start::Newest);
    time(|| case.hub.unsubscribe(STREAM, &mut cursor, Some(&topics)))
}

/// Publishes while the newest events of so many keys are kept.
fn keys(keys: usize) -> Duration {
    let mut case = Case::new(OnSlow::Newest, keys);
    let now = case.now;
    let mut publish_some = || {
        for number in 0..2 * keys + 2 {
            case.publish(0, number % (2 * keys + 1));
            case.hub.forget(now);
        }
    };
    publish_some();
    time(publish_some)
}

fn main() {
    type What = fn(usize) -> Duration;
    let cases: [(&str, What, usize); 4] = [
        ("merging channels", merge, 500),
        ("channels that vanish", vanish, 1000),
        ("leaving topics", leave, 150),
        ("publishing with keys kept", keys, 250),
    ];
    println!("{:28} {:>8} {:>10} {:>8} {:>10} {:>6}", "", "of", "ns each", "of", "ns each", "ratio");
    for (name, what, few) in cases {
        let each = |count| {
            let least = (0..5).map(|_| what(count)).min().unwrap_or_default();
            least.as_nanos() as f64 / count as f64
        };
        let (of_few, of_many) = (each(few), each(MANY * few));
        println!("{name:28} {few:8} {of_few:10.0} {:8} {of_many:10.0} {:6.1}", MANY * few, of_many / of_few);
    }
}
