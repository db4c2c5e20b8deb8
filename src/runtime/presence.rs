//! What the reactor reports of streams with members and wills, until it is applied to their hubs.
//!
//! Over a store the owner of the hub has the members, and the reports come with its mail. Otherwise the members are beside a
//! hub's sequence numbers, behind the lock of the process, because their events take part in that order. The reactor's thread
//! must not wait for that lock: a publisher may hold it who waits for the reactor. So it leaves its reports here. Whoever has
//! the lock applies them: the reactor's thread tries to get it in each turn, and a call that asks for members has it.

use super::wake::sync::lock;
use crate::hub::{Announcement, MemberRequest};
use crate::reactor::{HubId, StreamId};
use crate::saved::{Malformed, Restorer, Saved, Saver};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long the reactor's thread waits before it tries again to get the lock of the process.
const RETRY: Duration = Duration::from_millis(1);

/// A change of one stream.
#[derive(Clone, Debug)]
pub enum PresenceChange {
    /// It has a member from here on.
    Entered(Box<MemberRequest>),
    /// It has a will from here on.
    Willed(Box<Announcement>),
    /// It has ended.
    Left {
        /// Whether the application has ended it.
        is_by_application: bool,
    },
}

/// A report of the reactor.
#[derive(Clone, Debug)]
pub struct PresenceReport {
    pub(super) hub: HubId,
    /// The stream.
    pub stream: StreamId,
    /// When it has changed.
    pub at: Instant,
    /// What has changed.
    pub change: PresenceChange,
}

#[derive(Debug, Default)]
struct Inner {
    reports: VecDeque<PresenceReport>,
    due: Option<Instant>,
    /// The hubs whose owners have the members.
    owned: Vec<HubId>,
    /// Whether a hub that is reported may still be registered.
    is_held: bool,
}

/// The reports that are still to be applied, in their order, and when members of the reactor's hubs have something to do.
#[derive(Debug, Default)]
pub(super) struct PresenceReports(Mutex<Inner>);

impl PresenceReports {
    /// Adds a report. Returns it if it is for the owner of the hub.
    pub(super) fn push(&self, hub: HubId, stream: StreamId, change: PresenceChange) -> Option<PresenceReport> {
        let at = Instant::now();
        let report = PresenceReport { hub, stream, at, change };
        let mut inner = lock(&self.0);
        if inner.owned.contains(&hub) {
            return Some(report);
        }
        inner.reports.push_back(report);
        inner.due = Some(inner.due.map_or(at, |due| due.min(at)));
        None
    }

    /// Leaves the reports of a hub to its owner from here on.
    pub(super) fn leave_to_owner(&self, hub: HubId) {
        lock(&self.0).owned.push(hub);
    }

    /// Takes all reports, unless they are held. The caller has the lock of the process, and applies them.
    pub(super) fn take(&self) -> VecDeque<PresenceReport> {
        let mut inner = lock(&self.0);
        if inner.is_held {
            return VecDeque::new();
        }
        std::mem::take(&mut inner.reports)
    }

    /// Puts reports back that are to be applied later, before those that have come meanwhile.
    pub(super) fn put_back(&self, mut reports: VecDeque<PresenceReport>) {
        let mut inner = lock(&self.0);
        reports.append(&mut inner.reports);
        inner.reports = reports;
    }

    /// Holds the reports back from here on: the hubs of a new program are still to be registered.
    pub(super) fn hold(&self) {
        lock(&self.0).is_held = true;
    }

    /// Releases the reports: all hubs are registered.
    pub(super) fn release(&self) {
        lock(&self.0).is_held = false;
    }

    /// Sets when there is something to do after the reports that were taken.
    pub(super) fn set_due(&self, due: Option<Instant>) {
        let mut inner = lock(&self.0);
        let first = inner.reports.front().map(|report| report.at);
        inner.due = first.or(due);
    }

    /// Returns the reports of a hub, with which a new program continues.
    pub(super) fn of_hub(&self, hub: HubId) -> Vec<PresenceReport> {
        lock(&self.0).reports.iter().filter(|report| report.hub == hub).cloned().collect()
    }

    /// Tries again a little later.
    pub(super) fn retry_later(&self, now: Instant) {
        lock(&self.0).due = Some(now + RETRY);
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let inner = lock(&self.0);
        inner.due.filter(|_| !inner.is_held)
    }
}

saved!(PresenceReport { hub, stream, at, change });

impl Saved for PresenceChange {
    fn save(&self, to: &mut Saver) {
        let (entered, willed, left) = match self.clone() {
            Self::Entered(member) => (Some(member), None, None),
            Self::Willed(will) => (None, Some(will), None),
            Self::Left { is_by_application } => (None, None, Some(is_by_application)),
        };
        to.add(&entered);
        to.add(&willed);
        to.add(&left);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        match (from.take()?, from.take()?, from.take()?) {
            (Some(member), None, None) => Ok(Self::Entered(member)),
            (None, Some(will), None) => Ok(Self::Willed(will)),
            (None, None, Some(is_by_application)) => Ok(Self::Left { is_by_application }),
            _ => Err(Malformed),
        }
    }
}
