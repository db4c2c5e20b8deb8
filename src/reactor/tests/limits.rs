//! Tests of the limits of streams that have a label in common.

use super::hub_world::*;
use super::*;
use crate::hub::{Access, Call, Reply, StreamLimit, SubscribeRequest, RESERVED};

const KEY: &[u8] = b"\0=key";

fn may_begin(world: &mut World, most: usize) -> bool {
    may_begin_at(world, most, 0)
}

fn may_begin_at(world: &mut World, most: usize, asked_at: u64) -> bool {
    world.call(HUB, Call::Reserve { label: KEY.into(), most, asked_at }, 0) == Reply::Number(1)
}

fn begin(world: &mut World) -> usize {
    let stream = world.open(settings(), "");
    subscribe_counted(world, stream);
    stream
}

fn subscribe_counted(world: &mut World, stream: usize) {
    let access = Access { labels: vec![KEY.into()], ..Access::default() };
    let request = SubscribeRequest { topics: topics(&["c"]), access, ..Default::default() };
    subscribe_at(world, HUB, stream, request, false);
}

#[test]
fn a_reservation_counts_until_its_stream_does_also_after_an_upgrade() {
    for upgrades in [false, true] {
        let mut world = with_history(10);
        let upgrade = |world: &mut World| {
            if upgrades {
                world.upgrade();
            }
        };
        assert!(may_begin(&mut world, 2) && may_begin(&mut world, 2));
        upgrade(&mut world);
        assert!(!may_begin(&mut world, 2), "two requests at once have both places");
        let streams = [begin(&mut world), begin(&mut world)];
        upgrade(&mut world);
        world.advance(RESERVED * 2);
        assert!(!may_begin(&mut world, 2), "both streams are open");
        world.end(streams[0], Reason::Client, Ending::Discard);
        world.run_until_idle();
        assert!(may_begin(&mut world, 2), "one has left");
        assert!(!may_begin(&mut world, 2), "the next has its place");
        assert_eq!(counts(&mut world).limited, 3);
    }
}

#[test]
fn a_stream_that_subscribes_without_a_place_ends_and_its_client_comes_back_later() {
    for upgrades in [false, true] {
        let mut world = with_history(10);
        assert!(may_begin_at(&mut world, 3, 1));
        let streams: Vec<usize> = (0..6)
            .map(|number| {
                let stream = world.open(settings(), "");
                let limits = vec![StreamLimit { label: KEY.into(), most: 3 }];
                let access = Access { labels: vec![KEY.into()], limits, asked_at: number, ..Access::default() };
                let request = SubscribeRequest { topics: topics(&["c"]), access, ..Default::default() };
                subscribe_at(&mut world, HUB, stream, request, false);
                world.run_until_idle();
                if upgrades {
                    world.upgrade();
                }
                stream
            })
            .collect();
        let ended = streams.iter().map(|stream| world.records[*stream].ended).collect::<Vec<_>>();
        let limited = Some(Reason::Server);
        assert_eq!(
            ended,
            [None, None, None, limited, limited, limited],
            "the second one has the place that was reserved"
        );
        let retry = world.received(streams[5]);
        let retry = retry.split("retry: ").nth(1).and_then(|text| text.split('\n').next()).map(str::parse::<u64>);
        assert!(matches!(retry, Some(Ok(10_000..=30_000))), "{retry:?}");
        assert_eq!(counts(&mut world).limited, 3);
        world.end(streams[0], Reason::Client, Ending::Discard);
        world.run_until_idle();
        assert!(may_begin(&mut world, 3), "one has left");
    }
}

#[test]
fn a_reservation_without_a_stream_expires() {
    let mut world = with_history(10);
    assert!(may_begin(&mut world, 1) && !may_begin(&mut world, 1));
    world.advance(RESERVED);
    assert!(may_begin(&mut world, 1));
}

#[test]
fn a_stream_that_has_ended_before_it_subscribes_gives_its_place_back() {
    let mut world = with_history(10);
    assert!(may_begin(&mut world, 1));
    let stream = world.open(settings(), "");
    world.end(stream, Reason::Client, Ending::Flush);
    subscribe_counted(&mut world, stream);
    world.run_until_idle();
    assert!(may_begin(&mut world, 1));
}

#[test]
fn a_stream_neither_takes_nor_gives_back_the_place_of_another_one() {
    for subscribes in [false, true] {
        let mut world = with_history(10);
        assert!(may_begin_at(&mut world, 2, 1));
        match subscribes {
            // It begins without the answer.
            true => drop(begin(&mut world)),
            false => drop(may_begin_at(&mut world, 0, 2)),
        }
        assert_eq!(may_begin_at(&mut world, 2, 3), !subscribes);
        may_begin_at(&mut world, 0, 1);
        assert!(may_begin_at(&mut world, 2, 4), "the place of the first is free");
        assert!(!may_begin_at(&mut world, 2, 5));
    }
}

#[test]
fn a_stream_that_was_ending_before_an_upgrade_is_counted_until_it_has_ended() {
    let mut world = with_history(10);
    let stream = world.open(settings(), "the rest");
    world.client(stream).default_send = Some(Err(libc::EAGAIN));
    world.run_until_idle();
    let count =
        |world: &World| Command::CountStream { hub: HUB, stream: world.records[stream].id, labels: vec![KEY.into()] };
    world.apply(count(&world));
    world.end(stream, Reason::Application, Ending::HandedOver { is_by_application: true });
    world.run_until_idle();
    assert!(!may_begin(&mut world, 1));
    world.client(stream).default_send = None;
    world.writable(stream);
    world.run_until_idle();
    world.apply(count(&world)); // it has ended meanwhile
    assert!(may_begin(&mut world, 1));
}

#[test]
fn thousands_of_keys_that_come_and_go_leave_nothing() {
    let mut world = with_history(10);
    let reserve = |world: &mut World, number: u32, kind: &str| {
        let label: Box<[u8]> = format!("\0={kind}{number}").into_bytes().into();
        assert_eq!(world.call(HUB, Call::Reserve { label: label.clone(), most: 1, asked_at: 0 }, 0), Reply::Number(1));
        label
    };
    for number in 0..3000 {
        reserve(&mut world, number, "left before it subscribed");
        let access = Access { labels: vec![reserve(&mut world, number, "")], ..Access::default() };
        let request = SubscribeRequest { topics: topics(&["c"]), access, ..Default::default() };
        let stream = world.open(settings(), "");
        subscribe_at(&mut world, HUB, stream, request, false);
        world.end(stream, Reason::Client, Ending::Discard);
    }
    world.run_until_idle();
    let is_at_rest = |world: &World| world.reactor.hubs.get(HUB).expect("the hub").is_at_rest();
    assert!(!is_at_rest(&world), "some places are still to be taken");
    world.advance(RESERVED);
    let access = Access { labels: vec![reserve(&mut world, 0, "")], ..Access::default() };
    let request = SubscribeRequest { topics: topics(&["c"]), access, ..Default::default() };
    let last = world.open(settings(), "");
    subscribe_at(&mut world, HUB, last, request, false);
    world.end(last, Reason::Client, Ending::Discard);
    world.run_until_idle();
    assert!(is_at_rest(&world));
}
