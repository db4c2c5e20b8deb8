//! A hub process continues as another program: the streams at rest and the connections of workers stay. The clients of other
//! streams reconnect once, and whatever becomes of a stream, its client receives each event once.

mod support;

use eventsource_xs::event::{EventId, EventName, Field, Text, Unsequenced};
use eventsource_xs::hub::{
    Access, Announcement, ChannelSettings, EndRequest, MemberRequest, OnSlow, OtherStart, Poll, PollReason, Presence,
    Publication, Retain, StartPoint, Statement, SubscribeRequest, Topic,
};
use eventsource_xs::log::Bounds;
use eventsource_xs::remote::{upgrade, CallConnection, Place, Start};
use eventsource_xs::stream::{Reason, Settings};
use eventsource_xs::wire::{
    Call, FieldList, HubSettings, Name, NamedSettings, Open, Reply, Request, Response, ShowChannel, StreamProgress,
    Upgrade, VERSION,
};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{
    connect, copy_executable, event, eventually, follow, gone, hello, in_file, open, opening, read_event, read_to_end,
    read_until, report_with, settings, signal, stream_settings, tcp, topics, write_script, Asks, Scene, Signal,
    PROGRAM,
};

/// Returns what tells an upgraded process from the one before: the time of its `exec` is not to be had, but its name is.
fn program_of(pid: u32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).expect("a process")
}

fn name() -> Name {
    Name::new("shop").expect("a name")
}

/// Copies the program to another path in the folder of the test.
fn copy_of_program(scene: &Scene, name: &str) -> PathBuf {
    let path = scene.folder.join(name);
    copy_executable(Path::new(PROGRAM), &path);
    path
}

fn script(scene: &Scene, name: &str, lines: &str) -> PathBuf {
    let path = scene.folder.join(name);
    write_script(&path, lines);
    path
}

/// The ids of events in what a client has received, those of positions excepted.
fn event_ids(text: &str) -> Vec<&str> {
    let blocks = text.split("\n\n").filter(|block| !block.starts_with("event: position"));
    blocks.filter_map(|block| block.split("\nid: ").nth(1)).collect()
}

#[test]
fn the_process_its_streams_and_its_connections_stay() {
    let (scene, mut worker) = Scene::with_worker();
    let before = worker.welcome().clone();
    let mut client = open(&mut worker, 1, "head\n");
    worker.subscribe(1, topics("news", None)).expect("a stream");
    let first = worker.publish(&event("news", "one")).expect("an id");
    read_event(&mut client, "one");
    let copy = copy_of_program(&scene, "next");
    let upgraded = scene.command(&["upgrade", "--program", copy.to_str().expect("text")]).output().expect("it runs");
    assert!(upgraded.status.success());
    assert_eq!(program_of(before.pid), copy);
    let report = format!("continues as {}: 1 streams stay, 0 clients reconnect\n", copy.display());
    assert_eq!(String::from_utf8_lossy(&upgraded.stdout), report);

    let last = worker.publish(&event("news", "two")).expect("an id");
    assert_eq!(read_event(&mut client, "two"), format!("data: two\nid: {last}\n\n"));
    let after = scene.client().welcome().clone();
    assert_eq!((after.pid, &after.epoch, &after.settings), (before.pid, &before.epoch, &before.settings));
    let counted = worker.count(b"news").expect("counts");
    let hub = counted.hub;
    assert_eq!((hub.streams, hub.events, counted.streams.open, counted.subscribers), (1, 2, 1, 1));
    // A client resumes from before the upgrade.
    let mut returning = follow(&mut worker, 2, topics("news", Some(&first)));
    assert!(read_event(&mut returning, "two").ends_with(&format!("{first}\n\ndata: two\nid: {last}\n\n")));
    // The process still ends as it does without an upgrade: the lock and the socket are its own.
    scene.stop();
    gone(before.pid);
    assert!(read_to_end(&mut client).contains("retry: ") && !scene.place.socket().exists());
}

#[test]
fn a_signal_upgrades_to_the_program_that_is_now_at_the_path() {
    let scene = Scene::new();
    let path = copy_of_program(&scene, "installed");
    let start = Start { program: Some(path.clone()), ..Scene::start() };
    let mut worker = CallConnection::connect(&start, &scene.place, Some(settings().into())).expect("a hub");
    let pid = worker.welcome().pid;
    for (kept, asked) in [("kept", Signal::USR2), ("kept too", Signal::HUP)] {
        fs::rename(&path, scene.folder.join(kept)).expect("its owner may");
        copy_of_program(&scene, "installed"); // as an installation does
        signal(pid, asked);
        eventually("the process is the new program", || program_of(pid) == path);
        worker.publish(&event("news", "hello")).expect("an id");
        let shown = |what| fs::read_to_string(format!("/proc/{pid}/{what}")).expect("a process");
        assert_eq!(shown("comm"), "installed\n");
        let socket = scene.place.socket().display();
        let (path, words) = (path.display(), shown("cmdline").replace('\0', " "));
        assert!(words.starts_with(&format!("{path} run ")), "{words}");
        assert!(words.ends_with(&format!(" --name shop --socket {socket} ")), "{words}");
    }
    // Once more, and without a path in the request.
    upgrade(&Scene::start(), &scene.place, None).expect("an upgrade");
    upgrade(&Scene::start(), &scene.place, None).expect("an upgrade");
    assert_eq!(worker.count(b"").expect("counts").hub.events, 2);
}

