//! The requests of threads to the connections to hub processes, which the event loop has.

use super::connection::Connection;
use crate::hub::SubscribeRequest;
use crate::reactor::StreamId;
use crate::runtime::remote::link::Link;
use crate::runtime::remote::losses;
use crate::runtime::remote::response_reader::UNAWAITED;
use std::sync::Arc;
use std::time::Instant;

/// A request to a connection.
#[derive(Debug)]
pub(crate) enum LinkCommand {
    /// Begins a connection that is still to be made: its requests wait.
    Begin(Arc<Connection>),
    /// Continues with a connection that was just made.
    Connect(Box<Link>, Arc<Connection>),
    /// Gives up a connection that could not be made.
    Fail(Arc<Connection>),
    /// Holds requests back until the hub process answers, unless it has answered this one.
    Await { connection: Arc<Connection>, request: u64 },
    /// Sends a request.
    Send {
        connection: Arc<Connection>,
        /// The request's number; 0 if it is not answered, [`UNAWAITED`] if no thread waits for its outcome.
        request: u64,
        frame: Vec<u8>,
    },
    /// Numbers what was sent so far, for calls of threads.
    Mark { connection: Arc<Connection>, number: u64 },
    /// Hands a stream over, unless that was done, and subscribes it.
    Subscribe {
        connection: Arc<Connection>,
        request: u64,
        stream: StreamId,
        subscription: SubscribeRequest,
        holds: bool,
        /// How long the stream may wait for the hub process.
        until: Instant,
    },
    /// Makes the subscriptions of a stream effective: its handler has returned.
    BeginSubscription(StreamId),
    /// Ends a stream that a lost connection has given back, and that is not handed over anew.
    Abandon(StreamId),
    /// Closes the connection as soon as it has no streams, unless a hub object uses it again.
    Close(Arc<Connection>),
}

impl LinkCommand {
    /// Called instead of carrying the command out: the event loop has ended. Returns how many events are lost with it.
    pub(crate) fn fail(&self) -> usize {
        match self {
            Self::Begin(connection)
            | Self::Connect(_, connection)
            | Self::Fail(connection)
            | Self::Close(connection) => connection.lose(),
            Self::Send { request: UNAWAITED, .. } => {
                losses::record(1, "the native thread has ended");
                return 1;
            }
            Self::Send { connection, request, .. } | Self::Subscribe { connection, request, .. } => {
                connection.return_unsent(*request);
            }
            Self::BeginSubscription(_) | Self::Abandon(_) | Self::Await { .. } | Self::Mark { .. } => {}
        }
        0
    }
}
