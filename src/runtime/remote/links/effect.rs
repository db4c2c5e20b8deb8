//! What follows from a response for streams, counters and the log, beside the request that it completes.

use crate::stream::Reason;
use crate::wire::{Response, StreamProgress};

/// What follows from a response of a hub process. The event loop carries it out.
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
