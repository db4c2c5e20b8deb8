//! Why a hub process refuses something.

use crate::ErrorCode;
use std::fmt;

/// Why something was refused, as EventSource::Error says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of error.
    pub code: ErrorCode,
    /// The argument that is at fault, if it is one.
    pub field: Option<Box<str>>,
    /// The reason and the remedy.
    pub message: Box<str>,
}

impl Failure {
    /// Makes a failure.
    pub fn new(code: ErrorCode, field: Option<&str>, message: &str) -> Self {
        Self { code, field: field.map(Into::into), message: message.into() }
    }

    /// The connection broke before the response, or that is another one: the request was perhaps carried out.
    pub fn unknown() -> Self {
        Self::new(ErrorCode::Unknown, None, "the connection to the hub process broke before its answer")
    }
}

coded!(Failure { code, field, message });
coded!(ErrorCode in ErrorCode::ALL);

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
