//! A hub process with a store in a file: what workers, clients and publishers see when the process ends and comes back.

mod support;

use eventsource_xs::event::{Field, Text, Unsequenced};
use eventsource_xs::hub::{Announcement, Presence, Publication, Retain, StartPoint, Statement, SubscribeRequest};
use eventsource_xs::log::Bounds;
use eventsource_xs::remote::{kept_settings, upgrade, CallConnection};
use eventsource_xs::stream::Reason;
use eventsource_xs::wire::{
    Failure, FileSettings, FileSync, FrameBuffer, Hello, HubSettings, NamedSettings, Request, Response, Role,
    StoreSettings, Welcome,
};
use eventsource_xs::ErrorCode;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::{
    connect, event, follow, gone, in_file, is_eventually, kill, open, read_event, read_to_end, read_until, settings,
    signal, topics, Asks, Scene, Signal, PROGRAM,
};

fn stop(scene: &Scene, pid: u32) {
    scene.stop();
    gone(pid);
}

fn seq_of(id: &str) -> u64 {
    id.rsplit('-').next().and_then(|seq| seq.parse().ok()).expect("an id")
}

/// Resumes a channel. Returns everything up to the event with this data.
fn resume(worker: &mut CallConnection, stream: u64, channel: &str, after: &str, until: &str) -> String {
    let mut client = follow(worker, stream, topics(channel, Some(after)));
    read_event(&mut client, until)
}

#[test]
fn a_backup_or_a_damaged_log_in_the_place_of_the_history_is_a_gap() {
    for is_backup in [true, false] {
        let scene = Scene::new();
        let (path, wal) = (scene.folder.join("events.db"), scene.folder.join("events.db-wal"));
        let mut worker = scene.client_with(in_file(&scene));
        worker.publish(&event("news", "early")).expect("an id");
        if is_backup {
            stop(&scene, worker.welcome().pid);
            fs::copy(&path, scene.folder.join("backup")).expect("room");
            worker = scene.client_with(in_file(&scene));
        }
        let before = worker.welcome().epoch.clone();
        let last = (0..20).map(|number| worker.publish(&event("news", &number.to_string())).expect("an id")).last();
        if is_backup {
            stop(&scene, worker.welcome().pid);
            // The same file, written over.
            fs::write(&path, fs::read(scene.folder.join("backup")).expect("a file")).expect("room");
        } else {
            kill(worker.welcome().pid);
            let mut bytes = fs::read(&wal).expect("a file");
            let middle = bytes.len() / 2;
            bytes[middle..].iter_mut().for_each(|byte| *byte ^= 0x55);
            fs::write(&wal, bytes).expect("room");
        }
        let mut worker = scene.client_with(in_file(&scene));
        assert_ne!(worker.welcome().epoch, before);
        let mut client = follow(&mut worker, 1, topics("news", last.as_deref()));
        worker.publish(&event("news", "after")).expect("an id");
        let text = read_event(&mut client, "after");
        assert!(text.contains("event: gap"), "{text}");
        let store = worker.count(b"").expect("counts").store;
        assert!(store.last_error.contains("which was delivered before"), "{store:?}");
        if is_backup {
            // Once more, when the file has another epoch.
            let epoch = worker.welcome().epoch.clone();
            stop(&scene, worker.welcome().pid);
            fs::write(&path, fs::read(scene.folder.join("backup")).expect("a file")).expect("room");
            let mut worker = scene.client_with(in_file(&scene));
            assert!(worker.welcome().epoch != epoch && worker.welcome().epoch != before, "{epoch} {before}");
            let store = worker.count(b"").expect("counts").store;
            assert!(store.last_error.contains("an earlier history"), "{store:?}");
        }
    }
}

#[test]
fn opaque_ids_are_known_after_the_process_was_killed() {
    let scene = Scene::new();
    let mut opaque = in_file(&scene);
    opaque.hub.opaque_ids = true;
    let mut worker = scene.client_with(opaque.clone());
    let first = worker.publish(&event("news", "one")).expect("an id");
    worker.publish(&event("news", "two")).expect("an id");
    kill(worker.welcome().pid);
    let mut worker = scene.client_with(opaque);
    let text = resume(&mut worker, 1, "news", &first, "two");
    assert!(!text.contains("data: one") && !text.contains("event: gap"), "{text}");
}

