//! `load client`: opens N streams, reads them in one thread, and reports what it has received.
//!
//! First it prints `{"opened":N,"failed":F,"seconds":S}`. Then it reads commands:
//!
//! - `expect EVENTS SECONDS [QUIET]`: resets the counts and answers `{"expecting":EVENTS}` at once. It answers a second
//!   time, `{"streams":...,"complete":...,"seconds":...,"received":...,...}`, when every stream that is read has received
//!   so many events or has ended, or after so many seconds, or when no event has been received for QUIET seconds after the
//!   first one.
//! - `stop`, or the end of its input: closes all streams and exits
//!
//! With `--closes 1` its requests ask the server to close the connection after the response, so that ordinary responses can
//! be measured too. `--idle-readers` of its streams are never read after the head, and have a small receive buffer.

use crate::clock::now_ns;
use crate::control::{answer, Commands};
use crate::event::{Numbered, Reader};
use crate::options::{AnyError, Options};
use crate::ready::{raise_descriptor_limit, Ready, COMMANDS, FIRST, LEAVE, READ, READ_WRITE};
use crate::response::{head, Framing};
use crate::tally::Tally;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, sockopt, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

const READ_BYTES: usize = 256 * 1024;
/// The longest wait before the deadlines are checked again.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// One stream, from its connect to its end.
struct Stream {
    socket: OwnedFd,
    state: State,
    /// False for an idle reader, which is not read after its head.
    is_read: bool,
    reader: Reader,
    next_id: Option<u64>,
    /// Events since the last `expect`.
    received: u64,
}

enum State {
    Connecting,
    Head(Vec<u8>),
    Body(Framing),
}

/// The condition that ends an `expect`.
struct Expectation {
    events: u64,
    streams: usize,
    complete: usize,
    /// Streams that have neither received their events nor ended.
    short: usize,
    since: Instant,
    until: Instant,
    quiet: Duration,
}

impl Expectation {
    fn is_over(&self, tally: &Tally) -> bool {
        self.short == 0 || Instant::now() >= self.until || tally.quiet(now_ns()) >= self.quiet
    }
}

struct Client {
    address: SocketAddrV4,
    request: Vec<u8>,
    wanted: usize,
    idle_readers: usize,
    at_once: usize,
    receive_buffer_bytes: usize,
    numbered: Numbered,
    ready: Ready,
    streams: Vec<Option<Stream>>,
    opening: usize,
    opened: usize,
    failed: usize,
    since: Instant,
    is_open: bool,
    tally: Tally,
    expectation: Option<Expectation>,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

pub fn run(options: &Options) -> Result<(), AnyError> {
    raise_descriptor_limit();
    let until = Instant::now() + Duration::from_secs(options.get("seconds", 600)?);
    Client::new(options)?.serve(until)
}

impl Client {
    fn new(options: &Options) -> Result<Self, AnyError> {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, options.need("port")?);
        let path: String = options.get("path", "/events".to_owned())?;
        let wanted = options.need("streams")?;
        let close = if options.get("closes", 0)? > 0 { "Connection: close\r\n" } else { "" };
        Ok(Self {
            address,
            request: format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n{close}\r\n")
                .into_bytes(),
            wanted,
            idle_readers: options.get("idle-readers", 0)?,
            at_once: options.get("at-once", 64)?,
            receive_buffer_bytes: options.get("receive-buffer", 4096)?,
            numbered: options.get("number", Numbered::Id)?,
            ready: Ready::new()?,
            streams: Vec::with_capacity(wanted),
            opening: 0,
            opened: 0,
            failed: 0,
            since: Instant::now(),
            is_open: false,
            tally: Tally::default(),
            expectation: None,
            buffer: vec![0; READ_BYTES],
            body: Vec::with_capacity(READ_BYTES),
        })
    }

    fn serve(&mut self, until: Instant) -> Result<(), AnyError> {
        let (mut commands, mut ready) = (Commands::default(), Vec::new());
        while Instant::now() < until {
            self.open_more();
            self.ready.wait(CHECK_EVERY, &mut ready)?;
            for &(number, _) in ready.iter().filter(|(number, _)| *number != COMMANDS) {
                self.advance((number - FIRST) as usize);
            }
            if ready.iter().any(|(number, _)| *number == COMMANDS) {
                for command in commands.read()?.unwrap_or_else(|| vec!["stop".to_owned()]) {
                    if command == "stop" {
                        return Ok(());
                    }
                    self.obey(&command)?;
                }
            }
            self.report_progress()?;
        }
        Err("--seconds have passed".into())
    }

