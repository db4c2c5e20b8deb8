//! CLOCK_MONOTONIC, which every process of the machine reads the same: a sender's time can be compared with a receiver's.

use rustix::time::{clock_gettime, ClockId};
use std::time::Duration;

/// Nanoseconds since the machine was started.
pub fn now_ns() -> u64 {
    read_ns(ClockId::Monotonic)
}

/// The processor's time that this process has used, in the kernel and outside.
pub fn cpu() -> Duration {
    Duration::from_nanos(read_ns(ClockId::ProcessCPUTime))
}

fn read_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
