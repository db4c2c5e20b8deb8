//! Tests of the end of streams by labels, topics and ages.

use super::hub_world::*;
use super::*;
use crate::hub::{Access, Call, EndRequest, FirstBlock, Question, StreamLimit, SubscribeRequest, Ticket, MAX_LABELS};

/// Opens a stream that is subscribed to topics, as a handler does that runs if `holds` is true.
fn reader(world: &mut World, topics: &[&str], access: Access, holds: bool) -> usize {
    let stream = world.open(settings(), "");
    let request = SubscribeRequest { topics: hub_world::topics(topics), access, ..Default::default() };
    subscribe_at(world, HUB, stream, request, holds);
    stream
}

fn labels(all: &[&str]) -> Vec<Box<[u8]>> {
    all.iter().map(|label| label.as_bytes().into()).collect()
}

fn labelled(all: &[&str]) -> Access {
    Access { labels: labels(all), ..Access::default() }
}

/// Ends streams at a time, and returns how many.
fn end(world: &mut World, given_labels: &[&str], topics: &[&str], finishes: bool, at: u64) -> usize {
    let request = EndRequest { labels: labels(given_labels), topics: hub_world::topics(topics), finishes };
    world.call(HUB, Call::EndStreams(request), at).size().expect("a number")
}

#[test]
fn streams_end_by_labels_and_others_read_on() {
    let mut world = with_history(10);
    let both = reader(&mut world, &["c"], labelled(&["a", "b"]), false);
    let one = reader(&mut world, &["c"], labelled(&["b"]), false);
    let none = reader(&mut world, &["c"], Access::default(), false);
    publish(&mut world, 1..=1);
    assert_eq!(end(&mut world, &["a", "x"], &[], false, 1), 1);
    publish(&mut world, 2..=2);
    assert_eq!(end(&mut world, &["a", "b"], &[], false, 2), 1, "a stream that is ending does not count again");
    deliver(&mut world, 3..=3);
    let ended = [both, one, none].map(|stream| world.records[stream].ended);
    assert_eq!(ended, [Some(Reason::Application), Some(Reason::Application), None]);
    for (stream, events, rest) in [(both, "1.", "retry"), (one, "1.2.", "retry"), (none, "1.2.3.", "")] {
        let text = take_received(&mut world, stream);
        let expected = format!("event: position\ndata: \nid: e-0\n\n{events}");
        assert!(text.starts_with(&expected) && text[expected.len()..].contains(rest), "{text}");
        assert!(!text[expected.len()..].contains('.'), "{text}");
    }
}

/// The topics of a stream, those of a request, and whether the stream ends.
#[test]
fn a_topic_selects_the_readers_of_each_channel_that_it_names() {
    for (topics, asked, expected) in [
        (&["a"][..], &["a"][..], 1),
        (&["a"], &["b"], 0),
        (&["a", "b"], &["b"], 1),
        (&["o/*"], &["o/1"], 1),
        (&["o/*"], &["p/1"], 0),
        (&["**"], &["never/published"], 1),
        (&["o/1"], &["o/*"], 1),
        (&["p"], &["o/*"], 0),
        (&["*/1"], &["o/*"], 1),
        (&["*/1/*"], &["o/*"], 0),
        (&["o/*"], &["o/*"], 1),
    ] {
        let mut world = with_history(10);
        reader(&mut world, topics, Access::default(), false);
        assert_eq!(end(&mut world, &[], asked, false, 1), expected, "{topics:?} {asked:?}");
    }
}

#[test]
fn a_stream_that_is_held_ends_with_its_first_block() {
    let mut world = with_history(10);
    let stream = reader(&mut world, &["c"], labelled(&["a"]), true);
    publish(&mut world, 1..=1);
    assert_eq!(end(&mut world, &["a"], &[], true, 1), 1);
    world.apply(Command::BeginSubscription { stream: world.records[stream].id });
    deliver(&mut world, 2..=2);
    assert_eq!(world.records[stream].ended, Some(Reason::Application));
    let finish = "event: finish\ndata: finish\nid: eventsource-finished\n\n";
    assert_eq!(take_received(&mut world, stream), format!("event: position\ndata: \nid: e-0\n\n{finish}"));
}

