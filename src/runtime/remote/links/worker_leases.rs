//! The leases of a worker: of all workers that ask a hub process for the same name, one holds the lease.
//!
//! The hub process answers a request at once, and again when the worker gets the lease later. An interpreter learns of each
//! change as it learns of the ends of streams: its queue of ends gets one, of a stream that does not exist.

use crate::reactor::StreamId;
use crate::runtime::wake::end_queue::EndQueues;
use crate::runtime::wake::sync::lock;
use crate::stream::Reason;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

/// The entry for a lease in the queue of ends. No stream has the serial number 0.
const NO_STREAM: StreamId = StreamId { slot: 0, serial: 0 };

/// A worker's record of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Another worker holds it.
    Waiting = 0,
    /// This worker holds it.
    Held = 1,
    /// The connection to the hub process was lost, or it belongs to the parent of this process: ask anew.
    Lost = 2,
}

/// A lease, as the event loop and its owner share it.
#[derive(Debug)]
pub(crate) struct Lease {
    state: AtomicU8,
    interpreter: u32,
    ends: Arc<EndQueues>,
}

impl Lease {
    pub(crate) fn new(interpreter: u32, ends: Arc<EndQueues>) -> Self {
        Self { state: AtomicU8::new(LeaseState::Waiting as u8), interpreter, ends }
    }

    pub(crate) fn state(&self) -> LeaseState {
        match self.state.load(Ordering::Acquire) {
            0 => LeaseState::Waiting,
            1 => LeaseState::Held,
            _ => LeaseState::Lost,
        }
    }

    fn change(&self, state: LeaseState) {
        if self.state.swap(state as u8, Ordering::AcqRel) != state as u8 {
            self.ends.push(self.interpreter, NO_STREAM, Reason::Application);
        }
    }
}

/// The leases of a connection, by the numbers of their requests.
#[derive(Debug, Default)]
pub(crate) struct WorkerLeases(Mutex<HashMap<u64, Arc<Lease>>>);

impl WorkerLeases {
    pub(crate) fn insert(&self, number: u64, lease: Arc<Lease>) {
        lock(&self.0).insert(number, lease);
    }

    pub(crate) fn remove(&self, number: u64) {
        lock(&self.0).remove(&number);
    }

    /// Called with each response of the hub process.
    pub(crate) fn answer(&self, number: u64, is_held: bool) {
        if let Some(lease) = lock(&self.0).get(&number) {
            lease.change(if is_held { LeaseState::Held } else { LeaseState::Waiting });
        }
    }

    /// Called when the connection is lost.
    pub(crate) fn lose(&self) {
        for (_, lease) in lock(&self.0).drain() {
            lease.change(LeaseState::Lost);
        }
    }
}
