//! Streams on real sockets, as an application holds them: what threads and the kernel decide. `src/reactor/tests` has what the
//! reactor decides, `t/native` both on real servers.
#![cfg(target_os = "linux")]

mod client;

use client::{eventually, is_raised, local, open, opening, read_to_end, read_until, settings, tcp, DEADLINE};
use eventsource_xs::runtime::{notify_descriptor, take_ended, OpenOptions, Pushed, StreamHandle};
use eventsource_xs::stream::{Framing, Reason, Settings};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

/// More bytes than a socket of this machine takes while nobody reads.
const TOO_MUCH: usize = 20_000_000;

fn event(size: usize) -> Vec<u8> {
    [b"data: ", vec![b'x'; size].as_slice(), b"\n\n"].concat()
}

/// Returns how many bytes the kernel has received for a client.
fn received_bytes(client: &TcpStream) -> usize {
    let mut all = vec![0; TOO_MUCH];
    client.peek(&mut all).expect("bytes to read")
}

fn wait_for_end(handle: &StreamHandle) -> Reason {
    eventually("the stream ends", || handle.report_end_or_reason().is_some());
    handle.report_end_or_reason().expect("the stream has ended")
}

#[test]
fn pushed_events_arrive_in_order_before_the_end_of_the_stream() {
    for framing in [Framing::Plain, Framing::Chunked] {
        let (socket, mut client) = tcp();
        let mut handle = open(opening(socket, Settings { framing, ..settings() }));
        assert!(handle.is_open());
        for number in 0..100 {
            assert_eq!(handle.push(format!("data: {number}\n\n").as_bytes(), false), Pushed::Taken);
        }
        handle.close(Reason::Application);
        assert!(!handle.is_open());
        assert_eq!(handle.push(b"data: late\n\n", false), Pushed::Ended);
        let text = read_to_end(&mut client);
        let events = (0..100).map(|number| format!("data: {number}\n\n"));
        let framed: String = match framing {
            Framing::Plain => events.collect(),
            Framing::Chunked => events.map(|event| format!("{:x}\r\n{event}\r\n", event.len())).collect(),
        };
        let end = if framing == Framing::Plain { "" } else { "0\r\n\r\n" };
        assert_eq!(text, format!("head\n{framed}{end}"));
        assert_eq!(wait_for_end(&handle), Reason::Application);
    }
}

#[test]
fn a_client_that_closes_or_resets_its_connection_ends_the_stream_with_reason_client() {
    let ways: [fn(TcpStream) -> Option<TcpStream>; 4] = [
        |_| None,
        |client| client.shutdown(Shutdown::Both).ok().map(|()| client),
        |client| client.shutdown(Shutdown::Write).ok().map(|()| client),
        // Closing a socket with unread bytes resets the connection.
        |client| client.peek(&mut [0]).ok().and(None),
    ];
    for leave in ways {
        let (socket, client) = tcp();
        let handle = open(opening(socket, settings()));
        let _client = leave(client);
        assert_eq!(wait_for_end(&handle), Reason::Client);
        assert!(!handle.is_open());
    }
}

#[test]
fn bytes_from_a_client_are_discarded_and_never_reset_its_connection() {
    let (socket, mut client) = tcp();
    let mut handle = open(opening(socket, settings()));
    client.write_all(&[b'x'; 100_000]).expect("the server reads");
    assert_eq!(handle.push(b"data: 1\n\n", false), Pushed::Taken);
    assert_eq!(read_until(&mut client, "data: 1\n\n"), "head\ndata: 1\n\n");
    // The client still sends while the stream ends.
    handle.close(Reason::Application);
    let _ = client.write_all(&[b'x'; 10_000]);
    let mut rest = Vec::new();
    assert_eq!(client.read_to_end(&mut rest).map_err(|error| error.kind()), Ok(0));
}