#[test]
fn an_upgrade_keeps_streams_and_ids() {
    let scene = Scene::new();
    let mut worker = scene.client_with(in_file(&scene));
    let mut client = follow(&mut worker, 1, topics("news", None));
    for round in 0..3 {
        let data = format!("round {round}");
        for number in 0..50 {
            worker.publish_unanswered(&event("news", &format!("{round} {number}"))).expect("a connection");
        }
        scene.upgrade();
        let id = worker.publish(&event("news", &data)).expect("an id");
        let text = read_event(&mut client, &data);
        assert!(text.ends_with(&format!("data: {data}\nid: {id}\n\n")), "{text}");
        assert_eq!(text.matches("data: ").count() - text.matches("event: position").count(), 51, "{text}");
        assert_eq!(seq_of(&id), 51 * (round + 1));
    }
    // What was published before the upgrades is in the file, too.
    kill(worker.welcome().pid);
    let mut worker = scene.client_with(in_file(&scene));
    let id = worker.publish(&event("news", "last")).expect("an id");
    assert_eq!(seq_of(&id), 154);
}

#[test]
fn no_signal_for_the_process_interrupts_a_thread_of_its_store() {
    let scene = Scene::new();
    let pid = scene.client_with(in_file(&scene)).welcome().pid;
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process").flatten();
    let statuses = threads.map(|thread| fs::read_to_string(thread.path().join("status")).expect("a thread"));
    let of_store: Vec<_> = statuses.filter(|status| status.starts_with("Name:\tstore\n")).collect();
    assert!(of_store.len() == 1 && of_store[0].contains("SigBlk:\tfffffffe7ffbfa07"), "{of_store:?}");
}

#[test]
fn only_evicted_events_cause_a_gap_after_a_restart() {
    let scene = Scene::new();
    let mut small = in_file(&scene);
    small.hub.retention.history = Bounds { events: 5, bytes: 1 << 20, age: Duration::from_secs(3600) };
    let mut worker = scene.client_with(small.clone());
    let quiet = worker.publish(&event("quiet", "q1")).expect("an id");
    worker.publish(&event("quiet", "q2")).expect("an id");
    let busy = worker.publish(&event("busy", "b0")).expect("an id");
    for number in 1..20 {
        worker.publish(&event("busy", &format!("b{number}"))).expect("an id");
    }
    stop(&scene, worker.welcome().pid);
    let mut worker = scene.client_with(small);
    let text = resume(&mut worker, 1, "quiet", &quiet, "q2");
    assert!(!text.contains("event: gap"), "{text}");
    let text = resume(&mut worker, 2, "busy", &busy, "b19");
    assert!(text.contains("event: gap") && text.matches("data: b").count() == 5, "{text}");
}

#[test]
fn a_worker_with_another_store_is_refused_and_one_without_is_not() {
    let scene = Scene::new();
    let mut worker = scene.client_with(in_file(&scene));
    worker.publish(&event("news", "one")).expect("an id");
    let other = FileSettings { path: "/other".into(), sync: FileSync::Never };
    let other = HubSettings { store: StoreSettings::File(other), ..settings() };
    match CallConnection::connect(&Scene::start(), &scene.place, Some(other.into())) {
        Err(failure) => assert_eq!(failure.field.as_deref(), Some("store")),
        other => panic!("{other:?}"),
    }
    let unnamed = scene.client_with(NamedSettings::default());
    assert!(matches!(unnamed.welcome().settings.store, StoreSettings::File(_)));
    let memory = || CallConnection::connect(&Scene::start(), &scene.place, Some(settings().into()));
    assert_eq!(memory().expect_err("another store").field.as_deref(), Some("store"));
    drop(worker);
    assert_eq!(memory().expect_err("another worker is there").field.as_deref(), Some("store"));
    drop(unnamed);
    assert!(is_eventually(|| memory().is_ok()), "no worker is there");
}

