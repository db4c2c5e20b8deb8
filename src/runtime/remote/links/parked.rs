//! Streams that no hub process has: their connection was lost before they were handed over.

use super::remote_stream::{encode_request, RemoteStream};
use crate::runtime::remote::link::Link;
use crate::wire::{FrameBuffer, Request};
use rustix::fd::OwnedFd;
use std::collections::HashMap;

/// Encoded requests, each with the socket that travels beside it.
pub(super) type Requests = Vec<(Vec<u8>, Option<OwnedFd>)>;

/// A stream that is still to be handed over. After the loss of its connection a thread waits for its subscription, and makes it
/// again.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) remote: RemoteStream,
    /// The request that hands the stream over, and what was asked of the stream since.
    pub(super) requests: Requests,
}

/// Returns what a lost connection has not sent of the streams that it was to hand over: of those one of whose subscriptions is
/// among the `awaited` requests.
pub(super) fn unsent_of(link: Link, awaited: &[u64]) -> HashMap<u64, Requests> {
    let mut opened: HashMap<u64, Requests> = HashMap::new();
    let mut subscribed = Vec::new();
    for (bytes, mut socket) in link.unsent() {
        let mut frames = FrameBuffer::default();
        frames.feed(&bytes);
        while let Some(request) = frames.next_frame().ok().flatten().and_then(|frame| Request::decode(frame).ok()) {
            let stream = match &request {
                Request::Open(open) if socket.is_some() => open.stream,
                Request::OpenWithoutSocket(open) => open.stream,
                Request::Attach { stream }
                | Request::Push { stream, .. }
                | Request::Begin { stream }
                | Request::End { stream, .. } => *stream,
                Request::Subscribe { request, stream, .. } if awaited.contains(request) => {
                    subscribed.push(*stream);
                    continue;
                }
                _ => continue,
            };
            if let Request::Open(_) | Request::OpenWithoutSocket(_) = request {
                opened.insert(stream, Vec::new());
            }
            if let Some(requests) = opened.get_mut(&stream) {
                requests.push((encode_request(stream, &request), socket.take()));
            }
        }
    }
    opened.retain(|stream, _| subscribed.contains(stream));
    opened
}
