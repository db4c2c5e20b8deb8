//! Ids and entries of a Redis stream, and which of them are there twice.

use super::super::{Draft, MemberPart};
use super::connection::CallError;
use eventsource_xs::codec::decode;
use eventsource_xs::hub::Retain;
use eventsource_xs::wire::FieldList;
use redis::{from_redis_value, FromRedisValue, ParsingError, Value};
use std::collections::HashMap;
use std::fmt;

/// The bits of a sequence number that have the second part of an id.
const PART_BITS: u32 = 24;

/// The id of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub ms: u64,
    pub part: u64,
}

impl Id {
    /// Parses `MS-PART`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (ms, part) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, part: part.parse().ok()? })
    }

    /// Returns the sequence number in an epoch with this origin. There is none if Redis' clock has stood back for so long, or
    /// people have added such an id, that a part needs more than 24 bits, or if the id is 35 years after the origin.
    pub fn seq(self, origin: u64) -> Option<u64> {
        let since = self.ms.checked_sub(origin)?;
        (since >> (64 - PART_BITS) == 0 && self.part >> PART_BITS == 0).then_some(since << PART_BITS | self.part)
    }
}

impl FromRedisValue for Id {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        Self::parse(&from_redis_value::<Vec<u8>>(value)?).ok_or_else(|| "not an id".into())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.ms, self.part)
    }
}

/// An entry as it is in the stream.
#[derive(Debug)]
pub struct Stored {
    pub id: Id,
    /// None if no hub has added it: the marker, or what people have added.
    pub event: Option<Event>,
}

/// An event in the stream.
#[derive(Debug)]
pub struct Event {
    pub draft: Draft,
    pub producer: Box<[u8]>,
    pub count: u64,
}

impl FromRedisValue for Stored {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (id, fields) = from_redis_value(value)?;
        Ok(Self { id, event: event(fields) })
    }
}

impl Stored {
    /// Returns the event's producer and count, which no other event has.
    pub fn mark(&self) -> Option<Mark> {
        self.event.as_ref().map(|event| (event.producer.clone(), event.count))
    }
}

/// The producer of an event, and its count.
pub type Mark = (Box<[u8]>, u64);

/// Returns the milliseconds since 1970 of an answer to TIME.
pub fn time(answer: Result<Value, CallError>) -> Option<u64> {
    let (seconds, micros): (u64, u64) = from_redis_value(answer.ok()?).ok()?;
    Some(seconds * 1000 + micros / 1000)
}

/// Returns the bytes of an answer.
pub fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        Value::Okay => Some(b"OK"),
        _ => None,
    }
}

/// Takes `PRODUCER:COUNT` apart.
fn producer(text: &[u8]) -> Option<(Box<[u8]>, u64)> {
    let (name, count) = std::str::from_utf8(text).ok()?.rsplit_once(':')?;
    Some((name.as_bytes().into(), count.parse().ok()?))
}

/// Returns about how many bytes Redis keeps for an entry.
pub fn size(draft: &Draft) -> usize {
    64 + draft.bytes()
}

/// Returns the event of an entry that a hub has added, also of a later version: without fields if they cannot be read, and
/// without channel and key if this is another request than one to end streams. The hub tells people and clients.
pub fn event(fields: Vec<Value>) -> Option<Event> {
    let (mut channel, mut key, mut once, mut list, mut source, mut end) = (None, None, None, None, None, None);
    let (mut retain, mut member) = (Retain::No, MemberPart::None);
    let mut fields = fields.into_iter();
    while let (Some(name), Some(Value::BulkString(bytes))) = (fields.next(), fields.next()) {
        match text(&name)? {
            b"c" => channel = Some(bytes.into()),
            b"k" => key = Some(bytes.into()),
            b"r" => (key, retain) = (Some(bytes.into()), Retain::Newest),
            b"x" => (key, retain) = (Some(bytes.into()), Retain::Forget),
            b"o" => once = Some(bytes.into()),
            b"m" => member = decode(&bytes).unwrap_or_default(),
            b"f" => list = FieldList::from_bytes(&bytes).ok(),
            b"p" => source = producer(&bytes),
            b"e" => end = Some(bytes.into()),
            _ => {} // of a later version
        }
    }
    let draft = match channel {
        None => Draft { channel: Box::default(), key: end.unwrap_or_default(), ..Draft::default() },
        Some(channel) => Draft {
            channel,
            key: key.unwrap_or_default(),
            once: once.unwrap_or_default(),
            fields: list.unwrap_or_default(),
            retain,
            member,
        },
    };
    let (producer, count) = source?;
    Some(Event { draft, producer, count })
}

