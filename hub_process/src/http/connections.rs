//! HTTP clients, until they are streams or have their answer: the heads of their requests, and their connections.
//!
//! Each connection has one request. It has a time for its head, and a time to take the answer and to close its side. If there
//! are too many, one that has its answer makes room, or else the one that has sent no whole head for the longest time. So a
//! client that is slow or hostile delays neither another one nor the hub, and takes no descriptor that a worker needs.

use eventsource_xs::remote::calls::{Epoll, Readiness};
use rustix::io::Errno;
use rustix::net::{recv, send, shutdown, RecvFlags, SendFlags, Shutdown};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The time that a client may take for its answer, and to close its side then.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// The numbers of connections in the epoll set begin here.
pub const FIRST_NUMBER: u64 = 1 << 63;

/// For whom a connection was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Streams,
    Metrics,
}

impl Service {
    /// The most connections that are no streams. All together have [`Descriptors::for_clients`].
    ///
    /// [`Descriptors::for_clients`]: crate::listening::Descriptors::for_clients
    fn most(self) -> usize {
        match self {
            Self::Streams => 1024,
            Self::Metrics => 16,
        }
    }

    /// The time that a client may take to send its head.
    fn head_time(self) -> Duration {
        match self {
            Self::Streams => Duration::from_secs(10),
            Self::Metrics => Duration::from_secs(2),
        }
    }
}

/// A client, and what it has sent.
#[derive(Debug)]
pub struct Client {
    pub socket: OwnedFd,
    pub service: Service,
    /// The bytes of its head, as far as they have come.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    deadline: Instant,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Reads,
    /// The answer, how much of it was sent, and whether the client may still send something.
    Writes {
        answer: Vec<u8>,
        sent: usize,
        is_complete: bool,
    },
    /// Until the client closes its side. If the connection were closed with unread bytes, it would be reset, and the client
    /// could lose the answer.
    Ends,
}

/// The connections by their numbers.
#[derive(Debug)]
pub struct Connections {
    open: HashMap<u64, Connection>,
    /// When the time is up of those that end, that read their heads and that write.
    deadlines: [BTreeSet<(Instant, u64)>; 3],
    next: u64,
}

impl Connections {
    pub fn new() -> Self {
        Self { open: HashMap::new(), deadlines: Default::default(), next: FIRST_NUMBER }
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    fn insert(&mut self, number: u64, connection: Connection) {
        self.deadlines[connection.rank()].insert((connection.deadline, number));
        self.open.insert(number, connection);
    }

    fn remove(&mut self, number: u64) -> Option<Connection> {
        let connection = self.open.remove(&number)?;
        self.deadlines[connection.rank()].remove(&(connection.deadline, number));
        Some(connection)
    }

    /// Returns when [`run_timers`](Self::run_timers) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.next_deadline().map(|(deadline, _)| deadline)
    }

    fn next_deadline(&self) -> Option<(Instant, u64)> {
        self.deadlines.iter().filter_map(|deadlines| deadlines.iter().next().copied()).min()
    }

