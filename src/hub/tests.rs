//! The contract of a hub, case by case. What a stream is told and sent is written in words: `@e-7` is a position, `gap e-7-9
//! forgotten` what tells of a gap, `8` the event of that place.

use super::*;
use crate::event::{Framing, Shared};
use crate::log::Bounds;
use crate::stream::StreamId;
use std::io::IoSlice;
use std::time::{Duration, Instant};

const STREAM: StreamId = StreamId { slot: 0, serial: 1 };
const NEVER: Duration = Duration::from_secs(1_000_000);

fn settings() -> Settings {
    let bounds = Bounds { events: 3, bytes: 1_000_000, age: NEVER };
    Settings {
        history: bounds,
        total_history: Bounds { events: 1000, ..bounds },
        on_slow: OnSlow::Gap,
        gap_event: "gap".into(),
        opaque_ids: false,
    }
}

/// A hub at a time that passes as it is told, and its one stream.
struct Case {
    hub: Hub,
    now: Instant,
    cursor: Cursor,
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

fn in_words(told: Vec<Notice>) -> String {
    let word = |told: Notice| match told {
        Notice::Position(block) | Notice::Gap(block) => words(&block),
        Notice::Event(event) => words(event.bytes(Framing::Plain)),
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
        Self { hub: Hub::new(Epoch::new("e", None), settings), now: Instant::now(), cursor: Cursor::default() }
    }

    /// Publishes to one channel after the other, and gives those who keep up the time to be sent all of it.
    fn publish(&mut self, channels: &str) {
        for channel in channels.split(' ') {
            self.publish_as(channel, "", None);
        }
        self.hub.evict(self.now);
    }

    fn publish_as(&mut self, channel: &str, key: &str, id: Option<&str>) {
        let seq = self.hub.last_seq + 1;
        let made = self.hub.epoch.event_id(seq);
        let publication = Publication {
            seq,
            channel: channel.as_bytes().into(),
            event: event(id.unwrap_or(&made)),
            key: key.as_bytes().into(),
            id: id.map(|id| id.as_bytes().into()),
        };
        self.hub.publish(publication, self.now);
    }

    /// One that begins to follow, or follows more; and is then sent what is there.
    fn subscribe(&mut self, names: &str, after: Option<&str>, start: Start) -> String {
        let request = Request { topics: topics(names), after: after.map(|id| id.as_bytes().into()), start };
        let mut told = self.hub.subscribe(STREAM, &mut self.cursor, &request, self.now);
        told.extend(self.hub.begin(&mut self.cursor));
        self.check_with(told)
    }

    /// A handler that subscribes to several things before it returns.
    fn subscribe_all(&mut self, requests: &[(&str, Option<&str>, Start)]) -> String {
        self.hub.leave(std::mem::take(&mut self.cursor));
        for (names, after, start) in requests {
            let request = Request { topics: topics(names), after: after.map(|id| id.as_bytes().into()), start: *start };
            let told = self.hub.subscribe(STREAM, &mut self.cursor, &request, self.now);
            assert_eq!((in_words(told), self.hub.is_up_to_date(&self.cursor)), (String::new(), false));
        }
        let told = self.hub.begin(&mut self.cursor);
        self.check_with(told)
    }

    fn unsubscribe(&mut self, names: Option<&str>) {
        let names = names.map(topics);
        self.hub.unsubscribe(STREAM, &mut self.cursor, names.as_deref());
        self.hub.check();
    }

    /// One that resumes, as a new stream.
    fn resume(&mut self, names: &str, after: &str) -> String {
        self.start(names, Some(after), Start::Newest)
    }

    /// A new stream.
    fn start(&mut self, names: &str, after: Option<&str>, start: Start) -> String {
        self.hub.leave(std::mem::take(&mut self.cursor));
        self.subscribe(names, after, start)
    }

    fn check_with(&mut self, told: Vec<Notice>) -> String {
        self.hub.check();
        let (told, sent) = (in_words(told), self.sent());
        [told, sent].iter().filter(|words| !words.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    }

    /// What the stream is sent now.
    fn sent(&mut self) -> String {
        let mut told = match self.hub.catch_up(&mut self.cursor) {
            Ok(told) => told,
            Err(_) => return "disconnected".into(),
        };
        while self.cursor.is_replaying() {
            told.extend(self.hub.replay(&mut self.cursor));
        }
        let told = in_words(told);
        let mut blocks = [IoSlice::new(&[]); 64];
        let gathered = self.hub.gather(&self.cursor, Framing::Plain, usize::MAX, &mut blocks);
        let sent: Vec<String> = blocks[..gathered.blocks].iter().map(|block| words(block)).collect();
        self.hub.all_sent(&mut self.cursor, &gathered);
        [told, sent.join(", ")].iter().filter(|words| !words.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    }

    /// What it is sent when it ends.
    fn last_sent(&mut self) -> String {
        self.unsubscribe(None);
        let sent = self.sent();
        assert!(self.cursor.is_idle());
        sent
    }
}

fn newest_of_each_key(settings: Settings) -> Settings {
    Settings { on_slow: OnSlow::Newest, ..settings }
}

#[test]
fn a_stream_begins_with_its_position_wherever_it_starts() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a", None, Start::Newest), "@e-0");
    case.publish("a b a b a b a b"); // 1 and 2 are forgotten
    for (names, start, told) in [
        ("a", Start::Newest, "@e-8"),
        ("a", Start::Oldest, "@e-0-1, 3, 5, 7"),
        ("a", Start::Last(2), "@e-4, 5, 7"),
        ("a", Start::Last(0), "@e-8"),
        ("a", Start::Last(3), "@e-2, 3, 5, 7"),
        ("a", Start::Last(9), "@e-0-1, 3, 5, 7"),
        ("a b", Start::Oldest, "@e-0-2, 3, 4, 5, 6, 7, 8"),
        ("a b", Start::Last(3), "@e-5, 6, 7, 8"),
        ("a *", Start::Last(3), "@e-5, 6, 7, 8"), // what it follows twice counts once
        ("never", Start::Oldest, "@e-0"),
        ("never", Start::Last(1), "@e-0"),
    ] {
        assert_eq!(case.start(names, None, start), told, "{names} {start:?}");
    }
}

#[test]
fn one_id_resumes_any_set_of_channels() {
    let mut case = Case::new(settings());
    case.publish("a b a n/1 n/2 b");
    for (names, after, told) in [
        ("a", "e-1", "@e-1, 3"),
        ("a b", "e-1", "@e-1, 2, 3, 6"),
        ("n/*", "e-1", "@e-1, 4, 5"),
        ("**", "e-1", "@e-1, 2, 3, 4, 5, 6"),
        ("n/* n/1 b", "e-2", "@e-2, 4, 5, 6"),
        ("a", "e-5", "@e-5"), // the place of an event that it does not follow
        ("a b", "e-6", "@e-6"),
        ("a", "e-0", "@e-0, 1, 3"),
        ("never", "e-3", "@e-3"),
    ] {
        assert_eq!(case.resume(names, after), told, "{names} {after}");
    }
    assert_eq!(case.hub.counts().gaps, 0);
}

#[test]
fn a_gap_is_told_first_and_once_and_then_all_that_is_left_is_sent() {
    let mut case = Case::new(settings());
    case.publish("a a a a a b b");
    assert_eq!(case.resume("a", "e-1"), "@e-1-0, gap e-1-2 forgotten, 3, 4, 5");
    // Whoever has heard of it is told no more, whoever left in between is.
    assert_eq!(case.resume("a", "e-1-2"), "@e-1-2, 3, 4, 5");
    assert_eq!(case.resume("a", "e-1-0"), "@e-1-0, gap e-1-2 forgotten, 3, 4, 5");
    assert_eq!(case.resume("a", "e-2"), "@e-2, 3, 4, 5");
    case.publish("a");
    assert_eq!(case.resume("a", "e-1-2"), "@e-1-0, gap e-1-3 forgotten, 4, 5, 8");
    // What others have that is as old is sent too, and after each the id says that the gap was told.
    case.publish("a a");
    assert_eq!(case.resume("a b", "e-5"), "@e-5, 6, 7, 8, 9, 10");
    assert_eq!(case.resume("a b", "e-4"), "@e-4-0, gap e-4-5 forgotten, 6, 7, 8, 9, 10");
    case.publish("a a");
    let rest = "6, @e-6-9, 7, @e-7-9, 10, 11, 12";
    assert_eq!(case.resume("a b", "e-5"), format!("@e-5-0, gap e-5-9 forgotten, {rest}"));
    assert_eq!(case.resume("a b", "e-6-9"), "@e-6-9, 7, @e-7-9, 10, 11, 12");
    assert_eq!(case.hub.counts().gaps, 5);
}

#[test]
fn an_id_that_says_nothing_here_is_a_gap_and_never_brings_all_history() {
    let hostile =
        ["", "x", "e", "e-", "e-x", "e--1", "e-+1", "e-1 ", "e-1-", "e-1-x", "e-1-1-1", "f-1", "E-1", "\u{0}"];
    let ahead = ["e-4", "e-18446744073709551615", "e-99999999999999999999", "e-4-1", "e-4-0"];
    let long = "e-1".repeat(100_000);
    for id in hostile.iter().chain(&ahead).copied().chain([&*long]) {
        let mut case = Case::new(settings());
        case.publish("a a a");
        assert_eq!(case.resume("a", id), "@e-3-0, gap e-3 unknown", "{id}");
        // Then it goes where the start says.
        assert_eq!(case.start("a", Some(id), Start::Last(1)), "@e-2-0, gap e-2 unknown, 3", "{id}");
        case.publish("a");
        assert_eq!(case.sent(), "4");
        // A client that left between the two is told again.
        assert_eq!(case.resume("a", "e-3-0"), "@e-3-0, gap e-3 unknown, 4");
        assert_eq!(case.resume("a", "e-3"), "@e-3, 4");
    }
}

#[test]
fn whatever_an_id_claims_to_know_nobody_else_pays_for_it() {
    let mut case = Case::new(settings());
    case.publish("a a a a a");
    assert_eq!(case.resume("a", "e-1-18446744073709551615"), "@e-1-2, 3, 4, 5");
    case.publish("a a a a");
    assert_eq!(case.sent(), "gap e-5-6 slow, 7, 8, 9");
    assert_eq!(case.resume("a", "e-1-2"), "@e-1-0, gap e-1-6 forgotten, 7, 8, 9");
}

#[test]
fn what_expired_with_its_channel_is_told_of() {
    let mut case = Case::new(settings());
    case.publish("n/a b");
    case.now += NEVER;
    case.hub.evict(case.now);
    assert_eq!((case.hub.counts().channels, case.hub.counts().events), (0, 0));
    for names in ["n/a", "n/*", "n/a n/*", "**"] {
        assert!(case.resume(names, "e-0").starts_with("@e-0-0, gap e-0-"), "{names}");
    }
    assert_eq!(case.resume("n/a", "e-1"), "@e-1", "who has it all misses nothing");
    assert_eq!(case.resume("c", "e-0"), "@e-0", "nor does who follows another");
    case.hub.leave(std::mem::take(&mut case.cursor));
    // Again, when the channel has come back and gone.
    case.publish("n/a");
    assert_eq!(case.resume("n/a", "e-0"), "@e-0-0, gap e-0-1 forgotten, 3");
    assert_eq!(case.resume("n/*", "e-2"), "@e-2, 3");
}

#[test]
fn who_follows_a_pattern_is_told_of_what_expired_with_its_channel() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("n/*", None, Start::Newest), "@e-0");
    case.publish("n/a n/b");
    assert_eq!(case.sent(), "1, 2");
    case.publish("n/c");
    case.now += NEVER;
    case.hub.evict(case.now);
    assert_eq!(case.hub.counts().channels, 0);
    case.publish("n/c n/d");
    assert_eq!(case.sent(), "gap e-2-3 slow, 4, 5");
}

