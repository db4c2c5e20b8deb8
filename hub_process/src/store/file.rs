//! A store in a file of this machine: a database of SQLite.
//!
//! - `database`: the file, what it promises for each `sync`, and when its epoch is new
//! - `keeper`: the thread; `upkeep`: what it does now and then; `backup`: a copy of the file
//! - `entries`, `place`: the rows of entries; the path, the lock, and the name of a damaged file
//! - `ticket_keys`: the keys of tickets, and when they count
//! - `fault`: what goes wrong, and what follows from it
//!
//! One thread, "store", does everything. It takes all commands that wait, commits them together, then reports the entries; so
//! the more is published, the fewer commits there are. What has to be done now and then is done a second after something was
//! written; an idle store sleeps.
//!
//! # Faults
//!
//! A full disk fails the drafts of the commit, and the next ones are tried again. A damaged file is renamed, so that people
//! can look at it, and an empty one begins a new epoch; the drafts of the commit that has found that fail. If the file is
//! removed or replaced while the hub runs, the store notices within a second after the next write, and begins with what is
//! there, in a new epoch: what it has appended since is gone. If only the WAL was removed, nothing is lost: the process still
//! has it open and moves it into the file, unless it is killed before that; then the epoch is new, unless somebody else has
//! moved the WAL into the file, as `sqlite3` does when it ends.

mod backup;
mod database;
mod entries;
mod fault;
mod keeper;
mod place;
#[cfg(test)]
mod tests;
mod ticket_keys;
mod upkeep;

use super::{Delivered, Engine, StoreEnd, StoreReport};
use eventsource_xs::remote::calls::spawn_thread;
use eventsource_xs::runtime::{monotonic, wall};
use eventsource_xs::wire::{Failure, FileSettings};
use eventsource_xs::ErrorCode;
use keeper::Keeper;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

/// The message when the thread has panicked.
const DEFECT: &str = "the store has ended: this is a defect of eventsource-hub";

impl Engine for FileSettings {
    fn check(&self) -> Result<(), String> {
        place::check(self.path.as_ref().as_ref()).map_err(|fault| fault.message.into())
    }

    fn start(&self, _: &str, delivered: Option<Delivered>, end: StoreEnd) -> io::Result<()> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let (now, monotonic) = (Arc::new(wall), Arc::new(monotonic));
        start_in(Surroundings { now, monotonic, boot: boot.trim().into(), delivered }, self.clone(), end)
    }
}

fn start_in(surroundings: Surroundings, settings: FileSettings, end: StoreEnd) -> io::Result<()> {
    let reporter = end.reporter.clone();
    let keeper = Keeper::new(surroundings, settings, end);
    let run = move || {
        // A defect must not leave the hub waiting for reports.
        if catch_unwind(AssertUnwindSafe(|| keeper.run())).is_err() {
            reporter.record_error(DEFECT);
            reporter.update(|status| status.is_up = false);
            let failure = Failure::new(ErrorCode::Internal, None, DEFECT);
            reporter.report(StoreReport::CannotBegin { failure, retries: false });
        }
    };
    spawn_thread("store", run).map(drop)
}

/// The machine, as a store knows it.
struct Surroundings {
    /// The milliseconds since 1970.
    now: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The nanoseconds of the system's monotonic clock, which continues within a boot.
    monotonic: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The identifier of the boot; empty if it is unknown.
    boot: Box<str>,
    /// The last entry that was delivered in this boot, if that is known.
    delivered: Option<Delivered>,
}
