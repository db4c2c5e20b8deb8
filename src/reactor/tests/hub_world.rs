//! The fixture of a hub's tests: a [`World`] with a hub, its subscribers and its publications.

use super::*;
use crate::event::Shared;
use crate::hub::{self, Epoch, History, OnSlow, Publication, SubscribeRequest, Topic};
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

/// Creates a second hub.
pub(super) fn another_hub(world: &mut World) -> HubId {
    let history = Bounds { events: 9, bytes: 1 << 20, age: Duration::from_secs(3600) };
    let other = hub::Settings { on_slow: OnSlow::Gap, ..hub::Settings::new(history, history) };
    world.apply(Command::CreateHub {
        hub: HUB + 1,
        epoch: Epoch::new("f", None),
        settings: Box::new(other),
        history: None,
    });
    HUB + 1
}

pub(super) fn publish(world: &mut World, seqs: std::ops::RangeInclusive<u64>) {
    publish_to(world, "c", seqs);
}

pub(super) fn publish_to(world: &mut World, channel: &str, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let text = format!("{seq}.");
        let event = Shared::of(text);
        let publication = Publication {
            seq,
            channel: channel.as_bytes().into(),
            event,
            key: (*b"").into(),
            retain: Default::default(),
            id: None,
        };
        world.apply(Command::Publish { hub: HUB, publication: Box::new(publication) });
    }
}

pub(super) fn subscribe(world: &mut World, stream: usize) {
    world.records[stream].is_subscribed = true;
    let topics = vec![Topic::Channel((*b"c").into())];
    let request = Box::new(SubscribeRequest { topics, ..Default::default() });
    world.apply(Command::Subscribe { hub: HUB, stream: world.records[stream].id, request, holds: false });
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

/// Takes what a client has received since the last call.
pub(super) fn take_received(world: &mut World, stream: usize) -> String {
    String::from_utf8(world.client(stream).take_received()).expect("only text is sent")
}

pub(super) fn counts(world: &mut World) -> hub::Counts {
    world.apply(Command::Count { hub: HUB, request_id: 1, channel: (*b"c").into() });
    world.run_until_idle();
    world.counts.expect("the reactor has answered")
}

/// Publishes events with data.
pub(super) fn publish_lines(world: &mut World, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let text = format!("data: {seq}\n\n");
        let event = Shared::of(text);
        let publication = Publication {
            seq,
            channel: (*b"c").into(),
            event,
            key: (*b"").into(),
            retain: Default::default(),
            id: None,
        };
        world.apply(Command::Publish { hub: HUB, publication: Box::new(publication) });
    }
}
