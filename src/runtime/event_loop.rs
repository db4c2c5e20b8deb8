//! The reactor's thread: takes commands, waits for sockets, applies the answers.
//!
//! One thread writes all streams of a process. Three alternatives were measured:
//!
//! - Writing to idle sockets from the producer's thread saved no CPU time (6.1 against 5.9 seconds per million deliveries),
//!   and the producer paid for the system calls.
//! - A pause after a long turn, so that more events share a send, gained nothing measurable.
//! - A second thread on another core: two hub processes with half of the streams each delivered 1.14 times as much as one on
//!   an Intel Xeon and 0.38 times on an AMD EPYC, both with two cores that the clients use too (`bench/hub_process threads`).
//!   An ordering between reactors is worth its complexity from a factor of 1.6 on.

pub(crate) mod streams;

use self::streams::{seconds_now, Context, Sockets, StreamTable};
use super::generation::lock_turn;
use super::reactor_handle::{Pause, Queued, ReactorHandle, StreamParts};
use super::remote::links::Links;
use super::stats::add;
use super::stream_state::WAKER_TOKEN;
use super::wake::channel::receive;
use super::wake::end_signal::EndSignal;
use super::wake::waker::Rest;
use crate::histogram::Scale;
use crate::reactor::{Command, Reactor, Ready, StreamId};
use crate::sys::epoll::Epoll;
use crate::wire::Handover;
use crossbeam_channel::Receiver;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most commands that are taken before the reactor sends what they ask for.
const MAX_COMMANDS: usize = 512;

/// The serial number in what epoll reports of a connection to a hub process. No stream has it.
const NO_STREAM: u32 = 0;

/// The time for which the reactor naps between streams that are opened one after the other.
const NAP: Duration = Duration::from_millis(1);

/// The reactor with its thread's side of the queue.
pub(crate) struct EventLoop {
    reactor: Reactor<Sockets>,
    handle: Arc<ReactorHandle>,
    queue: Receiver<Queued>,
    streams: StreamTable,
    /// The connections to hub processes.
    links: Links,
    ready: Vec<(StreamId, Ready)>,
    /// The number of events that this turn has taken.
    published: u64,
    /// The last turn that has opened a stream.
    opened: Option<Instant>,
    rest: Rest,
    end_signal: EndSignal,
    pause: Option<Box<Pause>>,
    /// Applies what the reactor has reported of members. Returns false if that has to be tried again.
    apply_presence: fn(&Arc<ReactorHandle>, Instant) -> bool,
}

impl EventLoop {
    /// Creates the reactor and its epoll set. Fails if the system has no descriptor or no memory left.
    pub(crate) fn new(
        handle: Arc<ReactorHandle>,
        apply_presence: fn(&Arc<ReactorHandle>, Instant) -> bool,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(handle.signal.descriptor(), WAKER_TOKEN)?;
        Ok(Self {
            reactor: Reactor::new(Sockets::new(epoll), Instant::now()),
            queue: handle.queue(),
            streams: StreamTable::new(Arc::clone(&handle)),
            handle,
            links: Links::default(),
            ready: Vec::new(),
            published: 0,
            opened: None,
            rest: Rest::Sleep,
            end_signal: EndSignal::new(),
            pause: None,
            apply_presence,
        })
    }

    /// Hands over what the reactor holds, and waits until it is to continue.
    fn pause(&mut self, Pause { mut file, hub, may_continue, stopped, has_more, done, resumed, .. }: Pause) {
        while stopped.send(()).is_ok() {
            match receive(&has_more, None) {
                Ok(true) => self.take_last_commands(),
                Ok(false) => break,
                Err(_) => return, // nobody hands over any more
            }
        }
        let now = Instant::now();
        file.at = now;
        if let Some(hub) = hub {
            file.add_hub(&self.reactor, hub);
        }
        self.reactor.hand_over(may_continue, now, |id, handed, request| file.add_stream(id, handed, request));
        if may_continue {
            self.reactor.hand_over_liveness(now, |id, liveness| {
                file.add(&Handover::Liveness { stream: id.into(), liveness });
            });
        }
        if done.send(file).is_ok() {
            let _ = receive(&resumed, None); // fails when the other end is dropped
        }
    }

