//! Tests of ending a stream: its reason, its buffer and its connection.

use super::*;

#[test]
fn a_client_that_sends_forever_does_not_delay_handing_its_stream_over() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.client(stream).reads_forever = Some(1000);
    world.end(stream, Reason::Application, Ending::Transfer);
    world.run_until_idle();
    assert_eq!(world.records[stream].ended, Some(Reason::Application));
    assert!(world.client(stream).is_closed && !world.client(stream).is_shut_down);
}

#[test]
fn discard_shuts_down_all_connections_but_inherited_ones() {
    let mut world = World::new();
    let own = world.open(settings(), "head");
    let client = world.new_client();
    let inherited = world.open_as(settings(), "", Some(client), true);
    world.push(own, b"never sent");
    assert_eq!(world.reactor.discard().events, 1);
    assert!(world.client(own).is_shut_down && !world.client(inherited).is_shut_down);
}

#[test]
fn an_ended_connection_lingers_until_the_client_closes_it_or_two_seconds_pass() {
    type Then = fn(&mut World, usize);
    let leaves: Then = |world, stream| {
        world.client(stream).reads.extend([Ok(7), Ok(0)]);
        world.readable(stream);
    };
    let resets: Then = |world, stream| {
        world.client(stream).reads.push_back(Err(libc::ECONNRESET));
        world.ready(stream, Ready { hung_up: true, ..Ready::default() });
    };
    let does_nothing: Then = |world, _| world.advance(Duration::from_millis(2500));
    let sends_on: Then = |world, stream| {
        world.client(stream).reads_forever = Some(1 << 16);
        for _ in 0..5 {
            world.readable(stream);
        }
    };
    for then in [leaves, resets, does_nothing, sends_on] {
        let mut world = World::new();
        let stream = world.open(settings(), "head");
        world.end(stream, Reason::Application, Ending::Flush);
        world.advance(Duration::from_millis(1900));
        assert_eq!(world.records[stream].ended, Some(Reason::Application));
        assert!(world.client(stream).is_shut_down && !world.client(stream).is_closed);
        then(&mut world, stream);
        world.run_until_idle();
        assert!(world.client(stream).is_closed);
        assert_eq!(world.received(stream), "head", "nothing is sent after the end");
    }
}

#[test]
fn with_few_free_descriptors_an_ended_socket_is_read_and_closed_at_once() {
    for refused in [false, true] {
        let mut world = World::new();
        world.reactor.io().is_short = true;
        let [stream, other] = [(); 2].map(|()| world.open(settings(), "head"));
        world.client(stream).reads.extend([Ok(7), Ok(7)]);
        if refused {
            world.apply(Command::Refuse { stream: world.records[stream].id });
        } else {
            world.end(stream, Reason::Application, Ending::Flush);
        }
        world.run_until_idle();
        let reason = if refused { Reason::Server } else { Reason::Application };
        assert_eq!(world.records[stream].ended, Some(reason));
        assert!(world.client(stream).is_shut_down && world.client(stream).is_closed);
        assert!(world.client(stream).reads.is_empty(), "the client's input is read before the socket is closed");
        assert_eq!(world.received(stream).contains("retry"), refused);
        assert_eq!(world.records[other].ended, None);
    }
}

#[test]
fn with_few_free_descriptors_a_socket_is_closed_only_after_its_buffer_is_sent() {
    let mut world = World::new();
    world.reactor.io().is_short = true;
    let stream = world.open(settings(), "head");
    world.client(stream).sends.push_back(Ok(2));
    world.apply(Command::Refuse { stream: world.records[stream].id });
    world.run_until_idle();
    assert!(!world.client(stream).is_closed);
    world.writable(stream);
    world.run_until_idle();
    assert!(world.received(stream).starts_with("headretry: ") && world.client(stream).is_closed);
}

#[test]
fn the_first_end_of_a_stream_decides_its_reason_and_its_connection() {
    use Ending::{Discard, Flush, Transfer};
    use Reason::{Application, Error, Server, Slow};
    // The commands, the reason, the last bytes sent, whether the connection is shut down.
    let table = [
        (vec![(Application, Flush)], Application, "0\r\n\r\n", true),
        (vec![(Application, Flush), (Server, Transfer), (Error, Flush)], Application, "0\r\n\r\n", true),
        (vec![(Application, Transfer)], Application, "head", false),
        (vec![(Application, Transfer), (Server, Flush)], Application, "head", false),
        (vec![(Slow, Discard)], Slow, "head", true),
        (vec![(Slow, Discard), (Application, Flush)], Slow, "head", true),
        (vec![(Server, Flush), (Slow, Discard)], Server, "0\r\n\r\n", true),
        (vec![(Server, Transfer), (Slow, Discard)], Server, "head", false),
        (vec![(Error, Discard)], Error, "", true),
        (vec![(Server, Flush), (Error, Discard)], Server, "", true),
        (vec![(Server, Transfer), (Error, Discard)], Server, "", false),
    ];
    for (ends, reason, end, is_shut_down) in table {
        let mut world = World::new();
        let chunked = Settings { framing: Framing::Chunked, ..settings() };
        let stream = world.open(chunked, "head");
        for (reason, ending) in &ends {
            world.end(stream, *reason, *ending);
        }
        world.run_until_idle();
        assert_eq!(world.records[stream].ended, Some(reason), "{ends:?}");
        assert!(world.received(stream).ends_with(end), "{ends:?} {:?}", world.received(stream));
        assert_eq!(world.client(stream).is_shut_down, is_shut_down, "{ends:?}");
        let is_orderly = end == "0\r\n\r\n"; // the client has time to close its side
        assert_eq!(world.client(stream).is_closed, !is_orderly, "{ends:?}");
    }
}

