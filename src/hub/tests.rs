//! The contract of a hub, case by case.
//!
//! The expected output of a stream is written in words: `@e-7` is a position, `gap e-7-9 evicted` a `gap` event with its id
//! and its reason, and a number the event that has it.

mod model;

use super::sequence::HUB_EVENT;
use super::*;
use crate::compression::{Body, ContentCoding};
use crate::event::{EventId, EventName, Field, Framing, LineEnd, Shared, Text};
use crate::log::Bounds;
use crate::stream::StreamId;
use std::io::IoSlice;
use std::time::{Duration, Instant};

const STREAM: StreamId = StreamId { slot: 0, serial: 1 };
const PLAIN: BlockForm =
    BlockForm { framing: Framing::Plain, coding: ContentCoding::Identity, line_end: LineEnd::Lf, round: None };
const NEVER: Duration = Duration::from_secs(1_000_000);

pub(super) fn settings() -> Settings {
    let bounds = Bounds { events: 3, bytes: 1_000_000, age: NEVER };
    Settings { on_slow: OnSlow::Gap, ..Settings::new(bounds, Bounds { events: 1000, ..bounds }) }
}

fn with_channels(channels: Vec<ChannelSettings>) -> Settings {
    Settings { retention: Retention { channels, ..settings().retention }, ..settings() }
}

/// A hub with one stream, and a clock that tests advance.
pub(super) struct Case {
    pub(super) hub: Hub,
    pub(super) now: Instant,
    pub(super) cursor: Cursor,
}

/// The fields of an event that has an id of the application, if it has one.
fn fields_of(id: Option<&str>) -> impl Iterator<Item = Field<'_>> + Clone {
    let id = id.map(|id| Field::Id(EventId::new(Text::from(id)).expect("an id")));
    std::iter::once(Field::Data(Text::from("x"))).chain(id)
}

fn event(id: &str) -> Shared {
    let text = format!("data: x\nid: {id}\n\n");
    Shared::of(text)
}

/// Returns a block in words.
fn words(block: &[u8]) -> String {
    let text = String::from_utf8(block.to_vec()).expect("only text is published");
    let word = String::from_utf8(super::gaps::hub_word(false, true)).expect("text");
    let (state, text) = text.strip_prefix(&word).map_or(("", &*text), |rest| (":state ", rest));
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    let id = field("id: ");
    match &*field("data: ") {
        "" if !state.is_empty() => state.trim_end().to_owned(),
        "" => format!("@{id}"),
        "x" => id.strip_prefix("e-").map_or(id.clone(), str::to_owned),
        reason => format!("{state}{} {id} {}", field("event: "), reason.split('"').nth(3).unwrap_or_default()),
    }
}

