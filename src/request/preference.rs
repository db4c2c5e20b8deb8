//! What a client prefers (the header Prefer, RFC 7240): that the stream be a poll, by the preference `wait`; and that the
//! response echo a token, by `request`, so that a response from a cache shows. What is malformed is ignored.

use crate::hub::{Poll, PollReason};
use std::borrow::Cow;
use std::time::Duration;

/// The longest wait that is applied, in seconds.
const MAX_WAIT: u64 = 60;

const MAX_TOKEN_BYTES: usize = 64;

/// The bytes of a header that is read.
const MAX_BYTES: usize = 32_000;

/// The header of a stream that the response to a poll does not have: it ends soon, so it need not be forwarded incrementally.
/// In lower case.
pub const ONLY_OF_STREAMS: &str = "incremental";

/// What a client prefers, of what is known here: at least one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// How many seconds a poll waits for something new; none for a stream.
    pub wait: Option<u64>,
    /// Why the client polls; none for a stream.
    pub reason: Option<PollReason>,
    /// The token of the request.
    pub request: Option<Box<str>>,
}

impl Preference {
    /// Returns what the header says; none if it says nothing that is known, or is malformed.
    pub fn of(field: &[u8]) -> Option<Self> {
        if field.len() > MAX_BYTES {
            return None;
        }
        let Given { wait, request } = Given::of(field)?;
        let (wait, reason) = match wait {
            Some((value, reason)) => (seconds(&value), reason),
            None => (None, None),
        };
        let reason = wait.map(|_| PollReason::of(&reason.unwrap_or_default()));
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

/// What is left of a header.
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
