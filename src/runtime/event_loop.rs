//! The reactor's thread: takes commands, waits for sockets, hands on the answers.

use super::forks::between_forks;
use super::reactor_handle::{count, Envelope, ReactorHandle, WAKER};
use super::reserve;
use super::stream_state::StreamState;
use crate::reactor::{Answer, Command, StreamId};
use crate::reactor::{Io, Reactor, Ready};
use crate::sys::epoll::Epoll;
use crate::sys::socket;
use crossbeam_channel::Receiver;
use rustix::fd::{AsFd, OwnedFd};
use std::io::{self, IoSlice};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The system's calls on real sockets.
pub(super) struct Sockets {
    epoll: Epoll,
    scratch: Vec<u8>,
}

impl Io for Sockets {
    type Socket = OwnedFd;

    fn add(&mut self, socket: &OwnedFd, stream: StreamId) -> io::Result<()> {
        self.epoll.add(socket.as_fd(), stream.into())
    }

    fn ask_writable(&mut self, socket: &OwnedFd, stream: StreamId, writable: bool) -> io::Result<()> {
        self.epoll.ask_writable(socket.as_fd(), stream.into(), writable)
    }

    fn send(&mut self, socket: &OwnedFd, blocks: &[IoSlice<'_>]) -> io::Result<usize> {
        socket::send(socket.as_fd(), blocks)
    }

    fn drain(&mut self, socket: &OwnedFd) -> io::Result<usize> {
        socket::drain(socket.as_fd(), &mut self.scratch)
    }

    fn finish(&mut self, socket: &OwnedFd) {
        socket::finish(socket.as_fd());
    }

    fn may_linger(&self) -> bool {
        !reserve::is_short()
    }

    fn close(&mut self, socket: OwnedFd) {
        // A child that was forked meanwhile may hold a copy, and then closing alone would leave it in the set.
        self.epoll.remove(socket.as_fd());
    }
}

/// At most so many commands are taken before what they say is sent.
const COMMANDS: usize = 512;
const SCRATCH_BYTES: usize = 16 << 10;

type StreamStates = Vec<Option<(u32, Arc<StreamState>)>>;

fn state_of(states: &StreamStates, stream: StreamId) -> Option<&Arc<StreamState>> {
    let (serial, state) = states.get(stream.slot as usize)?.as_ref()?;
    (*serial == stream.serial).then_some(state)
}

/// What the thread has.
pub(super) struct EventLoop {
    reactor: Reactor<Sockets>,
    link: Arc<ReactorHandle>,
    inbox: Receiver<Envelope>,
    /// Each stream's gauge, by its place.
    states: StreamStates,
    ready: Vec<(StreamId, Ready)>,
}

impl EventLoop {
    /// # Errors
    ///
    /// If there are too many descriptors, or no memory.
    pub(super) fn new(link: Arc<ReactorHandle>) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(link.signal.descriptor(), WAKER)?;
        let sockets = Sockets { epoll, scratch: vec![0; SCRATCH_BYTES] };
        let reactor = Reactor::new(sockets, Instant::now());
        let inbox = link.inbox();
        Ok(Self { reactor, link, inbox, states: Vec::new(), ready: Vec::new() })
    }

