//! The event loop with connections whose other side, a hub process, is the test.

#![cfg(not(miri))] // system calls

use super::*;
use crate::compression::{Body, ContentCoding};
use crate::event::{Field, Text};
use crate::hub::{Publication, Topic};
use crate::reactor::StreamInit;
use crate::runtime::event_loop::EventLoop;
use crate::runtime::reactor_handle::{Queued, ReactorHandle, StreamParts};
use crate::runtime::remote::response_reader::ResponseReader;
use crate::runtime::remote::sockets;
use crate::runtime::remote::tests::HubSide;
use crate::runtime::stream_state::StreamState;
use crate::stream::{Framing, LineEnd, Settings};
use crate::wire::{FieldList, HubSettings, Name, Open, Response, StoreSettings, StreamProgress, Welcome, WINDOW_BYTES};
use crate::{remote, ErrorCode};
use bytes::Bytes;
use rustix::fd::AsRawFd;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(20);

const SETTINGS: Settings = Settings {
    framing: Framing::Chunked,
    coding: ContentCoding::Identity,
    line_end: LineEnd::Lf,
    keepalive: None,
    timeout: TIMEOUT,
    max_buffered: 1000,
    drop_oldest: false,
    retry: Duration::ZERO,
};

struct Scene {
    handle: Arc<ReactorHandle>,
}

impl Scene {
    fn new() -> Self {
        let handle = Arc::new(ReactorHandle::new().expect("a descriptor"));
        let event_loop = EventLoop::new(Arc::clone(&handle), |_, _| true).expect("a descriptor");
        std::thread::spawn(|| event_loop.run());
        Self { handle }
    }

    /// Begins a connection that is still to be made.
    fn begin(&self, number: u32) -> Arc<Connection> {
        let connection = Arc::new(Connection::new(number, false));
        self.handle.send_link(LinkCommand::Begin(Arc::clone(&connection)));
        connection
    }

    /// With a connection that has all credits.
    fn connected() -> (Self, Arc<Connection>, HubSide) {
        let scene = Self::new();
        let (connection, hub) = scene.connect(1, WINDOW_BYTES);
        (scene, connection, hub)
    }

    /// With a connection that is still to be made.
    fn connecting() -> (Self, Arc<Connection>) {
        let scene = Self::new();
        let connection = scene.begin(1);
        (scene, connection)
    }

    fn connect(&self, number: u32, credits: u64) -> (Arc<Connection>, HubSide) {
        let connection = self.begin(number);
        let hub = self.connect_begun(&connection, HubSettings::default(), credits);
        (connection, hub)
    }

    fn connect_begun(&self, connection: &Arc<Connection>, settings: HubSettings, credits: u64) -> HubSide {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let name = Name::new("test").expect("a name");
        let welcome = Welcome { name, pid: 1, epoch: "epoch".into(), settings, credits, number: 1 };
        let link = Link::new((welcome, ResponseReader::greeted(ours, credits)));
        connection.note_welcome(link.welcome());
        self.handle.send_link(LinkCommand::Connect(Box::new(link), Arc::clone(connection)));
        HubSide::new(theirs)
    }

    /// Queues an event of that many bytes. Returns the number of the request.
    fn publish(&self, connection: &Arc<Connection>, bytes: usize) -> u64 {
        let request = connection.begin();
        self.publish_as(connection, request, bytes);
        request
    }

    fn publish_as(&self, connection: &Arc<Connection>, request: u64, bytes: usize) {
        let text = "x".repeat(bytes);
        let fields = FieldList::of([Field::Data(Text::from(&*text))]);
        let mut frame = Vec::new();
        let publication = Publication { channel: b"news", fields: fields.fields(), ..Publication::default() };
        Request::Publish { request, publication }.encode(&mut frame).expect("a short request");
        connection.add_coming(frame.len());
        self.handle.send_link(LinkCommand::Send { connection: Arc::clone(connection), request, frame });
    }

    fn wait(&self, connection: &Connection, request: u64) -> Result<Reply, Unanswered> {
        remote::remote_hub::wait(&self.handle, connection, request, TIMEOUT)
    }

