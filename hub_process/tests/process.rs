//! A hub process: who starts it, when it ends, who may connect.

mod support;

use eventsource_xs::hub::{StartPoint, SubscribeRequest};
use eventsource_xs::remote::{start, stop, upgrade, CallConnection, Place, Start};
use eventsource_xs::stream::Reason;
use eventsource_xs::wire::{HubSettings, Name, NamedSettings, Request, Response, VERSION};
use eventsource_xs::ErrorCode;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{
    connect, copy_executable, event, eventually, follow, gone, hello, is_eventually, kill, open, read_event,
    read_to_end, read_until, report_with, settings, signal, topics, Asks, Scene, Signal, DEADLINE, PROGRAM,
};

/// The socket of the hub that [`starter`] starts.
const SOCKET: &str = "EVENTSOURCE_TEST_SOCKET";

/// Not a test, but a process of tests below: connects, and so starts the hub, and publishes.
#[test]
#[ignore = "a process of other tests"]
fn starter() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let place = Place::new(Name::new("shop").expect("a name"), Some(Path::new(&socket))).expect("a place");
    let mut client = CallConnection::connect(&Scene::start(), &place, None).unwrap_or_else(|error| panic!("{error}"));
    client.publish(&event("news", "hello")).expect("an id");
}

/// A command of the shell, for which `$0` is the socket: becomes a process that runs [`starter`].
fn starter_command() -> String {
    let tests = std::env::current_exe().expect("a program");
    format!("{SOCKET}=\"$0\" exec '{}' --exact starter --ignored --nocapture", tests.display())
}

/// Prepares a process that runs [`starter`] after other commands of the shell.
fn starter_after(commands: &str, scene: &Scene) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{commands}; {}", starter_command())]).arg(scene.place.socket()).stdout(Stdio::null());
    shell
}

#[test]
fn twenty_starters_at_once_get_one_hub() {
    let scene = Scene::new();
    let starters: Vec<_> = (0..20).map(|_| starter_after(":", &scene).spawn().expect("a shell")).collect();
    for mut starter in starters {
        assert!(starter.wait().expect("it ends").success());
    }
    assert_eq!(scene.client().count(b"news").expect("counts").hub.published, 20);
}

#[test]
fn a_killed_hub_is_replaced_by_one_with_another_epoch() {
    let scene = Scene::new();
    let first = scene.client().welcome().clone();
    kill(first.pid);
    let second = scene.client().welcome().clone();
    assert_ne!((first.pid, &first.epoch), (second.pid, &second.epoch));
}

#[test]
fn a_hub_that_has_lost_its_place_leaves_the_socket_of_its_successor() {
    let scene = Scene::new();
    let first = scene.client().welcome().pid;
    for file in [scene.place.socket(), scene.place.lock()] {
        fs::remove_file(file).expect("its owner may");
    }
    let mut successor = scene.client_with(settings());
    assert_ne!(successor.welcome().pid, first);
    signal(first, Signal::TERM);
    gone(first);
    assert_eq!(scene.client().welcome().pid, successor.welcome().pid);
    successor.publish(&event("news", "hello")).expect("an id");
}

#[test]
fn a_hub_whose_socket_was_removed_makes_it_again_before_anybody_is_refused() {
    let scene = Scene::new();
    let before = scene.client().welcome().clone();
    for time in 1..=2 {
        fs::remove_file(scene.place.socket()).expect("its owner may");
        let mut client = scene.client();
        assert_eq!((client.welcome().pid, &client.welcome().epoch), (before.pid, &before.epoch), "{time}");
        client.publish(&event("news", "hello")).expect("an id");
        scene.upgrade(); // the new program has the new socket
    }
}

