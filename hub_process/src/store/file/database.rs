//! The file itself: a database of SQLite with a write-ahead log (WAL), locked by one process.
//!
//! # Tables
//!
//! `entries` has a row for each entry, by sequence number and without an index, so that an append writes one table. Each row
//! has the entry as `coded!` encodes it, and a checksum, because SQLite has none for its pages. `evicted` says how far
//! channels have evicted entries. `meta` has single values; `last_seq` and `last_at` are written with deletions only, because
//! the last entry has them.
//!
//! # What survives
//!
//! | `sync` | the process is killed | the machine loses power |
//! |---|---|---|
//! | `Event` | every reported entry | every reported entry: each commit syncs the WAL |
//! | `Second` | every reported entry | all but the last second: the store syncs the WAL each second |
//! | `Never` | every reported entry | what the system has written, and what was there at the last checkpoint |
//!
//! A loss of power never leaves a damaged file, unless the disk lies: SQLite finds the end of the WAL by checksums, and syncs
//! at each checkpoint (4 MiB of WAL), also with `Never`.
//!
//! # Whose sequence numbers these are
//!
//! An epoch must not assign a sequence number twice: a client that has seen the first one would silently miss the other. So
//! the epoch is new whenever reported entries may be missing: after a loss of power unless the last process had `sync =>
//! 'event'`, if the WAL of a killed process is missing, and if the file is a copy. A backup has a mark in its first page until
//! a hub uses it, so that a WAL beside it is known to be that of another file, whatever put it there. A file without
//! the WAL that has what was delivered last in this boot is whole: another program has moved the WAL into it. If the file was
//! written over, or its WAL damaged, the hub finds that it has delivered more (`beginning.rs`). The entries that are
//! there are kept: clients that come back are sent a `gap` event, but the history and the latest entry of each key are better
//! than nothing. The key of opaque ids changes with the epoch, because they do not contain it.

use super::fault::{Fault, Kind};
use super::place::{wal_of, LOCK_TIMEOUT};
use super::Surroundings;
use crate::store::{is_epoch, Began};
use eventsource_xs::hub::History;
use eventsource_xs::remote::calls::{is_at, random};
use eventsource_xs::wire::FileSync;
use rusqlite::config::DbConfig;
use rusqlite::types::{FromSql, ToSql};
use rusqlite::{params, Connection, OpenFlags, OptionalExtension};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The version of the tables. A program that changes them has another one, and reads the earlier ones.
const FORMAT: i64 = 4;

/// Says in the file's first page that the database is a store: "esxs".
const APPLICATION_ID: i64 = 0x6573_7873;

/// The mark of a backup, and where it is in the first page: SQLite has a number for applications there (`user_version`).
pub const BACKUP: [u8; 4] = *b"copy";
pub const MARK_AT: u64 = 60;

/// The first SQLite with the STRICT tables of a store: an older one would take the file for damaged. Where the program runs
/// may be another one than where it was built.
const LEAST_SQLITE: i32 = 3_037_000;

/// Pages that are free are given back to the file system beyond this number, if they are also a quarter of the file.
const MOST_FREE_PAGES: i64 = 512;

/// The number of pages at a time.
const SHRUNK_PAGES: i64 = 4096;

/// The greatest number that a history may have: it can continue from there for ever.
const MOST_NUMBER: u64 = 1 << 53;