    /// Waits until a condition is true. Not every condition wakes those that wait, so it is looked at again and again.
    fn eventually(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !self.handle.wait(Duration::from_millis(1), &condition) {
            assert!(Instant::now() < deadline, "{what}");
        }
    }

    /// Opens a stream whose socket is still to come.
    fn open_without_socket(&self) -> (StreamId, Arc<StreamState>) {
        self.open_with(None)
    }

    fn open_with(&self, socket: Option<OwnedFd>) -> (StreamId, Arc<StreamState>) {
        let stream = self.handle.new_stream();
        let state = Arc::new(StreamState::new(stream, 4, 7));
        if let Some(socket) = &socket {
            state.set_socket(socket.as_raw_fd(), 1);
        }
        let parts = StreamParts { socket, state: Arc::clone(&state) };
        self.handle.count_opened();
        let init = Arc::new(StreamInit {
            settings: SETTINGS,
            head: Bytes::from_static(b"head"),
            content: Bytes::new(),
            body: Body::default(),
            is_inherited: false,
            members_of: None,
            liveness: None,
        });
        self.handle.send_queued(Queued::Stream(Command::Open { stream, init }, parts));
        (stream, state)
    }

    /// Gives a stream its socket. Returns the client's side.
    fn attach(&self, stream: StreamId, state: &Arc<StreamState>) -> UnixStream {
        let (socket, client) = UnixStream::pair().expect("a pair of sockets");
        state.set_socket(socket.as_raw_fd(), 1);
        let parts = StreamParts { socket: Some(socket.into()), state: Arc::clone(state) };
        self.handle.send_queued(Queued::Stream(Command::Attach { stream }, parts));
        client
    }

    /// Opens a stream, which has sent its head.
    fn open(&self) -> (StreamId, Arc<StreamState>, UnixStream) {
        let (socket, mut client) = UnixStream::pair().expect("a pair of sockets");
        let (stream, state) = self.open_with(Some(socket.into()));
        client.read_exact(&mut [0; 4]).expect("the head");
        (stream, state, client)
    }

    /// Hands an open stream over. Returns the hub's socket, and what that is to be sent first.
    fn hand_over(
        &self,
        connection: &Arc<Connection>,
        hub: &mut HubSide,
        stream: StreamId,
    ) -> (UnixStream, Vec<Vec<u8>>) {
        let request = self.subscribe(connection, stream);
        let taken = hub.take_over(stream);
        assert!(matches!(self.wait(connection, request), Ok(Reply::Done)));
        taken
    }

    fn subscribe(&self, connection: &Arc<Connection>, stream: StreamId) -> u64 {
        self.subscribe_to("news", connection, stream, TIMEOUT, false)
    }

    /// Subscribes to a channel, waits that long for the hub, and holds the subscription as a handler does that runs.
    fn subscribe_to(
        &self,
        channel: &str,
        connection: &Arc<Connection>,
        stream: StreamId,
        timeout: Duration,
        holds: bool,
    ) -> u64 {
        let (request, until) = (connection.begin(), Instant::now() + timeout);
        let topics = vec![Topic::Channel(channel.as_bytes().into())];
        let subscription = SubscribeRequest { topics, ..Default::default() };
        let connection = Arc::clone(connection);
        self.handle.send_link(LinkCommand::Subscribe {
            connection,
            request,
            stream,
            subscription: subscription.into(),
            holds,
            until,
        });
        request
    }

    fn push(&self, stream: StreamId, state: &StreamState, text: &[u8]) {
        let event = SETTINGS.framing.frame(text);
        state.add_buffered(event.len());
        self.handle.send_queued(Queued::Command(Command::Push { stream, event, has_id: false }));
    }
}

#[test]
fn an_event_that_nobody_waits_for_counts_as_lost_when_the_event_loop_has_ended() {
    let scene = Scene::new();
    let fail = |request| {
        let connection = scene.begin(1);
        LinkCommand::Send { connection, request, frame: Vec::new() }.fail()
    };
    assert_eq!([UNAWAITED, 7].map(fail), [1, 0]);
}

