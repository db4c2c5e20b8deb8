//! Hub processes, publishers and streams.

use crate::servers::{Folder, Redis};
use crate::{DATA_BYTES, DEADLINE};
use eventsource_xs::compression::ContentCoding;
use eventsource_xs::event::{Field, Framing, LineEnd, Text};
use eventsource_xs::hub::{Publication, SubscribeRequest, Topic};
use eventsource_xs::log::Bounds;
use eventsource_xs::remote::{stop, CallConnection, Place, Start};
use eventsource_xs::stream::Settings;
use eventsource_xs::wire::{
    Call, Counted, FieldList, FileSettings, FileSync, HubSettings, Name, Open, RedisSettings, Request, StoreSettings,
};
use rustix::process::{kill_process, test_kill_process, Pid, Signal};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A hub process. It ends with its value.
pub struct Hub {
    place: Place,
    settings: HubSettings,
    folder: Folder,
    client: Option<CallConnection>,
    pid: u32,
}

/// Where the hub of a benchmark keeps its events.
#[derive(Clone, Copy, Debug)]
pub enum Kept<'a> {
    Memory,
    File(FileSync),
    Redis(&'a Redis),
}

impl Hub {
    /// Starts a hub that keeps so many events a channel.
    pub fn start(kept: Kept<'_>, events: usize) -> Self {
        let folder = Folder::new();
        let place = Place::new(Name::new("bench").expect("a name"), Some(&folder.path().join("s"))).expect("a place");
        let store = match kept {
            Kept::Memory => StoreSettings::Memory,
            Kept::File(sync) => {
                let path = folder.path().join("events").display().to_string().into();
                StoreSettings::File(FileSettings { path, sync })
            }
            Kept::Redis(redis) => {
                let (url, prefix, timeout) = (redis.url().into(), "es".into(), Duration::from_secs(5));
                StoreSettings::Redis(Box::new(RedisSettings { url, prefix, timeout, ..RedisSettings::default() }))
            }
        };
        let mut settings = HubSettings { idle_exit: DEADLINE, grace: DEADLINE, store, ..HubSettings::default() };
        settings.hub.retention.history = Bounds { events, bytes: 1 << 30, age: Duration::from_secs(3600) };
        settings.hub.retention.total_history = Bounds { events: 200_000, bytes: 1 << 30, age: Duration::MAX };
        let mut hub = Self { place, settings, folder, client: None, pid: 0 };
        hub.resume();
        hub
    }

    /// Starts a hub process that has ended. Returns when it welcomes a worker.
    pub fn resume(&mut self) {
        let client = self.publisher();
        self.pid = client.welcome().pid;
        self.client = Some(client);
    }

    /// Returns another connection.
    pub fn publisher(&self) -> CallConnection {
        let program = Some(Path::new(env!("CARGO_BIN_EXE_eventsource-hub")).to_owned());
        let start = Start { program, needs_settings: false, timeout: DEADLINE };
        CallConnection::connect(&start, &self.place, Some(self.settings.clone().into())).expect("a hub")
    }

    /// Returns the connection of the worker that has started it.
    pub fn client(&mut self) -> &mut CallConnection {
        self.client.as_mut().expect("a hub that runs")
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends its process in an orderly way.
    pub fn stop(&mut self) {
        if self.client.take().is_some() {
            let start = Start { program: None, needs_settings: false, timeout: DEADLINE };
            stop(&start, &self.place).expect("an end");
            self.wait();
        }
    }

    pub fn kill(&mut self) {
        if self.client.take().is_some() {
            let _ = kill_process(pid_of(self.pid), Signal::KILL);
            self.wait();
        }
    }

    /// The bytes of the files of its store.
    pub fn file_bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.folder.path()).expect("a folder");
        files.flatten().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
    }

    fn wait(&self) {
        let deadline = Instant::now() + DEADLINE;
        while test_kill_process(pid_of(self.pid)).is_ok() && !is_defunct(self.pid) {
            assert!(Instant::now() < deadline, "the hub process has not ended");
            sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pid_of(number: u32) -> Pid {
    Pid::from_raw(number as i32).expect("a process id")
}

/// A process that nobody waits for stays in the table.
fn is_defunct(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|text| text.contains(") Z "))
}

/// Returns data that begins with a number.
pub fn data(number: usize) -> String {
    format!("{number:<DATA_BYTES$}")
}

pub fn event<'a>(channel: &'a str, data: &str) -> Publication<'a, FieldList> {
    let fields = FieldList::of([Field::Data(Text::from(data))]);
    Publication { channel: channel.as_bytes(), fields, ..Publication::default() }
}

/// Publishes an event, and waits for its id.
pub fn answer_to(client: &mut CallConnection, publication: &Publication<'_, FieldList>) -> String {
    let publish = |request| Request::Publish { request, publication: publication.borrowed() };
    client.ask(publish).and_then(|reply| reply.id()).expect("an id").into()
}

/// Opens a stream for new events of a channel. Returns the client's socket.
pub fn subscribe(worker: &mut CallConnection, stream: u64, channel: &str) -> TcpStream {
    let (socket, client) = connect();
    hand_over(worker, stream, &socket, channel, None);
    counted(worker, b""); // the stream is subscribed: requests are carried out in their order
    client
}

/// Connects a client over TCP. Returns the server's socket and the client's.
pub fn connect() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    client.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let (socket, _) = listener.accept().expect("a connection");
    socket.set_nodelay(true).expect("an option");
    (socket, client)
}

/// Hands a stream over and subscribes it to a channel, from an id on or to new events.
pub fn hand_over(worker: &mut CallConnection, stream: u64, socket: &TcpStream, channel: &str, after: Option<&str>) {
    let settings = Settings {
        framing: Framing::Plain,
        coding: ContentCoding::Identity,
        line_end: LineEnd::Lf,
        keepalive: None,
        timeout: DEADLINE,
        max_buffered: 1 << 20,
        drop_oldest: false,
        retry: Duration::from_secs(3),
    };
    worker.open(Open::new(stream, settings, b""), socket.as_fd()).expect("a connection");
    let subscription = SubscribeRequest {
        topics: vec![Topic::Channel(channel.as_bytes().into())],
        after: after.map(|id| id.as_bytes().into()),
        ..Default::default()
    };
    worker.send(&Request::Subscribe { request: 0, stream, subscription }, None).expect("a connection");
}

/// Returns the counters of a hub and its process.
pub fn counted(client: &mut CallConnection, channel: &[u8]) -> Counted {
    let reply = client.call(&Call::Count { channel: channel.into() });
    *reply.expect("a reply").counted().expect("counts")
}
