//! The hubs that a process uses: the reactor of each, and the sequence number of its last event.

use super::connection::Connection;
use super::reactor_handle::ReactorHandle;
use super::remote_hub::RemoteHub;
use crate::hub::{Epoch, OnceKeys};
use crate::reactor::HubId;
use std::sync::Arc;
use std::time::Duration;

/// One hub in the reactor of this process.
pub(super) struct HubRegistration {
    pub(super) reactor: Arc<ReactorHandle>,
    /// The hub's number in the reactor.
    pub(super) hub: HubId,
    pub(super) epoch: Epoch,
    /// The sequence number of the last event.
    pub(super) last_seq: u64,
    /// The sequence number of the last event that was stored; 0 if there was none.
    pub(super) last_stored: u64,
    /// The keys of events that are published once.
    pub(super) once: OnceKeys,
}

/// The connection of this process to a hub in a process of its own, which is perhaps still to be made.
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

/// The connections of a process, for each hub object: with the key that all of its copies share, and with its place and
/// settings. Objects for which these are equal share a connection.
pub(super) struct Remotes {
    used: Vec<(u64, RemoteHub, RemoteRegistration)>,
    /// The connections that no object uses any more, but perhaps streams: how long the end of the process waits for each.
    closing: Vec<(Arc<Connection>, Duration)>,
}

impl Remotes {
    pub(super) const fn new() -> Self {
        Self { used: Vec::new(), closing: Vec::new() }
    }

    /// Returns the connection to a hub, unless it was lost.
    pub(super) fn get(&self, hub_key: u64) -> Option<&RemoteRegistration> {
        let (.., registration) = self.used.iter().find(|(key, ..)| *key == hub_key)?;
        Some(registration).filter(|registration| !registration.is_lost())
    }

    /// Returns the connection to a hub, also one that another object has made, unless it was lost.
    pub(super) fn get_or_share(&mut self, hub_key: u64, hub: &RemoteHub) -> Option<RemoteRegistration> {
        if let Some(registration) = self.get(hub_key) {
            return Some(registration.clone());
        }
        let fits = |other: &RemoteHub, registration: &RemoteRegistration| {
            let is_coming = registration.connection.is_coming();
            other.shares_with(hub)
                && !registration.is_lost()
                && (!is_coming || other.start.program == hub.start.program)
        };
        let found = self.used.iter().find(|(_, other, registration)| fits(other, registration));
        let registration = found.map(|(.., registration)| registration.clone())?;
        self.insert(hub_key, hub.clone(), registration.clone());
        Some(registration)
    }

    /// Returns the last connection that a hub had in a reactor. After a loss the hub keeps its number, so that a stream which
    /// this process still holds belongs to it.
    pub(super) fn last(&self, hub: &RemoteHub, reactor: &Arc<ReactorHandle>) -> Option<&RemoteRegistration> {
        let is_same = |registration: &RemoteRegistration| Arc::ptr_eq(&registration.reactor, reactor);
        let of_hub =
            self.used.iter().filter(|(_, other, registration)| other.shares_with(hub) && is_same(registration));
        of_hub.map(|(.., registration)| registration).max_by_key(|registration| registration.connection.number)
    }

    /// Adds a connection, in the place of one that was lost.
    pub(super) fn insert(&mut self, hub_key: u64, hub: RemoteHub, registration: RemoteRegistration) {
        self.used.retain(|(key, ..)| *key != hub_key);
        self.used.push((hub_key, hub, registration));
    }

    /// Removes the connection of a hub object, even if it was lost. Returns it if no other object uses it.
    pub(super) fn remove(&mut self, hub_key: u64) -> Option<RemoteRegistration> {
        let index = self.used.iter().position(|(key, ..)| *key == hub_key)?;
        let (_, hub, registration) = self.used.swap_remove(index);
        let is_same = |other: &RemoteRegistration| Arc::ptr_eq(&other.connection, &registration.connection);
        if self.used.iter().any(|(.., other)| is_same(other)) {
            return None;
        }
        self.closing.retain(|(connection, _)| !connection.is_lost());
        self.closing.push((Arc::clone(&registration.connection), hub.start.timeout));
        Some(registration)
    }

    /// Returns the connections, and how long a call with each may take.
    pub(super) fn connections(&self) -> Vec<(Arc<Connection>, Duration)> {
        let used = self.used.iter();
        let used = used.map(|(_, hub, registration)| (Arc::clone(&registration.connection), hub.start.timeout));
        used.chain(self.closing.iter().map(|(connection, timeout)| (Arc::clone(connection), *timeout))).collect()
    }

    /// In a child, closes its copies of the sockets, and leaks the rest, as [`Registrations::leave_to_parent`] does.
    pub(super) fn leave_to_parent(&mut self) {
        let left = std::mem::replace(self, Self::new());
        left.used.iter().for_each(|(.., registration)| registration.connection.close_copy());
        left.closing.iter().for_each(|(connection, _)| connection.close_copy());
        std::mem::forget(left);
    }
}

/// The registrations of a process, each with the key that all copies of a hub share.
pub(super) struct Registrations(Vec<(u64, HubRegistration)>);

impl Registrations {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns the index of a hub whose reactor runs. A dead reactor has ended the streams of its hubs.
    pub(super) fn index_of(&self, hub_key: u64) -> Option<usize> {
        self.0.iter().position(|(key, registration)| *key == hub_key && !registration.reactor.is_dead())
    }

    /// Returns the registration at an index.
    pub(super) fn at(&mut self, index: usize) -> &mut HubRegistration {
        &mut self.0[index].1
    }

    /// Adds a hub. Replaces its registration with a dead reactor. Returns its index.
    pub(super) fn insert(&mut self, hub_key: u64, registration: HubRegistration) -> usize {
        self.remove(hub_key);
        self.0.push((hub_key, registration));
        self.0.len() - 1
    }

    /// Removes a hub, whether or not its reactor runs.
    pub(super) fn remove(&mut self, hub_key: u64) -> Option<HubRegistration> {
        let index = self.0.iter().position(|(key, _)| *key == hub_key)?;
        Some(self.0.swap_remove(index).1)
    }

    /// In a child, leaks the parent's registrations instead of dropping them: a thread that does not exist here may have
    /// held the locks of their reactor.
    pub(super) fn leave_to_parent(&mut self) {
        std::mem::forget(std::mem::take(&mut self.0));
    }
}
