//! The checksum of content that is sent in parts which were encoded elsewhere: what gzip's trailer needs.
//!
//! A CRC is a polynomial over GF(2) modulo the CRC's own. That of two parts is the first one's, multiplied by a power of x
//! which depends on the length of the second part only, plus the second one's. The power is computed once for a part, so
//! that each stream that sends it multiplies once.

use crc32fast::hash;

/// The polynomial of CRC-32, reflected (RFC 1952, section 8).
const POLYNOMIAL: u32 = 0xedb8_8320;
/// The polynomial 1, reflected.
const ONE: u32 = 1 << 31;

/// The checksum of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum {
    crc: u32,
    /// The power of x by which the CRC of what comes before is multiplied.
    power: u32,
    /// The number of bytes, modulo 2^32.
    len: u32,
}

impl Default for Checksum {
    fn default() -> Self {
        Self { crc: 0, power: ONE, len: 0 }
    }
}

impl Checksum {
    pub(super) fn of(part: &[u8]) -> Self {
        Self { crc: hash(part), power: power_of(part.len()), len: part.len() as u32 }
    }
}

/// The checksum of all that a stream was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) crc: u32,
    pub(super) len: u32,
}

impl Total {
    /// Adds the next part.
    pub(super) fn add(&mut self, part: &Checksum) {
        self.crc = multiply(part.power, self.crc) ^ part.crc;
        self.len = self.len.wrapping_add(part.len);
    }
}

/// Returns the product of two polynomials modulo the CRC's.
fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = ONE;
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = if b & 1 == 0 { b >> 1 } else { b >> 1 ^ POLYNOMIAL };
        bit >>= 1;
    }
    product
}

/// Returns x to the power of `bytes` times 8.
fn power_of(mut bytes: usize) -> u32 {
    let (mut power, mut square) = (ONE, ONE >> 8);
    while bytes > 0 {
        if bytes & 1 != 0 {
            power = multiply(square, power);
        }
        square = multiply(square, square);
        bytes >>= 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_all_parts_is_that_of_the_whole() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let (mut whole, mut total) = (Vec::new(), Total::default());
            for _ in 0..rng.usize(0..5) {
                let len = rng.usize(..300);
                let part: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(len).collect();
                total.add(&Checksum::of(&part));
                whole.extend_from_slice(&part);
            }
            assert_eq!(total, Total { crc: hash(&whole), len: whole.len() as u32 });
        }
    }
}
