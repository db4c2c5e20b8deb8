//! `run --http`: silent clients beside workers, and a socket of systemd. What is served there: `t/hub/tickets_http.t`.

mod support;

use eventsource_xs::remote::{start, CallConnection, Start};
use eventsource_xs::wire::{HubSettings, Response};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::{event, eventually, open, report_with, settings, Asks, Scene, DEADLINE, PROGRAM};

const REQUEST: &[u8] = b"GET /events HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// Starts the program in a shell, after other commands and with more arguments. `$0` is the socket of the hub, `$1` that for
/// HTTP.
fn run(scene: &Scene, http: &Path, before: &str, more: &str, handed: [Stdio; 2]) -> Child {
    let script = format!("{before} exec '{PROGRAM}' run --name shop --socket \"$0\" {more}");
    let [first, second] = handed;
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(scene.place.socket()).arg(http);
    shell.stdin(first).stdout(second).spawn().expect("a shell")
}

fn answer_of(mut client: &UnixStream) -> String {
    client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    answer
}

fn ask(http: &Path) -> String {
    let mut client = UnixStream::connect(http).expect("a connection");
    client.write_all(REQUEST).expect("a request");
    answer_of(&client)
}

#[test]
fn silent_clients_leave_descriptors_for_workers_and_for_other_clients() {
    let scene = Scene::new();
    let http = scene.folder.join("http");
    let mut hub = run(&scene, &http, "ulimit -n 200;", "--http \"unix:$1\"", [Stdio::null(), Stdio::inherit()]);
    eventually("the process listens", || UnixStream::connect(&http).is_ok());
    eventually("others are served while many clients are silent", || {
        let silent: Vec<_> = (0..300).map(|_| UnixStream::connect(&http).expect("a connection")).collect();
        assert!(ask(&http).contains("X-Accel-Redirect: @app"));
        scene.client().publish(&event("news", "hello")).expect("an id");
        answer_of(&silent[0]).is_empty() // it has made room, and was not closed because its time was up
    });
    drop(scene);
    hub.wait().expect("it has ended");
}

#[test]
fn silent_clients_take_no_descriptor_that_streams_leave_to_workers() {
    let scene = Scene::new();
    let http = scene.folder.join("http");
    let mut hub = run(&scene, &http, "ulimit -n 200;", "--http \"unix:$1\"", [Stdio::null(), Stdio::inherit()]);
    eventually("the process listens", || UnixStream::connect(&http).is_ok());
    let mut worker = scene.client_with(HubSettings { max_streams: 1000, ..settings() });
    let mut streams: Vec<_> = (1..=160).map(|number| open(&mut worker, number, "")).collect();
    report_with(&mut worker, |report| matches!(report, Response::Ended { .. })); // no more fit
    eventually("workers come while many clients are silent", || {
        let silent: Vec<_> = (0..100).map(|_| UnixStream::connect(&http).expect("a connection")).collect();
        let mut others: Vec<_> = (0..5).map(|_| scene.client()).collect();
        others.iter_mut().for_each(|other| drop(other.publish(&event("news", "hello")).expect("an id")));
        answer_of(&silent[0]).is_empty()
    });
    streams.truncate(100);
    eventually("clients are answered", || ask(&http).contains("X-Accel-Redirect: @app"));
    drop(scene);
    hub.wait().expect("it has ended");
}

#[test]
fn a_socket_of_a_process_that_accepts_nothing_is_left_alone() {
    let scene = Scene::new();
    let http = scene.folder.join("http");
    let other = UnixListener::bind(&http).expect("a socket");
    rustix::net::listen(&other, 0).expect("a shorter backlog");
    let _waits = UnixStream::connect(&http).expect("a connection");
    let mut hub = run(&scene, &http, "", "--http \"unix:$1\"", [Stdio::null(), Stdio::inherit()]);
    let mut status = None;
    eventually("the process says that the path is taken", || {
        status = hub.try_wait().expect("a child");
        status.is_some()
    });
    assert_eq!((status.and_then(|status| status.code()), http.exists()), (Some(1), true));
}

#[test]
fn a_client_that_connects_before_systemd_starts_the_process_is_served() {
    let scene = Scene::new();
    let http = scene.folder.join("http");
    let listeners =
        [start::bind(scene.place.socket()).expect("a socket"), UnixListener::bind(&http).expect("a socket")];
    let mut early = UnixStream::connect(&http).expect("a connection");
    early.write_all(REQUEST).expect("a request");
    let handed = listeners.map(|listener| Stdio::from(OwnedFd::from(listener)));
    let before = "exec 3<&0 4<&1 </dev/null >&2; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=eventsource:http;";
    let mut hub = run(&scene, &http, before, "", handed);
    assert!(answer_of(&early).contains("X-Accel-Redirect: @app"));
    let client = CallConnection::connect(&Start { program: None, ..Scene::start() }, &scene.place, None);
    assert_eq!(client.expect("a hub").welcome().pid, hub.id());
    scene.upgrade();
    assert!(ask(&http).contains("X-Accel-Redirect: @app"), "the next program has the socket");
    scene.stop();
    assert!(hub.wait().expect("it ends").success());
    assert!(http.exists(), "the socket is systemd's");
}
