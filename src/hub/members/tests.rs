//! The random model of members: streams that come and go beside a naive twin, which computes who is here from the streams
//! alone. A page that keeps a map of the announcements ends with the same.

use super::counts::COUNT_INTERVAL;
use super::*;
use crate::cases::run_seeds;
use crate::event::{EventName, Field, Text};
use crate::hub::{channel_of_kept, MemberUpdate, COUNT_KEY};
use crate::log::Retain;
use fastrand::Rng;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

const EPISODE: u64 = if cfg!(miri) { 60 } else { 500 };
const STEPS: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
const CHANNELS: [&str; 3] = ["room/1", "room/2", "lobby"];
const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];
/// The number of members that a channel may have.
const MOST: usize = 4;

fn event(name: &str, data: &str) -> Unsequenced {
    let name = EventName::new(Text::from(name)).expect("a name");
    Unsequenced::of([Field::Event(name), Field::Data(Text::from(data))].into_iter())
}

/// Returns the type and the data of an event.
fn parts(event: &Unsequenced) -> (String, String) {
    let text = std::str::from_utf8(event.bytes()).expect("UTF-8");
    let (name, data) = text.strip_suffix("\n\n").and_then(|text| text.split_once('\n')).expect("two fields");
    (name.strip_prefix("event: ").expect("a type").into(), data.strip_prefix("data: ").expect("data").into())
}

fn update_of(channel: &[u8], id: &[u8], data: MemberData, event: Unsequenced) -> MemberUpdate {
    MemberUpdate { channel: channel.into(), id: id.into(), data, event }
}

fn request(channel: &str, id: &str, linger: Duration, is_counted: bool, data: &str) -> MemberRequest {
    MemberRequest {
        channel: channel.as_bytes().into(),
        id: id.as_bytes().into(),
        linger,
        is_counted,
        data: MemberData { text: data.as_bytes().into(), is_json: false },
        join: event("join", data),
        update: event("update", data),
        leave: event("leave", id),
    }
}

/// A member as the twin knows it: everything that its streams have said.
#[derive(Clone, Debug, Default)]
struct Twin {
    streams: BTreeSet<u64>,
    linger: Duration,
    leaves_at: Option<Instant>,
    is_counted: bool,
    data: String,
}

type Key = (&'static str, &'static str);

/// All that a page knows: the data of each member, the last number of each channel, and when it came.
#[derive(Debug, Default)]
struct Page {
    map: BTreeMap<(String, String), String>,
    numbers: BTreeMap<String, (usize, Instant)>,
    wills: Vec<u64>,
}