#[test]
fn two_hubs_do_not_share_a_file() {
    let (scene, other) = (Scene::new(), Scene::new());
    let mut worker = scene.client_with(in_file(&scene));
    worker.publish(&event("news", "one")).expect("an id");
    match CallConnection::connect(&Scene::start(), &other.place, Some(in_file(&scene).into())) {
        Err(failure) => {
            assert!(failure.message.contains("events.db"), "{}", failure.message);
            assert_eq!(failure.code, ErrorCode::Unavailable);
        }
        other => panic!("{other:?}"),
    }
    kill(worker.welcome().pid);
    let mut worker =
        CallConnection::connect(&Scene::start(), &other.place, Some(in_file(&scene).into())).expect("the file is free");
    assert_eq!(seq_of(&worker.publish(&event("news", "two")).expect("an id")), 2);
}

#[test]
fn a_file_that_cannot_be_used_is_a_clear_error_and_the_next_worker_tries_again() {
    let scene = Scene::new();
    let folder = scene.folder.join("missing");
    let path: Box<str> = folder.join("events.db").to_str().expect("text").into();
    let store = StoreSettings::File(FileSettings { path: path.clone(), sync: FileSync::Event });
    let given = HubSettings { store, ..settings() };
    match CallConnection::connect(&Scene::start(), &scene.place, Some(given.clone().into())) {
        Err(failure) => assert!(failure.message.contains(&*path), "{}", failure.message),
        other => panic!("{other:?}"),
    }
    fs::create_dir(&folder).expect("a folder");
    let mut worker =
        CallConnection::connect(&Scene::start(), &scene.place, Some(given.into())).expect("the folder exists");
    worker.publish(&event("news", "one")).expect("an id");
}

#[test]
fn a_command_that_was_first_leaves_the_store_to_the_first_worker() {
    let scene = Scene::new();
    let mut command = scene.client();
    command.publish(&event("news", "unread")).expect("an id");
    let mut worker = scene.client_with(in_file(&scene));
    let first = worker.publish(&event("news", "one")).expect("an id");
    assert_eq!(seq_of(&first), 1);
    assert_eq!(worker.count(b"").expect("counts").store.kind.as_ref(), "file");
}

/// Reads a stream of `news` with these events, the last of which ends the reading.
fn read_news(client: &mut CallConnection, stream: u64, after: Option<&str>, from: StartPoint, last: &str) -> String {
    let mut reader = open(client, stream, "");
    let request = SubscribeRequest { start: from, ..topics("news", after) };
    client.subscribe(stream, request).expect("a stream");
    read_event(&mut reader, last)
}

/// The first call of a deployment that adds a store to a running hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstCall {
    Stream,
    Publish,
    Command,
}

#[test]
fn a_hub_restarts_with_a_store_and_each_client_of_before_is_told_a_gap_whatever_the_first_call_is() {
    for first in [FirstCall::Stream, FirstCall::Publish, FirstCall::Command] {
        let scene = Scene::new();
        let mut before = scene.client_with(NamedSettings::default());
        let mut tail = follow(&mut before, 1, topics("news", None));
        let ids = ["one", "two"].map(|data| before.publish(&event("news", data)).expect("an id"));
        read_event(&mut tail, "two");
        if first == FirstCall::Command {
            scene.client().publish(&event("news", "of a command")).expect("an id");
        }
        let mut worker = scene.client_with(in_file(&scene));
        assert_eq!(worker.welcome().pid, before.welcome().pid);
        assert!(read_to_end(&mut tail).contains("retry: "), "the streams of before come back");
        if first == FirstCall::Publish {
            worker.publish(&event("news", "of a worker")).expect("an id");
        }
        // New clients, clients with an id of before, and all on a connection of before, too.
        let mut readers = Vec::new();
        for (stream, after) in [(1, None), (2, ids.first()), (3, ids.last())] {
            readers.push((after, follow(&mut worker, stream, topics("news", after.map(String::as_str)))));
        }
        readers.push((None, follow(&mut before, 2, topics("news", None))));
        let id = before.publish(&event("news", "last")).expect("the connection of before is served");
        assert!(id.starts_with(&*worker.welcome().epoch), "{id}");
        for (after, reader) in &mut readers {
            let text = read_event(reader, "last");
            assert!(
                ["one", "two", "of a"].iter().all(|data| !text.contains(&format!("data: {data}"))),
                "{first:?}: {text}"
            );
            assert_eq!(text.matches("event: gap\n").count(), usize::from(after.is_some()), "{first:?}: {text}");
        }
        // The next process uses the file, whoever starts it.
        kill(worker.welcome().pid);
        let oldest = read_news(&mut scene.client(), 9, None, StartPoint::Oldest, "last");
        assert_eq!(oldest.contains("of a worker"), first == FirstCall::Publish, "{oldest}");
        assert!(!oldest.contains("data: one\n") && !oldest.contains("of a command"), "{oldest}");
    }
}

