//! The name of a hub.

use super::codec::{Coded, Malformed, Reader, Writer};
use crate::Failure;
use std::fmt;

/// The name of a hub, which is the name of files.
///
/// One to 64 ASCII letters, digits, `_`, `-` and `.`, beginning with a letter, a digit or `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Box<str>);

impl Name {
    const MAX_BYTES: usize = 64;

    /// Takes a name. Fails with `Invalid` if the text is not a name.
    pub fn new(text: &str) -> Result<Self, Failure> {
        let may_follow = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let may_begin = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let is_name = text.bytes().all(may_follow) && text.as_bytes().first().map_or(false, may_begin);
        if is_name && text.len() <= Self::MAX_BYTES {
            Ok(Self(text.into()))
        } else {
            let message = "name must be 1 to 64 letters, digits, _, - and ., beginning with a letter, a digit or _";
            Err(Failure::invalid("name", message))
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Coded<'_> for Name {
    fn write(&self, to: &mut Writer<'_>) {
        self.0.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::new(from.str()?).map_err(|_| Malformed)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
