//! A hub over a simulated store that delays, fails, appends for others, forgets answers, loses its tail and begins anew, at
//! random. At the end the books balance: every requester was told once, no event was delivered twice, and none was missed
//! without another epoch.

mod members_model;

use super::*;
use crate::store::{Began, MemberPart, Store, StoreCommand, StoreEnd};
use eventsource_xs::compression::{Body, ContentCoding};
use eventsource_xs::event::{Field, Framing, LineEnd, Text, Unsequenced};
use eventsource_xs::hub::{
    Access, Announcement, History, PresenceChange, Retain, StartPoint, Statement, SubscribeRequest, Ticket, Topic,
};
use eventsource_xs::runtime::{self, OpenOptions, StreamHandle};
use eventsource_xs::stream;
use eventsource_xs::stream::StreamId;
use eventsource_xs::ticket::{Key, TicketKeys};
use eventsource_xs::wire::{FieldList, FileSettings, FileSync, RedisSettings, StoreSettings};
use rustix::time::{clock_gettime, ClockId};
use std::collections::{HashMap as Map, HashSet, VecDeque};
use std::io::Read;
use std::os::unix::net::UnixStream;

/// Longer than any step takes, also on a slow machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A requester that waits for no answer.
const NOBODY: Requester = Requester { peer: 0, request: 0, bytes: 0, since: None };

/// A day in milliseconds.
const DAY: u64 = 86_400_000;

/// The content of a store, and the requests to it.
struct Simulated {
    end: StoreEnd,
    epoch: u64,
    /// The entries of this epoch, in order.
    log: Vec<StoreEntry>,
    /// The number of them that were reported.
    reported: usize,
    /// Drafts that wait to be appended, in the order in which they were asked for.
    asked: VecDeque<(u64, Draft)>,
    /// The tickets that have failed: an entry that arrives later has none.
    failed: HashSet<u64>,
    /// True if it was told that it has lost entries.
    has_lost: bool,
    seq: u64,
    /// Its clock: milliseconds since 1970.
    clock: u64,
}

impl Simulated {
    fn new(end: StoreEnd) -> Self {
        Self {
            end,
            epoch: 1,
            log: Vec::new(),
            reported: 0,
            asked: VecDeque::new(),
            failed: HashSet::new(),
            has_lost: false,
            seq: 0,
            clock: eventsource_xs::runtime::wall(),
        }
    }

    fn begin(&mut self, reason: &str) {
        self.begin_after(0, reason, usize::MAX);
    }

    /// Begins with so many of its entries, of which some were evicted.
    fn begin_after(&mut self, evicted_through: u64, reason: &str, most: usize) {
        self.begin_without_end(evicted_through, reason, most);
        self.end.reporter.report(StoreReport::Ready);
    }

    /// Begins, and does not say that its history is complete.
    fn begin_without_end(&mut self, evicted_through: u64, reason: &str, most: usize) {
        let (epoch, last_seq) = (format!("epoch{}", self.epoch).into(), self.log.last().map_or(0, |entry| entry.seq));
        let history = History { epoch, last_seq, evicted_through, ..History::default() };
        let began = Began { history, reason: reason.into(), ..Began::default() };
        self.end.reporter.report(StoreReport::Began(began));
        self.reported = 0;
        self.report(most);
    }

    /// Takes what it was asked.
    fn listen(&mut self) {
        while let Ok(command) = self.end.commands.try_recv() {
            match command {
                StoreCommand::Append { ticket, draft } => self.asked.push_back((ticket, draft)),
                StoreCommand::Lost(_) => self.has_lost = true,
                _ => {}
            }
        }
    }

    /// Answers the next ping.
    fn answer_ping(&mut self) {
        while let Ok(command) = self.end.commands.recv_timeout(DEADLINE) {
            if let StoreCommand::Ping { ticket } = command {
                return self.end.reporter.report(StoreReport::Done(ticket));
            }
        }
    }

    fn append(&mut self, ticket: Option<u64>, draft: Draft, hole: u64) {
        self.seq += 1 + hole;
        let ticket = ticket.filter(|ticket| !self.failed.contains(ticket));
        let at = self.log.last().map_or(0, |last| last.at).max(self.clock);
        self.log.push(StoreEntry { seq: self.seq, at, ticket, draft });
    }

    /// Appends what it was asked, with holes before it.
    fn append_asked(&mut self, mut hole: impl FnMut() -> u64) {
        while let Some((ticket, draft)) = self.asked.pop_front() {
            self.append(Some(ticket), draft, hole());
        }
    }

    fn report(&mut self, most: usize) {
        self.end.reporter.set_clock(self.clock);
        let to = self.log.len().min(self.reported.saturating_add(most));
        if to > self.reported {
            self.end.reporter.report(StoreReport::Entries(self.log[self.reported..to].to_vec()));
            self.reported = to;
        }
    }

    fn fail(&mut self, ticket: u64, code: ErrorCode) {
        self.failed.insert(ticket);
        self.end.reporter.report(StoreReport::Failed { ticket, failure: Failure::new(code, None, "simulated") });
    }
}

fn draft(number: u64, once: &str) -> Draft {
    let fields = FieldList::of([Field::Data(Text::from(&*number.to_string()))]);
    Draft { channel: b"news"[..].into(), once: once.as_bytes().into(), fields, ..Draft::default() }
}

/// Opens a stream that is subscribed. Returns its client's side, too.
pub(super) fn open_stream(hub: &ReactorHub, request: SubscribeRequest) -> (StreamHandle, UnixStream) {
    let (socket, client) = UnixStream::pair().expect("a pair of sockets");
    client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let settings = stream::Settings {
        framing: Framing::Plain,
        coding: ContentCoding::Identity,
        line_end: LineEnd::Lf,
        keepalive: None,
        timeout: DEADLINE * 2,
        max_buffered: 64 << 20,
        drop_oldest: false,
        retry: Duration::from_secs(3),
    };
    let mut stream = StreamHandle::open(OpenOptions {
        socket: Some(socket.into()),
        head: b"",
        content: b"",
        body: Body::default(),
        settings,
        waits: false,
        ends_with_handle: false,
        interpreter: 0,
        max_streams: usize::MAX,
        handler_limit: None,
        may_wait: false,
        members_of: None,
    })
    .expect("a stream");
    assert!(stream.subscribe(hub, request, 1000).expect("a hub"));
    (stream, client)
}

/// A client of the hub as it is now.
struct Reader {
    _stream: StreamHandle,
    client: UnixStream,
    text: String,
}

impl Reader {
    fn new(hub: &ReactorHub) -> Self {
        Self::after(hub, None)
    }

