//! The random model of members in hubs with a store: streams come and go, and so do processes, machines and connections. The
//! hubs are real. The store is simulated, with the time: what machines ask for and what they are told is late, is lost, or
//! comes in another order.
//!
//! At rest the members that each hub lists are those of the open streams on all machines, and so is the map of a page, also in
//! their data. It has received a leave after each join. A page that may not read of rooms receives nothing of them.
//!
//! Nothing is refused here: `src/hub/members/tests.rs` has that.
//!
//! EVENTSOURCE_XS_SEED repeats a run, EVENTSOURCE_XS_STEPS sets the number of steps.

use super::{hub_of, open_stream};
use crate::store::{Began, Delivered, MemberPart, Store, StoreCommand, StoreEnd};
use crate::stored_hub::*;
use eventsource_xs::event::{EventName, Field, Text, Unsequenced};
use eventsource_xs::hub::{
    Announcement, History, KeptMember, MemberData, MemberInfo, MemberKey, MemberRequest, MemberUpdate, PresenceChange,
    Retain, StartPoint, Statement, SubscribeRequest, Topic, HUB_EVENT,
};
use eventsource_xs::parse::Parser;
use eventsource_xs::runtime::StreamHandle;
use eventsource_xs::stream::StreamId;
use eventsource_xs::wire::{FieldList, FileSettings, FileSync, StoreSettings};
use fastrand::Rng;
use std::collections::{BTreeMap as Map, BTreeSet, HashSet, VecDeque};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

const EPISODE: u64 = 400;
const STEPS: u64 = 75_000;
const ROOMS: [&str; 2] = ["room/1", "room/2"];
const IDS: [&str; 4] = ["ann", "bob", "cid", "dan"];
/// More than anybody lingers, and than a lifetime lasts.
const LONG: Duration = Duration::from_secs(60);

fn unsequenced(name: &str, data: &str) -> Unsequenced {
    let name = EventName::new(Text::from(name)).expect("a name");
    Unsequenced::of([Field::Event(name), Field::Data(Text::from(data))].into_iter())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.into()).expect("UTF-8")
}

type Key = (&'static str, &'static str);

/// A process, and its ticket.
type Asked = (u64, u64);

/// A change of the store.
#[derive(Clone)]
enum Change {
    /// The requests of a machine under a name, and of whom they were.
    Asked(u64, Option<Asked>, Draft),
    /// The member of a machine whose lifetime has ended has lingered.
    Lapsed(u64, MemberKey),
}

/// A store, as its reference in `store` has it. A file is a store whose machines have no names.
#[derive(Default)]
struct Simulated {
    is_shared: bool,
    epoch: u64,
    /// All changes of this epoch, so that the last ones can be lost.
    changes: Vec<Change>,
    log: Vec<StoreEntry>,
    /// The machine that asked for each entry of the log.
    requesters: Vec<Option<Asked>>,
    /// On which machines each member is, and what is kept of it.
    here: Map<MemberKey, (BTreeSet<u64>, KeptMember)>,
}

impl Simulated {
    /// Carries out a change. Returns false if a draft had no entry.
    fn apply(&mut self, change: Change) -> bool {
        self.changes.push(change.clone());
        match change {
            Change::Asked(name, asked, draft) => {
                let is_needed = !self.is_shared || self.change_member(name, &draft);
                if is_needed {
                    self.append(asked, draft);
                }
                is_needed
            }
            Change::Lapsed(name, key) => {
                let leave = self.here.get(&key).map(|(_, kept)| FieldList::from(&kept.leave)).unwrap_or_default();
                let (channel, id) = key;
                let (retain, member) = (Retain::Forget, MemberPart::Gone);
                let draft = Draft { channel, key: id, retain, fields: leave, member, ..Draft::default() };
                if self.change_member(name, &draft) {
                    self.append(None, draft);
                }
                true
            }
        }
    }