#[test]
fn a_request_gets_its_own_answer() {
    let (scene, connection, mut hub) = Scene::connected();
    let requests = [scene.publish(&connection, 10), scene.publish(&connection, 10)];
    for request in requests {
        hub.next(|got| {
            assert!(matches!(got, Request::Publish { request: number, .. } if number == request), "{got:?}")
        });
    }
    let failure = Failure::new(ErrorCode::Invalid, Some("data"), "no");
    hub.answer(&Response::Reply { request: requests[1], result: Err(failure) });
    hub.answer(&Response::Published { request: requests[0], id: "epoch-1" });
    assert!(matches!(scene.wait(&connection, requests[0]), Ok(Reply::Id(id)) if &*id == "epoch-1"));
    let refused = scene.wait(&connection, requests[1]);
    assert!(matches!(refused, Err(Unanswered::Refused(_))), "{refused:?}");
}

#[test]
fn a_broken_connection_makes_sent_requests_unknown_and_the_others_unsent() {
    let (scene, connection, mut hub) = Scene::connected();
    let sent = scene.publish(&connection, 10);
    hub.next(|_| {});
    let in_part = scene.publish(&connection, 2 << 20); // more than the socket takes
    let unsent = scene.publish(&connection, 10);
    scene.eventually("they are queued", || connection.has_room(true) && !connection.is_idle());
    drop(hub);
    let outcome = scene.wait(&connection, sent);
    assert!(matches!(outcome, Err(Unanswered::Lost)), "{outcome:?}");
    for request in [in_part, unsent] {
        let outcome = scene.wait(&connection, request);
        assert!(matches!(outcome, Err(Unanswered::Unsent(_))), "{outcome:?}");
    }
    let late = scene.publish(&connection, 10);
    assert!(matches!(scene.wait(&connection, late), Err(Unanswered::Unsent(_))));
}

#[test]
fn the_streams_of_a_broken_connection_end_in_the_order_in_which_they_have_begun() {
    let (scene, connection, mut hub) = Scene::connected();
    let opened: Vec<_> = (0..20).map(|_| scene.open()).collect();
    for (stream, state, _) in opened.iter().rev() {
        assert_eq!(state.report_end_or_reason(), None);
        scene.hand_over(&connection, &mut hub, *stream);
    }
    drop(hub);
    scene.eventually("all have ended", || opened.iter().all(|(_, state, _)| state.reason().is_some()));
    let ended: Vec<StreamId> = std::iter::from_fn(|| Some(scene.handle.ends.take(7)?.0)).collect();
    assert_eq!(ended, opened.iter().map(|(stream, ..)| *stream).collect::<Vec<_>>());
}

#[test]
fn a_connection_ends_while_a_fork_waits_for_the_turn() {
    let (scene, connection, mut hub) = Scene::connected();
    let request = scene.publish(&connection, 10);
    hub.next(|_| {});
    let fork = sockets::before_fork();
    drop(hub);
    let outcome = scene.wait(&connection, request);
    drop(fork);
    assert!(matches!(outcome, Err(Unanswered::Lost)), "{outcome:?}");
}

#[test]
fn unawaited_events_that_are_refused_or_not_answered_count_as_lost() {
    let (scene, connection, mut hub) = Scene::connected();
    (0..4).for_each(|_| scene.publish_as(&connection, UNAWAITED, 10));
    (0..4).for_each(|_| hub.next(|got| assert!(matches!(got, Request::Publish { request: UNAWAITED, .. }))));
    assert!(!connection.is_idle());
    hub.answer(&Response::Published { request: UNAWAITED, id: "epoch-1" });
    let failure = Failure::new(ErrorCode::Invalid, Some("id"), "no");
    hub.answer(&Response::Reply { request: UNAWAITED, result: Err(failure) });
    scene.eventually("the refused one is lost", || scene.handle.stats().lost[Reason::Error as usize] == 1);
    drop(hub);
    scene.eventually("so are those without an answer", || scene.handle.stats().lost[Reason::Error as usize] == 3);
    scene.publish_as(&connection, UNAWAITED, 10);
    scene.eventually("and later ones", || scene.handle.stats().lost[Reason::Error as usize] == 4);
    assert!(connection.is_idle());
}

