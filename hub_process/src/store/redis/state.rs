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
//! machines             the machines that have members, and when their leases end
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
use super::call_error::{CallError, Refusal};
use super::connection::RedisConnection;
use super::entry::{text, Id};
use super::epoch::StreamKeys;
use eventsource_xs::hub::Retain;
use eventsource_xs::wire::FieldList;
use redis::{cmd, Cmd, Value};
use std::collections::BTreeMap;

/// Refuses an event whose stream is not that of the state, as if the stream were gone: another epoch has begun, or the state is
/// gone. The stream of the epoch before may be there still, for the hub that has begun the next one did not know of it.
macro_rules! refuse_of_other_epoch {
    () => {
        "
if redis.call('HGET', KEYS[2], 'epoch') ~= string.match(KEYS[1], '%w*$') then return false end
"
    };
}

/// Drops what was done before.
macro_rules! drop_repeated {
    () => {
        "
local producer, count = string.match(ARGV[#ARGV], '^(.*):(%d+)$')
producer = 'p:' .. producer
local seen = redis.call('HGET', KEYS[2], producer)
if seen and tonumber(string.match(seen, '^%d+')) >= tonumber(count) then
  redis.call('HSET', KEYS[2], producer, seen)
  return '0-0'
end
"
    };
}

/// Appends the event and changes the state.
macro_rules! append {
    () => {
        "
local once = ARGV[8] == 'o' and ARGV[9]
local known = once and redis.call('ZSCORE', KEYS[3], once)
local id = redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 4))
if not id then return id end
local field, value = 'last', id
if once then
  local ms = tonumber(string.match(id, '^%d+'))
  known = known and tonumber(known) >= ms - ARGV[2]
  if not known then redis.call('ZADD', KEYS[3], ms, once) end
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. ms - ARGV[2])
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - ARGV[1])
end
if ARGV[6] == 'r' and not known then
  field, value = ARGV[3], id .. machines .. ' ' .. member .. ARGV[#ARGV - 2]
elseif not known then
  redis.call('HDEL', KEYS[2], ARGV[3])
end
redis.call('HSET', KEYS[2], producer, count .. ' ' .. id, 'last', id, field, value)
return id
"
    };
}

/// Appends an event and changes the state. KEYS: the stream, the hash, the set of keys `once`. ARGV: the most entries of the
/// stream, their age in milliseconds, the field of the hash, then the entry's fields: `c` with the channel, `r` or `x` with the
/// key, perhaps `o` with the key `once`, `f` with the event's fields, `p` with the producer and its count. An event that was
/// appended before has no id; something is written nevertheless, for a WAIT that follows. What may fail comes before XADD. The
/// answer is `member` if the key is that of a member who is here, of whom the hub has not read yet.
pub const APPEND: &str = concat!(
    refuse_of_other_epoch!(),
    drop_repeated!(),
    "
local machines, member = '', ''
if string.find(redis.call('HGET', KEYS[2], ARGV[3]) or '', '^[^ ]*,') then return 'member' end
",
    append!()
);

/// The same for an event of a member: it changes the machines on which the member is, and appends the event if that is news.
/// ARGV begins with what happened and the machine; the entry has a field `m` before `f`. The answer is `done` if it was not
/// news.
///
/// A machine that has no lease is one whose lease has ended, until it renews that. What a machine that is `gone` without
/// having said so is removed from must not count as its own again when the clock goes back: so it has no lease from then on.
pub const APPEND_MEMBER: &str = concat!(
    "local mode, machine = table.remove(ARGV, 1), table.remove(ARGV, 1)",
    refuse_of_other_epoch!(),
    drop_repeated!(),
    "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local leases = redis.call('HGET', KEYS[2], 'machines') or ''
local id, machines, rest = string.match(redis.call('HGET', KEYS[2], ARGV[3]) or '', '^([^, ]*)([^ ]*)(.*)$')
local here = string.find(machines, ',' .. machine, 1, true)
local lease = tonumber(string.match(leases, ' ' .. machine .. '=(-?%d+)'))
local before, is_news = machines, machines ~= ''
if mode == 'here' then
  is_news = not is_news
  if not here then machines = machines .. ',' .. machine end
  if not lease then redis.call('HSET', KEYS[2], 'machines', leases .. ' ' .. machine .. '=0') end
elseif mode ~= 'changed' then
  if mode == 'reap' and lease and lease > 0 then
    if lease > now then return 'done' end
    leases = string.gsub(leases, ' ' .. machine .. '=%d+', ' ' .. machine .. '=0')
    redis.call('HSET', KEYS[2], 'machines', leases)
  end
  if here then machines = string.sub(machines, 1, here - 1) .. string.sub(machines, here + 1 + #machine) end
  is_news = here and machines == ''
end
if not is_news then
  redis.call('HSET', KEYS[2], producer, count .. ' ' .. string.format('%.0f-0', now))
  if machines ~= before then redis.call('HSET', KEYS[2], ARGV[3], id .. machines .. rest) end
  return 'done'
end
local member = #ARGV[9] .. ':' .. ARGV[9]
",
    append!()
);

/// Removes fields of the hash that have still these values.
const REMOVE: &str = "
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
";

/// Reads the whole hash, the stream's description and its first entries.
const SNAPSHOT: &str = "
local fields, cursor = {}, '0'
repeat
  local part = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', 1000)
  cursor = part[1]
  for i = 1, #part[2] do fields[#fields + 1] = part[2][i] end
until cursor == '0'
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', ARGV[1])
return {{cursor, fields}, redis.call('XINFO', 'STREAM', KEYS[2]), first}
";

/// Returns the command that reads the hash, and the beginning of the stream, at one moment.
pub fn snapshot_command(keys: &StreamKeys, entries: usize) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(SNAPSHOT).arg(2).arg(&keys.state).arg(&keys.stream).arg(entries);
    command
}