fn in_words(own_blocks: Vec<OwnBlock>) -> String {
    let word = |own_block: OwnBlock| match own_block {
        OwnBlock::Position(block) | OwnBlock::Channel(block) | OwnBlock::Gap(block) => words(&block),
        OwnBlock::Event(event) => words(event.bytes(Framing::Plain)),
    };
    own_blocks.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

fn topics(names: &str) -> Vec<Topic> {
    let topic = |name: &str| match name.contains('*') {
        true => Topic::Pattern(name.as_bytes().into()),
        false => Topic::Channel(name.as_bytes().into()),
    };
    names.split(' ').map(topic).collect()
}

fn request(names: &str, after: Option<&str>, start: StartPoint) -> SubscribeRequest {
    SubscribeRequest { topics: topics(names), after: after.map(|id| id.as_bytes().into()), start, ..Default::default() }
}

impl Case {
    fn new(settings: Settings) -> Self {
        Self::of(Hub::new(Epoch::new("e", None), settings))
    }

    pub(super) fn of(hub: Hub) -> Self {
        Self { hub, now: Instant::now(), cursor: Cursor::default() }
    }

    /// Publishes to one channel after the other, then evicts what exceeds the retention.
    fn publish(&mut self, channels: &str) {
        for channel in channels.split(' ') {
            self.publish_as(channel, "", None);
        }
        assert!(self.hub.evict(self.now, &[]).is_ok());
    }

    fn publish_as(&mut self, channel: &str, key: &str, id: Option<&str>) {
        self.publish_stored(self.hub.last_seq() + 1, self.now, channel, key, id);
    }

    /// Publishes an event with a sequence number and a time that a store has given.
    pub(super) fn publish_stored(&mut self, seq: u64, at: Instant, channel: &str, key: &str, id: Option<&str>) {
        let made = self.hub.epoch.event_id(seq);
        let event = SequencedEvent {
            seq,
            channel: channel.as_bytes().into(),
            event: Shared::with_id_last(fields_of(id), EventId::new(Text::from(&*made)).ok()),
            key: key.as_bytes().into(),
            retain: Retain::No,
            has_custom_id: id.is_some(),
        };
        self.hub.append(event, at);
    }

    /// Subscribes the stream, which may be subscribed to other topics already. Returns what it is sent then.
    fn subscribe(&mut self, names: &str, after: Option<&str>, start: StartPoint) -> String {
        let request = request(names, after, start);
        let mut own_blocks: Vec<OwnBlock> =
            self.hub.subscribe(STREAM, &mut self.cursor, &request).into_iter().collect();
        own_blocks.extend(self.hub.begin(&mut self.cursor));
        self.check_with(own_blocks)
    }

    /// Subscribes a new stream by several requests of one handler. Returns what it is sent when the handler returns.
    fn subscribe_all(&mut self, requests: &[(&str, Option<&str>, StartPoint)]) -> String {
        self.hub.remove_stream(std::mem::take(&mut self.cursor));
        for (names, after, start) in requests {
            let request = request(names, *after, *start);
            let own_block = self.hub.subscribe(STREAM, &mut self.cursor, &request);
            assert!(own_block.is_none() && !self.hub.is_up_to_date(&self.cursor));
        }
        let own_blocks = self.hub.begin(&mut self.cursor);
        self.check_with(own_blocks)
    }

    /// Subscribes a new stream with a last event id.
    pub(super) fn resume(&mut self, names: &str, after: &str) -> String {
        self.start(names, Some(after), StartPoint::Latest)
    }

    /// Subscribes a new stream.
    pub(super) fn start(&mut self, names: &str, after: Option<&str>, start: StartPoint) -> String {
        self.hub.remove_stream(std::mem::take(&mut self.cursor));
        self.subscribe(names, after, start)
    }

    /// Checks the hub, and returns these blocks and what the stream is sent now.
    fn check_with(&mut self, own_blocks: Vec<OwnBlock>) -> String {
        self.hub.check();
        let (own_blocks, sent) = (in_words(own_blocks), self.sent());
        [own_blocks, sent].iter().filter(|words| !words.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    }

    /// Returns what the stream is sent now.
    pub(super) fn sent(&mut self) -> String {
        let mut own_blocks = match self.hub.catch_up(&mut self.cursor) {
            Ok(own_blocks) => own_blocks,
            Err(_) => return "disconnected".into(),
        };
        while self.cursor.has_replay() {
            own_blocks.extend(self.hub.replay_into_buffer(&mut self.cursor));
        }
        let own_blocks = in_words(own_blocks);
        let mut blocks = [IoSlice::new(&[]); 64];
        let gathered = self.hub.gather(&self.cursor, &PLAIN, usize::MAX, &mut blocks);
        let sent: Vec<String> = blocks[..gathered.blocks].iter().map(|block| words(block)).collect();
        self.hub.record_all_sent(&mut self.cursor, &gathered, &mut Body::default());
        [own_blocks, sent.join(", ")].iter().filter(|words| !words.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    }

    /// Ends the stream, and returns what it is sent before.
    fn last_sent(&mut self) -> String {
        self.leave();
        let sent = self.sent();
        assert!(self.cursor.is_idle());
        sent
    }

    /// Ends the stream, which is still to be sent what was published before.
    fn leave(&mut self) {
        self.hub.end_subscription(STREAM, &mut self.cursor);
        self.hub.check();
    }
}

pub(super) fn compacting(settings: Settings) -> Settings {
    Settings { on_slow: OnSlow::Latest, ..settings }
}

#[test]
fn a_new_stream_is_sent_its_position_first_for_each_start() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a", None, StartPoint::Latest), "@e-0");
    case.publish("a b a b a b a b"); // 1 and 2 are evicted
    for (names, start, sent) in [
        ("a", StartPoint::Latest, "@e-8"),
        ("a", StartPoint::Oldest, "@e-0-1, 3, 5, 7"),
        ("a", StartPoint::Last(2), "@e-4, 5, 7"),
        ("a", StartPoint::Last(0), "@e-8"),
        ("a", StartPoint::Last(3), "@e-2, 3, 5, 7"),
        ("a", StartPoint::Last(9), "@e-0-1, 3, 5, 7"),
        ("a b", StartPoint::Oldest, "@e-0-2, 3, 4, 5, 6, 7, 8"),
        ("a b", StartPoint::Last(3), "@e-5, 6, 7, 8"),
        ("a *", StartPoint::Last(3), "@e-5, 6, 7, 8"), // a channel of two topics counts once
        ("never", StartPoint::Oldest, "@e-0"),
        ("never", StartPoint::Last(1), "@e-0"),
    ] {
        assert_eq!(case.start(names, None, start), sent, "{names} {start:?}");
    }
}

#[test]
fn another_retention_applies_to_every_log() {
    let mut case = Case::new(settings());
    case.publish("a b a b a b");
    let retention = settings().retention;
    let history = Bounds { events: 1, ..retention.history };
    case.hub.set_retention(Retention { history, ..retention.clone() });
    assert!(case.hub.has_grown());
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(case.start("a b", None, StartPoint::Oldest), "@e-0-4, 5, 6");
    assert_eq!(case.resume("a", "e-1"), "@e-1-0, gap e-1-3 evicted, 5");
    case.hub.set_retention(retention);
    case.publish("a a");
    assert_eq!(case.start("a", None, StartPoint::Oldest), "@e-0-3, 5, 7, 8");
}

/// Returns settings of the channels that a pattern matches.
fn of_channels(pattern: &str, set: impl Fn(&mut ChannelSettings)) -> ChannelSettings {
    let mut channels = ChannelSettings::new(pattern.as_bytes());
    set(&mut channels);
    channels
}

#[test]
fn the_first_channel_settings_that_match_count_and_the_hub_names_the_rest() {
    let channels = vec![
        of_channels("stock", |stock| stock.events = Some(1)),
        of_channels("user/*", |user| user.age = Some(Duration::from_secs(10))),
        of_channels("**", |all| all.events = Some(2)),
    ];
    let mut case = Case::new(with_channels(channels));
    case.publish("stock stock stock user/1 user/1 user/1 user/1 a a a");
    assert_eq!(case.start("**", None, StartPoint::Oldest), "@e-0-8, 3, 5, 6, 7, 9, 10");
    assert_eq!(case.resume("stock", "e-1"), "@e-1-0, gap e-1-2 evicted, 3");
    assert_eq!(case.resume("user/1", "e-4"), "@e-4, 5, 6, 7");
    assert_eq!(case.hub.next_due(), Some(case.now + Duration::from_millis(10_625)), "before those that are older");
    case.now += Duration::from_secs(10);
    assert!(case.hub.is_eviction_due(case.now));
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(case.start("**", None, StartPoint::Oldest), "@e-0-8, 3, 9, 10");
    assert_eq!(case.hub.next_due().map(|due| due > case.now + NEVER), Some(true));
}

#[test]
fn an_entry_of_a_channel_becomes_no_older_than_the_hub_allows_for_all() {
    let channels = vec![of_channels("a", |a| a.age = Some(Duration::MAX))];
    let mut case = Case::new(with_channels(channels));
    case.publish("a b");
    case.now += NEVER;
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(case.hub.counts().channels, 0);
}

#[test]
fn other_channel_settings_apply_to_every_log() {
    let mut case = Case::new(settings());
    case.publish("a b a b a b");
    let of_b =
        |set: fn(&mut ChannelSettings)| Retention { channels: vec![of_channels("b", set)], ..settings().retention };
    case.hub.set_retention(of_b(|b| (b.events, b.on_slow) = (Some(1), Some(OnSlow::Latest))));
    case.hub.check();
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(case.start("a b", None, StartPoint::Oldest), "@e-0-4, 1, 3, 5, 6");
    case.publish_as("b", "k", None);
    case.publish_as("b", "l", None);
    case.publish("a");
    assert_eq!(case.sent(), "7, 8, 9", "b has compacted 7");
    case.hub.set_retention(of_b(|b| b.events = Some(1)));
    case.hub.check();
    case.publish("b");
    assert_eq!(case.resume("b", "e-6"), "@e-6-0, gap e-6-8 evicted, 10");
}

#[test]
fn a_stream_that_lags_in_several_channels_ends_if_it_does_in_one() {
    let on = |pattern: &str, on_slow| of_channels(pattern, |channels| channels.on_slow = Some(on_slow));
    let channels = vec![on("end*", OnSlow::Disconnect), on("new*", OnSlow::Latest)];
    for (published, sent) in [
        ("gap gap gap gap new1", "gap e-0-1 slow, 2, 3, 4, 5"),
        ("new1 new1 new1 new1 end1 gap", "4, 5, 6"),
        ("new1 new1 new1 new1 gap gap gap gap", "gap e-0-5 slow, 4, @e-4-5, 6, 7, 8"),
        ("end1 end1 end1 end1 gap", "disconnected"),
        ("end1 end1 end1 end1 gap gap gap gap new1", "disconnected"),
    ] {
        for topics in ["end1 gap new1", "**", "end* g** new1"] {
            let mut case = Case::new(with_channels(channels.clone()));
            assert_eq!(case.start(topics, None, StartPoint::Latest), "@e-0");
            case.publish(published);
            assert_eq!(case.hub.has_to_end(&case.cursor), sent == "disconnected", "{topics}: {published}");
            assert_eq!(case.sent(), sent, "{topics}: {published}");
        }
    }
}

#[test]
fn a_stream_ends_for_what_it_has_not_been_sent_only() {
    let channels = vec![of_channels("gap", |gap| gap.on_slow = Some(OnSlow::Gap))];
    for topics in ["end gap", "**"] {
        let mut case = Case::new(Settings { on_slow: OnSlow::Disconnect, ..with_channels(channels.clone()) });
        case.publish("end end end end gap");
        let request = request(topics, Some("e-0"), StartPoint::Latest);
        case.hub.subscribe(STREAM, &mut case.cursor, &request);
        assert_eq!(in_words(case.hub.begin(&mut case.cursor)), "@e-0-0, gap e-0-1 evicted");
        case.publish("gap gap gap gap gap");
        assert_eq!(case.sent(), "gap e-0-7 slow, 2, @e-2-7, 3, @e-3-7, 4, @e-4-7, 8, 9, 10", "{topics}");

        let mut case = Case::new(Settings { on_slow: OnSlow::Disconnect, ..with_channels(channels.clone()) });
        case.publish("gap end end end end");
        let request = self::request(topics, None, StartPoint::Oldest);
        case.hub.subscribe(STREAM, &mut case.cursor, &request);
        assert_eq!(in_words(case.hub.begin(&mut case.cursor)), "@e-0-2");
        case.publish("gap gap gap");
        assert_eq!(case.sent(), "gap e-0-2 slow, 3, 4, 5, 6, 7, 8", "{topics}: end has evicted nothing since");
    }
}

#[test]
fn one_id_resumes_any_set_of_channels() {
    let mut case = Case::new(settings());
    case.publish("a b a n/1 n/2 b");
    for (names, after, sent) in [
        ("a", "e-1", "@e-1, 3"),
        ("a b", "e-1", "@e-1, 2, 3, 6"),
        ("n/*", "e-1", "@e-1, 4, 5"),
        ("**", "e-1", "@e-1, 2, 3, 4, 5, 6"),
        ("n/* n/1 b", "e-2", "@e-2, 4, 5, 6"),
        ("a", "e-5", "@e-5"), // the id of an event of another channel
        ("a b", "e-6", "@e-6"),
        ("a", "e-0", "@e-0, 1, 3"),
        ("never", "e-3", "@e-3"),
    ] {
        assert_eq!(case.resume(names, after), sent, "{names} {after}");
    }
    assert_eq!(case.hub.counts().gaps, 0);
}

#[test]
fn resume_with_an_evicted_id_sends_one_gap_first_then_all_events_that_are_left() {
    let mut case = Case::new(settings());
    case.publish("a a a a a b b");
    assert_eq!(case.resume("a", "e-1"), "@e-1-0, gap e-1-2 evicted, 3, 4, 5");
    // An id from after the gap event gets no gap event again. One from between position and gap event does.
    assert_eq!(case.resume("a", "e-1-2"), "@e-1-2, 3, 4, 5");
    assert_eq!(case.resume("a", "e-1-0"), "@e-1-0, gap e-1-2 evicted, 3, 4, 5");
    assert_eq!(case.resume("a", "e-2"), "@e-2, 3, 4, 5");
    case.publish("a");
    assert_eq!(case.resume("a", "e-1-2"), "@e-1-0, gap e-1-3 evicted, 4, 5, 8");
    // Older events of other channels follow the gap event, each with a position that says what was reported.
    case.publish("a a");
    assert_eq!(case.resume("a b", "e-5"), "@e-5, 6, 7, 8, 9, 10");
    assert_eq!(case.resume("a b", "e-4"), "@e-4-0, gap e-4-5 evicted, 6, 7, 8, 9, 10");
    case.publish("a a");
    let rest = "6, @e-6-9, 7, @e-7-9, 10, 11, 12";
    assert_eq!(case.resume("a b", "e-5"), format!("@e-5-0, gap e-5-9 evicted, {rest}"));
    assert_eq!(case.resume("a b", "e-6-9"), "@e-6-9, 7, @e-7-9, 10, 11, 12");
    assert_eq!(case.hub.counts().gaps, 5);
}

#[test]
fn resume_with_an_unknown_id_sends_a_gap_and_begins_at_the_start_of_the_request() {
    let hostile =
        ["", "x", "e", "e-", "e-x", "e--1", "e-+1", "e-1 ", "e-1-", "e-1-x", "e-1-1-1", "f-1", "E-1", "\u{0}"];
    let ahead = ["e-4", "e-18446744073709551615", "e-99999999999999999999", "e-4-1", "e-4-0"];
    let long = "e-1".repeat(100_000);
    for id in hostile.iter().chain(&ahead).copied().chain([&*long]) {
        let mut case = Case::new(settings());
        case.publish("a a a");
        assert_eq!(case.resume("a", id), "@e-3-0, gap e-3 unknown", "{id}");
        // The request's start decides where it begins.
        assert_eq!(case.start("a", Some(id), StartPoint::Last(1)), "@e-2-0, gap e-2 unknown, 3", "{id}");
        case.publish("a");
        assert_eq!(case.sent(), "4");
        // A client that left between the position and the gap event gets the gap event again.
        assert_eq!(case.resume("a", "e-3-0"), "@e-3-0, gap e-3 unknown, 4");
        assert_eq!(case.resume("a", "e-3"), "@e-3, 4");
    }
}

#[test]
fn an_invented_id_that_claims_a_reported_gap_suppresses_no_later_gap() {
    let mut case = Case::new(settings());
    case.publish("a a a a a");
    assert_eq!(case.resume("a", "e-1-18446744073709551615"), "@e-1-2, 3, 4, 5");
    case.publish("a a a a");
    assert_eq!(case.sent(), "gap e-5-6 slow, 7, 8, 9");
    assert_eq!(case.resume("a", "e-1-2"), "@e-1-0, gap e-1-6 evicted, 7, 8, 9");
}

#[test]
fn resume_of_a_removed_channel_sends_a_gap_for_its_expired_events() {
    let mut case = Case::new(settings());
    case.publish("n/a b");
    case.now += NEVER;
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!((case.hub.counts().channels, case.hub.counts().events), (0, 0));
    for names in ["n/a", "n/*", "n/a n/*", "**"] {
        assert!(case.resume(names, "e-0").starts_with("@e-0-0, gap e-0-"), "{names}");
    }
    assert_eq!(case.resume("n/a", "e-1"), "@e-1", "an up-to-date client misses nothing");
    assert_eq!(case.resume("c", "e-0"), "@e-0", "a client of another channel misses nothing");
    case.hub.remove_stream(std::mem::take(&mut case.cursor));
    // The same after the channel was created again.
    case.publish("n/a");
    assert_eq!(case.resume("n/a", "e-0"), "@e-0-0, gap e-0-1 evicted, 3");
    assert_eq!(case.resume("n/*", "e-2"), "@e-2, 3");
}

#[test]
fn a_lagging_stream_of_a_pattern_is_sent_a_gap_for_a_removed_channel() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("n/*", None, StartPoint::Latest), "@e-0");
    case.publish("n/a n/b");
    assert_eq!(case.sent(), "1, 2");
    case.publish("n/c");
    case.now += NEVER;
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(case.hub.counts().channels, 0);
    case.publish("n/c n/d");
    assert_eq!(case.sent(), "gap e-2-3 slow, 4, 5");
}

