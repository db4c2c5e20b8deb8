//! A hub process in a folder of its own, clients of its streams, and waits for conditions.

#![allow(dead_code, unused_imports)] // no file of tests uses all of it

#[path = "../../../tests/client/mod.rs"]
mod client;
mod requests;
pub mod wire;

pub use client::{eventually, is_eventually, read_events, read_until, tcp, DEADLINE};
pub use requests::{settings, stream_settings, topics, Asks};

use eventsource_xs::event::{Field, Text};
use eventsource_xs::hub::{Publication, SubscribeRequest};
use eventsource_xs::remote::{stop, upgrade, CallConnection, Link, Place, Start};
use eventsource_xs::wire::{
    FieldList, FileSettings, FileSync, Hello, HubSettings, Name, NamedSettings, Open, Request, Response, Role,
    StoreSettings,
};
pub use rustix::process::Signal;
use rustix::process::{kill_process, test_kill_process, Pid};
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_eventsource-hub");

/// A folder with the socket of a hub. When the test ends, so do the processes that have served the hub.
pub struct Scene {
    pub folder: PathBuf,
    pub place: Place,
}

impl Scene {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("eventsource-hub-{}-{number}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        let place = Place::new(Name::new("shop").expect("a name"), Some(&folder.join("s"))).expect("a place");
        Self { folder, place }
    }

    /// How clients connect: they start the program.
    pub fn start() -> Start {
        Start { program: Some(Path::new(PROGRAM).to_owned()), needs_settings: false, timeout: DEADLINE }
    }

    /// Connects, and takes the hub as it is.
    pub fn client(&self) -> CallConnection {
        CallConnection::connect(&Self::start(), &self.place, None).expect("a hub")
    }

    pub fn client_with(&self, settings: impl Into<NamedSettings>) -> CallConnection {
        CallConnection::connect(&Self::start(), &self.place, Some(settings.into())).expect("a hub")
    }

    /// A scene whose hub has a worker.
    pub fn with_worker() -> (Self, CallConnection) {
        let scene = Self::new();
        let worker = scene.client_with(settings());
        (scene, worker)
    }

    /// Starts a process with a limit, as words of `ulimit`, and waits until it listens.
    pub fn limited(&self, limit: &str) -> Child {
        let run = format!("ulimit {limit}; exec '{PROGRAM}' run --name shop --socket \"$0\"");
        let process = Command::new("sh").args(["-c", &run]).arg(self.place.socket()).spawn().expect("a shell");
        eventually("the hub listens", || UnixStream::connect(self.place.socket()).is_ok());
        process
    }

    /// Lets the process continue as another one of the same program.
    pub fn upgrade(&self) {
        upgrade(&Self::start(), &self.place, Some(Path::new(PROGRAM))).expect("an upgrade");
    }

    /// Ends the hub process.
    pub fn stop(&self) {
        stop(&Self::start(), &self.place).expect("an end");
    }

    /// Connects as the event loop of a worker does.
    pub fn link(&self) -> Link {
        Link::connect(&Self::start(), &self.place, settings().into()).expect("a hub")
    }

    /// Prepares a command for this scene's hub.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(&words[..1]).args(["--name", "shop", "--socket"]).arg(self.place.socket()).args(&words[1..]);
        command
    }

    /// The process that serves the hub, if one does.
    pub fn pid(&self) -> Option<u32> {
        UnixStream::connect(self.place.socket()).ok()?;
        let start = Start { program: None, needs_settings: false, timeout: DEADLINE };
        CallConnection::connect(&start, &self.place, None).ok().map(|client| client.welcome().pid)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            kill(pid);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Copies a program, which keeps its mode. A process of its own does that: the kernel executes no file that is open for writing
/// (ETXTBSY), and a child that another test forks meanwhile would hold this process's descriptor until its exec.
pub fn copy_executable(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-p").args([from, to]).status().expect("cp").success(), "{}", to.display());
}

/// Writes a script of the shell that can be executed at once, for the reason of [`copy_executable`] in another process.
pub fn write_script(path: &Path, lines: &str) {
    let write = "printf '#!/bin/sh\\n%s\\n' \"$2\" >\"$1\" && chmod 755 \"$1\"";
    let status = Command::new("sh").args(["-c", write, "sh"]).arg(path).arg(lines).status();
    assert!(status.expect("sh").success(), "{}", path.display());
}

/// Returns a number of the environment, or another one.
pub fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |number| number.parse().expect(name))
}

