//! Tests of handing streams over: which are at rest, and what the clients of others are sent last.

use super::hub_world::*;
use super::*;
use crate::compression::tests::decoder::Decoder;
use crate::compression::ContentCoding;
use crate::hub::{Access, Call, EndRequest, Poll, PollReason, StartPoint, SubscribeRequest, Topic};
use crate::stream::StreamEnd;

/// Ends the streams of a label for good.
fn finish(world: &mut World) {
    let end = EndRequest { labels: vec![b"label"[..].into()], topics: Vec::new(), finishes: true };
    world.call(HUB, Call::EndStreams(end), 1);
}

/// Returns the subscription of each stream that continues, and the bytes of each that ends.
fn handed_over(world: &mut World, may_continue: bool) -> Vec<Result<SubscribeRequest, Vec<u8>>> {
    world.turn();
    let mut all = Vec::new();
    world.reactor.hand_over(may_continue, world.now, |_, handed, continuation| {
        all.push(match continuation {
            Continuation::Subscribed { subscription, .. } => Ok(subscription),
            Continuation::Ending { .. } => panic!("it is ending"),
            Continuation::Cut(_) => Err(handed.unsent),
        })
    });
    all
}

#[test]
fn a_stream_that_was_sent_everything_continues_after_the_last_number_with_its_topics_labels_and_age() {
    let mut world = with_history(10);
    let stream = world.open(settings(), "");
    let (labels, max_age) = (vec![b"user/7"[..].into()], Some(Duration::from_secs(100)));
    let request = SubscribeRequest { access: Access { labels, max_age, ..Access::default() }, ..Default::default() };
    subscribe_to(&mut world, stream, &["c", "other"], request);
    publish(&mut world, 1..=2);
    world.run_until_idle();
    world.advance(Duration::from_secs(10));
    let handed = handed_over(&mut world, true).pop().expect("a stream").expect("it continues");
    let SubscribeRequest { mut topics, after, start, access, first_block, .. } = handed;
    topics.sort_by_key(|topic| format!("{topic:?}"));
    assert_eq!(topics, ["other", "c"].map(|name| Topic::Channel(name.as_bytes().into())));
    assert_eq!((after.as_deref(), start, first_block.is_sent), (Some(&b"e-2"[..]), StartPoint::Latest, true));
    assert_eq!((access.labels.len(), access.max_age), (1, Some(Duration::from_secs(90))));
    assert!(handed_over(&mut world, false)[0].is_err(), "to a program of another protocol");
}

#[test]
fn a_stream_that_is_behind_held_a_poll_or_without_a_hub_ends() {
    let mut world = with_history(10);
    let [behind, held, poll, _without] = [(); 4].map(|()| world.open(settings(), ""));
    let poll_of = Some(Poll { wait: Duration::from_secs(9), reason: PollReason::Mute });
    let access = Access { poll: poll_of, ..Access::default() };
    subscribe_to(&mut world, behind, &["c"], SubscribeRequest::default());
    subscribe_at(&mut world, HUB, held, SubscribeRequest { topics: topics(&["c"]), ..Default::default() }, true);
    let after = Some(b"e-0"[..].into()); // it waits for something new
    subscribe_to(&mut world, poll, &["other"], SubscribeRequest { access, after, ..Default::default() });
    world.run_until_idle();
    world.client(behind).default_send = Some(Err(libc::EAGAIN));
    publish(&mut world, 1..=1);
    let handed = handed_over(&mut world, true);
    assert_eq!(handed.len(), 4);
    for bytes in handed {
        let text = String::from_utf8(bytes.expect_err("it ends")).expect("text");
        let retry = text.strip_prefix("retry: ").and_then(|retry| retry.trim_end().parse::<u64>().ok());
        assert!(retry.map_or(false, |retry| (3000..=6000).contains(&retry)), "{text}");
    }
}

