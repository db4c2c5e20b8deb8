//! Why a call to Redis fails, and what Redis refuses.

use redis::RedisError;
use std::fmt;

/// Why something went wrong.
#[derive(Clone, Debug)]
pub enum CallError {
    /// The URL can never work.
    Invalid(String),
    /// The connection cannot be made, or broke, or is silent.
    Cut(String),
    /// Redis refuses a command.
    Refused(Refusal),
}

/// The answer of Redis if it refuses a command.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The first word, such as `OOM`.
    pub code: String,
    pub message: String,
}

impl Refusal {
    /// Creates the answer of Redis. Redis 6.2 puts the reason why it refuses a command of a script at the end of an `ERR`.
    pub fn new(code: &str, message: &str) -> Self {
        let reason =
            message.rsplit_once(": -").filter(|_| code == "ERR").and_then(|(_, reason)| reason.split(' ').next());
        Self { code: reason.unwrap_or(code).into(), message: message.into() }
    }

    /// Whether only people can help, so that trying again soon is of no use.
    pub fn needs_people(&self) -> bool {
        ["NOAUTH", "WRONGPASS", "NOPERM", "OLD", "LAYOUT", "WRONGTYPE"].contains(&&self.code[..])
    }

    /// Whether the command may succeed soon: Redis is starting, is a replica, or lacks replicas.
    pub fn is_passing(&self) -> bool {
        ["LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY", "TRYAGAIN", "UNBLOCKED"].contains(&&self.code[..])
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => write!(out, "is not usable: {why}"),
            Self::Cut(why) => write!(out, "cannot be reached: {why}"),
            Self::Refused(refusal) => write!(out, "refuses: {}", refusal.message),
        }
    }
}

impl From<RedisError> for CallError {
    fn from(error: RedisError) -> Self {
        use redis::{ErrorKind, ServerErrorKind};
        match error.kind() {
            ErrorKind::AuthenticationFailed => {
                let message = "the user or the password is wrong".into();
                Self::Refused(Refusal { code: "WRONGPASS".into(), message })
            }
            ErrorKind::Server(ServerErrorKind::ResponseError) | ErrorKind::Extension => {
                let code = error.code().unwrap_or("ERR").to_owned();
                Self::Refused(Refusal { code, message: error.to_string() })
            }
            _ if error.is_timeout() => Self::Cut(format!("no answer ({error})")),
            _ => Self::Cut(error.to_string()),
        }
    }
}
