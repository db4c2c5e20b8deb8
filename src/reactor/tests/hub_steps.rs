//! The random steps of the hub model: a hub in a reactor, and clients that do anything.

use super::hub_client::{Connection, EventSource, HEAD};
use super::hub_naive::{Naive, EPOCH};
use super::*;
use crate::event::Shared;
use crate::hub::{
    Epoch, FirstBlock, OnSlow, PositionStyle, Publication, Settings as HubSettings, Start, SubscribeRequest, Topic,
};
use crate::log::Bounds;
use fastrand::Rng;

pub(super) const HUB: HubId = 0;
const OTHER_HUB: HubId = 1;
pub(super) const SOURCES: usize = 5;
const CHANNELS: [&str; 6] = ["news/a", "news/b", "news/a/b", "chat", "user/1", "x"];
const PATTERNS: [&str; 6] = ["news/*", "news/**", "**", "*", "user/*", "none/*"];
const KEYS: [&str; 3] = ["", "k", "l"];
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
    /// Whether streams subscribe and unsubscribe after their beginning.
    is_changing: bool,
}

fn bounds(rng: &mut Rng, events: &[usize], bytes: &[usize], is_total: bool) -> Bounds {
    let ages =
        [Duration::ZERO, Duration::from_secs(3), Duration::from_secs(20), Duration::from_secs(10_000), Duration::MAX];
    let most_ages = ages.len() - usize::from(is_total); // at the end everything has to expire
    Bounds { events: any(rng, events), bytes: any(rng, bytes), age: any(rng, &ages[..most_ages]) }
}

fn any<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
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

