//! Why a hub process refuses something.

use super::codec::{Malformed, Reader, Writer};
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

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.u8(self.code as u8);
        writer.option(self.field.as_deref().map(str::as_bytes), Writer::bytes);
        writer.bytes(self.message.as_bytes());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let code = usize::from(reader.u8()?);
        Ok(Self {
            code: ErrorCode::ALL.get(code).copied().ok_or(Malformed)?,
            field: reader.option(Reader::str)?.map(Into::into),
            message: reader.str()?.into(),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
