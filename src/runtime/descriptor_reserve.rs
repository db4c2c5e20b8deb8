//! The descriptors that stay free for the application and its server.
//!
//! A stream that took the last descriptors of its process would take them from code that accepts connections, reads
//! files or talks to a database. So streams are refused where few descriptors are left, and ended sockets do not
//! linger.

use crate::sys::descriptor;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

per_process! {
    /// True if few descriptors were left at the last count.
    static IS_SHORT: AtomicBool = AtomicBool::new(false);
    /// The number of streams that may begin before descriptors are counted again.
    static STREAMS_UNTIL_COUNT: AtomicUsize = AtomicUsize::new(0);
    /// The limit of descriptors at the last count; 0 before.
    static LIMIT: AtomicUsize = AtomicUsize::new(0);
}

/// Returns how many of `limit` descriptors stay free: an eighth, at most 128.
fn size(limit: usize) -> usize {
    (limit / 8).min(128)
}

/// Returns how many streams a process may hold by default, by the limit at the last count. The other descriptors are for
/// accepting connections, for databases and files.
pub fn default_max_streams() -> usize {
    let counted = Some(LIMIT.load(Ordering::Relaxed)).filter(|limit| *limit > 0);
    let limit = counted.unwrap_or_else(descriptor::limit);
    limit - (limit / 4).min(256)
}

/// Returns true if few descriptors are left for one more stream. Does not count them for each stream while many are
/// left. Where the system does not say how many descriptors are open, `sockets` returns how many the streams have.
pub fn recount_if_due(sockets: impl FnOnce() -> usize) -> bool {
    let one_less = |streams: usize| streams.checked_sub(1);
    if STREAMS_UNTIL_COUNT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
        return false;
    }
    let limit = descriptor::limit();
    LIMIT.store(limit, Ordering::Relaxed);
    let used = descriptor::count().map_or(limit, |count| count.unwrap_or_else(sockets));
    let spare = limit.saturating_sub(used).saturating_sub(size(limit));
    // While it is set up a stream may need several descriptors, and the application opens others meanwhile.
    STREAMS_UNTIL_COUNT.store(spare / 8, Ordering::Relaxed);
    IS_SHORT.store(spare == 0, Ordering::Release);
    spare == 0
}

/// Returns true if a descriptor may be used that is not needed. Counts them.
pub(crate) fn has_spare() -> bool {
    let limit = descriptor::limit();
    let spare = limit.saturating_sub(size(limit));
    descriptor::count().map_or(false, |used| used.map_or(true, |used| used < spare))
}

/// Returns true if few descriptors were left at the last count.
pub fn is_short() -> bool {
    IS_SHORT.load(Ordering::Acquire)
}