    fn append(&mut self, requester: Option<Asked>, draft: Draft) {
        let seq = self.log.len() as u64 + 1;
        self.log.push(StoreEntry { seq, at: 0, ticket: None, draft });
        self.requesters.push(requester);
    }

    /// Returns true if the change needs an entry.
    fn change_member(&mut self, name: u64, draft: &Draft) -> bool {
        let key = (draft.channel.clone(), draft.key.clone());
        match &draft.member {
            MemberPart::None => true,
            MemberPart::Here(kept) => {
                let is_new = !self.here.contains_key(&key);
                self.here.entry(key).or_insert_with(|| (BTreeSet::new(), (**kept).clone())).0.insert(name);
                is_new
            }
            MemberPart::Changed(kept) => self.here.get_mut(&key).map(|here| here.1 = (**kept).clone()).is_some(),
            MemberPart::Gone => match self.here.get_mut(&key) {
                Some((names, _)) => {
                    names.remove(&name);
                    let is_gone = names.is_empty();
                    if is_gone {
                        self.here.remove(&key);
                    }
                    is_gone
                }
                None => false,
            },
        }
    }

    /// Another epoch begins, in which some of the last changes are lost.
    fn lose(&mut self, kept: usize) {
        let changes = std::mem::take(&mut self.changes);
        (self.epoch, self.log, self.requesters, self.here) = (self.epoch + 1, Vec::new(), Vec::new(), Map::new());
        changes.into_iter().take(kept).for_each(|change| _ = self.apply(change));
        self.requesters.iter_mut().for_each(|requester| *requester = None);
    }

    /// Returns the members on machines that are not these.
    fn dead(&self, living: &[u64]) -> Vec<(u64, MemberKey)> {
        let names = |(key, (names, _)): (&MemberKey, &(BTreeSet<u64>, KeptMember))| {
            let dead: Vec<_> = names.iter().filter(|name| !living.contains(name)).collect();
            dead.into_iter().map(|name| (*name, key.clone())).collect::<Vec<_>>()
        };
        self.here.iter().flat_map(names).collect()
    }
}

/// A page that keeps a map of what it reads.
struct Page {
    _stream: StreamHandle,
    client: UnixStream,
    parser: Parser,
    map: Map<(String, String), String>,
    /// True if it has the state, so that what comes is new.
    is_complete: bool,
    wills: Vec<String>,
}

impl Page {
    /// A page that reads of all rooms, or of none.
    fn open(hub: &ReactorHub, reads_rooms: bool) -> Self {
        let mut topics = vec![Topic::Channel(b"mark"[..].into())];
        if reads_rooms {
            topics.extend([Topic::Pattern(b"room/*"[..].into()), Topic::Channel(b"wills"[..].into())]);
        }
        let request = SubscribeRequest { topics, start: StartPoint::State, ..SubscribeRequest::default() };
        let (stream, client) = open_stream(hub, request);
        let parser = Parser::default();
        let mut page = Self { _stream: stream, client, parser, map: Map::new(), is_complete: false, wills: Vec::new() };
        page.read_through("");
        page
    }

    /// Reads until the page has the state, or through an event of the channel `mark`.
    fn read_through(&mut self, mark: &str) {
        let mut bytes = [0; 4096];
        loop {
            while let Some(event) = self.parser.next_event() {
                match &*event.event {
                    "message" if event.data == mark => return,
                    "message" => {}
                    "position" if mark.is_empty() => {
                        self.is_complete = true;
                        return;
                    }
                    "position" => self.is_complete = true,
                    HUB_EVENT => {}
                    "gap" => (self.map, self.is_complete) = (Map::new(), false),
                    "will" => self.wills.push(event.data),
                    name => self.take(name, &event.data),
                }
            }
            let count = self.client.read(&mut bytes).expect("the page is told");
            assert!(count > 0, "the page stays");
            self.parser.feed(&bytes[..count]).expect("small events");
        }
    }

