//! The ids of a reactor's streams, a slot and a serial number; and the state of one stream, which producers read without asking
//! the reactor.
//!
//! Producers and the reactor share a few atomics for each stream. Reading them takes no lock and makes no system call.

use super::wake::sync::lock;
use crate::reactor::StreamId;
use crate::stream::Reason;
use std::os::raw::c_int;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::Mutex;

per_process! {
    /// The serial numbers given so far. A forked child continues the sequence, because it may keep the ids of its parent's
    /// streams.
    static SERIALS: AtomicU32 = AtomicU32::new(0);
}

/// The number of the waker's descriptor in the epoll set. No stream has it, because [`next_serial`] never returns 0.
pub(super) const WAKER_TOKEN: u64 = 0;

fn next_serial(serials: &AtomicU32) -> u32 {
    loop {
        match serials.fetch_add(1, Ordering::Relaxed).wrapping_add(1) {
            0 => {}
            serial => return serial,
        }
    }
}

/// The slots of a reactor's streams.
#[derive(Debug, Default)]
pub(super) struct StreamIds(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    free: Vec<u32>,
    used: u32,
}

impl StreamIds {
    /// Returns an id for a new stream.
    pub(super) fn next(&self) -> StreamId {
        let mut slots = lock(&self.0);
        let serial = next_serial(&SERIALS);
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.used += 1;
            slots.used - 1
        });
        StreamId { slot, serial }
    }

    /// Frees the slot of a stream whose socket is closed.
    pub(super) fn free(&self, stream: StreamId) {
        lock(&self.0).free.push(stream.slot);
    }
}

/// The state of one stream. Its handle and the reactor write to it.
#[derive(Debug)]
pub(crate) struct StreamState {
    /// The bytes that were accepted and are neither sent nor lost.
    buffered_bytes: AtomicUsize,
    /// The flags below.
    flags: AtomicU32,
    /// The number of the socket's descriptor in this process, -1 while there is none. A forked child inherits the
    /// descriptor.
    descriptor: AtomicI32,
    /// The socket's cookie. A child compares it, because it may have closed the descriptor and reused its number.
    cookie: AtomicU64,
    /// The number of topics that the stream has or has asked for. The reactor subtracts those that it asked for twice.
    topics: AtomicUsize,
    /// The interpreter that the end is reported to.
    pub(crate) interpreter: u32,
    /// The id that the end is reported with. In a child it is the id that the stream had in its parent.
    pub(super) id: StreamId,
}

/// The bits of [`StreamState::flags`] for the reason of the end: its number plus one, 0 before the end.
const REASON: u32 = 0xFF;
/// A handle has closed the stream; the reactor is about to end it.
const CLOSED: u32 = 0x100;
/// The end is to be reported to the interpreter.
const END_WANTED: u32 = 0x200;
/// The client's socket takes no more bytes for now.
const STALLED: u32 = 0x400;
/// The stream has got its socket.
const ATTACHED: u32 = 0x800;
/// The process ends with the stream.
const ENDS_PROCESS: u32 = 0x1000;
/// The next progress is to be reported.
const WATCHED: u32 = 0x2000;
/// The stream was handed over to a hub process, which has its socket, or gets it when it comes.
const HANDED_OVER: u32 = 0x4000;
/// The application has released the stream.
const RELEASED: u32 = 0x8000;

fn reason_in(flags: u32) -> Option<Reason> {
    Reason::ALL.get(((flags & REASON) as usize).wrapping_sub(1)).copied()
}

impl StreamState {
    /// Creates the state of an open stream with a handle and no socket.
    pub(crate) fn new(id: StreamId, buffered_bytes: usize, interpreter: u32) -> Self {
        Self {
            buffered_bytes: AtomicUsize::new(buffered_bytes),
            flags: AtomicU32::new(0),
            descriptor: AtomicI32::new(-1),
            cookie: AtomicU64::new(0),
            topics: AtomicUsize::new(0),
            interpreter,
            id,
        }
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffered_bytes.load(Ordering::Acquire)
    }

