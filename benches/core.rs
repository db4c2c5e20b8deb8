//! Compares encoding and parsing with a memcpy of the same bytes.
//!
//!     cargo bench --no-default-features --bench core
//!
//! The ratios come from alternating turns of the case and of memcpy. Each is the quotient of the two fastest turns. Times of
//! different runs or machines are not comparable; the ratios are.

#![allow(clippy::incompatible_msrv)] // a benchmark is built with a current Rust

use eventsource_xs::event::{encode, size_bound, Field, LineEnd, Text};
use eventsource_xs::parse::Parser;
use std::hint::black_box;
use std::time::{Duration, Instant};

const KIB: usize = 1024;

/// A measured function, with the bytes that memcpy copies for comparison.
struct Case {
    name: &'static str,
    source: Vec<u8>,
    run: fn(&[u8], &mut [u8]) -> usize,
}

fn cases() -> Vec<Case> {
    let mut stream = vec![0; 2 * 64 * KIB];
    let len = encode_utf8(&lines(64 * KIB, 800), &mut stream);
    stream.truncate(len);
    vec![
        Case { name: "encode 20 bytes", source: lines(20, 1), run: encode_utf8 },
        Case { name: "encode 1 KB in 16 lines", source: lines(KIB, 16), run: encode_utf8 },
        Case { name: "encode 64 KB in 800 lines", source: lines(64 * KIB, 800), run: encode_utf8 },
        Case { name: "encode 64 KB in 1,024 lines", source: lines(64 * KIB, 1_024), run: encode_utf8 },
        Case { name: "encode 64 KB without breaks", source: lines(64 * KIB, 1), run: encode_utf8 },
        Case { name: "encode 64 KB of Latin-1", source: latin1(64 * KIB, 800), run: encode_latin1 },
        Case { name: "parse 64 KB in 800 lines", source: stream, run: parse },
    ]
}

/// Returns ASCII text of `bytes` bytes in `count` lines of about the same length.
fn lines(bytes: usize, count: usize) -> Vec<u8> {
    let each = bytes / count;
    (0..bytes).map(|at| if at % each == each - 1 && at + 1 < bytes { b'\n' } else { b'a' + (at % 26) as u8 }).collect()
}

/// Returns the same as Latin-1 with one e acute in twenty-five letters, as in French.
fn latin1(bytes: usize, count: usize) -> Vec<u8> {
    let mut text = lines(bytes, count);
    text.iter_mut().step_by(25).filter(|byte| **byte != b'\n').for_each(|byte| *byte = 0xE9);
    text
}

/// Encodes one event as the boundary to Perl does: it measures, then writes.
fn encode_text(text: Text<'_>, out: &mut [u8]) -> usize {
    let fields = [Field::Data(text)];
    let bound = size_bound(fields);
    encode(fields, LineEnd::Lf, &mut out[..bound])
}

fn encode_utf8(source: &[u8], out: &mut [u8]) -> usize {
    encode_text(Text::verbatim(source), out)
}

fn encode_latin1(source: &[u8], out: &mut [u8]) -> usize {
    encode_text(Text::latin1(source), out)
}

fn parse(source: &[u8], _out: &mut [u8]) -> usize {
    let mut parser = Parser::new();
    parser.feed(source).expect("the stream fits");
    parser.next_event().map_or(0, |event| event.data.len())
}

fn copy(source: &[u8], out: &mut [u8]) -> usize {
    out[..source.len()].copy_from_slice(source);
    source.len()
}

/// Returns the fastest of many short turns of the case and of memcpy, in nanoseconds per call.
fn fastest(case: &Case, out: &mut [u8]) -> (f64, f64) {
    const TURNS: usize = 300;
    let calls = (256 * KIB / case.source.len()).clamp(4, 2_000);
    let (mut own, mut floor) = (f64::MAX, f64::MAX);
    for _ in 0..TURNS {
        own = own.min(turn(case.run, &case.source, out, calls));
        floor = floor.min(turn(copy, &case.source, out, calls));
    }
    (own, floor)
}

fn turn(run: fn(&[u8], &mut [u8]) -> usize, source: &[u8], out: &mut [u8], calls: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(run(black_box(source), black_box(out)));
    }
    nanoseconds(start.elapsed()) / calls as f64
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

fn main() {
    // `cargo test --benches` only checks that this file works.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let mut out = vec![0; 4 * 64 * KIB];
    for case in cases() {
        let (own, floor) = fastest(&case, &mut out);
        println!("{}: {:.1} x memcpy ({own:.1} ns, {floor:.1} ns)", case.name, own / floor);
    }
}
