//! A stream that a worker hands over to the hub process.

use crate::compression::Body;
use crate::stream::Settings;

/// A stream that is handed over: its passport. The socket travels beside the message, or beside a later
/// [`Request::Attach`](super::Request::Attach).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// The stream's number.
    pub stream: u64,
    /// The stream's settings.
    pub settings: Settings,
    /// The bytes that the client is still to be sent before anything else, framed and encoded: the head of the response, and
    /// what else was buffered.
    pub unsent: &'a [u8],
    /// The content so far, `unsent` included.
    pub body: Body,
    /// Whether subscriptions are held until [`Request::Begin`](super::Request::Begin).
    pub holds: bool,
}

impl<'a> Open<'a> {
    /// A stream whose body is empty so far, and whose subscriptions are not held.
    pub fn new(stream: u64, settings: Settings, unsent: &'a [u8]) -> Self {
        Self { stream, settings, unsent, body: Body::default(), holds: false }
    }
}

/// How far the hub process is with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamProgress {
    /// The stream.
    pub stream: u64,
    /// How many bytes of [`Push`](super::Request::Push) the stream has got so far.
    pub pushed: u64,
    /// How many bytes are buffered.
    pub buffered: u64,
    /// Whether the client's socket takes nothing for now.
    pub is_stalled: bool,
}

coded! {
    Open<'a> { stream, settings, unsent, body, holds }
    StreamProgress { stream, pushed, buffered, is_stalled }
}
