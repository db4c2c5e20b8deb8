//! What a reactor is told, and what it answers: plain data, so that it may one day live in another process.

use crate::hub;
pub use crate::stream::StreamId;
use crate::stream::{Lost, Reason, Settings};
use bytes::Bytes;
use std::time::Duration;

/// How a stream begins.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// What the application has decided.
    pub settings: Settings,
    /// What is sent first, framed: the head of the response.
    pub head: Bytes,
    /// Whether another process has the connection too, and goes on with it when this one ends.
    pub is_inherited: bool,
}

/// Which hub of a reactor.
pub type HubId = u32;

/// What a reactor is told.
#[derive(Debug)]
pub enum Command {
    /// A new stream. Its socket comes along, or later with [`Command::Attach`]; until then events wait, but not longer
    /// than its [`timeout`](Settings::timeout).
    Open {
        /// Its name from here on.
        stream: StreamId,
        /// How it begins. In a box, so that the many small commands are not as large as this one.
        beginning: Box<Beginning>,
    },
    /// One stream too many: it is told to come back later, and ends.
    Refuse {
        /// A stream that was opened.
        stream: StreamId,
    },
    /// The socket of a stream, which comes along.
    Attach {
        /// A stream that was opened without one.
        stream: StreamId,
    },
    /// One event.
    Push {
        /// Who gets it.
        stream: StreamId,
        /// Its bytes, framed.
        event: Bytes,
    },
    /// Ends a stream.
    End {
        /// Which.
        stream: StreamId,
        /// Why.
        reason: Reason,
        /// What becomes of the connection.
        ending: Ending,
    },
    /// A new hub.
    Hub {
        /// Its name from here on.
        hub: HubId,
        /// What its ids look like.
        epoch: hub::Epoch,
        /// What the application has decided.
        settings: Box<hub::Settings>,
    },
    /// One event for all that follow its channel.
    Publish {
        /// Of which hub.
        hub: HubId,
        /// The event.
        publication: Box<hub::Publication>,
    },
    /// Has a stream follow channels.
    Subscribe {
        /// Of which hub.
        hub: HubId,
        /// Which.
        stream: StreamId,
        /// What it asks for.
        request: Box<hub::Request>,
        /// Whether more requests may come before anything is sent: the stream waits for [`Command::Begin`].
        holds: bool,
    },
    /// Makes what a stream has asked for effective, all of it at once.
    Begin {
        /// Which.
        stream: StreamId,
    },
    /// Has a stream follow something no longer.
    Unsubscribe {
        /// Which.
        stream: StreamId,
        /// What; everything, without.
        topics: Option<Box<[hub::Topic]>>,
    },
    /// Nobody looks at a stream any more, nor wants to be told of its end.
    Release {
        /// Which.
        stream: StreamId,
    },
    /// Has the streams of a hub end one by one, each told to come back at a time of its own; and those that come later at
    /// once.
    Drain {
        /// Which.
        hub: HubId,
        /// Over how much time.
        within: Duration,
    },
    /// Nobody will publish any more: the streams of a hub end when they have been sent everything, and are told to come back
    /// each at a time of its own.
    Leave {
        /// Which.
        hub: HubId,
    },
    /// Asks for what was counted.
    Ask {
        /// By which hub.
        hub: HubId,
        /// What the answer is to be known by.
        ticket: u64,
        /// Of which channel the followers are to be counted.
        channel: Box<[u8]>,
    },
    /// The process ends: every client is told to come back at a time of its own, and the streams end one by one.
    Finish {
        /// What has not been sent by then is lost.
        within: Duration,
    },
}

impl Command {
    /// How many bytes it carries, of what is to be sent.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Open { beginning, .. } => beginning.head.len(),
            Self::Push { event, .. } => event.len(),
            Self::Publish { publication, .. } => publication.size(),
            _ => 0,
        }
    }
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// When all is sent, for every process that holds the connection.
    Flush,
    /// When all is sent, but another process may go on with the connection.
    HandOver,
    /// At once.
    Discard,
}

/// What a reactor answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// More waits for the client than was pushed: a comment, an ending.
    Added {
        /// For whom.
        stream: StreamId,
        /// How much.
        bytes: usize,
    },
    /// The kernel has taken some of what waits.
    Sent {
        /// Whose.
        stream: StreamId,
        /// How much.
        bytes: usize,
        /// How many events that ended.
        events: usize,
        /// How many bytes of what many share became this stream's.
        shared: usize,
    },
    /// The client's socket takes nothing more for now.
    Stalled {
        /// Whose.
        stream: StreamId,
    },
    /// A client that had taken nothing has taken something again.
    Delayed {
        /// How long it had taken nothing.
        time: Duration,
    },
    /// Some of what waited was given up.
    Lost {
        /// Whose.
        stream: StreamId,
        /// What.
        lost: Lost,
    },
    /// The stream has ended.
    Ended {
        /// Which.
        stream: StreamId,
        /// Why.
        reason: Reason,
    },
    /// Its place is free. The last of its answers.
    Closed {
        /// Whose.
        stream: StreamId,
    },
    /// What a hub has counted.
    Counted {
        /// What the question said.
        ticket: u64,
        /// The counts.
        counts: Box<hub::Counts>,
        /// How many streams follow the channel.
        subscribers: usize,
    },
    /// A stream has fewer topics than it asked for: some it had already, or it has left them.
    Topics {
        /// Which.
        stream: StreamId,
        /// How many fewer.
        fewer: usize,
    },
    /// All streams have ended, as was asked for.
    Finished,
}