const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
    CREATE TABLE evicted (channel BLOB PRIMARY KEY, through INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE entries (seq INTEGER PRIMARY KEY, entry BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT;
";

/// The file, open and locked. A drop leaves it as a killed process does.
#[derive(Debug)]
pub struct Database {
    // SQLite's locks end when the process closes any descriptor of the file, so the connection is closed first.
    pub(super) connection: Connection,
    file: Arc<File>,
    /// The WAL that the connection uses, after the history has begun.
    wal: Option<File>,
    pub(super) path: PathBuf,
    sync: FileSync,
}

/// Returns what cannot be true of a history. Only entries have checksums, so the rest is checked against itself. With a wrong
/// number, events would get ids that count as evicted, or that were given before.
fn trouble(History { epoch, last_seq, evicted, evicted_through, .. }: &History, last_at: u64) -> Option<String> {
    let evicted = evicted.iter().map(|(_, through)| *through).fold(*evicted_through, u64::max);
    if !epoch.is_empty() && !is_epoch(epoch) {
        return Some("its epoch is damaged".to_owned());
    }
    if *last_seq > MOST_NUMBER || last_at > MOST_NUMBER {
        return Some("the number or the time of its last event is damaged".to_owned());
    }
    (evicted > *last_seq).then(|| format!("it has evicted the event {evicted}, and its last one is {last_seq}"))
}

impl Database {
    /// Opens the file, which [`lock`](super::place::lock) has locked. Returns the history with the time of its last entry, too.
    /// If history was `lost`, the epoch cannot continue, whatever the file says.
    pub fn open(
        file: Arc<File>,
        path: &Path,
        sync: FileSync,
        surroundings: &Surroundings,
        lost: Option<&str>,
    ) -> Result<(Self, Began, u64), Fault> {
        if rusqlite::version_number() < LEAST_SQLITE {
            let (lasting, version) = (Kind::Lasting, rusqlite::version());
            return Err(Fault::new(lasting, format!("a store in a file needs SQLite 3.37 or newer, not {version}")));
        }
        let mut mark = [0; 4];
        let is_backup = file.read_exact_at(&mut mark, MARK_AT).is_ok() && mark == BACKUP;
        if is_backup {
            let _ = std::fs::remove_file(wal_of(path)); // there is none, as a rule
        }
        let has_wal = wal_of(path).exists();
        let fault = |error: rusqlite::Error| Fault::of(&error, path);
        let mut database = Self { connection: connect(path).map_err(fault)?, file, wal: None, path: path.into(), sync };
        let is_new = database.value::<i64>("SELECT count(*) FROM sqlite_schema")? == 0;
        database.check_owner(is_new)?;
        database.create(is_new).map_err(fault)?;
        database.check_format()?;
        let lost = match lost {
            Some(reason) => Some(reason.into()),
            None if is_new => None,
            None => database.loss(is_backup, has_wal, surroundings)?,
        };
        let (began, last_at) = database.begin(lost, &surroundings.boot)?;
        Ok((database, began, last_at))
    }

    /// Refuses the database of another program.
    fn check_owner(&self, is_new: bool) -> Result<(), Fault> {
        let owner: i64 = self.pragma("application_id")?;
        if owner != APPLICATION_ID && (owner != 0 || !is_new) {
            return Err(self.lasting("is a database of another program"));
        }
        Ok(())
    }

    /// Begins the WAL, and creates the tables if there are none: no other program can write since they were counted.
    fn create(&mut self, is_new: bool) -> rusqlite::Result<()> {
        if is_new {
            self.connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        if !is_new {
            return Ok(());
        }
        let transaction = self.connection.transaction()?;
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.execute("INSERT INTO meta VALUES ('format', ?1)", [FORMAT])?;
        transaction.commit()
    }

    fn check_format(&self) -> Result<(), Fault> {
        match self.meta::<i64>("format")? {
            Some(FORMAT) => Ok(()),
            Some(other) => Err(self.lasting(&format!("has the format {other}, and this program writes {FORMAT}"))),
            None => Err(Fault::new(Kind::Damaged, format!("{}: it has no format", self.path.display()))),
        }
    }

    /// Reads what the file says of its history, begins an epoch unless one continues, and marks the file as in use.
    fn begin(&mut self, lost: Option<Box<str>>, boot: &str) -> Result<(Began, u64), Fault> {
        let (mut began, last_at) = self.history()?;
        let History { epoch, cipher_key, .. } = &mut began.history;
        let epoch_continues = lost.is_none() && !epoch.is_empty();
        if !epoch_continues {
            (*epoch, *cipher_key) = new_epoch().map_err(|error| self.lasting(&format!(": {error}")))?;
        }
        began.reason = lost.unwrap_or_default();
        let inode = self.inode()?;
        let sync = self.sync as i64;
        let values: [(&str, &dyn ToSql); 6] = [
            ("epoch", &*epoch),
            ("cipher_key", &*cipher_key),
            ("boot", &boot),
            ("sync", &sync),
            ("inode", &inode),
            ("is_clean", &0),
        ];
        self.write_meta(&values)?;
        if !epoch_continues {
            self.run(|connection| connection.pragma_update(None, "user_version", 0))?;
        }
        self.checkpoint()?;
        self.wal = Some(File::open(wal_of(&self.path)).map_err(|error| self.lasting(&format!("has no WAL: {error}")))?);
        let level = if self.sync == FileSync::Event { "FULL" } else { "NORMAL" };
        self.run(|connection| connection.pragma_update(None, "synchronous", level))?;
        Ok((began, last_at))
    }

    /// Returns why reported entries may be missing, if they may.
    fn loss(&self, is_backup: bool, has_wal: bool, surroundings: &Surroundings) -> Result<Option<Box<str>>, Fault> {
        let path = self.path.display();
        if is_backup || self.meta::<i64>("inode")?.is_some_and(|inode| Ok(inode) != self.inode()) {
            self.check_pages()?; // the WAL may be that of the other file
            return Ok(Some(format!("{path} is a copy: the copied hub may have gone on").into()));
        }
        if self.meta::<i64>("is_clean")? != Some(0) {
            return Ok(None);
        }
        let last_boot = self.meta::<String>("boot")?.unwrap_or_default();
        let is_same_boot = *last_boot == *surroundings.boot && !last_boot.is_empty();
        // The history has the last entry that was delivered if somebody else has moved the WAL into the file.
        let (began, _) = self.history()?;
        let has_delivered = surroundings.delivered.as_ref().is_some_and(|last| last.is_in(&began));
        let is_whole = has_wal || is_same_boot && has_delivered;
        if !is_whole {
            return Ok(Some(format!("{path}-wal is missing, and the hub had not ended").into()));
        }
        if is_same_boot {
            return Ok(None);
        }
        self.check_pages()?;
        if self.meta::<i64>("sync")? == Some(FileSync::Event as i64) {
            return Ok(None);
        }
        Ok(Some("the machine went down before the last events were synced to the disk".into()))
    }

    /// Checks all pages. The entries have checksums of their own; this finds lists of free pages that are wrong, too.
    fn check_pages(&self) -> Result<(), Fault> {
        match &*self.value::<String>("PRAGMA quick_check(1)")? {
            "ok" => Ok(()),
            trouble => Err(Fault::new(Kind::Damaged, format!("{}: {trouble}", self.path.display()))),
        }
    }

    fn history(&self) -> Result<(Began, u64), Fault> {
        let number = |name: &str| Ok(self.meta::<i64>(name)?.unwrap_or(0) as u64);
        let (last_seq, last_at) = self.last()?.map_or((0, 0), |last| (last.seq, last.at));
        let history = History {
            epoch: self.meta::<String>("epoch")?.unwrap_or_default().into(),
            cipher_key: self.meta::<[u8; 16]>("cipher_key")?.unwrap_or_default(),
            last_seq: last_seq.max(number("last_seq")?),
            evicted: self.run(evicted)?,
            evicted_through: number("evicted_through")?,
            ..History::default()
        };
        let last_at = last_at.max(number("last_at")?);
        let lingering = self.meta::<Vec<u8>>("lingering")?.unwrap_or_default().into();
        match trouble(&history, last_at) {
            None => Ok((Began { history, reason: Box::default(), lingering }, last_at)),
            Some(trouble) => Err(Fault::new(Kind::Damaged, format!("{}: {trouble}", self.path.display()))),
        }
    }

    /// Syncs the WAL to the disk.
    pub fn sync(&self) -> Result<(), Fault> {
        let result = self.wal.as_ref().map_or(Ok(()), File::sync_data);
        result.map_err(|error| Fault::new(Kind::Passing, format!("{}-wal: {error}", self.path.display())))
    }

    /// Moves the WAL into the file, and empties it.
    pub fn checkpoint(&self) -> Result<(), Fault> {
        self.run(|connection| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
    }

    /// Gives free pages back to the file system, some at a time. Returns true if there are more.
    pub fn shrink(&self) -> Result<bool, Fault> {
        let (free, all): (i64, i64) = (self.pragma("freelist_count")?, self.pragma("page_count")?);
        if free <= MOST_FREE_PAGES || free <= all / 4 {
            return Ok(false);
        }
        self.run(|connection| {
            let mut shrink = connection.prepare(&format!("PRAGMA incremental_vacuum({SHRUNK_PAGES})"))?;
            let mut pages = shrink.query([])?;
            while pages.next()?.is_some() {} // a row for each page
            Ok(())
        })?;
        self.checkpoint()?;
        Ok(true)
    }

    /// Marks the end as clean, and moves everything into the file.
    pub fn close(&self) -> Result<(), Fault> {
        self.run(|connection| connection.pragma_update(None, "synchronous", "FULL"))?;
        self.write_meta(&[("is_clean", &1)])?;
        self.checkpoint()
    }

    /// Returns the file, which stays locked as long as somebody has it.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Returns false if a program that opens the file would find another WAL, or none.
    pub fn has_wal(&self) -> bool {
        self.wal.as_ref().is_some_and(|wal| is_at(wal, &wal_of(&self.path)))
    }

    /// Puts a new WAL in the place of one that was removed. The process has that one open still, so nothing is lost.
    pub fn restore_wal(&mut self, boot: &str) -> Result<(), Fault> {
        self.close()?;
        let mut reconnect = || -> rusqlite::Result<()> {
            self.connection = Connection::open_in_memory()?; // SQLite locks the file for one connection
            let _ = std::fs::remove_file(wal_of(&self.path)); // it is not ours
            self.connection = connect(&self.path)?;
            self.connection.pragma_update(None, "journal_mode", "WAL")
        };
        reconnect().map_err(|error| Fault::of(&error, &self.path))?;
        self.begin(None, boot).map(|_| ())
    }

    /// Returns the size of the file and its WAL in bytes.
    pub fn size(&self) -> u64 {
        let wal = std::fs::metadata(wal_of(&self.path)).map_or(0, |wal| wal.len());
        self.file.metadata().map_or(0, |file| file.len()) + wal
    }

    fn inode(&self) -> Result<i64, Fault> {
        let file = self.file.metadata().map_err(|error| self.lasting(&format!(": {error}")))?;
        Ok(file.ino() as i64)
    }

    pub(super) fn meta<T: FromSql>(&self, name: &str) -> Result<Option<T>, Fault> {
        let value = "SELECT value FROM meta WHERE name = ?1";
        self.run(|connection| connection.query_row(value, [name], |row| row.get(0)).optional())
    }

    pub(super) fn write_meta(&self, values: &[(&str, &dyn ToSql)]) -> Result<(), Fault> {
        self.run(|connection| {
            let transaction = connection.unchecked_transaction()?;
            for (name, value) in values {
                transaction.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![name, value])?;
            }
            transaction.commit()
        })
    }

    fn pragma<T: FromSql>(&self, name: &str) -> Result<T, Fault> {
        self.run(|connection| connection.pragma_query_value(None, name, |row| row.get(0)))
    }

    fn value<T: FromSql>(&self, sql: &str) -> Result<T, Fault> {
        self.run(|connection| connection.query_row(sql, [], |row| row.get(0)))
    }

    /// Uses the connection.
    pub(super) fn run<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Fault> {
        run(&self.connection).map_err(|error| Fault::of(&error, &self.path))
    }

    fn lasting(&self, trouble: &str) -> Fault {
        Fault::new(Kind::Lasting, format!("{} {trouble}", self.path.display()))
    }
}

/// Reads how far channels have evicted entries.
fn evicted(connection: &Connection) -> rusqlite::Result<Vec<(Box<[u8]>, u64)>> {
    let mut rows = connection.prepare("SELECT channel, through FROM evicted")?;
    let rows = rows.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?.into(), row.get::<_, i64>(1)? as u64)))?;
    rows.collect()
}

/// Connects to the file. Until the history has begun each commit is synced, whatever `sync` is: the mark of an unclean end
/// must not be lost.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?; // no other program, and no shared memory beside the file
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", 1024)?;
    connection.pragma_update(None, "journal_size_limit", 4 << 20)?;
    Ok(connection)
}

/// Draws an epoch, and the key of its opaque ids.
fn new_epoch() -> io::Result<(Box<str>, [u8; 16])> {
    Ok((random::text::<8>()?.into(), random::bytes()?))
}
