//! Backpressure: the bytes of the entries that a store has reported and the wire thread has not taken are bounded.

use super::contract::{StoreEntry, StoreReport};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many bytes of entries may wait for the wire thread. A store that has reported more waits: a hub of another machine may
/// publish more than this one delivers.
pub const MOST_UNTAKEN: usize = 64 << 20;

/// The entries that were reported and not taken.
#[derive(Debug, Default)]
pub struct Backpressure {
    state: Mutex<State>,
    taken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    /// Whether nobody will take them.
    is_closed: bool,
}

impl Backpressure {
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the wire thread has taken enough, then adds entries.
    pub fn add(&self, entries: &[StoreEntry]) {
        let is_full = |state: &mut State| state.bytes >= MOST_UNTAKEN && !state.is_closed;
        let mut state = self.taken.wait_while(self.lock(), is_full).unwrap_or_else(PoisonError::into_inner);
        state.bytes += bytes_of(entries);
    }

    pub fn take(&self, report: &StoreReport) {
        if let StoreReport::Entries(entries) = report {
            self.lock().bytes -= bytes_of(entries);
            self.taken.notify_all();
        }
    }

    pub fn close(&self) {
        self.lock().is_closed = true;
        self.taken.notify_all();
    }
}

fn bytes_of(entries: &[StoreEntry]) -> usize {
    entries.iter().map(|entry| size_of::<StoreEntry>() + entry.draft.bytes()).sum()
}
