//! The fixture of a hub's tests: a [`World`] with a hub, its subscribers and its publications.

use super::*;
use crate::event::Shared;
use crate::hub::{self, Epoch, History, OnSlow, Question, SequencedEvent, SubscribeRequest, Topic};
use crate::log::Bounds;

pub(super) const HUB: HubId = 0;

/// Creates a world with a hub whose channels retain `events` events.
pub(super) fn with_history(events: usize) -> World {
    with_policy(events, OnSlow::Disconnect)
}

pub(super) fn with_policy(events: usize, on_slow: OnSlow) -> World {
    with_hub(events, on_slow, None)
}

/// Creates a world with a hub that shares its store with others.
pub(super) fn with_shared_store(events: usize) -> World {
    with_hub(events, OnSlow::Disconnect, Some(History { epoch: "e".into(), is_shared: true, ..History::default() }))
}

fn with_hub(events: usize, on_slow: OnSlow, history_before: Option<History>) -> World {
    let mut world = World::new();
    let history = Bounds { events, bytes: 1 << 20, age: Duration::from_secs(3600) };
    let total_history = Bounds { events: 10 * events, ..history };
    let settings = hub::Settings { on_slow, ..hub::Settings::new(history, total_history) };
    world.apply(Command::CreateHub {
        hub: HUB,
        epoch: Epoch::new("e", None),
        settings: Box::new(settings),
        history: history_before.map(Box::new),
    });
    world
}

/// Creates another hub.
pub(super) fn create_hub(world: &mut World, hub: HubId) {
    let history = Bounds { events: 9, bytes: 1 << 20, age: Duration::from_secs(3600) };
    let settings = Box::new(hub::Settings { on_slow: OnSlow::Gap, ..hub::Settings::new(history, history) });
    world.apply(Command::CreateHub { hub, epoch: Epoch::new("f", None), settings, history: None });
}

pub(super) fn publish(world: &mut World, seqs: std::ops::RangeInclusive<u64>) {
    publish_to(world, "c", seqs);
}

pub(super) fn publish_to(world: &mut World, channel: &str, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        publish_event(world, HUB, seq, channel, Shared::of(format!("{seq}.")));
    }
}

/// Publishes events, and has them sent.
pub(super) fn deliver(world: &mut World, seqs: std::ops::RangeInclusive<u64>) {
    publish(world, seqs);
    world.run_until_idle();
}

/// Publishes events with data.
pub(super) fn publish_lines(world: &mut World, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        publish_event(world, HUB, seq, "c", Shared::of(format!("data: {seq}\n\n")));
    }
}

pub(super) fn publish_event(world: &mut World, hub: HubId, seq: u64, channel: &str, event: Shared) {
    let (channel, key) = (channel.as_bytes().into(), Box::default());
    let event = Box::new(SequencedEvent { seq, channel, event, key, retain: Default::default(), has_custom_id: false });
    world.apply(Command::Publish { hub, event });
}

pub(super) fn subscribe(world: &mut World, stream: usize) {
    subscribe_to(world, stream, &["c"], SubscribeRequest::default());
}

/// Subscribes a stream to topics. Those with stars are patterns.
pub(super) fn subscribe_to(world: &mut World, stream: usize, topics: &[&str], request: SubscribeRequest) {
    subscribe_at(world, HUB, stream, SubscribeRequest { topics: self::topics(topics), ..request }, false);
}

/// Subscribes a stream to a hub. The subscription is held if `holds` is true, as by a handler that runs.
pub(super) fn subscribe_at(world: &mut World, hub: HubId, stream: usize, request: SubscribeRequest, holds: bool) {
    world.records[stream].is_subscribed = true;
    let (stream, request) = (world.records[stream].id, Box::new(request));
    world.apply(Command::Subscribe { hub, stream, request, holds });
}

pub(super) fn topics(texts: &[&str]) -> Vec<Topic> {
    let topic = |text: &&str| match text.contains('*') {
        true => Topic::Pattern(text.as_bytes().into()),
        false => Topic::Channel(text.as_bytes().into()),
    };
    texts.iter().map(topic).collect()
}

pub(super) fn numbers(seqs: std::ops::RangeInclusive<u64>) -> String {
    seqs.map(|seq| format!("{seq}.")).collect()
}

/// Opens a subscribed stream that has been sent its position.
pub(super) fn subscriber(world: &mut World, settings: Settings) -> usize {
    let stream = world.open(settings, "");
    subscribe(world, stream);
    world.run_until_idle();
    world.client(stream).take_received();
    stream
}

/// Takes what a client has received since the last call, when everything that can be is sent.
pub(super) fn take_received(world: &mut World, stream: usize) -> String {
    world.run_until_idle();
    String::from_utf8(world.client(stream).take_received()).expect("only text is sent")
}

pub(super) fn counts(world: &mut World) -> hub::Counts {
    let counts = world.ask(HUB, Question::count(*b"c")).reply().counted().expect("counts").hub;
    world.run_until_idle();
    counts
}
