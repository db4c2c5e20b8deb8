//! What a process knows of the hubs that it uses: which reactor holds each, and the hub's last sequence number.

use super::reactor_handle::ReactorHandle;
use crate::hub::Epoch;
use crate::reactor::HubId;
use std::sync::Arc;

/// One hub in the reactor of this process.
pub(super) struct HubRegistration {
    /// The reactor that holds the hub.
    pub(super) link: Arc<ReactorHandle>,
    /// The hub's number in that reactor.
    pub(super) hub: HubId,
    /// The epoch of its ids.
    pub(super) epoch: Epoch,
    /// The sequence number of the newest event.
    pub(super) last_seq: u64,
}

/// The hubs that a process uses. Each has a key, which its copies in other threads and in forked children share.
pub(super) struct Registrations(Vec<(u64, HubRegistration)>);

impl Registrations {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The index of a hub whose reactor runs. With a reactor that died its hubs have ended, and the new reactor may have
    /// given a hub's number to another.
    pub(super) fn position(&self, key: u64) -> Option<usize> {
        self.0.iter().position(|(of, registration)| *of == key && !registration.link.is_dead())
    }

    /// The registration at an index.
    pub(super) fn at(&mut self, index: usize) -> &mut HubRegistration {
        &mut self.0[index].1
    }

    /// Adds a hub in place of an earlier registration of it. Returns its index.
    pub(super) fn insert(&mut self, key: u64, registration: HubRegistration) -> usize {
        self.remove(key);
        self.0.push((key, registration));
        self.0.len() - 1
    }

    /// Removes a hub, whether or not its reactor runs.
    pub(super) fn remove(&mut self, key: u64) -> Option<HubRegistration> {
        let index = self.0.iter().position(|(of, _)| *of == key)?;
        Some(self.0.swap_remove(index).1)
    }

    /// Leaves the hubs of the parent process alone: in a child their locks may be held by a thread that does not exist.
    pub(super) fn leave_to_parent(&mut self) {
        std::mem::forget(std::mem::take(&mut self.0));
    }
}
