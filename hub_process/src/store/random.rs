//! Random bytes of the kernel, for epochs, keys and names.

use rustix::rand::{getrandom, GetRandomFlags};
use std::io;

/// Returns random bytes.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    match getrandom(&mut bytes[..], GetRandomFlags::empty())? {
        count if count == N => Ok(bytes),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Returns so many random letters and digits.
pub fn random_text<const N: usize>() -> io::Result<String> {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    Ok(random::<N>()?.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}
