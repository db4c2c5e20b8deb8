//! Any message that is encoded is decoded unchanged, wherever its bytes are cut; any other bytes are refused without a panic
//! and without memory that they do not justify.

use super::*;
use crate::codec::{decode, encode, Coded, Random, Reader, Writer};
use crate::compression::Body;
use crate::event::{encode_to_vec, EventId, EventName, Field, LineEnd, Retry, Text, Unsequenced};
use crate::hub::{
    Access, Announcement, EndRequest, FirstBlock, MemberData, MemberRequest, Poll, PollReason, Retain, StartPoint,
    Statement, StreamLimit, SubscribeRequest, Topic, MAX_LABEL_BYTES,
};
use crate::ErrorCode;
use fastrand::Rng;
use proptest::collection::vec;
use proptest::prelude::*;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A sum over random calls and replies as bytes: it changes with each of their layouts. It is that of a build with all content
/// codings, and of numbers of 64 bits.
#[test]
#[cfg(all(target_pointer_width = "64", feature = "zstd"))]
fn another_set_of_calls_or_replies_is_another_version() {
    let (mut rng, mut bytes) = (Rng::with_seed(1), Vec::new());
    for _ in 0..1000 {
        Call::random(&mut rng).write(&mut Writer(&mut bytes));
        Reply::random(&mut rng).write(&mut Writer(&mut bytes));
    }
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3) // FNV-1a
    });
    let (version, known) = (24, 0xbbc3_5a26_1a88_9ebb);
    let remedy =
        "increase VERSION in src/wire/first_messages.rs, unless it is greater than that of the last release already";
    assert!(
        (VERSION, sum) == (version, known),
        "calls or replies have changed: {remedy}; then note {VERSION} and {sum:#x} here"
    );
}

/// Keeps a value until the process ends, for messages borrow from it. It stays reachable, so that it is not a leak.
fn keep<T: Send + Sync>(value: T, kept: &'static Mutex<Vec<&'static T>>) -> &'static T {
    let value: &'static T = Box::leak(Box::new(value));
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(value);
    value
}

/// Returns text of these characters.
fn text_of(rng: &mut Rng, lengths: std::ops::Range<usize>, mut character: impl FnMut(&mut Rng) -> char) -> String {
    (0..rng.usize(lengths)).map(|_| character(rng)).collect()
}

fn any_char(rng: &mut Rng) -> char {
    if rng.bool() {
        rng.char(..='\u{7f}')
    } else {
        rng.char(..)
    }
}

/// Implements [`Random`] for types by an expression.
macro_rules! random {
    ($($type:ty: |$rng:ident| $value:expr;)*) => {$(
        impl Random for $type {
            fn random($rng: &mut Rng) -> Self {
                $value
            }
        }
    )*};
}

random! {
    bool: |rng| rng.bool();
    u8: |rng| rng.u8(..);
    u32: |rng| rng.u32(..);
    u64: |rng| rng.u64(..);
    usize: |rng| rng.usize(..);
    Duration: |rng| Self::new(rng.u64(..), rng.u32(..1_000_000_000));
    String: |rng| text_of(rng, 0..20, any_char);
    Box<str>: |rng| String::random(rng).into();
    Box<[u8]>: |rng| (0..rng.usize(..40)).map(|_| rng.u8(..)).collect();
    Arc<[u8]>: |rng| Box::<[u8]>::random(rng).into();
    Name: |rng| Self::new(&format!("a{}", text_of(rng, 0..64, |rng| rng.alphanumeric()))).expect("a name");
    Access: |rng| {
        let (labels, limits, max_age) = (labels(rng), Random::random(rng), Random::random(rng));
        Self { labels, limits, max_age, asked_at: rng.u64(..), poll: Random::random(rng) }
    };
    EndRequest: |rng| Self { labels: labels(rng), topics: Random::random(rng), finishes: rng.bool() };
    Body: |rng| decode(&encode(&((rng.u32(..), rng.u32(..)), rng.bool()))).expect("a body");
    FirstBlock: |rng| {
        let (position, retry) = (Random::random(rng), Random::random(rng));
        Self { position, retry, keeps_id: rng.bool(), names_channels: rng.bool(), shows_channels: false, is_sent: false }
    };
    MemberData: |rng| Self { text: name_of(rng, 0), is_json: rng.bool() };
    HubSettings: |rng| NamedSettings::random(rng).over(Self::default());
    Hello: |rng| Self { name: Random::random(rng), role: Random::random(rng) };
}