struct Run {
    rng: Rng,
    now: Instant,
    members: Members,
    twins: BTreeMap<Key, Twin>,
    wills: BTreeMap<u64, u64>,
    next_stream: u64,
    open: Vec<u64>,
    /// The streams whose clients may come back: until when, and whether another one has come in their place.
    away: BTreeMap<u64, (Instant, bool)>,
    back: BTreeSet<u64>,
    page: Page,
    refused: u64,
    log: String,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            now: Instant::now(),
            members: Members::default(),
            twins: BTreeMap::new(),
            wills: BTreeMap::new(),
            next_stream: 1,
            open: Vec::new(),
            away: BTreeMap::new(),
            back: BTreeSet::new(),
            page: Page::default(),
            refused: 0,
            log: String::new(),
        }
    }

    fn any<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.rng.usize(..all.len())]
    }

    /// The twins that are here: with a stream, or lingering. The others are forgotten.
    fn remove_left(&mut self) {
        let now = self.now;
        self.twins.retain(|_, twin| !twin.streams.is_empty() || twin.leaves_at.map_or(false, |at| at > now));
    }

    fn number(&self, channel: &str) -> usize {
        self.twins.keys().filter(|(of, _)| *of == channel).count()
    }

    fn take(&mut self, announced: Vec<Announcement>) {
        for Announcement { channel, key, retain, event, .. } in announced {
            let text = |bytes: Box<[u8]>| String::from_utf8(bytes.into_vec()).expect("UTF-8");
            let is_count = *key == *COUNT_KEY;
            let (channel, id) = (text(channel), if is_count { String::new() } else { text(key) });
            let (name, data) = parts(&event);
            let key = (channel.clone(), id.clone());
            match (&*name, retain) {
                ("join", Retain::Newest) => assert_eq!(self.page.map.insert(key, data), None, "{id} joins twice"),
                ("update", Retain::Newest) => {
                    assert!(self.page.map.insert(key, data).is_some(), "{id} has data and is not here");
                }
                ("leave", Retain::Forget) => {
                    assert!(self.page.map.remove(&key).is_some(), "{id} leaves and is not here");
                    assert_eq!(data, id);
                }
                ("count", _) => {
                    let number = data.parse().expect("a number");
                    assert_eq!((is_count, retain == Retain::Forget), (true, number == 0));
                    if let Some((_, at)) = self.page.numbers.insert(channel, (number, self.now)) {
                        assert!(self.now >= at + COUNT_INTERVAL, "two numbers within a second");
                    }
                }
                ("will", Retain::No) => self.page.wills.push(data.parse().expect("a stream")),
                other => panic!("{other:?}"),
            }
        }
    }

    fn run_due(&mut self) {
        let (now, before) = (self.now, self.page.wills.len());
        let due = self.away.iter().filter(|(_, (until, _))| *until <= now);
        let mut due: Vec<(Instant, u64, bool)> =
            due.map(|(stream, (until, is_back))| (*until, *stream, *is_back)).collect();
        due.sort_unstable();
        let mut wills = Vec::new();
        for (_, stream, is_back) in due {
            self.away.remove(&stream);
            wills.extend(self.wills.remove(&stream).filter(|_| !is_back));
            self.end_of_twins(stream);
        }
        if self.away.is_empty() {
            self.back.clear();
        }
        let most = self.any(&[1, 3, 1000]);
        let mut left = 0;
        while left == 0 {
            let mut out = Vec::new();
            left = most;
            self.members.run_due(self.now, &mut left, &mut out);
            assert!(out.len() <= 2 * most, "one step has one leave and one number");
            self.take(out);
        }
        self.remove_left();
        assert_eq!(self.page.wills[before..], *wills, "the wills of clients that have not come back");
    }

    fn end_of_twins(&mut self, stream: u64) {
        for twin in self.twins.values_mut() {
            if twin.streams.remove(&stream) && twin.streams.is_empty() {
                twin.leaves_at = Some(self.now + twin.linger);
            }
        }
    }

    /// A stream of a member comes in the place of one that is away.
    fn replace_away(&mut self, key: Key, stream: u64) {
        let of_member = &self.twins[&key].streams;
        let missing = of_member.iter().filter(|stream| self.away.get(stream).map_or(false, |(_, is_back)| !is_back));
        let missing: Vec<u64> = missing.copied().collect();
        let same = missing.iter().find(|of| self.wills.get(of) == self.wills.get(&stream));
        if let Some(replaced) = same.or_else(|| missing.first()).filter(|_| !self.back.contains(&stream)).copied() {
            self.away.entry(replaced).and_modify(|(_, is_back)| *is_back = true);
            self.back.insert(stream);
        }
    }

    /// Lets time pass, as a caller does who looks at the members when something is due, and not before.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.members.next_due().filter(|due| *due <= until) {
            self.now = due.max(self.now); // after an upgrade a channel's number is looked at that was due before
            self.run_due();
            assert!(self.members.next_due().map_or(true, |next| next > self.now), "what is due was not done");
        }
        self.now = until;
        self.remove_left();
    }

    fn enter(&mut self) {
        let (channel, id) = (self.any(&CHANNELS), self.any(&IDS));
        let linger = Duration::from_millis(self.any(&[0, 0, 300, 700, 2000]));
        let is_counted = channel == "lobby" && self.rng.u8(..8) > 0;
        let data = format!("{}", self.rng.u8(..3));
        let is_known = !self.open.is_empty() && self.rng.u8(..4) == 0;
        let stream = if is_known { self.open[self.rng.usize(..self.open.len())] } else { self.next_stream };
        let fits = self.rng.u8(..10) > 0;
        let _ = writeln!(self.log, "{stream} enters {channel} {id} {data} {linger:?} {is_counted} {fits}");
        if !is_known {
            self.next_stream += 1;
            self.open.push(stream);
        }
        let full = |_: &Announcement| match fits {
            true => Ok(()),
            false => Err(Failure::unknown()),
        };
        let mut out = Vec::new();
        let asked = request(channel, id, linger, is_counted, &data);
        self.members.enter_stream(stream.into(), asked, Room { most: MOST, fits: &full }, self.now, 7, &mut out);
        let number = self.number(channel);
        let has_count = self.page_has_count(channel);
        let of_stream = self.twins.iter().filter(|(_, twin)| twin.streams.contains(&stream)).map(|(key, _)| *key);
        let of_stream: Vec<Key> = of_stream.collect();
        let has_enough = of_stream.len() >= MAX_MEMBERS_OF_STREAM && !of_stream.contains(&(channel, id));
        match self.twins.get_mut(&(channel, id)) {
            _ if has_enough => self.refused += 1,
            Some(twin) => {
                let is_new = twin.streams.insert(stream);
                (twin.linger, twin.leaves_at) = (linger, None);
                if fits || twin.is_counted {
                    twin.data = data;
                }
                if is_new {
                    self.replace_away((channel, id), stream);
                }
            }
            None if number >= MOST || !(fits || is_counted && has_count) => self.refused += 1,
            None => {
                let streams = [stream].into_iter().collect();
                let twin = Twin { streams, linger, leaves_at: None, is_counted, data };
                self.twins.insert((channel, id), twin);
            }
        }
        self.take(out);
    }

    /// The one thing that the twin does not know: whether the number of a channel that had nobody is still to be told.
    fn page_has_count(&self, channel: &str) -> bool {
        self.members.counts.has(channel.as_bytes())
    }

    fn leave(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let stream = self.open.swap_remove(self.rng.usize(..self.open.len()));
        let is_own = self.rng.bool();
        let _ = writeln!(self.log, "{stream} leaves, by the application: {is_own}");
        let mut out = Vec::new();
        self.members.end_stream(stream.into(), is_own, self.now, &mut out);
        self.members.end_stream(stream.into(), false, self.now, &mut out); // a second report has no effect
        self.end_of_twins(stream);
        let will = self.wills.remove(&stream).filter(|_| !is_own);
        let before = self.page.wills.len();
        self.remove_left();
        self.take(out);
        assert_eq!(self.page.wills[before..].to_vec(), will.into_iter().collect::<Vec<_>>());
    }

    fn set_will(&mut self) {
        if !self.open.is_empty() {
            let stream = self.open[self.rng.usize(..self.open.len())];
            let number = if self.rng.bool() { 7 } else { self.rng.u64(..) };
            let event = event("will", &number.to_string());
            let will = Announcement {
                channel: b"w"[..].into(),
                key: Box::default(),
                retain: Retain::No,
                event,
                statement: Statement::Nothing,
            };
            self.members.set_will(stream.into(), Box::new(will));
            self.wills.insert(stream, number);
        }
    }

    fn update(&mut self) {
        let (channel, id) = (self.any(&CHANNELS), self.any(&IDS));
        let data = format!("{}", self.rng.u8(..3));
        let _ = writeln!(self.log, "update {channel} {id} {data}");
        let mut out = Vec::new();
        let given = MemberData { text: data.as_bytes().into(), is_json: false };
        let (channel_name, key) = (channel.as_bytes(), id.as_bytes());
        let is_here = self
            .members
            .update_member(update_of(channel_name, key, given, event("update", &data)), &|_| Ok(()), &mut out)
            .expect("room");
        assert_eq!(is_here, self.twins.contains_key(&(channel, id)));
        if let Some(twin) = self.twins.get_mut(&(channel, id)) {
            twin.data = data;
        }
        self.take(out);
    }

    /// A store refuses what a member has announced: it is not here, and its streams have no member. The number of a channel is
    /// that of the members whom a store has told, and here none does.
    fn refuse(&mut self) {
        let can_refuse = |channel: &str, twin: &Twin| !twin.is_counted && !self.page_has_count(channel);
        let twins = self.twins.iter().filter(|((channel, _), twin)| can_refuse(channel, twin));
        let keys: Vec<Key> = twins.map(|(key, _)| *key).collect();
        if keys.is_empty() {
            return;
        }
        let (channel, id) = self.any(&keys);
        let _ = writeln!(self.log, "{channel} {id} is refused");
        self.members.refuse_member(&(channel.as_bytes().into(), id.as_bytes().into()));
        self.twins.remove(&(channel, id));
        self.page.map.remove(&(channel.into(), id.into()));
        self.refused += 1;
    }

    /// A new program continues. It ends some streams, whose clients may come back.
    fn upgrade(&mut self) {
        let (mut next, mut out) = (Members::default(), Vec::new());
        let (until, lingering) = (self.now + Duration::from_secs(9999), self.members.lingering());
        self.members.handed().for_each(|member| next.resume_member(&member, until));
        lingering.iter().for_each(|(member, leaves_at)| next.resume_linger(member, *leaves_at));
        self.members.published_counts().for_each(|(channel, number, at)| next.resume_count(channel, number, at));
        for (stream, crate::hub::Presence { member, will }) in self.members.presences() {
            let member = member.into_iter();
            member.for_each(|of| {
                next.enter_stream(stream, *of, Room { most: usize::MAX, fits: &|_| Ok(()) }, self.now, 0, &mut out)
            });
            if let Some(will) = will {
                next.set_will(stream, will);
            }
        }
        for (stream, until, is_back) in self.members.away() {
            next.await_return(stream, until, is_back);
        }
        self.back.clear();
        let (open, away): (Vec<u64>, Vec<u64>) = self.open.iter().partition(|_| self.rng.u8(..3) > 0);
        self.open = open;
        for stream in away {
            let until = self.now + Duration::from_millis(self.any(&[1, 300, 2000]));
            let _ = writeln!(self.log, "{stream} is away");
            match self.twins.values().any(|twin| twin.streams.contains(&stream)) {
                true => drop(self.away.insert(stream, (until, false))),
                false => self.open.push(stream), // otherwise its will is published at once
            }
            if self.away.contains_key(&stream) {
                next.await_return(stream.into(), until, false);
            }
        }
        assert!(out.is_empty(), "nothing is announced");
        next.refused = self.members.refused;
        self.members = next;
    }

    fn check(&self) {
        let mut uncounted = BTreeMap::new();
        for ((channel, id), twin) in &self.twins {
            if !twin.is_counted {
                uncounted.insert((String::from(*channel), String::from(*id)), twin.data.clone());
            }
        }
        assert_eq!(self.page.map, uncounted, "the page's map");
        assert_eq!(
            self.members.totals(),
            (self.twins.len(), self.refused),
            "who is here (a member stays as its newest stream says)"
        );
        for channel in CHANNELS {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let page = self.members.page(channel.as_bytes(), after.as_deref());
                listed.extend(page.members);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let of_channel = self.twins.iter().filter(|((of, _), _)| *of == channel);
            let expected: Vec<_> = of_channel
                .map(|((_, id), twin)| MemberInfo {
                    id: id.as_bytes().into(),
                    data: MemberData { text: twin.data.as_bytes().into(), is_json: false },
                    since: 7,
                    streams: twin.streams.len() as u32,
                })
                .collect();
            assert_eq!(self.members.count(channel.as_bytes()), expected.len());
            assert_eq!(listed, expected, "the list of {channel}");
        }
    }

    /// All streams leave. Nobody is left, and nothing is kept.
    fn end(mut self) {
        self.pass(Duration::from_secs(4)); // longer than anybody lingers, and a number waits
        for channel in CHANNELS {
            let told = self.page.numbers.get(channel).map(|(number, _)| *number);
            if self.page_has_count(channel) {
                assert_eq!(told, Some(self.number(channel)), "the number of {channel} at rest");
            }
        }
        while !self.open.is_empty() {
            self.leave();
        }
        self.pass(Duration::from_secs(10));
        self.check();
        assert!(self.page.map.is_empty() && self.page.numbers.values().all(|(number, _)| *number == 0));
        let Members { lists, streams, lingering, counts, .. } = &self.members;
        assert!(lists.is_empty() && streams.is_empty() && counts.is_empty() && lingering.first().is_none());
        assert_eq!(self.members.away().count(), 0);
    }
}

