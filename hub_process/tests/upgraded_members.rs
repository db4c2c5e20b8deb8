//! Members and wills at an upgrade: whatever becomes of the clients meanwhile, each of them is told once.
//!
//! The program of an upgrade can be a [`Gate`]: a script that waits until the test lets it become the real program. So the time
//! in which no program serves the hub is as long as a test needs it.

#[cfg(feature = "redis")]
#[allow(dead_code)]
#[path = "redis_store/server.rs"]
mod server;
mod support;

use eventsource_xs::event::{EventName, Field, Text, Unsequenced};
use eventsource_xs::hub::{
    Access, Announcement, Call, EndRequest, MemberRequest, Presence, Retain, StartPoint, Statement, SubscribeRequest,
};
use eventsource_xs::log::Bounds;
use eventsource_xs::remote::calls::try_lock;
use eventsource_xs::remote::{upgrade, CallConnection};
use eventsource_xs::stream::{Reason, Settings};
use eventsource_xs::wire::{HubSettings, Open, Request, Response, StoreSettings, VERSION};
use std::fs::{self, File};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use support::{
    event, eventually, follow, gone, in_file, read_event, read_to_end, report_with, settings, signal, stream_settings,
    tcp, topics, write_script, Asks, Scene, Signal, PROGRAM,
};

/// A program that becomes the real one when it is told to.
struct Gate {
    program: PathBuf,
    waits: PathBuf,
    opens: PathBuf,
}

impl Gate {
    fn new(scene: &Scene) -> Self {
        let [program, waits, opens] = ["gate", "waits", "opens"].map(|name| scene.folder.join(name));
        assert!(Command::new("mkfifo").arg(&opens).status().expect("mkfifo").success());
        let lines = format!(
            "case $1 in check-state) exec {PROGRAM} \"$@\";; esac
            : >{waits}; read opens <{opens}
            exec {PROGRAM} \"$@\"",
            waits = waits.display(),
            opens = opens.display()
        );
        write_script(&program, &lines);
        Self { program, waits, opens }
    }

    /// Upgrades, and calls a function while no program serves the hub. Returns the report.
    fn upgrade(&self, scene: &Scene, meanwhile: impl FnOnce()) -> String {
        std::thread::scope(|scope| {
            let upgraded = scope.spawn(|| upgrade(&Scene::start(), &scene.place, Some(&self.program)));
            eventually("the program waits", || self.waits.exists());
            meanwhile();
            fs::remove_file(&self.waits).expect("it is there");
            fs::write(&self.opens, "\n").expect("a reader");
            upgraded.join().expect("no panic").expect("an upgrade")
        })
    }
}

/// A member, and a will.
fn presence(id: &str, will: &str, linger: Duration) -> Presence {
    let unsequenced = |name: &str, data: &str| {
        let name = EventName::new(Text::from(name)).expect("a name");
        Unsequenced::of([Field::Event(name), Field::Data(Text::from(data))].into_iter())
    };
    let member = MemberRequest {
        channel: b"room"[..].into(),
        id: id.as_bytes().into(),
        linger,
        join: unsequenced("join", id),
        leave: unsequenced("leave", id),
        ..MemberRequest::default()
    };
    let will = Announcement {
        channel: b"room"[..].into(),
        key: Box::default(),
        retain: Retain::No,
        event: unsequenced("will", will),
        statement: Statement::Nothing,
    };
    Presence { member: Some(member.into()), will: Some(will.into()) }
}

/// A hub, a worker, and a page that reads of the room.
struct Room {
    kind: Kind,
    scene: Scene,
    worker: CallConnection,
    page: TcpStream,
    settings: HubSettings,
    streams: u64,
    /// How often the page was asked what it was told.
    rounds: u64,
    /// The server of its store. It ends after the hub.
    #[cfg(feature = "redis")]
    _redis: Option<server::Redis>,
}

/// The kinds of a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    File,
    #[cfg(feature = "redis")]
    Redis,
}

impl Kind {
    fn is_shared(self) -> bool {
        !matches!(self, Self::Memory | Self::File)
    }
}

impl Room {
    /// Begins one of each kind.
    fn each(test: impl Fn(Self)) {
        test(Self::new(Kind::Memory));
        test(Self::new(Kind::File));
        #[cfg(feature = "redis")]
        if server::has("redis-server") {
            test(Self::new(Kind::Redis));
        }
    }

