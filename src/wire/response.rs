//! The messages of the hub process.

use super::first_messages::Welcome;
use crate::hub::Reply;
use crate::stream::Reason;
use crate::{ErrorCode, Failure};

/// The progress of the hub process with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamProgress {
    /// The stream.
    pub stream: u64,
    /// The bytes of [`Push`](super::Request::Push) that the stream has got so far.
    pub pushed: u64,
    /// The number of bytes that are buffered.
    pub buffered: u64,
    /// True if the client's socket takes nothing for now.
    pub is_stalled: bool,
}

coded!(StreamProgress { stream, pushed, buffered, is_stalled });

messages! {
    /// A message of the hub process.
    pub enum Response<'a> {
        /// Refuses a worker; the connection ends. The message is the same in all versions.
        0 Rejected(content: Failure),
        /// Accepts a worker.
        1 Welcome(content: Box<Welcome>),
        /// An event was published.
        2 Published {
            /// The request.
            request: u64,
            /// The event's id in the order of the hub.
            id: &'a str,
        },
        /// The outcome of a request: the reply to a [`Call`](super::Request::Call), or why it was refused and nothing was done.
        3 Reply {
            /// The request.
            request: u64,
            /// The reply, or the reason.
            result: Result<Reply, Failure>,
        },
        /// The state of a stream has changed. The worker knows from it how many bytes are buffered: `buffered`, and what it has
        /// pushed after the first `pushed` bytes. Both are totals, so states can be merged or skipped without an error.
        5 State(content: StreamProgress),
        /// A stream has ended. This is the last response about it.
        6 Ended {
            /// The stream.
            stream: u64,
            /// The reason.
            reason: Reason,
        },
        /// The worker may send more.
        8 Credits {
            /// The number of bytes more.
            bytes: u64,
        },
        /// Says if the worker has a lease that it has asked for. Sent once at first, and again when it gets the lease later.
        14 Elected {
            /// The lease.
            lease: u64,
            /// True if this worker holds it; otherwise it waits for it.
            is_held: bool,
        },
        /// The hub's ids begin with another epoch from here on: its store has lost history.
        22 Epoch {
            /// The epoch.
            epoch: &'a str,
        },
        /// A line of the process's log. Only the worker is sent it that holds the lease [`LOG_LEASE`](super::LOG_LEASE).
        26 Log {
            /// The line, without its end.
            line: &'a str,
        },
        /// The process continues as the program that was asked for. The layout is the same in all versions.
        255 Upgraded {
            /// What the process logs about that, for people.
            report: &'a str,
        },
    }
}

coded!(Failure { code, field, message });
coded!(ErrorCode in ErrorCode::ALL);
