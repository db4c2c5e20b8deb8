//! What the head of a request says.

use super::guard::{self, Report, OK};
use super::text::RawText;
use crate::compression::ContentCoding;
use crate::request::{self, BoundRequest, Preference, ONLY_OF_STREAMS};
use crate::Failure;
use std::os::raw::{c_char, c_int};
use std::slice;

/// `ESX_LAST_EVENT_ID_MAX`
const LAST_EVENT_ID_MAX: usize = 1025;
/// `ESX_TICKET_MAX`
const TICKET_MAX: usize = 3072;
/// `ESX_COOKIE_NAME_MAX`
const COOKIE_NAME_MAX: usize = 128;

/// `esx_preference`
#[repr(C)]
struct RawPreference {
    /// The value of `Preference-Applied`, which ends in the token.
    applied: [u8; 96],
    /// 0 if there is no preference.
    len: usize,
    token_len: usize,
    /// In seconds; below 0 if the stream is not a poll.
    wait: c_int,
    /// The number of its reason.
    reason: c_int,
}

impl RawPreference {
    const NONE: Self = Self { applied: [0; 96], len: 0, token_len: 0, wait: -1, reason: 0 };

    fn of(given: &Preference) -> Self {
        let (mut raw, applied) = (Self::NONE, given.applied());
        raw.applied[..applied.len()].copy_from_slice(applied.as_bytes());
        raw.len = applied.len();
        raw.token_len = given.request.as_ref().map_or(0, |token| token.len());
        raw.wait = given.wait.map_or(-1, |wait| wait as c_int);
        raw.reason = given.reason.map_or(0, |reason| reason as c_int);
        raw
    }
}

/// Writes bytes into a buffer of C and returns how many they are; 0 if there are none, or too many.
///
/// # Safety
///
/// `out` has that room.
unsafe fn write(bytes: Option<Vec<u8>>, out: *mut c_char, room: usize) -> usize {
    let bytes = bytes.filter(|bytes| bytes.len() <= room).unwrap_or_default();
    // SAFETY: the caller guarantees the room.
    unsafe { out.copy_from_nonoverlapping(bytes.as_ptr().cast(), bytes.len()) };
    bytes.len()
}

/// Writes the last event ID of a request, and returns its length; 0 if there is none.
#[no_mangle]
unsafe extern "C" fn esx_last_event_id(header: RawText, query: RawText, out: *mut c_char) -> usize {
    // SAFETY: the texts are in scalars' buffers, which live until the XSUB returns.
    let (header, query) = unsafe { (header.bytes(), query.bytes().unwrap_or_default()) };
    guard::run_or(0, || {
        let id = request::last_event_id(header, query);
        // SAFETY: `out` is a buffer on the stack of C with that room.
        unsafe { write(id, out, LAST_EVENT_ID_MAX) }
    })
}

/// Returns the name of the best coding that a client accepts, of all or up to the named one.
#[no_mangle]
unsafe extern "C" fn esx_content_coding(field: RawText, most: RawText) -> RawText {
    // SAFETY: as in `esx_last_event_id`.
    let (field, most) = unsafe { (field.bytes(), most.bytes()) };
    let coding = guard::run_or(ContentCoding::Identity, || {
        let all = ContentCoding::ALL;
        let last = most.and_then(|most| all.iter().position(|coding| coding.name().as_bytes() == most));
        request::best_coding(field, last.map_or(all, |last| &all[..=last]))
    });
    RawText::of(coding.name().as_bytes())
}

/// Writes what a client prefers.
#[no_mangle]
unsafe extern "C" fn esx_preference_of(field: RawText, out: *mut RawPreference) {
    // SAFETY: as in `esx_last_event_id`.
    let field = unsafe { field.bytes().unwrap_or_default() };
    let raw = guard::run_or(RawPreference::NONE, || {
        Preference::of(field).map_or(RawPreference::NONE, |given| RawPreference::of(&given))
    });
    // SAFETY: `out` is a struct on the stack of C, perhaps without a value yet.
    unsafe { out.write(raw) };
}

/// Returns the name of the header of streams that polls do not have, in lower case.
#[no_mangle]
extern "C" fn esx_only_of_streams() -> RawText {
    RawText::of(ONLY_OF_STREAMS.as_bytes())
}

/// Writes the digest of a request. The texts are the hub's name, the method, `Host`, `Origin`, `Authorization`, the path, the
/// query, `Cookie`, and the other headers that count. All cookies count if there is no array of names.
#[no_mangle]
unsafe extern "C" fn esx_bound_digest(
    texts: *const RawText,
    len: usize,
    names: *const RawText,
    names_len: usize,
    out: *mut [u8; 32],
    report: *mut Report,
) -> c_int {
    // SAFETY: the report is on the stack of C; the texts are as in `esx_last_event_id`, and each array is in the buffer of a
    // mortal.
    let (report, texts) = unsafe { (&mut *report, slice::from_raw_parts(texts, len)) };
    // SAFETY: as above.
    let texts: Vec<_> = texts.iter().map(|text| unsafe { text.bytes() }).collect();
    let names: Option<Vec<_>> = (!names.is_null()).then(|| {
        // SAFETY: as above.
        let names = unsafe { slice::from_raw_parts(names, names_len) };
        // SAFETY: as above.
        names.iter().map(|name| unsafe { name.bytes().unwrap_or_default() }).collect()
    });
    guard::run(report, |_| {
        let (fixed, headers) = texts.split_at(8);
        let request = BoundRequest {
            hub: fixed[0].unwrap_or_default(),
            method: fixed[1].unwrap_or_default(),
            host: fixed[2],
            origin: fixed[3],
            authorization: fixed[4],
            path: fixed[5].unwrap_or_default(),
            query: fixed[6].unwrap_or_default(),
            cookies: fixed[7],
            cookie_names: names.as_deref(),
            headers,
        };
        let digest = request.digest();
        // SAFETY: `out` is a buffer of that size on the stack of C.
        unsafe { out.write(digest) };
        Ok::<_, Failure>(OK)
    })
}

/// Writes the sealed ticket among the cookies of a request to a path of a hub, and returns its length; 0 if there is none.
#[no_mangle]
unsafe extern "C" fn esx_ticket_of(cookies: RawText, hub: RawText, path: RawText, out: *mut c_char) -> usize {
    // SAFETY: as in `esx_last_event_id`.
    let [cookies, hub, path] = unsafe { [cookies.bytes(), hub.bytes(), path.bytes()] };
    guard::run_or(0, || {
        let path = path.unwrap_or_default();
        let ticket = request::ticket_of(cookies.unwrap_or_default(), hub.unwrap_or_default(), path);
        // SAFETY: `out` is a buffer on the stack of C with that room.
        unsafe { write(ticket, out, TICKET_MAX) }
    })
}

/// Writes the name of the cookie that has a hub's ticket for a path, and returns its length.
#[no_mangle]
unsafe extern "C" fn esx_ticket_cookie(hub: RawText, path: RawText, out: *mut c_char) -> usize {
    // SAFETY: as in `esx_last_event_id`.
    let [hub, path] = unsafe { [hub.bytes(), path.bytes()] };
    guard::run_or(0, || {
        let name = request::ticket_cookie(hub.unwrap_or_default(), path.unwrap_or_default());
        // SAFETY: `out` is a buffer on the stack of C with that room.
        unsafe { write(Some(name), out, COOKIE_NAME_MAX) }
    })
}