impl<T: Random> Random for Option<T> {
    fn random(rng: &mut Rng) -> Self {
        rng.bool().then(|| T::random(rng))
    }
}

impl<T: Random> Random for Box<T> {
    fn random(rng: &mut Rng) -> Self {
        Self::new(T::random(rng))
    }
}

impl<T: Random, U: Random> Random for (T, U) {
    fn random(rng: &mut Rng) -> Self {
        (T::random(rng), U::random(rng))
    }
}

impl<T: Random + Clone> Random for Cow<'_, T> {
    fn random(rng: &mut Rng) -> Self {
        Self::Owned(T::random(rng))
    }
}

impl<T: Random, E: Random> Random for Result<T, E> {
    fn random(rng: &mut Rng) -> Self {
        match rng.bool() {
            true => Ok(T::random(rng)),
            false => Err(E::random(rng)),
        }
    }
}

impl<T: Random> Random for Vec<T> {
    fn random(rng: &mut Rng) -> Self {
        (0..rng.usize(..5)).map(|_| T::random(rng)).collect()
    }
}

impl<const N: usize> Random for [u64; N] {
    fn random(rng: &mut Rng) -> Self {
        [0; N].map(|_| rng.u64(..))
    }
}

impl<const N: usize> Random for [u8; N] {
    fn random(rng: &mut Rng) -> Self {
        [0; N].map(|_| rng.u8(..))
    }
}

impl Random for &[u8] {
    fn random(rng: &mut Rng) -> Self {
        static KEPT: Mutex<Vec<&Vec<u8>>> = Mutex::new(Vec::new());
        keep::<Vec<u8>>(Box::<[u8]>::random(rng).into(), &KEPT)
    }
}

impl Random for &str {
    fn random(rng: &mut Rng) -> Self {
        static KEPT: Mutex<Vec<&String>> = Mutex::new(Vec::new());
        keep::<String>(Random::random(rng), &KEPT)
    }
}

impl Random for Field<'_> {
    fn random(rng: &mut Rng) -> Self {
        let text = <&str>::random(rng);
        let line = Text::from(text.split(['\r', '\n', '\0']).next().unwrap_or_default());
        match rng.u8(..7) {
            0 => Field::Event(EventName::new(line).expect("one line")),
            1 => Field::Id(EventId::new(line).expect("one line")),
            2 => Field::Retry(Retry::new(Text::from("70")).expect("digits")),
            3 => Field::Data(Text::from(text)),
            4 => Field::Data(Text::latin1(Random::random(rng))),
            5 => Field::Comment(Text::from(text)),
            _ => Field::Blank,
        }
    }
}

