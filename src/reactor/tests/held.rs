//! Tests of held subscriptions, which take effect when their handler returns.

use super::hub_world::*;
use super::*;
use crate::hub::{StartPoint, SubscribeRequest};

/// Subscribes a stream to a channel, as a running handler does.
fn subscribe_held(world: &mut World, stream: usize, channel: &str) {
    subscribe_after(world, stream, channel, None, true);
}

fn subscribe_after(world: &mut World, stream: usize, channel: &str, after: Option<&str>, holds: bool) {
    let after = after.map(|id| id.as_bytes().into());
    let request = SubscribeRequest { topics: topics(&[channel]), after, ..Default::default() };
    subscribe_at(world, HUB, stream, request, holds);
}

#[test]
fn a_held_stream_is_sent_nothing_before_its_handler_returns() {
    let mut world = with_history(10);
    let stream = world.open(settings(), "head");
    subscribe_held(&mut world, stream, "c");
    deliver(&mut world, 1..=1);
    subscribe_held(&mut world, stream, "d");
    publish_to(&mut world, "d", 2..=2);
    assert_eq!(take_received(&mut world, stream), "head", "only the head");
    assert_eq!(counts(&mut world).streams, 1, "a held stream counts as subscribed");
    world.apply(Command::BeginSubscription { stream: world.records[stream].id });
    publish(&mut world, 3..=3);
    assert_eq!(take_received(&mut world, stream), "event: position\ndata: \nid: e-0\n\n1.2.3.");
}

#[test]
fn a_held_stream_begins_after_five_seconds() {
    let mut world = with_history(10);
    let stream = world.open(settings(), "");
    subscribe_held(&mut world, stream, "c");
    world.advance(Duration::from_millis(2500));
    publish(&mut world, 1..=1);
    world.advance(Duration::from_millis(2400));
    assert_eq!(take_received(&mut world, stream), ":\n", "the early keepalive");
    world.advance(Duration::from_millis(200));
    assert_eq!(take_received(&mut world, stream), "event: position\ndata: \nid: e-0\n\n1.");
}

#[test]
fn a_held_stream_begins_before_its_events_are_evicted() {
    for history in [0, 1, 3] {
        let mut world = with_history(history);
        let stream = world.open(settings(), "");
        subscribe_held(&mut world, stream, "c");
        let most = history as u64;
        if most > 0 {
            publish(&mut world, 1..=most);
            assert_eq!(take_received(&mut world, stream), "", "the stream is held while the log holds everything");
        }
        deliver(&mut world, most + 1..=most + 5);
        assert_eq!(
            take_received(&mut world, stream),
            format!("event: position\ndata: \nid: e-0\n\n{}", numbers(1..=most + 5)),
            "history {history}"
        );
        assert_eq!(world.records[stream].ended, None);
    }
}

#[test]
fn an_eviction_begins_only_the_held_streams_that_need_what_is_evicted() {
    for (start, after, channel, count, begins) in [
        (StartPoint::Latest, None, "d", 20, false),
        (StartPoint::Latest, None, "c", 3, false),
        (StartPoint::Latest, None, "c", 4, true),
        (StartPoint::Last(2), None, "c", 1, false),
        (StartPoint::Last(2), None, "c", 2, true),
        (StartPoint::State, None, "c", 20, false),
        (StartPoint::State, Some("e-4"), "c", 2, false),
        (StartPoint::State, Some("e-4"), "c", 3, true),
        (StartPoint::Latest, Some("of a later request"), "d", 20, false),
        (StartPoint::Latest, Some("of a later request"), "c", 1, true),
    ] {
        let mut world = with_history(3);
        deliver(&mut world, 1..=5);
        let stream = world.open(settings(), "");
        let after_id = after.map(|id| id.as_bytes().into());
        let request = SubscribeRequest { topics: topics(&["c"]), after: after_id, start, ..Default::default() };
        subscribe_at(&mut world, HUB, stream, request, true);
        publish_to(&mut world, channel, 6..=5 + count);
        world.run_until_idle();
        let subscription = world.reactor.record(world.records[stream].id).and_then(|of| of.subscription.as_deref());
        let is_held = subscription.map(|subscription| subscription.cursor.is_held());
        assert_eq!(is_held, Some(!begins), "{start:?} {after:?} {channel} {count}");
        world.apply(Command::BeginSubscription { stream: world.records[stream].id });
        world.run_until_idle();
        assert_eq!(counts(&mut world).disconnected, 0);
        let gaps = u64::from(after == Some("of a later request"));
        assert_eq!(counts(&mut world).gaps, gaps, "{start:?} {after:?} {channel} {count}");
    }
}

