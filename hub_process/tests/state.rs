//! The state model: pages that keep a map of what is retained, while the process is killed, stopped and upgraded at random.
//! Each map is compared with that of all that was published.
//!
//! EVENTSOURCE_XS_STEPS sets the number of steps with each seed, EVENTSOURCE_XS_SEED the first seed. A failure prints its seed.

mod support;

use eventsource_xs::event::{EventName, Field, Text};
use eventsource_xs::hub::{Publication, Retain, StartPoint, SubscribeRequest, Topic, HUB_EVENT};
use eventsource_xs::parse::{Event, Parser};
use eventsource_xs::remote::CallConnection;
use eventsource_xs::wire::{FieldList, HubSettings};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::net::TcpStream;
use support::{gone, in_file, kill, number, open, read_events, read_until, settings, topics, Asks, Scene};

const CHANNELS: [&str; 2] = ["stock", "shop"];
const KEYS: [&str; 4] = ["", "a", "b", "c"];

/// The values of channels and keys.
type Map = BTreeMap<(String, String), u64>;

/// An event that changes a map, or does not.
struct Change {
    channel: &'static str,
    key: &'static str,
    retain: Retain,
    value: u64,
}

impl Change {
    fn publication(&self) -> Publication<'static, FieldList> {
        let Self { channel, key, retain, value } = *self;
        let name = EventName::new(Text::from(["plain", "set", "forget"][retain as usize])).expect("a name");
        let data = format!("{value} {channel} {key}");
        let fields = FieldList::of([Field::Event(name), Field::Data(Text::from(&*data))]);
        Publication { channel: channel.as_bytes(), key: key.as_bytes(), retain, fields, ..Publication::default() }
    }
}

fn apply(map: &mut Map, channel: &str, key: &str, retain: Retain, value: u64) {
    let key = (channel.to_owned(), key.to_owned());
    match retain {
        Retain::No => {}
        Retain::Newest => drop(map.insert(key, value)),
        Retain::Forget => drop(map.remove(&key)),
    }
}

/// A client that follows the state of both channels.
#[derive(Default)]
struct Page {
    parser: Parser,
    map: Map,
    socket: Option<TcpStream>,
}

impl Page {
    /// Reads through the event with a value.
    fn read_through(&mut self, last: u64) {
        let Self { parser, map, socket } = self;
        read_events(socket.as_mut().expect("a connection"), parser, |Event { event, data, .. }| {
            let retain = match &*event {
                "gap" => {
                    map.clear();
                    return false;
                }
                "position" | HUB_EVENT => return false,
                "set" => Retain::Newest,
                "forget" => Retain::Forget,
                other => {
                    assert_eq!(other, "plain", "{data}");
                    Retain::No
                }
            };
            let words: Vec<&str> = data.split(' ').collect();
            let value = words[0].parse().expect("a number");
            apply(map, words[1], words[2], retain, value);
            value == last
        });
    }

    fn leave(&mut self) {
        self.socket = None;
        self.parser.finish();
    }
}

struct Run {
    rng: Rng,
    scene: Scene,
    has_file: bool,
    worker: CallConnection,
    streams: u64,
    values: u64,
    page: Page,
    map: Map,
}

impl Run {
    fn new(seed: u64, has_file: bool) -> Self {
        let (mut rng, scene) = (Rng::with_seed(seed), Scene::new());
        let worker = scene.client_with(hub_settings(&mut rng, &scene, has_file));
        Self { rng, scene, has_file, worker, streams: 0, values: 0, page: Page::default(), map: Map::new() }
    }

    fn change(&mut self) -> Change {
        self.values += 1;
        let kinds = [Retain::No, Retain::Newest, Retain::Newest, Retain::Forget];
        let retain = *self.rng.choice(&kinds).expect("a kind");
        let (channel, key) = (self.rng.choice(CHANNELS).expect("a channel"), self.rng.choice(KEYS).expect("a key"));
        Change { channel, key, retain, value: self.values }
    }

    fn connect(&mut self, page: &mut Page) {
        self.streams += 1;
        page.socket = Some(open(&mut self.worker, self.streams, ""));
        let last_id = page.parser.last_event_id();
        let after = Some(last_id.as_bytes().into()).filter(|_| !last_id.is_empty());
        if after.is_none() {
            page.map.clear();
        }
        let topics = CHANNELS.map(|channel| Topic::Channel(channel.as_bytes().into())).into();
        let request = SubscribeRequest { topics, after, start: StartPoint::State, ..SubscribeRequest::default() };
        self.worker.subscribe(self.streams, request).expect("a stream");
    }

