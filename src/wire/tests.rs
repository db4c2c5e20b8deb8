//! Any message that is encoded is decoded unchanged, wherever its bytes are cut; any other bytes are refused without a panic
//! and without memory that they do not justify.

use super::*;
use crate::event::{encode_to_vec, EventId, EventName, Field, Framing, LineEnd, Retry, Text, Unnumbered};
use crate::hub::{
    self, Access, Announcement, ChannelCounts, ChannelPage, ChannelSettings, Counts, EndRequest, FirstBlock, GapData,
    MemberData, MemberInfo, MemberPage, MemberRequest, OnSlow, PositionStyle, Presence, Retain, Says, Start,
    StateBounds, SubscribeRequest, Topic, MAX_LABEL_BYTES,
};
use crate::log::Bounds;
use crate::stream::{Reason, Settings};
use crate::ErrorCode;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Keeps a value until the process ends, for messages borrow from it. It stays reachable, so that it is not a leak.
fn keep<T: Send + Sync>(value: T, kept: &'static Mutex<Vec<&'static T>>) -> &'static T {
    let value: &'static T = Box::leak(Box::new(value));
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(value);
    value
}

fn keep_text(text: String) -> &'static str {
    static TEXTS: Mutex<Vec<&String>> = Mutex::new(Vec::new());
    keep::<String>(text, &TEXTS)
}

fn bytes() -> impl Strategy<Value = &'static [u8]> {
    static BYTES: Mutex<Vec<&Vec<u8>>> = Mutex::new(Vec::new());
    vec(any::<u8>(), 0..40).prop_map(|bytes| &**keep(bytes, &BYTES))
}

fn text() -> impl Strategy<Value = &'static str> {
    any::<String>().prop_map(keep_text)
}

fn line() -> impl Strategy<Value = &'static str> {
    "[^\r\n\0]{0,20}".prop_map(keep_text)
}

fn field() -> impl Strategy<Value = Field<'static>> {
    prop_oneof![
        line().prop_map(|text| Field::Event(EventName::new(Text::from(text)).expect("one line"))),
        line().prop_map(|text| Field::Id(EventId::new(Text::from(text)).expect("one line"))),
        "[0-9]{1,9}".prop_map(|text| Field::Retry(Retry::new(Text::from(keep_text(text))).expect("digits"))),
        text().prop_map(|text| Field::Data(Text::from(text))),
        bytes().prop_map(|text| Field::Data(Text::latin1(text))),
        text().prop_map(|text| Field::Comment(Text::from(text))),
        Just(Field::Blank),
    ]
}

fn fields() -> impl Strategy<Value = Fields<'static>> {
    static LISTS: Mutex<Vec<&FieldList>> = Mutex::new(Vec::new());
    vec(field(), 0..5).prop_map(|fields| keep(FieldList::of(fields), &LISTS).fields())
}

fn duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000u32).prop_map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds))
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (any::<usize>(), any::<usize>(), duration()).prop_map(|(events, bytes, age)| Bounds { events, bytes, age })
}

fn state() -> impl Strategy<Value = StateBounds> {
    any::<[usize; 2]>().prop_map(|[keys, bytes]| StateBounds { keys, bytes })
}

fn on_slow() -> impl Strategy<Value = OnSlow> {
    prop_oneof![Just(OnSlow::Disconnect), Just(OnSlow::Gap), Just(OnSlow::Latest)]
}

fn channels() -> impl Strategy<Value = ChannelSettings> {
    let given = (any::<[Option<usize>; 4]>(), option::of(duration()), option::of(on_slow()));
    (bytes(), given).prop_map(|(pattern, ([events, bytes, keys, state_bytes], age, on_slow))| {
        let mut channels = ChannelSettings::new(pattern);
        (channels.events, channels.bytes, channels.age) = (events, bytes, age);
        (channels.state_keys, channels.state_bytes, channels.on_slow) = (keys, state_bytes, on_slow);
        channels
    })
}

