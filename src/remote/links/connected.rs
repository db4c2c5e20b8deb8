//! One connection of the event loop: what is queued there, and what is known of its requests.

use super::connection::Connection;
use crate::remote::answers::{Outcome, UNAWAITED};
use crate::remote::link::Link;
use crate::stream::Reason;
use crate::wire::{Request, StoreSettings};
use rustix::fd::OwnedFd;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// One connection.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) link: Link,
    pub(super) connection: Arc<Connection>,
    /// The requests that threads wait for and that the kernel has not taken: their numbers, and where they end among all bytes
    /// of the link.
    unsent: VecDeque<(u64, u64)>,
    /// The streams of the subscriptions that are not answered, by request.
    pub(super) subscribing: HashMap<u64, u64>,
    uncredited: Uncredited,
    pub(super) order: Order,
    /// How many streams the hub process has that this process holds no longer. Their ends are counted.
    pub(super) released: u64,
    /// Whether it is watched for room.
    pub(super) is_writable_asked: bool,
    /// Whether nobody uses it but its streams.
    pub(super) is_closing: bool,
}

/// Publishes to a hub with a store that wait for credits, with their numbers. Other requests overtake them: a store decides
/// when an event is published, so nothing is promised about their order.
#[derive(Debug, Default)]
struct Uncredited {
    publishes: VecDeque<(u64, Vec<u8>)>,
    bytes: usize,
}

/// The order of the requests of a connection, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The places of the requests that threads wait for and that are not answered.
    awaited: HashMap<u64, u64>,
    /// The place of the last request, of the last unawaited one, and of the last one that the hub process has certainly
    /// carried out.
    last: u64,
    last_unawaited: u64,
    last_carried_out: u64,
    /// Whether there are publishes that are still to get a place.
    has_uncredited: bool,
}

impl Connected {
    pub(super) fn new(link: Link, connection: Arc<Connection>) -> Self {
        Self {
            link,
            connection,
            unsent: VecDeque::new(),
            subscribing: HashMap::new(),
            uncredited: Uncredited::default(),
            order: Order::default(),
            released: 0,
            is_writable_asked: false,
            is_closing: false,
        }
    }

    /// Queues a request. Keeps it in mind if a thread waits for it.
    pub(super) fn queue(&mut self, request: u64, frame: Vec<u8>, socket: Option<OwnedFd>) {
        if request == UNAWAITED {
            self.connection.count_unanswered();
        }
        let has_store = self.link.welcome().settings.store != StoreSettings::Memory;
        if has_store && Request::is_publish(&frame) {
            self.uncredited.bytes += frame.len();
            self.uncredited.publishes.push_back((request, frame));
            self.queue_uncredited();
        } else {
            self.queue_now(request, frame, socket);
        }
    }

    /// Queues a request of a stream, which nobody waits for. An event that is longer than any message ends the stream.
    pub(super) fn forward(&mut self, stream: u64, request: &Request<'_>) {
        let mut frame = Vec::new();
        if request.encode(&mut frame).is_err() {
            let end = Request::End { stream, reason: Reason::Slow, discards: true };
            let _ = end.encode(&mut frame); // it is short
        }
        self.queue(0, frame, None);
    }

    /// Queues the publishes for which there are credits.
    pub(super) fn queue_uncredited(&mut self) {
        while self.link.may_publish() {
            let (request, frame) = match self.uncredited.publishes.pop_front() {
                Some(next) => next,
                None => break,
            };
            self.uncredited.bytes -= frame.len();
            self.queue_now(request, frame, None);
        }
        self.order.set_uncredited(!self.uncredited.publishes.is_empty(), &self.connection);
    }

    fn queue_now(&mut self, request: u64, frame: Vec<u8>, socket: Option<OwnedFd>) {
        self.link.queue_frame(frame, socket);
        self.order.add(request, &self.connection);
        if request != 0 && request != UNAWAITED {
            self.unsent.push_back((request, self.link.accepted_bytes()));
        }
    }

    /// Returns how many bytes are queued, and how many of them wait for credits.
    pub(super) fn queued_bytes(&self) -> (usize, usize) {
        (self.link.queued_bytes() + self.uncredited.bytes, self.uncredited.bytes)
    }

    /// Forgets the requests that the kernel has taken. Returns true if the queue has room again.
    pub(super) fn note_sent(&mut self) -> bool {
        let sent = self.link.sent_bytes();
        while self.unsent.front().map_or(false, |(_, end)| *end <= sent) {
            self.unsent.pop_front();
        }
        self.connection.set_queued(self.queued_bytes())
    }

    /// Completes all requests, because the connection is lost. Returns the requests that were not sent and that a thread waits
    /// for.
    pub(super) fn lose(&mut self) -> Vec<u64> {
        let Self { connection, unsent, uncredited, order, .. } = self;
        // Nothing of these was carried out: their callers connect anew.
        let mut awaited = Vec::new();
        for (request, _) in unsent.drain(..) {
            order.awaited.remove(&request);
            if connection.complete(request, Outcome::Unsent) {
                awaited.push(request);
            }
        }
        for (request, _) in order.awaited.drain() {
            connection.complete(request, Outcome::Lost);
        }
        for (request, _) in uncredited.publishes.drain(..) {
            connection.complete(request, Outcome::Unsent);
        }
        awaited
    }
}

impl Order {
    /// Returns true if a thread waits for a request that is not answered.
    pub(super) fn is_awaited(&self, request: u64) -> bool {
        self.awaited.contains_key(&request)
    }

    fn add(&mut self, request: u64, connection: &Connection) {
        self.last += 1;
        connection.set_quiet(false);
        match request {
            0 => {}
            UNAWAITED => self.last_unawaited = self.last,
            _ => drop(self.awaited.insert(request, self.last)),
        }
    }

    /// Takes note of the answer to a request. The hub process carries requests out in their order, so those before this one
    /// were carried out, too.
    pub(super) fn note_answer(&mut self, request: u64, connection: &Connection) {
        let place = match request {
            UNAWAITED => Some(self.last_unawaited).filter(|_| connection.count_answered()),
            _ => self.awaited.remove(&request),
        };
        self.last_carried_out = self.last_carried_out.max(place.unwrap_or(0));
        self.report(connection);
    }

    fn set_uncredited(&mut self, has_uncredited: bool, connection: &Connection) {
        self.has_uncredited = has_uncredited;
        self.report(connection);
    }

    fn report(&self, connection: &Connection) {
        connection.set_quiet(self.last_carried_out == self.last && !self.has_uncredited);
    }
}
