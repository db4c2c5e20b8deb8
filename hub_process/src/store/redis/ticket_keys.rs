//! The keys of tickets, which the hubs of an epoch share.
//!
//! A script reads them, and makes another one when it is time, so all machines have the same. They end with their epoch: what
//! was withdrawn in one that is lost is not known. Who may read Redis may read them. No message and no log has them.

use super::connection::{CallError, RedisConnection};
use super::epoch::{hex, parse_key, Keys};
use super::scripts;
use eventsource_xs::hub::LONGEST_TICKET;
use eventsource_xs::remote::calls::random;
use eventsource_xs::ticket::{Key, TicketKeys};
use redis::{cmd, from_redis_value, Value};

/// The keys; none if another epoch has begun, or the reason if Redis refuses.
pub type Answer = Result<Option<TicketKeys>, String>;

/// Reads the keys of an epoch.
pub fn read(connection: &mut RedisConnection, keys: &Keys, epoch: &str) -> Result<Answer, CallError> {
    let fresh = |error: std::io::Error| CallError::Cut(format!("no random numbers: {error}"));
    let (secret, [number]) = (random::bytes::<16>().map_err(fresh)?, random::bytes::<1>().map_err(fresh)?);
    let mut command = cmd("EVAL");
    let hash = keys.of(epoch).tickets;
    command.arg(scripts::TICKET_KEYS.as_str()).arg(2).arg(&hash).arg(&keys.pointer).arg(epoch);
    command.arg(LONGEST_TICKET.as_millis() as u64).arg(hex(secret)).arg(number);
    Ok(match connection.call(&command) {
        Ok(Value::Nil) => Ok(None),
        Ok(answer) => parse(answer).map(Some).ok_or_else(|| format!("the key {hash} holds something else")),
        Err(CallError::Refused { message, .. }) => Err(message),
        Err(fault) => return Err(fault),
    })
}

fn parse(answer: Value) -> Option<TicketKeys> {
    let (current, previous): (String, Option<String>) = from_redis_value(answer).ok()?;
    Some(TicketKeys::new(key(&current)?, previous.as_deref().and_then(key)))
}

/// Reads `NUMBER SINCE SECRET`.
fn key(text: &str) -> Option<Key> {
    let mut words = text.split(' ');
    let (number, since, secret) = (words.next()?.parse().ok()?, words.next()?.parse::<u64>().ok()?, words.next()?);
    Some(Key { number, secret: parse_key(secret)?, since: since.checked_mul(1_000_000)? })
}
