//! How the bytes of a response are framed: as they are, or in the chunks of HTTP/1.1.

use bytes::Bytes;

/// How the bytes of a response are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// As they are; the response ends with the connection.
    Plain,
    /// In chunks (RFC 9112, section 7.1), each block in one of its own.
    Chunked,
}

impl Framing {
    /// The block with its frame. An empty one stays empty: a chunk without bytes would end the response.
    pub fn frame(self, block: &[u8]) -> Bytes {
        match self {
            Self::Chunked if !block.is_empty() => {
                let mut framed = format!("{:x}\r\n", block.len()).into_bytes();
                framed.reserve_exact(block.len() + 2);
                framed.extend_from_slice(block);
                framed.extend_from_slice(b"\r\n");
                framed.into()
            }
            _ => Bytes::copy_from_slice(block),
        }
    }

    /// What is sent after quiet: a comment, which clients ignore (WHATWG HTML, section 9.2.5).
    pub fn keepalive(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Plain => b":\r\n\r\n",
            Self::Chunked => b"5\r\n:\r\n\r\n\r\n",
        })
    }

    /// What ends a response.
    pub fn end(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Plain => b"",
            Self::Chunked => b"0\r\n\r\n",
        })
    }
}