fn pid_of(number: u32) -> Pid {
    Pid::from_raw(number as i32).expect("a process id")
}

pub fn kill(number: u32) {
    signal(number, Signal::KILL);
    gone(number);
}

pub fn signal(number: u32, signal: Signal) {
    kill_process(pid_of(number), signal).expect("the process exists");
}

/// Waits until a process has ended. One that nobody waits for counts, if its threads have ended too: these hold its sockets.
pub fn gone(number: u32) {
    eventually("the process has ended", || {
        let state = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        let threads = fs::read_dir(format!("/proc/{number}/task")).map_or(0, Iterator::count);
        test_kill_process(pid_of(number)).is_err() || (state.contains(") Z ") && threads <= 1)
    });
}

/// The same settings with a store in a file of a scene's folder.
pub fn in_file(scene: &Scene) -> HubSettings {
    let path = scene.folder.join("events.db").to_str().expect("text").into();
    HubSettings { store: StoreSettings::File(FileSettings { path, sync: FileSync::Never }), ..settings() }
}

pub fn event<'a>(channel: &'a str, data: &str) -> Publication<'a, FieldList> {
    Publication {
        channel: channel.as_bytes(),
        fields: FieldList::of([Field::Data(Text::from(data))]),
        ..Publication::default()
    }
}

/// Returns the bytes of a command's greeting.
pub fn hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    let name = Name::new("shop").expect("a name");
    Hello { name, role: Role::Command }.encode(&mut bytes).expect("a short message");
    bytes
}

/// Connects without the library's client.
pub fn connect(scene: &Scene) -> UnixStream {
    let socket = UnixStream::connect(scene.place.socket()).expect("a hub");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    socket.set_write_timeout(Some(DEADLINE)).expect("a timeout");
    socket
}

pub fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes).expect("a short message");
    bytes
}

/// Returns the bytes of a request to open a stream, without its socket.
pub fn opening(stream: u64) -> Vec<u8> {
    encoded(&Request::Open(Open::new(stream, stream_settings(), b"head")))
}

/// Hands a new stream over, and returns its client. The worker keeps no copy of the socket.
pub fn open(worker: &mut CallConnection, stream: u64, head: &str) -> TcpStream {
    let (socket, client) = tcp();
    let open = Open::new(stream, stream_settings(), head.as_bytes());
    worker.open(open, socket.as_fd()).expect("a connection");
    client
}

/// Hands a new stream over that is subscribed, and returns its client.
pub fn follow(worker: &mut CallConnection, stream: u64, subscription: SubscribeRequest) -> TcpStream {
    let client = open(worker, stream, "");
    worker.subscribe(stream, subscription).expect("a stream");
    client
}

/// Reads until the end of the event with this data.
pub fn read_event(client: &mut impl Read, data: &str) -> String {
    let mut text = String::new();
    while !text.contains(&format!("data: {data}\n")) {
        text.push_str(&read_until(client, "\n\n"));
    }
    text
}

/// Reads until the connection ends.
pub fn read_to_end(client: &mut impl Read) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).expect("text");
    text
}

/// Returns the next report that a condition holds for.
pub fn report_with(worker: &mut CallConnection, is_wanted: impl Fn(&Response<'_>) -> bool) -> Response<'static> {
    loop {
        let report = worker.next_report().expect("a connection").expect("a report");
        if is_wanted(&report) {
            return report;
        }
    }
}
