//! A stream gives the same events wherever it is cut, also if an event in it is too large.
#![no_main]

use arbitrary::Arbitrary;
use eventsource_xs::parse::{Event, Parser, TooLarge};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: Vec<u8>,
    max_event_bytes: u16,
    stream: &'a [u8],
}

#[derive(Debug, PartialEq)]
struct Parsed {
    events: Vec<Event>,
    last_event_id: String,
    retry: Option<u64>,
    result: Result<(), TooLarge>,
}

fn outcome_of<'a>(mut pieces: impl Iterator<Item = &'a [u8]>, max_event_bytes: usize) -> Parsed {
    let mut parser = Parser::with_max_event_bytes(max_event_bytes);
    let result = pieces.try_for_each(|piece| parser.feed(piece));
    let events: Vec<Event> = std::iter::from_fn(|| parser.next_event()).collect();
    for event in &events {
        // A byte that is not UTF-8 becomes the three bytes of U+FFFD. An event without a type gets the type `message`.
        assert!(event.data.len() <= max_event_bytes.saturating_mul(3));
        assert!(event.event.len() <= max_event_bytes.saturating_mul(3).max("message".len()));
    }
    Parsed { events, last_event_id: parser.last_event_id().into(), retry: parser.retry(), result }
}

/// Splits the stream into pieces of these lengths and the rest.
fn pieces<'a>(stream: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let mut rest = stream;
    let mut pieces = Vec::new();
    for length in lengths {
        let (piece, after) = rest.split_at(rest.len().min((*length).into()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

fuzz_target!(|input: Input<'_>| {
    let cut = pieces(input.stream, &input.cuts);
    for max_event_bytes in [usize::MAX, input.max_event_bytes.into()] {
        let whole = outcome_of([input.stream].into_iter(), max_event_bytes);
        assert_eq!(outcome_of(cut.iter().copied(), max_event_bytes), whole);
        assert_eq!(outcome_of(input.stream.chunks(1), max_event_bytes), whole);
    }
});
