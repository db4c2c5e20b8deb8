//! `load returning`: N clients that disconnect again and again at random bytes, and reconnect with the id of the last
//! complete event, as a browser does. Each checks that the numbers of its events grow by one.
//!
//! An event's data begins and ends with its number, from 1 on. Each connection ends after a random number of bytes: within
//! the head, within an event or between two; half of them by a reset.
//!
//! It prints `{"here":N}` when every client has an id to reconnect with. Then it reads commands:
//!
//! - `tell`: answers with the counts, `{"received":...,"slowest":...,"returns":...,"lost":...,...}`; `slowest` is the
//!   largest number that every client has reached
//! - `stop`, or the end of its input: exits

use crate::control::{answer, Commands};
use crate::options::{AnyError, Options};
use crate::ready::{Ready, COMMANDS, FIRST, READ, READ_WRITE};
use crate::response::{head, Framing};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, sockopt, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

const READ_BYTES: usize = 256 * 1024;
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// The longest time until a client reconnects, in milliseconds.
const MAX_AWAY_MS: u64 = 50;

/// Pseudo-random numbers from a seed (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The counts of all clients.
#[derive(Default)]
struct Counts {
    received: u64,
    lost: u64,
    twice: u64,
    /// `gap` events.
    told: u64,
    malformed: u64,
    /// Connections with a last event ID.
    returns: u64,
    /// Connections that a client closed in the middle of a block.
    amid: u64,
    /// Streams that the server has ended.
    ended: u64,
    /// Connections that could not be established.
    failed: u64,
}

/// The progress of a client: the number of its last event, its last event ID, and the incomplete block.
#[derive(Default)]
struct Progress {
    last: u64,
    last_event_id: Vec<u8>,
    partial: Vec<u8>,
    block: Block,
}

#[derive(Default)]
struct Block {
    id: Option<Vec<u8>>,
    number: Option<Option<u64>>,
    is_gap: bool,
    is_position: bool,
    has_line: bool,
}

impl Progress {
    /// Drops the incomplete block at the end of a connection (WHATWG HTML 9.2.6).
    fn hang_up(&mut self, counts: &mut Counts) {
        counts.amid += u64::from(self.block.has_line || !self.partial.is_empty());
        self.partial.clear();
        self.block = Block::default();
    }

    fn feed(&mut self, mut bytes: &[u8], counts: &mut Counts) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..at], &bytes[at + 1..]);
            if self.partial.is_empty() {
                self.line(line, counts);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole, counts);
                whole.clear();
                self.partial = whole; // keeps its capacity
            }
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn line(&mut self, line: &[u8], counts: &mut Counts) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            let block = std::mem::take(&mut self.block);
            return self.take(block, counts);
        }
        self.block.has_line = true;
        if let Some(value) = line.strip_prefix(b"id: ") {
            let id = self.block.id.get_or_insert_with(Vec::new);
            id.clear();
            id.extend_from_slice(value);
        } else if let Some(value) = line.strip_prefix(b"data: ") {
            self.block.number = Some(number(value));
        } else if line == b"event: gap" {
            self.block.is_gap = true;
        } else if line == b"event: position" {
            self.block.is_position = true;
        }
    }

    /// Handles the end of a block. Its id becomes the last event ID even if the block has no data.
    fn take(&mut self, block: Block, counts: &mut Counts) {
        if let Some(id) = block.id {
            self.last_event_id = id;
        }
        match block.number {
            None => {}
            Some(_) if block.is_position => {}
            Some(_) if block.is_gap => counts.told += 1,
            Some(None) => counts.malformed += 1,
            Some(Some(number)) if number <= self.last => counts.twice += 1,
            Some(Some(number)) => {
                counts.lost += number - self.last - 1;
                counts.received += 1;
                self.last = number;
            }
        }
    }
}

/// Returns the number with which data begins and ends.
fn number(data: &[u8]) -> Option<u64> {
    let end = memchr::memchr(b' ', data)?;
    let first = &data[..end];
    let is_whole = data.len() > 2 * end && data.ends_with(first) && data[data.len() - end - 1] == b' ';
    std::str::from_utf8(first).ok().filter(|_| is_whole)?.parse().ok()
}

/// One client and its current connection.
struct Client {
    progress: Progress,
    state: State,
    /// Bytes until it disconnects.
    left: usize,
}

enum State {
    Away(Instant),
    Connecting(OwnedFd),
    Head(OwnedFd, Vec<u8>),
    Body(OwnedFd, Framing),
}

