//! Random bytes of the kernel, for epochs and keys.

use rustix::rand::{getrandom, GetRandomFlags};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns a number that no other process has, and that this process has not returned before. It is random, unless the
/// kernel refuses: then it comes from the time and the process id, and can be guessed.
pub fn number() -> u64 {
    match bytes() {
        Ok(bytes) => u64::from_ne_bytes(bytes),
        Err(_) => {
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            (time.as_nanos() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(std::process::id()) << 20
        }
    }
}

/// Returns bytes that cannot be guessed: there is no substitute, for who could guess a key could invent ids and tickets. Early
/// in the boot of a machine it waits until there are any. Fails if the kernel refuses, as in a sandbox without the system call.
pub fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // The kernel returns up to 256 bytes at once.
    match getrandom(&mut bytes[..], GetRandomFlags::empty())? {
        count if count == N => Ok(bytes),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Returns so many random letters and digits. Errors are those of [`bytes()`].
pub fn text<const N: usize>() -> io::Result<String> {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    Ok(bytes::<N>()?.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}