#[test]
fn a_hub_that_cannot_make_its_socket_again_is_named_with_its_number() {
    let scene = Scene::new();
    let pid = scene.client().welcome().pid;
    signal(pid, Signal::STOP);
    fs::remove_file(scene.place.socket()).expect("its owner may");
    let start = Start { timeout: Duration::from_millis(50), ..Scene::start() };
    let error = CallConnection::connect(&start, &scene.place, None).expect_err("no socket").to_string();
    assert!(error.contains(&format!("the hub process shop, {pid}, runs, but nobody can connect")), "{error}");
    signal(pid, Signal::CONT);
    assert_eq!(scene.client().welcome().pid, pid);
}

#[test]
fn a_hub_is_nobodys_child_and_holds_no_descriptor_of_its_starter() {
    let scene = Scene::new();
    let (mut reader, writer) = UnixStream::pair().expect("descriptors");
    let inherited = OwnedFd::from(writer.try_clone().expect("a descriptor"));
    // The shell passes the socket on to the starter, as a server passes what it has opened to its workers.
    let mut shell = starter_after("exec 9>&1 >/dev/null", &scene);
    assert!(shell.stdout(inherited).status().expect("a shell").success());
    drop((shell, writer));
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("the end: the hub does not hold the socket");
    let pid = scene.pid().expect("a hub");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<_> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    let (parent, session) = (fields[1].parse::<u32>().expect("a number"), fields[3].parse::<u32>().expect("a number"));
    assert!(parent != std::process::id() && session != std::process::id());
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("a folder"), Path::new("/"));
}

#[test]
fn a_hub_without_worker_and_stream_ends_after_a_while() {
    let scene = Scene::new();
    let worker = scene.client_with(HubSettings { idle_exit: Duration::from_millis(50), ..settings() });
    let pid = worker.welcome().pid;
    drop(worker);
    gone(pid);
    assert!(!scene.place.socket().exists());
    assert_ne!(scene.client().welcome().pid, pid);
}

#[test]
fn a_command_that_only_asks_keeps_neither_streams_nor_the_process() {
    let scene = Scene::new();
    let short = Duration::from_millis(300);
    let mut worker = scene.client_with(HubSettings { idle_exit: short, grace: short, ..settings() });
    let pid = worker.welcome().pid;
    let mut client = follow(&mut worker, 1, topics("news", None));
    drop(worker);
    client.set_nonblocking(true).expect("a socket");
    let start = Start { program: None, needs_settings: false, timeout: short };
    let ask = || CallConnection::connect(&start, &scene.place, None).and_then(|mut command| command.count(b""));
    let mut received = Vec::new();
    eventually("the stream has ended, though the hub is asked again and again", || {
        ask().expect("counts");
        client.read_to_end(&mut received).is_ok()
    });
    assert!(String::from_utf8_lossy(&received).contains("retry: "));
    drop(client);
    eventually("the process has ended", || ask().is_err());
    gone(pid);
}

#[test]
fn stop_ends_the_hub_and_its_streams_with_a_reconnection_time() {
    let (scene, mut worker) = Scene::with_worker();
    let pid = worker.welcome().pid;
    let mut client = open(&mut worker, 1, "head\n");
    worker.subscribe(1, topics("news", None)).expect("a stream");
    scene.stop();
    gone(pid);
    let text = read_to_end(&mut client);
    assert!(text.starts_with("head\n") && text.contains("retry: "), "{text}");
    assert!(!scene.place.socket().exists());
}

#[test]
fn a_stop_and_an_upgrade_take_no_longer_than_they_are_told_if_the_process_does_not_answer() {
    let scene = Scene::new();
    let pid = scene.client().welcome().pid;
    signal(pid, Signal::STOP);
    let (start, began) = (Start { timeout: Duration::from_millis(50), ..Scene::start() }, Instant::now());
    let asked = [upgrade(&start, &scene.place, None).map(drop), stop(&start, &scene.place)];
    let took = began.elapsed();
    signal(pid, Signal::CONT);
    for error in asked.map(|asked| asked.expect_err("no answer")) {
        assert_eq!(error.code, ErrorCode::Unknown);
        assert!(error.to_string().contains("eventsource hub log shop may say why"), "{error}");
    }
    assert!(took < Duration::from_secs(40), "one that answers late may take 45 seconds: {took:?}");
    gone(pid); // what it was asked for stands
}

