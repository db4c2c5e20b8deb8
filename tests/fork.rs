//! Streams in a process that forks, and in its children.
#![cfg(target_os = "linux")]

mod client;

use client::child::fork;
use client::{eventually, is_raised, local, open, opening, read_to_end, read_until, settings, tcp, DEADLINE};
use eventsource_xs::reactor::Ending;
use eventsource_xs::runtime::{linger, notify_descriptor, shutdown, stats, take_ended, Opening, Pushed};
use eventsource_xs::stream::{Reason, Settings};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A child inherits the sockets of every test that runs, so one runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What this process has at that number.
fn at(number: RawFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{number}")).ok()
}

/// Something of another's at that number, once it is free.
fn occupy(number: RawFd) -> OwnedFd {
    eventually("the number is free", || at(number).is_none());
    let file = File::open("/dev/null").expect("it is there");
    if file.as_raw_fd() == number {
        return file.into();
    }
    // SAFETY: the copy is nobody else's.
    let copy = unsafe { OwnedFd::from_raw_fd(libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number)) };
    assert_eq!(copy.as_raw_fd(), number, "the number is free");
    copy
}

#[test]
fn a_child_goes_on_with_a_stream_that_its_parent_lets_go_of() {
    let _alone = alone();
    let (socket, mut client) = local();
    let (says, mut hears) = local();
    let mut handle = open(opening(socket, settings()));
    assert_eq!(handle.push(b"data: parent\n\n"), Pushed::Taken);
    eventually("it is sent", || handle.buffered_bytes() == 0);
    let child = fork(|| {
        read_until(&mut hears, "gone");
        assert_eq!(handle.push(b"data: child\n\n"), Pushed::Taken);
        handle.close(Reason::Application);
        eventually("the child's has ended", || stats().opened == 1 && stats().open == 0);
    });
    let ended = stats().ended;
    drop(handle);
    eventually("the parent's has ended", || stats().ended != ended);
    UnixStream::from(says).write_all(b"gone").expect("the child reads");
    assert_eq!(read_to_end(&mut client), "head\ndata: parent\n\ndata: child\n\n");
    child.wait();
}

#[test]
fn a_child_that_lets_go_of_a_stream_leaves_it_to_its_parent() {
    let _alone = alone();
    let (socket, mut client) = local();
    let number = socket.as_raw_fd();
    let connection = at(number);
    let handle = open(opening(socket, settings()));
    eventually("the head is sent", || handle.buffered_bytes() == 0);
    let mut handle = Some(handle);
    fork(|| {
        drop(handle.take());
        assert_ne!(at(number), connection, "the child has no copy any more");
    })
    .wait();
    assert_eq!(handle.as_mut().map(|handle| handle.push(b"data: parent\n\n")), Some(Pushed::Taken));
    drop(handle);
    assert_eq!(read_to_end(&mut client), "head\ndata: parent\n\n");
}

#[test]
fn a_child_does_not_go_on_where_its_parent_has_something_to_send() {
    let _alone = alone();
    let (socket, _client) = local();
    let number = socket.as_raw_fd();
    let connection = at(number);
    let mut handle = open(opening(socket, Settings { max_buffered: usize::MAX, ..settings() }));
    assert_eq!(handle.push(&[b'x'; 10_000_000]), Pushed::Taken); // more than a socket takes
    fork(|| {
        assert_eq!(handle.push(b"data: child\n\n"), Pushed::Ended);
        assert_ne!(at(number), connection, "the child does not keep the connection open");
    })
    .wait();
    assert_eq!(handle.push(b"data: parent\n\n"), Pushed::Taken);
    handle.end(Reason::Application, Ending::Discard);
}

#[test]
fn a_child_never_closes_what_has_got_the_number_of_a_socket_that_came_too_late() {
    let _alone = alone();
    let mut handle = open(Opening { ends_with_handle: false, ..opening(None, settings()) });
    handle.end(Reason::Application, Ending::Discard);
    eventually("it has ended", || handle.want_end().is_some());
    let (socket, mut client) = local();
    let number = socket.as_raw_fd();
    handle.attach(socket);
    assert_eq!(read_to_end(&mut client), "", "the socket is closed");
    let another = occupy(number);
    let mut handle = Some(handle);
    fork(|| {
        drop(handle.take());
        assert_eq!(at(number), Some("/dev/null".into()), "it is another's");
    })
    .wait();
    drop(another);
}