#[test]
fn a_store_that_cannot_begin_leaves_the_hub_before_as_it_is() {
    let scene = Scene::new();
    let mut job = scene.client_with(NamedSettings::default());
    job.publish(&event("news", "of the job")).expect("an id");
    let folder = scene.folder.join("missing");
    let path: Box<str> = folder.join("events.db").to_str().expect("text").into();
    let store = Some(StoreSettings::File(FileSettings { path, sync: FileSync::Event }));
    let given = NamedSettings { store, ..NamedSettings::default() };
    CallConnection::connect(&Scene::start(), &scene.place, Some(given.clone())).expect_err("no folder");
    let text = read_news(&mut job, 1, None, StartPoint::Oldest, "of the job");
    assert!(!text.contains("event: gap"), "{text}");
    fs::create_dir(&folder).expect("a folder");
    let mut worker = scene.client_with(given);
    assert_eq!(worker.count(b"").expect("counts").store.kind.as_ref(), "file");
}

/// Opens a stream whose will has this text as its key and its data.
fn open_with_will(worker: &mut CallConnection, stream: u64, text: &str) -> TcpStream {
    let event = Unsequenced::of(std::iter::once(Field::Data(Text::from(text))));
    let (channel, key) = (b"wills"[..].into(), text.as_bytes().into());
    let will = Announcement { channel, key, retain: Retain::Newest, event, statement: Statement::Nothing };
    let presence = Presence { will: Some(will.into()), ..Presence::default() };
    let client = open(worker, stream, "");
    worker.subscribe(stream, SubscribeRequest { presence, ..topics("news", None) }).expect("a stream");
    client
}

#[test]
fn an_orderly_end_publishes_the_wills_of_the_open_streams() {
    for is_stopped in [true, false] {
        let scene = Scene::new();
        let mut worker = scene.client_with(in_file(&scene));
        let texts = ["one", "two", "ended by the application"].into_iter().zip(1..);
        let _clients: Vec<TcpStream> = texts.map(|(text, stream)| open_with_will(&mut worker, stream, text)).collect();
        let end = Request::End { stream: 3, reason: Reason::Application, discards: false };
        worker.send(&end, None).expect("a connection");
        worker.members(b"wills", None).expect("a page"); // the subscriptions have taken effect
        let pid = worker.welcome().pid;
        match is_stopped {
            true => scene.stop(),
            false => signal(pid, Signal::TERM),
        }
        gone(pid);
        let mut worker = scene.client_with(in_file(&scene));
        let mut reader = follow(&mut worker, 1, SubscribeRequest { start: StartPoint::State, ..topics("wills", None) });
        let text = read_until(&mut reader, "event: position\n");
        let wills: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(wills, ["{\"state\":true}", "one", "two"], "stopped: {is_stopped}");
    }
}

/// Greets as a worker with these settings, without waiting for the welcome.
fn greet(worker: &mut UnixStream, scene: &Scene, settings: NamedSettings) {
    let mut hello = Vec::new();
    let greeting = Hello { name: scene.place.name().clone(), role: Role::Worker(Box::new(settings)) };
    greeting.encode(&mut hello).expect("a short message");
    worker.write_all(&hello).expect("room");
}

