//! Why a call on a hub failed, of this process or a named one.

use crate::wire::{Failure, Malformed, Name, NameError, TooLong};
use crate::{runtime, ErrorCode};
use std::fmt;
use std::io;
use std::sync::Arc;

/// Why a call on a hub failed.
#[derive(Clone, Debug)]
pub enum Error {
    /// There is no connection to the hub process. Nothing was done.
    Unavailable(String),
    /// The connection broke before the response: the request was perhaps carried out.
    Unknown,
    /// The hub process did not answer in time: the request was perhaps carried out. The name of the hub, if it is known.
    Timeout(Option<Name>),
    /// Too many requests wait to be sent: nothing was done.
    Full,
    /// The hub process has refused the request.
    Refused(Failure),
    /// This process refuses the call.
    Runtime(Arc<runtime::Error>),
    /// An argument is wrong.
    Invalid {
        /// The argument.
        field: &'static str,
        /// The mistake, and the remedy.
        message: String,
    },
}

impl Error {
    /// Says what could not be done with a path.
    pub(super) fn at(path: &std::path::Path, what: &str, error: &io::Error) -> Self {
        Self::Unavailable(format!("{what} {}: {error}", path.display()))
    }

    /// Returns the argument that is at fault, if it is one that the library knows.
    pub fn field(&self) -> Option<&'static str> {
        const KNOWN: [&str; 19] = [
            "channel",
            "channels",
            "comment",
            "data",
            "event",
            "gap_data",
            "gap_event",
            "id",
            "key",
            "name",
            "on_slow",
            "once",
            "opaque_ids",
            "position",
            "position_event",
            "retry",
            "show_channel",
            "socket",
            "store",
        ];
        match self {
            Self::Refused(failure) => {
                let given = failure.field.as_deref()?;
                KNOWN.iter().copied().find(|known| *known == given)
            }
            Self::Runtime(error) => error.field(),
            Self::Invalid { field, .. } => Some(field),
            Self::Unavailable(_) | Self::Unknown | Self::Timeout(_) | Self::Full => None,
        }
    }

    /// Returns the kind of failure.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable(_) => ErrorCode::Unavailable,
            // A publish that was not answered in time was perhaps carried out, too.
            Self::Unknown | Self::Timeout(_) => ErrorCode::Unknown,
            Self::Full => ErrorCode::Full,
            // A process of another version, or one that cannot continue as another program: this system can do it.
            Self::Refused(failure) if failure.code == ErrorCode::Unsupported && failure.field.is_none() => {
                ErrorCode::Refused
            }
            Self::Refused(failure) => failure.code,
            Self::Runtime(error) => error.code(),
            Self::Invalid { .. } => ErrorCode::Invalid,
        }
    }

    /// Returns true if this process is ending.
    pub fn is_shutdown(&self) -> bool {
        matches!(self, Self::Runtime(error) if matches!(**error, runtime::Error::ShuttingDown))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(message) | Self::Invalid { message, .. } => out.write_str(message),
            Self::Unknown => out.write_str("the connection to the hub process broke before its answer"),
            Self::Timeout(None) => out.write_str("the hub process does not answer"),
            Self::Timeout(Some(name)) => {
                write!(out, "the hub process {name} does not answer; eventsource hub log {name} may say why")
            }
            Self::Full => out.write_str("too many requests wait for the hub process, which does not take them"),
            Self::Refused(failure) => failure.fmt(out),
            Self::Runtime(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for Error {}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::Invalid { field: "name", message: error.to_string() }
    }
}

impl From<TooLong> for Error {
    fn from(error: TooLong) -> Self {
        Self::Invalid { field: "data", message: error.to_string() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::Unknown
    }
}

impl From<runtime::Error> for Error {
    fn from(error: runtime::Error) -> Self {
        Self::Runtime(Arc::new(error))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        runtime::Error::from(error).into()
    }
}
