//! The part of its content coding that a stream keeps.

use super::checksum::Total;
use super::{gzip, ContentCoding, Piece};
use crate::codec::{Coded, Malformed, Reader, Writer};

/// The body of one stream's response: what the stream was sent, as far as the coding of the next part depends on it. It is
/// small, because every stream has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Body {
    total: Total,
    /// The number of the round whose pieces the stream was sent, all so far, or 0; and the flag below.
    round: u32,
}

impl Body {
    /// The greatest number of a round.
    pub const MAX_ROUND: u32 = (1 << 31) - 1;
    /// It is unknown what the stream was sent: a process has taken the stream over from its parent.
    const IS_UNKNOWN: u32 = 1 << 31;

    /// The body of a stream of which another process has sent an unknown part. Its response ends without a trailer.
    pub fn unknown() -> Self {
        Self { round: Self::IS_UNKNOWN, ..Self::default() }
    }

    fn is_unknown(&self) -> bool {
        self.round & Self::IS_UNKNOWN != 0
    }

    /// Returns the number of the round that the stream is in, if it is in one.
    pub fn round(&self) -> Option<u32> {
        Some(self.round & Self::MAX_ROUND).filter(|round| *round != 0)
    }

    /// Joins a round, of which the stream was sent nothing yet.
    pub fn join(&mut self, round: u32) {
        debug_assert!(round <= Self::MAX_ROUND);
        self.leave();
        self.round |= round;
    }

    /// Leaves the round.
    pub fn leave(&mut self) {
        self.round &= Self::IS_UNKNOWN;
    }

    /// Adds a piece that the stream is sent.
    pub fn add(&mut self, piece: &Piece) {
        self.total.add(&piece.checksum);
    }

    /// Returns the end of the response.
    pub fn end(&self, coding: ContentCoding) -> Vec<u8> {
        match coding {
            ContentCoding::Gzip if !self.is_unknown() => gzip::end(self.total),
            #[cfg(feature = "zstd")]
            ContentCoding::Zstd => super::zstd::LAST_BLOCK.to_vec(),
            _ => Vec::new(),
        }
    }
}

/// A stream that another program or process continues is in no round.
impl Coded<'_> for Body {
    fn write(&self, to: &mut Writer<'_>) {
        self.total.crc.write(to);
        self.total.len.write(to);
        self.is_unknown().write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let total = Total { crc: u32::read(from)?, len: u32::read(from)? };
        Ok(Self { total, round: if bool::read(from)? { Self::IS_UNKNOWN } else { 0 } })
    }
}
