//! Tests of [`Stream`], among them a comparison with a naive twin.

use super::*;
use crate::cases::cases;
use proptest::prelude::*;

const KEEPALIVE: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(60);

fn settings(max_buffered: usize, drop_oldest: bool) -> Arc<Settings> {
    Arc::new(Settings {
        framing: Framing::Plain,
        coding: ContentCoding::Identity,
        line_end: LineEnd::Lf,
        keepalive: Some(KEEPALIVE),
        timeout: TIMEOUT,
        max_buffered,
        drop_oldest,
        retry: Duration::from_secs(3),
    })
}

fn stream(max_buffered: usize, drop_oldest: bool) -> Stream {
    Stream::new(settings(max_buffered, drop_oldest), Instant::now())
}

/// Returns the bytes of the next write, of at most `most` blocks.
fn gathered(stream: &Stream, most: usize) -> Vec<u8> {
    let mut blocks = vec![IoSlice::new(&[]); most];
    let count = stream.gather(&mut blocks);
    blocks[..count].iter().flat_map(|block| block.iter().copied()).collect()
}

fn lost(events: usize, bytes: usize) -> Discarded {
    Discarded { events, bytes }
}

/// A twin written without regard to speed. It holds whole blocks, and how much of the first was sent.
#[derive(Default)]
struct Naive {
    blocks: Vec<(Vec<u8>, bool)>,
    sent_bytes: usize,
}

impl Naive {
    fn buffered(&self) -> Vec<u8> {
        self.blocks.iter().flat_map(|(bytes, _)| bytes.clone()).skip(self.sent_bytes).collect()
    }

    fn push(&mut self, bytes: &[u8], most: Option<usize>) -> Discarded {
        self.add(bytes, true);
        let mut dropped = Discarded::default();
        while most.map_or(false, |most| self.buffered().len() > most) {
            let newest = self.blocks.len() - 1;
            let may_drop = |at: &usize| self.blocks[*at].1 && *at != newest && (*at > 0 || self.sent_bytes == 0);
            match (0..self.blocks.len()).find(may_drop) {
                Some(oldest) => {
                    dropped.events += 1;
                    dropped.bytes += self.blocks.remove(oldest).0.len();
                }
                None => break,
            }
        }
        dropped
    }

    fn add(&mut self, bytes: &[u8], is_event: bool) {
        if !bytes.is_empty() {
            self.blocks.push((bytes.to_vec(), is_event));
        }
    }

    fn sent(&mut self, bytes: usize) -> usize {
        self.sent_bytes += bytes;
        let mut events = 0;
        while !self.blocks.is_empty() && self.sent_bytes >= self.blocks[0].0.len() {
            let (block, is_event) = self.blocks.remove(0);
            self.sent_bytes -= block.len();
            events += usize::from(is_event);
        }
        events
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    PushNonEvent(usize),
    /// Sends a percentage of the buffer.
    Send(usize),
    Discard,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..40).prop_map(Step::Push),
        1 => (0_usize..10).prop_map(Step::PushNonEvent),
        4 => (0_usize..=100).prop_map(Step::Send),
        1 => Just(Step::Discard),
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_random_stream_equals_its_naive_twin(
        steps in proptest::collection::vec(step(), 0..60),
        most in 0_usize..200,
        drop_oldest: bool,
    ) {
        let mut stream = stream(most, drop_oldest);
        let mut naive = Naive::default();
        for (number, step) in steps.iter().enumerate() {
            let text = |size: usize| vec![b'a' + (number % 26) as u8; size];
            match step {
                Step::Push(size) => {
                    let lost = naive.push(&text(*size), Some(most).filter(|_| drop_oldest));
                    prop_assert_eq!(stream.push(text(*size).into()), lost);
                }
                Step::PushNonEvent(size) => {
                    naive.add(&text(*size), false);
                    stream.push_non_event(text(*size).into());
                }
                Step::Send(part) => {
                    let bytes = naive.buffered().len() * part / 100;
                    prop_assert_eq!(stream.advance(bytes, Instant::now()), naive.sent(bytes));
                }
                Step::Discard => {
                    let events = naive.blocks.iter().filter(|(_, is_event)| *is_event).count();
                    prop_assert_eq!(stream.discard(), lost(events, naive.buffered().len()));
                    naive = Naive::default();
                }
            }
            prop_assert_eq!(stream.buffered_bytes(), naive.buffered().len());
            prop_assert_eq!(gathered(&stream, 1000), naive.buffered());
            let first = naive.blocks.iter().take(3).flat_map(|(bytes, _)| bytes.clone());
            let first: Vec<u8> = first.skip(naive.sent_bytes).collect();
            let gathered = gathered(&stream, 3);
            prop_assert!(naive.buffered().starts_with(&gathered) && gathered.starts_with(&first));
        }
    }
}