#[test]
fn resume_of_an_up_to_date_client_sends_no_gap_after_all_events_have_expired() {
    let mut case = Case::new(settings());
    for names in ["a", "n/*", "a b c"] {
        case.start(names, None, StartPoint::Latest);
        case.publish("a b b b b b a x");
        let last = case.hub.last_seq();
        case.sent();
        let position = in_words(case.hub.quiet_block(&mut case.cursor).map(OwnBlock::Position).into_iter().collect());
        assert_eq!(position, format!("@e-{last}"), "the position of a quiet stream is the last seq");
        case.now += NEVER;
        assert!(case.hub.evict(case.now, &[]).is_ok());
        assert_eq!(case.resume(names, &format!("e-{last}")), format!("@e-{last}"));
    }
}

#[test]
fn an_id_of_the_application_resumes_nothing_and_the_id_of_the_hub_follows_it() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a b", None, StartPoint::Latest), "@e-0");
    case.publish_as("a", "", Some("same"));
    case.publish_as("b", "", Some("same"));
    case.publish_as("a", "", Some("old-7")); // an id of another epoch
    let entries = case.hub.entries();
    let texts: Vec<&[u8]> = entries.iter().map(|(_, entry)| entry.event.bytes(Framing::Plain)).collect();
    let expected = ["id: same\n\nid: e-1\n\n", "id: same\n\nid: e-2\n\n", "id: old-7\n\nid: e-3\n\n"];
    assert_eq!(texts, expected.map(|ids| format!("data: x\n{ids}").into_bytes()));
    assert_eq!(case.resume("a b", "e-1"), "@e-1, same, old-7");
    assert_eq!(case.resume("a b", "e-2"), "@e-2, old-7");
    for id in ["same", "old-7"] {
        assert_eq!(case.resume("a b", id), "@e-3-0, gap e-3 unknown", "{id}");
    }
}