    fn take(&mut self, name: &str, data: &str) {
        let parts: Vec<&str> = data.split(' ').collect();
        let key = (parts[0].to_owned(), parts[1].to_owned());
        let value = parts.get(2).copied().unwrap_or_default().to_owned();
        let was_here = match name {
            "leave" => self.map.remove(&key),
            _ => self.map.insert(key.clone(), value),
        };
        // A member that is announced again is here as its last change says.
        let is_as_expected = !self.is_complete || was_here.is_some() == (name != "join") || name == "update";
        assert!(is_as_expected, "{key:?}: {name}, and before that {was_here:?}");
    }
}

/// The report of a reactor.
enum Reported {
    /// A stream has a member, and perhaps a will.
    Entered { stream: u64, key: Key, request: Box<MemberRequest>, will: Option<Box<Announcement>> },
    /// A stream has ended.
    Left { stream: u64, is_by_application: bool },
}

/// A machine, with its hub process and streams.
struct Machine {
    hub: StoredHub,
    end: StoreEnd,
    process: u64,
    /// Its name in the store, on this connection.
    name: u64,
    /// Its requests to the store that are still to be done, in order.
    asked: VecDeque<(u64, Draft)>,
    /// The tickets that are done without an entry, or have failed: it is still to be told.
    answers: VecDeque<StoreReport>,
    failed: HashSet<u64>,
    /// The number of entries of the log that it was told.
    told: usize,
    /// The reports of its reactor that the process has still to take, and when they were made.
    reported: VecDeque<(Instant, Reported)>,
    /// The streams that its reactor has.
    open: BTreeSet<u64>,
    /// The streams that the process knows to be open, with their members.
    streams: Map<u64, BTreeSet<Key>>,
    pages: Vec<Page>,
    /// The number of members that its hub has refused.
    refused: u64,
}

impl Machine {
    fn listen(&mut self) {
        while let Ok(command) = self.end.commands.try_recv() {
            if let StoreCommand::Append { ticket, draft } = command {
                self.asked.push_back((ticket, draft));
            }
        }
    }

    /// Returns the ticket of a draft, if this process has asked for it and has still to be told.
    fn ticket(&self, (process, ticket): Asked) -> Option<u64> {
        Some(ticket).filter(|ticket| process == self.process && !self.failed.contains(ticket))
    }

    fn fail(&mut self, ticket: u64, code: ErrorCode) {
        self.failed.insert(ticket);
        self.answers.push_back(StoreReport::Failed { ticket, failure: Failure::new(code, None, "simulated") });
    }

    /// The process takes reports of the reactor. Returns what has become of them, for the log.
    fn take_reported(&mut self, most: usize, now: Instant) -> Vec<String> {
        let reported: Vec<_> = self.reported.drain(..most.min(self.reported.len())).collect();
        reported.into_iter().map(|(at, reported)| self.apply(at, reported, now)).collect()
    }

    fn apply(&mut self, at: Instant, reported: Reported, now: Instant) -> String {
        match reported {
            Reported::Entered { stream, key, request, will } => {
                let refused = self.refused();
                if let Some(will) = will {
                    self.report(stream, at, PresenceChange::Willed(will), now);
                }
                self.report(stream, at, PresenceChange::Entered(request), now);
                let has_entered = self.refused() == refused;
                let of_stream = self.streams.entry(stream).or_default();
                if has_entered {
                    of_stream.insert(key);
                }
                format!("{stream} has entered {key:?}: {has_entered}")
            }
            Reported::Left { stream, is_by_application } => {
                self.streams.remove(&stream);
                self.report(stream, at, PresenceChange::Left { is_by_application }, now);
                format!("{stream} has left")
            }
        }
    }

    fn report(&mut self, stream: u64, at: Instant, change: PresenceChange, now: Instant) {
        self.hub.apply(StreamId::from(stream), change, at, now);
    }

    fn refused(&self) -> u64 {
        self.hub.sequence().members.totals().1
    }
}

