//! Members: on several machines each joins once and leaves once, whatever becomes of a machine, a connection or Redis.
//!
//! EVENTSOURCE_XS_SEED repeats a run, EVENTSOURCE_XS_STEPS makes it longer.

use crate::failover::{replica_of, wait_until_equal};
use crate::node::{number, seeds, settings, End, Node};
use crate::proxy::Proxy;
use crate::server::{eventually, has, Redis, PERSISTENT};
use crate::store::{Draft, MemberPart, StoreCommand};
use eventsource_xs::event::{Field, Text, Unsequenced};
use eventsource_xs::hub::{KeptMember, Retain};
use eventsource_xs::wire::{FieldList, RedisSettings};
use eventsource_xs::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const STATE: &str = "es:{shop}.state";

fn fields(text: &str) -> FieldList {
    FieldList::of([Field::Data(Text::from(text))])
}

fn here(linger: Duration) -> Box<KeptMember> {
    let leave = Unsequenced::of(fields("lapsed").fields().iter());
    Box::new(KeptMember { linger, leave, since: 7, ..KeptMember::default() })
}

fn draft(member: &str, text: &str, part: MemberPart) -> Draft {
    let retain = if part == MemberPart::Gone { Retain::Forget } else { Retain::Newest };
    let (channel, key) = (b"room"[..].into(), member.as_bytes().into());
    Draft { channel, key, retain, fields: fields(text), member: part, ..Draft::default() }
}

/// A store, and the members that its hub has.
struct Machine {
    node: Node,
    members: BTreeSet<String>,
    /// What each member has said last, until it is done.
    said: BTreeMap<Box<[u8]>, (u64, Draft)>,
    linger: Duration,
    announced: u32,
}

impl Machine {
    /// Starts a store. Its writer asks for the members once when it has connected, so each later time is another connection.
    fn new(settings: &RedisSettings) -> Self {
        Self::begin(Node::start(settings))
    }

    fn begin(mut node: Node) -> Self {
        node.until("connected", |node| node.is_ready() && node.announcements > 0);
        let (members, said, announced) = (BTreeSet::new(), BTreeMap::new(), node.announcements);
        Self { node, members, said, linger: Duration::ZERO, announced }
    }

    fn at<const N: usize>(urls: [String; N]) -> [Self; N] {
        urls.map(|url| Self::new(&settings(&url)))
    }

    /// Continues as another program, which knows what this one has handed over and announces no members by itself.
    fn upgrade(&mut self, url: &str) {
        let node = Node::start(&settings(url));
        node.store.send(StoreCommand::Replace(self.node.store.machine().expect("a machine")));
        std::mem::forget(std::mem::replace(self, Self::begin(node))); // its store does not end in order
    }

    fn here(&mut self, member: &str) -> u64 {
        self.members.insert(member.into());
        self.say(draft(member, "join", MemberPart::Here(here(self.linger))))
    }

    fn change(&mut self, member: &str, text: &str) -> u64 {
        self.node.append_draft(draft(member, text, MemberPart::Changed(here(self.linger))))
    }

    fn gone(&mut self, member: &str) -> u64 {
        self.members.remove(member);
        self.say(draft(member, "leave", MemberPart::Gone))
    }

    fn say(&mut self, draft: Draft) -> u64 {
        let ticket = self.node.append_draft(draft.clone());
        self.said.insert(draft.key.clone(), (ticket, draft));
        ticket
    }

    fn ends(&mut self, ticket: u64) -> End {
        self.node.until("an end", |node| node.ends.contains_key(&ticket));
        self.node.ends[&ticket].clone()
    }