    /// Compares the map of a page that was here before, and that of a new one, with what may be retained.
    fn compare(&mut self, possible: Vec<Map>) {
        let (mut new, mut page) = (Page::default(), std::mem::take(&mut self.page));
        self.connect(&mut new);
        if page.socket.is_none() {
            self.connect(&mut page);
        }
        self.values += 1;
        let last = Change { channel: "stock", key: "", retain: Retain::No, value: self.values };
        self.worker.publish(&last.publication()).expect("an id");
        new.read_through(last.value);
        page.read_through(last.value);
        assert!(possible.contains(&new.map), "{:?} is not in {possible:?}", new.map);
        assert_eq!(page.map, new.map, "the page that was here before");
        (self.map, self.page) = (new.map, page);
    }

    /// Publishes without waiting for answers, and kills the process.
    fn kill(&mut self) {
        let mut possible = vec![self.map.clone()];
        for _ in 0..self.rng.usize(0..10) {
            let (mut map, change) = (possible[possible.len() - 1].clone(), self.change());
            self.worker.publish_unanswered(&change.publication()).expect("a connection");
            apply(&mut map, change.channel, change.key, change.retain, change.value);
            possible.push(map);
        }
        kill(self.worker.welcome().pid);
        if !self.has_file {
            possible = vec![Map::new()];
        }
        self.begin();
        self.compare(possible);
    }

    fn stop(&mut self) {
        let pid = self.worker.welcome().pid;
        self.scene.stop();
        gone(pid);
        if !self.has_file {
            self.map.clear();
        }
        self.begin();
    }

    /// Another process begins, perhaps with another retention of the history.
    fn begin(&mut self) {
        self.page.leave();
        self.worker = self.scene.client_with(hub_settings(&mut self.rng, &self.scene, self.has_file));
    }

    fn step(&mut self) {
        match self.rng.u8(..100) {
            0..=59 => {
                let change = self.change();
                self.worker.publish(&change.publication()).expect("an id");
                apply(&mut self.map, change.channel, change.key, change.retain, change.value);
            }
            60..=69 => self.page.leave(),
            70..=84 => self.compare(vec![self.map.clone()]),
            85..=90 => self.kill(),
            91..=94 => self.stop(),
            _ => self.scene.upgrade(),
        }
    }
}

fn hub_settings(rng: &mut Rng, scene: &Scene, has_file: bool) -> HubSettings {
    let mut settings = if has_file { in_file(scene) } else { settings() };
    settings.hub.retention.history.events = *rng.choice(&[1, 3, 20]).expect("a number");
    settings.hub.retention.total_history.events = *rng.choice(&[2, 10, 1000]).expect("a number");
    settings
}

#[test]
fn after_a_restart_what_was_evicted_is_a_gap_and_only_the_state_has_what_is_retained() {
    let (mut rng, scene) = (Rng::with_seed(0), Scene::new());
    let mut settings = hub_settings(&mut rng, &scene, true);
    settings.hub.retention.history.events = 1;
    let mut worker = scene.client_with(settings.clone());
    let mut ids = Vec::new();
    for (value, retain) in (1..).zip([Retain::Newest, Retain::No, Retain::No]) {
        ids.push(worker.publish(&Change { channel: "stock", key: "a", retain, value }.publication()).expect("an id"));
    }
    scene.stop();
    gone(worker.welcome().pid);
    settings.hub.retention.history.events = 20;
    let mut worker = scene.client_with(settings);
    for (stream, start, after, expected) in [
        (1, StartPoint::Oldest, None, &["position", "plain"][..]),
        (2, StartPoint::State, None, &[HUB_EVENT, "set", "position"]),
        (3, StartPoint::State, Some(&ids[0]), &[HUB_EVENT, HUB_EVENT, "gap", "set", "position"]),
        (4, StartPoint::State, Some(&ids[1]), &[HUB_EVENT, "plain", "position"]),
        (5, StartPoint::Latest, Some(&ids[0]), &["position", "gap", "plain"]),
    ] {
        let mut client = open(&mut worker, stream, "");
        let request = SubscribeRequest { start, ..topics("stock", after.map(String::as_str)) };
        worker.subscribe(stream, request).expect("a stream");
        let last = format!("event: {}\n", expected[expected.len() - 1]);
        let text = read_until(&mut client, &last);
        let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        assert_eq!(names, expected, "stream {stream}");
    }
}

fn run(has_file: bool) {
    let first = number("EVENTSOURCE_XS_SEED", 1);
    for seed in first..first + 5 {
        println!("EVENTSOURCE_XS_SEED={seed}");
        let mut run = Run::new(seed, has_file);
        for _ in 0..number("EVENTSOURCE_XS_STEPS", 120) {
            run.step();
        }
        run.compare(vec![run.map.clone()]);
    }
}

#[test]
fn a_page_has_the_state_of_a_hub_in_memory_until_its_process_ends() {
    run(false);
}

#[test]
fn a_page_has_the_state_of_a_hub_with_a_file_whatever_becomes_of_its_process() {
    run(true);
}