#[test]
fn the_program_that_was_checked_is_run_whatever_is_at_its_path_now() {
    let (scene, mut worker) = Scene::with_worker();
    let (pid, path) = (worker.welcome().pid, scene.folder.join("next"));
    // When it has read the state, another program is installed in its place.
    let copy = copy_of_program(&scene, "copy");
    let replaces = format!(
        "case \"$1$(readlink /proc/self/fd/0)\" in check-state*memfd*) ln -sf /bin/false {path}.new; mv -f {path}.new {path};; esac
        exec {copy} \"$@\"",
        path = path.display(),
        copy = copy.display()
    );
    let path = script(&scene, "next", &replaces);
    upgrade(&Scene::start(), &scene.place, Some(&path)).expect("an upgrade");
    assert_eq!((program_of(pid), path.canonicalize().expect("a link").ends_with("false")), (copy, true));
    worker.publish(&event("news", "hello")).expect("an id");
    // And the next upgrade is to the program that is installed now.
    let failed = upgrade(&Scene::start(), &scene.place, None).expect_err("no upgrade").to_string();
    assert!(failed.contains("next is not a hub program"), "{failed}");
}

#[test]
fn all_who_ask_for_an_upgrade_at_once_are_answered() {
    let scene = Scene::new();
    let pid = scene.client_with(settings()).welcome().pid;
    let copy = copy_of_program(&scene, "next");
    let mut requesters = [(); 3].map(|()| connect(&scene));
    scene.client(); // they were accepted before this one
    signal(pid, Signal::STOP);
    for (mut requester, program) in requesters.iter().zip([Some(&copy), Some(&copy), None]) {
        let mut bytes = Vec::new();
        let program = program.map(|program| program.as_os_str().as_bytes());
        Upgrade { program }.encode(&mut bytes).expect("a short message");
        requester.write_all(&bytes).expect("a connection");
    }
    signal(pid, Signal::USR2);
    signal(pid, Signal::CONT);
    let [upgraded, too, other] = requesters.each_mut().map(|requester| {
        let mut answer = vec![0; 1000];
        let count = requester.read(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[..count]).into_owned()
    });
    assert!(upgraded == too && !other.is_empty(), "{upgraded:?}, {too:?}, {other:?}");
    assert_eq!(scene.client().welcome().pid, pid);
}

#[test]
fn the_place_and_the_store_stay_whatever_has_become_of_the_file_and_the_folder() {
    let mut scene = Scene::new();
    let (file, store) = (scene.folder.join("store"), scene.folder.join("events"));
    fs::write(&file, format!("file:{}", store.display())).expect("a new file");
    fs::set_permissions(&scene.folder, fs::Permissions::from_mode(0o700)).expect("its owner may");
    // Its place is not given, but found in the folder of its user.
    scene.place = Place::new(name(), Some(&scene.folder.join("shop.sock"))).expect("a place");
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--name", "shop", "--idle-exit", "60", "--store-from"]).arg(&file);
    let mut process = command.env("EVENTSOURCE_RUNTIME_DIR", &scene.folder).spawn().expect("the program");
    let start = Start { program: None, ..Scene::start() };
    let mut worker = CallConnection::connect(&start, &scene.place, Some(settings().into())).expect("a hub");
    let id = worker.publish(&event("news", "before")).expect("an id");
    for is_gone in [false, true] {
        match is_gone {
            true => fs::remove_file(&file).expect("its owner may"),
            false => fs::write(&file, "").expect("its owner may"),
        }
        fs::set_permissions(&scene.folder, fs::Permissions::from_mode(0o755)).expect("its owner may");
        scene.upgrade();
        let status = worker.count(b"").expect("counts").store;
        assert_eq!((&*status.kind, &*status.place), ("file", store.to_str().expect("text")));
        worker.publish(&event("news", "after")).expect("an id");
    }
    let mut client = follow(&mut worker, 1, topics("news", Some(&id)));
    assert_eq!(event_ids(&read_event(&mut client, "after")).len(), 1);
    // A store that could not begin anew is found out before.
    let away = scene.folder.with_extension("away");
    fs::rename(&scene.folder, &away).expect("its owner may");
    let moved = Place::new(name(), Some(&away.join("shop.sock"))).expect("a place");
    let failed = upgrade(&start, &moved, Some(Path::new(PROGRAM))).expect_err("no upgrade").to_string();
    assert!(failed.contains("there is no folder"), "{failed}");
    fs::rename(&away, &scene.folder).expect("its owner may");
    // The store may have noticed.
    eventually("events are stored", || worker.publish(&event("news", "at last")).is_ok());
    scene.stop();
    assert!(process.wait().expect("a process").success());
}

/// Settings of a hub that evicts nothing during a test.
fn settings_for_many() -> HubSettings {
    let history = Bounds { events: 1 << 20, bytes: 1 << 30, age: Duration::from_secs(3600) };
    let mut settings = settings();
    (settings.hub.retention.history, settings.hub.retention.total_history) = (history, history);
    settings
}

/// Publishes until it is told to end. Returns the ids that were acknowledged.
fn publish_until(mut worker: CallConnection, ends: &AtomicBool, name: &str) -> Vec<String> {
    let mut ids = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        ids.push(worker.publish(&event("news", &format!("{name} {}", ids.len()))).expect("an id"));
    }
    ids
}

