//! `load returning`: N clients that hang up again and again, wherever they are, and come back with the id of the last event
//! that they had whole, as a browser does. Each checks that the numbers which it is sent grow by one.
//!
//! An event's data begins and ends with its number, from 1 on. Where a client hangs up is a number of bytes that is drawn
//! for each connection, in the middle of a head, of an event or between two; every other time by a reset.
//!
//! It prints `{"here":N}` when every client has an id to come back with. Then it takes commands:
//!
//! - `tell`: answers with what was seen, `{"received":...,"slowest":...,"returns":...,"lost":...,...}`; `slowest` is the
//!   number that every client has had
//! - `stop`, or the end of its input: it leaves

use crate::control::{answer, Commands};
use crate::options::{Options, Trouble};
use crate::ready::{Ready, COMMANDS, FIRST, READ, READ_WRITE};
use crate::response::{head, Framing};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, sockopt, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

const READ_BYTES: usize = 256 * 1024;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A client comes back after so many milliseconds at most.
const AWAY_MS: u64 = 50;

/// Numbers that look drawn, the same for the same seed (Marsaglia's xorshift).
struct Lots(u64);

impl Lots {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// What one client, or all of them, have seen.
#[derive(Default)]
struct Seen {
    received: u64,
    lost: u64,
    twice: u64,
    /// Gaps that it was told of.
    told: u64,
    malformed: u64,
    /// Connections after its first.
    returns: u64,
    /// Times that it hung up in the middle of a block.
    amid: u64,
    /// Streams that the server has ended.
    ended: u64,
    /// Connections that came to nothing, for the server did not answer.
    failed: u64,
}

/// Where a client is: the number of its last event, the last id that it had whole, the block that is under way.
#[derive(Default)]
struct Follower {
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
    has_line: bool,
}

impl Follower {
    /// What was not whole is forgotten with the connection (WHATWG HTML 9.2.6).
    fn hang_up(&mut self, seen: &mut Seen) {
        seen.amid += u64::from(self.block.has_line || !self.partial.is_empty());
        self.partial.clear();
        self.block = Block::default();
    }

    fn feed(&mut self, mut bytes: &[u8], seen: &mut Seen) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..at], &bytes[at + 1..]);
            if self.partial.is_empty() {
                self.line(line, seen);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole, seen);
                whole.clear();
                self.partial = whole; // keeps its capacity
            }
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn line(&mut self, line: &[u8], seen: &mut Seen) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            let block = std::mem::take(&mut self.block);
            return self.take(block, seen);
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
        }
    }

    /// The end of a block: from here on its id is the last one, with or without data.
    fn take(&mut self, block: Block, seen: &mut Seen) {
        if let Some(id) = block.id {
            self.last_event_id = id;
        }
        match block.number {
            None => {}
            Some(_) if block.is_gap => seen.told += 1,
            Some(None) => seen.malformed += 1,
            Some(Some(number)) if number <= self.last => seen.twice += 1,
            Some(Some(number)) => {
                seen.lost += number - self.last - 1;
                seen.received += 1;
                self.last = number;
            }
        }
    }
}

/// What data begins and ends with, if that is one number.
fn number(data: &[u8]) -> Option<u64> {
    let end = memchr::memchr(b' ', data)?;
    let first = &data[..end];
    let is_whole = data.len() > 2 * end && data.ends_with(first) && data[data.len() - end - 1] == b' ';
    std::str::from_utf8(first).ok().filter(|_| is_whole)?.parse().ok()
}

/// One client, for as long as all goes on.
struct Client {
    follower: Follower,
    state: State,
    /// Bytes until it hangs up.
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
    seen: Seen,
    is_here: bool,
    ready: Ready,
    lots: Lots,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

pub fn run(options: &Options) -> Result<(), Trouble> {
    let until = Instant::now() + Duration::from_secs(options.get("seconds", 600)?);
    All::new(options)?.serve(until)
}

impl All {
    fn new(options: &Options) -> Result<Self, Trouble> {
        let now = Instant::now();
        let wanted: usize = options.need("streams")?;
        let client = |_| Client { follower: Follower::default(), state: State::Away(now), left: 0 };
        Ok(Self {
            address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, options.need("port")?),
            path: options.get("path", "/events".to_owned())?,
            cut_bytes: options.get("cut-bytes", 20_000)?,
            clients: (0..wanted).map(client).collect(),
            seen: Seen::default(),
            is_here: false,
            ready: Ready::new()?,
            lots: Lots(options.get("seed", 1u64)?.max(1)),
            buffer: vec![0; READ_BYTES],
            body: Vec::with_capacity(READ_BYTES),
        })
    }

