//! Tests of sending: keepalives, timeouts, blocked sockets, gathered writes, timers.

use super::*;

#[test]
fn a_quiet_stream_is_sent_a_keepalive_at_each_interval() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.advance(Duration::from_secs(14));
    assert_eq!(world.received(stream), "head");
    world.advance(Duration::from_secs(2));
    assert_eq!(world.received(stream), "head:\n");
    world.advance(Duration::from_secs(160));
    assert_eq!(world.received(stream).matches(":\n").count(), 11);
}

#[test]
fn a_socket_that_comes_later_is_uncorked_when_what_waits_for_it_is_sent() {
    let mut world = World::new();
    let [full, quiet, stuck, closed] = ["opening", "", "opening", "opening"].map(|head| {
        let stream = world.open_without_socket(settings(), head);
        world.push(stream, if head.is_empty() { b"" } else { b"event" });
        stream
    });
    world.end(closed, Reason::Application, Ending::Flush);
    world.attach_with(stuck, |client| client.default_send = Some(Err(libc::EAGAIN)));
    [full, quiet, closed].iter().for_each(|stream| {
        world.attach(*stream);
    });
    let uncorked = [full, quiet, stuck, closed].map(|stream| world.client(stream).uncorked_at);
    assert_eq!(uncorked, [Some(12), Some(0), Some(0), Some(12)]);
    world.run_until_idle();
}

#[test]
fn settings_with_an_infinite_time_do_not_overflow() {
    let mut world = World::new();
    let forever = Duration::MAX;
    let endless = Settings { keepalive: Some(forever), timeout: forever, retry: forever, ..settings() };
    let (unattached, stuck) = (world.open_without_socket(endless, "head"), world.open(endless, "head"));
    let quiet = world.open(endless, "head");
    world.client(stuck).default_send = Some(Err(libc::EAGAIN));
    world.advance(Duration::from_secs(365 * 24 * 60 * 60));
    world.apply(Command::ShutDown { within: forever });
    world.advance(Duration::from_secs(1));
    assert_eq!(
        [unattached, stuck, quiet].map(|stream| world.records[stream].ended),
        [None, None, Some(Reason::Server)]
    );
}

#[test]
fn quiet_streams_wake_the_reactor_together() {
    let mut world = World::new();
    let streams: Vec<usize> = (0..500)
        .map(|_| {
            world.advance(Duration::from_millis(10));
            world.open(settings(), "head")
        })
        .collect();
    let mut wake_ups = 0;
    world.run_until_idle();
    let until = world.now + Duration::from_secs(20);
    while let Some(due) = world.reactor.next_due().filter(|due| *due <= until) {
        world.now = due;
        world.run_until_idle();
        wake_ups += 1;
    }
    assert!(streams.iter().all(|stream| world.received(*stream) == "head:\n"), "each stream is sent its keepalive");
    assert!(wake_ups <= 24, "{wake_ups} wake-ups for streams that were opened within five seconds");
}

#[test]
fn a_busy_stream_is_sent_no_keepalive() {
    let mut world = World::new();
    let stream = world.open(settings(), "");
    for _ in 0..10 {
        world.push(stream, b"x");
        world.advance(Duration::from_secs(14));
    }
    assert_eq!(world.received(stream), "x".repeat(10));
    let never = world.open(Settings { keepalive: None, ..settings() }, "head");
    world.advance(Duration::from_secs(100_000));
    assert_eq!(world.received(never), "head");
}

#[test]
fn a_keepalive_is_not_sent_inside_an_event() {
    let mut world = World::new();
    let stream = world.open(Settings { timeout: Duration::from_secs(600), ..settings() }, "");
    world.client(stream).sends.push_back(Ok(3));
    world.push(stream, b"event");
    world.advance(Duration::from_secs(500));
    assert_eq!(world.received(stream), "eve");
    world.writable(stream);
    world.advance(Duration::from_secs(14));
    assert_eq!(world.received(stream), "event");
}

