//! The benchmark's events: what one looks like, and how they are read.
//!
//! Their `id` is a sequence number that grows by one from event to event. Their `data` begins with two times, in
//! nanoseconds of CLOCK_MONOTONIC: when the event's round was due, and when it was pushed to this stream.

use std::io::Write;

/// One event, as it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    pub id: u64,
    pub due_ns: u64,
    pub pushed_ns: u64,
}

impl Event {
    /// Writes the bytes that Plack::App::EventSource writes, with `data` padded to `data_bytes`.
    pub fn write(&self, data_bytes: usize, into: &mut Vec<u8>) {
        let fixed = "Vec takes all that is written to it";
        write!(into, "id: {}\r\ndata: ", self.id).expect(fixed);
        let begin = into.len();
        write!(into, "{} {} ", self.due_ns, self.pushed_ns).expect(fixed);
        into.resize(into.len().max(begin + data_bytes), b'x');
        into.extend_from_slice(b"\r\n\r\n");
    }
}

/// Reads a body, cut anywhere, line by line. It knows what the benchmark's events need; for a whole parser see
/// `src/parse` of the module.
#[derive(Default)]
pub struct Reader {
    /// A line whose end has not come.
    partial: Vec<u8>,
    id: Option<u64>,
    times: Option<(u64, u64)>,
    has_data: bool,
}

/// An event that is none of the benchmark's.
#[derive(Debug, PartialEq)]
pub struct Malformed;

impl Reader {
    /// Calls `take` with each event that ends in `bytes`.
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

    /// What a line ends, if it ends an event. WHATWG HTML 9.2.6: without data nothing is dispatched.
    fn line(&mut self, line: &[u8]) -> Option<Result<Event, Malformed>> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(value) = line.strip_prefix(b"id: ") {
            self.id = number(value.rsplit(|&byte| byte == b'-').next().unwrap_or(value));
        // a hub's: EPOCH-NUMBER
        } else if let Some(value) = line.strip_prefix(b"data: ") {
            self.has_data = true;
            self.times = times(value);
        } else if line.is_empty() && self.has_data {
            let (id, times) = (self.id.take(), self.times.take());
            self.has_data = false;
            return Some(
                id.zip(times).map(|(id, (due_ns, pushed_ns))| Event { id, due_ns, pushed_ns }).ok_or(Malformed),
            );
        }
        None
    }
}

fn times(data: &[u8]) -> Option<(u64, u64)> {
    let mut words = data.splitn(3, |&byte| byte == b' ');
    number(words.next()?).zip(number(words.next()?))
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
    fn what_is_written_is_what_the_application_writes() {
        let mut bytes = Vec::new();
        Event { id: 7, due_ns: 12, pushed_ns: 34 }.write(10, &mut bytes);
        assert_eq!(bytes, b"id: 7\r\ndata: 12 34 xxxx\r\n\r\n");
    }

    #[test]
    fn events_are_the_same_wherever_they_are_cut() {
        let (one, two) = (Event { id: 1, due_ns: 5, pushed_ns: 6 }, Event { id: 2, due_ns: 7, pushed_ns: 8 });
        let mut bytes = b": a comment\r\n\r\n".to_vec();
        one.write(20, &mut bytes);
        bytes.extend_from_slice(b"id: 9\nretry: 5\n\n"); // no data, no event
        bytes.extend_from_slice(b"id: epoch-2\ndata: 7 8 \n\n");
        for cut in 0..=bytes.len() {
            assert_eq!(events(&[&bytes[..cut], &bytes[cut..]]), [Ok(one), Ok(two)], "cut at {cut}");
        }
    }

    #[test]
    fn an_event_of_others_is_malformed() {
        for text in ["data: hello\n\n", "id: 1\ndata: 5\n\n", "data: 5 6\n\n", "id: x\ndata: 5 6\n\n"] {
            assert_eq!(events(&[text.as_bytes()]), [Err(Malformed)], "{text:?}");
        }
    }
}
