//! The rows of a store's entries: written together with what the hub has evicted, read with their checksums.

use super::database::Database;
use super::fault::Fault;
use crate::store::StoreEntry;
use eventsource_xs::codec::{decode, encode};
use eventsource_xs::hub::Evictions;
use rusqlite::{ffi, params, Error, OptionalExtension, Row};

/// The number of entries that are read at a time.
const PART: usize = 512;

impl Database {
    /// Reads all entries in their order, and gives them to a function in parts.
    pub fn read(&self, mut take: impl FnMut(Vec<StoreEntry>)) -> Result<(), Fault> {
        self.run(|connection| {
            let mut rows = connection.prepare("SELECT * FROM entries ORDER BY seq")?;
            let mut entries = rows.query_map([], entry_of)?;
            loop {
                let part = entries.by_ref().take(PART).collect::<rusqlite::Result<Vec<_>>>()?;
                if part.is_empty() {
                    return Ok(());
                }
                take(part);
            }
        })
    }

    /// Returns the last entry.
    pub fn last(&self) -> Result<Option<StoreEntry>, Fault> {
        let last = "SELECT * FROM entries ORDER BY seq DESC LIMIT 1";
        self.run(|connection| connection.query_row(last, [], entry_of).optional())
    }

    /// Commits entries, and what the hub has evicted, with the number and the time of the last entry. Returns how many were
    /// deleted.
    pub fn commit(
        &self,
        entries: &[StoreEntry],
        evicted: &Evictions,
        last_seq: u64,
        last_at: u64,
    ) -> Result<usize, Fault> {
        self.run(|connection| {
            let mut deleted = 0;
            let transaction = connection.unchecked_transaction()?;
            let mut insert = connection.prepare_cached("INSERT INTO entries VALUES (?1, ?2, ?3)")?;
            for entry in entries {
                let bytes = encode(entry);
                insert.execute(params![entry.seq as i64, bytes, crc32fast::hash(&bytes)])?;
            }
            let mut delete = connection.prepare_cached("DELETE FROM entries WHERE seq = ?1")?;
            for seq in &evicted.numbers {
                deleted += delete.execute([*seq as i64])?;
            }
            if !evicted.is_empty() {
                let mut set = connection.prepare_cached("INSERT OR REPLACE INTO evicted VALUES (?1, ?2)")?;
                for (channel, through) in &evicted.channels {
                    set.execute(params![&**channel, *through as i64])?;
                }
                let mut known = connection.prepare_cached("SELECT value FROM meta WHERE name = 'evicted_through'")?;
                let known: Option<i64> = known.query_row([], |row| row.get(0)).optional()?;
                if evicted.others as i64 > known.unwrap_or(0) {
                    let sql = "DELETE FROM evicted WHERE through <= ?1 AND channel <> x''";
                    connection.execute(sql, [evicted.others as i64])?;
                }
                let mut meta = connection.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
                let values = [("evicted_through", evicted.others), ("last_seq", last_seq), ("last_at", last_at)];
                for (name, value) in values {
                    meta.execute(params![name, value as i64])?;
                }
            }
            transaction.commit().map(|()| deleted)
        })
    }
}

/// Returns the entry of a row, unless it is damaged.
fn entry_of(row: &Row<'_>) -> rusqlite::Result<StoreEntry> {
    let (seq, bytes, checksum) = (row.get::<_, i64>(0)?, row.get_ref(1)?.as_blob()?, row.get::<_, i64>(2)?);
    let entry = decode::<StoreEntry>(bytes).ok().filter(|_| i64::from(crc32fast::hash(bytes)) == checksum);
    let damaged = || Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some("an entry is damaged".to_owned()));
    entry.filter(|entry| entry.seq == seq as u64).ok_or_else(damaged)
}