#[test]
fn an_up_to_date_client_is_told_of_no_gap_whatever_was_forgotten() {
    let mut case = Case::new(settings());
    for names in ["a", "*", "a b c"] {
        case.start(names, None, Start::Newest);
        case.publish("a b b b b b a");
        let newest = case.hub.last_seq;
        case.sent();
        let position = in_words(vec![Notice::Position(case.hub.position(&mut case.cursor))]);
        assert_eq!(position, format!("@e-{newest}"), "a quiet stream says that it is there");
        case.now += NEVER;
        case.hub.evict(case.now);
        assert_eq!(case.resume(names, &format!("e-{newest}")), format!("@e-{newest}"));
    }
}

#[test]
fn an_id_of_the_application_is_a_place_as_any_other() {
    let mut case = Case::new(settings());
    case.publish_as("a", "", Some("one"));
    case.publish_as("b", "", Some("two"));
    case.publish_as("a", "", Some("two"));
    case.publish("b a");
    assert_eq!(case.resume("a b", "one"), "@e-1, two, two, 4, 5");
    assert_eq!(case.resume("a b", "two"), "@e-2, two, 4, 5", "of two the first: better twice than never");
    case.now += NEVER;
    case.hub.evict(case.now);
    assert_eq!(case.resume("b", "two"), "@e-2-0, gap e-2-4 forgotten");
    assert_eq!(case.resume("a", "one"), "@e-1-0, gap e-1-5 forgotten", "an id is known longer than its event");
    assert_eq!(case.resume("c", "two"), "@e-5-0, gap e-5 unknown", "but not to who reads other channels");
    assert_eq!(case.resume("c", "never"), "@e-5-0, gap e-5 unknown");
    assert_eq!(case.resume("a", "three"), "@e-5-0, gap e-5 unknown");
}