#[test]
fn gather_fills_at_most_the_given_blocks() {
    let mut stream = stream(1000, false);
    for _ in 0..10 {
        stream.push(Bytes::from_static(b"xy"));
    }
    for most in 0..12 {
        assert_eq!(gathered(&stream, most).len(), 2 * most.min(10));
    }
    stream.advance(1, Instant::now());
    assert_eq!(gathered(&stream, 2), b"yxy");
}

#[test]
fn a_full_buffer_drops_the_oldest_event_that_may_be_dropped() {
    // The buffer (+ marks a block that is not an event), how many bytes of it are sent, the pushed event, how many events are
    // lost, the buffer afterwards.
    let table: [(&[&str], usize, &str, usize, &str); 10] = [
        (&["aaaa"], 0, "bb", 0, "aaaabb"),
        (&["aaaa", "bbbb"], 0, "cc", 0, "aaaabbbbcc"),
        (&["aaaa", "bbbb"], 0, "ccc", 1, "bbbbccc"),
        (&["aaaa", "bbbb"], 1, "cccc", 1, "aaacccc"),
        (&["aaaa", "bbbb"], 0, "c of more than may wait", 2, "c of more than may wait"),
        (&["aaaa", "bbbb"], 1, "c of more than may wait", 1, "aaac of more than may wait"),
        (&["+aaaa", "bbbb"], 0, "cccc", 1, "aaaacccc"),
        (&["+aaaa", "+bbbb"], 0, "cccc", 0, "aaaabbbbcccc"),
        (&["aaaa", "+bbbb", "cccc"], 0, "dddd", 2, "bbbbdddd"),
        (&["aaaa", "+bbbb", "cccc"], 2, "dddd", 1, "aabbbbdddd"),
    ];
    for (buffered, sent, pushed, events, left) in table {
        let mut stream = stream(10, true);
        for text in buffered {
            match text.strip_prefix('+') {
                Some(text) => stream.push_non_event(Bytes::from_static(text.as_bytes())),
                None => stream.push_unlimited(Bytes::from_static(text.as_bytes())),
            }
        }
        stream.advance(sent, Instant::now());
        let before = stream.buffered_bytes() + pushed.len();
        let lost = stream.push(Bytes::from_static(pushed.as_bytes()));
        assert_eq!(String::from_utf8(gathered(&stream, 64)).as_deref(), Ok(left), "{buffered:?}");
        assert_eq!(lost, Discarded { events, bytes: before - left.len() }, "{buffered:?}");
    }
}

#[test]
fn a_quiet_stream_is_due_for_a_keepalive_and_a_stalled_one_times_out() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut stream = Stream::new(settings(1000, false), start);
    assert_eq!((stream.next_due(), stream.is_keepalive_due(at(14))), (Some(at(15)), false));
    assert!(stream.is_keepalive_due(at(15)), "a quiet stream");

    stream.push(Bytes::from_static(b"event"));
    assert_eq!((stream.next_due(), stream.is_keepalive_due(at(1000))), (None, false), "sending was not tried yet");

    stream.set_stalled(at(20));
    stream.set_stalled(at(50));
    assert_eq!(stream.stalled_since(), Some(at(20)), "the first stall counts");
    assert_eq!((stream.next_due(), stream.has_timed_out(at(79))), (None, false));
    assert!(stream.has_timed_out(at(80)));

    stream.advance(0, at(70));
    assert_eq!(stream.stalled_since(), Some(at(20)), "the socket has taken nothing");
    stream.advance(1, at(70));
    assert_eq!((stream.stalled_since(), stream.has_timed_out(at(1000))), (None, false), "the socket has taken a byte");
    stream.set_stalled(at(70));
    stream.push(Bytes::from_static(b"another"));
    assert!(stream.has_timed_out(at(130)), "a push does not change the timeout");

    stream.advance(11, at(100));
    assert_eq!(
        (stream.next_due(), stream.is_keepalive_due(at(115))),
        (Some(at(115)), true),
        "the socket has taken everything"
    );
}

