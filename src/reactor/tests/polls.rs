//! Tests of polls: when they are answered.

use super::hub_world::*;
use super::*;
use crate::hub::{
    Access, Call, EndRequest, MemberRequest, Poll, PollReason, Presence, Retain, SequencedEvent, StartPoint,
    SubscribeRequest,
};
use crate::parse::{Event, Parser};

/// The word of the hub that the state follows.
const STATE: &str = "event: eventsource-hub\ndata: {\"state\":true}\n\n";
const POSITION: &str = "event: position\ndata: \nid: e-";

fn poll_of(wait: u64) -> Access {
    let poll = Some(Poll { wait: Duration::from_secs(wait), reason: PollReason::Mute });
    Access { poll, ..Access::default() }
}

fn request(after: &str, wait: u64) -> SubscribeRequest {
    let after = Some(after.as_bytes().into()).filter(|_| !after.is_empty());
    SubscribeRequest { topics: topics(&["c"]), after, access: poll_of(wait), ..Default::default() }
}

/// Opens a chunked stream, so that its end shows.
fn begin(world: &mut World, request: SubscribeRequest) -> usize {
    let stream = world.open(Settings { framing: Framing::Chunked, ..settings() }, "");
    subscribe_at(world, HUB, stream, request, false);
    stream
}

/// Has a client read what its socket takes step by step.
fn read_all(world: &mut World, stream: usize) {
    for _ in 0..200 {
        world.run_until_idle();
        world.ready(stream, Ready { writable: true, ..Ready::default() });
    }
}

/// Takes the content that a client has received, without its chunks. An end is `$`.
fn content(world: &mut World, stream: usize) -> String {
    let text = take_received(world, stream);
    let (mut rest, mut content) = (&*text, String::new());
    assert!(text.is_empty() || text.ends_with("\r\n"), "{text:?}");
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
        content.push_str(if size == 0 { "$" } else { &after[..size] });
        rest = &after[size + 2..];
    }
    content
}

/// For each client: its id, how long it waits, what it receives at once, and after another event.
#[test]
fn a_poll_ends_when_its_client_was_sent_something_new() {
    for (after, wait, at_once, later) in [
        ("", 10, format!("{POSITION}3\n\n$"), ""),
        ("", 0, format!("{POSITION}3\n\n$"), ""),
        ("e-3", 10, format!("{POSITION}3\n\n"), "5.$"),
        ("e-3", 0, format!("{POSITION}3\n\n$"), ""),
        ("e-1", 10, format!("{POSITION}1\n\n2.3.$"), ""),
        ("e-1", 0, format!("{POSITION}1\n\n2.3.$"), ""),
        ("other-1", 10, format!("{POSITION}3-0\n\nevent: gap\ndata: {{\"reason\":\"unknown\"}}\nid: e-3\n\n$"), ""),
    ] {
        for is_slow in [false, true] {
            let mut world = with_history(10);
            publish(&mut world, 1..=3);
            let stream = begin(&mut world, request(after, wait));
            if is_slow {
                world.client(stream).sends = [Ok(1), Err(libc::EAGAIN), Ok(10), Ok(3)].into();
            }
            read_all(&mut world, stream);
            assert_eq!(content(&mut world, stream), at_once, "{after} {wait}");
            publish_to(&mut world, "other", 4..=4);
            publish(&mut world, 5..=5);
            assert_eq!(content(&mut world, stream), later, "{after} {wait}");
            assert_eq!(world.records[stream].ended, Some(Reason::Application));
            assert_eq!(counts(&mut world).polls_mute, 1);
        }
    }
}

