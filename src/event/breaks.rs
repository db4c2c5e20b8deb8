//! Where the lines of a text end: how many places there are, and which.
//!
//! WHATWG HTML 9.2.5, `end-of-line`: CR, LF or CRLF. Here each CR and each LF counts; who asks pairs them.

/// Whether a byte ends a line or is part of what ends one.
pub(super) const fn is_break(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// How many CR and LF a text holds; a CRLF counts twice.
///
/// Sums into one byte a lane, which compilers turn into vector adds: with 64 KB in 800 lines three times as fast as
/// counting with an iterator.
pub(super) fn count_breaks(bytes: &[u8]) -> usize {
    const LANES: usize = 32;
    const ROUNDS: usize = 255; // what a lane can count before it would wrap

    let mut rounds = bytes.chunks_exact(LANES);
    let mut count = 0;
    while rounds.len() > 0 {
        let mut lanes = [0_u8; LANES];
        for round in rounds.by_ref().take(ROUNDS) {
            for (lane, byte) in lanes.iter_mut().zip(round) {
                *lane += u8::from(is_break(*byte));
            }
        }
        count += lanes.iter().map(|lane| usize::from(*lane)).sum::<usize>();
    }
    count + rounds.remainder().iter().filter(|byte| is_break(**byte)).count()
}

/// Visits each CR and each LF of a text, in order, with its place.
///
/// The first is searched with memchr, for most texts have none and nothing is faster. From there on blocks are looked
/// at whole and give a bit for each of their bytes: with lines of 80 bytes less than two thirds of the time of one
/// search a line, each of which would have to wait for the one before.
pub(super) fn each_break(bytes: &[u8], mut visit: impl FnMut(usize)) {
    let start = match memchr::memchr2(b'\n', b'\r', bytes) {
        Some(start) => start,
        None => return,
    };
    let mut blocks = bytes[start..].chunks_exact(BLOCK);
    let mut at = start;
    for block in blocks.by_ref() {
        each_bit(find_in_block(block.try_into().expect("a block is 64 bytes")), |bit| visit(at + bit));
        at += BLOCK;
    }
    let mut last = [0; BLOCK];
    last[..blocks.remainder().len()].copy_from_slice(blocks.remainder());
    each_bit(find_in_block(&last), |bit| visit(at + bit));
}

const BLOCK: usize = 64;

fn each_bit(mut bits: u64, mut visit: impl FnMut(usize)) {
    while bits != 0 {
        visit(bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

/// A bit for each break. Written so that the comparisons become vector operations.
fn find_in_block(block: &[u8; BLOCK]) -> u64 {
    let mut lanes = [0_u8; BLOCK];
    for (lane, byte) in lanes.iter_mut().zip(block) {
        *lane = if is_break(*byte) { 0xFF } else { 0 };
    }
    if lanes.iter().fold(0, |any, lane| any | lane) == 0 {
        return 0;
    }
    let eighths = lanes.chunks_exact(8).enumerate();
    eighths.fold(0, |found, (at, eighth)| found | pack(eighth.try_into().expect("an eighth is 8 bytes")) << (8 * at))
}

/// Eight lanes to eight bits: each lane keeps a bit of its own, and the multiplication adds them up in the top byte.
fn pack(lanes: [u8; 8]) -> u64 {
    let bits = u64::from_le_bytes(lanes) & 0x8040_2010_0804_0201;
    bits.wrapping_mul(0x0101_0101_0101_0101) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of all lengths around the lanes and blocks, dense with breaks and sparse.
    fn texts() -> impl Iterator<Item = Vec<u8>> {
        let lengths = (0..200).chain(if cfg!(miri) { [300, 301, 302, 303] } else { [8_159, 8_160, 8_161, 70_000] });
        lengths.flat_map(|length| {
            [
                b"\r\nab".to_vec(),
                [&[b'x'; 90][..], b"\n"].concat(),
                [&[0xFF; 63][..], b"\r\n"].concat(),
                b"\x0b\x0c".to_vec(),
            ]
            .into_iter()
            .map(move |pattern| (0..length).map(|at| pattern[at * 7 % pattern.len()]).collect())
        })
    }

    fn naive(text: &[u8]) -> Vec<usize> {
        (0..text.len()).filter(|at| b"\r\n".contains(&text[*at])).collect()
    }

    #[test]
    fn every_break_is_counted() {
        for text in texts() {
            assert_eq!(count_breaks(&text), naive(&text).len(), "{} bytes", text.len());
        }
    }

    #[test]
    fn every_break_is_found_in_order() {
        for text in texts() {
            let mut found = Vec::new();
            each_break(&text, |at| found.push(at));
            assert_eq!(found, naive(&text), "{} bytes", text.len());
        }
    }

    #[test]
    fn a_lane_full_of_breaks_does_not_wrap() {
        assert_eq!(count_breaks(&[b'\n'; 32 * 255 * 2 + 31]), 32 * 255 * 2 + 31);
    }
}