fn hub_settings() -> impl Strategy<Value = HubSettings> {
    let texts = || any::<[String; 3]>();
    let gap_data = option::of(texts().prop_map(|[evicted, unknown, slow]| {
        Box::new(GapData { evicted: evicted.into(), unknown: unknown.into(), slow: slow.into() })
    }));
    let names = (any::<String>(), any::<String>());
    let channels = (vec(channels(), 0..3), any::<usize>(), on_slow());
    let hub = ((bounds(), bounds()), (state(), state()), channels, names, gap_data, any::<[bool; 2]>()).prop_map(
        |(
            (history, total_history),
            (state, total_state),
            (channels, max_members, on_slow),
            (gap_event, position_event),
            gap_data,
            flags,
        )| {
            hub::Settings {
                history,
                total_history,
                state,
                total_state,
                channels,
                max_members,
                on_slow,
                gap_event: gap_event.into(),
                gap_data,
                position_event: position_event.into(),
                refuses_position_event: flags[0],
                opaque_ids: flags[1],
            }
        },
    );
    (hub, any::<[usize; 2]>(), duration(), duration(), store_settings()).prop_map(
        |(hub, [max_topics, max_streams], idle_exit, grace, store)| HubSettings {
            hub,
            max_topics,
            max_streams,
            idle_exit,
            grace,
            store,
        },
    )
}

/// All settings, and none. Each has a flag of its own in the message.
fn named_settings() -> impl Strategy<Value = NamedSettings> {
    let some = (hub_settings(), any::<[bool; 3]>()).prop_map(|(settings, [history, names, store])| {
        let mut named = NamedSettings::from(settings);
        named.history = named.history.filter(|_| history);
        named.gap_event = named.gap_event.filter(|_| names);
        named.store = named.store.filter(|_| store);
        named
    });
    prop_oneof![some, Just(NamedSettings::default())]
}

fn store_settings() -> impl Strategy<Value = StoreSettings> {
    let sync = prop_oneof![Just(FileSync::Never), Just(FileSync::Second), Just(FileSync::Event)];
    let file = (any::<String>(), sync).prop_map(|(path, sync)| FileSettings { path: path.into(), sync });
    let redis =
        (any::<[String; 6]>(), any::<[u32; 2]>(), duration()).prop_map(|(texts, [replicas, queue], timeout)| {
            let [url, sentinel_login, prefix, ca, cert, key] = texts.map(Into::into);
            RedisSettings { url, sentinel_login, replicas, queue, prefix, ca, cert, key, timeout }
        });
    prop_oneof![
        Just(StoreSettings::Memory),
        file.prop_map(StoreSettings::File),
        redis.prop_map(|redis| StoreSettings::Redis(Box::new(redis))),
    ]
}

fn name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}".prop_map(|text| Name::new(&text).expect("a name"))
}

fn hello() -> impl Strategy<Value = Hello> {
    let role = prop_oneof![
        Just(Role::Command),
        named_settings().prop_map(|settings| Role::Worker(Box::new(settings))),
        (any::<u32>(), any::<u64>()).prop_map(|(process, number)| Role::Publisher(WorkerId { process, number })),
    ];
    (name(), role).prop_map(|(name, role)| Hello { name, role })
}

fn stream_settings() -> impl Strategy<Value = Settings> {
    let framing = prop_oneof![Just(Framing::Plain), Just(Framing::Chunked)];
    let line_end = prop_oneof![Just(LineEnd::Lf), Just(LineEnd::CrLf)];
    (framing, line_end, option::of(duration()), duration(), any::<usize>(), any::<bool>(), duration()).prop_map(
        |(framing, line_end, keepalive, timeout, max_buffered, drop_oldest, retry)| Settings {
            framing,
            line_end,
            keepalive,
            timeout,
            max_buffered,
            drop_oldest,
            retry,
        },
    )
}

