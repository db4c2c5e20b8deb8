//! Runs a random model with one seed after another.
//!
//! EVENTSOURCE_XS_STEPS sets the number of steps (default: 40,000), EVENTSOURCE_XS_SEED the first seed. A failure prints
//! its seed.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().expect(variable))
}

/// Runs a model, which takes `episode` steps with each seed.
pub(super) fn run_seeds(model: &str, episode: u64, run: impl Fn(u64)) {
    let steps = number("EVENTSOURCE_XS_STEPS", if cfg!(miri) { episode } else { 40_000 });
    let first = number("EVENTSOURCE_XS_SEED", 1);
    for seed in first..first + (steps + episode - 1) / episode {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!(
                "EVENTSOURCE_XS_SEED={seed} EVENTSOURCE_XS_STEPS=1 cargo test --no-default-features --lib {model}"
            );
            resume_unwind(panic);
        }
    }
}
