//! A worker of an episode: its hub and its streams, in one thread.

use crate::trace::{Change, Held, Trace, FOREVER};
use eventsource_xs::remote::{Address, Hub, LeaseHandle, LeaseState, RemoteHub, Start};
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
    /// The leases that it wants, if it could ask for them, and since when it is known to hold them: an index in the trace.
    leases: BTreeMap<&'static str, (Option<LeaseHandle>, Option<usize>)>,
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
        let (streams, in_handler, leases) = Default::default();
        Self { number, address, settings, hub, streams, in_handler, leases, trace }
    }

    /// Forgets its streams and its connection, as a process that begins in the place of one that has died.
    pub fn begin_anew(&mut self) {
        self.release_all();
        self.hub = connected(&self.address, &self.settings);
    }

    pub fn release_all(&mut self) {
        self.leases.clear();
        self.streams.append(&mut self.in_handler);
        std::mem::take(&mut self.streams).into_values().for_each(|mut stream| stream.release());
    }

    /// Asks for a lease, or gives it back.
    pub fn want_lease(&mut self, name: &'static str, is_wanted: bool) {
        self.look_at_leases();
        if !is_wanted {
            drop(self.leases.remove(name));
        } else if !self.leases.contains_key(name) {
            self.leases.insert(name, (self.hub.elect(name.as_bytes(), 0).ok(), None));
        }
    }

    /// Asks anew for leases whose connection was lost, as EventSource::Hub::Lease does.
    pub fn renew_leases(&mut self) {
        self.look_at_leases();
        for (name, (handle, noted)) in &mut self.leases {
            if handle.as_ref().is_none_or(|handle| handle.state() == LeaseState::Lost) {
                (*handle, *noted) = (self.hub.elect(name.as_bytes(), 0).ok(), None);
            }
        }
    }

    /// Notes which leases it holds. A lease that was held twice was so in between.
    pub fn look_at_leases(&mut self) {
        for (name, (handle, noted)) in &mut self.leases {
            let now = Instant::now();
            let state = handle.as_ref().map(LeaseHandle::state);
            let mut trace = self.trace.lock().expect("no panic");
            match (state, *noted) {
                (Some(LeaseState::Held), None) => {
                    *noted = Some(trace.leases.len());
                    trace.leases.push(Held { worker: self.number, name, from: now, to: now, lost: None });
                }
                (Some(LeaseState::Held), Some(noted)) => trace.leases[noted].to = now,
                (Some(_), Some(noted)) => drop(trace.leases[noted].lost.get_or_insert(now)),
                _ => {}
            }
        }
    }

    /// Returns the leases that it wants, and whether it holds them.
    pub fn leases(&mut self) -> Vec<(&'static str, bool)> {
        self.renew_leases();
        let is_held = |handle: &Option<LeaseHandle>| handle.as_ref().map(LeaseHandle::state) == Some(LeaseState::Held);
        self.leases.iter().map(|(name, (handle, _))| (*name, is_held(handle))).collect()
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
