//! What is sent, when, and to whom.

use super::*;

#[test]
fn a_stream_that_is_quiet_is_sent_a_comment_again_and_again() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.pass(Duration::from_secs(14));
    assert_eq!(world.received(stream), "head");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.received(stream), "head:\r\n\r\n");
    world.pass(Duration::from_secs(160));
    assert_eq!(world.received(stream).matches(":\r\n\r\n").count(), 11);
}

#[test]
fn a_time_without_end_is_a_time_as_any_other() {
    let mut world = World::new();
    let for_ever = Duration::MAX;
    let endless = Settings { keepalive: Some(for_ever), timeout: for_ever, retry: for_ever, ..settings() };
    let (waits, stuck) = (world.open_without_socket(endless, "head"), world.open(endless, "head"));
    let quiet = world.open(endless, "head");
    world.client(stuck).always = Some(Err(libc::EAGAIN));
    world.pass(Duration::from_secs(365 * 24 * 60 * 60));
    world.tell(Command::ShutDown { within: for_ever });
    world.pass(Duration::from_secs(1));
    assert_eq!([waits, stuck, quiet].map(|stream| world.accounts[stream].ended), [None, None, Some(Reason::Server)]);
}

#[test]
fn streams_that_are_quiet_are_looked_at_together() {
    let mut world = World::new();
    let streams: Vec<usize> = (0..500)
        .map(|_| {
            world.pass(Duration::from_millis(10));
            world.open(settings(), "head")
        })
        .collect();
    let mut wake_ups = 0;
    world.settle();
    let until = world.now + Duration::from_secs(20);
    while let Some(due) = world.reactor.next_due().filter(|due| *due <= until) {
        world.now = due;
        world.settle();
        wake_ups += 1;
    }
    assert!(streams.iter().all(|stream| world.received(*stream) == "head:\r\n\r\n"), "each has had its comment");
    assert!(wake_ups <= 24, "{wake_ups} wake-ups for streams of five seconds");
}

#[test]
fn a_stream_that_is_not_quiet_is_sent_no_comment() {
    let mut world = World::new();
    let stream = world.open(settings(), "");
    for _ in 0..10 {
        world.push(stream, b"x");
        world.pass(Duration::from_secs(14));
    }
    assert_eq!(world.received(stream), "x".repeat(10));
    let never = world.open(Settings { keepalive: None, ..settings() }, "head");
    world.pass(Duration::from_secs(100_000));
    assert_eq!(world.received(never), "head");
}

#[test]
fn a_comment_is_never_sent_into_an_event() {
    let mut world = World::new();
    let stream = world.open(Settings { timeout: Duration::from_secs(600), ..settings() }, "");
    world.client(stream).sends.push_back(Ok(3));
    world.push(stream, b"event");
    world.pass(Duration::from_secs(500));
    assert_eq!(world.received(stream), "eve");
    world.writable(stream);
    world.pass(Duration::from_secs(14));
    assert_eq!(world.received(stream), "event");
}

#[test]
fn a_client_that_takes_nothing_for_too_long_is_given_up_and_one_that_takes_a_little_is_not() {
    let mut world = World::new();
    let [dead, slow] = [(); 2].map(|()| world.open(settings(), "a long head"));
    for stream in [dead, slow] {
        world.client(stream).sends.push_back(Ok(1));
        world.client(stream).always = Some(Err(libc::EAGAIN));
    }
    for _ in 0..8 {
        world.pass(Duration::from_secs(50));
        world.client(slow).sends.push_back(Ok(1));
        world.writable(slow);
        world.settle();
    }
    assert_eq!([dead, slow].map(|stream| world.accounts[stream].ended), [Some(Reason::Timeout), None]);
    assert_eq!(world.received(slow), "a long he");
    assert!(world.longest_stall >= Duration::from_secs(50), "{:?}", world.longest_stall);
}

#[test]
fn a_socket_that_takes_no_more_is_left_alone_until_it_says_so() {
    for first in [Ok(2), Err(libc::EAGAIN)] {
        let mut world = World::new();
        let stream = world.open(settings(), "head");
        world.client(stream).sends.push_back(first);
        world.settle();
        assert!(world.client(stream).is_asked);
        for _ in 0..9 {
            world.push(stream, b"x");
            world.settle();
        }
        assert_eq!(world.client(stream).send_calls, 1);
        world.writable(stream);
        assert!(!world.client(stream).is_asked, "it is not asked for what is known");
        world.settle();
        assert_eq!(world.received(stream), "headxxxxxxxxx");
        assert_eq!(world.client(stream).send_calls, 2);
    }
}

