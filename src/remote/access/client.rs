//! A connection to a hub that waits for its answers, for commands and jobs.
//!
//! It starts no thread, so a command can be killed without harm. Publishes are begun and answered in batches.

use super::error::Error;
use super::place::Place;
use super::start::{ends_at_once, Pauses, Start};
use crate::hub::{ChannelPage, EndRequest, SubscribeRequest};
use crate::stream::{after, Reason};
use crate::sys::local::{send, Wait};
use crate::wire::{
    Answer, Counted, Credits, Described, Failure, FieldList, FrameBuffer, Hello, NamedSettings, Open, Publish, Request,
    Role, TooLong, Upgrade, Welcome,
};
use rustix::fd::{AsFd, BorrowedFd};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How many bytes of unanswered requests are collected before they are sent.
const BATCH_BYTES: usize = 32 << 10;

/// How many publishes are begun before any is answered. Their answers fit a socket's buffer, so neither side waits for the
/// other to read.
pub const MAX_PENDING: usize = 256;

/// How many bytes are read at once.
const READ_BYTES: usize = 16 << 10;

/// How much longer than any other answer an upgrade may take: the new program reads the state twice.
const UPGRADE_TIME: Duration = Duration::from_secs(45);

/// An event to publish.
#[derive(Clone, Debug, Default)]
pub struct Publication<'a> {
    /// The channel's name.
    pub channel: &'a [u8],
    /// The key for compaction. Empty if the event has none.
    pub key: &'a [u8],
    /// The key with which a repeated publish returns the first one's id. Empty if the event has none.
    pub once: &'a [u8],
    /// The event's fields.
    pub fields: FieldList,
}

/// News about a stream that this connection has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The state of the stream has changed: see [`Answer::State`].
    State {
        /// The stream.
        stream: u64,
        /// How many pushed bytes the stream has got.
        pushed: u64,
        /// How many bytes are buffered.
        buffered: u64,
        /// Whether the client's socket takes nothing for now.
        is_stalled: bool,
    },
    /// The stream has ended.
    Ended {
        /// The stream.
        stream: u64,
        /// Why.
        reason: Reason,
    },
}

/// A connection to a hub. Each call waits for its answer.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    welcome: Welcome,
    inbox: FrameBuffer,
    outbox: Vec<u8>,
    credits: Credits,
    last_request: u64,
    reports: VecDeque<Report>,
    /// The publishes that are not answered yet.
    pending: VecDeque<u64>,
    /// The answers to others, in their order.
    answered: Vec<Result<String, Failure>>,
    timeout: Duration,
}

/// An answer that waiting code looks for.
enum Awaited {
    Published(String),
    Done,
    Counted(Box<Counted>),
    StreamsEnded(u64),
    Channels(ChannelPage),
    Described(Box<Described>),
    Refused(Failure),
}

impl Client {
    /// Connects to a hub, and starts its process if need be. Without settings the hub is taken as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], or [`Error::Refused`] if the hub has other settings or another version.
    pub fn connect(start: &Start, place: &Place, settings: Option<NamedSettings>) -> Result<Self, Error> {
        Self::connect_and_note(start, place, settings, &mut |_| {})
    }

    /// As [`connect`](Self::connect). `note` is called with each socket before another thread can fork, so that a child knows
    /// which ones it has inherited.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub(crate) fn connect_and_note(
        start: &Start,
        place: &Place,
        settings: Option<NamedSettings>,
        note: &mut dyn FnMut(BorrowedFd<'_>),
    ) -> Result<Self, Error> {
        let deadline = Instant::now() + start.timeout;
        let role = settings.map_or(Role::Command, |settings| Role::Worker(Box::new(settings)));
        let hello = Hello { name: place.name().clone(), role };
        let mut pauses = Pauses::new();
        loop {
            let socket = start.connect_until(place, deadline, note)?;
            match greet(socket, &hello, start.timeout)? {
                Some((socket, welcome, inbox)) => return Ok(Self::new(socket, welcome, inbox, start.timeout)),
                // The process was ending when this one connected.
                None if Instant::now() < deadline => pauses.wait(),
                None => return Err(Error::Unavailable(ends_at_once(place))),
            }
        }
    }

    fn new(socket: UnixStream, welcome: Welcome, inbox: FrameBuffer, timeout: Duration) -> Self {
        let credits = Credits::new(welcome.credits);
        let (outbox, reports, pending, answered) = Default::default();
        Self { socket, welcome, inbox, outbox, credits, last_request: 0, reports, pending, answered, timeout }
    }

