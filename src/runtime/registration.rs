//! The hubs in the reactor of a process: the reactor of each, and the sequence number of its last event.

use super::reactor_handle::ReactorHandle;
use crate::hub::{Epoch, OnceKeys, StateSizes};
use crate::reactor::HubId;
use std::sync::Arc;

/// One hub in the reactor of this process.
pub(super) struct HubRegistration {
    pub(super) reactor: Arc<ReactorHandle>,
    /// The hub's number in the reactor.
    pub(super) hub: HubId,
    pub(super) epoch: Epoch,
    /// The sequence number of the last event.
    pub(super) last_seq: u64,
    /// The keys of events that are published once.
    pub(super) once: OnceKeys,
    /// The sizes of what is retained. Of stored events the hub's store has them.
    pub(super) state: StateSizes,
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
