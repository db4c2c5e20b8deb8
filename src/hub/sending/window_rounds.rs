//! Compression windows, and what restarts them: the rounds of a group of streams.
//!
//! A *round* begins with an empty window, which then holds all events of the round, so an event that resembles earlier ones
//! becomes small. Only streams that were sent the round from its beginning can decode it. So the next one begins after some
//! bytes of events, and sooner if a stream waits for it, or if the next event does not follow the last one.

use crate::compression::{Body, ContentCoding, Piece, Window};
use crate::event::{Framing, LineEnd};
use crate::log::LogEntry;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time for which a round lasts at the least while a stream waits for the next one.
const LEAST_TIME: Duration = Duration::from_secs(10);
/// The number of rounds of a group that are kept, for streams that lag a little.
const KEPT_ROUNDS: usize = 2;

/// The bytes of events after which the next round begins. A window of gzip is 32 KB, one of zstd here 1 MB.
fn round_bytes(coding: ContentCoding) -> usize {
    match coding {
        _ if cfg!(test) => 2_000,
        ContentCoding::Zstd => 1 << 20,
        _ => 256 << 10,
    }
}

/// The window of a group, and its last rounds.
#[derive(Debug)]
pub(super) struct WindowRounds {
    coding: ContentCoding,
    window: Window,
    /// The rounds; the last one is not over.
    rounds: VecDeque<Round>,
    /// A stream waits for the next round.
    is_awaited: bool,
    /// The last round is over: events after it are not encoded.
    is_interrupted: bool,
}

/// Events that share a window, encoded.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) number: u32,
    began: Instant,
    /// The bytes of its events.
    bytes: usize,
    pieces: Vec<(u64, Piece)>,
}

impl Round {
    pub(super) fn first(&self) -> Option<u64> {
        self.pieces.first().map(|(seq, _)| *seq)
    }

    pub(super) fn after(&self, seq: u64) -> &[(u64, Piece)] {
        &self.pieces[self.pieces.partition_point(|(at, _)| *at <= seq)..]
    }
}

impl WindowRounds {
    pub(super) fn new(coding: ContentCoding) -> Self {
        let window = Window::new(coding);
        Self { coding, window, rounds: VecDeque::new(), is_awaited: false, is_interrupted: false }
    }

    pub(super) fn iter(&self) -> std::collections::vec_deque::Iter<'_, Round> {
        self.rounds.iter()
    }

    /// Records that a stream waits for the next round.
    pub(super) fn await_next(&mut self) {
        self.is_awaited = true;
    }

    /// Ends the last round: the next event that is encoded does not follow the last one.
    pub(super) fn interrupt(&mut self) {
        self.is_interrupted = true;
    }

    /// Encodes an entry, as the first one of the next round if the last one is over. Returns how many bytes it had before.
    pub(super) fn encode(&mut self, entry: &LogEntry, line_end: LineEnd, last_number: &mut u32) -> usize {
        if self.is_over(entry.at) {
            *last_number = *last_number % Body::MAX_ROUND + 1;
            self.begin_round(*last_number, entry.at);
        }
        let Self { window, rounds, .. } = self;
        let block = line_end.convert(entry.event.bytes(Framing::Plain));
        if let Some(round) = rounds.back_mut() {
            round.pieces.push((entry.seq, window.encode(&block)));
            round.bytes += block.len();
        }
        block.len()
    }

    /// Returns true if the last round is over at a time.
    fn is_over(&self, now: Instant) -> bool {
        let round = some_or!(self.rounds.back().filter(|_| !self.is_interrupted), return true);
        let is_old = now.saturating_duration_since(round.began) >= LEAST_TIME;
        round.bytes >= round_bytes(self.coding) || self.is_awaited && is_old
    }

    /// Begins a round with an empty window.
    fn begin_round(&mut self, number: u32, began: Instant) {
        self.rounds.push_back(Round { number, began, bytes: 0, pieces: Vec::new() });
        self.rounds.drain(..self.rounds.len().saturating_sub(KEPT_ROUNDS));
        self.window.begin();
        (self.is_awaited, self.is_interrupted) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Shared;
    use crate::log::Retain;

    /// Encodes an event, and returns the number of its round.
    fn round_of(rounds: &mut WindowRounds, last_number: &mut u32, seq: u64, at: Instant) -> u32 {
        let event = Shared::of(format!("data: {}\n\n", "x".repeat(500)));
        let (key, retain, channel) = (Box::default(), Retain::No, 0);
        let entry = LogEntry { seq, at, event, key, retain, has_custom_id: false, channel };
        rounds.encode(&entry, LineEnd::Lf, last_number);
        rounds.iter().last().map_or(0, |round| round.number)
    }

    #[test]
    fn a_round_ends_when_it_is_large_or_awaited_or_interrupted() {
        let start = Instant::now();
        let (mut rounds, mut last) = (WindowRounds::new(ContentCoding::Gzip), 0);
        let mut encode = |rounds: &mut WindowRounds, seq, seconds| {
            round_of(rounds, &mut last, seq, start + Duration::from_secs(seconds))
        };
        let of_size: Vec<u32> = (1..=5).map(|seq| encode(&mut rounds, seq, 0)).collect();
        assert_eq!(of_size, [1, 1, 1, 1, 2], "2,000 bytes are four events");
        assert_eq!(encode(&mut rounds, 6, 11), 2, "nobody waits for the next one");
        rounds.await_next();
        assert_eq!(encode(&mut rounds, 7, 11), 3);
        rounds.await_next();
        assert_eq!(encode(&mut rounds, 8, 20), 3, "the round is too young");
        assert_eq!(encode(&mut rounds, 9, 21), 4);
        rounds.interrupt();
        assert_eq!(encode(&mut rounds, 20, 21), 5);
        let firsts: Vec<_> = rounds.iter().map(|round| (round.number, round.first())).collect();
        assert_eq!(firsts, [(4, Some(9)), (5, Some(20))]);
    }
}