/// Waits for the welcome of a worker that has greeted.
fn read_welcome(worker: &mut UnixStream) -> Welcome {
    let mut buffer = FrameBuffer::default();
    loop {
        if let Some(frame) = buffer.next_frame().expect("a message") {
            match Response::decode(frame).expect("an answer") {
                Response::Welcome(welcome) => return *welcome,
                other => panic!("{other:?}"),
            }
        }
        let mut bytes = [0; 4096];
        let count = worker.read(&mut bytes).expect("a welcome");
        assert!(count > 0, "the connection has ended");
        buffer.feed(&bytes[..count]);
    }
}

#[test]
fn requests_that_come_while_a_hub_restarts_wait_for_its_store() {
    let scene = Scene::new();
    let mut job = scene.client_with(NamedSettings::default());
    let before = job.publish(&event("news", "of the job")).expect("an id");
    let (pid, mut worker) = (job.welcome().pid, connect(&scene));
    job.describe().expect("an answer"); // the process has accepted the worker
    signal(pid, Signal::STOP);
    greet(&mut worker, &scene, in_file(&scene).into());
    let publication = event("news", "meanwhile");
    let request = Request::Publish { request: 1000, publication: publication.borrowed() };
    job.send(&request, None).expect("a connection");
    signal(pid, Signal::CONT); // it finds both at once
    let welcome = read_welcome(&mut worker);
    let after = job.publish(&event("news", "later")).expect("an id");
    assert!(!before.starts_with(&*welcome.epoch) && after.starts_with(&*welcome.epoch), "{before} {after}");
}

#[test]
fn a_process_that_is_stopped_does_not_restart_for_a_worker_that_comes_at_the_same_time() {
    let scene = Scene::new();
    let mut job = scene.client_with(NamedSettings::default());
    let (pid, mut worker) = (job.welcome().pid, connect(&scene));
    job.describe().expect("an answer"); // the process has accepted the worker
    signal(pid, Signal::STOP);
    greet(&mut worker, &scene, in_file(&scene).into());
    signal(pid, Signal::TERM);
    signal(pid, Signal::CONT); // it finds both at once
    gone(pid);
}

#[test]
fn a_worker_with_another_store_waits_until_those_of_before_have_left_also_while_the_process_is_upgraded() {
    for is_upgraded in [false, true] {
        let scene = Scene::new();
        let mut before = scene.client_with(in_file(&scene));
        before.publish(&event("news", "before")).expect("an id");
        let mut next = connect(&scene);
        greet(&mut next, &scene, settings().into());
        (0..2).for_each(|_| drop(before.describe().expect("an answer"))); // the process has read the greeting
        if is_upgraded {
            scene.upgrade();
        }
        before.publish(&event("news", "still served")).expect("an id");
        drop(before);
        assert_eq!(read_welcome(&mut next).settings.store, StoreSettings::Memory, "upgraded: {is_upgraded}");
    }
}

#[test]
fn a_hub_that_restarts_with_its_file_continues_its_history() {
    let scene = Scene::new();
    let named = |gap_event: &str| {
        let mut settings = in_file(&scene);
        settings.hub.gap_event = gap_event.into();
        settings
    };
    let mut worker = scene.client_with(named("hole"));
    let first = worker.publish(&event("news", "one")).expect("an id");
    worker.publish(&event("news", "two")).expect("an id");
    drop(worker);
    let mut next = None;
    assert!(is_eventually(|| {
        next = CallConnection::connect(&Scene::start(), &scene.place, Some(named("lost").into())).ok();
        next.is_some() // when the process has noticed that the worker has left
    }));
    let text = next.map(|mut worker| resume(&mut worker, 1, "news", &first, "two")).unwrap_or_default();
    assert!(text.contains("data: two") && !text.contains("event: lost"), "{text}");
}

#[test]
#[cfg(feature = "redis")]
fn a_worker_that_waits_for_a_store_is_welcomed_when_the_hub_restarts_with_another() {
    let scene = Scene::new();
    let store = StoreSettings::parse("redis://127.0.0.1:1", Duration::from_secs(5)).expect("a store");
    let kept = NamedSettings { store: Some(store), ..NamedSettings::default() };
    kept_settings::write(&scene.place, &kept).expect("the test's own folder");
    let mut process = scene.limited("-n 1000");
    let mut first = connect(&scene);
    greet(&mut first, &scene, NamedSettings::default());
    let named = NamedSettings { store: Some(StoreSettings::Memory), ..NamedSettings::default() };
    let second = scene.client_with(named);
    assert_eq!(read_welcome(&mut first).epoch, second.welcome().epoch);
    scene.stop();
    process.wait().expect("a child");
}