#[test]
fn a_client_that_takes_nothing_times_out_and_one_that_takes_a_byte_in_time_does_not() {
    let mut world = World::new();
    let [dead, slow] = [(); 2].map(|()| world.open(settings(), "a long head"));
    for stream in [dead, slow] {
        world.client(stream).sends.push_back(Ok(1));
        world.client(stream).default_send = Some(Err(libc::EAGAIN));
    }
    for _ in 0..8 {
        world.advance(Duration::from_secs(50));
        world.client(slow).sends.push_back(Ok(1));
        world.writable(slow);
        world.run_until_idle();
        let open = [dead, slow].iter().filter(|stream| world.records[**stream].ended.is_none()).count();
        assert_eq!(world.stalled as usize, open, "each open stream is stalled, and counts once");
    }
    assert_eq!([dead, slow].map(|stream| world.records[stream].ended), [Some(Reason::Timeout), None]);
    assert_eq!(world.received(slow), "a long he");
    assert!(world.longest_stall >= Duration::from_secs(50), "{:?}", world.longest_stall);
    world.client(slow).default_send = None;
    world.writable(slow);
    world.run_until_idle();
    assert_eq!((&*world.received(slow), world.stalled), ("a long head", 0));
}

#[test]
fn a_client_that_takes_little_of_what_its_socket_has_stays() {
    for is_local in [false, true] {
        let mut world = World::new();
        let stream = world.open(settings(), "a long head");
        world.client(stream).is_local = is_local;
        world.client(stream).sends.push_back(Ok(1));
        world.client(stream).untaken = 100_000;
        for _ in 0..10 {
            world.advance(Duration::from_secs(50));
            world.client(stream).untaken -= 1;
        }
        assert_eq!(world.received(stream), "a", "its socket takes nothing");
        world.writable(stream);
        world.advance(Duration::from_secs(10));
        assert_eq!(world.received(stream), "a long head");
        assert_eq!(world.records[stream].ended, None);
    }
}

#[test]
fn a_client_that_makes_room_stays_though_the_kernel_sends_nothing_into_it() {
    let mut world = World::new();
    let quiet = Settings { keepalive: None, ..settings() };
    let [slow, dead] = [(); 2].map(|()| world.open(quiet, "head"));
    for stream in [slow, dead] {
        world.client(stream).untaken = 5000;
    }
    for _ in 0..10 {
        world.advance(Duration::from_secs(50));
        world.client(slow).window += 10;
    }
    assert_eq!([slow, dead].map(|stream| world.records[stream].ended), [None, Some(Reason::Timeout)]);
}

#[test]
fn at_random_a_client_that_has_taken_something_within_the_timeout_stays_and_a_dead_one_ends_within_two() {
    const STEPS: u32 = 20;
    let timeout = settings().timeout;
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        let stream = world.open(Settings { keepalive: None, ..settings() }, "");
        let mut last = world.now;
        let (mut pause, dies) = (0, rng.u32(1..10 * STEPS));
        for round in 0..dies + 2 * STEPS {
            if round == dies || rng.u8(0..4) == 0 {
                let bytes = rng.usize(1..3000);
                world.push(stream, &vec![b'x'; bytes]);
                world.client(stream).untaken += bytes;
            }
            world.advance(timeout / STEPS);
            if world.records[stream].ended.is_some() {
                assert!(world.now >= last + timeout, "seed {seed}: too early");
                break;
            }
            let client = world.client(stream);
            if round < dies && (client.untaken == 0 || pause == 0) {
                if client.untaken > 0 && rng.bool() {
                    client.untaken -= rng.usize(1..=client.untaken);
                    client.window = rng.u32(0..3) * 1000;
                } else {
                    client.window += 1;
                }
                pause = rng.u32(0..STEPS - 1);
                last = world.now;
            } else {
                pause -= u32::from(pause > 0);
            }
        }
        assert_eq!(world.records[stream].ended, Some(Reason::Timeout), "seed {seed}: too late");
    }
}

#[test]
fn a_client_that_was_sent_little_is_looked_at_too_and_one_that_has_taken_all_is_looked_at_once() {
    let mut world = World::new();
    let quiet = Settings { keepalive: None, ..settings() };
    let [slow, dead, quick] = [(); 3].map(|()| world.open(quiet, "head"));
    world.run_until_idle();
    world.client(slow).untaken = 500;
    world.client(dead).untaken = 500;
    for _ in 0..10 {
        world.advance(Duration::from_secs(20));
        for stream in [slow, dead].iter().filter(|stream| world.records[**stream].ended.is_none()).collect::<Vec<_>>() {
            world.push(*stream, b"more");
        }
        world.run_until_idle();
        world.client(slow).untaken -= 6; // it takes more than it is sent
        if world.records[dead].ended.is_some() {
            break;
        }
        world.client(dead).untaken += 4;
    }
    let ended = [slow, dead, quick].map(|stream| world.records[stream].ended);
    assert_eq!(ended, [None, Some(Reason::Timeout), None]);
    assert_eq!(world.client(quick).looks, 0, "nothing was left to take");
}