fn topics() -> impl Strategy<Value = Vec<Topic>> {
    let topic = (any::<bool>(), bytes()).prop_map(|(is_pattern, name)| match is_pattern {
        true => Topic::Pattern(name.into()),
        false => Topic::Channel(name.into()),
    });
    vec(topic, 0..5)
}

fn subscription() -> impl Strategy<Value = SubscribeRequest> {
    let start = prop_oneof![Just(Start::Latest), Just(Start::Oldest), any::<usize>().prop_map(Start::Last)];
    let style = prop_oneof![Just(PositionStyle::Event), Just(PositionStyle::Id), Just(PositionStyle::None)];
    let first_block = (style, option::of(any::<u64>()), any::<bool>(), any::<bool>()).prop_map(
        |(position, retry, keeps_id, names_channels)| FirstBlock { position, retry, keeps_id, names_channels },
    );
    (topics(), option::of(bytes()), start, first_block, access(), presence()).prop_map(
        |(topics, after, start, first_block, access, presence)| {
            let after = after.map(Into::into);
            SubscribeRequest { topics, after, start, first_block, access, presence }
        },
    )
}

fn labels() -> impl Strategy<Value = Vec<Box<[u8]>>> {
    vec(vec(any::<u8>(), 0..MAX_LABEL_BYTES).prop_map(Into::into), 0..4)
}

fn access() -> impl Strategy<Value = Access> {
    (labels(), option::of(duration()), any::<u64>()).prop_map(|(labels, max_age, asked_at)| Access {
        labels,
        max_age,
        asked_at,
    })
}

fn short() -> impl Strategy<Value = Box<[u8]>> {
    vec(any::<u8>(), 0..30).prop_map(Into::into)
}

fn unnumbered() -> impl Strategy<Value = Unnumbered> {
    ("[a-z]{1,9}", "[^\\x00\r]{0,20}").prop_map(|(name, data)| {
        let name = EventName::new(Text::from(&*name)).expect("a name");
        Unnumbered::of([Field::Event(name), Field::Data(Text::from(&*data))].into_iter())
    })
}

/// A name in UTF-8.
fn name_of(least: usize) -> impl Strategy<Value = Box<[u8]>> {
    vec(any::<char>(), least..10).prop_map(|name| name.into_iter().collect::<String>().into_bytes().into())
}

fn data() -> impl Strategy<Value = MemberData> {
    (name_of(0), any::<bool>()).prop_map(|(text, is_json)| MemberData { text, is_json })
}

fn presence() -> impl Strategy<Value = Presence> {
    let names = |least| (name_of(1), name_of(least));
    let events = (unnumbered(), unnumbered(), unnumbered());
    let member = (names(1), duration(), any::<bool>(), data(), events).prop_map(
        |((channel, id), linger, is_counted, data, (join, update, leave))| {
            Box::new(MemberRequest { channel, id, linger, is_counted, data, join, update, leave })
        },
    );
    let will = (names(0), retain(), unnumbered()).prop_map(|((channel, key), retain, event)| {
        Box::new(Announcement { channel, key, retain, event, says: Says::Nothing })
    });
    (option::of(member), option::of(will)).prop_map(|(member, will)| Presence { member, will })
}

fn members() -> impl Strategy<Value = MemberPage> {
    let member = (short(), data(), any::<u64>(), any::<u32>()).prop_map(|(id, data, since, streams)| MemberInfo {
        id,
        data,
        since,
        streams,
    });
    (vec(member, 0..4), option::of(short())).prop_map(|(members, next)| MemberPage { members, next })
}

fn end() -> impl Strategy<Value = EndRequest> {
    (labels(), topics(), any::<bool>()).prop_map(|(labels, topics, finishes)| EndRequest { labels, topics, finishes })
}

fn reason() -> impl Strategy<Value = Reason> {
    (0..Reason::ALL.len()).prop_map(|at| Reason::ALL[at])
}

fn retain() -> impl Strategy<Value = Retain> {
    (0..Retain::ALL.len()).prop_map(|at| Retain::ALL[at])
}

