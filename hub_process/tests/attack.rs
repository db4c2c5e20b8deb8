//! Attacks on a hub process, and workers that break its rules: after each one its descriptors are closed, its memory is
//! bounded, and other workers and streams are served as before.

mod support;

use eventsource_xs::event::{Field, Text, Unsequenced};
use eventsource_xs::hub::{
    Announcement, MemberData, MemberRequest, Presence, Publication, Retain, Statement, SubscribeRequest, Topic,
};
use eventsource_xs::remote::calls::{send, Wait};
use eventsource_xs::remote::CallConnection;
use eventsource_xs::stream::Reason;
use eventsource_xs::wire::{
    Call, FieldList, HubSettings, Open, Request, Response, MAX_FRAME_BYTES, MAX_GREETING_BYTES,
};
use rustix::process::{getrlimit, getuid, setrlimit, Resource, Rlimit};
use std::borrow::Cow;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::time::Duration;
use support::{
    connect, encoded, event, eventually, follow, hello, opening, read_event, read_to_end, settings, stream_settings,
    tcp, topics, Asks, Scene,
};

/// Memory of the process that no attack may make it use.
const MOST_KILOBYTES: u64 = 256 << 10;

/// A hub with a worker and a stream that obey.
struct Witness {
    scene: Scene,
    worker: CallConnection,
    client: TcpStream,
    pid: u32,
    descriptors: usize,
    count: u32,
}

impl Witness {
    fn new() -> Self {
        let scene = Scene::new();
        let mut worker = scene.client_with(settings());
        let mut client = follow(&mut worker, 1, topics("news", None));
        worker.publish(&event("news", "first")).expect("an id");
        read_event(&mut client, "first");
        let pid = worker.welcome().pid;
        let descriptors = descriptors_of(pid);
        Self { scene, worker, client, pid, descriptors, count: 0 }
    }

    /// Checks that an event reaches the stream, and that the process has not grown without bound.
    fn is_served(&mut self, attack: &str) {
        self.count += 1;
        let data = format!("event {}", self.count);
        self.worker.publish(&event("news", &data)).unwrap_or_else(|error| panic!("{attack}: {error}"));
        read_event(&mut self.client, &data);
        let kilobytes = kilobytes_of(self.pid);
        assert!(kilobytes < MOST_KILOBYTES, "{attack}: {kilobytes} kB");
    }

    /// Checks that nothing is left of attackers that have gone.
    fn is_as_before(&mut self, attack: &str) {
        self.is_served(attack);
        let (pid, before) = (self.pid, self.descriptors);
        eventually(&format!("{attack}: all descriptors are closed"), || descriptors_of(pid) <= before);
        let counted = self.worker.count(b"").expect("counts");
        assert_eq!((counted.workers, counted.streams.open), (1, 1), "{attack}");
    }

    fn cut_off(&mut self) -> u64 {
        self.worker.count(b"").expect("counts").cut_off
    }

    fn connect_and_greet(&self) -> UnixStream {
        connect_and_greet(&self.scene)
    }
}

fn connect_and_greet(scene: &Scene) -> UnixStream {
    let mut socket = connect(scene);
    socket.write_all(&hello()).expect("a connection");
    let mut length = [0; 4];
    socket.read_exact(&mut length).expect("an answer");
    socket.read_exact(&mut vec![0; u32::from_le_bytes(length) as usize]).expect("an answer");
    socket
}

fn descriptors_of(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").count()
}

fn kilobytes_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    kilobytes.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn publication(request: u64, data: &str) -> Vec<u8> {
    let fields = FieldList::of([Field::Data(Text::from(data))]);
    let publication = Publication { channel: b"flood", fields: fields.fields(), ..Publication::default() };
    encoded(&Request::Publish { request, publication })
}

/// A member, and a will.
fn presence(channel: &str, id: &str, data: &str) -> Presence {
    let event = || Unsequenced::of([Field::Data(Text::from(data))].into_iter());
    let member = MemberRequest {
        channel: channel.as_bytes().into(),
        id: id.as_bytes().into(),
        linger: Duration::ZERO,
        is_counted: false,
        data: MemberData { text: data.as_bytes().into(), is_json: true },
        join: event(),
        update: event(),
        leave: event(),
    };
    let (key, retain) = (id.as_bytes().into(), Retain::Newest);
    let will =
        Announcement { channel: b"wills"[..].into(), key, retain, event: event(), statement: Statement::Nothing };
    Presence { member: Some(Box::new(member)), will: Some(Box::new(will)) }
}