#[test]
fn members_model() {
    run_seeds("members_model", EPISODE, STEPS, |seed| {
        let mut run = Run::new(seed);
        for _ in 0..EPISODE {
            match run.rng.u8(..100) {
                0..=29 => run.enter(),
                30..=59 => run.leave(),
                60..=69 => run.update(),
                70..=74 => run.set_will(),
                75..=76 => run.upgrade(),
                77..=79 => run.refuse(),
                _ => {
                    let time = Duration::from_millis(run.any(&[0, 1, 100, 300, 1000, 3000]));
                    run.pass(time);
                }
            }
            run.check();
        }
        run.end();
    });
}

/// All that a store tells all machines, in its order.
#[derive(Clone, Debug)]
enum Told {
    /// A member is here, or has gone; the machine that has said so.
    Member { id: Box<[u8]>, is_here: bool, by: usize },
    /// The number of members.
    Number(usize),
}

/// A machine, and what was told that it has read. How much that was when it was told the last number.
#[derive(Default)]
struct Machine {
    members: Members,
    read: usize,
    number: usize,
    streams: Vec<u64>,
}

/// Several machines with one store, which keeps on which of them a member is.
struct Machines {
    machines: Vec<Machine>,
    told: Vec<Told>,
    sets: BTreeMap<Box<[u8]>, BTreeSet<usize>>,
    /// The last number's place in what was told, and when.
    last: (usize, Option<Instant>),
    now: Instant,
}