#[test]
fn a_stream_that_history_overtakes_ends_or_skips_or_is_sent_the_newest() {
    for (on_slow, sent) in [
        (OnSlow::Disconnect, "disconnected"),
        (OnSlow::Gap, "gap e-1-4 slow, 5, 6, 7"),
        (OnSlow::Newest, "7"), // of a channel without keys
    ] {
        let mut case = Case::new(Settings { on_slow, ..settings() });
        case.start("a", None, Start::Newest);
        case.publish("a");
        assert_eq!(case.sent(), "1");
        case.publish("a a a a a a");
        assert_eq!(case.sent(), sent);
        if on_slow == OnSlow::Disconnect {
            assert_eq!(case.resume("a", "e-1"), "@e-1-0, gap e-1-4 forgotten, 5, 6, 7");
        }
        case.publish("a a a");
        assert_eq!(case.sent(), "8, 9, 10", "who keeps up is sent everything");
        let Counts { disconnected, skipped, conflated, gaps, .. } = case.hub.counts();
        let expected = match on_slow {
            OnSlow::Disconnect => (1, 0, 0, 1),
            OnSlow::Gap => (0, 1, 0, 1),
            OnSlow::Newest => (0, 0, 1, 0),
        };
        assert_eq!((disconnected, skipped, conflated, gaps), expected);
    }
}