fn send_beside(worker: &UnixStream, bytes: &[u8], descriptor: BorrowedFd<'_>) {
    // The hub may have cut the worker off already.
    let _ = send(worker.as_fd(), bytes, Some(descriptor), Wait::Forever);
}

/// Reads until the hub closes the connection.
fn read_out(worker: &mut UnixStream) {
    let _ = worker.read_to_end(&mut Vec::new());
}

#[test]
fn any_byte_of_a_session_may_be_rubbish() {
    let mut witness = Witness::new();
    let subscription = SubscribeRequest { presence: presence("room", "ann", "{}"), ..topics("flood", None) };
    let subscribe = encoded(&Request::Subscribe { request: 2, stream: 7, subscription });
    let push = encoded(&Request::Push { stream: 7, event: b"data: x\n\n", has_id: false });
    let after = [opening(7), subscribe, push, publication(3, "hello")].concat();
    let session = [hello(), after].concat();
    let (socket, _client) = tcp();
    for at in 0..session.len() {
        for change in [1, 0x80, 0xff] {
            let mut bytes = session.clone();
            bytes[at] ^= change;
            let worker = connect(&witness.scene);
            // The socket travels with the first byte of the stream's opening, which may be anything by now.
            let first = hello().len();
            let _ = (&worker).write_all(&bytes[..first]);
            send_beside(&worker, &bytes[first..], socket.as_fd());
        }
        if at % 32 == 0 {
            witness.is_served("rubbish");
        }
    }
    drop(socket);
    witness.is_as_before("rubbish");
    assert!(witness.cut_off() > 0);
}

#[test]
fn members_that_nobody_could_list_cut_their_worker_off() {
    let mut witness = Witness::new();
    for (number, (channel, id, data)) in
        [("", "ann", "{}"), ("room", "", "{}"), ("room", "a\u{fe}", "{}"), ("room", "ann", "\u{fe}")]
            .into_iter()
            .enumerate()
    {
        let subscription = SubscribeRequest { presence: presence(channel, id, data), ..topics("news", None) };
        let mut subscribe = encoded(&Request::Subscribe { request: 2, stream: 7, subscription });
        // Not UTF-8.
        let of_two = subscribe.windows(2).position(|bytes| bytes == "\u{fe}".as_bytes());
        of_two.into_iter().for_each(|at| subscribe[at] = 0xfe);
        let mut worker = witness.connect_and_greet();
        let (socket, _client) = tcp();
        send_beside(&worker, &opening(7), socket.as_fd());
        let _ = worker.write_all(&subscribe);
        read_out(&mut worker);
        witness.is_as_before("a member");
        assert_eq!(witness.cut_off(), number as u64 + 1);
    }
    assert_eq!(witness.worker.members(b"room", None).expect("a list").members, []);
}

#[test]
fn a_session_may_break_at_any_byte_with_a_descriptor_on_its_way() {
    let mut witness = Witness::new();
    let bytes = opening(7);
    for end in 1..=bytes.len() {
        let worker = witness.connect_and_greet();
        let (socket, _client) = tcp();
        send_beside(&worker, &bytes[..end], socket.as_fd());
    }
    witness.is_as_before("broken off");
}

#[test]
fn descriptors_of_all_kinds_are_closed() {
    let mut witness = Witness::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
    datagrams.connect(datagrams.local_addr().expect("an address")).expect("a peer");
    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).expect("a descriptor");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let file: OwnedFd = fs::File::open("/dev/zero").expect("a file").into();
    let folder: OwnedFd = fs::File::open("/").expect("a folder").into();
    let kinds = [
        ("a listening socket", listener.as_fd()),
        ("a socket of datagrams", datagrams.as_fd()),
        ("an epoll set", epoll.as_fd()),
        ("a pipe", reader.as_fd()),
        ("the other end of a pipe", writer.as_fd()),
        ("a file", file.as_fd()),
        ("a folder", folder.as_fd()),
    ];
    for (kind, descriptor) in kinds {
        let worker = witness.connect_and_greet();
        send_beside(&worker, &opening(1), descriptor);
        let subscribe = encoded(&Request::Subscribe { request: 2, stream: 1, subscription: topics("news", None) });
        let _ = (&worker).write_all(&subscribe);
        witness.is_served(kind);
        drop(worker);
        witness.is_as_before(kind);
    }
}

