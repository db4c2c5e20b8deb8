//! A random model of workers, their wires, and the hub process: what clients are sent is compared with what was published.
//!
//! The process and the workers' runtime are the real ones; only the wire between them is the test's. Each step is drawn at
//! random: publish, push, subscribe, reconnect, cut a wire after any byte, have it pass single bytes, kill a worker or the
//! process, upgrade the process. At the end every client has received each event of its channels once and in order, or was
//! sent a gap.
//!
//! `EVENTSOURCE_XS_SEED=7 EVENTSOURCE_XS_STEPS=5000 cargo test --release --test model` draws other steps, or more.

mod support;

use eventsource_xs::compression::Body;
use eventsource_xs::event::{Field, Text};
use eventsource_xs::hub::{OnSlow, Publication, Retain, SubscribeRequest, Topic};
use eventsource_xs::parse::Parser;
use eventsource_xs::remote::{Act, Address, Hub, RemoteHub, Start};
use eventsource_xs::runtime::{OpenOptions, Pushed, StreamHandle};
use eventsource_xs::stream::Reason;
use eventsource_xs::wire::HubSettings;
use eventsource_xs::ErrorCode;
use fastrand::Rng;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;
use support::wire::Wire;
use support::{eventually, is_eventually, kill, number, settings, stream_settings, tcp, Scene, DEADLINE};

const CHANNELS: [&str; 3] = ["a", "b", "c"];
const WORKERS: usize = 3;
const CLIENTS: usize = 8;
/// How long a call of a worker may take, also while no process serves the hub.
const CALL: Duration = Duration::from_millis(100);

/// An event's place: the hub's epoch, and its number there.
type Place = (String, u64);

/// What a publisher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    Published,
    /// Nothing was published.
    Unavailable,
    /// Perhaps.
    Unknown,
}

#[derive(Debug)]
struct Published {
    channel: &'static str,
    outcome: Certainty,
    /// Where it is in the hub's order: as the publisher was told, or as a client has first seen it.
    place: Option<Place>,
}

/// What one client was sent, over all of its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    /// It has connected, with the id that it has sent.
    Connected {
        after: String,
    },
    Position(String),
    Gap {
        id: String,
        reason: String,
    },
    Event {
        id: String,
        data: String,
    },
    /// An event of its own, which is in no channel.
    Push {
        stream: u64,
        number: u64,
    },
}

struct Client {
    channels: Vec<&'static str>,
    connection: Option<(TcpStream, Parser)>,
    last_id: String,
    items: Vec<Item>,
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.channels)?;
        self.items.iter().try_for_each(|item| write!(out, "\n  {item:?}"))
    }
}

impl Client {
    /// Reads what has arrived.
    fn read(&mut self) {
        let Some((socket, parser)) = &mut self.connection else { return };
        let mut room = [0; 16 << 10];
        loop {
            match socket.read(&mut room) {
                Ok(0) => break self.connection = None,
                Ok(count) => {
                    parser.feed(&room[..count]).expect("events");
                    while let Some(event) = parser.next_event() {
                        let id = event.last_event_id;
                        if let Some(push) = event.data.strip_prefix("push ") {
                            let numbers: Vec<u64> =
                                push.split(' ').map(|word| word.parse().expect("a number")).collect();
                            self.items.push(Item::Push { stream: numbers[0], number: numbers[1] });
                            continue;
                        }
                        self.last_id.clone_from(&id);
                        self.items.push(match &*event.event {
                            "position" => Item::Position(id),
                            "gap" => Item::Gap { id, reason: event.data },
                            _ => Item::Event { id, data: event.data },
                        });
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break self.connection = None,
            }
        }
    }

    fn has(&self, wanted: &str) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Event { data, .. } if data == wanted))
    }

    /// Returns true if the client was told of a gap that ends at a place or after it.
    fn has_gap_through(&self, wanted: &Place) -> bool {
        let is_through = |here: Place| here.0 == wanted.0 && here.1 >= wanted.1;
        self.items.iter().any(|item| matches!(item, Item::Gap { id, .. } if is_through(place(id))))
    }

    /// Returns true if its connection has told the client where it is, and of the gap that it owed.
    fn has_place(&self) -> bool {
        let of_hub = self.items.iter().rev().find(|item| !matches!(item, Item::Push { .. }));
        match of_hub {
            Some(Item::Position(id)) => reported(id) != Some(0),
            Some(Item::Gap { .. } | Item::Event { .. }) => true,
            _ => false,
        }
    }
}

