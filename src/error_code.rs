//! The kinds of errors, for Rust and for Perl, and the error that crosses layers.

use std::fmt;
use std::io;

named! {
    /// The kind of an error: the codes of the Perl class EventSource::Error.
    ///
    /// `esx_code` in `src/xs/eventsource.h` has the values of those that C finds.
    #[repr(u8)]
    ErrorCode {
        /// An argument or a setting has a value that it cannot have.
        Invalid = "invalid",
        /// The call does not fit the state of its object.
        State = "state",
        /// This system does not support the call.
        Unsupported = "unsupported",
        /// The system has too few resources, or the process is ending. The same call may succeed later.
        Unavailable = "unavailable",
        /// An answer did not come in time.
        Timeout = "timeout",
        /// A defect of this crate.
        Internal = "internal",
        /// The connection to a hub process broke before the answer: the call has perhaps had its effect.
        Unknown = "unknown",
        /// Too much waits for a hub process, or what is to be retained does not fit into the state: the call had no effect.
        Full = "full",
        /// A hub process refuses this one: it has other settings or another version.
        Refused = "refused",
    }
}

/// The reason for which a call was refused, or cannot have its result, as EventSource::Error says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of error.
    pub code: ErrorCode,
    /// The argument that is at fault, if it is one.
    pub field: Option<Box<str>>,
    /// The reason and the remedy.
    pub message: Box<str>,
}

/// The field that a failure names if the other process does not know a call.
const UNKNOWN_CALL: &str = "call";

impl Failure {
    /// Makes a failure.
    pub fn new(code: ErrorCode, field: Option<&str>, message: &str) -> Self {
        Self { code, field: field.map(Into::into), message: message.into() }
    }

    /// An argument is wrong.
    pub fn invalid(field: &str, message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::Invalid, Some(field), &message.to_string())
    }

    /// Nothing was done, and the same call may succeed later.
    pub fn unavailable(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::Unavailable, None, &message.to_string())
    }

    /// The other process does not know a call. It says so with its own version; the caller adds its own (`with_version`).
    pub fn unknown_call(call: u8, version: &str) -> Self {
        let message = format!("this hub process, eventsource-hub {version}, does not know the call {call}");
        Self::new(ErrorCode::Unsupported, Some(UNKNOWN_CALL), &message)
    }

    /// Adds the version of this library, if the other process does not know a call of it.
    #[cfg(target_os = "linux")]
    pub(crate) fn with_version(mut self) -> Self {
        if (self.code, self.field.as_deref()) == (ErrorCode::Unsupported, Some(UNKNOWN_CALL)) {
            let own = env!("CARGO_PKG_VERSION");
            let remedy =
                "have the process continue as the program that was installed with it (eventsource hub upgrade)";
            self.field = None;
            self.message = format!("{} of EventSource::XS {own}: {remedy}", self.message).into();
        }
        self
    }

    /// The connection to a hub process broke before the response, or that is another one: the call perhaps had its effect.
    pub fn unknown() -> Self {
        Self::new(ErrorCode::Unknown, None, "the connection to the hub process broke before its answer")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The system has no descriptor, no memory or no thread left.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::unavailable(error)
    }
}
