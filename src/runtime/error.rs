//! Why the runtime refuses a call.

use crate::hub::Full;
use crate::ErrorCode;
use std::fmt;
use std::io;

/// Why an operation on a stream or a hub failed.
#[derive(Debug)]
pub enum Error {
    /// The system has no descriptor, no memory or no thread left.
    System(io::Error),
    /// This process is ending: it opens no stream and publishes no event any more.
    ShuttingDown,
    /// The stream is subscribed to another hub. One id cannot be a position in the sequences of two hubs.
    OtherHub,
    /// The stream would have more channels and patterns than the hub allows.
    TooManyTopics {
        /// The hub's limit.
        max: usize,
    },
    /// The application's id for an event could be mistaken for one of the hub's own ids.
    ReservedId,
    /// The event would change what is retained of a member who is here.
    MemberKey,
    /// The event cannot be retained.
    Full(Full),
    /// The reactor did not answer in time.
    Timeout,
    /// This process is a spawned child: a hub of its own would have no subscribers.
    SpawnedChild,
}

impl Error {
    /// Returns the kind of failure.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::System(_) | Self::ShuttingDown => ErrorCode::Unavailable,
            Self::OtherHub | Self::SpawnedChild => ErrorCode::State,
            Self::TooManyTopics { .. } | Self::ReservedId | Self::MemberKey => ErrorCode::Invalid,
            Self::Full(_) => ErrorCode::Full,
            Self::Timeout => ErrorCode::Timeout,
        }
    }

    /// Returns the argument that is at fault, if it is one.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::TooManyTopics { .. } => Some("channels"),
            Self::ReservedId => Some("id"),
            Self::MemberKey => Some("key"),
            Self::Full(_) => Some("retain"),
            Self::System(_) | Self::ShuttingDown | Self::OtherHub | Self::Timeout | Self::SpawnedChild => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::ShuttingDown => f.write_str("this process is ending"),
            Self::OtherHub => f.write_str("this stream is subscribed to another hub"),
            Self::TooManyTopics { max } => {
                write!(f, "a stream may have at most {max} channels and patterns (max_topics)")
            }
            Self::ReservedId => f.write_str("id must not begin as the hub's own ids do"),
            Self::MemberKey => f.write_str("this key is that of a member who is here: change it with member()"),
            Self::Full(full) => full.fmt(f),
            Self::Timeout => f.write_str("the reactor does not answer"),
            Self::SpawnedChild => f.write_str(
                "a spawned handler has no hub: its streams are those of the worker; send the worker a message instead",
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Full> for Error {
    fn from(full: Full) -> Self {
        Self::Full(full)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// For callers that report the number of a system error.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::System(error) => error,
            _ => Self::new(io::ErrorKind::Other, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_code_a_field_and_a_text() {
        for (error, code, field, text) in [
            (io::Error::new(io::ErrorKind::Other, "no thread").into(), ErrorCode::Unavailable, None, "no thread"),
            (Error::ShuttingDown, ErrorCode::Unavailable, None, "this process is ending"),
            (Error::OtherHub, ErrorCode::State, None, "this stream is subscribed to another hub"),
            (
                Error::TooManyTopics { max: 2 },
                ErrorCode::Invalid,
                Some("channels"),
                "a stream may have at most 2 channels and patterns (max_topics)",
            ),
            (Error::ReservedId, ErrorCode::Invalid, Some("id"), "id must not begin as the hub's own ids do"),
            (
                Error::MemberKey,
                ErrorCode::Invalid,
                Some("key"),
                "this key is that of a member who is here: change it with member()",
            ),
            (Error::Timeout, ErrorCode::Timeout, None, "the reactor does not answer"),
            (
                Error::SpawnedChild,
                ErrorCode::State,
                None,
                "a spawned handler has no hub: its streams are those of the worker; send the worker a message instead",
            ),
        ] {
            assert_eq!((error.code(), error.field(), &*error.to_string()), (code, field, text));
        }
    }
}