/// A stream of a worker, and what was pushed to it.
struct Stream {
    handle: StreamHandle,
    number: u64,
    pushed: u64,
}

struct Worker {
    wire: Wire,
    hub: Hub,
    streams: Vec<Stream>,
}

impl Worker {
    fn new(wire: Wire, settings: HubSettings) -> Self {
        let hub = Self::hub(&wire, settings);
        Self { wire, hub, streams: Vec::new() }
    }

    fn hub(wire: &Wire, settings: HubSettings) -> Hub {
        let start = Start { program: None, needs_settings: false, timeout: CALL };
        let socket = wire.place.socket().to_owned();
        let address = Address::new(wire.place.name().clone(), Some(socket)).expect("a short path");
        Hub::named(RemoteHub::new(address, start, settings.into())).expect("memory")
    }
}

struct Model {
    rng: Rng,
    scene: Scene,
    settings: HubSettings,
    workers: Vec<Worker>,
    clients: Vec<Client>,
    published: BTreeMap<String, Published>,
    streams: u64,
    pushed: HashMap<u64, u64>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let scene = Scene::new();
        let mut settings = settings();
        settings.hub.retention.history.events = *rng.choice(&[0, 3, 20, 1000]).expect("one");
        settings.hub.on_slow = *rng.choice(&[OnSlow::Disconnect, OnSlow::Gap]).expect("one");
        drop(scene.client_with(settings.clone()));
        let workers = (0..WORKERS).map(|number| Worker::new(Wire::new(&scene, number), settings.clone())).collect();
        let clients = (0..CLIENTS)
            .map(|_| Client {
                channels: rng.choose_multiple(CHANNELS, 1 + rng.clone().usize(..CHANNELS.len())),
                connection: None,
                last_id: String::new(),
                items: Vec::new(),
            })
            .collect();
        let (published, pushed) = (BTreeMap::new(), HashMap::new());
        Self { rng, scene, settings, workers, clients, published, streams: 0, pushed }
    }

    fn step(&mut self) {
        let worker = self.rng.usize(..WORKERS);
        let client = self.rng.usize(..CLIENTS);
        match self.rng.u32(..100) {
            0..40 => drop(self.publish(worker)),
            40..55 => self.push(worker),
            55..75 => self.connect(client, worker),
            75..80 => self.clients[client].connection = None,
            80..86 => {
                let after = *self.rng.choice(&[0, 1, 20, 300, 2000]).expect("one");
                let after = if after > 0 { self.rng.u16(1..=after) } else { 0 };
                self.workers[worker].wire.cut(self.rng.bool(), after);
            }
            86..90 => self.workers[worker].wire.set_longest_piece(*self.rng.choice(&[1, 7, 100, 65_536]).expect("one")),
            90..93 => self.kill_worker(worker),
            93..95 => self.release(worker),
            95 => {
                if let Some(pid) = self.scene.pid() {
                    kill(pid);
                }
            }
            96 => self.upgrade(),
            _ => drop(self.scene.client_with(self.settings.clone())), // starts the process if it does not run
        }
        self.clients.iter_mut().for_each(Client::read);
    }

    /// Lets the process continue as another one of the same program.
    fn upgrade(&mut self) {
        if let Some(pid) = self.scene.pid() {
            assert!(self.scene.command(&["upgrade"]).status().expect("the program").success());
            assert_eq!(self.scene.pid(), Some(pid));
        }
    }

    /// Publishes an event, and returns its data.
    fn publish(&mut self, worker: usize) -> String {
        let data = format!("event {}", self.published.len());
        let channel = *self.rng.choice(&CHANNELS).expect("one");
        self.publish_to(worker, channel, data.clone());
        data
    }

    fn publish_to(&mut self, worker: usize, channel: &'static str, data: String) {
        let fields = [Field::Data(Text::from(&*data))];
        let fields = fields.into_iter();
        let publication = Publication { channel: channel.as_bytes(), key: b"", retain: Retain::No, once: b"", fields };
        let mut id = None;
        let published = self.workers[worker].hub.publish(publication, Act::Wait, |made| id = Some(place(made)));
        let (outcome, place) = match published {
            Ok(()) => (Certainty::Published, Some(id.expect("an id"))),
            Err(error) => match error.code {
                ErrorCode::Unavailable => (Certainty::Unavailable, None),
                ErrorCode::Unknown | ErrorCode::Timeout => (Certainty::Unknown, None),
                other => panic!("{other:?}: {error}"),
            },
        };
        self.published.insert(data, Published { channel, outcome, place });
    }

    /// Pushes an event to a stream of a worker.
    fn push(&mut self, worker: usize) {
        let streams = &mut self.workers[worker].streams;
        let Some(at) = (!streams.is_empty()).then(|| self.rng.usize(..streams.len())) else { return };
        let Stream { handle, number, pushed } = &mut streams[at];
        let event = format!("data: push {number} {}\n\n", *pushed + 1);
        if handle.push(event.as_bytes(), false) == Pushed::Taken {
            *pushed += 1;
            self.pushed.insert(*number, *pushed);
        }
    }

    /// Connects a client to a worker. It resumes.
    fn connect(&mut self, client: usize, worker: usize) {
        let client = &mut self.clients[client];
        client.read();
        let (socket, own) = tcp();
        own.set_nonblocking(true).expect("a socket");
        let mut handle = StreamHandle::open(OpenOptions {
            socket: Some(socket),
            head: b"",
            content: b"",
            body: Body::default(),
            settings: stream_settings(),
            waits: false,
            ends_with_handle: false,
            interpreter: 0,
            max_streams: 1000,
            handler_limit: None,
            may_wait: self.rng.bool(),
            members_of: None,
        })
        .expect("a reactor");
        self.streams += 1;
        client.connection = Some((own, Parser::new()));
        client.items.push(Item::Connected { after: client.last_id.clone() });
        let topics = client.channels.iter().map(|name| Topic::Channel(name.as_bytes().into())).collect();
        let after = Some(client.last_id.as_bytes()).filter(|id| !id.is_empty()).map(Into::into);
        let request = SubscribeRequest { topics, after, ..Default::default() };
        if self.rng.bool() {
            handle.enter_handler(); // the subscription takes effect when the handler returns
        }
        match self.workers[worker].hub.subscribe(&mut handle, request, false) {
            Ok(_) => handle.leave_handler(),
            Err(_) => handle.close(Reason::Application), // as an application does that cannot serve the client
        }
        self.workers[worker].streams.push(Stream { handle, number: self.streams, pushed: 0 });
    }

    /// Ends a worker: its connection and its handles.
    fn kill_worker(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        worker.wire.cut(true, 0);
        worker.streams.drain(..).for_each(|mut stream| stream.handle.release());
        worker.hub = Worker::hub(&worker.wire, self.settings.clone());
    }

    /// Lets a worker forget a stream, as a handler does that returns.
    fn release(&mut self, worker: usize) {
        let streams = &mut self.workers[worker].streams;
        if !streams.is_empty() {
            let at = self.rng.usize(..streams.len());
            streams.swap_remove(at).handle.release();
        }
    }

    /// Heals what is broken, has all clients connect, and waits until each has received a last event of each of its channels,
    /// or a gap in its place.
    fn settle(&mut self) {
        self.workers.iter().for_each(|worker| worker.wire.heal());
        drop(self.scene.client_with(self.settings.clone()));
        for (number, worker) in self.workers.iter().enumerate() {
            eventually(&format!("worker {number} has a connection"), || worker.hub.epoch(true).is_ok());
        }
        for client in 0..CLIENTS {
            // Before the last events: who connects after them, with an id that the hub does not know, is sent a gap instead.
            self.read_until(client, "a place", Client::has_place);
        }
        for (number, channel) in CHANNELS.into_iter().enumerate() {
            let (data, place) = self.publish_last(number % WORKERS, channel);
            for client in 0..CLIENTS {
                if self.clients[client].channels.contains(&channel) {
                    self.read_until(client, &data, |client| client.has(&data) || client.has_gap_through(&place));
                }
            }
        }
    }

    /// Publishes events until the publisher is told the place of one. Each attempt is another event: one whose outcome is
    /// unknown may have been published.
    fn publish_last(&mut self, worker: usize, channel: &'static str) -> (String, Place) {
        let (mut attempts, mut made) = (0, None);
        eventually(&format!("an event of worker {worker} in {channel}"), || {
            attempts += 1;
            let data = format!("last of {channel}, attempt {attempts}");
            self.publish_to(worker, channel, data.clone());
            made = self.published[&data].place.clone().map(|place| (data, place));
            made.is_some()
        });
        made.expect("a published event")
    }

    /// Reads what a client is sent until a condition is true. The client connects again when its connection has ended.
    fn read_until(&mut self, client: usize, expected: &str, is_true: impl Fn(&Client) -> bool) {
        let is_reached = is_eventually(|| {
            self.clients[client].read();
            if self.clients[client].connection.is_none() {
                self.connect(client, 0);
            }
            is_true(&self.clients[client])
        });
        assert!(is_reached, "not within {DEADLINE:?}: {expected} for {:?}", self.clients[client]);
    }

    /// Compares what clients were sent with what was published.
    fn check(&mut self) {
        let mut places: BTreeMap<Place, (&'static str, String)> = BTreeMap::new();
        for (data, Published { channel, outcome, place }) in &self.published {
            if *outcome == Certainty::Published {
                let place = place.clone().expect("an id");
                assert!(places.insert(place, (channel, data.clone())).is_none(), "an id was given twice");
            }
        }
        // Events of which the publisher does not know.
        for client in &self.clients {
            for item in &client.items {
                let Item::Event { id, data } = item else { continue };
                let Some(published) = self.published.get_mut(data) else { panic!("nobody has published {data:?}") };
                assert_ne!(published.outcome, Certainty::Unavailable, "{data} was not published");
                let seen = place(id);
                let known = published.place.get_or_insert_with(|| seen.clone());
                assert_eq!(*known, seen, "{data} was published twice");
                let there = places.entry(seen).or_insert((published.channel, data.clone()));
                assert_eq!(there.1, *data, "one id for two events");
            }
        }
        for client in &self.clients {
            check_client(client, &places);
        }
        for client in &self.clients {
            let mut last = HashMap::new();
            for item in &client.items {
                let Item::Push { stream, number } = item else { continue };
                let before = last.insert(*stream, *number).unwrap_or(0);
                assert_eq!(*number, before + 1, "of the pushes to stream {stream}: {client:?}");
                assert!(*number <= self.pushed[stream], "nobody has pushed that");
            }
        }
    }
}

