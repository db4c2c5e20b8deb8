//! The things that a hub with a file retains: data of members, wills, and events, of which a later process knows what was
//! evicted. The book has episodes in which the process dies at random.

mod support;

use eventsource_xs::event::{EventName, Field, Text, Unsequenced};
use eventsource_xs::hub::{
    Announcement, MemberData, MemberRequest, Presence, Publication, Retain, StartPoint, Statement, SubscribeRequest,
    HUB_EVENT,
};
use eventsource_xs::remote::CallConnection;
use eventsource_xs::wire::{FieldList, HubSettings};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use support::{
    event, eventually, follow, gone, in_file, kill, open, read_event, read_until, topics, Asks, Scene, DEADLINE,
};

fn unsequenced(name: &str, data: &str) -> Unsequenced {
    let name = EventName::new(Text::from(name)).expect("a name");
    Unsequenced::of([Field::Event(name), Field::Data(Text::from(data))].into_iter())
}

/// Opens a stream of a member with these data, who stays when it ends.
fn enter(worker: &mut CallConnection, stream: u64, id: &str, data: &str) -> TcpStream {
    let client = open(worker, stream, "");
    let member = Box::new(MemberRequest {
        channel: b"room"[..].into(),
        id: id.as_bytes().into(),
        linger: DEADLINE * 4,
        data: MemberData { text: data.as_bytes().into(), is_json: false },
        join: unsequenced("join", data),
        update: unsequenced("update", data),
        leave: unsequenced("leave", id),
        ..MemberRequest::default()
    });
    let presence = Presence { member: Some(member), ..Presence::default() };
    worker.subscribe(stream, SubscribeRequest { presence, ..topics("news", None) }).expect("a stream");
    client
}

/// Waits until these are the members and their data, and those of a page that begins with the state.
fn are_here(worker: &mut CallConnection, expected: &[(&str, &str)]) {
    eventually("the members", || {
        let members = worker.members(b"room", None).expect("a page").members;
        let found = members.iter().map(|of| (&*of.id, &*of.data.text));
        found.eq(expected.iter().map(|(id, data)| (id.as_bytes(), data.as_bytes())))
    });
    let mut wanted: Vec<&str> = expected.iter().map(|(_, data)| *data).collect();
    wanted.sort_unstable();
    // The hub knows a member before its store has taken the event that says so.
    eventually("the same in a page", || {
        let request = SubscribeRequest { start: StartPoint::State, ..topics("room", None) };
        let text = read_until(&mut follow(worker, 100, request), "event: position\n");
        let blocks =
            text.split("\n\n").filter(|block| block.contains("event: join\n") || block.contains("event: update\n"));
        let mut told: Vec<&str> = blocks.filter_map(|block| block.split("data: ").nth(1)?.lines().next()).collect();
        told.sort_unstable();
        told == wanted
    });
}

#[test]
fn data_that_the_state_cannot_keep_does_not_replace_the_data_before() {
    let (scene, large) = (Scene::new(), "x".repeat(500));
    let mut worker = scene.client_with(in_file(&scene));
    let _ann = enter(&mut worker, 1, "ann", "before");
    let _bob = enter(&mut worker, 2, "bob", &large);
    are_here(&mut worker, &[("ann", "before"), ("bob", &large)]);
    let mut small = in_file(&scene);
    small.hub.retention.state.bytes = 1000;
    let mut worker = scene.client_with(small);
    let _ann = enter(&mut worker, 3, "ann", &large);
    are_here(&mut worker, &[("ann", "before"), ("bob", &large)]);
    let _ann = enter(&mut worker, 4, "ann", "after");
    are_here(&mut worker, &[("ann", "after"), ("bob", &large)]);
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
    read_event(&mut reader, "the end");
    kill(worker.welcome().pid);
    let mut worker = scene.client();
    let mut reader = follow(&mut worker, 1, SubscribeRequest { start: StartPoint::State, ..topics("room", None) });
    let text = read_until(&mut reader, "event: position\n");
    assert_eq!(text.matches("data: the end\n").count(), 1, "{text}");
    reader.set_nonblocking(true).expect("a socket");
    let mut rest = Vec::new();
    assert_eq!(reader.read_to_end(&mut rest).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
}

#[test]
fn after_a_restart_what_was_evicted_is_a_gap_and_only_the_state_has_what_is_retained() {
    let scene = Scene::new();
    let with_history = |events| {
        let mut settings: HubSettings = in_file(&scene);
        settings.hub.retention.history.events = events;
        settings
    };
    let mut worker = scene.client_with(with_history(1));
    let mut ids = Vec::new();
    for (value, retain) in (1_u8..).zip([Retain::Newest, Retain::No, Retain::No]) {
        let name = EventName::new(Text::from(["plain", "set"][retain as usize])).expect("a name");
        let data = format!("{value}");
        let fields = FieldList::of([Field::Event(name), Field::Data(Text::from(&*data))]);
        let publication = Publication { channel: b"stock", key: b"a", retain, fields, ..Publication::default() };
        ids.push(worker.publish(&publication).expect("an id"));
    }
    scene.stop();
    gone(worker.welcome().pid);
    let mut worker = scene.client_with(with_history(20));
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

#[test]
fn the_number_of_a_change_of_a_counted_member_is_a_position_for_later_processes() {
    let scene = Scene::new();
    let mut worker = scene.client_with(in_file(&scene));
    let member = Box::new(MemberRequest {
        channel: b"lobby"[..].into(),
        id: b"ann"[..].into(),
        is_counted: true,
        ..MemberRequest::default()
    });
    let presence = Presence { member: Some(member), ..Presence::default() };
    let client = open(&mut worker, 1, "");
    worker.subscribe(1, SubscribeRequest { presence, ..topics("news", None) }).expect("a stream");
    let count = |worker: &mut CallConnection| worker.members(b"lobby", None).expect("a page").members.len();
    eventually("the member is here", || count(&mut worker) == 1);
    let mut ids = vec![worker.publish(&event("other", "1")).expect("an id")];
    drop(client);
    eventually("the member has left", || count(&mut worker) == 0);
    ids.push(worker.publish(&event("other", "2")).expect("an id"));
    let seqs: Vec<u64> = ids.iter().filter_map(|id| id.rsplit('-').next()?.parse().ok()).collect();
    let (epoch, _) = ids[0].rsplit_once('-').expect("an id");
    scene.stop();
    gone(worker.welcome().pid);
    let mut worker = scene.client_with(in_file(&scene));
    for (stream, seq) in (10..).zip(1..=seqs[1]) {
        let mut reader = follow(&mut worker, stream, topics("news", Some(&format!("{epoch}-{seq}"))));
        worker.publish(&event("news", "the last")).expect("an id");
        let text = read_event(&mut reader, "the last");
        assert!(!text.contains("event: gap"), "{seq} of {seqs:?}: {text}");
    }
}
