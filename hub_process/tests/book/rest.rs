//! The end of an episode: all comes to rest, and the hub says who is there; then it may be drained.

use crate::client::Client;
use crate::episode::{all_channels, Episode, AT_REST, CHANNELS, CLIENTS, LIMITS, WORKERS};
use crate::rules::{self, Broken};
use crate::support::{stream_settings, topics, Asks, DEADLINE};
use crate::trace::{Change, Item, Map, Outcome, Place, Rest, MOST};
use crate::worker::Worker;
use eventsource_xs::hub::{Retain, StartPoint, SubscribeRequest, Topic};
use eventsource_xs::remote::{Act, CallConnection};
use eventsource_xs::wire::Call;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

impl Episode {
    fn is_idle(&mut self) -> bool {
        self.read();
        let polls = |client: &Client| client.polls && client.connection.is_some();
        self.returning.is_empty() && !self.clients.iter().any(polls)
    }

    /// Heals what is broken, and waits until all is at rest: each client that is there has the last event of each of its
    /// channels, and the members are those of the streams.
    pub fn rest(&mut self) {
        self.is_resting = true;
        for worker in 0..WORKERS {
            self.world.heal(worker);
            self.act(worker, Worker::return_from_handlers);
        }
        self.world.start();
        let deadline = Instant::now() + AT_REST;
        for at in 0..WORKERS {
            if !self.world.is_done_within(at, AT_REST) {
                self.trace.lock().expect("no panic").stuck.push(format!("worker {at}"));
            }
        }
        self.is_true_before(deadline, Self::is_idle);
        // Whoever is there has a connection that has begun; whoever was left without a stream comes back.
        self.is_true_before(deadline, |episode| {
            episode.read();
            let is_waiting = |client: &Client| client.connection.is_some() && !client.has_begun();
            !episode.clients.iter().any(is_waiting) && episode.returning.is_empty()
        });
        for channel in CHANNELS {
            self.publish_last(channel, deadline);
        }
        self.compare_at_rest();
    }

    /// Publishes a last event, until its publisher knows its place, and waits until all its readers have it.
    fn publish_last(&mut self, channel: &'static str, deadline: Instant) {
        let (mut data, mut found) = (String::new(), None::<Place>);
        while found.is_none() && Instant::now() < deadline {
            self.events += 1;
            data = self.publish_as(0, channel, "plain", "-", (Retain::No, None, Act::Wait));
            self.world.is_done_within(0, AT_REST);
            let trace = self.trace.lock().expect("no panic");
            let publish = trace.publishes.iter().rev().find(|publish| publish.data == data).expect("it was recorded");
            if let Outcome::Published(place) = &publish.outcome {
                found = Some(place.clone());
            }
        }
        let readers: Vec<usize> =
            (0..CLIENTS).filter(|at| self.clients[*at].seen.channels.contains(&channel)).collect();
        let missing = |episode: &mut Self| {
            episode.read();
            let is_missing = |at: &usize| {
                let client = &episode.clients[*at];
                let has = || client.has(&data) || found.as_ref().is_some_and(|place| client.has_begun_after(place));
                client.connection.is_some() && !has()
            };
            readers.iter().copied().filter(is_missing).collect::<Vec<_>>()
        };
        self.is_true_before(deadline, |episode| missing(episode).is_empty());
        for at in missing(self) {
            let stuck = format!("client {at}, which waits for {data}: {:?}", self.clients[at].seen.items.last());
            self.trace.lock().expect("no panic").stuck.push(stuck);
        }
    }