#[test]
fn a_lagging_stream_with_compaction_is_sent_the_latest_event_of_each_channel_and_key() {
    let mut case = Case::new(compacting(settings()));
    case.start("a b", None, StartPoint::Latest);
    for (channel, key) in [("a", "x"), ("a", "y"), ("b", "x"), ("a", "x"), ("a", "x"), ("a", "x"), ("a", "x")] {
        case.publish_as(channel, key, None);
    }
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(case.sent(), "2, 3, 7");
    assert_eq!(case.sent(), "");
}

#[test]
fn compaction_with_more_keys_than_retained_sends_a_gap() {
    let mut case = Case::new(compacting(settings()));
    case.start("a", None, StartPoint::Latest);
    for key in 1..=8 {
        case.publish_as("a", &key.to_string(), None);
    }
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(case.sent(), "gap e-0-2 slow, 3, 4, 5, 6, 7, 8");
}

#[test]
fn a_request_without_topics_subscribes_to_nothing() {
    let mut case = Case::new(settings());
    let request = SubscribeRequest {
        topics: Vec::new(),
        after: Some(b"x"[..].into()),
        start: StartPoint::Oldest,
        ..Default::default()
    };
    let own_block = case.hub.subscribe(STREAM, &mut case.cursor, &request);
    assert!(own_block.is_none() && case.hub.counts().streams == 0);
}

#[test]
fn a_lagging_stream_that_ends_is_sent_the_latest_event_of_each_key() {
    let mut case = Case::new(compacting(settings()));
    assert_eq!(case.start("a", None, StartPoint::Latest), "@e-0");
    for key in ["k", "l", "l", "l", "l", "l"] {
        case.publish_as("a", key, None);
    }
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(case.last_sent(), "1, 6");
}

#[test]
fn after_a_gap_a_stream_with_compaction_is_sent_the_latest_event_of_each_key() {
    let mut case = Case::new(compacting(settings()));
    assert_eq!(case.start("a b", None, StartPoint::Latest), "@e-0");
    case.publish_as("b", "k", None);
    case.publish("b b b"); // b compacts 1
    for key in ["1", "2", "3", "4", "5", "6", "7"] {
        case.publish_as("a", key, None); // 5 is discarded, 6 to 8 are compacted, 9 to 11 are in the history
    }
    assert!(case.hub.evict(case.now, &[]).is_ok());
    let b = "1, @e-1-5, 4, @e-4-5";
    assert_eq!(case.sent(), format!("gap e-0-5 slow, {b}, 6, 7, 8, 9, 10, 11"));
    assert_eq!(case.sent(), "");
}