    /// Begins after an id; with the oldest event without one.
    fn after(hub: &ReactorHub, id: Option<&str>) -> Self {
        Self::with(hub, id, Access::default())
    }

    fn with(hub: &ReactorHub, id: Option<&str>, access: Access) -> Self {
        let (stream, client) = open_stream(
            hub,
            SubscribeRequest {
                topics: vec![Topic::Channel(b"news"[..].into())],
                after: id.map(|id| id.as_bytes().into()),
                start: StartPoint::Oldest,
                access,
                ..SubscribeRequest::default()
            },
        );
        Self { _stream: stream, client, text: String::new() }
    }

    /// Reads until an event with this number has arrived; returns the numbers of all.
    fn numbers_until(self, last: u64) -> Vec<u64> {
        self.numbers_and_gaps_until(last).expect("the stream stays").0
    }

    /// The same, with how often the client received a gap; nothing if the stream has ended before.
    fn numbers_and_gaps_until(mut self, last: u64) -> Option<(Vec<u64>, usize)> {
        let mut bytes = [0; 4096];
        while !self.text.contains(&format!("data: {last}\n")) {
            match self.client.read(&mut bytes) {
                Ok(count) if count > 0 => self.text.push_str(std::str::from_utf8(&bytes[..count]).expect("text")),
                Ok(_) => return None,
                other => panic!("{other:?} after {}", self.text),
            }
        }
        let numbers = self.text.lines().filter_map(|line| line.strip_prefix("data: ")?.parse().ok()).collect();
        Some((numbers, self.text.matches("event: gap\n").count()))
    }
}

/// Returns a hub over a store.
pub(super) fn hub_of(store: Store, settings: &HubSettings) -> StoredHub {
    let name = Name::new("shop").expect("a name");
    StoredHub::of(store, settings, &name, LastDelivered::default())
}

/// A hub with its simulated store, and the books.
struct World {
    hub: StoredHub,
    store: Simulated,
    reader: Option<Reader>,
    now: Instant,
    /// The number of the next event, and of the next request.
    next: u64,
    /// The open publishes, by request, with their key `once`.
    open: Map<u64, String>,
    /// The ids that requesters were told, by request, and the epochs of that time.
    told: Map<u64, Result<Rc<str>, ErrorCode>>,
    /// The credits that requests have spent, and that are not granted again.
    spent: usize,
}

impl World {
    fn new() -> Self {
        Self::with_history(usize::MAX)
    }

    /// A world whose hub retains so many events at most.
    fn with_history(most: usize) -> Self {
        Self::with(most, 0)
    }

    /// A world whose events count as published when so many replicas have them.
    fn with_replicas(replicas: u32) -> Self {
        Self::with(usize::MAX, replicas)
    }

    fn with(most: usize, replicas: u32) -> Self {
        Self::over(StoreSettings::Redis(Box::new(RedisSettings { replicas, ..RedisSettings::default() })), most)
    }

    /// A world whose store is a file.
    fn with_file() -> Self {
        let file = FileSettings { path: "/events".into(), sync: FileSync::Second };
        Self::over(StoreSettings::File(file), usize::MAX)
    }

    /// A world over a kind of store, whose hub retains so many events at most.
    fn over(store_settings: StoreSettings, most: usize) -> Self {
        let (store, end) = Store::new().expect("a pipe");
        let mut settings = HubSettings { store: store_settings, ..HubSettings::default() };
        settings.hub.retention.history = settings.hub.retention.total_history;
        settings.hub.retention.history.events = settings.hub.retention.history.events.min(most);
        let hub = hub_of(store, &settings);
        let mut world = Self {
            hub,
            store: Simulated::new(end),
            reader: None,
            now: Instant::now(),
            next: 0,
            open: Map::new(),
            told: Map::new(),
            spent: 0,
        };
        world.store.begin("");
        assert!(world.take().is_ready);
        world
    }

    /// Kills the process. The next one has a store that is to begin.
    fn kill(&mut self) {
        let (store, end) = Store::new().expect("a pipe");
        self.hub = hub_of(store, &self.hub.sequencer.settings);
        let Simulated { log, seq, clock, .. } = std::mem::replace(&mut self.store, Simulated::new(end));
        (self.store.log, self.store.seq, self.store.clock) = (log, seq, clock);
    }

    fn take(&mut self) -> Effects {
        let effects = self.hub.take_reports(self.now);
        self.note(&effects);
        effects
    }

    /// Takes everything that the store has.
    fn catch_up(&mut self) -> Effects {
        self.store.report(usize::MAX);
        self.take()
    }

    /// As [`catch_up`](Self::catch_up), with answers to requests that nobody has made.
    fn catch_up_unasked(&mut self) {
        self.store.report(usize::MAX);
        self.hub.take_reports(self.now);
    }

    fn note(&mut self, effects: &Effects) {
        for completion in &effects.completions {
            let request = completion.requester.request;
            self.spent -= completion.requester.bytes;
            assert!(self.open.remove(&request).is_some(), "request {request} was told twice, or never asked");
            let result = completion.result.as_ref().map(Rc::clone).map_err(|failure| failure.code);
            assert!(self.told.insert(request, result).is_none());
        }
        if self.reader.is_none() {
            self.reader = self.hub.handle().map(|hub| Reader::new(hub));
        }
    }

    fn publish(&mut self, once: &str) -> u64 {
        self.next += 1;
        let requester = Requester { peer: 1, request: self.next, bytes: 100, since: None };
        self.open.insert(self.next, once.into());
        match self.hub.append_event(draft(self.next, once), None, requester, self.now).expect("it is accepted") {
            Published::Waits => self.spent += requester.bytes,
            Published::Id(id) => {
                self.open.remove(&self.next);
                self.told.insert(self.next, Ok(id.into()));
            }
        }
        self.store.listen();
        self.next
    }

    /// Lets the store finish everything, and checks what the client of this epoch has received.
    fn settle(&mut self) {
        self.store.listen();
        self.store.append_asked(|| 0);
        self.catch_up();
        let last = self.publish("");
        self.store.append_asked(|| 0);
        self.catch_up();
        assert_eq!((&self.open, self.spent), (&Map::new(), 0));
        let mut seen = HashSet::new();
        let is_first = |entry: &&StoreEntry| entry.draft.once.is_empty() || seen.insert(entry.draft.once.clone());
        let expected: Vec<u64> = self.store.log.iter().filter(is_first).map(number_of).collect();
        let reader = self.reader.take().expect("a client");
        assert_eq!(reader.numbers_until(last), expected);
        // A client that comes now receives the same.
        assert_eq!(Reader::new(self.hub.handle().expect("a hub")).numbers_until(last), expected);
        self.check_ids();
    }

