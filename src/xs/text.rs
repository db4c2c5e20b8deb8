//! Texts of C: perl's, for as long as a call lasts.

#![cfg_attr(not(target_os = "linux"), allow(dead_code))] // the name of an error is all that is used there

use super::guard::{self, Report};
use super::strings::repair;
use crate::{ErrorCode, Failure};
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
pub(super) struct Texts<'a>(VecDeque<Option<&'a [u8]>>);

impl<'a> Texts<'a> {
    /// # Safety
    ///
    /// `texts..texts + len` is readable, and so are the texts that they point to, for the lifetime.
    pub(super) unsafe fn new(texts: *const RawText, len: usize) -> Self {
        // SAFETY: the caller guarantees that the texts are readable.
        let all = unsafe { slice::from_raw_parts(texts, len) };
        // SAFETY: as above.
        Self(all.iter().map(|text| unsafe { text.bytes() }).collect())
    }

    pub(super) fn next(&mut self) -> Option<&'a [u8]> {
        self.0.pop_front().flatten()
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

    /// Takes bytes, which are characters up to U+00FF here.
    pub(super) fn octets(&mut self) -> Cow<'a, [u8]> {
        self.octets_if().unwrap_or_default()
    }

    pub(super) fn octets_if(&mut self) -> Option<Cow<'a, [u8]>> {
        self.next().map(octets)
    }

    /// Takes the bytes of all that is left.
    pub(super) fn all_octets(self) -> Vec<Option<Cow<'a, [u8]>>> {
        self.0.into_iter().map(|text| text.map(octets)).collect()
    }

    /// Takes the bytes of a path, unless it is empty.
    pub(super) fn path(&mut self) -> Option<PathBuf> {
        let path = self.octets();
        (!path.is_empty()).then(|| OsStr::from_bytes(&path).into())
    }

    /// Takes a number, if it is one.
    pub(super) fn number_if<T: FromStr>(&mut self) -> Option<T> {
        self.next().and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse().ok())
    }

    pub(super) fn number<T: FromStr + Default>(&mut self) -> T {
        self.number_if().unwrap_or_default()
    }
}

fn octets(text: &[u8]) -> Cow<'_, [u8]> {
    let characters = std::str::from_utf8(text).ok().filter(|_| !text.is_ascii());
    let octets = characters.and_then(|text| text.chars().map(|each| u8::try_from(each).ok()).collect());
    octets.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Texts for Perl: of characters in UTF-8, or of bytes.
#[derive(Default)]
pub(super) struct Answer {
    texts: Vec<Box<[u8]>>,
    is_bytes: bool,
}

impl Answer {
    pub(super) fn of(text: impl AsRef<[u8]>) -> Self {
        let mut answer = Self::default();
        answer.push(text);
        answer
    }

    pub(super) fn of_bytes<T: Into<Box<[u8]>>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self { texts: texts.into_iter().map(Into::into).collect(), is_bytes: true }
    }

    /// Names and values, of which EventSource::XS::counts_of makes a hash.
    pub(super) fn of_named<T: AsRef<[u8]>>(named: impl IntoIterator<Item = (T, String)>) -> Self {
        let mut answer = Self::default();
        for (name, value) in named {
            answer.push(name);
            answer.push(value);
        }
        answer
    }

    /// True is 1, and false is empty, as in Perl.
    pub(super) fn of_truth(is_true: bool) -> Self {
        Self::of(if is_true { "1" } else { "" })
    }

    pub(super) fn push(&mut self, text: impl AsRef<[u8]>) {
        self.texts.push(text.as_ref().into());
    }
}

handles! {
    Answer: esx_answer_drop;
}

/// Returns a handle of what a function answers, and stores the number of its texts as the report's size, and whether they are
/// characters; or null with a report of the error.
pub(super) fn answer(report: &mut Report, make: impl FnOnce() -> Result<Answer, Failure>) -> *mut Answer {
    let mut form = (0, true);
    let handle = guard::make(report, || {
        let answer = make()?;
        form = (answer.texts.len(), !answer.is_bytes);
        Ok(answer)
    });
    report.set_size(form.0);
    report.set_utf8(form.1);
    handle
}

#[no_mangle]
unsafe extern "C" fn esx_answer_at(answer: *const Answer, at: usize) -> RawText {
    // SAFETY: C has the handle from a function that answers, and has not freed it yet.
    let answer = unsafe { &*answer };
    RawText::of(answer.texts.get(at).map_or(&b""[..], |text| text))
}

/// Returns the name of a kind of error. It is empty for a number that is none.
#[no_mangle]
extern "C" fn esx_code_name(code: c_int) -> RawText {
    let known = usize::try_from(code).ok().and_then(|code| ErrorCode::ALL.get(code));
    RawText::of(known.map_or("", |code| code.name()).as_bytes())
}