#[test]
fn a_full_queue_has_room_again_when_the_hub_reads() {
    let scene = Scene::new();
    let (connection, mut hub) = scene.connect(1, 1 << 30);
    let mut count = 0;
    while connection.has_room(true) {
        scene.publish_as(&connection, UNAWAITED, 1 << 20);
        count += 1;
    }
    assert!((8..20).contains(&count), "{count}");
    for _ in 0..count {
        hub.next(|_| {});
        hub.answer(&Response::Published { request: UNAWAITED, id: "epoch-1" });
    }
    scene.eventually("there is room", || connection.has_room(true));
    scene.eventually("all are answered", || connection.is_idle());
}

#[test]
fn a_stream_that_is_handed_over_is_pushed_to_and_ends_there() {
    let (scene, connection, mut hub) = Scene::connected();
    let (stream, state, mut client) = scene.open();
    let (mut socket, unsent) = scene.hand_over(&connection, &mut hub, stream);
    assert_eq!((unsent.concat().len(), state.is_handed_over(), state.buffered_bytes()), (0, true, 0));
    scene.push(stream, &state, b"event");
    hub.next(|got| assert!(matches!(got, Request::Push { event: b"event", .. }), "{got:?}"));
    assert!(state.buffered_bytes() > 0);
    hub.answer(&Response::State(StreamProgress { stream: stream.into(), pushed: 5, buffered: 0, is_stalled: true }));
    scene.eventually("the state is known", || state.buffered_bytes() == 0 && state.is_stalled());
    socket.write_all(b"of the hub").expect("a connection");
    client.read_exact(&mut [0; 10]).expect("the bytes of the hub");
    hub.answer(&Response::Ended { stream: stream.into(), reason: Reason::Client });
    scene.eventually("the end is known", || state.reason() == Some(Reason::Client));
}

/// A stream that was handed over and is not held any more.
fn release(scene: &Scene, connection: &Arc<Connection>, hub: &mut HubSide) -> StreamId {
    let (stream, state, _client) = scene.open();
    scene.hand_over(connection, hub, stream);
    state.release();
    scene.handle.send_queued(Queued::Command(Command::ReleaseState { stream }));
    hub.next(|got| assert!(matches!(got, Request::Release { stream: got } if got == u64::from(stream))));
    stream
}

#[test]
fn nothing_but_a_count_is_kept_of_a_stream_that_nobody_holds() {
    let (scene, connection, mut hub) = Scene::connected();
    let first = release(&scene, &connection, &mut hub);
    let second = release(&scene, &connection, &mut hub);
    assert_eq!((first.slot, first.serial == second.serial), (second.slot, false));
    assert_eq!(scene.handle.stats().open, 2);
    hub.answer(&Response::Ended { stream: first.into(), reason: Reason::Client });
    scene.eventually("an end is counted", || scene.handle.stats().ended[Reason::Client as usize] == 1);
    drop(hub);
    scene.eventually("and that by a loss", || scene.handle.stats().ended[Reason::Error as usize] == 1);
    assert_eq!((scene.handle.stats().open, scene.handle.counts.sockets()), (0, 0));
}

#[test]
fn a_stream_whose_end_somebody_wants_to_know_is_kept() {
    let (scene, connection, mut hub) = Scene::connected();
    let (stream, state, _client) = scene.open();
    scene.hand_over(&connection, &mut hub, stream);
    assert_eq!(state.report_end_or_reason(), None);
    state.release();
    scene.handle.send_queued(Queued::Command(Command::ReleaseState { stream }));
    hub.answer(&Response::Ended { stream: stream.into(), reason: Reason::Client });
    scene.eventually("the end is reported", || scene.handle.ends.has_ends(state.interpreter));
    assert_eq!(scene.handle.ends.take(state.interpreter), Some((stream, Reason::Client)));
}

/// A stream whose socket waits for credits when the connection breaks.
fn park(scene: &Scene) -> (StreamId, Arc<StreamState>, UnixStream) {
    let (stream, state, client) = scene.open();
    park_opened(scene, stream, &state);
    (stream, state, client)
}