#[test]
fn a_signal_ends_the_hub_and_its_streams_with_a_reconnection_time() {
    let (_scene, mut worker) = Scene::with_worker();
    let mut client = follow(&mut worker, 1, topics("news", None));
    signal(worker.welcome().pid, Signal::TERM);
    gone(worker.welcome().pid);
    assert!(read_to_end(&mut client).contains("retry: "));
    assert!(matches!(worker.next_report(), Ok(Some(report)) if format!("{report:?}").contains("Server")));
}

#[test]
fn a_hub_does_not_ignore_the_signals_that_its_starter_ignores() {
    let scene = Scene::new();
    assert!(starter_after("trap '' TERM INT HUP CHLD", &scene).status().expect("a shell").success());
    let pid = scene.pid().expect("a hub");
    signal(pid, Signal::TERM);
    gone(pid);
}

#[test]
fn a_hub_that_may_not_be_started_is_unavailable() {
    let scene = Scene::new();
    let start = Start { program: None, needs_settings: false, timeout: Duration::from_millis(10) };
    let error = CallConnection::connect(&start, &scene.place, None).expect_err("no hub");
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(error.to_string().starts_with("no process serves the hub shop"), "{error}");
    let start = Start { program: Some("/nowhere/eventsource-hub".into()), ..start };
    let error = CallConnection::connect(&start, &scene.place, None).expect_err("no program");
    assert!(error.to_string().starts_with("cannot start /nowhere/eventsource-hub"), "{error}");
    scene.client(); // the failed attempt has left nothing in the way
}

#[test]
fn run_takes_over_from_a_process_that_a_worker_has_started_and_from_no_other_one() {
    let scene = Scene::new();
    let grace = Some(Duration::from_secs(77));
    let mut worker = scene.client_with(NamedSettings { grace, ..NamedSettings::default() });
    let before = worker.welcome().pid;
    let mut client = follow(&mut worker, 1, topics("news", None));
    scene.upgrade(); // the next program knows who has started the process
    let socket = scene.folder.join("http");
    let http = format!("unix:{}", socket.display());
    let taken = UnixListener::bind(&socket).expect("a socket");
    let message = failure(&mut scene.command(&["run", "--http", &http]));
    assert!(message.contains("cannot listen on"), "{message}");
    assert_eq!(scene.pid(), Some(before), "it does not end for a process that cannot serve what it was asked for");
    drop(taken);
    let mut run = scene.command(&["run", "--http", &http]).spawn().expect("a process");
    gone(before);
    let log = std::fs::read_to_string(scene.place.log()).expect("a log");
    assert!(log.contains(&format!("ends: process {} was run for the hub", run.id())), "{log}");
    assert!(read_to_end(&mut client).contains("retry: "));
    eventually("the process that was run serves the hub", || scene.pid() == Some(run.id()));
    assert_eq!(Some(scene.client().welcome().settings.grace), grace, "the settings are kept");
    assert!(UnixStream::connect(&socket).is_ok(), "it serves what it was asked for");
    let message = failure(&mut scene.command(&["run"]));
    assert!(message.contains("has a process already") && message.contains("eventsource hub stop shop"), "{message}");
    scene.upgrade();
    let message = failure(&mut scene.command(&["run"]));
    assert!(message.contains("has a process already"), "{message}");
    assert_eq!(scene.pid(), Some(run.id()));
    scene.stop();
    assert!(run.wait().expect("it ends").success());
}