    /// Closes the connections whose time is up. Those that have sent no whole head are sent an answer, if they take it at once.
    pub fn run_timers(&mut self, now: Instant, too_late: impl Fn() -> Vec<u8>) {
        while let Some((_, number)) = self.next_deadline().filter(|(deadline, _)| *deadline <= now) {
            let overdue = self.remove(number).filter(|connection| matches!(connection.progress, Progress::Reads));
            if let Some(connection) = overdue {
                let _ = send(&connection.client.socket, &too_late(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            }
        }
    }

    /// Takes a connection that was accepted. Returns the client if its head is there already, as that of a proxy is.
    pub fn add(&mut self, socket: OwnedFd, service: Service, epoll: &Epoll, now: Instant) -> Option<Client> {
        let client = Client { socket, service, bytes: Vec::new() };
        let mut connection = Connection { client, deadline: now + service.head_time(), progress: Progress::Reads };
        match connection.read() {
            Step::Done => {}
            Step::Request => return Some(connection.client),
            Step::Waits => self.keep(connection, epoll),
        }
        None
    }

    /// Waits for a connection from here on.
    fn keep(&mut self, connection: Connection, epoll: &Epoll) {
        let Client { socket, service, .. } = &connection.client;
        self.make_room(*service);
        let mut added = epoll.add(socket.as_fd(), self.next);
        if matches!(connection.progress, Progress::Writes { .. }) {
            added = added.and_then(|()| epoll.ask_for_room(socket.as_fd(), self.next));
        }
        // Without memory in the kernel the connection is closed.
        if added.is_ok() {
            self.insert(self.next, connection);
            self.next += 1;
        }
    }

    /// Closes a connection of a service if it has as many as it may have.
    fn make_room(&mut self, service: Service) {
        let is_meant = |connection: &Connection| connection.client.service == service;
        let (open, most) = (self.open.values(), service.most());
        // Connections are counted only if there are enough of them.
        if open.len() >= most && open.filter(|connection| is_meant(connection)).count() >= most {
            self.close_first(is_meant);
        }
    }

    /// Closes those that are too many.
    pub fn keep_at_most(&mut self, most: usize) {
        while self.len() > most {
            self.close_first(|_| true);
        }
    }

    fn close_first(&mut self, is_meant: impl Fn(&Connection) -> bool) {
        let is_meant = |number: &u64| self.open.get(number).is_some_and(&is_meant);
        let first = self.deadlines.iter().flatten().map(|(_, number)| *number).find(is_meant);
        first.and_then(|number| self.remove(number));
    }

    /// Continues with a connection that is ready. Returns the client if its head is complete now.
    pub fn serve(&mut self, number: u64, readiness: Readiness, epoll: &Epoll, now: Instant) -> Option<Client> {
        let mut connection = self.remove(number)?;
        let was_writing = matches!(connection.progress, Progress::Writes { .. });
        let step = match connection.progress {
            Progress::Reads => connection.read(),
            Progress::Writes { .. } if readiness.writable || readiness.hung_up => connection.write(now),
            Progress::Writes { .. } => Step::Waits,
            Progress::Ends => connection.drain(),
        };
        match step {
            Step::Waits => {
                let has_written = was_writing && matches!(connection.progress, Progress::Ends);
                if !has_written || epoll.ask(connection.client.socket.as_fd(), number, true, false).is_ok() {
                    self.insert(number, connection);
                }
                None
            }
            Step::Done => None,
            Step::Request => {
                epoll.remove(connection.client.socket.as_fd()); // the client may become a stream
                Some(connection.client)
            }
        }
    }

    /// Answers a client. What it has sent beside its head is not read.
    pub fn answer(&mut self, client: Client, answer: Vec<u8>, epoll: &Epoll, now: Instant) {
        let head = Head::read(&client.bytes);
        let is_complete = matches!(&head, Ok(Some(head)) if head.len == client.bytes.len() && !head.has_body());
        let progress = Progress::Writes { answer, sent: 0, is_complete };
        let client = Client { bytes: Vec::new(), ..client };
        let mut connection = Connection { client, deadline: now + ANSWER_TIME, progress };
        if let Step::Waits = connection.write(now) {
            self.keep(connection, epoll);
        }
    }
}

/// The next step of a connection.
enum Step {
    /// It waits for its client.
    Waits,
    /// It is to be closed.
    Done,
    /// Its head is complete or refused.
    Request,
}

impl Connection {
    /// Which of the deadlines of [`Connections`] it has: the first make room first.
    fn rank(&self) -> usize {
        match self.progress {
            Progress::Ends => 0,
            Progress::Reads => 1,
            Progress::Writes { .. } => 2,
        }
    }

    /// Reads the head, or a part of it.
    fn read(&mut self) -> Step {
        let Client { socket, bytes, .. } = &mut self.client;
        let from = bytes.len();
        let mut room = [MaybeUninit::<u8>::uninit(); MAX_HEAD];
        loop {
            match recv(&*socket, &mut room[from..], RecvFlags::DONTWAIT) {
                Ok(((received, _), _)) => {
                    bytes.extend_from_slice(received);
                    break;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Step::Waits,
                Err(_) => return Step::Done,
            }
        }
        if bytes.len() == from {
            return Step::Done; // the client has closed its side
        }
        if !bytes[from..].contains(&b'\n') && bytes.len() < MAX_HEAD {
            return Step::Waits; // a head that comes byte by byte is not read from its beginning each time
        }
        if bytes.ends_with(b"\r\n\r\n") && bytes[0].is_ascii_uppercase() {
            return Step::Request; // the head is mostly whole, and is read by whoever takes it
        }
        match Head::read(bytes) {
            Ok(None) => Step::Waits,
            Ok(Some(_)) | Err(Refusal::Malformed | Refusal::TooLarge) => Step::Request,
        }
    }

    /// Sends the answer, or a part of it.
    fn write(&mut self, now: Instant) -> Step {
        let Progress::Writes { answer, sent, is_complete } = &mut self.progress else { return Step::Waits };
        while *sent < answer.len() {
            match send(&self.client.socket, &answer[*sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => *sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Step::Waits,
                Err(_) => return Step::Done,
            }
        }
        if *is_complete || shutdown(&self.client.socket, Shutdown::Write).is_err() {
            return Step::Done;
        }
        (self.progress, self.deadline) = (Progress::Ends, now + ANSWER_TIME);
        self.drain()
    }

    /// Reads what the client still sends.
    fn drain(&mut self) -> Step {
        let mut ignored = [0; MAX_HEAD];
        match recv(&self.client.socket, &mut ignored, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Step::Done,
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => Step::Waits,
            Err(_) => Step::Done,
        }
    }
}

/// The most bytes of a head.
pub const MAX_HEAD: usize = 16 << 10;
/// The most fields.
const MAX_FIELDS: usize = 100;

/// The head of a request (RFC 9112), complete, as httparse reads it: what is left to check here is what counts for streams and
/// metrics. It is read strictly. What two readers could understand in two ways is malformed: a proxy is in front.
#[derive(Debug)]
pub struct Head<'a> {
    pub method: &'a str,
    /// The target as it was sent.
    pub target: &'a str,
    /// The fields in their order.
    fields: Vec<(&'a str, &'a [u8])>,
    /// The number of bytes that it has. What follows is a body, or another request, which nobody answers.
    pub len: usize,
}

/// The reason for which a head has no answer but its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not one of HTTP/1.
    Malformed,
    /// It has too many bytes or fields.
    TooLarge,
}

impl<'a> Head<'a> {
    /// Reads a head. Returns nothing while it is not complete.
    pub fn read(bytes: &'a [u8]) -> Result<Option<Self>, Refusal> {
        let mut room = [MaybeUninit::uninit(); MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let len = match request.parse_with_uninit_headers(bytes, &mut room) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
            Err(_) => return Err(Refusal::Malformed),
        };
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
            return Err(Refusal::Malformed);
        };
        let fields = request.headers.iter().map(|field| (field.name, field.value)).collect();
        let head = Self { method, target, fields, len };
        let hosts = head.all("host").count();
        match hosts > 1 || hosts == 0 && version > 0 {
            true => Err(Refusal::Malformed),
            false => Ok(Some(head)),
        }
    }

    fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'a [u8]> + 'b {
        self.fields.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// Returns a field, as PSGI servers give it to an application: the values of several lines with commas between them, of
    /// cookies, too.
    pub fn field(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let mut all = self.all(name);
        let first = Cow::Borrowed(all.next()?);
        Some(all.fold(first, |joined, value| Cow::Owned([&*joined, b", ", value].concat())))
    }

    /// Returns the path and the query of a target that is a path.
    pub fn path_and_query(&self) -> Option<(&'a str, &'a str)> {
        let target = Some(self.target).filter(|target| target.starts_with('/') && !target.contains('#'))?;
        Some(target.split_once('?').unwrap_or((target, "")))
    }

    /// Returns true if an application may take a field for another one: PSGI has the same name for `X_A` and `X-A`.
    pub fn is_ambiguous(&self) -> bool {
        self.fields.iter().any(|(name, _)| name.contains('_'))
    }

    /// Returns true if a body follows.
    pub fn has_body(&self) -> bool {
        self.all("transfer-encoding").next().is_some() || self.all("content-length").any(|length| length != b"0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_client_that_has_closed_its_side_and_takes_no_bytes_causes_no_turns() {
        let (epoll, now) = (Epoll::new().expect("an epoll set"), Instant::now());
        let (mut socket, server) = UnixStream::pair().expect("a pair of sockets");
        let mut connections = Connections::new();
        socket.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("a connection");
        socket.shutdown(net::Shutdown::Write).expect("a connection");
        let client = connections.add(server.into(), Service::Metrics, &epoll, now).expect("a head");
        connections.answer(client, vec![b'a'; 1 << 20], &epoll, now);
        assert_eq!(connections.len(), 1, "the answer is too long to be taken at once");
        epoll.wait(Some(Duration::ZERO), |_, readiness| panic!("{readiness:?}")).expect("a wait");
        drop(socket);
        let mut ready = Vec::new();
        epoll.wait(None, |number, readiness| ready.push((number, readiness))).expect("a wait");
        assert!(connections.serve(ready[0].0, ready[0].1, &epoll, now).is_none());
        assert_eq!(connections.len(), 0, "it has left");
    }

    fn refusal_of(head: &str) -> Refusal {
        Head::read(head.as_bytes()).expect_err(head)
    }

    #[test]
    fn a_head_is_read_as_the_standard_says() {
        let bytes =
            b"GET /events?a=b HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\ncookie: b=2\r\nX-A: 1\r\nX-A:2 \r\n\r\nrest";
        let head = Head::read(bytes).expect("a head").expect("a whole head");
        assert_eq!((head.method, head.target, head.len), ("GET", "/events?a=b", bytes.len() - 4));
        assert_eq!(head.path_and_query(), Some(("/events", "a=b")));
        assert_eq!(head.field("cookie").as_deref(), Some(&b"a=1, b=2"[..]));
        assert_eq!(head.field("x-a").as_deref(), Some(&b"1, 2"[..]));
        assert_eq!(head.field("x-b"), None);
        assert!(!head.has_body() && !head.is_ambiguous());
        for len in 0..head.len {
            assert!(matches!(Head::read(&bytes[..len]), Ok(None)), "{len}");
        }
    }

    #[test]
    fn what_could_be_understood_in_two_ways_is_malformed() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
            "GET / HTTP/2\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            assert_eq!(refusal_of(head), Refusal::Malformed, "{head:?}");
        }
        assert!(matches!(Head::read(b"GET / HTTP/1.0\r\n\r\n"), Ok(Some(_))), "HTTP/1.0 needs no host");
    }

    #[test]
    fn a_head_has_its_bounds() {
        let fields = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(count));
        assert!(matches!(Head::read(fields(MAX_FIELDS - 1).as_bytes()), Ok(Some(_))));
        assert_eq!(refusal_of(&fields(MAX_FIELDS)), Refusal::TooLarge);
        assert_eq!(refusal_of(&format!("GET /{}", "a".repeat(MAX_HEAD))), Refusal::TooLarge);
    }

    #[test]
    fn a_body_is_seen_by_its_length_or_its_coding() {
        for (field, has_body) in
            [("Content-Length: 0", false), ("Content-Length: 1", true), ("Transfer-Encoding: x", true)]
        {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
            assert_eq!(
                Head::read(text.as_bytes()).expect("a head").expect("a whole one").has_body(),
                has_body,
                "{field}"
            );
        }
    }
}
