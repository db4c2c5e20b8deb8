//! A hub in a reactor, and clients that do anything at random.

use super::hub_client::{Connection, Visitor, HEAD};
use super::hub_naive::{Naive, EPOCH};
use super::*;
use crate::event::Shared;
use crate::hub::{Epoch, OnSlow, Publication, Request, Settings as HubSettings, Start, Topic};
use crate::log::Bounds;
use fastrand::Rng;

pub(super) const HUB: HubId = 0;
const OTHER_HUB: HubId = 1;
pub(super) const VISITORS: usize = 5;
const CHANNELS: [&str; 6] = ["news/a", "news/b", "news/a/b", "chat", "user/1", "x"];
const PATTERNS: [&str; 6] = ["news/*", "news/**", "**", "*", "user/*", "none/*"];
const KEYS: [&str; 3] = ["", "k", "l"];
pub(super) struct Run {
    pub(super) rng: Rng,
    pub(super) world: World,
    pub(super) naive: Naive,
    pub(super) visitors: Vec<Visitor>,
    /// Streams whose clients have left without the reactor's knowing.
    pub(super) deserted: Vec<usize>,
    pub(super) pushed: u64,
    pub(super) resumed: u64,
    pub(super) given_ids: u64,
    pub(super) is_drained: bool,
    /// A stream of another hub, whose client takes everything, and how much was published there.
    pub(super) neighbour: usize,
    pub(super) published_beside: u64,
    pub(super) seen_beside: u64,
    /// Whether streams follow more, or less, while they live.
    is_changing: bool,
}

