//! Texts of C: perl's, for as long as a call lasts.

use std::ffi::OsStr;
use std::os::raw::c_char;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::slice;

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

/// Returns the path that these bytes are.
pub(super) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
