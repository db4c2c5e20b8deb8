//! The connection of a peer, which is a worker or a command: what it may send, and what it is still to be sent.

use crate::inherited::take_kept;
use eventsource_xs::remote::calls::{is_connection, peer_process, receive, send, Epoll, Wait};
use eventsource_xs::runtime::HandoverFile;
use eventsource_xs::wire::{
    Credits, Failure, FrameBuffer, HandedPeer, Handover, Hello, Name, NamedSettings, Reply, Response, Role,
    ShowChannel, MAX_GREETING_BYTES, WINDOW_BYTES,
};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The number of bytes that are read at once. Then other peers have their turn.
const READ_BYTES: usize = 64 << 10;
/// The number of bytes that are read at once of a peer that has not greeted.
const GREETING_READ_BYTES: usize = 4 << 10;
/// The bytes of a frame's length, which come before it.
const FRAME_LENGTH_BYTES: usize = 4;
/// With so many unsent bytes of responses the peer's requests are not read until it has read some.
const SLOW_BYTES: usize = 1 << 20;
/// With so many unsent bytes of responses the peer is cut off: so much it has not asked for.
const MOST_BYTES: usize = 16 << 20;
/// The time for which a peer may take none of its responses.
const STUCK: Duration = Duration::from_secs(30);
/// The time for which a peer waits for a store that does not begin, or for workers with another store to leave.
const STORE_WAIT: Duration = Duration::from_secs(3);
/// The time that a peer may take to greet.
const GREETING: Duration = Duration::from_secs(10);

/// The reason for which a peer's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer has closed it.
    Closed,
    /// The peer was rejected.
    Rejected,
    /// The bytes are not a message, or the message may not come now.
    Malformed,
    /// The peer has sent more than its credits allow.
    Flood,
    /// The peer has sent descriptors without streams, or a stream without a descriptor.
    Descriptors,
    /// The peer does not read its responses.
    Stuck,
    /// The peer does not greet.
    Silent,
}

impl End {
    /// Returns which rule the peer has broken, if it has.
    pub fn broken_rule(self) -> Option<&'static str> {
        match self {
            Self::Closed | Self::Rejected => None,
            Self::Malformed => Some("its messages are malformed"),
            Self::Flood => Some("it has sent more than its credits allow"),
            Self::Descriptors => Some("its descriptors do not belong to streams"),
            Self::Stuck => Some("it does not read its answers"),
            Self::Silent => Some("it does not greet"),
        }
    }
}

/// The things that a connection keeps alive: the process, and the streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keeps {
    /// Nothing: it has not greeted, or is a command that only asks.
    #[default]
    Nothing,
    /// The process: it is a command that has published.
    Process,
    /// The streams, too: it is a worker.
    Streams,
}

/// The connection of one peer.
#[derive(Debug)]
pub struct Peer {
    socket: OwnedFd,
    pub token: u64,
    pub(super) inbox: FrameBuffer,
    /// Descriptors that have arrived, in their order; `None` for one that this process could not take.
    descriptors: VecDeque<Option<OwnedFd>>,
    /// The bytes of responses that are still to be sent.
    unsent: Vec<u8>,
    credits: Credits,
    pub is_greeted: bool,
    /// The settings of a worker whose greeting waits until those with another store have left.
    pub greeting: Option<Box<NamedSettings>>,
    /// The form in which its events include the name of their channel.
    pub show_channel: Option<ShowChannel>,
    pub(super) keeps: Keeps,
    /// The worker whose calls come on this connection; `None` for workers and commands.
    pub(super) calls_for: Option<u64>,
    /// The worker's last mark, and the last one that its publishes have reached.
    pub marks: (u64, u64),
    /// The mark after which its calls are carried out.
    pub after: u64,
    /// True if a call is kept until that mark has come.
    pub(super) is_kept: bool,
    /// The streams that the peer holds: their ids in the library by their numbers.
    pub streams: HashMap<u64, u64>,
    connected: Instant,
    stuck_since: Option<Instant>,
    /// The events that the epoll set reports: readable, writable.
    asked: (bool, bool),
    /// True if the peer reads no responses any more.
    is_deaf: bool,
}

