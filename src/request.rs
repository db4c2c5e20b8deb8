//! Reads what the head of a request says: the rules of a hub's streams that a worker and a hub process apply alike.
//!
//! A client may send any bytes here, so each function takes bytes, reads them in a time that grows with their length, and
//! ignores what is malformed.
//!
//! [`last_event_id`] is where the client continues, and [`query_without_id`] what its query says beside that. [`Preference`] is
//! whether it polls, and the token that tells its requests apart; [`content_coding`] how the response is coded. [`ticket_of`]
//! is the ticket that it brings back; that is bound to a digest of all by which an application may decide ([`BoundRequest`]).

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use crate::compression::ContentCoding;
use crate::hub::{Poll, PollReason, MAX_ID_BYTES};
use base64::prelude::{Engine as _, BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::time::Duration;

/// The query parameters in which polyfills that cannot set headers send the last event ID. The first one that is not empty
/// counts.
const ID_PARAMETERS: [&[u8]; 3] = [b"last_event_id", b"lastEventId", b"evs_last_event_id"];

/// The parameter by which a page tells its requests apart, for a cache that would answer them with the same response.
const REQUEST_PARAMETER: &[u8] = b"eventsource-request";

/// The bytes of a query that are read.
const MAX_QUERY_BYTES: usize = 8192;

/// The length to which a longer id is cut: it stays unknown.
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
    char::from(digit).to_digit(16).unwrap_or(0) as u8
}

/// The longest wait that is applied, in seconds.
const MAX_WAIT: u64 = 60;

const MAX_TOKEN_BYTES: usize = 64;

/// The bytes of a header that is read.
const MAX_PREFER_BYTES: usize = 32_000;

/// The header of a stream that the response to a poll does not have: it ends soon, so it need not be forwarded incrementally.
/// In lower case.
pub const ONLY_OF_STREAMS: &str = "incremental";

/// The preferences of a client, of those that are known here: at least one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// The number of seconds that a poll waits for something new; none for a stream.
    pub wait: Option<u64>,
    /// The reason for which the client polls; none for a stream.
    pub reason: Option<PollReason>,
    /// The token of the request.
    pub request: Option<Box<str>>,
}

impl Preference {
    /// Returns what the header says; none if it says nothing that is known, or is malformed.
    pub fn of(field: &[u8]) -> Option<Self> {
        if field.len() > MAX_PREFER_BYTES {
            return None;
        }
        let Given { wait, request } = Given::of(field)?;
        let (wait, reason) = match wait {
            Some((value, reason)) => (seconds(&value), reason),
            None => (None, None),
        };
        let reason = wait.map(|_| PollReason::of_name(&reason.unwrap_or_default()).unwrap_or(PollReason::Other));
        let request = request.and_then(|value| token(&value));
        Some(Self { wait, reason, request }).filter(|given| given.wait.is_some() || given.request.is_some())
    }

    /// Returns the poll that the client prefers, if it prefers one.
    pub fn poll(&self) -> Option<Poll> {
        let wait = Duration::from_secs(self.wait?);
        self.reason.map(|reason| Poll { wait, reason })
    }

    /// Returns the value of the header `Preference-Applied`.
    pub fn applied(&self) -> String {
        let wait = self.wait.map(|wait| format!("wait={wait}"));
        let request = self.request.as_ref().map(|token| format!("request={token}"));
        wait.into_iter().chain(request).collect::<Vec<_>>().join(", ")
    }
}

/// Returns the wait that a value means.
fn seconds(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |wait, digit| MAX_WAIT.min(wait * 10 + u64::from(digit - b'0'))))
}

fn token(value: &[u8]) -> Option<Box<str>> {
    let is_known = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let is_token = (1..=MAX_TOKEN_BYTES).contains(&value.len()) && value.iter().all(is_known);
    std::str::from_utf8(value).ok().filter(|_| is_token).map(Into::into)
}

/// The value of a preference or a parameter. One without a value has an empty one.
type Value<'a> = Cow<'a, [u8]>;