    /// Takes all commands and sends what follows from them, as a turn does, but looks at no socket.
    fn take_last_commands(&mut self) {
        let (_turn, now) = (lock_turn(), Instant::now());
        while let Ok(queued) = self.queue.try_recv() {
            self.take_command(queued, now);
        }
        self.apply_answers();
        self.reactor.flush(now);
        self.apply_answers();
    }

    /// The thread's body. A panic ends all streams, and the next stream starts a new reactor.
    pub(crate) fn run(mut self) {
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| self.run_turns())) {
            std::mem::forget(cause); // its own drop might panic again
            #[cfg(feature = "sim")]
            crate::sys::sim::world().end_if_killed();
        }
        if self.handle.is_lost() {
            return std::mem::forget(self);
        }
        self.die();
    }

    /// Runs until the kernel no longer lets the thread wait, or the process has closed its descriptors. No fork happens during
    /// a turn, so a child finds the sockets and the states of their streams in step.
    fn run_turns(&mut self) {
        loop {
            let turn = lock_turn();
            let now = Instant::now();
            self.handle_readiness(now);
            self.take_commands(now);
            self.apply_answers(); // who waits for one does not wait for what is sent, too
            self.reactor.run_due(now);
            self.with_links(|links, context| links.run_due(now, context));
            self.reactor.flush(now);
            self.with_links(Links::flush);
            self.apply_answers();
            self.apply_presence_if_due(now);
            self.end_signal.fire(&self.handle.ends, now);
            self.handle.running_handler.report_if_due(now);
            let delay = now.elapsed();
            self.handle.counts.record_delay(delay.as_nanos() as u64);
            if self.published > 0 {
                self.handle.counts.send.record(&Scale::DELAYS, delay, std::mem::take(&mut self.published));
            }
            drop(turn);
            if let Some(pause) = self.pause.take() {
                match self.queue.is_empty() && (!self.reactor.is_busy() || Instant::now() >= pause.until) {
                    true => self.pause(*pause),
                    false => self.pause = Some(pause), // events of members, or something is to be sent
                }
            }
            let waited = self.wait(now);
            if waited.is_err() && self.handle.signal.is_closed() {
                self.handle.lose();
            }
            if waited.is_err() || self.handle.is_lost() {
                return;
            }
        }
    }

    /// Handles what the sockets are ready for, as the last wait has noted it.
    fn handle_readiness(&mut self, now: Instant) {
        let mut all = std::mem::take(&mut self.ready);
        for (stream, ready) in all.drain(..) {
            match stream.serial {
                NO_STREAM => self.with_links(|links, context| links.handle_readiness(stream.slot, ready, context)),
                _ => self.reactor.handle_readiness(stream, ready, now),
            }
        }
        self.ready = all;
    }

    fn take_commands(&mut self, now: Instant) {
        let mut bytes = 0;
        let opened = self.opened;
        self.rest = Rest::Sleep;
        for _ in 0..MAX_COMMANDS {
            if self.reactor.is_turn_over() {
                break;
            }
            match self.queue.try_recv() {
                Ok(queued) => {
                    bytes += queued.bytes();
                    self.take_command(queued, now);
                }
                Err(_) => break,
            }
        }
        if self.opened == Some(now) && opened.map_or(false, |before| now.duration_since(before) < 2 * NAP) {
            self.rest = Rest::Nap;
        }
        if bytes > 0 {
            add(&self.handle.counts.consumed, bytes as u64);
        }
    }

    /// Calls a function with the connections to hub processes.
    fn with_links<T>(&mut self, function: impl FnOnce(&mut Links, &mut Context<'_>) -> T) -> T {
        let Self { reactor, streams, links, handle, .. } = self;
        function(links, &mut Context { reactor, streams, handle })
    }

    fn take_command(&mut self, queued: Queued, now: Instant) {
        match queued {
            Queued::Command(Command::ReleaseState { stream }) => {
                if !self.with_links(|links, context| links.release(stream, context)) {
                    self.streams.release(stream);
                }
            }
            Queued::Command(command) => {
                // A client may have closed a stream in this turn, and opens another one in its place.
                if matches!(&command, Command::Ask { question, .. } if question.reserves()) {
                    let _ = self.poll_sockets(Some(Duration::ZERO)); // the wait after the turn fails, too
                    self.handle_readiness(now);
                }
                self.published += u64::from(match command {
                    Command::Publish { .. } => true,
                    Command::PublishStored { .. } => self.handle.counts.sockets() > 0, // a history is read before
                    _ => false,
                });
                if !self.with_links(|links, context| links.forward(&command, context)) {
                    self.reactor.apply(command, None, now);
                }
            }
            Queued::Stream(command, parts) => self.take_stream(command, parts, now),
            Queued::Link(command) => self.with_links(|links, context| links.apply(*command, context)),
            Queued::Pause(pause) => self.pause = Some(pause),
        }
    }

    fn take_stream(&mut self, command: Command, StreamParts { mut socket, state }: StreamParts, now: Instant) {
        self.opened = Some(now);
        match command {
            Command::Open { stream, .. } => {
                self.streams.insert(stream, state);
                self.streams.set_opened(stream, seconds_now());
            }
            Command::Attach { stream } => {
                socket = socket.and_then(|socket| self.links.attach(stream, socket));
                // Another process has the stream, or it has ended before its socket came. The reactor closes the socket,
                // and its number may be reused.
                if socket.is_none() || self.streams.get(stream).is_none() {
                    state.clear_socket();
                }
                if socket.is_none() {
                    return;
                }
            }
            _ => {}
        }
        self.reactor.apply(command, socket, now);
    }

    /// Waits for sockets, commands and timers, unless there is something left to do. Notes which sockets are ready.
    fn wait(&mut self, now: Instant) -> io::Result<()> {
        let Self { reactor, handle, queue, rest, end_signal, links, .. } = self;
        let is_nap = *rest == Rest::Nap;
        let may_rest = !reactor.is_busy() && handle.waker.prepare_rest(*rest, || queue.is_empty());
        if may_rest && !is_nap {
            reactor.shrink();
        }
        let due = reactor
            .next_due()
            .into_iter()
            .chain(end_signal.due)
            .chain(handle.presence.next_due())
            .chain(handle.running_handler.next_due())
            .chain(links.next_due())
            .min();
        let timeout = match due {
            _ if !may_rest => Some(Duration::ZERO),
            Some(due) if is_nap => Some(due.saturating_duration_since(now).min(NAP)),
            Some(due) => Some(due.saturating_duration_since(now)),
            None if is_nap => Some(NAP),
            None => None,
        };
        let waited = self.poll_sockets(timeout);
        if may_rest {
            self.handle.waker.end_rest();
            add(&self.handle.counts.wakeups, 1);
        }
        waited
    }

    /// Notes which sockets are ready, and waits for one at most for this time.
    fn poll_sockets(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let Self { reactor, handle, ready, .. } = self;
        reactor.io().epoll.wait(timeout, |token, event| match token {
            WAKER_TOKEN => handle.signal.lower(),
            _ => ready.push((
                token.into(),
                Ready { writable: event.writable, readable: event.readable, hung_up: event.hung_up },
            )),
        })
    }

    fn apply_answers(&mut self) {
        let mut has_changed = false;
        for answer in self.reactor.take_answers() {
            has_changed = true;
            self.streams.apply(answer);
        }
        // A stream that was handed over is sent what was pushed before, too. Who waits for this has a timeout.
        if self.reactor.has_shut_down() && !self.links.has_queued() {
            self.handle.complete_shutdown();
        }
        if has_changed {
            self.handle.notify_all();
        }
    }

    /// Applies what the reactor has reported of members, and does what is due for them. Not before a pause: what is published
    /// then would be neither in the queue nor in a log.
    fn apply_presence_if_due(&self, now: Instant) {
        let is_due = self.pause.is_none() && self.handle.presence.next_due().map_or(false, |due| due <= now);
        if is_due && !(self.apply_presence)(&self.handle, now) {
            self.handle.presence.retry_later(now);
        }
    }

    /// Ends all streams with `error`, for the reactor stops. Commands that are sent from here on count as lost.
    fn die(mut self) {
        let _turn = lock_turn();
        self.handle.mark_dead();
        let lost = self.reactor.discard();
        self.handle.count_lost(lost.events, lost.bytes);
        for (_, state) in self.streams.streams() {
            state.clear_socket();
            self.handle.end_with_error(&state);
        }
        self.handle.complete_shutdown();
    }
}