    fn serve(&mut self, until: Instant) -> Result<(), Trouble> {
        let (mut commands, mut ready) = (Commands::default(), Vec::new());
        while Instant::now() < until {
            let patience = self.connect_who_is_due()?;
            self.ready.wait(patience, &mut ready)?;
            for &(number, _) in ready.iter().filter(|(number, _)| *number != COMMANDS) {
                self.advance((number - FIRST) as usize)?;
            }
            if ready.iter().any(|(number, _)| *number == COMMANDS) {
                for command in commands.read()?.unwrap_or_else(|| vec!["stop".to_owned()]) {
                    match &*command {
                        "stop" => return Ok(()),
                        "tell" => self.tell()?,
                        _ => return Err(format!("there is no command '{command}'").into()),
                    }
                }
            }
            self.say_when_all_are_here()?;
        }
        Err("the time is over".into())
    }

    fn say_when_all_are_here(&mut self) -> Result<(), Trouble> {
        if !self.is_here && self.clients.iter().all(|client| !client.follower.last_event_id.is_empty()) {
            self.is_here = true;
            answer(&format!(r#"{{"here":{}}}"#, self.clients.len()))?;
        }
        Ok(())
    }

    fn tell(&self) -> Result<(), Trouble> {
        let Seen { received, lost, twice, told, malformed, returns, amid, ended, failed } = self.seen;
        let slowest = self.clients.iter().map(|client| client.follower.last).min().unwrap_or(0);
        let connected = self.clients.iter().filter(|client| matches!(client.state, State::Body(..))).count();
        let json = format!(
            r#"{{"received":{received},"slowest":{slowest},"connected":{connected},"returns":{returns},"amid":{amid},"lost":{lost},"twice":{twice},"told":{told},"malformed":{malformed},"ended":{ended},"failed":{failed}}}"#
        );
        Ok(answer(&json)?)
    }

    /// Has those come back whose time it is, and says how long the next one stays away.
    fn connect_who_is_due(&mut self) -> Result<Duration, Trouble> {
        let now = Instant::now();
        let mut patience = LOOK_EVERY;
        for index in 0..self.clients.len() {
            if let State::Away(until) = self.clients[index].state {
                if until <= now {
                    self.connect(index)?;
                } else {
                    patience = patience.min(until - now + Duration::from_micros(100));
                }
            }
        }
        Ok(patience)
    }

    fn connect(&mut self, index: usize) -> Result<(), Trouble> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        match net::connect(&socket, &self.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(trouble) => return Err(trouble.into()),
        }
        self.ready.add(&socket, FIRST + index as u64, READ_WRITE)?;
        let client = &mut self.clients[index];
        client.left = 1 + self.lots.draw(2 * self.cut_bytes) as usize;
        client.state = State::Connecting(socket);
        self.seen.returns += u64::from(!client.follower.last_event_id.is_empty());
        Ok(())
    }

    fn advance(&mut self, index: usize) -> Result<(), Trouble> {
        let away = State::Away(Instant::now());
        match std::mem::replace(&mut self.clients[index].state, away) {
            State::Away(until) => self.clients[index].state = State::Away(until),
            State::Connecting(socket) => self.ask(index, socket)?,
            State::Head(socket, begun) => self.read(index, socket, Some(begun), Framing::Plain)?,
            State::Body(socket, framing) => self.read(index, socket, None, framing)?,
        }
        Ok(())
    }

    /// Sends the request: the connection is there, or has failed.
    fn ask(&mut self, index: usize, socket: OwnedFd) -> Result<(), Trouble> {
        let client = &mut self.clients[index];
        let mut request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", self.path, self.address).into_bytes();
        if !client.follower.last_event_id.is_empty() {
            request.extend_from_slice(b"Last-Event-ID: ");
            request.extend_from_slice(&client.follower.last_event_id);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"Accept: text/event-stream\r\n\r\n");
        let sent = sockopt::socket_error(&socket)?.and_then(|()| net::send(&socket, &request, SendFlags::NOSIGNAL));
        if sent != Ok(request.len()) {
            self.seen.failed += 1;
            self.leave(index, None);
            return Ok(());
        }
        self.ready.modify(&socket, FIRST + index as u64, READ)?;
        client.state = State::Head(socket, Vec::new());
        Ok(())
    }

    /// Reads no more than until it hangs up.
    fn read(&mut self, index: usize, socket: OwnedFd, begun: Option<Vec<u8>>, framing: Framing) -> Result<(), Trouble> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let most = self.clients[index].left.min(READ_BYTES);
        match net::recv(&socket, &mut buffer[..most], RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => {
                self.seen.ended += 1;
                self.leave(index, None);
            }
            Ok((count, _)) => self.take(index, socket, begun, framing, &buffer[..count])?,
            Err(Errno::AGAIN | Errno::INTR) => self.stay(index, socket, begun, framing),
            Err(trouble) => return Err(trouble.into()),
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
    ) -> Result<(), Trouble> {
        self.clients[index].left -= bytes.len();
        if let Some(so_far) = &mut begun {
            so_far.extend_from_slice(bytes);
            if let Some(found) = head(so_far) {
                let (length, found) = found.map_err(|_| "the response is no stream")?;
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

    fn take_body(&mut self, index: usize, framing: &mut Framing, bytes: &[u8]) -> Result<(), Trouble> {
        let mut body = bytes;
        if let Framing::Chunked(chunks) = framing {
            self.body.clear();
            chunks.unframe(bytes, &mut self.body).map_err(|_| "a chunk is broken")?;
            body = &self.body;
        }
        self.clients[index].follower.feed(body, &mut self.seen);
        Ok(())
    }

    /// Is away for a while. Half of those who hang up themselves do it by a reset.
    fn leave(&mut self, index: usize, socket: Option<OwnedFd>) {
        if let Some(socket) = socket.filter(|_| self.lots.draw(2) == 0) {
            // If that cannot be set, it is no reset.
            let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        }
        let client = &mut self.clients[index];
        client.follower.hang_up(&mut self.seen);
        client.state = State::Away(Instant::now() + Duration::from_millis(self.lots.draw(AWAY_MS)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pieces: &[&str]) -> (Follower, Seen) {
        let (mut follower, mut seen) = (Follower::default(), Seen::default());
        for piece in pieces {
            follower.feed(piece.as_bytes(), &mut seen);
        }
        (follower, seen)
    }

    #[test]
    fn an_id_counts_from_the_end_of_its_block_on() {
        let (mut follower, mut seen) = told(&["id: e-1\n\nid: e-2\nda", "ta: 1 x 1\n"]);
        assert_eq!((&*follower.last_event_id, follower.last), (&b"e-1"[..], 0));
        follower.hang_up(&mut seen);
        follower.feed(b"\nid: e-2\r\ndata: 1 x 1\r\n\r\n", &mut seen);
        assert_eq!((&*follower.last_event_id, follower.last, seen.amid), (&b"e-2"[..], 1, 1));
    }

    #[test]
    fn what_is_lost_or_comes_twice_or_is_broken_is_counted() {
        let text = "data: 1 x 1\n\ndata: 4 x 4\n\ndata: 3 x 3\n\ndata: 5 x 4\n\ndata: 5\n\nevent: gap\ndata: {}\n\n";
        for cut in 0..=text.len() {
            let (_, seen) = told(&[&text[..cut], &text[cut..]]);
            assert_eq!((seen.received, seen.lost, seen.twice, seen.malformed, seen.told), (2, 2, 1, 2, 1));
        }
    }
}
