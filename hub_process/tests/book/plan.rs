//! What an episode draws from: some operations and one or two disruptions, so that they meet often. Each number of an episode
//! draws one of them with its arguments, all of which are modulo what exists. So any part of an episode is an episode.

use fastrand::Rng;

/// An operation of workers or clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Publish,
    UpdateMember,
    Push,
    Connect,
    Leave,
    /// A worker forgets a stream, as a handler does that returns.
    Release,
    Close,
    /// Ends the streams of a label, a channel or a pattern.
    End,
    WantLease,
    Cut,
    Pieces,
    KillWorker,
    /// All handlers of a worker return.
    Return,
}

/// Something that happens to the hub process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disruption {
    Kill,
    Stop,
    Upgrade,
    ChangeProtocol,
}

/// The operations with their weights in each episode, and in one that has drawn them.
const OPERATIONS: [(Operation, u32, u32); 13] = [
    (Operation::Publish, 20, 40),
    (Operation::UpdateMember, 0, 10),
    (Operation::Push, 1, 20),
    (Operation::Connect, 15, 25),
    (Operation::Leave, 8, 15),
    (Operation::Release, 1, 10),
    (Operation::Close, 0, 6),
    (Operation::End, 0, 6),
    (Operation::WantLease, 0, 6),
    (Operation::Cut, 0, 3),
    (Operation::Pieces, 0, 3),
    (Operation::KillWorker, 0, 3),
    (Operation::Return, 3, 10),
];

const DISRUPTIONS: [Disruption; 10] = [
    Disruption::Upgrade,
    Disruption::Upgrade,
    Disruption::Upgrade,
    Disruption::Upgrade,
    Disruption::Upgrade,
    Disruption::Upgrade,
    Disruption::Kill,
    Disruption::Kill,
    Disruption::Stop,
    Disruption::ChangeProtocol,
];

/// One of so many numbers is a disruption.
const DISRUPTS: u32 = 40;

/// The weights of an episode.
#[derive(Debug)]
pub struct Plan {
    operations: Vec<(Operation, u32)>,
    disruptions: Vec<Disruption>,
}

impl Plan {
    /// Draws two to four operations and one or two disruptions; in each tenth episode, all.
    pub fn draw(rng: &mut Rng) -> Self {
        let has_all = rng.u8(..10) == 0;
        let drawn = rng.choose_multiple(OPERATIONS, 2 + rng.clone().usize(..3));
        let is_drawn = |operation| has_all || drawn.iter().any(|(other, ..)| *other == operation);
        let weights = OPERATIONS.into_iter();
        let operations =
            weights.map(|(operation, least, most)| (operation, if is_drawn(operation) { most } else { least }));
        let operations = operations.collect();
        let count = if has_all { DISRUPTIONS.len() } else { 1 + rng.usize(..2) };
        Self { operations, disruptions: rng.choose_multiple(DISRUPTIONS, count) }
    }

    /// Draws a disruption; mostly nothing.
    pub fn disruption(&self, rng: &mut Rng) -> Option<Disruption> {
        (rng.u32(..DISRUPTS) == 0).then(|| *rng.choice(&self.disruptions).expect("one"))
    }

    pub fn operation(&self, rng: &mut Rng) -> Operation {
        let sum: u32 = self.operations.iter().map(|(_, weight)| weight).sum();
        let mut at = rng.u32(..sum);
        let is_it = |(_, weight): &&(Operation, u32)| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it
        };
        self.operations.iter().find(is_it).expect("a weight").0
    }
}
