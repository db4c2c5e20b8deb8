//! Streams on real sockets, as an application holds them.
#![cfg(target_os = "linux")]

mod client;

use client::{eventually, is_raised, local, open, opening, read_to_end, read_until, settings, tcp, DEADLINE};
use eventsource_xs::runtime::{notify_descriptor, stats, take_ended, Opening, Pushed, StreamHandle};
use eventsource_xs::stream::{Framing, Reason, Settings};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::thread;
use std::time::{Duration, Instant};

/// More than a socket of this machine takes while nobody reads.
const TOO_MUCH: usize = 20_000_000;

fn event(size: usize) -> Vec<u8> {
    [b"data: ", vec![b'x'; size].as_slice(), b"\n\n"].concat()
}

/// How many bytes the kernel has received for a client.
fn client_has(client: &TcpStream) -> usize {
    let mut all = vec![0; TOO_MUCH];
    client.peek(&mut all).expect("there is something")
}

fn wait_for_end(handle: &StreamHandle) -> Reason {
    eventually("the stream ends", || handle.want_end().is_some());
    handle.want_end().expect("it has ended")
}

#[test]
fn what_is_pushed_arrives_in_order_and_the_end_after_it() {
    for framing in [Framing::Plain, Framing::Chunked] {
        let (socket, mut client) = tcp();
        let mut handle = open(opening(socket, Settings { framing, ..settings() }));
        assert!(handle.is_open());
        for number in 0..100 {
            assert_eq!(handle.push(format!("data: {number}\n\n").as_bytes()), Pushed::Taken);
        }
        handle.close(Reason::Application);
        assert!(!handle.is_open());
        assert_eq!(handle.push(b"data: late\n\n"), Pushed::Ended);
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
fn a_client_that_leaves_ends_its_stream() {
    let ways: [fn(TcpStream) -> Option<TcpStream>; 4] = [
        |_| None,
        |client| client.shutdown(Shutdown::Both).ok().map(|()| client),
        |client| client.shutdown(Shutdown::Write).ok().map(|()| client),
        // With something unread: the connection is reset.
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
fn what_a_client_sends_is_read_and_forgotten() {
    let (socket, mut client) = tcp();
    let mut handle = open(opening(socket, settings()));
    client.write_all(&[b'x'; 100_000]).expect("it is read");
    assert_eq!(handle.push(b"data: 1\n\n"), Pushed::Taken);
    assert_eq!(read_until(&mut client, "data: 1\n\n"), "head\ndata: 1\n\n");
    // And at the end nothing is reset, whatever it goes on sending.
    handle.close(Reason::Application);
    let _ = client.write_all(&[b'x'; 10_000]);
    let mut rest = Vec::new();
    assert_eq!(client.read_to_end(&mut rest).map_err(|error| error.kind()), Ok(0));
}

#[test]
fn a_client_that_sends_without_end_is_none() {
    let (socket, mut client) = tcp();
    let handle = open(opening(socket, settings()));
    while client.write_all(&[b'x'; 10_000]).is_ok() {}
    assert_eq!(wait_for_end(&handle), Reason::Error);
}

#[test]
fn a_slow_client_is_dropped_and_its_neighbour_is_not() {
    let (slow, _slow_client) = local();
    let (quick, mut quick_client) = local();
    let mut slow = open(opening(slow, settings()));
    let mut quick = open(opening(quick, settings()));
    eventually("the slow one is slow", || slow.push(&event(50_000)) == Pushed::Ended);
    assert_eq!(wait_for_end(&slow), Reason::Slow);
    assert_eq!(quick.push(b"data: 1\n\n"), Pushed::Taken);
    read_until(&mut quick_client, "data: 1\n\n");
    assert!(quick.is_open());
}

#[test]
fn the_kernel_keeps_little_for_a_client_that_never_reads() {
    let (socket, client) = tcp();
    let mut handle = open(opening(socket, settings()));
    let large = event(TOO_MUCH);
    assert_eq!(handle.push(&large), Pushed::Taken);
    let mut before = usize::MAX;
    eventually("the kernel takes no more", || {
        thread::sleep(Duration::from_millis(50));
        handle.buffered_bytes() == std::mem::replace(&mut before, handle.buffered_bytes())
    });
    // The window of the client is its own affair; what it has not been sent yet is ours.
    let taken = "head\n".len() + large.len() - handle.buffered_bytes();
    let received = client_has(&client);
    assert!(taken - received < 512 << 10, "{taken} taken, {received} received");
}

#[test]
fn one_event_is_taken_whatever_its_size() {
    let (socket, mut client) = local();
    let mut handle = open(opening(socket, settings()));
    eventually("the head is sent", || handle.buffered_bytes() == 0);
    let large = event(TOO_MUCH);
    assert_eq!(handle.push(&large), Pushed::Taken);
    handle.close(Reason::Application);
    assert_eq!(read_to_end(&mut client).len(), "head\n".len() + large.len());
    eventually("nothing waits", || handle.buffered_bytes() == 0);
}

#[test]
fn who_waits_in_a_handler_goes_on_when_there_is_room() {
    let (socket, mut client) = local();
    let mut handle = open(Opening { waits: true, ..opening(socket, settings()) });
    let mut pushed = 0;
    let then = loop {
        match handle.push(&event(50_000)) {
            Pushed::Taken => pushed += 1,
            then => break then,
        }
    };
    assert_eq!((then, handle.is_open()), (Pushed::Full, true));
    let reader = thread::spawn(move || read_to_end(&mut client));
    eventually("there is room", || {
        handle.wait_for_room(50_008, DEADLINE);
        handle.push(&event(50_000)) == Pushed::Taken
    });
    // From here on it does not wait; whoever is too slow then is slow.
    handle.leave_handler();
    handle.close(Reason::Application);
    let text = reader.join().expect("it reads");
    assert_eq!(text.matches("data: ").count(), pushed + 1);
}

#[test]
fn who_waits_for_more_room_than_there_is_sleeps() {
    let (socket, _client) = local();
    let settings = Settings { max_buffered: 3 * TOO_MUCH, ..settings() };
    let mut handle = open(Opening { waits: true, ..opening(socket, settings) });
    assert_eq!(handle.push(&event(TOO_MUCH)), Pushed::Taken); // less than half of what may wait
    let large = vec![b'x'; 3 * TOO_MUCH];
    assert_eq!(handle.push(&large), Pushed::Full);
    let time = Duration::from_millis(100);
    let begin = Instant::now();
    handle.wait_for_room(large.len(), time);
    assert!(begin.elapsed() >= time, "there is no room after {:?}", begin.elapsed());
    handle.leave_handler();
}

/// Where the kernel says how this thread is.
fn task_of_this_thread() -> PathBuf {
    Path::new("/proc").join(fs::read_link("/proc/thread-self").expect("there is a proc file system"))
}

fn is_asleep(task: &Path) -> bool {
    let stat = fs::read_to_string(task.join("stat")).expect("the thread lives");
    stat.rsplit(')').next().map_or(false, |rest| rest.starts_with(" S"))
}

#[test]
fn who_waits_for_room_is_woken_by_the_end() {
    let (socket, client) = local();
    let settings = Settings { max_buffered: 3 * TOO_MUCH, ..settings() };
    let mut handle = open(Opening { waits: true, ..opening(socket, settings) });
    assert_eq!(handle.push(&event(TOO_MUCH)), Pushed::Taken); // its socket never takes all of it
    let (tell_task, task) = mpsc::channel();
    let (tell_return, returned) = mpsc::channel();
    let waiter = thread::spawn(move || {
        tell_task.send(task_of_this_thread()).expect("the test waits");
        handle.wait_for_room(3 * TOO_MUCH, Duration::MAX);
        tell_return.send(()).expect("the test waits");
        handle
    });
    let task = task.recv().expect("it has begun");
    eventually("the thread sleeps", || is_asleep(&task));
    assert!(returned.try_recv().is_err(), "it waits: there is no room");
    drop(client);
    assert!(returned.recv_timeout(DEADLINE).is_ok(), "the end did not wake it");
    let mut handle = waiter.join().expect("it returns");
    assert_eq!(wait_for_end(&handle), Reason::Client);
    assert_eq!(handle.push(&event(50_000)), Pushed::Ended);
    handle.leave_handler();
}

#[test]
fn a_burst_that_the_socket_takes_is_no_slow_client() {
    for _ in 0..20 {
        let (socket, mut client) = local();
        let mut handle = open(opening(socket, Settings { max_buffered: 10_000, ..settings() }));
        // Together they are more than may wait, and far less than the socket holds.
        for number in 0..10 {
            assert_eq!(handle.push(&event(9_000)), Pushed::Taken, "{number}");
        }
        handle.close(Reason::Application);
        assert!(read_to_end(&mut client).len() > 10 * 9_000);
    }
}

#[test]
fn the_oldest_events_are_dropped_whole() {
    const COUNT: usize = 4_000; // far more than the sockets between us hold
    let (socket, mut client) = local();
    let mut handle = open(opening(socket, Settings { drop_oldest: true, ..settings() }));
    let lost = stats().lost;
    for number in 0..COUNT {
        let event = format!("id: {number}\ndata: {}\n\n", "x".repeat(10_000));
        assert_eq!(handle.push(event.as_bytes()), Pushed::Taken);
    }
    handle.close(Reason::Application);
    let text = read_to_end(&mut client);
    let events: Vec<&str> = text.strip_prefix("head\n").expect("the head").split_terminator("\n\n").collect();
    let numbers = events.iter().map(|event| {
        let (id, data) = event.strip_prefix("id: ").and_then(|event| event.split_once("\ndata: ")).expect("an event");
        assert_eq!(data.len(), 10_000);
        id.parse::<usize>().expect("a number")
    });
    let numbers: Vec<usize> = numbers.collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&(COUNT - 1)));
    assert!(numbers.len() < COUNT);
    eventually("the others are counted", || stats().lost - lost >= (COUNT - numbers.len()) as u64);
}

#[test]
fn one_stream_too_many_is_told_to_come_back() {
    let (socket, mut client) = local();
    let mut handle = open(Opening { max_streams: 0, ..opening(socket, settings()) });
    assert!(!handle.is_open());
    assert_eq!(handle.push(b"data: 1\n\n"), Pushed::Ended);
    let text = read_to_end(&mut client);
    let retry = text.strip_prefix("head\nretry: ").and_then(|retry| retry.strip_suffix("\r\n\r\n"));
    let retry: u64 = retry.and_then(|retry| retry.parse().ok()).unwrap_or_else(|| panic!("{text:?}"));
    assert!((3_000..=6_000).contains(&retry));
    assert_eq!(wait_for_end(&handle), Reason::Server);
    assert!(stats().refused >= 1);
}

#[test]
fn a_socket_may_come_later() {
    let mut handle = open(opening(None, settings()));
    assert_eq!(handle.push(b"data: early\n\n"), Pushed::Taken);
    let (socket, mut client) = local();
    handle.attach(socket);
    assert_eq!(read_until(&mut client, "\n\n"), "head\ndata: early\n\n");
    drop(handle);
    assert_eq!(read_to_end(&mut client), "");
}

#[test]
fn a_socket_that_never_comes_ends_the_stream() {
    let handle = open(opening(None, Settings { timeout: Duration::from_millis(1), ..settings() }));
    assert_eq!(wait_for_end(&handle), Reason::Timeout);
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let (socket, _client) = local();
    let mut handle = open(opening(socket, Settings { timeout: Duration::from_millis(50), ..settings() }));
    eventually("the head is sent", || handle.buffered_bytes() == 0);
    assert_eq!(handle.push(&event(TOO_MUCH)), Pushed::Taken);
    assert_eq!(wait_for_end(&handle), Reason::Timeout);
    assert_eq!(handle.buffered_bytes(), 0);
}

#[test]
fn a_quiet_stream_is_sent_comments() {
    let (socket, mut client) = local();
    let _handle = open(opening(socket, Settings { keepalive: Some(Duration::from_millis(5)), ..settings() }));
    assert_eq!(read_until(&mut client, ":\r\n\r\n:\r\n\r\n:\r\n\r\n"), "head\n:\r\n\r\n:\r\n\r\n:\r\n\r\n");
}

#[test]
fn what_was_dropped_to_may_be_waited_for_no_longer() {
    let (socket, client) = local();
    let mut handle = open(opening(socket, settings()));
    drop(client);
    while handle.push(b"data: 1\n\n") == Pushed::Taken {}
    assert_eq!(wait_for_end(&handle), Reason::Client);
    assert_eq!(handle.buffered_bytes(), 0);
}

#[test]
fn an_end_is_told_to_the_interpreter_that_asked() {
    let [mine, others, silent] = [7, 8, 7].map(|interpreter| {
        let (socket, client) = local();
        (open(Opening { interpreter, ..opening(socket, settings()) }), client)
    });
    assert_eq!((mine.0.want_end(), others.0.want_end()), (None, None));
    let descriptor = notify_descriptor(7).expect("a descriptor");
    let streams = [&mine, &others, &silent].map(|(handle, _)| handle.id());
    drop((mine.1, others.1, silent.1));
    assert_eq!(wait_for_end(&silent.0), Reason::Client);
    eventually("the descriptor says so", || is_raised(descriptor));
    for (interpreter, stream) in [(7, streams[0]), (8, streams[1])] {
        let mut told = Vec::new();
        eventually("it is told", || {
            told.extend(take_ended(interpreter));
            told.contains(&(stream, Reason::Client))
        });
        let other = streams[usize::from(interpreter == 7)];
        assert!(told.iter().chain(&take_ended(interpreter)).all(|(stream, _)| *stream != other), "{told:?}");
    }
    assert_eq!(notify_descriptor(7).ok(), Some(descriptor));
}

#[test]
fn the_last_handle_of_several_threads_ends_the_stream() {
    for _ in 0..1_000 {
        let (socket, mut client) = local();
        let handle = open(opening(socket, settings()));
        assert!(handle.id().slot < 500, "places are used again");
        let here = Arc::new(AtomicUsize::new(0));
        let threads = [handle.clone(), handle].map(|handle| {
            let here = Arc::clone(&here);
            thread::spawn(move || {
                // No barrier that sleeps: both are to let go in the same moment.
                here.fetch_add(1, Ordering::SeqCst);
                while here.load(Ordering::SeqCst) < 2 {
                    std::hint::spin_loop();
                }
                drop(handle);
            })
        });
        for thread in threads {
            thread.join().expect("it drops its handle");
        }
        assert_eq!(read_to_end(&mut client), "head\n");
        drop(client);
    }
}