fn request() -> impl Strategy<Value = Request<'static>> {
    let number = any::<u64>;
    prop_oneof![
        (number(), bytes(), bytes(), retain(), bytes(), fields()).prop_map(
            |(request, channel, key, retain, once, fields)| {
                Request::Publish(Publish { request, channel, key, retain, once, fields })
            }
        ),
        (number(), stream_settings(), bytes(), any::<bool>())
            .prop_map(|(stream, settings, unsent, holds)| Request::Open(Open { stream, settings, unsent, holds })),
        any::<u64>().prop_map(|stream| Request::Attach { stream }),
        (number(), bytes(), any::<bool>()).prop_map(|(stream, event, has_id)| Request::Push { stream, event, has_id }),
        (number(), number(), subscription()).prop_map(|(request, stream, subscription)| Request::Subscribe {
            request,
            stream,
            subscription
        }),
        number().prop_map(|stream| Request::Begin { stream }),
        (number(), reason(), any::<bool>()).prop_map(|(stream, reason, discards)| Request::End {
            stream,
            reason,
            discards
        }),
        number().prop_map(|stream| Request::Release { stream }),
        (number(), bytes()).prop_map(|(request, channel)| Request::Count { request, channel }),
        duration().prop_map(|within| Request::Drain { within }),
        Just(Request::Stop),
        (number(), bytes(), number()).prop_map(|(request, pattern, from)| Request::Channels { request, pattern, from }),
        number().prop_map(|request| Request::Describe { request }),
        (number(), bytes()).prop_map(|(lease, name)| Request::Elect { lease, name }),
        number().prop_map(|lease| Request::Resign { lease }),
        (number(), end()).prop_map(|(request, end)| Request::EndStreams { request, end }),
        (number(), bytes(), option::of(bytes())).prop_map(|(request, channel, after)| Request::Members {
            request,
            channel,
            after
        }),
        (number(), bytes()).prop_map(|(request, channel)| Request::CountMembers { request, channel }),
        (number(), bytes(), bytes(), data(), unnumbered()).prop_map(|(request, channel, id, data, event)| {
            Request::UpdateMember { request, channel, id, data, event }
        }),
    ]
}

fn failure() -> impl Strategy<Value = Failure> {
    (0..ErrorCode::ALL.len(), option::of(text()), text())
        .prop_map(|(code, field, message)| Failure::new(ErrorCode::ALL[code], field, message))
}

fn counted() -> impl Strategy<Value = Counted> {
    let number = any::<u64>;
    let numbers = (any::<[u64; Counts::LEN]>(), any::<[u64; 6]>());
    (number(), numbers, store_status()).prop_map(|(request, (of_hub, of_process), store)| {
        let hub = Counts::of_numbers(of_hub);
        let [subscribers, workers, open, refused, buffered, cut_off] = of_process;
        Counted { request, hub, subscribers, workers, open, refused, buffered, cut_off, store }
    })
}

fn store_status() -> impl Strategy<Value = StoreStatus> {
    (any::<[String; 3]>(), any::<[u64; 9]>(), any::<bool>()).prop_map(|(texts, numbers, is_up)| {
        let [kind, place, last_error] = texts.map(Into::into);
        let [since, pending, events, bytes, lag, epoch_changes, reconnects, failed, last_error_at] = numbers;
        StoreStatus {
            kind,
            place,
            is_up,
            since,
            pending,
            events,
            bytes,
            lag,
            epoch_changes,
            reconnects,
            failed,
            last_error,
            last_error_at,
        }
    })
}

fn page() -> impl Strategy<Value = ChannelPage> {
    let channel =
        (bytes(), any::<[u64; 4]>(), text()).prop_map(|(name, [subscribers, events, bytes, keys], last_id)| {
            ChannelCounts { name: name.into(), subscribers, events, bytes, keys, last_id: last_id.into() }
        });
    (vec(channel, 0..5), option::of(any::<u64>())).prop_map(|(channels, next)| ChannelPage { channels, next })
}

