//! A caller's string: its bytes, and how they become the bytes that are sent.

use super::breaks::is_break;

/// A string as its owner holds it.
///
/// A stream is UTF-8 (WHATWG HTML 9.2.5), but not every caller holds its strings that way: Perl keeps text below
/// U+0100 one byte a character. A `Text` says which it is, so that the encoder converts while it copies and no
/// intermediate string is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    bytes: &'a [u8],
    form: Form,
}

/// How the bytes of a [`Text`] are to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Sent as they are.
    Verbatim,
    /// Each byte is the character of that number, sent as UTF-8.
    Latin1,
}

impl<'a> Text<'a> {
    /// Bytes that are sent as they are. That they are UTF-8 is the caller's to see to; nothing here checks it.
    pub const fn verbatim(bytes: &'a [u8]) -> Self {
        Self { bytes, form: Form::Verbatim }
    }

    /// Characters U+0000 to U+00FF, one byte each; sent as UTF-8.
    pub fn latin1(bytes: &'a [u8]) -> Self {
        let form = if bytes.is_ascii() { Form::Verbatim } else { Form::Latin1 };
        Self { bytes, form }
    }

    /// The bytes as the caller holds them. Line breaks, colons and NUL are the same bytes in every form.
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The same text without the line breaks at its end.
    #[must_use]
    pub fn trim_line_breaks(self) -> Self {
        let end = self.bytes.iter().rposition(|byte| !is_break(*byte)).map_or(0, |last| last + 1);
        Self { bytes: &self.bytes[..end], ..self }
    }

    /// Whether each byte is sent as it is.
    pub(super) fn is_verbatim(self) -> bool {
        self.form == Form::Verbatim
    }

    /// The most bytes that the text can take on the wire, leaving aside what its line breaks turn into.
    pub(super) fn size_bound(self) -> usize {
        match self.form {
            Form::Verbatim => self.bytes.len(),
            Form::Latin1 => self.bytes.len() + self.bytes.iter().filter(|byte| !byte.is_ascii()).count(),
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
    fn trailing_breaks_are_trimmed_and_only_they() {
        for (text, trimmed) in [("", ""), ("\n", ""), ("\r\n\r", ""), ("\n\na", "\n\na"), ("a\r\nb\n\r\n", "a\r\nb")] {
            assert_eq!(Text::from(text).trim_line_breaks(), Text::from(trimmed), "{text:?}");
        }
    }

    #[test]
    fn latin1_that_is_ascii_is_sent_as_it_is() {
        assert!(Text::latin1(b"plain").is_verbatim());
        assert!(!Text::latin1(b"caf\xe9").is_verbatim());
    }
}
