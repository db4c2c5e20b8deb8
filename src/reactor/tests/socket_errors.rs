//! Tests of errors, input and hang-ups of a socket: each ends its own stream only, with the right reason.

use super::*;

/// Errors of a socket, and the reasons with which they end its stream.
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

/// Opens three streams. The second one is to fail.
fn three(world: &mut World) -> [usize; 3] {
    [(); 3].map(|()| world.open(settings(), "head"))
}

/// Asserts that the second stream has ended with the reason, and that the others are still sent what is pushed to them.
fn only_the_second_has_ended(world: &mut World, [first, broken, third]: [usize; 3], reason: Reason, why: &str) {
    assert_eq!(world.records[broken].ended, Some(reason), "{why}");
    assert!(world.client(broken).is_closed, "{why}");
    for other in [first, third] {
        world.push(other, b"more");
        world.run_until_idle();
        assert_eq!(world.records[other].ended, None, "{why}");
        assert!(world.received(other).ends_with("more"), "{why}");
    }
}

#[test]
fn an_error_of_a_write_ends_only_its_own_stream() {
    for (name, errno, reason) in ERRNOS {
        for taken in [None, Some(0), Some(3), Some(8)] {
            let mut world = World::new();
            let streams = three(&mut world);
            if let Some(bytes) = taken {
                // The write fails after these bytes, when the socket was reported writable again.
                world.client(streams[1]).sends.push_back(Ok(bytes));
            }
            world.client(streams[1]).sends.push_back(Err(errno));
            for stream in streams {
                world.push(stream, b"event");
            }
            world.run_until_idle();
            if world.client(streams[1]).is_watched {
                world.writable(streams[1]);
                world.run_until_idle();
            }
            only_the_second_has_ended(&mut world, streams, reason, name);
            assert_eq!(world.records[streams[1]].lost.events, 1);
        }
    }
}

#[test]
fn an_error_of_a_read_ends_only_its_own_stream() {
    for (name, errno, reason) in ERRNOS {
        let mut world = World::new();
        let streams = three(&mut world);
        world.run_until_idle();
        world.client(streams[1]).reads.extend([Ok(5), Err(libc::EINTR), Err(errno)]);
        world.ready(streams[1], Ready { readable: true, hung_up: true, writable: false });
        world.run_until_idle();
        only_the_second_has_ended(&mut world, streams, reason, name);
    }
}

#[test]
fn a_hang_up_ends_the_stream_whatever_can_be_read_before() {
    // The results of the reads before: none, some bytes, bytes without end, the end, an error because of lacking memory.
    for reads in [vec![], vec![Ok(5)], vec![Ok(5); 100], vec![Ok(0)], vec![Err(libc::ENOMEM)]] {
        let mut world = World::new();
        let streams = three(&mut world);
        world.run_until_idle();
        world.client(streams[1]).reads.extend(reads.iter().copied());
        world.ready(streams[1], Ready { hung_up: true, ..Ready::default() });
        world.run_until_idle();
        only_the_second_has_ended(&mut world, streams, Reason::Client, &format!("{reads:?}"));
    }
}

#[test]
fn input_and_temporary_errors_do_not_end_a_stream() {
    for reads in [vec![Err(libc::EAGAIN)], vec![Err(libc::ENOMEM)], vec![Err(libc::EINTR); 9], vec![Ok(100); 9]] {
        let mut world = World::new();
        let stream = world.open(settings(), "head");
        world.run_until_idle();
        world.client(stream).reads.extend(reads);
        world.readable(stream);
        world.run_until_idle();
        assert_eq!(world.records[stream].ended, None);
    }
}

#[test]
fn a_client_that_sends_more_than_a_megabyte_is_disconnected() {
    let mut world = World::new();
    let streams = three(&mut world);
    world.run_until_idle();
    world.client(streams[1]).reads_forever = Some(1 << 14);
    for _ in 0..16 {
        assert_eq!(world.records[streams[1]].ended, None);
        world.readable(streams[1]);
        world.run_until_idle();
    }
    assert_eq!(world.records[streams[1]].ended, None, "a megabyte of input is accepted");
    world.readable(streams[1]);
    world.run_until_idle();
    only_the_second_has_ended(&mut world, streams, Reason::Error, "more than a megabyte of input");
    assert!(world.client(streams[1]).read_calls <= 65, "at most four reads a turn");
}

#[test]
fn a_socket_that_cannot_be_registered_is_sent_a_retry_and_closed() {
    for errno in [libc::ENOSPC, libc::ENOMEM, libc::EPERM, libc::EEXIST, libc::EBADF] {
        let mut world = World::new();
        let client = world.new_client();
        world.reactor.io().clients[client].register_fails = Some(errno);
        let stream = world.open_as(settings(), "head", Some(client), false);
        world.push(stream, b"late");
        world.run_until_idle();
        assert_eq!(world.records[stream].ended, Some(Reason::Error));
        let text = world.received(stream);
        assert!(text.starts_with("headretry: ") && text.ends_with('\n'), "{text:?}");
        assert!(world.client(stream).is_shut_down);
        world.advance(Duration::from_secs(3));
        assert!(world.client(stream).is_closed, "the client's close would not be reported");
    }
    let mut world = World::new();
    let client = world.new_client();
    world.reactor.io().clients[client].register_fails = Some(libc::ENOSPC);
    world.reactor.io().clients[client].sends.push_back(Ok(2));
    let stream = world.open_as(settings(), "head", Some(client), false);
    world.run_until_idle();
    assert_eq!(world.records[stream].ended, Some(Reason::Error), "it would not be reported writable");
    assert!(world.client(stream).is_closed);
}

#[test]
fn a_blocked_socket_that_cannot_be_watched_ends_only_its_own_stream() {
    for (partly, again) in [(true, false), (false, false), (true, true)] {
        let mut world = World::new();
        let streams = three(&mut world);
        world.client(streams[1]).sends.push_back(if partly { Ok(2) } else { Err(libc::EAGAIN) });
        world.client(streams[1]).watch_fails = Some(libc::ENOMEM).filter(|_| !again);
        world.run_until_idle();
        if again {
            world.client(streams[1]).watch_fails = Some(libc::ENOENT);
            world.writable(streams[1]);
            world.run_until_idle();
        }
        only_the_second_has_ended(&mut world, streams, Reason::Error, &format!("{partly} {again}"));
    }
}
