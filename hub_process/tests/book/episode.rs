//! An episode: operations of all capabilities, drawn at random, with a process that dies, stops and is upgraded in their midst.
//! It knows the [`World`] only by its functions.

use crate::arrival::Role;
use crate::client::{Client, PADDING};
use crate::plan::{Disruption, Operation, Plan};
use crate::trace::{place, Change, Meant, Outcome, Publish, Rest, Seen, Trace, FOREVER, LASTING};
use crate::worker::Worker;
use crate::world::{Wanted, World};
use eventsource_xs::event::{EventName, Field, Text};
use eventsource_xs::hub::{EndRequest, OnSlow, Publication, Retain, Topic};
use eventsource_xs::remote::Act;
use eventsource_xs::runtime::Pushed;
use eventsource_xs::stream::Reason;
use eventsource_xs::wire::{Call, VERSION};
use eventsource_xs::ErrorCode;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const CHANNELS: [&str; 3] = ["a", "b", "c"];
/// The channel of members, and that in which they are only counted.
pub const ROOM: &str = "room";
pub const LOBBY: &str = "lobby";
const KEYS: [&str; 4] = ["", "x", "y", "z"];
pub const MEMBERS: [&str; 3] = [LASTING, "bob", "cid"];
pub const LABELS: [&str; 2] = ["user 1", "user 2"];
/// A label by which streams are counted begins with a zero byte.
pub const LIMITS: [&str; 2] = ["\0=ann", "\0=bob"];
const LEASES: [&str; 2] = ["prices", "mail"];
pub const WORKERS: usize = 3;
pub const CLIENTS: usize = 8;
/// The last client reads everything, and is always there.
const AUDITOR: usize = CLIENTS - 1;
/// A client that is told to come back does so within a part of this time.
pub const RETRY: Duration = Duration::from_millis(600);
/// The time within which everything comes to rest.
pub const AT_REST: Duration = Duration::from_secs(20);

pub struct Episode {
    pub rng: Rng,
    pub world: Box<dyn World>,
    pub trace: Arc<Mutex<Trace>>,
    pub roles: Vec<Role>,
    pub clients: Vec<Client>,
    /// Clients that come back at a time, because the server has told them to.
    pub returning: Vec<(Instant, usize)>,
    pub streams: u64,
    pub events: u64,
    plan: Plan,
    /// The numbers from which everything is drawn.
    decisions: std::vec::IntoIter<u64>,
    /// The phase of a disruption in which this is.
    phase: Option<&'static str>,
    /// Until then clients come back that the last disruption has sent away.
    retries_until: Instant,
    /// How often an operation was done in a phase.
    pub crossings: BTreeMap<(Operation, &'static str), u64>,
    /// True at the end: all handlers return at once.
    pub is_resting: bool,
}

/// Returns the channels of events, of members and of their number.
pub fn all_channels() -> Vec<&'static str> {
    [&CHANNELS[..], &[ROOM, LOBBY]].concat()
}

impl Episode {
    /// Draws the numbers of an episode.
    pub fn decisions(seed: u64) -> Vec<u64> {
        let mut rng = Rng::with_seed(!seed);
        (0..rng.usize(40..250)).map(|_| rng.u64(..)).collect()
    }