#[test]
fn a_slow_stream_receives_what_its_socket_takes_and_loses_the_rest() {
    // The results of the next writes, and how many of three events of five bytes arrive.
    let table = [
        (vec![], 3),
        (vec![Ok(4 + 5)], 1),
        (vec![Ok(4 + 5 + 3)], 1),
        (vec![Err(libc::EAGAIN)], 0),
        (vec![Err(libc::ENOBUFS)], 0),
        (vec![Err(libc::EINTR), Err(libc::EINTR)], 3),
        (vec![Err(libc::EPIPE)], 0),
    ];
    for (results, arrive) in table {
        for was_blocked in [false, true] {
            let mut world = World::new();
            let stream = world.open(settings(), "head");
            if was_blocked {
                world.client(stream).sends.push_back(Err(libc::EAGAIN));
                world.run_until_idle();
            }
            world.client(stream).sends.extend(results.iter().copied());
            world.client(stream).default_send =
                Some(if results.len() == 1 { Err(libc::EAGAIN) } else { Ok(usize::MAX) });
            for event in [b"first", b"other", b"third"] {
                world.push(stream, event);
            }
            world.client(stream).reads.push_back(Ok(10));
            world.end(stream, Reason::Slow, Ending::Discard);
            world.run_until_idle();
            let reason = if results == [Err(libc::EPIPE)] { Reason::Client } else { Reason::Slow };
            let record = &world.records[stream];
            assert_eq!(record.ended, Some(reason), "{results:?}");
            assert_eq!((record.sent.events, record.lost.events), (arrive, 3 - arrive), "{results:?}");
            assert!(world.client(stream).is_shut_down && world.client(stream).is_closed, "{results:?}");
            if reason == Reason::Slow {
                assert!(world.client(stream).reads.is_empty(), "unread input would reset the connection");
            }
        }
    }
}

#[test]
fn a_slow_stream_is_sent_thousands_of_events_that_its_socket_takes() {
    let mut world = World::new();
    let stream = world.open(settings(), "");
    for _ in 0..10 * MAX_BLOCKS {
        world.push(stream, b"x");
    }
    world.end(stream, Reason::Slow, Ending::Discard);
    world.run_until_idle();
    assert_eq!(world.records[stream].sent.events, 10 * MAX_BLOCKS);
    assert_eq!((world.records[stream].ended, world.records[stream].lost.events), (Some(Reason::Slow), 0));
}

#[test]
fn an_ending_stream_keeps_its_reason_unless_it_loses_events() {
    for (is_buffered, reason) in [(false, Reason::Application), (true, Reason::Client)] {
        let mut world = World::new();
        let stream = world.open(settings(), "head");
        world.client(stream).default_send = Some(Err(libc::EAGAIN));
        if is_buffered {
            world.push(stream, b"event");
        }
        world.end(stream, Reason::Application, Ending::Flush);
        world.run_until_idle();
        world.ready(stream, Ready { hung_up: true, ..Ready::default() });
        world.run_until_idle();
        assert_eq!(world.records[stream].ended, Some(reason));
    }
}

#[test]
fn commands_for_a_closed_stream_do_not_affect_the_next_stream_of_its_slot() {
    let mut world = World::new();
    let closed = world.open(settings(), "head");
    world.end(closed, Reason::Slow, Ending::Discard);
    world.run_until_idle();
    let next = world.open(settings(), "head");
    assert_eq!(world.records[next].id.slot, world.records[closed].id.slot, "the slot is reused");
    world.run_until_idle();
    world.push(closed, b"late");
    world.end(closed, Reason::Application, Ending::Flush);
    world.end(closed, Reason::Application, Ending::Discard);
    world.apply(Command::Refuse { stream: world.records[closed].id });
    world.ready(closed, Ready { writable: true, readable: true, hung_up: true });
    let late = world.new_client();
    world.reactor.apply(Command::Attach { stream: world.records[closed].id }, Some(world::Socket(late)), world.now);
    world.run_until_idle();
    assert!(world.reactor.io().clients[late].is_closed, "a socket that comes too late is closed");
    assert_eq!((world.received(next), world.records[next].ended), ("head".into(), None));
    assert_eq!(world.records[closed].lost.events, 1);
}

