//! Bytes to events: the event stream parser of WHATWG HTML 9.2.5 and 9.2.6, incremental.
//!
//! A [`Parser`] takes a stream in pieces cut anywhere and gives the events that a browser would dispatch. It has
//! three layers: the byte order mark at the start, lines that end in CRLF, LF or CR, and fields.
//!
//! ```
//! use eventsource_xs::parse::Parser;
//!
//! let mut parser = Parser::new();
//! parser.feed(b"id: 1\nda")?;
//! parser.feed(b"ta: hello\n\n")?;
//! let event = parser.next_event().unwrap();
//! assert_eq!((&*event.event, &*event.data, &*event.last_event_id), ("message", "hello", "1"));
//! assert!(parser.next_event().is_none());
//! # Ok::<(), eventsource_xs::parse::TooLarge>(())
//! ```

#![forbid(unsafe_code)]

mod bom;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;

use bom::Bom;
use std::collections::VecDeque;
use std::fmt;

/// An event as it is dispatched (WHATWG HTML 9.2.6, "dispatch the event").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event's type; `message` if the stream gave none.
    pub event: String,
    /// The data, its lines joined by LF.
    pub data: String,
    /// The last event ID at the time of the event: its own `id`, or the latest one before it.
    pub last_event_id: String,
}

/// An event, or a line, grew beyond the parser's bound before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The bound, in bytes.
    pub max_event_bytes: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an event is larger than max_event, {} bytes", self.max_event_bytes)
    }
}

impl std::error::Error for TooLarge {}

/// An incremental parser. It parses one event stream after another.
#[derive(Clone, Debug)]
pub struct Parser {
    bom: Bom,
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// True if the last line ended in CR. An LF that follows then belongs to the same line end.
    after_cr: bool,
    event_type: String,
    data: String,
    id_buffer: String,
    last_event_id: String,
    retry: Option<u64>,
    ready: VecDeque<Event>,
    max_event_bytes: usize,
    failed: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// The default bound on one event: 1 MiB.
    pub const DEFAULT_MAX_EVENT_BYTES: usize = 1 << 20;

    /// Creates a parser with the default bound.
    pub fn new() -> Self {
        Self::with_max_event_bytes(Self::DEFAULT_MAX_EVENT_BYTES)
    }

    /// Creates a parser that refuses an event when its type, its data and its unfinished line together exceed
    /// `max_event_bytes`. Any number is allowed: 0 accepts blank lines only, `usize::MAX` sets no bound.
    pub fn with_max_event_bytes(max_event_bytes: usize) -> Self {
        Self {
            bom: Bom::default(),
            line: Vec::new(),
            after_cr: false,
            event_type: String::new(),
            data: String::new(),
            id_buffer: String::new(),
            last_event_id: String::new(),
            retry: None,
            ready: VecDeque::new(),
            max_event_bytes,
            failed: false,
        }
    }

    /// Takes the next bytes of the stream. [`next_event`](Self::next_event) then returns the events that they complete.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] if an event exceeds the bound, in this and every later call until [`finish`](Self::finish). Events
    /// that were complete before it can still be taken.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        let parsed = if self.failed { Err(self.too_large()) } else { self.take(bytes) };
        self.failed = parsed.is_err();
        parsed
    }

    /// Takes the next complete event, in the order of the stream.
    pub fn next_event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// Returns how many complete events have not been taken yet.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Returns the last event ID, which a client sends in `Last-Event-ID` when it reconnects. It changes with the blank
    /// line at the end of a block, not with the `id` field itself.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Returns the last reconnection time that the stream has set, in milliseconds. A number beyond `u64` becomes its
    /// maximum.
    pub const fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// Ends the stream: drops an unterminated block (WHATWG HTML 9.2.6) and prepares for the next stream. Complete events,
    /// the last event ID and the reconnection time are kept, as by a client that reconnects.
    pub fn finish(&mut self) {
        let (ready, last_event_id) = (std::mem::take(&mut self.ready), std::mem::take(&mut self.last_event_id));
        *self = Self {
            ready,
            id_buffer: last_event_id.clone(),
            last_event_id,
            retry: self.retry,
            ..Self::with_max_event_bytes(self.max_event_bytes)
        };
    }

    fn too_large(&self) -> TooLarge {
        TooLarge { max_event_bytes: self.max_event_bytes }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        let (delayed, rest) = self.bom.pass(bytes);
        self.take_lines(delayed)?;
        self.take_lines(rest)
    }

    fn take_lines(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.check_size(part.len())?;
            if end.is_none() {
                self.line.extend_from_slice(part);
                break;
            }
            self.after_cr = rest[0] == b'\r';
            bytes = &rest[1..];
            self.end_line(part);
        }
        Ok(())
    }

    /// Checks the size of the unfinished event: its buffered type and data, and the line that is being read.
    fn check_size(&self, part_bytes: usize) -> Result<(), TooLarge> {
        let size = self.event_type.len() + self.data.len() + self.line.len() + part_bytes;
        if size > self.max_event_bytes {
            return Err(self.too_large());
        }
        Ok(())
    }

    /// Takes a whole line: the part kept from earlier calls in `line`, and `part`.
    fn end_line(&mut self, part: &[u8]) {
        if self.line.is_empty() {
            return self.take_line(part);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(part);
        self.take_line(&line);
        line.clear();
        self.line = line; // keeps its capacity for the next line
    }

    fn take_line(&mut self, line: &[u8]) {
        if line.is_empty() {
            return self.dispatch();
        }
        match memchr::memchr(b':', line) {
            Some(0) => {} // a comment
            Some(colon) => {
                let value = &line[colon + 1..];
                self.take_field(&line[..colon], value.strip_prefix(b" ").unwrap_or(value));
            }
            None => self.take_field(line, b""),
        }
    }

    /// WHATWG HTML 9.2.6, "process the field". UTF-8 is decoded here and not before the stream is split into lines. The
    /// result is the same: no CR, LF or colon is part of a longer UTF-8 sequence.
    fn take_field(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"event" => self.event_type = decode(value),
            b"data" => {
                self.data.push_str(&String::from_utf8_lossy(value));
                self.data.push('\n');
            }
            b"id" if !value.contains(&0) => self.id_buffer = decode(value),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => self.retry = Some(number(value)),
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        if self.last_event_id != self.id_buffer {
            self.last_event_id.clone_from(&self.id_buffer);
        }
        let event_type = std::mem::take(&mut self.event_type);
        let mut data = std::mem::take(&mut self.data);
        if data.pop().is_none() {
            return;
        }
        let event = if event_type.is_empty() { "message".into() } else { event_type };
        self.ready.push_back(Event { event, data, last_event_id: self.last_event_id.clone() });
    }
}

fn decode(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}