#[test]
fn of_several_channels_each_has_its_newest_and_of_keys_each_key() {
    let mut case = Case::new(newest_of_each_key(settings()));
    case.start("a b", None, Start::Newest);
    for (channel, key) in [("a", "x"), ("a", "y"), ("b", "x"), ("a", "x"), ("a", "x"), ("a", "x"), ("a", "x")] {
        case.publish_as(channel, key, None);
    }
    case.hub.evict(case.now);
    assert_eq!(case.sent(), "2, 3, 7");
    assert_eq!(case.sent(), "");
}

#[test]
fn keys_that_are_too_many_are_a_gap() {
    let mut case = Case::new(newest_of_each_key(settings()));
    case.start("a", None, Start::Newest);
    for key in 1..=8 {
        case.publish_as("a", &key.to_string(), None);
    }
    case.hub.evict(case.now);
    assert_eq!(case.sent(), "gap e-0-2 slow, 3, 4, 5, 6, 7, 8");
}

#[test]
fn what_is_followed_no_longer_is_sent_no_more_and_who_follows_anew_begins_with_its_position() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a b", None, Start::Newest), "@e-0");
    case.publish("a b");
    case.unsubscribe(Some("b"));
    case.publish("a b");
    assert_eq!(case.sent(), "1, 2, 3", "what was published before is sent");
    case.unsubscribe(None);
    assert_eq!((case.hub.counts().streams, case.cursor.is_idle()), (0, true));
    case.publish("a");
    assert_eq!(case.subscribe("b", Some("e-3"), Start::Newest), "@e-3, 4");
    assert_eq!(case.hub.counts().streams, 1);
}