#[test]
fn a_hub_whose_next_store_cannot_begin_returns_to_the_one_before() {
    let (scene, other) = (Scene::new(), Scene::new());
    let kept = NamedSettings { store: Some(in_file(&scene).store), ..NamedSettings::default() };
    kept_settings::write(&scene.place, &kept).expect("the test's own folder");
    let mut process = scene.limited("-n 1000");
    let mut job = scene.client_with(NamedSettings::default());
    job.publish(&event("news", "of the job")).expect("an id");
    let mut user = other.client_with(in_file(&other));
    user.publish(&event("news", "of the other hub")).expect("an id");
    let next = CallConnection::connect(&Scene::start(), &scene.place, Some(in_file(&other).into()));
    let refused = next.expect_err("another hub uses the file").to_string();
    assert!(refused.contains("another hub uses"), "{refused}");
    job.publish(&event("news", "lost")).expect_err("the connection has ended");
    let mut job = scene.client_with(NamedSettings::default());
    job.publish(&event("news", "again")).expect("an id");
    let text = read_news(&mut job, 1, None, StartPoint::Oldest, "again");
    assert!(text.contains("of the job"), "{text}");
    scene.stop();
    process.wait().expect("a child");
}

#[test]
fn a_look_at_the_file_of_a_killed_process_loses_nothing() {
    let scene = Scene::new();
    let mut worker = scene.client_with(in_file(&scene));
    let epoch = worker.welcome().epoch.clone();
    for number in 1..=3 {
        let id = worker.publish(&event("news", &format!("number {number}"))).expect("an id");
        kill(worker.welcome().pid);
        // The last connection of SQLite moves the WAL into the file, and removes it.
        let looks = rusqlite::Connection::open(scene.folder.join("events.db")).expect("the file");
        let count = looks.query_row("SELECT count(*) FROM entries", [], |row| row.get::<_, u64>(0));
        assert_eq!((count, looks.close().is_ok()), (Ok(number), true));
        assert!(!scene.folder.join("events.db-wal").exists());
        worker = scene.client();
        assert_eq!(worker.welcome().epoch, epoch);
        assert!(id.ends_with(&format!("-{number}")), "{id}");
    }
    let text = resume(&mut worker, 1, "news", &format!("{epoch}-1"), "number 3");
    assert!(text.contains("number 2") && !text.contains("event: gap"), "{text}");
}

#[test]
fn an_upgrade_without_enough_memory_or_descriptors_changes_nothing() {
    let no_memory = "cannot hand over: memory allocation failed";
    for (of_status, more, limited, message) in [
        ("", 8, "nofile", "Too many open files"),
        ("VmSize:", 2 << 20, "as", no_memory),
        ("VmData:", 300 << 10, "data", no_memory),
    ] {
        for has_file in [false, true] {
            let scene = Scene::new();
            let mut settings = if has_file { in_file(&scene) } else { settings() };
            settings.hub.retention.history.bytes = 1 << 30;
            let mut worker = scene.client_with(settings);
            let before = worker.welcome().clone();
            let mut client = follow(&mut worker, 1, topics("news", None));
            let large = "x".repeat(200_000);
            (0..80).for_each(|_| drop(worker.publish(&event("large", &large)).expect("an id")));
            let status = fs::read_to_string(format!("/proc/{}/status", before.pid)).expect("a process");
            let size = |line: &str| line.strip_prefix(of_status)?.trim().strip_suffix(" kB")?.parse::<u64>().ok();
            let used = status.lines().find_map(size).unwrap_or(0) << 10;
            let limit = |most: &str| {
                let mut command = Command::new("prlimit");
                command.args([&format!("--{limited}={most}:"), "--pid", &before.pid.to_string()]);
                assert!(command.status().expect("prlimit").success());
            };
            limit(&(used + more).to_string());
            signal(before.pid, Signal::USR2); // no descriptor is left for a command
            let log = || fs::read_to_string(scene.place.log()).expect("a log");
            assert!(is_eventually(|| log().contains(message)), "{}", log());
            limit(if more == 8 { "1000" } else { "unlimited" });
            worker.publish(&event("news", limited)).expect("an id");
            read_event(&mut client, limited);
            scene.upgrade();
            worker.publish(&event("news", "after")).expect("an id");
            read_event(&mut client, "after");
            assert_eq!((scene.client().welcome().pid, &scene.client().welcome().epoch), (before.pid, &before.epoch));
        }
    }
}

