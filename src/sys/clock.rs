//! The system's clocks.

#[cfg(not(feature = "sim"))]
use rustix::time::{clock_gettime, ClockId};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Returns the time of the monotonic clock, which all processes of the machine share, in nanoseconds since
/// some moment before this process began; never 0.
pub fn monotonic() -> u64 {
    #[cfg(feature = "sim")]
    return super::sim::world().monotonic();
    #[cfg(not(feature = "sim"))]
    {
        let time = clock_gettime(ClockId::Monotonic);
        (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64).max(1)
    }
}

/// Returns the time of the monotonic clock at a moment that has passed.
pub fn monotonic_at(moment: Instant) -> u64 {
    let since = u64::try_from(moment.elapsed().as_nanos()).unwrap_or(u64::MAX);
    monotonic().saturating_sub(since)
}

/// Returns the moment at which the monotonic clock has had a time, as this process tells it.
pub fn moment_of(monotonic_time: u64) -> Instant {
    let (now, since) = (Instant::now(), Duration::from_nanos(monotonic().saturating_sub(monotonic_time)));
    now.checked_sub(since).unwrap_or(now)
}

/// Returns the milliseconds since 1970.
pub fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