#[test]
fn a_client_that_takes_nothing_more_of_its_socket_times_out() {
    let mut world = World::new();
    let stream = world.open(settings(), "a long head");
    world.client(stream).sends.push_back(Ok(1));
    world.client(stream).untaken = 1000;
    for _ in 0..4 {
        world.advance(Duration::from_secs(50));
        world.client(stream).untaken -= 1;
    }
    world.advance(Duration::from_secs(59));
    assert_eq!(world.records[stream].ended, None);
    world.advance(Duration::from_secs(25));
    assert_eq!(world.records[stream].ended, Some(Reason::Timeout));
}

#[test]
fn the_kernels_timer_is_off_but_of_a_client_that_is_dead() {
    let mut world = World::new();
    let quiet = Settings { keepalive: None, ..settings() };
    let [ended, slow, dead, detached] = [(); 4].map(|()| world.open(quiet, &"x".repeat(5000)));
    world.run_until_idle();
    for stream in [ended, slow, dead, detached] {
        world.client(stream).untaken = 5000;
    }
    world.advance(Duration::from_secs(20));
    world.client(detached).untaken = 4000;
    world.end(ended, Reason::Application, Ending::Flush);
    world.end(slow, Reason::Slow, Ending::Discard);
    world.advance(Duration::from_secs(60));
    let id = world.records[detached].id;
    assert!(world.reactor.detach(id).is_some());
    let impatient = [ended, slow, dead, detached].map(|stream| world.client(stream).is_kernel_impatient);
    assert_eq!(impatient, [false, false, true, false]);
    assert_eq!(world.records[dead].ended, Some(Reason::Timeout));
}

#[test]
fn a_client_to_which_another_process_has_sent_something_is_looked_at() {
    let mut world = World::new();
    let stream = world.open_without_socket(Settings { keepalive: None, ..settings() }, "");
    world.attach_with(stream, |client| client.untaken = 5000);
    world.advance(Duration::from_secs(80));
    assert_eq!(world.records[stream].ended, Some(Reason::Timeout));
}

#[test]
fn a_client_is_looked_at_after_an_upgrade() {
    for (untaken, ended) in [(5000, Some(Reason::Timeout)), (0, None)] {
        let mut world = World::new();
        let stream = world.open(Settings { keepalive: None, ..settings() }, &"x".repeat(5000));
        world.client(stream).untaken = 5000;
        world.advance(Duration::from_secs(20));
        world.client(stream).untaken = untaken;
        world.upgrade();
        assert!(!world.client(stream).is_kernel_impatient);
        world.advance(Duration::from_secs(80));
        assert_eq!(world.records[stream].ended, ended);
    }
}

#[test]
fn a_slow_client_whose_socket_has_taken_nothing_for_long_stays_over_an_upgrade() {
    let mut world = World::new();
    let stream = world.open(settings(), "a long head");
    world.client(stream).sends.push_back(Ok(1));
    world.client(stream).default_send = Some(Err(libc::EAGAIN));
    world.client(stream).untaken = 1000;
    for round in 0..10 {
        world.advance(Duration::from_secs(50));
        world.client(stream).untaken -= 1;
        if round == 4 {
            world.upgrade();
        }
    }
    assert_eq!(world.records[stream].ended, None);
}

#[test]
fn a_first_look_that_is_late_ends_nothing() {
    let mut world = World::new();
    let stream = world.open(Settings { keepalive: None, ..settings() }, &"x".repeat(5000));
    world.client(stream).untaken = 5000;
    world.run_until_idle();
    world.now += Duration::from_secs(500); // the process was stopped
    world.run_until_idle();
    world.advance(Duration::from_secs(59));
    assert_eq!(world.records[stream].ended, None);
    world.advance(Duration::from_secs(10));
    assert_eq!(world.records[stream].ended, Some(Reason::Timeout));
}

#[test]
fn a_blocked_socket_is_not_tried_again_until_it_is_writable() {
    for first in [Ok(2), Err(libc::EAGAIN)] {
        let mut world = World::new();
        let stream = world.open(settings(), "head");
        world.client(stream).sends.push_back(first);
        world.run_until_idle();
        assert!(world.client(stream).is_watched);
        for _ in 0..9 {
            world.push(stream, b"x");
            world.run_until_idle();
        }
        assert_eq!(world.client(stream).send_calls, 1);
        world.writable(stream);
        assert!(!world.client(stream).is_watched, "a writable socket is not watched");
        world.run_until_idle();
        assert_eq!(world.received(stream), "headxxxxxxxxx");
        assert_eq!(world.client(stream).send_calls, 2);
    }
}

