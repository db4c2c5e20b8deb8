//! How streams end, and what becomes of the connection.

use super::*;

#[test]
fn a_client_that_sends_without_end_does_not_hold_up_the_handing_over_of_its_stream() {
    let mut world = World::new();
    let stream = world.open(settings(), "head");
    world.client(stream).drains_for_ever = Some(1000);
    world.end(stream, Reason::Application, Ending::HandOver);
    world.settle();
    assert_eq!(world.accounts[stream].ended, Some(Reason::Application));
    assert!(world.client(stream).is_closed && !world.client(stream).is_finished);
}

#[test]
fn a_reactor_that_dies_ends_the_connections_that_are_its_own() {
    let mut world = World::new();
    let own = world.open(settings(), "head");
    let client = world.new_client();
    let inherited = world.open_as(settings(), "", Some(client), true);
    world.push(own, b"never sent");
    assert_eq!(world.reactor.discard().events, 1);
    assert!(world.client(own).is_finished && !world.client(inherited).is_finished);
}

/// What the system may say of a connection, and whose fault that is.
const ERRNOS: [(&str, i32, Reason); 19] = [
    ("EPIPE", libc::EPIPE, Reason::Client),
    ("ECONNRESET", libc::ECONNRESET, Reason::Client),
    ("ECONNABORTED", libc::ECONNABORTED, Reason::Client),
    ("ENOTCONN", libc::ENOTCONN, Reason::Client),
    ("ENETDOWN", libc::ENETDOWN, Reason::Client),
    ("ENETRESET", libc::ENETRESET, Reason::Client),
    ("ENONET", libc::ENONET, Reason::Timeout),
    ("EHOSTDOWN", libc::EHOSTDOWN, Reason::Timeout),
    ("ENETUNREACH", libc::ENETUNREACH, Reason::Timeout),
    ("EHOSTUNREACH", libc::EHOSTUNREACH, Reason::Timeout),
    ("ECONNREFUSED", libc::ECONNREFUSED, Reason::Client),
    ("ETIMEDOUT", libc::ETIMEDOUT, Reason::Timeout),
    ("EBADF", libc::EBADF, Reason::Error),
    ("ENOTSOCK", libc::ENOTSOCK, Reason::Error),
    ("EINVAL", libc::EINVAL, Reason::Error),
    ("EPERM", libc::EPERM, Reason::Error),
    ("EACCES", libc::EACCES, Reason::Error),
    ("EOPNOTSUPP", libc::EOPNOTSUPP, Reason::Error),
    ("EFAULT", libc::EFAULT, Reason::Error),
];

/// A stream that is to be broken, between two that are not.
fn three(world: &mut World) -> [usize; 3] {
    [(); 3].map(|()| world.open(settings(), "head"))
}

/// The broken one has ended for that reason; the others are as they were, and are sent what is pushed to them.
fn only_the_second_has_ended(world: &mut World, [first, broken, third]: [usize; 3], reason: Reason, why: &str) {
    assert_eq!(world.accounts[broken].ended, Some(reason), "{why}");
    assert!(world.client(broken).is_closed, "{why}");
    for other in [first, third] {
        world.push(other, b"more");
        world.settle();
        assert_eq!(world.accounts[other].ended, None, "{why}");
        assert!(world.received(other).ends_with("more"), "{why}");
    }
}

#[test]
fn an_error_of_sending_ends_that_stream_alone() {
    for (name, errno, reason) in ERRNOS {
        for taken in [None, Some(0), Some(3), Some(8)] {
            let mut world = World::new();
            let streams = three(&mut world);
            if let Some(bytes) = taken {
                // It breaks after so many bytes, when it was said to take bytes again.
                world.client(streams[1]).sends.push_back(Ok(bytes));
            }
            world.client(streams[1]).sends.push_back(Err(errno));
            for stream in streams {
                world.push(stream, b"event");
            }
            world.settle();
            if world.client(streams[1]).is_asked {
                world.writable(streams[1]);
                world.settle();
            }
            only_the_second_has_ended(&mut world, streams, reason, name);
            assert_eq!(world.accounts[streams[1]].lost.events, 1);
        }
    }
}

#[test]
fn an_error_of_reading_ends_that_stream_alone() {
    for (name, errno, reason) in ERRNOS {
        let mut world = World::new();
        let streams = three(&mut world);
        world.settle();
        world.client(streams[1]).drains.extend([Ok(5), Err(libc::EINTR), Err(errno)]);
        world.ready(streams[1], Ready { readable: true, left: true, writable: false });
        world.settle();
        only_the_second_has_ended(&mut world, streams, reason, name);
    }
}

