//! The replicas that must have an entry before it is reported.

use super::super::connection::CallError;
use super::super::entry::Id;
use super::super::in_flight::{SendEvent, Sending};
use super::super::shared::Shared;
use redis::{cmd, Cmd, Value};
use std::time::{Duration, Instant};

/// The number of milliseconds that replicas may take to say that they are there.
const QUESTION_MS: u32 = 100;

#[derive(Clone, Copy)]
pub struct Replicas {
    needed: u32,
    timeout: Duration,
}

impl Replicas {
    pub fn new(needed: u32, timeout: Duration) -> Self {
        Self { needed, timeout }
    }

    pub fn are_needed(&self) -> bool {
        self.needed > 0
    }

    /// Returns how long Redis may wait for replicas: until the first draft of a batch fails.
    pub fn timeout(&self, shared: &Shared, counts: &[u64]) -> Duration {
        if !self.are_needed() {
            return Duration::ZERO;
        }
        let first = shared.lock().in_flight.deadline(counts).unwrap_or_else(Instant::now);
        first.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)).min(self.timeout)
    }

    /// Appends the command that waits for replicas so long.
    pub fn write_wait(&self, out: &mut Vec<u8>, timeout: Duration) {
        if self.are_needed() {
            cmd("WAIT").arg(self.needed).arg(timeout.as_millis() as u64).write_packed_command(out);
        }
    }

    /// Releases entries that replicas have, as Redis answers. Those that they lack are perhaps lost by the next failover.
    pub fn confirm(
        &self,
        shared: &Shared,
        stored: &[(u64, Id)],
        answer: Result<Value, CallError>,
    ) -> Result<(), CallError> {
        let reached = match answer {
            Ok(Value::Int(reached)) => reached,
            Ok(_) => 0,
            Err(fault @ CallError::Refused { .. }) => {
                shared.record(&fault);
                0
            }
            Err(fault) => return Err(fault),
        };
        let is_reached = reached >= i64::from(self.needed);
        let failed: Vec<Sending> = shared.update(|state| {
            state.is_refusing = !is_reached;
            let counts = stored.iter().map(|(count, _)| *count);
            if is_reached {
                state.in_flight.apply(counts, SendEvent::Replicated);
                return Vec::new();
            }
            counts.filter_map(|count| state.in_flight.remove(count)).collect()
        });
        if !is_reached {
            let message = format!("{reached} replicas have it, and {} should", self.needed);
            shared.reporter.record_error(&format!("an event was perhaps lost: {message}"));
            failed.iter().for_each(|sent| shared.fail_sent(sent, &message));
        }
        Ok(())
    }

    /// Returns the command that asks whether they are there.
    pub fn question(&self) -> Cmd {
        cmd("WAIT").arg(self.needed).arg(QUESTION_MS).clone()
    }

    /// Returns true if enough of them are there, as Redis answers.
    pub fn are_there(&self, answer: &Result<Value, CallError>) -> bool {
        !self.are_needed() || matches!(answer, Ok(Value::Int(reached)) if *reached >= i64::from(self.needed))
    }
}
