//! The parser on streams that are whole, cut at every offset, and random.

use super::naive::{parse, Parsed};
use super::*;
use crate::cases::cases;
use crate::event::{encode_to_vec, EventId, EventName, Field, LineEnd, Retry, Text};
use proptest::prelude::*;

fn event(event: &str, data: &str, id: &str) -> Event {
    Event { event: event.into(), data: data.into(), last_event_id: id.into() }
}

fn parsed_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Parsed {
    let mut parser = Parser::new();
    for piece in pieces {
        parser.feed(piece).unwrap();
    }
    Parsed {
        events: std::iter::from_fn(|| parser.next_event()).collect(),
        last_event_id: parser.last_event_id().into(),
        retry: parser.retry(),
    }
}

/// The standard's own examples (9.2.6) and its edge cases, with the events in them.
fn table() -> Vec<(&'static str, &'static [u8], Vec<Event>)> {
    let m = |data, id| event("message", data, id);
    vec![
        ("three data lines", b"data: YHOO\ndata: +2\ndata: 10\n\n", vec![m("YHOO\n+2\n10", "")]),
        (
            "the standard's four blocks",
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
            vec![m("first event", "1"), m("second event", "")],
        ),
        ("data without a colon", b"data\n\ndata\ndata\n\ndata:", vec![m("", ""), m("\n", "")]),
        (
            "one space is removed",
            b"data:test\n\ndata: test\n\ndata:  x\n\n",
            vec![m("test", ""), m("test", ""), m(" x", "")],
        ),
        (
            "a BOM is ignored once",
            b"\xEF\xBB\xBFdata: a\n\n\xEF\xBB\xBFdata: b\n\ndata: c\n\n",
            vec![m("a", ""), m("c", "")],
        ),
        ("a second BOM is text", b"\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\ndata: b\n\n", vec![m("b", "")]),
        ("an incomplete BOM is text", b"\xEF\xBBdata: a\n\ndata: b\n\n", vec![m("b", "")]),
        ("CRLF", b"data: a\r\ndata: b\r\n\r\n", vec![m("a\nb", "")]),
        ("CR", b"data: a\rdata: b\r\r", vec![m("a\nb", "")]),
        ("mixed line ends", b"data: a\rdata: b\ndata: c\r\n\n", vec![m("a\nb\nc", "")]),
        ("LF after CRLF is a blank line", b"data: a\r\n\ndata: b\n\r\n", vec![m("a", ""), m("b", "")]),
        ("a block without data dispatches nothing", b"event: x\nid: 1\n\n", vec![]),
        ("the event type is reset", b"event: x\n\ndata: a\n\n", vec![m("a", "")]),
        ("an event type", b"event: add\ndata: 1\n\n", vec![event("add", "1", "")]),
        ("the last event type counts", b"event: a\nevent: b\ndata: 1\n\n", vec![event("b", "1", "")]),
        ("an empty type is message", b"event: a\nevent\ndata: 1\n\n", vec![m("1", "")]),
        ("an id stays for later events", b"id: 1\ndata: a\n\ndata: b\n\n", vec![m("a", "1"), m("b", "1")]),
        ("an empty id resets the last event ID", b"id: 1\ndata: a\n\nid\ndata: b\n\n", vec![m("a", "1"), m("b", "")]),
        ("an id with NUL is ignored", b"id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n", vec![m("a", "1"), m("b", "1")]),
        ("NUL in data stays", b"data: \0\n\n", vec![m("\0", "")]),
        ("unknown fields are ignored", b"dat: a\nDATA: b\n data: c\ndata : d\ndata: e\n\n", vec![m("e", "")]),
        ("comments are ignored", b":\n:data: x\ndata: a\n: mid\ndata: b\n\n", vec![m("a\nb", "")]),
        ("a value with colons", b"data: a: b:c\n\n", vec![m("a: b:c", "")]),
        ("an unterminated block is discarded", b"data: a\n\ndata: b\n", vec![m("a", "")]),
        ("broken UTF-8", b"data: \xff\xe2\x98\ndata: \xe2\x98\xba\n\n", vec![m("\u{fffd}\u{fffd}\n☺", "")]),
        (
            "only U+000A and U+000D end lines",
            "data: a\u{85}\u{2028}\u{b}\u{c}b\n\n".as_bytes(),
            vec![m("a\u{85}\u{2028}\u{b}\u{c}b", "")],
        ),
        ("blank lines alone", b"\n\r\r\n\n", vec![]),
        ("an empty stream", b"", vec![]),
    ]
}

#[test]
fn a_stream_gives_the_events_that_the_standard_specifies() {
    for (name, stream, events) in table() {
        assert_eq!(parsed_of([stream]).events, events, "{name}");
        assert_eq!(parse(stream).events, events, "the twin: {name}");
    }
}

#[test]
fn a_stream_cut_at_any_two_offsets_gives_the_same_events() {
    for (name, stream, _) in table() {
        let whole = parsed_of([stream]);
        assert_eq!(parsed_of(stream.chunks(1)), whole, "{name}, a byte at a time");
        let step = if cfg!(miri) { 9 } else { 1 };
        for cut in (0..=stream.len()).step_by(step) {
            for second in (cut..=stream.len()).step_by(step) {
                let pieces = [&stream[..cut], &stream[cut..second], &stream[second..]];
                assert_eq!(parsed_of(pieces), whole, "{name}, cut at {cut} and {second}");
            }
        }
    }
}

#[test]
fn a_blank_line_that_ends_in_cr_dispatches_before_the_next_byte_arrives() {
    assert_eq!(parsed_of([&b"data: a\r\r"[..]]).events.len(), 1);
}

