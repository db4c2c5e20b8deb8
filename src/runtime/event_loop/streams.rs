//! The reactor's streams: their sockets, their states, and what each answer of the reactor does to these and to the counters.

use crate::histogram::Scale;
use crate::reactor::{Answer, Io, Reactor, StreamId};
use crate::runtime::descriptor_reserve;
use crate::runtime::mailbox::Mail;
use crate::runtime::reactor_handle::ReactorHandle;
use crate::runtime::spawned;
use crate::runtime::stats::add;
use crate::runtime::stream_state::StreamState;
use crate::stream::{Discarded, Reason};
use crate::sys::epoll::Epoll;
use crate::sys::{clock, socket};
use rustix::fd::{AsFd, OwnedFd};
use std::io::{self, IoSlice};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

/// The parts of the event loop that the connections to hub processes work on.
pub(crate) struct Context<'a> {
    pub(crate) reactor: &'a mut Reactor<Sockets>,
    pub(crate) streams: &'a mut StreamTable,
    pub(crate) handle: &'a ReactorHandle,
}

const SCRATCH_BYTES: usize = 16 << 10;

/// The sockets, on which the reactor makes its calls: an epoll set, and a buffer for input that is discarded.
pub(crate) struct Sockets {
    pub(crate) epoll: Epoll,
    scratch: Vec<u8>,
}

impl Sockets {
    pub(crate) fn new(epoll: Epoll) -> Self {
        Self { epoll, scratch: vec![0; SCRATCH_BYTES] }
    }
}

impl Io for Sockets {
    type Socket = OwnedFd;

    fn register(&mut self, socket: &OwnedFd, stream: StreamId) -> io::Result<()> {
        self.epoll.add(socket.as_fd(), stream.into())
    }

    fn watch_writable(&mut self, socket: &OwnedFd, stream: StreamId, writable: bool) -> io::Result<()> {
        self.epoll.ask(socket.as_fd(), stream.into(), true, writable)
    }

    fn send(&mut self, socket: &OwnedFd, blocks: &[IoSlice<'_>]) -> io::Result<usize> {
        socket::send_blocks(socket.as_fd(), blocks)
    }

    fn untaken_bytes(&mut self, socket: &OwnedFd) -> usize {
        socket::untaken_bytes(socket.as_fd())
    }

    fn window(&mut self, socket: &OwnedFd) -> Option<u32> {
        socket::window(socket.as_fd())
    }

    fn set_tcp_user_timeout(&mut self, socket: &OwnedFd, timeout: Duration) {
        socket::set_tcp_user_timeout(socket.as_fd(), Some(timeout));
    }

    fn uncork(&mut self, socket: &OwnedFd) {
        socket::cork(socket.as_fd(), false);
    }

    fn discard_input(&mut self, socket: &OwnedFd) -> io::Result<usize> {
        socket::read_at_once(socket.as_fd(), &mut self.scratch)
    }

    fn shutdown(&mut self, socket: &OwnedFd) {
        socket::shut_down_sending(socket.as_fd());
    }

    fn may_linger(&self) -> bool {
        !descriptor_reserve::is_short()
    }

    fn unregister(&mut self, socket: &OwnedFd) {
        self.epoll.remove(socket.as_fd());
    }

    fn close(&mut self, socket: OwnedFd) {
        // Closing alone would leave the socket in the epoll set if a forked child holds a copy of the descriptor.
        self.epoll.remove(socket.as_fd());
    }
}

/// The record of the stream in one slot.
enum Slot {
    Free,
    /// The state, with the serial number of its stream.
    Used(u32, Arc<StreamState>),
    /// The serial number of a stream that no handle holds, and the interpreter that its end is reported to.
    Reported(u32, u32),
}

/// The states by slot.
pub(crate) struct StreamTable {
    handle: Arc<ReactorHandle>,
    slots: Vec<Slot>,
    /// When the stream of each slot was opened, as [`seconds_now`] says.
    opened: Vec<u32>,
}

/// Returns the seconds of the system's monotonic clock.
pub(crate) fn seconds_now() -> u32 {
    (clock::monotonic() / 1_000_000_000) as u32
}

impl StreamTable {
    pub(crate) fn new(handle: Arc<ReactorHandle>) -> Self {
        Self { handle, slots: Vec::new(), opened: Vec::new() }
    }

