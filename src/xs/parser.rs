//! The handle behind an EventSource::Parser.

use super::guard::{self, Report, OK};
use super::text::RawText;
use crate::parse::{Event, Parser, TooLarge};
use std::os::raw::{c_char, c_int};
use std::slice;

/// The target of an object's magic: a parser, and the event that C is reading at the moment.
pub(super) struct ParserHandle {
    parser: Parser,
    event: Option<Event>,
}

#[no_mangle]
extern "C" fn esx_parser_new(max_event: usize) -> *mut ParserHandle {
    guard::run_or(std::ptr::null_mut(), || {
        Box::into_raw(Box::new(ParserHandle { parser: Parser::with_max_event_bytes(max_event), event: None }))
    })
}

handles! {
    ParserHandle: esx_parser_drop;
}

#[no_mangle]
unsafe extern "C" fn esx_parser_feed(
    handle: *mut ParserHandle,
    bytes: *const c_char,
    len: usize,
    report: *mut Report,
) -> c_int {
    // SAFETY: the handle as above, used by one interpreter at a time; `bytes` is a scalar's buffer, which lives until the
    // XSUB returns.
    let (handle, bytes, report) = unsafe { (&mut *handle, slice::from_raw_parts(bytes.cast(), len), &mut *report) };
    guard::run::<TooLarge>(report, |_| {
        handle.parser.feed(bytes)?;
        Ok(OK)
    })
}

/// Returns how many complete events have not been taken yet.
#[no_mangle]
unsafe extern "C" fn esx_parser_ready(handle: *const ParserHandle) -> usize {
    // SAFETY: the handle as above.
    unsafe { &*handle }.parser.ready()
}

/// Takes the next event: writes its type, its data and its id. Returns 0 if there is none. The texts are valid until the next
/// call.
#[no_mangle]
unsafe extern "C" fn esx_parser_next(handle: *mut ParserHandle, out: *mut [RawText; 3]) -> c_int {
    // SAFETY: the handle as above.
    let handle = unsafe { &mut *handle };
    guard::run_or(0, || {
        handle.event = handle.parser.next_event();
        handle.event.as_ref().map_or(0, |Event { event, data, last_event_id }| {
            let texts = [event, data, last_event_id].map(|text| RawText::of(text.as_bytes()));
            // SAFETY: `out` is an array on the stack of the caller, perhaps without values yet.
            unsafe { out.write(texts) };
            1
        })
    })
}

guarded! {
    fn esx_parser_finish(handle: &mut ParserHandle) { handle.parser.finish() }
}

/// Returns the last event ID, which is valid until the next call.
#[no_mangle]
unsafe extern "C" fn esx_parser_last_event_id(handle: *const ParserHandle) -> RawText {
    // SAFETY: the handle as above.
    RawText::of(unsafe { &*handle }.parser.last_event_id().as_bytes())
}

/// Writes the reconnection time and returns 1. Returns 0 if the stream has set none.
#[no_mangle]
unsafe extern "C" fn esx_parser_retry(handle: *const ParserHandle, retry: *mut u64) -> c_int {
    // SAFETY: the handle as above.
    match unsafe { &*handle }.parser.retry() {
        Some(milliseconds) => {
            // SAFETY: `retry` is a variable on the stack of the caller, perhaps without a value yet.
            unsafe { retry.write(milliseconds) };
            1
        }
        None => 0,
    }
}