#[test]
fn a_worker_that_hands_over_its_own_connection_does_not_live_for_ever() {
    let mut witness = Witness::new();
    for subscribes in [false, true] {
        let worker = witness.connect_and_greet();
        send_beside(&worker, &opening(1), worker.as_fd());
        if subscribes {
            let subscription = topics("news", None);
            let _ = (&worker).write_all(&encoded(&Request::Subscribe { request: 2, stream: 1, subscription }));
        }
        witness.is_served("its own connection");
        drop(worker);
        witness.is_as_before("its own connection");
    }
}

#[test]
fn thousands_of_streams_whose_clients_are_dead_leave_nothing() {
    let mut witness = Witness::new();
    let mut worker = witness.connect_and_greet();
    for number in 0..3000 {
        let (socket, client) = tcp();
        drop(client);
        send_beside(&worker, &opening(number), socket.as_fd());
    }
    witness.is_served("dead clients");
    worker.shutdown(std::net::Shutdown::Write).expect("a connection");
    read_out(&mut worker);
    witness.is_as_before("dead clients");
}

#[test]
fn sockets_that_come_later_are_taken_once_and_only_if_they_are_connections() {
    let mut witness = Witness::new();
    let waiting = encoded(&Request::OpenWithoutSocket(Open::new(7, stream_settings(), b"head")));
    let attach = encoded(&Request::Attach { stream: 7 });
    let file: OwnedFd = fs::File::open("/dev/zero").expect("a file").into();
    let (socket, _client) = tcp();
    // Each is cut off: two sockets, none, and a socket where it does not belong.
    for attacks in [[&waiting, &attach, &attach], [&waiting, &waiting, &waiting]] {
        let mut worker = witness.connect_and_greet();
        attacks.iter().for_each(|bytes| send_beside(&worker, bytes, socket.as_fd()));
        read_out(&mut worker);
        witness.is_as_before("a socket too much");
    }
    let mut worker = witness.connect_and_greet();
    let _ = worker.write_all(&[&waiting[..], &attach].concat());
    read_out(&mut worker);
    witness.is_as_before("no socket");
    assert_eq!(witness.cut_off(), 3);
    // Streams that wait, for sockets that never come, or that are none, or whose stream is unknown.
    let worker = witness.connect_and_greet();
    let _ = (&worker).write_all(&waiting);
    send_beside(&worker, &attach, file.as_fd());
    send_beside(&worker, &encoded(&Request::Attach { stream: 8 }), socket.as_fd());
    for stream in 10..3000 {
        let open = Open::new(stream, stream_settings(), b"head");
        let _ = (&worker).write_all(&encoded(&Request::OpenWithoutSocket(open)));
    }
    witness.is_served("streams without sockets");
    drop(worker);
    witness.is_as_before("streams without sockets");
    assert_eq!(witness.cut_off(), 3);
}

#[test]
fn a_number_may_be_used_once_however_often_it_is_sent() {
    let mut witness = Witness::new();
    for _ in 0..200 {
        let mut worker = witness.connect_and_greet();
        let (socket, _client) = tcp();
        (0..10).for_each(|_| send_beside(&worker, &opening(7), socket.as_fd()));
        drop(socket);
        read_out(&mut worker);
    }
    witness.is_as_before("one number");
    assert_eq!(witness.cut_off(), 200);
}

/// Reads until the connection ends.
fn read_lossy(connection: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).expect("an end");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn more_connections_than_it_takes_leave_room_for_workers() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("a limit");
    if limit.maximum.is_some_and(|most| most < 10_000) {
        return eprintln!("skipped: this user may not have so many descriptors");
    }
    let mut witness = Witness::new();
    let mut connections = Vec::new();
    for number in 0..4500 {
        connections.push(connect(&witness.scene));
        if number % 500 == 0 {
            witness.is_served("many connections");
        }
    }
    // Those beyond the bound are told why, and closed.
    let told = read_lossy(connections.last_mut().expect("a connection"));
    assert!(told.contains("as many connections as it may have"), "{told:?}");
    drop(connections);
    witness.is_as_before("many connections");
    witness.scene.client().publish(&event("news", "of a new worker")).expect("an id");
}