    fn obey(&mut self, command: &str) -> Result<(), AnyError> {
        let words: Vec<&str> = command.split_whitespace().collect();
        let (events, seconds, quiet) = match words[..] {
            ["expect", events, seconds] => (events, seconds, seconds),
            ["expect", events, seconds, quiet] => (events, seconds, quiet),
            _ => return Err(format!("unknown command '{command}'").into()),
        };
        if !self.is_open {
            return Err("not all streams are open yet".into());
        }
        let (events, timeout) = (events.parse()?, Duration::from_secs_f64(seconds.parse()?));
        let quiet = Duration::from_secs_f64(quiet.parse()?);
        let mut streams = 0;
        for stream in self.streams.iter_mut().flatten().filter(|stream| stream.is_read) {
            stream.received = 0;
            streams += 1;
        }
        let since = Instant::now();
        self.tally = Tally::default();
        let until = since + timeout;
        self.expectation = Some(Expectation { events, streams, complete: 0, short: streams, since, until, quiet });
        Ok(answer(&format!(r#"{{"expecting":{events}}}"#))?)
    }

    fn report_progress(&mut self) -> Result<(), AnyError> {
        if !self.is_open && self.opened + self.failed == self.wanted {
            self.is_open = true;
            let seconds = self.since.elapsed().as_secs_f64();
            answer(&format!(r#"{{"opened":{},"failed":{},"seconds":{seconds:.3}}}"#, self.opened, self.failed))?;
        }
        if !self.expectation.as_ref().is_some_and(|it| it.is_over(&self.tally)) {
            return Ok(());
        }
        if let Some(it) = self.expectation.take() {
            let (seconds, tally) = (it.since.elapsed().as_secs_f64(), self.tally.json());
            let (streams, complete) = (it.streams, it.complete);
            answer(&format!(r#"{{"streams":{streams},"complete":{complete},"seconds":{seconds:.3},{tally}}}"#))?;
        }
        Ok(())
    }

    /// Connects a few streams at a time, so that no listen queue overflows.
    fn open_more(&mut self) {
        while self.opening < self.at_once && self.streams.len() < self.wanted {
            match self.connect() {
                Ok(stream) => {
                    self.streams.push(Some(stream));
                    self.opening += 1;
                }
                Err(error) => {
                    self.streams.push(None);
                    self.fail(&error.to_string());
                }
            }
        }
    }

    fn connect(&self) -> Result<Stream, AnyError> {
        let index = self.streams.len();
        let is_idle = (index * self.idle_readers) / self.wanted != ((index + 1) * self.idle_readers) / self.wanted;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        if is_idle {
            sockopt::set_socket_recv_buffer_size(&socket, self.receive_buffer_bytes)?;
        }
        match net::connect(&socket, &self.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        self.ready.add(&socket, FIRST + index as u64, READ_WRITE)?;
        Ok(Stream {
            socket,
            state: State::Connecting,
            is_read: !is_idle,
            reader: Reader::new(self.numbered),
            next_id: None,
            received: 0,
        })
    }

    fn fail(&mut self, why: &str) {
        if self.failed == 0 {
            eprintln!("load: a stream was not opened: {why}");
        }
        self.failed += 1;
    }

    /// Handles a ready stream. The stream is taken out of the table meanwhile.
    fn advance(&mut self, index: usize) {
        let Some(mut stream) = self.streams[index].take() else { return };
        let was_opening = !matches!(stream.state, State::Body(_));
        let outcome = match stream.state {
            State::Connecting => self.ask(&mut stream, index),
            _ => self.read(&mut stream, index),
        };
        let is_opening = !matches!(stream.state, State::Body(_));
        if was_opening && (!is_opening || outcome.is_err()) {
            self.opening -= 1;
        }
        if was_opening && !is_opening {
            self.opened += 1;
        }
        match outcome {
            Ok(()) => self.streams[index] = Some(stream),
            Err(why) if is_opening => self.fail(&why.to_string()),
            Err(_) => self.end(&stream),
        }
    }

    /// Sends the request if the connection is established.
    fn ask(&self, stream: &mut Stream, index: usize) -> Result<(), AnyError> {
        sockopt::socket_error(&stream.socket)??;
        let sent = net::send(&stream.socket, &self.request, SendFlags::NOSIGNAL)?;
        if sent != self.request.len() {
            return Err("the request does not fit into the socket".into());
        }
        self.ready.modify(&stream.socket, FIRST + index as u64, READ)?;
        stream.state = State::Head(Vec::new());
        Ok(())
    }

    /// Reads once. An error ends the stream.
    fn read(&mut self, stream: &mut Stream, index: usize) -> Result<(), AnyError> {
        if !stream.is_read && matches!(stream.state, State::Body(_)) {
            return Err("the server has ended a stream that is not read".into());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let taken = match net::recv(&stream.socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => Err("the server has closed it".into()),
            Ok((count, _)) => self.take(stream, index, &buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        };
        self.buffer = buffer;
        taken
    }

    fn take(&mut self, stream: &mut Stream, index: usize, bytes: &[u8]) -> Result<(), AnyError> {
        let State::Head(begun) = &mut stream.state else {
            return self.take_body(stream, bytes);
        };
        begun.extend_from_slice(bytes);
        let Some(found) = head(begun) else { return Ok(()) };
        let (length, framing) = found.map_err(|_| "the response is not a stream")?;
        let rest = begun.split_off(length);
        stream.state = State::Body(framing);
        if !stream.is_read {
            self.ready.modify(&stream.socket, FIRST + index as u64, LEAVE)?;
        }
        self.take_body(stream, &rest)
    }

    fn take_body(&mut self, stream: &mut Stream, bytes: &[u8]) -> Result<(), AnyError> {
        let body = match &mut stream.state {
            State::Body(Framing::Chunked(chunks)) => {
                self.body.clear();
                chunks.unframe(bytes, &mut self.body).map_err(|_| "a chunk is malformed")?;
                &self.body[..]
            }
            _ => bytes,
        };
        if !stream.is_read {
            return Ok(());
        }
        let now_ns = now_ns();
        let (tally, next_id, received) = (&mut self.tally, &mut stream.next_id, &mut stream.received);
        let before = *received;
        tally.reads += 1;
        stream.reader.feed(body, |event| match event {
            Ok(event) => *received += u64::from(tally.take(event, next_id, now_ns)),
            Err(_) => tally.malformed += 1,
        });
        if let Some(it) = &mut self.expectation {
            if before < it.events && it.events <= stream.received {
                it.complete += 1;
                it.short -= 1;
            }
        }
        Ok(())
    }

    fn end(&mut self, stream: &Stream) {
        self.tally.ended += 1;
        if let Some(it) = &mut self.expectation {
            if stream.is_read && stream.received < it.events {
                it.short -= 1;
            }
        }
    }
}
