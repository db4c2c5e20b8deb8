//! A reactor with scripted clients and a scripted clock. After each turn it checks that every byte and every event is
//! sent, lost or still buffered.

use super::*;
use crate::compression::{Body, ContentCoding};
use crate::event::has_id_line;
use crate::hub::{Call, PresenceChange, Question, Reply};
use std::collections::VecDeque;

/// A client: the scripted results of its socket's calls, and what it has received.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// The results of the next calls of `send`: a number of bytes, or an error number.
    pub(crate) sends: VecDeque<Result<usize, i32>>,
    /// The result of every further call of `send`. `None` takes everything.
    pub(crate) default_send: Option<Result<usize, i32>>,
    /// The results of the next calls of `discard_input`.
    pub(crate) reads: VecDeque<Result<usize, i32>>,
    /// The result of every further call of `discard_input`. `None` has nothing to read.
    pub(crate) reads_forever: Option<usize>,
    /// The error of `register`.
    pub(crate) register_fails: Option<i32>,
    /// The error of `watch_writable`.
    pub(crate) watch_fails: Option<i32>,
    /// The number of bytes that it has still to take of those that its socket has taken.
    pub(crate) untaken: usize,
    /// For how many bytes it has room.
    pub(crate) window: u32,
    /// The number of times that its window was looked at.
    pub(crate) looks: usize,
    /// True if its socket is a Unix socket, which counts more than the bytes that it has taken.
    pub(crate) is_local: bool,
    /// True if the kernel's timer runs.
    pub(crate) is_kernel_impatient: bool,
    /// The bytes that it had been sent when its socket was uncorked.
    pub(crate) uncorked_at: Option<usize>,
    pub(crate) received: Vec<u8>,
    /// The number of received bytes that were taken out of `received`.
    pub(crate) taken_bytes: usize,
    pub(crate) send_calls: usize,
    pub(crate) read_calls: usize,
    pub(crate) most_blocks: usize,
    pub(crate) is_registered: bool,
    pub(crate) is_watched: bool,
    pub(crate) is_shut_down: bool,
    pub(crate) is_closed: bool,
}

/// The scripted system calls of all clients. A socket is the client's number.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) clients: Vec<Client>,
    /// True if few descriptors are free.
    pub(crate) is_short: bool,
}

#[derive(Debug)]
pub(crate) struct Socket(pub(crate) usize);

impl Client {
    /// Takes what the client has received since the last call.
    pub(crate) fn take_received(&mut self) -> Vec<u8> {
        self.taken_bytes += self.received.len();
        std::mem::take(&mut self.received)
    }
}

