//! A reactor with scripted clients and a clock of its own, which keeps the accounts: nothing that was pushed or added is
//! ever unaccounted for.

use super::*;
use std::collections::VecDeque;

/// A client: what the system says of its socket, and what it has received.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// What the next calls of `send` take or fail with; when that is used up, `always`.
    pub(crate) sends: VecDeque<Result<usize, i32>>,
    pub(crate) always: Option<Result<usize, i32>>,
    /// What the next calls of `drain` say; when that is used up, that there is nothing now.
    pub(crate) drains: VecDeque<Result<usize, i32>>,
    pub(crate) drains_for_ever: Option<usize>,
    /// What adding it to the set fails with, and asking when it takes bytes.
    pub(crate) add_fails: Option<i32>,
    pub(crate) ask_fails: Option<i32>,
    pub(crate) received: Vec<u8>,
    /// How many bytes of what it has received have been taken out.
    pub(crate) taken_bytes: usize,
    pub(crate) send_calls: usize,
    pub(crate) drain_calls: usize,
    pub(crate) most_blocks: usize,
    pub(crate) is_added: bool,
    pub(crate) is_asked: bool,
    pub(crate) is_finished: bool,
    pub(crate) is_closed: bool,
}

/// The system's side of all clients; a socket is the client's number.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) clients: Vec<Client>,
    /// Whether few descriptors are left.
    pub(crate) is_short: bool,
}

#[derive(Debug)]
pub(crate) struct Socket(pub(crate) usize);

impl Client {
    /// What it has received since that was asked last.
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
        assert!(!client.is_closed, "a closed socket is used");
        client
    }
}

impl Io for Script {
    type Socket = Socket;

    fn register(&mut self, socket: &Socket, _: StreamId) -> io::Result<()> {
        let client = self.open(socket);
        client.is_added = client.add_fails.is_none();
        client.add_fails.map_or(Ok(()), |errno| Err(failed(errno)))
    }

    fn watch_writable(&mut self, socket: &Socket, _: StreamId, writable: bool) -> io::Result<()> {
        let client = self.open(socket);
        if !client.is_added {
            return Err(failed(libc::ENOENT));
        }
        client.is_asked = writable;
        client.ask_fails.map_or(Ok(()), |errno| Err(failed(errno)))
    }