impl Machines {
    /// Takes the numbers that a machine announces, and what the store is asked for its members, which it does at once.
    fn take(&mut self, by: usize, mut announced: Vec<Announcement>) {
        let members = &mut self.machines[by].members;
        for key in members.take_changed().into_iter().chain(members.waiting()) {
            while let Some((asked, _)) = members.next_request(&key) {
                announced.push(asked);
                members.confirm_request(&key);
            }
        }
        for Announcement { channel, key: id, statement, event, .. } in announced {
            if statement == Statement::Number {
                assert_eq!(&*channel, b"lobby");
                if self.last.0 == self.machines[by].number {
                    let at = self.last.1.replace(self.now);
                    assert!(at.map_or(true, |at| self.now >= at + COUNT_INTERVAL), "two numbers within a second");
                    self.told.push(Told::Number(parts(&event).1.parse().expect("a number")));
                    self.last.0 = self.told.len();
                }
                continue;
            }
            assert_eq!(channel_of_kept(&channel), (&b"lobby"[..], true), "no stream is told of it");
            let set = self.sets.entry(id.clone()).or_default();
            let was_here = !set.is_empty();
            match statement {
                Statement::Here => drop(set.insert(by)),
                _ => drop(set.remove(&by)),
            }
            let is_here = !set.is_empty();
            if was_here != is_here {
                self.told.push(Told::Member { id, is_here, by });
            }
        }
    }

