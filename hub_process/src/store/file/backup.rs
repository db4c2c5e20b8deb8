//! A copy of the file while the hub uses it.
//!
//! SQLite copies some pages at a time (its online backup). Between two steps the store does what it is asked, and SQLite writes
//! pages that this changes into the copy, too: appends wait for one step and its sync. `VACUUM INTO` would let them wait for
//! the whole copy. Until the disk has that it has another name, so a killed process leaves none, or a whole one.

use super::database::{BACKUP, MARK_AT};
use super::fault::{Fault, Kind};
use super::keeper::{Keeper, Open, Stop};
use super::place::lock;
use eventsource_xs::remote::calls::own_user;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::Connection;
use std::fs::{remove_file, rename, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// The number of pages that are copied in a step: a MiB.
const STEP: i32 = 256;

impl Keeper {
    /// Makes the backup of a ticket, and carries out what is asked meanwhile.
    pub(super) fn back_up(&mut self, open: &mut Open, ticket: u64, path: &Path) -> Result<(), Stop> {
        let part = PathBuf::from(format!("{}.part", path.display()));
        let (database, mut stopped) = (Rc::clone(&open.database), Ok(()));
        let between = || {
            stopped = self.do_due(open);
            stopped.is_ok() && !self.is_closing && database.has_wal()
        };
        let backed_up = create(&part).and_then(|file| {
            let copied = copy(&database.connection, &file, &part, between);
            let completed = copied.and_then(|()| complete(&file, &part, path).map_err(|error| passing(path, &error)));
            completed.inspect_err(|_| drop(remove_file(&part)))
        });
        self.report_done(ticket, &backed_up);
        stopped
    }
}

fn passing(path: &Path, error: &io::Error) -> Fault {
    Fault::new(Kind::Passing, format!("{}: {error}", path.display()))
}

/// Creates and locks the file of a copy, in the place of what a killed process has left. Refuses any other file that is there:
/// it is somebody's, leads elsewhere, or lets others read the copy.
fn create(part: &Path) -> Result<Arc<File>, Fault> {
    let there = part.symlink_metadata();
    if there.is_ok_and(|found| found.is_file() && found.uid() == own_user() && found.mode() & 0o077 == 0) {
        let _locked = lock(part)?;
        remove_file(part).map_err(|error| passing(part, &error))?;
    }
    match File::options().write(true).create_new(true).mode(0o600).open(part) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(passing(part, &io::Error::other("another file is there: remove it")))
        }
        _ => lock(part), // it says why, if there is none
    }
}

/// Copies a database into a file that is locked. `between` returns false if the copy is given up.
fn copy(from: &Connection, file: &File, path: &Path, mut between: impl FnMut() -> bool) -> Result<(), Fault> {
    let fault = |error: rusqlite::Error| Fault::of(&error, path);
    let mut to = Connection::open(path).map_err(fault)?;
    to.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(fault)?; // nobody wants a part of it
    let backup = Backup::new(from, &mut to).map_err(fault)?;
    while backup.step(STEP).map_err(fault)? != StepResult::Done {
        file.sync_data().map_err(|error| passing(path, &error))?;
        if !between() {
            return Err(passing(path, &io::Error::other("the store has ended, or uses another file")));
        }
    }
    Ok(())
}

/// Gives a copy its name, when the disk has all of it.
fn complete(file: &File, part: &Path, path: &Path) -> io::Result<()> {
    file.write_all_at(&BACKUP, MARK_AT)?;
    file.sync_all()?;
    if path.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    rename(part, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}