#[test]
fn retry_takes_effect_at_the_end_of_its_line_if_it_has_only_digits() {
    for (stream, retry) in [
        ("retry: 5000\n", Some(5000)),
        ("retry:0\n", Some(0)),
        ("retry: 10\nretry: x\n", Some(10)),
        ("retry: 99999999999999999999999\n", Some(u64::MAX)),
        ("retry: 5000", None),
        ("retry\n", None),
        ("retry: \n", None),
        ("retry: -1\n", None),
        ("retry: 1 \n", None),
        ("retry:  1\n", None),
        ("retry: 1.5\n", None),
        ("retry: ٣\n", None),
    ] {
        assert_eq!(parsed_of([stream.as_bytes()]).retry, retry, "{stream:?}");
    }
}

#[test]
fn the_last_event_id_changes_at_the_blank_line() {
    let mut parser = Parser::new();
    parser.feed(b"id: 7\n").unwrap();
    assert_eq!(parser.last_event_id(), "");
    parser.feed(b"\n").unwrap();
    assert_eq!(parser.last_event_id(), "7");
}

#[test]
fn finish_drops_an_unterminated_block_and_keeps_last_event_id_and_retry() {
    let mut parser = Parser::new();
    parser.feed(b"retry: 9\nid: 7\ndata: a\n\nid: 8\nevent: x\ndata: lost\r").unwrap();
    parser.finish();
    assert_eq!((parser.last_event_id(), parser.retry()), ("7", Some(9)));
    parser.feed(b"\xEF\xBB\xBFdata: b\n\n").unwrap();
    let events: Vec<_> = std::iter::from_fn(|| parser.next_event()).collect();
    assert_eq!(events, [event("message", "a", "7"), event("message", "b", "7")]);
}

#[test]
fn an_event_that_is_too_large_is_refused_wherever_it_is_cut() {
    // event (1) + data with its LF (4) + the unfinished line ("data: 1234", 10) = 15
    for (max_event_bytes, fits) in [(14, false), (15, true)] {
        let stream: &[u8] = b"data: ok\n\nevent: x\ndata: 123\ndata: 1234\n\n";
        for cut in 0..=stream.len() {
            let mut parser = Parser::with_max_event_bytes(max_event_bytes);
            let parsed = parser.feed(&stream[..cut]).and_then(|()| parser.feed(&stream[cut..]));
            assert_eq!(parsed.is_ok(), fits, "{max_event_bytes} bytes, cut at {cut}");
            assert_eq!(parser.next_event().unwrap().data, "ok");
            assert_eq!(parser.next_event().is_some(), fits);
        }
    }
}

#[test]
fn a_parser_that_failed_stays_failed_until_it_is_finished() {
    let mut parser = Parser::with_max_event_bytes(10);
    let error = parser.feed(b"data: 12345").unwrap_err();
    assert_eq!(error.to_string(), "an event is larger than max_event, 10 bytes");
    assert_eq!(parser.feed(b"\n\n"), Err(error));
    parser.finish();
    assert_eq!(parser.feed(b"data: 1\n\n"), Ok(()));
    assert_eq!(parser.next_event().unwrap().data, "1");
}

#[test]
fn an_endless_comment_is_refused_but_any_number_of_comments_is_accepted() {
    let mut parser = Parser::with_max_event_bytes(100);
    for _ in 0..1_000 {
        parser.feed(b": keepalive\n\n").unwrap();
    }
    let endless = std::iter::repeat(&b": x"[..]).take(1_000).find_map(|part| parser.feed(part).err());
    assert!(endless.is_some());
}

/// Builds random streams from pieces, so that each rule of the standard applies often.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 19] = [
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b": ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"x",
        b"42",
        b"\0",
        b" ",
        b"\xEF\xBB\xBF",
        b"\xEF",
        b"\xE2\x98\xBA",
        b"\xFF",
        b"data: y\n\n",
    ];
    let piece = prop::sample::select(&PIECES[..]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_stream_in_any_pieces_gives_the_result_of_the_naive_parser(stream in stream(), sizes in prop::collection::vec(0_usize..9, 1..20)) {
        let mut rest = &stream[..];
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle().take(stream.len()) {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        prop_assert_eq!(parsed_of(pieces), parse(&stream));
    }

    #[test]
    fn an_encoded_event_is_parsed_as_one_event_with_the_same_values(
        name in "[^\r\n\0]{0,9}", id in "[^\r\n\0]{0,9}", retry in 0_u64.., data in ".{0,9}(\r|\n|\r\n|:| |é|\u{feff}|.){0,9}",
        note in any::<String>(), crlf in any::<bool>(),
    ) {
        let digits = retry.to_string();
        let fields = [
            Field::Comment(Text::from(&*note)),
            Field::Event(EventName::new(Text::from(&*name)).unwrap()),
            Field::Id(EventId::new(Text::from(&*id)).unwrap()),
            Field::Retry(Retry::new(Text::from(&*digits)).unwrap()),
            Field::Data(Text::from(&*data)),
        ];
        let bytes = encode_to_vec(&fields, if crlf { LineEnd::CrLf } else { LineEnd::Lf });
        let expected_name = if name.is_empty() { "message" } else { &*name };
        let expected_data = data.replace("\r\n", "\n").replace('\r', "\n");
        let parsed = parsed_of([&bytes[..]]);
        prop_assert_eq!(parsed.events, vec![event(expected_name, &expected_data, &id)]);
        prop_assert_eq!(parsed.retry, Some(retry));
    }
}
