//! Content codings of a response (RFC 9110, section 8.4.1): gzip (RFC 1952) and zstd (RFC 8878).
//!
//! A [`Window`] encodes blocks so that each can be decoded as soon as it has arrived. What it has encoded since it
//! [began](Window::begin) is what the next block may refer to. Streams that have been sent all of that share the blocks; a
//! block that is encoded in a window of its own can be sent to any stream at any time.
//!
//! The parts of one response come from several windows. A [`Body`] is what one stream keeps of it: a few bytes.

#![forbid(unsafe_code)]

mod body;
mod checksum;
mod gzip;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(feature = "zstd")]
mod zstd;

pub use body::Body;

use crate::event::Shared;
use checksum::Checksum;

/// The coding of a response's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentCoding {
    /// Not at all.
    Identity,
    /// As gzip.
    Gzip,
    /// As Zstandard.
    Zstd,
}

impl ContentCoding {
    /// All codings that this build has, in the order of their discriminants, the best last.
    pub const ALL: &'static [Self] =
        if cfg!(feature = "zstd") { &[Self::Identity, Self::Gzip, Self::Zstd] } else { &[Self::Identity, Self::Gzip] };

    /// Returns the name in the field `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Returns the bytes with which a response begins.
    pub fn beginning(self) -> &'static [u8] {
        match self {
            Self::Gzip => gzip::HEADER,
            #[cfg(feature = "zstd")]
            Self::Zstd => zstd::HEADER,
            _ => b"",
        }
    }
}

/// An encoded block, which many streams may send.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The block.
    pub block: Shared,
    /// The number of bytes before it was encoded.
    pub content_bytes: usize,
    checksum: Checksum,
}

/// An encoder, and what it has encoded since its window began.
#[derive(Debug)]
pub struct Window(Encoder);

#[derive(Debug)]
enum Encoder {
    Identity,
    Gzip(gzip::Deflate),
    #[cfg(feature = "zstd")]
    Zstd(zstd::Frame),
}

impl Window {
    /// Creates an empty window.
    pub fn new(coding: ContentCoding) -> Self {
        Self(match coding {
            ContentCoding::Gzip => Encoder::Gzip(gzip::Deflate::new()),
            #[cfg(feature = "zstd")]
            ContentCoding::Zstd => Encoder::Zstd(zstd::Frame::new()),
            _ => Encoder::Identity,
        })
    }

    /// Begins again: the next block refers to nothing before it.
    pub fn begin(&mut self) {
        match &mut self.0 {
            Encoder::Identity => {}
            Encoder::Gzip(deflate) => deflate.begin(),
            #[cfg(feature = "zstd")]
            Encoder::Zstd(frame) => frame.begin(),
        }
    }

    /// Encodes a block, which can be decoded at once. The window stays open for more.
    pub fn encode(&mut self, block: &[u8]) -> Piece {
        self.encode_as(block, false)
    }

    /// Encodes a block in a window of its own.
    pub fn encode_alone(&mut self, block: &[u8]) -> Piece {
        self.begin();
        self.encode_as(block, true)
    }

    #[cfg_attr(not(feature = "zstd"), allow(unused_variables))]
    fn encode_as(&mut self, block: &[u8], is_only: bool) -> Piece {
        let (encoded, checksum) = match &mut self.0 {
            Encoder::Identity => (block.to_vec(), Checksum::default()),
            Encoder::Gzip(deflate) => (deflate.encode(block), Checksum::of(block)),
            #[cfg(feature = "zstd")]
            Encoder::Zstd(frame) => (frame.encode(block, is_only), Checksum::default()),
        };
        Piece { block: Shared::of(encoded), content_bytes: block.len(), checksum }
    }
}

/// The windows in which blocks are encoded alone: one of each coding, made when it is needed.
#[derive(Debug, Default)]
pub struct Alone {
    windows: Vec<(ContentCoding, Window)>,
}

impl Alone {
    /// Encodes a block that refers to nothing before it.
    pub fn encode(&mut self, coding: ContentCoding, block: &[u8]) -> Piece {
        let at = self.windows.iter().position(|(of, _)| *of == coding);
        let at = at.unwrap_or_else(|| {
            self.windows.push((coding, Window::new(coding)));
            self.windows.len() - 1
        });
        self.windows[at].1.encode_alone(block)
    }
}
