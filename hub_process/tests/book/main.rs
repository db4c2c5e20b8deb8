//! The book: a simulation of the whole over the real hub process. An episode draws operations of all capabilities. The process
//! is killed, stopped and upgraded in their midst, and the episode writes a trace. The rules of the manuals judge the trace.
//!
//! `EVENTSOURCE_XS_SEED=7 EVENTSOURCE_XS_STEPS=20 cargo test --test book` runs 20 episodes from seed 7 on. The processes are
//! real, so a seed draws the same operations, but the kernel may let them happen in another order.
//!
//! - To read a failure, begin with the lines `BROKEN rule` at its end. They name the rule and the stream or the client. Search
//!   for that number in the trace above, which has everything that happened in the order of time.
//! - To add a rule, write a function in `rules` that cites the manual, call it in `judge`, and add a lie that it finds to
//!   `lies`.
//! - To add an operation, add its name and its weights to `plan`, and a method to `episode`. A worker's part runs in the thread
//!   of the worker, which notes in the trace what the application was told.
//! - To let an episode do something new to the process or to the wires, add a function to the trait in `world`. `processes`
//!   does it to real processes.
//! - To add a change of the process, such as an upgrade, add a kind of `Change` to `trace`, and ask in each rule what it
//!   excuses.

mod arrival;
mod client;
mod episode;
mod lies;
mod plan;
mod processes;
mod rest;
mod rules;
#[path = "../support/mod.rs"]
mod support;
mod trace;
mod worker;
mod world;

use episode::Episode;
use processes::Processes;
use support::number;

#[test]
fn the_rules_of_the_manuals_hold_whatever_happens_to_the_process() {
    let first = number("EVENTSOURCE_XS_SEED", 1);
    for seed in first..first + number("EVENTSOURCE_XS_STEPS", 12) {
        println!("EVENTSOURCE_XS_SEED={seed}");
        let mut episode = Episode::new(seed, Episode::decisions(seed), Processes::begin);
        episode.run();
        episode.rest();
        episode.judge(seed);
        if seed % 3 == 0 {
            episode.drain();
            episode.judge(seed);
        }
    }
}