fn answer() -> impl Strategy<Value = Answer<'static>> {
    let number = any::<u64>;
    let welcome = (name(), any::<u32>(), number(), text(), hub_settings(), number());
    prop_oneof![
        failure().prop_map(Answer::Rejected),
        welcome.prop_map(|(name, pid, number, epoch, settings, credits)| {
            Answer::Welcome(Box::new(Welcome { name, pid, number, epoch: epoch.into(), settings, credits }))
        }),
        (number(), text()).prop_map(|(request, id)| Answer::Published { request, id }),
        (number(), failure()).prop_map(|(request, failure)| Answer::Refused { request, failure }),
        number().prop_map(|request| Answer::Done { request }),
        (number(), number(), number(), any::<bool>()).prop_map(|(stream, pushed, buffered, is_stalled)| {
            Answer::State { stream, pushed, buffered, is_stalled }
        }),
        (number(), reason()).prop_map(|(stream, reason)| Answer::Ended { stream, reason }),
        counted().prop_map(|counted| Answer::Counted(Box::new(counted))),
        number().prop_map(|bytes| Answer::Credits { bytes }),
        (number(), page()).prop_map(|(request, page)| Answer::Channels { request, page }),
        (number(), text(), duration(), vec(any::<u32>(), 0..5)).prop_map(|(request, version, age, workers)| {
            Answer::Described(Box::new(Described { request, version: version.into(), age, workers }))
        }),
        (number(), any::<bool>()).prop_map(|(lease, is_held)| Answer::Elected { lease, is_held }),
        any::<String>().prop_map(|epoch| Answer::Epoch { epoch: keep_text(epoch) }),
        (number(), number()).prop_map(|(request, count)| Answer::StreamsEnded { request, count }),
        (number(), number()).prop_map(|(request, number)| Answer::Number { request, number }),
        (number(), members()).prop_map(|(request, page)| Answer::Members { request, page }),
        Just(Answer::Upgraded),
    ]
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
    fn answers_cut_anywhere_are_decoded_unchanged(sent in vec(answer(), 0..5), cuts in vec(0..50usize, 0..20)) {
        let mut bytes = Vec::new();
        for answer in &sent {
            answer.encode(&mut bytes).expect("a short message");
        }
        let mut expected = sent.iter();
        frames(&bytes, &cuts, |frame| {
            assert_eq!(Answer::decode(frame).as_ref(), Ok(expected.next().expect("no more frames than answers")));
        });
        prop_assert!(expected.next().is_none());
    }

    #[test]
    fn a_hello_cut_anywhere_is_decoded_unchanged(hello in hello(), cuts in vec(0..50usize, 0..20)) {
        let mut bytes = Vec::new();
        hello.encode(&mut bytes).expect("a short message");
        let mut decoded = Vec::new();
        frames(&bytes, &cuts, |frame| decoded.push(Hello::decode(frame).expect("a hello")));
        prop_assert_eq!(decoded, [hello]);
    }

    #[test]
    fn a_message_with_a_byte_less_or_more_is_refused(request in request(), answer in answer(), extra in any::<u8>()) {
        let (mut requested, mut answered) = (Vec::new(), Vec::new());
        request.encode(&mut requested).expect("a short message");
        answer.encode(&mut answered).expect("a short message");
        for bytes in [&mut requested, &mut answered] {
            bytes.push(extra);
        }
        let is_request = |less: usize| {
            let message = &requested[5..requested.len() - less];
            Request::decode(Frame { kind: requested[4], message }).is_ok()
        };
        let is_answer = |less: usize| {
            let message = &answered[5..answered.len() - less];
            Answer::decode(Frame { kind: answered[4], message }).is_ok()
        };
        prop_assert!(!is_request(0) && is_request(1));
        prop_assert!(request == Request::Stop || !is_request(2));
        prop_assert!(!is_answer(0) && is_answer(1));
        prop_assert!(answer == Answer::Upgraded || !is_answer(2));
    }

    #[test]
    fn rubbish_is_refused_without_a_panic(kind in 0..16u8, message in vec(any::<u8>(), 0..200)) {
        let frame = Frame { kind, message: &message };
        let _ = Hello::decode(frame);
        // A decoded message is encoded to the same bytes.
        let mut bytes = Vec::new();
        if let Ok(request) = Request::decode(frame) {
            request.encode(&mut bytes).expect("a short message");
            prop_assert_eq!(&bytes[5..], &message[..]);
        }
        bytes.clear();
        if let Ok(answer) = Answer::decode(frame) {
            answer.encode(&mut bytes).expect("a short message");
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
    fn fields_are_sent_as_they_were_given(given in vec(field(), 0..6)) {
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
    assert_eq!(refused, Err(TooLong { bytes: MAX_FRAME_BYTES + 14, most: MAX_FRAME_BYTES }));
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
    let rejected = Hello::decode(Frame { kind: out[4], message: &out[5..] }).expect_err("another version");
    assert_eq!(rejected.code, ErrorCode::Unsupported);
    assert!(rejected.message.contains(&format!("version {VERSION} of")), "{rejected}");
    assert!(rejected.message.contains(&format!("version {}:", VERSION + 1)), "{rejected}");
    out[6] ^= 1;
    let rejected = Hello::decode(Frame { kind: out[4], message: &out[5..] }).expect_err("no hello");
    assert_eq!(rejected.code, ErrorCode::Invalid);
}

#[test]
fn a_name_is_a_name_of_a_file_in_its_folder() {
    for name in ["shop", "_", "a.b-c", "7", &"n".repeat(64)] {
        assert_eq!(Name::new(name).expect("a name").as_str(), name);
    }
    for name in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "é", "a\0", &"n".repeat(65)] {
        assert_eq!(Name::new(name), Err(NameError), "{name:?}");
    }
}

#[test]
fn an_upgrade_and_its_answer_have_the_same_layout_in_all_versions() {
    let mut bytes = Vec::new();
    Upgrade { program: Some(b"/x") }.encode(&mut bytes).expect("a short path");
    Upgrade { program: None }.encode(&mut bytes).expect("no path");
    Answer::Upgraded.encode(&mut bytes).expect("a short message");
    let expected = [&b"\x10\0\0\0\xffES-hub\r\n\x01\x02\0\0\0/x"[..], b"\x0a\0\0\0\xffES-hub\r\n\0", b"\x01\0\0\0\xff"];
    assert_eq!(bytes, expected.concat());
    let mut decoded = Vec::new();
    frames(&bytes, &[3, 9], |frame| {
        decoded.push(Upgrade::decode(frame).map(|upgrade| upgrade.program.map(<[u8]>::to_vec)));
    });
    assert_eq!(decoded, [Some(Some(b"/x".to_vec())), Some(None), None]);
}

#[test]
fn the_fields_of_an_encoded_event_are_found_again() {
    let id = || Field::Id(EventId::new(Text::from("a-1")).expect("an id"));
    let fields = || {
        let name = EventName::new(Text::from("order: new")).expect("a name");
        let retry = Retry::new(Text::from("10")).expect("a time");
        let (comment, data) = (Text::from(": two\nlines"), Text::from("\ndata: a: b\n\n"));
        vec![Field::Comment(comment), Field::Event(name), Field::Retry(retry), Field::Data(data)]
    };
    for keeps_id in [true, false] {
        let block = encode_to_vec(&[fields(), vec![id()]].concat(), LineEnd::Lf);
        let expected = FieldList::of(fields().into_iter().chain(keeps_id.then(id)));
        assert_eq!(FieldList::of_block(&block, keeps_id), expected);
    }
    let empty = encode_to_vec(&[Field::Data(Text::from(""))], LineEnd::Lf);
    assert_eq!(FieldList::of_block(&empty, false), FieldList::of([Field::Data(Text::from(""))]));
}
