//! What the reactor reports of streams with members and wills, until it is applied to their hubs.
//!
//! Over a store the owner of the hub has the members, and the reports come with its mail. Otherwise the members are beside a
//! hub's sequence numbers, behind the lock of the process, because their events take part in that order. The reactor's thread
//! must not wait for that lock: a publisher may hold it who waits for the reactor. So it leaves its reports here. Whoever has
//! the lock applies them: the reactor's thread tries to get it in each turn, and a call that asks for members has it.

use super::wake::sync::lock;
use crate::hub::{Announcement, MemberRequest};
use crate::reactor::{HubId, StreamId};
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
    /// It has ended with the program before, and its client has had the time to come back.
    Away,
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

    /// Takes all reports. The caller has the lock of the process, and applies them.
    pub(super) fn take(&self) -> VecDeque<PresenceReport> {
        std::mem::take(&mut lock(&self.0).reports)
    }

    /// Puts reports back that are to be applied later, before those that have come meanwhile.
    pub(super) fn put_back(&self, mut reports: VecDeque<PresenceReport>) {
        let mut inner = lock(&self.0);
        reports.append(&mut inner.reports);
        inner.reports = reports;
    }

    /// Sets when there is something to do after the reports that were taken.
    pub(super) fn set_due(&self, due: Option<Instant>) {
        let mut inner = lock(&self.0);
        let first = inner.reports.front().map(|report| report.at);
        inner.due = first.or(due);
    }

    /// Tries again a little later.
    pub(super) fn retry_later(&self, now: Instant) {
        lock(&self.0).due = Some(now + RETRY);
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        lock(&self.0).due
    }
}