#[test]
fn a_held_stream_that_ends_receives_its_events() {
    let mut world = with_history(10);
    let stream = world.open(settings(), "");
    subscribe_held(&mut world, stream, "c");
    publish(&mut world, 1..=2);
    world.end(stream, Reason::Application, Ending::Flush);
    assert_eq!(take_received(&mut world, stream), "event: position\ndata: \nid: e-0\n\n1.2.");
    assert_eq!(world.records[stream].ended, Some(Reason::Application));
}

/// Opens a stream whose client is ahead of the hub with the id `e-7`, in each way in which that begins.
fn ahead_of_the_hub(world: &mut World, in_handler: bool) -> usize {
    let stream = world.open(settings(), "");
    subscribe_after(world, stream, "c", Some("e-7"), in_handler);
    if in_handler {
        world.apply(Command::BeginSubscription { stream: world.records[stream].id });
    }
    world.run_until_idle();
    stream
}

#[test]
fn a_stream_that_is_ahead_of_a_shared_store_begins_where_its_client_is_however_full_the_log_is() {
    for (history, in_handler) in [(0, false), (1, true), (3, false), (3, true), (100, true)] {
        let mut world = with_shared_store(history);
        publish(&mut world, 1..=4);
        let stream = ahead_of_the_hub(&mut world, in_handler);
        world.advance(Duration::from_secs(40));
        publish(&mut world, 5..=6);
        assert_eq!(take_received(&mut world, stream).replace(":\n", ""), "", "keepalives, history {history}");
        // One batch passes the entry and evicts it.
        deliver(&mut world, 7..=20);
        let expected = format!("event: position\ndata: \nid: e-7\n\n{}", numbers(8..=20));
        assert_eq!(take_received(&mut world, stream), expected, "history {history}");
    }
}

#[test]
fn thousands_of_streams_that_were_ahead_receive_one_batch_before_it_is_evicted() {
    let mut world = with_shared_store(1);
    publish(&mut world, 1..=4);
    let streams: Vec<usize> = (0..2000).map(|_| ahead_of_the_hub(&mut world, false)).collect();
    publish(&mut world, 5..=20);
    world.run_until_idle();
    let expected = format!("event: position\ndata: \nid: e-7\n\n{}", numbers(8..=20));
    for stream in streams {
        assert_eq!(take_received(&mut world, stream), expected);
    }
}

#[test]
fn a_push_or_an_end_does_not_begin_a_stream_that_is_ahead() {
    let mut world = with_shared_store(1);
    let stream = ahead_of_the_hub(&mut world, true);
    world.push(stream, b"pushed");
    world.apply(Command::BeginSubscription { stream: world.records[stream].id });
    publish(&mut world, 1..=2);
    assert_eq!(take_received(&mut world, stream), "pushed");
    world.end(stream, Reason::Application, Ending::Flush);
    assert_eq!(take_received(&mut world, stream), "", "neither a gap nor an earlier position");
    deliver(&mut world, 3..=9);
    assert_eq!(counts(&mut world).gaps, 0);
}

#[test]
fn a_stream_that_is_ahead_receives_a_gap_when_the_reactor_stops_waiting() {
    let mut world = with_shared_store(10);
    publish(&mut world, 1..=2);
    let stream = ahead_of_the_hub(&mut world, false);
    world.apply(Command::StopWaiting { stream: world.records[stream].id });
    publish(&mut world, 3..=3);
    let received = take_received(&mut world, stream);
    assert!(received.contains("event: gap") && received.ends_with("id: e-2\n\n3."), "{received}");
}

#[test]
fn the_number_of_an_entry_that_is_no_event_is_a_position() {
    let mut world = with_shared_store(10);
    publish(&mut world, 1..=6);
    let first = ahead_of_the_hub(&mut world, false);
    world.apply(Command::PassStored { hub: HUB, seq: 7 });
    deliver(&mut world, 8..=8);
    let second = ahead_of_the_hub(&mut world, false);
    for stream in [first, second] {
        assert_eq!(take_received(&mut world, stream), "event: position\ndata: \nid: e-7\n\n8.");
    }
    assert_eq!(counts(&mut world).gaps, 0);
}

#[test]
fn an_id_ahead_of_a_hub_whose_store_is_its_own_is_unknown_at_once() {
    let mut world = with_history(10);
    let stream = ahead_of_the_hub(&mut world, true);
    assert!(take_received(&mut world, stream).contains("event: gap"));
}
