//! A hub process that a test plays.

use crate::reactor::StreamId;
use crate::sys::socket::{receive, Wait};
use crate::wire::{FrameBuffer, Reply, Request, Response};
use rustix::fd::{AsFd, OwnedFd};
use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::net::UnixStream;

/// The other side of a connection.
pub(super) struct HubSide {
    pub(super) socket: UnixStream,
    inbox: FrameBuffer,
    pub(super) sockets: VecDeque<Option<OwnedFd>>,
}

impl HubSide {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, inbox: FrameBuffer::default(), sockets: VecDeque::new() }
    }

    /// Calls a function with the next request.
    pub(super) fn next<T>(&mut self, function: impl FnOnce(Request<'_>) -> T) -> T {
        while !self.inbox.has_frame().expect("frames") {
            let room = self.inbox.room(1 << 16);
            let count = receive(self.socket.as_fd(), room, &mut self.sockets, Wait::Forever).expect("bytes");
            assert!(count > 0, "the connection is open");
            self.inbox.filled(count);
        }
        let frame = self.inbox.next_frame().expect("frames").expect("a frame");
        function(Request::decode(frame).expect("a request"))
    }

    pub(super) fn answer(&mut self, response: &Response<'_>) {
        let mut bytes = Vec::new();
        response.encode(&mut bytes).expect("a short answer");
        self.socket.write_all(&bytes).expect("a connection");
    }

    /// Takes a stream over, and accepts its subscription. Returns its socket, and what the stream is to be sent first: what was
    /// buffered, then each push.
    pub(super) fn take_over(&mut self, expected: StreamId) -> (UnixStream, Vec<Vec<u8>>) {
        let mut sent = vec![self.next(|request| match request {
            Request::Open(open) => {
                assert_eq!(open.stream, u64::from(expected));
                open.unsent.to_vec()
            }
            other => panic!("{other:?}"),
        })];
        sent.append(&mut self.accept_subscription(expected));
        let socket = self.sockets.pop_front().flatten().expect("a socket");
        (socket.into(), sent)
    }

    /// Accepts the subscription of a stream. Returns the events that were pushed to it before.
    pub(super) fn accept_subscription(&mut self, expected: StreamId) -> Vec<Vec<u8>> {
        let mut pushed = Vec::new();
        let request = loop {
            let subscribed = self.next(|request| match request {
                Request::Push { stream, event, .. } => {
                    assert_eq!(stream, u64::from(expected));
                    pushed.push(event.to_vec());
                    None
                }
                Request::Subscribe { request, stream, .. } => {
                    assert_eq!(stream, u64::from(expected));
                    Some(request)
                }
                other => panic!("{other:?}"),
            });
            if let Some(request) = subscribed {
                break request;
            }
        };
        self.answer(&Response::Reply { request, result: Ok(Reply::Done) });
        pushed
    }
}