#[test]
fn a_poll_waits_between_three_quarters_of_its_time_and_its_time_also_after_an_upgrade() {
    for upgrades in [false, true] {
        let mut world = with_history(10);
        let polls: Vec<usize> = (0..20).map(|_| begin(&mut world, request("e-0", 100))).collect();
        let aged = Access { max_age: Some(Duration::from_secs(10)), ..poll_of(100) };
        let aged = begin(&mut world, SubscribeRequest { access: aged, ..request("e-0", 100) });
        publish_to(&mut world, "other", 1..=1);
        world.advance(Duration::from_secs(11));
        assert!(take_received(&mut world, aged).ends_with("\r\n0\r\n\r\n"), "its age counts, too");
        world.advance(Duration::from_secs(63));
        if upgrades {
            world.upgrade();
        }
        let ended = |world: &World| polls.iter().filter(|stream| world.records[**stream].ended.is_some()).count();
        assert_eq!((ended(&world), counts(&mut world).polls), (0, 20));
        world.advance(Duration::from_secs(13));
        assert!((1..20).contains(&ended(&world)), "they end one after the other");
        world.advance(Duration::from_secs(14));
        assert_eq!((ended(&world), counts(&mut world).polls), (20, 0));
        let received = content(&mut world, polls[0]);
        assert!(received.contains(&format!("{POSITION}1\n\n")) && received.ends_with('$'), "{received}");
    }
}

#[test]
fn a_poll_of_much_is_answered_before_the_end_of_the_log_and_the_next_one_continues() {
    let mut world = with_history(1000);
    publish(&mut world, 1..=600);
    let stream = begin(&mut world, request("e-0", 10));
    world.client(stream).default_send = Some(Ok(500));
    read_all(&mut world, stream);
    let text = content(&mut world, stream);
    let events =
        text.strip_prefix(&format!("{POSITION}0\n\n")).and_then(|text| text.strip_suffix('$')).expect("an end");
    let count = events.matches('.').count() as u64;
    assert!(count > 50 && count < 600, "{count}");
    assert_eq!(events, numbers(1..=count));
    let next = begin(&mut world, request(&format!("e-{count}"), 10));
    let text = content(&mut world, next);
    assert!(text.starts_with(&format!("{POSITION}{count}\n\n{}", numbers(count + 1..=count + 50))), "{text}");
}

#[test]
fn a_poll_has_the_whole_state_and_one_that_resumes_after_it_waits() {
    let mut world = with_history(10);
    let publish_key = |world: &mut World, seq: u64, key: u64| {
        let event = crate::event::Shared::of(format!("{seq}.{}", "x".repeat(500)));
        let (channel, key) = ((*b"c").into(), key.to_string().into_bytes().into());
        let event = SequencedEvent { seq, channel, event, key, retain: Retain::Newest, has_custom_id: false };
        world.apply(Command::Publish { hub: HUB, event: Box::new(event) });
    };
    (1..=30).for_each(|seq| publish_key(&mut world, seq, seq));
    let with_state = |after: &str| SubscribeRequest { start: StartPoint::State, ..request(after, 10) };
    let stream = begin(&mut world, with_state(""));
    world.client(stream).default_send = Some(Ok(600));
    read_all(&mut world, stream);
    let text = content(&mut world, stream);
    assert_eq!(text.matches('.').count(), 30, "more than a poll is sent of a log");
    assert!(text.ends_with(&format!("{POSITION}30\n\n$")), "{text}");
    publish_to(&mut world, "other", 31..=31);
    let resumed = begin(&mut world, with_state("e-30"));
    assert_eq!(content(&mut world, resumed), format!("{STATE}{POSITION}31\n\n"), "its new position is not news");
    publish_key(&mut world, 32, 1);
    assert!(content(&mut world, resumed).ends_with('$'));
}

