//! The whole hub in one process, in which a seed decides everything: which thread runs next, how many bytes pass a wire, the
//! time, and what is random. Workers and hub processes are the real code over real sockets; the operations, the clients and the
//! rules are those of `hub_process/tests/book`.
//!
//! `script/sim SEED COUNT` runs episodes. Each prints its seed, its steps, the virtual time, and the hash of what has happened,
//! which is the same in each run. A child of this process runs an episode, so that nothing is left for the next one.
//!
//! - `kernel`: the clocks, the process's number and random bytes, as the C library would tell them; all `unsafe` code
//! - `baton`: which thread runs; processes, their statics, their end, `exec`
//! - `wires`: the connections between workers and the hub
//! - `simulated`: the world of the book
//! - `report`: what the child of an episode says
//! - `kept`: an episode as a list of numbers, which is shrunk and kept

#![allow(dead_code, unused_imports)] // not all of what is included is used

mod baton;
mod kept;
mod kernel;
mod report;
mod simulated;
mod support;
mod wires;

/// The modules of eventsource-hub, beside its `main`.
#[path = "../../hub_process/src"]
mod program {
    pub mod arguments;
    pub mod commands;
    pub mod http;
    pub mod ids_ahead;
    pub mod inherited;
    pub mod leases;
    pub mod lifetime;
    pub mod listening;
    pub mod log_pauses;
    pub mod new_program;
    pub mod operator_log;
    pub mod peers;
    pub mod process_log;
    pub mod protocol;
    pub mod read_channels;
    pub mod served_hub;
    pub mod server;
    pub mod settings;
    pub mod store;
    pub mod stored_hub;
    pub mod streams;
}

// They name each other by `crate::`.
use program::{
    arguments, http, ids_ahead, inherited, leases, lifetime, listening, log_pauses, new_program, operator_log, peers,
    process_log, protocol, read_channels, served_hub, server, settings, store, stored_hub, streams,
};

/// The book, beside its world of real processes.
#[path = "../../hub_process/tests/book"]
mod book {
    pub mod arrival;
    pub mod client;
    pub mod episode;
    pub mod plan;
    pub mod rest;
    pub mod rules;
    pub mod trace;
    pub mod worker;
    pub mod world;
}
use book::{arrival, client, episode, plan, rules, trace, worker, world};

use kept::Kept;
use report::Report;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    kernel::close_inherited();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).map_or(Ok(1), |word| word.parse());
    match (words.first().map_or("", |word| word), number(0), number(1)) {
        ("episode", ..) => run_kept(&words[1..]),
        (_, Ok(seed), Ok(1)) => run_one(seed),
        (_, Ok(first), Ok(count)) => run_many(first, count),
        _ => {
            eprintln!("sim [SEED [COUNT]], or sim episode FILE...");
            ExitCode::from(2)
        }
    }
}

/// Runs an episode, and prints what happens.
fn run_one(seed: u64) -> ExitCode {
    let ran = Report::of(Kept::of_seed(seed).begin(true, 0));
    ran.print(seed);
    ExitCode::from(u8::from(ran.why().is_some()))
}

/// Runs the episodes of some seeds. Those that fail are shrunk, one for each reason.
fn run_many(first: u64, count: u64) -> ExitCode {
    let began = kernel::real_time();
    let processors = kernel::processors();
    let mut running = VecDeque::new();
    let (mut steps, mut failed, mut crossings) = (0, BTreeMap::<String, u64>::new(), BTreeMap::new());
    for seed in first..first + count + processors as u64 {
        if seed < first + count {
            running.push_back((seed, Kept::of_seed(seed).begin(false, seed as usize % processors)));
        }
        if running.len() >= processors || seed >= first + count {
            let Some((seed, child)) = running.pop_front() else { continue };
            let report = Report::of(child);
            report.print(seed);
            steps += report.steps;
            report.add_crossings(&mut crossings);
            if let Some(why) = report.why() {
                failed.entry(why).or_insert(seed);
            }
        }
    }
    print_matrix(&crossings);
    let took = (kernel::real_time() - began).as_secs_f64();
    println!("{count} episodes, {steps} steps, {took:.1} s, {:.0} steps a second", steps as f64 / took);
    for (why, seed) in &failed {
        println!("seed {seed} breaks {why}; shrunk:");
        println!("{}", kept::shrink(Kept::of_seed(*seed), why));
    }
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// Runs episodes that were kept. None may fail.
fn run_kept(files: &[String]) -> ExitCode {
    let mut has_failed = false;
    for file in files {
        let kept = Kept::read(Path::new(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let report = Report::of(kept.begin(files.len() == 1, 0));
        println!("{file}: {} steps, {}", report.steps, report.why().unwrap_or_else(|| "no rule is broken".into()));
        has_failed |= report.why().is_some();
    }
    ExitCode::from(u8::from(has_failed))
}

/// Prints how often each operation met each phase of a disruption.
fn print_matrix(crossings: &BTreeMap<(String, String), u64>) {
    let phases: BTreeSet<&String> = crossings.keys().map(|(_, phase)| phase).collect();
    let operations: BTreeSet<&String> = crossings.keys().map(|(operation, _)| operation).collect();
    println!("{:12}{}", "", phases.iter().map(|phase| format!("{phase:>8}")).collect::<String>());
    for operation in operations {
        let count = |phase: &&String| crossings.get(&(operation.clone(), (*phase).clone())).copied().unwrap_or(0);
        println!("{operation:12}{}", phases.iter().map(|phase| format!("{:8}", count(phase))).collect::<String>());
    }
}
