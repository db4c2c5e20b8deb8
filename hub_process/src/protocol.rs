//! The version of the protocol that this process speaks with its workers.

use eventsource_xs::wire;

/// Returns the version: that of the library.
///
/// A program that was built with debug assertions speaks the version that `EVENTSOURCE_TEST_PROTOCOL` names, so that tests have
/// a program of another version: everything else is as in this one.
pub fn version() -> u16 {
    let other = || std::env::var("EVENTSOURCE_TEST_PROTOCOL").ok()?.parse().ok();
    cfg!(debug_assertions).then(other).flatten().unwrap_or(wire::VERSION)
}