#[test]
fn each_event_that_is_published_meanwhile_is_delivered_once() {
    let scene = Scene::new();
    let settings = settings_for_many();
    let mut worker = scene.client_with(settings.clone());
    let mut clients: Vec<TcpStream> =
        (1..=20).map(|number| follow(&mut worker, number, topics("news", None))).collect();
    let ends = AtomicBool::new(false);
    let (mut ids, texts): (Vec<String>, Vec<String>) = std::thread::scope(|scope| {
        let publishers: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let client = scene.client_with(settings.clone());
                let ends = &ends;
                scope.spawn(move || publish_until(client, ends, name))
            })
            .into();
        let readers: Vec<_> = clients.iter_mut().map(|client| scope.spawn(|| read_event(client, "the last"))).collect();
        for _ in 0..5 {
            scene.upgrade();
        }
        ends.store(true, Ordering::Relaxed);
        let ids = publishers.into_iter().flat_map(|publisher| publisher.join().expect("ids")).collect();
        worker.publish(&event("news", "the last")).expect("an id");
        (ids, readers.into_iter().map(|reader| reader.join().expect("text")).collect())
    });
    assert!(ids.len() > 10, "{}", ids.len());
    let number = |id: &str| id.rsplit('-').next().and_then(|seq| seq.parse::<u64>().ok()).expect("a number");
    ids.sort_by_key(|id| number(id));
    for text in texts {
        let mut received = event_ids(&text);
        received.pop(); // the last
        assert_eq!(received, ids);
    }
}

#[test]
fn the_client_of_a_stream_that_is_not_at_rest_comes_back_once_and_misses_nothing() {
    let scene = Scene::new();
    let mut worker = scene.client_with(settings_for_many());
    // Two that do not read: one is sent events of a hub, the other one only what is pushed to it.
    let (mut pushed, mut client) = (open(&mut worker, 1, "head\n"), follow(&mut worker, 2, topics("news", None)));
    let large = |letter: char| letter.to_string().repeat(700_000);
    for letter in 'a'..='z' {
        worker.publish(&event("news", &large(letter))).expect("an id");
    }
    scene.upgrade();
    let ended = [1, 2].map(|_| report_with(&mut worker, |report| matches!(report, Response::Ended { .. })));
    let mut ended = ended.map(|report| match report {
        Response::Ended { stream, reason: Reason::Server } => stream,
        other => panic!("{other:?}"),
    });
    ended.sort_unstable();
    assert_eq!(ended, [1, 2]);
    assert!(read_to_end(&mut pushed).contains("retry: "));
    let text = read_to_end(&mut client);
    let complete = &text[..text.rfind("\n\n").map_or(0, |end| end + 2)];
    let last = complete.rsplit_once("\nid: ").map(|(_, id)| id.trim_end().to_owned()).expect("an id");
    let mut back = follow(&mut worker, 3, topics("news", Some(&last)));
    let rest = read_all_through(&mut back, &large('z'));
    let all = [complete, &*rest].concat();
    let letters: String = all.lines().filter_map(|line| line.strip_prefix("data: ")?.chars().next()).collect();
    assert_eq!(letters, ('a'..='z').collect::<String>());
    assert!(!rest.contains("event: gap"));
    scene.upgrade();
    worker.publish(&event("news", "after")).expect("an id");
    read_event(&mut back, "after");
}

#[test]
fn a_stream_that_its_worker_holds_stays_with_what_is_buffered() {
    let (scene, mut worker) = Scene::with_worker();
    let mut client = open(&mut worker, 1, "head\n");
    let subscription = SubscribeRequest {
        topics: vec![Topic::Channel(b"news"[..].into()), Topic::Pattern(b"room/*"[..].into())],
        other_starts: vec![OtherStart { from: 1, start: StartPoint::State }],
        ..topics("", None)
    };
    worker.subscribe(1, subscription).expect("a stream");
    let mut pushed = 0;
    let mut push = |worker: &mut CallConnection, event: &str| {
        let event = event.as_bytes();
        pushed += event.len() as u64;
        worker.send(&Request::Push { stream: 1, event, has_id: false }, None).expect("a connection");
        pushed
    };
    let (large, mut count) = (format!("data: {}\n\n", "x".repeat(100_000)), 0);
    loop {
        let all = push(&mut worker, &large);
        count += 1;
        let state = report_with(
            &mut worker,
            |report| matches!(*report, Response::State(StreamProgress { pushed, buffered, is_stalled, .. }) if pushed == all && (is_stalled || buffered == 0)),
        );
        if matches!(state, Response::State(StreamProgress { buffered: 1.., .. })) {
            break;
        }
    }
    scene.upgrade();
    scene.upgrade();
    let total = push(&mut worker, "data: pushed\n\n");
    worker.publish(&Publication { key: b"k", ..event("room/1", "published") }).expect("an id");
    let text = read_all_through(&mut client, "published");
    assert_eq!((text.matches(&large).count(), text.matches("data: pushed\n").count()), (count, 1));
    report_with(
        &mut worker,
        |report| matches!(*report, Response::State(StreamProgress { pushed, buffered: 0, .. }) if pushed == total),
    );
    let end = Request::End { stream: 1, reason: Reason::Application, discards: false };
    worker.send(&end, None).expect("a connection");
    report_with(&mut worker, |report| matches!(report, Response::Ended { stream: 1, reason: Reason::Application }));
    assert!(!read_to_end(&mut client).contains("retry: "));
}

