//! Tests of draining and closing a hub, and of the streams that end with it.

use super::hub_world::*;
use super::*;

#[test]
fn a_drained_hub_ends_its_streams_one_by_one_and_refuses_new_ones() {
    let mut world = with_history(10);
    let streams: Vec<usize> = (0..10).map(|_| subscriber(&mut world, settings())).collect();
    let other = world.open(settings(), "");
    deliver(&mut world, 1..=1);
    world.apply(Command::Drain { hub: HUB, within: Duration::from_secs(10) });
    world.advance(Duration::from_millis(4500));
    let ended = |world: &World| streams.iter().filter(|stream| world.records[**stream].ended.is_some()).count();
    assert_eq!(ended(&world), 5);
    publish(&mut world, 2..=2);
    world.advance(Duration::from_secs(6));
    assert_eq!(ended(&world), 10);
    for (number, stream) in streams.iter().enumerate() {
        let events = if number < 5 { "1." } else { "1.2." };
        let text = take_received(&mut world, *stream);
        let text = text.replace("\n:\n", "\n").replace(".:\n", ".");
        // The id of the last event is the position, so the last block has none.
        let start = format!("{events}retry: ");
        assert!(text.starts_with(&start) && text.matches("\n").count() == 2, "{text:?}");
        assert_eq!(world.records[*stream].ended, Some(Reason::Server));
    }
    subscribe(&mut world, other);
    world.run_until_idle();
    assert_eq!(world.records[other].ended, Some(Reason::Server));
    assert!(take_received(&mut world, other).starts_with("retry: "));
    assert_eq!(counts(&mut world).streams, 0);
    world.apply(Command::SetDraining { hub: HUB, is_draining: false });
    let again = subscriber(&mut world, settings());
    publish(&mut world, 3..=3);
    assert!(take_received(&mut world, again).ends_with("3."));
    assert_eq!((world.records[again].ended, counts(&mut world).streams), (None, 1));
}

#[test]
fn an_ending_stream_receives_earlier_events() {
    type End = fn(&mut World, usize);
    let closes: End = |world, stream| world.end(stream, Reason::Application, Ending::Flush);
    let hub_leaves: End = |world, _| world.apply(Command::CloseHub { hub: HUB });
    let process_ends: End = |world, _| world.apply(Command::ShutDown { within: Duration::from_secs(5) });
    let is_refused: End = |world, stream| world.apply(Command::Refuse { stream: world.records[stream].id });
    for end in [closes, hub_leaves, process_ends, is_refused] {
        for is_slow in [false, true] {
            let mut world = with_history(10);
            let stream = subscriber(&mut world, Settings { framing: Framing::Chunked, ..settings() });
            if is_slow {
                world.client(stream).sends.push_back(Ok(3));
            }
            publish(&mut world, 1..=1);
            if is_slow {
                world.run_until_idle();
            }
            publish(&mut world, 2..=2);
            end(&mut world, stream);
            deliver(&mut world, 3..=3);
            if is_slow {
                world.writable(stream);
            }
            world.advance(Duration::from_secs(1));
            assert!(world.records[stream].ended.is_some());
            let text = take_received(&mut world, stream);
            let [first, second] = ["2\r\n1.\r\n", "2\r\n2.\r\n"].map(|event| text.find(event).expect(&text));
            assert!(first < second && text.ends_with("\r\n0\r\n\r\n"), "{text:?}");
        }
    }
}

#[test]
fn a_closed_hub_without_streams_is_dropped_at_once() {
    let mut world = with_history(10);
    for hub in 1..1000 {
        create_hub(&mut world, hub);
        world.apply(Command::CloseHub { hub });
    }
    assert_eq!(world.reactor.hubs.0.len(), 1);
}

#[test]
fn a_closed_hub_remains_until_its_last_stream_is_sent_everything() {
    let mut world = with_history(10);
    let [slow, quick] = [(); 2].map(|()| subscriber(&mut world, settings()));
    world.client(slow).default_send = Some(Err(libc::EAGAIN));
    publish(&mut world, 1..=3);
    world.apply(Command::CloseHub { hub: HUB });
    assert!(take_received(&mut world, quick).starts_with("retry: "));
    assert_eq!((world.records[quick].ended, world.reactor.hubs.0.len()), (Some(Reason::Application), 1));
    let late = world.open(settings(), "");
    subscribe(&mut world, late);
    world.run_until_idle();
    assert_eq!(world.records[late].ended, Some(Reason::Server), "a closed hub refuses subscribers");
    world.unblock(slow);
    assert!(take_received(&mut world, slow).ends_with("1.2.3."));
    assert_eq!((world.records[slow].ended, world.reactor.hubs.0.len()), (Some(Reason::Application), 0));
}