    /// Returns the parts of a connection without requests that are not sent or answered.
    pub(super) fn into_parts(self) -> Option<(UnixStream, Welcome, FrameBuffer, Credits)> {
        let is_unused = self.last_request == 0 && self.outbox.is_empty() && self.reports.is_empty();
        is_unused.then_some((self.socket, self.welcome, self.inbox, self.credits))
    }

    /// Returns what the hub process has said about itself.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Publishes an event, and returns its id in the hub's order.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if the event was not published, [`Error::Unknown`] or [`Error::Timeout`] if that is not known,
    /// [`Error::Refused`] if the hub has refused it.
    pub fn publish(&mut self, publication: &Publication<'_>) -> Result<String, Error> {
        let request = self.next_request();
        self.send(&publish_request(request, publication), None)?;
        match self.answer_to(request)? {
            Awaited::Published(id) => Ok(id),
            _ => Err(Error::Unknown),
        }
    }

    /// Publishes an event without waiting for an answer, and so without knowing its id. The event may be sent with later
    /// ones, at the latest by [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub fn publish_unanswered(&mut self, publication: &Publication<'_>) -> Result<(), Error> {
        self.queue(&publish_request(0, publication))?;
        if self.outbox.len() >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands over a stream with its socket, which may be closed then.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn open(&mut self, open: Open<'_>, socket: BorrowedFd<'_>) -> Result<(), Error> {
        self.send(&Request::Open(open), Some(socket))
    }

