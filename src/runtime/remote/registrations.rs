//! The connections of this process to hub processes, and how they end with it.

use super::links::connection::Connection;
use super::place::Address;
use super::start::Start;
use super::LOSSES;
use crate::reactor::HubId;
use crate::runtime::reactor_handle::ReactorHandle;
use crate::runtime::wake::sync::lock;
use crate::wire::NamedSettings;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Where a hub process is, and how it is reached.
#[derive(Clone, Debug)]
pub struct RemoteHub {
    /// Which object of the application it is, with all of its copies.
    key: u64,
    /// Which hub it is. Its process is looked for anew for each connection.
    pub(super) address: Address,
    /// Its start, and the time that a call may take.
    pub(super) start: Start,
    /// The settings of the hub that the application names.
    pub(super) settings: NamedSettings,
}

impl RemoteHub {
    /// Creates one.
    pub fn new(address: Address, start: Start, settings: NamedSettings) -> Self {
        per_process! { static KEYS: AtomicU64 = AtomicU64::new(0); }
        Self { key: KEYS.fetch_add(1, Ordering::Relaxed), address, start, settings }
    }

    /// Returns true if both are copies of one object.
    pub(super) fn is_copy_of(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// Returns true if another object of a hub can use the same connection.
    pub(super) fn shares_with(&self, other: &Self) -> bool {
        self.address == other.address && self.settings == other.settings
    }
}

/// The connection of this process to a named hub, which is perhaps still to be made.
#[derive(Clone)]
pub(super) struct RemoteRegistration {
    pub(super) reactor: Arc<ReactorHandle>,
    /// The number that tells its streams from those of other hubs.
    pub(super) hub: HubId,
    pub(super) connection: Arc<Connection>,
}

impl RemoteRegistration {
    fn is_lost(&self) -> bool {
        self.reactor.is_dead() || self.connection.is_lost()
    }
}

/// The connections of a process, for each hub object. Objects whose place and settings are equal share a connection.
pub(crate) struct Remotes {
    used: Vec<(RemoteHub, RemoteRegistration)>,
    /// The connections that no object uses any more, but perhaps streams, and the last object of each.
    closing: Vec<(RemoteHub, RemoteRegistration)>,
}

impl Remotes {
    pub(super) const fn new() -> Self {
        Self { used: Vec::new(), closing: Vec::new() }
    }

    /// Returns the connection to a hub, unless it was lost.
    pub(super) fn get(&self, hub: &RemoteHub) -> Option<&RemoteRegistration> {
        let (_, registration) = self.used.iter().find(|(other, _)| other.is_copy_of(hub))?;
        Some(registration).filter(|registration| !registration.is_lost())
    }

    /// Returns the connection to a hub, also one that another object has made, perhaps one that is gone, unless it was lost.
    pub(super) fn get_or_share(&mut self, hub: &RemoteHub) -> Option<RemoteRegistration> {
        if let Some(registration) = self.get(hub) {
            return Some(registration.clone());
        }
        let fits = |other: &RemoteHub, registration: &RemoteRegistration| {
            let is_coming = registration.connection.is_coming();
            other.shares_with(hub)
                && !registration.is_lost()
                && (!is_coming || other.start.program == hub.start.program)
        };
        let mut fitting =
            self.used.iter().chain(&self.closing).filter(|(other, registration)| fits(other, registration));
        let (_, registration) = fitting.find(|(_, registration)| registration.connection.add_user())?.clone();
        self.closing.retain(|(_, closing)| !Arc::ptr_eq(&closing.connection, &registration.connection));
        self.insert(hub.clone(), registration.clone());
        Some(registration)
    }

    /// Returns the last connection that a hub had in a reactor. After a loss the hub keeps its number, so that a stream which
    /// this process still holds belongs to it.
    pub(super) fn last(&self, hub: &RemoteHub, reactor: &Arc<ReactorHandle>) -> Option<&RemoteRegistration> {
        let is_same = |registration: &RemoteRegistration| Arc::ptr_eq(&registration.reactor, reactor);
        let of_hub = self.used.iter().filter(|(other, registration)| other.shares_with(hub) && is_same(registration));
        of_hub.map(|(_, registration)| registration).max_by_key(|registration| registration.connection.number)
    }

    /// Adds a connection, in the place of one that was lost.
    pub(super) fn insert(&mut self, hub: RemoteHub, registration: RemoteRegistration) {
        if let Some(index) = self.used.iter().position(|(other, _)| other.is_copy_of(&hub)) {
            let (_, before) = self.used.swap_remove(index);
            if before.reactor.is_lost() {
                std::mem::forget(before); // the number of its descriptor may be that of another file
            }
        }
        self.used.push((hub, registration));
    }

    /// Removes the connection of a hub object, even if it was lost. Returns it if no other object uses it.
    pub(super) fn remove(&mut self, hub: &RemoteHub) -> Option<RemoteRegistration> {
        let index = self.used.iter().position(|(other, _)| other.is_copy_of(hub))?;
        let (hub, registration) = self.used.swap_remove(index);
        if !registration.connection.remove_user() {
            return None;
        }
        self.closing.retain(|(_, closing)| !closing.is_lost());
        self.closing.push((hub, registration.clone()));
        Some(registration)
    }

    /// Returns the connections, and how long a call with each may take.
    pub(super) fn connections(&self) -> Vec<(Arc<Connection>, Duration)> {
        let all = self.used.iter().chain(&self.closing);
        all.map(|(hub, registration)| (Arc::clone(&registration.connection), hub.start.timeout)).collect()
    }

    /// In a child, leaks all connections, as the registrations of the reactor's hubs does.
    pub(crate) fn leave_to_parent(&mut self) {
        std::mem::forget(std::mem::replace(self, Self::new()));
    }
}

per_process! {
    /// A fork takes its lock, before that of the process.
    static REMOTES: Mutex<Remotes> = Mutex::new(Remotes::new());
}

/// Locks the connections of this process.
pub(crate) fn lock_remotes() -> MutexGuard<'static, Remotes> {
    lock(&REMOTES)
}

/// As [`lock_remotes`], at the exit of the process, when waiting for a thread could be a deadlock.
pub(crate) fn try_lock_remotes() -> Option<MutexGuard<'static, Remotes>> {
    REMOTES.try_lock().ok()
}

/// Waits until hub processes have what this process has published and pushed, at most as long as a call may take: for all at
/// the same time.
pub(crate) fn wait_for_answers(reactor: &ReactorHandle, remotes: Option<MutexGuard<'static, Remotes>>) {
    let connections = remotes.map_or_else(Vec::new, |remotes| remotes.connections());
    let began = Instant::now();
    for (connection, timeout) in connections {
        if !reactor.wait(timeout.saturating_sub(began.elapsed()), || connection.is_idle() || reactor.is_dead()) {
            let events = connection.take_unanswered();
            reactor.count_lost(events as usize, 0);
            LOSSES.record(events, "the hub process did not take them before this process ended");
        }
    }
}
