//! A worker of an episode: its hub and its streams, in one thread.

use crate::trace::{Change, Trace, FOREVER};
use eventsource_xs::remote::{Address, Hub, RemoteHub, Start};
use eventsource_xs::runtime::StreamHandle;
use eventsource_xs::wire::{Call, HubSettings};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a call of a worker may take, also while no process serves the hub.
const CALL: Duration = Duration::from_millis(400);

/// A worker: its hub and its streams, in one thread.
pub struct Worker {
    pub number: usize,
    address: Address,
    settings: HubSettings,
    pub hub: Hub,
    pub streams: BTreeMap<u64, StreamHandle>,
    /// The streams whose handlers have not returned.
    pub in_handler: BTreeMap<u64, StreamHandle>,
    pub trace: Arc<Mutex<Trace>>,
}

/// Returns the hub as a worker uses it, which does not start the process.
fn connected(address: &Address, settings: &HubSettings) -> Hub {
    let start = Start { program: None, needs_settings: false, timeout: CALL };
    Hub::named(RemoteHub::new(address.clone(), start, settings.clone().into())).expect("memory")
}

impl Worker {
    pub fn new(number: usize, address: Address, settings: HubSettings, trace: Arc<Mutex<Trace>>) -> Self {
        let hub = connected(&address, &settings);
        Self { number, address, settings, hub, streams: BTreeMap::new(), in_handler: BTreeMap::new(), trace }
    }

    /// Forgets its streams and its connection, as a process that begins in the place of one that has died.
    pub fn begin_anew(&mut self) {
        self.release_all();
        self.hub = connected(&self.address, &self.settings);
    }

    pub fn release_all(&mut self) {
        self.streams.append(&mut self.in_handler);
        std::mem::take(&mut self.streams).into_values().for_each(|mut stream| stream.release());
    }

    /// Notes something in the trace.
    pub fn note<T>(&self, note: impl FnOnce(&mut Trace) -> T) -> T {
        note(&mut self.trace.lock().expect("no panic"))
    }

    /// Notes that a change begins. Until it ends, or if the worker is killed meanwhile, nobody knows when it happens.
    pub fn begin_change(&self, from: Instant, change: Change) -> usize {
        self.note(|trace| {
            trace.changes.push((from, from + FOREVER, change));
            trace.changes.len() - 1
        })
    }

    /// Notes that a change has happened.
    pub fn end_change(&self, at: usize) {
        self.note(|trace| trace.changes[at].1 = Instant::now());
    }

    /// Lets all handlers return.
    pub fn return_from_handlers(&mut self) {
        for (number, stream) in &mut self.in_handler {
            stream.leave_handler();
            let mut trace = self.trace.lock().expect("no panic");
            trace.streams.get_mut(number).expect("a stream").began = Some(Instant::now());
        }
        self.streams.append(&mut self.in_handler);
    }

    /// Asks for a place of a limit; if none is allowed, gives one back. A hub that does not answer lets the stream begin.
    pub fn reserve(&self, limit: &str, most: usize, asked_at: u64) -> bool {
        let reply = self.hub.call(Call::Reserve { label: limit.as_bytes().into(), most, asked_at });
        reply.and_then(|reply| reply.number()).map_or(true, |number| number > 0)
    }
}

/// Something that a worker does.
pub type Act = Box<dyn FnOnce(&mut Worker) + Send>;