fn park_opened(scene: &Scene, stream: StreamId, state: &StreamState) {
    let (connection, mut hub) = scene.connect(1, 1);
    let first = scene.publish(&connection, 10); // spends the credits
    hub.next(|_| {});
    scene.publish(&connection, 10); // waits, with all that follows
    let request = scene.subscribe(&connection, stream);
    scene.eventually("the stream was handed over", || state.is_handed_over());
    scene.push(stream, state, b"before");
    drop(hub);
    assert!(matches!(scene.wait(&connection, request), Err(Unanswered::Unsent(_))));
    assert!(scene.wait(&connection, first).is_err());
    assert_eq!((state.reason(), state.is_open()), (None, true));
}

#[test]
fn a_stream_whose_socket_was_not_sent_is_handed_over_anew() {
    let scene = Scene::new();
    let (stream, state, mut client) = park(&scene);
    scene.push(stream, &state, b"after");
    let (connection, mut hub) = scene.connect(2, WINDOW_BYTES);
    let (mut socket, sent) = scene.hand_over(&connection, &mut hub, stream);
    assert_eq!(sent, [&b""[..], b"before", b"after"], "each push is encoded alone");
    assert!(state.buffered_bytes() > 0);
    hub.answer(&Response::State(StreamProgress { stream: stream.into(), pushed: 11, buffered: 0, is_stalled: false }));
    scene.eventually("the hub has sent all that was pushed", || state.buffered_bytes() == 0);
    assert_eq!(scene.handle.stats().events, 2);
    socket.write_all(b"alive").expect("a connection");
    client.read_exact(&mut [0; 5]).expect("the bytes of the next hub");
}

#[test]
fn an_abandoned_stream_ends_with_its_socket() {
    let scene = Scene::new();
    let (stream, state, mut client) = park(&scene);
    scene.handle.send_link(LinkCommand::Abandon(stream));
    scene.eventually("it ends", || state.reason() == Some(Reason::Error));
    assert_eq!(client.read(&mut [0; 1]).expect("an end"), 0);
    assert_eq!(scene.handle.stats().open, 0);
}

#[test]
fn a_connection_that_nobody_uses_is_closed_when_everything_is_answered() {
    let (scene, connection, mut hub) = Scene::connected();
    let close = || {
        assert!(connection.remove_user());
        scene.handle.send_link(LinkCommand::Close(Arc::clone(&connection)));
    };
    scene.publish_as(&connection, UNAWAITED, 10);
    close();
    hub.next(|_| {});
    assert!(!connection.is_lost());
    assert!(connection.add_user(), "another object uses it");
    hub.answer(&Response::Published { request: UNAWAITED, id: "epoch-1" });
    let request = scene.publish(&connection, 10);
    hub.next(|_| {});
    hub.answer(&Response::Published { request, id: "epoch-2" });
    assert!(matches!(scene.wait(&connection, request), Ok(Reply::Id(_))));
    scene.publish_as(&connection, UNAWAITED, 10);
    close();
    hub.next(|_| {});
    hub.answer(&Response::Published { request: UNAWAITED, id: "epoch-3" });
    scene.eventually("it is closed", || connection.is_lost());
    assert!(!connection.add_user());
    assert_eq!(hub.socket.read(&mut [0; 1]).expect("an end"), 0);
    assert_eq!(scene.handle.stats().lost, [0; 7]);
}

/// Reads the requests that hand a stream over without its socket, and accepts its subscription.
fn take_over_without_socket(hub: &mut HubSide, expected: StreamId, sent: &[&[u8]]) {
    let mut all = vec![hub.next(|got| match got {
        Request::OpenWithoutSocket(open) => {
            assert_eq!(open.stream, expected.into());
            open.unsent.to_vec()
        }
        other => panic!("{other:?}"),
    })];
    all.append(&mut hub.accept_subscription(expected));
    assert_eq!(all, sent);
    assert!(hub.sockets.is_empty());
}

