//! The random steps of the hub model: a hub in a reactor, and clients that do anything.

use super::hub_client::{Connection, EventSource, HEAD};
use super::hub_naive::{Naive, EPOCH};
use super::hub_world::{publish_event, subscribe_at};
use super::*;
use crate::compression::ContentCoding;
use crate::event::Shared;
use crate::hub::{
    Access, Call, ChannelSettings, Counts, EndRequest, Epoch, FirstBlock, History, OnSlow, OtherStart, Poll,
    PollReason, PositionStyle, Question, Retain, Retention, SequencedEvent, Settings as HubSettings, StartPoint,
    SubscribeRequest, Topic,
};
use crate::log::Bounds;
use fastrand::Rng;
use std::collections::BTreeMap;

pub(super) const HUB: HubId = 0;
const OTHER_HUB: HubId = 1;
pub(super) const SOURCES: usize = 5;
pub(super) const CHANNELS: [&str; 6] = ["news/a", "news/b", "news/a/b", "chat", "user/1", "x"];
const PATTERNS: [&str; 6] = ["news/*", "news/**", "**", "*", "user/*", "none/*"];
const KEYS: [&str; 3] = ["", "k", "l"];

/// Where the sequence numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbering {
    /// The hub itself: 1, 2, ...
    Dense,
    /// The same with holes. No hub has them without a store; it makes nothing else of them.
    Sparse,
    /// A store, with which another hub continues when the hub ends.
    Stored,
}

pub(super) struct Run {
    pub(super) rng: Rng,
    pub(super) world: World,
    pub(super) naive: Naive,
    pub(super) sources: Vec<EventSource>,
    /// Streams whose clients have left without a report to the reactor.
    pub(super) left_unreported: Vec<usize>,
    pub(super) pushed: u64,
    pub(super) resumed_streams: u64,
    pub(super) custom_ids: u64,
    pub(super) is_drained: bool,
    /// A stream of another hub. Its client takes everything.
    pub(super) neighbour: usize,
    pub(super) published_to_other_hub: u64,
    pub(super) seen_of_other_hub: u64,
    /// True if streams subscribe several times.
    is_changing: bool,
    /// True if the settings of the hub change while it has streams.
    has_new_settings: bool,
    numbering: Numbering,
    /// The ages of stored events, in seconds. One that has expired already hides what a hub knows of others.
    lates: &'static [u64],
    /// The evictions that the store knows.
    stored: BTreeMap<&'static str, u64>,
    /// The counters of the hubs before this one.
    pub(super) past: Counts,
}

/// Returns the retention of channels, and that of the hub.
fn histories(rng: &mut Rng) -> [Bounds; 2] {
    [
        bounds(rng, &[0, 1, 2, 3, 5, 20, usize::MAX], &[0, 1, 200, 10_000, usize::MAX], false),
        bounds(rng, &[0, 4, 10, 100, 100, usize::MAX], &[0, 1, 500, 10_000, usize::MAX], true),
    ]
}

/// Returns settings that differ for some channels. In half of the runs none does.
fn channel_settings(rng: &mut Rng, is_same: bool) -> Vec<ChannelSettings> {
    let most = if is_same { 0 } else { 3 };
    let of_channels = |_| {
        let patterns = if rng.bool() { CHANNELS } else { PATTERNS };
        let mut channels = ChannelSettings::new(any(rng, &patterns).as_bytes());
        let [Bounds { events, bytes, age }, _] = histories(rng);
        channels.events = Some(events).filter(|_| rng.bool());
        channels.bytes = Some(bytes).filter(|_| rng.bool());
        channels.age = Some(age).filter(|_| rng.bool());
        channels.on_slow = any(rng, &[None, Some(OnSlow::Disconnect), Some(OnSlow::Gap), Some(OnSlow::Latest)]);
        channels
    };
    (0..most).map(of_channels).collect()
}

fn bounds(rng: &mut Rng, events: &[usize], bytes: &[usize], is_total: bool) -> Bounds {
    let ages =
        [Duration::ZERO, Duration::from_secs(3), Duration::from_secs(20), Duration::from_secs(10_000), Duration::MAX];
    let most_ages = ages.len() - usize::from(is_total); // at the end everything has to expire
    Bounds { events: any(rng, events), bytes: any(rng, bytes), age: any(rng, &ages[..most_ages]) }
}