    /// The thread's body. A panic ends all streams, and the next one is opened with a new reactor.
    pub(super) fn run(mut self) {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| self.turn_for_ever())) {
            std::mem::forget(cause); // its own drop might panic again
        }
        self.die();
    }

    /// Sleeps while there is nothing to do. What it changes it changes between two forks, so that a child finds sockets
    /// and gauges as they are together.
    fn turn_for_ever(&mut self) {
        loop {
            let turn = between_forks();
            let now = Instant::now();
            for (stream, ready) in self.ready.drain(..) {
                self.reactor.ready(stream, ready, now);
            }
            self.take_commands(now);
            self.reactor.fire(now);
            self.reactor.flush(now);
            self.apply_answers();
            self.count_delay(now.elapsed());
            drop(turn);
            if self.wait(now).is_err() {
                return; // the kernel no longer lets us wait; what there was is told by `die`
            }
        }
    }

    fn take_commands(&mut self, now: Instant) {
        let mut bytes = 0;
        for _ in 0..COMMANDS {
            let Envelope { command, enclosed } = match self.inbox.try_recv() {
                Ok(envelope) => envelope,
                Err(_) => break,
            };
            bytes += command.bytes();
            let mut socket = None;
            if let Some(enclosed) = enclosed {
                socket = enclosed.socket;
                match command {
                    Command::Open { stream, .. } => self.remember(stream, enclosed.state),
                    // The socket comes too late, and is closed: its number may soon be another's.
                    Command::Attach { stream } if self.state(stream).is_none() => enclosed.state.forget_socket(),
                    _ => {}
                }
            }
            if let Command::Release { stream } = command {
                self.release(stream);
            }
            self.reactor.apply(command, socket, now);
        }
        if bytes > 0 {
            count(&self.link.counts.consumed, bytes as u64);
        }
    }

    fn remember(&mut self, stream: StreamId, state: Arc<StreamState>) {
        let slot = stream.slot as usize;
        if slot >= self.states.len() {
            self.states.resize_with(slot + 1, || None);
        }
        self.states[slot] = Some((stream.serial, state));
    }

    /// A gauge that nobody looks at is not needed.
    fn release(&mut self, stream: StreamId) {
        if self.state(stream).map_or(false, |state| !state.is_held() && !state.is_end_wanted()) {
            self.states[stream.slot as usize] = None;
        }
    }

    fn state(&self, stream: StreamId) -> Option<&Arc<StreamState>> {
        state_of(&self.states, stream)
    }

    /// Sleeps if there is nothing to do, and learns what the sockets are ready for.
    fn wait(&mut self, now: Instant) -> io::Result<()> {
        let Self { reactor, link, inbox, ready, .. } = self;
        let may_sleep = !reactor.is_busy() && link.waker.prepare_sleep(|| inbox.is_empty());
        if may_sleep {
            reactor.rest();
        }
        let time = match reactor.next_due() {
            _ if !may_sleep => Some(Duration::ZERO),
            Some(due) => Some(due.saturating_duration_since(now)),
            None => None,
        };
        let waited = reactor.io().epoll.wait(time, |number, event| match number {
            WAKER => link.signal.lower(),
            _ => ready
                .push((number.into(), Ready { writable: event.writable, readable: event.readable, left: event.left })),
        });
        if may_sleep {
            link.waker.end_sleep();
            count(&link.counts.wakeups, 1);
        }
        waited
    }

    fn count_delay(&self, time: Duration) {
        let longest = &self.link.counts.longest_delay_ns;
        let time = time.as_nanos() as u64;
        if time > longest.load(Ordering::Relaxed) {
            longest.store(time, Ordering::Relaxed);
        }
    }

    /// Hands the answers on, and counts.
    fn apply_answers(&mut self) {
        let Self { reactor, link, states, .. } = self;
        let counts = &link.counts;
        let mut has_changed = false;
        let mut delay = Duration::ZERO;
        for answer in reactor.answers() {
            has_changed = true;
            let state = |stream| state_of(states, stream);
            match answer {
                Answer::Added { stream, bytes } => {
                    counts.accepted.fetch_add(bytes as u64, Ordering::Relaxed);
                    count(&counts.consumed, bytes as u64);
                    if let Some(state) = state(stream) {
                        state.add(bytes);
                    }
                }
                Answer::Sent { stream, bytes, events, shared } => {
                    if shared > 0 {
                        counts.accepted.fetch_add(shared as u64, Ordering::Relaxed);
                        count(&counts.consumed, shared as u64);
                    }
                    count(&counts.bytes, bytes as u64);
                    count(&counts.events, events as u64);
                    if let Some(state) = state(stream) {
                        state.add(shared);
                        state.subtract(bytes);
                        state.set_stalled(false);
                    }
                }
                Answer::Stalled { stream } => {
                    if let Some(state) = state(stream) {
                        state.set_stalled(true);
                    }
                }
                Answer::Lost { stream, lost } => {
                    count(&counts.lost, lost.events as u64);
                    count(&counts.lost_bytes, lost.bytes as u64);
                    if let Some(state) = state(stream) {
                        state.subtract(lost.bytes);
                    }
                }
                Answer::Ended { stream, reason } => {
                    count(&counts.ended[reason as usize], 1);
                    if let Some(state) = state(stream) {
                        if state.end(reason) {
                            link.post(state.interpreter, state.name, reason);
                        }
                    }
                }
                Answer::Closed { stream } => {
                    count(&counts.closed, 1);
                    if let Some(state) = state(stream) {
                        state.forget_socket();
                    }
                    if let Some(place) = states.get_mut(stream.slot as usize) {
                        *place = None;
                    }
                    link.free(stream);
                }
                Answer::Delayed { time } => delay = delay.max(time),
                Answer::Counted { ticket, counts, subscribers } => link.answer(ticket, *counts, subscribers),
                Answer::Topics { stream, fewer } => {
                    if let Some(state) = state(stream) {
                        state.remove_topics(fewer);
                    }
                }
                Answer::Finished => link.tell_finished(),
            }
        }
        if has_changed {
            link.tell_change();
        }
        self.count_delay(delay);
    }

    /// The reactor is no more: every stream ends, and what was sent to it from here on is lost.
    fn die(mut self) {
        let _turn = between_forks();
        self.link.die();
        let lost = self.reactor.discard();
        self.link.count_lost(lost.events, lost.bytes);
        for (_, state) in self.states.iter().flatten() {
            state.forget_socket();
            self.link.end_with_error(state);
        }
        self.link.tell_finished();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Shared;
    use crate::hub::Publication;
    use crate::reactor::{Beginning, Ending};
    use crate::runtime::reactor_handle::Enclosed;
    use crate::stream::{Framing, Reason, Settings};
    use bytes::Bytes;
    use std::os::unix::net::UnixStream;

    const SETTINGS: Settings = Settings {
        framing: Framing::Plain,
        keepalive: None,
        timeout: Duration::from_secs(60),
        max_buffered: 1000,
        drop_oldest: false,
        retry: Duration::ZERO,
    };

    fn open(link: &ReactorHandle) -> (StreamId, Arc<StreamState>, UnixStream) {
        let (socket, client) = UnixStream::pair().expect("a pair of sockets");
        let stream = link.new_stream();
        let state = Arc::new(StreamState::new(stream, 4, 7));
        let head = Bytes::from_static(b"head");
        let enclosed = Enclosed { socket: Some(socket.into()), state: Arc::clone(&state) };
        link.count_open();
        let beginning = Box::new(Beginning { settings: SETTINGS, head, is_inherited: false });
        link.send(Command::Open { stream, beginning }, 4, Some(Box::new(enclosed)));
        (stream, state, client)
    }

    fn reactor() -> (Arc<ReactorHandle>, EventLoop) {
        let link = Arc::new(ReactorHandle::new().expect("a descriptor"));
        let reactor = EventLoop::new(Arc::clone(&link)).expect("a descriptor");
        (link, reactor)
    }

    fn publication() -> Box<Publication> {
        let event = Shared::write(16, |out| {
            out[..4].copy_from_slice(b"x\n\n\n");
            4
        });
        Box::new(Publication { seq: 1, channel: b"news"[..].into(), event, key: Box::default(), id: None })
    }

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn a_reactor_that_dies_tells_of_every_stream_that_had_not_ended() {
        let (link, mut reactor) = reactor();
        let (held, ended) = (open(&link), open(&link));
        let end = Command::End { stream: ended.0, reason: Reason::Application, ending: Ending::Flush };
        link.send(end, 0, None);
        reactor.take_commands(Instant::now());
        reactor.reactor.flush(Instant::now());
        reactor.apply_answers();
        let unseen = open(&link);
        link.send(Command::Push { stream: unseen.0, event: Bytes::from_static(b"event") }, 5, None);
        for (_, state, _) in [&held, &unseen] {
            assert_eq!(state.want_end(), None);
        }
        reactor.die();
        assert!(link.is_dead());
        assert_eq!(
            [&held, &ended, &unseen].map(|(_, state, _)| state.reason()),
            [Reason::Error, Reason::Application, Reason::Error].map(Some)
        );
        assert_eq!([&held, &ended, &unseen].map(|(_, state, _)| state.take_socket()), [None; 3]);
        let told: Vec<_> = std::iter::from_fn(|| link.take_ended(7)).collect();
        assert_eq!(told, [(unseen.0, Reason::Error), (held.0, Reason::Error)]);
        let stats = link.counts.stats();
        assert_eq!((stats.opened, stats.ended, stats.lost), (3, [0, 0, 0, 2, 0, 1], 1));
        link.wait_until_finished(Duration::MAX); // at once
    }

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn what_is_sent_to_a_reactor_that_has_died_is_lost() {
        let (link, reactor) = reactor();
        let before = open(&link);
        link.publish(Command::Publish { hub: 0, publication: publication() });
        reactor.die();
        assert_eq!((link.stats().lost, link.stats().buffered), (1, 0));
        // From threads that had looked before it died.
        link.publish(Command::Publish { hub: 0, publication: publication() });
        link.send(Command::Push { stream: before.0, event: Bytes::from_static(b"event") }, 5, None);
        let after = open(&link);
        assert_eq!((link.stats().lost, link.stats().buffered), (3, 0));
        assert_eq!([&before, &after].map(|(_, state, _)| state.reason()), [Some(Reason::Error); 2]);
        assert_eq!([&before, &after].map(|(_, state, _)| state.take_socket()), [None; 2]);
        assert_eq!((link.stats().open, link.stats().ended), (0, [0, 0, 0, 2, 0, 0]));
    }

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn what_threads_publish_while_the_reactor_dies_was_taken_or_is_lost() {
        const THREADS: u64 = 3;
        let size = publication().size() as u64;
        for turns in 0..300 {
            let (link, mut reactor) = reactor();
            let publish = || {
                let mut accepted = 0;
                while !link.is_dead() {
                    link.publish(Command::Publish { hub: 0, publication: publication() });
                    accepted += 1;
                }
                accepted
            };
            let accepted: u64 = std::thread::scope(|scope| {
                let threads = [(); THREADS as usize].map(|()| scope.spawn(publish));
                while link.counts.accepted.load(Ordering::Relaxed) < THREADS * size {
                    std::thread::yield_now();
                }
                (0..turns % 10).for_each(|_| reactor.take_commands(Instant::now()));
                reactor.die();
                threads.into_iter().map(|thread| thread.join().expect("it publishes")).sum()
            });
            let taken = link.counts.consumed.load(Ordering::Relaxed) / size;
            assert_eq!(taken + link.stats().lost, accepted);
            assert_eq!(link.stats().buffered, 0);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn what_is_lost_after_the_next_reactor_has_started_counts_too() {
        let (dead, reactor) = reactor();
        reactor.die();
        let mut next = ReactorHandle::new().expect("a descriptor");
        next.succeed(&dead);
        dead.publish(Command::Publish { hub: 0, publication: publication() });
        let mut last = ReactorHandle::new().expect("a descriptor");
        last.succeed(&next);
        assert_eq!([next.stats().lost, last.stats().lost], [1, 1]);
    }
}