impl Peer {
    pub fn new(socket: OwnedFd, token: u64, now: Instant) -> Self {
        Self {
            socket,
            token,
            inbox: FrameBuffer::default(),
            descriptors: VecDeque::new(),
            unsent: Vec::new(),
            credits: Credits::new(WINDOW_BYTES),
            is_greeted: false,
            greeting: None,
            show_channel: None,
            keeps: Keeps::Nothing,
            calls_for: None,
            marks: (0, 0),
            after: 0,
            is_kept: false,
            streams: HashMap::new(),
            connected: now,
            stuck_since: None,
            asked: (true, false),
            is_deaf: false,
        }
    }

    /// Returns the process that has connected, if this process can know it.
    pub fn process(&self) -> Option<u32> {
        peer_process(self.socket.as_fd())
    }

    /// Changes what it keeps, and the numbers of connections by that.
    pub(super) fn set_keeps(&mut self, keeps: Keeps, keepers: &mut [usize; 3]) {
        keepers[self.keeps as usize] -= 1;
        keepers[keeps as usize] += 1;
        self.keeps = keeps;
    }

    /// Returns true if the peer's requests are to be read.
    pub fn is_readable(&self) -> bool {
        self.is_deaf || !self.is_kept && self.unsent.len() < SLOW_BYTES
    }

    /// Reads what has arrived into the inbox. Fails if the connection has ended.
    pub fn read(&mut self) -> Result<(), End> {
        let room = self.inbox.room(if self.is_greeted { READ_BYTES } else { GREETING_READ_BYTES });
        match receive(self.socket.as_fd(), room, &mut self.descriptors, Wait::Never) {
            Ok(0) => Err(End::Closed),
            Ok(count) => {
                self.inbox.filled(count);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(End::Closed),
        }
    }

    /// Checks that a peer that has not greeted has sent no more than a greeting may have. `bytes` is the length of a frame.
    pub fn check_greeting(&self, bytes: usize) -> Result<(), End> {
        let may_be = self.is_greeted || bytes <= MAX_GREETING_BYTES + FRAME_LENGTH_BYTES;
        may_be.then_some(()).ok_or(End::Flood)
    }

    /// Checks that each descriptor belongs to a stream: at most one, whose message has not arrived completely.
    pub fn check_descriptors(&self) -> Result<(), End> {
        let may_be = self.descriptors.len() <= usize::from(!self.inbox.is_empty());
        may_be.then_some(()).ok_or(End::Descriptors)
    }

    /// Takes the descriptor that has come with a request. Returns nothing if this process could not take it, or if it is not a
    /// connection.
    pub fn take_socket(&mut self) -> Result<Option<OwnedFd>, End> {
        let taken = self.descriptors.pop_front().ok_or(End::Descriptors)?;
        Ok(taken.filter(|socket| is_connection(socket.as_raw_fd())))
    }

    /// Uses the peer's credits for the bytes of a request.
    pub fn spend(&mut self, bytes: usize) -> Result<(), End> {
        self.credits.spend(bytes).then_some(()).ok_or(End::Flood)
    }

    /// Counts the bytes of a request as handled, so that the peer may send more.
    pub fn grant(&mut self, bytes: usize) {
        if let Some(bytes) = self.credits.handle(bytes) {
            self.answer(&Response::Credits { bytes });
        }
    }

    /// Answers a request, unless no response is wanted.
    pub fn reply(&mut self, request: u64, result: Result<Reply, Failure>) {
        if request > 0 {
            self.answer(&Response::Reply { request, result });
        }
    }

    /// Queues a response.
    pub fn answer(&mut self, response: &Response<'_>) {
        if !self.is_deaf {
            // No response is as long as a frame may be: the longest text in one comes from this program.
            let _ = response.encode(&mut self.unsent);
        }
    }

    /// Sends what the kernel takes. Fails if the connection has ended, or if the peer has too much to read.
    pub fn flush(&mut self, epoll: &Epoll, now: Instant) -> Result<(), End> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match send(self.socket.as_fd(), &self.unsent[sent..], None, Wait::Never) {
                Ok(count) => {
                    sent += count;
                    self.stuck_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stuck_since.get_or_insert(now);
                    break;
                }
                // Its earlier requests are still read.
                Err(_) => {
                    self.stop_answering();
                    sent = 0;
                }
            }
        }
        self.unsent.drain(..sent);
        if self.unsent.is_empty() && self.unsent.capacity() > SLOW_BYTES {
            self.unsent = Vec::new();
        }
        if self.unsent.len() > MOST_BYTES {
            return Err(End::Stuck);
        }
        let asked = (self.is_readable(), !self.unsent.is_empty());
        if asked != std::mem::replace(&mut self.asked, asked) {
            epoll.ask(self.socket.as_fd(), self.token, asked.0, asked.1).map_err(|_| End::Closed)?;
        }
        Ok(())
    }

    /// Called when the peer has closed its side: it reads no responses any more.
    pub fn stop_answering(&mut self) {
        self.is_deaf = true;
        self.unsent.clear();
        self.stuck_since = None;
    }

    /// Returns true if the peer has waited long enough for its store: longer than a server needs that starts at the same time,
    /// and not as long as calls of workers take (`publish_timeout`), so that they have the reason.
    pub fn has_waited(&self, now: Instant) -> bool {
        now.duration_since(self.connected) >= STORE_WAIT
    }

    /// Returns why the peer has had its time, if it has.
    pub fn overdue(&self, now: Instant) -> Option<End> {
        if !self.is_greeted && now.duration_since(self.connected) >= GREETING {
            return Some(End::Silent);
        }
        self.stuck_since.filter(|since| now.duration_since(*since) >= STUCK).map(|_| End::Stuck)
    }

    /// Returns true if [`overdue`](Self::overdue) may have something to return later.
    pub fn may_be_overdue(&self) -> bool {
        !self.is_greeted || self.stuck_since.is_some()
    }
}