#[test]
fn a_stream_that_has_just_resumed_is_sent_what_was_published_before_its_end() {
    let mut world = with_history(10);
    deliver(&mut world, 1..=3);
    let after = Some(b"e-1"[..].into());
    let request = SubscribeRequest { topics: topics(&["c"]), access: labelled(&["a"]), after, ..Default::default() };
    for finishes in [false, true] {
        let stream = world.open(settings(), "");
        subscribe_at(&mut world, HUB, stream, request.clone(), false);
        assert_eq!(end(&mut world, &["a"], &[], finishes, 1), 1);
        world.run_until_idle();
        let text = take_received(&mut world, stream);
        assert!(text.contains("2.3.") && world.records[stream].ended.is_some(), "{text}");
    }
}

/// The label of a stream that another program has handed over after the first event, its place then, and what it is sent.
#[test]
fn a_stream_that_was_handed_over_ends_with_a_request_that_the_program_before_has_not_read() {
    let finish = "event: finish\ndata: finish\nid: eventsource-finished\n\n";
    for (label, after, expected, ends) in [
        ("a", "e-1", format!("2.{finish}"), true),
        ("a", "e-3", "4.".to_owned(), false),
        ("b", "e-1", "2.4.".to_owned(), false),
    ] {
        let mut world = with_history(10);
        publish(&mut world, 1..=2);
        publish_to(&mut world, "other", 3..=3);
        let request = EndRequest { labels: labels(&["a"]), topics: Vec::new(), finishes: true };
        world.ask(HUB, Question::End { request, at: 1, seq: 3 });
        deliver(&mut world, 4..=4);
        let first_block = FirstBlock { is_sent: true, ..FirstBlock::default() };
        let (access, after) = (labelled(&[label]), Some(after.as_bytes().into()));
        let request = SubscribeRequest { topics: topics(&["c"]), access, after, first_block, ..Default::default() };
        let stream = world.open(settings(), "");
        subscribe_at(&mut world, HUB, stream, request, false);
        world.run_until_idle();
        assert_eq!((take_received(&mut world, stream), world.records[stream].ended.is_some()), (expected, ends));
    }
}

#[test]
fn a_slow_stream_is_sent_nothing_more_of_the_logs_and_ends_in_time() {
    let mut world = with_history(10);
    let slow = reader(&mut world, &["c"], labelled(&["a"]), false);
    world.run_until_idle();
    world.client(slow).default_send = Some(Err(libc::EAGAIN));
    deliver(&mut world, 1..=3);
    assert_eq!(end(&mut world, &["a"], &[], false, 1), 1);
    assert_eq!(counts(&mut world).streams, 0);
    world.unblock(slow);
    let text = take_received(&mut world, slow);
    assert!(text.starts_with("event: position\ndata: \nid: e-0\n\nretry: "), "{text}");
    assert!(!text.contains("1."), "{text}");
    let stuck = reader(&mut world, &["c"], labelled(&["a"]), false);
    world.run_until_idle();
    world.client(stuck).default_send = Some(Err(libc::EAGAIN));
    assert_eq!(end(&mut world, &["a"], &[], false, 2), 1);
    world.advance(settings().timeout * 2);
    assert!(world.records[stuck].is_closed, "a client that takes nothing is not waited for");
}

#[test]
fn a_stream_that_is_ending_is_sent_nothing_more() {
    let mut world = with_history(10);
    let ending = reader(&mut world, &["c"], labelled(&["a"]), false);
    world.run_until_idle();
    world.client(ending).default_send = Some(Err(libc::EAGAIN));
    deliver(&mut world, 1..=1);
    world.end(ending, Reason::Application, Ending::Flush);
    assert_eq!(end(&mut world, &["a"], &[], false, 1), 0, "it is ending already");
    world.unblock(ending);
    let text = take_received(&mut world, ending);
    assert!(!text.contains("1.") && world.records[ending].ended.is_some(), "{text}");
}

