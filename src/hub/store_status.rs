//! The health of a hub's store.

use crate::histogram::Histogram;

/// The health of a hub's store. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// `memory`, `file` or `redis`.
    pub kind: Box<str>,
    /// The path of the file, or the URL of Redis without user and password.
    pub place: Box<str>,
    /// Who has named it: `option` if the process was started with it, `worker` if a connected worker has, `kept` if it was
    /// named before; empty if nobody has.
    pub source: Box<str>,
    /// True if the store takes events, and reports what it has taken and what others have appended.
    pub is_up: bool,
    /// Since when that is so.
    pub since: u64,
    /// The number of events that wait to be stored.
    pub pending: u64,
    /// The number of entries that the store holds.
    pub events: u64,
    /// The number of bytes that they take.
    pub bytes: u64,
    /// The milliseconds between the storing of the last entry and its arrival here.
    pub lag: u64,
    /// The same of all rounds in which entries have arrived so far.
    pub arrivals: Histogram,
    /// The number of times that history was lost, so that another epoch has begun.
    pub epoch_changes: u64,
    /// The number of times that the connection was made anew.
    pub reconnects: u64,
    /// The number of events that could not be stored.
    pub failed: u64,
    /// The last error; empty if there was none.
    pub last_error: Box<str>,
    /// When it was.
    pub last_error_at: u64,
}

coded! {
    StoreStatus {
        kind, place, source, is_up, since, pending, events, bytes, lag, arrivals, epoch_changes, reconnects, failed, last_error,
        last_error_at,
    }
}