#[test]
fn all_requests_of_one_handler_begin_as_one_with_one_position_and_one_gap() {
    let mut case = Case::new(settings());
    case.publish("a b a b");
    let latest = StartPoint::Latest;
    for (requests, sent) in [
        (&[("a", Some("e-0"), latest), ("b", Some("e-0"), latest)][..], "@e-0, 1, 2, 3, 4"),
        // Each request has its own resume point, and the position is the earliest of them.
        (&[("a", Some("e-2"), latest), ("b", Some("e-1"), latest)], "@e-1, 2, 3, 4"),
        (&[("a", None, StartPoint::Oldest), ("b", None, latest)], "@e-0, 1, 3"),
        (&[("b", None, latest), ("a", None, StartPoint::Last(1))], "@e-2, 3"),
        // A channel of two requests begins as the first one says, and counts for that only.
        (&[("a", None, latest), ("*", None, StartPoint::Oldest)], "@e-0, 2, 4"),
        (&[("a", None, StartPoint::Oldest), ("*", None, StartPoint::Last(1))], "@e-0, 1, 3, 4"),
        (&[("a", None, StartPoint::Last(1)), ("*", None, StartPoint::Last(2))], "@e-1, 2, 3, 4"),
        (&[("*", None, StartPoint::Last(1)), ("a", None, StartPoint::Oldest)], "@e-3, 4"),
        (&[("b*", None, latest), ("*", None, StartPoint::Last(2)), ("**", None, StartPoint::Oldest)], "@e-0, 1, 3"),
        // Two requests with a gap get one gap event.
        (&[("a", Some("x"), latest), ("b", Some("x"), latest)], "@e-4-0, gap e-4 unknown"),
    ] {
        assert_eq!(case.subscribe_all(requests), sent, "{requests:?}");
    }
    case.publish("a a a b");
    assert_eq!(case.sent(), "5, 6, 7, 8");
    let both = [("b", Some("e-2"), latest), ("a", Some("e-2"), latest)];
    assert_eq!(case.subscribe_all(&both), "@e-2-0, gap e-2-3 evicted, 4, 5, 6, 7, 8");
    assert_eq!(case.hub.counts().streams, 1);
}

#[test]
fn a_later_subscription_begins_with_new_events() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a", None, StartPoint::Latest), "@e-0");
    case.publish("a b a b a");
    assert_eq!(case.subscribe("b", None, StartPoint::Oldest), "1, 3, 5");
    case.publish("b a");
    assert_eq!(case.sent(), "6, 7");
    assert!(case.cursor.parts.is_none(), "the cursor is one number again");
    // A client that reconnects has the topics of its new request after its id.
    assert_eq!(case.resume("a b", "e-3"), "@e-3, 4, 5, 6, 7");
}

#[test]
fn a_later_subscription_with_an_id_sends_a_gap_only_if_the_client_has_missed_events() {
    let mut case = Case::new(settings());
    case.publish("b c a a a a b");
    for (names, after, sent) in [
        ("b", "e-1", "gap e-7 unknown"),
        ("b", "e-7", ""),
        ("never", "e-0", ""),
        ("c", "e-2", ""),
        ("b", "x", "gap e-7 unknown"), // an id that the hub does not know
    ] {
        assert_eq!(case.start("a", None, StartPoint::Latest), "@e-7");
        assert_eq!(case.subscribe(names, Some(after), StartPoint::Latest), sent, "{names} {after}");
    }
    // The same while events that an earlier gap event has reported are still to be sent.
    assert_eq!(case.start("a b", Some("e-0"), StartPoint::Latest), "@e-0-0, gap e-0-3 evicted, 1, @e-1-3, 4, 5, 6, 7");
    let request = SubscribeRequest { topics: topics("a b"), after: Some(b"e-0"[..].into()), ..Default::default() };
    case.hub.remove_stream(std::mem::take(&mut case.cursor));
    assert!(case.hub.subscribe(STREAM, &mut case.cursor, &request).is_none());
    assert_eq!(in_words(case.hub.begin(&mut case.cursor)), "@e-0-0, gap e-0-3 evicted");
    let request = SubscribeRequest { topics: topics("c"), ..request };
    let own_block = case.hub.subscribe(STREAM, &mut case.cursor, &request);
    assert_eq!(in_words(own_block.into_iter().collect()), "gap e-0-3 unknown");
    case.publish("c");
    assert_eq!(case.sent(), "1, @e-1-3, 4, 5, 6, 7, 8");
}

#[test]
fn a_channel_of_an_earlier_pattern_is_not_sent_twice() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("n/*", None, StartPoint::Latest), "@e-0");
    case.publish("n/a n/b");
    assert_eq!(case.subscribe("n/a", None, StartPoint::Latest), "1, 2");
    case.publish("n/a n/b n/a");
    assert_eq!(case.subscribe("**", None, StartPoint::Latest), "3, 4, 5");
}

#[test]
fn a_later_subscription_of_a_stream_with_a_backlog_begins_after_the_last_event() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a", None, StartPoint::Latest), "@e-0");
    case.publish("a b a");
    // The stream has been sent nothing yet. b begins after 3, so none of its earlier events is sent.
    let request = SubscribeRequest { topics: topics("b"), ..Default::default() };
    assert!(case.hub.subscribe(STREAM, &mut case.cursor, &request).is_none());
    case.publish("b a");
    assert_eq!(case.sent(), "1, 3, 4, 5");
    assert!(case.cursor.parts.is_none(), "the cursor is one number again");
}

#[test]
fn a_stream_with_a_backlog_is_sent_no_gap_for_events_from_before_a_later_subscription() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a", None, StartPoint::Latest), "@e-0");
    case.publish("a b b b b");
    // b has evicted 2, which was published before the later subscription.
    let request = SubscribeRequest { topics: topics("b"), ..Default::default() };
    assert!(case.hub.subscribe(STREAM, &mut case.cursor, &request).is_none());
    assert_eq!(case.sent(), "1");
    case.publish("b b b b");
    assert_eq!(case.sent(), "gap e-5-6 slow, 7, 8, 9");
}

#[test]
fn a_stream_that_ends_with_a_backlog_is_sent_the_events_published_before() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("a b n/*", None, StartPoint::Latest), "@e-0");
    case.publish("a c n/1 a");
    case.leave();
    assert_eq!((case.hub.subscribers_of(b"b", |_| true), case.hub.subscribers_of(b"n/2", |_| true)), (0, 0));
    case.publish("a b n/1 n/2");
    assert_eq!(case.sent(), "1, 3, 4");
    assert_eq!((case.hub.counts().streams, case.cursor.is_idle()), (0, true));
    // An eviction of events from before the end is reported.
    assert_eq!(case.start("a b", Some("e-8"), StartPoint::Latest), "@e-8");
    case.publish("a a");
    case.leave();
    case.publish("b");
    case.now += NEVER;
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(case.sent(), "gap e-8-10 slow");
    assert!(case.cursor.is_idle());
}

