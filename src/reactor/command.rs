//! Commands and answers: what the reactor is asked, and what it reports.
//!
//! Both are plain data, so that the reactor could run in another process.

use crate::compression::Body;
use crate::hub;
pub use crate::stream::StreamId;
use crate::stream::{Discarded, Liveness, Reason, Settings};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The settings and the first bytes of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInit {
    /// The stream's settings.
    pub settings: Settings,
    /// The bytes that are sent first, as they are: the head of the response, framed, and what of its content is encoded.
    pub head: Bytes,
    /// The content that is sent after it, framed.
    pub content: Bytes,
    /// The part of the content that another process has sent, or that is in `head`.
    pub body: Body,
    /// True if another process also has the connection and continues to use it when this process ends.
    pub is_inherited: bool,
    /// The hub in which the stream has a member or a will already: that is told of its end.
    pub members_of: Option<HubId>,
    /// If another program has handed the stream over: when, and how long it was silent then.
    pub liveness: Option<Box<(Instant, Liveness)>>,
}

/// Identifies a hub of a reactor.
pub type HubId = u32;

/// A request to the reactor.
#[derive(Debug)]
pub enum Command {
    /// Opens a stream. Its socket comes with this command, or later with [`Command::Attach`]. Until then events are
    /// buffered, but not longer than the stream's [`timeout`](Settings::timeout).
    Open {
        /// The new stream's id.
        stream: StreamId,
        /// The beginning of the stream: mostly that of the stream before.
        init: Arc<StreamInit>,
    },
    /// Sends a client a reconnection time and ends its stream: the process has as many streams as it may have.
    Refuse {
        /// A stream that was opened.
        stream: StreamId,
    },
    /// Attaches the socket that comes with this command.
    Attach {
        /// A stream that was opened without a socket.
        stream: StreamId,
    },
    /// Pushes one event to one stream.
    Push {
        /// The stream.
        stream: StreamId,
        /// The event's bytes, framed.
        event: Bytes,
        /// True if the event has an id.
        has_id: bool,
    },
    /// Ends a stream. The first end of a stream counts.
    End {
        /// The stream.
        stream: StreamId,
        /// The reason for which the stream ends.
        reason: Reason,
        /// The treatment of the buffer and the connection.
        ending: Ending,
    },
    /// Releases the state that a stream shares with its handles: a handle was dropped. The reactor ignores this command; its
    /// event loop holds the state.
    ReleaseState {
        /// The stream.
        stream: StreamId,
    },
    /// Creates a hub.
    CreateHub {
        /// The new hub's id.
        hub: HubId,
        /// The epoch with which the ids of the hub's events begin.
        epoch: hub::Epoch,
        /// The hub's settings.
        settings: Box<hub::Settings>,
        /// Where the hub begins if it continues with stored events.
        history: Option<Box<hub::History>>,
    },
    /// Sets those settings of a hub that may change.
    SetRetention {
        /// The hub.
        hub: HubId,
        /// The settings.
        retention: Box<hub::Retention>,
    },
    /// Publishes one event to the subscribers of its channel.
    Publish {
        /// The hub.
        hub: HubId,
        /// The event.
        event: Box<hub::SequencedEvent>,
    },
    /// Publishes one event that was stored at a time.
    PublishStored {
        /// The hub.
        hub: HubId,
        /// The event.
        event: Box<hub::SequencedEvent>,
        /// When it was stored.
        at: Instant,
    },
    /// Passes over an entry of the store that is not an event of a channel.
    PassStored {
        /// The hub.
        hub: HubId,
        /// Its sequence number.
        seq: u64,
    },
    /// Subscribes a stream to topics.
    Subscribe {
        /// The hub.
        hub: HubId,
        /// The stream.
        stream: StreamId,
        /// The topics, and where the stream begins.
        request: Box<hub::SubscribeRequest>,
        /// True if the stream's first subscriptions are held until [`Command::BeginSubscription`]: more may follow.
        holds: bool,
    },
    /// Makes a stream's held subscriptions effective, all at once.
    BeginSubscription {
        /// The stream.
        stream: StreamId,
    },
    /// Makes a stream's held subscriptions effective, even if its client is ahead of the hub.
    StopWaiting {
        /// The stream.
        stream: StreamId,
    },
    /// Asks a hub. [`Answer::Answered`] follows.
    Ask {
        /// The hub.
        hub: HubId,
        /// Identifies the request in the answer.
        request_id: u64,
        /// The question.
        question: Box<hub::Question>,
    },
    /// Counts what has become of a ticket.
    CountTicket {
        /// The hub.
        hub: HubId,
        /// The outcome.
        outcome: hub::TicketOutcome,
    },
    /// Drains a hub: ends its streams one by one, and sends each client a reconnection time of its own. A stream that
    /// subscribes later ends at once.
    Drain {
        /// The hub.
        hub: HubId,
        /// The time over which the ends are spread.
        within: Duration,
    },
    /// Ends a stream after a time, as the drain of its hub does.
    DrainStream {
        /// The stream.
        stream: StreamId,
        /// The time.
        within: Duration,
    },
    /// Counts a stream that another program has handed over while it was ending.
    CountStream {
        /// The hub.
        hub: HubId,
        /// The stream.
        stream: StreamId,
        /// The labels by which it is counted.
        labels: Vec<Box<[u8]>>,
    },
    /// Begins or ends the drain of a hub: it accepts no streams, or accepts streams again. Those that it has stay, or still
    /// end.
    SetDraining {
        /// The hub.
        hub: HubId,
        /// True if it begins.
        is_draining: bool,
    },
    /// Closes a hub that has no publisher any more. Its streams end after they have been sent everything, and each
    /// client is sent a reconnection time of its own.
    CloseHub {
        /// The hub.
        hub: HubId,
    },
    /// Shuts down with the process: sends each client a reconnection time of its own, and ends the streams one by one.
    /// [`Reactor::has_shut_down`](super::Reactor::has_shut_down) says when all have.
    ShutDown {
        /// The time limit. Events that are not sent within it are lost.
        within: Duration,
    },
}