    /// A machine reads the next of what was told.
    fn read(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        let told = match self.told.get(machine.read) {
            Some(told) => told.clone(),
            None => return,
        };
        machine.read += 1;
        let (members, now) = (&mut machine.members, self.now);
        match told {
            Told::Number(number) => {
                machine.number = machine.read;
                members.note_stored_number(b"lobby", number, now);
            }
            Told::Member { id, is_here, by } => {
                let key = ([&[0xFF], &b"lobby"[..]].concat().into(), id);
                let (since, linger, data, leave) = (7, Duration::ZERO, MemberData::default(), Unsequenced::default());
                let here = is_here.then(|| (KeptMember { since, linger, data, leave }, Unsequenced::default()));
                let origin = if by == index { EntryOrigin::OwnMember } else { EntryOrigin::Other };
                members.apply_entry(&key, here, origin, now);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for index in 0..self.machines.len() {
            let (mut out, mut left) = (Vec::new(), usize::MAX);
            self.machines[index].members.run_due(self.now, &mut left, &mut out);
            self.take(index, out);
        }
    }

    fn settle(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            for index in 0..self.machines.len() {
                (self.machines[index].read..self.told.len()).for_each(|_| self.read(index));
            }
            self.pass(Duration::from_millis(50));
        }
    }
}

#[test]
fn machines_with_one_store_publish_one_number() {
    run_seeds("machines_with_one_store", EPISODE, STEPS / 10, |seed| {
        let mut rng = Rng::with_seed(seed);
        let machines = (0..3).map(|_| Machine { members: Members::stored(true), ..Machine::default() }).collect();
        let (now, sets) = (Instant::now(), BTreeMap::new());
        let mut run = Machines { machines, told: Vec::new(), sets, last: (0, None), now };
        for stream in 1..EPISODE {
            let index = rng.usize(..3);
            let machine = &mut run.machines[index];
            let mut out = Vec::new();
            match rng.u8(..100) {
                0..=14 => {
                    let asked = request("lobby", IDS[rng.usize(..5)], Duration::ZERO, true, "");
                    machine.members.enter_stream(
                        stream.into(),
                        asked,
                        Room { most: MOST, fits: &|_| Ok(()) },
                        run.now,
                        7,
                        &mut out,
                    );
                    machine.streams.push(stream);
                }
                15..=29 if !machine.streams.is_empty() => {
                    let stream = machine.streams.swap_remove(rng.usize(..machine.streams.len()));
                    machine.members.end_stream(stream.into(), false, run.now, &mut out);
                }
                30..=79 => run.read(index),
                _ => run.pass(Duration::from_millis(rng.u64(..500))),
            }
            run.take(index, out);
        }
        run.settle(Duration::from_secs(10));
        let number = run.sets.values().filter(|set| !set.is_empty()).count();
        let told = |run: &Machines| match run.told.iter().rev().find(|told| matches!(told, Told::Number(_))) {
            Some(Told::Number(number)) => *number,
            _ => 0,
        };
        assert_eq!(told(&run), number, "the number at rest");
        for Machine { members, .. } in &run.machines {
            assert_eq!(members.count(b"lobby"), number);
        }
        let before = run.told.len();
        run.settle(Duration::from_secs(10));
        assert_eq!(run.told.len(), before, "at rest nothing is told");
        for index in 0..3 {
            for stream in std::mem::take(&mut run.machines[index].streams) {
                let mut out = Vec::new();
                run.machines[index].members.end_stream(stream.into(), false, run.now, &mut out);
                run.take(index, out);
            }
        }
        run.settle(Duration::from_secs(20));
        assert_eq!(told(&run), 0);
        for Machine { members: Members { lists, counts, .. }, .. } in &run.machines {
            assert!(lists.is_empty() && counts.is_empty(), "{lists:?} {counts:?}");
        }
    });
}

#[test]
fn a_number_that_is_told_of_a_channel_without_members_is_corrected() {
    let (now, mut members) = (Instant::now(), Members::stored(true));
    let (mut left, mut out) = (usize::MAX, Vec::new());
    members.note_stored_number(b"lobby", 0, now);
    assert_eq!(members.next_due(), None, "nobody is here, and that was told");
    members.note_stored_number(b"lobby", 2, now);
    let due = members.next_due().expect("it is looked at");
    members.run_due(due, &mut left, &mut out);
    let numbers: Vec<_> = out.iter().map(|announced| (&*announced.channel, parts(&announced.event).1)).collect();
    assert_eq!(numbers, [(&b"lobby"[..], "0".to_owned())]);
    members.note_stored_number(b"lobby", 0, due);
    let due = members.next_due().expect("it is looked at once more");
    members.run_due(due, &mut left, &mut out);
    assert_eq!((out.len(), members.next_due(), members.counts.is_empty()), (1, None, true));
}

/// A member of a machine over a store, and what the store is asked for it.
struct Stored {
    members: Members,
    now: Instant,
}

impl Stored {
    fn new(is_shared: bool) -> Self {
        Self { members: Members::stored(is_shared), now: Instant::now() }
    }