#[cfg(all(test, not(miri)))] // system calls
mod tests {
    use super::*;
    use crate::compression::{Body, ContentCoding};
    use crate::event::Shared;
    use crate::hub::{self, Access, Call, Question, Reply, SequencedEvent, SubscribeRequest};
    use crate::log::Bounds;
    use crate::reactor::{Ending, StreamInit};
    use crate::runtime::stream_state::StreamState;
    use crate::stream::{Framing, LineEnd, Reason, Settings};
    use bytes::Bytes;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::Ordering;

    const SETTINGS: Settings = Settings {
        framing: Framing::Plain,
        coding: ContentCoding::Identity,
        line_end: LineEnd::Lf,
        keepalive: None,
        timeout: Duration::from_secs(60),
        max_buffered: 1000,
        drop_oldest: false,
        retry: Duration::ZERO,
    };

    fn open(handle: &ReactorHandle) -> (StreamId, Arc<StreamState>, UnixStream) {
        let (socket, client) = UnixStream::pair().expect("a pair of sockets");
        let stream = handle.new_stream();
        let state = Arc::new(StreamState::new(stream, 4, 7));
        let head = Bytes::from_static(b"head");
        let parts = StreamParts { socket: Some(socket.into()), state: Arc::clone(&state) };
        handle.count_opened();
        let init = Arc::new(StreamInit {
            settings: SETTINGS,
            head,
            content: Bytes::new(),
            body: Body::default(),
            is_inherited: false,
            members_of: None,
            liveness: None,
        });
        handle.send_queued(Queued::Stream(Command::Open { stream, init }, parts));
        (stream, state, client)
    }

