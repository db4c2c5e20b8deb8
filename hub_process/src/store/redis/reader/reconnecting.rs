//! The reader connects, and again whenever its connection breaks.

use super::super::super::StoreReport;
use super::super::connection::{Backoff, CallError, RedisConnection};
use super::super::entry;
use super::Reader;
use eventsource_xs::runtime::wall;
use eventsource_xs::wire::Failure;
use eventsource_xs::ErrorCode;
use redis::{cmd, from_redis_value, InfoDict, Value};
use std::time::{Duration, Instant};

/// Says why a version of Redis is too old.
fn check_version(version: &str) -> Result<(), CallError> {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) >= (Some(6), Some(2)) {
        return Ok(());
    }
    let message = format!("it is Redis {version}, and the store needs 6.2 or later");
    Err(CallError::Refused { code: "OLD".into(), message })
}

impl Reader {
    pub fn run(mut self) {
        let mut backoff = Backoff::new();
        while !self.shared.lock().is_closing {
            let mut was_ready = false;
            let fault = match self.connect() {
                Ok(mut connection) => self.serve(&mut connection, &mut was_ready),
                Err(fault) => Some(fault),
            };
            let Some(fault) = fault else { return };
            if matches!(fault, CallError::Interrupted) {
                continue;
            }
            if was_ready {
                backoff = Backoff::new();
                self.shared.reporter.update(|status| status.reconnects += 1);
            }
            self.note(&fault);
            if matches!(fault, CallError::Invalid(_)) && self.position.is_none() {
                return;
            }
            self.pause(backoff.next(&fault));
        }
    }

    /// Takes note of a fault. The store cannot begin if it has not.
    fn note(&mut self, fault: &CallError) {
        let message = self.shared.record(fault);
        self.shared.reporter.set_read(None);
        self.shared.update(|state| state.target = None);
        self.shared.refresh();
        if self.position.is_none() {
            let retries = !matches!(fault, CallError::Invalid(_));
            let code = if retries { ErrorCode::Unavailable } else { ErrorCode::Invalid };
            let failure = Failure::new(code, None, &message);
            self.shared.reporter.report(StoreReport::CannotBegin { failure, retries });
        }
    }

    fn pause(&self, pause: Duration) {
        let end = Instant::now() + pause;
        let mut state = self.shared.lock();
        while !state.is_closing {
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            state = self.shared.wait(state, rest);
        }
    }

    fn connect(&mut self) -> Result<RedisConnection, CallError> {
        let masters = self.endpoint.masters()?;
        let connect = |(url, _): &(String, bool)| self.endpoint.master(url);
        // If none can be connected to, that of most Sentinels says why.
        let mut connection = connect(&masters[0])
            .or_else(|fault| masters[1..].iter().find_map(|master| connect(master).ok()).ok_or(fault))?;
        self.shared.update(|state| {
            state.master = None;
            state.wants_ticket_keys = true; // this one may have lost the last ones
        });
        let [server, memory, time] =
            connection.calls([cmd("INFO").arg("server"), cmd("INFO").arg("memory"), &cmd("TIME")])?;
        self.set_clock(time);
        // A user who may not ask is not told.
        let line = |answer: Result<Value, CallError>, name: &str| -> Option<String> {
            from_redis_value::<InfoDict>(answer.ok()?).ok()?.get(name)
        };
        if let Some(version) = line(server, "redis_version") {
            check_version(&version)?;
        }
        if let Some(policy) = line(memory, "maxmemory_policy") {
            self.warn_of_eviction(&policy);
        }
        Ok(connection)
    }

    /// Takes note of what Redis' clock shows. Where the user may not ask for it, that of this machine has to do.
    pub(super) fn set_clock(&self, answer: Result<Value, CallError>) {
        self.shared.reporter.set_clock(entry::time(answer).unwrap_or_else(wall));
    }

    fn warn_of_eviction(&mut self, policy: &str) {
        if policy.starts_with("allkeys-") {
            let message = format!(
                "Redis at {} has maxmemory-policy {policy}: it deletes the whole history when its memory is full; \
                 set noeviction or volatile-lru",
                self.shared.place
            );
            self.warn("eviction", &message);
        }
    }
}
