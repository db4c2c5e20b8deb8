//! The book is tested by itself: a trace in which all rules hold, and for each rule at least one lie that the rule finds.

use crate::rules::judge;
use crate::trace::{
    Change, Held, Item, Map, Meant, Offer, Outcome, Publish, Rest, Seen, Stream, Ticket, Trace, COUNT, LASTING,
};
use std::time::{Duration, Instant};

/// A trace is written with one thing each millisecond.
struct Writer {
    at: Instant,
    trace: Trace,
}

impl Writer {
    fn now(&mut self) -> Instant {
        self.at += Duration::from_millis(1);
        self.at
    }

    fn publish(&mut self, channel: &'static str, kind: &'static str, key: &'static str, number: u64) -> Item {
        let data = format!("{number} {channel} {key}");
        let (called, returned) = (self.now(), self.now());
        let outcome = Outcome::Published(("e".into(), number));
        let publish =
            Publish { worker: 0, channel, key, kind, once: None, data: data.clone(), called, returned, outcome };
        self.trace.publishes.push(publish);
        event(number, kind, &data)
    }

    fn see(&mut self, clients: &[usize], item: &Item) {
        for client in clients {
            let at = self.now();
            self.trace.clients[*client].items.push((at, item.clone()));
        }
    }

    fn open(&mut self, client: usize, number: u64, stream: Stream, after: &str) {
        let asked = Some((self.now(), self.now()));
        let began = asked.map(|(_, answered)| answered);
        self.trace.streams.insert(number, Stream { client, asked, began, will: number, ..stream });
        self.see(&[client], &Item::Opened { stream: number, after: after.into() });
    }

    fn change(&mut self, change: Change) {
        let at = (self.now(), self.now());
        self.trace.changes.push((at.0, at.1, change));
    }
}

fn event(seq: u64, name: &str, data: &str) -> Item {
    Item::Event { id: format!("e-{seq}"), name: name.into(), data: data.into() }
}

fn position(seq: u64) -> Item {
    Item::Position(format!("e-{seq}"))
}

fn stream(member: Option<&'static str>, has_will: bool, label: Option<&'static str>) -> Stream {
    Stream {
        client: 0,
        member,
        is_counted: false,
        data: 0,
        has_will,
        label,
        limit: None,
        poll: None,
        max_age: None,
        offer: None,
        will: 0,
        pushed: 0,
        asked: None,
        began: None,
    }
}

