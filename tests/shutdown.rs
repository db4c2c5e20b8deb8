//! The shutdown of a process that holds streams. The reactor does not start again afterwards, so this file has one
//! test.
#![cfg(target_os = "linux")]

#[path = "client/child.rs"]
mod child;
mod client;

use child::fork;
use client::{local, open, opening, read_to_end, read_until, settings};
use eventsource_xs::runtime::{linger, notify_descriptor, shutdown, stats, Pushed, StreamHandle};
use eventsource_xs::stream::{Framing, Reason, Settings};
use std::time::Duration;

#[test]
fn a_shutdown_tells_every_client_to_reconnect_and_refuses_new_streams() {
    let (first, mut plain) = local();
    let (second, mut chunked) = local();
    let (third, stuck) = local();
    let mut handles = [
        open(opening(first, settings())),
        open(opening(second, Settings { framing: Framing::Chunked, ..settings() })),
        open(opening(third, Settings { max_buffered: usize::MAX, ..settings() })),
    ];
    assert_eq!(handles[0].push(b"data: last\n\n", false), Pushed::Taken);
    read_until(&mut plain, "data: last\n\n");
    // A client that never reads gets more than its socket takes.
    for _ in 0..100 {
        assert_eq!(handles[2].push(&[b'x'; 50_000], false), Pushed::Taken);
    }

    linger(Duration::from_millis(300));
    shutdown();

    let retry = read_to_end(&mut plain);
    let retry: u64 = retry.strip_prefix("retry: ").unwrap().trim_end().parse().unwrap();
    assert!((3000..=6000).contains(&retry), "{retry}");
    let text = read_to_end(&mut chunked);
    assert!(text.starts_with("head\nc\r\nretry: ") && text.ends_with("\n\r\n0\r\n\r\n"), "{text:?}");
    for handle in &mut handles {
        assert_eq!(handle.report_end_or_reason(), Some(Reason::Server));
        assert_eq!(handle.push(b"data: late\n\n", false), Pushed::Ended);
    }
    assert_eq!((stats().open, stats().lost != [0; 7]), (0, true));

    let (socket, _client) = local();
    let (error, socket) = StreamHandle::open(opening(socket, settings())).map(|_| "opened").unwrap_err();
    assert!(error.to_string().contains("ending") && socket.is_some(), "{error}");
    assert!(notify_descriptor(0).is_ok(), "an event loop may still watch the descriptor");
    linger(Duration::MAX);
    shutdown(); // returns at once, for no stream is left

    // A child does not end with its parent, and may open streams.
    fork(|| {
        let (socket, mut client) = local();
        let handle = open(opening(socket, settings()));
        assert_eq!(read_until(&mut client, "\n"), "head\n");
        drop(handle);
    })
    .wait();
    drop(stuck);
}
