//! The rows of a store's entries: written together with what the hub has evicted, read with their checksums.

use super::database::Database;
use super::fault::{Fault, Kind};
use crate::store::{Draft, MemberPart, StoreEntry};
use eventsource_xs::hub::{Evictions, Retain};
use eventsource_xs::wire::FieldList;
use rusqlite::{params, Connection, OptionalExtension};

/// How many entries are read at a time.
const PART: usize = 512;

impl Database {
    /// Reads all entries in their order, and gives them to a function in parts.
    pub fn read(&self, mut take: impl FnMut(Vec<StoreEntry>)) -> Result<(), Fault> {
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

    /// Commits entries, and what the hub has evicted. `last` is the number and the time of the last entry. Returns how many
    /// were deleted.
    pub fn commit(&self, entries: &[StoreEntry], evicted: &Evictions, last: (u64, u64)) -> Result<usize, Fault> {
        commit(&self.connection, entries, evicted, last).map_err(|error| self.fault(&error))
    }
}

fn commit(
    connection: &Connection,
    entries: &[StoreEntry],
    evicted: &Evictions,
    (last_seq, last_at): (u64, u64),
) -> rusqlite::Result<usize> {
    let mut deleted = 0;
    let transaction = connection.unchecked_transaction()?;
    {
        let mut insert =
            transaction.prepare_cached("INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
        for entry in entries {
            let StoreEntry { seq, at, draft: Draft { channel, key, retain, once, fields, member }, .. } = entry;
            let (seq, at, retain, fields) = (*seq as i64, *at as i64, *retain as i64, fields.as_bytes());
            insert.execute(params![seq, at, channel, key, retain, once, fields, member.encode(), checksum(entry)])?;
        }
        let mut delete = transaction.prepare_cached("DELETE FROM entries WHERE seq = ?1")?;
        for seq in &evicted.numbers {
            deleted += delete.execute([*seq as i64])?;
        }
        if !evicted.is_empty() {
            let mut set = transaction.prepare_cached("INSERT OR REPLACE INTO evicted VALUES (?1, ?2)")?;
            for (channel, through) in &evicted.channels {
                set.execute(params![&**channel, *through as i64])?;
            }
            let mut known = transaction.prepare_cached("SELECT value FROM meta WHERE name = 'evicted_through'")?;
            let known: Option<i64> = known.query_row([], |row| row.get(0)).optional()?;
            if evicted.others as i64 > known.unwrap_or(0) {
                let sql = "DELETE FROM evicted WHERE through <= ?1 AND channel <> x''";
                transaction.execute(sql, [evicted.others as i64])?;
            }
            let mut meta = transaction.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
            let values = [("evicted_through", evicted.others), ("last_seq", last_seq), ("last_at", last_at)];
            for (name, value) in values {
                meta.execute(params![name, value as i64])?;
            }
        }
    }
    transaction.commit().map(|()| deleted)
}

/// Returns the entry of a row; none if its checksum is another one.
fn entry_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<StoreEntry>> {
    let number = |column: usize| row.get::<_, i64>(column).map(|number| number as u64);
    let bytes = |column: usize| row.get_ref(column).and_then(|value| Ok(Box::from(value.as_blob()?)));
    let retain = usize::try_from(number(4)?).ok().and_then(|retain| Retain::ALL.get(retain));
    let (Some(retain), Ok(fields)) = (retain, FieldList::from_bytes(row.get_ref(6)?.as_blob()?)) else {
        return Ok(None);
    };
    let member = MemberPart::decode(row.get_ref(7)?.as_blob()?);
    let draft = Draft { channel: bytes(2)?, key: bytes(3)?, retain: *retain, once: bytes(5)?, fields, member };
    let entry = StoreEntry { seq: number(0)?, at: number(1)?, ticket: None, draft };
    Ok(Some(entry).filter(|entry| row.get(8) == Ok(checksum(entry))))
}

fn checksum(StoreEntry { seq, at, draft, .. }: &StoreEntry) -> i64 {
    let Draft { channel, key, retain, once, fields, member } = draft;
    let mut checksum = crc32fast::Hasher::new();
    for number in [*seq, *at, *retain as u64] {
        checksum.update(&number.to_le_bytes());
    }
    for text in [channel, key, once, fields.as_bytes(), &member.encode()] {
        checksum.update(&(text.len() as u64).to_le_bytes());
        checksum.update(text);
    }
    checksum.finalize().into()
}
