//! A stream that was handed over: what its hub process has to send, and what its producers see of that; and one that no hub
//! process has: its connection was lost before it was handed over.

use crate::event::Framing;
use crate::reactor::{Command, Ending};
use crate::runtime::event_loop::streams::Context;
use crate::runtime::remote::link::Link;
use crate::runtime::stats::add;
use crate::runtime::stream_state::StreamState;
use crate::stream::{Reason, Settings};
use crate::wire::{FrameBuffer, Request, StreamProgress};
use rustix::fd::OwnedFd;
use std::collections::HashMap;

/// A stream that was handed over.
#[derive(Debug)]
pub(super) struct RemoteStream {
    pub(super) link: u32,
    framing: Framing,
    /// True if the stream drops events if too many are buffered.
    drops: bool,
    /// The number of bytes that were pushed, without framing.
    pushed: u64,
    /// The number of buffered bytes in its state's count that came from here.
    accounted: usize,
}

impl RemoteStream {
    /// A stream that is handed over on a connection.
    pub(super) fn new(link: u32, settings: &Settings) -> Self {
        Self { link, framing: settings.framing, drops: settings.drop_oldest, pushed: 0, accounted: 0 }
    }

    /// Counts what is buffered in the hub process and on the way there as the stream's.
    pub(super) fn apply_progress(&mut self, progress: &StreamProgress, state: &StreamState) {
        let pushed_since = self.pushed.saturating_sub(progress.pushed);
        let now = usize::try_from(progress.buffered.saturating_add(pushed_since)).unwrap_or(usize::MAX / 2);
        state.add_buffered(now);
        state.subtract_buffered(std::mem::replace(&mut self.accounted, now));
        state.set_stalled(progress.is_stalled);
    }

    /// Returns the request for a command; nothing if the stream drops an event, because the queue of the connection is full.
    pub(super) fn request_of<'a>(
        &mut self,
        stream: u64,
        command: &'a Command,
        is_full: bool,
        context: &mut Context<'_>,
    ) -> Option<Request<'a>> {
        Some(match command {
            Command::Push { event, has_id, .. } => {
                // Other streams are bounded by what their producers see as buffered.
                let is_lost = self.drops && is_full;
                count_as_sent(context, usize::from(!is_lost), event.len());
                if is_lost {
                    context.handle.count_lost(1, 0);
                    if let Some(state) = context.streams.get(stream.into()) {
                        state.subtract_buffered(event.len());
                    }
                    return None;
                }
                let block = self.framing.unframe(event);
                self.pushed += block.len() as u64;
                self.accounted += event.len();
                Request::Push { stream, event: block, has_id: *has_id }
            }
            Command::End { reason, ending, .. } => {
                Request::End { stream, reason: *reason, discards: *ending == Ending::Discard }
            }
            Command::Refuse { .. } => Request::End { stream, reason: Reason::Server, discards: false },
            _ => Request::Begin { stream },
        })
    }
}

/// Encodes a request of a stream. An event that is longer than any message ends the stream.
pub(super) fn encode_request(stream: u64, request: &Request<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    if request.encode(&mut frame).is_err() {
        let end = Request::End { stream, reason: Reason::Slow, discards: true };
        let _ = end.encode(&mut frame); // it is short
    }
    frame
}

/// Counts events and bytes as sent that another process has to send.
pub(super) fn count_as_sent(context: &mut Context<'_>, events: usize, bytes: usize) {
    add(&context.handle.counts.events, events as u64);
    add(&context.handle.counts.bytes, bytes as u64);
}

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