impl Random for Fields<'_> {
    fn random(rng: &mut Rng) -> Self {
        static KEPT: Mutex<Vec<&FieldList>> = Mutex::new(Vec::new());
        keep(FieldList::of(Vec::<Field<'_>>::random(rng)), &KEPT).fields()
    }
}

impl Random for Unsequenced {
    fn random(rng: &mut Rng) -> Self {
        let (name, data) = (text_of(rng, 1..9, |rng| rng.lowercase()), String::random(rng).replace(['\0', '\r'], ""));
        let name = EventName::new(Text::from(&*name)).expect("a name");
        Self::of([Field::Event(name), Field::Data(Text::from(&*data))].into_iter())
    }
}

fn labels(rng: &mut Rng) -> Vec<Box<[u8]>> {
    (0..rng.usize(..4)).map(|_| (0..rng.usize(..MAX_LABEL_BYTES)).map(|_| rng.u8(..)).collect()).collect()
}

/// Returns a name in UTF-8.
fn name_of(rng: &mut Rng, least: usize) -> Box<[u8]> {
    text_of(rng, least..10, any_char).into_bytes().into()
}

impl Random for MemberRequest {
    fn random(rng: &mut Rng) -> Self {
        Self {
            channel: name_of(rng, 1),
            id: name_of(rng, 1),
            linger: Random::random(rng),
            is_counted: rng.bool(),
            data: Random::random(rng),
            join: Random::random(rng),
            update: Random::random(rng),
            leave: Random::random(rng),
        }
    }
}

impl Random for Announcement {
    fn random(rng: &mut Rng) -> Self {
        let (channel, key) = (name_of(rng, 1), name_of(rng, 0));
        let (retain, event) = (Random::random(rng), Random::random(rng));
        Self { channel, key, retain, event, statement: Statement::Nothing }
    }
}

fn random<T: Random + std::fmt::Debug>() -> impl Strategy<Value = T> {
    any::<u64>().prop_map(|seed| T::random(&mut Rng::with_seed(seed)))
}

fn request() -> impl Strategy<Value = Request<'static>> {
    random()
}

fn response() -> impl Strategy<Value = Response<'static>> {
    random()
}

