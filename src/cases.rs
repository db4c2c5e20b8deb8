//! The number of cases that each property test tries, and the seeds of random models.

use proptest::prelude::ProptestConfig;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

/// Returns the configuration of a property test. Under Miri, which is some hundred times slower and has no file system,
/// there are few cases, and failures are not recorded.
pub(crate) fn cases() -> ProptestConfig {
    if cfg!(miri) {
        ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() }
    } else {
        ProptestConfig::default()
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().expect(variable))
}

/// Runs a random model, which takes `episode` steps with each seed, with one seed after another until it has taken that many
/// steps, or EVENTSOURCE_XS_STEPS. EVENTSOURCE_XS_SEED is the first seed. A failure prints its seed.
pub(crate) fn run_seeds(model: &str, episode: u64, steps: u64, run: impl Fn(u64)) {
    let steps = number("EVENTSOURCE_XS_STEPS", if cfg!(miri) { episode } else { steps });
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
