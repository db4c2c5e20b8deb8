//! The rounds to push: how many remain, when the next one is due, and what they have cost.

use crate::clock::{cpu, now_ns};
use crate::event::Event;
use crate::options::AnyError;
use std::time::{Duration, Instant};

pub struct Plan {
    pub rounds: u64,
    pub data_bytes: usize,
    pub pushed: u64,
    pub refused: u64,
    interval_ns: u64,
    due_ns: u64,
    /// Rounds that ended after the next one was due.
    late: u64,
    since: Instant,
    cpu: Duration,
}

impl Plan {
    /// Parses the arguments of `push`: ROUNDS INTERVAL BYTES. The interval is in seconds; 0 is flat out.
    pub fn begin(words: &[&str]) -> Result<Self, AnyError> {
        let [rounds, interval, data_bytes] = words[..] else {
            return Err("push needs ROUNDS INTERVAL BYTES".into());
        };
        Ok(Self {
            rounds: rounds.parse()?,
            data_bytes: data_bytes.parse()?,
            pushed: 0,
            refused: 0,
            interval_ns: (interval.parse::<f64>()? * 1e9) as u64,
            due_ns: now_ns(),
            late: 0,
            since: Instant::now(),
            cpu: cpu(),
        })
    }

    /// Returns the event of this round, pushed now.
    pub fn event(&self, id: u64) -> Event {
        Event { id, due_ns: self.due_ns, pushed_ns: now_ns() }
    }

    /// Returns the time until the round is due.
    pub fn pause(&self) -> Duration {
        Duration::from_nanos(self.due_ns.saturating_sub(now_ns()))
    }

    /// Notes that the round has been pushed.
    pub fn advance(&mut self) {
        let now_ns = now_ns();
        self.rounds -= 1;
        self.due_ns = if self.interval_ns == 0 { now_ns } else { self.due_ns + self.interval_ns };
        self.late += u64::from(now_ns > self.due_ns);
    }

    /// Returns the counts and costs so far.
    pub fn json(&self) -> String {
        let (seconds, cpu) = (self.since.elapsed().as_secs_f64(), (cpu() - self.cpu).as_secs_f64());
        let (pushed, refused, late) = (self.pushed, self.refused, self.late);
        format!(r#"{{"pushed":{pushed},"refused":{refused},"late":{late},"seconds":{seconds:.6},"cpu":{cpu:.6}}}"#)
    }
}