/// The handover to a new program.
impl Peer {
    /// Hands the connection over. A worker that waits with its greeting greets that program.
    pub fn hand_over(&self, file: &mut HandoverFile, hub: &Name, waits: bool) {
        let mut inbox = Vec::new();
        if let Some(settings) = &self.greeting {
            // It was as long as a greeting may be.
            let _ = Hello { name: hub.clone(), role: Role::Worker(settings.clone()) }.encode(&mut inbox);
        }
        inbox.extend_from_slice(self.inbox.bytes());
        let descriptors =
            self.descriptors.iter().map(|socket| socket.as_ref().map(|socket| file.keep(socket))).collect();
        let descriptor = self.keep(file);
        file.add(&Handover::Peer(Box::new(HandedPeer {
            descriptor,
            token: self.token,
            age: file.at.saturating_duration_since(self.connected),
            inbox: &inbox,
            descriptors,
            unsent: &self.unsent,
            handled: self.credits.handled,
            is_greeted: self.is_greeted,
            waits,
            show_channel: self.show_channel,
            keeps: self.keeps as u32,
            calls_for: self.calls_for,
            after: self.after,
            is_kept: self.is_kept,
            last_mark: self.marks.0,
            reached_mark: self.marks.1,
        })));
    }

    /// Returns the descriptor, which stays open.
    pub fn keep(&self, file: &mut HandoverFile) -> u32 {
        file.keep(&self.socket)
    }