    pub(crate) fn insert(&mut self, stream: StreamId, state: Arc<StreamState>) {
        self.set(stream, Slot::Used(stream.serial, state));
    }

    pub(crate) fn opened(&self, stream: StreamId) -> u32 {
        self.opened.get(stream.slot as usize).copied().unwrap_or_default()
    }

    pub(crate) fn set_opened(&mut self, stream: StreamId, seconds: u32) {
        let number = stream.slot as usize;
        if number >= self.opened.len() {
            self.opened.resize(number + 1, 0);
        }
        self.opened[number] = seconds;
    }

    fn set(&mut self, stream: StreamId, slot: Slot) {
        let number = stream.slot as usize;
        if number >= self.slots.len() {
            self.slots.resize_with(number + 1, || Slot::Free);
        }
        self.slots[number] = slot;
    }

    /// Removes a state that is not read any more: the stream has no handle. If a report of its end is wanted, that is kept in
    /// mind.
    pub(crate) fn release(&mut self, stream: StreamId) {
        if let Some(state) = self.get(stream).filter(|state| state.is_released()) {
            if !state.is_end_wanted() {
                self.set(stream, Slot::Free);
            } else if state.id == stream && !state.ends_process() {
                let interpreter = state.interpreter;
                self.set(stream, Slot::Reported(stream.serial, interpreter));
            }
        }
    }

    /// Removes a state that nobody reads: the stream has no handle, and no report of its end is wanted. Frees its slot, because
    /// a hub process has the stream. Returns false if there is no such state.
    pub(crate) fn forget(&mut self, stream: StreamId) -> bool {
        let is_unread = self.get(stream).map_or(false, |state| state.is_released() && !state.is_end_wanted());
        if is_unread {
            self.set(stream, Slot::Free);
            self.handle.free_slot(stream);
        }
        is_unread
    }

    /// Counts the end of a stream that was forgotten.
    pub(crate) fn count_forgotten(&self, reason: Reason) {
        add(&self.handle.counts.ended[reason as usize], 1);
        add(&self.handle.counts.closed, 1);
    }

    pub(crate) fn get(&self, stream: StreamId) -> Option<&Arc<StreamState>> {
        match self.slots.get(stream.slot as usize)? {
            Slot::Used(serial, state) if *serial == stream.serial => Some(state),
            _ => None,
        }
    }

    /// All states with the ids by which the reactor knows the streams. Those that are kept in mind for their reports are made
    /// anew.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (StreamId, Arc<StreamState>)> + '_ {
        (0..).zip(&self.slots).filter_map(|(slot, entry)| match entry {
            Slot::Free => None,
            Slot::Used(serial, state) => Some((StreamId { slot, serial: *serial }, Arc::clone(state))),
            Slot::Reported(serial, interpreter) => {
                let stream = StreamId { slot, serial: *serial };
                let state = StreamState::new(stream, 0, *interpreter);
                state.release();
                state.report_end_or_reason();
                Some((stream, Arc::new(state)))
            }
        })
    }

