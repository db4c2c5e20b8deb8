//! The bounds of the stream, and what the writer does now and then: trims the stream by age and bytes, asks how much memory it
//! takes, and whether a Redis that has refused an entry would take another one.

use super::super::connection::{CallError, RedisConnection};
use super::super::entry::{self, Id};
use super::super::epoch::StreamKeys;
use super::super::shared::{Shared, State};
use super::super::{ANSWER, CHUNK};
use super::replicas::Replicas;
use super::Session;
use eventsource_xs::log::Bounds;
use redis::{cmd, Value};
use std::time::{Duration, Instant};

/// The shortest retention in Redis: a reader that was stopped for longer than a second looks for a loss before it reads on.
const SHORTEST_AGE: Duration = Duration::from_secs(5);
/// The interval at which the writer looks after the stream's bounds and its own connection.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// The interval at which Redis is asked how much memory the stream takes.
const WEIGH: Duration = Duration::from_secs(10);

/// Returns the most entries of the stream, and their age in milliseconds.
pub fn entries_and_age(retention: &Bounds) -> (usize, u64) {
    (retention.events.max(CHUNK), u64::try_from(retention.age.as_millis()).unwrap_or(u64::MAX))
}

/// Returns the id before which the stream need not keep anything at a time of Redis. The last entry stays: it shows that
/// nothing is lost.
fn first_to_keep(retention: &Bounds, state: &mut State, time: Option<u64>) -> Option<Id> {
    let by_bytes = state.sizes.cut(retention.bytes);
    let age = retention.age.max(SHORTEST_AGE);
    let oldest = u64::try_from(age.as_millis()).ok().and_then(|age| time?.checked_sub(age));
    let by_age = oldest.map(|ms| Id { ms, part: 0 }).filter(|first| state.sizes.begins_before(*first));
    let first = by_bytes.max(by_age)?;
    Some(first.min(state.in_flight.read_through))
}

/// Does what is to be done each [`INTERVAL`].
pub fn run(session: &mut Session, shared: &Shared, retention: &Bounds, replicas: Replicas) -> Result<(), CallError> {
    let Session { connection, target, weighed_at, .. } = session;
    connection.set_read_timeout(ANSWER)?;
    if shared.lock().is_refusing {
        let is_refusing = is_refusing(connection, &target.keys.stream, replicas)?;
        shared.update(|state| state.is_refusing = is_refusing);
    }
    trim(connection, &target.keys.stream, shared, retention)?;
    if weighed_at.is_some_and(|last| last.elapsed() < WEIGH) {
        return Ok(());
    }
    *weighed_at = Some(Instant::now());
    weigh(connection, &target.keys, shared)
}

fn weigh(connection: &mut RedisConnection, keys: &StreamKeys, shared: &Shared) -> Result<(), CallError> {
    let usage = |key: &String| cmd("MEMORY").arg("USAGE").arg(key).clone();
    let weights = connection.calls([&usage(&keys.stream), &usage(&keys.state)])?;
    if let [Ok(Value::Int(stream)), Ok(Value::Int(state))] = weights {
        shared.reporter.update(|status| status.bytes = (stream + state).try_into().unwrap_or_default());
    }
    Ok(())
}

/// Trims the stream by age and bytes.
fn trim(connection: &mut RedisConnection, stream: &str, shared: &Shared, retention: &Bounds) -> Result<(), CallError> {
    let [time] = connection.calls([&cmd("TIME")])?;
    let first = first_to_keep(retention, &mut shared.lock(), entry::time(time));
    if let Some(first) = first {
        let mut trim = cmd("XTRIM");
        trim.arg(stream).arg("MINID").arg("~").arg(first.to_string());
        let _ = connection.calls([&trim])?; // a user who may not trim has MAXLEN
    }
    Ok(())
}

/// Asks Redis whether it would refuse an entry: because it is full, or may not be written to, or lacks replicas. It refuses the
/// entry of the question in any case, because its id comes too late; only the reason tells.
fn is_refusing(connection: &mut RedisConnection, stream: &str, replicas: Replicas) -> Result<bool, CallError> {
    let mut append = cmd("XADD");
    append.arg(stream).arg("NOMKSTREAM").arg("0-1").arg("question").arg("");
    let [answer, reached] = connection.calls([&append, &replicas.question()])?;
    let takes = matches!(answer, Err(CallError::Refused { message, .. }) if message.contains("equal or smaller"));
    Ok(!takes || !replicas.are_there(&reached))
}