#[test]
fn a_client_that_the_system_says_has_left_has_left() {
    // Whatever can be read before: nothing, something, something without end, or not for want of memory.
    for drains in [vec![], vec![Ok(5)], vec![Ok(5); 100], vec![Ok(0)], vec![Err(libc::ENOMEM)]] {
        let mut world = World::new();
        let streams = three(&mut world);
        world.settle();
        world.client(streams[1]).drains.extend(drains.iter().copied());
        world.ready(streams[1], Ready { left: true, ..Ready::default() });
        world.settle();
        only_the_second_has_ended(&mut world, streams, Reason::Client, &format!("{drains:?}"));
    }
}

#[test]
fn what_says_nothing_of_the_client_keeps_the_stream() {
    for drains in [vec![Err(libc::EAGAIN)], vec![Err(libc::ENOMEM)], vec![Err(libc::EINTR); 9], vec![Ok(100); 9]] {
        let mut world = World::new();
        let stream = world.open(settings(), "head");
        world.settle();
        world.client(stream).drains.extend(drains);
        world.readable(stream);
        world.settle();
        assert_eq!(world.accounts[stream].ended, None);
    }
}

#[test]
fn a_client_that_sends_more_than_a_client_would_is_none() {
    let mut world = World::new();
    let streams = three(&mut world);
    world.settle();
    world.client(streams[1]).drains_for_ever = Some(1 << 14);
    for _ in 0..16 {
        assert_eq!(world.accounts[streams[1]].ended, None);
        world.readable(streams[1]);
        world.settle();
    }
    assert_eq!(world.accounts[streams[1]].ended, None, "a megabyte is borne");
    world.readable(streams[1]);
    world.settle();
    only_the_second_has_ended(&mut world, streams, Reason::Error, "a megabyte and more");
    assert!(world.client(streams[1]).drain_calls <= 65, "it is read in turns");
}

#[test]
fn a_socket_that_cannot_be_watched_is_sent_what_it_takes_and_told_to_come_back() {
    for errno in [libc::ENOSPC, libc::ENOMEM, libc::EPERM, libc::EEXIST, libc::EBADF] {
        let mut world = World::new();
        let client = world.new_client();
        world.reactor.io().clients[client].add_fails = Some(errno);
        let stream = world.open_as(settings(), "head", Some(client), false);
        world.push(stream, b"late");
        world.settle();
        assert_eq!(world.accounts[stream].ended, Some(Reason::Error));
        let text = world.received(stream);
        assert!(text.starts_with("headretry: ") && text.ends_with("\r\n\r\n"), "{text:?}");
        assert!(world.client(stream).is_finished);
        world.pass(Duration::from_secs(3));
        assert!(world.client(stream).is_closed, "nobody would say that the client has closed its side");
    }
    let mut world = World::new();
    let client = world.new_client();
    world.reactor.io().clients[client].add_fails = Some(libc::ENOSPC);
    world.reactor.io().clients[client].sends.push_back(Ok(2));
    let stream = world.open_as(settings(), "head", Some(client), false);
    world.settle();
    assert_eq!(world.accounts[stream].ended, Some(Reason::Error), "nobody would say when it takes the rest");
    assert!(world.client(stream).is_closed);
}

#[test]
fn a_socket_of_which_nobody_says_when_it_takes_bytes_ends_its_stream_alone() {
    for (partly, again) in [(true, false), (false, false), (true, true)] {
        let mut world = World::new();
        let streams = three(&mut world);
        world.client(streams[1]).sends.push_back(if partly { Ok(2) } else { Err(libc::EAGAIN) });
        world.client(streams[1]).ask_fails = Some(libc::ENOMEM).filter(|_| !again);
        world.settle();
        if again {
            world.client(streams[1]).ask_fails = Some(libc::ENOENT);
            world.writable(streams[1]);
            world.settle();
        }
        only_the_second_has_ended(&mut world, streams, Reason::Error, &format!("{partly} {again}"));
    }
}