#[test]
fn run_says_that_the_process_before_does_not_answer_and_outlives_a_hangup_before_it_serves() {
    let scene = Scene::new();
    let before = scene.client().welcome().pid;
    signal(before, Signal::STOP);
    let run = scene.command(&["run"]).stderr(Stdio::piped()).spawn().expect("a process");
    let status = format!("/proc/{}/status", run.id());
    eventually("it ignores HUP", || {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
        u64::from_str_radix(ignored.trim(), 16).unwrap_or_default() & 1 == 1
    });
    signal(run.id(), Signal::HUP);
    let output = run.wait_with_output().expect("it ends");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && message.contains("does not answer"), "{output:?}");
    signal(before, Signal::KILL);
}

#[test]
fn run_takes_over_though_workers_start_a_process_at_once_when_one_ends() {
    let scene = Scene::new();
    scene.client();
    let start = Start { timeout: Duration::from_secs(1), ..Scene::start() };
    let ends = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    let worker = CallConnection::connect(&start, &scene.place, None);
                    let _ = worker.map(|mut worker| worker.next_report()); // until the process has ended
                }
            });
        }
        let mut run = scene.command(&["run"]).spawn().expect("a process");
        let takes_over = is_eventually(|| scene.pid() == Some(run.id()));
        ends.store(true, Ordering::Relaxed);
        scene.stop();
        let status = run.wait().expect("it ends");
        assert!(takes_over && status.success(), "{status}");
    });
}

#[test]
fn a_handed_over_descriptor_that_does_not_listen_is_refused() {
    let scene = Scene::new();
    let message = failure(scene.command(&["run", "--inherited"]).stdin(Stdio::null()));
    assert!(message.contains("not a socket that listens"), "{message}");
}

