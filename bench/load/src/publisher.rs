//! `load publisher`: publishes events to a server from outside, in one of three ways.
//!
//! - `--way post`: the data as the body of a POST to `--path`, on one persistent connection, with up to `--unanswered`
//!   pipelined requests. For nchan.
//! - `--way alone`: the same, on a connection for each, which may fail. For servers that are restarted meanwhile.
//! - `--way zmq`: an item for the channel `all` as JSON, on a PUSH socket of ZeroMQ, which does not answer. For Pushpin.
//!
//! First it connects and prints `{"connected":true}`. Then it reads commands:
//!
//! - `push ROUNDS INTERVAL BYTES`, as for the floor. Answers `{"pushed":...,"refused":0,"late":...,"seconds":...,"cpu":...}`
//!   when all is published and all requests are answered.
//! - `pace INTERVAL BYTES`: publishes an event every INTERVAL seconds, until `halt`
//! - `halt`: ends that, and answers `{"newest":NUMBER,"excused":[NUMBER,...]}`: the last number, and those that were not
//!   acknowledged, so that nobody has to receive them
//! - `stop`, or the end of its input: exits
//!
//! Each event's number is in its data. For Pushpin it is also the event's id, since there the publisher writes the event.

use crate::clock::now_ns;
use crate::control::{answer, Commands};
use crate::event::Event;
use crate::options::{AnyError, Options};
use crate::plan::Plan;
use crate::posts::Posts;
use crate::ready::{Ready, COMMANDS};
use crate::zmtp::Push;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::thread::sleep;
use std::time::Duration;

/// The timeout of operations that should be immediate.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The time after which an event that is published alone counts as not acknowledged.
const ALONE_TIMEOUT: Duration = Duration::from_secs(5);

enum Way {
    Post(Posts),
    Alone(SocketAddr, String),
    Zmq(Push<TcpStream>),
}

struct Publisher {
    way: Way,
    last_id: u64,
    data: Vec<u8>,
}

pub fn run(options: &Options) -> Result<(), AnyError> {
    let mut publisher = Publisher { way: Way::connect(options)?, last_id: 0, data: Vec::new() };
    answer(r#"{"connected":true}"#)?;
    let mut commands = Commands::default();
    while let Some(lines) = commands.read()? {
        for command in lines {
            match command.split_whitespace().collect::<Vec<_>>()[..] {
                ["stop"] => return Ok(()),
                ["push", ref plan @ ..] => publisher.push(Plan::begin(plan)?)?,
                ["pace", interval, bytes] => {
                    publisher.pace(Duration::from_secs_f64(interval.parse()?), bytes.parse()?)?;
                }
                ["halt"] => {} // of a pace that has ended
                _ => return Err(format!("unknown command '{command}'").into()),
            }
        }
    }
    Ok(())
}

impl Way {
    fn connect(options: &Options) -> Result<Self, AnyError> {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, options.need("port")?);
        let way: String = options.get("way", "post".to_owned())?;
        let path: String = options.get("path", "/publish".to_owned())?;
        if way == "alone" {
            return Ok(Self::Alone(address.into(), path));
        }
        let socket = connected(address.into(), TIMEOUT)?;
        match way.as_str() {
            "post" => Ok(Self::Post(Posts::new(socket, &address.to_string(), &path, options.get("unanswered", 1)?))),
            "zmq" => Ok(Self::Zmq(Push::shake_hands(socket)?)),
            _ => Err(format!("unknown way '{way}'").into()),
        }
    }

    fn publish(&mut self, id: u64, data: &[u8]) -> Result<(), AnyError> {
        match self {
            Self::Post(posts) => posts.send(data),
            Self::Alone(address, path) => {
                Posts::new(connected(*address, ALONE_TIMEOUT)?, &address.to_string(), path, 1).send(data)
            }
            Self::Zmq(push) => push.send(item(id, data).as_bytes()),
        }
    }

    fn finish(&mut self) -> Result<(), AnyError> {
        match self {
            Self::Post(posts) => posts.finish(),
            Self::Alone(..) | Self::Zmq(_) => Ok(()),
        }
    }
}

fn connected(address: SocketAddr, timeout: Duration) -> Result<TcpStream, AnyError> {
    let socket = TcpStream::connect_timeout(&address, timeout)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.set_write_timeout(Some(timeout))?;
    Ok(socket)
}

impl Publisher {
    /// Publishes until there is something to read on standard input, which is `halt` or its end.
    fn pace(&mut self, interval: Duration, data_bytes: usize) -> Result<(), AnyError> {
        let (mut commands, mut ready, mut readable) = (Ready::new()?, Vec::new(), false);
        let (mut excused, mut due_ns) = (Vec::new(), now_ns());
        while !readable {
            self.last_id += 1;
            self.data.clear();
            let event = Event { id: self.last_id, due_ns, pushed_ns: now_ns() };
            event.write_data(data_bytes, &mut self.data);
            if self.way.publish(self.last_id, &self.data).is_err() {
                excused.push(self.last_id.to_string());
            }
            due_ns = now_ns().max(due_ns + interval.as_nanos() as u64);
            loop {
                commands.wait(Duration::from_nanos(due_ns - now_ns().min(due_ns)), &mut ready)?;
                readable = ready.iter().any(|(number, _)| *number == COMMANDS);
                if readable || now_ns() >= due_ns {
                    break;
                }
            }
        }
        Ok(answer(&format!(r#"{{"newest":{},"excused":[{}]}}"#, self.last_id, excused.join(",")))?)
    }

    fn push(&mut self, mut plan: Plan) -> Result<(), AnyError> {
        while plan.rounds > 0 {
            let pause = plan.pause();
            if !pause.is_zero() {
                self.way.finish()?;
                sleep(plan.pause());
            }
            self.last_id += 1;
            self.data.clear();
            let event: Event = plan.event(self.last_id);
            event.write_data(plan.data_bytes, &mut self.data);
            self.way.publish(self.last_id, &self.data)?;
            plan.pushed += 1;
            plan.advance();
        }
        self.way.finish()?;
        Ok(answer(&plan.json())?)
    }
}

/// Returns a message for Pushpin: `J`, then an item whose content is sent unchanged. The data needs no escapes.
fn item(id: u64, data: &[u8]) -> String {
    let data = String::from_utf8_lossy(data);
    let content = format!(r"id: {id}\ndata: {data}\n\n");
    format!(r#"J{{"channel":"all","formats":{{"http-stream":{{"content":"{content}"}}}}}}"#)
}
