//! The members of a hub with a file: streams that come and go while the process is killed and upgraded at random. Who is here
//! is compared with the streams alone, and so is the map of a page that reads of joins, changes and leaves.
//!
//! EVENTSOURCE_XS_STEPS sets the number of steps with each seed, EVENTSOURCE_XS_SEED the first seed. A failure prints its seed.

mod support;

use eventsource_xs::event::{EventName, Field, Text, Unsequenced};
use eventsource_xs::hub::{
    Announcement, MemberData, MemberRequest, Presence, Retain, StartPoint, Statement, SubscribeRequest, Topic,
    HUB_EVENT,
};
use eventsource_xs::parse::{Event, Parser};
use eventsource_xs::remote::CallConnection;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::{event, follow, gone, in_file, kill, number, open, read_events, topics, Asks, Scene, DEADLINE};

const MEMBERS: [&str; 5] = ["ann", "bob", "cid", "dan", "eve"];
/// Those of them that linger longer than any test: whatever becomes of the process, they join once and never leave. The others
/// leave at once.
const LASTING: [&str; 2] = ["ann", "bob"];

fn unsequenced(name: &str, data: &str) -> Unsequenced {
    let name = EventName::new(Text::from(name)).expect("a name");
    Unsequenced::of([Field::Event(name), Field::Data(Text::from(data))].into_iter())
}

fn member(id: &str, data: &str) -> Box<MemberRequest> {
    let linger = if LASTING.contains(&id) { DEADLINE * 4 } else { Duration::ZERO };
    Box::new(MemberRequest {
        channel: b"room"[..].into(),
        id: id.as_bytes().into(),
        linger,
        is_counted: false,
        data: MemberData { text: data.as_bytes().into(), is_json: false },
        join: unsequenced("join", &format!("{id} {data}")),
        update: unsequenced("update", &format!("{id} {data}")),
        leave: unsequenced("leave", id),
    })
}

/// The same member where members are only counted.
fn counted(id: &str) -> Box<MemberRequest> {
    Box::new(MemberRequest { channel: b"lobby"[..].into(), is_counted: true, ..*member(id, "") })
}

/// A page that reads of the room.
#[derive(Default)]
struct Page {
    parser: Parser,
    socket: Option<TcpStream>,
    map: BTreeMap<String, String>,
    /// The members of whom it was told nothing since it began with the state: one that leaves before its join was sent is not
    /// in the state, and its leave comes alone.
    untold: BTreeSet<&'static str>,
    joins: BTreeMap<String, usize>,
    number: usize,
}

impl Page {
    /// Reads through the event with this number.
    fn read_through(&mut self, last: u64) {
        let Self { parser, socket, map, untold, joins, number } = self;
        read_events(socket.as_mut().expect("a connection"), parser, |Event { event, data, .. }| {
            let (id, value) = data.split_once(' ').unwrap_or((&data, ""));
            let (id, value) = (id.to_owned(), value.to_owned());
            let is_untold = untold.remove(&*id);
            match &*event {
                "join" => {
                    assert_eq!(map.insert(id.clone(), value), None, "{id} joins twice");
                    *joins.entry(id).or_default() += 1;
                }
                "update" => assert!(map.insert(id.clone(), value).is_some(), "{id} changes, and is not here"),
                "leave" => assert!(map.remove(&id).is_some() || is_untold, "{id} leaves, and is not here"),
                "count" => *number = data.parse().expect("a number"),
                "position" | HUB_EVENT => {}
                "message" => return data == last.to_string(),
                other => panic!("{other}: {data}"),
            }
            false
        });
    }
}

struct Run {
    rng: Rng,
    scene: Scene,
    worker: CallConnection,
    /// The open streams with members, by the number of the stream.
    streams: BTreeMap<u64, (&'static str, TcpStream)>,
    last_stream: u64,
    last_event: u64,
    /// The lasting members that have come.
    lasting: BTreeSet<&'static str>,
    /// What each member that is here has said last.
    data: BTreeMap<&'static str, String>,
    page: Page,
}

impl Run {
    fn new(seed: u64) -> Self {
        let (rng, scene) = (Rng::with_seed(seed), Scene::new());
        let worker = scene.client_with(in_file(&scene));
        let mut run = Self {
            rng,
            scene,
            worker,
            streams: BTreeMap::new(),
            last_stream: 0,
            last_event: 0,
            lasting: BTreeSet::new(),
            data: BTreeMap::new(),
            page: Page::default(),
        };
        run.read_page();
        run
    }

    fn subscribe(&mut self, request: SubscribeRequest) -> TcpStream {
        self.last_stream += 1;
        let client = open(&mut self.worker, self.last_stream, "");
        self.worker.subscribe(self.last_stream, request).expect("a stream");
        client
    }

    fn read_page(&mut self) {
        let last_id = self.page.parser.last_event_id();
        let after = Some(last_id.to_owned()).filter(|id| !id.is_empty());
        if after.is_none() {
            self.page.untold = MEMBERS.into();
        }
        let mut request = SubscribeRequest { start: StartPoint::State, ..topics("room", after.as_deref()) };
        request.topics.push(Topic::Channel(b"lobby"[..].into()));
        self.page.parser.finish();
        self.page.socket = Some(self.subscribe(request));
    }

    fn enter(&mut self, id: &'static str, data: &str) {
        let presence = Presence { member: Some(member(id, data)), ..Presence::default() };
        let client = self.subscribe(SubscribeRequest { presence, ..topics("news", None) });
        let presence = Presence { member: Some(counted(id)), ..Presence::default() };
        let request = SubscribeRequest { presence, ..topics("offers", None) };
        self.worker.subscribe(self.last_stream, request).expect("a stream");
        self.worker.members(b"room", None).expect("a page"); // a client that leaves now was here
        self.streams.insert(self.last_stream, (id, client));
        self.data.insert(id, data.to_owned());
        if LASTING.contains(&id) {
            self.lasting.insert(id);
        }
    }

