//! The file itself: a database of SQLite with a write-ahead log (WAL), locked by one process.
//!
//! # Tables
//!
//! `entries` has a row for each entry, by sequence number and without an index, so that an append writes one table. Each row has a
//! checksum, because SQLite has none for its pages. `evicted` says how far channels have evicted entries. `meta` has single values;
//! `last_seq` and `last_at` are written with deletions only, because the last entry has them.
//!
//! # What survives
//!
//! | `sync` | the process is killed | the machine loses power |
//! |---|---|---|
//! | `Event` | every reported entry | every reported entry: each commit syncs the WAL |
//! | `Second` | every reported entry | all but the last second: the store syncs the WAL each second |
//! | `Never` | every reported entry | what the system has written, and what was there at the last checkpoint |
//!
//! A loss of power never leaves a damaged file, unless the disk lies: SQLite finds the end of the WAL by checksums, and syncs at each
//! checkpoint (4 MiB of WAL), also with `Never`.
//!
//! # Whose sequence numbers these are
//!
//! An epoch must not assign a sequence number twice: a client that has seen the first one would silently miss the other. So
//! the epoch is new whenever reported entries may be missing: after a loss of power unless the last process had `sync => 'event'`, if
//! the WAL of a killed process is missing, and if the file is a copy (a backup that was put back). The entries that are there are kept:
//! clients that come back are told of a gap, but the history and the latest entry of each key are better than nothing. The key of
//! opaque ids changes with the epoch, because they do not contain it.

use super::fault::{Fault, Kind};
use super::index::Index;
use crate::store::{Draft, Entry};
use eventsource_xs::remote::calls::try_lock;
use eventsource_xs::wire::{FieldList, FileSync};
use rusqlite::config::DbConfig;
use rusqlite::types::{FromSql, ToSql};
use rusqlite::{params, Connection, OpenFlags, OptionalExtension};
use rustix::rand::{getrandom, GetRandomFlags};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The version of the tables. A program that changes them has another one, and reads the earlier ones.
const FORMAT: i64 = 1;

/// Says in the file's first page that the database is a store: "esxs".
const APPLICATION_ID: i64 = 0x6573_7873;

/// How long another process may take to end and unlock the file.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Pages that are free are given back to the file system beyond this number, if they are also a quarter of the file.
const MOST_FREE_PAGES: i64 = 512;

/// How many of them at a time.
const SHRUNK_PAGES: i64 = 4096;

const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
    CREATE TABLE evicted (channel BLOB PRIMARY KEY, through INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE entries (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, channel BLOB NOT NULL, key BLOB NOT NULL,
        once BLOB NOT NULL, fields BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT;
";

/// The file, open and locked. A drop leaves it as a killed process does.
#[derive(Debug)]
pub struct Database {
    // SQLite's locks end when the process closes any descriptor of the file, so the connection is closed first.
    connection: Connection,
    file: Arc<File>,
    path: PathBuf,
    sync: FileSync,
}

/// How to open the file.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    pub path: &'a Path,
    pub sync: FileSync,
    /// The identifier of the machine's boot.
    pub boot: &'a str,
    /// Why the epoch cannot go on, whatever the file says.
    pub lost: Option<&'a str>,
}

/// What the file says of its history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub epoch: Box<str>,
    pub cipher_key: [u8; 16],
    pub last_seq: u64,
    pub last_at: u64,
    pub evicted: Vec<(Box<[u8]>, u64)>,
    pub evicted_through: u64,
    /// Why the epoch is new, if entries may be missing.
    pub lost: Option<Box<str>>,
}