    fn new(kind: Kind) -> Self {
        let scene = Scene::new();
        #[cfg(feature = "redis")]
        let redis = (kind == Kind::Redis).then(|| server::Redis::start(&[]));
        let store = match kind {
            Kind::Memory => settings().store,
            Kind::File => in_file(&scene).store,
            #[cfg(feature = "redis")]
            Kind::Redis => {
                let url = redis.iter().map(server::Redis::url).collect::<String>();
                StoreSettings::parse(&url, Duration::from_secs(5)).expect("a store")
            }
        };
        let history = Bounds { events: 1 << 20, bytes: 1 << 30, age: Duration::from_secs(3600) };
        let mut settings = HubSettings { store, ..settings() };
        (settings.hub.retention.history, settings.hub.retention.total_history) = (history, history);
        let mut worker = scene.client_with(settings.clone());
        let page = follow(&mut worker, 1, topics("room", None));
        Self {
            kind,
            scene,
            worker,
            page,
            settings,
            streams: 1,
            rounds: 0,
            #[cfg(feature = "redis")]
            _redis: redis,
        }
    }

    /// Opens a stream of a member without linger that reads a channel. Its client comes back after `retry`, or twice that.
    fn enter(&mut self, channel: &str, id: &str, will: &str, retry: Duration) -> TcpStream {
        self.enter_as(channel, presence(id, will, Duration::ZERO), retry)
    }

    fn enter_as(&mut self, channel: &str, presence: Presence, retry: Duration) -> TcpStream {
        self.streams += 1;
        let (socket, client) = tcp();
        let open = Open::new(self.streams, Settings { retry, ..stream_settings() }, b"");
        self.worker.open(open, socket.as_fd()).expect("a connection");
        let labels = vec![b"label"[..].into(), b"\0=limit"[..].into()];
        let access = Access { labels, ..Access::default() };
        let subscription = SubscribeRequest { presence, access, ..topics(channel, None) };
        self.worker.subscribe(self.streams, subscription).expect("a stream");
        client
    }

    /// Publishes more to the clients of a channel than they take without reading: an upgrade ends their streams.
    fn make_busy(&mut self) {
        let large = "x".repeat(900_000);
        (0..12).for_each(|_| drop(self.worker.publish(&event("busy", &large)).expect("an id")));
    }

    /// Ends all streams of members for good.
    fn finish_all(&mut self) -> usize {
        let end = EndRequest { labels: vec![b"label"[..].into()], topics: Vec::new(), finishes: true };
        self.worker.make(&Call::EndStreams(end)).and_then(|reply| reply.size()).expect("a number")
    }

    /// Returns true if one more stream may begin, of so many, and reserves no place for it.
    fn has_place(&mut self, most: usize) -> bool {
        let reserve = |most| Call::Reserve { label: b"\0=limit"[..].into(), most, asked_at: 1 };
        let reply = self.worker.make(&reserve(most)).and_then(|reply| reply.number()).expect("a number");
        self.worker.make(&reserve(0)).expect("a reply");
        reply == 1
    }

    fn members(&mut self) -> Vec<String> {
        let page = self.worker.members(b"room", None).expect("members");
        page.members.iter().map(|member| String::from_utf8_lossy(&member.id).into_owned()).collect()
    }

    /// Returns the wills in the history, as a page reads them that opens now.
    fn wills(&mut self) -> Vec<String> {
        self.streams += 1;
        let all = SubscribeRequest { start: StartPoint::Oldest, ..topics("room", None) };
        self.page = follow(&mut self.worker, self.streams, all);
        self.told().iter().filter_map(|told| told.strip_prefix("will ")).map(str::to_owned).collect()
    }

    /// Returns all that the page was told since the last call.
    fn told(&mut self) -> Vec<String> {
        self.rounds += 1;
        let last = format!("the last of {}", self.rounds);
        self.worker.publish(&event("room", &last)).expect("an id");
        let text = read_event(&mut self.page, &last);
        let told = text.split("\n\n").filter_map(|block| block.strip_prefix("event: ")?.split_once("\ndata: "));
        let told = told.filter(|(name, _)| *name != "position");
        told.map(|(name, data)| format!("{name} {}", data.split('\n').next().unwrap_or_default())).collect()
    }
}

/// The times that clients have for their return. The middle one is long enough for two upgrades on a busy machine.
const LONG: Duration = Duration::from_secs(60);
const MIDDLE: Duration = Duration::from_secs(2);
const SHORT: Duration = Duration::from_millis(100);