#[test]
fn a_subscription_that_was_asked_for_before_an_end_ends_too() {
    let asked = |asked_at, names: &[&str]| Access { asked_at, ..labelled(names) };
    let mut world = with_history(10);
    assert_eq!(end(&mut world, &["a"], &["o/*"], false, 1000), 0);
    world.upgrade();
    for (topics, access, expected) in [
        (&["c"][..], asked(999, &["a"]), true),
        (&["c"], asked(1001, &["a"]), false),
        (&["c"], asked(0, &["a"]), false),
        (&["c"], asked(999, &["b"]), false),
        (&["o/1"], asked(999, &[]), true),
        (&["o/1"], asked(1001, &[]), false),
        (&["c", "**"], asked(999, &[]), true),
    ] {
        let stream = reader(&mut world, topics, access, false);
        publish_to(&mut world, topics[0].replace('*', "x").as_str(), 1..=1);
        world.run_until_idle();
        assert_eq!(world.records[stream].ended.is_some(), expected, "{topics:?}");
        assert!(!expected || !take_received(&mut world, stream).contains("1."));
    }
}

#[test]
fn a_subscription_ends_if_the_hub_had_to_forget_whom_an_end_since_its_question_meant() {
    let asked = |asked_at| Access { asked_at, ..labelled(&["a"]) };
    let mut world = with_history(10);
    end(&mut world, &["a"], &[], true, 1000);
    for number in 1..=1000 {
        end(&mut world, &["x"], &[], false, 1000 + number);
    }
    world.upgrade();
    let streams = [1000, 1001, 0].map(|asked_at| reader(&mut world, &["c"], asked(asked_at), false));
    deliver(&mut world, 1..=1);
    assert_eq!(streams.map(|stream| world.records[stream].ended.is_some()), [true, false, false]);
    let text = take_received(&mut world, streams[0]);
    assert!(text.starts_with("retry: ") && !text.contains("1."), "its client asks the application again: {text}");
    end(&mut world, &["a"], &[], true, 3000);
    let finished = reader(&mut world, &["c"], asked(1000), false);
    world.run_until_idle();
    assert!(take_received(&mut world, finished).contains("event: finish"), "what is known counts");
}

#[test]
fn a_stream_ends_between_three_quarters_of_its_age_and_its_age_also_after_an_upgrade() {
    for upgrades in [false, true] {
        let mut world = with_history(10);
        let most = Duration::from_secs(100);
        let access = || Access { max_age: Some(Access::random_age(most)), ..Access::default() };
        let aging: Vec<usize> = (0..20).map(|_| reader(&mut world, &["c"], access(), false)).collect();
        let other = reader(&mut world, &["c"], Access::default(), false);
        world.advance(Duration::from_secs(74));
        if upgrades {
            world.upgrade();
        }
        let ended = |world: &World| aging.iter().filter(|stream| world.records[**stream].ended.is_some()).count();
        assert_eq!(ended(&world), 0);
        world.advance(Duration::from_secs(13));
        assert!((1..20).contains(&ended(&world)), "they end one after the other");
        world.advance(Duration::from_secs(14));
        assert_eq!((ended(&world), world.records[other].ended), (20, None));
    }
}

#[test]
fn a_stream_with_too_many_labels_ends() {
    let mut world = with_history(10);
    let names: Vec<String> = (0..=MAX_LABELS).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let [enough, too_many] = [&names[1..], &names[..]].map(|names| reader(&mut world, &["c"], labelled(names), false));
    world.run_until_idle();
    assert_eq!([enough, too_many].map(|stream| world.records[stream].ended), [None, Some(Reason::Error)]);
}

#[test]
fn a_ticket_takes_a_place_of_each_limit() {
    let mut world = with_history(10);
    let limit = |label: &[u8], most| StreamLimit { label: label.into(), most };
    let limits = |most| vec![limit(b"\0=all", 9), limit(b"\0=key", most)];
    let admits = |world: &mut World, most| {
        let access = Access { limits: limits(most), ..Access::default() };
        let request = SubscribeRequest { access, ..SubscribeRequest::default() };
        let ticket = Box::new(Ticket { request, ..Ticket::default() });
        let answer = world.ask(HUB, Question::Admit { ticket, counts_refusal: false });
        answer.reply().admitted().expect("an answer").is_some()
    };
    assert!(admits(&mut world, 2) && admits(&mut world, 2));
    for _ in 0..9 {
        assert!(!admits(&mut world, 2));
    }
    assert!(admits(&mut world, 3), "those that were refused have no place of the other limit");
    assert_eq!(counts(&mut world).limited, 0);
}
