//! The end of the process: who is told what, and when it is over.

use super::*;

fn finish(world: &mut World, within: Duration) {
    world.tell(Command::ShutDown { within });
}

#[test]
fn a_stream_that_is_opened_at_the_end_of_the_process_is_sent_away() {
    for streams_before in 0..3 {
        let mut world = World::new();
        for _ in 0..streams_before {
            world.open(settings(), "head");
        }
        world.settle();
        finish(&mut world, Duration::from_secs(10));
        for is_over in [false, true] {
            let late = world.open(settings(), "head");
            world.settle();
            assert_eq!(world.accounts[late].ended, Some(Reason::Server), "{streams_before} {is_over}");
            assert!(world.received(late).starts_with("headretry: "));
            world.pass(Duration::from_secs(5));
        }
        assert_eq!(world.finished, 1);
    }
}

#[test]
fn a_time_that_is_up_at_once_still_sends_what_the_system_takes() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.push(stream, b"event");
    finish(&mut world, Duration::ZERO);
    world.settle();
    assert!(world.received(stream).starts_with("headeventretry: "), "{}", world.received(stream));
    assert_eq!((world.accounts[stream].ended, world.finished), (Some(Reason::Server), 1));
}

#[test]
fn finishing_twice_takes_the_shorter_time_and_tells_no_client_twice() {
    for (first, second) in [(10, 2), (2, 10)] {
        let mut world = World::new();
        let (stuck, quick) = (world.open(settings(), "head"), world.open(settings(), "head"));
        world.client(stuck).always = Some(Err(libc::EAGAIN));
        finish(&mut world, Duration::from_secs(first));
        finish(&mut world, Duration::from_secs(second));
        world.pass(Duration::from_millis(1900));
        assert_eq!((world.accounts[stuck].ended, world.finished), (None, 0));
        world.pass(Duration::from_millis(200));
        assert_eq!((world.accounts[stuck].ended, world.finished), (Some(Reason::Server), 1));
        assert_eq!(world.received(quick).matches("retry").count(), 1);
    }
}

/// The times that clients were told, and the rest of what they received.
fn retry_in(text: &str) -> (u64, String) {
    let at = text.find("retry: ").unwrap_or_else(|| panic!("no retry in {text:?}"));
    let end = at + text[at..].find("\r\n").expect("it ends");
    (text[at + 7..end].parse().expect("a number"), format!("{}{}", &text[..at], &text[end..]))
}

#[test]
fn every_client_is_told_a_time_of_its_own_between_the_least_and_twice_as_much() {
    for retry in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(3), Duration::from_secs(86_400)] {
        let mut world = World::new();
        let streams: Vec<usize> = (0..200).map(|_| world.open(Settings { retry, ..settings() }, "head")).collect();
        finish(&mut world, Duration::from_secs(10));
        world.pass(Duration::from_secs(1));
        let told: Vec<u64> = streams.iter().map(|stream| retry_in(&world.received(*stream)).0).collect();
        let least = (retry.as_millis() as u64).max(1);
        assert!(told.iter().all(|time| (least..=2 * least).contains(time)), "{told:?}");
        if least > 1000 {
            let (low, high) = (least + least / 3, least + 2 * least / 3);
            assert!(told.iter().any(|time| *time < low) && told.iter().any(|time| *time > high), "{told:?}");
        }
        assert!(streams.iter().all(|stream| retry_in(&world.received(*stream)).1 == "head\r\n\r\n"));
    }
}

#[test]
fn streams_end_one_by_one_and_the_end_is_told_once() {
    for (count, within) in [(1_usize, 1000), (100, 1000), (1000, 1000), (100, 10)] {
        if cfg!(miri) && count > 10 {
            continue; // it takes as long as the square of them
        }
        let mut world = World::new();
        for _ in 0..count {
            world.open(settings(), "head");
        }
        world.settle();
        let began = world.now;
        finish(&mut world, Duration::from_millis(within));
        let mut most_at_once = 0;
        while world.finished == 0 {
            let open = world.reactor.open_streams;
            let due = world.reactor.next_due().expect("something is due until the end");
            world.now = world.now.max(due);
            world.settle();
            most_at_once = most_at_once.max(open - world.reactor.open_streams);
        }
        let took = world.now - began;
        assert!(took <= Duration::from_millis(within / 2), "{count}: {took:?}");
        assert!(most_at_once <= count.div_ceil(within as usize / 2).max(1) + 1, "{count}: {most_at_once} at once");
        assert!(world.accounts.iter().all(|account| account.ended == Some(Reason::Server)));
        world.pass(Duration::from_secs(60));
        assert_eq!(world.finished, 1);
    }
}

#[test]
fn without_streams_the_end_is_there_at_once() {
    let mut world = World::new();
    finish(&mut world, Duration::from_secs(10));
    world.turn();
    assert_eq!(world.finished, 1);
    // And once more, if it is asked for once more.
    world.pass(Duration::from_secs(20));
    assert_eq!(world.finished, 1);
    finish(&mut world, Duration::from_secs(10));
    world.turn();
    assert_eq!(world.finished, 2);
}

#[test]
fn what_is_pushed_before_its_end_is_sent_and_what_has_not_been_sent_in_time_is_lost() {
    let mut world = World::new();
    let [first, last, stuck, unattached, ending] = [(); 5].map(|()| world.open_without_socket(settings(), "head"));
    for stream in [first, last, stuck, ending] {
        world.attach(stream);
    }
    for stream in [stuck, ending] {
        world.client(stream).always = Some(Err(libc::EAGAIN));
    }
    world.end(ending, Reason::Application, Ending::Flush);
    world.settle();
    finish(&mut world, Duration::from_secs(10));
    for stream in [first, last, stuck, unattached, ending] {
        world.push(stream, b"event");
    }
    world.pass(Duration::from_secs(5));
    assert!(world.received(last).ends_with("\r\n\r\nevent"), "{}", world.received(last));
    assert_eq!((world.finished, world.accounts[last].ended), (0, Some(Reason::Server)));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.finished, 1);
    let ends = [first, last, stuck, unattached, ending].map(|stream| world.accounts[stream].ended);
    let server = Some(Reason::Server);
    assert_eq!(ends, [server, server, server, server, Some(Reason::Application)]);
    assert_eq!(world.accounts[stuck].lost.events, 1);
    assert!(world.accounts.iter().all(|account| account.is_closed), "nobody is waited for any longer");
}
