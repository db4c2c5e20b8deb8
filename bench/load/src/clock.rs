//! CLOCK_MONOTONIC. It is the same for all processes of the machine, so a sender's time can be compared with a receiver's.

use rustix::time::{clock_gettime, ClockId};
use std::time::Duration;

/// Returns the time of CLOCK_MONOTONIC in nanoseconds.
pub fn now_ns() -> u64 {
    read_ns(ClockId::Monotonic)
}

/// Returns the CPU time of this process, in user and kernel mode.
pub fn cpu() -> Duration {
    Duration::from_nanos(read_ns(ClockId::ProcessCPUTime))
}

fn read_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