#[test]
fn who_asks_for_nothing_follows_nothing() {
    let mut case = Case::new(settings());
    let request = Request { topics: Vec::new(), after: Some(b"x"[..].into()), start: Start::Oldest };
    let told = case.hub.subscribe(STREAM, &mut case.cursor, &request, case.now);
    assert_eq!((in_words(told), case.hub.counts().streams), (String::new(), 0));
}

#[test]
fn a_stream_that_lags_and_ends_is_handed_the_newest_of_each_key() {
    let mut case = Case::new(newest_of_each_key(settings()));
    assert_eq!(case.start("a", None, Start::Newest), "@e-0");
    for key in ["k", "l", "l", "l", "l", "l"] {
        case.publish_as("a", key, None);
    }
    case.hub.evict(case.now);
    assert_eq!(case.last_sent(), "1, 6");
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
    case.hub.evict(case.now);
    let b = "1, @e-1-5, 4, @e-4-5";
    assert_eq!(case.sent(), format!("gap e-0-5 slow, {b}, 6, 7, 8, 9, 10, 11"));
    assert_eq!(case.sent(), "");
}

#[test]
fn all_requests_of_one_handler_are_one_request() {
    let mut case = Case::new(settings());
    case.publish("a b a b");
    let newest = Start::Newest;
    for (requests, told) in [
        (&[("a", Some("e-0"), newest), ("b", Some("e-0"), newest)][..], "@e-0, 1, 2, 3, 4"),
        // Each begins where it says, and the position is the earliest of them.
        (&[("a", Some("e-2"), newest), ("b", Some("e-1"), newest)], "@e-1, 2, 3, 4"),
        (&[("a", None, Start::Oldest), ("b", None, newest)], "@e-0, 1, 3"),
        (&[("b", None, newest), ("a", None, Start::Last(1))], "@e-2, 3"),
        // Of a channel that is asked for twice the first request counts.
        (&[("a", None, newest), ("*", None, Start::Oldest)], "@e-0, 2, 4"),
        (&[("a", None, Start::Oldest), ("*", None, newest)], "@e-0, 1, 3"),
        // One gap, whatever each of them is told of.
        (&[("a", Some("x"), newest), ("b", Some("x"), newest)], "@e-4-0, gap e-4 unknown"),
    ] {
        assert_eq!(case.subscribe_all(requests), told, "{requests:?}");
    }
    case.publish("a a a b");
    assert_eq!(case.sent(), "5, 6, 7, 8");
    let both = [("b", Some("e-2"), newest), ("a", Some("e-2"), newest)];
    assert_eq!(case.subscribe_all(&both), "@e-2-0, gap e-2-3 forgotten, 4, 5, 6, 7, 8");
    assert_eq!(case.hub.counts().streams, 1);
}

