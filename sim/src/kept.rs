//! An episode as a list of numbers. One that fails is shrunk to a short one, and kept as a file.

use crate::episode::Episode;
use crate::kernel::{self, Child};
use crate::report::{say, Report};
use crate::simulated;
use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::time::Duration;

/// The time for which an episode is shrunk.
const SHRINKS_FOR: Duration = Duration::from_secs(60);

/// The orders of threads that are tried with a shorter list: what happens is at another time then.
const SCHEDULES: u64 = 4;

#[derive(Clone, Debug)]
pub struct Kept {
    /// Draws the hub and its clients.
    seed: u64,
    /// Draws the order in which threads run.
    schedule: u64,
    decisions: Vec<u64>,
}

impl Kept {
    pub fn of_seed(seed: u64) -> Self {
        Self { seed, schedule: seed, decisions: Episode::decisions(seed) }
    }

    /// Begins to run the episode in a child of this process.
    pub fn begin(&self, prints: bool, processor: usize) -> Child {
        Child::begin(|| {
            kernel::use_processor(processor);
            if !prints {
                std::panic::set_hook(Box::new(|_| {})); // the report says it
            }
            let (ran, judged) = simulated::run(self.seed, self.decisions.clone(), self.schedule, prints);
            say(&ran, &judged)
        })
    }

    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let mut kept = Self { seed: 0, schedule: 0, decisions: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (what, number) = line.split_once(' ').ok_or(line)?;
            let number = u64::from_str_radix(number, 16).map_err(|error| format!("{line}: {error}"))?;
            match what {
                "seed" => kept.seed = number,
                "schedule" => kept.schedule = number,
                "draw" => kept.decisions.push(number),
                _ => return Err(line.into()),
            }
        }
        Ok(kept)
    }

    fn breaks(&self, why: &str) -> bool {
        Report::of(self.begin(false, 0)).why().as_deref() == Some(why)
    }
}

impl Display for Kept {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        writeln!(to, "seed {:x}\nschedule {:x}", self.seed, self.schedule)?;
        self.decisions.iter().try_for_each(|number| writeln!(to, "draw {number:x}"))
    }
}

/// Returns a short part of an episode that still breaks the same.
pub fn shrink(mut kept: Kept, why: &str) -> Kept {
    let until = kernel::real_time() + SHRINKS_FOR;
    let mut length = kept.decisions.len().div_ceil(2);
    while length > 0 {
        let mut at = 0;
        let mut has_shrunk = false;
        while at < kept.decisions.len() && kernel::real_time() < until {
            let mut shorter = kept.clone();
            shorter.decisions.drain(at..(at + length).min(kept.decisions.len()));
            let found = (0..SCHEDULES).map(|more| kept.schedule.wrapping_add(more)).find_map(|schedule| {
                let tried = Kept { schedule, ..shorter.clone() };
                tried.breaks(why).then_some(tried)
            });
            match found {
                Some(shorter) => (kept, has_shrunk) = (shorter, true),
                None => at += length,
            }
        }
        if kernel::real_time() >= until {
            break;
        }
        if !has_shrunk || length > 1 {
            length /= 2;
        }
    }
    kept
}
