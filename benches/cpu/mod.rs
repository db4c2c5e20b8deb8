//! CPU time, since other programs use the processors, too.

use rustix::time::{clock_gettime, ClockId};
use std::time::Duration;

/// Returns the CPU time of this thread.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
