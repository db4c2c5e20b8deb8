//! The leases: of all workers that ask for the same name, one holds the lease, and the others wait in their order
//! until it resigns or its connection ends. The kernel ends the connection of a dead worker, so no timeout decides whether a
//! holder is alive.

use eventsource_xs::runtime::HandoverFile;
use eventsource_xs::wire::{Failure, Handover, MAX_LEASE_NAME_BYTES};
use eventsource_xs::ErrorCode;
use std::collections::{HashMap, VecDeque};

/// The most leases that one worker may hold or wait for.
const MAX_OF_PEER: usize = 256;

/// A worker that has asked for a lease: its token, and the number that it has given the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub peer: u64,
    pub lease: u64,
}

/// The leases by name.
#[derive(Debug, Default)]
pub struct Leases {
    /// The first candidate of each queue holds the lease. No queue is empty.
    queues: HashMap<Box<[u8]>, VecDeque<Candidate>>,
}

impl Leases {
    /// Adds a candidate, who is new. Returns whether it holds the lease.
    pub fn elect(&mut self, candidate: Candidate, name: &[u8]) -> Result<bool, Failure> {
        if name.is_empty() || name.len() > MAX_LEASE_NAME_BYTES {
            let message = format!("the name of a lease has 1 to {MAX_LEASE_NAME_BYTES} bytes");
            return Err(Failure::new(ErrorCode::Invalid, Some("lease"), &message));
        }
        if self.of(candidate.peer).count() >= MAX_OF_PEER {
            let message = format!("a worker may ask for at most {MAX_OF_PEER} leases");
            return Err(Failure::new(ErrorCode::Unavailable, Some("lease"), &message));
        }
        let queue = self.queues.entry(name.into()).or_default();
        queue.push_back(candidate);
        Ok(queue.len() == 1)
    }

    /// Returns the candidates of a worker. There are few leases, and hardly ever does one change.
    fn of(&self, peer: u64) -> impl Iterator<Item = Candidate> + '_ {
        self.queues.values().flatten().copied().filter(move |candidate| candidate.peer == peer)
    }

    /// Hands all candidates over, those of each lease in their order.
    pub fn hand_over(&self, file: &mut HandoverFile) {
        for (name, queue) in &self.queues {
            queue.iter().for_each(|Candidate { peer, lease }| {
                file.add(&Handover::Lease { peer: *peer, lease: *lease, name });
            });
        }
    }

    /// Returns the worker that holds a lease.
    pub fn holder(&self, name: &[u8]) -> Option<u64> {
        self.queues.get(name)?.front().map(|candidate| candidate.peer)
    }

    /// Returns true if a worker has asked for a lease with that number.
    pub fn contains(&self, candidate: Candidate) -> bool {
        self.of(candidate.peer).any(|other| other == candidate)
    }

    /// Removes a candidate. Returns the one that gets its lease.
    pub fn resign(&mut self, candidate: Candidate) -> Option<Candidate> {
        let queue = self.queues.values_mut().find(|queue| queue.contains(&candidate))?;
        let was_holder = queue.front() == Some(&candidate);
        queue.retain(|other| *other != candidate);
        let next = queue.front().copied();
        self.queues.retain(|_, queue| !queue.is_empty());
        next.filter(|_| was_holder)
    }

    /// Removes all candidates of a worker. Returns those of other workers that get its leases.
    pub fn resign_all(&mut self, peer: u64) -> Vec<Candidate> {
        let own: Vec<Candidate> = self.of(peer).collect();
        let mut next: Vec<Candidate> = own.into_iter().filter_map(|candidate| self.resign(candidate)).collect();
        next.retain(|candidate| candidate.peer != peer);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(peer: u64, lease: u64) -> Candidate {
        Candidate { peer, lease }
    }

    #[test]
    fn the_next_in_the_queue_gets_the_lease_when_its_holder_resigns_or_leaves() {
        let mut leases = Leases::default();
        let [first, second, third] = [candidate(1, 1), candidate(2, 1), candidate(3, 9)];
        assert_eq!(leases.elect(first, b"a"), Ok(true));
        assert_eq!(leases.elect(second, b"a"), Ok(false));
        assert_eq!(leases.elect(third, b"a"), Ok(false));
        assert_eq!(leases.elect(candidate(3, 10), b"b"), Ok(true));
        assert_eq!((leases.holder(b"a"), leases.holder(b"c")), (Some(1), None));
        assert_eq!(leases.resign(second), None); // it has only waited
        assert_eq!(leases.resign_all(1), [third]);
        assert_eq!(leases.elect(second, b"a"), Ok(false));
        assert_eq!(leases.resign(third), Some(second));
        assert_eq!(leases.resign_all(3), []);
        assert_eq!(leases.resign(second), None);
        assert!(leases.queues.is_empty());
    }

    #[test]
    fn a_worker_that_leaves_gets_none_of_its_own_leases() {
        let mut leases = Leases::default();
        for lease in 1..4 {
            assert_eq!(leases.elect(candidate(1, lease), b"a"), Ok(lease == 1));
        }
        assert_eq!(leases.elect(candidate(2, 1), b"a"), Ok(false));
        assert_eq!(leases.resign_all(1), [candidate(2, 1)]);
    }

    #[test]
    fn a_name_without_or_with_too_many_bytes_and_too_many_leases_are_refused() {
        let mut leases = Leases::default();
        for name in [&b""[..], &[b'x'; MAX_LEASE_NAME_BYTES + 1]] {
            let failure = leases.elect(candidate(1, 1), name).expect_err("no name");
            assert_eq!(failure.code, ErrorCode::Invalid);
        }
        for lease in 0..MAX_OF_PEER as u64 {
            assert!(leases.elect(candidate(1, lease), b"a").is_ok());
        }
        let failure = leases.elect(candidate(1, 1 << 20), b"a").expect_err("too many");
        assert_eq!(failure.code, ErrorCode::Unavailable);
        assert!(leases.elect(candidate(2, 1), b"a").is_ok());
    }
}