impl Database {
    /// Opens the file, which [`lock`] has locked.
    pub fn open(file: Arc<File>, opening: &Opening<'_>) -> Result<(Self, History), Fault> {
        let (path, sync) = (opening.path, opening.sync);
        let has_wal = wal_of(path).exists();
        let fault = |error: rusqlite::Error| Fault::of(&error, path);
        let mut database = Self { connection: connect(path).map_err(fault)?, file, path: path.into(), sync };
        database.check_owner()?;
        let is_new = database.create().map_err(fault)?;
        database.check_format()?;
        let lost = match opening.lost {
            Some(reason) => Some(reason.into()),
            None if is_new => None,
            None => database.loss(has_wal, opening.boot)?,
        };
        let history = database.begin(lost, opening.boot)?;
        Ok((database, history))
    }

    /// Refuses the database of another program.
    fn check_owner(&self) -> Result<(), Fault> {
        let owner: i64 = self.pragma("application_id")?;
        let tables = self.value::<i64>("SELECT count(*) FROM sqlite_schema")?;
        if owner != APPLICATION_ID && (owner != 0 || tables != 0) {
            return Err(self.lasting("is a database of another program"));
        }
        Ok(())
    }

    /// Creates the tables, unless there are any. Returns true if it has.
    fn create(&mut self) -> rusqlite::Result<bool> {
        if self.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))? == 0 {
            self.connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        let transaction = self.connection.transaction()?;
        let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.execute("INSERT INTO meta VALUES ('format', ?1)", [FORMAT])?;
        }
        transaction.commit()?;
        Ok(tables == 0)
    }

    fn check_format(&self) -> Result<(), Fault> {
        match self.meta::<i64>("format")? {
            Some(FORMAT) => Ok(()),
            Some(other) => Err(self.lasting(&format!("has the format {other}, and this program writes {FORMAT}"))),
            None => Err(Fault::new(Kind::Damaged, format!("{}: it has no format", self.path.display()))),
        }
    }

    /// Reads what the file says of its history, begins an epoch unless there is one that goes on, and marks the file as in use.
    fn begin(&mut self, lost: Option<Box<str>>, boot: &str) -> Result<History, Fault> {
        let mut history = self.history()?;
        let epoch_goes_on = lost.is_none() && !history.epoch.is_empty();
        if !epoch_goes_on {
            (history.epoch, history.cipher_key) = new_epoch().map_err(|error| self.lasting(&format!(": {error}")))?;
        }
        history.lost = lost;
        let inode = self.inode()?;
        let sync = self.sync as i64;
        let values: [(&str, &dyn ToSql); 6] = [
            ("epoch", &history.epoch),
            ("cipher_key", &history.cipher_key),
            ("boot", &boot),
            ("sync", &sync),
            ("inode", &inode),
            ("is_clean", &0),
        ];
        self.write_meta(&values)?;
        self.checkpoint()?;
        let level = if self.sync == FileSync::Event { "FULL" } else { "NORMAL" };
        self.connection.pragma_update(None, "synchronous", level).map_err(|error| self.fault(&error))?;
        Ok(history)
    }

    /// Returns why reported entries may be missing, if they may.
    fn loss(&self, has_wal: bool, boot: &str) -> Result<Option<Box<str>>, Fault> {
        let path = self.path.display();
        if self.meta::<i64>("inode")?.is_some_and(|inode| Ok(inode) != self.inode()) {
            return Ok(Some(format!("{path} is a copy: the copied hub may have gone on").into()));
        }
        if self.meta::<i64>("is_clean")? != Some(0) {
            return Ok(None);
        }
        if !has_wal {
            return Ok(Some(format!("{path}-wal is missing, and the hub had not ended").into()));
        }
        let last_boot = self.meta::<String>("boot")?.unwrap_or_default();
        if last_boot == boot && !boot.is_empty() {
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

    fn history(&self) -> Result<History, Fault> {
        let number = |name: &str| Ok(self.meta::<i64>(name)?.unwrap_or(0) as u64);
        let last = "SELECT seq, at FROM entries ORDER BY seq DESC LIMIT 1";
        let last =
            self.connection.query_row(last, [], |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64)));
        let (last_seq, last_at) = last.optional().map_err(|error| self.fault(&error))?.unwrap_or_default();
        Ok(History {
            epoch: self.meta::<String>("epoch")?.unwrap_or_default().into(),
            cipher_key: self.meta::<[u8; 16]>("cipher_key")?.unwrap_or_default(),
            last_seq: last_seq.max(number("last_seq")?),
            last_at: last_at.max(number("last_at")?),
            evicted: self.evicted().map_err(|error| self.fault(&error))?,
            evicted_through: number("evicted_through")?,
            lost: None,
        })
    }

    fn evicted(&self) -> rusqlite::Result<Vec<(Box<[u8]>, u64)>> {
        let mut rows = self.connection.prepare("SELECT channel, through FROM evicted")?;
        let rows = rows.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?.into(), row.get::<_, i64>(1)? as u64)))?;
        rows.collect()
    }

    /// Reads all entries in their order, and hands them over in parts.
    pub fn read(&self, mut take: impl FnMut(Vec<Entry>)) -> Result<(), Fault> {
        const PART: usize = 512;
        let mut read = || -> rusqlite::Result<bool> {
            let mut rows = self.connection.prepare("SELECT * FROM entries ORDER BY seq")?;
            let mut rows = rows.query([])?;
            let mut part = Vec::new();
            while let Some(row) = rows.next()? {
                let Some(entry) = entry_of(row)? else { return Ok(false) };
                part.push(entry);
                if part.len() == PART {
                    take(std::mem::take(&mut part));
                }
            }
            take(part);
            Ok(true)
        };
        match read().map_err(|error| self.fault(&error))? {
            true => Ok(()),
            false => Err(Fault::new(Kind::Damaged, format!("{}: an entry has another checksum", self.path.display()))),
        }
    }

    /// Commits entries, and what the index has to write.
    pub fn commit(&mut self, entries: &[Entry], index: &Index, last: (u64, u64)) -> Result<(), Fault> {
        let path = &self.path;
        let result = commit(&mut self.connection, entries, index, last);
        result.map_err(|error| Fault::of(&error, path))
    }

    /// Returns the first entries: their sequence numbers, times and channels.
    pub fn first(&self, count: usize) -> Result<Vec<(u64, u64, Box<[u8]>)>, Fault> {
        let read = || -> rusqlite::Result<Vec<(u64, u64, Box<[u8]>)>> {
            let mut rows =
                self.connection.prepare_cached("SELECT seq, at, channel FROM entries ORDER BY seq LIMIT ?1")?;
            let rows = rows.query_map([count as i64], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64, row.get::<_, Vec<u8>>(2)?.into()))
            })?;
            rows.collect()
        };
        read().map_err(|error| self.fault(&error))
    }

    /// Has the disk write the WAL.
    pub fn sync(&self) -> Result<(), Fault> {
        let result = File::open(wal_of(&self.path)).and_then(|wal| wal.sync_data());
        result.map_err(|error| Fault::new(Kind::Passing, format!("{}-wal: {error}", self.path.display())))
    }

    /// Moves the WAL into the file, and empties it.
    pub fn checkpoint(&self) -> Result<(), Fault> {
        let result = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        result.map_err(|error| self.fault(&error))
    }

    /// Gives free pages back to the file system, some at a time. Returns true if there are more.
    pub fn shrink(&self) -> Result<bool, Fault> {
        let (free, all): (i64, i64) = (self.pragma("freelist_count")?, self.pragma("page_count")?);
        if free <= MOST_FREE_PAGES || free <= all / 4 {
            return Ok(false);
        }
        let shrink = || -> rusqlite::Result<()> {
            let mut shrink = self.connection.prepare(&format!("PRAGMA incremental_vacuum({SHRUNK_PAGES})"))?;
            let mut pages = shrink.query([])?;
            while pages.next()?.is_some() {} // a row for each page
            Ok(())
        };
        shrink().map_err(|error| self.fault(&error))?;
        self.checkpoint()?;
        Ok(true)
    }

    /// Marks the end as clean, and moves everything into the file.
    pub fn close(&self) -> Result<(), Fault> {
        self.connection.pragma_update(None, "synchronous", "FULL").map_err(|error| self.fault(&error))?;
        self.write_meta(&[("is_clean", &1)])?;
        self.checkpoint()
    }

    /// Returns the file, which stays locked as long as it is held.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Returns false if the path leads to another file than the one that is open, or to none.
    pub fn is_in_place(&self) -> bool {
        is_same(&self.file, &self.path)
    }

    /// Returns true if there is a WAL where a program that opens the file looks for it.
    pub fn has_wal(&self) -> bool {
        wal_of(&self.path).exists()
    }

    /// Puts a new WAL in the place of one that was removed. The process has that one open still, so nothing is lost.
    pub fn restore_wal(&mut self, boot: &str) -> Result<(), Fault> {
        self.close()?;
        let mut reconnect = || -> rusqlite::Result<()> {
            self.connection = Connection::open_in_memory()?; // SQLite locks the file for one connection
            self.connection = connect(&self.path)?;
            self.connection.pragma_update(None, "journal_mode", "WAL")
        };
        reconnect().map_err(|error| self.fault(&error))?;
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

    fn meta<T: FromSql>(&self, name: &str) -> Result<Option<T>, Fault> {
        let value = self.connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0));
        value.optional().map_err(|error| self.fault(&error))
    }

    fn write_meta(&self, values: &[(&str, &dyn ToSql)]) -> Result<(), Fault> {
        let write = || -> rusqlite::Result<()> {
            let transaction = self.connection.unchecked_transaction()?;
            for (name, value) in values {
                transaction.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![name, value])?;
            }
            transaction.commit()
        };
        write().map_err(|error| self.fault(&error))
    }

    fn pragma<T: FromSql>(&self, name: &str) -> Result<T, Fault> {
        self.connection.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| self.fault(&error))
    }

    fn value<T: FromSql>(&self, sql: &str) -> Result<T, Fault> {
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &rusqlite::Error) -> Fault {
        Fault::of(error, &self.path)
    }

    fn lasting(&self, trouble: &str) -> Fault {
        Fault::new(Kind::Lasting, format!("{} {trouble}", self.path.display()))
    }
}

