//! Tests of the shutdown: what each client is sent, and when the shutdown is complete.

use super::*;

fn shut_down(world: &mut World, within: Duration) {
    world.apply(Command::ShutDown { within });
}

#[test]
fn a_stream_opened_during_or_after_a_shutdown_is_refused() {
    for streams_before in 0..3 {
        let mut world = World::new();
        for _ in 0..streams_before {
            world.open(settings(), "head");
        }
        world.run_until_idle();
        shut_down(&mut world, Duration::from_secs(10));
        for is_over in [false, true] {
            let late = world.open(settings(), "head");
            world.run_until_idle();
            assert_eq!(world.records[late].ended, Some(Reason::Server), "{streams_before} {is_over}");
            assert!(world.received(late).starts_with("headretry: "));
            world.advance(Duration::from_secs(5));
        }
        assert!(world.reactor.has_shut_down());
    }
}

#[test]
fn a_shutdown_without_time_sends_what_the_socket_takes() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.push(stream, b"event");
    shut_down(&mut world, Duration::ZERO);
    world.run_until_idle();
    assert!(world.received(stream).starts_with("headeventretry: "), "{}", world.received(stream));
    assert_eq!((world.records[stream].ended, world.reactor.has_shut_down()), (Some(Reason::Server), true));
}

#[test]
fn a_second_shutdown_can_shorten_the_time_and_sends_no_second_retry() {
    for (first, second) in [(10, 2), (2, 10)] {
        let mut world = World::new();
        let (stuck, quick) = (world.open(settings(), "head"), world.open(settings(), "head"));
        world.client(stuck).default_send = Some(Err(libc::EAGAIN));
        shut_down(&mut world, Duration::from_secs(first));
        shut_down(&mut world, Duration::from_secs(second));
        world.advance(Duration::from_millis(1900));
        assert_eq!((world.records[stuck].ended, world.reactor.has_shut_down()), (None, false));
        world.advance(Duration::from_millis(200));
        assert_eq!((world.records[stuck].ended, world.reactor.has_shut_down()), (Some(Reason::Server), true));
        assert_eq!(world.received(quick).matches("retry").count(), 1);
    }
}

/// Splits what a client received into its `retry` time and the rest.
fn retry_in(text: &str) -> (u64, String) {
    let at = text.find("retry: ").unwrap_or_else(|| panic!("no retry in {text:?}"));
    let end = at + text[at..].find("\n").expect("it ends");
    (text[at + 7..end].parse().expect("a number"), format!("{}{}", &text[..at], &text[end..]))
}

#[test]
fn each_client_is_sent_a_random_retry_between_one_and_two_times_the_setting() {
    for retry in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(3), Duration::from_secs(86_400)] {
        let mut world = World::new();
        let streams: Vec<usize> = (0..200).map(|_| world.open(Settings { retry, ..settings() }, "head")).collect();
        shut_down(&mut world, Duration::from_secs(10));
        world.advance(Duration::from_secs(1));
        let times: Vec<u64> = streams.iter().map(|stream| retry_in(&world.received(*stream)).0).collect();
        let least = (retry.as_millis() as u64).max(1);
        assert!(times.iter().all(|time| (least..=2 * least).contains(time)), "{times:?}");
        if least > 1000 {
            let (low, high) = (least + least / 3, least + 2 * least / 3);
            assert!(times.iter().any(|time| *time < low) && times.iter().any(|time| *time > high), "{times:?}");
        }
        assert!(streams.iter().all(|stream| retry_in(&world.received(*stream)).1 == "head\n"));
    }
}

#[test]
fn a_shutdown_spreads_the_ends_of_its_streams_and_completes() {
    for (count, within) in [(1_usize, 1000), (100, 1000), (1000, 1000), (100, 10)] {
        if cfg!(miri) && count > 10 {
            continue; // the time grows with the square of the count
        }
        let mut world = World::new();
        for _ in 0..count {
            world.open(settings(), "head");
        }
        world.run_until_idle();
        let began = world.now;
        shut_down(&mut world, Duration::from_millis(within));
        let mut most_at_once = 0;
        while !world.reactor.has_shut_down() {
            let open = world.reactor.open_streams;
            let due = world.reactor.next_due().expect("something is due until the end");
            world.now = world.now.max(due);
            world.run_until_idle();
            most_at_once = most_at_once.max(open - world.reactor.open_streams);
        }
        let took = world.now - began;
        assert!(took <= Duration::from_millis(within / 2), "{count}: {took:?}");
        assert!(most_at_once <= count.div_ceil(within as usize / 2).max(1) + 1, "{count}: {most_at_once} at once");
        assert!(world.records.iter().all(|record| record.ended == Some(Reason::Server)));
        world.advance(Duration::from_secs(60));
        assert!(world.reactor.has_shut_down());
    }
}

#[test]
fn a_shutdown_without_streams_completes_at_once() {
    let mut world = World::new();
    shut_down(&mut world, Duration::from_secs(10));
    world.turn();
    assert!(world.reactor.has_shut_down());
    // A second shutdown completes again.
    world.advance(Duration::from_secs(20));
    shut_down(&mut world, Duration::from_secs(10));
    assert!(!world.reactor.has_shut_down());
    world.turn();
    assert!(world.reactor.has_shut_down());
}

#[test]
fn a_shutdown_sends_pushed_events_until_its_time_is_up() {
    let mut world = World::new();
    let [first, last, stuck, unattached, ending] = [(); 5].map(|()| world.open_without_socket(settings(), "head"));
    for stream in [first, last, stuck, ending] {
        world.attach(stream);
    }
    for stream in [stuck, ending] {
        world.client(stream).default_send = Some(Err(libc::EAGAIN));
    }
    world.end(ending, Reason::Application, Ending::Flush);
    world.run_until_idle();
    shut_down(&mut world, Duration::from_secs(10));
    for stream in [first, last, stuck, unattached, ending] {
        world.push(stream, b"event");
    }
    world.advance(Duration::from_secs(5));
    assert!(world.received(last).ends_with("\nevent"), "{}", world.received(last));
    assert_eq!((world.reactor.has_shut_down(), world.records[last].ended), (false, Some(Reason::Server)));
    world.advance(Duration::from_secs(5));
    assert!(world.reactor.has_shut_down());
    let ends = [first, last, stuck, unattached, ending].map(|stream| world.records[stream].ended);
    let server = Some(Reason::Server);
    assert_eq!(ends, [server, server, server, server, Some(Reason::Application)]);
    assert_eq!(world.records[stuck].lost.events, 1);
    assert!(world.records.iter().all(|record| record.is_closed), "every stream is closed when the time is up");
}