#[test]
fn timers_of_a_closed_stream_do_not_affect_the_next_stream_of_its_slot() {
    let mut world = World::new();
    let impatient = Settings { timeout: Duration::from_secs(1), ..settings() };
    let closed = world.open_without_socket(impatient, "head");
    world.run_until_idle();
    world.end(closed, Reason::Slow, Ending::Discard);
    world.run_until_idle();
    let next = world.open_without_socket(settings(), "head");
    world.advance(Duration::from_secs(30));
    assert_eq!(world.records[next].ended, None);
}

#[test]
fn a_stream_times_out_unless_its_socket_is_attached() {
    let mut world = World::new();
    let [late, never, closed] = [(); 3].map(|()| world.open_without_socket(settings(), "head"));
    world.push(late, b"early");
    world.end(closed, Reason::Application, Ending::Flush);
    world.advance(Duration::from_secs(59));
    assert_eq!([late, never, closed].map(|stream| world.records[stream].ended), [None; 3]);
    world.attach(late);
    world.attach(closed);
    world.run_until_idle();
    assert_eq!((world.received(late), world.received(closed)), ("headearly".into(), "head".into()));
    assert_eq!(world.records[closed].ended, Some(Reason::Application));
    world.advance(Duration::from_secs(10));
    assert_eq!(world.records[never].ended, Some(Reason::Timeout));
    assert_eq!(world.records[late].ended, None);
}

#[test]
fn a_refused_stream_is_sent_a_retry_and_takes_no_event() {
    for framing in [Framing::Plain, Framing::Chunked] {
        let mut world = World::new();
        let stream = world.open(Settings { framing, ..settings() }, "head");
        world.apply(Command::Refuse { stream: world.records[stream].id });
        world.push(stream, b"late");
        world.run_until_idle();
        assert_eq!(world.records[stream].ended, Some(Reason::Server));
        let text = world.received(stream);
        let (retry, end) = match framing {
            Framing::Plain => ("headretry: ", "\n"),
            Framing::Chunked => ("headc\r\nretry: ", "\n\r\n0\r\n\r\n"),
        };
        assert!(text.starts_with(retry) && text.ends_with(end), "{text:?}");
        assert!(world.client(stream).is_shut_down);
    }
}

#[test]
fn a_stream_that_is_refused_again_is_sent_one_retry() {
    let mut world = World::new();
    let chunked = Settings { framing: Framing::Chunked, ..settings() };
    let stream = world.open(chunked, "head");
    for _ in 0..3 {
        world.apply(Command::Refuse { stream: world.records[stream].id });
        world.run_until_idle();
    }
    let text = world.received(stream);
    assert!(text.matches("retry").count() == 1 && text.ends_with("\r\n0\r\n\r\n"), "{text:?}");
    world.advance(Duration::from_secs(3));
    assert!(world.records[stream].is_closed);
}

#[test]
fn an_inherited_connection_is_shut_down_only_by_an_end_with_flush() {
    let mut world = World::new();
    let client = world.new_client();
    world.reactor.io().clients[client].register_fails = Some(libc::ENOSPC);
    let stream = world.open_as(settings(), "", Some(client), true);
    world.run_until_idle();
    assert_eq!(world.records[stream].ended, Some(Reason::Error));
    assert_eq!((world.received(stream), world.client(stream).is_shut_down), (String::new(), false));

    let (stream, reason) = (StreamId { slot: 0, serial: 1 }, Reason::Application);
    for (command, is_shut_down) in [
        (Command::ShutDown { within: Duration::from_secs(1) }, false),
        (Command::End { stream, reason, ending: Ending::Transfer }, false),
        (Command::End { stream, reason, ending: Ending::Flush }, true),
    ] {
        let mut world = World::new();
        let client = world.new_client();
        let stream = world.open_as(settings(), "", Some(client), true);
        world.push(stream, b"event");
        world.apply(command);
        world.run_until_idle();
        assert!(world.records[stream].ended.is_some());
        assert_eq!((world.received(stream), world.client(stream).is_shut_down), ("event".into(), is_shut_down));
    }
}

#[test]
fn a_stream_that_ends_when_a_keepalive_is_due_ends() {
    let mut world = World::new();
    let keepalive = Duration::from_secs(15);
    let stream = world.open(Settings { keepalive: Some(keepalive), ..settings() }, "head");
    world.run_until_idle();
    world.now += 2 * keepalive;
    world.end(stream, Reason::Application, Ending::Flush);
    world.turn();
    assert_eq!(world.records[stream].ended, Some(Reason::Application));
}
