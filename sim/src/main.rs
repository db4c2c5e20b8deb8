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

#![allow(dead_code, unused_imports)] // not all of what is included is used

mod baton;
mod kernel;
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
    pub mod rest;
    pub mod rules;
    pub mod trace;
    pub mod worker;
    pub mod world;
}
use book::{arrival, client, episode, rules, trace, worker, world};

use baton::Ran;
use std::process::ExitCode;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let (first, count) = (numbers.first().copied().unwrap_or(1), numbers.get(1).copied().unwrap_or(1));
    kernel::close_inherited();
    kernel::use_one_processor();
    let began = kernel::real_time();
    let (mut steps, mut failed) = (0, Vec::new());
    for seed in first..first + count {
        let report = kernel::in_child(|| {
            let ran = simulated::run(seed, count == 1);
            print(seed, &ran);
            (ran.steps, ran.failure.is_some())
        });
        match report {
            Some((of_episode, has_failed)) => {
                steps += of_episode;
                failed.extend(has_failed.then_some(seed));
            }
            None => failed.push(seed),
        }
    }
    let took = (kernel::real_time() - began).as_secs_f64();
    println!(
        "{count} episodes, {steps} steps, {:.1} s, {:.0} steps a second; failed: {failed:?}",
        took,
        steps as f64 / took
    );
    ExitCode::from(u8::from(!failed.is_empty()))
}

fn print(seed: u64, ran: &Ran) {
    println!("seed {seed}: {} steps, {:.3} s, {:016x}", ran.steps, ran.virtual_time, ran.hash);
    if let Some(failure) = &ran.failure {
        println!("seed {seed} FAILS: {failure}");
    }
}