/// 1024 blocks are half a MiB, with bash a MiB.
#[test]
fn a_limit_of_the_size_of_files_fails_an_upgrade_and_events_for_the_store_and_ends_nothing() {
    for has_file in [false, true] {
        let scene = Scene::new();
        let mut process = scene.limited("-f 1024");
        let mut worker = scene.client_with(if has_file { in_file(&scene) } else { settings() });
        let before = worker.welcome().clone();
        let mut client = follow(&mut worker, 1, topics("news", None));
        let large = "x".repeat(20_000);
        let refused: Vec<Failure> = (0..80).filter_map(|_| worker.publish(&event("large", &large)).err()).collect();
        assert_eq!(refused.is_empty(), !has_file, "{refused:?}");
        if let Some(refused) = refused.last() {
            assert!(refused.to_string().contains("ulimit -f"), "{refused}");
        }
        let failed = upgrade(&Scene::start(), &scene.place, Some(Path::new(PROGRAM))).expect_err("no upgrade");
        let why = if has_file { "the hub's store is down" } else { "prlimit --fsize" };
        assert!(failed.to_string().contains(why), "{failed}");
        if !has_file {
            worker.publish(&event("news", "after")).expect("an id");
            read_event(&mut client, "after");
        }
        let after = scene.client().welcome().clone();
        assert_eq!((after.pid, after.epoch), (before.pid, before.epoch));
        scene.stop();
        assert!(process.wait().expect("a child").success());
        assert!(read_to_end(&mut client).contains("retry: "));
    }
}

#[test]
fn a_hub_that_begins_anew_with_its_store_publishes_the_wills_of_the_streams_of_before() {
    let scene = Scene::new();
    let worker = scene.client_with(in_file(&scene));
    kill(worker.welcome().pid);
    let mut command = scene.client(); // nobody has named the kept settings to its process
    let _client = open_with_will(&mut command, 1, "of before");
    command.members(b"wills", None).expect("a page"); // the subscription has taken effect
    let mut other = in_file(&scene);
    other.hub.gap_event = "lost".into();
    let mut worker = scene.client_with(other);
    let mut reader = follow(&mut worker, 1, SubscribeRequest { start: StartPoint::State, ..topics("wills", None) });
    read_event(&mut reader, "of before");
}

#[test]
fn the_answers_to_a_batch_have_its_order_though_the_hub_refuses_before_the_store_has_stored() {
    let scene = Scene::new();
    let mut settings = in_file(&scene);
    settings.hub.retention.state.keys = 2;
    let mut worker = scene.client_with(settings);
    let large = "x".repeat(100_000);
    let retained = |key| Publication { key, retain: Retain::Newest, ..event("state", "x") };
    let begin = |worker: &mut CallConnection, number: usize| {
        let publication = match number % 3 {
            0 => event("news", &large), // so that credits come in between, too
            1 => Publication { key: &b"abcdefghijklmnopqrstuvwxyz"[number..=number], ..retained(b"") },
            _ => event("news", "small"),
        };
        worker.begin_publish(&publication).expect("sent");
    };
    (0..24).for_each(|number| begin(&mut worker, number));
    let answers = worker.publish_results().expect("all answers");
    let expected: Vec<_> = (0..24).map(|number| number % 3 != 1 || number < 6).collect();
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), expected);
    let seqs: Vec<_> = answers.iter().flatten().map(|id| seq_of(id)).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
}