/// The values of the known preferences, and of the reason of `wait`. The first of a name counts.
#[derive(Default)]
struct Given<'a> {
    wait: Option<(Value<'a>, Option<Value<'a>>)>,
    request: Option<Value<'a>>,
}

impl<'a> Given<'a> {
    /// Returns none if the text is malformed.
    fn of(field: &'a [u8]) -> Option<Self> {
        let mut given = Self::default();
        let mut rest = Rest(field);
        loop {
            rest.take_while(|byte| matches!(byte, b' ' | b'\t' | b','));
            if rest.0.is_empty() {
                return Some(given);
            }
            let (name, value, mut reason) = (rest.token()?, rest.value()?, None);
            while rest.takes(b';') {
                rest.skip_blanks();
                if let Some(parameter) = rest.token() {
                    let value = rest.value()?;
                    if parameter.eq_ignore_ascii_case(b"reason") {
                        reason.get_or_insert(value);
                    }
                }
            }
            if !matches!(rest.0, [] | [b',', ..]) {
                return None;
            }
            if name.eq_ignore_ascii_case(b"wait") {
                given.wait.get_or_insert((value, reason));
            } else if name.eq_ignore_ascii_case(b"request") {
                given.request.get_or_insert(value);
            }
        }
    }
}

/// The rest of a header.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take_while(&mut self, is_part: impl Fn(&u8) -> bool) -> &'a [u8] {
        let len = self.0.iter().position(|byte| !is_part(byte)).unwrap_or(self.0.len());
        let (part, rest) = self.0.split_at(len);
        self.0 = rest;
        part
    }

    fn skip_blanks(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    /// Takes a character, and the blanks before it; true if it was there.
    fn takes(&mut self, character: u8) -> bool {
        self.skip_blanks();
        let after = self.0.strip_prefix(&[character]);
        self.0 = after.unwrap_or(self.0);
        after.is_some()
    }

    /// RFC 9110, section 5.6.2
    fn token(&mut self) -> Option<&'a [u8]> {
        let token = self.take_while(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(byte));
        Some(token).filter(|token| !token.is_empty())
    }

    /// Takes the value of the name before, if there is one; none if it is malformed.
    fn value(&mut self) -> Option<Value<'a>> {
        if !self.takes(b'=') {
            return Some(Value::default());
        }
        self.skip_blanks();
        if self.0.first() == Some(&b'"') {
            self.quoted()
        } else {
            self.token().map(Cow::Borrowed)
        }
    }

    /// RFC 9110, section 5.6.4
    fn quoted(&mut self) -> Option<Value<'a>> {
        let mut text = Vec::new();
        let mut bytes = self.0.iter();
        bytes.next();
        loop {
            match bytes.next()? {
                b'"' => break,
                b'\\' => text.push(*bytes.next()?),
                byte => text.push(*byte),
            }
        }
        self.0 = bytes.as_slice();
        Some(text.into())
    }
}

/// A weight, in ten-thousandths: what a client gives has three digits at most.
type Weight = u32;

const ONE: Weight = 10_000;

/// The weight of identity where nobody names it: anything else that is accepted is better.
const LEAST: Weight = 1;

/// Returns the best coding of this build that a client accepts, by its `Accept-Encoding`.
pub fn content_coding(accept_encoding: Option<&[u8]>) -> ContentCoding {
    best_coding(accept_encoding, ContentCoding::ALL)
}

/// Returns the best coding of these, the best last, that a client accepts.
pub fn best_coding(accept_encoding: Option<&[u8]>, known: &[ContentCoding]) -> ContentCoding {
    let given = accept_encoding.map_or_else(Weights::default, Weights::of);
    let (mut best, mut most) = (ContentCoding::Identity, LEAST);
    for coding in known {
        let weight = given.weight(*coding);
        if weight >= most {
            (best, most) = (*coding, weight);
        }
    }
    best
}

/// The weights that a client gives. The last of a name counts.
#[derive(Default)]
struct Weights {
    of_coding: [Option<Weight>; 3],
    of_others: Option<Weight>,
}