    pub(crate) fn add_buffered(&self, bytes: usize) {
        self.buffered_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn subtract_buffered(&self, bytes: usize) {
        self.buffered_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Returns true if `bytes` more bytes may be buffered. A single event may be larger than the limit.
    pub(super) fn has_room(&self, bytes: usize, max_bytes: usize) -> bool {
        let buffered = self.buffered_bytes();
        buffered == 0 || buffered.saturating_add(bytes) <= max_bytes
    }

    /// Returns true if the stream has got its socket. Before that the client cannot read, so a full buffer does not
    /// mean that the client is slow.
    pub(crate) fn is_attached(&self) -> bool {
        self.flags.load(Ordering::Acquire) & ATTACHED != 0
    }

    /// Returns true if the buffered bytes wait for the client. Otherwise the reactor may not have tried to send them
    /// yet.
    pub(super) fn is_blocked_by_client(&self) -> bool {
        let flags = self.flags.load(Ordering::Acquire);
        flags & STALLED != 0 || !self.has_socket() && flags & HANDED_OVER == 0
    }

    pub(crate) fn set_stalled(&self, is_stalled: bool) {
        if is_stalled {
            self.flags.fetch_or(STALLED, Ordering::AcqRel);
        } else if self.flags.load(Ordering::Relaxed) & STALLED != 0 {
            self.flags.fetch_and(!STALLED, Ordering::AcqRel);
        }
    }

    /// Returns true if the client's socket takes no more bytes for now.
    pub(crate) fn is_stalled(&self) -> bool {
        self.flags.load(Ordering::Acquire) & STALLED != 0
    }

    /// Asks for a report of the next progress.
    pub(super) fn watch(&self) {
        self.flags.fetch_or(WATCHED, Ordering::AcqRel);
    }

    /// Returns true if progress is to be reported, and takes note that it is.
    pub(super) fn take_watch(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & WATCHED != 0
            && self.flags.fetch_and(!WATCHED, Ordering::AcqRel) & WATCHED != 0
    }

    /// Returns true if the stream accepts events.
    pub(crate) fn is_open(&self) -> bool {
        self.flags.load(Ordering::Acquire) & (REASON | CLOSED) == 0
    }

    /// Returns true if the application has closed the stream.
    pub(crate) fn is_closed(&self) -> bool {
        self.flags.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Returns the reason of the end once the stream has ended.
    pub(crate) fn reason(&self) -> Option<Reason> {
        reason_in(self.flags.load(Ordering::Acquire))
    }

    /// Closes the stream for further events. Returns true if it was open.
    pub(crate) fn close(&self) -> bool {
        self.flags.fetch_or(CLOSED, Ordering::AcqRel) & (REASON | CLOSED) == 0
    }

    /// Ends the stream. Returns true if the end is to be reported. Called once.
    pub(super) fn end(&self, reason: Reason) -> bool {
        self.flags.fetch_or(reason as u32 + 1, Ordering::AcqRel) & END_WANTED != 0
    }

    /// Asks for a report of the end. If the stream has ended already, returns the reason, and no report follows.
    pub(crate) fn report_end_or_reason(&self) -> Option<Reason> {
        reason_in(self.flags.fetch_or(END_WANTED, Ordering::AcqRel))
    }

    pub(super) fn is_end_wanted(&self) -> bool {
        self.flags.load(Ordering::Acquire) & END_WANTED != 0
    }

    /// Makes the process end with the stream, unless the application ends the stream.
    pub(super) fn set_ends_process(&self) {
        self.flags.fetch_or(ENDS_PROCESS, Ordering::AcqRel);
    }

    pub(super) fn ends_process(&self) -> bool {
        self.flags.load(Ordering::Acquire) & ENDS_PROCESS != 0
    }

    pub(crate) fn set_socket(&self, number: c_int, cookie: u64) {
        self.cookie.store(cookie, Ordering::Relaxed);
        self.descriptor.store(number, Ordering::Release);
        self.flags.fetch_or(ATTACHED, Ordering::AcqRel);
    }

    /// Called when the stream is given to a hub process, which reports its state. Its socket may come later.
    pub(crate) fn hand_over(&self, has_socket: bool) {
        self.flags.fetch_or(HANDED_OVER, Ordering::AcqRel);
        self.set_stalled(false);
        if has_socket {
            self.clear_socket();
        }
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.flags.load(Ordering::Acquire) & HANDED_OVER != 0
    }

    /// Returns true if the stream has a socket that is open.
    pub(crate) fn has_socket(&self) -> bool {
        self.socket_number() >= 0
    }

    /// Returns the number of the socket's descriptor, or -1 if there is none.
    pub(super) fn socket_number(&self) -> c_int {
        self.descriptor.load(Ordering::Acquire)
    }

    /// Called when the socket is closed, or just before: its number may soon be another descriptor's.
    pub(super) fn clear_socket(&self) {
        self.descriptor.store(-1, Ordering::Release);
    }

    /// Takes the number of the descriptor and the socket's cookie. Only the first call returns them.
    pub(crate) fn take_socket(&self) -> Option<(c_int, u64)> {
        let number = Some(self.descriptor.swap(-1, Ordering::AcqRel)).filter(|number| *number >= 0);
        number.map(|number| (number, self.cookie.load(Ordering::Relaxed)))
    }

    /// Adds topics. Returns false, and adds none, if there would be more than `max_topics`.
    pub(super) fn add_topics(&self, count: usize, max_topics: usize) -> bool {
        let sum = self.topics.fetch_add(count, Ordering::AcqRel).saturating_add(count);
        if sum > max_topics {
            self.remove_topics(count);
        }
        sum <= max_topics
    }

    pub(super) fn remove_topics(&self, count: usize) {
        self.topics.fetch_sub(count, Ordering::AcqRel);
    }

    /// Returns true if the application has released the stream.
    pub(super) fn is_released(&self) -> bool {
        self.flags.load(Ordering::Acquire) & RELEASED != 0
    }

    /// Records that the application no longer holds the stream. Returns true the first time.
    pub(crate) fn release(&self) -> bool {
        self.flags.fetch_or(RELEASED, Ordering::AcqRel) & RELEASED == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stream_has_the_number_of_the_waker() {
        let serials = AtomicU32::new(u32::MAX - 1);
        assert_eq!([(); 3].map(|()| next_serial(&serials)), [u32::MAX, 1, 2]);
        assert_eq!(StreamId::from(WAKER_TOKEN).serial, 0);
    }
}