impl Command {
    /// Returns how many bytes of heads and events the command carries.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Open { init, .. } => init.head.len() + init.content.len(),
            Self::Push { event, .. } => event.len(),
            Self::Publish { event, .. } | Self::PublishStored { event, .. } => event.size(),
            _ => 0,
        }
    }
}

/// The treatment of a stream's buffer and connection when the stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The buffer is sent, then the connection is shut down for every process that holds it.
    Flush,
    /// The buffer is sent, but another process may continue with the connection.
    Transfer,
    /// The stream was ending when another program has handed it over, and its buffer has the end of its response.
    HandedOver {
        /// True if the application has decided that it ends.
        is_by_application: bool,
    },
    /// The stream ends at once; the buffer is lost.
    Discard,
}

/// A report of the reactor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The reactor has buffered bytes that no producer pushed: a comment, a block of the hub, the end of a response.
    Buffered {
        /// The stream.
        stream: StreamId,
        /// Their number.
        bytes: usize,
    },
    /// The kernel has taken bytes.
    Sent {
        /// The stream.
        stream: StreamId,
        /// Their number.
        bytes: usize,
        /// The number of events that were sent to their end.
        events: usize,
        /// The number of bytes that came from a hub's log, where no stream's buffer counts them. The rest of an entry that was
        /// sent in part is included: it is in the stream's own buffer now.
        log_bytes: usize,
    },
    /// The client's socket takes nothing more for now.
    Stalled {
        /// The stream.
        stream: StreamId,
    },
    /// A stalled client's socket has taken bytes again.
    Unstalled {
        /// The time for which it had taken nothing.
        stalled_for: Duration,
    },
    /// A stream's buffer has become smaller, because what it holds was encoded.
    Shrunk {
        /// The stream.
        stream: StreamId,
        /// By how many bytes.
        bytes: usize,
    },
    /// Events were discarded.
    Lost {
        /// The stream.
        stream: StreamId,
        /// The events and bytes that were lost.
        lost: Discarded,
        /// The reason for which their stream ends; nothing if they were dropped for newer ones.
        reason: Option<Reason>,
    },
    /// A stream has ended.
    Ended {
        /// The stream.
        stream: StreamId,
        /// The reason.
        reason: Reason,
    },
    /// A stream has a member, because its subscription has taken effect, or a will from here on; or one that has either has
    /// ended, which is reported once.
    Presence {
        /// The hub.
        hub: HubId,
        /// The stream.
        stream: StreamId,
        /// The change.
        change: hub::PresenceChange,
    },
    /// A stream's slot is free. This is the stream's last answer.
    Closed {
        /// The stream.
        stream: StreamId,
    },
    /// The answer to [`Command::Ask`].
    Answered {
        /// The id of the request.
        request_id: u64,
        /// The hub's answer.
        answer: hub::Answer,
    },
    /// A stream has fewer topics than its handle has counted: it had some of the requested ones already.
    TopicsRemoved {
        /// The stream.
        stream: StreamId,
        /// The number of streams less.
        count: usize,
    },
}
