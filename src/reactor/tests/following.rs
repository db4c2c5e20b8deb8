//! Streams that follow a hub, as the thread of the reactor sees to them.

use super::*;
use crate::event::Shared;
use crate::hub::{self, OnSlow, Publication, Request, Start, Topic};
use crate::log::Bounds;

const HUB: u32 = 0;

/// A world with a hub that remembers so many events.
fn with_history(events: usize) -> World {
    let mut world = World::new();
    let history = Bounds { events, bytes: 1 << 20, age: Duration::from_secs(3600) };
    let settings =
        hub::Settings { history, history_in_all: history, on_slow: OnSlow::Disconnect, gap_event: "gap".into() };
    world.tell(Command::Hub { hub: HUB, epoch: "e".into(), settings: Box::new(settings) });
    world
}

fn publish(world: &mut World, places: std::ops::RangeInclusive<u64>) {
    for place in places {
        let text = format!("{place}.");
        let event = Shared::write(text.len(), |out| {
            out.copy_from_slice(text.as_bytes());
            text.len()
        });
        let publication = Publication { place, channel: (*b"c").into(), event, key: (*b"").into(), id: None };
        world.tell(Command::Publish { hub: HUB, publication: Box::new(publication) });
    }
}

fn follow(world: &mut World, stream: usize) {
    let topics = vec![Topic::Channel((*b"c").into())];
    let request = Box::new(Request { topics, after: None, start: Start::Newest });
    world.tell(Command::Follow { hub: HUB, stream: world.accounts[stream].id, request });
}

fn numbers(places: std::ops::RangeInclusive<u64>) -> String {
    places.map(|place| format!("{place}.")).collect()
}

#[test]
fn who_keeps_up_misses_nothing_however_short_the_history_is() {
    for (history, burst) in [(0, 1), (1, 20), (10, 20), (10, 512), (100, 5000)] {
        let mut world = with_history(history);
        let stream = world.open(settings(), "");
        follow(&mut world, stream);
        publish(&mut world, 1..=burst);
        world.settle();
        publish(&mut world, burst + 1..=2 * burst);
        world.settle();
        assert_eq!(world.accounts[stream].ended, None, "{history} {burst}");
        assert_eq!(world.received(stream), format!("id: e-0\n\n{}", numbers(1..=2 * burst)));
    }
}

#[test]
fn that_somebody_comes_makes_nobody_miss_anything() {
    let mut world = with_history(3);
    let stream = world.open(settings(), "");
    follow(&mut world, stream);
    publish(&mut world, 1..=10);
    let other = world.open(settings(), "");
    follow(&mut world, other);
    publish(&mut world, 11..=20);
    world.settle();
    assert_eq!(world.received(stream), format!("id: e-0\n\n{}", numbers(1..=20)));
    assert_eq!(world.received(other), format!("id: e-10\n\n{}", numbers(11..=20)));
}

#[test]
fn a_client_that_takes_nothing_is_not_kept_more_for_each_time_that_its_stream_follows_something_else() {
    let settings = Settings { max_buffered: 1000, ..settings() };
    let other = || vec![Topic::Channel((*b"other").into())];
    for takes_nothing in [true, false] {
        let mut world = with_history(10);
        let stream = world.open(settings, "");
        let id = world.accounts[stream].id;
        world.accounts[stream].follows = true;
        world.reactor.io().clients[stream].always = takes_nothing.then_some(Err(libc::EAGAIN));
        follow(&mut world, stream);
        for burst in 0..1000 {
            publish(&mut world, 5 * burst + 1..=5 * burst + 5);
            world.settle();
            let request = Box::new(Request { topics: other(), after: None, start: Start::Newest });
            world.tell(Command::Follow { hub: HUB, stream: id, request });
            world.tell(Command::Unfollow { stream: id, topics: Some(other().into()) });
            let account = &world.accounts[stream];
            assert!(account.added_bytes <= account.sent.bytes + account.lost.bytes + 1000 + 1000, "{burst}");
        }
        assert_eq!(world.accounts[stream].ended, Some(Reason::Slow).filter(|_| takes_nothing));
    }
}

#[test]
fn nothing_is_left_of_hubs_that_are_dropped() {
    let mut world = with_history(10);
    for hub in 1..1000 {
        let settings = hub::Settings {
            history: Bounds { events: 1, bytes: 1, age: Duration::ZERO },
            history_in_all: Bounds { events: 1, bytes: 1, age: Duration::ZERO },
            on_slow: OnSlow::Gap,
            gap_event: "gap".into(),
        };
        world.tell(Command::Hub { hub, epoch: "e".into(), settings: Box::new(settings) });
        world.tell(Command::Leave { hub });
    }
    assert_eq!(world.reactor.hubs.len(), 1);
}