#[test]
fn a_system_without_memory_is_asked_again_and_no_stream_ends() {
    for errno in [libc::ENOBUFS, libc::ENOMEM] {
        let mut world = World::new();
        let [stream, other] = [(); 2].map(|()| world.open(settings(), "head"));
        world.client(stream).sends.extend([Ok(1), Err(errno), Err(errno)]);
        world.settle();
        world.writable(stream);
        world.settle();
        assert_eq!((world.received(stream), world.received(other)), ("h".into(), "head".into()));
        world.pass(Duration::from_millis(150));
        assert_eq!((world.received(stream), world.accounts[stream].ended), ("head".into(), None), "{errno}");
        assert_eq!(world.client(stream).send_calls, 4, "it is not asked at every turn");
    }
}

#[test]
fn a_system_that_never_has_memory_is_a_client_that_takes_nothing() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.client(stream).always = Some(Err(libc::ENOBUFS));
    world.pass(Duration::from_secs(70));
    assert_eq!(world.accounts[stream].ended, Some(Reason::Timeout));
    assert!(world.client(stream).send_calls <= 70 * 20);
}

#[test]
fn an_interruption_is_no_error() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.client(stream).sends.extend([Err(libc::EINTR); 9]);
    world.settle();
    assert_eq!((world.received(stream), world.accounts[stream].ended), ("head".into(), None));
}

#[test]
fn no_event_is_dropped_before_the_socket_has_come() {
    let mut world = World::new();
    let stream = world.open_without_socket(Settings { drop_oldest: true, max_buffered: 10, ..settings() }, "head");
    for number in 0..9 {
        world.push(stream, format!("event {number}").as_bytes());
        world.settle();
    }
    assert_eq!(world.accounts[stream].lost.events, 0);
    let client = world.attach(stream);
    world.reactor.io().clients[client].sends.push_back(Ok(4 + 3));
    world.settle();
    assert_eq!((world.received(stream), world.accounts[stream].lost.events), ("headeve".into(), 0));
    // From here on the limit counts: what is partly sent stays, and so does the newest event.
    world.push(stream, b"event 9");
    world.writable(stream);
    world.settle();
    assert_eq!((world.received(stream), world.accounts[stream].lost.events), ("headevent 0event 9".into(), 8));
}

#[test]
fn many_events_are_one_call_and_very_many_take_turns() {
    let mut world = World::new();
    let [busy, other] = [(); 2].map(|()| world.open(settings(), ""));
    for _ in 0..GATHERED {
        world.push(busy, b"x");
    }
    world.settle();
    assert_eq!(world.client(busy).send_calls, 1);
    for _ in 0..5 * GATHERED {
        world.push(busy, b"y");
    }
    world.push(other, b"z");
    world.turn();
    assert_eq!((world.client(busy).send_calls, world.received(other)), (1 + 4, "z".into()));
    assert!(world.reactor.is_busy());
    world.settle();
    assert_eq!(world.received(busy), "x".repeat(GATHERED) + &"y".repeat(5 * GATHERED));
    assert_eq!(world.client(busy).most_blocks, GATHERED);
}

#[test]
fn a_time_that_is_late_is_late_by_a_sixteenth_at_most() {
    for seconds in [1, 15, 60, 3600] {
        let mut world = World::new();
        world.pass(Duration::from_millis(777));
        let quiet = Duration::from_secs(seconds);
        let stream = world.open(Settings { keepalive: Some(quiet), ..settings() }, "");
        world.pass(quiet - Duration::from_millis(1));
        assert_eq!(world.received(stream), "");
        world.pass(quiet / 16 + Duration::from_millis(3));
        assert_eq!(world.received(stream), ":\r\n\r\n", "{seconds}");
    }
}

#[test]
fn timers_do_not_pile_up() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.settle();
    for _ in 0..200 {
        world.client(stream).sends.extend([Err(libc::ENOBUFS), Ok(usize::MAX)]);
        world.push(stream, b"x");
        world.pass(Duration::from_millis(100));
    }
    world.pass(Duration::from_secs(70));
    assert_eq!(world.received(stream).matches('x').count(), 200);
    assert_eq!(world.reactor.timers.len(), 1);
}
