//! Line breaks of a text: the encoder's hot loop.
//!
//! # The problem
//!
//! The encoder writes a field name in front of each line of a text, so it needs the position of every CR and LF. Lines of
//! events are short, often 60 to 80 bytes. A `memchr2` per line spends much of its time on the call and its set-up. This
//! module halves the cost: it makes no call between two breaks.
//!
//! # The algorithm
//!
//! [`Breaks`] turns a block of 64 bytes into a mask of 64 bits, one a byte, in which the bits of CR and LF are set. It
//! then takes the breaks out of the mask from the lowest bit up: `trailing_zeros` gives the offset, `mask & (mask - 1)`
//! clears the bit.
//!
//! - **Lane.** A block is four parts of 16 bytes, the width of an SSE2 register, which every x86-64 has. A part is compared
//!   with CR and with LF, 16 lanes at once, and `movemask` collects one bit a lane. Other machines do the same with two
//!   words of 8 bytes, see `portable_mask`. `safe_arch` wraps the instructions, so there is no `unsafe` here.
//! - **Mask.** The four results, shifted by 0, 16, 32 and 48, form the mask of the block.
//! - **Tail.** The last block may be shorter. Its whole parts are compared as before. The rest is compared as a part that
//!   ends with the text and overlaps the part before it: bits that both set are the same bits. A text shorter than one
//!   part is copied into a zeroed one; zero is not a line break.
//!
//! [`count`] needs no positions. It adds the comparisons up in one byte a lane, which compilers turn into vector
//! additions, and sums the lanes before one of them can overflow.
//!
//! # Complexity
//!
//! Both are O(n) in the bytes of the text: one comparison a part, and a constant number of instructions a break. They
//! allocate nothing and read each byte once, or twice in the tail.
//!
//! # The naive twin
//!
//! The tests compare both with a loop over single bytes, for every length around the blocks, and the SSE2 mask with the
//! portable one.

const BLOCK: usize = 64;

/// Iterates over the offsets of each CR and LF in a text, in ascending order. A CRLF gives two.
pub(super) struct Breaks<'a> {
    /// The bytes after the current block.
    rest: &'a [u8],
    /// The offset of the current block in the text.
    at: usize,
    /// The line breaks of the current block that are still to be returned.
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

/// Counts each CR and LF of a text. A CRLF counts twice.
///
/// This costs half of what counting the bits of masks does.
pub(super) fn count(text: &[u8]) -> usize {
    const ROUNDS: usize = 255; // a lane, which is a `u8`, overflows after as many

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

/// Returns true if a byte is CR or LF (WHATWG HTML 9.2.5, `end-of-line`).
pub(super) const fn is_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// Returns the mask of the first block, which may be shorter than 64 bytes, and the text after it.
#[inline]
fn first_block(text: &[u8]) -> (u64, &[u8]) {
    if text.len() < BLOCK {
        return (mask_short(text), b"");
    }
    let (block, rest) = text.split_at(BLOCK);
    let parts = block.chunks_exact(PART).enumerate();
    (parts.fold(0, |mask, (at, part)| mask | mask_part(part) << (at * PART)), rest)
}

/// Returns the mask of less than a block: the tail of the module documentation.
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

/// The number of bytes that are compared at once.
const PART: usize = 16;

/// Returns the mask of sixteen bytes; the lowest bit is the first byte.
#[cfg(target_arch = "x86_64")]
#[inline]
fn mask_part(part: &[u8]) -> u64 {
    use safe_arch::{bitor_m128i, cmp_eq_mask_i8_m128i, load_unaligned_m128i, move_mask_i8_m128i, set_splat_i8_m128i};

    let part = load_unaligned_m128i(part.try_into().unwrap_or(&[0; PART]));
    let is_lf = cmp_eq_mask_i8_m128i(part, set_splat_i8_m128i(b'\n' as i8));
    let is_cr = cmp_eq_mask_i8_m128i(part, set_splat_i8_m128i(b'\r' as i8));
    u64::from(move_mask_i8_m128i(bitor_m128i(is_lf, is_cr)) as u16)
}

/// As above, without SSE2.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn mask_part(part: &[u8]) -> u64 {
    portable_mask(part)
}

/// Returns the mask of sixteen bytes, eight at a time, by arithmetic on words.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn portable_mask(part: &[u8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOW: u64 = 0x7f * ONES;

    // Sets the high bit of exactly those bytes that are zero. No carry crosses a byte, since each sum is below 256.
    let zeros = |word: u64| !(((word & LOW) + LOW) | word | LOW);
    part.chunks_exact(8).enumerate().fold(0, |mask, (half, bytes)| {
        let word = u64::from_le_bytes(bytes.try_into().unwrap_or([0; 8]));
        let breaks = zeros(word ^ (ONES * u64::from(b'\n'))) | zeros(word ^ (ONES * u64::from(b'\r')));
        // The multiplication moves the eight bits, one a byte, into the topmost byte.
        mask | (breaks >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56 << (8 * half)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of every length around the blocks, with line breaks and the bytes next to them in the character table.
    fn texts() -> impl Iterator<Item = Vec<u8>> {
        let lengths = (0..300).chain(if cfg!(miri) { 0..0 } else { 16_319..16_322 });
        lengths.map(|length| (0..length).map(|at| b"\r\nab\x0b\x0c\x09\x0e\x8a\x8d\0\xff"[at * 7 % 12]).collect())
    }

    #[test]
    fn breaks_and_count_equal_a_loop_over_bytes() {
        for text in texts() {
            let naive: Vec<usize> = (0..text.len()).filter(|at| is_break(text[*at])).collect();
            assert_eq!(Breaks::new(&text).collect::<Vec<_>>(), naive, "{} bytes", text.len());
            assert_eq!(count(&text), naive.len(), "{} bytes", text.len());
        }
    }

    #[test]
    fn a_text_of_breaks_alone_overflows_no_lane() {
        assert_eq!(count(&[b'\n'; BLOCK * 255 * 2 + 31]), BLOCK * 255 * 2 + 31);
    }

    #[test]
    fn the_sse2_mask_equals_the_portable_mask() {
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