#[test]
fn a_reused_channel_slot_sends_nothing_to_a_stream_that_ended_with_the_earlier_channel() {
    let mut case = Case::new(settings());
    assert_eq!(case.start("secret", None, StartPoint::Latest), "@e-0");
    case.publish("secret");
    case.leave();
    case.now += NEVER;
    assert!(case.hub.evict(case.now, &[]).is_ok());
    case.publish("other other");
    assert_eq!(case.sent(), "gap e-0-1 slow");
    assert!(case.cursor.is_idle());
    case.publish("other");
    assert_eq!(
        case.hub.logs.channels.iter().map(|(at, _)| at).max(),
        Some(1),
        "the channel is kept as long as the stream"
    );
}

#[test]
fn replayed_events_are_counted_as_delivered() {
    let mut case = Case::new(settings());
    case.publish("b a a a a a");
    assert_eq!(case.start("a b", Some("e-0"), StartPoint::Latest), "@e-0-0, gap e-0-3 evicted, 1, @e-1-3, 4, 5, 6");
    assert_eq!(case.hub.counts().delivered, 4);
    case.publish("b b");
    assert_eq!(case.last_sent(), "7, 8");
    assert_eq!(case.hub.counts().delivered, 6);
}

#[test]
fn resume_after_starting_with_the_oldest_sends_a_gap_if_more_was_evicted_meanwhile() {
    let mut case = Case::new(settings());
    case.publish("b b a a a a");
    assert_eq!(
        case.start("a b", None, StartPoint::Oldest),
        "@e-0-3, 1, 2, 4, 5, 6",
        "a new client receives no gap event"
    );
    case.publish("b b b b");
    // Its connection breaks after the first event. It has not received 2, which is evicted by now.
    assert_eq!(case.resume("a b", "e-1"), "@e-1-0, gap e-1-7 evicted, 4, @e-4-7, 5, @e-5-7, 6, @e-6-7, 8, 9, 10");
}

/// Returns own blocks as the bytes of their blocks.
fn bytes_of(own_blocks: Vec<OwnBlock>) -> String {
    let text = |own_block: OwnBlock| match own_block {
        OwnBlock::Position(block) | OwnBlock::Channel(block) | OwnBlock::Gap(block) => {
            String::from_utf8(block).expect("text")
        }
        OwnBlock::Event(_) => panic!("not a block of the hub"),
    };
    own_blocks.into_iter().map(text).collect()
}

fn first_block(settings: Settings, after: Option<&str>, first_block: FirstBlock) -> String {
    let mut case = Case::new(settings);
    case.publish_as("a", "", Some("mine"));
    case.publish("a a a a");
    let after = after.map(|id| id.as_bytes().into());
    let request = SubscribeRequest { topics: topics("a"), after, first_block, ..Default::default() };
    assert!(case.hub.subscribe(STREAM, &mut case.cursor, &request).is_none());
    bytes_of(case.hub.begin(&mut case.cursor))
}

#[test]
fn the_first_block_has_the_position_and_the_retry_in_the_form_of_the_request() {
    use PositionStyle::{Event, Id, None as Silent};
    for (position, retry, keeps_id, expected) in [
        (Event, None, false, "event: position\ndata: \nid: e-5\n\n"),
        (Event, Some(70), false, "event: position\nretry: 70\ndata: \nid: e-5\n\n"),
        (Event, Some(70), true, "event: position\nretry: 70\ndata: \n\n"),
        (Event, None, true, ""),
        (Id, None, false, "id: e-5\n\n"),
        (Id, Some(70), false, "retry: 70\nid: e-5\n\n"),
        (Id, Some(70), true, "retry: 70\n"),
        (Id, None, true, ""),
        (Silent, None, false, ""),
        (Silent, Some(70), false, "retry: 70\n"),
    ] {
        let block = first_block(settings(), None, FirstBlock { position, retry, keeps_id, ..FirstBlock::default() });
        assert_eq!(block, expected, "{position:?} {retry:?} {keeps_id}");
    }
}

#[test]
fn a_stream_whose_events_show_their_channels_is_told_so_before_anything_else() {
    let shown = "event: eventsource-hub\ndata: {\"show_channel\":\"data\"}\n\n";
    let form = |position| FirstBlock { position, shows_channels: true, ..FirstBlock::default() };
    let position = "event: position\ndata: \nid: e-5\n\n";
    assert_eq!(first_block(settings(), None, form(PositionStyle::Event)), format!("{shown}{position}"));
    assert_eq!(first_block(settings(), None, form(PositionStyle::None)), shown);
    let mut case = Case::new(settings());
    case.publish("a");
    let first_block = form(PositionStyle::Event);
    let request = SubscribeRequest { first_block, ..request("a", None, StartPoint::State) };
    assert!(case.hub.subscribe(STREAM, &mut case.cursor, &request).is_none());
    let both = "event: eventsource-hub\ndata: {\"show_channel\":\"data\",\"state\":true}\n\n";
    assert_eq!(bytes_of(case.hub.begin(&mut case.cursor)), both);
}

#[test]
fn no_publisher_can_say_the_word_of_the_hub() {
    for settings in [None, Some(&settings())] {
        let fields = [Field::Event(EventName::new(Text::from(HUB_EVENT)).unwrap())];
        let publication = Publication { channel: b"a", fields: fields.iter().copied(), ..Publication::default() };
        assert_eq!(publication.check(settings).unwrap_err().field.as_deref(), Some("event"));
    }
}

#[test]
fn a_list_of_channels_has_each_of_them_once_however_many_parts_it_has() {
    let mut case = Case::new(settings());
    case.publish("a b/1 b/2 b/3 c b/4 b/5 b/1 \0own");
    case.subscribe("b/1 b/*", None, StartPoint::Latest);
    let list = |pattern: &[u8]| {
        let (mut from, mut channels, mut parts) = (Some(0), Vec::new(), 0);
        while let Some(at) = from {
            let page = case.hub.channel_page(pattern, at, case.now);
            assert!(page.channels.len() <= 3 && page.next.map_or(true, |next| next > at), "{page:?}");
            channels.extend(page.channels);
            (from, parts) = (page.next, parts + 1);
        }
        let name = |channel: &ChannelCounts| String::from_utf8_lossy(&channel.name).into_owned();
        channels.sort_by_key(name);
        let line = |channel: &ChannelCounts| {
            format!("{} {} {} {}", name(channel), channel.subscribers, channel.events, channel.last_id)
        };
        (channels.iter().map(line).collect::<Vec<_>>().join(", "), parts)
    };
    let (all, parts) = list(b"");
    assert_eq!(all, "a 0 1 e-1, b/1 2 2 e-8, b/2 1 1 e-3, b/3 1 1 e-4, b/4 1 1 e-6, b/5 1 1 e-7, c 0 1 e-5");
    assert!(parts > 1);
    assert_eq!(list(b"b/4").0, "b/4 1 1 e-6");
    assert_eq!(case.hub.channel_page(b"", u64::MAX, case.now), ChannelPage::default());
}