pub(super) fn any<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

fn topic(rng: &mut Rng) -> Topic {
    match rng.bool() {
        true => Topic::Channel(any(rng, &CHANNELS).as_bytes().into()),
        false => Topic::Pattern(any(rng, &PATTERNS).as_bytes().into()),
    }
}

fn topics(rng: &mut Rng) -> Vec<Topic> {
    (0..rng.usize(1..4)).map(|_| topic(rng)).collect()
}

/// Returns the labels of a client's streams.
fn labels(source: usize) -> Vec<Box<[u8]>> {
    vec![format!("source/{source}").into_bytes().into()]
}

fn event(seq: u64, id: &str, bytes: usize) -> Shared {
    let own = format!("id: {EPOCH}-{seq}\n\n");
    let text = format!("data: {seq} {}\nid: {id}\n\n", "x".repeat(bytes));
    Shared::of(if text.ends_with(&own) { text } else { text + &own })
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let [history, total_history] = histories(&mut rng);
        let on_slow = any(&mut rng, &[OnSlow::Disconnect, OnSlow::Gap, OnSlow::Latest]);
        let is_same = rng.bool();
        let channels = channel_settings(&mut rng, is_same);
        let mut hub = HubSettings { on_slow, ..HubSettings::new(history, total_history) };
        hub.retention.channels = channels;
        let has_new_settings = rng.u8(..4) == 0;
        let is_changing = rng.bool();
        let numbering = any(&mut rng, &[Numbering::Dense, Numbering::Sparse, Numbering::Stored, Numbering::Stored]);
        let is_stored = numbering == Numbering::Stored;
        let lates = any(&mut rng, &[&[0][..], &[0, 0, 0, 1, 4], &[0, 0, 0, 1, 4, 30, 1_000_000_000]]);
        let mut world = World::new();
        for name in [HUB, OTHER_HUB] {
            let history = History { epoch: EPOCH.into(), ..History::default() };
            world.apply(Command::CreateHub {
                hub: name,
                epoch: Epoch::new(EPOCH, None),
                settings: Box::new(hub.clone()),
                history: Some(Box::new(history)).filter(|_| is_stored && name == HUB),
            });
        }
        let neighbour = Self::open_neighbour(&mut world);
        let mut naive = Naive::new(hub, is_stored);
        naive.note_policies();
        Self {
            rng,
            world,
            neighbour,
            published_to_other_hub: 0,
            seen_of_other_hub: 0,
            naive,
            sources: (0..SOURCES).map(|_| EventSource::default()).collect(),
            left_unreported: Vec::new(),
            pushed: 0,
            resumed_streams: 0,
            custom_ids: 0,
            is_drained: false,
            is_changing,
            has_new_settings,
            numbering,
            lates,
            stored: BTreeMap::new(),
            past: Counts::default(),
        }
    }

    fn open_neighbour(world: &mut World) -> usize {
        let stream = world.open(Settings { keepalive: None, ..settings() }, "");
        let request = SubscribeRequest { topics: hub_world::topics(&["**"]), ..Default::default() };
        subscribe_at(world, OTHER_HUB, stream, request, false);
        stream
    }

    fn publish_to_other_hub(&mut self) {
        self.published_to_other_hub += 1;
        let seq = self.published_to_other_hub;
        let event = event(seq, &format!("{EPOCH}-{seq}"), 1);
        let channel = any(&mut self.rng, &CHANNELS);
        publish_event(&mut self.world, OTHER_HUB, seq, channel, event);
    }

    pub(super) fn step(&mut self) {
        let source = self.rng.usize(..SOURCES);
        let stream = self.sources[source].connection.as_ref().map(|connection| connection.stream);
        match (self.rng.usize(..100), stream) {
            (0..=29, _) => self.publish(),
            (30..=48, _) => self.turn(),
            (49, _) => {
                self.turn();
                self.world.upgrade();
            }
            (50..=53, _) => {
                let most = any(&mut self.rng, &[10, 1000, 30_000]);
                let time = Duration::from_millis(self.rng.u64(..most));
                self.advance(time);
            }
            (54, _) if self.has_new_settings => self.change_settings(),
            (54..=55, _) => self.report_left(),
            (56, _) if self.numbering == Numbering::Stored && self.rng.u8(..4) == 0 => self.restart(),
            (56, _) => self.report_left(),
            (57..=98, None) => self.connect(source),
            (57..=62, Some(_)) => self.leave(source),
            (63..=74, Some(stream)) => self.script_socket(stream),
            (75..=84, Some(stream)) => self.free_socket(stream),
            (85..=90, Some(_)) if self.is_changing => self.subscribe_more(source),
            (91..=95, Some(stream)) => self.push(stream),
            (96, Some(stream)) if self.rng.bool() => self.end(source, stream),
            (96, Some(stream)) => self.withdraw(source, stream),
            (97, Some(stream)) => self.subscribe_to_other_hub(stream),
            (98, Some(stream)) => self.world.apply(Command::Refuse { stream: self.world.records[stream].id }),
            _ => self.let_all_read(),
        }
        self.update_held();
    }

    /// Changes the settings of the hub that may change.
    fn change_settings(&mut self) {
        let [history, total_history] = histories(&mut self.rng);
        let is_same = self.rng.bool();
        let channels = channel_settings(&mut self.rng, is_same);
        let retention = Retention { history, total_history, channels, ..self.naive.settings.retention.clone() };
        self.world.apply(Command::SetRetention { hub: HUB, retention: Box::new(retention.clone()) });
        self.naive.change_settings(retention);
    }

    pub(super) fn publish(&mut self) {
        let count = match self.rng.u16(..2000) {
            0 => 1500, // more than one turn sends to a stream
            _ => any(&mut self.rng, &[1, 1, 1, 2, 10, 40]),
        };
        for _ in 0..count {
            if self.rng.u8(..4) == 0 {
                self.publish_to_other_hub();
            }
            let (channel, key) = (any(&mut self.rng, &CHANNELS), self.rng.usize(..KEYS.len()));
            let retain = any(&mut self.rng, &[Retain::No, Retain::No, Retain::Newest, Retain::Forget]);
            self.publish_one(channel, key, retain);
        }
    }

    /// Forgets everything that is retained.
    pub(super) fn forget_all(&mut self) {
        for channel in CHANNELS {
            (0..KEYS.len()).for_each(|key| self.publish_one(channel, key, Retain::Forget));
        }
    }

    /// Publishes an event. The clients of this model do not follow the state: it is all the same to them what is retained.
    fn publish_one(&mut self, channel: &'static str, key: usize, retain: Retain) {
        let seq = self.next_seq();
        let custom_id = (self.rng.u8(..10) == 0).then(|| format!("custom_id {}", self.custom_ids));
        self.custom_ids += 1;
        let id = custom_id.clone().unwrap_or_else(|| format!("{EPOCH}-{seq}"));
        let event = event(seq, &id, any(&mut self.rng, &[1, 20, 150]));
        let at = self.publication_time();
        let id = (id, custom_id.is_some());
        self.naive.publish(seq, Naive::event_of(channel, (key as u8, KEYS[key].len()), id, &event, at));
        for number in 0..SOURCES {
            let stream = self.sources[number].connection.as_ref().map(|connection| connection.stream);
            let is_subscribed = stream.map_or(false, |stream| self.has_subscription(stream) && !self.is_ending(stream));
            if let Some(connection) = self.sources[number].connection.as_mut().filter(|_| is_subscribed) {
                connection.published(channel, seq);
            }
        }
        let (channel, key) = (channel.as_bytes().into(), KEYS[key].as_bytes().into());
        let has_custom_id = custom_id.is_some();
        let event = Box::new(SequencedEvent { seq, channel, event, key, retain, has_custom_id });
        self.world.apply(match self.numbering {
            Numbering::Stored => Command::PublishStored { hub: HUB, event, at },
            _ => Command::Publish { hub: HUB, event },
        });
    }

    /// Returns the sequence number of the next event.
    fn next_seq(&mut self) -> u64 {
        let step = match self.numbering {
            Numbering::Dense => 1,
            _ => any(&mut self.rng, &[1, 1, 2, 7, 1 << 24]),
        };
        self.naive.newest() + step
    }

    /// Returns when the next event counts as published: a store may have got it before, and from a machine with another clock.
    fn publication_time(&mut self) -> Instant {
        let late = match self.numbering {
            Numbering::Stored => any(&mut self.rng, self.lates),
            _ => 0,
        };
        self.world.now.checked_sub(Duration::from_secs(late)).expect("a time")
    }

    /// Tells the store what the hub has evicted.
    fn report_evictions(&mut self) {
        self.run_until_idle();
        let dropped = self.naive.unforgotten();
        let evictions = self.world.ask(HUB, Question::TakeEvictions).evictions();
        self.run_until_idle();
        for (channel, through) in evictions.channels {
            let name = CHANNELS.into_iter().find(|name| name.as_bytes() == &*channel).expect("a channel");
            let known = self.stored.entry(name).or_default();
            *known = through.max(*known);
        }
        evictions.numbers.into_iter().for_each(|seq| assert!(self.naive.forget(seq), "{seq} is reported twice"));
        dropped.into_iter().for_each(|seq| _ = self.naive.forget(seq)); // the others are of the state, which is not modelled
    }

    /// The hub ends with all streams, perhaps before the store knows of all evictions. Another hub continues with the stored
    /// events.
    fn restart(&mut self) {
        if self.rng.bool() {
            self.report_evictions();
        }
        self.end_all_streams();
        let counts = self.world.reactor.hubs.get_mut(HUB).expect("the hub exists").counts();
        assert_eq!(counts.streams, 0);
        if self.rng.bool() {
            self.report_evictions();
        }
        self.past.delivered += counts.delivered;
        self.past.gaps += counts.gaps;
        self.past.disconnected += counts.disconnected;
        self.resumed_streams = 0;
        self.world.apply(Command::CloseHub { hub: HUB });
        assert!(self.world.reactor.hubs.get_mut(HUB).is_none());
        let is_merged = self.rng.u8(..8) == 0;
        let history = Some(Box::new(self.naive.restart(&self.stored, is_merged)));
        let (epoch, settings) = (Epoch::new(EPOCH, None), Box::new(self.naive.settings.clone()));
        self.world.apply(Command::CreateHub { hub: HUB, epoch, settings, history });
        for seq in self.naive.present() {
            let of = self.naive.event(*seq);
            let (channel, key) = (of.channel.as_bytes().into(), KEYS[usize::from(of.key)].as_bytes().into());
            let event = Box::new(SequencedEvent {
                seq: *seq,
                channel,
                event: of.block.clone(),
                key,
                retain: Default::default(),
                has_custom_id: of.has_custom_id,
            });
            self.world.apply(Command::PublishStored { hub: HUB, event, at: of.at });
        }
        if self.rng.bool() {
            self.turn();
        }
    }

    /// Lets all clients of the hub leave.
    fn end_all_streams(&mut self) {
        for source in 0..SOURCES {
            if self.sources[source].connection.is_some() {
                self.leave(source);
            }
        }
        self.left_unreported.clear();
        for stream in 0..self.world.records.len() {
            if stream != self.neighbour && !self.world.records[stream].is_closed {
                if self.world.records[stream].client.is_none() {
                    self.world.attach(stream);
                }
                self.left_unreported.push(stream);
            }
        }
        while !self.left_unreported.is_empty() {
            self.report_left();
        }
        self.run_until_idle();
    }

    pub(super) fn has_subscription(&mut self, stream: usize) -> bool {
        let id = self.world.records[stream].id;
        let subscription = self.world.reactor.record(id).and_then(|entry| entry.subscription.as_deref());
        subscription.map_or(false, |subscription| !subscription.is_finished())
    }

    /// Returns true if a stream is ending or has ended.
    fn is_ending(&mut self, stream: usize) -> bool {
        let id = self.world.records[stream].id;
        self.world.reactor.record(id).map_or(true, |entry| entry.stream.ending.is_some())
    }

    pub(super) fn turn(&mut self) {
        // In the order of the reactor: first what is due, then sending.
        self.begin_held();
        self.world.turn();
        self.update_held();
        self.naive.evict(self.world.now);
        self.check();
        self.check_neighbour();
        for source in 0..SOURCES {
            if self.rng.bool() {
                self.read(source);
            }
        }
    }

    pub(super) fn run_until_idle(&mut self) {
        self.turn();
        while self.world.reactor.is_busy() {
            self.turn();
        }
    }

    /// Advances the time as [`World::advance`] does, and checks each turn.
    pub(super) fn advance(&mut self, time: Duration) {
        self.run_until_idle();
        let until = self.world.now + time;
        while let Some(due) = self.world.reactor.next_due().filter(|due| *due <= until) {
            self.world.now = self.world.now.max(due);
            let before = self.world.reactor.next_due();
            self.run_until_idle();
            assert!(self.world.reactor.next_due() != before, "fire has done what was due");
        }
        self.world.now = until;
    }

    pub(super) fn connect(&mut self, source: usize) {
        let framing = any(&mut self.rng, &[Framing::Plain, Framing::Chunked]);
        let keepalive = any(&mut self.rng, &[None, Some(Duration::from_secs(5))]);
        let timeout = Duration::from_secs(any(&mut self.rng, &[2, 60, 3600]));
        // Full buffers are tested in `subscriptions`. Here only the hub ends streams as slow.
        let drop_oldest = !self.is_changing && self.rng.bool();
        let max_buffered = if drop_oldest { 60 } else { usize::MAX };
        let line_end = any(&mut self.rng, &[LineEnd::Lf, LineEnd::Lf, LineEnd::CrLf]);
        let coding = any(&mut self.rng, ContentCoding::ALL);
        let settings =
            Settings { framing, coding, line_end, keepalive, timeout, max_buffered, drop_oldest, ..settings() };
        let client = (self.rng.u8(..10) > 0).then(|| self.world.new_client());
        let stream = self.world.open_as(settings, HEAD, client, false);
        self.world.records[stream].is_subscribed = true;
        let is_slow = self.rng.u8(..3) == 0;
        if self.rng.u8(..5) == 0 {
            self.turn();
        }
        let is_new = self.rng.u8(..10) == 0;
        let invented = (self.rng.u8(..10) == 0).then(|| self.invented_id());
        if is_new || invented.is_some() {
            self.sources[source] = EventSource::default();
        }
        let id = Some(self.sources[source].parser.last_event_id().to_owned()).filter(|id| !id.is_empty());
        let after = invented.or(id).map(|id| id.into_bytes().into());
        let mut connection = Connection::new(stream, framing, coding);
        connection.keeps_up = client.is_some();
        let mut first_block = FirstBlock {
            position: any(&mut self.rng, &[PositionStyle::Event, PositionStyle::Id, PositionStyle::None]),
            retry: any(&mut self.rng, &[None, Some(1234)]),
            keeps_id: self.rng.u8(..10) == 0,
            ..FirstBlock::default()
        };
        let wait = Duration::from_secs(any(&mut self.rng, &[0, 3, 30]));
        let poll = (self.rng.u8(..3) == 0).then_some(Poll { wait, reason: PollReason::Other });
        if poll.is_some() {
            connection.is_cut = true; // it ends by itself
            if first_block.position == PositionStyle::None {
                first_block.position = PositionStyle::Id;
            }
        }
        connection.first_block = first_block;
        self.sources[source].connection = Some(connection);
        if is_slow {
            self.script_socket(stream);
        }
        let start = self.start();
        let again = if self.is_changing { any(&mut self.rng, &[0, 0, 0, 1, 2]) } else { 0 };
        for number in 0..=again {
            let topics = topics(&mut self.rng);
            let access = Access { labels: labels(source), poll: poll.filter(|_| number == again), ..Access::default() };
            let other_starts = self.other_starts(topics.len());
            let request = SubscribeRequest {
                topics,
                after: after.clone(),
                start,
                other_starts,
                first_block,
                access,
                ..Default::default()
            };
            self.subscribe(source, request, again > 0);
            match self.rng.u8(..8) {
                _ if number == again => {}
                0 => self.publish(),
                1 => self.turn(),
                _ => {}
            }
            if self.sources[source].connection.is_none() {
                return; // one of these turns has ended the slow client's stream
            }
        }
        // Some handlers run longer than subscriptions are held.
        if again > 0 && self.rng.u8(..8) > 0 {
            self.world.apply(Command::BeginSubscription { stream: self.world.records[stream].id });
            self.update_held();
        }
    }

    /// Begins the connections whose held subscriptions have taken effect.
    pub(super) fn update_held(&mut self) {
        for number in 0..SOURCES {
            let held = self.sources[number].connection.as_ref().filter(|connection| connection.is_held());
            if let Some(stream) = held.map(|connection| connection.stream) {
                let id = self.world.records[stream].id;
                let subscription = self.world.reactor.record(id).and_then(|entry| entry.subscription.as_deref());
                if !subscription.map_or(false, |subscription| subscription.cursor.is_held()) {
                    self.sources[number].begin(&self.naive);
                }
            }
        }
    }

    /// Lets held subscriptions take effect that are due.
    fn begin_held(&mut self) {
        self.world.reactor.begin_held(self.world.now);
        self.update_held();
    }

    pub(super) fn start(&mut self) -> StartPoint {
        any(
            &mut self.rng,
            &[
                StartPoint::Latest,
                StartPoint::Latest,
                StartPoint::Oldest,
                StartPoint::Last(0),
                StartPoint::Last(1),
                StartPoint::Last(5),
            ],
        )
    }

    /// Returns where some of so many topics begin otherwise.
    fn other_starts(&mut self, topics: usize) -> Vec<OtherStart> {
        let others = (1..topics).filter(|_| self.rng.bool()).collect::<Vec<_>>();
        others.into_iter().map(|from| OtherStart { from, start: self.start() }).collect()
    }

    /// Returns the sequence number of any event, or 0.
    fn any_seq(&mut self) -> u64 {
        let seqs = self.naive.after(&[Topic::Pattern(b"**"[..].into())], 0, false);
        let at = self.rng.usize(..=seqs.len());
        at.checked_sub(1).map_or(0, |at| seqs[at])
    }

    pub(super) fn invented_id(&mut self) -> String {
        let newest = self.naive.newest();
        let any_seq = self.any_seq();
        let known = any(&mut self.rng, &[any_seq, any_seq, any_seq + 1, any_seq.saturating_sub(1)]).min(newest);
        let told = self.rng.u64(..=2 * newest);
        let ids = [
            String::new(),
            "nonsense".into(),
            format!("{EPOCH}-"),
            format!("{EPOCH}-{}", newest + 1),
            format!("{EPOCH}-{}", u64::MAX),
            format!("{EPOCH}-99999999999999999999"),
            format!("{EPOCH}-{known}-{told}-1"),
            format!("{EPOCH}-{known}-"),
            format!("other-{known}"),
            "\u{1f4a5}".repeat(1000),
            // Ids that the hub itself could have made.
            format!("{EPOCH}-{known}"),
            format!("{EPOCH}-{known}-{told}"),
            format!("{EPOCH}-{known}-0"),
            format!("{EPOCH}-{known}-{}", u64::MAX),
        ];
        ids[self.rng.usize(..ids.len())].clone()
    }

    /// Does what a command that depends on the log does first: all hubs send and evict, if the hub has new events.
    fn flush(&mut self, hub: HubId) {
        let now = self.world.now;
        if self.world.reactor.hubs.get_mut(hub).map_or(false, |hub| hub.is_eviction_due(now)) {
            self.begin_held();
            self.world.flush();
            self.update_held();
            self.naive.evict(self.world.now);
            self.check();
        }
    }

    pub(super) fn subscribe(&mut self, source: usize, request: SubscribeRequest, holds: bool) {
        self.flush(HUB);
        let connection = self.sources[source].connection.as_ref().expect("a connected source");
        let stream = connection.stream;
        let holds = holds && (connection.is_held() || !connection.is_subscribed);
        let id = self.world.records[stream].id;
        let is_open = self.world.reactor.record(id).map_or(false, |entry| entry.stream.ending.is_none());
        if is_open && !self.is_drained {
            let is_first = !self.has_subscription(stream);
            self.resumed_streams += u64::from(is_first && request.after.is_some());
            let is_held = self.sources[source].connection.as_ref().map_or(false, |connection| connection.is_held());
            if is_held || (is_first && holds) {
                self.sources[source].hold(&request, &self.naive);
            } else if self.sources[source].connection.as_ref().map_or(false, |connection| connection.is_subscribed) {
                self.sources[source].join(&request, &self.naive);
            } else {
                self.sources[source].hold(&request, &self.naive);
                self.sources[source].begin(&self.naive);
            }
        }
        self.world.apply(Command::Subscribe { hub: HUB, stream: id, request: Box::new(request), holds });
        self.update_held();
    }

    pub(super) fn subscribe_more(&mut self, source: usize) {
        let after = match self.rng.u8(..3) {
            0 => Some(self.invented_id()),
            1 => Some(format!("{EPOCH}-{}", self.any_seq())),
            _ => None,
        };
        let after = after.map(|id| id.into_bytes().into());
        let request =
            SubscribeRequest { topics: topics(&mut self.rng), after, start: self.start(), ..Default::default() };
        self.subscribe(source, request, false);
    }

    pub(super) fn subscribe_to_other_hub(&mut self, stream: usize) {
        let of_stream = |connection: &&Connection| connection.stream == stream;
        let mut connections = self.sources.iter().flat_map(|source| &source.connection);
        let is_subscribed = connections.find(of_stream).map_or(false, |connection| !connection.topics.is_empty());
        if is_subscribed && self.has_subscription(stream) {
            self.flush(OTHER_HUB);
            let request =
                SubscribeRequest { topics: topics(&mut self.rng), start: StartPoint::Oldest, ..Default::default() };
            let stream = self.world.records[stream].id;
            self.world.apply(Command::Subscribe { hub: OTHER_HUB, stream, request: Box::new(request), holds: false });
        }
    }

    pub(super) fn push(&mut self, stream: usize) {
        self.pushed += 1;
        let framing = self.world.records[stream].framing;
        let event = format!("data: pushed {}\r\n\r\n", self.pushed);
        if self.sources.iter().flat_map(|source| &source.connection).any(|of| of.stream == stream && of.is_subscribed) {
            // A handle begins before it pushes.
            self.world.apply(Command::BeginSubscription { stream: self.world.records[stream].id });
            self.update_held();
            self.world.push(stream, &framing.frame(event.as_bytes()));
        }
    }

    pub(super) fn end(&mut self, source: usize, stream: usize) {
        let ending = any(&mut self.rng, &[Ending::Flush, Ending::Transfer, Ending::Discard]);
        let connection = self.sources[source].connection.as_mut().expect("a connected source");
        connection.is_cut |= ending == Ending::Discard;
        self.world.end(stream, Reason::Application, ending);
    }

    /// Ends the streams of a client, whose label they have.
    fn withdraw(&mut self, source: usize, stream: usize) {
        self.flush(HUB);
        let is_ending = self.is_ending(stream);
        let connection = self.sources[source].connection.as_mut().expect("a connected source");
        connection.is_cut = true; // it is sent nothing more of the logs
        let request = EndRequest { labels: labels(source), ..EndRequest::default() };
        let ended = self.world.call(HUB, Call::EndStreams(request), 1).size().expect("a number");
        assert!(self.is_ending(stream), "a stream that is to end does");
        assert!(is_ending || ended > 0, "a stream that is ended counts");
        self.update_held();
    }

    /// Scripts what the client's socket takes from here on.
    pub(super) fn script_socket(&mut self, stream: usize) {
        if self.world.records[stream].client.is_none() {
            return;
        }
        let errors = [libc::EAGAIN, libc::EAGAIN, libc::EINTR, libc::ENOBUFS];
        let sends: Vec<_> = (0..self.rng.usize(1..4))
            .map(|_| if self.rng.u8(..3) == 0 { Err(any(&mut self.rng, &errors)) } else { Ok(self.rng.usize(1..150)) })
            .collect();
        let default_send = any(&mut self.rng, &[None, None, Some(Err(libc::EAGAIN)), Some(Ok(1)), Some(Ok(60))]);
        let of_stream = |connection: &&mut Connection| connection.stream == stream;
        let connections = self.sources.iter_mut().flat_map(|source| &mut source.connection);
        if let Some(connection) = connections.into_iter().find(of_stream) {
            connection.keeps_up = false;
        }
        let client = self.world.client(stream);
        client.sends.extend(sends);
        client.default_send = default_send;
    }

    /// Attaches the client's socket, or makes it writable.
    pub(super) fn free_socket(&mut self, stream: usize) {
        if self.world.records[stream].client.is_none() {
            if !self.world.records[stream].is_closed {
                self.world.attach(stream);
            }
            return;
        }
        if self.world.client(stream).is_watched && !self.world.client(stream).is_closed {
            self.world.client(stream).default_send = any(&mut self.rng, &[None, Some(Err(libc::EAGAIN)), Some(Ok(30))]);
            self.world.writable(stream);
        }
    }
}
