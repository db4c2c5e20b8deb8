//! Keeps what the reactor has to tell the thread that serves other processes, in one order: answers to what it was asked, and
//! what has become of streams. What the reactor knew when it answered comes before the answer, so nobody waits for it.
//!
//! The reactor says which streams have made progress only to those who watch: one report at a time, and only for streams whose
//! openers are owed one, so it does nothing for all others.
//!
//! What it reports of streams with members and wills comes with that mail in a hub process, whose thread owns the hub. In a
//! worker the members are beside a hub's sequence numbers, behind the lock of the process, because their events take part in
//! that order. The reactor's thread must not wait for that lock: a publisher may hold it who waits for the reactor. So it
//! leaves its reports here. Whoever has the lock applies them: the reactor's thread tries to get it in each turn, and a call
//! that asks for members has it.

use super::wake::sync::lock;
use crate::hub::{Answer, PresenceChange};
use crate::reactor::{HubId, StreamId};
use crate::stream::Reason;
use crate::sys::epoll::Signal;
use rustix::fd::{AsFd, OwnedFd};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A message for the thread that serves other processes.
#[derive(Debug)]
pub enum Mail {
    /// The answer to the question with this number; nothing if the reactor has died.
    Answered(u64, Option<Answer>),
    /// A change of a stream with a member or a will.
    Presence(PresenceReport),
    /// A stream has ended.
    Ended(StreamId, Reason),
    /// A stream has made progress that was watched.
    Progress(StreamId),
    /// Another thread has something, which it keeps.
    Elsewhere,
}

/// The messages, and a descriptor that is readable while there are any.
#[derive(Debug, Default)]
pub struct Mailbox(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    mail: Vec<Mail>,
    /// True if whoever reads has been told of this mail.
    is_announced: bool,
    /// Exists if somebody reads.
    signal: Option<Arc<Signal>>,
}

impl Mailbox {
    /// Adds a message, and announces it.
    pub fn push(&self, mail: Mail) {
        self.add(mail);
        self.announce();
    }

    /// Adds a message, which is to be [announced](Self::announce).
    pub(super) fn add(&self, mail: Mail) {
        let mut queue = lock(&self.0);
        if let (Some(Mail::Elsewhere), Mail::Elsewhere) = (queue.mail.last(), &mail) {
            return; // whoever looks there sees both
        }
        queue.mail.push(mail);
    }

    /// Wakes whoever reads, if there is mail of which that thread does not know. The lock is free then: the thread takes it at
    /// once.
    pub(super) fn announce(&self) {
        let mut queue = lock(&self.0);
        if queue.mail.is_empty() || std::mem::replace(&mut queue.is_announced, true) {
            return;
        }
        let signal = queue.signal.clone();
        drop(queue);
        if let Some(signal) = signal {
            signal.raise();
        }
    }

    /// Takes all messages.
    pub fn take(&self) -> Vec<Mail> {
        let mut queue = lock(&self.0);
        if let Some(signal) = &queue.signal {
            signal.lower(); // a signal may be raised after its mail was taken
        }
        queue.is_announced = false;
        std::mem::take(&mut queue.mail)
    }

    /// Returns true if somebody reads.
    pub(super) fn is_open(&self) -> bool {
        lock(&self.0).signal.is_some()
    }

    /// Opens the mailbox, unless it is open. Returns a descriptor that is readable while there are messages. Fails if the
    /// system has no descriptor left.
    pub fn open(&self) -> io::Result<OwnedFd> {
        let mut queue = lock(&self.0);
        let signal = match queue.signal.take() {
            Some(signal) => signal,
            None => Arc::new(Signal::new()?),
        };
        if !queue.mail.is_empty() {
            signal.raise();
        }
        queue.signal.insert(signal).descriptor().as_fd().try_clone_to_owned()
    }
}

/// The time for which the reactor's thread waits before it tries again to get the lock of the process.
const RETRY: Duration = Duration::from_millis(1);

/// A report of the reactor.
#[derive(Clone, Debug)]
pub struct PresenceReport {
    pub(super) hub: HubId,
    /// The stream.
    pub stream: StreamId,
    /// When it has changed.
    pub at: Instant,
    /// The change.
    pub change: PresenceChange,
}

#[derive(Debug, Default)]
struct Reports {
    reports: VecDeque<PresenceReport>,
    due: Option<Instant>,
}

/// The reports that are still to be applied, in their order, and when members of the reactor's hubs have something to do.
#[derive(Debug, Default)]
pub(super) struct PresenceReports(Mutex<Reports>);

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

#[cfg(all(test, not(miri)))] // system calls
mod tests {
    use super::*;

    #[test]
    fn what_a_turn_has_added_is_announced_once() {
        let mailbox = Mailbox::default();
        let signal = mailbox.open().expect("a descriptor");
        let raised = || {
            let mut count = [0; 8];
            rustix::io::read(&signal, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
        };
        let progress = || Mail::Progress(StreamId { slot: 1, serial: 2 });
        mailbox.announce();
        mailbox.add(progress());
        mailbox.add(progress());
        assert_eq!(raised(), 0);
        mailbox.announce();
        mailbox.announce();
        assert_eq!((raised(), mailbox.take().len()), (1, 2));
        mailbox.push(progress());
        assert_eq!((mailbox.take().len(), raised()), (1, 0));
    }
}