struct World {
    rng: Rng,
    now: Instant,
    settings: HubSettings,
    store: Simulated,
    machines: Vec<Machine>,
    /// Drafts of connections that have ended, which the store may still carry out.
    late: Vec<(u64, Draft)>,
    /// The last number that a process, a name, a stream or a mark was given.
    last_number: u64,
    log: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let is_shared = rng.u8(..3) > 0;
        let file = FileSettings { path: "events.db".into(), sync: FileSync::Never };
        let store = if is_shared { StoreSettings::Redis(Box::default()) } else { StoreSettings::File(file) };
        let settings = HubSettings { store, ..HubSettings::default() };
        // The reactor's thread does nothing for members before the time has come, and it never does.
        let now = Instant::now() + Duration::from_secs(1_000_000_000);
        let count = if is_shared { rng.usize(1..=3) } else { 1 };
        let store = Simulated { is_shared, epoch: 1, ..Simulated::default() };
        let mut world =
            Self { rng, now, settings, store, machines: Vec::new(), late: Vec::new(), last_number: 0, log: Vec::new() };
        for _ in 0..count {
            let machine = world.new_machine();
            world.machines.push(machine);
            let last = world.machines.len() - 1;
            world.begin(last, 0);
        }
        world
    }

    fn new_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn new_name(&mut self) -> u64 {
        match self.store.is_shared {
            true => self.new_number(),
            false => 0, // a file's process has no name
        }
    }

    fn new_machine(&mut self) -> Machine {
        let (store, end) = Store::new().expect("a pipe");
        end.reporter.update(|status| status.is_up = true);
        Machine {
            hub: hub_of(store, &self.settings),
            end,
            process: self.new_number(),
            name: self.new_name(),
            asked: VecDeque::new(),
            answers: VecDeque::new(),
            failed: HashSet::new(),
            told: 0,
            reported: VecDeque::new(),
            open: BTreeSet::new(),
            streams: Map::new(),
            pages: Vec::new(),
            refused: 0,
        }
    }

    /// The store begins for a machine. All through the number is evicted that is not retained. If the hub begins anew, all its
    /// streams end.
    fn begin(&mut self, number: usize, evicted_through: u64) {
        let machine = &mut self.machines[number];
        let last_seq = self.store.log.len() as u64;
        let epoch = format!("epoch{}", self.store.epoch).into();
        let history = History { epoch, last_seq, evicted_through, ..History::default() };
        let began = Began { history, ..Began::default() };
        let sequencer = &machine.hub.sequencer;
        let (epoch, seq) = (sequencer.sequence.epoch.as_str().into(), sequencer.position.last_seq);
        let has_all = evicted_through <= seq && Delivered { epoch, seq }.is_in(&began);
        let begins_anew = sequencer.hub.is_none() || !has_all;
        machine.end.reporter.report(StoreReport::Began(began));
        let mut newest = Map::new();
        for StoreEntry { seq, draft, .. } in self.store.log.iter().filter(|entry| entry.draft.retain.changes_state()) {
            newest.insert((&draft.channel, &draft.key), (*seq, draft.retain));
        }
        let is_kept = |entry: &&StoreEntry| {
            let state = newest.get(&(&entry.draft.channel, &entry.draft.key));
            entry.seq > evicted_through || state == Some(&(entry.seq, Retain::Newest))
        };
        let ticket = |seq: u64| self.store.requesters[seq as usize - 1].and_then(|asked| machine.ticket(asked));
        let (history, evicted): (Vec<_>, Vec<_>) = self.store.log.iter().partition(is_kept);
        let evicted: Vec<u64> = evicted.into_iter().filter_map(|entry| ticket(entry.seq)).collect();
        let history =
            history.into_iter().map(|entry| StoreEntry { ticket: ticket(entry.seq), ..entry.clone() }).collect();
        machine.end.reporter.report(StoreReport::Entries(history));
        machine.end.reporter.report(StoreReport::Ready);
        evicted.into_iter().for_each(|ticket| machine.fail(ticket, ErrorCode::Unknown));
        if self.store.is_shared {
            machine.end.reporter.report(StoreReport::Announce);
        }
        machine.told = self.store.log.len();
        self.log.push(format!("{number}: the store begins after {evicted_through}, anew: {begins_anew}"));
        self.take_reports(number);
        let machine = &mut self.machines[number];
        if begins_anew {
            machine.streams.clear();
            machine.open.clear();
            machine.reported.clear();
            let hub = machine.hub.handle().expect("it has begun");
            machine.pages = vec![Page::open(hub, true), Page::open(hub, false)];
        }
    }

    fn take_reports(&mut self, number: usize) {
        let effects = self.machines[number].hub.take_reports(self.now);
        assert!(effects.cannot_begin.is_none());
        assert!(effects.completions.is_empty(), "nobody asks for an answer: {:?}", effects.completions);
        self.forget_refused(number);
    }

    /// The streams whose member the hub has refused have none from here on.
    fn forget_refused(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        let refused = machine.refused();
        if std::mem::replace(&mut machine.refused, refused) != refused {
            let listed = listed_of(&machine.hub);
            let is_here = |(room, id): &Key| {
                listed.iter().any(|(of, info)| of == room && *info.id == *id.as_bytes() && info.streams > 0)
            };
            machine.streams.values_mut().for_each(|of| of.retain(is_here));
        }
    }

    fn take_reported(&mut self, number: usize, most: usize) {
        let taken = self.machines[number].take_reported(most, self.now);
        self.log.extend(taken.into_iter().map(|line| format!("{number}: {line}")));
    }

    fn enter(&mut self, number: usize) {
        let key = (self.any(&ROOMS), self.any(&IDS));
        let data = self.rng.u8(..3).to_string();
        let linger = Duration::from_millis(self.any(&[0, 0, 500, 5000]));
        let is_known = self.rng.u8(..5) == 0;
        let known = self.machines[number].open.first().copied().filter(|_| is_known);
        let stream = known.unwrap_or_else(|| self.new_number());
        let will = (self.rng.u8(..4) == 0).then(|| will(stream));
        let request = Box::new(request(key, linger, &data));
        self.log.push(format!("{number}: {stream} enters {key:?} {data} {linger:?}"));
        let machine = &mut self.machines[number];
        machine.open.insert(stream);
        machine.reported.push_back((self.now, Reported::Entered { stream, key, request, will }));
    }

    fn leave(&mut self, number: usize, is_by_application: bool) {
        let (at, machine) = (self.rng.usize(..10), &mut self.machines[number]);
        let Some(stream) = machine.open.iter().copied().nth(at) else { return };
        self.log.push(format!("{number}: {stream} leaves"));
        machine.open.remove(&stream);
        machine.reported.push_back((self.now, Reported::Left { stream, is_by_application }));
    }

    fn update(&mut self, number: usize) {
        let (room, id) = (self.any(&ROOMS), self.any(&IDS));
        let text = self.rng.u8(..5).to_string();
        self.take_reported(number, usize::MAX);
        self.log.push(format!("{number}: {room} {id} has {text}"));
        let event = unsequenced("update", &format!("{room} {id} {text}"));
        let data = MemberData { text: text.into_bytes().into(), is_json: false };
        let update = MemberUpdate { channel: room.as_bytes().into(), id: id.as_bytes().into(), data, event };
        self.machines[number].hub.update_member(update, self.now).map(drop).expect("room");
    }

    fn any<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.rng.usize(..all.len())]
    }

    /// Lets time pass for all machines.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        for machine in &mut self.machines {
            machine.hub.sequencer.now = self.now;
            machine.hub.run_members();
        }
    }

    /// The store does the first that a machine asks for.
    fn carry_out(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        machine.listen();
        if let Some((ticket, draft)) = machine.asked.pop_front() {
            if !self.store.apply(Change::Asked(machine.name, Some((machine.process, ticket)), draft)) {
                machine.answers.push_back(StoreReport::Done(ticket));
            }
        }
    }

    /// A machine is told of some entries, after some of what had none.
    fn tell(&mut self, number: usize, most: usize, answers: usize) {
        let machine = &mut self.machines[number];
        for answer in machine.answers.drain(..answers.min(machine.answers.len())) {
            machine.end.reporter.report(answer);
        }
        let until = self.store.log.len().min(machine.told.saturating_add(most));
        let ticket = |at: usize| self.store.requesters[at].and_then(|asked| machine.ticket(asked));
        let entries: Vec<StoreEntry> =
            (machine.told..until).map(|at| StoreEntry { ticket: ticket(at), ..self.store.log[at].clone() }).collect();
        machine.told = until;
        if !entries.is_empty() {
            machine.end.reporter.report(StoreReport::Entries(entries));
        }
        self.take_reports(number);
    }

    /// The store fails what a machine has asked for. It has perhaps done it.
    fn fail(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        machine.listen();
        let Some((ticket, draft)) = machine.asked.pop_front() else { return };
        let code = self.rng.choice([ErrorCode::Full, ErrorCode::Unavailable, ErrorCode::Unknown]).expect("three");
        if code == ErrorCode::Unknown && self.rng.bool() {
            self.store.apply(Change::Asked(machine.name, None, draft));
        }
        self.log.push(format!("{number}: {code:?}"));
        if self.store.is_shared {
            machine.fail(ticket, code);
            self.reconnect(number);
        } else {
            self.tell(number, usize::MAX, usize::MAX); // one thread has a file, and says all in order
            self.machines[number].fail(ticket, code);
        }
    }

    /// A machine loses its connection to the store, which may do later what it has asked for, and has another one.
    fn reconnect(&mut self, number: usize) {
        let name = self.new_name();
        let machine = &mut self.machines[number];
        machine.listen();
        while let Some((ticket, draft)) = machine.asked.pop_front() {
            machine.fail(ticket, ErrorCode::Unknown);
            if self.rng.bool() {
                self.late.push((machine.name, draft));
            }
        }
        machine.name = name;
        machine.answers.push_back(StoreReport::Announce);
        self.log.push(format!("{number}: reconnects as {name}"));
    }

    /// A machine is taken for dead that is not, and hears of that.
    fn take_for_dead(&mut self, number: usize) {
        let name = self.machines[number].name;
        let on_it: Vec<MemberKey> =
            self.store.here.iter().filter(|(_, here)| here.0.contains(&name)).map(|(key, _)| key.clone()).collect();
        on_it.into_iter().for_each(|key| _ = self.store.apply(Change::Lapsed(name, key)));
        self.machines[number].answers.push_back(StoreReport::Announce);
        self.log.push(format!("{number}: is taken for dead"));
    }

    /// Members leave that have lingered on a machine whose lifetime has ended.
    fn lapse(&mut self, most: usize) {
        let living: Vec<u64> = self.machines.iter().map(|machine| machine.name).collect();
        for (name, key) in self.store.dead(&living).into_iter().take(most) {
            self.store.apply(Change::Lapsed(name, key));
        }
    }

    /// A process is killed, and another one takes its place.
    fn kill(&mut self, number: usize) {
        self.log.push(format!("{number}: is killed"));
        let machine = &mut self.machines[number];
        machine.listen();
        let (name, done) = (machine.name, self.rng.usize(..=machine.asked.len()));
        let asked: Vec<Draft> = machine.asked.drain(..done).map(|(_, draft)| draft).collect();
        asked.into_iter().for_each(|draft| _ = self.store.apply(Change::Asked(name, None, draft)));
        let machine = self.new_machine();
        self.machines[number] = machine;
        let evicted = self.any_evicted(number);
        self.begin(number, evicted);
    }

    fn any_evicted(&mut self, number: usize) -> u64 {
        let told = self.machines[number].told;
        match self.rng.u8(..3) {
            0 => self.rng.u64(..=self.store.log.len() as u64),
            1 => told as u64,
            _ => 0,
        }
    }

    /// The store loses what was done last, and begins another epoch.
    fn lose(&mut self) {
        let count = self.store.changes.len();
        let kept = self.rng.usize(count.saturating_sub(10)..=count);
        let kept = if self.rng.u8(..4) == 0 { 0 } else { kept };
        self.log.push(format!("the store keeps {kept} of {count} changes"));
        for number in 0..self.machines.len() {
            let machine = &mut self.machines[number];
            let untold: Vec<u64> =
                self.store.requesters[machine.told..].iter().filter_map(|asked| machine.ticket((*asked)?)).collect();
            untold.into_iter().for_each(|ticket| machine.fail(ticket, ErrorCode::Unknown));
            self.reconnect(number);
        }
        self.late.clear();
        self.store.lose(kept);
        (0..self.machines.len()).for_each(|number| self.begin(number, 0));
    }

    fn step(&mut self) {
        let number = self.rng.usize(..self.machines.len());
        let is_shared = self.store.is_shared;
        match self.rng.u16(..1000) {
            0..=249 => self.enter(number),
            250..=429 => {
                let is_by_application = self.rng.bool();
                self.leave(number, is_by_application);
            }
            430..=479 => self.update(number),
            480..=599 => {
                let most = self.any(&[1, 2, 100]);
                self.take_reported(number, most);
            }
            600..=719 => self.carry_out(number),
            720..=859 => {
                let (most, answers) = (self.any(&[0, 1, 3, 100]), self.any(&[0, 1, 100]));
                self.tell(number, most, answers);
            }
            860..=889 => {
                let time = self.any(&[0, 100, 500, 6000]);
                self.pass(Duration::from_millis(time));
            }
            890..=914 => self.fail(number),
            915..=924 => self.machines[number].hub.run_timers(self.now),
            925..=929 if is_shared => self.reconnect(number),
            930..=934 if is_shared => self.take_for_dead(number),
            935..=949 if is_shared => self.lapse(1),
            950..=959 if !self.late.is_empty() => {
                let at = self.rng.usize(..self.late.len());
                let (name, draft) = self.late.swap_remove(at);
                self.store.apply(Change::Asked(name, None, draft));
            }
            960..=971 => self.kill(number),
            // The connection is lost and comes back.
            972..=977 => {
                let evicted = if is_shared { self.any_evicted(number) } else { 0 };
                self.begin(number, evicted);
            }
            978..=979 if is_shared => self.lose(),
            980..=989 => self.rest(),
            _ => {}
        }
    }

    /// Lets everything happen that is still to happen.
    fn rest(&mut self) {
        self.log.push("rest".into());
        self.late.clear();
        for round in 0.. {
            assert!(round < 100, "it never rests");
            let before = self.store.changes.len();
            for number in 0..self.machines.len() {
                self.machines[number].hub.run_timers(self.now);
                self.take_reported(number, usize::MAX);
                self.machines[number].listen();
                while !self.machines[number].asked.is_empty() {
                    self.carry_out(number);
                }
            }
            (0..self.machines.len()).for_each(|number| self.tell(number, usize::MAX, usize::MAX));
            self.pass(LONG);
            self.lapse(usize::MAX);
            let has_more = |machine: &mut Machine| {
                machine.listen();
                !machine.asked.is_empty() || !machine.reported.is_empty() || machine.hub.sequencer.retry_at.is_some()
            };
            let have_more = self.machines.iter_mut().any(has_more);
            if !have_more && self.store.changes.len() == before {
                break;
            }
        }
        self.check();
    }

    fn check(&mut self) {
        let mark = self.new_number().to_string();
        let fields = FieldList::of([Field::Data(Text::from(&*mark))]);
        let channel = b"mark"[..].into();
        self.store.apply(Change::Asked(0, None, Draft { channel, fields, ..Draft::default() }));
        (0..self.machines.len()).for_each(|number| self.tell(number, usize::MAX, 0));
        let all = self.machines.iter().flat_map(|machine| machine.streams.values().flatten());
        let all: BTreeSet<(String, String)> = all.map(|(room, id)| ((*room).into(), (*id).into())).collect();
        let in_store = self.store.here.keys().map(|(room, id)| (text(room), text(id))).collect();
        assert!(!self.store.is_shared || all == in_store, "the store has {in_store:?}, not {all:?}");
        for (number, machine) in self.machines.iter_mut().enumerate() {
            let [page, stranger] = &mut machine.pages[..] else { panic!("two pages") };
            page.read_through(&mark);
            stranger.read_through(&mark);
            assert!(stranger.map.is_empty() && stranger.wills.is_empty(), "who may not read of rooms is told of them");
            let wills: BTreeSet<&String> = page.wills.iter().collect();
            assert_eq!(wills.len(), page.wills.len(), "each will is published once");
            let mut listed = Map::new();
            for (room, member) in listed_of(&machine.hub) {
                let id = text(&member.id);
                let own = machine.streams.values().filter(|of| of.contains(&(room, &*id))).count();
                assert_eq!(member.streams as usize, own, "streams of {room} {id} on {number}");
                listed.insert((room.to_owned(), id), text(&member.data.text));
            }
            let here: BTreeSet<(String, String)> = listed.keys().cloned().collect();
            assert_eq!(here, all, "the members that {number} lists");
            let mapped: BTreeSet<(String, String)> = page.map.keys().cloned().collect();
            assert_eq!(mapped, all, "the members in the map of a page on {number}");
            assert!(page.map == listed, "the map of a page is {:?}, not {listed:?}", page.map);
        }
    }
}