#[test]
fn a_history_is_read_in_parts_as_of_the_first_one() {
    let mut case = Case::new(settings());
    case.publish("a b a a");
    let read = |hub: &Hub, range: LogRange| {
        let page = hub.log_page(b"a", range);
        let seqs: Vec<_> = page.events.iter().map(|event| String::from_utf8_lossy(&event.block).into_owned()).collect();
        (seqs.join(""), page.next, page.through)
    };
    let blocks = |seqs: &[u64]| -> String {
        seqs.iter()
            .map(|seq| String::from_utf8_lossy(event(&format!("e-{seq}")).bytes(Framing::Plain)).into_owned())
            .collect()
    };
    let range = LogRange::default();
    assert_eq!(read(&case.hub, range), (blocks(&[1, 3]), Some(3), 4));
    case.publish("a");
    assert_eq!(read(&case.hub, LogRange { after: 3, through: 4, ..range }), (blocks(&[4]), None, 4));
    assert_eq!(read(&case.hub, LogRange { last: 1, ..range }), (blocks(&[5]), None, 5));
    assert_eq!(read(&case.hub, LogRange { last: 3, ..range }), (blocks(&[3, 4]), Some(4), 5));
    assert_eq!(read(&case.hub, LogRange { after: u64::MAX, through: 1, ..range }), (String::new(), None, 1));
    assert_eq!(read(&case.hub, LogRange { is_state: true, ..range }), (String::new(), None, 5));
}

#[test]
fn a_key_that_changes_while_the_state_is_read_in_parts_comes_in_a_later_part() {
    let mut case = Case::new(settings());
    let retain = |hub: &mut Hub, key: &str| {
        let seq = hub.last_seq() + 1;
        let (channel, key) = (b"a"[..].into(), key.as_bytes().into());
        let event = event(&format!("e-{seq}"));
        hub.append(SequencedEvent { seq, channel, event, key, retain: Retain::Newest, has_custom_id: false }, case.now);
    };
    "x y z".split(' ').for_each(|key| retain(&mut case.hub, key));
    let read = |hub: &Hub, after: u64| {
        let page = hub.log_page(b"a", LogRange { is_state: true, after, ..LogRange::default() });
        let keys: Vec<_> = page.events.iter().map(|event| String::from_utf8_lossy(&event.key).into_owned()).collect();
        (keys.join(" "), page.next)
    };
    assert_eq!(read(&case.hub, 0), ("x y".into(), Some(2)));
    "z x".split(' ').for_each(|key| retain(&mut case.hub, key));
    assert_eq!(read(&case.hub, 2), ("z x".into(), None));
}

#[test]
fn a_stream_with_names_is_sent_a_comment_with_the_channel_before_each_event() {
    let mut case = Case::new(settings());
    case.publish("a b/1");
    let first_block = FirstBlock { names_channels: true, ..FirstBlock::default() };
    let request =
        SubscribeRequest { topics: topics("a b/*"), start: StartPoint::Oldest, first_block, ..Default::default() };
    case.hub.subscribe(STREAM, &mut case.cursor, &request);
    case.hub.begin(&mut case.cursor);
    case.publish("b/1");
    case.publish_as("b/x%\ny", "", None);
    let own_blocks = case.hub.copy_into_buffer(&mut case.cursor, usize::MAX);
    let names = own_blocks.iter().filter_map(|own_block| match own_block {
        OwnBlock::Channel(line) => Some(String::from_utf8_lossy(line).into_owned()),
        _ => None,
    });
    assert_eq!(names.collect::<String>(), ":channel a\n:channel b/1\n:channel b/1\n:channel b/x%25%0Ay\n");
    assert_eq!((own_blocks.len(), case.hub.counts().delivered), (8, 4));
}

#[test]
fn a_gap_says_whether_the_state_follows_also_if_it_has_an_id() {
    let mut case = Case::new(settings());
    case.publish("a b b b b");
    assert_eq!(case.start("b", Some("e-0"), StartPoint::State), ":state, :state gap  evicted");
    assert_eq!(case.sent(), "@e-5");
    assert_eq!(case.start("b", Some("e-0"), StartPoint::Latest), "@e-0-0, gap e-0-2 evicted, 3, 4, 5");
    assert_eq!(case.start("a", None, StartPoint::Latest), "@e-5");
    assert_eq!(case.subscribe("b", None, StartPoint::State), ":state gap e-5-0 unknown");
    assert_eq!(case.sent(), "@e-5");
    assert_eq!(case.sent(), "");
    case.publish("b b b b");
    assert_eq!(case.sent(), ":state gap  slow");
    assert_eq!(case.sent(), "@e-9");
    assert_eq!(case.start("a", None, StartPoint::Latest), "@e-9");
    case.publish("a a a a");
    assert_eq!(case.sent(), "gap e-9-10 slow, 11, 12, 13");
}

#[test]
fn a_gap_event_has_the_data_of_the_application_for_its_reason_and_the_id_last() {
    let data = GapData { evicted: "one\ntwo".into(), unknown: "what?".into(), slow: "slow".into() };
    let own = Settings { gap_data: Some(Box::new(data)), gap_event: "message".into(), ..settings() };
    let silent = FirstBlock { position: PositionStyle::None, ..FirstBlock::default() };
    let evicted = first_block(own.clone(), Some("e-1"), silent);
    assert_eq!(evicted, "event: message\ndata: one\ndata: two\nid: e-1-2\n\n");
    assert_eq!(first_block(own, Some("?"), silent), "event: message\ndata: what?\nid: e-5\n\n");
    let standard = first_block(settings(), Some("e-1"), silent);
    assert_eq!(standard, "event: gap\ndata: {\"reason\":\"evicted\"}\nid: e-1-2\n\n");
}

#[test]
fn a_quiet_stream_is_sent_its_position_only_if_it_has_advanced_past_an_id_of_the_hub() {
    let mut case = Case::new(settings());
    let quiet = |case: &mut Case| case.hub.quiet_block(&mut case.cursor).map(|block| words(&block));
    assert_eq!(case.start("a", None, StartPoint::Latest), "@e-0");
    assert_eq!(quiet(&mut case), None, "the first block was the position");
    case.publish("a");
    assert_eq!(quiet(&mut case), None, "the stream is still to be sent an event");
    assert_eq!((case.sent(), quiet(&mut case)), ("1".into(), None), "the id of the event is the position");
    case.publish("b");
    assert_eq!(quiet(&mut case).as_deref(), Some("@e-2"));
    assert_eq!(quiet(&mut case), None, "a position is sent once");
    case.publish_as("a", "", Some("mine"));
    case.publish("b");
    let sent = (case.sent(), quiet(&mut case));
    assert_eq!(sent, ("mine".into(), Some("@e-4".into())), "a position replaces an id of the application");
    case.publish("a b");
    assert_eq!((case.sent(), quiet(&mut case)), ("5".into(), Some("@e-6".into())));
    case.cursor.record_pushed_id();
    case.publish("b");
    assert_eq!(quiet(&mut case), None, "an id that was pushed to the stream stays");
}

