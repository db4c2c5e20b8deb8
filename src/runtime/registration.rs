//! The hubs in the reactor of a process: the reactor of each, and the sequence number of its last event.

use super::mailbox::Mail;
use super::presence::{PresenceChange, PresenceReport};
use super::reactor_handle::ReactorHandle;
use crate::event::{Shared, Unsequenced};
use crate::hub::{
    Announcement, Epoch, Full, MemberData, Members, OnceKeys, Retain, Retention, SequencedEvent, StateSizes, Statement,
};
use crate::reactor::{Command, HubId};
use crate::ticket::TicketKeys;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

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
    /// How much may be.
    pub(super) retention: Retention,
    /// The members. None if a store gives the sequence numbers: then the hub's owner has them.
    pub(super) members: Option<Members>,
    /// The keys of tickets.
    pub(super) tickets: TicketKeys,
}

/// How many reports, and leaves and numbers that are due, are handled while the lock of the process is held.
const STEPS: usize = 256;

/// More bytes than the id of an event has, with its line.
const ID_LINE_BYTES: usize = 72;

/// Checks whether an announced event can be retained.
pub(super) fn check_room(state: &StateSizes, retention: &Retention, announced: &Announcement) -> Result<(), Full> {
    let Announcement { channel, key, event, .. } = announced;
    state.check(channel, key, key.len() + event.bytes().len() + ID_LINE_BYTES, retention)
}