#[test]
fn a_program_of_another_protocol_has_the_history_and_all_clients_come_back_once() {
    let (scene, mut worker) = Scene::with_worker();
    let keyed = |key: &'static [u8], data: &str| Publication { key, retain: Retain::Newest, ..event("prices", data) };
    let once = Publication { once: b"order 7", ..event("news", "paid") };
    let id = worker.publish(&once).expect("an id");
    worker.publish(&keyed(b"a", "a1")).expect("an id");
    let mut clients: Vec<TcpStream> =
        (1..=20).map(|number| follow(&mut worker, number, topics("news", Some(&id)))).collect();
    let epoch = worker.welcome().epoch.clone();
    let other = VERSION + 1;
    let speaks = |name, version: u16| {
        script(&scene, name, &format!("EVENTSOURCE_TEST_PROTOCOL={version} exec {PROGRAM} \"$@\""))
    };
    let (next, back) = (speaks("next", other), speaks("back", VERSION));
    upgrade(&Scene::start(), &scene.place, Some(&next)).expect("an upgrade");
    assert!(worker.publish(&event("news", "lost")).is_err(), "its connection has ended");
    for client in &mut clients {
        assert_eq!(read_to_end(client).matches("retry: ").count(), 1);
    }
    let refused = CallConnection::connect(&Scene::start(), &scene.place, None).expect_err("another protocol");
    assert!(refused.to_string().contains(&format!("speaks version {other}")), "{refused}");
    // The way back is one of another protocol, too.
    upgrade(&Scene::start(), &scene.place, Some(&back)).expect("an upgrade");
    let mut worker = scene.client_with(settings());
    assert_eq!(worker.welcome().epoch, epoch);
    assert_eq!(worker.publish(&once).expect("an id"), id);
    worker.publish(&event("news", "after")).expect("an id");
    for number in 1..=20 {
        let mut client = follow(&mut worker, number, topics("news", Some(&id)));
        let text = read_event(&mut client, "after");
        assert_eq!((event_ids(&text).len(), text.contains("event: gap")), (1, false), "{text}");
    }
    let mut page = open(&mut worker, 99, "");
    worker.subscribe(99, SubscribeRequest { start: StartPoint::State, ..topics("prices", None) }).expect("a stream");
    read_event(&mut page, "a1");
}

/// A subscription of a member without linger, and with a will.
fn of_member(id: &str) -> SubscribeRequest {
    let unsequenced = |name: &str| {
        let name = EventName::new(Text::from(name)).expect("a name");
        Unsequenced::of([Field::Event(name), Field::Data(Text::from(id))].into_iter())
    };
    let member = MemberRequest {
        channel: b"room"[..].into(),
        id: id.as_bytes().into(),
        join: unsequenced("join"),
        leave: unsequenced("leave"),
        ..MemberRequest::default()
    };
    let will = Announcement {
        channel: b"room"[..].into(),
        key: Box::default(),
        retain: Retain::No,
        event: unsequenced("will"),
        statement: Statement::Nothing,
    };
    let presence = Presence { member: Some(member.into()), will: Some(will.into()) };
    SubscribeRequest { presence, ..topics("other", None) }
}

#[test]
fn members_and_wills_wait_for_clients_that_come_back() {
    for is_stored in [false, true] {
        let scene = Scene::new();
        let HubSettings { store, .. } = if is_stored { in_file(&scene) } else { settings() };
        let mut worker = scene.client_with(HubSettings { store, ..settings_for_many() });
        let mut page = follow(&mut worker, 1, topics("room", None));
        // One that stays; one that comes back; one that does not. The last two have something to read that they do not read.
        let mut stays = follow(&mut worker, 2, of_member("stays"));
        let mut others: Vec<TcpStream> = vec![];
        for (number, id) in [(3, "returns"), (4, "leaves")] {
            let (socket, client) = tcp();
            let settings = Settings { retry: Duration::from_millis(300), ..stream_settings() };
            worker.open(Open::new(number, settings, b""), socket.as_fd()).expect("a connection");
            worker
                .subscribe(number, SubscribeRequest { topics: topics("busy", None).topics, ..of_member(id) })
                .expect("a stream");
            others.push(client);
        }
        let large = "x".repeat(900_000);
        (0..12).for_each(|_| drop(worker.publish(&event("busy", &large)).expect("an id")));
        let members = |worker: &mut CallConnection| {
            let page = worker.members(b"room", None).expect("members");
            let ids = page.members.iter().map(|member| String::from_utf8_lossy(&member.id).into_owned());
            ids.collect::<Vec<_>>()
        };
        assert_eq!(members(&mut worker), ["leaves", "returns", "stays"]);
        scene.upgrade();
        let _back = follow(&mut worker, 5, of_member("returns"));
        assert_eq!(members(&mut worker), ["leaves", "returns", "stays"], "stored: {is_stored}");
        eventually("one has left", || members(&mut worker) == ["returns", "stays"]);
        worker.publish(&event("room", "the last")).expect("an id");
        let text = read_event(&mut page, "the last");
        let mut told: Vec<_> = text.split("\n\n").filter_map(|block| block.strip_prefix("event: ")).collect();
        told.retain(|block| !block.starts_with("position") && !block.starts_with("eventsource-hub"));
        let told: Vec<_> = told.iter().map(|block| block.split("\nid: ").next().unwrap_or_default()).collect();
        let expected = [
            "join\ndata: stays",
            "join\ndata: returns",
            "join\ndata: leaves",
            "will\ndata: leaves",
            "leave\ndata: leaves",
        ];
        assert_eq!(told, expected, "stored: {is_stored}");
        worker.publish(&event("other", "hello")).expect("an id");
        read_event(&mut stays, "hello");
        drop(others);
    }
}