#[test]
fn a_socket_of_systemd_is_served_and_stays() {
    let scene = Scene::new();
    let listener = start::bind(scene.place.socket()).expect("a socket");
    let script =
        format!("exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec '{PROGRAM}' run --name shop --socket \"$0\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(scene.place.socket()).stdin(OwnedFd::from(listener));
    let mut hub = shell.spawn().expect("a shell");
    drop(shell); // with its copy of the socket
    let client =
        CallConnection::connect(&Start { program: None, ..Scene::start() }, &scene.place, None).expect("a hub");
    assert_eq!(client.welcome().pid, hub.id());
    // What ExecReload does; LISTEN_PID still names the process.
    scene.upgrade();
    scene.stop();
    assert!(hub.wait().expect("it ends").success());
    assert!(scene.place.socket().exists());
}

#[test]
fn a_worker_of_another_version_receives_an_error_that_says_so() {
    let scene = Scene::new();
    scene.client();
    let mut socket = UnixStream::connect(scene.place.socket()).expect("a hub");
    let mut hello = hello();
    hello[13] ^= 0x40; // the version, after the length, the kind and the magic
    socket.write_all(&hello).expect("a connection");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("an answer, and the end");
    let text = String::from_utf8_lossy(&answer);
    let versions = format!("speaks version {VERSION} of the protocol, the worker version {}", VERSION ^ 0x40);
    assert!(text.contains(&versions), "{text}");
    assert!(text.contains("eventsource hub upgrade"), "{text}");
    assert_eq!(scene.client().count(b"").expect("counts").cut_off, 0);
}

#[test]
fn a_worker_with_other_settings_receives_an_error_that_names_them() {
    let scene = Scene::new();
    scene.client().publish(&event("news", "before any worker")).expect("an id");
    let worker = scene.client_with(settings());
    let mut other = settings();
    other.hub.gap_event = "missed".into();
    match CallConnection::connect(&Scene::start(), &scene.place, Some(other.into())) {
        Err(failure) => {
            assert_eq!((failure.code, failure.field.as_deref()), (ErrorCode::Refused, Some("gap_event")));
        }
        other => panic!("{other:?}"),
    }
    let again = scene.client_with(settings());
    let of_hub = |client: &CallConnection| {
        (client.welcome().pid, client.welcome().epoch.clone(), client.welcome().settings.clone())
    };
    assert_eq!(of_hub(&again), of_hub(&worker));
    assert_ne!(again.welcome().number, worker.welcome().number);
}

#[test]
fn a_worker_with_matching_settings_continues_the_hub_of_commands() {
    let scene = Scene::new();
    let mut command = scene.client();
    let id = command.publish(&event("news", "before any worker")).expect("an id");
    let mut tail = follow(&mut command, 1, topics("news", None));
    let mut worker = scene.client_with(settings());
    worker.publish(&event("news", "of a worker")).expect("an id");
    read_event(&mut tail, "of a worker");
    drop((tail, command));
    eventually("the stream has ended", || worker.count(b"").expect("counts").streams.open == 0);
    let mut another = scene.client_with(settings());
    assert_eq!(another.welcome().epoch, worker.welcome().epoch);
    let mut client = follow(&mut another, 1, topics("news", Some(&id)));
    let text = read_event(&mut client, "of a worker");
    assert!(!text.contains("event: gap"), "{text}");
}

#[test]
fn a_worker_decides_the_settings_where_only_commands_were_and_what_these_published_stays() {
    let scene = Scene::new();
    let mut command = scene.client();
    let mut tail = follow(&mut command, 1, topics("news", None));
    let mut other = settings();
    other.hub.gap_event = "missed".into();
    let id = command.publish(&event("news", "of a command")).expect("an id");
    let mut worker = scene.client_with(other.clone());
    assert_eq!(&*worker.welcome().settings.hub.gap_event, "missed");
    assert_eq!(worker.welcome().epoch, command.welcome().epoch);
    assert!(read_to_end(&mut tail).contains("retry: "));
    let mut resumed = follow(&mut worker, 1, topics("news", Some(&id)));
    worker.publish(&event("news", "of a worker")).expect("an id");
    let text = read_event(&mut resumed, "of a worker");
    assert!(!text.contains("event: missed") && !text.contains("of a command"), "{text}");
    let oldest = SubscribeRequest { start: StartPoint::Oldest, ..topics("news", None) };
    let text = read_event(&mut follow(&mut worker, 2, oldest), "of a worker");
    assert!(text.contains("of a command"), "{text}");
    // From here on the settings are those of a worker, and of those that name none.
    let unnamed = scene.client_with(NamedSettings::default());
    assert_eq!(&*unnamed.welcome().settings.hub.gap_event, "missed");
    drop(worker);
    let other = || CallConnection::connect(&Scene::start(), &scene.place, Some(settings().into()));
    assert!(other().is_err());
    drop(unnamed);
    eventually("another worker decides when all have left", || other().is_ok());
}

#[test]
fn a_process_begins_with_the_settings_that_workers_of_an_earlier_one_have_named() {
    let scene = Scene::new();
    let start = Start { needs_settings: true, timeout: Duration::from_millis(200), ..Scene::start() };
    let command = || CallConnection::connect(&start, &scene.place, None);
    let error = command().expect_err("nobody has named settings");
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(error.to_string().contains("this user has no settings for it"), "{error}");

    let named = |gap_event: &str| NamedSettings { gap_event: Some(gap_event.into()), ..NamedSettings::default() };
    let grace = Some(Duration::from_secs(77));
    let both = scene.client_with(NamedSettings { grace, ..named("missed") });
    let kept = scene.place.settings();
    assert_eq!(fs::metadata(&kept).expect("a file").permissions().mode() & 0o777, 0o600);
    kill(both.welcome().pid);
    let patient = Start { timeout: DEADLINE, ..start.clone() };
    let next = CallConnection::connect(&patient, &scene.place, None).expect("a hub");
    assert_ne!(next.welcome().pid, both.welcome().pid);
    let settings_of =
        |client: &CallConnection| (client.welcome().settings.hub.gap_event.clone(), client.welcome().settings.grace);
    assert_eq!(settings_of(&next), ("missed".into(), Duration::from_secs(77)));

    // Nobody has named the event in this process: a new release may, and is kept.
    let newer = scene.client_with(named("hole"));
    assert_eq!(settings_of(&newer), ("hole".into(), Duration::from_secs(77)));
    kill(newer.welcome().pid);
    let next = CallConnection::connect(&patient, &scene.place, None).expect("a hub");
    assert_eq!(settings_of(&next), ("hole".into(), Duration::from_secs(77)));

    // A hub that was stopped is forgotten.
    let pid = next.welcome().pid;
    scene.stop();
    gone(pid);
    command().expect_err("no settings");

    // A file that is not whole is as if absent.
    let pid = scene.client_with(named("missed")).welcome().pid;
    kill(pid);
    fs::write(&kept, "nothing").expect("a file");
    command().expect_err("no settings");
    assert_eq!(&*scene.client().welcome().settings.hub.gap_event, "gap");
}

#[test]
fn the_newest_bounds_count_for_all_workers() {
    let (scene, mut first) = Scene::with_worker();
    for number in 0..5 {
        first.publish(&event("news", &number.to_string())).expect("an id");
    }
    let mut newer = settings();
    (newer.hub.retention.history.events, newer.max_topics) = (2, 1);
    let mut second = scene.client_with(newer.clone());
    assert_eq!(second.welcome().settings, newer);
    assert_eq!(second.welcome().epoch, first.welcome().epoch);
    assert_eq!(second.count(b"").expect("counts").hub.events, 2);
    let _client = follow(&mut first, 1, topics("a", None));
    assert!(first.subscribe(1, topics("b", None)).is_err());
}

#[test]
fn a_process_of_another_user_is_refused_on_both_sides() {
    let setpriv = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(arguments);
        command
    };
    if !is_root("processes of two users") || !setpriv(&["true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: only root can act as another user, with setpriv");
        return;
    }
    let scene = Scene::new();
    fs::set_permissions(&scene.folder, fs::Permissions::from_mode(0o755)).expect("the owner may");
    let program = scene.folder.join("eventsource-hub");
    copy_executable(Path::new(PROGRAM), &program);
    let (program, socket) = (program.to_str().expect("text"), scene.place.socket().to_str().expect("text"));

    // Their command, our hub. The kernel lets them connect, so that the hub itself has to refuse.
    let pid = scene.client().welcome().pid;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o777)).expect("the owner may");
    let output = setpriv(&[program, "upgrade", "shop", "--socket", socket]).output().expect("setpriv");
    assert!(!output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("the hub process shop of another user"), "{output:?}");
    assert_eq!(scene.client().welcome().pid, pid);
    kill(pid);

    // Our command, their hub.
    let _ = fs::remove_file(socket);
    let _ = fs::remove_file(scene.place.lock());
    let chown = Command::new("chown").arg("65534:65534").arg(&scene.folder).status();
    assert!(chown.expect("chown").success());
    let mut theirs = setpriv(&[program, "run", "--name", "shop", "--socket", socket]).spawn().expect("setpriv");
    eventually("they listen", || UnixStream::connect(socket).is_ok());
    let error = CallConnection::connect(&Scene::start(), &scene.place, None).expect_err("their hub");
    assert!(error.to_string().ends_with("belongs to another user"), "{error}");
    // Without the check of the client, the check of the hub closes the connection.
    let mut connected = UnixStream::connect(socket).expect("they listen");
    let mut answer = Vec::new();
    connected.read_to_end(&mut answer).expect("an answer, and the end");
    assert!(String::from_utf8_lossy(&answer).contains("the hub process shop of another user"), "{answer:?}");
    kill(theirs.id());
    theirs.wait().expect("it has ended");
}

