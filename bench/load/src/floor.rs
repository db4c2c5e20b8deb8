//! `load floor`: a server that does the least possible work. One thread, one epoll; a push is one `send` to each client, of
//! the bytes that the application sends.
//!
//! First it prints `{"port":P}`. Then it reads commands:
//!
//! - `push ROUNDS INTERVAL BYTES`: pushes that many rounds, INTERVAL seconds apart, or flat out if it is 0, with BYTES of
//!   data in each event. Answers `{"pushed":...,"refused":...,"late":...,"seconds":...,"cpu":...}` when all is sent.
//! - `held`: answers `{"held":N}`, the number of open streams
//! - `stop`, or the end of its input: exits
//!
//! Bytes that a socket does not accept are buffered; a client with more than `--max-buffered` bytes is dropped.

use crate::control::{answer, Commands};
use crate::options::{AnyError, Options};
use crate::plan::Plan;
use crate::ready::{Ready, COMMANDS, FIRST, LISTENER, READ, READ_WRITE, WRITE};
use rustix::io::Errno;
use rustix::net::{listen, send, SendFlags};
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=UTF-8\r\n\
    Cache-Control: no-store\r\nConnection: close\r\n\r\n";
const BACKLOG: i32 = 1024;
const CHECK_EVERY: Duration = Duration::from_millis(100);

struct Connection {
    socket: TcpStream,
    request: Vec<u8>,
    is_stream: bool,
    /// Bytes that the socket has not accepted yet.
    pending: Vec<u8>,
}

struct Floor {
    listener: TcpListener,
    ready: Ready,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    plan: Option<Plan>,
    last_id: u64,
    max_buffered_bytes: usize,
    event: Vec<u8>,
}

pub fn run(options: &Options) -> Result<(), AnyError> {
    let until = Instant::now() + Duration::from_secs(options.get("seconds", 600)?);
    let mut floor = Floor::new(options.get("max-buffered", 1 << 20)?)?;
    answer(&format!(r#"{{"port":{}}}"#, floor.listener.local_addr()?.port()))?;
    floor.serve(until)
}

impl Floor {
    fn new(max_buffered_bytes: usize) -> Result<Self, AnyError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listen(&listener, BACKLOG)?; // std sets a backlog of 128
        listener.set_nonblocking(true)?;
        let ready = Ready::new()?;
        ready.add(&listener, LISTENER, READ)?;
        Ok(Self {
            listener,
            ready,
            connections: Vec::new(),
            free: Vec::new(),
            plan: None,
            last_id: 0,
            max_buffered_bytes,
            event: Vec::new(),
        })
    }

    fn serve(&mut self, until: Instant) -> Result<(), AnyError> {
        let (mut commands, mut ready) = (Commands::default(), Vec::new());
        while Instant::now() < until {
            let timeout = self.plan.as_ref().map_or(CHECK_EVERY, Plan::pause).min(CHECK_EVERY);
            self.ready.wait(timeout, &mut ready)?;
            for &(number, flags) in &ready {
                match number {
                    COMMANDS => {}
                    LISTENER => self.accept()?,
                    number => self.advance((number - FIRST) as usize, flags.contains(WRITE)),
                }
            }
            if ready.iter().any(|(number, _)| *number == COMMANDS) {
                for command in commands.read()?.unwrap_or_else(|| vec!["stop".to_owned()]) {
                    if command == "stop" {
                        return Ok(());
                    }
                    self.obey(&command)?;
                }
            }
            self.push_if_due()?;
        }
        Err("--seconds have passed".into())
    }

    fn obey(&mut self, command: &str) -> Result<(), AnyError> {
        match command.split_whitespace().collect::<Vec<_>>()[..] {
            ["held"] => Ok(answer(&format!(r#"{{"held":{}}}"#, self.streams().count()))?),
            ["push", ref plan @ ..] => {
                self.plan = Some(Plan::begin(plan)?);
                Ok(())
            }
            _ => Err(format!("unknown command '{command}'").into()),
        }
    }

    fn streams(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().flatten().filter(|connection| connection.is_stream)
    }

    fn accept(&mut self) -> Result<(), AnyError> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?; // as Starman and Twiggy do
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.ready.add(&socket, FIRST + index as u64, READ)?;
            let (request, pending) = (Vec::new(), Vec::new());
            self.connections[index] = Some(Connection { socket, request, is_stream: false, pending });
        }
    }

    /// Handles a client that has sent something, has left, or can be written to.
    fn advance(&mut self, index: usize, is_writable: bool) {
        let Some(mut connection) = self.connections[index].take() else { return };
        if (!is_writable || connection.flush(&self.ready, index)) && connection.read() {
            self.connections[index] = Some(connection);
        } else {
            self.free.push(index);
        }
    }

    fn push_if_due(&mut self) -> Result<(), AnyError> {
        let Some(mut plan) = self.plan.take() else { return Ok(()) };
        if plan.rounds > 0 && plan.pause().is_zero() {
            self.push_round(&mut plan);
        }
        if plan.rounds > 0 {
            self.plan = Some(plan);
            return Ok(());
        }
        Ok(answer(&plan.json())?)
    }

    fn push_round(&mut self, plan: &mut Plan) {
        self.last_id += 1;
        for index in 0..self.connections.len() {
            let Some(connection) = self.connections[index].as_mut().filter(|it| it.is_stream) else { continue };
            self.event.clear();
            plan.event(self.last_id).write(plan.data_bytes, &mut self.event);
            if connection.push(&self.event, self.max_buffered_bytes, &self.ready, index) {
                plan.pushed += 1;
            } else {
                plan.refused += 1;
                self.connections[index] = None;
                self.free.push(index);
            }
        }
        plan.advance();
    }
}

impl Connection {
    /// Reads from the client. Returns false if it has left.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.socket.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) if self.is_stream => return true,
            Ok(count) => self.request.extend_from_slice(&bytes[..count]),
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
        if !self.request.ends_with(b"\r\n\r\n") {
            return true;
        }
        self.request = Vec::new();
        self.is_stream = true;
        matches!(self.send(HEAD), Ok(sent) if sent == HEAD.len())
    }

    /// Calls `send` once. Returns the number of bytes that the socket has accepted.
    fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match send(&self.socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            sent => sent,
        }
    }

    /// Sends or buffers an event. Returns false if the client has left or lags too far.
    fn push(&mut self, event: &[u8], max_buffered_bytes: usize, ready: &Ready, index: usize) -> bool {
        if !self.pending.is_empty() {
            self.pending.extend_from_slice(event);
            return self.pending.len() <= max_buffered_bytes;
        }
        let Ok(sent) = self.send(event) else { return false };
        self.pending.extend_from_slice(&event[sent..]);
        self.pending.is_empty() || ready.modify(&self.socket, FIRST + index as u64, READ_WRITE).is_ok()
    }

    /// Sends buffered bytes to a writable socket. Returns false if the client has left.
    fn flush(&mut self, ready: &Ready, index: usize) -> bool {
        let Ok(sent) = self.send(&self.pending) else { return false };
        self.pending.drain(..sent);
        !self.pending.is_empty() || ready.modify(&self.socket, FIRST + index as u64, READ).is_ok()
    }
}
