//! Texts of C: perl's, for as long as a call lasts.

#![cfg_attr(not(target_os = "linux"), allow(dead_code))] // the name of an error is all that is used there

use super::guard::{self, Report, Thrown};
use super::strings::repair;
use crate::ErrorCode;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::raw::{c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::slice;
use std::str::FromStr;

/// `esx_text`
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct RawText {
    text: *const c_char,
    len: usize,
}

impl RawText {
    /// Points to bytes, for as long as they live.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { text: bytes.as_ptr().cast(), len: bytes.len() }
    }

    /// # Safety
    ///
    /// `text..text + len` is readable for as long as the result is used, or `text` is null.
    pub(super) unsafe fn bytes<'a>(self) -> Option<&'a [u8]> {
        if self.text.is_null() {
            return None;
        }
        // SAFETY: the caller guarantees that the bytes are readable.
        Some(unsafe { slice::from_raw_parts(self.text.cast(), self.len) })
    }
}

/// Texts that Perl gives to one call, in their order. One that is undefined is none.
#[derive(Default)]
pub(super) struct Texts<'a>(VecDeque<Option<&'a [u8]>>);

impl<'a> Texts<'a> {
    /// Takes an array of texts; none if it is empty.
    ///
    /// # Safety
    ///
    /// `texts..texts + len` is readable, and so are the texts that they point to, for the lifetime.
    pub(super) unsafe fn new(texts: *const RawText, len: usize) -> Option<Self> {
        if len == 0 {
            return None;
        }
        // SAFETY: the caller guarantees that the texts are readable.
        let all = unsafe { slice::from_raw_parts(texts, len) };
        // SAFETY: as above.
        Some(Self(all.iter().map(|text| unsafe { text.bytes() }).collect()))
    }

    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        self.0.pop_front().flatten()
    }

    /// Takes the texts that are left.
    pub(super) fn rest(&mut self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.0.drain(..).map(Option::unwrap_or_default)
    }

    pub(super) fn bytes(&mut self) -> &'a [u8] {
        self.next().unwrap_or_default()
    }

    /// Takes a text of characters. Those that are not Unicode become U+FFFD.
    pub(super) fn characters(&mut self) -> Option<Cow<'a, str>> {
        self.next().map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(String::from_utf8(repair(bytes)).expect("repaired text is UTF-8")),
        })
    }

    /// Takes a number, if it is one.
    pub(super) fn number_if<T: FromStr>(&mut self) -> Option<T> {
        self.next().and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse().ok())
    }

    pub(super) fn number<T: FromStr + Default>(&mut self) -> T {
        self.number_if().unwrap_or_default()
    }
}

/// Texts for Perl.
pub(super) type OwnTexts = Vec<Box<[u8]>>;

handles! {
    OwnTexts: esx_texts_drop;
}

/// Returns a handle of texts, and stores their number as the report's size; or null with a report of the error.
pub(super) fn texts(report: &mut Report, make: impl FnOnce() -> Result<OwnTexts, Thrown>) -> *mut OwnTexts {
    let mut len = 0;
    let handle = guard::make(report, || {
        let texts = make()?;
        len = texts.len();
        Ok(texts)
    });
    report.set_size(len);
    handle
}

#[no_mangle]
unsafe extern "C" fn esx_texts_at(texts: *const OwnTexts, at: usize) -> RawText {
    // SAFETY: C has the handle from a function that makes texts, and has not freed it yet.
    let texts = unsafe { &*texts };
    RawText::of(texts.get(at).map_or(&b""[..], |text| text))
}

/// Returns the name of a kind of error. It is empty for a number that is none.
#[no_mangle]
extern "C" fn esx_code_name(code: c_int) -> RawText {
    let known = usize::try_from(code).ok().and_then(|code| ErrorCode::ALL.get(code));
    RawText::of(known.map_or("", |code| code.name()).as_bytes())
}

/// Returns the path that these bytes are.
pub(super) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
