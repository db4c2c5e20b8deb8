//! The takeover of a response: what the server writes is captured, and a stream is opened in its place.
//!
//! Where the server has the client's socket, it gets one end of a socketpair. It writes its head, and a comment that
//! shows what becomes of the body. Then either the stream has the client's socket and the server `/dev/null`, or the
//! server has its socket again and the client what was captured.
//!
//! Each takeover has a socketpair of its own, though one for all would save four microseconds: a duplicate of the server's
//! descriptor that other code holds would otherwise write into the response of another client.

use super::stream_handle::{OpenOptions, StreamHandle};
use crate::compression::ContentCoding;
use crate::event::Framing;
use crate::runtime::generation::generation;
use crate::sys::{descriptor, socket};
use memchr::{memchr, memchr2};
use rustix::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::fmt;
use std::io;
use std::time::Duration;

/// How long the captured bytes may take to the client: a few hundred bytes into an empty socket.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// How much room there is for what the server writes, and how much one read has at least. Most heads need no more.
const CAPTURE_BYTES: usize = 1024;
const READ_BYTES: usize = 256;

/// A response whose server writes into a socketpair. Dropping it gives the server its socket back, unless a stream has
/// it.
#[derive(Debug)]
pub struct Capture {
    /// The server's descriptor.
    number: RawFd,
    /// The client's connection, until a stream or the server has it.
    client: Option<OwnedFd>,
    /// The other end of the socketpair.
    ours: OwnedFd,
    captured: Vec<u8>,
    /// How many of the captured bytes are the version of the status line, and how many are the head.
    head: Option<(usize, usize)>,
    generation: u32,
}

/// Why a response cannot be taken over.
#[derive(Debug)]
pub struct Obstacle {
    /// The code in `EventSource::XS::Stream::Obstacle`, which has the texts.
    pub code: &'static str,
    /// The text, where the list has none.
    text: String,
}

impl Obstacle {
    fn new(code: &'static str) -> Self {
        Self { code, text: String::new() }
    }