struct All {
    address: SocketAddrV4,
    path: String,
    cut_bytes: u64,
    clients: Vec<Client>,
    counts: Counts,
    is_here: bool,
    ready: Ready,
    random: Random,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

pub fn run(options: &Options) -> Result<(), AnyError> {
    let until = Instant::now() + Duration::from_secs(options.get("seconds", 600)?);
    All::new(options)?.serve(until)
}

impl All {
    fn new(options: &Options) -> Result<Self, AnyError> {
        let now = Instant::now();
        let wanted: usize = options.need("streams")?;
        let client = |_| Client { progress: Progress::default(), state: State::Away(now), left: 0 };
        Ok(Self {
            address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, options.need("port")?),
            path: options.get("path", "/events".to_owned())?,
            cut_bytes: options.get("cut-bytes", 20_000)?,
            clients: (0..wanted).map(client).collect(),
            counts: Counts::default(),
            is_here: false,
            ready: Ready::new()?,
            random: Random(options.get("seed", 1u64)?.max(1)),
            buffer: vec![0; READ_BYTES],
            body: Vec::with_capacity(READ_BYTES),
        })
    }

    fn serve(&mut self, until: Instant) -> Result<(), AnyError> {
        let (mut commands, mut ready) = (Commands::default(), Vec::new());
        while Instant::now() < until {
            let timeout = self.connect_due_clients()?;
            self.ready.wait(timeout, &mut ready)?;
            for &(number, _) in ready.iter().filter(|(number, _)| *number != COMMANDS) {
                self.advance((number - FIRST) as usize)?;
            }
            if ready.iter().any(|(number, _)| *number == COMMANDS) {
                for command in commands.read()?.unwrap_or_else(|| vec!["stop".to_owned()]) {
                    match &*command {
                        "stop" => return Ok(()),
                        "tell" => self.tell()?,
                        _ => return Err(format!("unknown command '{command}'").into()),
                    }
                }
            }
            self.report_when_all_have_an_id()?;
        }
        Err("--seconds have passed".into())
    }

