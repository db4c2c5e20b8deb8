//! `load returning`: N clients that reconnect with the id of their last complete event, as a browser does, whatever ends
//! their connections. `judge` says what each of them has to receive, and what is wrong with it.
//!
//! With `--cut-bytes` each connection ends after a random number of bytes: within the head, within an event or between two;
//! half of them by a reset. A client reconnects within 50 ms, and within 100 to 200 ms after a response that is not a stream
//! or a failed connection. At most `--at-once` requests wait for their head: a stampede that overflows the listener's queue
//! would measure how the kernel repeats a SYN.
//!
//! A client keeps the cookie that it is given. With `--application PORT` there are two servers, as behind a proxy: a client
//! asks the first one if it has a cookie, and the application if it has none or the answer has `X-Accel-Redirect`.
//!
//! It prints `{"here":N}` when every client has an id to reconnect with, or with `--open` when each has an open stream. Then it
//! reads commands:
//!
//! - `tell`: answers with the counts, `{"received":...,"slowest":...,"returns":...,...}`. `slowest` is the largest number that
//!   every client has reached; `behind` is the number of clients that have not received an event that is newer than their
//!   last request, and `caught_up` the seconds from the last `mark` until the last client had
//! - `mark`: begins the counts of delays and requests, and the time of `caught_up`
//! - `cut`: closes all connections, half of them by a reset
//! - `slow BYTES`: every second client reads so many bytes a second, with a small window. Delays are those of the other clients
//!   until the next `mark`. 0 ends that: the time of `caught_up` begins, and the slow clients are behind
//! - `wander SECONDS`: each client leaves after a random time, so long on average, and comes back within half a second. 0 ends
//!   that, and the time of `caught_up` begins
//! - `judge NUMBER [EXCUSED,...]`: answers `{"told":...,"silent":...,"delays":{NS:COUNT,...}}`: what is lost up to that number,
//!   apart from the excused ones
//! - `stop`, or the end of its input: exits

use crate::clock::now_ns;
use crate::control::{answer, Commands};
use crate::judge::{Counts, Losses, Progress};
use crate::options::{AnyError, Options};
use crate::ready::{raise_descriptor_limit, Ready, COMMANDS, FIRST, NOTHING, READ, READ_WRITE};
use crate::response::{field, head, Framing};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, sockopt, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

const READ_BYTES: usize = 256 * 1024;
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// The longest time until a client reconnects.
const AWAY: Duration = Duration::from_millis(50);
const AWAY_AFTER_A_FAILURE: Duration = Duration::from_millis(100);
const AWAY_OF_A_WANDERER: Duration = Duration::from_millis(500);
/// How often a slow client reads, and its receive buffer, which the kernel doubles.
const SLOW_EVERY: Duration = Duration::from_millis(200);
const SLOW_BUFFER_BYTES: usize = 4096;
const NEVER: Duration = Duration::from_secs(1_000_000);

/// Pseudo-random numbers from a seed (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }

    fn time(&mut self, limit: Duration) -> Duration {
        Duration::from_micros(self.below(limit.as_micros() as u64))
    }
}

/// The counts of connections.
#[derive(Default)]
struct Connections {
    /// Requests with a last event ID.
    returns: u64,
    /// Responses that are streams.
    opened: u64,
    /// Connections that a client closed in the middle of a block.
    amid: u64,
    /// Streams that the server has ended.
    ended: u64,
    /// Connections that could not be established, or ended without a head.
    failed: u64,
    /// Responses that are not a stream.
    refused: u64,
}

/// One client and its current connection.
struct Client {
    progress: Progress,
    state: State,
    /// The header with its cookie.
    cookie: Vec<u8>,
    asks_application: bool,
    /// Bytes until it disconnects.
    left: usize,
    /// When it disconnects, or a slow one reads again.
    due: Instant,
    asked_ns: u64,
    is_behind: bool,
}

enum State {
    Away(Instant),
    Connecting(OwnedFd),
    Head(OwnedFd, Vec<u8>),
    Body(OwnedFd, Framing),
}