    /// Each id that a publisher received in this epoch is that of its event, or of the first one with the same key.
    fn check_ids(&self) {
        let prefix = format!("epoch{}-", self.store.epoch);
        for (request, result) in &self.told {
            let Some(seq) = result.as_ref().ok().and_then(|id| id.strip_prefix(&*prefix)) else { continue };
            // Others were evicted.
            let Some(entry) = self.store.log.iter().find(|entry| entry.seq.to_string() == seq) else { continue };
            let own = self.store.log.iter().find(|entry| number_of(entry) == *request);
            assert!(number_of(entry) == *request || own.is_none_or(|own| own.draft.once == entry.draft.once));
            assert!(number_of(entry) == *request || !entry.draft.once.is_empty());
        }
    }
}

fn number_of(entry: &StoreEntry) -> u64 {
    let data = entry.draft.fields.fields().iter().next().expect("a field");
    match data {
        Field::Data(text) => String::from_utf8_lossy(&text.to_utf8()).parse().expect("a number"),
        other => panic!("{other:?}"),
    }
}

/// Returns a number that the environment gives, or another one.
fn given(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn the_books_balance_whatever_the_store_does() {
    let (seed, steps) = (given("EVENTSOURCE_XS_SEED", 1), given("EVENTSOURCE_XS_STEPS", 3000));
    for seed in seed..seed + 5 {
        run(seed, steps);
    }
}

fn run(seed: u64, steps: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::with_replicas(seed as u32 % 2);
    let mut foreign = 1_000_000;
    for step in 0..steps {
        match random.u32(0..100) {
            0..=39 => drop(world.publish("")),
            40..=49 => drop(world.publish(&format!("key{}", random.u32(0..1000)))),
            // The store appends some of what it was asked, at times not in the order in which it was asked.
            50..=69 => {
                for _ in 0..random.usize(0..5) {
                    let at = if random.u32(0..10) == 0 { random.usize(0..5) } else { 0 };
                    if let Some((ticket, draft)) = world.store.asked.remove(at) {
                        world.store.append(Some(ticket), draft, random.u64(0..3));
                    }
                }
            }
            70..=74 => {
                foreign += 1;
                let once = if random.bool() { format!("key{}", random.u32(0..1000)) } else { String::new() };
                world.store.append(None, draft(foreign, &once), random.u64(0..1 << 24));
            }
            75..=89 => {
                world.store.report(random.usize(0..10));
                world.take();
            }
            // One fails for sure, or is perhaps stored.
            90..=92 => {
                if let Some((ticket, draft)) = world.store.asked.pop_front() {
                    let is_stored = random.bool();
                    let code = if is_stored { ErrorCode::Unknown } else { ErrorCode::Unavailable };
                    world.store.fail(ticket, code);
                    if is_stored {
                        world.store.append(None, draft, 0);
                    }
                    world.take();
                }
            }
            // The connection of the store is lost and comes back: the history is reported again.
            93 => {
                world.store.begin("");
                world.take();
            }
            // The process continues as another one: the store ends and begins anew.
            94 => assert!(restart(&mut world)),
            // The tail is lost.
            95 if random.u32(0..5) == 0 => {
                world.settle();
                world.store.log.truncate(random.usize(0..=world.store.log.len()));
                world.store.epoch += 1;
                let own = |entry: &StoreEntry| StoreEntry { ticket: None, ..entry.clone() };
                world.store.log = world.store.log.iter().map(own).collect();
                world.store.begin("the tail is lost");
                world.take();
            }
            // The tail is lost while this process continues as another one, and others have appended since.
            97 if random.u32(0..5) == 0 && world.store.log.len() > 3 => {
                world.settle();
                let seen = world.hub.last_seq();
                world.store.log.pop();
                foreign += 1;
                world.store.append(None, draft(foreign, ""), 0);
                assert!(!restart(&mut world));
                assert_eq!(world.hub.last_seq(), seen);
                world.store.listen();
                assert!(std::mem::take(&mut world.store.has_lost), "it was told");
                world.reader = None;
                world.store.epoch += 1;
                world.store.begin("told");
                world.take();
            }
            // Entries of others are evicted before this process has read them.
            96 if random.u32(0..5) == 0 => {
                world.settle();
                for _ in 0..3 {
                    foreign += 1;
                    world.store.append(None, draft(foreign, ""), 0);
                }
                world.store.log.drain(..world.store.log.len() - 1);
                let evicted_through = world.store.log[0].seq - 1;
                world.store.begin_after(evicted_through, "it was away", usize::MAX);
                world.take();
            }
            _ => {}
        }
        assert!(step % 500 != 499 || world.hub.handle().is_some());
    }
    world.settle();
    let told = world.told.len() as u64;
    assert_eq!(told, world.next, "seed {seed}: everybody was told");
}

/// Ends the store as before an upgrade, and begins another one with the same log. Returns whether the hub is ready.
fn restart(world: &mut World) -> bool {
    world.store.listen();
    world.store.append_asked(|| 0);
    world.store.report(usize::MAX);
    let (store, end) = Store::new().expect("a pipe");
    let before = std::mem::replace(&mut world.store.end, end);
    drop(before); // the threads have ended
    let effects = world.hub.finish(DEADLINE);
    world.note(&effects);
    world.hub.sequencer.store = store;
    world.hub.sequencer.beginning.await_again();
    world.store.log.iter_mut().for_each(|entry| entry.ticket = None);
    world.store.begin("");
    world.take().is_ready
}

#[test]
fn the_clock_of_the_store_decides_how_old_an_entry_is() {
    for ahead in [0, 120_000, 30 * DAY] {
        for clock in [eventsource_xs::runtime::wall() + ahead, eventsource_xs::runtime::wall() - ahead] {
            let mut world = World::with_history(usize::MAX);
            let mut settings = world.hub.sequencer.settings.clone();
            settings.hub.retention.history.age = Duration::from_secs(60);
            let (store, end) = Store::new().expect("a pipe");
            world.hub = hub_of(store, &settings);
            world.store = Simulated::new(end);
            for (number, age) in [(1, 100_000), (2, 30_000), (3, 0)] {
                world.store.clock = clock - age;
                world.store.append(None, draft(number, &format!("key{number}")), 0);
            }
            world.store.begin("");
            assert!(world.take().is_ready);
            let mut publish = |key: &str| world.hub.append_event(draft(0, key), None, NOBODY, world.now);
            let is_known = |key: &str| matches!(publish(key), Ok(Published::Id(_)));
            assert_eq!(["key1", "key2", "key3"].map(is_known), [false, true, true], "the clock shows {clock}");
            let reader = Reader::after(world.hub.handle().expect("a hub"), Some("epoch1-2"));
            assert_eq!(reader.numbers_and_gaps_until(3), Some((vec![3], 0)), "the clock shows {clock}");
            let reader = Reader::new(world.hub.handle().expect("a hub"));
            assert_eq!(reader.numbers_until(3), [2, 3], "the clock shows {clock}");
        }
    }
}

/// A client that has come from another machine, where it has received the log up to an entry.
struct Roamer {
    reader: Reader,
    /// The number of entries of the log that it had received.
    received: usize,
    /// True if this hub had everything still to deliver that the client had not received.
    is_ahead: bool,
}

#[test]
fn clients_of_other_machines_receive_the_rest_however_late_this_machine_is_and_however_full_its_history() {
    // Nobody reads meanwhile, so all must fit into a socket.
    let (seed, steps) = (given("EVENTSOURCE_XS_SEED", 1), 120);
    for seed in seed..seed + 30 {
        roam(seed, steps);
    }
}

fn roam(seed: u64, steps: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let history = [1, 3, 10, 50][random.usize(0..4)];
    let mut world = World::with_history(history);
    // Days from the clock of this machine. Nothing gets old while the model runs, unless by a clock that jumps.
    world.store.clock = world.store.clock + random.u64(0..10 * DAY) - 5 * DAY;
    let mut foreign = 1_000_000;
    let mut roamers = Vec::new();
    for _ in 0..steps {
        match random.u32(0..100) {
            0..=19 => {
                world.publish("");
                world.store.append_asked(|| random.u64(0..3));
            }
            // Other machines are ahead of this one.
            20..=49 => {
                foreign += 1;
                world.store.append(None, draft(foreign, ""), random.u64(0..1 << 24));
            }
            50..=74 => {
                world.store.report(random.usize(0..history * 2));
                world.take();
            }
            75..=96 if !world.store.log.is_empty() => {
                let reported = world.store.reported;
                let at = random.usize(reported.saturating_sub(history + 3)..world.store.log.len());
                let id = format!("epoch1-{}", world.store.log[at].seq);
                let reader = Reader::after(world.hub.handle().expect("a hub"), Some(&id));
                roamers.push(Roamer { reader, received: at + 1, is_ahead: at + 1 >= reported });
            }
            97 => {
                let reported = world.store.reported;
                world.store.begin_after(0, "", reported);
                world.take();
            }
            // Its clock jumps: back, or forward when this hub has everything in memory.
            98 => world.store.clock -= random.u64(0..DAY),
            _ => {
                world.catch_up();
                world.store.clock += random.u64(0..DAY);
            }
        }
    }
    world.catch_up();
    foreign += 1;
    world.store.append(None, draft(foreign, ""), 0);
    world.catch_up();
    assert!(roamers.len() as u64 > steps / 10);
    for Roamer { reader, received, is_ahead } in roamers {
        let heard = reader.numbers_and_gaps_until(foreign);
        let rest: Vec<u64> = world.store.log[received..].iter().map(number_of).collect();
        match heard {
            Some((numbers, 0)) => assert_eq!(numbers, rest, "seed {seed}, history {history}, after {received}"),
            // One that was behind may find that events were evicted, also while it is sent others.
            other => assert!(!is_ahead, "seed {seed}, history {history}, after {received}: {other:?}"),
        }
    }
}

#[test]
fn nobody_waits_for_a_store_that_has_ended() {
    let mut world = World::new();
    let request = world.publish("");
    let (_, end) = Store::new().expect("a pipe");
    world.store.end = end;
    world.take();
    assert_eq!(world.told.get(&request), Some(&Err(ErrorCode::Unknown)));
    assert!(world.hub.next_due().is_some(), "it begins anew");
}

#[test]
fn what_waits_for_a_store_that_does_not_answer_in_time_continues_to_wait() {
    let mut world = World::new();
    let request = world.publish("");
    let (has_all, effects) = world.hub.wait_until_stored(Duration::from_millis(10));
    assert!(world.hub.has_waiting() && effects.completions.is_empty() && !has_all);
    let late = world.publish("");
    world.store.append_asked(|| 0);
    world.store.report(usize::MAX);
    world.store.listen();
    let World { hub, store, .. } = &mut world;
    let (has_all, effects) = std::thread::scope(|scope| {
        scope.spawn(|| store.answer_ping());
        hub.wait_until_stored(DEADLINE)
    });
    assert!(!world.hub.has_waiting() && has_all);
    let answered: Vec<_> = effects.completions.iter().map(|answer| answer.requester.request).collect();
    assert_eq!(answered, [request, late]);
    assert!(effects.completions.iter().all(|answer| answer.result.is_ok()));
}

#[test]
fn a_store_that_does_not_answer_is_noticed_though_nothing_waits_for_it() {
    let mut world = World::new();
    assert!(!world.hub.wait_until_stored(Duration::from_millis(10)).0 && !world.hub.has_waiting());
}

#[test]
fn a_store_that_has_ended_is_asked_nothing_until_it_starts_again() {
    let mut world = World::new();
    drop(std::mem::replace(&mut world.store, Simulated::new(Store::new().expect("a pipe").1)));
    world.take();
    let requester = Requester { peer: 1, request: 99, bytes: 100, since: None };
    let refused =
        world.hub.append_event(draft(99, ""), None, requester, world.now).err().expect("nobody would carry it out");
    assert_eq!(refused.code, ErrorCode::Unavailable);
    let restart_at = world.hub.sequencer.store.restart_at().expect("its threads have ended");
    world.hub.run_timers(restart_at);
    assert!(world.hub.sequencer.store.is_running());
}

#[test]
fn an_event_that_was_perhaps_stored_is_published_once_if_it_is_published_again_with_its_key() {
    let mut world = World::new();
    let first = world.publish("k");
    let (ticket, draft) = world.store.asked.pop_front().expect("an event");
    world.store.fail(ticket, ErrorCode::Unknown);
    world.take();
    assert_eq!(world.told.get(&first), Some(&Err(ErrorCode::Unknown)));
    let second = world.publish("k");
    world.store.append(None, draft, 0);
    world.settle();
    assert_eq!(world.told.get(&second), Some(&Ok("epoch1-1".into())));
}

#[test]
fn an_event_that_replicas_perhaps_lack_has_its_id_when_they_have_a_repetition_or_a_later_event() {
    for (replicas, appended) in [(0, 0), (1, 1)] {
        let mut world = World::with_replicas(replicas);
        for number in [100, 101] {
            world.store.append(None, draft(number, &format!("k{number}")), 0);
        }
        world.catch_up();
        let requests = [world.publish("k100"), world.publish("k100")];
        assert_eq!(world.store.asked.len(), appended, "it is appended once more if there are replicas");
        world.store.append_asked(|| 0);
        world.catch_up();
        let answers = requests.map(|request| world.told[&request].clone());
        assert_eq!(answers, [Ok("epoch1-1".into()), Ok("epoch1-1".into())]);
        // Everything before that is confirmed, too.
        for (key, id) in [("k100", "epoch1-1"), ("k101", "epoch1-2")] {
            let request = world.publish(key);
            assert_eq!((world.store.asked.len(), &world.told[&request]), (0, &Ok(id.into())));
        }
        // An entry of another machine is not.
        world.store.append(None, draft(102, "k102"), 0);
        world.catch_up();
        world.publish("k102");
        assert_eq!(world.store.asked.len(), appended);
        world.settle();
    }
}

#[test]
fn the_successor_of_a_killed_process_knows_which_events_the_history_must_hold() {
    let folder = std::env::temp_dir().join(format!("eventsource-stored-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a new folder");
    let file = StoreSettings::File(FileSettings { path: "/events".into(), sync: FileSync::Second });
    let begin = |kind: &StoreSettings, last: u64, is_killed_before_the_end: bool| {
        let (store, end) = Store::new().expect("a pipe");
        let settings = HubSettings { store: kind.clone(), ..HubSettings::default() };
        let name = Name::new("shop").expect("a name");
        let seen = LastDelivered::open(&folder.join("shop.sock"));
        let mut hub = StoredHub::of(store, &settings, &name, seen);
        let mut simulated = Simulated::new(end);
        for number in 0..last {
            simulated.append(None, draft(number, ""), 0);
        }
        simulated.begin_without_end(0, "", usize::MAX);
        if !is_killed_before_the_end {
            simulated.end.reporter.report(StoreReport::Ready);
        }
        let is_ready = hub.take_reports(Instant::now()).is_ready;
        simulated.listen();
        (is_ready, simulated.has_lost)
    };
    for kind in [StoreSettings::Redis(Box::default()), file] {
        // A process that was killed before its store has begun another epoch leaves the next one to find the same. So does one
        // that was killed while it read the history.
        for (last, is_lost) in [(3, false), (3, false), (5, false), (4, true), (4, true), (7, false)] {
            let (is_ready, has_lost) = begin(&kind, last, true);
            assert!(!is_ready && (is_lost || !has_lost), "{kind:?} through {last}, killed before the end");
            assert_eq!(begin(&kind, last, false), (!is_lost, is_lost), "{kind:?} through {last}");
        }
        std::fs::remove_file(folder.join("shop.sock")).expect("it is there");
    }
    std::fs::remove_dir_all(&folder).expect("its own folder");
}

#[test]
fn a_client_that_has_read_evicted_events_is_not_ahead() {
    let mut world = World::new();
    world.kill();
    let (epoch, reason) = ("epoch1".into(), "".into());
    let history = History { epoch, last_seq: 7, evicted_through: 7, ..History::default() };
    let began = Began { history, reason, ..Began::default() };
    world.store.end.reporter.report(StoreReport::Began(began));
    world.store.end.reporter.report(StoreReport::Ready);
    assert!(world.take().is_ready);
    assert_eq!(world.hub.seq_ahead(Some(b"epoch1-7")), None);
    assert_eq!(world.hub.seq_ahead(Some(b"epoch1-8")), Some((8, false)));
    world.hub.report_missing(7);
    world.store.listen();
    assert!(!world.store.has_lost);
}

#[test]
fn a_client_that_has_the_number_of_an_entry_without_an_event_is_not_ahead() {
    let mut world = World::new();
    world.kill();
    let (epoch, reason) = ("epoch1".into(), "".into());
    // As Redis begins an epoch whose origin is that of the one before: with a marker, which is no event.
    let history = History { epoch, last_seq: 7, evicted_through: 6, ..History::default() };
    let began = Began { history, reason, ..Began::default() };
    world.store.end.reporter.report(StoreReport::Began(began));
    world.store.end.reporter.report(StoreReport::Ready);
    assert!(world.take().is_ready);
    assert_eq!(["epoch1-7", "epoch1-8"].map(|id| world.hub.seq_ahead(Some(id.as_bytes()))), [None, Some((8, false))]);
    world.hub.report_missing(7);
    world.store.listen();
    assert!(!world.store.has_lost);
    world.hub.report_missing(8);
    world.store.listen();
    assert!(world.store.has_lost, "nobody else has given a greater one");
}

#[test]
fn a_request_to_end_streams_in_a_history_means_those_that_were_asked_for_before_it() {
    let mut world = World::new();
    world.kill();
    let clock = world.store.clock;
    world.store.clock = clock - 100_000;
    world.store.append(None, draft(1, ""), 0);
    for (label, age) in [("old", 70_000), ("new", 30_000)] {
        world.store.clock = clock - age;
        let labels = vec![label.as_bytes().into()];
        world.store.append(None, Draft::of_end(&EndRequest { labels, ..EndRequest::default() }), 0);
    }
    world.store.clock = clock;
    world.store.begin("");
    assert!(world.take().is_ready);
    let hub = world.hub.handle().expect("a hub");
    for (label, seconds, is_open) in [("new", 40, false), ("new", 20, true), ("other", 40, true), ("old", 80, true)] {
        let asked_at = u64::try_from(clock_gettime(ClockId::Monotonic).tv_sec - seconds).unwrap_or(1) * 1_000_000_000;
        let access = Access { labels: vec![label.as_bytes().into()], asked_at, ..Access::default() };
        let reader = Reader::with(hub, None, access);
        assert_eq!(reader.numbers_and_gaps_until(1).is_some(), is_open, "{label}, asked {seconds} seconds ago");
    }
}

#[test]
fn an_id_that_looks_like_one_of_the_hub_is_refused() {
    let mut world = World::new();
    let mut publish = |id: &[u8]| world.hub.append_event(draft(1, ""), Some(id), NOBODY, world.now).map(drop);
    assert_eq!(publish(b"epoch1-1").expect_err("reserved").field.as_deref(), Some("id"));
    publish(b"other-1").expect("another id");
}

#[test]
fn what_does_not_fit_is_refused_before_the_store_is_asked() {
    let mut world = World::new();
    let mut settings = world.hub.sequencer.settings.clone();
    settings.hub.retention.state.keys = 2;
    world.hub.adopt(&settings);
    let retained = |number, key: &str, retain| Draft { key: key.as_bytes().into(), retain, ..draft(number, "") };
    let publish = |world: &mut World, key: &str, retain| {
        world.next += 1;
        let requester = Requester { peer: 1, request: world.next, bytes: 0, since: None };
        let published = world.hub.append_event(retained(world.next, key, retain), None, requester, world.now);
        if published.is_ok() {
            world.open.insert(world.next, String::new());
        }
        world.store.listen();
        published.map(drop).map_err(|failure| failure.code)
    };
    assert_eq!(publish(&mut world, "a", Retain::Newest), Ok(()));
    assert_eq!(publish(&mut world, "b", Retain::Newest), Ok(()));
    assert_eq!(publish(&mut world, "c", Retain::Newest), Err(ErrorCode::Full), "drafts that wait count");
    assert_eq!(world.store.asked.len(), 2, "the store was not asked");
    assert_eq!(publish(&mut world, "a", Retain::Forget), Ok(()));
    assert_eq!(publish(&mut world, "c", Retain::Newest), Ok(()), "what will be forgotten makes room");
    let (ticket, _) = world.store.asked.pop_back().expect("c");
    world.store.fail(ticket, ErrorCode::Unavailable);
    world.take();
    assert_eq!(publish(&mut world, "d", Retain::Newest), Ok(()), "a draft that failed is counted back");
    world.settle();
    assert_eq!(publish(&mut world, "e", Retain::Newest), Err(ErrorCode::Full), "entries count");
    world.store.append(None, retained(1001, "b", Retain::Forget), 0);
    world.store.append(None, retained(1002, "f", Retain::Newest), 0);
    world.catch_up();
    assert_eq!(publish(&mut world, "e", Retain::Newest), Err(ErrorCode::Full), "those of other machines count");
    assert!(restart(&mut world));
    assert_eq!(publish(&mut world, "e", Retain::Newest), Err(ErrorCode::Full), "of a store that begins anew, too");
    assert_eq!(publish(&mut world, "f", Retain::Newest), Ok(()));
}

#[test]
fn several_that_ask_with_one_key_wait_for_one_entry() {
    let mut world = World::new();
    let requests = [world.publish("k"), world.publish("k"), world.publish("k")];
    assert_eq!(world.store.asked.len(), 1);
    world.settle();
    for request in requests {
        assert_eq!(world.told.get(&request), Some(&Ok("epoch1-1".into())));
    }
}

#[test]
fn a_store_that_cannot_begin_says_so_and_nothing_is_published_meanwhile() {
    let (store, end) = Store::new().expect("a pipe");
    let mut hub = hub_of(store, &HubSettings::default());
    let requester = Requester { peer: 1, request: 1, bytes: 1, since: None };
    assert!(hub.append_event(draft(1, ""), None, requester, Instant::now()).is_err());
    let failure = Failure::new(ErrorCode::Unavailable, None, "no disk");
    end.reporter.report(StoreReport::CannotBegin { failure: failure.clone(), retries: true });
    let effects = hub.take_reports(Instant::now());
    assert_eq!((effects.cannot_begin, effects.is_ready), (Some((failure, true)), false));
}

/// Returns what the store is asked, without its tickets.
fn asked(world: &mut World) -> Vec<Draft> {
    world.store.listen();
    world.store.asked.iter().map(|(_, draft)| draft.clone()).collect()
}

#[test]
fn a_will_waits_while_the_store_is_away() {
    let mut world = World::new();
    let will = draft(1, "");
    world.hub.wills.keep(will.clone(), "");
    world.hub.store_wills();
    assert_eq!(asked(&mut world), std::slice::from_ref(&will));
    let (ticket, _) = world.store.asked.pop_front().expect("a will");
    world.store.fail(ticket, ErrorCode::Unavailable);
    world.take();
    world.now += DEADLINE;
    world.hub.run_timers(world.now);
    assert_eq!(asked(&mut world), [], "it is away");
    world.store.end.reporter.update(|status| status.is_up = true);
    world.now += DEADLINE;
    world.hub.run_timers(world.now);
    assert_eq!(asked(&mut world), [will]);
    world.store.append_asked(|| 0);
    world.store.report(usize::MAX);
    world.hub.take_reports(world.now);
    assert!(!world.hub.has_waiting() && world.hub.wills.is_empty());
}

/// The stream has the will to publish the event with this number.
fn set_will(world: &mut World, slot: u32) {
    let event = Unsequenced::of(std::iter::once(Field::Data(Text::from(&*slot.to_string()))));
    let (channel, key, retain, statement) = (b"news"[..].into(), Box::default(), Retain::No, Statement::Nothing);
    let will = Announcement { channel, key, retain, event, statement };
    world.hub.apply(StreamId { slot, serial: 1 }, PresenceChange::Willed(will.into()), world.now, world.now);
}

#[test]
fn the_wills_of_a_hub_that_is_replaced_are_published() {
    let mut world = World::new();
    set_will(&mut world, 1);
    world.store.log.clear();
    world.store.epoch += 1;
    world.store.begin("history was lost");
    world.take();
    assert_eq!(asked(&mut world), [draft(1, "")]);
}

#[test]
fn the_wills_of_streams_that_an_upgrade_ends_wait_for_the_store_unless_the_clients_have_come_back() {
    let mut world = World::new();
    world.kill();
    for (slot, is_back) in [(1, false), (2, true)] {
        set_will(&mut world, slot);
        let away = PresenceChange::Away { until: world.now + DEADLINE, is_back };
        world.hub.apply(StreamId { slot, serial: 1 }, away, world.now, world.now);
    }
    set_will(&mut world, 3);
    let left = PresenceChange::Left { is_by_application: false };
    world.hub.apply(StreamId { slot: 3, serial: 1 }, left, world.now, world.now);
    assert_eq!(asked(&mut world), []);
    world.store.begin("");
    world.take();
    assert_eq!(asked(&mut world), [draft(3, ""), draft(1, "")]);
}

#[test]
fn a_store_that_begins_when_its_hub_is_stopped_already_is_sent_the_wills() {
    let mut world = World::new();
    world.kill();
    set_will(&mut world, 1);
    let World { mut hub, mut store, .. } = world;
    store.begin("");
    let asked = std::thread::spawn(move || {
        let (end, mut asked) = (store.end, Vec::new()); // it ends with this thread
        while let Ok(command) = end.commands.recv_timeout(DEADLINE) {
            match command {
                StoreCommand::Append { draft, .. } => asked.push(draft),
                StoreCommand::Close => break,
                _ => {}
            }
        }
        asked
    });
    hub.finish(DEADLINE);
    assert_eq!(asked.join().expect("no panic"), [draft(1, "")]);
}

#[test]
fn an_event_in_place_of_one_that_cannot_be_read_is_not_retained() {
    let mut world = World::new();
    for (keys, fields) in [(1, draft(1, "").fields), (0, FieldList::default()), (1, draft(2, "").fields)] {
        let draft = Draft { key: b"k"[..].into(), retain: Retain::Newest, fields, ..draft(1, "") };
        world.store.append(None, draft, 0);
        world.catch_up();
        let answer = world.hub.handle().expect("a hub").ask(Question::reports()).expect("counts");
        let counts = answer.reply().counted().expect("counts").hub;
        let is_counted = world.hub.sequence().state.size(b"news", b"k").is_some();
        assert_eq!((counts.keys, is_counted), (keys, keys > 0));
    }
}

#[test]
fn an_event_with_the_key_of_a_member_is_refused() {
    let mut world = World::new();
    let key = || b"ann"[..].into();
    let here = MemberPart::Here(Box::default());
    let joins = Draft { key: key(), retain: Retain::Newest, member: here, ..draft(1, "") };
    world.store.append(None, joins, 0);
    world.catch_up();
    for retain in [Retain::Newest, Retain::Forget] {
        let draft = Draft { key: key(), retain, ..draft(2, "") };
        let refused = world.hub.append_event(draft, None, NOBODY, world.now).map(drop).expect_err("a member's key");
        assert_eq!((refused.code, refused.field.as_deref()), (ErrorCode::Invalid, Some("key")));
    }
    let other = Draft { channel: b"other"[..].into(), key: key(), retain: Retain::Newest, ..draft(2, "") };
    assert!(world.hub.append_event(other, None, NOBODY, world.now).is_ok());
}

/// The keys of tickets that the store of all these worlds has made.
fn report_ticket_keys(world: &mut World) {
    let now = if world.hub.sequencer.is_shared() { world.store.clock * 1_000_000 } else { runtime::monotonic() };
    let key = Key { number: 9, secret: [7; 16], since: now };
    world.store.end.reporter.report(StoreReport::TicketKeys(TicketKeys::new(key, None)));
    world.store.end.reporter.set_read(Some(Instant::now()));
    world.take();
}

fn end_of(label: &str) -> EndRequest {
    EndRequest { labels: vec![label.as_bytes().into()], ..EndRequest::default() }
}

fn seal(world: &mut World, label: &str, asked_at: u64) -> Option<Vec<u8>> {
    let access = Access { labels: vec![label.as_bytes().into()], asked_at, ..Access::default() };
    let topics = vec![Topic::Channel(b"news"[..].into())];
    let request = SubscribeRequest { topics, access, ..SubscribeRequest::default() };
    let ticket = Ticket { request, ..Ticket::default() };
    match world.hub.seal_ticket(ticket, Duration::from_secs(600), 4096) {
        Ok(sealed) => Some(sealed.expect("it is small")),
        Err(failure) => (failure.code != ErrorCode::Unavailable).then(|| panic!("{failure}")),
    }
}

fn opens(world: &mut World, sealed: &[u8]) -> bool {
    let before = runtime::monotonic();
    let Ok(ticket) = world.hub.unseal_ticket(sealed, |_| true) else { return false };
    let now = runtime::monotonic();
    assert!((before..=now).contains(&ticket.asked_at()), "what is withdrawn from now on ends its stream");
    let max_age = ticket.into_request(now, None, None, None).access.max_age;
    // It lives longer by what the machine takes between two readings of the store's clock.
    assert!(max_age.is_some_and(|age| age <= Duration::from_secs(660)), "{max_age:?}");
    true
}

#[test]
fn a_ticket_opens_on_all_machines_of_a_store_until_a_request_after_its_question_withdraws_it() {
    let (mut one, mut two) = (World::new(), World::new());
    assert_eq!(seal(&mut one, "a", runtime::monotonic()), None, "there are no keys");
    [&mut one, &mut two].into_iter().for_each(report_ticket_keys);
    let asked = runtime::monotonic();
    let early = seal(&mut one, "a", asked - 60_000_000_000).expect("a ticket, though asked before the hub began");
    let [mut of_one, mut of_two] = [&mut one, &mut two].map(|world| seal(world, "a", asked).expect("a ticket"));
    let other = seal(&mut one, "b", asked).expect("a ticket");
    let opened = |one: &mut World, two: &mut World, sealed: &[u8]| (opens(one, sealed), opens(two, sealed));
    assert_eq!(opened(&mut one, &mut two, &of_one), (true, true));
    assert_eq!(opened(&mut one, &mut two, &of_two), (true, true));
    assert_eq!(opened(&mut one, &mut two, &early), (true, true));

    one.hub.end_streams(end_of("a"), NOBODY, EndedCount::default()).expect("it waits for the store");
    assert_eq!(opened(&mut one, &mut two, &of_two), (false, true), "here it counts at once");
    one.store.listen();
    one.store.append_asked(|| 0);
    two.store.append(None, Draft::of_end(&end_of("a")), 0);
    two.catch_up();
    assert_eq!(opened(&mut one, &mut two, &of_one), (false, false));
    let unread = seal(&mut two, "a", runtime::monotonic()).expect("a ticket");
    assert_eq!(opened(&mut one, &mut two, &unread), (false, true), "the other machine has not read so far");
    one.catch_up_unasked();
    assert_eq!(opened(&mut one, &mut two, &of_two), (false, false));
    assert_eq!(opened(&mut one, &mut two, &unread), (true, true));
    assert_eq!(opened(&mut one, &mut two, &other), (true, true));
    let late = seal(&mut one, "a", asked).expect("a ticket");
    assert_eq!(opened(&mut one, &mut two, &late), (false, false), "the answer of the application came late");

    [of_one, of_two] = [&mut one, &mut two].map(|world| seal(world, "a", runtime::monotonic()).expect("a ticket"));
    assert_eq!(opened(&mut one, &mut two, &of_one), (true, true));
    one.hub.end_streams(end_of("a"), NOBODY, EndedCount::default()).expect("it waits for the store");
    one.store.listen();
    let (ticket, _) = one.store.asked.pop_front().expect("a request");
    one.store.fail(ticket, ErrorCode::Unavailable);
    one.catch_up_unasked();
    assert_eq!(opened(&mut one, &mut two, &of_two), (false, true), "it was carried out on this machine only");
    for world in [&mut one, &mut two] {
        world.store.append(None, draft(1, ""), 0);
        world.catch_up_unasked();
    }
    let later = seal(&mut one, "a", runtime::monotonic()).expect("a ticket");
    assert_eq!(opened(&mut one, &mut two, &later), (true, true));
}

#[test]
fn a_ticket_opens_only_while_the_store_is_read_and_within_its_time_by_the_clock_of_the_store() {
    let mut world = World::new();
    report_ticket_keys(&mut world);
    let sealed = seal(&mut world, "a", runtime::monotonic()).expect("a ticket");
    let clock = world.store.clock;
    for (shown, expected) in [(0, true), (470_000, true), (600_000, false), (0, true), (-1_000, true), (-60_000, false)]
    {
        world.store.clock = clock.saturating_add_signed(shown);
        world.catch_up();
        assert_eq!(opens(&mut world, &sealed), expected, "{shown} milliseconds later");
    }
    world.store.clock = clock;
    world.catch_up();
    for (age, expected) in [(None, false), (Some(0), true), (Some(5), false), (Some(0), true)] {
        let at = age.and_then(|age| Instant::now().checked_sub(Duration::from_secs(age)));
        world.store.end.reporter.set_read(at);
        assert_eq!(opens(&mut world, &sealed), expected, "read {age:?} seconds ago");
    }
    world.store.begin("");
    assert!(opens(&mut world, &sealed), "nothing is known of that yet");
    world.take();
    assert!(!opens(&mut world, &sealed), "the store has not said which keys it has");
    report_ticket_keys(&mut world);
    assert!(opens(&mut world, &sealed));
    let history = History { epoch: "epoch1".into(), ..History::default() };
    world.store.end.reporter.report(StoreReport::Began(Began { history, ..Began::default() }));
    report_ticket_keys(&mut world);
    assert!(!opens(&mut world, &sealed), "its history is not complete");
    world.store.end.reporter.report(StoreReport::Ready);
    world.take();
    assert!(opens(&mut world, &sealed));
    world.store.begin_after(7, "entries were evicted", 0);
    report_ticket_keys(&mut world);
    assert!(!opens(&mut world, &sealed), "requests may be among what was evicted");
}

#[test]
fn a_ticket_of_a_killed_process_opens_in_the_next_one_unless_it_was_withdrawn() {
    let mut world = World::with_file();
    report_ticket_keys(&mut world);
    let [withdrawn, other] = ["a", "b"].map(|label| seal(&mut world, label, runtime::monotonic()).expect("a ticket"));
    assert!(opens(&mut world, &withdrawn) && opens(&mut world, &other), "nobody else can have withdrawn it");
    world.hub.end_streams(end_of("a"), NOBODY, EndedCount::default()).expect("it waits for the store");
    assert!(!opens(&mut world, &withdrawn), "it counts before the store has it");
    world.store.listen();
    world.store.append_asked(|| 0);
    world.catch_up_unasked();
    let later = seal(&mut world, "a", runtime::monotonic()).expect("a ticket");
    for clock_change in [0, 3_600_000, -3_600_000] {
        world.kill();
        world.store.clock = world.store.clock.saturating_add_signed(clock_change);
        world.store.begin("");
        world.take();
        assert!(!opens(&mut world, &other), "there are no keys");
        report_ticket_keys(&mut world);
        let opened = [&withdrawn, &other, &later].map(|sealed| opens(&mut world, sealed));
        assert_eq!(opened, [false, true, true], "the clock was changed by {clock_change} milliseconds");
    }
    let before = runtime::monotonic() - 60_000_000_000;
    let early = ["a", "b"].map(|label| seal(&mut world, label, before).expect("a ticket"));
    let opened = early.map(|sealed| opens(&mut world, &sealed));
    assert_eq!(
        opened,
        [false, true],
        "of an application that was asked before this process began, each request is later"
    );
}

#[test]
fn the_store_is_told_which_requests_to_end_streams_the_hub_has_forgotten() {
    let mut world = World::with_file();
    let evictions = |world: &mut World| {
        world.hub.sequencer.forget_all_evicted();
        let commands = std::iter::from_fn(|| world.store.end.commands.try_recv().ok());
        let forgets = commands.filter_map(|command| match command {
            StoreCommand::Forget { ticket, evictions, .. } => Some((ticket, evictions)),
            _ => None,
        });
        forgets.map(|(ticket, of)| (ticket, of.numbers, of.channels[&b""[..]])).collect::<Vec<_>>()
    };
    (0..1000).for_each(|_| world.store.append(None, Draft::of_end(&end_of("a")), 0));
    world.catch_up();
    assert_eq!(evictions(&mut world), []);
    (0..2).for_each(|_| world.store.append(None, Draft::of_end(&end_of("a")), 0));
    world.catch_up();
    let [(ticket, ref numbers, 2)] = evictions(&mut world)[..] else { panic!("not told") };
    assert_eq!(numbers[..], [1, 2]);
    assert!(!world.hub.has_waiting(), "nobody waits for that");
    assert_eq!(evictions(&mut world), [], "it is told once");
    world.store.append(None, Draft::of_end(&end_of("a")), 0);
    world.catch_up();
    assert_eq!(evictions(&mut world), [], "it has not forgotten those yet");
    world.store.fail(ticket, ErrorCode::Unavailable);
    world.take();
    let [(ticket, ref numbers, 3)] = evictions(&mut world)[..] else { panic!("not told again") };
    assert_eq!(numbers[..], [1, 2, 3], "with what was evicted since");
    world.store.end.reporter.report(StoreReport::Done(ticket));
    world.take();
    assert_eq!(evictions(&mut world), []);
}

#[test]
fn a_ticket_that_is_older_than_the_requests_of_its_file_does_not_open() {
    let mut world = World::with_file();
    report_ticket_keys(&mut world);
    let mut sealed = Vec::new();
    for number in 1..=3 {
        sealed.push(seal(&mut world, "a", runtime::monotonic()).expect("a ticket"));
        world.store.append(None, draft(number, ""), 0);
        world.catch_up_unasked();
    }
    for (evicted, expected) in [(&[(b"news"[..].into(), 3)][..], 3), (&[(b""[..].into(), 1)], 2)] {
        world.kill();
        let epoch = "epoch1".into();
        let history = History { epoch, last_seq: 3, evicted: evicted.to_vec(), ..History::default() };
        let began = Began { history, ..Began::default() };
        world.store.end.reporter.report(StoreReport::Began(began));
        world.store.report(usize::MAX);
        world.store.end.reporter.report(StoreReport::Ready);
        assert!(world.take().is_ready);
        report_ticket_keys(&mut world);
        let opened = sealed.iter().filter(|sealed| opens(&mut world, sealed)).count();
        assert_eq!(opened, expected, "{evicted:?}");
    }
}
