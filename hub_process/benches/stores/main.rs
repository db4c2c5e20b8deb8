//! What the stores of hubs cost: publishing, delivery to another machine, recovery, reconnecting clients, and Redis' share.
//! `bench/stores` runs it; its head explains the scenarios and the columns.
//!
//! A "machine" is a hub process with a socket of its own: all are on this machine, and so are Redis, the publishers and
//! the clients.

mod deliver;
mod figures;
mod hubs;
mod publish;
mod readers;
mod recover;
mod servers;
mod storm;

use std::time::Duration;

/// Longer than any step takes, also on a slow machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// The bytes of an event's data.
const DATA_BYTES: usize = 100;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    turns: usize,
    /// `deliver`: events of a turn.
    delivered: usize,
    /// `publish`: how long each publisher publishes.
    publishing: Duration,
    /// `readers`: events that are published one by one, and at once.
    paced: usize,
    at_once: usize,
    /// `recover`: events.
    recovered: usize,
    /// `storm`: clients, and the events that each has missed.
    clients: usize,
    missed: usize,
}

const FULL: Plan = Plan {
    turns: 5,
    delivered: 1_000,
    publishing: Duration::from_secs(1),
    paced: 2_000,
    at_once: 200_000,
    recovered: 100_000,
    clients: 1_000,
    missed: 10_000,
};
const QUICK: Plan = Plan {
    turns: 1,
    delivered: 50,
    publishing: Duration::from_millis(50),
    paced: 50,
    at_once: 1_000,
    recovered: 1_000,
    clients: 10,
    missed: 100,
};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut plan = if words.iter().any(|word| word == "--quick") { QUICK } else { FULL };
    if let Some(turns) = words.iter().find_map(|word| word.strip_prefix("--turns=")) {
        plan.turns = turns.parse().expect("a number of turns");
    }
    for word in &words {
        match &word[..] {
            "deliver" => deliver::run(&plan),
            "publish" => publish::run(&plan),
            "readers" => readers::run(&plan),
            "recover" => recover::run(&plan),
            "storm" => storm::run(&plan),
            _ => {} // an option; `cargo bench` without a scenario measures nothing here
        }
    }
}