#[test]
fn a_hub_without_descriptors_refuses_streams_and_workers_and_serves_those_that_it_has() {
    let scene = Scene::new();
    let mut hub = scene.limited("-n 128");
    let mut worker = scene.client_with(settings());
    let mut clients = Vec::new();
    let refused = loop {
        let number = clients.len() as u64 + 1;
        assert!(number < 128, "it takes every stream");
        let mut client = open(&mut worker, number, "head\n");
        worker.send(&Request::Push { stream: number, event: b"data: x\n\n", has_id: false }, None).expect("sent");
        let text = read_until(&mut client, ": ");
        if !text.contains("retry: ") {
            assert_eq!(text + &read_until(&mut client, "\n\n"), "head\ndata: x\n\n");
            clients.push(client);
            continue;
        }
        let ended = report_with(&mut worker, |report| matches!(report, Response::Ended { .. }));
        assert_eq!(ended, Response::Ended { stream: number, reason: Reason::Server });
        break text + &read_to_end(&mut client);
    };
    assert!(refused.starts_with("head\n"), "{refused}");
    assert!(clients.len() > 50, "{}", clients.len());

    let start = Start { program: None, ..Scene::start() };
    let mut others = Vec::new();
    let message = loop {
        match CallConnection::connect(&start, &scene.place, None) {
            Ok(other) => others.push(other),
            Err(error) => break error.to_string(),
        }
        assert!(others.len() < 128, "it takes every worker");
    };
    assert!(message.contains("raise its limit of descriptors") && !others.is_empty(), "{message}");
    // A socket is still taken, to be refused.
    let mut refused = open(&mut worker, 1000, "");
    assert!(read_to_end(&mut refused).contains("retry: "));
    worker.subscribe(1, topics("news", None)).expect("a stream");
    worker.publish(&event("news", "hello")).expect("an id");
    support::read_event(&mut clients[0], "hello");
    drop(others);
    eventually("there is room again", || CallConnection::connect(&start, &scene.place, None).is_ok());
    scene.stop();
    assert!(hub.wait().expect("it ends").success());
}

