//! The faults of a store's file, and their consequences.

use eventsource_xs::wire::Failure;
use eventsource_xs::ErrorCode;
use rusqlite::ffi;
use rustix::process::{getrlimit, Resource};
use std::path::Path;

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    pub message: Box<str>,
}

/// The consequence of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The file is damaged: the store begins anew with an empty one.
    Damaged,
    /// The disk refused the sync of a commit. Its entries may be found when the file is opened next.
    Unsynced,
    /// It may be over later: the disk is full, or has failed.
    Passing,
    /// People have to do something.
    Lasting,
}

impl Fault {
    pub fn new(kind: Kind, message: impl Into<Box<str>>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Makes a fault of an error of SQLite.
    pub fn of(error: &rusqlite::Error, path: &Path) -> Self {
        let path = path.display();
        let kind = match error {
            rusqlite::Error::SqliteFailure(error, _) => kind_of(error.extended_code),
            // The file has rows that this program does not write.
            _ => Kind::Damaged,
        };
        let message = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => format!("{path}: the disk is full"),
            Some(rusqlite::ErrorCode::DatabaseBusy) => format!("{path}: another program uses it"),
            Some(rusqlite::ErrorCode::SystemIoFailure) if getrlimit(Resource::Fsize).current.is_some() => {
                format!("{path}: {error}, perhaps because of the limit of the size of files (ulimit -f)")
            }
            _ => format!("{path}: {error}"),
        };
        Self::new(kind, message)
    }

    /// Returns the failure of a draft.
    pub fn failure(&self) -> Failure {
        let code = if self.kind == Kind::Unsynced { ErrorCode::Unknown } else { ErrorCode::Unavailable };
        Failure::new(code, None, &self.message)
    }
}

fn kind_of(extended_code: i32) -> Kind {
    match extended_code {
        ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => return Kind::Unsynced,
        _ => {}
    }
    match extended_code & 0xff {
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => Kind::Damaged,
        // A table is missing or another one, or a sequence number is there twice.
        ffi::SQLITE_ERROR | ffi::SQLITE_CONSTRAINT | ffi::SQLITE_MISMATCH => Kind::Damaged,
        ffi::SQLITE_READONLY | ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM | ffi::SQLITE_AUTH => Kind::Lasting,
        _ => Kind::Passing,
    }
}