#[test]
fn the_kernel_buffers_little_for_a_client_that_never_reads() {
    let (socket, client) = tcp();
    let mut handle = open(opening(socket, settings()));
    let large = event(TOO_MUCH);
    assert_eq!(handle.push(&large, false), Pushed::Taken);
    let mut before = usize::MAX;
    eventually("the kernel takes no more", || {
        thread::sleep(Duration::from_millis(50));
        handle.buffered_bytes() == std::mem::replace(&mut before, handle.buffered_bytes())
    });
    // The limit is on unsent bytes; how much the client's side receives depends on its window.
    let taken = "head\n".len() + large.len() - handle.buffered_bytes();
    let received = received_bytes(&client);
    assert!(taken - received < 512 << 10, "{taken} taken, {received} received");
}

#[test]
fn a_handler_that_waits_for_room_continues_when_there_is_room() {
    let (socket, mut client) = local();
    let mut handle = open(OpenOptions { waits: true, ..opening(socket, settings()) });
    let mut pushed = 0;
    let refused = loop {
        match handle.push(&event(50_000), false) {
            Pushed::Taken => pushed += 1,
            refused => break refused,
        }
    };
    assert_eq!((refused, handle.is_open()), (Pushed::Full, true));
    let reader = thread::spawn(move || read_to_end(&mut client));
    eventually("there is room", || {
        handle.wait_for_room(50_008, DEADLINE);
        handle.push(&event(50_000), false) == Pushed::Taken
    });
    // From here on a push does not wait, and a client that is too slow ends its stream.
    handle.leave_handler();
    handle.close(Reason::Application);
    let text = reader.join().expect("the reader ends");
    assert_eq!(text.matches("data: ").count(), pushed + 1);
}

#[test]
fn a_producer_that_waits_for_more_room_than_there_is_sleeps_until_its_timeout() {
    let (socket, _client) = local();
    let settings = Settings { max_buffered: 3 * TOO_MUCH, ..settings() };
    let mut handle = open(OpenOptions { waits: true, ..opening(socket, settings) });
    assert_eq!(handle.push(&event(TOO_MUCH), false), Pushed::Taken); // less than half of the buffer
    let large = vec![b'x'; 3 * TOO_MUCH];
    assert_eq!(handle.push(&large, false), Pushed::Full);
    let timeout = Duration::from_millis(100);
    let begin = Instant::now();
    handle.wait_for_room(large.len(), timeout);
    assert!(begin.elapsed() >= timeout, "returned without room after {:?}", begin.elapsed());
    handle.leave_handler();
}

/// Returns the directory in which the kernel reports the state of this thread.
fn task_of_this_thread() -> PathBuf {
    Path::new("/proc").join(fs::read_link("/proc/thread-self").expect("a proc file system"))
}

fn is_asleep(task: &Path) -> bool {
    let stat = fs::read_to_string(task.join("stat")).expect("the thread lives");
    stat.rsplit(')').next().map_or(false, |rest| rest.starts_with(" S"))
}

#[test]
fn a_producer_that_waits_for_room_is_woken_by_the_end_of_the_stream() {
    let (socket, client) = local();
    let settings = Settings { max_buffered: 3 * TOO_MUCH, ..settings() };
    let mut handle = open(OpenOptions { waits: true, ..opening(socket, settings) });
    assert_eq!(handle.push(&event(TOO_MUCH), false), Pushed::Taken); // more than the socket takes
    let (send_task, task) = mpsc::channel();
    let (send_return, returned) = mpsc::channel();
    let waiter = thread::spawn(move || {
        send_task.send(task_of_this_thread()).expect("the test receives");
        handle.wait_for_room(3 * TOO_MUCH, Duration::MAX);
        send_return.send(()).expect("the test receives");
        handle
    });
    let task = task.recv().expect("the thread has begun");
    eventually("the thread sleeps", || is_asleep(&task));
    assert!(returned.try_recv().is_err(), "the thread waits, for there is no room");
    drop(client);
    assert!(returned.recv_timeout(DEADLINE).is_ok(), "the end wakes the thread");
    let mut handle = waiter.join().expect("the thread returns");
    assert_eq!(wait_for_end(&handle), Reason::Client);
    assert_eq!(handle.push(&event(50_000), false), Pushed::Ended);
    handle.leave_handler();
}