    fn report_when_all_have_an_id(&mut self) -> Result<(), AnyError> {
        if !self.is_here && self.clients.iter().all(|client| !client.progress.last_event_id.is_empty()) {
            self.is_here = true;
            answer(&format!(r#"{{"here":{}}}"#, self.clients.len()))?;
        }
        Ok(())
    }

    fn tell(&self) -> Result<(), AnyError> {
        let Counts { received, lost, twice, told, malformed, returns, amid, ended, failed } = self.counts;
        let slowest = self.clients.iter().map(|client| client.progress.last).min().unwrap_or(0);
        let connected = self.clients.iter().filter(|client| matches!(client.state, State::Body(..))).count();
        let connections =
            format!(r#""connected":{connected},"returns":{returns},"amid":{amid},"ended":{ended},"failed":{failed}"#);
        let events =
            format!(r#""received":{received},"lost":{lost},"twice":{twice},"told":{told},"malformed":{malformed}"#);
        Ok(answer(&format!(r#"{{"slowest":{slowest},{connections},{events}}}"#))?)
    }

    /// Connects the clients that are due, and returns the time until the next one is due.
    fn connect_due_clients(&mut self) -> Result<Duration, AnyError> {
        let now = Instant::now();
        let mut timeout = CHECK_EVERY;
        for index in 0..self.clients.len() {
            if let State::Away(until) = self.clients[index].state {
                if until <= now {
                    self.connect(index)?;
                } else {
                    timeout = timeout.min(until - now + Duration::from_micros(100));
                }
            }
        }
        Ok(timeout)
    }

    fn connect(&mut self, index: usize) -> Result<(), AnyError> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match net::connect(&socket, &self.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        self.ready.add(&socket, FIRST + index as u64, READ_WRITE)?;
        let client = &mut self.clients[index];
        client.left = 1 + self.random.below(2 * self.cut_bytes) as usize;
        client.state = State::Connecting(socket);
        self.counts.returns += u64::from(!client.progress.last_event_id.is_empty());
        Ok(())
    }

    fn advance(&mut self, index: usize) -> Result<(), AnyError> {
        let away = State::Away(Instant::now());
        match std::mem::replace(&mut self.clients[index].state, away) {
            State::Away(until) => self.clients[index].state = State::Away(until),
            State::Connecting(socket) => self.ask(index, socket)?,
            State::Head(socket, begun) => self.read(index, socket, Some(begun), Framing::Plain)?,
            State::Body(socket, framing) => self.read(index, socket, None, framing)?,
        }
        Ok(())
    }

    /// Sends the request if the connection is established.
    fn ask(&mut self, index: usize, socket: OwnedFd) -> Result<(), AnyError> {
        let client = &mut self.clients[index];
        let mut request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", self.path, self.address).into_bytes();
        if !client.progress.last_event_id.is_empty() {
            request.extend_from_slice(b"Last-Event-ID: ");
            request.extend_from_slice(&client.progress.last_event_id);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"Accept: text/event-stream\r\n\r\n");
        let sent = sockopt::socket_error(&socket)?.and_then(|()| net::send(&socket, &request, SendFlags::NOSIGNAL));
        if sent != Ok(request.len()) {
            self.counts.failed += 1;
            self.leave(index, None);
            return Ok(());
        }
        self.ready.modify(&socket, FIRST + index as u64, READ)?;
        client.state = State::Head(socket, Vec::new());
        Ok(())
    }

    /// Reads at most the bytes until the client disconnects.
    fn read(
        &mut self,
        index: usize,
        socket: OwnedFd,
        begun: Option<Vec<u8>>,
        framing: Framing,
    ) -> Result<(), AnyError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let most = self.clients[index].left.min(READ_BYTES);
        match net::recv(&socket, &mut buffer[..most], RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => {
                self.counts.ended += 1;
                self.leave(index, None);
            }
            Ok((count, _)) => self.take(index, socket, begun, framing, &buffer[..count])?,
            Err(Errno::AGAIN | Errno::INTR) => self.stay(index, socket, begun, framing),
            Err(error) => return Err(error.into()),
        }
        self.buffer = buffer;
        Ok(())
    }

    fn stay(&mut self, index: usize, socket: OwnedFd, begun: Option<Vec<u8>>, framing: Framing) {
        self.clients[index].state = match begun {
            Some(begun) => State::Head(socket, begun),
            None => State::Body(socket, framing),
        };
    }

    fn take(
        &mut self,
        index: usize,
        socket: OwnedFd,
        mut begun: Option<Vec<u8>>,
        mut framing: Framing,
        bytes: &[u8],
    ) -> Result<(), AnyError> {
        self.clients[index].left -= bytes.len();
        if let Some(so_far) = &mut begun {
            so_far.extend_from_slice(bytes);
            if let Some(found) = head(so_far) {
                let (length, found) = found.map_err(|_| "the response is not a stream")?;
                let rest = so_far.split_off(length);
                (begun, framing) = (None, found);
                self.take_body(index, &mut framing, &rest)?;
            }
        } else {
            self.take_body(index, &mut framing, bytes)?;
        }
        if self.clients[index].left == 0 {
            self.leave(index, Some(socket));
        } else {
            self.stay(index, socket, begun, framing);
        }
        Ok(())
    }

    fn take_body(&mut self, index: usize, framing: &mut Framing, bytes: &[u8]) -> Result<(), AnyError> {
        let mut body = bytes;
        if let Framing::Chunked(chunks) = framing {
            self.body.clear();
            chunks.unframe(bytes, &mut self.body).map_err(|_| "a chunk is malformed")?;
            body = &self.body;
        }
        self.clients[index].progress.feed(body, &mut self.counts);
        Ok(())
    }

    /// Closes the connection and waits before the next one. Half of the client's own disconnects are resets.
    fn leave(&mut self, index: usize, socket: Option<OwnedFd>) {
        if let Some(socket) = socket.filter(|_| self.random.below(2) == 0) {
            // If this fails, the connection is closed without a reset.
            let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        }
        let client = &mut self.clients[index];
        client.progress.hang_up(&mut self.counts);
        client.state = State::Away(Instant::now() + Duration::from_millis(self.random.below(MAX_AWAY_MS)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(pieces: &[&str]) -> (Progress, Counts) {
        let (mut progress, mut counts) = (Progress::default(), Counts::default());
        for piece in pieces {
            progress.feed(piece.as_bytes(), &mut counts);
        }
        (progress, counts)
    }

    #[test]
    fn an_id_counts_from_the_end_of_its_block() {
        let (mut progress, mut counts) = fed(&["id: e-1\n\nid: e-2\nda", "ta: 1 x 1\n"]);
        assert_eq!((&*progress.last_event_id, progress.last), (&b"e-1"[..], 0));
        progress.hang_up(&mut counts);
        progress.feed(b"\nid: e-2\r\ndata: 1 x 1\r\n\r\n", &mut counts);
        assert_eq!((&*progress.last_event_id, progress.last, counts.amid), (&b"e-2"[..], 1, 1));
    }

    #[test]
    fn lost_duplicate_and_malformed_events_are_counted() {
        let text = "data: 1 x 1\n\ndata: 4 x 4\n\ndata: 3 x 3\n\ndata: 5 x 4\n\ndata: 5\n\nevent: gap\ndata: {}\n\n";
        for cut in 0..=text.len() {
            let (_, counts) = fed(&[&text[..cut], &text[cut..]]);
            assert_eq!((counts.received, counts.lost, counts.twice, counts.malformed, counts.told), (2, 2, 1, 2, 1));
        }
    }
}