#[test]
fn a_write_without_memory_is_retried_and_the_stream_continues() {
    for errno in [libc::ENOBUFS, libc::ENOMEM] {
        let mut world = World::new();
        let [stream, other] = [(); 2].map(|()| world.open(settings(), "head"));
        world.client(stream).sends.extend([Ok(1), Err(errno), Err(errno)]);
        world.run_until_idle();
        world.writable(stream);
        world.run_until_idle();
        assert_eq!((world.received(stream), world.received(other)), ("h".into(), "head".into()));
        world.advance(Duration::from_millis(150));
        assert_eq!((world.received(stream), world.records[stream].ended), ("head".into(), None), "{errno}");
        assert_eq!(world.client(stream).send_calls, 4, "the write is not retried at every turn");
    }
}

#[test]
fn a_stream_without_memory_for_its_writes_times_out() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.client(stream).default_send = Some(Err(libc::ENOBUFS));
    world.advance(Duration::from_secs(70));
    assert_eq!(world.records[stream].ended, Some(Reason::Timeout));
    assert!(world.client(stream).send_calls <= 70 * 20);
}

#[test]
fn an_interrupted_write_is_repeated() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.client(stream).sends.extend([Err(libc::EINTR); 9]);
    world.run_until_idle();
    assert_eq!((world.received(stream), world.records[stream].ended), ("head".into(), None));
}

#[test]
fn a_stream_without_a_socket_drops_no_event() {
    let mut world = World::new();
    let stream = world.open_without_socket(Settings { drop_oldest: true, max_buffered: 10, ..settings() }, "head");
    for number in 0..9 {
        world.push(stream, format!("event {number}").as_bytes());
        world.run_until_idle();
    }
    assert_eq!(world.records[stream].lost.events, 0);
    world.attach_with(stream, |client| client.sends.push_back(Ok(4 + 3)));
    world.run_until_idle();
    assert_eq!((world.received(stream), world.records[stream].lost.events), ("headeve".into(), 0));
    // With a socket the limit applies. The partly sent event and the newest event stay.
    world.push(stream, b"event 9");
    world.writable(stream);
    world.run_until_idle();
    assert_eq!((world.received(stream), world.records[stream].lost.events), ("headevent 0event 9".into(), 8));
}

#[test]
fn a_busy_stream_makes_at_most_four_writes_a_turn() {
    let mut world = World::new();
    let [busy, other] = [(); 2].map(|()| world.open(settings(), ""));
    for _ in 0..MAX_BLOCKS {
        world.push(busy, b"x");
    }
    world.run_until_idle();
    assert_eq!(world.client(busy).send_calls, 1);
    for _ in 0..5 * MAX_BLOCKS {
        world.push(busy, b"y");
    }
    world.push(other, b"z");
    world.turn();
    assert_eq!((world.client(busy).send_calls, world.received(other)), (1 + 4, "z".into()));
    assert!(world.reactor.is_busy());
    world.run_until_idle();
    assert_eq!(world.received(busy), "x".repeat(MAX_BLOCKS) + &"y".repeat(5 * MAX_BLOCKS));
    assert_eq!(world.client(busy).most_blocks, MAX_BLOCKS);
}

#[test]
fn a_keepalive_is_at_most_a_sixteenth_late() {
    for seconds in [1, 15, 60, 3600] {
        let mut world = World::new();
        world.advance(Duration::from_millis(777));
        let quiet = Duration::from_secs(seconds);
        let stream = world.open(Settings { keepalive: Some(quiet), ..settings() }, "");
        world.advance(quiet - Duration::from_millis(1));
        assert_eq!(world.received(stream), "");
        world.advance(quiet / 16 + Duration::from_millis(3));
        assert_eq!(world.received(stream), ":\n", "{seconds}");
    }
}

#[test]
fn a_stream_has_one_timer_however_often_it_is_retried() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.run_until_idle();
    for _ in 0..200 {
        world.client(stream).sends.extend([Err(libc::ENOBUFS), Ok(usize::MAX)]);
        world.push(stream, b"x");
        world.advance(Duration::from_millis(100));
    }
    world.advance(Duration::from_secs(70));
    assert_eq!(world.received(stream).matches('x').count(), 200);
    assert_eq!(world.reactor.timers.len(), 1);
}