#[test]
fn the_wills_of_clients_that_leave_while_the_new_program_begins_are_published_in_their_order() {
    Room::each(|mut room| {
        let gate = Gate::new(&room.scene);
        let ids: Vec<String> = (0..200).map(|number| format!("m{number:03}")).collect();
        let clients: Vec<TcpStream> = ids.iter().map(|id| room.enter("news", id, id, LONG)).collect();
        let stays = room.enter("news", "stays", "stays", LONG);
        read_event(&mut room.page, "stays");
        gate.upgrade(&room.scene, || drop(clients));
        eventually("all have left", || room.members() == ["stays"]);
        let expected: Vec<String> = ids.iter().flat_map(|id| [format!("will {id}"), format!("leave {id}")]).collect();
        let mut told = room.told();
        if room.kind.is_shared() {
            // A leave waits for Redis' answer to the announcement before it. Other wills do not wait.
            assert!(told.iter().filter(|told| told.starts_with("will ")).is_sorted(), "{told:?}");
            told.sort_by_key(|told| told.split(' ').next_back().map(str::to_owned));
        }
        assert_eq!(told, expected);
        drop(stays);
    });
}

#[test]
fn a_process_that_is_stopped_while_its_new_program_begins_ends_the_streams_in_order() {
    Room::each(|mut room| {
        let gate = Gate::new(&room.scene);
        let ids: Vec<String> = (0..8).map(|number| format!("m{number}")).collect();
        let clients: Vec<TcpStream> = ids.iter().map(|id| room.enter("news", id, id, LONG)).collect();
        read_event(&mut room.page, "m7");
        let welcome = room.worker.welcome().clone();
        gate.upgrade(&room.scene, || signal(welcome.pid, Signal::TERM));
        for mut client in clients {
            let text = read_to_end(&mut client);
            assert!(text.contains("retry: "), "{text}");
        }
        gone(welcome.pid);
        let is_stored = welcome.settings.store != settings().store;
        room.worker = room.scene.client_with(welcome.settings);
        assert_eq!(room.wills(), if is_stored { ids } else { Vec::new() });
    });
}

#[cfg(feature = "redis")]
#[test]
fn a_request_of_another_machine_ends_the_streams_of_one_that_is_upgraded_after_what_was_published_before() {
    if !server::has("redis-server") {
        return;
    }
    for finishes in [true, false] {
        let mut room = Room::new(Kind::Redis);
        let other = Scene::new();
        let mut worker = other.client_with(room.settings.clone());
        let gate = Gate::new(&room.scene);
        let mut meant = room.enter("news", "ann", "ann", SHORT);
        read_event(&mut room.page, "ann");
        let labels = vec![b"label"[..].into()];
        gate.upgrade(&room.scene, || {
            worker.publish(&event("news", "before")).expect("an id");
            worker.call(&Call::EndStreams(EndRequest { labels, topics: Vec::new(), finishes })).expect("a number");
            worker.publish(&event("news", "after")).expect("an id");
        });
        let text = read_to_end(&mut meant);
        assert!(text.contains("data: before\n") && !text.contains("after"), "{text}");
        assert_eq!(text.contains("eventsource-finished"), finishes, "{text}");
    }
}

#[test]
fn an_upgrade_whose_store_cannot_begin_says_that_no_stream_stays_and_that_wills_are_lost() {
    let mut room = Room::new(Kind::File);
    let gate = Gate::new(&room.scene);
    let ids = ["ann", "bob"];
    let clients = ids.map(|id| room.enter("news", id, id, LONG));
    read_event(&mut room.page, "bob");
    let path = room.scene.folder.join("events.db");
    let other_hub = File::options().read(true).write(true).open(path).expect("a file");
    let report = gate.upgrade(&room.scene, || assert_eq!(try_lock(&other_hub).ok(), Some(true)));
    assert!(report.ends_with(": 0 streams stay, 3 clients reconnect"), "{report}");
    for mut client in clients {
        let text = read_to_end(&mut client);
        assert!(text.contains("retry: "), "{text}");
    }
    // The store does not try again before somebody needs the hub.
    let log = fs::read_to_string(room.scene.place.log()).expect("a log");
    assert!(log.contains("2 wills are lost: "), "{log}");
}

