//! The benchmark's events: how they are written and read.
//!
//! The `id` is, or ends in, a sequence number that grows by one with each event. The `data` begins with two times in
//! nanoseconds of CLOCK_MONOTONIC: when the event's round was due, and when the event was pushed to this stream. Where the
//! publisher cannot choose the `id` (nchan), the number is the third word of `data`.

use std::io::Write;
use std::str::FromStr;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    pub id: u64,
    pub due_ns: u64,
    pub pushed_ns: u64,
}

impl Event {
    /// Writes the bytes that Plack::App::EventSource writes, with `data` padded to `data_bytes`.
    pub fn write(&self, data_bytes: usize, into: &mut Vec<u8>) {
        write!(into, "id: {}\r\ndata: ", self.id).expect(FIXED);
        let begin = into.len();
        write!(into, "{} {} ", self.due_ns, self.pushed_ns).expect(FIXED);
        into.resize(into.len().max(begin + data_bytes), b'x');
        into.extend_from_slice(b"\r\n\r\n");
    }

    /// Writes the `data` that a publisher sends, padded to `data_bytes`: both times and the number.
    pub fn write_data(&self, data_bytes: usize, into: &mut Vec<u8>) {
        let begin = into.len();
        write!(into, "{} {} {} ", self.due_ns, self.pushed_ns, self.id).expect(FIXED);
        into.resize(into.len().max(begin + data_bytes), b'x');
    }
}

const FIXED: &str = "writing to a Vec does not fail";

/// The field that has an event's number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Numbered {
    #[default]
    Id,
    Data,
}

impl FromStr for Numbered {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        match text {
            "id" => Ok(Self::Id),
            "data" => Ok(Self::Data),
            _ => Err(Malformed),
        }
    }
}

/// Reads a body in pieces, line by line. It supports only the benchmark's events; `src/parse` of the module is a complete
/// parser.
#[derive(Default)]
pub struct Reader {
    /// An incomplete line.
    partial: Vec<u8>,
    numbered: Numbered,
    id: Option<u64>,
    times: Option<(u64, u64)>,
    has_data: bool,
    /// Whether the block is a position of a hub, which is not an event of the benchmark.
    is_position: bool,
}

/// The error of an event that is not one of the benchmark's.
#[derive(Debug, PartialEq)]
pub struct Malformed;

impl Reader {
    pub fn new(numbered: Numbered) -> Self {
        Self { numbered, ..Self::default() }
    }

    /// Calls `take` with each event that is completed by `bytes`.
    pub fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(Result<Event, Malformed>)) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..at], &bytes[at + 1..]);
            let ended = if self.partial.is_empty() {
                self.line(line)
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                let ended = self.line(&whole);
                whole.clear();
                self.partial = whole; // keeps its capacity
                ended
            };
            if let Some(event) = ended {
                take(event);
            }
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
    }

    /// Returns the event that a line ends, if it ends one. WHATWG HTML 9.2.6: a block without data dispatches nothing, and a
    /// space after the colon is not part of the value.
    fn line(&mut self, line: &[u8]) -> Option<Result<Event, Malformed>> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(value) = line.strip_prefix(b"data:") {
            self.has_data = true;
            self.data(value.strip_prefix(b" ").unwrap_or(value));
        } else if let (Some(value), Numbered::Id) = (line.strip_prefix(b"id:"), self.numbered) {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            let last = value.rsplit(|&byte| byte == b'-').next(); // a hub's: EPOCH-NUMBER
            self.id = last.and_then(number);
        } else if line == b"event: position" {
            self.is_position = true;
        } else if line.is_empty() && self.has_data {
            let (id, times) = (self.id.take(), self.times.take());
            self.has_data = false;
            if std::mem::take(&mut self.is_position) {
                return None;
            }
            return Some(
                id.zip(times).map(|(id, (due_ns, pushed_ns))| Event { id, due_ns, pushed_ns }).ok_or(Malformed),
            );
        }
        None
    }

    fn data(&mut self, data: &[u8]) {
        let mut words = data.splitn(4, |&byte| byte == b' ').map(number);
        let mut next = || words.next().flatten();
        self.times = next().zip(next());
        if self.numbered == Numbered::Data {
            self.id = next();
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<Result<Event, Malformed>> {
        let (mut reader, mut events) = (Reader::default(), Vec::new());
        for piece in pieces {
            reader.feed(piece, |event| events.push(event));
        }
        events
    }

    #[test]
    fn an_event_is_written_as_the_application_writes_it() {
        let mut bytes = Vec::new();
        Event { id: 7, due_ns: 12, pushed_ns: 34 }.write(10, &mut bytes);
        assert_eq!(bytes, b"id: 7\r\ndata: 12 34 xxxx\r\n\r\n");
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_split() {
        let (one, two) = (Event { id: 1, due_ns: 5, pushed_ns: 6 }, Event { id: 2, due_ns: 7, pushed_ns: 8 });
        let mut bytes = b": a comment\r\n\r\n".to_vec();
        one.write(20, &mut bytes);
        bytes.extend_from_slice(b"id: 9\nretry: 5\n\n"); // no data, no event
        bytes.extend_from_slice(b"event: position\ndata: \nid: epoch-1\n\n");
        bytes.extend_from_slice(b"id: epoch-2\ndata: 7 8 \n\n");
        for cut in 0..=bytes.len() {
            assert_eq!(events(&[&bytes[..cut], &bytes[cut..]]), [Ok(one), Ok(two)], "cut at {cut}");
        }
    }

    #[test]
    fn a_field_may_have_no_space_before_its_value() {
        assert_eq!(events(&[b"event:message\nid:3\ndata:5 6 x\n\n"]), [Ok(Event { id: 3, due_ns: 5, pushed_ns: 6 })]);
    }

    #[test]
    fn the_number_may_be_in_the_data() {
        let (event, mut data) = (Event { id: 4, due_ns: 5, pushed_ns: 6 }, b"id: 1700000000:0\ndata: ".to_vec());
        event.write_data(12, &mut data);
        data.extend_from_slice(b"\n\n");
        assert!(data.ends_with(b"data: 5 6 4 xxxxxx\n\n"));
        let mut read = Vec::new();
        Reader::new(Numbered::Data).feed(&data, |event| read.push(event));
        assert_eq!(read, [Ok(event)]);
    }

    #[test]
    fn an_event_without_number_or_times_is_malformed() {
        for text in ["data: hello\n\n", "id: 1\ndata: 5\n\n", "data: 5 6\n\n", "id: x\ndata: 5 6\n\n"] {
            assert_eq!(events(&[text.as_bytes()]), [Err(Malformed)], "{text:?}");
        }
    }
}