#[test]
fn a_quiet_stream_without_keepalive_is_never_due() {
    let start = Instant::now();
    let settings = Settings { keepalive: None, ..*settings(1000, false) };
    let stream = Stream::new(Arc::new(settings), start);
    assert_eq!((stream.next_due(), stream.is_keepalive_due(start + TIMEOUT * 100)), (None, false));
}

#[test]
fn a_stream_is_done_when_it_is_ending_and_its_buffer_is_empty() {
    let mut stream = stream(1000, false);
    assert!(!stream.is_done());
    stream.push(Bytes::from_static(b"event"));
    stream.end(Reason::Server);
    stream.end(Reason::Application);
    assert_eq!((stream.ending, stream.is_done()), (Some(Reason::Server), false));
    stream.advance(4, Instant::now());
    assert!(!stream.is_done());
    stream.advance(1, Instant::now());
    assert!(stream.is_done());
}

#[test]
fn discard_resets_the_partly_sent_event() {
    let now = Instant::now();
    let mut stream = stream(4, true);
    stream.push(Bytes::from_static(b"event"));
    stream.advance(2, now);
    stream.set_stalled(now);
    assert_eq!(stream.discard(), lost(1, 3));
    assert_eq!(stream.buffered_bytes(), 0);
    stream.push(Bytes::from_static(b"next"));
    assert_eq!(
        stream.push(Bytes::from_static(b"last")),
        lost(1, 4),
        "no byte of the next event was sent, so it may be dropped"
    );
}

#[test]
fn each_reason_is_found_by_its_name() {
    for reason in Reason::ALL.iter().copied() {
        assert_eq!(Reason::of_name(reason.name().as_bytes()), Some(reason));
        assert_eq!(Reason::ALL[reason as usize], reason, "ALL is in the order of the discriminants");
    }
    assert_eq!(Reason::of_name(b"other"), None);
}

/// Decodes a chunked body (RFC 9112, section 7.1). Returns the chunks, and whether the body has ended.
fn unchunk(mut bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let line = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a line with a size");
        let size = std::str::from_utf8(&bytes[..line]).expect("digits");
        assert!(!size.starts_with(['+', '0']) || size == "0", "{size:?}");
        let size = usize::from_str_radix(size, 16).expect("digits");
        let (chunk, rest) = bytes[line + 2..].split_at(size);
        bytes = rest.strip_prefix(b"\r\n").expect("the end of the chunk");
        if size == 0 {
            assert!(bytes.is_empty(), "no byte follows the last chunk");
            return (chunks, true);
        }
        chunks.push(chunk.to_vec());
    }
    (chunks, false)
}

#[test]
fn a_chunked_block_is_one_chunk() {
    for size in (1..=300).chain([4095, 4096, 65_535, 65_536, 1_000_000]) {
        let block: Vec<u8> = (0..size).map(|at| at as u8).collect();
        let framed = Framing::Chunked.frame(&block);
        assert_eq!(unchunk(&framed), (vec![block.clone()], false));
        assert_eq!(framed.len(), block.len() + format!("{size:x}").len() + 4);
        assert_eq!(Framing::Plain.frame(&block), block);
    }
    let all =
        [Framing::Chunked.frame(b"data: 1\n\n"), Framing::Chunked.keepalive(LineEnd::CrLf), Framing::Chunked.end()]
            .concat();
    assert_eq!(unchunk(&all), (vec![b"data: 1\n\n".to_vec(), b":\r\n".to_vec()], true));
}

#[test]
fn an_empty_block_is_framed_as_nothing() {
    for framing in [Framing::Plain, Framing::Chunked] {
        assert_eq!(framing.frame(b""), Bytes::new());
    }
    assert_eq!(
        (Framing::Plain.end().len(), Framing::Plain.keepalive(LineEnd::CrLf)),
        (0, Bytes::from_static(b":\r\n"))
    );
}