#[test]
fn a_process_that_is_stopped_after_an_upgrade_publishes_no_will_of_a_client_that_has_come_back() {
    let mut room = Room::new(Kind::File);
    let away = ["returns", "late"].map(|id| room.enter("busy", id, id, LONG));
    room.make_busy();
    assert_eq!(room.told(), ["join returns", "join late"]);
    room.scene.upgrade();
    let _back = room.enter("news", "returns", "has returned", LONG);
    assert_eq!(room.told(), Vec::<String>::new());
    let welcome = room.worker.welcome().clone();
    room.scene.stop();
    gone(welcome.pid);
    room.worker = room.scene.client_with(welcome.settings);
    assert_eq!(room.wills(), ["has returned", "late"]);
    drop(away);
}

#[test]
fn a_client_has_its_own_time_to_come_back_however_often_the_hub_is_upgraded() {
    Room::each(|mut room| {
        let away = ["returns", "late"].map(|id| room.enter("busy", id, id, LONG));
        let short = room.enter("busy", "leaves", "leaves", SHORT);
        room.make_busy();
        assert_eq!(room.told(), ["join returns", "join late", "join leaves"]);
        room.scene.upgrade();
        room.scene.upgrade();
        let _back = room.enter("news", "returns", "returns", LONG);
        eventually("one has left", || room.members() == ["late", "returns"]);
        room.scene.upgrade();
        let _late = room.enter("news", "late", "late", LONG);
        assert_eq!(room.told(), ["will leaves", "leave leaves"]);
        drop((away, short));
    });
}

#[test]
fn a_member_that_lingers_leaves_at_its_time_however_often_the_hub_is_upgraded() {
    Room::each(|mut room| {
        let client = room.enter_as("news", presence("lingers", "lingers", Duration::from_secs(4)), LONG);
        read_event(&mut room.page, "lingers");
        drop(client);
        assert_eq!(room.members(), ["lingers"]);
        eventually("it has left", || {
            room.scene.upgrade();
            room.members().is_empty()
        });
        assert_eq!(room.told(), ["will lingers", "leave lingers"]);
    });
}

#[test]
fn the_number_of_members_is_told_in_time_however_often_the_hub_is_upgraded() {
    Room::each(|mut room| {
        let ids = ["ann", "bob"];
        let clients = ids.map(|id| {
            let member =
                presence(id, id, Duration::ZERO).member.map(|member| MemberRequest { is_counted: true, ..*member });
            let presence = Presence { member: member.map(Into::into), will: None };
            let client = room.enter_as("news", presence, LONG);
            if id == ids[0] {
                read_event(&mut room.page, "1");
            }
            client
        });
        eventually("the second one is told", || {
            room.scene.upgrade();
            room.told().contains(&"count 2".into())
        });
        drop(clients);
    });
}

#[test]
fn the_member_of_a_stream_without_its_socket_waits_for_the_client() {
    Room::each(|mut room| {
        let open = Open::new(99, stream_settings(), b"");
        room.worker.send(&Request::OpenWithoutSocket(open), None).expect("a connection");
        let presence = presence("ann", "ann", Duration::ZERO);
        room.worker.subscribe(99, SubscribeRequest { presence, ..topics("news", None) }).expect("a stream");
        eventually("she is here", || room.members() == ["ann"]);
        room.scene.upgrade();
        let _back = room.enter("news", "ann", "ann", LONG);
        assert_eq!((room.told(), room.members()), (vec!["join ann".into()], vec!["ann".into()]));
    });
}

#[test]
fn a_stream_whose_handler_has_not_returned_has_neither_member_nor_will_at_an_upgrade() {
    Room::each(|mut room| {
        let (socket, client) = tcp();
        let open = Open { holds: true, ..Open::new(99, stream_settings(), b"") };
        room.worker.open(open, socket.as_fd()).expect("a connection");
        let presence = presence("ann", "ann", Duration::ZERO);
        room.worker.subscribe(99, SubscribeRequest { presence, ..topics("news", None) }).expect("a stream");
        room.scene.upgrade();
        let _back = room.enter("news", "ann", "ann", LONG);
        eventually("she is here", || room.members() == ["ann"]);
        assert_eq!(room.told(), ["join ann"]);
        drop(client);
    });
}