#[test]
fn workers_that_do_not_greet_are_cut_off_and_counted() {
    let mut witness = Witness::new();
    let mut silent: Vec<_> = (0..50).map(|_| connect(&witness.scene)).collect();
    for (number, worker) in silent.iter_mut().enumerate() {
        let _ = worker.write(&hello()[..number % hello().len()]);
    }
    witness.is_served("silent");
    silent.iter_mut().for_each(read_out);
    witness.is_as_before("silent");
    assert_eq!(witness.cut_off(), 50);
}

#[test]
fn nothing_but_a_short_greeting_is_kept_of_connections_that_have_not_greeted() {
    const CONNECTIONS: u64 = 200;
    let mut witness = Witness::new();
    let length = u32::try_from(MAX_FRAME_BYTES).expect("a length").to_le_bytes();
    let bytes = [&length[..], &vec![0; 1 << 20]].concat();
    for _ in 0..CONNECTIONS {
        let mut worker = connect(&witness.scene);
        let _ = worker.write_all(&bytes); // the hub may have cut it off already
        read_out(&mut worker);
    }
    witness.is_as_before("long greetings");
    assert_eq!(witness.cut_off(), CONNECTIONS);
    // As much as a greeting may have is kept, until it is time.
    let silent: Vec<_> = (0..CONNECTIONS).map(|_| connect(&witness.scene)).collect();
    for mut worker in &silent {
        worker.write_all(&bytes[..MAX_GREETING_BYTES]).expect("a connection");
    }
    witness.is_served("greetings in part");
    assert_eq!(witness.cut_off(), CONNECTIONS);
    drop(silent);
    witness.is_as_before("greetings in part");
}

#[test]
fn settings_that_are_too_long_are_refused() {
    let scene = Scene::new();
    let settings = HubSettings {
        hub: eventsource_xs::hub::Settings { gap_event: "x".repeat(MAX_GREETING_BYTES).into(), ..settings().hub },
        ..settings()
    };
    let error = CallConnection::connect(&Scene::start(), &scene.place, Some(settings.into())).expect_err("too long");
    assert!(error.to_string().contains("gap_event and position_event are too long"), "{error}");
}

#[test]
fn huge_subscriptions_delay_nobody_for_long() {
    let mut witness = Witness::new();
    let pattern = format!("{}b", "*a".repeat(500));
    let many = (0..50_000).map(|number| Topic::Channel(format!("channel {number}").into_bytes().into())).collect();
    let patterns = (0..5_000).map(|number| Topic::Pattern(format!("{number}{pattern}").as_bytes().into()));
    let star = Topic::Pattern(pattern.as_bytes().into());
    for (name, topics_of) in [("many", many), ("patterns", patterns.collect()), ("stars", vec![star])] {
        let worker = witness.connect_and_greet();
        let (socket, _client) = tcp();
        send_beside(&worker, &opening(1), socket.as_fd());
        let subscription = eventsource_xs::hub::SubscribeRequest { topics: topics_of, ..topics("x", None) };
        let mut bytes = Vec::new();
        if (Request::Subscribe { request: 2, stream: 1, subscription }).encode(&mut bytes).is_ok() {
            let _ = (&worker).write_all(&bytes);
        }
        // A channel that stars may match in many ways.
        let _ = (&worker).write_all(&encoded(&Request::Publish {
            request: 0,
            publication: Publication {
                channel: "a".repeat(1000).as_bytes(),
                fields: FieldList::default().fields(),
                ..Publication::default()
            },
        }));
        witness.is_served(name);
        drop((worker, socket));
        drop(_client);
        witness.worker.publish(&event(&"a".repeat(1000), "again")).expect("an id");
        witness.is_as_before(name);
    }
}

#[test]
fn a_flood_of_events_is_bounded_and_others_are_answered() {
    let mut witness = Witness::new();
    let data = "x".repeat(10_000);
    let flood = publication(0, &data).repeat(100);
    let mut workers: Vec<_> = (0..4).map(|_| witness.connect_and_greet()).collect();
    for worker in &workers {
        worker.set_nonblocking(true).expect("a socket");
    }
    let mut sent = 0;
    while sent < 200 << 20 {
        for worker in &mut workers {
            // A part of a frame continues where it has ended: what is malformed is cut off, which is right as well.
            sent += worker.write(&flood).unwrap_or(64 << 10);
        }
        if sent % 7 == 0 {
            witness.is_served("flood");
        }
    }
    drop(workers);
    witness.is_as_before("flood");
}

