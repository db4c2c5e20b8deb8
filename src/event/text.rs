//! A caller's string: its bytes and their encoding.

use super::byte_mask::is_break;
use std::borrow::Cow;

/// A string as the caller stores it.
///
/// A stream is UTF-8 (WHATWG HTML 9.2.5), but not every caller stores its strings that way: Perl stores text below
/// U+0100 one byte a character. A `Text` names its encoding, so the encoder converts while it copies and builds no
/// intermediate string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    bytes: &'a [u8],
    encoding: Encoding,
}

/// The encoding of the bytes of a [`Text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// Sent as they are.
    Verbatim,
    /// Each byte is the character of that number, sent as UTF-8.
    Latin1,
}

impl<'a> Text<'a> {
    /// Takes bytes that are sent as they are. The caller ensures that they are UTF-8; nothing here checks it.
    pub const fn verbatim(bytes: &'a [u8]) -> Self {
        Self { bytes, encoding: Encoding::Verbatim }
    }

    /// Takes the characters U+0000 to U+00FF, one byte each. They are sent as UTF-8.
    pub fn latin1(bytes: &'a [u8]) -> Self {
        let encoding = if bytes.is_ascii() { Encoding::Verbatim } else { Encoding::Latin1 };
        Self { bytes, encoding }
    }

    /// Returns the bytes as the caller stores them. Line breaks, colons and NUL are the same bytes in every encoding.
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Removes the line breaks at the end.
    #[must_use]
    pub fn trim_line_breaks(self) -> Self {
        let end = self.bytes.iter().rposition(|byte| !is_break(*byte)).map_or(0, |last| last + 1);
        Self { bytes: &self.bytes[..end], ..self }
    }

    /// Returns the bytes as they are sent, line breaks included.
    pub fn to_utf8(self) -> Cow<'a, [u8]> {
        match self.encoding {
            Encoding::Verbatim => self.bytes.into(),
            Encoding::Latin1 => self.bytes.iter().copied().map(char::from).collect::<String>().into_bytes().into(),
        }
    }

    /// Returns true if each byte is sent as it is.
    pub(super) fn is_verbatim(self) -> bool {
        self.encoding == Encoding::Verbatim
    }

    /// Returns an upper bound of the bytes on the wire, without what replaces the line breaks.
    pub(super) fn size_bound(self) -> usize {
        match self.encoding {
            Encoding::Verbatim => self.bytes.len(),
            Encoding::Latin1 => self.bytes.len() + self.bytes.iter().filter(|byte| !byte.is_ascii()).count(),
        }
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::verbatim(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trailing_line_breaks_are_trimmed() {
        for (text, trimmed) in [("", ""), ("\n", ""), ("\r\n\r", ""), ("\n\na", "\n\na"), ("a\r\nb\n\r\n", "a\r\nb")] {
            assert_eq!(Text::from(text).trim_line_breaks(), Text::from(trimmed), "{text:?}");
        }
    }

    #[test]
    fn ascii_given_as_latin1_is_sent_verbatim() {
        assert!(Text::latin1(b"plain").is_verbatim());
        assert!(!Text::latin1(b"caf\xe9").is_verbatim());
    }
}
