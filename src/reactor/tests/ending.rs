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

/// What the system may say of a connection, and whose fault that is.
const ERRNOS: [(&str, i32, Reason); 16] = [
    ("EPIPE", libc::EPIPE, Reason::Client),
    ("ECONNRESET", libc::ECONNRESET, Reason::Client),
    ("ECONNABORTED", libc::ECONNABORTED, Reason::Client),
    ("ENOTCONN", libc::ENOTCONN, Reason::Client),
    ("ENETDOWN", libc::ENETDOWN, Reason::Client),
    ("ENETUNREACH", libc::ENETUNREACH, Reason::Client),
    ("EHOSTUNREACH", libc::EHOSTUNREACH, Reason::Client),
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