    fn send(&mut self, socket: &Socket, blocks: &[IoSlice<'_>]) -> io::Result<usize> {
        let client = self.open(socket);
        assert!(!client.is_finished, "something is sent after the end");
        assert!(!blocks.is_empty() && blocks.iter().all(|block| !block.is_empty()), "nothing is sent");
        client.send_calls += 1;
        client.most_blocks = client.most_blocks.max(blocks.len());
        let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.iter().copied()).collect();
        match client.sends.pop_front().or(client.always).unwrap_or(Ok(usize::MAX)) {
            Ok(count) => {
                let count = count.min(bytes.len());
                client.received.extend_from_slice(&bytes[..count]);
                Ok(count)
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    fn discard_input(&mut self, socket: &Socket) -> io::Result<usize> {
        let client = self.open(socket);
        client.drain_calls += 1;
        assert!(client.drain_calls < 1_000_000, "one client holds all others up");
        let says = client.drains.pop_front().or(client.drains_for_ever.map(Ok));
        says.unwrap_or(Err(libc::EAGAIN)).map_err(failed)
    }

    fn may_linger(&self) -> bool {
        !self.is_short
    }

    fn shutdown(&mut self, socket: &Socket) {
        self.open(socket).is_finished = true;
    }

    fn close(&mut self, socket: Socket) {
        self.open(&socket).is_closed = true;
    }
}

/// What is known of a stream from its commands and answers.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) id: StreamId,
    pub(crate) client: Option<usize>,
    pub(crate) framing: Framing,
    /// Bytes of the head and of events.
    pub(crate) pushed_bytes: usize,
    pub(crate) pushed_events: usize,
    pub(crate) added_bytes: usize,
    pub(crate) sent: Lost,
    pub(crate) lost: Lost,
    pub(crate) ended: Option<Reason>,
    pub(crate) is_closed: bool,
    /// Whether it is sent events that were not pushed to it.
    pub(crate) follows: bool,
}

/// A reactor, its clients, the time.
pub(crate) struct World {
    pub(crate) reactor: Reactor<Script>,
    pub(crate) now: Instant,
    /// What a hub has answered last.
    pub(crate) counts: Option<crate::hub::Counts>,
    pub(crate) accounts: Vec<Account>,
    pub(crate) finished: usize,
    pub(crate) longest_stall: Duration,
    free: Vec<u32>,
    used: u32,
    /// The streams that were not closed when that was looked at last.
    living: Vec<usize>,
}

/// What most tests begin with.
pub(crate) fn settings() -> Settings {
    Settings {
        framing: Framing::Plain,
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
            accounts: Vec::new(),
            counts: None,
            finished: 0,
            longest_stall: Duration::ZERO,
            free: Vec::new(),
            used: 0,
            living: Vec::new(),
        }
    }

    /// A stream without a socket; its number. Places are used again as in a process.
    pub(crate) fn open_without_socket(&mut self, settings: Settings, head: &str) -> usize {
        self.open_as(settings, head, None, false)
    }

    /// A stream with a client of its own; the number of both is in its account.
    pub(crate) fn open(&mut self, settings: Settings, head: &str) -> usize {
        let client = self.new_client();
        self.open_as(settings, head, Some(client), false)
    }

    pub(crate) fn new_client(&mut self) -> usize {
        self.reactor.io().clients.push(Client::default());
        self.reactor.io().clients.len() - 1
    }

    pub(crate) fn open_as(&mut self, settings: Settings, head: &str, client: Option<usize>, inherited: bool) -> usize {
        let slot = self.free.pop().unwrap_or(self.used);
        self.used = self.used.max(slot + 1);
        let stream = StreamId { slot, serial: self.accounts.len() as u32 + 1 };
        self.accounts.push(Account {
            id: stream,
            client,
            framing: settings.framing,
            pushed_bytes: head.len(),
            pushed_events: 0,
            added_bytes: 0,
            sent: Lost::default(),
            lost: Lost::default(),
            ended: None,
            is_closed: false,
            follows: false,
        });
        self.living.push(self.accounts.len() - 1);
        let head = Bytes::copy_from_slice(head.as_bytes());
        let beginning = Box::new(Beginning { settings, head, is_inherited: inherited });
        let open = Command::Open { stream, beginning };
        self.reactor.apply(open, client.map(Socket), self.now);
        self.accounts.len() - 1
    }

    pub(crate) fn attach(&mut self, stream: usize) -> usize {
        let client = self.new_client();
        self.accounts[stream].client = Some(client);
        self.reactor.apply(Command::Attach { stream: self.accounts[stream].id }, Some(Socket(client)), self.now);
        client
    }

    pub(crate) fn push(&mut self, stream: usize, event: &[u8]) {
        let account = &mut self.accounts[stream];
        account.pushed_bytes += event.len();
        account.pushed_events += 1;
        let push = Command::Push { stream: account.id, event: Bytes::copy_from_slice(event) };
        self.reactor.apply(push, None, self.now);
    }

    pub(crate) fn end(&mut self, stream: usize, reason: Reason, ending: Ending) {
        self.tell(Command::End { stream: self.accounts[stream].id, reason, ending });
    }

    pub(crate) fn tell(&mut self, command: Command) {
        self.reactor.apply(command, None, self.now);
    }

    pub(crate) fn client(&mut self, stream: usize) -> &mut Client {
        let client = self.accounts[stream].client.expect("it has a client");
        &mut self.reactor.io().clients[client]
    }

    pub(crate) fn received(&mut self, stream: usize) -> String {
        String::from_utf8(self.client(stream).received.clone()).expect("only text is pushed")
    }

    pub(crate) fn ready(&mut self, stream: usize, ready: Ready) {
        self.reactor.ready(self.accounts[stream].id, ready, self.now);
    }

    pub(crate) fn writable(&mut self, stream: usize) {
        self.ready(stream, Ready { writable: true, ..Ready::default() });
    }

    pub(crate) fn readable(&mut self, stream: usize) {
        self.ready(stream, Ready { readable: true, ..Ready::default() });
    }

    /// A turn of the reactor's thread: what is due, then what is to be sent.
    pub(crate) fn turn(&mut self) {
        self.reactor.fire(self.now);
        self.reactor.flush(self.now);
        self.account();
    }

    /// What a hub does before it answers: all that was published goes out.
    pub(crate) fn flush(&mut self) {
        self.reactor.flush(self.now);
        self.account();
    }

    /// Turns until there is nothing to send at once.
    pub(crate) fn settle(&mut self) {
        self.turn();
        while self.reactor.is_busy() {
            self.turn();
        }
    }

    /// Lets time pass as the reactor's thread would see it: it wakes whenever something is due.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.settle();
        let until = self.now + time;
        while let Some(due) = self.reactor.next_due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            let before = self.reactor.next_due();
            self.settle();
            assert!(self.reactor.next_due() != before, "what was due is done");
        }
        self.now = until;
    }

    /// Takes the answers, and checks that every byte is accounted for.
    fn account(&mut self) {
        let answers: Vec<Answer> = self.reactor.answers().collect();
        for answer in answers {
            match answer {
                Answer::Buffered { stream, bytes } => self.living(stream).added_bytes += bytes,
                Answer::Sent { stream, bytes, events, log_bytes } => {
                    self.living(stream).added_bytes += log_bytes;
                    let sent = &mut self.living(stream).sent;
                    sent.bytes += bytes;
                    sent.events += events;
                }
                Answer::Lost { stream, lost } => {
                    let account = self.named(stream);
                    assert!(!account.is_closed || lost.events == 1, "after its end it loses what is pushed to it");
                    account.lost.bytes += lost.bytes;
                    account.lost.events += lost.events;
                }
                Answer::Ended { stream, reason } => {
                    assert_eq!(self.living(stream).ended.replace(reason), None, "a stream ends once");
                }
                Answer::Closed { stream } => {
                    let account = self.living(stream);
                    assert!(account.ended.is_some(), "before its seq is free a stream has ended");
                    account.is_closed = true;
                    self.free.push(stream.slot);
                }
                Answer::Stalled { stream } => {
                    let account = self.living(stream);
                    assert!(account.ended.is_none(), "only what goes on can be stalled");
                }
                Answer::Unstalled { stalled_for } => self.longest_stall = self.longest_stall.max(stalled_for),
                Answer::Counted { counts, .. } => self.counts = Some(*counts),
                Answer::TopicsRemoved { .. } => {} // for the one who counts them
                Answer::ShutdownComplete => self.finished += 1,
            }
        }
        self.check();
    }

    fn named(&mut self, id: StreamId) -> &mut Account {
        // Serials are given in order, from 1 on.
        let account = self.accounts.get_mut(id.serial as usize - 1).filter(|account| account.id == id);
        account.expect("answers name streams that there are")
    }

    fn living(&mut self, id: StreamId) -> &mut Account {
        let account = self.named(id);
        assert!(!account.is_closed, "an answer after the last");
        account
    }

    fn check(&mut self) {
        let Self { reactor, accounts, living, .. } = self;
        for account in living.iter().map(|stream| &accounts[*stream]) {
            let entry = reactor.entry(account.id);
            assert_eq!(entry.is_none(), account.is_closed);
            let waiting = entry.map_or(0, |entry| entry.stream.buffered_bytes());
            assert_eq!(
                account.pushed_bytes + account.added_bytes,
                account.sent.bytes + account.lost.bytes + waiting,
                "{account:?}"
            );
            if account.ended.is_some() && !account.follows {
                assert_eq!(account.pushed_events, account.sent.events + account.lost.events, "{account:?}");
            }
            if let Some(client) = account.client {
                let client = &reactor.io.clients[client];
                assert_eq!(client.taken_bytes + client.received.len(), account.sent.bytes);
                assert_eq!(client.is_closed, account.is_closed, "a socket is let go of when its seq is free");
            }
        }
        living.retain(|stream| !accounts[*stream].is_closed);
        let open = living.iter().filter(|stream| accounts[**stream].ended.is_none()).count();
        assert_eq!(reactor.open_streams, open);
    }
}
