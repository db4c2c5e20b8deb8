//! The fields of an event, valid by construction.
//!
//! WHATWG HTML 9.2.6 ends a field at CR, LF or CRLF, so a break inside `event`, `id` or `retry` would let a string
//! smuggle in fields of its own. The types here make that impossible: an [`EventId`] that exists is safe to write.

use super::byte_mask::is_break;
use std::borrow::Cow;
use std::fmt;

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

/// One field of a block (WHATWG HTML 9.2.5 for the grammar, 9.2.6 for the meaning).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// `event`: the type that the event is dispatched with (9.2.6, "If the field name is 'event'").
    Event(EventName<'a>),
    /// `id`: the last event ID from this event on (9.2.6, "If the field name is 'id'").
    Id(EventId<'a>),
    /// `retry`: the reconnection time (9.2.6, "If the field name is 'retry'").
    Retry(Retry<'a>),
    /// `data`: each line of the text becomes a `data` line, and the client joins them by LF (9.2.6).
    Data(Text<'a>),
    /// A comment, which clients ignore (9.2.5, `comment`). Each line of the text becomes a comment line.
    Comment(Text<'a>),
    /// One more blank line. Every block ends with one already.
    Blank,
}

/// The `event` of an event: any text without CR, LF and NUL. Empty means `message`.
///
/// The standard would let a NUL pass here; it is refused because clients in languages with C strings
/// end the name at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventName<'a>(Text<'a>);

/// The `id` of an event: any text without CR, LF and NUL. Empty resets the client's last event ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId<'a>(Text<'a>);

/// The `retry` of an event: the reconnection time in milliseconds, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry<'a>(Text<'a>);

impl<'a> EventName<'a> {
    /// Takes a name.
    ///
    /// # Errors
    ///
    /// [`FieldError`] with [`Why::LineBreak`] or [`Why::Nul`], whichever comes first in the text.
    pub fn new(text: Text<'a>) -> Result<Self, FieldError> {
        one_line(FieldName::Event, text).map(Self)
    }

    /// The name.
    pub const fn text(self) -> Text<'a> {
        self.0
    }
}

impl<'a> EventId<'a> {
    /// Takes an id.
    ///
    /// # Errors
    ///
    /// [`FieldError`] with [`Why::LineBreak`] or [`Why::Nul`], whichever comes first in the text: a client ignores an
    /// id with NUL (WHATWG HTML 9.2.6).
    pub fn new(text: Text<'a>) -> Result<Self, FieldError> {
        one_line(FieldName::Id, text).map(Self)
    }

    /// The id.
    pub const fn text(self) -> Text<'a> {
        self.0
    }
}

impl<'a> Retry<'a> {
    /// Takes a number of milliseconds: one or more ASCII digits, from 0 and without an upper bound. Zeros before it are left
    /// out, as a number of a database has none.
    ///
    /// # Errors
    ///
    /// [`FieldError`] with [`Why::NotDigits`]: a client ignores any other value (WHATWG HTML 9.2.6).
    pub fn new(text: Text<'a>) -> Result<Self, FieldError> {
        let digits = text.bytes();
        if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
            let zeros = digits[..digits.len() - 1].iter().take_while(|digit| **digit == b'0').count();
            Ok(Self(Text::verbatim(&digits[zeros..])))
        } else {
            Err(FieldError { field: FieldName::Retry, why: Why::NotDigits })
        }
    }

    /// Takes any one line, even one that clients will ignore, as the Perl modules that this crate stands in for do.
    ///
    /// # Errors
    ///
    /// [`FieldError`] with [`Why::LineBreak`] or [`Why::Nul`].
    pub fn any_line(text: Text<'a>) -> Result<Self, FieldError> {
        one_line(FieldName::Retry, text).map(Self)
    }

    /// The digits.
    pub const fn text(self) -> Text<'a> {
        self.0
    }
}

fn one_line(field: FieldName, text: Text<'_>) -> Result<Text<'_>, FieldError> {
    match memchr::memchr3(b'\r', b'\n', 0, text.bytes()) {
        None => Ok(text),
        Some(at) if text.bytes()[at] == 0 => Err(FieldError { field, why: Why::Nul }),
        Some(_) => Err(FieldError { field, why: Why::LineBreak }),
    }
}

named! {
    /// The field that an error is about, by its name in the standard.
    FieldName {
        /// `event`
        Event = "event",
        /// `id`
        Id = "id",
        /// `retry`
        Retry = "retry",
        /// `data`
        Data = "data",
        /// A comment, which has no name on the wire.
        Comment = "comment",
    }
}

/// The reason why a field's value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It contains CR or LF.
    LineBreak,
    /// It contains NUL.
    Nul,
    /// It is not one or more ASCII digits.
    NotDigits,
    /// It should have been UTF-8 already and is not.
    NotUtf8,
}

/// A field that cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field.
    pub field: FieldName,
    /// The reason.
    pub why: Why,
}

impl fmt::Display for FieldError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.field, self.why)
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::LineBreak => "must not contain a line break",
            Self::Nul => "must not contain NUL",
            Self::NotDigits => "must be a whole number of milliseconds, in ASCII digits",
            Self::NotUtf8 => "must be valid UTF-8",
        })
    }
}

impl std::error::Error for FieldError {}

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

    const BREAKING: [(&str, Why); 6] = [
        ("a\nb", Why::LineBreak),
        ("a\r", Why::LineBreak),
        ("\r\n", Why::LineBreak),
        ("a\0", Why::Nul),
        ("\0\n", Why::Nul),
        ("\n\0", Why::LineBreak),
    ];

    #[test]
    fn a_field_of_one_line_refuses_line_breaks_and_nul() {
        for (text, why) in BREAKING {
            let text = Text::from(text);
            assert_eq!(EventName::new(text).unwrap_err(), FieldError { field: FieldName::Event, why });
            assert_eq!(EventId::new(text).unwrap_err(), FieldError { field: FieldName::Id, why });
            assert_eq!(Retry::any_line(text).unwrap_err(), FieldError { field: FieldName::Retry, why });
        }
    }

    #[test]
    fn a_field_of_one_line_accepts_all_other_text() {
        for text in ["", " ", "a: b", "\u{b}\u{c}\u{85}\u{2028}", "☺", "\u{feff}"] {
            let text = Text::from(text);
            assert_eq!(EventName::new(text).unwrap().text(), text);
            assert_eq!(EventId::new(text).unwrap().text(), text);
            assert_eq!(Retry::any_line(text).unwrap().text(), text);
        }
    }

    #[test]
    fn retry_accepts_ascii_digits_only() {
        for (text, digits) in
            [("0", "0"), ("5000", "5000"), ("00012345678901234567890", "12345678901234567890"), ("00", "0")]
        {
            assert_eq!(Retry::new(Text::from(text)).unwrap().text(), Text::from(digits));
        }
        for text in ["", "-1", "+1", "1.5", "1e3", " 1", "1 ", "٣", "5\n", "abc"] {
            assert_eq!(Retry::new(Text::from(text)).unwrap_err().why, Why::NotDigits, "{text:?}");
        }
    }

    #[test]
    fn an_error_names_the_field_and_the_reason() {
        let error = EventId::new(Text::from("a\nb")).unwrap_err();
        assert_eq!(error.to_string(), "id must not contain a line break");
    }
}