    /// Subscribes a stream of this connection.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn subscribe(&mut self, stream: u64, subscription: SubscribeRequest) -> Result<(), Error> {
        let request = self.next_request();
        self.send(&Request::Subscribe { request, stream, subscription }, None)?;
        self.answer_to(request).map(|_| ())
    }

    /// Returns the counters of the hub and its process, and the number of a channel's subscribers.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn count(&mut self, channel: &[u8]) -> Result<Counted, Error> {
        let request = self.next_request();
        self.send(&Request::Count { request, channel }, None)?;
        match self.answer_to(request)? {
            Awaited::Counted(counted) => Ok(*counted),
            _ => Err(Error::Unknown),
        }
    }

    /// Returns a part of the list of channels: those whose names match the pattern, or all if it is empty. The list begins at
    /// 0, and continues where each part says.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn channels(&mut self, pattern: &[u8], from: u64) -> Result<ChannelPage, Error> {
        let request = self.next_request();
        self.send(&Request::Channels { request, pattern, from }, None)?;
        match self.answer_to(request)? {
            Awaited::Channels(page) => Ok(page),
            _ => Err(Error::Unknown),
        }
    }

    /// Returns what the hub process is.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn describe(&mut self) -> Result<Described, Error> {
        let request = self.next_request();
        self.send(&Request::Describe { request }, None)?;
        match self.answer_to(request)? {
            Awaited::Described(described) => Ok(*described),
            _ => Err(Error::Unknown),
        }
    }

    /// Ends streams, and returns how many of this machine.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn end_streams(&mut self, end: EndRequest) -> Result<u64, Error> {
        let request = self.next_request();
        self.send(&Request::EndStreams { request, end }, None)?;
        match self.answer_to(request)? {
            Awaited::StreamsEnded(count) => Ok(count),
            _ => Err(Error::Unknown),
        }
    }

    /// Drains the hub, and waits until that has begun.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn drain(&mut self, within: Duration) -> Result<(), Error> {
        self.send(&Request::Drain { within }, None)?;
        self.describe().map(|_| ()) // requests are carried out in their order
    }

    /// Begins to publish an event; the request may be sent with later ones. [`answers`](Self::answers) sends what is left and
    /// returns what became of it. At most [`MAX_PENDING`] are sent before any is answered.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). Events that were begun before are then perhaps published.
    pub fn begin_publish(&mut self, publication: &Publication<'_>) -> Result<(), Error> {
        while self.pending.len() >= MAX_PENDING {
            self.flush()?;
            self.take_answer()?;
        }
        let request = self.next_request();
        self.queue(&publish_request(request, publication))?;
        self.pending.push_back(request);
        if self.outbox.len() >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Returns the ids of the events that were begun, or why the hub has refused them, in their order. Waits for the answers.
    /// After an error, the answers that came before it are returned first, and the error by the next call.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] or [`Error::Timeout`]: the events that are not answered were perhaps published.
    pub fn answers(&mut self) -> Result<Vec<Result<String, Failure>>, Error> {
        let collected = self.flush().and_then(|()| {
            while !self.pending.is_empty() {
                self.take_answer()?;
            }
            Ok(())
        });
        match collected {
            Err(error) if self.answered.is_empty() => Err(error),
            _ => Ok(std::mem::take(&mut self.answered)),
        }
    }

    /// Takes the answer to the oldest of the events that were begun: the hub answers in their order.
    fn take_answer(&mut self) -> Result<(), Error> {
        let request = match self.pending.front() {
            Some(request) => *request,
            None => return Ok(()),
        };
        let answer = match self.answer_to(request) {
            Ok(Awaited::Published(id)) => Ok(id),
            Err(Error::Refused(failure)) => Err(failure),
            Ok(_) => return Err(Error::Unknown),
            Err(error) => return Err(error),
        };
        self.pending.pop_front();
        self.answered.push(answer);
        Ok(())
    }

    /// Ends the hub process, and waits until it has ended its connections.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Error::Timeout`].
    pub fn stop(&mut self) -> Result<(), Error> {
        self.send(&Request::Stop, None)?;
        loop {
            match self.read_answer() {
                Ok(_) => {}
                Err(Error::Unknown) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the next news about a stream of this connection; none if there is none within the timeout.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] or [`Error::Unknown`] if the connection has ended.
    pub fn next_report(&mut self) -> Result<Option<Report>, Error> {
        loop {
            if let Some(report) = self.reports.pop_front() {
                return Ok(Some(report));
            }
            match self.read_answer() {
                Ok(_) => {}
                Err(Error::Timeout) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a request, and what was collected before. With the socket of a stream it is an [`Open`].
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if the connection has ended, [`Error::Timeout`] if the hub process takes nothing,
    /// [`Error::Invalid`] if the request is too long.
    pub fn send(&mut self, request: &Request<'_>, socket: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        if socket.is_some() {
            self.flush()?; // so that the descriptor is beside the first byte of its request
        }
        self.queue(request)?;
        self.write_out(socket)
    }

    /// Sends what was collected.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write_out(None)
    }

    fn next_request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }

    /// Collects a request. A publish waits for credits first.
    fn queue(&mut self, request: &Request<'_>) -> Result<(), Error> {
        let is_publish = matches!(request, Request::Publish(_));
        if is_publish && !self.credits.may_send() {
            self.flush()?;
            while !self.credits.may_send() {
                self.read_answer()?;
            }
        }
        let before = self.outbox.len();
        request.encode(&mut self.outbox)?;
        if is_publish {
            let _ = self.credits.spend(self.outbox.len() - before);
        }
        Ok(())
    }

    fn write_out(&mut self, mut descriptor: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        let mut sent = 0;
        while sent < self.outbox.len() {
            sent += send(self.socket.as_fd(), &self.outbox[sent..], descriptor.take(), Wait::Forever)
                .map_err(|error| self.lost(&error))?;
        }
        self.outbox.clear();
        Ok(())
    }

    fn lost(&self, error: &io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout,
            _ => Error::Unavailable(format!("lost the hub process {}: {error}", self.welcome.name)),
        }
    }

    fn answer_to(&mut self, request: u64) -> Result<Awaited, Error> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.read_answer()? {
                Some((answered, Awaited::Refused(failure))) if answered == request => {
                    return Err(Error::Refused(failure))
                }
                Some((answered, answer)) if answered == request => return Ok(answer),
                _ if Instant::now() >= deadline => return Err(Error::Timeout),
                _ => {}
            }
        }
    }

    /// Reads one answer. Returns it if it answers a request; takes note of it otherwise.
    fn read_answer(&mut self) -> Result<Option<(u64, Awaited)>, Error> {
        read_frame(&mut self.socket, &mut self.inbox, self.timeout)?;
        let frame = self.inbox.next_frame()?.ok_or(Error::Unknown)?;
        Ok(match Answer::decode(frame)? {
            Answer::Published { request, id } => Some((request, Awaited::Published(id.to_owned()))),
            Answer::Done { request } => Some((request, Awaited::Done)),
            Answer::StreamsEnded { request, count } => Some((request, Awaited::StreamsEnded(count))),
            Answer::Counted(counted) => Some((counted.request, Awaited::Counted(counted))),
            Answer::Channels { request, page } => Some((request, Awaited::Channels(page))),
            Answer::Described(described) => Some((described.request, Awaited::Described(described))),
            Answer::Refused { request, failure } => Some((request, Awaited::Refused(failure))),
            Answer::Rejected(failure) => return Err(Error::Refused(failure)),
            Answer::Credits { bytes } => {
                self.credits.add(bytes);
                None
            }
            Answer::State { stream, pushed, buffered, is_stalled } => {
                self.reports.push_back(Report::State { stream, pushed, buffered, is_stalled });
                None
            }
            Answer::Ended { stream, reason } => {
                self.reports.push_back(Report::Ended { stream, reason });
                None
            }
            Answer::Epoch { epoch } => {
                self.welcome.epoch = epoch.into();
                None
            }
            Answer::Welcome(_) | Answer::Elected { .. } | Answer::Upgraded => None,
        })
    }
}