#[test]
fn the_will_of_a_tab_that_does_not_come_back_is_published_though_its_member_has_others() {
    Room::each(|mut room| {
        // Of ann one tab stays, one comes back with its will, and one does not. One of bob comes back with another will, and
        // one does not.
        let _stays = room.enter("news", "ann", "ann stays", LONG);
        let tabs = [("ann", "ann leaves"), ("ann", "ann returns"), ("bob", "bob 1"), ("bob", "bob 2")]
            .map(|(id, will)| room.enter("busy", id, will, MIDDLE));
        room.make_busy();
        assert_eq!(room.told(), ["join ann", "join bob"]);
        room.scene.upgrade();
        let _back = room.enter("news", "ann", "ann returns", LONG);
        room.scene.upgrade();
        let _other = room.enter("news", "bob", "bob 3", LONG);
        let mut told = Vec::new();
        eventually("two wills are published", || {
            told.extend(room.told());
            told.len() >= 2
        });
        assert_eq!(
            (told, room.members()),
            (vec!["will ann leaves".into(), "will bob 2".into()], vec!["ann".into(), "bob".into()])
        );
        drop(tabs);
    });
}

#[test]
fn wills_and_leaves_of_clients_that_do_not_come_back_are_published_in_the_order_of_their_streams() {
    Room::each(|mut room| {
        let ids: Vec<String> = (0..20).map(|number| format!("m{number:03}")).collect();
        let clients: Vec<TcpStream> = ids.iter().rev().map(|id| room.enter("busy", id, id, SHORT)).collect();
        room.make_busy();
        read_event(&mut room.page, "m000");
        room.scene.upgrade();
        eventually("all have left", || room.members().is_empty());
        let expected: Vec<String> =
            ids.iter().rev().flat_map(|id| [format!("will {id}"), format!("leave {id}")]).collect();
        assert_eq!(room.told(), expected);
        drop(clients);
    });
}

#[test]
fn a_slow_stream_that_the_application_has_ended_is_sent_its_rest_after_upgrades_and_leaves_without_its_will() {
    Room::each(|mut room| {
        let mut clients = ["finished", "closed"].map(|id| [(); 2].map(|()| room.enter("busy", id, id, LONG)));
        let closed = room.streams - 1..=room.streams;
        room.make_busy();
        assert_eq!(room.told(), ["join finished", "join closed"]);
        for stream in closed {
            let end = Request::End { stream, reason: Reason::Application, discards: false };
            room.worker.send(&end, None).expect("a connection");
        }
        assert_eq!(room.finish_all(), 2, "the others are ending");
        room.scene.upgrade();
        room.scene.upgrade();
        assert_eq!(room.members(), ["closed", "finished"], "their streams are not over");
        assert!(!room.has_place(4) && room.has_place(5), "they are counted");
        for (clients, is_finished) in clients.iter_mut().zip([true, false]) {
            let text = read_to_end(&mut clients[0]);
            assert_eq!((text.contains("retry: "), text.contains("event: finish\n")), (false, is_finished));
            let is_end = |report: &Response<'_>| matches!(report, Response::Ended { .. });
            let end = report_with(&mut room.worker, is_end);
            assert!(matches!(end, Response::Ended { reason: Reason::Application, .. }), "{end:?}");
        }
        drop(clients);
        eventually("all have left", || room.members().is_empty());
        eventually("they are counted no longer", || room.has_place(1));
        let mut told = room.told();
        told.sort_unstable();
        assert_eq!(told, ["leave closed", "leave finished"]);
    });
}

#[test]
fn the_member_of_a_stream_that_the_application_has_ended_leaves_at_once_if_the_program_has_another_protocol() {
    Room::each(|mut room| {
        let id = room.worker.publish(&event("room", "the first")).expect("an id");
        let mut client = room.enter("busy", "ann", "ann", LONG);
        room.make_busy();
        assert_eq!(room.finish_all(), 1);
        for (name, version) in [("next", VERSION + 1), ("back", VERSION)] {
            let program = room.scene.folder.join(name);
            write_script(&program, &format!("EVENTSOURCE_TEST_PROTOCOL={version} exec {PROGRAM} \"$@\""));
            upgrade(&Scene::start(), &room.scene.place, Some(&program)).expect("an upgrade");
        }
        assert!(!read_to_end(&mut client).contains("retry: "));
        room.worker = room.scene.client_with(room.settings.clone());
        room.page = follow(&mut room.worker, 1, topics("room", Some(&id)));
        eventually("she has left", || room.members().is_empty());
        assert_eq!(room.told(), ["join ann", "leave ann"]);
    });
}