#[test]
fn an_id_of_the_application_resumes_all_channels_of_a_handler_whichever_comes_first() {
    let mut case = Case::new(settings());
    case.publish_as("a", "", Some("one"));
    case.publish("b a");
    let newest = Start::Newest;
    for requests in [
        [("a", Some("one"), newest), ("b", Some("one"), newest)],
        [("b", Some("one"), newest), ("a", Some("one"), newest)],
    ] {
        assert_eq!(case.subscribe_all(&requests), "@e-1, 2, 3");
    }
}

#[test]
fn a_handler_that_unsubscribes_before_it_returns_is_sent_only_the_rest() {
    let mut case = Case::new(settings());
    case.publish("a b");
    let request = |names: &str| Request { topics: topics(names), after: None, start: Start::Oldest };
    case.hub.subscribe(STREAM, &mut case.cursor, &request("a c"), case.now);
    case.hub.subscribe(STREAM, &mut case.cursor, &request("b"), case.now);
    case.unsubscribe(Some("a c"));
    let told = case.hub.begin(&mut case.cursor);
    assert_eq!(case.check_with(told), "@e-0, 2");
    case.hub.leave(std::mem::take(&mut case.cursor));
    case.hub.subscribe(STREAM, &mut case.cursor, &request("a"), case.now);
    case.unsubscribe(None);
    assert_eq!((case.cursor.is_idle(), case.hub.begin(&mut case.cursor).len()), (true, 0));
    assert_eq!(case.hub.counts().streams, 0);
}

#[test]
fn a_channel_that_is_subscribed_already_is_not_sent_again() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("n/a", None, Start::Newest), "@e-0");
    case.publish("n/a n/b n/a n/a n/a n/a");
    assert_eq!(case.sent(), "gap e-0-3 slow, 4, 5, 6");
    assert_eq!(case.subscribe("n/*", Some("e-1"), Start::Newest), "@e-1, 2, @e-6");
    assert_eq!(case.subscribe("n/b", Some("e-0"), Start::Newest), "");
    case.publish("n/b n/a");
    assert_eq!(case.sent(), "7, 8");
    // By a pattern first.
    assert_eq!(case.start("n/*", Some("e-6"), Start::Newest), "@e-6, 7, 8");
    assert_eq!(case.subscribe("n/a", Some("e-0"), Start::Newest), "");
}

#[test]
fn a_later_subscription_goes_back_and_the_client_is_told_so_before_and_after() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a", None, Start::Newest), "@e-0");
    case.publish("a b a b a");
    assert_eq!(case.sent(), "1, 3, 5");
    assert_eq!(case.subscribe("b", Some("e-1"), Start::Newest), "@e-1, 2, 4, @e-5");
    // With what a client has received of that, it gets the rest, and what it has had twice rather than never.
    assert_eq!(case.resume("a b", "e-2"), "@e-2, 3, 4, 5");
    // What is missing is reported in the place of the position.
    case.publish("c c c c");
    assert_eq!(case.subscribe("c", Some("e-5"), Start::Newest), "gap e-5-6 forgotten, 7, 8, 9");
    case.now += NEVER;
    case.hub.evict(case.now);
    assert_eq!(case.subscribe("d", Some("e-3"), Start::Newest), "");
}

#[test]
fn a_later_subscription_of_a_stream_that_lags_begins_in_the_order_of_events() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a", None, Start::Newest), "@e-0");
    case.publish("a b a");
    // Nothing was sent yet; b begins after 3, and is sent nothing older.
    let request = Request { topics: topics("b"), after: None, start: Start::Newest };
    assert_eq!(in_words(case.hub.subscribe(STREAM, &mut case.cursor, &request, case.now)), "");
    case.publish("b a");
    assert_eq!(case.sent(), "1, 3, 4, 5");
    assert!(case.cursor.parts.is_none(), "it is one cursor again");
}