/// Connects to the file. Until the history has begun each commit is synced, whatever `sync` is: the mark of an unclean end must not
/// be lost.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(LOCK_PATIENCE)?;
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

fn commit(connection: &mut Connection, entries: &[Entry], index: &Index, last: (u64, u64)) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare_cached("INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        for entry in entries {
            let Entry { seq, at, draft: Draft { channel, key, once, fields }, .. } = entry;
            let checksum = checksum(*seq, *at, [channel, key, once, fields.as_bytes()]);
            insert.execute(params![*seq as i64, *at as i64, channel, key, once, fields.as_bytes(), checksum])?;
        }
        let mut delete = transaction.prepare_cached("DELETE FROM entries WHERE seq = ?1")?;
        for seq in index.garbage() {
            delete.execute([*seq as i64])?;
        }
        let mut set = transaction.prepare_cached("INSERT OR REPLACE INTO evicted VALUES (?1, ?2)")?;
        let mut unset = transaction.prepare_cached("DELETE FROM evicted WHERE channel = ?1")?;
        for (channel, through) in index.changed_rows() {
            match through {
                Some(through) => set.execute(params![&*channel, through as i64])?,
                None => unset.execute([&*channel])?,
            };
        }
        let mut meta = transaction.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
        if let Some(through) = index.changed_evicted_through() {
            meta.execute(params!["evicted_through", through as i64])?;
        }
        if !index.garbage().is_empty() {
            meta.execute(params!["last_seq", last.0 as i64])?;
            meta.execute(params!["last_at", last.1 as i64])?;
        }
    }
    transaction.commit()
}