/// Each poll is cut within the bytes of the state, or held until the next one begins; keys change and are forgotten meanwhile.
#[test]
fn polls_that_are_cut_within_the_state_continue_there_until_it_is_complete() {
    for (events, forgets_between, gaps) in [(10, false, 0), (10, true, 0), (0, false, 0), (0, true, 1)] {
        let mut world = with_history(events);
        let mut seq = 0;
        let mut publish_key = |world: &mut World, key: u64, retain| {
            seq += 1;
            let event = crate::event::Shared::of(format!("data: {key} {}\nid: e-{seq}\n\n", "x".repeat(200)));
            let (channel, key) = ((*b"c").into(), key.to_string().into_bytes().into());
            let event = SequencedEvent { seq, channel, event, key, retain, has_custom_id: false };
            world.apply(Command::Publish { hub: HUB, event: Box::new(event) });
        };
        (1..=100).for_each(|key| publish_key(&mut world, key, Retain::Newest));
        world.run_until_idle();
        let (mut parser, mut received) = (Parser::default(), Vec::new());
        for round in 0..30 {
            if received.iter().any(|event: &Event| event.event == "position") {
                break;
            }
            parser.finish();
            let with_state = SubscribeRequest { start: StartPoint::State, ..request(parser.last_event_id(), 0) };
            let poll = world.open(settings(), "");
            subscribe_at(&mut world, HUB, poll, with_state, false);
            world.run_until_idle();
            let bytes = world.client(poll).take_received();
            parser.feed(&bytes[..bytes.len().min(3_333)]).expect("small events");
            received.extend(std::iter::from_fn(|| parser.next_event()));
            if round == 1 && forgets_between {
                publish_key(&mut world, 1, Retain::Forget);
            }
            publish_key(&mut world, 100 + round, Retain::Newest);
            world.run_until_idle();
        }
        let count = |name: &str| received.iter().filter(|event| event.event == name).count();
        assert_eq!((count("gap"), count("position")), (gaps, 1), "{events} {forgets_between}");
        assert!(count("message") < 130 + 40 * gaps, "{events} {forgets_between}: {}", count("message"));
    }
}

#[test]
fn a_poll_of_a_client_that_is_ahead_of_its_hub_waits_for_that_or_its_time() {
    let mut world = with_shared_store(10);
    let streams @ [stream, ..] = [10, 5, 0].map(|wait| begin(&mut world, request("e-3", wait)));
    assert_eq!(streams.map(|stream| content(&mut world, stream)), ["", "", ""]);
    world.advance(Duration::from_secs(6));
    assert_eq!(streams.map(|stream| content(&mut world, stream)), ["", "$", "$"]);
    publish(&mut world, 1..=4);
    assert_eq!(content(&mut world, stream), format!("{POSITION}3\n\n4.$"));
}

#[test]
fn the_member_of_a_poll_lingers_and_its_end_is_no_decision_of_the_application() {
    let mut world = with_history(10);
    let member = MemberRequest { channel: (*b"room").into(), id: (*b"ann").into(), ..MemberRequest::default() };
    let presence = Presence { member: Some(Box::new(member)), will: None };
    begin(&mut world, SubscribeRequest { presence, ..request("", 10) });
    world.run_until_idle();
    let reports: Vec<_> = std::mem::take(&mut world.presence).into_iter().map(|(_, report)| report).collect();
    assert_eq!(reports, ["enters ann for 15s", "leaves"]);
}

#[test]
fn the_first_keepalive_of_a_stream_is_early_and_that_of_a_poll_is_not() {
    let mut world = with_history(10);
    let stream = SubscribeRequest { access: Access::default(), ..request("e-0", 0) };
    for (request, expected) in [(stream, [":\n", "", ":\n"]), (request("e-0", 60), ["", ":\n", ""])] {
        let stream = world.open(settings(), "");
        subscribe_at(&mut world, HUB, stream, request, false);
        world.run_until_idle();
        take_received(&mut world, stream);
        let received = [3, 13, 3].map(|seconds| {
            world.advance(Duration::from_secs(seconds));
            take_received(&mut world, stream)
        });
        assert_eq!(received, expected);
    }
}

