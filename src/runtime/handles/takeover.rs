//! The takeover of a response: what the server writes is captured, and a stream is opened in its place.
//!
//! Where the server has the client's socket, it gets one end of a pipe. It writes its head, and a comment that
//! shows what becomes of the body. Then either the stream has the client's socket and the server `/dev/null`, or the
//! server has its socket again and the client what was captured.
//!
//! Each takeover has a pipe of its own, though one for all would save three microseconds: a duplicate of the server's
//! descriptor that other code holds would otherwise write into the response of another client.

mod response_head;

use self::response_head::Head;
use super::stream_handle::{OpenOptions, StreamHandle};
use crate::compression::ContentCoding;
use crate::event::Framing;
use crate::runtime::generation::generation;
use crate::sys::{descriptor, socket};
use crate::Failure;
use rustix::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::io;
use std::time::Duration;

/// The time that the captured bytes may take to the client: a few hundred bytes into an empty socket.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// The room for the bytes that the server writes, and the least that one read has. Most heads need no more.
const CAPTURE_BYTES: usize = 1024;
const READ_BYTES: usize = 256;

/// The room for what the server writes: twice the largest head, and a probe.
const PIPE_BYTES: usize = 64 << 10;

/// A response whose server writes into a pipe. Dropping it gives the server its socket back, unless a stream has
/// it.
#[derive(Debug)]
pub struct Takeover {
    /// The server's descriptor.
    number: RawFd,
    /// The client's connection, until a stream or the server has it.
    client: Option<OwnedFd>,
    /// The other end of the pipe.
    ours: OwnedFd,
    captured: Vec<u8>,
    /// The numbers of captured bytes: of the version in the status line, and of the head.
    head: Option<(usize, usize)>,
    generation: u32,
}

/// Returns the reason for which a response cannot be taken over. The field is the code in
/// `EventSource::XS::Stream::Obstacle`, which has the texts.
fn obstacle(code: &str) -> Failure {
    Failure::invalid(code, "")
}

/// The system refuses something. The list has no text of that.
fn limit(what: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |cause| Failure::invalid("limit", format!("{what}: {cause}"))
}

impl Takeover {
    /// Puts one end of a pipe where the server has its client's socket. Fails if the client is known to have left, or if
    /// there is no descriptor. If `must_be_connection`, also if the descriptor is not a connection. The server's descriptor is
    /// unchanged then. The field of the error is the code of an obstacle.
    pub fn begin(number: RawFd, must_be_connection: bool) -> Result<Self, Failure> {
        if must_be_connection && !descriptor::is_connection(number) {
            return Err(obstacle("socket"));
        }
        // A connection has a peer, so its client has not left.
        if !must_be_connection && descriptor::has_left(number) {
            return Err(obstacle("left"));
        }
        let (ours, theirs) = descriptor::capture(PIPE_BYTES).map_err(limit("there is no pipe"))?;
        let client = descriptor::duplicate(number).map_err(limit("the server's socket cannot be duplicated"))?;
        descriptor::replace(number, theirs.as_raw_fd()).map_err(limit("the server's socket cannot be replaced"))?;
        let captured = Vec::with_capacity(CAPTURE_BYTES);
        Ok(Self { number, client: Some(client), ours, captured, head: None, generation: generation() })
    }

    /// Returns true if the server has written a whole head with status 200, and nothing else.
    pub fn has_head(&mut self) -> bool {
        self.read();
        self.head = Head::parse(&self.captured).map(|head| (head.version.len(), self.captured.len()));
        self.head.is_some()
    }

    /// Opens the stream, which begins with the captured head. The server has written `probe` meanwhile, and ends its
    /// response to `/dev/null`; an empty probe was not written. The body is chunked if the server's is, or if the client takes
    /// chunks. Fails if something filters the body, or if the system refuses. Then [`restore`](Self::restore) is to follow.
    pub fn open(
        &mut self,
        probe: &[u8],
        takes_chunks: bool,
        mut stream: OpenOptions<'_>,
    ) -> Result<StreamHandle, Failure> {
        let (version, end) = self.head.ok_or_else(|| obstacle("head"))?;
        if !probe.is_empty() {
            self.read();
        }
        let (head, seen) = self.captured.split_at(end);
        let head = Head::of_parsed(head, version);
        let is_chunked = match probe {
            b"" => head.has("transfer-encoding"),
            _ => seen == &Framing::Chunked.frame(probe)[..],
        };
        if !is_chunked && seen != probe {
            return Err(obstacle("filter"));
        }
        let is_chunked = is_chunked || takes_chunks && !head.has("content-length");
        stream.settings.framing = if is_chunked { Framing::Chunked } else { Framing::Plain };
        if head.has("content-encoding") || head.has("content-length") {
            stream.settings.coding = ContentCoding::Identity; // the application describes the content itself
        }
        let head = head.of_stream(stream.settings.framing, stream.settings.coding);
        descriptor::silence(self.number).map_err(limit("the server cannot be silenced"))?;
        let stream = OpenOptions { head: &head, socket: self.client.take(), ..stream };
        StreamHandle::open(stream).map_err(|(error, client)| {
            self.client = client;
            Failure::invalid("limit", format!("EventSource::XS::Stream::Native: {error}"))
        })
    }

    /// Gives the server its socket back, and sends the client what was captured. A forked child sends nothing, because
    /// its parent does.
    pub fn restore(&mut self) {
        if let Some(client) = self.client.take() {
            self.read();
            // Fails only if the server has closed its descriptor.
            let _ = descriptor::replace(self.number, client.as_raw_fd());
            if self.generation == generation() {
                socket::send_all(client.as_fd(), &self.captured, SEND_TIMEOUT);
            }
        }
    }

    /// Reads what the server has written since the last call.
    fn read(&mut self) {
        self.captured.reserve(READ_BYTES);
        while let Ok(true) = descriptor::read_more(self.ours.as_fd(), &mut self.captured) {
            self.captured.reserve(READ_BYTES);
        }
    }
}

impl Drop for Takeover {
    fn drop(&mut self) {
        self.restore();
    }
}
