//! What is judged: what one client receives, over all its connections, as a page's EventSource would dispatch it.
//!
//! The data of each numbered event begins with two times and a number: `DUE PUSHED NUMBER ...`, in nanoseconds of
//! CLOCK_MONOTONIC, both 0 if delays do not matter. The numbers grow by one in the order of publication. The last word is
//! the number again, or a filling of `x`, so that a torn event is seen. Events with a name are not numbered ones. One name
//! may be the server's documented way to say that events are missing: a gap.
//!
//! A number that is not received is lost. It is a *told* loss if a gap came between the event before it and the one after it,
//! and a *silent* one otherwise. A number that is received once, but after a larger one, is out of order; another time, it is
//! received twice. What a client missed before its first event is not judged.

use crate::histogram::Histogram;
use std::collections::HashSet;
use std::ops::Range;

/// The counts of many clients.
#[derive(Default)]
pub struct Counts {
    /// Numbers, each once for each client.
    pub received: u64,
    pub twice: u64,
    pub out_of_order: u64,
    pub gaps: u64,
    /// Events whose data is not that of a numbered event, or is torn.
    pub malformed: u64,
    /// From the publication to the arrival.
    pub delays: Histogram,
}

/// What is lost when nothing more will be received.
#[derive(Debug, Default, PartialEq)]
pub struct Losses {
    pub told: u64,
    pub silent: u64,
}

/// Numbers that were not received.
struct Hole {
    numbers: Range<u64>,
    is_told: bool,
}

/// What a client has received.
#[derive(Default)]
pub struct Progress {
    /// The largest number; zero before the first one.
    pub last: u64,
    pub last_event_id: Vec<u8>,
    /// When the newest of its events was published.
    pub pushed_ns: u64,
    first: u64,
    holes: Vec<Hole>,
    /// Whether a gap has come after the last number.
    is_told: bool,
    partial: Vec<u8>,
    block: Block,
}

/// The block that is being received.
#[derive(Default)]
struct Block {
    id: Option<Vec<u8>>,
    /// The data, if there is any: whether it is a numbered event's.
    event: Option<Option<Numbered>>,
    name: Name,
    has_line: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Name {
    #[default]
    Message,
    Gap,
    Other,
}

#[derive(Clone, Copy)]
struct Numbered {
    number: u64,
    pushed_ns: u64,
}

impl Progress {
    /// Drops the incomplete block at the end of a connection (WHATWG HTML 9.2.6). Returns whether there was one.
    pub fn hang_up(&mut self) -> bool {
        let is_amid = self.block.has_line || !self.partial.is_empty();
        self.partial.clear();
        self.block = Block::default();
        is_amid
    }

    /// Takes bytes of a body. `gap` is the name of the event that reports missing events. Delays count if `is_timed`.
    pub fn feed(&mut self, mut bytes: &[u8], gap: &[u8], now_ns: u64, is_timed: bool, counts: &mut Counts) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..at], &bytes[at + 1..]);
            let is_end = if self.partial.is_empty() {
                self.block.line(line, gap)
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                let is_end = self.block.line(&whole, gap);
                whole.clear();
                self.partial = whole; // keeps its capacity
                is_end
            };
            if is_end {
                self.take((now_ns, is_timed), counts);
            }
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
    }

    /// Handles the end of a block. Its id becomes the last event ID even if the block has no data.
    fn take(&mut self, (now_ns, is_timed): (u64, bool), counts: &mut Counts) {
        let block = std::mem::take(&mut self.block);
        if let Some(id) = block.id {
            self.last_event_id = id;
        }
        match (block.name, block.event) {
            (_, None) | (Name::Other, _) => {}
            (Name::Gap, _) => {
                self.is_told = true;
                counts.gaps += 1;
            }
            (Name::Message, Some(None)) => counts.malformed += 1,
            (Name::Message, Some(Some(event))) => {
                self.pushed_ns = self.pushed_ns.max(event.pushed_ns);
                if self.is_new(event.number, counts) {
                    counts.received += 1;
                    if is_timed {
                        counts.delays.add(now_ns.saturating_sub(event.pushed_ns));
                    }
                }
            }
        }
    }

    fn is_new(&mut self, number: u64, counts: &mut Counts) -> bool {
        if self.last == 0 {
            (self.first, self.last, self.is_told) = (number, number, false);
            return true;
        }
        if number > self.last {
            if number > self.last + 1 {
                self.holes.push(Hole { numbers: self.last + 1..number, is_told: self.is_told });
            }
            (self.last, self.is_told) = (number, false);
            return true;
        }
        if number < self.first {
            counts.out_of_order += 1;
            return false;
        }
        let Some(at) = self.holes.iter().position(|hole| hole.numbers.contains(&number)) else {
            counts.twice += 1;
            return false;
        };
        counts.out_of_order += 1;
        let Hole { numbers, is_told } = self.holes.swap_remove(at);
        let rest = [numbers.start..number, number + 1..numbers.end];
        self.holes.extend(rest.into_iter().filter(|rest| !rest.is_empty()).map(|numbers| Hole { numbers, is_told }));
        true
    }

    /// Counts what is lost up to the number `newest`, apart from the numbers that nobody has promised.
    pub fn add_losses(&self, newest: u64, excused: &HashSet<u64>, losses: &mut Losses) {
        let tail = Hole { numbers: self.last.saturating_add(1)..newest + 1, is_told: self.is_told };
        for hole in self.holes.iter().chain((self.last > 0).then_some(&tail)) {
            // A number may be any that a server has sent.
            let numbers = hole.numbers.start..hole.numbers.end.min(newest + 1);
            let lost = numbers.filter(|number| !excused.contains(number)).count();
            *(if hole.is_told { &mut losses.told } else { &mut losses.silent }) += lost as u64;
        }
    }
}