    fn event_loop() -> (Arc<ReactorHandle>, EventLoop) {
        let handle = Arc::new(ReactorHandle::new().expect("a descriptor"));
        let event_loop = EventLoop::new(Arc::clone(&handle), |_, _| true).expect("a descriptor");
        (handle, event_loop)
    }

    fn numbered() -> Box<SequencedEvent> {
        let event = Shared::of(b"x\n\n\n");
        Box::new(SequencedEvent {
            seq: 1,
            channel: b"news"[..].into(),
            event,
            key: Box::default(),
            retain: Default::default(),
            has_custom_id: false,
        })
    }

    #[test]
    fn a_reactor_that_dies_ends_its_open_streams_with_reason_error() {
        let (handle, mut event_loop) = event_loop();
        let (known, ended) = (open(&handle), open(&handle));
        let end = Command::End { stream: ended.0, reason: Reason::Application, ending: Ending::Flush };
        handle.send(end);
        event_loop.take_commands(Instant::now());
        event_loop.reactor.flush(Instant::now());
        event_loop.apply_answers();
        let unseen = open(&handle);
        handle.send(Command::Push { stream: unseen.0, event: Bytes::from_static(b"event"), has_id: false });
        for (_, state, _) in [&known, &unseen] {
            assert_eq!(state.report_end_or_reason(), None);
        }
        event_loop.die();
        assert!(handle.is_dead());
        assert_eq!(
            [&known, &ended, &unseen].map(|(_, state, _)| state.reason()),
            [Reason::Error, Reason::Application, Reason::Error].map(Some)
        );
        assert_eq!([&known, &ended, &unseen].map(|(_, state, _)| state.take_socket()), [None; 3]);
        let reported: Vec<_> = std::iter::from_fn(|| handle.ends.take(7)).collect();
        assert_eq!(reported, [(unseen.0, Reason::Error), (known.0, Reason::Error)]);
        let stats = handle.counts.stats();
        assert_eq!((stats.opened, stats.ended, stats.lost[Reason::Error as usize]), (3, [0, 0, 0, 2, 0, 1], 1));
        handle.wait_for_shutdown(Duration::MAX); // at once
    }