/// The result of XINFO for a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Info {
    pub length: u64,
    /// The last id that was ever assigned.
    pub last: Id,
    /// The greatest id that was deleted. Redis 6.2 does not say it.
    pub max_deleted: Option<Id>,
    pub first: Option<Id>,
}

impl FromRedisValue for Info {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut info = Self::default();
        for (name, value) in from_redis_value::<Vec<(String, Value)>>(value)? {
            match &*name {
                "length" => info.length = from_redis_value(value)?,
                "last-generated-id" => info.last = from_redis_value(value)?,
                "max-deleted-entry-id" => info.max_deleted = from_redis_value(value)?,
                "first-entry" => info.first = from_redis_value::<Option<(Id, Value)>>(value)?.map(|(id, _)| id),
                _ => {}
            }
        }
        Ok(info)
    }
}

/// The most producers that are remembered.
const MOST_PRODUCERS: usize = 4096;

/// The last count of each producer. A hub that has lost its connection sends again what it cannot find, so that an entry may be
/// there twice.
#[derive(Debug, Default)]
pub struct Producers {
    seen: HashMap<Box<[u8]>, (u64, Id)>,
}

impl Producers {
    /// Takes note of an entry. Returns false if it was there before: the counts of a producer increase.
    pub fn note(&mut self, producer: &[u8], count: u64, id: Id) -> bool {
        if let Some((last, at)) = self.seen.get_mut(producer) {
            if count <= *last {
                return false;
            }
            (*last, *at) = (count, id);
            return true;
        }
        if self.seen.len() >= MOST_PRODUCERS {
            self.forget_half();
        }
        self.seen.insert(producer.into(), (count, id));
        true
    }

    /// Forgets the producers whose last entries are the oldest.
    fn forget_half(&mut self) {
        let mut ids: Vec<Id> = self.seen.values().map(|(_, id)| *id).collect();
        ids.sort_unstable();
        let middle = ids[ids.len() / 2];
        self.seen.retain(|_, (_, id)| *id >= middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_exists_only_for_ids_that_fit() {
        for (id, expected) in [
            ("1000-0", Some(0)),
            ("1000-1", Some(1)),
            ("1001-2", Some(1 << 24 | 2)),
            ("1000-16777215", Some((1 << 24) - 1)),
            ("1000-16777216", None),
            ("999-5", None),
            ("18446744073709551615-0", None),
        ] {
            assert_eq!(Id::parse(id.as_bytes()).expect(id).seq(1000), expected, "{id}");
        }
    }

    #[test]
    fn invalid_ids_are_refused() {
        for text in ["", "-", "1", "1-", "-1", "1-2-3", "a-1", "18446744073709551616-0"] {
            assert_eq!(Id::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_count_is_new_once() {
        let mut producers = Producers::default();
        let id = Id::default();
        for (producer, count, expected) in
            [("a", 1, true), ("a", 1, false), ("b", 1, true), ("a", 3, true), ("a", 2, false), ("b", 2, true)]
        {
            assert_eq!(producers.note(producer.as_bytes(), count, id), expected, "{producer}:{count}");
        }
    }

    #[test]
    fn the_producers_of_old_entries_are_forgotten() {
        let mut producers = Producers::default();
        for ms in 0..3 * MOST_PRODUCERS as u64 {
            producers.note(format!("p{ms}").as_bytes(), 1, Id { ms, part: 0 });
        }
        assert!(producers.seen.len() <= MOST_PRODUCERS);
        let has = |ms: usize| producers.seen.contains_key(format!("p{ms}").as_bytes());
        assert!(has(3 * MOST_PRODUCERS - 1) && !has(0));
    }
}
