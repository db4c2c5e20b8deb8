//! What a stream keeps of its content coding.

use super::checksum::Total;
use super::{gzip, ContentCoding, Piece};
use crate::codec::{Coded, Reader, Writer};
use crate::saved::{Malformed, Restorer, Saved, Saver};

/// The body of one stream's response: what the stream was sent, as far as the coding of the next part depends on it. It is small,
/// because every stream has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Body {
    total: Total,
    /// The number of the round whose pieces the stream was sent, all so far, or 0; and the flags below.
    round: u32,
}

impl Body {
    /// The greatest number of a round.
    pub const MAX_ROUND: u32 = (1 << 30) - 1;
    /// The stream was sent something of the round.
    const IS_OPEN: u32 = 1 << 30;
    /// It is unknown what the stream was sent: a process has taken the stream over from its parent.
    const IS_UNKNOWN: u32 = 1 << 31;

    /// The body of a stream of which another process has sent an unknown part. Its response ends without a trailer.
    pub fn unknown() -> Self {
        Self { round: Self::IS_UNKNOWN, ..Self::default() }
    }

    fn has(&self, flag: u32) -> bool {
        self.round & flag != 0
    }

    /// Returns the number of the round that the stream is in, if it is in one.
    pub fn round(&self) -> Option<u32> {
        Some(self.round & Self::MAX_ROUND).filter(|round| *round != 0)
    }

    /// Joins a round, of which the stream was sent nothing yet.
    pub fn join(&mut self, round: u32) {
        debug_assert!(self.round() == None && round <= Self::MAX_ROUND);
        self.round |= round;
    }

    /// Leaves the round, and returns what the stream is sent then.
    #[must_use]
    pub fn leave(&mut self, coding: ContentCoding) -> &'static [u8] {
        let was_open = self.has(Self::IS_OPEN);
        self.round &= Self::IS_UNKNOWN;
        match was_open {
            true => end_of_window(coding),
            false => b"",
        }
    }

    /// Adds a piece that the stream is sent.
    pub fn add(&mut self, piece: &Piece) {
        if self.round().is_some() {
            self.round |= Self::IS_OPEN;
        }
        self.total.add(&piece.checksum);
    }

    /// Returns the end of the response.
    pub fn end(&mut self, coding: ContentCoding) -> Vec<u8> {
        let mut end = self.leave(coding).to_vec();
        if coding == ContentCoding::Gzip && !self.has(Self::IS_UNKNOWN) {
            end.extend_from_slice(&gzip::end(self.total));
        }
        end
    }
}

/// Returns the bytes that end a window which was left open.
fn end_of_window(coding: ContentCoding) -> &'static [u8] {
    match coding {
        #[cfg(feature = "zstd")]
        ContentCoding::Zstd => super::zstd::LAST_BLOCK,
        _ => b"",
    }
}

impl Saved for Body {
    fn save(&self, to: &mut Saver) {
        to.add(&self.total);
        to.add(&(self.round & !Self::MAX_ROUND));
    }

    /// The round of another program is unknown here: a stream that is in one leaves it.
    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        let (total, flags): (_, u32) = (from.take()?, from.take()?);
        Ok(Self { total, round: flags & !Self::MAX_ROUND })
    }
}

/// A stream that is handed over is in no round.
impl Coded<'_> for Body {
    fn write(&self, to: &mut Writer<'_>) {
        to.u32(self.total.crc);
        to.u32(self.total.len);
        to.bool(self.has(Self::IS_UNKNOWN));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let total = Total { crc: from.u32()?, len: from.u32()? };
        Ok(Self { total, round: if from.bool()? { Self::IS_UNKNOWN } else { 0 } })
    }
}

#[cfg(test)]
impl crate::codec::Random for Body {
    fn random(rng: &mut fastrand::Rng) -> Self {
        let total = Total { crc: rng.u32(..), len: rng.u32(..) };
        Self { total, round: if rng.bool() { Self::IS_UNKNOWN } else { 0 } }
    }
}