/// Checks that the hub gets the socket of a stream.
fn check_attached(hub: &mut HubSide, stream: StreamId, mut client: UnixStream) {
    hub.next(|got| assert_eq!(got, Request::Attach { stream: stream.into() }));
    let mut socket: UnixStream = hub.sockets.pop_front().flatten().expect("a socket").into();
    socket.write_all(b"of the hub").expect("a connection");
    client.read_exact(&mut [0; 10]).expect("the bytes of the hub");
}

#[test]
fn a_stream_without_a_socket_is_handed_over_at_once_and_its_socket_follows() {
    let (scene, connection, mut hub) = Scene::connected();
    let (stream, state) = scene.open_without_socket();
    let request = scene.subscribe(&connection, stream);
    // Later publishes come after the subscription.
    let published = scene.publish(&connection, 10);
    take_over_without_socket(&mut hub, stream, &[b"head"]);
    assert!(matches!(scene.wait(&connection, request), Ok(Reply::Done)));
    hub.next(|got| assert!(matches!(got, Request::Publish { request: number, .. } if number == published), "{got:?}"));
    assert_eq!((state.is_handed_over(), state.is_attached(), state.buffered_bytes()), (true, false, 0));
    scene.push(stream, &state, b"event");
    hub.next(|got| assert!(matches!(got, Request::Push { event: b"event", .. }), "{got:?}"));
    let client = scene.attach(stream, &state);
    check_attached(&mut hub, stream, client);
    assert_eq!((state.is_attached(), state.has_socket()), (true, false));
}

#[test]
fn an_event_that_a_stream_takes_along_is_counted() {
    let (scene, connection, mut hub) = Scene::connected();
    let (stream, state) = scene.open_without_socket();
    scene.push(stream, &state, b"event");
    scene.subscribe(&connection, stream);
    let event = SETTINGS.framing.frame(b"event");
    take_over_without_socket(&mut hub, stream, &[&[b"head", &event[..]].concat()]);
    assert_eq!((state.buffered_bytes(), scene.handle.stats().events), (0, 1));
}

#[test]
fn a_socket_that_comes_after_the_end_of_its_stream_is_closed() {
    let (scene, connection, mut hub) = Scene::connected();
    let (stream, state) = scene.open_without_socket();
    scene.subscribe(&connection, stream);
    take_over_without_socket(&mut hub, stream, &[b"head"]);
    hub.answer(&Response::Ended { stream: stream.into(), reason: Reason::Timeout });
    scene.eventually("the end is known", || state.reason() == Some(Reason::Timeout));
    let mut client = scene.attach(stream, &state);
    assert_eq!(client.read(&mut [0; 1]).expect("an end"), 0);
    assert!(!state.has_socket());
}

#[test]
fn a_stream_without_a_socket_that_was_not_sent_is_handed_over_anew() {
    for has_come in [false, true] {
        let scene = Scene::new();
        let (stream, state) = scene.open_without_socket();
        park_opened(&scene, stream, &state);
        let come = has_come.then(|| scene.attach(stream, &state));
        let (connection, mut hub) = scene.connect(2, WINDOW_BYTES);
        let request = scene.subscribe(&connection, stream);
        hub.next(|got| assert!(matches!(got, Request::OpenWithoutSocket(Open { unsent: b"head", .. })), "{got:?}"));
        hub.next(|got| assert!(matches!(got, Request::Push { event: b"before", .. }), "{got:?}"));
        if let Some(client) = come {
            check_attached(&mut hub, stream, client);
        }
        assert!(hub.accept_subscription(stream).is_empty());
        assert!(matches!(scene.wait(&connection, request), Ok(Reply::Done)));
        if !has_come {
            let client = scene.attach(stream, &state);
            check_attached(&mut hub, stream, client);
        }
    }
}

#[test]
fn a_mark_comes_after_what_was_queued_before_it() {
    let (scene, connection, mut hub) = Scene::connected();
    let (stream, state, _client) = scene.open();
    scene.hand_over(&connection, &mut hub, stream);
    let before = scene.handle.forwarded();
    scene.push(stream, &state, b"event");
    scene.publish_as(&connection, UNAWAITED, 10);
    assert_eq!(scene.handle.forwarded(), before + 1, "who queues a request counts it");
    scene.handle.send_link(LinkCommand::Mark { connection: Arc::clone(&connection), number: 7 });
    hub.next(|got| assert!(matches!(got, Request::Push { .. }), "{got:?}"));
    hub.next(|got| assert!(matches!(got, Request::Publish { .. }), "{got:?}"));
    hub.next(|got| assert_eq!(got, Request::Mark { number: 7, has_publishes: true }));
}