    /// Continues with a connection, which was handed over `at` a time and is added to the epoll set. Nothing that it has
    /// published waits.
    pub fn resume(handed: &HandedPeer<'_>, epoll: &Epoll, at: Instant) -> io::Result<Self> {
        let socket = take_kept(handed.descriptor)?;
        epoll.add(socket.as_fd(), handed.token)?;
        let mut inbox = FrameBuffer::default();
        inbox.feed(handed.inbox);
        let keeps = [Keeps::Nothing, Keeps::Process, Keeps::Streams].get(handed.keeps as usize);
        Ok(Self {
            inbox,
            descriptors: handed
                .descriptors
                .iter()
                .map(|number| number.and_then(|number| take_kept(number).ok()))
                .collect(),
            unsent: handed.unsent.into(),
            credits: Credits::after(WINDOW_BYTES, handed.handled),
            is_greeted: handed.is_greeted,
            show_channel: handed.show_channel,
            keeps: keeps.copied().unwrap_or_default(),
            calls_for: handed.calls_for,
            marks: (handed.last_mark, handed.reached_mark),
            after: handed.after,
            is_kept: handed.is_kept,
            ..Self::new(socket, handed.token, at.checked_sub(handed.age).unwrap_or(at))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventsource_xs::ErrorCode;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    /// A peer, its other end and the epoll set that it is in.
    fn peer(now: Instant) -> (Peer, UnixStream, Epoll) {
        let (socket, other) = UnixStream::pair().expect("a pair of sockets");
        let epoll = Epoll::new().expect("a descriptor");
        epoll.add(socket.as_fd(), 7).expect("a socket");
        (Peer::new(socket.into(), 7, now), other, epoll)
    }

    fn answer_bytes(peer: &mut Peer, bytes: usize) {
        let failure = Failure::new(ErrorCode::Internal, None, &"x".repeat(bytes));
        peer.answer(&Response::Reply { request: 1, result: Err(failure) });
    }

    #[test]
    fn a_worker_that_does_not_greet_has_its_time() {
        let now = Instant::now();
        let (mut peer, ..) = peer(now);
        assert_eq!(peer.overdue(now), None);
        assert_eq!(peer.overdue(now + GREETING), Some(End::Silent));
        peer.is_greeted = true;
        assert_eq!((peer.overdue(now + GREETING), peer.may_be_overdue()), (None, false));
    }

    #[test]
    fn a_worker_that_takes_no_answers_is_not_read_and_is_cut_off_in_time() {
        let now = Instant::now();
        let (mut peer, mut other, epoll) = peer(now);
        peer.is_greeted = true;
        answer_bytes(&mut peer, SLOW_BYTES * 2);
        peer.flush(&epoll, now).expect("a connection");
        assert_eq!((peer.is_readable(), peer.overdue(now), peer.asked), (false, None, (false, true)));
        assert_eq!(peer.overdue(now + STUCK), Some(End::Stuck));
        // It takes some of them: its time begins again.
        while peer.overdue(now + STUCK).is_some() {
            assert!(other.read(&mut [0; 10_000]).expect("bytes") > 0);
            peer.flush(&epoll, now + STUCK).expect("a connection");
        }
        assert!(!peer.unsent.is_empty());
        while !peer.unsent.is_empty() {
            assert!(other.read(&mut [0; 10_000]).expect("bytes") > 0);
            peer.flush(&epoll, now).expect("a connection");
        }
        assert_eq!((peer.is_readable(), peer.may_be_overdue(), peer.asked), (true, false, (true, false)));
    }

    #[test]
    fn a_worker_with_too_many_answers_is_cut_off_at_once() {
        let now = Instant::now();
        let (mut peer, _other, epoll) = peer(now);
        for _ in 0..MOST_BYTES / SLOW_BYTES {
            answer_bytes(&mut peer, SLOW_BYTES);
            peer.flush(&epoll, now).expect("a connection");
        }
        answer_bytes(&mut peer, SLOW_BYTES);
        assert_eq!(peer.flush(&epoll, now), Err(End::Stuck));
    }

    #[test]
    fn requests_sent_before_a_worker_left_are_read() {
        let now = Instant::now();
        let (mut peer, other, epoll) = peer(now);
        answer_bytes(&mut peer, SLOW_BYTES * 2);
        drop(other);
        peer.flush(&epoll, now).expect("it is still read");
        assert!(peer.is_readable() && peer.unsent.is_empty());
        assert_eq!(peer.read(), Err(End::Closed));
    }
}