impl Weights {
    fn of(accept_encoding: &[u8]) -> Self {
        let mut weights = Self::default();
        for part in accept_encoding.split(|byte| *byte == b',') {
            let mut parameters = part.split(|byte| *byte == b';').map(trimmed);
            let name = parameters.next().unwrap_or_default();
            let weight = Some(parameters.find_map(weight_of).unwrap_or(ONE));
            if name == b"*" {
                weights.of_others = weight;
            } else if let Some(coding) = coding_of(name) {
                weights.of_coding[coding as usize] = weight;
            }
        }
        weights
    }

    fn weight(&self, coding: ContentCoding) -> Weight {
        let default = if coding == ContentCoding::Identity { LEAST } else { 0 };
        self.of_coding[coding as usize].or(self.of_others).unwrap_or(default)
    }
}

fn coding_of(name: &[u8]) -> Option<ContentCoding> {
    let name = if name.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { name };
    let mut all = ContentCoding::ALL.iter().copied();
    all.find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
}

/// Returns the weight that a parameter gives, if that is its name. A malformed one is 0.
fn weight_of(parameter: &[u8]) -> Option<Weight> {
    let (name, after) = parameter.split_first()?;
    let value = trimmed(after).strip_prefix(b"=").filter(|_| name.eq_ignore_ascii_case(&b'q'))?;
    Some(match trimmed(value) {
        [whole @ (b'0' | b'1')] => ONE * Weight::from(whole - b'0'),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => {
            let places = [1000, 100, 10].iter().zip(digits);
            ONE * Weight::from(whole - b'0')
                + places.map(|(place, digit)| place * Weight::from(digit - b'0')).sum::<Weight>()
        }
        _ => 0,
    })
}

/// With this begin the names of cookies that have tickets. They are no part of what a ticket is bound to.
const TICKET_PREFIX: &[u8] = b"eventsource-ticket";

/// The longest value of a cookie: what browsers store (RFC 6265bis, section 5.6).
const MAX_VALUE_BYTES: usize = 4096;

/// Returns the name of the cookie that has a hub's ticket for a path. The name of a hub without one is empty.
///
/// A browser sends the cookies of `/events` to `/events/news`, too, and the order of two with one name is not promised
/// (RFC 6265, section 5.4). So the name has a digest of the path.
pub fn ticket_cookie(hub: &[u8], path: &[u8]) -> Vec<u8> {
    let [first, second, third, fourth, ..] = <[u8; 32]>::from(Sha256::digest(path));
    let of_path = u32::from_be_bytes([first, second, third, fourth]);
    let separator: &[u8] = if hub.is_empty() { b"" } else { b"-" };
    [TICKET_PREFIX, separator, hub, format!("-{of_path:08x}").as_bytes()].concat()
}

/// Returns the sealed ticket that a client brings back to a path of a hub; none if there is none, or more than one.
pub fn ticket_of(cookies: &[u8], hub: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let name = ticket_cookie(hub, path);
    let mut values = cookie_list(cookies).filter_map(|cookie| cookie.strip_prefix(&*name)?.strip_prefix(b"="));
    let value = values.next().filter(|value| (1..=MAX_VALUE_BYTES).contains(&value.len()))?;
    if values.next().is_some() {
        return None;
    }
    let mut ticket = Vec::with_capacity(value.len());
    BASE64_URL_SAFE_NO_PAD.decode_vec(value, &mut ticket).ok()?; // which refuses a second text of the same bytes
    Some(ticket)
}

/// The cookies of a request, each with its name and its value.
fn cookie_list(cookies: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    let ends = memchr::memchr_iter(b';', cookies).chain([cookies.len()]);
    let all = ends.map(move |end| trimmed(&cookies[std::mem::replace(&mut from, end + 1)..end]));
    all.filter(|cookie| !cookie.is_empty())
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
        let mut counted: Vec<_> = cookie_list(cookies.unwrap_or_default())
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

/// Returns the value of a header without the blanks around it: some servers leave them there (RFC 9110, section 5.5).
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