/// Checks that a client was sent each event of its channels once and in order, or received a gap.
fn check_client(client: &Client, places: &BTreeMap<Place, (&'static str, String)>) {
    let mut at: Option<Place> = None;
    // What the client's last id says: it is still to receive a gap, or it was, through that number.
    let (mut owes_gap, mut told_through) = (false, 0);
    for item in &client.items {
        let (id, is_told) = match item {
            Item::Connected { after } => {
                at = (!after.is_empty()).then(|| place(after));
                (owes_gap, told_through) = (reported(after) == Some(0), reported(after).unwrap_or(0));
                continue;
            }
            Item::Push { .. } => continue,
            Item::Position(id) => (id, reported(id) == Some(0)),
            Item::Gap { id, .. } => (id, true),
            Item::Event { id, .. } => (id, false),
        };
        let here = place(id);
        if let (Some(before), false) = (&at, is_told) {
            assert!(!owes_gap, "no gap at {item:?}: {client:?}");
            assert_eq!(before.0, here.0, "another epoch without a gap at {item:?}: {client:?}");
            let is_event = matches!(item, Item::Event { .. });
            assert!(before.1 < here.1 || !is_event && before.1 == here.1, "not in order at {item:?}: {client:?}");
            let between = places.range(before.clone()..here.clone());
            let is_missed = |place: &Place| *place != *before && place.1 > told_through;
            let missed = between.filter(|(place, (channel, _))| is_missed(place) && client.channels.contains(channel));
            assert_eq!(missed.collect::<Vec<_>>(), [], "missed at {item:?}: {client:?}");
        }
        if let Item::Event { data, .. } = item {
            assert!(client.channels.contains(&places[&here].0), "an event of another channel: {data}");
        }
        owes_gap = is_told && matches!(item, Item::Position(_));
        told_through = reported(id).unwrap_or(0);
        at = Some(here);
    }
}

/// Returns the place that an id stands for.
fn place(id: &str) -> Place {
    let mut parts = id.split('-');
    let epoch = parts.next().expect("an epoch").to_owned();
    (epoch, parts.next().and_then(|seq| seq.parse().ok()).unwrap_or_else(|| panic!("an id: {id:?}")))
}

/// Returns the number through which a gap needs not be told of to a client with that id; 0 if it is still to be told.
fn reported(id: &str) -> Option<u64> {
    id.split('-').nth(2).and_then(|number| number.parse().ok())
}

#[test]
fn each_client_is_sent_each_event_once_or_told_of_a_gap() {
    let steps = number("EVENTSOURCE_XS_STEPS", 1500);
    let first = number("EVENTSOURCE_XS_SEED", 1);
    for seed in first..first + steps.div_ceil(250) {
        println!("seed {seed}");
        let mut model = Model::new(seed);
        for _ in 0..steps.min(250) {
            model.step();
        }
        model.settle();
        model.check();
    }
}
