//! Random bytes of the kernel, for epochs and keys.

#[cfg(not(feature = "sim"))]
use rustix::rand::{getrandom, GetRandomFlags};
use std::io;

/// Returns bytes that cannot be guessed: there is no substitute, for who could guess a key could invent ids and tickets. Early
/// in the boot of a machine it waits until there are any. Fails if the kernel refuses, as in a sandbox without the system call.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // The kernel returns up to 256 bytes at once.
    match fill(&mut bytes)? {
        count if count == N => Ok(bytes),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(not(feature = "sim"))]
fn fill(bytes: &mut [u8]) -> io::Result<usize> {
    Ok(getrandom(bytes, GetRandomFlags::empty())?)
}

#[cfg(feature = "sim")]
fn fill(bytes: &mut [u8]) -> io::Result<usize> {
    super::sim::world().fill_random(bytes);
    Ok(bytes.len())
}

/// Returns so many random letters and digits. Errors are those of [`bytes()`].
pub fn text<const N: usize>() -> io::Result<String> {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    Ok(bytes::<N>()?.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}