#[test]
fn a_client_between_two_polls_is_told_not_to_come_back_as_the_poll_before() {
    // What the request ends, whether for good, the seconds until the next poll, its id, and whether that is told.
    for (topic, finishes, seconds, after, expected) in [
        ("c", true, 0, "e-2", true),
        ("c", true, 14, "e-2", true),
        ("c", true, 16, "e-2", false),
        ("c", true, 0, "e-1", false),
        ("c", false, 0, "e-2", false),
        ("other", true, 0, "e-2", false),
    ] {
        let mut world = with_history(10);
        publish(&mut world, 1..=1);
        let poll = begin(&mut world, request("e-1", 10));
        publish(&mut world, 2..=2);
        assert!(content(&mut world, poll).ends_with("2.$"), "the event answers the poll");
        let end = EndRequest { topics: topics(&[topic]), finishes, ..EndRequest::default() };
        assert_eq!(world.call(HUB, Call::EndStreams(end), 1).size().expect("a number"), 0);
        world.now += Duration::from_secs(seconds);
        let labelled = Access { labels: vec![b"user/8"[..].into()], ..poll_of(10) };
        let other = begin(&mut world, SubscribeRequest { access: labelled, ..request(after, 10) });
        assert!(!content(&mut world, other).contains("finish"), "the poll of another user");
        let next = begin(&mut world, request(after, 10));
        let told = content(&mut world, next);
        assert_eq!(told.ends_with("id: eventsource-finished\n\n$"), expected, "{topic} {finishes} {seconds}: {told}");
        let later = begin(&mut world, request(after, 10));
        assert!(!content(&mut world, later).contains("finish"), "it is told once");
    }
}

#[test]
fn another_program_remembers_the_polls_that_have_ended_and_those_that_end_with_this_one() {
    // Whether the event answers the poll, the times of requests to end it, the other program's included, the seconds until the
    // next poll, and whether that is told not to come back. The programs change at the time 10.
    for (is_answered, ends, seconds, expected) in [
        (true, [5, 0], 0, true),
        (true, [5, 0], 16, false),
        (true, [0, 15], 0, true),
        (true, [0, 0], 0, false),
        (false, [0, 15], 0, true),
        (false, [0, 15], 17, true), // its client was sent a reconnection time
        (false, [0, 15], 19, false),
        (false, [2, 0], 0, false), // the poll has begun after that
    ] {
        let end = |world: &mut World, at| {
            let end = EndRequest { topics: topics(&["c"]), finishes: true, ..EndRequest::default() };
            world.call(HUB, Call::EndStreams(end), at);
        };
        let mut world = with_history(10);
        publish(&mut world, 1..=1);
        if ends[0] == 2 {
            end(&mut world, 2);
        }
        let poll = begin(&mut world, request("e-1", 10));
        let held = world.open(settings(), "");
        subscribe_at(&mut world, HUB, held, request("e-1", 10), true);
        world.run_until_idle();
        if is_answered {
            publish(&mut world, 2..=2);
            assert!(content(&mut world, poll).ends_with("2.$"), "the event answers the poll");
        }
        if ends[0] == 5 {
            end(&mut world, 5);
        }
        let mut next = with_history(10);
        next.now = world.now;
        publish(&mut next, 1..=if is_answered { 2 } else { 1 });
        ends.iter().filter(|at| **at > 0).for_each(|at| end(&mut next, *at));
        let handed: Vec<_> = world.reactor.handed_polls(HUB, world.now).collect();
        let after = if is_answered { "e-2" } else { "e-1" };
        for mut poll in handed {
            poll.reads.access.asked_at = 10;
            next.ask(HUB, Question::ResumePoll(poll.into()));
        }
        next.now += Duration::from_secs(seconds);
        let back = begin(&mut next, request(after, 0));
        let told = content(&mut next, back);
        let case = format!("{is_answered} {ends:?} {seconds}");
        assert_eq!(told.ends_with("id: eventsource-finished\n\n$"), expected, "{case}: {told}");
        if !is_answered {
            let back = begin(&mut next, request(after, 0));
            assert_eq!(content(&mut next, back).contains("finished"), expected, "the held one: {case}");
        }
    }
}
