//! Connections that nobody has asked for. A hub process ends its streams when no process has been connected for a while,
//! and after its workers were replaced a site may call nothing for hours.
//!
//! A process that has made an application serves it: it connects after a while, unless it has forked. One that forks is the
//! master of a server, and its children serve; so the children of a process that serves, and that has no reactor yet, do the
//! same. What a worker forks is a job, a relay or a program: by then the worker has a reactor.

use super::registrations::RemoteHub;
use crate::runtime::generation::{fork_count, generation};
use crate::runtime::wake::sync::lock;
use crate::sys::thread;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// The time for which a process waits that may yet fork, or be a short-lived child.
const WAIT: Duration = Duration::from_secs(1);

/// The applications and hubs that a process serves.
pub(crate) struct Serving {
    serves: bool,
    /// The named hubs. Objects survive forks.
    hubs: Vec<RemoteHub>,
    /// The generation that waits or has waited.
    begun: Option<u32>,
    /// The generation that has waited for long enough, or had a request.
    connected: Option<u32>,
}

per_process! {
    /// A fork takes its lock.
    static SERVING: Mutex<Serving> = Mutex::new(Serving { serves: false, hubs: Vec::new(), begun: None, connected: None });
}

/// Locks what this process knows of its applications and hubs.
pub(crate) fn lock_serving() -> MutexGuard<'static, Serving> {
    lock(&SERVING)
}

impl Serving {
    /// Adds a hub.
    pub(super) fn add(&mut self, hub: RemoteHub) {
        self.hubs.push(hub);
        self.begin();
    }

    /// Removes a hub whose last object was dropped.
    pub(super) fn remove(&mut self, hub: &RemoteHub) {
        self.hubs.retain(|other| !other.is_copy_of(hub));
    }

    /// Called in a forked child, with whether its parent had a reactor.
    pub(crate) fn enter_child(&mut self, had_reactor: bool) {
        self.serves &= !had_reactor;
        self.begin();
    }

    /// Begins to wait, unless this process has done so, or has nothing to serve.
    fn begin(&mut self) {
        if self.serves && !self.hubs.is_empty() && self.begun != Some(generation()) {
            self.begun = Some(generation());
            let began = (generation(), fork_count());
            // Without a thread the first call connects.
            let _ = thread::spawn("eventsource-hub", move || {
                thread::sleep(WAIT);
                if (generation(), fork_count()) == began {
                    connect();
                }
            });
        }
    }

    /// Notes that this process serves. Returns true if it is to [connect] now, because it has a request to answer; otherwise
    /// it does after a while.
    pub(super) fn serve(&mut self, has_request: bool) -> bool {
        if self.connected == Some(generation()) {
            return false;
        }
        self.serves = true;
        if !has_request {
            self.begin();
        }
        has_request
    }
}

/// Connects to the hub processes that run.
pub(super) fn connect() {
    let hubs = {
        let mut serving = lock_serving();
        serving.connected = Some(generation());
        serving.hubs.clone()
    };
    // Without the lock, which a fork takes.
    hubs.iter().for_each(RemoteHub::connect_if_served);
}