    /// Begins an episode. The seed draws the hub and who its clients are.
    pub fn new(
        seed: u64,
        decisions: Vec<u64>,
        world: impl FnOnce(Wanted, &Arc<Mutex<Trace>>) -> Box<dyn World>,
    ) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::draw(&mut rng);
        let (stored, complete) = (rng.bool(), rng.u8(..4) > 0);
        let trace = Arc::new(Mutex::new(Trace {
            stored,
            auditor: AUDITOR,
            complete,
            retry: RETRY,
            publishes: Vec::new(),
            clients: Vec::new(),
            streams: BTreeMap::new(),
            tickets: Vec::new(),
            leases: Vec::new(),
            changes: Vec::new(),
            rest: Rest::default(),
            stuck: Vec::new(),
        }));
        let events = if complete { 10_000 } else { rng.usize(1..20) };
        let on_slow = *rng.choice(&[OnSlow::Disconnect, OnSlow::Gap]).expect("one");
        let world = world(Wanted { workers: WORKERS, stored, events, on_slow }, &trace);
        let mut roles: Vec<Role> = (1..CLIENTS).map(|_| Role::draw(&mut rng)).collect();
        // One client reads everything, and is always there.
        roles.push(Role { channels: all_channels(), ..Role::default() });
        let clients = roles.iter().map(|role| {
            let Role { ref channels, follows_state, is_slow, .. } = *role;
            let seen = Seen { channels: channels.clone(), follows_state, is_slow, ..Seen::default() };
            Client { seen, ..Client::default() }
        });
        let clients = clients.collect();
        let mut episode = Self {
            rng,
            world,
            trace,
            roles,
            clients,
            returning: Vec::new(),
            streams: 0,
            events: 0,
            plan,
            decisions: decisions.into_iter(),
            phase: None,
            retries_until: Instant::now(),
            crossings: BTreeMap::new(),
            is_resting: false,
        };
        episode.connect(AUDITOR);
        episode
    }

    fn record(&self, from: Instant, change: Change) {
        self.trace.lock().expect("no panic").changes.push((from, Instant::now(), change));
    }

    /// Has a worker do something after all that it was asked for before.
    pub fn act(&self, worker: usize, act: impl FnOnce(&mut Worker) + Send + 'static) {
        self.world.act(worker, Box::new(act));
    }

    /// Waits until a condition is true. Returns false if it is not true before the deadline.
    pub fn is_true_before(&mut self, deadline: Instant, mut is_true: impl FnMut(&mut Self) -> bool) -> bool {
        while !is_true(self) {
            if Instant::now() >= deadline {
                return false;
            }
            self.world.pause(Duration::from_millis(1));
        }
        true
    }

    /// Takes the next number of the episode, from which everything is drawn that follows. Returns false if there is none.
    fn decide(&mut self) -> bool {
        let decision = self.decisions.next();
        self.rng = Rng::with_seed(decision.unwrap_or(0));
        decision.is_some()
    }

    /// Returns the phase of a disruption in which this is.
    fn phase(&self) -> &'static str {
        match self.phase {
            Some(phase) => phase,
            None if Instant::now() < self.retries_until => "retry",
            None => "-",
        }
    }

    /// One step of the workers and the clients.
    fn step(&mut self) {
        let worker = self.rng.usize(..WORKERS);
        let client = self.rng.usize(..AUDITOR);
        let operation = self.plan.operation(&mut self.rng);
        *self.crossings.entry((operation, self.phase())).or_default() += 1;
        match operation {
            Operation::Publish => self.publish(worker),
            Operation::UpdateMember => {
                let (id, data) = (self.rng.choice(MEMBERS).expect("a member"), self.rng.u8(3..9));
                self.act(worker, move |worker| worker.update_member(id, data));
            }
            Operation::Push => self.push(worker),
            Operation::Connect => self.connect(client),
            Operation::Leave => self.clients[client].leave(),
            Operation::Release => self.release(worker),
            Operation::WantLease => self.want_lease(worker),
            Operation::Close => self.close_stream(worker),
            Operation::End => self.end(worker),
            Operation::Cut => self.cut(worker),
            Operation::Pieces => {
                self.world.set_longest_piece(worker, *self.rng.choice(&[1, 7, 100, 65_536]).expect("one"));
            }
            Operation::KillWorker => self.kill_worker(worker),
            Operation::Return => self.act(worker, Worker::return_from_handlers),
        }
        self.read();
    }

    /// Some steps in a phase of a disruption. Clients leave and come back, most of all.
    fn steps_in(&mut self, phase: &'static str) {
        let before = self.phase.replace(phase);
        for _ in 0..self.rng.usize(..8) {
            if !self.decide() {
                break;
            }
            self.step();
            let client = self.rng.usize(..AUDITOR);
            if self.rng.u8(..4) == 0 {
                self.clients[client].leave();
            }
            if self.rng.u8(..4) == 0 {
                self.connect(client);
            }
        }
        self.phase = before;
    }

    /// All clients read what has arrived, and come back if it is time.
    pub fn read(&mut self) {
        for at in 0..self.clients.len() {
            let was_open = self.clients[at].connection.is_some();
            if self.clients[at].seen.is_slow && !self.is_resting && self.rng.u8(..40) > 0 {
                continue;
            }
            self.clients[at].read();
            if was_open && self.clients[at].connection.is_none() {
                // Three of four come back, soon, and all that poll.
                let (is_auditor, polls) = (at == AUDITOR, self.clients[at].polls);
                if is_auditor || !self.clients[at].is_finished() && (polls || self.rng.u8(..4) > 0) {
                    let longest = if polls { 20 } else { RETRY.as_millis() as u64 / 2 };
                    let pause = if is_auditor { 0 } else { self.rng.u64(..longest) };
                    self.returning.push((Instant::now() + Duration::from_millis(pause), at));
                }
            }
        }
        let now = Instant::now();
        let due: Vec<usize> = self.returning.iter().filter(|(at, _)| *at <= now).map(|(_, client)| *client).collect();
        self.returning.retain(|(at, _)| *at > now);
        for client in due {
            if self.clients[client].connection.is_none() {
                self.connect(client);
            }
        }
    }

    /// Publishes an event. The worker's thread notes the answer.
    fn publish(&mut self, worker: usize) {
        self.events += 1;
        let channel = self.rng.choice(CHANNELS).expect("a channel");
        let (kind, key, retain) = match self.rng.u8(..4) {
            0 => ("set", self.rng.choice(KEYS).expect("a key"), Retain::Newest),
            1 => ("forget", self.rng.choice(KEYS).expect("a key"), Retain::Forget),
            _ => ("plain", "-", Retain::No),
        };
        let once = Some(self.rng.u8(..10)).filter(|_| kind == "plain" && self.rng.u8(..8) == 0);
        let act = if once.is_none() && self.rng.u8(..4) == 0 { Act::Send } else { Act::Wait };
        self.publish_as(worker, channel, kind, key, (retain, once, act));
    }

    pub fn publish_as(
        &mut self,
        worker: usize,
        channel: &'static str,
        kind: &'static str,
        key: &'static str,
        (retain, once, act): (Retain, Option<u8>, Act),
    ) -> String {
        let data = format!("{} {channel} {key}", self.events);
        let told = data.clone();
        let size = if self.rng.u8(..4) == 0 { self.rng.usize(..30_000) } else { 0 };
        self.act(worker, move |worker| {
            let called = Instant::now();
            let name = EventName::new(Text::from(kind)).expect("a name");
            let sent = format!("{data}{PADDING}{:size$}", "");
            let fields = [Field::Event(name), Field::Data(Text::from(&*sent))].into_iter();
            let once_key = once.map(|once| format!("{once}")).unwrap_or_default();
            let key_bytes = if kind == "plain" { b"" } else { key.as_bytes() };
            let publication =
                Publication { channel: channel.as_bytes(), key: key_bytes, retain, once: once_key.as_bytes(), fields };
            let (worker_number, data) = (worker.number, data);
            // A worker that is killed meanwhile notes nothing more.
            let noted = worker.note(|trace| {
                let (once, returned, outcome) = (once, called + FOREVER, Outcome::Unknown);
                trace.publishes.push(Publish {
                    worker: worker_number,
                    channel,
                    key,
                    kind,
                    once,
                    data,
                    called,
                    returned,
                    outcome,
                });
                trace.publishes.len() - 1
            });
            let mut id = None;
            let outcome = match worker.hub.publish(publication, act, |made| id = Some(place(made))) {
                Ok(()) if act == Act::Send => Outcome::Sent,
                Ok(()) => Outcome::Published(id.expect("an id")),
                Err(error) => match error.code {
                    // A worker of another version is refused.
                    ErrorCode::Unavailable | ErrorCode::Refused => Outcome::Refused,
                    ErrorCode::Unknown | ErrorCode::Timeout => Outcome::Unknown,
                    other => panic!("{other:?}: {error}"),
                },
            };
            worker.note(|trace| {
                (trace.publishes[noted].returned, trace.publishes[noted].outcome) = (Instant::now(), outcome);
            });
        });
        told
    }

    /// Pushes an event to a stream of a worker.
    fn push(&mut self, worker: usize) {
        let at = self.rng.usize(..CLIENTS);
        self.act(worker, move |worker| {
            let Some((number, handle)) = worker.streams.iter_mut().nth(at) else { return };
            // Only this worker pushes to its streams.
            let count = |change: fn(u64) -> u64| {
                let mut trace = worker.trace.lock().expect("no panic");
                let stream = trace.streams.get_mut(number).expect("a stream");
                stream.pushed = change(stream.pushed);
                stream.pushed
            };
            let event = format!("data: push {number} {}\n\n", count(|pushed| pushed + 1));
            if handle.push(event.as_bytes(), false) != Pushed::Taken {
                count(|pushed| pushed - 1);
            }
        });
    }

    /// Lets a worker forget a stream, as a handler does that returns.
    fn release(&mut self, worker: usize) {
        let at = self.rng.usize(..CLIENTS);
        self.act(worker, move |worker| {
            if let Some(number) = worker.streams.keys().copied().nth(at) {
                worker.streams.remove(&number).expect("a stream").release();
            }
        });
    }

    /// Ends a stream, as an application does.
    fn close_stream(&mut self, worker: usize) {
        let at = self.rng.usize(..CLIENTS);
        self.act(worker, move |worker| {
            let Some(number) = worker.streams.keys().copied().nth(at) else { return };
            let from = Instant::now();
            let change = worker.begin_change(from, Change::Closed(number));
            let handle = worker.streams.get_mut(&number).expect("a stream");
            handle.close(Reason::Application);
            worker.streams.remove(&number).expect("a stream").release();
            worker.end_change(change);
        });
    }

    /// Has a worker ask for a lease or give it back, and the others look at theirs.
    fn want_lease(&mut self, worker: usize) {
        let (name, is_wanted) = (self.rng.choice(LEASES).expect("a name"), self.rng.u8(..3) > 0);
        self.act(worker, move |worker| worker.want_lease(name, is_wanted));
        let renews = self.rng.bool();
        for other in (0..WORKERS).filter(|of| *of != worker) {
            self.act(other, move |other| if renews { other.renew_leases() } else { other.look_at_leases() });
        }
    }

    /// Ends the streams with a label or a topic.
    fn end(&mut self, worker: usize) {
        let (meant, finishes) = match self.rng.u8(..6) {
            0 => (Meant::Channel(self.rng.choice(CHANNELS).expect("a channel")), self.rng.u8(..4) == 0),
            1 => (Meant::Pattern(self.rng.choice(CHANNELS).expect("a channel")), self.rng.u8(..4) == 0),
            _ => (Meant::Label(self.rng.choice(LABELS).expect("a label")), self.rng.bool()),
        };
        self.act(worker, move |worker| {
            let noted = worker.begin_change(Instant::now(), Change::Ended(meant, finishes));
            let (labels, topics) = match meant {
                Meant::Label(label) => (vec![label.as_bytes().into()], vec![]),
                Meant::Channel(name) => (vec![], vec![Topic::Channel(name.as_bytes().into())]),
                Meant::Pattern(name) => (vec![], vec![Topic::Pattern(format!("{name}*").into_bytes().into())]),
            };
            // An end whose answer is lost may have happened, and only then it is promised.
            if worker.hub.call(Call::EndStreams(EndRequest { labels, topics, finishes })).is_ok() {
                worker.end_change(noted);
            }
        });
    }

    fn cut(&mut self, worker: usize) {
        let after = self.rng.u16(0..300);
        let towards_hub = self.rng.bool();
        self.world.cut(worker, towards_hub, after);
        self.record(Instant::now(), Change::Cut);
    }

    /// Ends a worker: its connection and its handles. Another one takes its place.
    fn kill_worker(&mut self, worker: usize) {
        self.world.replace_worker(worker);
        self.record(Instant::now(), Change::Cut);
    }

    /// Kills the process, or stops it in order, and starts another one.
    fn die(&mut self, killed: bool) {
        let from = Instant::now();
        let Some(pid) = self.world.pid() else { return };
        if killed {
            self.world.kill(pid);
        } else {
            self.world.stop(pid);
        }
        self.steps_in("dead");
        self.world.start();
        self.record(from, Change::Died);
    }

    /// Upgrades the process. In each phase other things happen: most of all, clients leave and come back.
    pub fn upgrade(&mut self) {
        let from = Instant::now();
        let protocol = (self.rng.u8(..5) == 0).then_some(VERSION);
        let fails_in = Some(self.rng.usize(..2)).filter(|_| self.rng.u8(..6) == 0);
        let dies_in = Some(self.rng.usize(..3)).filter(|_| self.rng.u8(..10) == 0);
        let pid = self.world.pid();
        self.world.begin_upgrade(protocol);
        let (mut is_dead, mut at) = (false, 0);
        while let Some(phase) = self.world.next_phase() {
            self.steps_in(phase);
            if let Some(pid) = pid.filter(|_| dies_in == Some(at)) {
                self.world.kill(pid);
                is_dead = true;
            }
            self.world.pass(fails_in != Some(at));
            at += 1;
        }
        let succeeded = self.world.end_upgrade();
        if is_dead {
            self.world.start();
            self.record(from, Change::Died);
        } else if succeeded {
            assert_eq!(self.world.pid(), pid, "an upgrade keeps its process");
            assert_eq!(fails_in, None, "a program that fails is not continued as");
        } else {
            assert!(fails_in.is_some(), "the upgrade was refused");
        }
        let change = if succeeded { Change::Upgraded } else { Change::NotUpgraded };
        self.record(from, change);
    }

    /// Upgrades the process to a program of another protocol, and back. Workers have to restart for each.
    fn change_protocol(&mut self) {
        let from = Instant::now();
        for version in [VERSION + 1, VERSION] {
            let began = Instant::now();
            self.world.begin_upgrade(Some(version));
            while let Some(phase) = self.world.next_phase() {
                self.steps_in(phase);
                self.world.pass(true);
            }
            assert!(self.world.end_upgrade(), "an upgrade to version {version}");
            self.record(began, Change::Upgraded);
            self.steps_in("other");
        }
        for worker in 0..WORKERS {
            self.act(worker, Worker::begin_anew);
        }
        self.record(from, Change::Cut);
    }

    fn disrupt(&mut self, disruption: Disruption) {
        match disruption {
            Disruption::Kill => self.die(true),
            Disruption::Stop => self.die(false),
            Disruption::ChangeProtocol => self.change_protocol(),
            Disruption::Upgrade => {
                let is_repeated = self.rng.u8(..4) == 0;
                self.upgrade();
                if is_repeated {
                    self.upgrade();
                }
            }
        }
        self.retries_until = Instant::now() + RETRY * 2;
    }

    /// Does what the numbers draw.
    pub fn run(&mut self) {
        while self.decide() {
            match self.plan.disruption(&mut self.rng) {
                Some(disruption) => self.disrupt(disruption),
                None => self.step(),
            }
            self.world.pause(Duration::from_micros(self.rng.u64(..2000)));
        }
    }
}
