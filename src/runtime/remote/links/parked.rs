//! Streams that the reactor holds no longer and no hub process has: on their way, or parked because their connection was lost.

use crate::compression::Body;
use crate::reactor::{Command, Ending};
use crate::runtime::remote::link::Link;
use crate::stream::{Reason, Settings};
use crate::wire::{FrameBuffer, Open, Request, TooLong};
use rustix::fd::OwnedFd;
use std::collections::HashMap;

/// A stream on its way to a hub process. If its connection is lost before the stream was handed over, the stream is parked: a
/// thread waits for its subscription, and makes it again.
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
    /// Keeps what a command asks, until the stream is handed over.
    pub(super) fn apply(&mut self, command: &Command) {
        match command {
            Command::Push { event, has_id, .. } => {
                let event = self.settings.framing.unframe(event).to_vec();
                self.pushed.push(ParkedPush { event, has_id: *has_id });
            }
            Command::End { reason, ending, .. } => {
                self.end.get_or_insert((*reason, *ending == Ending::Discard));
            }
            _ => {}
        }
    }

    /// Encodes the request that hands the stream over. Fails with [`TooLong`] if more is buffered than a message may have.
    pub(super) fn encode_opening(&self, stream: u64, holds: bool) -> Result<Vec<u8>, TooLong> {
        let open = Open { stream, settings: self.settings, unsent: &self.unsent, body: self.body, holds };
        let request = if self.socket.is_some() { Request::Open(open) } else { Request::OpenWithoutSocket(open) };
        let mut bytes = Vec::new();
        request.encode(&mut bytes).map(|()| bytes)
    }

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
