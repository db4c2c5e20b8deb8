//! One connection of the event loop: what is queued there, and which of its requests are unanswered.

use super::connection::Connection;
use crate::runtime::remote::link::{ConnectionLost, Link};
use crate::runtime::remote::response_reader::{reply_of, UNAWAITED};
use crate::runtime::remote::unanswered::Unanswered;
use crate::stream::Reason;
use crate::wire::{Failure, Reply, Request, Response, StreamProgress};
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
    /// The requests with a number of their own that are not answered, and the streams that they subscribe.
    pub(super) unanswered: HashMap<u64, Option<u64>>,
    /// The number of streams that the hub process has that this process holds no longer. Their ends are counted.
    pub(super) released: u64,
    /// True if it is watched for room.
    pub(super) is_writable_asked: bool,
}

impl Connected {
    pub(super) fn new(link: Link, connection: Arc<Connection>) -> Self {
        Self {
            link,
            connection,
            unsent: VecDeque::new(),
            unanswered: HashMap::new(),
            released: 0,
            is_writable_asked: false,
        }
    }

    /// Queues a request. Keeps it in mind if a thread waits for it.
    pub(super) fn queue(&mut self, request: u64, frame: Vec<u8>, socket: Option<OwnedFd>) {
        if request == UNAWAITED {
            self.connection.count_unanswered();
        }
        self.link.queue_frame(frame, socket);
        if request != 0 && request != UNAWAITED {
            self.unanswered.entry(request).or_insert(None);
            self.unsent.push_back((request, self.link.accepted_bytes()));
        }
    }

    /// Queues a mark, and if it overtakes publishes, another one after them.
    pub(super) fn mark(&mut self, number: u64) {
        let has_publishes = self.link.overtaken_bytes() == 0;
        let encode = |has_publishes| {
            let mut frame = Vec::new();
            let _ = Request::Mark { number, has_publishes }.encode(&mut frame); // it is short
            frame
        };
        self.link.queue_frame(encode(has_publishes), None);
        if !has_publishes {
            self.link.queue_in_order(encode(true), None);
        }
    }

    /// Returns how many bytes are queued, and how many of them wait for credits.
    pub(super) fn queued_bytes(&self) -> (usize, usize) {
        (self.link.queued_bytes(), self.link.overtaken_bytes())
    }

    /// Forgets the requests that the kernel has taken. Returns true if the queue has room again.
    pub(super) fn note_sent(&mut self) -> bool {
        let sent = self.link.sent_bytes();
        while self.unsent.front().map_or(false, |(_, end)| *end <= sent) {
            self.unsent.pop_front();
        }
        let (queued, waiting) = self.queued_bytes();
        self.connection.set_queued(queued, waiting)
    }

    /// Reads once, and completes the requests that are answered: the threads that wait for them may ask again at once. Adds
    /// what else follows from the responses to a list, in their order. Returns true if there was any response. Fails with
    /// [`ConnectionLost`] if the connection has ended.
    pub(super) fn read(&mut self, effects: &mut Vec<Effect>) -> Result<bool, ConnectionLost> {
        let Self { link, connection, unanswered, .. } = self;
        let mut has_answered = false;
        link.read(|response| {
            has_answered = true;
            effects.extend(match reply_of(response) {
                Ok((request, result)) => complete(unanswered, connection, request, result),
                Err(Response::Elected { lease, is_held }) => {
                    connection.leases.answer(lease, is_held);
                    complete(unanswered, connection, lease, Ok(Reply::Done))
                }
                Err(Response::Epoch { epoch }) => {
                    connection.set_epoch(epoch);
                    None
                }
                Err(other) => Effect::of(other),
            });
        })?;
        Ok(has_answered)
    }

    /// Completes all requests, because the connection is lost. Returns the requests that were not sent and that a thread waits
    /// for.
    pub(super) fn lose(&mut self) -> Vec<u64> {
        let Self { connection, unsent, unanswered, .. } = self;
        // Nothing of these was carried out: their callers connect anew.
        let mut awaited = Vec::new();
        for (request, _) in unsent.drain(..) {
            unanswered.remove(&request);
            if connection.return_unsent(request) {
                awaited.push(request);
            }
        }
        for (request, _) in unanswered.drain() {
            connection.complete(request, Err(Unanswered::Lost));
        }
        awaited
    }
}

/// Completes a request that is answered. Returns what follows if no thread has waited for it.
fn complete(
    unanswered: &mut HashMap<u64, Option<u64>>,
    connection: &Connection,
    request: u64,
    result: Result<Reply, Failure>,
) -> Option<Effect> {
    let refusal = result.as_ref().err().map(Failure::to_string);
    if request == UNAWAITED {
        connection.count_answered();
        return refusal.map(Effect::EventRefused);
    }
    let stream = unanswered.remove(&request).flatten();
    let is_awaited = connection.complete(request, result.map_err(Unanswered::Refused));
    let (stream, refusal) = (stream.filter(|_| !is_awaited)?, refusal?);
    Some(Effect::SubscriptionRefused { stream, refusal })
}

/// The effects of a response of a hub process for streams, counters and the log, beside the request that it completes. The
/// event loop carries it out.
#[derive(Debug)]
pub(super) enum Effect {
    /// A stream has made progress.
    Progress(StreamProgress),
    /// A stream has ended.
    Ended { stream: u64, reason: Reason },
    /// A stream was not subscribed, and no thread waits for that.
    SubscriptionRefused { stream: u64, refusal: String },
    /// An event was not published, and no thread waits for that.
    EventRefused(String),
    /// The hub process has logged a line.
    Logged(Box<str>),
}

impl Effect {
    /// Returns what follows from a response that completes no request.
    pub(super) fn of(response: Response<'_>) -> Option<Self> {
        match response {
            Response::State(progress) => Some(Self::Progress(progress)),
            Response::Ended { stream, reason } => Some(Self::Ended { stream, reason }),
            Response::Log { line } => Some(Self::Logged(line.into())),
            _ => None,
        }
    }
}