struct All {
    address: SocketAddrV4,
    application: Option<SocketAddrV4>,
    /// Each process has its own address, since the ports of one are soon used up.
    from: SocketAddrV4,
    path: String,
    gap: Vec<u8>,
    /// The average bytes of a connection; 0 for no limit.
    cut_bytes: u64,
    at_once: usize,
    is_here_when_open: bool,
    clients: Vec<Client>,
    counts: Counts,
    connections: Connections,
    /// Clients that wait for the head of a response.
    opening: usize,
    behind: usize,
    marked: Instant,
    caught_up: Instant,
    slow_bytes: usize,
    /// Whether clients have been slow since the last `mark`.
    have_been_slow: bool,
    wandering: Option<Duration>,
    is_here: bool,
    /// When a client is due next.
    next_due: Instant,
    ready: Ready,
    random: Random,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

pub fn run(options: &Options) -> Result<(), AnyError> {
    raise_descriptor_limit();
    let until = Instant::now() + Duration::from_secs(options.get("seconds", 600)?);
    All::new(options)?.serve(until)
}

impl All {
    fn new(options: &Options) -> Result<Self, AnyError> {
        let now = Instant::now();
        let wanted: usize = options.need("streams")?;
        let from = Ipv4Addr::new(127, 0, 0, options.get("from", 1)?);
        let port = |number| SocketAddrV4::new(Ipv4Addr::LOCALHOST, number);
        let application = Some(options.get("application", 0)?).filter(|number| *number > 0).map(port);
        let client = |_| Client {
            progress: Progress::default(),
            state: State::Away(now),
            cookie: Vec::new(),
            asks_application: application.is_some(),
            left: usize::MAX,
            due: now + NEVER,
            asked_ns: 0,
            is_behind: true,
        };
        Ok(Self {
            address: port(options.need("port")?),
            application,
            from: SocketAddrV4::new(from, 0),
            path: options.get("path", "/events".to_owned())?,
            gap: options.get("gap", "gap".to_owned())?.into_bytes(),
            cut_bytes: options.get("cut-bytes", 0)?,
            at_once: options.get("at-once", usize::MAX)?,
            is_here_when_open: options.get("open", 0)? > 0,
            clients: (0..wanted).map(client).collect(),
            counts: Counts::default(),
            connections: Connections::default(),
            opening: 0,
            behind: wanted,
            marked: now,
            caught_up: now,
            slow_bytes: 0,
            have_been_slow: false,
            wandering: None,
            is_here: false,
            next_due: now,
            ready: Ready::new()?,
            random: Random(options.get("seed", 1u64)?.max(1)),
            buffer: vec![0; READ_BYTES],
            body: Vec::with_capacity(READ_BYTES),
        })
    }

    fn serve(&mut self, until: Instant) -> Result<(), AnyError> {
        let (mut commands, mut ready) = (Commands::default(), Vec::new());
        while Instant::now() < until {
            let timeout = self.run_due()?;
            self.ready.wait(timeout, &mut ready)?;
            for &(number, _) in ready.iter().filter(|(number, _)| *number != COMMANDS) {
                self.advance((number - FIRST) as usize)?;
            }
            if ready.iter().any(|(number, _)| *number == COMMANDS) {
                for command in commands.read()?.unwrap_or_else(|| vec!["stop".to_owned()]) {
                    if command == "stop" {
                        return Ok(());
                    }
                    self.obey(&command)?;
                }
            }
            self.report_when_all_are_here()?;
        }
        Err("--seconds have passed".into())
    }

