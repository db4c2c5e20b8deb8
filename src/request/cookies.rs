//! The cookies of a request, and the ticket among them.

use base64::prelude::{Engine as _, BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// With this begin the names of cookies that have tickets. They are no part of what a ticket is bound to.
pub(super) const TICKET_PREFIX: &[u8] = b"eventsource-ticket";

/// The longest value of a cookie: what browsers store (RFC 6265bis, section 5.6).
const MAX_VALUE_BYTES: usize = 4096;

/// Returns the name of the cookie that has a hub's ticket for a path. The name of a hub without one is empty.
///
/// A browser sends the cookies of `/events` to `/events/news`, too, and the order of two with one name is not promised
/// (RFC 6265, section 5.4). So the name has a digest of the path.
pub fn ticket_cookie(hub: &[u8], path: &[u8]) -> Vec<u8> {
    let of_path: String = Sha256::digest(path).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let separator: &[u8] = if hub.is_empty() { b"" } else { b"-" };
    [TICKET_PREFIX, separator, hub, b"-", of_path.as_bytes()].concat()
}

/// Returns the sealed ticket that a client brings back to a path of a hub; none if there is none, or more than one.
pub fn ticket_of(cookies: &[u8], hub: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let name = ticket_cookie(hub, path);
    let mut values = list(cookies).filter_map(|cookie| cookie.strip_prefix(&*name)?.strip_prefix(b"="));
    let value = values.next().filter(|value| (1..=MAX_VALUE_BYTES).contains(&value.len()))?;
    if values.next().is_some() {
        return None;
    }
    BASE64_URL_SAFE_NO_PAD.decode(value).ok() // which refuses a second text of the same bytes
}

/// The cookies of a request, each with its name and its value.
pub(super) fn list(cookies: &[u8]) -> impl Iterator<Item = &[u8]> {
    cookies.split(|byte| *byte == b';').map(trimmed).filter(|cookie| !cookie.is_empty())
}

fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