#[test]
fn a_child_never_closes_what_has_got_the_number_of_a_socket_that_was_closed() {
    let _alone = alone();
    let (socket, mut client) = local();
    let number = socket.as_raw_fd();
    let handle = open(Opening { ends_with_handle: false, ..opening(socket, settings()) });
    handle.end(Reason::Application, Ending::Discard);
    assert!("head\n".starts_with(&read_to_end(&mut client)), "the socket is closed");
    let another = occupy(number);
    let mut handle = Some(handle);
    fork(|| {
        drop(handle.take());
        assert_eq!(at(number), Some("/dev/null".into()), "it is another's");
    })
    .wait();
    drop(another);
}

#[test]
fn a_stream_that_is_ended_at_once_ends_for_the_client_too_while_a_child_lives() {
    let _alone = alone();
    let (says, mut hears) = local();
    let (socket, mut client) = local();
    let handle = open(opening(socket, settings()));
    let child = fork(|| {
        // It knows nothing of the stream, as one whose handler has returned.
        read_until(&mut hears, "seen");
    });
    handle.end(Reason::Slow, Ending::Discard);
    assert!("head\n".starts_with(&read_to_end(&mut client)));
    UnixStream::from(says).write_all(b"seen").expect("the child reads");
    child.wait();
}

#[test]
fn a_child_that_ends_leaves_its_streams_to_its_parent() {
    let _alone = alone();
    let (socket, mut client) = local();
    let mut handle = open(opening(socket, settings()));
    eventually("the head is sent", || handle.buffered_bytes() == 0);
    fork(|| {
        assert_eq!(handle.push(b"data: child\n\n"), Pushed::Taken);
        linger(DEADLINE);
        shutdown();
        assert_eq!(handle.want_end(), Some(Reason::Server));
    })
    .wait();
    assert_eq!(handle.push(b"data: parent\n\n"), Pushed::Taken);
    assert_eq!(read_until(&mut client, "parent\n\n"), "head\ndata: child\n\ndata: parent\n\n");
}

#[test]
fn a_child_is_told_of_its_own_ends() {
    let _alone = alone();
    let parents = notify_descriptor(0).expect("a descriptor");
    fork(|| {
        let (socket, client) = local();
        let handle = open(opening(socket, settings()));
        assert_eq!(handle.want_end(), None);
        let descriptor = notify_descriptor(0).expect("a descriptor");
        assert!(descriptor != parents && !is_raised(descriptor));
        drop(client);
        eventually("there is something to be told", || is_raised(descriptor));
        assert_eq!(take_ended(0), Some((handle.id(), Reason::Client)));
        assert_eq!(take_ended(0), None);
        assert!(!is_raised(descriptor));
    })
    .wait();
}

#[test]
fn more_than_one_turn_can_send_is_sent_though_nothing_else_happens() {
    let _alone = alone();
    fork(|| {
        let mut handle = open(opening(None, settings()));
        for _ in 0..3_000 {
            assert_eq!(handle.push(b"data: 1\n\n"), Pushed::Taken);
        }
        let (socket, mut client) = tcp();
        handle.attach(socket);
        let all = "data: 1\n\n".len() * 3_000 + "head\n".len();
        let mut text = vec![0; all];
        client.read_exact(&mut text).expect("it is sent");
    })
    .wait();
}

#[test]
fn what_a_handler_has_pushed_is_sent_before_it_forks() {
    let _alone = alone();
    for _ in 0..20 {
        let (socket, mut client) = local();
        let mut handle = open(Opening { waits: true, ..opening(socket, settings()) });
        for number in 0..100 {
            assert_eq!(handle.push(format!("data: {number}\n\n").as_bytes()), Pushed::Taken);
        }
        let child = fork(|| {
            assert_eq!(handle.push(b"data: child\n\n"), Pushed::Taken);
            handle.close(Reason::Application);
            eventually("the child's has ended", || stats().open == 0);
        });
        child.wait();
        assert!(read_until(&mut client, "child\n\n").ends_with("data: 99\n\ndata: child\n\n"));
        handle.leave_handler();
    }
}

#[test]
fn a_child_has_streams_of_its_own() {
    let _alone = alone();
    let (parents, mut parents_client) = local();
    let parents = open(opening(parents, settings()));
    let before = stats();
    fork(|| {
        assert_eq!(stats().opened, 0);
        let (socket, mut client) = local();
        let mut handle = open(opening(socket, settings()));
        assert_eq!(handle.push(b"data: child\n\n"), Pushed::Taken);
        drop(handle);
        assert_eq!(read_to_end(&mut client), "head\ndata: child\n\n");
        assert_eq!(stats().opened, 1);
    })
    .wait();
    assert_eq!(stats().opened, before.opened);
    drop(parents);
    assert_eq!(read_to_end(&mut parents_client), "head\n");
}
