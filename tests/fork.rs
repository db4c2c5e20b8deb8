//! Streams in a process that forks, and in its children.
#![cfg(target_os = "linux")]

#[path = "client/child.rs"]
mod child;
mod client;

use child::fork;
use client::{eventually, is_raised, local, open, opening, read_to_end, read_until, settings, tcp, DEADLINE};
use eventsource_xs::reactor::Ending;
use eventsource_xs::runtime::{
    linger, notify_descriptor, shutdown, stats, take_ended, OpenOptions, Pushed, StreamHandle,
};
use eventsource_xs::stream::Reason;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lets one test run at a time, for a child inherits the sockets of every test that runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the file that a descriptor of this process refers to.
fn file_at(number: RawFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{number}")).ok()
}

/// Waits until a closed socket's number has another file: `/dev/null`, or what another thread has opened meanwhile.
fn reuse(number: RawFd, socket: Option<PathBuf>) -> Option<OwnedFd> {
    assert!(socket.is_some(), "a socket is open");
    let mut other_file = None;
    eventually("another file has the number", || {
        if other_file.is_none() && file_at(number).is_none() {
            let file = File::open("/dev/null").expect("/dev/null");
            // SAFETY: nothing else owns the copy.
            let copy = unsafe { OwnedFd::from_raw_fd(libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number)) };
            other_file = [file.into(), copy].into_iter().find(|file: &OwnedFd| file.as_raw_fd() == number);
        }
        file_at(number).is_some() && file_at(number) != socket
    });
    other_file
}

#[test]
fn a_child_continues_a_stream_that_its_parent_releases() {
    let _alone = alone();
    let (socket, mut client) = local();
    let (parent, mut child_side) = local();
    let mut handle = open(opening(socket, settings()));
    assert_eq!(handle.push(b"data: parent\n\n", false), Pushed::Taken);
    eventually("the event is sent", || handle.buffered_bytes() == 0);
    let child = fork(|| {
        read_until(&mut child_side, "released");
        assert_eq!(handle.push(b"data: child\n\n", false), Pushed::Taken);
        handle.close(Reason::Application);
        eventually("the child's stream has ended", || stats().opened == 1 && stats().open == 0);
    });
    let ended = stats().ended;
    drop(handle);
    eventually("the parent's stream has ended", || stats().ended != ended);
    UnixStream::from(parent).write_all(b"released").expect("the child reads");
    assert_eq!(read_to_end(&mut client), "head\ndata: parent\n\ndata: child\n\n");
    child.wait();
}

#[test]
fn a_child_that_releases_a_stream_leaves_it_to_its_parent() {
    let _alone = alone();
    let (socket, mut client) = local();
    let number = socket.as_raw_fd();
    let connection = file_at(number);
    let handle = open(opening(socket, settings()));
    eventually("the head is sent", || handle.buffered_bytes() == 0);
    let mut handle = Some(handle);
    fork(|| {
        drop(handle.take());
        assert_ne!(file_at(number), connection, "the child has closed its copy");
    })
    .wait();
    assert_eq!(handle.as_mut().map(|handle| handle.push(b"data: parent\n\n", false)), Some(Pushed::Taken));
    drop(handle);
    assert_eq!(read_to_end(&mut client), "head\ndata: parent\n\n");
}

/// Drops a handle in a child, where another file has the number of its socket.
fn assert_child_leaves_another_file_open(handle: StreamHandle, number: RawFd, socket: Option<PathBuf>) {
    let other_file = reuse(number, socket);
    let mut handle = Some(handle);
    fork(|| {
        let file = file_at(number);
        drop(handle.take());
        assert_eq!(file_at(number), file, "the other file is still open");
    })
    .wait();
    drop(other_file);
}

#[test]
fn a_child_does_not_close_a_reused_number_of_a_socket_that_came_after_the_end() {
    let _alone = alone();
    let mut handle = open(OpenOptions { ends_with_handle: false, ..opening(None, settings()) });
    handle.end(Reason::Application, Ending::Discard);
    eventually("the stream has ended", || handle.report_end_or_reason().is_some());
    let (socket, mut client) = local();
    let (number, file) = (socket.as_raw_fd(), file_at(socket.as_raw_fd()));
    handle.attach(socket);
    assert_eq!(read_to_end(&mut client), "", "the socket is closed");
    assert_child_leaves_another_file_open(handle, number, file);
}

