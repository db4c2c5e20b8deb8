//! The ticket that a client brings back as a cookie, and the request that it is bound to.

use super::query::query_without_id;
use super::trimmed;
use base64::prelude::{Engine as _, BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// With this begin the names of cookies that have tickets. They are no part of what a ticket is bound to.
const TICKET_PREFIX: &[u8] = b"eventsource-ticket";

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
fn list(cookies: &[u8]) -> impl Iterator<Item = &[u8]> {
    cookies.split(|byte| *byte == b';').map(trimmed).filter(|cookie| !cookie.is_empty())
}

/// All of a request by which an application may decide whose stream it is and what it has: a ticket opens for the same request
/// only. The bytes are those of the request, before any middleware.
#[derive(Clone, Copy, Debug)]
pub struct BoundRequest<'a> {
    /// The name of the hub; empty for a hub without one.
    pub hub: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The header `Host`.
    pub host: Option<&'a [u8]>,
    /// The header `Origin`.
    pub origin: Option<&'a [u8]>,
    /// The header `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// The path as the client has it: not decoded.
    pub path: &'a [u8],
    /// The query. The last event ID is no part of what a ticket is bound to.
    pub query: &'a [u8],
    /// The header `Cookie`.
    pub cookies: Option<&'a [u8]>,
    /// The names of the cookies that count; none if all do. Tickets never count, nor does the order but of those with one name:
    /// applications take the first or the last of them.
    pub cookie_names: Option<&'a [&'a [u8]]>,
    /// The values of the other headers that count, in an order of the application.
    pub headers: &'a [Option<&'a [u8]>],
}

impl BoundRequest<'_> {
    /// Returns a digest of the request.
    pub fn digest(&self) -> [u8; 32] {
        let Self { hub, method, host, origin, authorization, path, query, cookies, cookie_names, headers } = *self;
        let mut counted: Vec<_> = list(cookies.unwrap_or_default())
            .filter(|cookie| !cookie.starts_with(TICKET_PREFIX))
            .filter(|cookie| cookie_names.map_or(true, |names| names.contains(&name_of(cookie))))
            .collect();
        counted.sort_by_key(|cookie| name_of(cookie));
        let mut text = CanonicalText(Sha256::new());
        text.add(Some(hub));
        text.add(Some(method));
        [host, origin, authorization].iter().for_each(|field| text.add(field.map(trimmed)));
        text.add(Some(path));
        text.add(Some(&query_without_id(query)));
        text.add_all(counted.iter().copied().map(Some));
        text.add_all(headers.iter().map(|field| field.map(trimmed)));
        text.0.finalize().into()
    }
}

fn name_of(cookie: &[u8]) -> &[u8] {
    cookie.split(|byte| *byte == b'=').next().unwrap_or_default()
}

/// A text that two requests share only if they are the same: each part has its length before it, and each list its own.
struct CanonicalText(Sha256);

impl CanonicalText {
    fn add(&mut self, part: Option<&[u8]>) {
        self.add_number(part.map_or(u64::MAX, |bytes| bytes.len() as u64));
        self.0.update(part.unwrap_or_default());
    }

    fn add_all<'a>(&mut self, parts: impl ExactSizeIterator<Item = Option<&'a [u8]>>) {
        self.add_number(parts.len() as u64);
        parts.for_each(|part| self.add(part));
    }

    fn add_number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }
}
