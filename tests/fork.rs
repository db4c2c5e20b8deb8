//! Streams in a process that forks, and in its children.
#![cfg(target_os = "linux")]

mod client;

use client::{eventually, local, open, opening, read_to_end, read_until, settings};
use eventsource_xs::reactor::{stats, Ending, Opening, Pushed};
use eventsource_xs::stream::{Reason, Settings};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A child inherits the sockets of every test that runs, so one runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Child(libc::pid_t);

/// Has a child do something.
fn fork(body: impl FnOnce()) -> Child {
    // SAFETY: the child runs this thread's code alone, and ends without running what the parent's end would.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        let done = catch_unwind(AssertUnwindSafe(body));
        if let Err(cause) = &done {
            // Not by a macro, whose output is kept for the parent to print.
            let text = cause.downcast_ref::<&str>().copied();
            let cause = text.or_else(|| cause.downcast_ref::<String>().map(String::as_str));
            let _ = writeln!(std::io::stderr(), "the child: {cause:?}");
        }
        // SAFETY: it only ends the process.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    Child(child)
}

impl Child {
    /// Waits for its end. Fails if it has failed.
    fn wait(self) {
        let mut status = 0;
        // SAFETY: the status is ours.
        let ended = unsafe { libc::waitpid(self.0, &mut status, 0) };
        assert_eq!((ended, status), (self.0, 0), "the child has failed; what it says is above");
    }
}

/// What this process has at that number.
fn at(number: RawFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{number}")).ok()
}

/// Something of another's at that number, which has to be free.
fn occupy(number: RawFd) -> OwnedFd {
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
    eventually("it is sent", || handle.waiting_bytes() == 0);
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
    eventually("the head is sent", || handle.waiting_bytes() == 0);
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
        assert_eq!(handle.push(b"data: child\n\n"), Pushed::Gone);
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
