//! What the reactor reports of streams with members and wills, until it is applied to their hubs.
//!
//! In a hub process they come with the mail of the thread that owns the hub. In a worker the members are beside a hub's
//! sequence numbers, behind the lock of the process, because their events take part in that order. The reactor's thread
//! must not wait for that lock: a publisher may hold it who waits for the reactor. So it leaves its reports here. Whoever has
//! the lock applies them: the reactor's thread tries to get it in each turn, and a call that asks for members has it.

use super::wake::sync::lock;
use crate::hub::PresenceChange;
use crate::reactor::{HubId, StreamId};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long the reactor's thread waits before it tries again to get the lock of the process.
const RETRY: Duration = Duration::from_millis(1);

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
}

/// The reports that are still to be applied, in their order, and when members of the reactor's hubs have something to do.
#[derive(Debug, Default)]
pub(super) struct PresenceReports(Mutex<Inner>);

impl PresenceReports {
    /// Adds a report.
    pub(super) fn push(&self, report: PresenceReport) {
        let mut inner = lock(&self.0);
        inner.due = Some(inner.due.map_or(report.at, |due| due.min(report.at)));
        inner.reports.push_back(report);
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
