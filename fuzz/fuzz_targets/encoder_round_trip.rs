//! The parser reads any encoded event as one event with the same values, and the event fits into its size bound.
#![no_main]

use arbitrary::Arbitrary;
use eventsource_xs::event::{encode_to_vec, size_bound, EventId, EventName, Field, LineEnd, Retry, Text};
use eventsource_xs::parse::Parser;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    event: &'a str,
    id: &'a str,
    retry: u64,
    data: &'a str,
    latin1: &'a [u8],
    comment: &'a str,
    crlf: bool,
}

/// Returns the text as a parser reads it: with LF as the only line end.
fn unified(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

fuzz_target!(|input: Input<'_>| {
    let retry = input.retry.to_string();
    let (Ok(event), Ok(id)) = (EventName::new(input.event.into()), EventId::new(input.id.into())) else {
        assert!([input.event, input.id].concat().contains(['\r', '\n', '\0']));
        return;
    };
    let fields = [
        Field::Comment(input.comment.into()),
        Field::Event(event),
        Field::Id(id),
        Field::Retry(Retry::new((&*retry).into()).unwrap()),
        Field::Data(input.data.into()),
        Field::Data(Text::latin1(input.latin1)),
    ];
    let bytes = encode_to_vec(&fields, if input.crlf { LineEnd::CrLf } else { LineEnd::Lf });
    assert!(bytes.len() <= size_bound(fields));

    let mut parser = Parser::with_max_event_bytes(usize::MAX);
    parser.feed(&bytes).unwrap();
    let parsed = parser.next_event().unwrap();
    let latin1: String = input.latin1.iter().map(|byte| char::from(*byte)).collect();
    assert_eq!(parsed.event, if input.event.is_empty() { "message" } else { input.event });
    assert_eq!(parsed.data, [unified(input.data), unified(&latin1)].join("\n"));
    assert_eq!(parsed.last_event_id, input.id);
    assert_eq!(parser.retry(), Some(input.retry));
    assert_eq!(parser.next_event(), None);
});