    /// The system refuses something.
    fn limit(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self { code: "limit", text: format!("{what}: {cause}") }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Capture {
    /// Puts one end of a socketpair where the server has its client's socket.
    ///
    /// # Errors
    ///
    /// If the client is known to have left, or if there is no descriptor. If `must_be_connection`, also if the descriptor
    /// is not a connection. The server's descriptor is unchanged then.
    pub fn begin(number: RawFd, must_be_connection: bool) -> Result<Self, Obstacle> {
        if must_be_connection && !descriptor::is_connection(number) {
            return Err(Obstacle::new("socket"));
        }
        // A connection has a peer, so its client has not left.
        if !must_be_connection && descriptor::has_left(number) {
            return Err(Obstacle::new("left"));
        }
        let (theirs, ours) = socket::pair().map_err(Obstacle::limit("there is no socketpair"))?;
        let client =
            descriptor::duplicate(number).map_err(Obstacle::limit("the server's socket cannot be duplicated"))?;
        descriptor::replace(number, theirs.as_raw_fd())
            .map_err(Obstacle::limit("the server's socket cannot be replaced"))?;
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
    /// response to `/dev/null`. The body is chunked if the server's is, or if the client takes chunks.
    ///
    /// # Errors
    ///
    /// If something filters the body, or if the system refuses. Then [`restore`](Self::restore) is to follow.
    pub fn open(
        &mut self,
        probe: &[u8],
        takes_chunks: bool,
        mut stream: OpenOptions<'_>,
    ) -> Result<StreamHandle, Obstacle> {
        let (version, end) = self.head.ok_or_else(|| Obstacle::new("head"))?;
        self.read();
        let (head, seen) = self.captured.split_at(end);
        let is_chunked = seen == &Framing::Chunked.frame(probe)[..];
        if !is_chunked && seen != probe {
            return Err(Obstacle::new("filter"));
        }
        let head = Head::of_parsed(head, version);
        let is_chunked = is_chunked || takes_chunks && !head.has("content-length");
        stream.settings.framing = if is_chunked { Framing::Chunked } else { Framing::Plain };
        if head.has("content-encoding") || head.has("content-length") {
            stream.settings.coding = ContentCoding::Identity; // the application describes the content itself
        }
        let head = head.of_stream(stream.settings.framing, stream.settings.coding);
        descriptor::silence(self.number).map_err(Obstacle::limit("the server cannot be silenced"))?;
        let stream = OpenOptions { head: &head, socket: self.client.take(), ..stream };
        StreamHandle::open(stream).map_err(|(error, client)| {
            self.client = client;
            Obstacle { code: "limit", text: format!("EventSource::XS::Stream::Native: {error}") }
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
        while let Ok(true) = socket::receive_more(self.ours.as_fd(), &mut self.captured) {
            self.captured.reserve(READ_BYTES);
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.restore();
    }
}

/// The rest of the status line after the version.
const STATUS: &[u8] = b" 200 OK";

/// The head of a response with status 200.
#[derive(Debug, PartialEq, Eq)]
struct Head<'a> {
    version: &'a [u8],
    /// The header lines, with their line ends.
    fields: &'a [u8],
}

impl<'a> Head<'a> {
    /// Parses a head and nothing else. The status line may begin with any version: some servers repeat what the client
    /// wrote, spaces included. All versions are accepted, because a client's request must not decide whether its stream holds
    /// a worker.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let version = bytes[..memchr(b'\r', bytes)?].strip_suffix(STATUS)?;
        let head = Self { version, fields: bytes[version.len() + STATUS.len()..].strip_prefix(b"\r\n")? };
        let mut rest = head.fields;
        loop {
            // The first CR or LF has to be a CR that ends a line. An empty line ends the head.
            let (line, after) = rest.split_at(memchr2(b'\r', b'\n', rest)?);
            rest = after.strip_prefix(b"\r\n")?;
            match (line.is_empty(), rest.is_empty()) {
                (true, true) => return Some(Self { fields: &head.fields[..head.fields.len() - 2], ..head }),
                (false, false) => {}
                _ => return None,
            }
        }
    }

    /// Returns the head that `parse` has found in these bytes, with a version of that length.
    fn of_parsed(bytes: &'a [u8], version: usize) -> Self {
        let fields = version + STATUS.len() + 2..bytes.len() - 2;
        Self { version: &bytes[..version], fields: &bytes[fields] }
    }

    fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.fields;
        std::iter::from_fn(move || {
            let (line, after) = rest.split_at(memchr(b'\n', rest)? + 1);
            rest = after;
            Some(line)
        })
    }

    fn has(&self, name: &str) -> bool {
        self.lines().any(|line| is_named(line, name))
    }

    /// Returns the head for the client, with the stream's own framing and coding, and the beginning of the coding. Only
    /// HTTP/1.1 has chunks; otherwise a version that is not known becomes HTTP/1.0.
    fn of_stream(&self, framing: Framing, coding: ContentCoding) -> Vec<u8> {
        let is_chunked = framing == Framing::Chunked;
        let mut head = Vec::with_capacity(self.fields.len() + 150);
        let is_new = is_chunked || self.version == b"HTTP/1.1";
        head.extend_from_slice(if is_new { b"HTTP/1.1 200 OK\r\n" } else { b"HTTP/1.0 200 OK\r\n" });
        for line in self.lines() {
            if !["connection", "keep-alive", "transfer-encoding"].iter().any(|name| is_named(line, name)) {
                head.extend_from_slice(line);
            }
        }
        if is_chunked {
            head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if coding != ContentCoding::Identity {
            head.extend_from_slice(format!("Content-Encoding: {}\r\n", coding.name()).as_bytes());
        }
        head.extend_from_slice(b"Connection: close\r\n\r\n");
        head.extend_from_slice(&framing.frame(coding.beginning()));
        head
    }
}

/// Returns true if a header line has that name, which is given in lower case.
fn is_named(line: &[u8], name: &str) -> bool {
    line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_parsed_only_if_it_is_whole_and_its_status_is_200() {
        let cases: [(&[u8], Option<&[u8]>); 12] = [
            (b"HTTP/1.1 200 OK\r\n\r\n", Some(b"")),
            (b"HTTP/1.0 200 OK\r\nA: 1\r\nB: 2\r\n\r\n", Some(b"A: 1\r\nB: 2\r\n")),
            (b"HTTP/1.1 junk 200 OK\r\nA: 1\r\n\r\n", Some(b"A: 1\r\n")),
            (b"", None),
            (b"HTTP/1.1 200 OK\r\n", None),
            (b"HTTP/1.1 200 OK\r\nA: 1\r\n", None),
            (b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\n:", None),
            (b"HTTP/1.1 200 OK\r\n\r\n\r\n", None),
            (b"HTTP/1.1 304 Not Modified\r\n\r\n", None),
            (b"HTTP/1.1 200 OK\r\nA: 1\n\r\n", None),
            (b"HTTP/1.1 200 OK\r\nA: \r1\r\n\r\n", None),
            (b"HTTP/1.1 200 OK\nA: 1\r\n\r\n", None),
        ];
        for (bytes, fields) in cases {
            let name = String::from_utf8_lossy(bytes);
            assert_eq!(Head::parse(bytes).map(|head| head.fields), fields, "{name:?}");
        }
    }

    #[test]
    fn the_head_of_a_stream_has_the_framing_of_the_stream() {
        let server: &[u8] =
            b"HTTP/1.x 200 OK\r\nConnection: keep-alive\r\nX: Y\r\ntransfer-ENCODING: chunked\r\nZ:\r\n\r\n";
        let plain = b"HTTP/1.0 200 OK\r\nX: Y\r\nZ:\r\nConnection: close\r\n\r\n";
        let chunked = b"HTTP/1.1 200 OK\r\nX: Y\r\nZ:\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        let gzip = b"HTTP/1.0 200 OK\r\nX: Y\r\nZ:\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n\x1f\x8b";
        let head = Head::parse(server).expect("it is a head");
        assert_eq!(head.of_stream(Framing::Plain, ContentCoding::Identity), plain);
        assert_eq!(head.of_stream(Framing::Chunked, ContentCoding::Identity), chunked);
        assert!(head.of_stream(Framing::Plain, ContentCoding::Gzip).starts_with(gzip));
        assert_eq!((head.has("x"), head.has("content-length")), (true, false));
        let new = Head { version: b"HTTP/1.1", ..head };
        assert!(new.of_stream(Framing::Plain, ContentCoding::Identity).starts_with(b"HTTP/1.1 "));
    }
}