    fn key() -> MemberKey {
        (b"room"[..].into(), b"ann"[..].into())
    }

    fn enter(&mut self, data: &str) {
        let (asked, mut out) = (request("room", "ann", Duration::ZERO, false, data), Vec::new());
        self.members.enter_stream(1.into(), asked, Room { most: MOST, fits: &|_| Ok(()) }, self.now, 7, &mut out);
        assert!(out.is_empty());
    }

    fn update(&mut self, data: &str) {
        let given = MemberData { text: data.as_bytes().into(), is_json: false };
        let updated = self.members.update_member(
            update_of(b"room", b"ann", given, event("update", data)),
            &|_| Ok(()),
            &mut Vec::new(),
        );
        assert_eq!(updated, Ok(true));
    }

    fn leave(&mut self) {
        self.members.end_stream(1.into(), false, self.now, &mut Vec::new());
    }

    /// The store tells that the member is here, with these data, or has gone.
    fn tell(&mut self, data: Option<&str>, origin: EntryOrigin) {
        let kept = |data: &str| KeptMember {
            since: 7,
            linger: Duration::ZERO,
            data: MemberData { text: data.as_bytes().into(), is_json: false },
            leave: event("leave", "ann"),
        };
        let here = data.map(|data| (kept(data), event("told", data)));
        self.members.apply_entry(&Self::key(), here, origin, self.now);
    }

