//! A connection to a Redis or a Sentinel: its calls, why they fail, and how long a thread waits before it makes another one.

use super::ANSWER;
use eventsource_xs::remote::calls::random;
use redis::{from_redis_value, Cmd, Connection, FromRedisValue, ParsingError, RedisError, Value};
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A connection.
pub struct RedisConnection {
    connection: Connection,
    /// The URL with which it was made.
    pub url: String,
    /// The host and the port.
    pub address: String,
    timeout: Duration,
}

impl RedisConnection {
    /// Waits for an answer for so long.
    pub fn new(connection: Connection, url: &str, address: String, timeout: Duration) -> Result<Self, CallError> {
        connection.set_write_timeout(Some(ANSWER))?;
        connection.set_read_timeout(Some(timeout))?;
        Ok(Self { connection, url: url.into(), address, timeout })
    }

    /// Sets how long an answer may take.
    pub fn set_read_timeout(&mut self, timeout: Duration) -> Result<(), CallError> {
        if self.timeout != timeout {
            self.connection.set_read_timeout(Some(timeout))?;
            self.timeout = timeout;
        }
        Ok(())
    }

    /// Sends commands.
    pub fn send(&mut self, commands: &[u8]) -> Result<(), CallError> {
        Ok(self.connection.send_packed_command(commands)?)
    }

    /// Takes the answer to one command. A refusal leaves the connection usable, any other error does not: the crate's own
    /// pipelines would wait for each answer of a silent connection in turn.
    pub fn receive(&mut self) -> Result<Value, CallError> {
        match self.connection.recv_response()? {
            Value::ServerError(error) => {
                let message = format!("{} {}", error.code(), error.details().unwrap_or_default());
                Err(CallError::refused(error.code(), message.trim_end()))
            }
            value => Ok(value),
        }
    }

    /// Sends a command, and reads the answer.
    pub fn call<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, CallError> {
        self.send(&command.get_packed_command())?;
        Ok(from_redis_value(self.receive()?)?)
    }

    /// Sends commands together, and takes all answers, also those that refuse.
    pub fn calls<const N: usize>(&mut self, commands: [&Cmd; N]) -> Result<[Result<Value, CallError>; N], CallError> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| command.write_packed_command(&mut bytes));
        self.send(&bytes)?;
        let mut answers = [(); N].map(|()| Ok(Value::Nil));
        for answer in &mut answers {
            *answer = match self.receive() {
                Err(cut) if !matches!(cut, CallError::Refused { .. }) => return Err(cut),
                answer => answer,
            };
        }
        Ok(answers)
    }
}

/// The reason for which something went wrong.
#[derive(Clone, Debug)]
pub enum CallError {
    /// The URL can never work.
    Invalid(String),
    /// The connection cannot be made, or broke, or is silent.
    Cut(String),
    /// The process was stopped and continues, or a debugger has looked at it (the other signals are blocked). Nothing is wrong
    /// with Redis, but the crate has lost count of the answers, so the connection has to be made anew, at once.
    Interrupted,
    /// Redis refuses a command: the first word of its answer, such as `OOM`, and all of it.
    Refused { code: String, message: String },
}

impl CallError {
    /// Takes the answer of Redis. Redis 6.2 puts the reason why it refuses a command of a script at the end of an `ERR`.
    fn refused(code: &str, message: &str) -> Self {
        let reason =
            message.rsplit_once(": -").filter(|_| code == "ERR").and_then(|(_, reason)| reason.split(' ').next());
        Self::Refused { code: reason.unwrap_or(code).into(), message: message.into() }
    }

    /// Returns true if Redis refuses with one of these words.
    pub fn is_one_of(&self, codes: &[&str]) -> bool {
        matches!(self, Self::Refused { code, .. } if codes.contains(&&code[..]))
    }

    /// Returns true if the command may succeed soon: Redis is starting, is a replica, or lacks replicas.
    pub fn is_passing(&self) -> bool {
        self.is_one_of(&["LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY", "TRYAGAIN", "UNBLOCKED"])
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => write!(out, "is not usable: {why}"),
            Self::Cut(why) => write!(out, "cannot be reached: {why}"),
            Self::Interrupted => write!(out, "was not heard: the process was stopped"),
            Self::Refused { message, .. } => write!(out, "refuses: {message}"),
        }
    }
}

impl From<RedisError> for CallError {
    fn from(error: RedisError) -> Self {
        use redis::{ErrorKind, ServerErrorKind};
        match error.kind() {
            ErrorKind::AuthenticationFailed => {
                let message = "the user or the password is wrong".into();
                Self::Refused { code: "WRONGPASS".into(), message }
            }
            ErrorKind::Server(ServerErrorKind::ResponseError) | ErrorKind::Extension => {
                let code = error.code().unwrap_or("ERR").to_owned();
                Self::Refused { code, message: error.to_string() }
            }
            _ if is_interrupted(&error) => Self::Interrupted,
            _ if error.is_timeout() => Self::Cut(format!("no answer ({error})")),
            _ => Self::Cut(error.to_string()),
        }
    }
}

fn is_interrupted(error: &RedisError) -> bool {
    let shared = error.source().and_then(|cause| cause.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let cause = shared.and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::Interrupted)
}

impl From<ParsingError> for CallError {
    fn from(error: ParsingError) -> Self {
        Self::Cut(format!("its answer does not follow the protocol of Redis ({error})"))
    }
}

/// The pauses between attempts to connect: the first, the longest, and the one after an error that only people can correct.
const PAUSES: (Duration, Duration, Duration) =
    (Duration::from_millis(50), Duration::from_secs(1), Duration::from_secs(3));

/// Pauses between attempts: each is twice as long, and random, so that many hubs do not come at once.
pub struct Backoff(Duration);

impl Backoff {
    pub fn new() -> Self {
        Self(PAUSES.0)
    }

    pub fn next(&mut self, fault: &CallError) -> Duration {
        let needs_people = fault.is_one_of(&["NOAUTH", "WRONGPASS", "NOPERM", "OLD", "LAYOUT", "WRONGTYPE"]);
        let pause = if needs_people { PAUSES.2 } else { self.0 };
        self.0 = (self.0 * 2).min(PAUSES.1);
        let random = random::bytes::<1>().map_or(128, |[byte]| u32::from(byte));
        pause / 2 + pause * random / 512
    }
}