    fn obey(&mut self, command: &str) -> Result<(), AnyError> {
        match command.split_whitespace().collect::<Vec<_>>()[..] {
            ["tell"] => return self.tell(),
            ["mark"] => {
                (self.marked, self.caught_up) = (Instant::now(), Instant::now());
                (self.counts.delays, self.connections) = Default::default();
                self.have_been_slow = false;
            }
            ["cut"] => (0..self.clients.len()).for_each(|index| self.cut(index, AWAY)),
            ["slow", bytes] => self.slow_down(bytes.parse()?)?,
            ["wander", seconds] => self.wander(Duration::from_secs_f64(seconds.parse()?)),
            ["judge", newest] => return self.judge(newest.parse()?, ""),
            ["judge", newest, excused] => return self.judge(newest.parse()?, excused),
            _ => return Err(format!("unknown command '{command}'").into()),
        }
        Ok(answer("{}")?)
    }

    fn report_when_all_are_here(&mut self) -> Result<(), AnyError> {
        if self.is_here {
            return Ok(());
        }
        let is_here = |client: &Client| match self.is_here_when_open {
            true => matches!(client.state, State::Body(..)),
            false => !client.progress.last_event_id.is_empty(),
        };
        if self.clients.iter().all(is_here) {
            self.is_here = true;
            answer(&format!(r#"{{"here":{}}}"#, self.clients.len()))?;
        }
        Ok(())
    }

    fn tell(&self) -> Result<(), AnyError> {
        let Counts { received, twice, out_of_order, gaps, malformed, .. } = self.counts;
        let Connections { returns, opened, amid, ended, failed, refused } = self.connections;
        let (slowest, behind) = (self.clients.iter().map(|it| it.progress.last).min().unwrap_or(0), self.behind);
        let connected = self.clients.iter().filter(|client| matches!(client.state, State::Body(..))).count();
        let caught_up = (self.caught_up - self.marked).as_secs_f64();
        let clients =
            format!(r#""slowest":{slowest},"connected":{connected},"behind":{behind},"caught_up":{caught_up:.3}"#);
        let connections = format!(
            r#""returns":{returns},"opened":{opened},"amid":{amid},"ended":{ended},"failed":{failed},"refused":{refused}"#
        );
        let events = format!(
            r#""received":{received},"twice":{twice},"out_of_order":{out_of_order},"gaps":{gaps},"malformed":{malformed}"#
        );
        let p99 = self.counts.delays.quantile(0.99).as_secs_f64() * 1e3;
        Ok(answer(&format!(r#"{{{clients},{connections},{events},"p99":{p99:.3}}}"#))?)
    }

    fn judge(&self, newest: u64, excused: &str) -> Result<(), AnyError> {
        let excused: HashSet<u64> =
            excused.split(',').filter(|text| !text.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
        let mut losses = Losses::default();
        for client in &self.clients {
            client.progress.add_losses(newest, &excused, &mut losses);
        }
        let Losses { told, silent } = losses;
        Ok(answer(&format!(r#"{{"told":{told},"silent":{silent},"delays":{}}}"#, self.counts.delays.counts_json()))?)
    }

    fn cut(&mut self, index: usize, away: Duration) {
        let away = State::Away(Instant::now() + self.random.time(away));
        match std::mem::replace(&mut self.clients[index].state, away) {
            State::Away(until) => self.clients[index].state = State::Away(until),
            State::Connecting(socket) => self.hang_up(index, Some(socket), true),
            State::Head(socket, _) => self.hang_up(index, Some(socket), true),
            State::Body(socket, _) => self.hang_up(index, Some(socket), false),
        }
    }

    fn is_slow(&self, index: usize) -> bool {
        self.slow_bytes > 0 && index % 2 == 1
    }

    fn slow_down(&mut self, bytes_a_second: usize) -> Result<(), AnyError> {
        (self.marked, self.caught_up) = (Instant::now(), Instant::now());
        self.have_been_slow = true;
        self.slow_bytes = bytes_a_second / (Duration::from_secs(1).as_millis() / SLOW_EVERY.as_millis()) as usize;
        for index in (1..self.clients.len()).step_by(2) {
            self.clients[index].due = Instant::now() + if self.slow_bytes > 0 { SLOW_EVERY } else { NEVER };
            if self.slow_bytes == 0 {
                self.clients[index].asked_ns = now_ns();
                self.fall_behind(index);
            }
            if let State::Body(socket, _) = &self.clients[index].state {
                self.watch(index, socket)?;
            }
        }
        self.next_due = Instant::now();
        Ok(())
    }

    /// Waits until an open stream can be read; a slow client reads when it is due.
    fn watch(&self, index: usize, socket: &OwnedFd) -> Result<(), AnyError> {
        let flags = if self.is_slow(index) { NOTHING } else { READ };
        if self.is_slow(index) {
            sockopt::set_socket_recv_buffer_size(socket, SLOW_BUFFER_BYTES)?;
        }
        Ok(self.ready.modify(socket, FIRST + index as u64, flags)?)
    }

    fn wander(&mut self, average: Duration) {
        self.wandering = Some(average).filter(|average| !average.is_zero());
        if self.wandering.is_none() {
            (self.marked, self.caught_up) = (Instant::now(), Instant::now());
        }
        for index in 0..self.clients.len() {
            self.clients[index].due = self.leaves_at();
        }
        self.next_due = Instant::now();
    }

    fn leaves_at(&mut self) -> Instant {
        Instant::now() + self.wandering.map_or(NEVER, |average| self.random.time(2 * average))
    }

    /// Does what is due, and returns the time until the next client is due.
    fn run_due(&mut self) -> Result<Duration, AnyError> {
        let now = Instant::now();
        if now < self.next_due {
            return Ok((self.next_due - now).min(CHECK_EVERY));
        }
        self.next_due = now + CHECK_EVERY;
        for index in 0..self.clients.len() {
            match self.clients[index].state {
                State::Away(until) if until > now => self.next_due = self.next_due.min(until),
                State::Away(_) if self.opening < self.at_once => self.connect(index)?,
                State::Away(_) => {} // see `opened`
                _ if self.clients[index].due > now => self.next_due = self.next_due.min(self.clients[index].due),
                State::Body(..) if self.is_slow(index) => {
                    self.clients[index].due = now + SLOW_EVERY;
                    self.advance(index)?;
                }
                _ => {
                    self.clients[index].due = now + NEVER;
                    self.cut(index, AWAY_OF_A_WANDERER);
                }
            }
        }
        Ok(self.next_due.saturating_duration_since(Instant::now()).min(CHECK_EVERY))
    }

    fn connect(&mut self, index: usize) -> Result<(), AnyError> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        net::bind(&socket, &self.from)?;
        let application = self.application.filter(|_| self.clients[index].asks_application);
        match net::connect(&socket, &application.unwrap_or(self.address)) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        self.ready.add(&socket, FIRST + index as u64, READ_WRITE)?;
        let left = if self.cut_bytes > 0 { 1 + self.random.below(2 * self.cut_bytes) as usize } else { usize::MAX };
        let due = if self.is_slow(index) { Instant::now() + SLOW_EVERY } else { self.leaves_at() };
        let client = &mut self.clients[index];
        (client.left, client.due, client.state) = (left, due, State::Connecting(socket));
        self.opening += 1;
        self.fall_behind(index);
        Ok(())
    }

    /// Notes that a client has not received an event that is newer than its request.
    fn fall_behind(&mut self, index: usize) {
        if !std::mem::replace(&mut self.clients[index].is_behind, true) {
            self.behind += 1;
        }
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
        request.extend_from_slice(&client.cookie);
        request.extend_from_slice(b"Accept: text/event-stream\r\n\r\n");
        client.asked_ns = now_ns();
        let sent = sockopt::socket_error(&socket)?.and_then(|()| net::send(&socket, &request, SendFlags::NOSIGNAL));
        if sent != Ok(request.len()) {
            self.connections.failed += 1;
            self.fail(index);
            return Ok(());
        }
        self.connections.returns += u64::from(!client.progress.last_event_id.is_empty());
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
        let paced = if self.is_slow(index) && begun.is_none() { self.slow_bytes } else { READ_BYTES };
        let most = self.clients[index].left.min(paced);
        match net::recv(&socket, &mut buffer[..most], RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET | Errno::PIPE) if begun.is_some() => {
                self.connections.failed += 1;
                self.fail(index);
            }
            Ok((0, _)) | Err(Errno::CONNRESET | Errno::PIPE) => {
                self.connections.ended += 1;
                self.leave(index, None, AWAY, false);
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
        self.clients[index].left -= bytes.len().min(self.clients[index].left);
        if let Some(so_far) = &mut begun {
            so_far.extend_from_slice(bytes);
            let asks = self.application.is_some() && field(so_far, "x-accel-redirect").is_some();
            match head(so_far) {
                None => {}
                Some(_) if asks => {
                    drop(socket);
                    self.head_is_over();
                    self.clients[index].asks_application = true;
                    self.clients[index].state = State::Away(Instant::now());
                    return Ok(());
                }
                Some(Err(_)) => {
                    self.connections.refused += 1;
                    self.fail(index);
                    return Ok(());
                }
                Some(Ok((length, found))) => {
                    let rest = so_far.split_off(length);
                    let client = &mut self.clients[index];
                    client.asks_application = false;
                    if let Some(cookie) = field(so_far, "set-cookie") {
                        let pair = cookie.split(';').next().unwrap_or_default();
                        client.cookie = format!("Cookie: {pair}\r\n").into_bytes();
                    }
                    (begun, framing) = (None, found);
                    self.opened();
                    if self.is_slow(index) {
                        self.watch(index, &socket)?;
                    }
                    self.take_body(index, &mut framing, &rest)?;
                }
            }
        } else {
            self.take_body(index, &mut framing, bytes)?;
        }
        if self.clients[index].left == 0 {
            self.leave(index, Some(socket), AWAY, begun.is_some());
        } else {
            self.stay(index, socket, begun, framing);
        }
        Ok(())
    }

    fn opened(&mut self) {
        self.connections.opened += 1;
        self.head_is_over();
    }

    /// Another client may connect.
    fn head_is_over(&mut self) {
        self.opening -= 1;
        self.next_due = Instant::now();
    }

    fn take_body(&mut self, index: usize, framing: &mut Framing, bytes: &[u8]) -> Result<(), AnyError> {
        let mut body = bytes;
        if let Framing::Chunked(chunks) = framing {
            self.body.clear();
            chunks.unframe(bytes, &mut self.body).map_err(|_| "a chunk is malformed")?;
            body = &self.body;
        }
        let is_timed = !(self.have_been_slow && index % 2 == 1);
        let client = &mut self.clients[index];
        client.progress.feed(body, &self.gap, now_ns(), is_timed, &mut self.counts);
        if client.is_behind && client.progress.pushed_ns >= client.asked_ns {
            client.is_behind = false;
            self.behind -= 1;
            self.caught_up = Instant::now();
        }
        Ok(())
    }

    /// Ends a connection on which there is no stream.
    fn fail(&mut self, index: usize) {
        self.hang_up(index, None, true);
        let away = AWAY_AFTER_A_FAILURE + self.random.time(AWAY_AFTER_A_FAILURE);
        self.clients[index].state = State::Away(Instant::now() + away);
    }

    /// Closes the connection and waits before the next one.
    fn leave(&mut self, index: usize, socket: Option<OwnedFd>, away: Duration, is_opening: bool) {
        self.hang_up(index, socket, is_opening);
        self.clients[index].state = State::Away(Instant::now() + self.random.time(away));
    }

    /// Closes the connection. Half of the client's own disconnects are resets.
    fn hang_up(&mut self, index: usize, socket: Option<OwnedFd>, is_opening: bool) {
        if let Some(socket) = socket.filter(|_| self.random.below(2) == 0) {
            // If this fails, the connection is closed without a reset.
            let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        }
        if is_opening {
            self.head_is_over();
        }
        self.connections.amid += u64::from(self.clients[index].progress.hang_up());
        self.next_due = Instant::now();
    }
}
