//! What the loop waits for, beside its peers: their numbers in the epoll set.

use crate::peers::FIRST_TOKEN;
use eventsource_xs::remote::calls::{self, Asked, Epoll, Readiness};
use eventsource_xs::runtime::{self, Mail, Mailbox};
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

pub(super) const LISTENER: u64 = 0;
pub(super) const SIGNALS: u64 = 1;
pub(super) const MAIL: u64 = 2;
pub(super) const HTTP_STREAMS: u64 = 3;
pub(super) const HTTP_METRICS: u64 = 4;
const _: () = assert!(HTTP_METRICS < FIRST_TOKEN);

pub(super) struct Sources {
    epoll: Epoll,
    signals: OwnedFd,
    mailbox: Arc<Mailbox>,
    /// Is readable while there is mail.
    _has_mail: OwnedFd,
    ready: Vec<(u64, Readiness)>,
}

impl Sources {
    /// Waits for signals, the reactor and the store. The listener and the peers add themselves.
    pub(super) fn new() -> Result<Self, Box<dyn Error>> {
        let (signals, epoll) = (calls::signals()?, Epoll::new()?);
        epoll.add(signals.as_fd(), SIGNALS)?;
        let mailbox = runtime::mailbox()?;
        let has_mail = mailbox.open()?;
        epoll.add(has_mail.as_fd(), MAIL)?;
        Ok(Self { epoll, signals, mailbox, _has_mail: has_mail, ready: Vec::new() })
    }

    pub(super) fn epoll(&self) -> &Epoll {
        &self.epoll
    }

    /// Waits until something is ready, at most for a time. Returns what is; [`return_list`](Self::return_list) follows.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Vec<(u64, Readiness)>> {
        let mut ready = std::mem::take(&mut self.ready);
        self.epoll.wait(timeout, |number, readiness| ready.push((number, readiness)))?;
        Ok(ready)
    }

    /// Takes a list back that has been worked off, for the next wait.
    pub(super) fn return_list(&mut self, mut ready: Vec<(u64, Readiness)>) {
        ready.clear();
        self.ready = ready;
    }

    /// Takes what the reactor has reported.
    pub(super) fn take_mail(&self) -> Vec<Mail> {
        self.mailbox.take()
    }

    /// Returns what a signal asks for.
    pub(super) fn next_signal(&self) -> Option<Asked> {
        calls::next_signal(self.signals.as_fd())
    }
}