fn listed_of(hub: &StoredHub) -> Vec<(&'static str, MemberInfo)> {
    let members = &hub.sequence().members;
    let page =
        |room: &'static str| members.page(room.as_bytes(), None).members.into_iter().map(move |member| (room, member));
    ROOMS.into_iter().flat_map(page).collect()
}

#[test]
fn at_rest_all_machines_tell_the_members_of_the_open_streams() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let first = number("EVENTSOURCE_XS_SEED");
    let steps = number("EVENTSOURCE_XS_STEPS").unwrap_or(if first.is_some() { EPISODE } else { STEPS });
    let seed = first.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    for seed in seed..seed + steps.div_ceil(EPISODE) {
        let mut world = World::new(seed);
        let run = AssertUnwindSafe(|| {
            (0..EPISODE).for_each(|_| world.step());
            world.rest();
        });
        if let Err(panic) = catch_unwind(run) {
            let last = world.log.len().saturating_sub(60);
            eprintln!("{}\nEVENTSOURCE_XS_SEED={seed}", world.log[last..].join("\n"));
            resume_unwind(panic);
        }
    }
}

fn will(stream: u64) -> Box<Announcement> {
    Box::new(Announcement {
        channel: b"wills"[..].into(),
        key: Box::default(),
        retain: Retain::No,
        event: unsequenced("will", &stream.to_string()),
        statement: Statement::Nothing,
    })
}

fn request((room, id): Key, linger: Duration, data: &str) -> MemberRequest {
    MemberRequest {
        channel: room.as_bytes().into(),
        id: id.as_bytes().into(),
        linger,
        is_counted: false,
        data: MemberData { text: data.as_bytes().into(), is_json: false },
        join: unsequenced("join", &format!("{room} {id} {data}")),
        update: unsequenced("update", &format!("{room} {id} {data}")),
        leave: unsequenced("leave", &format!("{room} {id}")),
    }
}