#[test]
fn a_stream_that_lags_is_told_only_of_what_it_misses_itself() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a", None, Start::Newest), "@e-0");
    case.publish("a b b b b");
    // b has evicted 2, which is older than the later subscription.
    let request = Request { topics: topics("b"), after: None, start: Start::Newest };
    assert_eq!(in_words(case.hub.subscribe(STREAM, &mut case.cursor, &request, case.now)), "");
    assert_eq!(case.sent(), "1");
    case.publish("b b b b");
    assert_eq!(case.sent(), "gap e-5-6 slow, 7, 8, 9");
}

#[test]
fn a_stream_that_unsubscribes_while_it_lags_is_sent_what_was_published_before() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a b n/*", None, Start::Newest), "@e-0");
    case.publish("a b n/1 a");
    case.unsubscribe(Some("a n/*"));
    case.publish("a b n/1 n/2");
    assert_eq!(case.hub.subscribers_of(b"a", |_| true), 0);
    assert_eq!(case.sent(), "1, 2, 3, 4, 6");
    // Subscribed again before that was sent, it misses only what came between.
    case.publish("b a"); // 9, 10
    assert_eq!(case.subscribe("a", None, Start::Newest), "9");
    case.publish("a");
    case.unsubscribe(Some("a"));
    case.publish("a");
    let request = Request { topics: topics("a"), after: None, start: Start::Newest };
    assert_eq!(in_words(case.hub.subscribe(STREAM, &mut case.cursor, &request, case.now)), "");
    case.publish("a");
    assert_eq!(case.sent(), "11, 13");
    // What it has left and can no longer be sent is reported.
    case.publish("b");
    case.unsubscribe(Some("b"));
    case.now += NEVER;
    case.hub.evict(case.now);
    assert_eq!(case.sent(), "gap e-13-14 slow");
    case.unsubscribe(None);
    assert_eq!((case.hub.counts().streams, case.cursor.is_idle()), (0, true));
}

#[test]
fn a_slot_that_another_channel_has_by_now_sends_nothing_to_a_stream_that_left_the_first() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("secret", None, Start::Newest), "@e-0");
    case.publish("secret");
    case.unsubscribe(None);
    case.now += NEVER;
    case.hub.evict(case.now);
    case.publish("other other");
    assert_eq!(case.hub.channels.iter().map(|(at, _)| at).max(), Some(0), "it has the slot");
    assert_eq!(case.sent(), "gap e-0-1 slow");
    assert!(case.cursor.is_idle());
}

#[test]
fn what_is_told_before_the_order_of_places_goes_on_is_counted_as_delivered() {
    let mut case = Case::new(settings());
    case.publish("b a a a a a");
    assert_eq!(case.start("a b", Some("e-0"), Start::Newest), "@e-0-0, gap e-0-3 forgotten, 1, @e-1-3, 4, 5, 6");
    assert_eq!(case.hub.counts().delivered, 4);
    case.publish("b b");
    assert_eq!(case.last_sent(), "7, 8");
    assert_eq!(case.hub.counts().delivered, 6);
}

#[test]
fn who_began_with_the_history_and_was_cut_is_told_if_more_of_it_is_forgotten_meanwhile() {
    let mut case = Case::new(settings());
    case.publish("b b a a a a");
    assert_eq!(case.start("a b", None, Start::Oldest), "@e-0-3, 1, 2, 4, 5, 6", "it has missed nothing");
    case.publish("b b b b");
    // It was cut after its first event: 2, which it never had, is gone.
    assert_eq!(case.resume("a b", "e-1"), "@e-1-0, gap e-1-7 forgotten, 4, @e-4-7, 5, @e-5-7, 6, @e-6-7, 8, 9, 10");
}