fn failed(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl Script {
    fn open(&mut self, socket: &Socket) -> &mut Client {
        let client = &mut self.clients[socket.0];
        assert!(!client.is_closed, "a call on a closed socket");
        client
    }
}

impl Io for Script {
    type Socket = Socket;

    fn register(&mut self, socket: &Socket, _: StreamId) -> io::Result<()> {
        let client = self.open(socket);
        client.is_registered = client.register_fails.is_none();
        client.register_fails.map_or(Ok(()), |errno| Err(failed(errno)))
    }

    fn watch_writable(&mut self, socket: &Socket, _: StreamId, writable: bool) -> io::Result<()> {
        let client = self.open(socket);
        if !client.is_registered {
            return Err(failed(libc::ENOENT));
        }
        client.is_watched = writable;
        client.watch_fails.map_or(Ok(()), |errno| Err(failed(errno)))
    }

    fn send(&mut self, socket: &Socket, blocks: &[IoSlice<'_>]) -> io::Result<usize> {
        let client = self.open(socket);
        assert!(!client.is_shut_down, "bytes sent after the socket was shut down");
        assert!(!blocks.is_empty() && blocks.iter().all(|block| !block.is_empty()), "an empty block sent");
        client.send_calls += 1;
        client.most_blocks = client.most_blocks.max(blocks.len());
        let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.iter().copied()).collect();
        match client.sends.pop_front().or(client.default_send).unwrap_or(Ok(usize::MAX)) {
            Ok(count) => {
                let count = count.min(bytes.len());
                client.received.extend_from_slice(&bytes[..count]);
                Ok(count)
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    fn untaken_bytes(&mut self, socket: &Socket) -> usize {
        self.open(socket).untaken
    }

    fn window(&mut self, socket: &Socket) -> Option<u32> {
        let client = self.open(socket);
        client.looks += 1;
        Some(client.window).filter(|_| !client.is_local)
    }

    fn set_tcp_user_timeout(&mut self, socket: &Socket, _timeout: Duration) {
        self.open(socket).is_kernel_impatient = true;
    }

    fn uncork(&mut self, socket: &Socket) {
        let client = self.open(socket);
        client.uncorked_at = Some(client.taken_bytes + client.received.len());
    }

    fn discard_input(&mut self, socket: &Socket) -> io::Result<usize> {
        let client = self.open(socket);
        client.read_calls += 1;
        assert!(client.read_calls < 1_000_000, "one client holds up all others");
        let result = client.reads.pop_front().or(client.reads_forever.map(Ok));
        result.unwrap_or(Err(libc::EAGAIN)).map_err(failed)
    }

    fn may_linger(&self) -> bool {
        !self.is_short
    }

    fn shutdown(&mut self, socket: &Socket) {
        self.open(socket).is_shut_down = true;
    }

    fn unregister(&mut self, _: &Socket) {}

    fn close(&mut self, socket: Socket) {
        self.open(&socket).is_closed = true;
    }
}

/// A stream as its commands and answers describe it.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: StreamId,
    pub(crate) client: Option<usize>,
    pub(crate) framing: Framing,
    /// The bytes of the head and of pushed events.
    pub(crate) pushed_bytes: usize,
    pub(crate) pushed_events: usize,
    /// The bytes that the reactor has buffered by itself or sent from a log.
    pub(crate) added_bytes: usize,
    /// The bytes by which encoding has made its buffer smaller.
    pub(crate) shrunk_bytes: usize,
    pub(crate) sent: Discarded,
    pub(crate) lost: Discarded,
    pub(crate) ended: Option<Reason>,
    pub(crate) is_closed: bool,
    /// True if the stream may be sent events that were not pushed to it.
    pub(crate) is_subscribed: bool,
}

/// A reactor, its clients and the time.
pub(crate) struct World {
    pub(crate) reactor: Reactor<Script>,
    pub(crate) now: Instant,
    /// The reports of members and wills.
    pub(crate) presence: Vec<(StreamId, String)>,
    /// The last answer of a hub.
    answer: Option<crate::hub::Answer>,
    pub(crate) records: Vec<Record>,
    pub(crate) longest_stall: Duration,
    /// The number of streams that are stalled, by the answers.
    pub(crate) stalled: i32,
    free_slots: Vec<u32>,
    used_slots: u32,
    /// The streams that were not closed at the last check.
    open_records: Vec<usize>,
}

/// The settings of most tests.
pub(crate) fn settings() -> Settings {
    Settings {
        framing: Framing::Plain,
        coding: ContentCoding::Identity,
        line_end: LineEnd::Lf,
        keepalive: Some(Duration::from_secs(15)),
        timeout: Duration::from_secs(60),
        max_buffered: 1000,
        drop_oldest: false,
        retry: Duration::from_secs(3),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            reactor: Reactor::new(Script::default(), now),
            now,
            records: Vec::new(),
            presence: Vec::new(),
            answer: None,
            longest_stall: Duration::ZERO,
            stalled: 0,
            free_slots: Vec::new(),
            used_slots: 0,
            open_records: Vec::new(),
        }
    }

    /// Opens a stream without a socket. Returns its number. Slots are reused as in a process.
    pub(crate) fn open_without_socket(&mut self, settings: Settings, head: &str) -> usize {
        self.open_as(settings, head, None, false)
    }

    /// Opens a stream with a client. Returns the stream's number.
    pub(crate) fn open(&mut self, settings: Settings, head: &str) -> usize {
        let client = self.new_client();
        self.open_as(settings, head, Some(client), false)
    }

    pub(crate) fn new_client(&mut self) -> usize {
        self.reactor.io().clients.push(Client::default());
        self.reactor.io().clients.len() - 1
    }

    pub(crate) fn open_as(&mut self, settings: Settings, head: &str, client: Option<usize>, inherited: bool) -> usize {
        let head = [head.as_bytes(), &settings.framing.frame(settings.coding.beginning())].concat().into();
        let (content, body, liveness) = (Bytes::new(), Body::default(), None);
        let is_inherited = inherited;
        self.open_init(StreamInit { settings, head, content, body, is_inherited, members_of: None, liveness }, client)
    }

    /// Opens the streams that another reactor hands over, with clients that take as much as theirs.
    pub(crate) fn resume(&mut self, other: &mut Self) {
        let mut all = Vec::new();
        other
            .reactor
            .hand_over_liveness(other.now, |id, liveness| all.push((id, Some(Box::new((other.now, liveness))))));
        for (id, liveness) in all {
            let (settings, unsent) = other
                .reactor
                .record(id)
                .map(|record| (*record.stream.settings(), record.stream.unsent()))
                .expect("a stream");
            let client = other.records.iter().find(|record| record.id == id).and_then(|record| record.client);
            let Client { default_send, untaken, .. } = other.reactor.io().clients[client.expect("a client")];
            let client = self.new_client();
            self.reactor.io().clients[client] = Client { default_send, untaken, ..Client::default() };
            let (head, content, body) = (unsent.into(), Bytes::new(), Body::default());
            let init = StreamInit { settings, head, content, body, is_inherited: false, members_of: None, liveness };
            self.open_init(init, Some(client));
        }
    }

    fn open_init(&mut self, init: StreamInit, client: Option<usize>) -> usize {
        let slot = self.free_slots.pop().unwrap_or(self.used_slots);
        self.used_slots = self.used_slots.max(slot + 1);
        let stream = StreamId { slot, serial: self.records.len() as u32 + 1 };
        self.records.push(Record {
            id: stream,
            client,
            framing: init.settings.framing,
            pushed_bytes: init.head.len(),
            pushed_events: 0,
            added_bytes: 0,
            shrunk_bytes: 0,
            sent: Discarded::default(),
            lost: Discarded::default(),
            ended: None,
            is_closed: false,
            is_subscribed: false,
        });
        self.open_records.push(self.records.len() - 1);
        let open = Command::Open { stream, init: Arc::new(init) };
        self.reactor.apply(open, client.map(Socket), self.now);
        self.records.len() - 1
    }

    pub(crate) fn attach(&mut self, stream: usize) -> usize {
        self.attach_with(stream, |_| ())
    }

    pub(crate) fn attach_with(&mut self, stream: usize, prepare: impl FnOnce(&mut Client)) -> usize {
        let client = self.new_client();
        prepare(&mut self.reactor.io().clients[client]);
        self.records[stream].client = Some(client);
        self.reactor.apply(Command::Attach { stream: self.records[stream].id }, Some(Socket(client)), self.now);
        client
    }

    pub(crate) fn push(&mut self, stream: usize, event: &[u8]) {
        let record = &mut self.records[stream];
        record.pushed_bytes += event.len();
        record.pushed_events += 1;
        let push =
            Command::Push { stream: record.id, event: Bytes::copy_from_slice(event), has_id: has_id_line(event) };
        self.reactor.apply(push, None, self.now);
    }

    pub(crate) fn end(&mut self, stream: usize, reason: Reason, ending: Ending) {
        self.apply(Command::End { stream: self.records[stream].id, reason, ending });
    }

    pub(crate) fn apply(&mut self, command: Command) {
        self.reactor.apply(command, None, self.now);
    }

    /// Asks a hub for the reply to a call.
    pub(crate) fn call(&mut self, hub: HubId, call: Call, at: u64) -> Reply {
        self.ask(hub, Question::Call { call, at }).reply()
    }

    pub(crate) fn ask(&mut self, hub: HubId, question: Question) -> crate::hub::Answer {
        self.apply(Command::Ask { hub, request_id: 1, question: Box::new(question) });
        self.record_answers();
        self.answer.take().expect("an answer")
    }

    /// Lets a client read again that took nothing.
    pub(crate) fn unblock(&mut self, stream: usize) {
        self.client(stream).default_send = None;
        self.writable(stream);
        self.run_until_idle();
    }

    pub(crate) fn client(&mut self, stream: usize) -> &mut Client {
        let client = self.records[stream].client.expect("the stream has a client");
        &mut self.reactor.io().clients[client]
    }

    pub(crate) fn received(&mut self, stream: usize) -> String {
        String::from_utf8(self.client(stream).received.clone()).expect("only text is pushed")
    }

    pub(crate) fn ready(&mut self, stream: usize, ready: Ready) {
        self.reactor.handle_readiness(self.records[stream].id, ready, self.now);
    }

    pub(crate) fn writable(&mut self, stream: usize) {
        self.ready(stream, Ready { writable: true, ..Ready::default() });
    }

    pub(crate) fn readable(&mut self, stream: usize) {
        self.ready(stream, Ready { readable: true, ..Ready::default() });
    }

    /// Runs one turn of the reactor's thread.
    pub(crate) fn turn(&mut self) {
        self.reactor.run_due(self.now);
        self.reactor.flush(self.now);
        self.record_answers();
    }

    /// Sends what was published, as some commands do first.
    pub(crate) fn flush(&mut self) {
        self.reactor.flush(self.now);
        self.record_answers();
    }

    /// Runs turns until nothing can be sent.
    pub(crate) fn run_until_idle(&mut self) {
        self.turn();
        while self.reactor.is_busy() {
            self.turn();
        }
    }

    /// Advances the time. The reactor wakes whenever something is due, as in its thread.
    pub(crate) fn advance(&mut self, time: Duration) {
        self.run_until_idle();
        let until = self.now + time;
        while let Some(due) = self.reactor.next_due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            let before = self.reactor.next_due();
            self.run_until_idle();
            assert!(self.reactor.next_due() != before, "fire has done what was due");
        }
        self.now = until;
    }

    /// Hands all streams over, and continues those at rest as another program does. For their clients nothing may change, and
    /// for the others nothing changes until the program is executed.
    pub(crate) fn upgrade(&mut self) {
        self.turn();
        let mut resting = Vec::new();
        self.reactor.hand_over(!self.reactor.is_shutting_down, self.now, |id, _, continuation| {
            if let Continuation::Subscribed { subscription, .. } = continuation {
                resting.push((id, Box::new(subscription)));
            }
        });
        // The other program drains its hub when that has its streams.
        let drained = self.reactor.hubs.0.iter().filter(|(_, state)| state.is_draining).map(|(hub, _)| *hub);
        let drained: Vec<HubId> = drained.collect();
        drained.iter().for_each(|hub| self.apply(Command::SetDraining { hub: *hub, is_draining: false }));
        for (stream, request) in resting {
            let record = self.reactor.record(stream).expect("it was handed over");
            let hub = record.subscription.as_ref().expect("it is subscribed").hub;
            self.reactor.drop_subscription(stream);
            self.apply(Command::Subscribe { hub, stream, request, holds: false });
        }
        drained.iter().for_each(|hub| self.apply(Command::SetDraining { hub: *hub, is_draining: true }));
        self.record_answers();
    }

    /// Takes the answers, and checks the records.
    pub(crate) fn record_answers(&mut self) {
        let answers: Vec<Answer> = self.reactor.take_answers().collect();
        for answer in answers {
            match answer {
                Answer::Answered { answer, .. } => self.answer = Some(answer),
                Answer::Buffered { stream, bytes } => self.open_record(stream).added_bytes += bytes,
                Answer::Sent { stream, bytes, events, log_bytes } => {
                    self.open_record(stream).added_bytes += log_bytes;
                    let sent = &mut self.open_record(stream).sent;
                    sent.bytes += bytes;
                    sent.events += events;
                }
                Answer::Shrunk { stream, bytes } => self.open_record(stream).shrunk_bytes += bytes,
                Answer::Lost { stream, lost, .. } => {
                    let record = self.record(stream);
                    assert!(!record.is_closed || lost.events == 1, "a closed stream loses one event for each push");
                    record.lost.bytes += lost.bytes;
                    record.lost.events += lost.events;
                }
                Answer::Ended { stream, reason } => {
                    assert_eq!(self.open_record(stream).ended.replace(reason), None, "a stream ends once");
                }
                Answer::Closed { stream } => {
                    let record = self.open_record(stream);
                    assert!(record.ended.is_some(), "a slot is freed only after its stream has ended");
                    record.is_closed = true;
                    self.free_slots.push(stream.slot);
                }
                Answer::Stalled { stream } => {
                    self.stalled += 1;
                    let record = self.open_record(stream);
                    assert!(record.ended.is_none(), "only an open stream stalls");
                }
                Answer::Unstalled { stalled_for } => {
                    self.stalled -= 1;
                    self.longest_stall = self.longest_stall.max(stalled_for);
                }
                Answer::TopicsRemoved { .. } => {} // the stream's handle counts them
                Answer::Presence { stream, change, .. } => {
                    let shown = match change {
                        PresenceChange::Entered(member) => {
                            let linger = Some(member.linger).filter(|linger| *linger > Duration::ZERO);
                            let linger = linger.map_or_else(String::new, |linger| format!(" for {linger:?}"));
                            format!("enters {}{linger}", String::from_utf8_lossy(&member.id))
                        }
                        PresenceChange::Willed(_) => "has a will".into(),
                        PresenceChange::Left { is_by_application: true } => "leaves by the application".into(),
                        PresenceChange::Left { is_by_application: false } => "leaves".into(),
                        PresenceChange::Away { .. } => unreachable!("its hub says that"),
                    };
                    self.presence.push((stream, shown));
                }
            }
        }
        self.check();
    }

    fn record(&mut self, id: StreamId) -> &mut Record {
        // Serial numbers are given in order from 1.
        let record = self.records.get_mut(id.serial as usize - 1).filter(|record| record.id == id);
        record.expect("an answer names a stream that was opened")
    }

    fn open_record(&mut self, id: StreamId) -> &mut Record {
        let record = self.record(id);
        assert!(!record.is_closed, "no answer follows Closed");
        record
    }

    fn check(&mut self) {
        let Self { reactor, records, open_records, .. } = self;
        let mut stalled = 0;
        for record in open_records.iter().map(|stream| &records[*stream]) {
            let entry = reactor.record(record.id);
            assert_eq!(entry.is_none(), record.is_closed);
            stalled += i32::from(entry.as_ref().map_or(false, |entry| entry.stream.stalled_since().is_some()));
            let buffered = entry.map_or(0, |entry| entry.stream.buffered_bytes());
            assert_eq!(
                record.pushed_bytes + record.added_bytes,
                record.sent.bytes + record.lost.bytes + record.shrunk_bytes + buffered,
                "{record:?}"
            );
            if record.ended.is_some() && !record.is_subscribed {
                assert_eq!(record.pushed_events, record.sent.events + record.lost.events, "{record:?}");
            }
            if let Some(client) = record.client {
                let client = &reactor.io.clients[client];
                assert_eq!(client.taken_bytes + client.received.len(), record.sent.bytes);
                assert_eq!(client.is_closed, record.is_closed, "a socket is closed when its slot is freed");
            }
        }
        assert_eq!(self.stalled, stalled, "each stalled stream counts once");
        open_records.retain(|stream| !records[*stream].is_closed);
        let open = open_records.iter().filter(|stream| records[**stream].ended.is_none()).count();
        assert_eq!(reactor.open_streams, open);
    }
}