/// Returns the entry of a row; none if its checksum is another one.
fn entry_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Entry>> {
    let (seq, at) = (row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64);
    let bytes = |column: usize| row.get_ref(column).and_then(|value| Ok(value.as_blob()?));
    let [channel, key, once, fields] = [bytes(2)?, bytes(3)?, bytes(4)?, bytes(5)?];
    if row.get::<_, i64>(6)? != checksum(seq, at, [channel, key, once, fields]) {
        return Ok(None);
    }
    let Ok(fields) = FieldList::from_bytes(fields) else { return Ok(None) };
    let draft = Draft { channel: channel.into(), key: key.into(), once: once.into(), fields };
    Ok(Some(Entry { seq, at, ticket: None, draft }))
}

fn checksum(seq: u64, at: u64, texts: [&[u8]; 4]) -> i64 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&seq.to_le_bytes());
    checksum.update(&at.to_le_bytes());
    for text in texts {
        checksum.update(&(text.len() as u64).to_le_bytes());
        checksum.update(text);
    }
    checksum.finalize().into()
}

/// Draws an epoch, as `new_epoch` in `src/runtime/hub_handle.rs` does, and the key of its opaque ids.
fn new_epoch() -> io::Result<(Box<str>, [u8; 16])> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut bytes = [0; 24];
    if getrandom(&mut bytes[..], GetRandomFlags::empty())? != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let epoch = bytes[..8].iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect::<String>();
    let mut key = [0; 16];
    key.copy_from_slice(&bytes[8..]);
    Ok((epoch.into(), key))
}