/// Reads until the end of the event with this data, in large pieces.
fn read_all_through(client: &mut TcpStream, data: &str) -> String {
    let (mut text, mut piece) = (Vec::new(), vec![0; 1 << 20]);
    let end = format!("data: {data}\nid: ");
    loop {
        let count = client.read(&mut piece).expect("bytes");
        assert!(count > 0);
        text.extend_from_slice(&piece[..count]);
        let tail = &text[text.len().saturating_sub(end.len() + 100)..];
        if tail.ends_with(b"\n\n") && tail.windows(end.len()).any(|part| part == end.as_bytes()) {
            return String::from_utf8(text).expect("text");
        }
    }
}

#[test]
fn requests_that_are_cut_anywhere_are_carried_out_once() {
    let (scene, mut worker) = Scene::with_worker();
    let mut bytes = hello();
    let hello = bytes.len();
    for request in 1..=30 {
        let data = format!("number {request}");
        let fields = FieldList::of([Field::Data(Text::from(&*data))]);
        let publication = Publication { channel: b"news", fields: fields.fields(), ..Publication::default() };
        Request::Publish { request, publication }.encode(&mut bytes).expect("a short message");
    }
    let mut socket = connect(&scene);
    let mut at = 0;
    // Cut within the hello, within a length, within a message.
    for end in [3, hello - 1, hello + 2, hello + 4, hello + 5, hello + 30, bytes.len() - 1, bytes.len()] {
        socket.write_all(&bytes[at..end]).expect("a connection");
        scene.upgrade();
        at = end;
    }
    eventually("all are published", || worker.count(b"").expect("counts").hub.events == 30);
    let mut client = open(&mut worker, 1, "");
    let epoch = worker.welcome().epoch.clone();
    worker.subscribe(1, topics("news", Some(&format!("{epoch}-0")))).expect("a stream");
    let text = read_event(&mut client, "number 30");
    let numbers: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("data: number ")).collect();
    assert_eq!(numbers, (1..=30).map(|number: u32| number.to_string()).collect::<Vec<_>>());
    let mut answers = vec![0; 100_000];
    let mut text = String::new();
    while !text.contains(&format!("{epoch}-30")) {
        let count = socket.read(&mut answers).expect("an answer");
        assert!(count > 0);
        text.push_str(&String::from_utf8_lossy(&answers[..count]));
    }
    assert_eq!(text.matches(&format!("{epoch}-")).count(), 30);
}

#[test]
fn a_descriptor_on_its_way_arrives() {
    let (scene, mut worker) = Scene::with_worker();
    let (socket, mut client) = tcp();
    let mut bytes = opening(1);
    let subscription = topics("news", None);
    Request::Subscribe { request: 0, stream: 1, subscription }.encode(&mut bytes).expect("a short message");
    let mut raw = connect(&scene);
    raw.write_all(&hello()).expect("a connection");
    // The descriptor comes with the first byte. The hub has it before the rest of the message.
    let send = eventsource_xs::remote::calls::send;
    let wait = eventsource_xs::remote::calls::Wait::Forever;
    assert_eq!(send(raw.as_fd(), &bytes[..1], Some(socket.as_fd()), wait).expect("a connection"), 1);
    drop(socket);
    scene.upgrade();
    raw.write_all(&bytes[1..20]).expect("a connection");
    scene.upgrade();
    raw.write_all(&bytes[20..]).expect("a connection");
    eventually("it is subscribed", || worker.count(b"news").expect("counts").subscribers == 1);
    worker.publish(&event("news", "hello")).expect("an id");
    read_event(&mut client, "hello");
    assert_eq!(worker.count(b"").expect("counts").cut_off, 0);
}