#[test]
fn the_last_block_of_a_stream_has_the_retry_and_a_position_that_has_advanced() {
    let mut case = Case::new(settings());
    let last = |case: &mut Case| case.hub.last_block(&mut case.cursor, 70).map(|block| vec![OwnBlock::Position(block)]);
    case.start("a", None, StartPoint::Latest);
    assert_eq!(last(&mut case).map(bytes_of).as_deref(), Some("retry: 70\n\n"), "no event");
    case.publish("b");
    assert_eq!(last(&mut case).map(bytes_of).as_deref(), Some("event: position\nretry: 70\ndata: \nid: e-1\n\n"));
}

#[test]
fn positions_in_a_replay_follow_each_event_through_the_gap() {
    let mut case = Case::new(settings());
    case.publish_as("b", "", Some("mine"));
    case.publish("b a a a a");
    // The client knows the gap of `a` through 3, also after an event with an id of the application.
    assert_eq!(case.resume("a b", "e-0"), "@e-0-0, gap e-0-3 evicted, mine, @e-1-3, 2, @e-2-3, 4, 5, 6");
    assert_eq!(case.resume("a b", "e-1-3"), "@e-1-3, 2, @e-2-3, 4, 5, 6");
    assert_eq!(case.resume("a b", "e-2-3"), "@e-2-3, 4, 5, 6");
    assert_eq!(case.resume("a b", "mine"), "@e-6-0, gap e-6 unknown", "an id of the application says no epoch");
}

#[test]
fn a_group_that_had_no_stream_begins_a_round_where_its_next_stream_is() {
    let gzip = BlockForm { coding: ContentCoding::Gzip, ..PLAIN };
    let mut case = Case::new(settings());
    case.start("a", None, StartPoint::Latest);
    case.publish("a");
    assert_eq!(case.hub.encode_next(&case.cursor, &gzip), NextEncoding::Joins(1));
    case.publish("a a");
    case.start("a", None, StartPoint::Latest);
    case.publish("a");
    assert_eq!(case.hub.encode_next(&case.cursor, &gzip), NextEncoding::Joins(2));
    assert_eq!(case.sent(), "4");
}

#[test]
fn the_oldest_snapshot_is_dropped_when_too_much_is_kept_and_its_stream_begins_with_the_state_again() {
    let mut case = Case::new(settings());
    let publish = |case: &mut Case, key: u8, retain| {
        let seq = case.hub.last_seq() + 1;
        let filler = "x".repeat(if retain == Retain::Forget { 1 } else { 5000 });
        let event = Shared::of(format!("data: x\nid: e-{seq}\n: {filler}\n\n"));
        let (channel, key) = (b"a"[..].into(), [key].into());
        case.hub.append(SequencedEvent { seq, channel, event, key, retain, has_custom_id: false }, case.now);
        assert!(case.hub.evict(case.now, &[]).is_ok());
    };
    (0..30).for_each(|key| publish(&mut case, key, Retain::Newest));
    assert!(case.hub.subscribe(STREAM, &mut case.cursor, &request("a", None, StartPoint::State)).is_none());
    assert_eq!(in_words(case.hub.begin(&mut case.cursor)), ":state");
    for key in 0..30 {
        publish(&mut case, key, Retain::Newest);
        assert!(!case.hub.is_lagging(&case.cursor), "all of the state is kept for the stream");
    }
    assert!(case.hub.snapshots.bytes > 150_000);
    (1..30).for_each(|key| publish(&mut case, key, Retain::Forget));
    assert_eq!(case.hub.snapshots.bytes, 0, "what is kept is bounded by what the logs hold");
    let own_blocks = case.hub.catch_up(&mut case.cursor).expect("it continues");
    assert_eq!(in_words(own_blocks), ":state gap  slow");
    assert_eq!((case.sent(), case.sent()), ("31".into(), "@e-89".into()));
    assert!(
        !case.hub.snapshots.kept.is_empty(),
        "the stream does not lag before it is told that the state is complete"
    );
    assert_eq!(case.sent(), "");
    assert!(case.hub.snapshots.kept.is_empty() && case.hub.snapshots.channels().is_empty());
}

#[test]
fn a_hub_that_was_handed_over_has_the_same_history_state_and_gaps() {
    for on_slow in [OnSlow::Gap, OnSlow::Latest] {
        let settings = || Settings { on_slow, ..settings() };
        let mut case = Case::new(settings());
        case.publish("gone a");
        case.publish_stored(3, case.now, "a", "retained", None);
        case.publish_as("a", "", Some("custom"));
        let retained = SequencedEvent {
            seq: 5,
            channel: b"b"[..].into(),
            event: event("e-5"),
            key: b"key"[..].into(),
            retain: Retain::Newest,
            has_custom_id: false,
        };
        case.hub.append(retained, case.now);
        case.publish("a a a b b b b");
        case.hub.streams_to_end(&EndRequest { labels: vec![b"user/8"[..].into()], ..EndRequest::default() }, 1, 0);
        let mut next = Case::of(Hub::stored(Epoch::new("e", None), settings(), &case.hub.history()));
        for (channel, entry) in case.hub.entries() {
            let crate::log::LogEntry { seq, at, event, key, retain, has_custom_id, .. } = entry.clone();
            next.hub.append(SequencedEvent { seq, channel: channel.into(), event, key, retain, has_custom_id }, at);
        }
        assert!(next.hub.evict(case.now, &[]).is_ok());
        assert_eq!(next.hub.history().last_seq, case.hub.last_seq());
        assert_eq!(next.hub.counts().keys, case.hub.counts().keys);
        for case in [&mut case, &mut next] {
            assert_eq!(case.resume("a b gone", "e-12"), "@e-12");
            assert!(case.resume("a", "e-1").starts_with("@e-1-0, gap e-1-"), "{on_slow:?}");
            assert!(case.resume("b", "e-9").ends_with("10, 11, 12"));
            assert_eq!(case.start("b", None, StartPoint::State), ":state, 5");
        }
        let all = |case: &Case| case.hub.entries().into_iter().map(|(_, entry)| entry.seq).collect::<Vec<_>>();
        assert_eq!(all(&next), all(&case), "{on_slow:?}");
    }
}