#[test]
fn a_child_does_not_close_a_reused_number_of_a_closed_socket() {
    let _alone = alone();
    let (socket, mut client) = local();
    let (number, file) = (socket.as_raw_fd(), file_at(socket.as_raw_fd()));
    let handle = open(OpenOptions { ends_with_handle: false, ..opening(socket, settings()) });
    handle.end(Reason::Application, Ending::Discard);
    assert!("head\n".starts_with(&read_to_end(&mut client)), "the socket is closed");
    assert_child_leaves_another_file_open(handle, number, file);
}

#[test]
fn a_discarded_stream_ends_for_its_client_while_a_child_has_a_copy_of_the_socket() {
    let _alone = alone();
    let (parent, mut child_side) = local();
    let (socket, mut client) = local();
    let handle = open(opening(socket, settings()));
    let child = fork(|| {
        // The child does not use the stream, as after its handler has returned.
        read_until(&mut child_side, "seen");
    });
    handle.end(Reason::Slow, Ending::Discard);
    assert!("head\n".starts_with(&read_to_end(&mut client)));
    UnixStream::from(parent).write_all(b"seen").expect("the child reads");
    child.wait();
}

#[test]
fn a_child_that_shuts_down_leaves_its_streams_to_its_parent() {
    let _alone = alone();
    let (socket, mut client) = local();
    let mut handle = open(opening(socket, settings()));
    eventually("the head is sent", || handle.buffered_bytes() == 0);
    fork(|| {
        assert_eq!(handle.push(b"data: child\n\n", false), Pushed::Taken);
        linger(DEADLINE);
        shutdown();
        assert_eq!(handle.report_end_or_reason(), Some(Reason::Server));
    })
    .wait();
    assert_eq!(handle.push(b"data: parent\n\n", false), Pushed::Taken);
    assert_eq!(read_until(&mut client, "parent\n\n"), "head\ndata: child\n\ndata: parent\n\n");
}

#[test]
fn a_child_has_its_own_queue_of_ended_streams() {
    let _alone = alone();
    let parents_descriptor = notify_descriptor(0).expect("a descriptor");
    fork(|| {
        let (socket, client) = local();
        let handle = open(opening(socket, settings()));
        assert_eq!(handle.report_end_or_reason(), None);
        let descriptor = notify_descriptor(0).expect("a descriptor");
        assert!(descriptor != parents_descriptor && !is_raised(descriptor));
        drop(client);
        eventually("the end is reported", || is_raised(descriptor));
        assert_eq!(take_ended(0), Some((handle.id(), Reason::Client)));
        assert_eq!(take_ended(0), None);
        assert!(!is_raised(descriptor));
    })
    .wait();
}

#[test]
fn events_for_several_turns_of_the_reactor_are_sent_without_another_wake_up() {
    let _alone = alone();
    fork(|| {
        let mut handle = open(opening(None, settings()));
        for _ in 0..3_000 {
            assert_eq!(handle.push(b"data: 1\n\n", false), Pushed::Taken);
        }
        let (socket, mut client) = tcp();
        handle.attach(socket);
        let all = "data: 1\n\n".len() * 3_000 + "head\n".len();
        let mut text = vec![0; all];
        client.read_exact(&mut text).expect("all events");
    })
    .wait();
}

#[test]
fn a_fork_waits_until_the_pushes_of_the_handler_are_sent() {
    let _alone = alone();
    for _ in 0..20 {
        let (socket, mut client) = local();
        let mut handle = open(OpenOptions { waits: true, ..opening(socket, settings()) });
        for number in 0..100 {
            assert_eq!(handle.push(format!("data: {number}\n\n").as_bytes(), false), Pushed::Taken);
        }
        let child = fork(|| {
            assert_eq!(handle.push(b"data: child\n\n", false), Pushed::Taken);
            handle.close(Reason::Application);
            eventually("the child's stream has ended", || stats().open == 0);
        });
        child.wait();
        assert!(read_until(&mut client, "child\n\n").ends_with("data: 99\n\ndata: child\n\n"));
        handle.leave_handler();
    }
}
