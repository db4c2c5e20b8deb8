//! A seed means the same in each process.

use std::process::Command;

/// Runs some episodes, each in a child of a new process, and returns what was printed of them.
fn run(first: u64, count: u64) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_eventsource-xs-sim");
    let output = Command::new(program).args([first.to_string(), count.to_string()]).output().expect("the program");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter(|line| line.starts_with("seed ")).map(str::to_owned).collect()
}

#[test]
fn a_seed_has_one_trace_whatever_ran_before_and_whatever_the_environment_is() {
    std::env::set_var("UNRELATED", "x".repeat(10_000));
    let all = run(1, 6);
    assert_eq!(all.len(), 6, "{all:?}");
    std::env::remove_var("UNRELATED");
    for (line, seed) in all.iter().zip(1..) {
        assert_eq!(std::slice::from_ref(line), run(seed, 1), "another trace of seed {seed}");
    }
}
