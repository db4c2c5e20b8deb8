//! Where a text's line breaks are: the hot loop of the encoder.
//!
//! Sixty-four bytes at a time become a mask with a bit for each CR and LF. With lines of 60 to 80 bytes that halves what
//! searching for one break after the other costs, for nothing is called between two of them.

const BLOCK: usize = 64;

/// The places of each CR and LF in a text, in order; a CRLF is two.
pub(super) struct Breaks<'a> {
    /// What has not been looked at yet.
    rest: &'a [u8],
    /// Where the block that the mask is of begins.
    at: usize,
    /// The breaks of that block that have not been given yet.
    mask: u64,
}

impl<'a> Breaks<'a> {
    #[inline]
    pub(super) fn new(text: &'a [u8]) -> Self {
        let (mask, rest) = first_block(text);
        Self { rest, at: 0, mask }
    }
}

impl Iterator for Breaks<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.mask == 0 {
            if self.rest.is_empty() {
                return None;
            }
            self.at += BLOCK;
            let (mask, rest) = first_block(self.rest);
            self.mask = mask;
            self.rest = rest;
        }
        let bit = self.mask.trailing_zeros() as usize;
        self.mask &= self.mask - 1;
        Some(self.at + bit)
    }
}

/// How many CR and LF a text holds; a CRLF counts twice.
///
/// Sums into one byte a lane, which compilers turn into vector adds: half the cost of counting the bits of masks.
pub(super) fn count(text: &[u8]) -> usize {
    const ROUNDS: usize = 255; // what a lane can count before it would wrap

    let mut count = 0;
    let mut blocks = text.chunks_exact(BLOCK);
    while blocks.len() > 0 {
        let mut lanes = [0_u8; BLOCK];
        for block in blocks.by_ref().take(ROUNDS) {
            for (lane, byte) in lanes.iter_mut().zip(block) {
                *lane += u8::from(is_break(*byte));
            }
        }
        count += lanes.iter().map(|lane| usize::from(*lane)).sum::<usize>();
    }
    count + first_block(blocks.remainder()).0.count_ones() as usize
}

/// Whether a byte ends a line or is part of what ends one (WHATWG HTML 9.2.5, `end-of-line`).
pub(super) const fn is_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// The mask of the first block of a text, which may be shorter, and what follows it.
#[inline]
fn first_block(text: &[u8]) -> (u64, &[u8]) {
    if text.len() < BLOCK {
        return (mask_short(text), b"");
    }
    let (block, rest) = text.split_at(BLOCK);
    let parts = block.chunks_exact(PART).enumerate();
    (parts.fold(0, |mask, (at, part)| mask | mask_part(part) << (at * PART)), rest)
}

/// The mask of less than a block: whole parts, then one that ends with the text and overlaps the one before.
#[inline]
fn mask_short(text: &[u8]) -> u64 {
    if text.len() < PART {
        let mut padded = [0; PART];
        for (to, from) in padded.iter_mut().zip(text) {
            *to = *from;
        }
        return mask_part(&padded);
    }
    let parts = text.chunks_exact(PART).enumerate();
    let whole = parts.fold(0, |mask, (at, part)| mask | mask_part(part) << (at * PART));
    let last = text.len() - PART;
    whole | mask_part(&text[last..]) << last
}

/// How many bytes the machine compares at once.
const PART: usize = 16;

/// A bit for each CR and LF among sixteen bytes, the lowest for the first.
#[cfg(target_arch = "x86_64")]
#[inline]
fn mask_part(part: &[u8]) -> u64 {
    use safe_arch::{bitor_m128i, cmp_eq_mask_i8_m128i, load_unaligned_m128i, move_mask_i8_m128i, set_splat_i8_m128i};

    let part = load_unaligned_m128i(part.try_into().unwrap_or(&[0; PART]));
    let is_lf = cmp_eq_mask_i8_m128i(part, set_splat_i8_m128i(b'\n' as i8));
    let is_cr = cmp_eq_mask_i8_m128i(part, set_splat_i8_m128i(b'\r' as i8));
    u64::from(move_mask_i8_m128i(bitor_m128i(is_lf, is_cr)) as u16)
}

/// The same on other machines, a word at a time.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn mask_part(part: &[u8]) -> u64 {
    portable_mask(part)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn portable_mask(part: &[u8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOW: u64 = 0x7f * ONES;

    // The high bit of each byte that is zero, and no other; exact, for no carry crosses a byte.
    let zeros = |word: u64| !(((word & LOW) + LOW) | word | LOW);
    part.chunks_exact(8).enumerate().fold(0, |mask, (half, bytes)| {
        let word = u64::from_le_bytes(bytes.try_into().unwrap_or([0; 8]));
        let breaks = zeros(word ^ (ONES * u64::from(b'\n'))) | zeros(word ^ (ONES * u64::from(b'\r')));
        // Gathers the eight high bits in the topmost byte.
        mask | (breaks >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56 << (8 * half)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of every length around the blocks, with breaks and their neighbours in the character table everywhere.
    fn texts() -> impl Iterator<Item = Vec<u8>> {
        let lengths = (0..300).chain(if cfg!(miri) { 0..0 } else { 16_319..16_322 });
        lengths.map(|length| (0..length).map(|at| b"\r\nab\x0b\x0c\x09\x0e\x8a\x8d\0\xff"[at * 7 % 12]).collect())
    }

    #[test]
    fn every_break_is_found_in_its_place() {
        for text in texts() {
            let naive: Vec<usize> = (0..text.len()).filter(|at| is_break(text[*at])).collect();
            assert_eq!(Breaks::new(&text).collect::<Vec<_>>(), naive, "{} bytes", text.len());
            assert_eq!(count(&text), naive.len(), "{} bytes", text.len());
        }
    }

    #[test]
    fn a_lane_full_of_breaks_does_not_wrap() {
        assert_eq!(count(&[b'\n'; BLOCK * 255 * 2 + 31]), BLOCK * 255 * 2 + 31);
    }

    #[test]
    fn both_masks_are_the_same() {
        for at in 0..PART {
            for byte in 0..=255 {
                let mut part = [b'x'; PART];
                part[at] = byte;
                part[(at + 1) % PART] = byte.wrapping_add(1);
                assert_eq!(mask_part(&part), portable_mask(&part), "{byte} at {at}");
            }
        }
    }
}
