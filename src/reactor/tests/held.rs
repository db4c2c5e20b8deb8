//! Tests of held subscriptions, which take effect when their handler returns.

use super::hub_world::*;
use super::*;
use crate::hub::{Start, SubscribeRequest, Topic};

/// Subscribes a stream to a channel, as a running handler does.
fn subscribe_held(world: &mut World, stream: usize, channel: &str) {
    world.records[stream].is_subscribed = true;
    let topics = vec![Topic::Channel(channel.as_bytes().into())];
    let request =
        Box::new(SubscribeRequest { topics, after: None, start: Start::Latest, first_block: Default::default() });
    world.apply(Command::Subscribe { hub: HUB, stream: world.records[stream].id, request, holds: true });
}

#[test]
fn a_held_stream_is_sent_nothing_before_its_handler_returns() {
    let mut world = with_history(10);
    let stream = world.open(settings(), "head");
    subscribe_held(&mut world, stream, "c");
    publish(&mut world, 1..=1);
    world.run_until_idle();
    subscribe_held(&mut world, stream, "d");
    publish_to(&mut world, "d", 2..=2);
    world.run_until_idle();
    assert_eq!(take_received(&mut world, stream), "head", "only the head");
    assert_eq!(counts(&mut world).streams, 1, "a held stream counts as subscribed");
    world.apply(Command::BeginSubscription { stream: world.records[stream].id });
    publish(&mut world, 3..=3);
    world.run_until_idle();
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
    assert_eq!(take_received(&mut world, stream), "");
    world.advance(Duration::from_millis(200));
    assert_eq!(take_received(&mut world, stream), "event: position\ndata: \nid: e-0\n\n1.");
}

#[test]
fn a_held_stream_begins_before_the_log_evicts_what_it_is_owed() {
    for history in [0, 1, 3] {
        let mut world = with_history(history);
        let stream = world.open(settings(), "");
        subscribe_held(&mut world, stream, "c");
        let most = history as u64;
        if most > 0 {
            publish(&mut world, 1..=most);
            world.run_until_idle();
            assert_eq!(take_received(&mut world, stream), "", "the stream is held while the log holds everything");
        }
        publish(&mut world, most + 1..=most + 5);
        world.run_until_idle();
        assert_eq!(
            take_received(&mut world, stream),
            format!("event: position\ndata: \nid: e-0\n\n{}", numbers(1..=most + 5)),
            "history {history}"
        );
        assert_eq!(world.records[stream].ended, None);
    }
}

#[test]
fn a_held_stream_that_ends_is_sent_what_it_subscribed_to() {
    let mut world = with_history(10);
    let stream = world.open(settings(), "");
    subscribe_held(&mut world, stream, "c");
    publish(&mut world, 1..=2);
    world.end(stream, Reason::Application, Ending::Flush);
    world.run_until_idle();
    assert_eq!(take_received(&mut world, stream), "event: position\ndata: \nid: e-0\n\n1.2.");
    assert_eq!(world.records[stream].ended, Some(Reason::Application));
}
