//! The state: the newest event of each retained key, in a hash beside the stream. A sorted set has the keys `once` of the
//! events that have changed it, with their times.
//!
//! The stream is trimmed, the hash is not. A script appends an event that changes the state and changes the hash with it, so no
//! failover keeps one without the other.
//!
//! ```text
//! epoch                the epoch whose stream the hash belongs to
//! origin               the origin of all ids in the hash
//! last                 the id of the last event that has changed the state
//! p:PRODUCER           the last count of a producer that has changed the state, and the id of that event
//! LENGTH:CHANNEL KEY   the id of the newest event of this key of this channel, and its fields
//!                      of a member, also the machines that it is on, and what the hub needs to continue it
//! machines             the machines that have members, and when their lifetimes end
//! ```
//!
//! # Exactly once
//!
//! A command that arrives late, on a broken connection, must not bring back what the same producer has replaced or forgotten
//! since. So the script drops a count that is not greater than the producer's last one, and readers take every entry that
//! changes the state. Hubs drop an event whose key `once` another event of the history has: such an event does not change the
//! hash either.
//!
//! # Beginning
//!
//! A hub that begins reads the hash, which may change meanwhile, then the stream. Whatever has changed the hash since the hub
//! began to read it is in the stream, and counts more. What is older than the stream is the beginning of the history.
//!
//! If everything that was in the stream is evicted meanwhile, the hub reads the hash once more, together with the beginning of
//! the stream: that takes Redis' time from others, but the next attempt would fail as well.
//!
//! # Another epoch
//!
//! Another epoch begins with the state of the one before, as far as Redis still has it. It keeps the origin, so that the ids in
//! the hash are sequence numbers of the new epoch as well, smaller than those of its stream.

use super::super::{Draft, MemberPart};
use super::answer_size::AnswerSize;
use super::connection::{CallError, RedisConnection};
use super::entry::Id;
use super::epoch::StreamKeys;
use super::scripts;
use eventsource_xs::codec::decode;
use eventsource_xs::hub::Retain;
use eventsource_xs::wire::FieldList;
use redis::{cmd, from_redis_value, Cmd, FromRedisValue, ParsingError, Value};
use std::collections::BTreeMap;

/// Returns the command that reads the hash, and the beginning of the stream, at one moment: the [`Contents`], and the answers
/// to XINFO and XRANGE.
pub fn read_command(keys: &StreamKeys, entries: usize) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(scripts::READ_STATE.as_str()).arg(2).arg(&keys.state).arg(&keys.stream).arg(entries);
    command
}

/// The field that shows whose state the hash is.
pub const EPOCH: &str = "epoch";
/// The number of milliseconds that a producer's last count is kept: no command arrives so late.
const PRODUCER_MS: u64 = 3_600_000;

/// Returns the field of a key.
pub fn field(channel: &[u8], key: &[u8]) -> Vec<u8> {
    [channel.len().to_string().as_bytes(), b":", channel, key].concat()
}

/// Takes a field and its value apart; none if they are not those of a key.
pub fn event(field: &[u8], value: &[u8]) -> Option<(Id, Draft)> {
    let (length, names) = split(field, b':')?;
    let (channel, key) = names.split_at_checked(std::str::from_utf8(length).ok()?.parse().ok()?)?;
    let (head, rest) = split(value, b' ')?;
    let (id, member, fields) = match split(head, b',') {
        None => (head, MemberPart::None, rest),
        Some((id, _)) => {
            let (length, rest) = split(rest, b':')?;
            let (member, fields) = rest.split_at_checked(std::str::from_utf8(length).ok()?.parse().ok()?)?;
            (id, decode(member).unwrap_or_default(), fields)
        }
    };
    let fields = FieldList::from_bytes(fields).unwrap_or_default(); // without fields, it is of a later version
    let (channel, key, retain) = (channel.into(), key.into(), Retain::Newest);
    Some((Id::parse(id)?, Draft { channel, key, fields, retain, member, ..Draft::default() }))
}

/// Returns the machines that a member is on.
pub fn machines(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (head, _) = split(value, b' ').unwrap_or_default();
    head.split(|byte| *byte == b',').skip(1)
}

fn split(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..index], &bytes[index + 1..]))
}

/// Returns the command that reads a part of the hash: about so many fields.
pub fn scan_command(key: &str, cursor: &[u8], fields: usize) -> Cmd {
    let mut command = cmd("HSCAN");
    command.arg(key).arg(cursor).arg("COUNT").arg(fields);
    command
}

/// Returns how many bytes fields and their values have.
pub fn size(pairs: &[(Vec<u8>, Vec<u8>)]) -> usize {
    pairs.iter().map(|(field, value)| field.len() + value.len()).sum()
}

/// Its answer: the cursor, and the fields and values of a part.
pub type Scanned = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

/// The contents of the hash.
#[derive(Debug, Default)]
pub struct Contents {
    pub epoch: Vec<u8>,
    /// The newest events of keys. One that was replaced while the hash was read may be there, too.
    pub events: BTreeMap<Id, Draft>,
    producers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Contents {
    /// Reads the hash in parts.
    pub fn read(connection: &mut RedisConnection, key: &str, answer: &mut AnswerSize) -> Result<Self, CallError> {
        let (mut contents, mut cursor) = (Self::default(), b"0".to_vec());
        loop {
            let (next, pairs) = connection.call::<Scanned>(&scan_command(key, &cursor, answer.ask()))?;
            answer.adapt(pairs.len(), size(&pairs));
            contents.take(pairs);
            if next == b"0" {
                return Ok(contents);
            }
            cursor = next;
        }
    }

    /// Takes fields and their values.
    fn take(&mut self, pairs: Vec<(Vec<u8>, Vec<u8>)>) {
        for (field, value) in pairs {
            if field == EPOCH.as_bytes() {
                self.epoch = value;
            } else if field.starts_with(b"p:") {
                self.producers.push((field, value));
            } else {
                self.events.extend(event(&field, &value));
            }
        }
    }

    /// Removes the producers that have changed nothing for long. `last` is the last id of the stream.
    pub fn remove_producers(&self, connection: &mut RedisConnection, key: &str, last: Id) -> Result<(), CallError> {
        let id = |value: &[u8]| split(value, b' ').and_then(|(_, id)| Id::parse(id)).unwrap_or_default();
        let is_old = |value: &[u8]| id(value).ms.saturating_add(PRODUCER_MS) < last.ms;
        let mut old = self.producers.iter().filter(|(_, value)| is_old(value)).peekable();
        if old.peek().is_none() {
            return Ok(());
        }
        let mut command = cmd("EVAL");
        command.arg(scripts::REMOVE_FIELDS.as_str()).arg(1).arg(key);
        for (field, value) in old {
            command.arg(&field[..]).arg(&value[..]);
        }
        connection.calls([&command]).map(drop) // refused, they only take room
    }
}

impl FromRedisValue for Contents {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (mut contents, (_, pairs)) = (Self::default(), from_redis_value::<Scanned>(value)?);
        contents.take(pairs);
        Ok(contents)
    }
}