/// Feeds pieces of these lengths and the rest, and calls a function with each frame.
fn frames(bytes: &[u8], lengths: &[usize], mut with_frame: impl FnMut(Frame<'_>)) {
    let mut buffer = FrameBuffer::default();
    let mut rest = bytes;
    for length in lengths.iter().copied().chain([usize::MAX]) {
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        buffer.feed(piece);
        while let Some(frame) = buffer.next_frame().expect("valid frames") {
            with_frame(frame);
        }
    }
    assert!(buffer.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_cut_anywhere_are_decoded_unchanged(sent in vec(request(), 0..5), cuts in vec(0..50usize, 0..20)) {
        let mut bytes = Vec::new();
        for request in &sent {
            request.encode(&mut bytes).expect("a short message");
        }
        let mut wire_bytes = 0;
        let mut expected = sent.iter();
        frames(&bytes, &cuts, |frame| {
            wire_bytes += frame.wire_bytes();
            assert_eq!(Request::decode(frame).as_ref(), Ok(expected.next().expect("no more frames than requests")));
        });
        prop_assert!(expected.next().is_none());
        prop_assert_eq!(wire_bytes, bytes.len());
    }

    #[test]
    fn answers_cut_anywhere_are_decoded_unchanged(sent in vec(response(), 0..5), cuts in vec(0..50usize, 0..20)) {
        let mut bytes = Vec::new();
        for response in &sent {
            response.encode(&mut bytes).expect("a short message");
        }
        let mut expected = sent.iter();
        frames(&bytes, &cuts, |frame| {
            assert_eq!(Response::decode(frame).as_ref(), Ok(expected.next().expect("no more frames than answers")));
        });
        prop_assert!(expected.next().is_none());
    }

    #[test]
    fn a_hello_cut_anywhere_is_decoded_unchanged(hello in random::<Hello>(), cuts in vec(0..50usize, 0..20)) {
        let mut bytes = Vec::new();
        hello.encode(&mut bytes).expect("a short message");
        let mut decoded = Vec::new();
        frames(&bytes, &cuts, |frame| decoded.push(Hello::decode(frame, VERSION).expect("a hello")));
        prop_assert_eq!(decoded, [hello]);
    }

    #[test]
    fn a_message_with_a_byte_less_or_more_is_refused(request in request(), response in response(), extra in any::<u8>()) {
        let (mut requested, mut answered) = (Vec::new(), Vec::new());
        request.encode(&mut requested).expect("a short message");
        response.encode(&mut answered).expect("a short message");
        for bytes in [&mut requested, &mut answered] {
            bytes.push(extra);
        }
        let is_request = |less: usize| {
            let message = &requested[5..requested.len() - less];
            Request::decode(Frame { kind: requested[4], message }).is_ok()
        };
        let is_response = |less: usize| {
            let message = &answered[5..answered.len() - less];
            Response::decode(Frame { kind: answered[4], message }).is_ok()
        };
        prop_assert!(!is_request(0) && is_request(1));
        prop_assert!(!is_request(2));
        prop_assert!(!is_response(0) && is_response(1));
        prop_assert!(!is_response(2));
    }

    #[test]
    fn rubbish_is_refused_without_a_panic(kind in 0..16u8, message in vec(any::<u8>(), 0..200)) {
        let frame = Frame { kind, message: &message };
        let _ = Hello::decode(frame, VERSION);
        // A decoded message is encoded to the same bytes.
        let mut bytes = Vec::new();
        if let Ok(request) = Request::decode(frame) {
            request.encode(&mut bytes).expect("a short message");
            prop_assert_eq!(&bytes[5..], &message[..]);
        }
        bytes.clear();
        if let Ok(response) = Response::decode(frame) {
            response.encode(&mut bytes).expect("a short message");
            prop_assert_eq!(&bytes[5..], &message[..]);
        }
    }

    #[test]
    fn a_changed_byte_gives_a_message_or_is_refused(request in request(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = Vec::new();
        request.encode(&mut bytes).expect("a short message");
        let at = at.index(bytes.len());
        bytes[at] = to;
        let mut buffer = FrameBuffer::default();
        buffer.feed(&bytes);
        while let Ok(Some(frame)) = buffer.next_frame() {
            let _ = Request::decode(frame);
        }
    }

    #[test]
    fn fields_are_sent_as_they_were_given(given in vec(random::<Field<'_>>(), 0..6)) {
        let list = FieldList::of(given.iter().copied());
        let received: Vec<_> = list.fields().iter().collect();
        prop_assert_eq!(encode_to_vec(&received, LineEnd::Lf), encode_to_vec(&given, LineEnd::Lf));
    }
}

#[test]
fn a_buffer_grows_with_the_bytes_that_have_arrived_not_with_what_a_frame_claims() {
    let mut buffer = FrameBuffer::default();
    buffer.feed(&(MAX_FRAME_BYTES as u32).to_le_bytes());
    assert_eq!(buffer.next_frame(), Ok(None));
    assert!(buffer.room(1000).len() < 10_000);
}

#[test]
fn a_frame_without_kind_or_beyond_the_limit_is_refused() {
    for length in [0, MAX_FRAME_BYTES as u32 + 1, u32::MAX] {
        let mut buffer = FrameBuffer::default();
        buffer.feed(&length.to_le_bytes());
        assert_eq!(buffer.next_frame(), Err(Malformed), "{length}");
    }
}

#[test]
fn a_message_beyond_the_limit_is_not_encoded() {
    let event = vec![b'x'; MAX_FRAME_BYTES];
    let mut out = b"before".to_vec();
    let refused = Request::Push { stream: 1, event: &event, has_id: false }.encode(&mut out);
    let message = format!(
        "a message to the hub process has at most {MAX_FRAME_BYTES} bytes, this one has {}",
        MAX_FRAME_BYTES + 14
    );
    assert_eq!(refused, Err(Failure::invalid("data", message)));
    assert_eq!(out, b"before");
}

#[test]
fn a_long_list_of_empty_topics_is_refused() {
    let topics = vec![Topic::Channel(Box::default()); MAX_TOPICS + 1];
    let mut out = Vec::new();
    let subscription = SubscribeRequest { topics, ..Default::default() };
    Request::Subscribe { request: 1, stream: 1, subscription }.encode(&mut out).expect("not too long");
    assert_eq!(Request::decode(Frame { kind: out[4], message: &out[5..] }), Err(Malformed));
}

#[test]
fn a_hello_of_another_version_names_both_versions() {
    let hello = Hello { name: Name::new("shop").expect("a name"), role: Role::Command };
    let mut out = Vec::new();
    hello.encode(&mut out).expect("a short message");
    out[13] += 1; // after the length, the kind and the magic
    let rejected = Hello::decode(Frame { kind: out[4], message: &out[5..] }, VERSION).expect_err("another version");
    assert_eq!(rejected.code, ErrorCode::Unsupported);
    assert!(rejected.message.contains(&format!("version {VERSION} of")), "{rejected}");
    assert!(rejected.message.contains(&format!("version {}:", VERSION + 1)), "{rejected}");
    out[6] ^= 1;
    let rejected = Hello::decode(Frame { kind: out[4], message: &out[5..] }, VERSION).expect_err("no hello");
    assert_eq!(rejected.code, ErrorCode::Invalid);
}

#[test]
fn a_name_is_a_name_of_a_file_in_its_folder() {
    for name in ["shop", "_", "a.b-c", "7", &"n".repeat(64)] {
        assert_eq!(Name::new(name).expect("a name").as_str(), name);
    }
    for name in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "é", "a\0", &"n".repeat(65)] {
        assert_eq!(Name::new(name).map_err(|failure| failure.code), Err(ErrorCode::Invalid), "{name:?}");
    }
}

#[test]
fn an_upgrade_and_its_answer_have_the_same_layout_in_all_versions() {
    let mut bytes = Vec::new();
    Upgrade { program: Some(b"/x") }.encode(&mut bytes).expect("a short path");
    Upgrade { program: None }.encode(&mut bytes).expect("no path");
    Response::Upgraded { report: "ok" }.encode(&mut bytes).expect("a short message");
    let expected = [
        &b"\x10\0\0\0\xffES-hub\r\n\x01\x02\0\0\0/x"[..],
        b"\x0a\0\0\0\xffES-hub\r\n\0",
        b"\x07\0\0\0\xff\x02\0\0\0ok",
    ];
    assert_eq!(bytes, expected.concat());
    let mut decoded = Vec::new();
    frames(&bytes, &[3, 9], |frame| {
        decoded.push(Upgrade::decode(frame).map(|upgrade| upgrade.program.map(<[u8]>::to_vec)));
    });
    assert_eq!(decoded, [Some(Some(b"/x".to_vec())), Some(None), None]);
}

#[test]
fn a_stop_has_the_same_layout_in_all_versions() {
    let mut bytes = Vec::new();
    Stop { name: "shop", is_replaced: false }.encode(&mut bytes).expect("a short name");
    Stop { name: "shop", is_replaced: true }.encode(&mut bytes).expect("a short name");
    Response::Upgraded { report: "" }.encode(&mut bytes).expect("a short message");
    let [stop, replaced] = [254, 253].map(|kind| [b"\x11\0\0\0", &[kind][..], b"ES-hub\r\n\x04\0\0\0shop"].concat());
    assert_eq!(bytes, [&stop[..], &replaced, b"\x05\0\0\0\xff\0\0\0\0"].concat());
    let mut decoded = Vec::new();
    frames(&bytes, &[3, 9], |frame| {
        decoded.push(Stop::decode(frame).map(|stop| (stop.name.to_owned(), stop.is_replaced)))
    });
    let of = |is_replaced| Some(("shop".to_owned(), is_replaced));
    assert_eq!(decoded, [of(false), of(true), None]);
}

#[test]
fn the_fields_of_an_encoded_event_are_found_again_but_its_id() {
    let id = Field::Id(EventId::new(Text::from("a-1")).expect("an id"));
    let fields = || {
        let name = EventName::new(Text::from("order: new")).expect("a name");
        let retry = Retry::new(Text::from("10")).expect("a time");
        let (comment, data) = (Text::from(": two\nlines"), Text::from("\ndata: a: b\n\n"));
        vec![Field::Comment(comment), Field::Event(name), Field::Retry(retry), Field::Data(data)]
    };
    let block = encode_to_vec(&[fields(), vec![id]].concat(), LineEnd::Lf);
    assert_eq!(FieldList::of_block(&block), FieldList::of(fields()));
    for field in [Field::Data(Text::from("")), Field::Comment(Text::from("a\nb")), Field::Blank] {
        assert_eq!(FieldList::of_block(&encode_to_vec(&[field], LineEnd::Lf)), FieldList::of([field]));
    }
}

#[test]
fn settings_of_a_hub_without_one_of_them_are_refused() {
    let settings = HubSettings::default();
    let all = NamedSettings::from(settings.clone());
    for (named, expected) in [(all.clone(), Ok(settings)), (NamedSettings { grace: None, ..all }, Err(Malformed))] {
        let mut out = Vec::new();
        named.write(&mut Writer(&mut out));
        assert_eq!(HubSettings::read(&mut Reader(&out)), expected);
    }
}

/// The bytes of a message of each type whose parts are checked or of several kinds. Other bytes are another [`VERSION`].
#[test]
fn parts_of_messages_have_the_bytes_of_this_version() {
    let event = |text: &str| Unsequenced::of([Field::Data(Text::from(text))].into_iter());
    let member = MemberRequest {
        channel: (*b"room").into(),
        id: (*b"ada").into(),
        linger: Duration::from_millis(1500),
        is_counted: true,
        data: MemberData { text: (*b"{}").into(), is_json: true },
        join: event("j"),
        update: event("u"),
        leave: event("l"),
    };
    let (channel, key, retain) = ((*b"c").into(), (*b"k").into(), Retain::Forget);
    let will = Announcement { channel, key, retain, event: event("w"), statement: Statement::Nothing };
    let topics = vec![Topic::Channel((*b"a").into()), Topic::Pattern((*b"b/*").into())];
    let labels = vec![(*b"ada").into()];
    let file = FileSettings { path: "/x".into(), sync: FileSync::Event };
    let parts = [
        encode(&member),
        encode(&will),
        encode(&topics),
        encode(&Access {
            labels: labels.clone(),
            limits: vec![StreamLimit { label: (*b"k").into(), most: 3 }],
            max_age: Some(Duration::from_secs(60)),
            asked_at: 7,
            poll: Some(Poll { wait: Duration::from_secs(20), reason: PollReason::Other }),
        }),
        encode(&EndRequest { labels, topics: Vec::new(), finishes: true }),
        [StartPoint::Latest, StartPoint::Oldest, StartPoint::Last(3), StartPoint::State]
            .iter()
            .flat_map(encode)
            .collect(),
        [StoreSettings::Memory, StoreSettings::File(file)].iter().flat_map(encode).collect(),
    ];
    let expected: [&[u8]; 7] = [
        b"\x04\0\0\0room\x03\0\0\0ada\x01\0\0\0\0\0\0\0\0e\xcd\x1d\x01\x02\0\0\0{}\x01\
          \x06\0\0\0\x04\x01\0\0\0j\x06\0\0\0\x04\x01\0\0\0u\x06\0\0\0\x04\x01\0\0\0l",
        b"\x01\0\0\0c\x01\0\0\0k\x02\x06\0\0\0\x04\x01\0\0\0w",
        b"\x02\0\0\0\0\x01\0\0\0a\x01\x03\0\0\0b/*",
        b"\x01\0\0\0\x03\0\0\0ada\x01\0\0\0\x01\0\0\0k\x03\0\0\0\0\0\0\0\x01<\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\
          \x01\x14\0\0\0\0\0\0\0\0\0\0\0\x04",
        b"\x01\0\0\0\x03\0\0\0ada\0\0\0\0\x01",
        b"\0\x01\x02\x03\0\0\0\0\0\0\0\x03",
        b"\0\x01\x02\0\0\0/x\x02",
    ];
    assert_eq!(parts, expected);
}