/// A hub in the foreground, which ends with the test, also one that does not answer.
struct Foreground(Child);

impl Foreground {
    /// Runs a hub with that standard error, until it serves.
    fn new(scene: &Scene, stderr: impl Into<Stdio>) -> Self {
        let hub = Self(scene.command(&["run"]).stderr(stderr).spawn().expect("the program"));
        eventually("the hub serves", || scene.pid() == Some(hub.0.id()));
        hub
    }

    fn stop(mut self, scene: &Scene) {
        scene.stop();
        assert!(self.0.wait().expect("it ends").success());
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends what cuts a worker off, about which the hub writes a line.
fn be_cut_off(scene: &Scene) {
    let mut worker = connect(scene);
    worker.write_all(b"\xff\xff\xff\xff").expect("a connection");
    assert_eq!(worker.read(&mut [0]).expect("an end"), 0);
}

#[test]
fn a_hub_serves_on_when_nobody_reads_its_messages() {
    let scene = Scene::new();
    let mut hub = Foreground::new(&scene, Stdio::piped());
    drop(hub.0.stderr.take());
    be_cut_off(&scene);
    let mut worker = scene.client();
    worker.publish(&event("news", "hello")).expect("a hub");
    hub.stop(&scene);
}

#[test]
fn a_hub_does_not_wait_for_a_reader_of_its_messages_and_counts_lost_ones() {
    let scene = Scene::new();
    let (reader, writer) = rustix::pipe::pipe().expect("descriptors");
    let (mut reader, mut writer) = (File::from(reader), File::from(writer));
    rustix::io::ioctl_fionbio(&writer, true).expect("a pipe");
    let mut filled = 0;
    while let Ok(count) = writer.write(&[b'.'; 4096]) {
        filled += count;
    }
    rustix::io::ioctl_fionbio(&writer, false).expect("a pipe");

    let hub = Foreground::new(&scene, writer);
    be_cut_off(&scene);
    be_cut_off(&scene);
    let mut worker = scene.client();
    worker.publish(&event("news", "hello")).expect("a hub that does not wait");

    reader.read_exact(&mut vec![0; filled]).expect("what has filled the pipe");
    be_cut_off(&scene);
    hub.stop(&scene);
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("text");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "eventsource-hub: 2 messages before this one are lost");
    assert!(lines[1].starts_with("eventsource-hub: cut a worker off: "), "{said}");
    assert_eq!(lines.len(), 2, "{said}");
}

#[test]
fn a_command_whose_output_nobody_reads_fails_with_a_sentence() {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("descriptors");
    drop(reader);
    let message = failure(Command::new(PROGRAM).arg("--version").stdout(writer));
    assert!(message.starts_with("eventsource-hub: Broken pipe"), "{message}");
}

/// Returns what a command says that fails.
fn failure(command: &mut Command) -> String {
    let output = command.output().expect("the program");
    assert!(!output.status.success(), "{command:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_folder_that_is_missing_says_which() {
    let scene = Scene::new();
    let socket = scene.folder.join("missing/s");
    for word in ["run", "upgrade"] {
        let mut command = Command::new(PROGRAM);
        let message = failure(command.args([word, "--timeout", "0.01", "--socket"]).arg(&socket));
        let folder = scene.folder.join("missing");
        assert!(message.contains(folder.to_str().expect("text")), "{message}");
        let is_clear = message.contains("No such file or directory") || message.contains("nobody listens on");
        assert!(is_clear, "{message}");
    }
}

/// Whether this process may do everything. The tests that need that say so if they do nothing.
fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped, because it needs root: {test}");
    }
    is_root
}

