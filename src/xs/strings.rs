//! The conversion of a Perl string to bytes.
//!
//! A Perl string is a sequence of characters, stored either one byte a character (all below U+0100) or as UTF-8. A flag
//! says which. The flag is internal to perl: two strings that are equal must give the same bytes whatever their flags
//! are. The caller's strings have one of four meanings, [`Strings`]. From it and the flag follows the [`Conversion`].

use super::guard::refuse;
use std::os::raw::c_int;

/// `esx_strings`: the meaning of the strings of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strings {
    /// Characters, of which the result is made too: a Perl string that is not encoded.
    AsIs,
    /// Characters, sent as UTF-8.
    Characters,
    /// UTF-8 already; anything else is an error.
    Bytes,
    /// UTF-8 already if they are valid UTF-8, characters otherwise. Each field is judged by itself.
    Either,
}

impl Strings {
    pub(super) fn from_c(number: c_int) -> Self {
        match number {
            0 => Self::AsIs,
            1 => Self::Characters,
            2 => Self::Bytes,
            3 => Self::Either,
            _ => refuse("meaning of strings", number),
        }
    }
}

/// `esx_conversion`: the conversion of one field's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Conversion {
    /// The bytes are sent as they are.
    Copy,
    /// Each byte is a character; the encoder writes it as UTF-8.
    Latin1,
    /// C replaces the text with the result of [`repair`].
    Repair,
    /// C replaces the text with the same characters, stored one byte each.
    Downgrade,
}

/// A text that should have been UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotUtf8;

/// Returns the conversion of one text. `is_flagged` is its flag; `any_flagged` is true if a text of the call has one. Fails
/// with [`NotUtf8`], only with [`Strings::Bytes`].
pub(super) fn conversion_of(
    text: &[u8],
    is_flagged: bool,
    strings: Strings,
    any_flagged: bool,
) -> Result<Conversion, NotUtf8> {
    Ok(match (strings, is_flagged) {
        (Strings::AsIs, flagged) if flagged || !any_flagged => Conversion::Copy,
        // Decided here once: `Text::latin1` would search the bytes each time that a `Text` is made.
        _ if text.is_ascii() => Conversion::Copy,
        (Strings::AsIs, _) => Conversion::Latin1,
        (Strings::Characters, true) => characters(text),
        (Strings::Characters, false) => Conversion::Latin1,
        (Strings::Bytes, true) => Conversion::Downgrade,
        (Strings::Bytes, false) if is_utf8(text) => Conversion::Copy,
        (Strings::Bytes, false) => return Err(NotUtf8),
        (Strings::Either, true) if holds_utf8_bytes(text) => Conversion::Downgrade,
        (Strings::Either, true) => characters(text),
        (Strings::Either, false) if is_utf8(text) => Conversion::Copy,
        (Strings::Either, false) => Conversion::Latin1,
    })
}

/// Returns true if a text has characters above U+007F that, one byte each, are UTF-8. Such a text is rarely meant: it is
/// one that was encoded, or never decoded.
pub(super) fn is_encoded(text: &[u8], is_flagged: bool) -> bool {
    !text.is_ascii() && if is_flagged { holds_utf8_bytes(text) } else { is_utf8(text) }
}

fn characters(text: &[u8]) -> Conversion {
    if is_utf8(text) {
        Conversion::Copy
    } else {
        Conversion::Repair
    }
}

fn is_utf8(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok()
}

/// Returns true if flagged text is a byte string all the same: characters below U+0100 that, one byte each, are UTF-8.
fn holds_utf8_bytes(text: &[u8]) -> bool {
    // U+0100 and above begin with a byte from 0xC4 on. Text that is not even UTF-8 could not be downgraded.
    let is_latin1 = is_utf8(text) && text.iter().all(|byte| *byte < 0xC4);
    is_latin1 && String::from_utf8(downgrade(text)).is_ok()
}

fn downgrade(text: &[u8]) -> Vec<u8> {
    let mut rest = text.iter();
    std::iter::from_fn(|| {
        let byte = *rest.next()?;
        Some(if byte.is_ascii() { byte } else { byte << 6 | rest.next()? & 0x3F })
    })
    .collect()
}

/// Copies perl's UTF-8 with U+FFFD in place of each character that is not Unicode.
///
/// perl's UTF-8 has sequences for surrogates and for numbers above U+10FFFF too. A string whose flag was turned on without a
/// check may be broken even by perl's rules: there each broken byte, together with its continuation bytes, becomes one
/// U+FFFD. The copy is at most three times as long.
pub(super) fn repair(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Err(error) = std::str::from_utf8(rest) {
        let (valid, broken) = rest.split_at(error.valid_up_to());
        out.extend_from_slice(valid);
        out.extend_from_slice("\u{FFFD}".as_bytes());
        // To the start of the next character.
        let len = 1 + broken[1..].iter().take_while(|byte| **byte & 0xC0 == 0x80).count();
        rest = &broken[len..];
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_that_is_not_unicode_becomes_one_u_fffd() {
        for (text, repaired) in [
            (&b"plain"[..], "plain"),
            (b"\xED\xA0\x80", "\u{FFFD}"),                         // U+D800
            (b"a\xED\xA0\xBD\xED\xB8\x80b", "a\u{FFFD}\u{FFFD}b"), // a surrogate pair, each its own character
            (b"\xF4\x90\x80\x80x", "\u{FFFD}x"),                   // 0x110000
            (b"\xFD\xBF\xBF\xBF\xBF\xBF", "\u{FFFD}"),             // 0x7FFFFFFF
            (b"\xE9t\xE9", "\u{FFFD}t\u{FFFD}"),                   // Latin-1 with the flag turned on
            (b"\x80\x80a", "\u{FFFD}a"),
            (b"\xFF\x80\x87\xBF\xBF\xBF\xBF\xBF\xBF\xBF\xBF\xBF\xBF!", "\u{FFFD}!"), // perl's own 13 bytes
            ("é☺\u{FFFE}😀".as_bytes(), "é☺\u{FFFE}😀"),
        ] {
            assert_eq!(String::from_utf8(repair(text)).unwrap(), repaired);
        }
    }

    #[test]
    fn a_flagged_string_of_utf8_bytes_is_recognized() {
        for (characters, is_bytes) in [
            ("\u{C3}\u{A9}", true),          // the bytes of é
            ("\u{E2}\u{98}\u{BA}", true),    // the bytes of ☺
            ("caf\u{E9}", false),            // Latin-1
            ("\u{C3}\u{A9}\u{263A}", false), // a character that no byte holds
        ] {
            assert_eq!(holds_utf8_bytes(characters.as_bytes()), is_bytes, "{characters:?}");
        }
    }
}
