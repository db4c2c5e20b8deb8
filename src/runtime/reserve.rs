//! The descriptors that stay free for the application and its server.
//!
//! A stream that needed the last descriptors of its process would take them from whatever accepts connections, reads files
//! or talks to a database. So no stream begins where few descriptors are left, and no ended socket lingers.

use crate::sys::descriptor;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Whether few descriptors were left when they were counted last.
static IS_SHORT: AtomicBool = AtomicBool::new(false);
/// How many streams may begin before descriptors are counted again.
static UNCOUNTED: AtomicUsize = AtomicUsize::new(0);

/// How many descriptors stay free of so many: an eighth, but not more than 128.
fn size(limit: usize) -> usize {
    (limit / 8).min(128)
}

/// Whether few descriptors are left for one more stream. While many are left they are not counted for each stream. Where
/// the system does not say how many there are, `sockets` says how many the streams have.
pub fn is_getting_short(sockets: impl FnOnce() -> usize) -> bool {
    let one_less = |uncounted: usize| uncounted.checked_sub(1);
    if UNCOUNTED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
        return false;
    }
    let limit = descriptor::limit();
    let used = descriptor::count().map_or(limit, |count| count.unwrap_or_else(sockets));
    let spare = limit.saturating_sub(used).saturating_sub(size(limit));
    // On its way here a stream may cost several descriptors, and so may whatever else goes on meanwhile.
    UNCOUNTED.store(spare / 8, Ordering::Relaxed);
    IS_SHORT.store(spare == 0, Ordering::Release);
    spare == 0
}

/// Whether few descriptors were left when they were counted last.
pub fn is_short() -> bool {
    IS_SHORT.load(Ordering::Acquire)
}