/// Reads everything that a client gets until its stream ends.
fn rest(mut client: UnixStream) -> String {
    client.set_read_timeout(Some(TIMEOUT)).expect("a socket");
    let mut text = String::new();
    client.read_to_string(&mut text).expect("an end");
    text
}

#[test]
fn a_stream_waits_in_the_reactor_until_the_connection_is_made() {
    let (scene, connection) = Scene::connecting();
    let (stream, state, mut client) = scene.open();
    let request = scene.subscribe(&connection, stream);
    let published = scene.publish(&connection, 10);
    scene.push(stream, &state, b"meanwhile");
    let pushed = SETTINGS.framing.frame(b"meanwhile");
    let mut got = vec![0; pushed.len()];
    client.read_exact(&mut got).expect("what was pushed");
    assert_eq!((got, state.is_handed_over()), (pushed.to_vec(), false));
    let mut hub = scene.connect_begun(&connection, HubSettings::default(), WINDOW_BYTES);
    let (mut socket, unsent) = hub.take_over(stream);
    hub.next(|got| assert!(matches!(got, Request::Publish { request: number, .. } if number == published), "{got:?}"));
    assert!(matches!(scene.wait(&connection, request), Ok(Reply::Done)));
    assert!(unsent.concat().is_empty() && state.is_handed_over());
    socket.write_all(b"alive").expect("a connection");
    client.read_exact(&mut [0; 5]).expect("the bytes of the hub");
}

#[test]
fn streams_that_wait_end_with_a_retry_if_the_connection_is_not_made() {
    let (scene, connection) = Scene::connecting();
    let (stream, state, client) = scene.open();
    let request = scene.subscribe(&connection, stream);
    connection.forget(request);
    let awaited = scene.publish(&connection, 10);
    scene.publish_as(&connection, UNAWAITED, 10);
    scene.handle.send_link(LinkCommand::Fail(Arc::clone(&connection)));
    assert!(rest(client).contains("retry: "));
    scene.eventually("it ends", || state.reason() == Some(Reason::Server));
    assert!(matches!(scene.wait(&connection, awaited), Err(Unanswered::Unsent(_))));
    assert_eq!(scene.handle.stats().lost[Reason::Error as usize], 1);
    assert!(connection.is_idle());
}

#[test]
fn a_stream_of_a_silent_hub_waits_until_its_time_is_over() {
    let (scene, connection, mut hub) = Scene::connected();
    let (first, first_state, _first_client) = scene.open();
    let request = scene.subscribe(&connection, first);
    scene.handle.send_link(LinkCommand::Await { connection: Arc::clone(&connection), request });
    let (late, late_state, late_client) = scene.open();
    connection.forget(scene.subscribe_to("news", &connection, late, Duration::ZERO, false));
    assert!(rest(late_client).contains("retry: "));
    let (next, next_state, _next_client) = scene.open();
    let subscribed = scene.subscribe(&connection, next);
    hub.take_over(first);
    assert!(matches!(scene.wait(&connection, request), Ok(Reply::Done)));
    hub.take_over(next);
    assert!(matches!(scene.wait(&connection, subscribed), Ok(Reply::Done)));
    let handed_over = [&first_state, &late_state, &next_state].map(|state| state.is_handed_over());
    assert_eq!(handed_over, [true, false, true]);
}

