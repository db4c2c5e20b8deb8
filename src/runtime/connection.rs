//! The connection to the process of a hub, as threads see it that wait for answers.

use super::leases::Leases;
use super::reactor_handle::ReactorHandle;
use super::sync::lock;
use crate::remote::{Error, Link};
use crate::sys::{descriptor, socket};
use crate::wire::{Counted, Failure};
use rustix::fd::AsRawFd;
use std::collections::HashMap;
use std::os::raw::c_int;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Duration;

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// An event was published with this id.
    Published(Box<str>),
    /// The request was carried out.
    Done,
    /// The counters.
    Counted(Box<Counted>),
    /// The request was refused.
    Refused(Failure),
    /// The request was not sent, because too many are queued.
    Full,
    /// The request was not sent, because the connection had ended.
    Unsent,
}

/// A connection, as threads and the event loop share it.
#[derive(Debug)]
pub(super) struct Connection {
    /// The number that the event loop knows the connection by.
    pub(super) number: u32,
    /// The epoch, with which the hub's ids begin.
    pub(super) epoch: Box<str>,
    is_lost: AtomicBool,
    last_request: AtomicU64,
    /// The requests that are waited for.
    outcomes: Mutex<HashMap<u64, Option<Outcome>>>,
    /// The number of the socket's descriptor, and the socket's cookie.
    socket: (c_int, u64),
    pub(super) leases: Leases,
}

impl Connection {
    pub(super) fn new(number: u32, link: &Link) -> Self {
        Self {
            number,
            epoch: link.welcome().epoch.clone(),
            is_lost: AtomicBool::new(false),
            last_request: AtomicU64::new(0),
            outcomes: Mutex::default(),
            socket: (link.socket().as_raw_fd(), socket::cookie(link.socket())),
            leases: Leases::default(),
        }
    }

    /// Returns the number of a new request, whose outcome is kept until it is [waited](Self::wait) for.
    pub(super) fn begin(&self) -> u64 {
        let request = self.last_request.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.outcomes).insert(request, None);
        request
    }

    /// Takes back a request that was not made.
    pub(super) fn forget(&self, request: u64) {
        lock(&self.outcomes).remove(&request);
    }

    /// Stores what became of a request, unless nobody waits for it any more.
    pub(super) fn complete(&self, request: u64, outcome: Outcome) {
        if let Some(slot) = lock(&self.outcomes).get_mut(&request) {
            slot.get_or_insert(outcome);
        }
    }

    /// Waits until it is known what became of a request. Returns [`Outcome::Unsent`] if the caller should connect anew.
    pub(super) fn wait(&self, reactor: &ReactorHandle, request: u64, timeout: Duration) -> Result<Outcome, Error> {
        let is_known = || matches!(lock(&self.outcomes).get(&request), Some(Some(_)));
        reactor.wait(timeout, || is_known() || self.is_lost() || reactor.is_dead());
        let is_lost = self.is_lost() || reactor.is_dead(); // before the outcome is taken: it may have come before the loss
        match lock(&self.outcomes).remove(&request).flatten() {
            Some(Outcome::Refused(failure)) => Err(Error::Refused(failure)),
            Some(Outcome::Full) => Err(Error::Unavailable(
                "too many requests wait for the hub's process; it does not take them".to_owned(),
            )),
            Some(outcome) => Ok(outcome),
            None if is_lost => Err(Error::Unknown),
            None => Err(Error::Timeout),
        }
    }

    /// Has requests without an outcome fail.
    pub(super) fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
        self.leases.lose();
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// In a forked child, closes its copy of the socket, so that the hub's process sees when the parent ends.
    pub(super) fn close_copy(&self) {
        let (number, cookie) = self.socket;
        if !self.is_lost() {
            drop(descriptor::inherit(number, cookie));
        }
    }
}
