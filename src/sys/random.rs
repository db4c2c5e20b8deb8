//! Random bytes of the kernel, for epochs and keys.

use rustix::rand::{getrandom, GetRandomFlags};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns a number that no other process has, and that this process has not returned before. It is random, unless the
/// kernel refuses: then it comes from the time and the process id, and can be guessed.
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    match fill(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => {
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            (time.as_nanos() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(std::process::id()) << 20
        }
    }
}

/// Fills a small buffer with bytes that cannot be guessed. Early in the boot of a machine it waits until there are any. Fails
/// if the kernel refuses, as in a sandbox without the system call.
pub fn fill<const N: usize>(bytes: &mut [u8; N]) -> io::Result<()> {
    // The kernel returns up to 256 bytes at once.
    match getrandom(&mut bytes[..], GetRandomFlags::empty()) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) => Err(error.into()),
    }
}
