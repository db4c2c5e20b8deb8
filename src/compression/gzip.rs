//! Deflate (RFC 1951) in the container of gzip (RFC 1952).
//!
//! A response is one member, because browsers ignore what follows the first. Its header comes first, its trailer last: both
//! of the stream itself. Between them come deflate blocks. After each sync flush the next one begins at a byte, so blocks
//! of several encoders can follow each other, as long as none refers to bytes that the stream was not sent.

use super::checksum::Total;
use miniz_oxide::deflate::core::{create_comp_flags_from_zip_params, CompressorOxide};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::MZFlush;
use std::fmt;

/// The header of a member without a time or a name, of an unknown system.
pub(super) const HEADER: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff";
/// An empty last block with fixed codes.
const LAST_BLOCK: [u8; 2] = [3, 0];
/// The default level of zlib. A higher one takes much longer and saves little.
const LEVEL: i32 = 6;
/// Bare deflate, without the container of zlib.
const RAW: i32 = 0;

/// Returns the end of a response.
pub(super) fn end(total: Total) -> Vec<u8> {
    [&LAST_BLOCK[..], &total.crc.to_le_bytes(), &total.len.to_le_bytes()].concat()
}

/// An encoder of deflate.
pub(super) struct Deflate(Box<CompressorOxide>);

impl fmt::Debug for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deflate")
    }
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self(Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(LEVEL, RAW, 0))))
    }

    pub(super) fn begin(&mut self) {
        self.0.reset();
    }

    /// Encodes a block and flushes it.
    pub(super) fn encode(&mut self, block: &[u8]) -> Vec<u8> {
        let mut encoded = vec![0; block.len() / 4 + 64];
        let (mut from, mut to) = (0, 0);
        loop {
            let result = deflate(&mut self.0, &block[from..], &mut encoded[to..], MZFlush::Sync);
            from += result.bytes_consumed;
            to += result.bytes_written;
            // A flush is complete when it leaves room.
            if to < encoded.len() {
                encoded.truncate(to);
                return encoded;
            }
            encoded.resize(encoded.len() * 2, 0);
        }
    }
}
