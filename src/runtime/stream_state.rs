//! What who pushes to a stream can see of it without asking the reactor.

use crate::reactor::{HubId, StreamId};
use crate::stream::Reason;
use std::os::raw::c_int;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The state of one stream, written by both sides.
#[derive(Debug)]
pub(super) struct StreamState {
    /// The bytes that were pushed and neither sent nor lost.
    waiting_bytes: AtomicUsize,
    state: AtomicU32,
    /// The number of its descriptor in this process, -1 while it has none. A forked child inherits it.
    descriptor: AtomicI32,
    /// Which socket that is, for a child may have closed it and opened something else.
    cookie: AtomicU64,
    /// How many threads hold a handle that they have not let go of.
    holders: AtomicU32,
    /// Which hub holds the stream, whichever thread's handle it was given: its number and one, 0 if none does.
    keeper: AtomicU64,
    /// How many topics it has, or has asked for. What it has asked for twice the reactor takes off again.
    topics: AtomicUsize,
    /// Which interpreter is told of its end.
    pub(super) interpreter: u32,
    /// By which name. In a child it is the name that the stream had in its parent.
    pub(super) name: StreamId,
}

/// The state: why it has ended, as the reason's number and one, 0 before its end.
const REASON: u32 = 0xFF;
/// This side has ended it; the reactor will do so.
const CLOSED: u32 = 0x100;
/// The end is to be told.
const WANTED: u32 = 0x200;
/// The client's socket takes nothing more for now.
const STALLED: u32 = 0x400;
/// Its socket has come.
const ATTACHED: u32 = 0x800;

fn reason_in(state: u32) -> Option<Reason> {
    Reason::ALL.get(((state & REASON) as usize).wrapping_sub(1)).copied()
}

impl StreamState {
    pub(super) fn new(name: StreamId, waiting_bytes: usize, interpreter: u32) -> Self {
        Self {
            waiting_bytes: AtomicUsize::new(waiting_bytes),
            state: AtomicU32::new(0),
            descriptor: AtomicI32::new(-1),
            cookie: AtomicU64::new(0),
            holders: AtomicU32::new(1),
            keeper: AtomicU64::new(0),
            topics: AtomicUsize::new(0),
            interpreter,
            name,
        }
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Acquire)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(super) fn subtract(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Whether so many more bytes may wait. An event that is larger than the limit may, alone.
    pub(super) fn has_room(&self, bytes: usize, max_bytes: usize) -> bool {
        let waiting = self.waiting_bytes();
        waiting == 0 || waiting.saturating_add(bytes) <= max_bytes
    }

    /// Whether its socket has come. Until then the client cannot read, so the limit of what may wait says nothing about it.
    pub(super) fn is_attached(&self) -> bool {
        self.state.load(Ordering::Acquire) & ATTACHED != 0
    }

    /// Whether what waits waits for the client; otherwise the reactor may not have tried to send it yet.
    pub(super) fn waits_for_client(&self) -> bool {
        self.state.load(Ordering::Acquire) & STALLED != 0 || !self.has_socket()
    }

    pub(super) fn set_stalled(&self, is_stalled: bool) {
        if is_stalled {
            self.state.fetch_or(STALLED, Ordering::AcqRel);
        } else if self.state.load(Ordering::Relaxed) & STALLED != 0 {
            self.state.fetch_and(!STALLED, Ordering::AcqRel);
        }
    }

    /// Whether it takes events.
    pub(super) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) & (REASON | CLOSED) == 0
    }

    /// Why it has ended, if it has.
    pub(super) fn reason(&self) -> Option<Reason> {
        reason_in(self.state.load(Ordering::Acquire))
    }

    /// It takes no more events. True if it did.
    pub(super) fn close(&self) -> bool {
        self.state.fetch_or(CLOSED, Ordering::AcqRel) & (REASON | CLOSED) == 0
    }

    /// It has ended. True if that is to be told. Called once.
    pub(super) fn end(&self, reason: Reason) -> bool {
        self.state.fetch_or(reason as u32 + 1, Ordering::AcqRel) & WANTED != 0
    }

    /// Asks for its end to be told; the reason, if it is too late for that.
    pub(super) fn want_end(&self) -> Option<Reason> {
        reason_in(self.state.fetch_or(WANTED, Ordering::AcqRel))
    }

    pub(super) fn is_end_wanted(&self) -> bool {
        self.state.load(Ordering::Acquire) & WANTED != 0
    }

    pub(super) fn set_socket(&self, number: c_int, cookie: u64) {
        self.cookie.store(cookie, Ordering::Relaxed);
        self.descriptor.store(number, Ordering::Release);
        self.state.fetch_or(ATTACHED, Ordering::AcqRel);
    }

    /// Whether its socket is open.
    pub(super) fn has_socket(&self) -> bool {
        self.descriptor.load(Ordering::Acquire) >= 0
    }

    /// Its socket is closed, or about to be.
    pub(super) fn forget_socket(&self) {
        self.descriptor.store(-1, Ordering::Release);
    }

    /// The number of its descriptor, and its socket's cookie, for the one who asks first.
    pub(super) fn take_socket(&self) -> Option<(c_int, u64)> {
        let number = Some(self.descriptor.swap(-1, Ordering::AcqRel)).filter(|number| *number >= 0);
        number.map(|number| (number, self.cookie.load(Ordering::Relaxed)))
    }

    /// A hub is to hold it. False if another does.
    pub(super) fn keep(&self, hub: HubId) -> bool {
        let keeper = u64::from(hub) + 1;
        let before = self.keeper.compare_exchange(0, keeper, Ordering::AcqRel, Ordering::Acquire);
        before.map_or_else(|other| other == keeper, |_| true)
    }

    pub(super) fn is_kept_by(&self, hub: HubId) -> bool {
        self.keeper.load(Ordering::Acquire) == u64::from(hub) + 1
    }

    /// Whether a hub holds it.
    pub(super) fn is_kept(&self) -> bool {
        self.keeper.load(Ordering::Acquire) != 0
    }

    /// The hub holds it no longer.
    pub(super) fn give_back(&self) {
        self.keeper.store(0, Ordering::Release);
    }

    /// Adds topics, if that makes no more than there may be.
    pub(super) fn add_topics(&self, count: usize, most: usize) -> bool {
        let sum = self.topics.fetch_add(count, Ordering::AcqRel).saturating_add(count);
        if sum > most {
            self.remove_topics(count);
        }
        sum <= most
    }

    pub(super) fn remove_topics(&self, count: usize) {
        self.topics.fetch_sub(count, Ordering::AcqRel);
    }

    pub(super) fn hold(&self) {
        self.holders.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether anybody holds it.
    pub(super) fn is_held(&self) -> bool {
        self.holders.load(Ordering::Acquire) > 0
    }

    /// True for the last that held it.
    pub(super) fn let_go(&self) -> bool {
        self.holders.fetch_sub(1, Ordering::AcqRel) == 1
    }
}
