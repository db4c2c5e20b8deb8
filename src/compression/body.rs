//! What a stream keeps of its content coding.

use super::checksum::Total;
use super::{gzip, ContentCoding, Piece};
use crate::codec::{Coded, Reader, Writer};
use crate::saved::{Malformed, Restorer, Saved, Saver};

/// The body of one stream's response: what the stream was sent, as far as the coding of the next part depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Body {
    total: Total,
    /// The number of the round whose pieces the stream was sent, all so far; 0 if it was sent something else since.
    round: u32,
    /// Whether the stream was sent something of the round.
    is_open: bool,
    /// Whether it is unknown what the stream was sent: a process has taken the stream over from its parent.
    is_unknown: bool,
}

impl Body {
    /// A round that no hub has.
    const UNKNOWN: u32 = u32::MAX;

    /// The body of a stream of which another process has sent an unknown part. Its response ends without a trailer.
    pub fn unknown() -> Self {
        Self { is_unknown: true, ..Self::default() }
    }

    /// Returns the number of the round that the stream is in, if it is in one.
    pub fn round(&self) -> Option<u32> {
        Some(self.round).filter(|round| *round != 0)
    }

    /// Joins a round, of which the stream was sent nothing yet.
    pub fn join(&mut self, round: u32) {
        debug_assert!(self.round == 0);
        self.round = round;
    }

    /// Leaves the round, and returns what the stream is sent then.
    #[must_use]
    pub fn leave(&mut self, coding: ContentCoding) -> &'static [u8] {
        self.round = 0;
        match std::mem::take(&mut self.is_open) {
            true => end_of_window(coding),
            false => b"",
        }
    }

    /// Adds a piece that the stream is sent.
    pub fn add(&mut self, piece: &Piece) {
        self.is_open = self.round != 0;
        self.total.add(&piece.checksum);
    }

    /// Returns the end of the response.
    pub fn end(&mut self, coding: ContentCoding) -> Vec<u8> {
        let mut end = self.leave(coding).to_vec();
        if coding == ContentCoding::Gzip && !self.is_unknown {
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
        to.add(&self.is_open);
        to.add(&self.is_unknown);
    }

    /// The round of another program is unknown here: the stream leaves it.
    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        let (total, is_open) = (from.take()?, from.take()?);
        let round = if is_open { Self::UNKNOWN } else { 0 };
        Ok(Self { total, round, is_open, is_unknown: from.take()? })
    }
}

/// A stream that is handed over is in no round.
impl Coded<'_> for Body {
    fn write(&self, to: &mut Writer<'_>) {
        let Self { total, is_unknown, round: _, is_open: _ } = self;
        to.u32(total.crc);
        to.u32(total.len);
        to.bool(*is_unknown);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let total = Total { crc: from.u32()?, len: from.u32()? };
        Ok(Self { total, is_unknown: from.bool()?, ..Self::default() })
    }
}

#[cfg(test)]
impl crate::codec::Random for Body {
    fn random(rng: &mut fastrand::Rng) -> Self {
        let total = Total { crc: rng.u32(..), len: rng.u32(..) };
        Self { total, is_unknown: rng.bool(), ..Self::default() }
    }
}