#[test]
fn a_burst_that_the_socket_takes_does_not_end_the_stream_as_slow() {
    for _ in 0..20 {
        let (socket, mut client) = local();
        let mut handle = open(opening(socket, Settings { max_buffered: 10_000, ..settings() }));
        // Together they are more than the buffer's limit, and far less than the socket takes.
        for number in 0..10 {
            assert_eq!(handle.push(&event(9_000), false), Pushed::Taken, "{number}");
        }
        handle.close(Reason::Application);
        assert!(read_to_end(&mut client).len() > 10 * 9_000);
    }
}

#[test]
fn events_pushed_before_the_socket_is_attached_are_sent_afterwards() {
    let mut handle = open(opening(None, settings()));
    assert_eq!(handle.push(b"data: early\n\n", false), Pushed::Taken);
    let (socket, mut client) = local();
    handle.attach(socket);
    assert_eq!(read_until(&mut client, "\n\n"), "head\ndata: early\n\n");
    drop(handle);
    assert_eq!(read_to_end(&mut client), "");
}

#[test]
fn a_stream_whose_client_left_during_pushes_buffers_nothing() {
    let (socket, client) = local();
    let mut handle = open(opening(socket, settings()));
    drop(client);
    while handle.push(b"data: 1\n\n", false) == Pushed::Taken {}
    assert_eq!(wait_for_end(&handle), Reason::Client);
    assert_eq!(handle.buffered_bytes(), 0);
}

#[test]
fn an_end_is_reported_only_to_the_interpreter_that_asked_for_it() {
    let [mine, others, silent] = [7, 8, 7].map(|interpreter| {
        let (socket, client) = local();
        (open(OpenOptions { interpreter, ..opening(socket, settings()) }), client)
    });
    assert_eq!((mine.0.report_end_or_reason(), others.0.report_end_or_reason()), (None, None));
    let descriptor = notify_descriptor(7).expect("a descriptor");
    let streams = [&mine, &others, &silent].map(|(handle, _)| handle.id());
    drop((mine.1, others.1, silent.1));
    assert_eq!(wait_for_end(&silent.0), Reason::Client);
    eventually("the descriptor is readable", || is_raised(descriptor));
    for (interpreter, stream) in [(7, streams[0]), (8, streams[1])] {
        let mut reported = Vec::new();
        eventually("the end is reported", || {
            reported.extend(take_ended(interpreter));
            reported.contains(&(stream, Reason::Client))
        });
        let other = streams[usize::from(interpreter == 7)];
        assert!(reported.iter().chain(&take_ended(interpreter)).all(|(stream, _)| *stream != other), "{reported:?}");
    }
    assert_eq!(notify_descriptor(7).ok(), Some(descriptor));
}

#[test]
fn streams_end_when_several_threads_drop_their_handles_at_once() {
    for _ in 0..1_000 {
        let (sockets, clients): (Vec<_>, Vec<_>) = (0..2).map(|_| local()).unzip();
        let ready = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = sockets
            .into_iter()
            .map(|socket| {
                let ready = Arc::clone(&ready);
                let handle = open(opening(socket, settings()));
                assert!(handle.id().slot < 500, "slots are reused");
                thread::spawn(move || {
                    // A barrier that sleeps would wake the threads one after the other.
                    ready.fetch_add(1, Ordering::SeqCst);
                    while ready.load(Ordering::SeqCst) < 2 {
                        std::hint::spin_loop();
                    }
                    drop(handle);
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("the thread drops its handle");
        }
        for mut client in clients {
            assert_eq!(read_to_end(&mut client), "head\n");
        }
    }
}