    /// Drains the hub, and may upgrade it meanwhile. All clients that come back are sent away again.
    pub fn drain(&mut self) {
        let within = Duration::from_millis(self.rng.u64(..400));
        self.act(0, move |worker| {
            let from = Instant::now();
            worker.hub.call(Call::Drain { within }).expect("a drain");
            worker.trace.lock().expect("no panic").changes.push((from, Instant::now(), Change::Drained(within)));
        });
        assert!(self.world.is_done_within(0, AT_REST), "a drain is answered");
        if self.rng.bool() {
            self.upgrade();
        }
        for client in 0..3 {
            self.connect(client);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        self.is_true_before(deadline, |episode| {
            episode.clients.iter_mut().for_each(Client::read);
            episode.clients.iter().all(|client| client.connection.is_none())
        });
        let mut trace = self.trace.lock().expect("no panic");
        trace.clients = self.clients.iter().map(|client| client.seen.clone()).collect();
        (trace.rest, trace.complete) = (Rest::default(), false);
    }

    /// Fails if a rule is broken, after the trace.
    pub fn judge(&self, seed: u64) {
        let broken = self.broken();
        if !broken.is_empty() {
            self.trace.lock().expect("no panic").print();
            broken.iter().for_each(|(rule, what)| println!("BROKEN rule {rule}: {what}"));
            panic!("seed {seed}");
        }
    }

    /// Returns the rules that are broken, and how.
    pub fn broken(&self) -> Vec<Broken> {
        let trace = self.trace.lock().expect("no panic").clone();
        let mut broken = rules::judge(&trace);
        if trace.rest.open.is_empty() {
            broken.retain(|(rule, _)| *rule == 18); // a drain has ended all streams: the others were judged before
        }
        broken
    }

    /// Notes what the hub says at rest, when that no longer changes.
    fn compare_at_rest(&mut self) {
        let mut hub = self.world.command();
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            self.read();
            let members = hub.members(b"room", None).expect("members").members;
            let text = |bytes: &[u8]| String::from_utf8(bytes.into()).expect("UTF-8");
            let members = members.iter().map(|of| (text(&of.id), (of.streams, text(&of.data.text)))).collect();
            let subscribers =
                CHANNELS.map(|name| (name, hub.count(name.as_bytes()).expect("counts").subscribers)).into();
            let open = (0..CLIENTS).filter(|at| self.clients[*at].connection.is_some()).collect();
            let fresh_map = self.fresh_map(&mut hub);
            let free = LIMITS.into_iter().filter(|limit| has_place(&mut hub, limit)).collect();
            let holders = self.holders();
            self.read();
            let mut trace = self.trace.lock().expect("no panic");
            trace.rest = Rest { at: Some(Instant::now()), holders, members, open, subscribers, fresh_map, free };
            trace.clients = self.clients.iter().map(|client| client.seen.clone()).collect();
            let is_settled = rules::judge(&trace).is_empty();
            drop(trace);
            if is_settled || Instant::now() > deadline {
                return;
            }
            self.world.pause(Duration::from_millis(5));
        }
    }

    /// Returns how many workers hold each lease that is wanted.
    fn holders(&mut self) -> BTreeMap<&'static str, usize> {
        let found = Arc::new(Mutex::new(BTreeMap::new()));
        for at in 0..WORKERS {
            let found = Arc::clone(&found);
            self.act(at, move |worker| {
                for (name, is_held) in worker.leases() {
                    *found.lock().expect("no panic").entry(name).or_default() += usize::from(is_held);
                }
            });
            self.world.is_done_within(at, AT_REST);
        }
        let found = found.lock().expect("no panic").clone();
        found
    }

    /// Returns the map of a page that begins now, and reads all channels.
    fn fresh_map(&mut self, hub: &mut CallConnection) -> Map {
        let mut page = Client::default();
        let (socket, own) = self.world.connection(false);
        self.streams += 1;
        let number = 1_000_000 + self.streams;
        let opening = eventsource_xs::wire::Open::new(number, stream_settings(), b"");
        hub.open(opening, std::os::fd::AsFd::as_fd(&socket)).expect("a connection");
        drop(socket);
        page.open(number, own);
        let topics_of = all_channels().iter().map(|name| Topic::Channel(name.as_bytes().into())).collect();
        let request = SubscribeRequest { topics: topics_of, start: StartPoint::State, ..topics("a", None) };
        hub.subscribe(number, request).expect("a stream");
        self.is_true_before(Instant::now() + DEADLINE, |_| {
            page.read();
            page.seen.items.iter().any(|(_, item)| matches!(item, Item::Position(_)))
        });
        page.seen.map
    }
}

/// Asks for a place of a limit, and gives it back.
fn has_place(hub: &mut CallConnection, limit: &str) -> bool {
    let mut reserve = |most| {
        hub.make(&Call::Reserve { label: limit.as_bytes().into(), most, asked_at: 1 }).expect("a reply").number()
    };
    let has_place = reserve(MOST).expect("a number") > 0;
    if has_place {
        reserve(0).expect("a number");
    }
    has_place
}