    /// The next question to the store: the statement, the event's data and those that it keeps.
    fn ask(&mut self) -> Option<(Statement, String, Option<String>)> {
        let (asked, kept) = self.members.next_request(&Self::key())?;
        let kept = kept.map(|kept| String::from_utf8(kept.data.text.into()).expect("UTF-8"));
        Some((asked.statement, parts(&asked.event).1, kept))
    }

    /// The store is asked for this, and does it.
    fn does(&mut self, statement: Statement, data: &str) {
        let kept = (statement != Statement::Gone).then(|| data.to_owned());
        assert_eq!(self.ask(), Some((statement, data.to_owned(), kept)));
        self.members.confirm_request(&Self::key());
    }

    /// All members are announced again.
    fn reannounce(&mut self) -> usize {
        self.members.reannounce().len()
    }

    fn data(&self) -> String {
        let page = self.members.page(b"room", None);
        page.members.iter().map(|member| String::from_utf8_lossy(&member.data.text).into_owned()).collect()
    }
}

#[test]
fn a_change_of_a_member_of_another_machine_does_not_make_it_one_of_this() {
    let mut stored = Stored::new(true);
    stored.tell(Some("old"), EntryOrigin::History);
    stored.update("new");
    stored.does(Statement::Changed, "new");
    stored.tell(Some("new"), EntryOrigin::OwnMember);
    assert_eq!((stored.ask(), stored.data()), (None, "new".into()));
    stored.tell(None, EntryOrigin::Other);
    assert_eq!((stored.reannounce(), stored.members.is_empty()), (0, true));
}

#[test]
fn a_refused_change_is_not_announced_again() {
    let mut stored = Stored::new(true);
    stored.enter("first");
    stored.does(Statement::Here, "first");
    stored.tell(Some("first"), EntryOrigin::OwnMember);
    assert_eq!(stored.ask(), None);
    stored.update("small");
    stored.does(Statement::Changed, "small");
    stored.tell(Some("small"), EntryOrigin::OwnMember);
    for texts in [&["large"][..], &["larger", "largest"]] {
        for text in texts {
            stored.update(text);
            assert!(stored.data() == *text && (texts.len() > 1 || stored.ask().is_some()));
        }
        stored.members.refuse_request(&Stored::key());
        while stored.ask().is_some() {
            stored.members.refuse_request(&Stored::key());
        }
        assert_eq!(stored.data(), "small");
    }
    assert_eq!(stored.reannounce(), 1);
    let (statement, _, kept) = stored.ask().expect("it is announced again");
    assert_eq!((statement, kept.as_deref()), (Statement::Here, Some("small")));
}

#[test]
fn a_change_that_the_store_does_late_does_not_replace_how_a_member_has_come_again() {
    let mut stored = Stored::new(true);
    stored.enter("first");
    stored.does(Statement::Here, "first");
    stored.update("second");
    assert_eq!(stored.ask().map(|asked| asked.0), Some(Statement::Changed));
    stored.leave();
    stored.enter("third");
    stored.members.confirm_request(&Stored::key());
    assert_eq!(stored.ask().map(|asked| asked.0), Some(Statement::Gone));
    stored.members.confirm_request(&Stored::key());
    stored.does(Statement::Here, "third");
    assert_eq!((stored.ask(), stored.reannounce()), (None, 1));
    stored.does(Statement::Here, "third");
}

#[test]
fn newer_data_of_another_machine_count_while_a_member_is_announced() {
    let mut stored = Stored::new(true);
    stored.enter("old");
    assert!(stored.ask().is_some());
    stored.tell(Some("new"), EntryOrigin::Other);
    stored.members.confirm_request(&Stored::key());
    assert_eq!((stored.ask(), stored.reannounce()), (None, 1));
    stored.does(Statement::Here, "new");
    stored.update("newest");
    assert!(stored.ask().is_some());
    stored.tell(Some("new"), EntryOrigin::Other);
    stored.members.confirm_request(&Stored::key());
    stored.tell(Some("newest"), EntryOrigin::OwnMember);
    assert_eq!((stored.ask(), stored.data()), (None, "newest".into()), "a change on its way came after it");
}

#[test]
fn a_member_that_another_machine_has_taken_for_dead_is_announced_again() {
    for (origin, is_again) in
        [(EntryOrigin::Other, true), (EntryOrigin::History, false), (EntryOrigin::OwnMember, false)]
    {
        let mut stored = Stored::new(true);
        stored.enter("here");
        stored.does(Statement::Here, "here");
        stored.tell(Some("here"), EntryOrigin::OwnMember);
        assert_eq!(stored.ask(), None);
        stored.tell(None, origin);
        assert_eq!(stored.ask().map(|asked| asked.0), is_again.then_some(Statement::Here), "{origin:?}");
        assert_eq!(stored.data(), "here", "it stays in the list");
    }
}

#[test]
fn a_member_that_was_to_be_announced_again_announces_that_it_has_gone() {
    let mut stored = Stored::new(true);
    stored.enter("here");
    stored.does(Statement::Here, "here");
    assert_eq!((stored.ask(), stored.reannounce()), (None, 1));
    stored.leave();
    let asked = stored.ask().expect("it has gone");
    assert_eq!((asked.0, asked.2), (Statement::Gone, None));
    stored.members.confirm_request(&Stored::key());
    assert_eq!((stored.ask(), stored.members.is_empty()), (None, true));
}

#[test]
fn a_member_of_whom_the_store_was_not_told_is_not_kept_when_it_has_gone() {
    for (is_certain, next) in [(true, None), (false, Some(Statement::Here))] {
        let mut stored = Stored::new(true);
        stored.enter("here");
        assert!(stored.ask().is_some());
        stored.leave();
        assert_eq!(stored.members.fail_request(&Stored::key(), is_certain), !is_certain);
        assert_eq!(stored.ask().map(|asked| asked.0), next);
        assert_eq!(stored.members.is_empty(), is_certain);
    }
}

#[test]
fn a_member_of_a_process_before_lingers_for_as_long_as_it_would_have_still() {
    let seconds = Duration::from_secs;
    for (rest, left) in [(None, 9), (Some(1), 1), (Some(99), 9)] {
        let mut stored = Stored::new(false);
        stored.tell(Some("of before"), EntryOrigin::History);
        stored.members.resume(|_| rest.map(seconds), seconds(9), stored.now);
        assert_eq!(stored.members.next_due(), Some(stored.now + seconds(left)), "{rest:?}");
    }
}

#[test]
fn a_store_of_one_machine_is_not_asked_for_what_it_has() {
    let mut stored = Stored::new(false);
    stored.tell(Some("of before"), EntryOrigin::History);
    stored.members.resume(|_| None, Duration::ZERO, stored.now);
    assert_eq!((stored.reannounce(), stored.members.next_due()), (0, Some(stored.now)));
    stored.enter("of before");
    assert_eq!((stored.reannounce(), stored.members.next_due()), (0, None));
    stored.members.restart();
    stored.members.resume(|_| None, Duration::ZERO, stored.now);
    assert_eq!(stored.reannounce(), 1, "another history does not have it");
    let mut left = usize::MAX;
    stored.members.run_due(stored.now, &mut left, &mut Vec::new());
    assert_eq!((stored.ask(), stored.members.is_empty()), (None, true));
}