/// Opens the file, or creates it, and locks it for this process.
///
/// The lock is on the file that the path leads to once it is locked: another process may have renamed the first one.
pub fn lock(path: &Path) -> Result<Arc<File>, Fault> {
    let shown = path.display();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lasting = |message: String| Err(Fault::new(Kind::Lasting, message));
    if !parent.is_dir() {
        let parent = parent.display();
        return lasting(format!("{shown}: there is no folder {parent}. Create it, and let the hub's user write to it"));
    }
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = match file {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                return Err(Fault::new(Kind::Passing, format!("{shown}: {error}")));
            }
            Err(error) => {
                return lasting(format!("{shown}: {error}. Let the hub's user write to the file and its folder"))
            }
        };
        if !file.metadata().is_ok_and(|file| file.is_file()) {
            return lasting(format!("{shown} is no file"));
        }
        match try_lock(&file) {
            Ok(true) if is_same(&file, path) => return Ok(Arc::new(file)),
            Ok(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            Ok(_) => return lasting(format!("another hub uses {shown}")),
            Err(error) => return lasting(format!("{shown}: its file system has no locks: {error}")),
        }
    }
}

/// Returns true if the path leads to the file.
fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(file), Ok(found)) => (file.dev(), file.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

/// Returns the path of the WAL of a file.
fn wal_of(path: &Path) -> PathBuf {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

/// Renames a damaged file and its WAL, so that people can look at them. Returns the new path.
pub fn set_aside(path: &Path, now: u64) -> io::Result<PathBuf> {
    let time = "SELECT strftime('%Y%m%dT%H%M%S', ?1, 'unixepoch')";
    let time: rusqlite::Result<String> =
        Connection::open_in_memory().and_then(|memory| memory.query_row(time, [(now / 1000) as i64], |row| row.get(0)));
    let time = time.map_err(io::Error::other)?;
    let names = (1..).map(|count: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".corrupt-{time}{}", if count == 1 { String::new() } else { format!("-{count}") }));
        PathBuf::from(name)
    });
    let name = names.into_iter().find(|name| !name.exists()).ok_or(io::ErrorKind::AlreadyExists)?;
    // The WAL first: a new file with the old WAL would be damaged, too.
    if wal_of(path).exists() {
        std::fs::rename(wal_of(path), wal_of(&name))?;
    }
    std::fs::rename(path, &name)?;
    Ok(name)
}
