//! The last event ID of a request: in the header `Last-Event-ID`, or in its query.

use super::trimmed;
use crate::hub::MAX_ID_BYTES;

/// The query parameters in which polyfills that cannot set headers send the last event ID. The first one that is not empty
/// counts.
const ID_PARAMETERS: [&[u8]; 3] = [b"last_event_id", b"lastEventId", b"evs_last_event_id"];

/// The parameter by which a page tells its requests apart, for a cache that would answer them with the same response.
const REQUEST_PARAMETER: &[u8] = b"eventsource-request";

/// The bytes of a query that are read.
const MAX_QUERY_BYTES: usize = 8192;

/// What an id is cut to that is too long: it stays unknown.
const CUT_BYTES: usize = MAX_ID_BYTES + 1;

/// Returns the last event ID that a client has sent: the value of the header, or, if that is missing or empty, what a parameter
/// of the query says. An id is never empty, and one that is too long is cut to a byte more than an id may have.
pub fn last_event_id(header: Option<&[u8]>, query: &[u8]) -> Option<Vec<u8>> {
    match header.map(trimmed) {
        Some(id) if !id.is_empty() => Some(id[..id.len().min(CUT_BYTES)].to_vec()),
        _ => id_in(query),
    }
}

/// Returns a query without what differs between the requests of one stream: the parameters with the last event ID, and that by
/// which a page tells its requests apart. The separators of the others stay: to some applications a semicolon is none.
pub fn query_without_id(query: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(query.len());
    for part in query.split_inclusive(is_separator) {
        let pair = part.strip_prefix(b" ").unwrap_or(part);
        let name = pair.split(|byte| *byte == b'=' || is_separator(byte)).next().unwrap_or_default();
        if name != REQUEST_PARAMETER && !ID_PARAMETERS.contains(&name) {
            kept.extend_from_slice(part);
        } else if !part.last().map_or(false, is_separator) {
            kept.pop(); // the separator before it
        }
    }
    kept
}

/// Returns the id in a query. The last value of a parameter counts. Only the beginning of a long query is read: a value that
/// continues after it becomes too long.
fn id_in(query: &[u8]) -> Option<Vec<u8>> {
    let is_cut = query.len() > MAX_QUERY_BYTES;
    let mut values = [(&b""[..], true); ID_PARAMETERS.len()];
    let mut pairs = pairs(&query[..query.len().min(MAX_QUERY_BYTES + 1)]).peekable();
    while let Some(pair) = pairs.next() {
        let is_whole = !is_cut || pairs.peek().is_some();
        let equals = memchr::memchr(b'=', pair);
        let (name, value) = pair.split_at(equals.unwrap_or(pair.len()));
        if !is_whole && equals.is_none() {
            break; // its name continues
        }
        let is_name = |known: &&[u8]| name.len() >= known.len() && unescaped(name).eq(known.iter().copied());
        if let Some(at) = ID_PARAMETERS.iter().position(is_name) {
            values[at] = (value.get(1..).unwrap_or_default(), is_whole);
        }
    }
    let (value, is_whole) = values.iter().find(|(value, is_whole)| !is_whole || !value.is_empty())?;
    let mut id: Vec<u8> = unescaped(value).take(CUT_BYTES).collect();
    if !is_whole {
        id.resize(CUT_BYTES, b'x');
    }
    Some(id)
}

/// The parts of a query: general parsers separate them like this.
fn pairs(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    let separated = query.split(is_separator).enumerate();
    separated.map(|(at, pair)| if at > 0 { pair.strip_prefix(b" ").unwrap_or(pair) } else { pair })
}

fn is_separator(byte: &u8) -> bool {
    matches!(byte, b'&' | b';')
}

/// The bytes that a name or a value means.
fn unescaped(mut rest: &[u8]) -> impl Iterator<Item = u8> + '_ {
    std::iter::from_fn(move || {
        let (byte, after) = match *rest {
            [b'%', high, low, ref after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (digit(high) << 4 | digit(low), after)
            }
            [b'+', ref after @ ..] => (b' ', after),
            [byte, ref after @ ..] => (byte, after),
            [] => return None,
        };
        rest = after;
        Some(byte)
    })
}

/// The value of a hexadecimal digit.
fn digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}