    /// Publishes an event, and has the page read through it.
    fn read(&mut self) {
        self.last_event += 1;
        self.worker.publish(&event("room", &self.last_event.to_string())).expect("an id");
        self.page.read_through(self.last_event);
    }

    /// Compares the number that was told last with the members.
    fn compare_number(&mut self) {
        let expected = self.page.map.len();
        let deadline = Instant::now() + DEADLINE;
        while self.page.number != expected {
            assert!(Instant::now() < deadline, "the number is {}, not {expected}", self.page.number);
            self.read();
        }
        assert_eq!(self.worker.members(b"lobby", None).expect("a page").members.len(), expected);
    }

    /// Compares who is here with the streams.
    fn compare(&mut self) {
        let mut expected: BTreeMap<String, (String, u32)> = BTreeMap::new();
        for id in self.lasting.iter().copied().chain(self.streams.values().map(|(id, _)| *id)) {
            let streams = self.streams.values().filter(|(of, _)| *of == id).count();
            expected.insert(id.to_owned(), (self.data[id].clone(), streams as u32));
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.into()).expect("UTF-8");
        let mut found = BTreeMap::from([(String::new(), (String::new(), 0))]);
        let deadline = Instant::now() + DEADLINE;
        while found != expected {
            assert!(Instant::now() < deadline, "{found:?} are here, not {expected:?}");
            let members = self.worker.members(b"room", None).expect("a page").members;
            found = members.iter().map(|of| (text(&of.id), (text(&of.data.text), of.streams))).collect();
        }
        let map: BTreeMap<String, String> = expected.into_iter().map(|(id, (data, _))| (id, data)).collect();
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.read();
            if self.page.map == map {
                break;
            }
            assert!(Instant::now() < deadline, "a page has {:?}, not {map:?}", self.page.map);
        }
        for id in LASTING {
            assert!(self.page.joins.get(id).copied().unwrap_or(0) <= 1, "{id} joins again");
        }
    }

    /// The process dies, or ends. Some streams come back, and all lasting members: who has just come is perhaps
    /// not stored.
    fn begin_again(&mut self, is_killed: bool) {
        let pid = self.worker.welcome().pid;
        if is_killed {
            kill(pid);
        } else {
            self.scene.stop();
            gone(pid);
        }
        self.worker = self.scene.client_with(in_file(&self.scene));
        self.read_page();
        let before = std::mem::take(&mut self.streams).into_values().map(|(id, _)| id);
        for id in before.filter(|_| self.rng.bool()).chain(self.lasting.clone()).collect::<Vec<_>>() {
            let data = self.data[id].clone();
            self.enter(id, &data);
        }
    }

    fn step(&mut self) {
        let id = *self.rng.choice(&MEMBERS).expect("a member");
        match self.rng.u8(..100) {
            0..=34 => {
                let data = self.rng.u8(..3).to_string();
                self.enter(id, &data);
            }
            35..=69 => {
                if let Some(stream) = self.streams.keys().copied().nth(self.rng.usize(..8)) {
                    self.streams.remove(&stream);
                }
            }
            70..=84 => self.compare(),
            85..=90 => self.begin_again(true),
            91..=92 => self.begin_again(false),
            _ => self.scene.upgrade(),
        }
    }
}

#[test]
fn members_are_those_of_the_streams_whatever_becomes_of_the_process() {
    let first = number("EVENTSOURCE_XS_SEED", 1);
    for seed in first..first + 5 {
        println!("EVENTSOURCE_XS_SEED={seed}");
        let mut run = Run::new(seed);
        for _ in 0..number("EVENTSOURCE_XS_STEPS", 120) {
            run.step();
        }
        run.compare();
        run.compare_number();
    }
}

#[test]
fn data_that_the_state_cannot_keep_does_not_replace_the_data_before() {
    let mut run = Run::new(1);
    run.enter("ann", "before");
    run.enter("bob", &"x".repeat(500));
    run.compare();
    let mut small = in_file(&run.scene);
    small.hub.retention.state.bytes = 1000;
    run.worker = run.scene.client_with(small);
    run.enter("ann", &"x".repeat(500));
    run.data.insert("ann", "before".into());
    run.compare();
    run.enter("ann", "after");
    run.compare();
}

#[test]
fn a_will_is_stored_once() {
    let scene = Scene::new();
    let mut worker = scene.client_with(in_file(&scene));
    let will = Box::new(Announcement {
        channel: b"room"[..].into(),
        key: b"last"[..].into(),
        retain: Retain::Newest,
        event: unsequenced("will", "the end"),
        statement: Statement::Nothing,
    });
    let client = open(&mut worker, 1, "");
    let presence = Presence { will: Some(will), ..Presence::default() };
    worker.subscribe(1, SubscribeRequest { presence, ..topics("news", None) }).expect("a stream");
    let mut reader = follow(&mut worker, 2, topics("room", None));
    worker.members(b"room", None).expect("a page"); // the subscriptions have taken effect: a client that leaves now has a will
    drop(client);
    support::read_event(&mut reader, "the end");
    kill(worker.welcome().pid);
    let mut worker = scene.client();
    let mut reader = follow(&mut worker, 1, SubscribeRequest { start: StartPoint::State, ..topics("room", None) });
    let text = support::read_until(&mut reader, "event: position\n");
    assert_eq!(text.matches("data: the end\n").count(), 1, "{text}");
    reader.set_nonblocking(true).expect("a socket");
    let mut rest = Vec::new();
    assert_eq!(reader.read_to_end(&mut rest).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
}