fn event(seq: u64, id: &str, bytes: usize) -> Shared {
    let text = format!("data: {seq} {}\nid: {id}\n\n", "x".repeat(bytes));
    Shared::write(text.len(), |out| {
        out.copy_from_slice(text.as_bytes());
        text.len()
    })
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let history = bounds(&mut rng, &[0, 1, 2, 3, 5, 20, usize::MAX], &[0, 1, 200, 10_000, usize::MAX], false);
        let total_history = bounds(&mut rng, &[0, 4, 10, 100, 100, usize::MAX], &[0, 1, 500, 10_000, usize::MAX], true);
        let on_slow = any(&mut rng, &[OnSlow::Disconnect, OnSlow::Gap, OnSlow::Latest]);
        let hub = HubSettings { on_slow, ..HubSettings::new(history, total_history) };
        let is_changing = rng.bool();
        let mut world = World::new();
        for name in [HUB, OTHER_HUB] {
            world.apply(Command::CreateHub {
                hub: name,
                epoch: Epoch::new(EPOCH, None),
                settings: Box::new(hub.clone()),
                history: None,
            });
        }
        let neighbour = Self::open_neighbour(&mut world);
        Self {
            rng,
            world,
            neighbour,
            published_to_other_hub: 0,
            seen_of_other_hub: 0,
            naive: Naive::new(hub),
            sources: (0..SOURCES).map(|_| EventSource::default()).collect(),
            left_unreported: Vec::new(),
            pushed: 0,
            resumed_streams: 0,
            custom_ids: 0,
            is_drained: false,
            is_changing,
        }
    }

    fn open_neighbour(world: &mut World) -> usize {
        let stream = world.open(Settings { keepalive: None, ..settings() }, "");
        world.records[stream].is_subscribed = true;
        let topics = vec![Topic::Pattern((*b"**").into())];
        let request =
            Box::new(SubscribeRequest { topics, after: None, start: Start::Latest, first_block: Default::default() });
        world.apply(Command::Subscribe { hub: OTHER_HUB, stream: world.records[stream].id, request, holds: false });
        stream
    }

    fn publish_to_other_hub(&mut self) {
        self.published_to_other_hub += 1;
        let seq = self.published_to_other_hub;
        let event = event(seq, &format!("{EPOCH}-{seq}"), 1);
        let channel = any(&mut self.rng, &CHANNELS).as_bytes().into();
        let publication = Box::new(Publication { seq, channel, event, key: (*b"").into(), id: None });
        self.world.apply(Command::Publish { hub: OTHER_HUB, publication });
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
            (54..=56, _) => self.report_left(),
            (57..=98, None) => self.connect(source),
            (57..=62, Some(_)) => self.leave(source),
            (63..=74, Some(stream)) => self.script_socket(stream),
            (75..=84, Some(stream)) => self.free_socket(stream),
            (85..=87, Some(_)) if self.is_changing => self.subscribe_more(source),
            (88..=90, Some(stream)) if self.is_changing => self.unsubscribe(source, stream),
            (91..=95, Some(stream)) => self.push(stream),
            (96, Some(stream)) => self.end(source, stream),
            (97, Some(stream)) => self.subscribe_to_other_hub(stream),
            (98, Some(stream)) => self.world.apply(Command::Refuse { stream: self.world.records[stream].id }),
            _ => self.let_all_read(),
        }
        self.update_held();
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
            let seq = self.naive.newest() + 1;
            let channel = any(&mut self.rng, &CHANNELS);
            let key = self.rng.usize(..KEYS.len());
            let custom_id = (self.rng.u8(..10) == 0).then(|| format!("custom_id {}", self.custom_ids));
            self.custom_ids += 1;
            let id = custom_id.clone().unwrap_or_else(|| format!("{EPOCH}-{seq}"));
            let event = event(seq, &id, any(&mut self.rng, &[1, 20, 150]));
            let bytes = event.len() + KEYS[key].len();
            self.naive.publish(channel, key as u8, id, bytes, self.world.now);
            for number in 0..SOURCES {
                let stream = self.sources[number].connection.as_ref().map(|connection| connection.stream);
                let is_subscribed =
                    stream.map_or(false, |stream| self.has_subscription(stream) && !self.is_ending(stream));
                if let Some(connection) = self.sources[number].connection.as_mut().filter(|_| is_subscribed) {
                    connection.published(channel, seq);
                }
            }
            let (channel, key) = (channel.as_bytes().into(), KEYS[key].as_bytes().into());
            let id = custom_id.map(|id| id.into_bytes().into());
            let publication = Box::new(Publication { seq, channel, event, key, id });
            self.world.apply(Command::Publish { hub: HUB, publication });
        }
    }

    pub(super) fn has_subscription(&mut self, stream: usize) -> bool {
        let id = self.world.records[stream].id;
        let subscription = self.world.reactor.record(id).and_then(|entry| entry.subscription.as_deref());
        subscription.map_or(false, |subscription| !subscription.is_finished())
    }

    /// Returns true if a stream is ending or has ended.
    fn is_ending(&mut self, stream: usize) -> bool {
        let id = self.world.records[stream].id;
        self.world.reactor.record(id).map_or(true, |entry| entry.stream.ending().is_some())
    }

    pub(super) fn turn(&mut self) {
        // In the order of the reactor: first what is due, then sending.
        self.begin_held();
        let events = self.events_in_logs();
        self.world.reactor.run_due(self.world.now);
        // A busy reactor expires entries only after it has evicted others, of which it compacts some. Each order is right.
        if self.events_in_logs() < events {
            self.naive.expire(self.world.now);
        }
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

    /// Returns the number of events that the hub holds.
    fn events_in_logs(&mut self) -> u64 {
        self.world.reactor.hubs.get_mut(HUB).map_or(0, |hub| hub.counts().events)
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
        let settings = Settings { framing, line_end, keepalive, timeout, max_buffered, drop_oldest, ..settings() };
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
        let mut connection = Connection::new(stream, framing);
        connection.keeps_up = client.is_some();
        let first_block = FirstBlock {
            position: any(&mut self.rng, &[PositionStyle::Event, PositionStyle::Id, PositionStyle::None]),
            retry: any(&mut self.rng, &[None, Some(1234)]),
            keeps_id: self.rng.u8(..10) == 0,
            names_channels: false,
        };
        connection.first_block = first_block;
        self.sources[source].connection = Some(connection);
        if is_slow {
            self.script_socket(stream);
        }
        let start = self.start();
        let again = if self.is_changing { any(&mut self.rng, &[0, 0, 0, 1, 2]) } else { 0 };
        for number in 0..=again {
            let topics = topics(&mut self.rng);
            self.subscribe(source, SubscribeRequest { topics, after: after.clone(), start, first_block }, again > 0);
            match self.rng.u8(..8) {
                _ if number == again => {}
                0 => self.publish(),
                1 => self.turn(),
                2 => self.unsubscribe(source, stream),
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
                if !subscription.map_or(false, |subscription| subscription.is_held()) {
                    self.sources[number].begin(&self.naive);
                }
            }
        }
    }

    /// Lets held subscriptions take effect that are due, or that an eviction would harm.
    fn begin_held(&mut self) {
        self.world.reactor.begin_held(self.world.now);
        self.world.reactor.begin_before_eviction(self.world.now);
        self.update_held();
    }

    pub(super) fn start(&mut self) -> Start {
        any(
            &mut self.rng,
            &[Start::Latest, Start::Latest, Start::Oldest, Start::Last(0), Start::Last(1), Start::Last(5)],
        )
    }

    pub(super) fn invented_id(&mut self) -> String {
        let newest = self.naive.newest();
        let known = self.rng.u64(..=newest);
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
        let is_held = self.sources.iter().flat_map(|source| &source.connection).any(|of| of.is_held());
        let has_grown = self.world.reactor.hubs.get_mut(hub).map_or(false, |hub| hub.has_grown());
        if has_grown || is_held {
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
        let entry = self.world.reactor.record(id);
        let (is_open, buffered) = entry.map_or((false, 0), |entry| {
            let ends = entry.stream.ending().is_some();
            (!ends, entry.stream.buffered_bytes())
        });
        if is_open && !self.is_drained {
            self.naive.expire(self.world.now);
            let is_first = !self.has_subscription(stream);
            self.resumed_streams += u64::from(is_first && request.after.is_some());
            let is_held = self.sources[source].connection.as_ref().map_or(false, |connection| connection.is_held());
            if is_held || (is_first && holds) {
                self.sources[source].hold(&request, &self.naive);
            } else if self.sources[source].connection.as_ref().map_or(false, |connection| connection.is_subscribed) {
                let client = self.world.records[stream].client.map(|_| self.world.client(stream));
                let sent = client.map_or(0, |client| client.taken_bytes + client.received.len());
                let from_byte = sent + buffered;
                self.sources[source].join(&request, from_byte, is_first, &self.naive);
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
            1 => Some(format!("{EPOCH}-{}", self.rng.u64(..=self.naive.newest()))),
            _ => None,
        };
        let after = after.map(|id| id.into_bytes().into());
        let request = SubscribeRequest {
            topics: topics(&mut self.rng),
            after,
            start: self.start(),
            first_block: Default::default(),
        };
        self.subscribe(source, request, false);
    }

    pub(super) fn subscribe_to_other_hub(&mut self, stream: usize) {
        let of_stream = |connection: &&Connection| connection.stream == stream;
        let mut connections = self.sources.iter().flat_map(|source| &source.connection);
        let is_subscribed = connections.find(of_stream).map_or(false, |connection| !connection.topics.is_empty());
        if is_subscribed && self.has_subscription(stream) {
            self.flush(OTHER_HUB);
            let request = SubscribeRequest {
                topics: topics(&mut self.rng),
                after: None,
                start: Start::Oldest,
                first_block: Default::default(),
            };
            let stream = self.world.records[stream].id;
            self.world.apply(Command::Subscribe { hub: OTHER_HUB, stream, request: Box::new(request), holds: false });
        }
    }

    pub(super) fn unsubscribe(&mut self, source: usize, stream: usize) {
        let some = topics(&mut self.rng);
        // A later subscription to the same topics counts as a new one.
        let topics = Some(some).filter(|_| self.rng.bool());
        self.flush(HUB);
        let connection = self.sources[source].connection.as_mut().expect("a connected source");
        connection.unsubscribe(topics.as_deref());
        let stream = self.world.records[stream].id;
        self.world.apply(Command::Unsubscribe { stream, topics: topics.map(Into::into) });
        self.update_held();
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
        let ending = any(&mut self.rng, &[Ending::Flush, Ending::HandOver, Ending::Discard]);
        let connection = self.sources[source].connection.as_mut().expect("a connected source");
        connection.is_cut |= ending == Ending::Discard;
        self.world.end(stream, Reason::Application, ending);
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
