//! The rows of a store's entries: written with what the index deletes, read with their checksums.

use super::database::Database;
use super::fault::{Fault, Kind};
use super::index::Index;
use crate::store::{Draft, Entry};
use eventsource_xs::wire::FieldList;
use rusqlite::{params, Connection};

/// How many entries are read at a time.
const PART: usize = 512;

/// One of the first entries, which are deleted first.
pub struct First {
    pub seq: u64,
    pub at: u64,
    pub channel: Box<[u8]>,
}

impl Database {
    /// Reads all entries in their order, and hands them over in parts.
    pub fn read(&self, mut take: impl FnMut(Vec<Entry>)) -> Result<(), Fault> {
        let mut read = || -> rusqlite::Result<bool> {
            let mut rows = self.connection.prepare("SELECT * FROM entries ORDER BY seq")?;
            let mut rows = rows.query([])?;
            let (mut part, mut last) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let Some(entry) = entry_of(row)?.filter(|entry| entry.seq > last) else { return Ok(false) };
                last = entry.seq;
                part.push(entry);
                if part.len() == PART {
                    take(std::mem::take(&mut part));
                }
            }
            if !part.is_empty() {
                take(part);
            }
            Ok(true)
        };
        match read().map_err(|error| self.fault(&error))? {
            true => Ok(()),
            false => Err(Fault::new(Kind::Damaged, format!("{}: an entry is damaged", self.path.display()))),
        }
    }

    /// Commits entries, and what the index has to write.
    pub fn commit(&mut self, entries: &[Entry], index: &Index, last: (u64, u64)) -> Result<(), Fault> {
        let path = &self.path;
        let result = commit(&mut self.connection, entries, index, last);
        result.map_err(|error| Fault::of(&error, path))
    }

    /// Returns the first entries.
    pub fn first(&self, count: usize) -> Result<Vec<First>, Fault> {
        let read = || -> rusqlite::Result<Vec<First>> {
            let mut rows =
                self.connection.prepare_cached("SELECT seq, at, channel FROM entries ORDER BY seq LIMIT ?1")?;
            let rows = rows.query_map([count as i64], |row| {
                let (seq, at) = (row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64);
                Ok(First { seq, at, channel: row.get::<_, Vec<u8>>(2)?.into() })
            })?;
            rows.collect()
        };
        read().map_err(|error| self.fault(&error))
    }
}

fn commit(connection: &mut Connection, entries: &[Entry], index: &Index, last: (u64, u64)) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare_cached("INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        for entry in entries {
            let Entry { seq, at, draft: Draft { channel, key, once, fields, .. }, .. } = entry;
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
    let draft = Draft { channel: channel.into(), key: key.into(), once: once.into(), fields, ..Draft::default() };
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