#[test]
fn a_thousand_streams_continue_while_some_end() {
    let (scene, mut worker) = Scene::with_worker();
    let mut clients: Vec<TcpStream> = (1..=1000)
        .map(|number| follow(&mut worker, number, topics(&format!("channel {}", number % 10), None)))
        .collect();
    let left = clients.split_off(900);
    drop(left);
    scene.upgrade();
    for channel in 0..10 {
        worker.publish(&event(&format!("channel {channel}"), &format!("of {channel}"))).expect("an id");
    }
    for (number, client) in (1..).zip(&mut clients) {
        read_event(client, &format!("of {}", number % 10));
    }
    let mut ended = 0;
    while ended < 100 {
        match worker.next_report().expect("a connection").expect("a report") {
            Response::Ended { stream: 901.., reason: Reason::Client } => ended += 1,
            Response::State(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let counted = worker.count(b"channel 3").expect("counts");
    assert_eq!((counted.streams.open, counted.subscribers, counted.hub.streams), (900, 90, 900));
    // Slots of ended streams are used again.
    let mut late = follow(&mut worker, 5000, topics("channel 3", None));
    worker.publish(&event("channel 3", "late")).expect("an id");
    read_event(&mut late, "late");
}

#[test]
fn an_upgrade_to_a_program_that_cannot_continue_changes_nothing() {
    let (scene, mut worker) = Scene::with_worker();
    let mut client = follow(&mut worker, 1, topics("news", None));
    let pid = worker.welcome().pid;
    let claim = format!("echo eventsource-hub reads states of version $2, protocol {VERSION}");
    let bars = scene.folder.join("bars").display().to_string();
    let programs = [
        (PathBuf::from("/nowhere/eventsource-hub"), "cannot run /nowhere/eventsource-hub"),
        (PathBuf::from("/bin/true"), "is not a hub program"),
        (PathBuf::from("/bin/false"), "is not a hub program"),
        (scene.place.lock().to_owned(), "cannot run"),
        (script(&scene, "other", "echo this program reads states of version 9, not 1; exit 1"), "states of version 9"),
        (script(&scene, "fails", &format!("{claim}; exit 1")), "cannot continue here"),
        (script(&scene, "hangs", "exec sleep 60"), "timed out"),
        // It reads the version, but not the state.
        (script(&scene, "half", &format!("test \"$(wc -c)\" = 0 && {claim}")), "is not a hub program"),
        // Nothing but the `exec` fails.
        (script(&scene, "bars", &format!("test \"$(wc -c)\" = 0 || chmod 644 {bars}; {claim}")), "Permission denied"),
    ];
    for (program, message) in programs {
        let failed = upgrade(&Scene::start(), &scene.place, Some(&program)).expect_err("no upgrade");
        assert!(failed.message.contains(message), "{failed}");
        assert_eq!(program_of(pid), Path::new(PROGRAM));
        let id = worker.publish(&event("news", message)).expect("an id");
        assert!(read_event(&mut client, message).ends_with(&format!("id: {id}\n\n")));
    }
    let relative = upgrade(&Scene::start(), &scene.place, Some(Path::new("hub"))).expect_err("no upgrade");
    assert!(relative.to_string().contains("must be absolute"), "{relative}");
    // No descriptor is left open for a program that this one starts.
    let flags = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("a process").filter_map(|entry| {
        let entry = entry.ok()?;
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let text = fs::read_to_string(entry.path()).ok()?;
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?.trim().to_owned();
        Some((number, u32::from_str_radix(&flags, 8).ok()?))
    });
    let kept: Vec<_> = flags.filter(|(number, flags)| *number > 2 && flags & 0o2_000_000 == 0).collect();
    assert_eq!(kept, []);
    scene.upgrade();
    worker.publish(&event("news", "after")).expect("an id");
    read_event(&mut client, "after");
}

#[test]
fn an_upgrade_keeps_what_a_hub_remembers() {
    let scene = Scene::new();
    let mut settings = HubSettings { max_topics: 2, ..settings() };
    (settings.hub.on_slow, settings.hub.opaque_ids, settings.hub.retention.history.events) = (OnSlow::Latest, true, 2);
    let mut news = ChannelSettings::new(b"news/*");
    news.events = Some(1);
    settings.hub.retention.channels = vec![news];
    settings.show_channel = Some(ShowChannel::Data);
    let mut worker = scene.client_with(settings.clone());
    let mut bare =
        CallConnection::connect(&Scene::start(), &scene.place, Some(NamedSettings::default())).expect("a hub");
    let keyed = |key: &'static [u8], data: &str| Publication { key, ..event("prices", data) };
    for (key, data) in [(b"a", "a1"), (b"b", "b1"), (b"a", "a2"), (b"c", "c1"), (b"c", "c2")] {
        worker.publish(&keyed(key, data)).expect("an id");
    }
    let once = Publication { once: b"order 7", ..event("orders", "paid") };
    let id = worker.publish(&once).expect("an id");
    let own =
        FieldList::of([Field::Data(Text::from("own")), Field::Id(EventId::new(Text::from("mine")).expect("an id"))]);
    worker.publish(&Publication { channel: b"orders", fields: own, ..Publication::default() }).expect("an id");
    // A handler that has subscribed and not returned: its client comes back. And a pattern.
    let (socket, mut held) = tcp();
    let opening = Open { holds: true, ..Open::new(1, stream_settings(), b"head\n") };
    worker.open(opening, socket.as_fd()).expect("a connection");
    drop(socket);
    worker.subscribe(1, topics("orders", Some(&id))).expect("a stream");
    let mut by_pattern = open(&mut worker, 2, "");
    let pattern = Topic::Pattern(b"ord*"[..].into());
    let subscription = SubscribeRequest { topics: vec![pattern], ..topics("", None) };
    worker.subscribe(2, subscription).expect("a stream");
    scene.upgrade();

    assert_eq!(worker.publish(&once).expect("an id"), id);
    assert!(read_to_end(&mut held).starts_with("head\nretry: "));
    worker.subscribe(1, topics("prices", None)).expect("it has ended");
    worker.send(&Request::Begin { stream: 1 }, None).expect("a connection");
    let mut back = follow(&mut worker, 6, topics("orders", Some(&id)));
    worker.publish(&event("orders", "sent")).expect("an id");
    let data = |text: &str| {
        let data = text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter(|data| !data.is_empty() && !data.starts_with("{\"show_channel"));
        data.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(data(&read_event(&mut back, "sent")), ["own", "sent"]);
    assert_eq!(data(&read_event(&mut by_pattern, "sent")), ["sent"]);
    worker.subscribe(6, topics("prices", None)).expect("a stream");
    let failed = worker.subscribe(6, topics("more", None)).expect_err("too many topics");
    assert!(failed.to_string().contains("at most 2 channels"), "{failed}");
    // An id of the application is none of the hub. And the compacted log.
    let mut unknown = follow(&mut worker, 3, topics("orders", Some("mine")));
    read_until(&mut unknown, "event: gap\n");
    let mut all = open(&mut worker, 4, "");
    let subscription = SubscribeRequest { start: StartPoint::Oldest, ..topics("prices", None) };
    worker.subscribe(4, subscription).expect("a stream");
    assert_eq!(data(&read_event(&mut all, "c2")).last().map(String::as_str), Some("c2"));
    // The settings of a channel that is new.
    for data in ["n1", "n2"] {
        worker.publish(&event("news/1", data)).expect("an id");
    }
    let mut of_news = open(&mut worker, 5, "");
    let subscription = SubscribeRequest { start: StartPoint::Oldest, ..topics("news/1", None) };
    worker.subscribe(5, subscription).expect("a stream");
    assert_eq!(data(&read_event(&mut of_news, "n2")), ["n2"]);
    // Workers with other settings are still refused, and the events of one that does not show channels.
    let refused = bare.publish(&event("news/1", "bare")).expect_err("another form");
    assert!(refused.to_string().starts_with("show_channel differs"), "{refused}");
    settings.hub.opaque_ids = false;
    let refused =
        CallConnection::connect(&Scene::start(), &scene.place, Some(settings.into())).expect_err("other settings");
    assert!(refused.to_string().starts_with("opaque_ids differs"), "{refused}");
}

/// The subscription of a client that polls, and waits for so many seconds.
fn poll(channel: &str, after: &str, wait: u64) -> SubscribeRequest {
    let poll = Some(Poll { wait: Duration::from_secs(wait), reason: PollReason::Mute });
    let access = Access { labels: vec![b"user/7"[..].into()], poll, ..Access::default() };
    SubscribeRequest { access, ..topics(channel, Some(after)) }
}

#[test]
fn a_client_between_two_polls_is_told_not_to_come_back_if_an_upgrade_or_a_restart_lies_between() {
    let end = |worker: &mut CallConnection| {
        let labels = vec![b"user/7"[..].into()];
        worker
            .call(&Call::EndStreams(EndRequest { labels, finishes: true, ..EndRequest::default() }))
            .expect("a number")
    };
    for (is_stored, ends_before, restarts) in [false, true].into_iter().flat_map(|is_stored| {
        [(true, false), (false, false), (true, true), (false, true)]
            .map(|(before, restarts)| (is_stored, before, restarts))
    }) {
        let scene = Scene::new();
        let settings = if is_stored { in_file(&scene) } else { settings() };
        let mut worker = scene.client_with(settings.clone());
        let first = worker.publish(&event("news", "one")).expect("an id");
        let mut answered = follow(&mut worker, 1, poll("news", &first, 60));
        let second = worker.publish(&event("news", "two")).expect("an id");
        assert!(read_to_end(&mut answered).contains("data: two\n"));
        let mut cut = follow(&mut worker, 2, poll("quiet", &first, 60));
        let pid = worker.welcome().pid;
        if ends_before {
            end(&mut worker);
        }
        if restarts {
            drop(worker);
            let hub = eventsource_xs::hub::Settings { on_slow: OnSlow::Latest, ..settings.hub };
            worker = eventually_alone(&scene, &HubSettings { hub, ..settings });
        } else {
            scene.upgrade();
        }
        assert_eq!(worker.welcome().pid, pid);
        assert_eq!(read_to_end(&mut cut).contains("finish"), ends_before);
        if !ends_before {
            end(&mut worker);
            let mut next = follow(&mut worker, 3, poll("quiet", &first, 0));
            assert!(read_to_end(&mut next).contains("eventsource-finished"), "the upgrade has cut it");
        }
        let mut next = follow(&mut worker, 4, poll("news", &second, 0));
        let text = read_to_end(&mut next);
        assert!(text.contains("eventsource-finished"), "{is_stored} {ends_before} {restarts}: {text}");
        let mut later = follow(&mut worker, 5, poll("news", &second, 0));
        assert!(!read_to_end(&mut later).contains("finished"), "it is told once");
    }
}

#[test]
fn a_drain_continues() {
    for is_stored in [false, true] {
        let scene = Scene::new();
        let settings = || if is_stored { in_file(&scene) } else { settings() };
        let mut worker = scene.client_with(settings());
        let drain = |worker: &mut CallConnection, within| {
            worker.make(&Call::Drain { within: Duration::from_secs(within) }).expect("a hub");
        };
        let [mut first, mut last] = [1, 2].map(|stream| follow(&mut worker, stream, topics("news", None)));
        drain(&mut worker, 300);
        assert!(read_to_end(&mut first).contains("retry: "));
        scene.upgrade();
        scene.upgrade();
        // Its time has not come, and streams that come later end at once.
        worker.publish(&event("news", "hello")).expect("an id");
        read_event(&mut last, "hello");
        let mut late = follow(&mut worker, 3, topics("news", None));
        assert!(read_to_end(&mut late).starts_with("retry: "), "stored: {is_stored}");
        // With other workers streams stay, and those of the first ones still end.
        drain(&mut worker, 2);
        drop(worker);
        let mut worker = eventually_alone(&scene, &settings());
        let mut new = follow(&mut worker, 4, topics("news", None));
        scene.upgrade();
        assert!(read_to_end(&mut last).contains("retry: "));
        worker.publish(&event("news", "again")).expect("an id");
        read_event(&mut new, "again");
    }
}

/// Connects a worker when the hub has noticed that the last one has left.
fn eventually_alone(scene: &Scene, settings: &HubSettings) -> CallConnection {
    let mut command = scene.client();
    eventually("the worker has left", || command.count(b"").expect("counts").workers == 1);
    scene.client_with(settings.clone())
}

#[test]
fn ages_count_the_time_that_an_upgrade_takes() {
    let (scene, mut worker) = Scene::with_worker();
    worker.publish(&event("news", "one")).expect("an id");
    let mut age = || match worker.make(&Call::Oldest { channel: b"news"[..].into() }) {
        Ok(Reply::Oldest(Some((_, age)))) => age,
        other => panic!("{other:?}"),
    };
    let (before, since) = (age(), Instant::now());
    scene.upgrade();
    let least = before + since.elapsed();
    assert!(age() >= least);
}

#[test]
fn a_greeting_that_waits_for_another_store_has_its_time_however_many_upgrades_there_are() {
    let scene = Scene::new();
    let _worker = scene.client_with(in_file(&scene));
    let greeted = std::thread::scope(|scope| {
        let greets = || CallConnection::connect(&Scene::start(), &scene.place, Some(settings().into())).map(drop);
        let greets = scope.spawn(greets);
        while !greets.is_finished() {
            scene.upgrade();
        }
        greets.join().expect("no panic")
    });
    assert_eq!(greeted.expect_err("another store").field.as_deref(), Some("store"));
}

#[test]
fn streams_end_a_while_after_the_last_worker_however_often_the_hub_is_upgraded() {
    for is_stored in [false, true] {
        let scene = Scene::new();
        let settings = if is_stored { in_file(&scene) } else { settings() };
        let mut worker = scene.client_with(HubSettings { grace: Duration::from_secs(2), ..settings });
        let pid = worker.welcome().pid;
        let mut client = follow(&mut worker, 1, topics("news", None));
        drop(worker);
        let reader = std::thread::spawn(move || read_to_end(&mut client));
        eventually("it has ended", || {
            signal(pid, Signal::USR2);
            reader.is_finished()
        });
        assert!(reader.join().expect("no panic").contains("retry: "));
    }
}

#[test]
fn the_time_without_a_worker_continues() {
    let scene = Scene::new();
    let mut worker = scene.client_with(HubSettings {
        idle_exit: Duration::from_millis(300),
        grace: Duration::from_millis(100),
        ..settings()
    });
    let pid = worker.welcome().pid;
    let mut client = follow(&mut worker, 1, topics("news", None));
    scene.upgrade();
    drop(worker);
    assert!(read_until(&mut client, "\n\n").contains("event: position"));
    assert!(read_to_end(&mut client).contains("retry: "));
    drop(client);
    gone(pid);
    assert!(!scene.place.socket().exists());
}

#[test]
fn keepalives_and_timeouts_of_streams_continue() {
    let (scene, mut worker) = Scene::with_worker();
    let (socket, mut client) = tcp();
    let quick = Settings { keepalive: Some(Duration::from_millis(50)), ..stream_settings() };
    worker.open(Open::new(1, quick, b""), socket.as_fd()).expect("a connection");
    worker.subscribe(1, topics("news", None)).expect("a stream");
    drop(socket);
    scene.upgrade();
    read_until(&mut client, ":\n:\n");
    // A client that takes nothing has its time.
    let (socket, client) = tcp();
    let impatient = Settings { timeout: Duration::from_millis(500), ..stream_settings() };
    let unsent = vec![b'x'; 12 << 20];
    worker.open(Open::new(2, impatient, &unsent), socket.as_fd()).expect("sent");
    worker.subscribe(2, topics("news", None)).expect("a stream");
    drop(socket);
    scene.upgrade();
    loop {
        match worker.next_report().expect("a connection").expect("a report") {
            Response::Ended { stream: 2, reason } => break assert_eq!(reason, Reason::Timeout),
            Response::State(_) => {}
            other => panic!("{other:?}"),
        }
    }
    drop(client);
}

#[test]
fn a_stream_is_sent_keepalives_and_ends_after_its_timeout_however_often_the_hub_is_upgraded() {
    let (scene, mut worker) = Scene::with_worker();
    let times = (Some(Duration::from_secs(1)), Duration::from_secs(1));
    let settings = Settings { keepalive: times.0, timeout: times.1, ..stream_settings() };
    let mut clients = Vec::new();
    for (stream, unsent) in [(1, vec![b':'; 1]), (2, vec![b'x'; 12 << 20])] {
        let (socket, client) = tcp();
        worker.open(Open::new(stream, settings, &unsent), socket.as_fd()).expect("sent");
        worker.subscribe(stream, topics("news", None)).expect("a stream");
        clients.push(client);
    }
    read_until(&mut clients[0], "\n\n"); // its position
    clients[0].set_nonblocking(true).expect("a socket");
    let mut keepalives = [0; 9];
    let mut is_sent = false;
    eventually("a keepalive and an end", || {
        scene.upgrade();
        is_sent |= matches!(clients[0].read(&mut keepalives), Ok(1..));
        is_sent && worker.count(b"").expect("counts").streams.open == 1
    });
    let end = report_with(&mut worker, |report| matches!(report, Response::Ended { .. }));
    assert_eq!(end, Response::Ended { stream: 2, reason: Reason::Timeout });
}

#[test]
fn without_a_hub_there_is_nothing_to_upgrade() {
    let scene = Scene::new();
    let mut command: Command = scene.command(&["upgrade", "--timeout", "0.01"]);
    let output = command.output().expect("the program");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("no process serves the hub shop"), "{message}");
    assert!(!scene.place.socket().exists());
}