#[test]
fn another_user_is_turned_away() {
    if !getuid().is_root() {
        return eprintln!("skipped: only root can be another user");
    }
    let mut witness = Witness::new();
    let folder = &witness.scene.folder;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("its owner may");
    fs::set_permissions(witness.scene.place.socket(), fs::Permissions::from_mode(0o777)).expect("its owner may");
    // Without the library's client, which would turn away from the hub of another user by itself.
    let script = "use IO::Socket::UNIX; my $hub = IO::Socket::UNIX->new(Peer => shift) or die $!; print <$hub>";
    let output = std::process::Command::new("perl")
        .args(["-e", script])
        .arg(witness.scene.place.socket())
        .uid(65_534)
        .output()
        .expect("perl");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("of another user"), "{told:?}: {output:?}");
    witness.is_as_before("another user");
    assert_eq!(witness.worker.count(b"").expect("counts").hub.published, 2);
}

/// Sends bytes with a socket beside them, and returns the other end of that socket.
fn send_with_socket(worker: &UnixStream, bytes: &[u8]) -> TcpStream {
    let (socket, client) = tcp();
    assert_eq!(send(worker.as_fd(), bytes, Some(socket.as_fd()), Wait::Forever).expect("a connection"), bytes.len());
    client
}

fn is_closed(worker: &mut UnixStream) -> bool {
    match worker.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn rubbish_cuts_a_worker_off_before_and_after_its_greeting() {
    let (scene, mut other) = Scene::with_worker();
    for greets in [false, true] {
        let rubbish: [&[u8]; 4] = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x05\0\0\0\xffabcd", b"\x01\0\0\0\x01"];
        for bytes in rubbish {
            let mut worker = if greets { connect_and_greet(&scene) } else { connect(&scene) };
            worker.write_all(bytes).expect("a connection");
            assert!(is_closed(&mut worker), "{greets} {bytes:?}");
        }
    }
    other.publish(&event("news", "hello")).expect("others do not notice");
    // Two that have not greeted were rejected; all others were cut off.
    assert_eq!(other.count(b"").expect("counts").cut_off, 6);
}

#[test]
fn a_worker_that_dies_in_the_middle_of_a_frame_with_a_descriptor_leaks_none() {
    let (scene, mut other) = Scene::with_worker();
    let pid = other.welcome().pid;
    let before = descriptors_of(pid);
    let bytes = opening(1);
    for cut in [1, 4, 5, bytes.len() / 2, bytes.len() - 1] {
        let worker = connect_and_greet(&scene);
        let mut client = send_with_socket(&worker, &bytes[..cut]);
        // Answered after the hub has received the descriptor.
        other.publish(&event("news", "hello")).expect("an id");
        drop(worker);
        assert_eq!(read_to_end(&mut client), "", "{cut}");
    }
    eventually("all descriptors are closed", || descriptors_of(pid) <= before);
    assert_eq!(other.count(b"").expect("counts").cut_off, 0);
}

#[test]
fn a_descriptor_without_a_stream_cuts_a_worker_off_and_is_closed() {
    let (scene, mut other) = Scene::with_worker();
    let fields = FieldList::default();
    let publication = Publication { channel: b"news", fields: fields.fields(), ..Publication::default() };
    let publish = encoded(&Request::Publish { request: 0, publication });
    let mut worker = connect_and_greet(&scene);
    let mut client = send_with_socket(&worker, &publish);
    assert!(is_closed(&mut worker));
    assert_eq!(read_to_end(&mut client), "");
    // Two with one stream.
    let mut worker = connect_and_greet(&scene);
    let bytes = opening(1);
    let mut clients = [send_with_socket(&worker, &bytes[..9]), send_with_socket(&worker, &bytes[9..])];
    assert!(is_closed(&mut worker));
    for client in &mut clients {
        let _ = client.read_to_end(&mut Vec::new());
    }
    assert_eq!(other.count(b"").expect("counts").cut_off, 2);
}

#[test]
fn a_stream_without_a_descriptor_or_with_a_used_number_cuts_a_worker_off() {
    let (scene, mut other) = Scene::with_worker();
    let mut worker = connect_and_greet(&scene);
    worker.write_all(&opening(1)).expect("a connection");
    assert!(is_closed(&mut worker));
    let mut worker = connect_and_greet(&scene);
    let mut clients = [send_with_socket(&worker, &opening(1)), send_with_socket(&worker, &opening(1))];
    assert!(is_closed(&mut worker));
    // The first stream was not subscribed, so it has ended with its opener.
    let texts: Vec<_> = clients.iter_mut().map(read_to_end).collect();
    assert_eq!(texts, ["head", ""]);
    assert_eq!(other.count(b"").expect("counts").cut_off, 2);
}

#[test]
fn a_descriptor_that_is_not_a_connection_ends_its_stream() {
    let (_scene, mut worker) = Scene::with_worker();
    let file = fs::File::open("/dev/null").expect("a descriptor");
    let opening = Open::new(1, stream_settings(), b"");
    worker.open(opening, file.as_fd()).expect("a connection");
    assert_eq!(worker.next_report().expect("a report"), Some(Response::Ended { stream: 1, reason: Reason::Error }));
}

#[test]
fn a_worker_that_reads_no_answers_is_slowed_and_others_are_not() {
    let (scene, mut other) = Scene::with_worker();
    let mut client = follow(&mut other, 1, topics("news", None));
    let pid = other.welcome().pid;
    let mut worker = connect_and_greet(&scene);
    worker.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    // Small requests with larger answers, until the hub reads no more of them.
    let count =
        encoded(&Request::Call { request: 1, until: 0, call: Cow::Owned(Call::Count { channel: Box::default() }) })
            .repeat(1000);
    let mut sent = 0;
    while let Ok(bytes) = worker.write(&count) {
        sent += bytes;
        assert!(sent < 100 << 20, "the hub reads on");
    }
    let kilobytes = kilobytes_of(pid);
    assert!(kilobytes < 64 << 10, "{kilobytes} kB after {sent} bytes");
    other.publish(&event("news", "hello")).expect("an id");
    read_event(&mut client, "hello");
    // It leaves without having read anything.
    drop(worker);
    eventually("the hub has closed its connection", || other.count(b"").expect("counts").workers == 1);
}

#[test]
fn a_worker_that_closes_at_once_is_heard() {
    let (scene, mut other) = Scene::with_worker();
    let fields = FieldList::default();
    let publication = Publication { channel: b"news", fields: fields.fields(), ..Publication::default() };
    let publish = Request::Publish { request: 0, publication };
    for _ in 0..20 {
        let mut worker = connect_and_greet(&scene);
        worker.write_all(&encoded(&publish).repeat(100)).expect("a connection");
    }
    eventually("all events are published", || other.count(b"").expect("counts").hub.published == 2000);
}

#[test]
fn the_hub_is_served_while_it_has_no_descriptor_left() {
    let (scene, mut other) = Scene::with_worker();
    let number = other.welcome().pid;
    let pid = rustix::process::Pid::from_raw(number as i32).expect("a process id");
    // Every number below the limit is used.
    let is_free = |descriptor: &u64| fs::symlink_metadata(format!("/proc/{number}/fd/{descriptor}")).is_err();
    let least = (0..).find(is_free);
    let limit = rustix::process::Rlimit { current: least, maximum: least };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, limit).expect("its owner may");
    let waiting: Vec<_> = (0..60).map(|_| UnixStream::connect(scene.place.socket()).expect("room to wait")).collect();
    other.publish(&event("news", "hello")).expect("an id");
    // Its socket cannot be received: the stream ends, its worker is served on.
    let (socket, mut client) = tcp();
    let opening = Open::new(1, stream_settings(), b"");
    other.open(opening, socket.as_fd()).expect("a connection");
    drop(socket);
    assert_eq!(other.next_report().expect("a report"), Some(Response::Ended { stream: 1, reason: Reason::Error }));
    assert_eq!(read_to_end(&mut client), "");
    drop(waiting);
    other.publish(&event("news", "hello")).expect("an id");
    let limit = rustix::process::Rlimit { current: Some(1000), maximum: Some(1000) };
    match rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, limit) {
        Ok(_) => drop(scene.client()), // those that wait are accepted
        Err(error) => eprintln!("skipped, because only root may raise a limit: {error}"),
    }
}