/// Returns the time of the system's clock in milliseconds since 1970.
fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl HubRegistration {
    /// Gives an event the next sequence number, which its id has already, and returns the command that publishes it.
    pub(super) fn publish_command(
        &mut self,
        (channel, key, retain): (Box<[u8]>, Box<[u8]>, Retain),
        event: Shared,
        id: Option<Box<[u8]>>,
    ) -> Command {
        self.last_seq += 1;
        let event = Box::new(SequencedEvent { seq: self.last_seq, channel, event, key, retain, id });
        Command::Publish { hub: self.hub, event }
    }

    /// Applies a report of the reactor to the members, or leaves it to the hub's owner.
    pub(super) fn apply(&mut self, report: PresenceReport) {
        let Self { members, state, retention, reactor, .. } = self;
        let members = match members {
            Some(members) => members,
            None => return reactor.mailbox.push(Mail::Presence(report)),
        };
        let (mut out, PresenceReport { stream, at, change, .. }) = (Vec::new(), report);
        match change {
            PresenceChange::Entered(member) => {
                let fits = |announced: &Announcement| check_room(state, retention, announced);
                let most = retention.max_members;
                members.enter_stream(stream, *member, (most, &fits), (at, wall_clock()), &mut out);
            }
            PresenceChange::Willed(will) => members.set_will(stream, will),
            PresenceChange::Away => members.end_away(stream, at, &mut out),
            PresenceChange::Left { is_by_application } => members.end_stream(stream, is_by_application, at, &mut out),
        }
        self.announce(out);
    }

    /// Returns true if the hub itself retains an event with this key, of a member.
    pub(super) fn has_member_event(&self, channel: &[u8], key: &[u8]) -> bool {
        self.members.as_ref().map_or(false, |members| members.has_event(channel, key))
    }

    /// Does what is due for the members, in at most `left` steps, which it counts down.
    pub(super) fn run_due(&mut self, now: Instant, left: &mut usize) {
        let mut out = Vec::new();
        self.members.iter_mut().for_each(|members| members.run_due(now, left, &mut out));
        self.announce(out);
    }

    /// Changes the data of a member. Returns false if it is not here. Fails with [`Full`] if its event does not fit.
    pub(super) fn update_member(
        &mut self,
        channel: &[u8],
        id: &[u8],
        data: MemberData,
        event: Unsequenced,
    ) -> Result<bool, Full> {
        let mut out = Vec::new();
        let Self { members, state, retention, .. } = self;
        let fits = |announced: &Announcement| check_room(state, retention, announced);
        let is_here = match members {
            Some(members) => members.update_member(channel, id, data, event, &fits, &mut out)?,
            None => false,
        };
        self.announce(out);
        Ok(is_here)
    }

    /// Publishes events of members and wills. A will does not change what is retained of a member who is here: it is sent. One
    /// that does not fit, which only a will or a growing number can be, is sent, and its key forgotten.
    fn announce(&mut self, announced: Vec<Announcement>) {
        for mut announced in announced {
            if announced.statement == Statement::Nothing && self.has_member_event(&announced.channel, &announced.key) {
                announced.retain = Retain::No;
            }
            let Announcement { channel, key, retain, event, .. } = announced;
            let event = event.with_id(&self.epoch.event_id(self.last_seq + 1));
            let counted = self.state.change(&channel, &key, (retain, event.len()), &self.retention);
            let retain = match counted {
                Ok(()) => retain,
                Err(Full { .. }) => {
                    let _ = self.state.change(&channel, &key, (Retain::Forget, 0), &self.retention); // never full
                    Retain::Forget // what is retained of the key is older
                }
            };
            let command = self.publish_command((channel, key, retain), event, None);
            self.reactor.publish_at_once(command);
        }
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

    /// Applies what a reactor has reported, and does what is due for the members of its hubs: both in the order of their times,
    /// in at most [`STEPS`]. Returns false if there is more to do.
    pub(super) fn apply_presence(&mut self, reactor: &Arc<ReactorHandle>, now: Instant) -> bool {
        let mut left = STEPS;
        let mut reports = reactor.presence.take();
        while let Some(report) = reports.pop_front() {
            let of_reactor = self.0.iter_mut().map(|(_, hub)| hub).filter(|hub| Arc::ptr_eq(&hub.reactor, reactor));
            if let Some(hub) = of_reactor.into_iter().find(|hub| hub.hub == report.hub) {
                hub.run_due(report.at, &mut left);
                if left == 0 {
                    reports.push_front(report);
                    break;
                }
                left -= 1;
                hub.apply(report); // otherwise the hub was dropped
            }
        }
        if !reports.is_empty() {
            reactor.presence.put_back(reports);
        }
        let mut due = None;
        for (_, hub) in self.0.iter_mut().filter(|(_, hub)| Arc::ptr_eq(&hub.reactor, reactor)) {
            hub.run_due(now, &mut left);
            let next = hub.members.as_ref().and_then(Members::next_due);
            due = due.into_iter().chain(next).min();
        }
        reactor.presence.set_due(due);
        left > 0
    }

    /// Adds a hub. Replaces its registration with a dead reactor. Returns its index.
    pub(super) fn insert(&mut self, hub_key: u64, registration: HubRegistration) -> usize {
        self.remove(hub_key);
        if registration.members.is_none() {
            registration.reactor.presence.leave_to_owner(registration.hub);
        }
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

#[cfg(all(test, not(miri)))] // a descriptor
mod tests {
    use super::*;
    use crate::event::{Field, Text};
    use crate::hub::{MemberRequest, Settings, StateBounds};
    use crate::log::Bounds;
    use crate::runtime::reactor_handle::Queued;
    use crate::stream::StreamId;
    use std::time::Duration;

    const HUB: HubId = 1;

    fn reactor() -> Arc<ReactorHandle> {
        Arc::new(ReactorHandle::new().expect("a descriptor"))
    }

    fn settings() -> Settings {
        let bounds = Bounds { events: 10, bytes: 1000, age: Duration::MAX };
        Settings::new(bounds, bounds)
    }

    fn registration(reactor: &Arc<ReactorHandle>) -> HubRegistration {
        HubRegistration {
            reactor: Arc::clone(reactor),
            hub: HUB,
            epoch: Epoch::new("e", None),
            last_seq: 0,
            once: OnceKeys::new(10, Duration::MAX),
            state: StateSizes::default(),
            retention: settings().retention(),
            members: Some(Members::default()),
            tickets: TicketKeys::default(),
        }
    }

    fn stream(number: u32) -> StreamId {
        StreamId { slot: number, serial: 1 }
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
                format!("{} {} {retain:?}", String::from_utf8_lossy(&channel), String::from_utf8_lossy(&key))
            }
            _ => panic!("another command"),
        });
        commands.collect()
    }

    #[test]
    fn many_that_come_and_go_at_once_are_announced_in_order_a_few_at_a_time() {
        let reactor = reactor();
        let mut registrations = Registrations::new();
        registrations.insert(7, registration(&reactor));
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
        (0..2000).for_each(|number| drop(reactor.presence.push(HUB, stream(number), entered(number))));
        apply_all("Newest");
        for number in 0..2000 {
            reactor.presence.push(HUB, stream(number), PresenceChange::Left { is_by_application: true });
        }
        apply_all("Forget");
    }

    #[test]
    fn what_does_not_fit_is_sent_and_its_key_forgotten() {
        let reactor = reactor();
        let mut hub = registration(&reactor);
        hub.retention = Settings { state: StateBounds { keys: 9, bytes: 100 }, ..settings() }.retention();
        for (number, (bytes, retain)) in [(10, "Newest"), (200, "Forget"), (10, "Newest")].iter().enumerate() {
            let event = Unsequenced::of(std::iter::once(Field::Data(Text::from(&*"x".repeat(*bytes)))));
            let (channel, key) = (b"wills"[..].into(), b"k"[..].into());
            let change = PresenceChange::Willed(Box::new(Announcement {
                channel,
                key,
                retain: Retain::Newest,
                event,
                statement: Statement::Nothing,
            }));
            let mut apply = |change| {
                hub.apply(PresenceReport { hub: HUB, stream: stream(number as u32), at: Instant::now(), change });
            };
            apply(change);
            apply(PresenceChange::Left { is_by_application: false });
            assert_eq!(published(&reactor), [format!("wills k {retain}")]);
            assert_eq!(hub.state.size(b"wills", b"k").is_some(), *retain == "Newest");
        }
    }
}
