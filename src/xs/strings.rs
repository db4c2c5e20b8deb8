//! Which bytes a Perl string becomes.
//!
//! A Perl string is a row of characters, held either one byte a character (all below U+0100) or as UTF-8, and a flag
//! says which. The flag is perl's business: two strings that are `eq` must give the same bytes whatever it says. What
//! the caller means by its strings is one of four things, [`Strings`].

use super::encode::RawField;
use crate::event::{FieldError, Why};
use std::os::raw::c_int;

/// What the strings of a call are; `esx_strings`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strings {
    /// Kept as they are; the result is a Perl string again, of the same characters.
    AsHeld,
    /// Characters, sent as UTF-8.
    Characters,
    /// UTF-8 already; anything else is an error.
    Bytes,
    /// UTF-8 already where they are valid as that, characters otherwise; each field by itself.
    Either,
}

impl Strings {
    pub(super) fn from_c(number: c_int) -> Self {
        match number {
            0 => Self::AsHeld,
            1 => Self::Characters,
            2 => Self::Bytes,
            _ => Self::Either,
        }
    }
}

/// What has to be done with the bytes of one field; `esx_form`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    /// Nothing.
    Copy,
    /// Each byte is a character.
    Latin1,
    /// C replaces the text with what [`repair`] makes of it.
    Repair,
    /// C replaces the text with the same characters held one byte each.
    Downgrade,
}

/// The form of one field. `any_utf8` says whether any field of the call has the flag.
///
/// # Errors
///
/// [`Why::NotUtf8`], only with [`Strings::Bytes`].
pub(super) fn form_of(field: &RawField, strings: Strings, any_utf8: bool) -> Result<Form, FieldError> {
    let text = field.bytes();
    let form = match (strings, field.utf8 != 0) {
        (Strings::AsHeld, utf8) if utf8 || !any_utf8 => Form::Copy,
        // Said here once: a Text that is told to be Latin-1 looks for itself, each time that it is made.
        _ if text.is_ascii() => Form::Copy,
        (Strings::AsHeld, _) => Form::Latin1,
        (Strings::Characters, true) => characters(text),
        (Strings::Characters, false) => Form::Latin1,
        (Strings::Bytes, true) => Form::Downgrade,
        (Strings::Bytes, false) if is_utf8(text) => Form::Copy,
        (Strings::Bytes, false) => return Err(FieldError { field: field.name(), why: Why::NotUtf8 }),
        (Strings::Either, true) if holds_utf8_bytes(text) => Form::Downgrade,
        (Strings::Either, true) => characters(text),
        (Strings::Either, false) if is_utf8(text) => Form::Copy,
        (Strings::Either, false) => Form::Latin1,
    };
    Ok(form)
}

fn characters(text: &[u8]) -> Form {
    if is_utf8(text) {
        Form::Copy
    } else {
        Form::Repair
    }
}

fn is_utf8(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok()
}

/// Whether flagged text is a byte string all the same: characters below U+0100 that, one byte each, are UTF-8.
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

/// Copies perl's UTF-8, in which surrogates and numbers above U+10FFFF have sequences too, with U+FFFD in place of each
/// of those. What is broken even by perl's rules, as in a string whose flag was turned on without a look, gets one for
/// each broken byte together with what continues it. The copy is at most three times as long.
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
    fn what_is_no_unicode_character_becomes_u_fffd_once_each() {
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
    fn a_flagged_byte_string_is_known_as_one() {
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
