//! The cookies of a request, and the ticket among them.

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
    decode(value)
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

/// Decodes base64url without padding (RFC 4648, section 5). Each value has one text: bits that are left over are 0.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for group in text.chunks(4) {
        let mut bits = 0;
        for character in group {
            bits = bits << 6 | u32::from(sextet(*character)?);
        }
        bits <<= 6 * (4 - group.len());
        let all = bits.to_be_bytes();
        let (whole, left) = all.split_at(group.len());
        if group.len() == 1 || left.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(&whole[1..]);
    }
    Some(bytes)
}

fn sextet(character: u8) -> Option<u8> {
    Some(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}