#[test]
fn a_folder_without_room_or_that_cannot_be_written_says_so() {
    if !is_root("a file system of its own") {
        return;
    }
    let scene = Scene::new();
    for (options, message) in [
        ("nr_inodes=1", "cannot open FOLDER/s.lock: No space left on device"),
        ("nr_inodes=2", "cannot listen on FOLDER/s: No space left on device"),
        ("ro", "cannot open FOLDER/s.lock: Read-only file system"),
    ] {
        let run = format!("exec '{PROGRAM}' run --socket \"$0\"");
        for command in [run, starter_command()] {
            let mount = format!("mount -t tmpfs -o {options},mode=700 none \"$0\"");
            let script = format!("{mount} && exec sh -c \"$1\" \"$0/s\"");
            let mut unshare = Command::new("unshare");
            unshare.args(["-m", "sh", "-c", &script]).arg(&scene.folder).arg(command);
            let said = failure(&mut unshare);
            if said.contains("unshare") || said.contains("mount") {
                return eprintln!("skipped, because nothing can be mounted here: {said}");
            }
            let expected = message.replace("FOLDER", scene.folder.to_str().expect("text"));
            assert!(said.contains(&expected), "{said}");
        }
    }
}

#[test]
fn a_folder_in_tmp_that_someone_else_has_made_is_refused() {
    /// A user that nobody is.
    const STRANGER: u32 = 54_321;
    if !is_root("processes of two users") {
        return;
    }
    let scene = Scene::new();
    fs::set_permissions(&scene.folder, fs::Permissions::from_mode(0o755)).expect("its owner may");
    let program = scene.folder.join("eventsource-hub");
    copy_executable(Path::new(PROGRAM), &program);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its owner may"); // whatever the umask is
    let folder = format!("/tmp/eventsource-{STRANGER}");
    fs::create_dir(&folder).expect("a new folder");
    let output = Command::new(&program).arg("upgrade").env_remove("XDG_RUNTIME_DIR").uid(STRANGER).output();
    fs::remove_dir(&folder).expect("its owner may");
    let said = String::from_utf8(output.expect("the program").stderr).expect("text");
    assert!(said.contains(&format!("no folder for sockets {folder}: it belongs to another user")), "{said}");
}