fn bounds(rng: &mut Rng, events: &[usize], bytes: &[usize], is_in_all: bool) -> Bounds {
    let ages =
        [Duration::ZERO, Duration::from_secs(3), Duration::from_secs(20), Duration::from_secs(10_000), Duration::MAX];
    let most_ages = ages.len() - usize::from(is_in_all); // in the end all of it expires
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
    let text = format!("id: {id}\ndata: {seq} {}\n\n", "x".repeat(bytes));
    Shared::write(text.len(), |out| {
        out.copy_from_slice(text.as_bytes());
        text.len()
    })
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let hub = HubSettings {
            history: bounds(&mut rng, &[0, 1, 2, 3, 5, 20, usize::MAX], &[0, 1, 200, 10_000, usize::MAX], false),
            total_history: bounds(&mut rng, &[0, 4, 10, 100, 100, usize::MAX], &[0, 1, 500, 10_000, usize::MAX], true),
            on_slow: any(&mut rng, &[OnSlow::Disconnect, OnSlow::Gap, OnSlow::Newest]),
            gap_event: "gap".into(),
            opaque_ids: false,
        };
        let is_changing = rng.bool();
        let mut world = World::new();
        for name in [HUB, OTHER_HUB] {
            world.tell(Command::CreateHub {
                hub: name,
                epoch: Epoch::new(EPOCH, None),
                settings: Box::new(hub.clone()),
            });
        }
        let neighbour = Self::open_neighbour(&mut world);
        Self {
            rng,
            world,
            neighbour,
            published_beside: 0,
            seen_beside: 0,
            naive: Naive::new(hub),
            visitors: (0..VISITORS).map(|_| Visitor::default()).collect(),
            deserted: Vec::new(),
            pushed: 0,
            resumed: 0,
            given_ids: 0,
            is_drained: false,
            is_changing,
        }
    }

    fn open_neighbour(world: &mut World) -> usize {
        let stream = world.open(Settings { keepalive: None, ..settings() }, "");
        world.accounts[stream].follows = true;
        let topics = vec![Topic::Pattern((*b"**").into())];
        let request = Box::new(Request { topics, after: None, start: Start::Newest });
        world.tell(Command::Subscribe { hub: OTHER_HUB, stream: world.accounts[stream].id, request, holds: false });
        stream
    }

    fn publish_beside(&mut self) {
        self.published_beside += 1;
        let seq = self.published_beside;
        let event = event(seq, &format!("{EPOCH}-{seq}"), 1);
        let channel = any(&mut self.rng, &CHANNELS).as_bytes().into();
        let publication = Box::new(Publication { seq, channel, event, key: (*b"").into(), id: None });
        self.world.tell(Command::Publish { hub: OTHER_HUB, publication });
    }

    pub(super) fn step(&mut self) {
        let visitor = self.rng.usize(..VISITORS);
        let stream = self.visitors[visitor].connection.as_ref().map(|connection| connection.stream);
        match (self.rng.usize(..100), stream) {
            (0..=29, _) => self.publish(),
            (30..=49, _) => self.turn(),
            (50..=53, _) => {
                let most = any(&mut self.rng, &[10, 1000, 30_000]);
                let time = Duration::from_millis(self.rng.u64(..most));
                self.pass(time);
            }
            (54..=56, _) => self.desert(),
            (57..=98, None) => self.connect(visitor),
            (57..=62, Some(_)) => self.leave(visitor),
            (63..=74, Some(stream)) => self.script(stream),
            (75..=84, Some(stream)) => self.take(stream),
            (85..=87, Some(_)) if self.is_changing => self.follow_more(visitor),
            (88..=90, Some(stream)) if self.is_changing => self.unsubscribe(visitor, stream),
            (91..=95, Some(stream)) => self.push(stream),
            (96, Some(stream)) => self.end(visitor, stream),
            (97, Some(stream)) => self.follow_other_hub(stream),
            (98, Some(stream)) => self.world.tell(Command::Refuse { stream: self.world.accounts[stream].id }),
            _ => self.calm_down(),
        }
        self.see_who_has_begun();
    }

    pub(super) fn publish(&mut self) {
        let count = match self.rng.u16(..2000) {
            0 => 1500, // more than a stream is sent in a turn
            _ => any(&mut self.rng, &[1, 1, 1, 2, 10, 40]),
        };
        for _ in 0..count {
            if self.rng.u8(..4) == 0 {
                self.publish_beside();
            }
            let seq = self.naive.newest() + 1;
            let channel = any(&mut self.rng, &CHANNELS);
            let key = self.rng.usize(..KEYS.len());
            let given = (self.rng.u8(..10) == 0).then(|| format!("given {}", self.given_ids));
            self.given_ids += 1;
            let id = given.clone().unwrap_or_else(|| format!("{EPOCH}-{seq}"));
            let event = event(seq, &id, any(&mut self.rng, &[1, 20, 150]));
            let bytes = event.len() + KEYS[key].len();
            self.naive.publish(channel, key as u8, id, bytes, self.world.now);
            for number in 0..VISITORS {
                let stream = self.visitors[number].connection.as_ref().map(|connection| connection.stream);
                let follows = stream.map_or(false, |stream| self.follows(stream) && !self.ends(stream));
                if let Some(connection) = self.visitors[number].connection.as_mut().filter(|_| follows) {
                    connection.published(channel, seq);
                }
            }
            let (channel, key) = (channel.as_bytes().into(), KEYS[key].as_bytes().into());
            let id = given.map(|id| id.into_bytes().into());
            let publication = Box::new(Publication { seq, channel, event, key, id });
            self.world.tell(Command::Publish { hub: HUB, publication });
        }
    }

    pub(super) fn follows(&mut self, stream: usize) -> bool {
        let id = self.world.accounts[stream].id;
        let subscription = self.world.reactor.entry(id).and_then(|entry| entry.subscription.as_deref());
        subscription.map_or(false, |subscription| !subscription.is_finished())
    }

    /// Whether a stream is ending, or has ended.
    fn ends(&mut self, stream: usize) -> bool {
        let id = self.world.accounts[stream].id;
        self.world.reactor.entry(id).map_or(true, |entry| entry.stream.ending().is_some())
    }

    pub(super) fn turn(&mut self) {
        // As in the reactor: what is due first, then what is to be sent.
        self.begin_held();
        self.naive.expire(self.world.now);
        self.world.turn();
        self.see_who_has_begun();
        self.naive.forget(self.world.now);
        self.check();
        self.check_neighbour();
        for visitor in 0..VISITORS {
            if self.rng.bool() {
                self.read(visitor);
            }
        }
    }

    pub(super) fn settle(&mut self) {
        self.turn();
        while self.world.reactor.is_busy() {
            self.turn();
        }
    }

    /// As `World::pass`, with what is checked at each turn.
    pub(super) fn pass(&mut self, time: Duration) {
        self.settle();
        let until = self.world.now + time;
        while let Some(due) = self.world.reactor.next_due().filter(|due| *due <= until) {
            self.world.now = self.world.now.max(due);
            let before = self.world.reactor.next_due();
            self.settle();
            assert!(self.world.reactor.next_due() != before, "what was due is done");
        }
        self.world.now = until;
    }

    pub(super) fn connect(&mut self, visitor: usize) {
        let framing = any(&mut self.rng, &[Framing::Plain, Framing::Chunked]);
        let keepalive = any(&mut self.rng, &[None, Some(Duration::from_secs(5))]);
        let timeout = Duration::from_secs(any(&mut self.rng, &[2, 60, 3600]));
        // That as much waits as may is tested in `subscription`: here what ends for its being slow is what the hub says.
        let drop_oldest = !self.is_changing && self.rng.bool();
        let max_buffered = if drop_oldest { 60 } else { usize::MAX };
        let settings = Settings { framing, keepalive, timeout, max_buffered, drop_oldest, ..settings() };
        let client = (self.rng.u8(..10) > 0).then(|| self.world.new_client());
        let stream = self.world.open_as(settings, HEAD, client, false);
        self.world.accounts[stream].follows = true;
        let is_slow = self.rng.u8(..3) == 0;
        if self.rng.u8(..5) == 0 {
            self.turn();
        }
        let is_new = self.rng.u8(..10) == 0;
        let invented = (self.rng.u8(..10) == 0).then(|| self.invented_id());
        if is_new || invented.is_some() {
            self.visitors[visitor] = Visitor::default();
        }
        let id = Some(self.visitors[visitor].parser.last_event_id().to_owned()).filter(|id| !id.is_empty());
        let after = invented.or(id).map(|id| id.into_bytes().into());
        let mut connection = Connection::new(stream, framing);
        connection.keeps_up = client.is_some();
        self.visitors[visitor].connection = Some(connection);
        if is_slow {
            self.script(stream);
        }
        let start = self.start();
        let again = if self.is_changing { any(&mut self.rng, &[0, 0, 0, 1, 2]) } else { 0 };
        for number in 0..=again {
            let topics = topics(&mut self.rng);
            self.subscribe(visitor, Request { topics, after: after.clone(), start }, again > 0);
            match self.rng.u8(..8) {
                _ if number == again => {}
                0 => self.publish(),
                1 => self.turn(),
                2 => self.unsubscribe(visitor, stream),
                _ => {}
            }
            if self.visitors[visitor].connection.is_none() {
                return; // it was too slow in a turn of these
            }
        }
        // Some handlers go on for longer than a stream waits for them.
        if again > 0 && self.rng.u8(..8) > 0 {
            self.world.tell(Command::BeginSubscription { stream: self.world.accounts[stream].id });
            self.see_who_has_begun();
        }
    }

    /// What was asked for becomes effective when its handler returns, or before.
    pub(super) fn see_who_has_begun(&mut self) {
        for number in 0..VISITORS {
            let held = self.visitors[number].connection.as_ref().filter(|connection| connection.is_held());
            if let Some(stream) = held.map(|connection| connection.stream) {
                let id = self.world.accounts[stream].id;
                let subscription = self.world.reactor.entry(id).and_then(|entry| entry.subscription.as_deref());
                if !subscription.map_or(false, |subscription| subscription.is_opening()) {
                    self.visitors[number].begin(&self.naive);
                }
            }
        }
    }

    /// Streams that are held begin before something is evicted, and when it is time.
    fn begin_held(&mut self) {
        self.world.reactor.begin_held(self.world.now);
        self.world.reactor.begin_before_eviction(self.world.now);
        self.see_who_has_begun();
    }

    pub(super) fn start(&mut self) -> Start {
        any(
            &mut self.rng,
            &[Start::Newest, Start::Newest, Start::Oldest, Start::Last(0), Start::Last(1), Start::Last(5)],
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
            // And such as the hub would make.
            format!("{EPOCH}-{known}"),
            format!("{EPOCH}-{known}-{told}"),
            format!("{EPOCH}-{known}-0"),
            format!("{EPOCH}-{known}-{}", u64::MAX),
        ];
        ids[self.rng.usize(..ids.len())].clone()
    }

    /// What a hub does first when it is asked for something, if it has anything new: all hubs send, and forget.
    fn flush(&mut self, hub: HubId) {
        let is_held = self.visitors.iter().flat_map(|visitor| &visitor.connection).any(|of| of.is_held());
        let has_grown = self.world.reactor.hubs.get_mut(hub).map_or(false, |hub| hub.has_grown());
        if has_grown || is_held {
            self.begin_held();
            self.world.flush();
            self.see_who_has_begun();
            self.naive.forget(self.world.now);
            self.check();
        }
    }

    pub(super) fn subscribe(&mut self, visitor: usize, request: Request, holds: bool) {
        self.flush(HUB);
        let connection = self.visitors[visitor].connection.as_ref().expect("it is connected");
        let stream = connection.stream;
        let holds = holds && (connection.is_held() || !connection.follows);
        let id = self.world.accounts[stream].id;
        let entry = self.world.reactor.entry(id);
        let (is_open, buffered) = entry.map_or((false, 0), |entry| {
            let ends = entry.stream.ending().is_some();
            (!ends, entry.stream.buffered_bytes())
        });
        if is_open && !self.is_drained {
            self.naive.expire(self.world.now);
            let is_first = !self.follows(stream);
            self.resumed += u64::from(is_first && request.after.is_some());
            let is_held = self.visitors[visitor].connection.as_ref().map_or(false, |connection| connection.is_held());
            if is_held || (is_first && holds) {
                self.visitors[visitor].hold(&request, &self.naive);
            } else if self.visitors[visitor].connection.as_ref().map_or(false, |connection| connection.follows) {
                let client = self.world.accounts[stream].client.map(|_| self.world.client(stream));
                let sent = client.map_or(0, |client| client.taken_bytes + client.received.len());
                let from_byte = sent + buffered;
                self.visitors[visitor].join(&request, from_byte, &self.naive);
            } else {
                self.visitors[visitor].hold(&request, &self.naive);
                self.visitors[visitor].begin(&self.naive);
            }
        }
        self.world.tell(Command::Subscribe { hub: HUB, stream: id, request: Box::new(request), holds });
        self.see_who_has_begun();
    }

    pub(super) fn follow_more(&mut self, visitor: usize) {
        let after = match self.rng.u8(..3) {
            0 => Some(self.invented_id()),
            1 => Some(format!("{EPOCH}-{}", self.rng.u64(..=self.naive.newest()))),
            _ => None,
        };
        let after = after.map(|id| id.into_bytes().into());
        let request = Request { topics: topics(&mut self.rng), after, start: self.start() };
        self.subscribe(visitor, request, false);
    }

    pub(super) fn follow_other_hub(&mut self, stream: usize) {
        let of_stream = |connection: &&Connection| connection.stream == stream;
        let mut connections = self.visitors.iter().flat_map(|visitor| &visitor.connection);
        let is_subscribed = connections.find(of_stream).map_or(false, |connection| !connection.topics.is_empty());
        if is_subscribed && self.follows(stream) {
            self.flush(OTHER_HUB);
            let request = Request { topics: topics(&mut self.rng), after: None, start: Start::Oldest };
            let stream = self.world.accounts[stream].id;
            self.world.tell(Command::Subscribe { hub: OTHER_HUB, stream, request: Box::new(request), holds: false });
        }
    }

    pub(super) fn unsubscribe(&mut self, visitor: usize, stream: usize) {
        let some = topics(&mut self.rng);
        // What it follows no longer it may begin to follow again, as if it were its first.
        let topics = Some(some).filter(|_| self.rng.bool());
        self.flush(HUB);
        let connection = self.visitors[visitor].connection.as_mut().expect("it is connected");
        connection.unsubscribe(topics.as_deref());
        let stream = self.world.accounts[stream].id;
        self.world.tell(Command::Unsubscribe { stream, topics: topics.map(Into::into) });
        self.see_who_has_begun();
    }

    pub(super) fn push(&mut self, stream: usize) {
        self.pushed += 1;
        let framing = self.world.accounts[stream].framing;
        let event = format!("data: pushed {}\r\n\r\n", self.pushed);
        if self.visitors.iter().flat_map(|visitor| &visitor.connection).any(|of| of.stream == stream && of.follows) {
            // As a handle does.
            self.world.tell(Command::BeginSubscription { stream: self.world.accounts[stream].id });
            self.see_who_has_begun();
            self.world.push(stream, &framing.frame(event.as_bytes()));
        }
    }

    pub(super) fn end(&mut self, visitor: usize, stream: usize) {
        let ending = any(&mut self.rng, &[Ending::Flush, Ending::HandOver, Ending::Discard]);
        let connection = self.visitors[visitor].connection.as_mut().expect("it is connected");
        connection.is_cut |= ending == Ending::Discard;
        self.world.end(stream, Reason::Application, ending);
    }

    /// What the client's socket takes from here on.
    pub(super) fn script(&mut self, stream: usize) {
        if self.world.accounts[stream].client.is_none() {
            return;
        }
        let errors = [libc::EAGAIN, libc::EAGAIN, libc::EINTR, libc::ENOBUFS];
        let sends: Vec<_> = (0..self.rng.usize(1..4))
            .map(|_| if self.rng.u8(..3) == 0 { Err(any(&mut self.rng, &errors)) } else { Ok(self.rng.usize(1..150)) })
            .collect();
        let always = any(&mut self.rng, &[None, None, Some(Err(libc::EAGAIN)), Some(Ok(1)), Some(Ok(60))]);
        let of_stream = |connection: &&mut Connection| connection.stream == stream;
        let connections = self.visitors.iter_mut().flat_map(|visitor| &mut visitor.connection);
        if let Some(connection) = connections.into_iter().find(of_stream) {
            connection.keeps_up = false;
        }
        let client = self.world.client(stream);
        client.sends.extend(sends);
        client.always = always;
    }

    /// The client's socket comes, or takes bytes again.
    pub(super) fn take(&mut self, stream: usize) {
        if self.world.accounts[stream].client.is_none() {
            if !self.world.accounts[stream].is_closed {
                self.world.attach(stream);
            }
            return;
        }
        if self.world.client(stream).is_asked && !self.world.client(stream).is_closed {
            self.world.client(stream).always = any(&mut self.rng, &[None, Some(Err(libc::EAGAIN)), Some(Ok(30))]);
            self.world.writable(stream);
        }
    }
}
