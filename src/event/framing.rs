//! The framing of a response's bytes: none, or the chunks of HTTP/1.1.

use super::{encode, EventId, Field, LineEnd, BLANK_SIZE_BOUND};
use bytes::Bytes;
use std::io::Write;

/// The framing of a response's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No framing: the response ends with the connection.
    Plain,
    /// Chunks (RFC 9112, section 7.1). Each block is one chunk.
    Chunked,
}

impl Framing {
    /// Frames a block. An empty block stays empty: a chunk without bytes would end the response.
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

    /// Returns a block without its framing. Unframed input is returned unchanged.
    pub fn unframe(self, framed: &[u8]) -> &[u8] {
        let start = match self {
            Self::Plain => return framed,
            Self::Chunked => framed.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1),
        };
        framed.get(start..framed.len().saturating_sub(2)).unwrap_or(framed)
    }

    /// Returns a framed keepalive: a comment, which clients ignore (WHATWG HTML 9.2.5). It has no blank line, for which
    /// some clients report an empty event.
    pub fn keepalive(self, line_end: LineEnd) -> Bytes {
        Bytes::from_static(match (self, line_end) {
            (Self::Plain, LineEnd::Lf) => b":\n",
            (Self::Plain, LineEnd::CrLf) => b":\r\n",
            (Self::Chunked, LineEnd::Lf) => b"2\r\n:\n\r\n",
            (Self::Chunked, LineEnd::CrLf) => b"3\r\n:\r\n\r\n",
        })
    }

    /// Returns the bytes that end a response.
    pub fn end(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Plain => b"",
            Self::Chunked => b"0\r\n\r\n",
        })
    }
}

/// A block that many streams send, encoded once for both framings: it is stored as a chunk, whose middle is the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    chunk: Bytes,
    /// The number of bytes of the chunk before the block.
    before: u8,
}

impl Shared {
    /// The most bytes before a block in its chunk: sixteen digits and a line end.
    const BEFORE: usize = 18;
    const AFTER: &'static [u8] = b"\r\n";

    /// Makes a block: `write` fills a buffer of `room` bytes and returns how many it wrote, at least one.
    pub fn write(room: usize, write: impl FnOnce(&mut [u8]) -> usize) -> Self {
        let mut chunk = vec![0; Self::BEFORE + room + Self::AFTER.len()];
        let len = write(&mut chunk[Self::BEFORE..Self::BEFORE + room]);
        let mut digits = [0; Self::BEFORE];
        let mut rest = &mut digits[..];
        let written = write!(rest, "{:x}\r\n", len);
        debug_assert!(written.is_ok(), "a length has sixteen digits at most");
        let before = Self::BEFORE - rest.len();
        let start = Self::BEFORE - before;
        chunk[start..Self::BEFORE].copy_from_slice(&digits[..before]);
        chunk.truncate(Self::BEFORE + len);
        chunk.extend_from_slice(Self::AFTER);
        Self { chunk: Bytes::from(chunk).slice(start..), before: before as u8 }
    }

    /// Makes a block of these bytes.
    pub(crate) fn of(block: impl AsRef<[u8]>) -> Self {
        let block = block.as_ref();
        Self::write(block.len(), |out| {
            out.copy_from_slice(block);
            block.len()
        })
    }

    /// Encodes an event. Its id is the last field: the given one, unless the fields contain an id. A client that takes an id
    /// when its line arrives then has received the rest of the event.
    pub fn with_id_last<'a: 'b, 'b>(fields: impl Iterator<Item = Field<'a>> + Clone, id: Option<EventId<'b>>) -> Self {
        #[allow(clippy::map_identity)] // both ends of the chain below have one lifetime
        let fields = fields.map(|field| -> Field<'b> { field });
        let is_id = |field: &Field<'_>| matches!(field, Field::Id(_));
        let own = fields.clone().filter(is_id);
        let id = id.filter(|_| own.clone().next().is_none()).map(Field::Id);
        let all = fields.filter(move |field| !is_id(field)).chain(own).chain(id);
        let room = all.clone().map(Field::size_bound).fold(BLANK_SIZE_BOUND, usize::saturating_add);
        Self::write(room, |out| encode(all, LineEnd::Lf, out))
    }

    /// Returns the framed block.
    pub fn bytes(&self, framing: Framing) -> &[u8] {
        match framing {
            Framing::Chunked => &self.chunk,
            Framing::Plain => &self.chunk[self.before.into()..self.chunk.len() - Self::AFTER.len()],
        }
    }

    /// Returns the framed block from an offset on, without copying.
    pub fn from(&self, framing: Framing, at: usize) -> Bytes {
        self.chunk.slice_ref(&self.bytes(framing)[at..])
    }

    /// Returns the memory that the block takes, in bytes.
    pub fn len(&self) -> usize {
        self.chunk.len()
    }

    /// Returns false: a block has at least one byte.
    pub fn is_empty(&self) -> bool {
        self.chunk.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keepalive_is_a_comment_of_one_line() {
        for (line_end, comment) in [(LineEnd::Lf, ":\n"), (LineEnd::CrLf, ":\r\n")] {
            assert_eq!(Framing::Plain.keepalive(line_end), comment);
            assert_eq!(Framing::Chunked.keepalive(line_end), Framing::Chunked.frame(comment.as_bytes()));
        }
    }

    #[test]
    fn a_shared_block_is_framed_as_a_block_of_one_stream() {
        for len in [1, 15, 16, 255, 256, 70_000] {
            let block = vec![b'x'; len];
            let shared = Shared::write(len + 9, |out| {
                out[..len].copy_from_slice(&block);
                len
            });
            for framing in [Framing::Plain, Framing::Chunked] {
                assert_eq!(shared.bytes(framing), framing.frame(&block), "{len} bytes");
                assert_eq!(framing.unframe(&framing.frame(&block)), block, "{len} bytes");
                assert_eq!(shared.from(framing, 1), framing.frame(&block).slice(1..));
            }
        }
    }
}
