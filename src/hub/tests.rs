//! The contract of a hub, case by case. What a stream is told and sent is written in words: `@e-7` is a position, `gap e-7-9
//! forgotten` what tells of a gap, `8` the event of that place.

use super::*;
use crate::stream::StreamId;

const STREAM: StreamId = StreamId { slot: 0, serial: 1 };
const NEVER: Duration = Duration::from_secs(1_000_000);

fn settings() -> Settings {
    let bounds = Bounds { events: 3, bytes: 1_000_000, age: NEVER };
    Settings {
        history: bounds,
        history_in_all: Bounds { events: 1000, ..bounds },
        on_slow: OnSlow::Gap,
        gap_event: "gap".into(),
    }
}

/// A hub at a time that passes as it is told, and its one stream.
struct Case {
    hub: Hub,
    now: Instant,
    follower: Follower,
}

fn event(id: &str) -> Shared {
    let text = format!("id: {id}\ndata: x\n\n");
    Shared::write(text.len(), |out| {
        out.copy_from_slice(text.as_bytes());
        text.len()
    })
}

/// What a block says: its id, and what it tells.
fn words(block: &[u8]) -> String {
    let text = String::from_utf8(block.to_vec()).expect("only text is published");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    let id = field("id: ");
    match &*field("data: ") {
        "" => format!("@{id}"),
        "x" => id.strip_prefix("e-").map_or(id.clone(), str::to_owned),
        reason => format!("{} {id} {}", field("event: "), reason.split('"').nth(3).unwrap_or_default()),
    }
}

