//! The head that the server has written: whether it is complete, and what becomes of it.

use crate::compression::ContentCoding;
use crate::event::Framing;
use memchr::{memchr, memchr2};

/// The rest of the status line after the version.
const STATUS: &[u8] = b" 200 OK";

/// The head of a response with status 200.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) version: &'a [u8],
    /// The header lines, with their line ends.
    fields: &'a [u8],
}

impl<'a> Head<'a> {
    /// Parses a head and nothing else. The status line may begin with any version: some servers repeat what the client
    /// wrote, spaces included. All versions are accepted, because a client's request must not decide whether its stream holds
    /// a worker.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
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
    pub(super) fn of_parsed(bytes: &'a [u8], version: usize) -> Self {
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

    pub(super) fn has(&self, name: &str) -> bool {
        self.lines().any(|line| is_named(line, name))
    }

    /// Returns the head for the client, with the stream's own framing and coding, and the beginning of the coding. Only
    /// HTTP/1.1 has chunks; otherwise a version that is not known becomes HTTP/1.0.
    pub(super) fn of_stream(&self, framing: Framing, coding: ContentCoding) -> Vec<u8> {
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