#[test]
fn subscriptions_of_a_handler_that_wait_begin_together_and_a_later_one_after_them() {
    let (scene, connection) = Scene::connecting();
    let (stream, _state, _client) = scene.open();
    let held = [(); 2].map(|()| scene.subscribe_to("news", &connection, stream, TIMEOUT, true));
    scene.handle.send_queued(Queued::Command(Command::BeginSubscription { stream }));
    let later = scene.subscribe(&connection, stream);
    let mut hub = scene.connect_begun(&connection, HubSettings::default(), WINDOW_BYTES);
    hub.next(|got| assert!(matches!(got, Request::Open(Open { holds: true, .. })), "{got:?}"));
    for request in held {
        hub.next(|got| assert!(matches!(got, Request::Subscribe { request: got, .. } if got == request)));
    }
    hub.next(|got| assert!(matches!(got, Request::Begin { stream: got } if got == u64::from(stream)), "{got:?}"));
    hub.next(|got| assert!(matches!(got, Request::Subscribe { request: got, .. } if got == later)));
}

#[test]
fn the_hub_process_is_told_of_the_subscription_of_a_stream_that_has_ended() {
    let (scene, connection, mut hub) = Scene::connected();
    let (stream, state, client) = scene.open();
    drop(client);
    scene.eventually("the end is known", || state.reason() == Some(Reason::Client));
    let request = scene.subscribe(&connection, stream);
    hub.next(|got| assert!(matches!(got, Request::Subscribe { request: got, .. } if got == request), "{got:?}"));
    hub.answer(&Response::Reply { request, result: Ok(Reply::Done) });
    assert!(matches!(scene.wait(&connection, request), Ok(Reply::Done)));
}

#[test]
fn a_stream_with_longer_names_than_a_message_may_have_does_not_wait_on() {
    let (scene, connection) = Scene::connecting();
    let (stream, state, client) = scene.open();
    connection.forget(scene.subscribe_to(&"x".repeat(1 << 25), &connection, stream, TIMEOUT, false));
    let _hub = scene.connect_begun(&connection, HubSettings::default(), WINDOW_BYTES);
    assert!(rest(client).contains("retry: "));
    assert!(!state.is_handed_over());
}

#[test]
fn a_subscription_that_is_refused_when_nobody_waits_any_more_ends_its_stream() {
    let (scene, connection, mut hub) = Scene::connected();
    let (stream, _state, _client) = scene.open();
    let request = scene.subscribe(&connection, stream);
    connection.forget(request);
    hub.next(|_| {});
    hub.next(|_| {});
    hub.answer(&Response::Reply { request, result: Err(Failure::new(ErrorCode::Invalid, Some("channels"), "no")) });
    hub.next(|got| {
        let is_end = matches!(got, Request::End { stream: got, reason: Reason::Error, .. } if got == u64::from(stream));
        assert!(is_end, "{got:?}");
    });
}

#[test]
fn a_publish_to_a_slow_store_delays_no_other_request() {
    let (scene, connection) = Scene::connecting();
    let settings = HubSettings { store: StoreSettings::Redis(Box::default()), ..HubSettings::default() };
    let mut hub = scene.connect_begun(&connection, settings, 10);
    scene.publish_as(&connection, UNAWAITED, 10); // spends the credits
    while connection.has_room(true) {
        scene.publish_as(&connection, UNAWAITED, 1 << 20);
    }
    scene.eventually("what waits for credits takes no room of other requests", || connection.has_room(false));
    assert!(!connection.is_idle());
    hub.next(|got| assert!(matches!(got, Request::Publish { .. }), "{got:?}"));
    let (stream, state, _client) = scene.open();
    let subscription = scene.subscribe(&connection, stream);
    scene.push(stream, &state, b"pushed");
    hub.take_over(stream);
    assert!(matches!(scene.wait(&connection, subscription), Ok(Reply::Done)));
    hub.next(|got| assert!(matches!(got, Request::Push { event: b"pushed", .. }), "{got:?}"));
    // A publish that is called waits for those that have no credits, another call does not.
    scene.handle.send_link(LinkCommand::Mark { connection: Arc::clone(&connection), number: 7 });
    hub.next(|got| assert_eq!(got, Request::Mark { number: 7, has_publishes: false }));
    hub.answer(&Response::Credits { bytes: 1 << 30 });
    let mut publishes = 0;
    while hub.next(|got| got != Request::Mark { number: 7, has_publishes: true }) {
        publishes += 1;
    }
    assert!(publishes > 1, "the mark for publishes comes after them");
}