/// A hub with a file and one upgrade. Client 0 reads everything, client 1 is Cid with a will, client 2 is a page that follows
/// the state, client 3 is Bob, who comes back after the upgrade, client 4 is ended by its label, client 5 comes by
/// a ticket, and client 6 polls.
fn truth() -> Trace {
    let seen =
        |channels: &[&'static str], follows_state| Seen { channels: channels.into(), follows_state, ..Seen::default() };
    let trace = Trace {
        stored: true,
        auditor: 0,
        complete: true,
        retry: Duration::from_millis(600),
        publishes: Vec::new(),
        clients: vec![
            seen(&["a", "room"], false),
            seen(&["a"], false),
            seen(&["a", "room"], true),
            seen(&["a"], false),
            seen(&["a"], false),
            seen(&["b"], false),
            seen(&["b"], false),
        ],
        streams: Default::default(),
        tickets: Vec::new(),
        leases: Vec::new(),
        changes: Vec::new(),
        rest: Rest::default(),
        stuck: Vec::new(),
    };
    let mut writer = Writer { at: Instant::now(), trace };
    let w = &mut writer;
    w.open(0, 1, stream(None, false, None), "");
    w.see(&[0], &position(0));
    w.open(2, 2, Stream { limit: Some("address"), ..stream(None, false, None) }, "");
    w.see(&[2], &position(0));
    w.open(1, 3, stream(Some("cid"), true, None), "");
    w.see(&[1], &position(0));
    w.see(&[0, 2], &event(1, "join", "cid 0"));
    w.open(3, 4, stream(Some("bob"), true, None), "");
    w.see(&[3], &position(1));
    w.see(&[0, 2], &event(2, "join", "bob 0"));
    w.open(4, 5, stream(None, true, Some("user 1")), "");
    w.see(&[4], &position(2));
    let first = w.publish("a", "set", "x", 3);
    w.see(&[0, 1, 2, 3, 4], &first);
    w.trace.streams.get_mut(&3).expect("a stream").pushed = 2;
    w.see(&[1], &Item::Push { stream: 3, number: 1 });
    w.see(&[1], &Item::Push { stream: 3, number: 2 });
    w.change(Change::Ended(Meant::Label("user 1"), true));
    w.see(&[4], &Item::Finish);
    w.see(&[4], &Item::Ended);
    let second = w.publish("a", "plain", "-", 4);
    w.see(&[0, 1, 2, 3], &second);
    w.change(Change::Upgraded);
    w.see(&[3], &Item::Retry);
    w.see(&[3], &Item::Ended);
    w.open(3, 6, stream(Some("bob"), true, None), "e-4");
    w.see(&[3], &position(4));
    w.see(&[1], &Item::Left);
    w.see(&[0, 2], &event(5, "will", "will 3"));
    w.see(&[0, 2], &event(6, "leave", "cid"));
    w.open(5, 7, stream(None, false, Some("user 2")), "e-6");
    w.see(&[5], &position(6));
    let (asked, valid_for) = (w.now(), Duration::from_secs(600));
    let ticket = Ticket { client: 5, stream: 7, asked, data: 0, valid_for, sealed: Vec::new() };
    w.trace.tickets.push(ticket);
    w.see(&[5], &Item::Left);
    let opened = Some((w.now(), w.now()));
    let offer = Some(Offer { ticket: 0, is_foreign: false, opened, is_admitted: Some(true) });
    w.open(5, 8, Stream { offer, ..stream(None, false, Some("user 2")) }, "e-6");
    w.see(&[5], &position(6));
    let poll = || Stream { poll: Some(Duration::ZERO), ..stream(None, false, Some("user 3")) };
    w.open(6, 9, poll(), "");
    w.see(&[6], &position(6));
    w.see(&[6], &Item::Ended);
    w.change(Change::Ended(Meant::Label("user 3"), true));
    w.open(6, 10, poll(), "e-6");
    w.see(&[6], &Item::Finish);
    w.see(&[6], &Item::Ended);
    let third = w.publish("a", "plain", "-", 7);
    w.see(&[0, 2, 3], &third);
    w.trace.clients[2].map =
        [("a x", "3 a x"), ("room bob", "bob 0")].map(|(key, data)| (key.into(), data.into())).into();
    let fresh_map: Map = w.trace.clients[2].map.clone();
    let (members, subscribers) = ([("bob".into(), (1, "0".into()))].into(), [("a", 3)].into());
    let holders = [("prices", 1)].into();
    let (from, to) = (w.now(), w.now());
    w.trace.leases.push(Held { worker: 0, name: "prices", from, to, lost: None });
    let at = Some(w.now());
    w.trace.rest = Rest { at, holders, members, open: vec![0, 2, 3, 5], subscribers, fresh_map, free: vec!["address"] };
    writer.trace
}

/// Removes the first item of a client that a condition holds for.
fn hide(trace: &mut Trace, client: usize, is: impl Fn(&Item) -> bool) {
    let items = &mut trace.clients[client].items;
    let at = items.iter().position(|(_, item)| is(item)).expect("an item");
    items.remove(at);
}

/// Puts an item after the first one of a client that a condition holds for.
fn insert(trace: &mut Trace, client: usize, item: Item, is_before: impl Fn(&Item) -> bool) {
    let items = &mut trace.clients[client].items;
    let at = items.iter().position(|(_, item)| is_before(item)).expect("an item");
    let time = items[at].0;
    items.insert(at + 1, (time, item));
}

fn is(seq: u64) -> impl Fn(&Item) -> bool {
    let wanted = format!("e-{seq}");
    move |item| matches!(item, Item::Event { id, .. } if *id == wanted)
}

fn offer_of(trace: &mut Trace) -> &mut Offer {
    trace.streams.get_mut(&8).and_then(|stream| stream.offer.as_mut()).expect("an offer")
}

type Lie = (u32, &'static str, fn(&mut Trace));

const LIES: &[Lie] = &[
    (1, "one id for two events", |trace| {
        hide(trace, 1, is(3));
        insert(trace, 1, event(3, "set", "4 a -"), |item| *item == position(0));
    }),
    (1, "an event at two places", |trace| insert(trace, 0, event(8, "plain", "4 a -"), is(7))),
    (2, "an event is missing", |trace| hide(trace, 0, is(4))),
    (2, "another epoch without a gap", |trace| {
        insert(trace, 0, Item::Event { id: "f-1".into(), name: "plain".into(), data: "1".into() }, is(7));
    }),
    (3, "a gap without cause", |trace| {
        insert(trace, 0, Item::Gap { id: "e-4".into(), reason: r#"{"reason":"evicted"}"#.into() }, is(4));
    }),
    (3, "an id that the hub has given is unknown", |trace| {
        insert(trace, 3, Item::Gap { id: "e-4".into(), reason: r#"{"reason":"unknown"}"#.into() }, |item| {
            *item == position(4)
        });
    }),
    (4, "an event twice", |trace| insert(trace, 0, event(4, "plain", "4 a -"), is(4))),
    (5, "a push is missing", |trace| hide(trace, 1, |item| *item == Item::Push { stream: 3, number: 1 })),
    (5, "a push that nobody has made", |trace| {
        insert(trace, 1, Item::Push { stream: 3, number: 3 }, |item| *item == Item::Push { stream: 3, number: 2 });
    }),
    (6, "an event that was refused", |trace| trace.publishes[1].outcome = Outcome::Refused),
    (7, "the events of a thread in another order", |trace| trace.publishes.swap(1, 2)),
    (9, "two events for one key", |trace| {
        trace.publishes[1].once = Some(1);
        trace.publishes[2].once = Some(1);
    }),
    (10, "a map with another value", |trace| {
        trace.clients[2].map.insert("a x".into(), "1 a x".into());
    }),
    (10, "a state that lacks a key", |trace| {
        trace.rest.fresh_map.remove("a x");
        trace.clients[2].map.remove("a x");
    }),
    (11, "a member who has gone", |trace| {
        trace.rest.members.insert("cid".into(), (1, "0".into()));
    }),
    (11, "a page that lists somebody who has gone", |trace| {
        trace.rest.fresh_map.insert("room cid".into(), "cid 0".into());
        trace.clients[2].map.insert("room cid".into(), "cid 0".into());
    }),
    (11, "a join without a leave", |trace| insert(trace, 0, event(2, "join", "cid"), is(1))),
    (11, "data that are not the newest", |trace| trace.streams.get_mut(&6).expect("a stream").data = 1),
    (11, "an update that is taken back", |trace| {
        let (from, to) = trace.leases.first().map(|held| (held.from, held.to)).expect("a time");
        trace.changes.push((from, to, Change::Updated("bob", 5, true)));
    }),
    (11, "a change of a member who has gone", |trace| insert(trace, 0, event(8, "update", "cid 1"), is(7))),
    (12, "a member who stays for longer leaves", |trace| {
        trace.streams.get_mut(&3).expect("a stream").member = Some(LASTING);
        insert(trace, 0, event(8, "leave", LASTING), is(7));
    }),
    (12, "a member who is back in time joins again", |trace| {
        insert(trace, 0, event(8, "leave", "bob"), is(7));
        insert(trace, 0, event(9, "join", "bob 0"), is(8));
    }),
    (13, "a will that is not published", |trace| {
        hide(trace, 0, is(5));
        hide(trace, 2, is(5));
    }),
    (13, "a will of an open stream", |trace| insert(trace, 0, event(8, "will", "will 6"), is(7))),
    (13, "a will of a client that is back in time", |trace| insert(trace, 0, event(8, "will", "will 4"), is(7))),
    (13, "a will twice", |trace| insert(trace, 0, event(8, "will", "will 3"), is(7))),
    (14, "a member who is not counted", |trace| {
        trace.rest.fresh_map.insert(COUNT.into(), "1".into());
    }),
    (15, "a stream that was ended reads on", |trace| {
        insert(trace, 4, event(4, "plain", "4 a -"), is(3));
    }),
    (15, "a client that is not told to finish", |trace| hide(trace, 4, |item| *item == Item::Finish)),
    (15, "an event after the finish", |trace| {
        insert(trace, 4, event(4, "plain", "4 a -"), |item| *item == Item::Finish)
    }),
    (13, "a will of a stream that the application has ended", |trace| {
        insert(trace, 0, event(8, "will", "will 5"), is(7));
    }),
    (15, "an end that forgets who was asked for before", |trace| {
        let (at, stream) = (trace.changes[0].0, trace.streams.get_mut(&4).expect("a stream"));
        (stream.label, stream.asked) =
            (Some("user 1"), Some((at - Duration::from_millis(1), at + Duration::from_millis(9))));
    }),
    (15, "an end of a topic that forgets a stream", |trace| {
        trace.changes[0].2 = Change::Ended(Meant::Pattern("a"), false);
    }),
    (15, "a poll that follows an end, and is not told", |trace| hide(trace, 6, |item| *item == Item::Finish)),
    (16, "a ticket of another client", |trace| offer_of(trace).is_foreign = true),
    (16, "a ticket that was withdrawn", |trace| {
        let at = trace.tickets[0].asked + Duration::from_micros(100);
        trace.changes.push((at, at, Change::Ended(Meant::Channel("b"), false)));
    }),
    (16, "a ticket that has expired", |trace| trace.tickets[0].valid_for = Duration::ZERO),
    (16, "a good ticket that is refused", |trace| offer_of(trace).is_admitted = Some(false)),
    (17, "a stream that outlives its ticket", |trace| {
        let asked = trace.tickets[0].asked;
        (trace.tickets[0].valid_for, trace.rest.at) = (Duration::from_secs(1), Some(asked + Duration::from_secs(9)));
    }),
    (17, "a stream that outlives its age", |trace| {
        trace.streams.get_mut(&1).expect("a stream").max_age = Some(Duration::from_secs(1));
        trace.rest.at = trace.rest.at.map(|at| at + Duration::from_secs(9));
    }),
    (20, "a poll that ends early", |trace| {
        let at = trace.clients[6].items[2].0;
        trace.streams.get_mut(&9).expect("a stream").poll = Some(Duration::from_secs(20));
        trace.clients[6].items[0].1 = Item::Opened { stream: 9, after: "e-5".into() };
        trace.changes.retain(|(from, ..)| *from > at + Duration::from_secs(9));
    }),
    (20, "a poll that does not end", |trace| {
        let at = trace.rest.at.map(|at| at + Duration::from_secs(9));
        trace.clients[6].items.truncate(2);
        trace.changes.clear();
        trace.rest.at = at;
    }),
    (18, "a stream that a drain forgets", |trace| {
        let at = trace.clients[1].items[0].0;
        trace.changes.push((at, at, Change::Drained(Duration::ZERO)));
    }),
    (19, "a place that is not given back", |trace| trace.rest.free.clear()),
    (21, "a lease that nobody holds", |trace| {
        trace.rest.holders.insert("prices", 0);
    }),
    (21, "a lease of two workers", |trace| {
        let held = trace.leases[0].clone();
        trace.leases.push(Held { worker: 1, ..held });
    }),
    (21, "a lease that an upgrade takes away", |trace| trace.leases[0].lost = Some(trace.leases[0].to)),
    (22, "a stream that ends without a word", |trace| hide(trace, 3, |item| *item == Item::Retry)),
    (25, "another epoch without a loss", |trace| {
        trace.publishes[2].outcome = Outcome::Published(("f".into(), 1));
    }),
    (26, "a call that never returns", |trace| trace.stuck.push("publish".into())),
    (27, "an event of another channel", |trace| insert(trace, 1, event(5, "will", "will 3"), is(4))),
    (28, "a subscriber too many", |trace| {
        trace.rest.subscribers.insert("a", 4);
    }),
];

#[test]
fn each_rule_finds_its_lies() {
    assert_eq!(judge(&truth()), [], "the truth");
    for (rule, name, lie) in LIES {
        let mut trace = truth();
        lie(&mut trace);
        let found: Vec<u32> = judge(&trace).iter().map(|(rule, _)| *rule).collect();
        assert!(found.contains(rule), "{name} breaks rule {rule}, found were {found:?}");
    }
}

#[test]
fn a_drain_need_not_tell_the_client_of_a_stream_that_its_application_closes() {
    let mut trace = truth();
    let at = trace.rest.at.expect("a time");
    trace.changes.push((at, at, Change::Drained(Duration::ZERO)));
    for client in std::mem::take(&mut trace.rest.open) {
        let is_told = client != 3;
        trace.clients[client].items.extend(is_told.then_some((at, Item::Retry)));
        trace.clients[client].items.push((at + Duration::from_millis(1), Item::Ended));
    }
    let breaks_it = |trace: &Trace| judge(trace).iter().any(|(rule, _)| *rule == 18);
    assert!(breaks_it(&trace), "nobody has closed the stream of client 3");
    trace.changes.push((at, at, Change::Closed(6)));
    assert!(!breaks_it(&trace), "its application has closed it");
}