/// The field that shows whose state the hash is.
pub const EPOCH: &str = "epoch";
/// How many fields Redis returns at once, about.
const CHUNK: usize = 1000;
/// How many milliseconds a producer's last count is kept: no command arrives so late.
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
            (id, MemberPart::decode(member), fields)
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

/// Returns the command that reads a part of the hash.
pub fn scan_command(key: &str, cursor: &[u8]) -> Cmd {
    let mut command = cmd("HSCAN");
    command.arg(key).arg(cursor).arg("COUNT").arg(CHUNK);
    command
}

/// The cursor, the fields and values of a part.
type Scanned<'a> = (&'a [u8], Vec<(&'a [u8], &'a [u8])>);

/// Takes its answer apart.
pub fn scanned(answer: &Value) -> Option<Scanned<'_>> {
    let Value::Array(parts) = answer else { return None };
    let [cursor, Value::Array(list)] = &parts[..] else { return None };
    let pairs = list.chunks_exact(2).map(|pair| Some((text(&pair[0])?, text(&pair[1])?)));
    Some((text(cursor)?, pairs.collect::<Option<_>>()?))
}

/// What the hash holds.
#[derive(Debug, Default)]
pub struct Contents {
    pub epoch: Vec<u8>,
    /// The newest events of keys. One that was replaced while the hash was read may be there, too.
    pub events: BTreeMap<Id, Draft>,
    producers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Contents {
    /// Reads the hash in parts.
    pub fn read(connection: &mut RedisConnection, key: &str) -> Result<Result<Self, Refusal>, CallError> {
        let (mut contents, mut cursor) = (Self::default(), b"0".to_vec());
        loop {
            let [answer] = connection.calls([&scan_command(key, &cursor)])?;
            let answer = match answer {
                Ok(answer) => answer,
                Err(refusal) => return Ok(Err(refusal)),
            };
            cursor = contents.take(answer).ok_or_else(|| CallError::Cut("its answer to HSCAN is malformed".into()))?;
            if cursor == b"0" {
                return Ok(Ok(contents));
            }
        }
    }

    /// Takes the answer to [`snapshot_command`]: also those to XINFO and XRANGE.
    pub fn of_snapshot(answer: Value) -> Option<(Self, Value, Value)> {
        let Value::Array(parts) = answer else { return None };
        let [fields, info, first] = <[Value; 3]>::try_from(parts).ok()?;
        let mut contents = Self::default();
        contents.take(fields)?;
        Some((contents, info, first))
    }

    /// Takes an answer to HSCAN. Returns the cursor.
    fn take(&mut self, answer: Value) -> Option<Vec<u8>> {
        let (cursor, pairs) = scanned(&answer)?;
        for (field, value) in pairs {
            if field == EPOCH.as_bytes() {
                self.epoch = value.into();
            } else if field.starts_with(b"p:") {
                self.producers.push((field.into(), value.into()));
            } else {
                self.events.extend(event(field, value));
            }
        }
        Some(cursor.into())
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
        command.arg(REMOVE).arg(1).arg(key);
        for (field, value) in old {
            command.arg(&field[..]).arg(&value[..]);
        }
        connection.calls([&command]).map(drop) // refused, they only take room
    }
}