    #[test]
    fn a_client_that_has_closed_its_stream_in_this_turn_may_begin_another_one() {
        let (handle, mut event_loop) = event_loop();
        let (stream, _, client) = open(&handle);
        let label: Box<[u8]> = b"\0=ann"[..].into();
        let bounds = Bounds { events: 1, bytes: 1000, age: Duration::MAX };
        let settings = Box::new(hub::Settings::new(bounds, bounds));
        let epoch = hub::Epoch::new("e", None);
        let access = Access { labels: vec![label.clone()], ..Access::default() };
        let request = Box::new(SubscribeRequest { access, ..SubscribeRequest::default() });
        handle.send(Command::CreateHub { hub: 0, epoch, settings, history: None });
        handle.send(Command::Subscribe { hub: 0, stream, request, holds: false });
        event_loop.take_commands(Instant::now());
        event_loop.reactor.flush(Instant::now());
        drop(client);
        std::thread::scope(|scope| {
            let call = Call::Reserve { label, most: 1, asked_at: 1 };
            let question = Question::Call { call, at: 0 };
            let asked = scope.spawn(|| handle.ask(0, question, Duration::from_secs(60)));
            while !asked.is_finished() {
                event_loop.take_commands(Instant::now());
                event_loop.apply_answers();
            }
            assert_eq!(asked.join().expect("no panic"), Some(hub::Answer::Reply(Reply::Number(1))));
        });
    }

    fn all_lost(handle: &ReactorHandle) -> u64 {
        handle.stats().lost.iter().sum()
    }

    #[test]
    fn commands_sent_to_a_dead_reactor_count_as_lost() {
        let (handle, event_loop) = event_loop();
        let before = open(&handle);
        handle.send_event(Command::Publish { hub: 0, event: numbered() }, true);
        event_loop.die();
        assert_eq!((all_lost(&handle), handle.stats().buffered), (1, 0));
        // Threads that checked before the reactor died send these.
        handle.send_event(Command::Publish { hub: 0, event: numbered() }, true);
        handle.send(Command::Push { stream: before.0, event: Bytes::from_static(b"event"), has_id: false });
        let after = open(&handle);
        assert_eq!((all_lost(&handle), handle.stats().buffered), (3, 0));
        assert_eq!([&before, &after].map(|(_, state, _)| state.reason()), [Some(Reason::Error); 2]);
        assert_eq!([&before, &after].map(|(_, state, _)| state.take_socket()), [None; 2]);
        assert_eq!((handle.stats().open, handle.stats().ended), (0, [0, 0, 0, 2, 0, 0]));
    }

    #[test]
    fn each_event_published_while_the_reactor_dies_is_taken_or_counts_as_lost() {
        const THREADS: u64 = 3;
        let size = numbered().size() as u64;
        for turns in 0..300 {
            let (handle, mut event_loop) = event_loop();
            let publish = || {
                let mut accepted = 0;
                while !handle.is_dead() {
                    handle.send_event(Command::Publish { hub: 0, event: numbered() }, true);
                    accepted += 1;
                }
                accepted
            };
            let accepted: u64 = std::thread::scope(|scope| {
                let threads = [(); THREADS as usize].map(|()| scope.spawn(publish));
                while handle.counts.accepted.load(Ordering::Relaxed) < THREADS * size {
                    std::thread::yield_now();
                }
                (0..turns % 10).for_each(|_| event_loop.take_commands(Instant::now()));
                event_loop.die();
                threads.into_iter().map(|thread| thread.join().expect("the thread publishes")).sum()
            });
            let taken = handle.counts.consumed.load(Ordering::Relaxed) / size;
            assert_eq!(taken + all_lost(&handle), accepted);
            assert_eq!(handle.stats().buffered, 0);
        }
    }

    #[test]
    fn an_event_sent_to_a_dead_reactor_counts_as_lost_in_its_successors() {
        let (dead, event_loop) = event_loop();
        event_loop.die();
        let mut next = ReactorHandle::new().expect("a descriptor");
        next.replace(&dead);
        dead.send_event(Command::Publish { hub: 0, event: numbered() }, true);
        let mut last = ReactorHandle::new().expect("a descriptor");
        last.replace(&next);
        assert_eq!([&next, &last].map(all_lost), [1, 1]);
    }
}