#[test]
fn at_the_end_the_client_is_given_the_time_to_see_it() {
    type Then = fn(&mut World, usize);
    let leaves: Then = |world, stream| {
        world.client(stream).drains.extend([Ok(7), Ok(0)]);
        world.readable(stream);
    };
    let resets: Then = |world, stream| {
        world.client(stream).drains.push_back(Err(libc::ECONNRESET));
        world.ready(stream, Ready { left: true, ..Ready::default() });
    };
    let does_nothing: Then = |world, _| world.pass(Duration::from_millis(2500));
    let sends_on: Then = |world, stream| {
        world.client(stream).drains_for_ever = Some(1 << 16);
        for _ in 0..5 {
            world.readable(stream);
        }
    };
    for then in [leaves, resets, does_nothing, sends_on] {
        let mut world = World::new();
        let stream = world.open(settings(), "head");
        world.end(stream, Reason::Application, Ending::Flush);
        world.pass(Duration::from_millis(1900));
        assert_eq!(world.accounts[stream].ended, Some(Reason::Application));
        assert!(world.client(stream).is_finished && !world.client(stream).is_closed);
        then(&mut world, stream);
        world.settle();
        assert!(world.client(stream).is_closed);
        assert_eq!(world.received(stream), "head", "nothing comes after the end");
    }
}

#[test]
fn where_few_descriptors_are_left_an_ended_socket_is_drained_and_closed_at_once() {
    for refused in [false, true] {
        let mut world = World::new();
        world.reactor.io().is_short = true;
        let [stream, other] = [(); 2].map(|()| world.open(settings(), "head"));
        world.client(stream).drains.extend([Ok(7), Ok(7)]);
        if refused {
            world.tell(Command::Refuse { stream: world.accounts[stream].id });
        } else {
            world.end(stream, Reason::Application, Ending::Flush);
        }
        world.settle();
        let reason = if refused { Reason::Server } else { Reason::Application };
        assert_eq!(world.accounts[stream].ended, Some(reason));
        assert!(world.client(stream).is_finished && world.client(stream).is_closed);
        assert!(world.client(stream).drains.is_empty(), "all that the client has sent is read before");
        assert_eq!(world.received(stream).contains("retry"), refused);
        assert_eq!(world.accounts[other].ended, None);
    }
}

#[test]
fn where_few_descriptors_are_left_a_stream_is_sent_all_before_its_socket_is_closed() {
    let mut world = World::new();
    world.reactor.io().is_short = true;
    let stream = world.open(settings(), "head");
    world.client(stream).sends.push_back(Ok(2));
    world.tell(Command::Refuse { stream: world.accounts[stream].id });
    world.settle();
    assert!(!world.client(stream).is_closed);
    world.writable(stream);
    world.settle();
    assert!(world.received(stream).starts_with("headretry: ") && world.client(stream).is_closed);
}

#[test]
fn how_a_stream_ends_is_how_it_was_told_to_first() {
    use Ending::{Discard, Flush, HandOver};
    use Reason::{Application, Error, Server, Slow};
    // What it is told, with all sent or with some waiting: its reason, the end of its bytes, whether it is shut down.
    let table = [
        (vec![(Application, Flush)], Application, "0\r\n\r\n", true),
        (vec![(Application, Flush), (Server, HandOver), (Error, Flush)], Application, "0\r\n\r\n", true),
        (vec![(Application, HandOver)], Application, "head", false),
        (vec![(Application, HandOver), (Server, Flush)], Application, "head", false),
        (vec![(Slow, Discard)], Slow, "head", true),
        (vec![(Slow, Discard), (Application, Flush)], Slow, "head", true),
        (vec![(Server, Flush), (Slow, Discard)], Server, "0\r\n\r\n", true),
        (vec![(Server, HandOver), (Slow, Discard)], Server, "head", false),
        (vec![(Error, Discard)], Error, "", true),
        (vec![(Server, Flush), (Error, Discard)], Server, "", true),
        (vec![(Server, HandOver), (Error, Discard)], Server, "", false),
    ];
    for (told, reason, end, is_shut_down) in table {
        let mut world = World::new();
        let chunked = Settings { framing: Framing::Chunked, ..settings() };
        let stream = world.open(chunked, "head");
        for (reason, ending) in &told {
            world.end(stream, *reason, *ending);
        }
        world.settle();
        assert_eq!(world.accounts[stream].ended, Some(reason), "{told:?}");
        assert!(world.received(stream).ends_with(end), "{told:?} {:?}", world.received(stream));
        assert_eq!(world.client(stream).is_finished, is_shut_down, "{told:?}");
        let is_orderly = end == "0\r\n\r\n"; // then the client may take its time
        assert_eq!(world.client(stream).is_closed, !is_orderly, "{told:?}");
    }
}

