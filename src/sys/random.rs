//! A random number. No other process has it, and neither has this process before a fork.

use rustix::rand::{getrandom, GetRandomFlags};
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns 64 random bits of the kernel. Before the kernel has any, the bits come from the time and the process id.
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => {
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            (time.as_nanos() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(std::process::id()) << 20
        }
    }
}