    /// Applies one answer of the reactor.
    pub(crate) fn apply(&mut self, answer: Answer) {
        match answer {
            Answer::Buffered { stream, bytes } => {
                self.count_accepted(bytes);
                self.get(stream).into_iter().for_each(|state| state.add_buffered(bytes));
            }
            Answer::Sent { stream, bytes, events, log_bytes } => self.apply_sent(stream, bytes, events, log_bytes),
            Answer::Stalled { stream } => {
                add(&self.handle.counts.stalled, 1);
                if let Some(state) = self.get(stream) {
                    state.set_stalled(true);
                    self.report_progress(state);
                }
            }
            Answer::Unstalled { stalled_for } => {
                add(&self.handle.counts.stalled, 1_u64.wrapping_neg());
                self.handle.counts.record_delay(stalled_for.as_nanos() as u64);
            }
            Answer::Shrunk { stream, bytes } => self.apply_lost(stream, Discarded { events: 0, bytes }, None),
            Answer::Lost { stream, lost, reason } => self.apply_lost(stream, lost, reason),
            Answer::Ended { stream, reason } => self.apply_ended(stream, reason),
            Answer::Closed { stream } => self.apply_closed(stream),
            Answer::Presence { hub, stream, change } => self.handle.report_presence(hub, stream, change),
            Answer::Answered { request_id, answer } => self.handle.answer(request_id, Some(answer)),
            Answer::TopicsRemoved { stream, count } => {
                // The stream has fewer topics than it asked for: it had some already.
                self.get(stream).into_iter().for_each(|state| state.remove_topics(count));
            }
        }
    }

    /// The kernel has taken bytes. `log_bytes` more bytes came from a hub's log, where no stream's buffer counts them.
    fn apply_sent(&self, stream: StreamId, bytes: usize, events: usize, log_bytes: usize) {
        if log_bytes > 0 {
            self.count_accepted(log_bytes);
        }
        add(&self.handle.counts.bytes, bytes as u64);
        add(&self.handle.counts.events, events as u64);
        if let Some(state) = self.get(stream) {
            // Both together, mostly nothing: what comes from the log alone is never in the buffer.
            match log_bytes.checked_sub(bytes) {
                Some(0) => {}
                Some(more) => state.add_buffered(more),
                None => state.subtract_buffered(bytes - log_bytes),
            }
            state.set_stalled(false);
            self.report_progress(state);
        }
    }

    fn report_progress(&self, state: &StreamState) {
        if state.take_watch() {
            self.handle.mailbox.add(Mail::Progress(state.id));
        }
    }

    /// Bytes that the reactor itself has added count as consumed at once: they were never in the queue.
    fn count_accepted(&self, bytes: usize) {
        self.handle.counts.accepted.fetch_add(bytes as u64, Ordering::Relaxed);
        add(&self.handle.counts.consumed, bytes as u64);
    }

    fn apply_lost(&self, stream: StreamId, lost: Discarded, reason: Option<Reason>) {
        let reason = reason.map_or(Reason::ALL.len(), |reason| reason as usize);
        add(&self.handle.counts.lost[reason], lost.events as u64);
        add(&self.handle.counts.lost_bytes, lost.bytes as u64);
        if let Some(state) = self.get(stream) {
            state.subtract_buffered(lost.bytes);
            self.report_progress(state);
        }
    }

    fn apply_ended(&self, stream: StreamId, reason: Reason) {
        add(&self.handle.counts.ended[reason as usize], 1);
        let age = Duration::from_secs(seconds_now().saturating_sub(self.opened(stream)).into());
        self.handle.counts.age.record(&Scale::AGES, age, 1);
        if let Some(Slot::Reported(serial, interpreter)) = self.slots.get(stream.slot as usize) {
            if *serial == stream.serial {
                self.handle.report_end(*interpreter, stream, reason);
            }
        }
        if let Some(state) = self.get(stream) {
            if state.end(reason) {
                self.handle.report_end(state.interpreter, state.id, reason);
            }
            if state.ends_process() && !matches!(reason, Reason::Application | Reason::Server) {
                spawned::end_process(reason);
            }
        }
    }

    /// The socket is closed, and no answer about the stream follows.
    fn apply_closed(&mut self, stream: StreamId) {
        add(&self.handle.counts.closed, 1);
        if let Some(state) = self.get(stream) {
            state.clear_socket();
        }
        if let Some(slot) = self.slots.get_mut(stream.slot as usize) {
            *slot = Slot::Free;
        }
        self.handle.free_slot(stream);
    }
}
