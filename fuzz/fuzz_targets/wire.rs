//! Any bytes, cut anywhere, give the same messages of a worker and of a hub process, or are refused; a message that passes is
//! encoded to the same bytes.
#![no_main]

use arbitrary::Arbitrary;
use eventsource_xs::wire::{Frame, FrameBuffer, Hello, Request, Response, Stop, Upgrade, VERSION};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: Vec<u8>,
    bytes: &'a [u8],
}

/// Checks one frame. Returns what it was, for comparison.
fn check(frame: Frame<'_>) -> (String, String, String) {
    let mut encoded = Vec::new();
    let request = Request::decode(frame);
    if let Ok(request) = &request {
        request.encode(&mut encoded).expect("it has come in a frame");
        assert_eq!((encoded[4], &encoded[5..]), (frame.kind, frame.message));
    }
    encoded.clear();
    let response = Response::decode(frame);
    if let Ok(response) = &response {
        response.encode(&mut encoded).expect("it has come in a frame");
        assert_eq!((encoded[4], &encoded[5..]), (frame.kind, frame.message));
    }
    let first = (Hello::decode(frame, VERSION), Upgrade::decode(frame), Stop::decode(frame));
    (format!("{request:?}"), format!("{response:?}"), format!("{first:?}"))
}

fn outcome_of<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<(String, String, String)>, bool) {
    let (mut buffer, mut frames) = (FrameBuffer::default(), Vec::new());
    for piece in pieces {
        buffer.feed(piece);
        loop {
            match buffer.next_frame() {
                Ok(Some(frame)) => frames.push(check(frame)),
                Ok(None) => break,
                Err(_) => return (frames, false),
            }
        }
    }
    (frames, true)
}

/// Splits the bytes into pieces of these lengths and the rest.
fn pieces<'a>(bytes: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
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
    let whole = outcome_of([input.bytes].into_iter());
    assert_eq!(outcome_of(pieces(input.bytes, &input.cuts).into_iter()), whole);
    assert_eq!(outcome_of(input.bytes.chunks(1)), whole);
});