fn publish_request<'a>(request: u64, publication: &'a Publication<'_>) -> Request<'a> {
    let Publication { channel, key, once, fields } = publication;
    Request::Publish(Publish { request, channel, key, once, fields: fields.fields() })
}

/// Asks a hub process to continue as another program, whichever version it has. Without a program it is the one at the path
/// that the process has been started from. Returns when the new program has taken over.
///
/// # Errors
///
/// [`Error::Unavailable`] if no process serves the hub, [`Error::Refused`] if the process continues as it is,
/// [`Error::Unknown`] or [`Error::Timeout`] if that is not known.
pub fn upgrade(start: &Start, place: &Place, program: Option<&Path>) -> Result<(), Error> {
    let failed = |error: io::Error| Error::Unavailable(format!("cannot ask the hub process: {error}"));
    let mut socket = Start { program: None, ..start.clone() }.connect(place)?;
    let timeout = start.timeout.saturating_add(UPGRADE_TIME);
    socket.set_read_timeout(Some(timeout)).map_err(failed)?;
    socket.set_write_timeout(Some(start.timeout)).map_err(failed)?;
    let mut bytes = Vec::new();
    Upgrade { program: program.map(|path| path.as_os_str().as_bytes()) }.encode(&mut bytes)?;
    // A process that refuses this connection may have closed it already, and said why.
    let _ = send(socket.as_fd(), &bytes, None, Wait::Forever);
    let mut inbox = FrameBuffer::default();
    read_frame(&mut socket, &mut inbox, timeout)?;
    match Answer::decode(inbox.next_frame()?.ok_or(Error::Unknown)?)? {
        Answer::Upgraded => Ok(()),
        Answer::Rejected(failure) => Err(Error::Refused(failure)),
        _ => Err(Error::Unknown),
    }
}

/// A connection whose hub process has greeted, and what it has said about itself.
pub(super) type Greeted = (UnixStream, Welcome, FrameBuffer);

/// Greets the hub process. Returns nothing if it ends without an answer.
pub(super) fn greet(mut socket: UnixStream, hello: &Hello, timeout: Duration) -> Result<Option<Greeted>, Error> {
    let failed = |error: io::Error| Error::Unavailable(format!("cannot greet the hub process: {error}"));
    socket.set_read_timeout(Some(timeout)).map_err(failed)?;
    socket.set_write_timeout(Some(timeout)).map_err(failed)?;
    let mut bytes = Vec::new();
    hello.encode(&mut bytes).map_err(|TooLong { bytes, most }| Error::Invalid {
        field: "gap_data",
        message: format!(
            "gap_data, for all its reasons, gap_event and position_event are too long for a named hub: \
             its settings have {bytes} bytes, and may have {most}"
        ),
    })?;
    let mut inbox = FrameBuffer::default();
    // A process that serves no more workers may have closed the connection already, and said why.
    let _ = send(socket.as_fd(), &bytes, None, Wait::Forever);
    match read_frame(&mut socket, &mut inbox, timeout) {
        Err(Error::Unknown) => return Ok(None),
        other => other?,
    }
    let frame = inbox.next_frame()?.ok_or(Error::Unknown)?;
    match Answer::decode(frame)? {
        Answer::Welcome(welcome) => Ok(Some((socket, *welcome, inbox))),
        Answer::Rejected(failure) => Err(Error::Refused(failure)),
        _ => Err(Error::Unknown),
    }
}

/// Reads until the inbox has a complete frame. The socket has the same timeout, which begins anew after each signal.
fn read_frame(socket: &mut UnixStream, inbox: &mut FrameBuffer, timeout: Duration) -> Result<(), Error> {
    let deadline = after(Instant::now(), timeout);
    while !inbox.has_frame()? {
        match socket.read(inbox.room(READ_BYTES)) {
            Ok(0) => return Err(Error::Unknown),
            Ok(count) => inbox.filled(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted && Instant::now() < deadline => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(Error::Timeout),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(Error::Timeout)
            }
            Err(_) => return Err(Error::Unknown),
        }
    }
    Ok(())
}