impl Block {
    /// Takes a line. Returns whether it ends the block.
    fn line(&mut self, line: &[u8], gap: &[u8]) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return true;
        }
        self.has_line = true;
        let (field, value) = match memchr::memchr(b':', line) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"id" => {
                let id = self.id.get_or_insert_with(Vec::new);
                id.clear();
                id.extend_from_slice(value);
            }
            b"data" => self.event = Some(Numbered::parse(value)),
            b"event" if value.is_empty() || value == b"message" => self.name = Name::Message,
            b"event" => self.name = if value == gap { Name::Gap } else { Name::Other },
            _ => {}
        }
        false
    }
}

impl Numbered {
    fn parse(data: &[u8]) -> Option<Self> {
        let mut words = data.splitn(4, |&byte| byte == b' ');
        let (_due, pushed_ns, word, rest) = (words.next()?, digits(words.next()?)?, words.next()?, words.next()?);
        let last = rest.rsplit(|&byte| byte == b' ').next()?;
        let number = digits(word).filter(|number| *number > 0)?;
        (last == word || last.iter().all(|&byte| byte == b'x')).then_some(Self { number, pushed_ns })
    }
}

fn digits(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(pieces: &[&str]) -> (Progress, Counts) {
        let (mut progress, mut counts) = (Progress::default(), Counts::default());
        for piece in pieces {
            progress.feed(piece.as_bytes(), b"gap", 0, true, &mut counts);
        }
        (progress, counts)
    }

    /// The blocks of events with these numbers; 0 is a gap.
    fn blocks(numbers: &[u64]) -> String {
        let block = |&number| match number {
            0 => "event: gap\ndata: {}\n\n".to_owned(),
            number => format!("data: 0 0 {number} xx\n\n"),
        };
        numbers.iter().map(block).collect()
    }

    #[test]
    fn an_id_counts_from_the_end_of_its_block() {
        let (mut progress, mut counts) = fed(&["id: e-1\n\nid: e-2\nda", "ta: 0 0 1 x\n"]);
        assert_eq!((&*progress.last_event_id, progress.last), (&b"e-1"[..], 0));
        assert!(progress.hang_up() && !progress.hang_up());
        progress.feed(b"\nid:e-2\r\ndata:0 0 1 x 1\r\n\r\n", b"gap", 0, true, &mut counts);
        assert_eq!((&*progress.last_event_id, progress.last, counts.received), (&b"e-2"[..], 1, 1));
    }

    #[test]
    fn each_fault_has_its_name() {
        let rows: &[(&str, &[u64], [u64; 5])] = &[
            // received, twice, out of order, told, silent
            ("nothing is wrong", &[7, 8, 9, 10], [4, 0, 0, 0, 0]),
            ("one is lost", &[7, 9, 10], [3, 0, 0, 0, 1]),
            ("the last ones are lost", &[7, 8], [2, 0, 0, 0, 2]),
            ("one comes twice", &[7, 8, 8, 9, 10], [4, 1, 0, 0, 0]),
            ("a pair is swapped", &[7, 9, 8, 10], [4, 0, 1, 0, 0]),
            ("a late one comes twice", &[7, 9, 8, 8, 10], [4, 1, 1, 0, 0]),
            ("a loss is told", &[7, 0, 10], [2, 0, 0, 2, 0]),
            ("a loss at the end is told", &[7, 8, 9, 0], [3, 0, 0, 1, 0]),
            ("of two losses one is told", &[5, 0, 7, 9, 10], [4, 0, 0, 1, 1]),
            ("a gap without a loss", &[7, 8, 0, 9, 10], [4, 0, 0, 0, 0]),
            ("one of a hole is late", &[6, 10, 8], [3, 0, 1, 0, 2]),
            ("nothing at all", &[], [0, 0, 0, 0, 0]),
        ];
        for (what, numbers, [received, twice, out_of_order, told, silent]) in rows {
            let text = blocks(numbers);
            for cut in 0..=text.len() {
                let (progress, counts) = fed(&[&text[..cut], &text[cut..]]);
                let mut losses = Losses::default();
                progress.add_losses(10, &HashSet::new(), &mut losses);
                let found = [counts.received, counts.twice, counts.out_of_order, losses.told, losses.silent];
                assert_eq!(found, [*received, *twice, *out_of_order, *told, *silent], "{what}, cut at {cut}");
            }
        }
    }

    #[test]
    fn a_number_that_nobody_has_promised_is_not_lost() {
        let (progress, _) = fed(&[&blocks(&[7, 9])]);
        let mut losses = Losses::default();
        progress.add_losses(11, &HashSet::from([8, 10]), &mut losses);
        assert_eq!(losses, Losses { told: 0, silent: 1 });
        let (progress, _) = fed(&[&blocks(&[7, u64::MAX])]);
        progress.add_losses(11, &HashSet::from([8, 10]), &mut losses);
        assert_eq!(losses, Losses { told: 0, silent: 3 });
    }

    #[test]
    fn torn_data_is_malformed_and_named_events_are_not_judged() {
        let text = "data: 0 0 1 x\n\ndata: 0 0 12 xx 1\n\ndata: 5\n\nevent: position\ndata: 0 0 7 x\n\nevent: message\ndata: 0 0 2 x 2\n\n: a comment\n\n";
        let (progress, counts) = fed(&[text]);
        assert_eq!((progress.last, counts.received, counts.malformed), (2, 2, 2));
    }
}
