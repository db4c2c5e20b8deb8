//! A store in a file of this machine: a database of SQLite.

use super::StoreEnd;
use eventsource_xs::wire::FileSettings;
use std::io;

/// Starts the thread of the store.
pub fn start(_settings: FileSettings, _end: StoreEnd) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
