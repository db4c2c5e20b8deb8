//! A hub process continues as a program that speaks another version of the protocol: clients reconnect, and workers of the
//! version before are disconnected and told why.
//!
//! The other program is this one with another version (`EVENTSOURCE_TEST_PROTOCOL`), and workers of another version are those
//! of this one, with another number in their greetings.

// Other programs speak the version that they were built with.
#![cfg(debug_assertions)]

mod support;

use eventsource_xs::remote::link::ConnectionLost;
use eventsource_xs::remote::{stop, upgrade, CallConnection, Place, Start};
use eventsource_xs::wire::{Failure, Name, VERSION};
use eventsource_xs::ErrorCode;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;
use support::wire::Wire;
use support::{
    connect, event, eventually, follow, gone, hello, read_event, read_to_end, settings, topics, write_script, Asks,
    Scene, DEADLINE, PROGRAM,
};

const OLDER: u16 = VERSION - 1;
const NEWER: u16 = VERSION + 1;

/// Returns a program that speaks a version.
fn program(scene: &Scene, version: u16) -> PathBuf {
    let path = scene.folder.join(format!("hub-{version}"));
    write_script(&path, &format!("EVENTSOURCE_TEST_PROTOCOL={version} exec '{PROGRAM}' \"$@\""));
    path
}

fn upgrade_to(scene: &Scene, version: u16) {
    upgrade(&Scene::start(), &scene.place, Some(&program(scene, version))).expect("an upgrade");
}

/// Returns a wire for workers of a version.
fn wire(scene: &Scene, version: u16) -> Wire {
    let wire = Wire::new(scene, version.into());
    wire.set_version(version);
    wire
}

fn worker(wire: &Wire) -> CallConnection {
    CallConnection::connect(&Scene::start(), &wire.place, Some(settings().into())).expect("a hub of this version")
}

/// What a worker is told whose version the process does not speak: both versions, and the remedy.
fn check_refusal(refused: Result<CallConnection, Failure>, process: u16, worker: u16, remedy: &str) {
    let failure = refused.expect_err("another version");
    let versions = format!("speaks version {process} of the protocol, the worker version {worker}: ");
    assert_eq!((failure.code, failure.field.as_deref()), (ErrorCode::Refused, None));
    assert!(failure.message.contains(&versions) && failure.message.contains(remedy), "{failure}");
}

#[test]
fn clients_come_back_to_workers_of_the_next_version_and_those_of_the_previous_one_must_restart() {
    let (scene, mut old) = Scene::with_worker();
    let pid = old.welcome().pid;
    let mut client = follow(&mut old, 1, topics("news", None));
    let first = old.publish(&event("news", "one")).expect("an id");
    read_event(&mut client, "one");
    let mut link = scene.link();

    upgrade_to(&scene, NEWER);
    eventually("a worker's reactor is disconnected", || link.read(|_| {}) == Err(ConnectionLost));
    let lost = old.publish(&event("news", "never")).expect_err("no connection");
    assert!(matches!(lost.code, ErrorCode::Unknown | ErrorCode::Unavailable), "{lost}");
    for settings in [Some(settings().into()), None] {
        let again = CallConnection::connect(&Scene::start(), &scene.place, settings);
        check_refusal(again, NEWER, VERSION, "restart the worker");
    }

    assert!(read_to_end(&mut client).starts_with("retry: "));
    let wire = wire(&scene, NEWER);
    let mut new = worker(&wire);
    assert_eq!(new.welcome().pid, pid);
    let last = new.publish(&event("news", "two")).expect("an id");
    let mut returning = follow(&mut new, 1, topics("news", Some(&first)));
    assert!(read_event(&mut returning, "two").ends_with(&format!("{first}\n\ndata: two\nid: {last}\n\n")));
    let counted = new.count(b"news").expect("counts");
    assert_eq!((counted.hub.events, counted.streams.open, counted.subscribers, counted.cut_off), (2, 1, 1, 0));

    // An upgrade within the version leaves its workers connected.
    upgrade_to(&scene, NEWER);
    new.publish(&event("news", "three")).expect("an id");
    read_event(&mut returning, "three");
}

#[test]
fn a_newer_worker_learns_how_to_upgrade_the_process_and_can() {
    let scene = Scene::new();
    let wire = wire(&scene, OLDER);
    let start = Start { program: Some(program(&scene, OLDER)), needs_settings: false, timeout: DEADLINE };
    check_refusal(
        CallConnection::connect(&start, &scene.place, Some(settings().into())),
        OLDER,
        VERSION,
        "eventsource hub upgrade",
    );
    let mut old = worker(&wire);
    let pid = old.welcome().pid;
    let mut client = follow(&mut old, 1, topics("news", None));
    let id = old.publish(&event("news", "one")).expect("an id");
    read_event(&mut client, "one");

    // The program of this version asks the one before.
    let next = program(&scene, VERSION);
    let mut command = scene.command(&["upgrade", "--program", next.to_str().expect("text")]);
    assert!(command.status().expect("it runs").success());
    let mut new = scene.client_with(settings());
    assert_eq!(new.welcome().pid, pid);
    new.publish(&event("news", "two")).expect("an id");
    read_to_end(&mut client);
    read_event(&mut follow(&mut new, 1, topics("news", Some(&id))), "two");
    check_refusal(CallConnection::connect(&Scene::start(), &wire.place, None), VERSION, OLDER, "restart the worker");
}

#[test]
fn a_command_of_any_version_ends_the_process_of_that_hub_only() {
    for version in [OLDER, NEWER] {
        let scene = Scene::new();
        let (wire, mut start) = (wire(&scene, version), Scene::start());
        start.program = Some(program(&scene, version));
        drop(CallConnection::connect(&start, &scene.place, None));
        let pid = worker(&wire).welcome().pid;
        let other = Place::new(Name::new("other").expect("a name"), Some(scene.place.socket())).expect("a place");
        let refused = stop(&start, &other).expect_err("another hub");
        assert_eq!((refused.code, refused.field.as_deref()), (ErrorCode::Invalid, Some("name")), "{refused}");
        assert_eq!(worker(&wire).welcome().pid, pid);
        stop(&start, &scene.place).expect("an end");
        gone(pid);
        start.timeout = Duration::from_millis(100);
        let none = stop(&start, &scene.place).expect_err("no process");
        assert_eq!(none.code, ErrorCode::Unavailable, "{none}");
    }
}

#[test]
fn a_greeting_that_an_upgrade_cuts_is_judged_by_the_new_program() {
    let scene = Scene::new();
    scene.client_with(settings());
    let hello = hello();
    let mut socket = connect(&scene);
    socket.write_all(&hello[..14]).expect("a connection");
    upgrade_to(&scene, NEWER);
    socket.write_all(&hello[14..]).expect("a connection");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("an end");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains(&format!("version {NEWER} of the protocol, the worker version {VERSION}: ")), "{answer}");
}