/// For each number of seconds between upgrades: a quiet stream, one whose socket takes nothing, and one whose client does not.
#[test]
fn keepalives_and_timeouts_come_in_time_however_often_streams_are_handed_over() {
    for pause in [1, 4, 14, 1000] {
        let mut world = World::new();
        let mute = Settings { keepalive: None, ..settings() };
        for stream in [settings(), settings(), mute].map(|settings| world.open(settings, "")) {
            world.push(stream, b"data: hello\n\n");
        }
        world.client(1).default_send = Some(Err(libc::EAGAIN));
        world.client(2).untaken = 5000;
        world.run_until_idle();
        let (mut silent, mut longest, mut ends) = (0, 0, [None; 3]);
        for second in 1..=90 {
            world.advance(Duration::from_secs(1));
            world.run_until_idle();
            let is_sent = !world.client(0).take_received().is_empty();
            silent = if is_sent { 0 } else { silent + 1 };
            longest = longest.max(silent);
            for (number, end) in ends.iter_mut().enumerate() {
                if end.is_none() && (world.records[number].ended.is_some()) {
                    *end = Some((second, world.records[number].ended));
                }
            }
            if second % pause == 0 && ends == [None; 3] {
                let mut next = World::new();
                next.now = world.now;
                next.resume(&mut world);
                assert_eq!(next.reactor.open_streams, 3);
                next.run_until_idle();
                assert_eq!(next.stalled, 1);
                world = next;
            }
        }
        assert!((14..=16).contains(&longest), "{pause}: {longest}");
        assert_eq!(ends[0], None);
        for end in &ends[1..] {
            assert!(matches!(end, Some((60..=80, Some(Reason::Timeout)))), "{pause}: {ends:?}");
        }
    }
}

#[test]
fn the_client_of_a_stream_that_ends_can_decode_what_is_buffered_and_the_retry() {
    for coding in ContentCoding::ALL.iter().copied() {
        let mut world = World::new();
        let stream = world.open(Settings { coding, ..settings() }, "");
        world.client(stream).default_send = Some(Err(libc::EAGAIN));
        world.push(stream, b"data: buffered\n\n");
        let bytes = handed_over(&mut world, true).pop().expect("a stream").expect_err("it ends");
        let text = String::from_utf8(Decoder::new(coding).receive(&bytes)).expect("text");
        assert!(text.starts_with("data: buffered\n\nretry: "), "{coding:?}: {text}");
    }
}

#[test]
fn a_stream_that_is_ending_continues_with_its_rest_and_ends_for_the_same_reason() {
    type End = fn(&mut World, usize);
    let ends: [(End, Reason, &str, bool); 4] = [
        (|world, stream| world.end(stream, Reason::Application, Ending::Flush), Reason::Application, "", true),
        (|world, stream| world.end(stream, Reason::Error, Ending::Flush), Reason::Error, "", false),
        (
            |world, stream| world.apply(Command::Refuse { stream: world.records[stream].id }),
            Reason::Server,
            "retry: ",
            true,
        ),
        (|world, _| finish(world), Reason::Application, "event: finish\n", true),
    ];
    for (end, reason, block, is_whole) in ends {
        let settings = Settings { framing: Framing::Chunked, ..settings() };
        let mut world = with_history(10);
        let stream = world.open(settings, "");
        let access = Access { labels: vec![b"label"[..].into()], ..Access::default() };
        subscribe_to(&mut world, stream, &["c"], SubscribeRequest { access, ..Default::default() });
        world.run_until_idle();
        world.client(stream).default_send = Some(Err(libc::EAGAIN));
        world.push(stream, b"e\r\ndata: pushed\n\n\r\n");
        publish_lines(&mut world, 1..=1);
        world.run_until_idle();
        end(&mut world, stream);
        let mut unsent = Vec::new();
        for may_continue in [false, true] {
            world.turn();
            let expected = StreamEnd { reason, is_by_application: reason == Reason::Application };
            world.reactor.hand_over(may_continue, world.now, |_, handed, continuation| {
                match continuation {
                    Continuation::Ending { end, .. } => assert_eq!((end, may_continue), (expected, true)),
                    Continuation::Cut(end) => assert_eq!((end, may_continue), (expected, false)),
                    Continuation::Subscribed { .. } => panic!("it is ending"),
                }
                unsent = handed.unsent;
            });
            let text = String::from_utf8_lossy(&unsent);
            assert!(text.contains("data: pushed\n") && text.contains(block), "{text}");
            assert_eq!(
                (text.matches("retry: ").count(), text.ends_with("0\r\n\r\n")),
                (usize::from(block == "retry: "), is_whole)
            );
        }
        let mut other = World::new();
        let stream = other.open(settings, std::str::from_utf8(&unsent).expect("text"));
        other.client(stream).default_send = Some(Err(libc::EAGAIN));
        other.run_until_idle();
        other.end(stream, reason, Ending::HandedOver { is_by_application: true });
        other.run_until_idle();
        assert_eq!(other.records[stream].ended, None, "it has a rest");
        other.client(stream).default_send = None;
        other.writable(stream);
        other.run_until_idle();
        assert_eq!((other.received(stream).into_bytes(), other.records[stream].ended), (unsent, Some(reason)));
    }
}
