//! Streams whose connection was lost before they were handed over.

use crate::compression::Body;
use crate::remote::link::Link;
use crate::stream::{Reason, Settings};
use crate::wire::{FrameBuffer, Open, Request};
use rustix::fd::OwnedFd;
use std::collections::HashMap;

/// A stream whose connection was lost before the stream was handed over. A thread waits for its subscription, and makes it
/// again.
#[derive(Debug)]
pub(super) struct Parked {
    /// None if it is still to come.
    pub(super) socket: Option<OwnedFd>,
    pub(super) settings: Settings,
    pub(super) unsent: Vec<u8>,
    /// The events that were pushed since, in order. They are neither framed nor encoded: each push is encoded alone.
    pub(super) pushed: Vec<ParkedPush>,
    pub(super) body: Body,
    /// The end that was asked for.
    pub(super) end: Option<(Reason, bool)>,
}

/// A push that waits for its stream.
#[derive(Debug)]
pub(super) struct ParkedPush {
    pub(super) event: Vec<u8>,
    pub(super) has_id: bool,
}

impl Parked {
    /// Returns the stream of a request that was not sent.
    fn of(open: &Open<'_>, socket: Option<OwnedFd>) -> Self {
        let Open { settings, body, .. } = *open;
        Self { socket, settings, unsent: open.unsent.to_vec(), pushed: Vec::new(), body, end: None }
    }

    /// Returns the streams of a lost connection that it has not sent, and one of whose subscriptions is among these requests.
    pub(super) fn unsent_of(link: Link, awaited: &[u64]) -> HashMap<u64, Self> {
        let mut opened: HashMap<u64, Parked> = HashMap::new();
        let mut subscribed = Vec::new();
        for (bytes, mut socket) in link.unsent() {
            let mut requests = FrameBuffer::default();
            requests.feed(&bytes);
            while let Ok(Some(frame)) = requests.next_frame() {
                match Request::decode(frame) {
                    Ok(Request::Open(open)) if socket.is_some() => {
                        opened.insert(open.stream, Parked::of(&open, socket.take()));
                    }
                    Ok(Request::OpenWithoutSocket(open)) => {
                        opened.insert(open.stream, Parked::of(&open, None));
                    }
                    Ok(Request::Attach { stream }) => {
                        if let Some(parked) = opened.get_mut(&stream) {
                            parked.socket = socket.take();
                        }
                    }
                    Ok(Request::Push { stream, event, has_id }) => {
                        if let Some(parked) = opened.get_mut(&stream) {
                            parked.pushed.push(ParkedPush { event: event.to_vec(), has_id });
                        }
                    }
                    Ok(Request::End { stream, reason, discards }) => {
                        if let Some(parked) = opened.get_mut(&stream) {
                            parked.end.get_or_insert((reason, discards));
                        }
                    }
                    Ok(Request::Subscribe { request, stream, .. }) if awaited.contains(&request) => {
                        subscribed.push(stream);
                    }
                    _ => {}
                }
            }
        }
        opened.retain(|stream, _| subscribed.contains(stream));
        opened
    }
}