#[test]
fn a_stream_given_up_as_slow_is_sent_what_the_socket_takes_and_the_rest_is_lost() {
    // What the next calls say; how many of three events of five bytes arrive.
    let table = [
        (vec![], 3),
        (vec![Ok(4 + 5)], 1),
        (vec![Ok(4 + 5 + 3)], 1),
        (vec![Err(libc::EAGAIN)], 0),
        (vec![Err(libc::ENOBUFS)], 0),
        (vec![Err(libc::EINTR), Err(libc::EINTR)], 3),
        (vec![Err(libc::EPIPE)], 0),
    ];
    for (says, arrive) in table {
        for was_blocked in [false, true] {
            let mut world = World::new();
            let stream = world.open(settings(), "head");
            if was_blocked {
                world.client(stream).sends.push_back(Err(libc::EAGAIN));
                world.settle();
            }
            world.client(stream).sends.extend(says.iter().copied());
            world.client(stream).always = Some(if says.len() == 1 { Err(libc::EAGAIN) } else { Ok(usize::MAX) });
            for event in [b"first", b"other", b"third"] {
                world.push(stream, event);
            }
            world.client(stream).drains.push_back(Ok(10));
            world.end(stream, Reason::Slow, Ending::Discard);
            world.settle();
            let reason = if says == [Err(libc::EPIPE)] { Reason::Client } else { Reason::Slow };
            let account = &world.accounts[stream];
            assert_eq!(account.ended, Some(reason), "{says:?}");
            assert_eq!((account.sent.events, account.lost.events), (arrive, 3 - arrive), "{says:?}");
            assert!(world.client(stream).is_finished && world.client(stream).is_closed, "{says:?}");
            if reason == Reason::Slow {
                assert!(world.client(stream).drains.is_empty(), "what is unread would reset the connection");
            }
        }
    }
}

#[test]
fn a_stream_given_up_as_slow_is_sent_all_of_very_many_events_that_the_socket_takes() {
    let mut world = World::new();
    let stream = world.open(settings(), "");
    for _ in 0..10 * GATHERED {
        world.push(stream, b"x");
    }
    world.end(stream, Reason::Slow, Ending::Discard);
    world.settle();
    assert_eq!(world.accounts[stream].sent.events, 10 * GATHERED);
    assert_eq!((world.accounts[stream].ended, world.accounts[stream].lost.events), (Some(Reason::Slow), 0));
}

#[test]
fn an_end_that_loses_events_tells_why_it_lost_them() {
    for (waits, reason) in [(false, Reason::Application), (true, Reason::Client)] {
        let mut world = World::new();
        let stream = world.open(settings(), "head");
        world.client(stream).always = Some(Err(libc::EAGAIN));
        if waits {
            world.push(stream, b"event");
        }
        world.end(stream, Reason::Application, Ending::Flush);
        world.settle();
        world.ready(stream, Ready { left: true, ..Ready::default() });
        world.settle();
        assert_eq!(world.accounts[stream].ended, Some(reason));
    }
}

#[test]
fn what_is_told_to_a_stream_that_has_ended_touches_no_other() {
    let mut world = World::new();
    let gone = world.open(settings(), "head");
    world.end(gone, Reason::Slow, Ending::Discard);
    world.settle();
    let next = world.open(settings(), "head");
    assert_eq!(world.accounts[next].id.slot, world.accounts[gone].id.slot, "it has the seq of the other");
    world.settle();
    world.push(gone, b"late");
    world.end(gone, Reason::Application, Ending::Flush);
    world.end(gone, Reason::Application, Ending::Discard);
    world.tell(Command::Refuse { stream: world.accounts[gone].id });
    world.ready(gone, Ready { writable: true, readable: true, left: true });
    let late = world.new_client();
    world.reactor.apply(Command::Attach { stream: world.accounts[gone].id }, Some(world::Socket(late)), world.now);
    world.settle();
    assert!(world.reactor.io().clients[late].is_closed, "a socket that comes too late is closed");
    assert_eq!((world.received(next), world.accounts[next].ended), ("head".into(), None));
    assert_eq!(world.accounts[gone].lost.events, 1);
}

