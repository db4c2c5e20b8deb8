//! What a reactor is told, and what it answers: plain data, so that it may one day live in another process.

use crate::stream::{Lost, Reason, Settings};
use bytes::Bytes;
use std::time::Duration;

/// Which stream: its place in the reactor, and a number that no other stream of that place has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// Its place in the reactor.
    pub slot: u32,
    /// Which of the streams that have had that place.
    pub serial: u32,
}

impl From<StreamId> for u64 {
    fn from(id: StreamId) -> Self {
        Self::from(id.serial) << 32 | Self::from(id.slot)
    }
}

impl From<u64> for StreamId {
    fn from(number: u64) -> Self {
        Self { slot: number as u32, serial: (number >> 32) as u32 }
    }
}

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
    /// The process ends: every client is told to come back at a time of its own, and the streams end one by one.
    Finish {
        /// What has not been sent by then is lost.
        within: Duration,
    },
}

impl Command {
    /// How many bytes of a stream it carries.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Open { beginning, .. } => beginning.head.len(),
            Self::Push { event, .. } => event.len(),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// All streams have ended, as was asked for.
    Finished,
}
