//! The hubs of an application in the reactor of this process.

use super::reactor_handle::ReactorHandle;
use super::reactor_hub::OwnHub;
use crate::hub::STEPS;
use std::sync::Arc;
use std::time::Instant;

/// The hubs of a process, each with the key that all copies of its handle share.
pub(super) struct Registrations(Vec<(u64, OwnHub)>);

impl Registrations {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns the index of a hub whose reactor runs. A dead reactor has ended the streams of its hubs.
    pub(super) fn index_of(&self, hub_key: u64) -> Option<usize> {
        self.0.iter().position(|(key, own)| *key == hub_key && !own.hub.is_dead())
    }

    /// Returns the hub at an index.
    pub(super) fn at(&mut self, index: usize) -> &mut OwnHub {
        &mut self.0[index].1
    }

    /// Applies what a reactor has reported, and does what is due for the members of its hubs: both in the order of their times,
    /// in at most [`STEPS`]. Returns false if there is more to do.
    pub(super) fn apply_presence(&mut self, reactor: &Arc<ReactorHandle>, now: Instant) -> bool {
        let mut left = STEPS;
        let mut reports = reactor.presence.take();
        while let Some(report) = reports.pop_front() {
            let of_reactor = self.0.iter_mut().map(|(_, own)| own).filter(|own| Arc::ptr_eq(&own.hub.reactor, reactor));
            if let Some(own) = of_reactor.into_iter().find(|own| own.hub.has_reported(&report)) {
                own.run_due(report.at, &mut left);
                if left == 0 {
                    reports.push_front(report);
                    break;
                }
                left -= 1;
                own.apply(report.stream, report.change, report.at); // otherwise the hub was dropped
            }
        }
        if !reports.is_empty() {
            reactor.presence.put_back(reports);
        }
        let mut due = None;
        for (_, own) in self.0.iter_mut().filter(|(_, own)| Arc::ptr_eq(&own.hub.reactor, reactor)) {
            own.run_due(now, &mut left);
            due = due.into_iter().chain(own.sequence.members.next_due()).min();
        }
        reactor.presence.set_due(due);
        left > 0
    }

    /// Adds a hub. Replaces the one that a dead reactor had. Returns its index.
    pub(super) fn insert(&mut self, hub_key: u64, own: OwnHub) -> usize {
        self.remove(hub_key);
        self.0.push((hub_key, own));
        self.0.len() - 1
    }

    /// Removes a hub, whether or not its reactor runs.
    pub(super) fn remove(&mut self, hub_key: u64) -> Option<OwnHub> {
        let index = self.0.iter().position(|(key, _)| *key == hub_key)?;
        Some(self.0.swap_remove(index).1)
    }

    /// In a child, leaks the parent's hubs instead of dropping them: a thread that does not exist here may have held the locks
    /// of their reactor.
    pub(super) fn leave_to_parent(&mut self) {
        std::mem::forget(std::mem::take(&mut self.0));
    }
}

#[cfg(all(test, not(miri)))] // a descriptor
mod tests {
    use super::*;
    use crate::hub::{MemberRequest, PresenceChange, SequencedEvent, Settings};
    use crate::log::Bounds;
    use crate::reactor::{Command, HubId};
    use crate::runtime::mailbox::PresenceReport;
    use crate::runtime::reactor_handle::Queued;
    use crate::stream::StreamId;
    use std::time::Duration;

    fn reactor() -> Arc<ReactorHandle> {
        Arc::new(ReactorHandle::new().expect("a descriptor"))
    }

    fn own_hub(reactor: &Arc<ReactorHandle>) -> OwnHub {
        let bounds = Bounds { events: 10, bytes: 1000, age: Duration::MAX };
        OwnHub::create(Arc::clone(reactor), Settings::new(bounds, bounds)).expect("random bytes")
    }

    fn report(hub: HubId, slot: u32, change: PresenceChange) -> PresenceReport {
        PresenceReport { hub, stream: StreamId { slot, serial: 1 }, at: Instant::now(), change }
    }

    fn entered(number: u32) -> PresenceChange {
        PresenceChange::Entered(Box::new(MemberRequest {
            channel: b"room"[..].into(),
            id: format!("{number:04}").into_bytes().into(),
            ..MemberRequest::default()
        }))
    }

    /// Returns the channels and keys of what was published.
    fn published(reactor: &ReactorHandle) -> Vec<String> {
        let queued = reactor.queue();
        let commands = queued.try_iter().map(|queued| match queued {
            Queued::Command(Command::Publish { event, .. }) => {
                let SequencedEvent { seq: _, channel, key, retain, .. } = *event;
                Some(format!("{} {} {retain:?}", String::from_utf8_lossy(&channel), String::from_utf8_lossy(&key)))
            }
            _ => None,
        });
        commands.flatten().collect()
    }

    #[test]
    fn many_that_come_and_go_at_once_are_announced_in_order_a_few_at_a_time() {
        let reactor = reactor();
        let mut registrations = Registrations::new();
        let own = own_hub(&reactor);
        let hub = own.hub.number;
        registrations.insert(7, own);
        assert!(published(&reactor).is_empty());
        let mut apply_all = |retain: &str| {
            let mut all = Vec::new();
            loop {
                let is_done = registrations.apply_presence(&reactor, Instant::now());
                let some = published(&reactor);
                assert!(some.len() <= 2 * STEPS);
                all.extend(some);
                if is_done {
                    break;
                }
                assert!(reactor.presence.next_due().map_or(false, |due| due <= Instant::now()));
            }
            assert_eq!(all, (0..2000).map(|number| format!("room {number:04} {retain}")).collect::<Vec<_>>());
        };
        (0..2000).for_each(|number| reactor.presence.push(report(hub, number, entered(number))));
        apply_all("Newest");
        for number in 0..2000 {
            reactor.presence.push(report(hub, number, PresenceChange::Left { is_by_application: true }));
        }
        apply_all("Forget");
    }
}