#[test]
fn old_timers_of_a_place_touch_no_stream_that_has_it_now() {
    let mut world = World::new();
    let impatient = Settings { timeout: Duration::from_secs(1), ..settings() };
    let gone = world.open_without_socket(impatient, "head");
    world.settle();
    world.end(gone, Reason::Slow, Ending::Discard);
    world.settle();
    let next = world.open_without_socket(settings(), "head");
    world.pass(Duration::from_secs(30));
    assert_eq!(world.accounts[next].ended, None);
}

#[test]
fn a_socket_comes_late_or_never() {
    let mut world = World::new();
    let [late, never, gone] = [(); 3].map(|()| world.open_without_socket(settings(), "head"));
    world.push(late, b"early");
    world.end(gone, Reason::Application, Ending::Flush);
    world.pass(Duration::from_secs(59));
    assert_eq!([late, never, gone].map(|stream| world.accounts[stream].ended), [None; 3]);
    world.attach(late);
    world.attach(gone);
    world.settle();
    assert_eq!((world.received(late), world.received(gone)), ("headearly".into(), "head".into()));
    assert_eq!(world.accounts[gone].ended, Some(Reason::Application));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.accounts[never].ended, Some(Reason::Timeout));
    assert_eq!(world.accounts[late].ended, None);
}

#[test]
fn a_stream_that_is_refused_is_told_to_come_back_and_takes_nothing() {
    for framing in [Framing::Plain, Framing::Chunked] {
        let mut world = World::new();
        let stream = world.open(Settings { framing, ..settings() }, "head");
        world.tell(Command::Refuse { stream: world.accounts[stream].id });
        world.push(stream, b"late");
        world.settle();
        assert_eq!(world.accounts[stream].ended, Some(Reason::Server));
        let text = world.received(stream);
        let (retry, end) = match framing {
            Framing::Plain => ("headretry: ", "\r\n\r\n"),
            Framing::Chunked => ("headf\r\nretry: ", "\r\n\r\n\r\n0\r\n\r\n"),
        };
        assert!(text.starts_with(retry) && text.ends_with(end), "{text:?}");
        assert!(world.client(stream).is_finished);
    }
}

#[test]
fn a_stream_that_is_refused_twice_is_told_once() {
    let mut world = World::new();
    let chunked = Settings { framing: Framing::Chunked, ..settings() };
    let stream = world.open(chunked, "head");
    for _ in 0..3 {
        world.tell(Command::Refuse { stream: world.accounts[stream].id });
        world.settle();
    }
    let text = world.received(stream);
    assert!(text.matches("retry").count() == 1 && text.ends_with("\r\n0\r\n\r\n"), "{text:?}");
    world.pass(Duration::from_secs(3));
    assert!(world.accounts[stream].is_closed);
}

#[test]
fn a_stream_that_another_process_has_too_is_shut_down_only_by_the_application() {
    let mut world = World::new();
    let client = world.new_client();
    world.reactor.io().clients[client].add_fails = Some(libc::ENOSPC);
    let stream = world.open_as(settings(), "", Some(client), true);
    world.settle();
    assert_eq!(world.accounts[stream].ended, Some(Reason::Error));
    assert_eq!((world.received(stream), world.client(stream).is_finished), (String::new(), false));

    for (told, is_shut_down) in [
        (Command::ShutDown { within: Duration::from_secs(1) }, false),
        (
            Command::End {
                stream: StreamId { slot: 0, serial: 1 },
                reason: Reason::Application,
                ending: Ending::HandOver,
            },
            false,
        ),
        (
            Command::End {
                stream: StreamId { slot: 0, serial: 1 },
                reason: Reason::Application,
                ending: Ending::Flush,
            },
            true,
        ),
    ] {
        let mut world = World::new();
        let client = world.new_client();
        let stream = world.open_as(settings(), "", Some(client), true);
        world.push(stream, b"event");
        world.tell(told);
        world.settle();
        assert!(world.accounts[stream].ended.is_some());
        assert_eq!((world.received(stream), world.client(stream).is_finished), ("event".into(), is_shut_down));
    }
}

#[test]
fn a_stream_that_is_to_end_just_when_a_comment_is_due_ends() {
    let mut world = World::new();
    let keepalive = Duration::from_secs(15);
    let stream = world.open(Settings { keepalive: Some(keepalive), ..settings() }, "head");
    world.settle();
    world.now += 2 * keepalive;
    world.end(stream, Reason::Application, Ending::Flush);
    world.turn();
    assert_eq!(world.accounts[stream].ended, Some(Reason::Application));
}