    /// Does what a hub does.
    fn pump(&mut self) {
        self.node.pump();
        if self.node.announcements > self.announced {
            self.announced = self.node.announcements;
            for member in self.members.clone() {
                self.here(&member);
            }
        }
        for (ticket, draft) in std::mem::take(&mut self.said).into_values() {
            match self.node.ends.get(&ticket) {
                None => _ = self.said.insert(draft.key.clone(), (ticket, draft)),
                Some(End::Failed(failure)) => {
                    eprintln!("again: {failure}");
                    let is_member = self.members.iter().any(|member| *member.as_bytes() == *draft.key);
                    if is_member == matches!(draft.member, MemberPart::Here(_)) {
                        self.say(draft);
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// Returns the members that are in the state.
    fn state(&self) -> BTreeSet<String> {
        let room = |key: &String| key.strip_prefix("room ").map(str::to_owned);
        self.node.state().keys().filter_map(room).collect()
    }

    /// Returns the texts of the entries of members.
    fn told(&self) -> Vec<String> {
        let entries = self.node.log().entries.iter().filter(|entry| &*entry.draft.channel == b"room");
        let text = |draft: &Draft| match draft.fields.fields().iter().next() {
            Some(Field::Data(text)) => String::from_utf8_lossy(text.bytes()).into_owned(),
            _ => String::new(),
        };
        entries.map(|entry| format!("{} {}", String::from_utf8_lossy(&entry.draft.key), text(&entry.draft))).collect()
    }

    /// Checks of each beginning that a member joins who is not here, and leaves who is. If events were evicted, one may leave
    /// whose join is not there any more.
    fn check(&self) {
        for log in &self.node.logs {
            let mut here: BTreeMap<&[u8], bool> = BTreeMap::new();
            for entry in log.retained.iter().chain(&log.entries) {
                let key = &*entry.draft.key;
                match entry.draft.member {
                    MemberPart::Gone => {
                        let was_here = here.insert(key, false).unwrap_or(log.began.history.evicted_through > 0);
                        assert!(was_here, "{entry:?} has left twice in {:?}", log.began);
                    }
                    _ if entry.draft.fields == fields("join") => {
                        let was_here = here.insert(key, true).unwrap_or(false);
                        assert!(!was_here, "{entry:?} has joined twice in {:?}", log.began);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Waits until all machines have these members, and says what was told meanwhile.
fn until(machines: &mut [&mut Machine], expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|member| (*member).to_owned()).collect();
    let mut last = None;
    eventually(&format!("{expected:?}"), || {
        machines.iter_mut().for_each(|machine| machine.pump());
        let states: Vec<_> = machines.iter().map(|machine| machine.state()).collect();
        let are_equal = states.iter().all(|state| *state == expected);
        if last.as_ref() != Some(&states) {
            eprintln!("{states:?}");
            last = Some(states);
        }
        are_equal
    });
    machines.iter().for_each(|machine| machine.check());
}

type Step<'a> = &'a dyn Fn(&mut Machine) -> u64;

#[test]
fn a_member_on_two_machines_joins_once_and_leaves_once() {
    let redis = redis!();
    let [mut a, mut b] = Machine::at([redis.url(), redis.url()]);
    let steps: [(Step, bool, bool); 10] = [
        (&|machine| machine.here("ann"), true, true),
        (&|machine| machine.here("ann"), true, false),
        (&|machine| machine.here("ann"), false, false),
        (&|machine| machine.change("ann", "busy"), false, true),
        (&|machine| machine.change("bob", "busy"), false, false),
        (&|machine| machine.gone("ann"), true, false),
        (&|machine| machine.gone("ann"), true, false),
        (&|machine| machine.gone("ann"), false, true),
        (&|machine| machine.gone("ann"), false, false),
        (&|machine| machine.here("ann"), false, true),
    ];
    for (index, (ask, is_a, expected)) in steps.into_iter().enumerate() {
        let machine = if is_a { &mut a } else { &mut b };
        let ticket = ask(machine);
        let end = machine.ends(ticket);
        assert_eq!(end.is_stored(), expected, "{index}: {end:?}");
        assert!(expected || end == End::Done, "{index}: {end:?}");
    }
    until(&mut [&mut a, &mut b], &["ann"]);
    assert_eq!(a.told(), ["ann join", "ann busy", "ann leave", "ann join"]);
    assert_eq!(a.told(), b.told());
    // What the hub needs to continue a member is there from the beginning, also without the history.
    redis.call(&["XTRIM", &redis.stream(), "MAXLEN", "0"]);
    let late = Node::ready(&settings(&redis.url()));
    let kept: Vec<&MemberPart> = late.log().retained.iter().map(|entry| &entry.draft.member).collect();
    assert_eq!(kept, [&MemberPart::Here(here(Duration::ZERO))]);
}

#[test]
fn what_is_retained_of_a_member_is_changed_by_the_member_only() {
    needs!(has("redis-server"));
    let redis = Redis::start(&[]);
    let mut a = Machine::new(&settings(&redis.url()));
    let mut b = Machine::new(&settings(&redis.url()));
    let ticket = a.here("ann");
    assert!(a.ends(ticket).is_stored());
    for retain in [Retain::Newest, Retain::Forget] {
        let ticket = b.node.append_draft(Draft { retain, ..draft("ann", "text", MemberPart::None) });
        let End::Failed(failure) = b.ends(ticket) else { panic!("{retain:?} was stored") };
        assert_eq!((failure.code, failure.field.as_deref()), (ErrorCode::Invalid, Some("key")));
    }
    a.gone("ann");
    until(&mut [&mut a, &mut b], &[]);
    assert_eq!(b.told(), ["ann join", "ann leave"]);
    let ticket = b.node.append_draft(draft("ann", "text", MemberPart::None));
    assert!(b.ends(ticket).is_stored());
}

#[test]
fn a_hub_without_members_has_no_lifetime() {
    let redis = redis!();
    let mut a = Machine::new(&settings(&redis.url()));
    assert!(a.node.retain("k", "text").is_stored());
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(redis.call(&["HEXISTS", STATE, "machines"]), "0");
    let ticket = a.here("ann");
    assert!(a.ends(ticket).is_stored());
    eventually("a lifetime", || redis.call(&["HEXISTS", STATE, "machines"]) == "1");
}

#[test]
fn the_members_of_a_machine_that_is_away_leave_and_join_when_it_is_back() {
    let redis = redis!();
    let proxy = Proxy::new(redis.port);
    let [mut away, mut other] = Machine::at([proxy.url(), redis.url()]);
    for member in ["ann", "both", "moves"] {
        let ticket = away.here(member);
        away.ends(ticket);
    }
    other.here("both");
    until(&mut [&mut away, &mut other], &["ann", "both", "moves"]);
    proxy.refuse(true);
    proxy.cut();
    other.here("moves");
    let before = Instant::now();
    until(&mut [&mut other], &["both", "moves"]);
    eprintln!("left after {:?}", before.elapsed());
    assert_eq!(other.told(), ["ann join", "both join", "moves join", "ann lapsed"]);
    away.gone("moves"); // after what it has still to say of it, perhaps that it is here
    proxy.heal();
    until(&mut [&mut away, &mut other], &["ann", "both", "moves"]);
    away.gone("both");
    other.gone("moves");
    until(&mut [&mut away, &mut other], &["ann", "both"]);
    other.gone("both");
    until(&mut [&mut away, &mut other], &["ann"]);
    let expected = ["ann join", "both join", "moves join", "ann lapsed", "ann join", "moves leave"];
    assert_eq!(other.told()[..6], expected);
    assert_eq!(other.told().len(), 7); // the last with a name that the machine had before, perhaps
}

#[test]
fn a_machine_that_is_back_before_its_lifetime_ends_causes_no_event() {
    let redis = redis!();
    let proxy = Proxy::new(redis.port);
    let [mut away, mut other] = Machine::at([proxy.url(), redis.url()]);
    away.here("ann");
    until(&mut [&mut away, &mut other], &["ann"]);
    for _ in 0..3 {
        let announced = away.announced;
        proxy.cut();
        eventually("an announcement", || {
            away.pump();
            away.announced > announced
        });
    }
    // The names that it had before lose their lifetimes meanwhile.
    eventually("one machine", || {
        away.pump();
        other.pump();
        redis.call(&["HGET", STATE, "machines"]).matches('=').count() == 1
    });
    until(&mut [&mut away, &mut other], &["ann"]);
    assert_eq!(other.told(), ["ann join"]);
    away.gone("ann");
    until(&mut [&mut away, &mut other], &[]);
    assert_eq!(other.told(), ["ann join", "ann leave"]);
}

#[test]
fn a_member_that_leaves_soon_after_an_upgrade_or_a_reconnection_leaves_at_once() {
    let redis = redis!();
    let proxy = Proxy::new(redis.port);
    let [mut before, mut other] = Machine::at([redis.url(), redis.url()]);
    let ids = ["ann", "bob", "cid"];
    ids.iter().for_each(|id| _ = before.here(id));
    until(&mut [&mut before, &mut other], &ids);
    before.upgrade(&proxy.url());
    let mut after = before;
    for (at, id) in ids.into_iter().enumerate() {
        ids[at..].iter().for_each(|id| _ = after.here(id));
        after.gone(id);
        until(&mut [&mut after, &mut other], &ids[at + 1..]);
        let announced = after.announced;
        proxy.cut();
        eventually("an announcement", || {
            after.pump();
            after.announced > announced
        });
    }
    // The former machine would have let them leave with another event.
    assert_eq!(other.told()[3..], ["ann leave", "bob leave", "cid leave"]);
}

#[test]
fn a_member_leaves_at_once_though_it_was_not_announced_since_several_upgrades_and_reconnections() {
    let redis = redis!();
    let proxy = Proxy::new(redis.port);
    let [mut machine, mut other] = Machine::at([redis.url(), redis.url()]);
    let ids = ["ann", "bob", "cid", "dee"];
    ids.iter().for_each(|id| _ = machine.here(id));
    until(&mut [&mut machine, &mut other], &ids);
    for (at, id) in ids.into_iter().enumerate() {
        machine.upgrade(&proxy.url());
        machine.here("new"); // it has a lifetime, and becomes a former name
        if at == 1 {
            proxy.cut();
            eventually("an announcement", || {
                machine.node.pump();
                machine.node.announcements > 1
            });
            machine.announced = machine.node.announcements;
        }
        machine.gone(id);
        until(&mut [&mut machine, &mut other], &[&ids[at + 1..], &["new"]].concat());
    }
    assert_eq!(other.told()[4..], ["new join", "ann leave", "bob leave", "cid leave", "dee leave"]);
}

#[test]
fn the_members_of_a_machine_that_has_died_leave_however_often_others_are_upgraded() {
    let redis = redis!();
    let [died, mut proxy] = [(); 2].map(|()| Proxy::new(redis.port));
    let mut dies = Machine::new(&settings(&died.url()));
    let mut upgraded = Machine::new(&settings(&proxy.url()));
    dies.here("ann");
    upgraded.here("bob");
    until(&mut [&mut dies, &mut upgraded], &["ann", "bob"]);
    let leave = |proxy: &Proxy| {
        proxy.refuse(true);
        proxy.cut();
    };
    leave(&died);
    eventually("she has left", || {
        leave(&proxy); // the program before reaches Redis no more
        proxy = Proxy::new(redis.port);
        upgraded.upgrade(&proxy.url());
        upgraded.here("bob");
        let until = Instant::now() + Duration::from_millis(700);
        while Instant::now() < until {
            upgraded.pump();
        }
        upgraded.state() == BTreeSet::from(["bob".to_owned()])
    });
}

#[test]
fn the_members_of_a_process_that_ends_in_order_linger_and_may_return_elsewhere() {
    let redis = redis!();
    let [mut ends, mut other] = Machine::at([redis.url(), redis.url()]);
    ends.linger = Duration::from_secs(2);
    ends.here("ann");
    ends.here("moves");
    until(&mut [&mut ends, &mut other], &["ann", "moves"]);
    ends.node.store.send(StoreCommand::Close);
    drop(ends);
    other.here("moves");
    until(&mut [&mut other], &["moves"]);
    assert_eq!(other.told(), ["ann join", "moves join", "ann lapsed"]);
    // Nobody is left who remembers them.
    drop(other);
    let mut late = Machine::new(&settings(&redis.url()));
    until(&mut [&mut late], &[]);
}

#[test]
fn members_survive_redis() {
    let mut redis = redis!(PERSISTENT);
    let [mut a, mut b] = Machine::at([redis.url(), redis.url()]);
    a.here("ann");
    until(&mut [&mut a, &mut b], &["ann"]);
    a.here("both");
    b.here("both");
    until(&mut [&mut a, &mut b], &["ann", "both"]);
    redis.kill();
    a.gone("both");
    std::thread::sleep(Duration::from_secs(4)); // all lifetimes end
    redis.run();
    until(&mut [&mut a, &mut b], &["ann", "both"]);
    b.gone("both");
    until(&mut [&mut a, &mut b], &["ann"]);
    // With the name that the machine had before, perhaps, once that has lapsed.
    let mut told = a.told();
    let last = told.pop().unwrap();
    assert_eq!(told, ["ann join", "both join"]);
    assert!(["both leave", "both lapsed"].contains(&&*last), "{last}");
    redis.call(&["FLUSHALL"]);
    b.here("bob");
    let began = (a.node.logs.len(), b.node.logs.len());
    eventually("another epoch", || {
        a.pump();
        b.pump();
        a.node.logs.len() > began.0 && b.node.logs.len() > began.1
    });
    until(&mut [&mut a, &mut b], &["ann", "bob"]);
}

#[test]
fn a_member_who_lapses_while_its_machine_waits_for_replicas_is_announced_again() {
    let master = redis!();
    let replica = replica_of(&master, &[]);
    let mut waits = Machine::new(&RedisSettings { replicas: 1, ..settings(&master.url()) });
    let mut other = Machine::new(&settings(&master.url()));
    replica.stop();
    // Its machine does not renew its lifetime before it has the answer.
    waits.here("ann");
    until(&mut [&mut other], &["ann"]);
    until(&mut [&mut other], &[]);
    replica.resume();
    until(&mut [&mut waits, &mut other], &["ann"]);
    assert_eq!(other.told(), ["ann join", "ann lapsed", "ann join"]);
}

#[test]
fn a_failover_that_loses_what_needed_no_event_leaves_no_ghost() {
    let mut master = redis!();
    let replica = replica_of(&master, &[]);
    let proxy = Proxy::new(master.port);
    let [mut a, mut b] = Machine::at([proxy.url(), proxy.url()]);
    for (is_a, member) in [(true, "stays"), (true, "leaves"), (false, "leaves")] {
        let machine = if is_a { &mut a } else { &mut b };
        let ticket = machine.here(member);
        machine.ends(ticket);
    }
    wait_until_equal(&master, &replica);
    replica.call(&["REPLICAOF", "NO", "ONE"]);
    for ticket in [b.here("stays"), b.gone("leaves")] {
        assert_eq!(b.ends(ticket), End::Done);
    }
    master.kill();
    proxy.lead_to(replica.port);
    let announced = (a.announced, b.announced);
    // From here on both say who is here, so it is no matter which one reconnects first, and when the lifetimes before end.
    eventually("announcements", || {
        a.pump();
        b.pump();
        (a.announced > announced.0 && b.announced > announced.1) && a.said.is_empty() && b.said.is_empty()
    });
    a.gone("stays");
    a.gone("leaves");
    until(&mut [&mut a, &mut b], &["stays"]);
    let told = a.told();
    assert_eq!(told.iter().filter(|told| told.starts_with("stays")).collect::<Vec<_>>(), ["stays join"], "{told:?}");
}

/// Adds the name of a dead machine to those that have a lifetime, which is over. Says that the member is on it, too, if that
/// name is still there.
const DEAD: &str = r"
    local list = redis.call('HGET', KEYS[1], 'machines')
    local own = string.match(list, ' ([0-9a-v]+)=')
    local dead = string.rep('z', #own)
    if ARGV[1] == 'begin' then
      if not string.find(list, dead) then redis.call('HSET', KEYS[1], 'machines', list .. ' ' .. dead .. '=0') end
    elseif not string.find(list, dead) then
      return 0
    else
      local all = redis.call('HGETALL', KEYS[1])
      for i = 2, #all, 2 do
        local value, count = string.gsub(all[i], ',' .. own, ',' .. own .. ',' .. dead)
        if count > 0 then redis.call('HSET', KEYS[1], all[i - 1], value) end
      end
    end
    return 1";

#[test]
fn what_a_machine_has_said_late_while_its_name_was_removed_leaves_no_ghost() {
    let redis = redis!();
    let mut machine = Machine::new(&settings(&redis.url()));
    let ticket = machine.here("ann");
    assert!(machine.ends(ticket).is_stored());
    let call = |what| redis.call(&["EVAL", DEAD, "1", STATE, what]);
    eventually("a late word, after it was found that nobody is on that machine", || {
        call("begin");
        std::thread::sleep(Duration::from_millis(700)); // after the look, and mostly before the removal
        call("end") == "1"
    });
    machine.gone("ann");
    until(&mut [&mut machine], &[]);
    assert_eq!(machine.told(), ["ann join", "ann lapsed"]);
}

const MACHINES: usize = 3;

/// Has random machines have random members, while everything fails that can. At rest, those are here whom a machine has.
fn run(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut redis = Redis::start(if seed % 2 == 0 { &PERSISTENT } else { &[] });
    let proxies: Vec<Proxy> = (0..MACHINES).map(|_| Proxy::new(redis.port)).collect();
    let begin = |index: usize| {
        let timeout = Duration::from_secs(4);
        Machine::new(&RedisSettings { timeout, ..settings(&proxies[index].url()) })
    };
    let mut machines: Vec<Machine> = (0..MACHINES).map(begin).collect();
    for _ in 0..number("EVENTSOURCE_XS_STEPS").unwrap_or(300) {
        let index = random.usize(..MACHINES);
        let (machine, proxy) = (&mut machines[index], &proxies[index]);
        let member = random.u32(..12).to_string();
        machine.linger = Duration::from_millis(random.u64(..5000));
        match random.u32(..100) {
            0..=34 => _ = machine.here(&member),
            35..=59 => _ = machine.gone(&member),
            60..=64 => _ = machine.change(&member, &format!("{}", random.u64(..))),
            65..=68 => drop(machine.node.append(&format!("{}", random.u64(..)))),
            69..=72 => proxy.cut(),
            73 => proxy.hold(),
            74..=77 => proxy.cut_after(random.bool(), random.i64(1..3000)),
            78 => proxy.half_close(),
            79 => proxy.swallow(random.bool(), true),
            80 => proxy.refuse(true),
            81..=88 => proxy.heal(),
            89 => drop(redis.try_call(&["CLIENT", "KILL", "TYPE", "normal"])),
            90 => {
                redis.kill();
                redis.run();
            }
            91 => drop(redis.try_call(&["FLUSHALL"])),
            92 => redis.keys("es:{shop}*").iter().take(1).for_each(|key| drop(redis.try_call(&["DEL", key]))),
            93 => {
                // Another process takes the place of one that ends, or is killed: nothing that it says arrives any more.
                if random.bool() {
                    proxy.refuse(true);
                    proxy.cut();
                }
                machine.check();
                let mut node =
                    Node::start(&RedisSettings { timeout: Duration::from_secs(4), ..settings(&proxy.url()) });
                std::mem::swap(&mut machine.node, &mut node);
                drop(node);
                proxy.heal();
                machine.members.clear();
                machine.said.clear();
                machine.announced = 0;
                machine.node.until("ready", Node::is_ready);
            }
            94..=95 => std::thread::sleep(Duration::from_millis(random.u64(1..2000))),
            _ => std::thread::sleep(Duration::from_millis(random.u64(1..100))),
        }
        machines.iter_mut().for_each(Machine::pump);
    }
    proxies.iter().for_each(Proxy::heal);
    let all: BTreeSet<String> = machines.iter().flat_map(|machine| machine.members.clone()).collect();
    let all: Vec<&str> = all.iter().map(|member| &**member).collect();
    let mut machines: Vec<&mut Machine> = machines.iter_mut().collect();
    until(&mut machines, &all);
    // It stays so, also when all names that machines had before have lost their lifetimes.
    eventually("three machines", || {
        machines.iter_mut().for_each(|machine| machine.pump());
        redis.call(&["HGET", STATE, "machines"]).matches('=').count() <= MACHINES
    });
    until(&mut machines, &all);
    let told: Vec<usize> = machines.iter().map(|machine| machine.told().len()).collect();
    let began: Vec<usize> = machines.iter().map(|machine| machine.node.logs.len()).collect();
    eprintln!("{} members, {told:?} events in the last epoch, beginnings {began:?}", all.len());
}

#[test]
fn random_faults_leave_no_ghost_and_lose_no_member() {
    needs!(has("redis-server"));
    for seed in seeds() {
        run(seed);
    }
}