fn in_words(told: Vec<Told>) -> String {
    let word = |told: Told| match told {
        Told::Position(block) | Told::Gap(block) => words(&block),
        Told::Event(event) => words(event.bytes(Framing::Plain)),
    };
    told.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

fn topics(names: &str) -> Vec<Topic> {
    let topic = |name: &str| match name.contains('*') {
        true => Topic::Pattern(name.as_bytes().into()),
        false => Topic::Channel(name.as_bytes().into()),
    };
    names.split(' ').map(topic).collect()
}

impl Case {
    fn new(settings: Settings) -> Self {
        Self { hub: Hub::new("e", settings), now: Instant::now(), follower: Follower::default() }
    }

    /// Publishes to one channel after the other, and gives those who keep up the time to be sent all of it.
    fn publish(&mut self, channels: &str) {
        for channel in channels.split(' ') {
            self.publish_as(channel, "", None);
        }
        self.hub.forget(self.now);
    }

    fn publish_as(&mut self, channel: &str, key: &str, id: Option<&str>) {
        let place = self.hub.newest + 1;
        let made = Hub::id("e", place);
        let publication = Publication {
            place,
            channel: channel.as_bytes().into(),
            event: event(id.unwrap_or(&made)),
            key: key.as_bytes().into(),
            id: id.map(|id| id.as_bytes().into()),
        };
        self.hub.publish(publication, self.now);
    }

    /// One that begins to follow, or follows more; and is then sent what is there.
    fn follow(&mut self, names: &str, after: Option<&str>, start: Start) -> String {
        let request = Request { topics: topics(names), after: after.map(|id| id.as_bytes().into()), start };
        let told = self.hub.follow(STREAM, &mut self.follower, &request, self.now);
        self.check_with(told)
    }

    /// One that resumes, as a new stream.
    fn resume(&mut self, names: &str, after: &str) -> String {
        self.start(names, Some(after), Start::Newest)
    }

    /// A new stream.
    fn start(&mut self, names: &str, after: Option<&str>, start: Start) -> String {
        self.hub.leave(std::mem::take(&mut self.follower));
        self.follow(names, after, start)
    }

    fn check_with(&mut self, told: Vec<Told>) -> String {
        self.hub.check();
        let (told, sent) = (in_words(told), self.sent());
        [told, sent].iter().filter(|words| !words.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    }

    /// What the stream is sent now.
    fn sent(&mut self) -> String {
        let told = self.hub.catch_up(&mut self.follower).map_or_else(|_| "disconnected".into(), in_words);
        let mut blocks = [IoSlice::new(&[]); 64];
        let gathered = self.hub.gather(&self.follower, Framing::Plain, &mut blocks);
        let sent: Vec<String> = blocks[..gathered.blocks].iter().map(|block| words(block)).collect();
        self.hub.all_sent(&mut self.follower, &gathered);
        [told, sent.join(", ")].iter().filter(|words| !words.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    }

    /// What it is handed when it ends.
    fn handed(&mut self) -> String {
        let mut told = Vec::new();
        self.hub.take_pending(&mut self.follower, &mut told);
        in_words(told)
    }
}

fn newest_of_each_key(settings: Settings) -> Settings {
    Settings { on_slow: OnSlow::Newest, ..settings }
}

#[test]
fn a_stream_that_lags_and_ends_is_handed_the_newest_of_each_key() {
    let mut case = Case::new(newest_of_each_key(settings()));
    assert_eq!(case.start("a", None, Start::Newest), "@e-0");
    for key in ["k", "l", "l", "l", "l", "l"] {
        case.publish_as("a", key, None);
    }
    case.hub.forget(case.now);
    assert_eq!(case.handed(), "1, 6");
}

#[test]
fn after_a_gap_a_stream_is_still_sent_the_newest_of_each_key() {
    let mut case = Case::new(newest_of_each_key(settings()));
    assert_eq!(case.start("a b", None, Start::Newest), "@e-0");
    case.publish_as("b", "k", None);
    case.publish("b b b"); // b keeps 1
    for key in ["1", "2", "3", "4", "5", "6", "7"] {
        case.publish_as("a", key, None); // of which 5 is lost, 6 to 8 are kept, 9 to 11 in the history
    }
    case.hub.forget(case.now);
    let b = "1, @e-1-5, 4, @e-4-5";
    assert_eq!(case.sent(), format!("gap e-0-5 slow, {b}, 6, 7, 8, 9, 10, 11"));
    assert_eq!(case.sent(), "");
}

#[test]
fn following_twice_from_the_same_place_is_following_both_from_there() {
    let mut case = Case::new(settings());
    case.publish("a b a b");
    assert_eq!(case.start("a", Some("e-0"), Start::Newest), "@e-0, 1, 3");
    case.hub.leave(std::mem::take(&mut case.follower));
    let request = |names: &str| Request { topics: topics(names), after: Some(b"e-0"[..].into()), start: Start::Newest };
    let first = case.hub.follow(STREAM, &mut case.follower, &request("a"), case.now);
    let second = case.hub.follow(STREAM, &mut case.follower, &request("b"), case.now);
    assert_eq!((in_words(first), in_words(second), case.sent()), ("@e-0".into(), "".into(), "1, 2, 3, 4".into()));
}

#[test]
fn a_channel_that_is_followed_already_is_not_sent_again() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("n/a", None, Start::Newest), "@e-0");
    case.publish("n/a n/b n/a n/a n/a n/a");
    assert_eq!(case.sent(), "gap e-0-3 slow, 4, 5, 6");
    assert_eq!(case.follow("n/*", Some("e-1"), Start::Newest), "2, @e-6");
    assert_eq!(case.follow("n/b", Some("e-0"), Start::Newest), "");
    case.publish("n/b n/a");
    assert_eq!(case.sent(), "7, 8");
    // By a pattern first.
    assert_eq!(case.start("n/*", Some("e-6"), Start::Newest), "@e-6, 7, 8");
    assert_eq!(case.follow("n/a", Some("e-0"), Start::Newest), "");
}

#[test]
fn what_follows_more_is_told_its_position_again_after_going_back() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a", None, Start::Newest), "@e-0");
    case.publish("a b b b b a");
    assert_eq!(case.sent(), "1, 6");
    assert_eq!(case.follow("b", Some("e-0"), Start::Newest), "gap e-0-2 forgotten, 3, 4, 5, @e-6");
    case.publish("c c c c");
    case.now += NEVER;
    case.hub.forget(case.now);
    assert_eq!(case.follow("c", Some("e-6"), Start::Newest), "gap e-6-10 forgotten, @e-10");
}

#[test]
fn what_is_told_before_the_order_of_places_goes_on_is_counted_as_delivered() {
    let mut case = Case::new(settings());
    case.publish("b a a a a a");
    assert_eq!(case.start("a b", Some("e-0"), Start::Newest), "@e-0-0, gap e-0-3 forgotten, 1, @e-1-3, 4, 5, 6");
    assert_eq!(case.hub.counts().delivered, 4);
    case.publish("b b");
    assert_eq!(case.handed(), "7, 8");
    assert_eq!(case.hub.counts().delivered, 6);
}
