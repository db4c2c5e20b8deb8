//! The system's monotonic clock, which all processes of the machine share.

use rustix::time::{clock_gettime, ClockId};

/// Returns the time in nanoseconds since some moment before this process began; never 0.
pub fn monotonic() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64).max(1)
}
