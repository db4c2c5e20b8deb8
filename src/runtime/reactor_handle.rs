//! The queue of commands to the reactor, and what threads share with the reactor.

use super::mailbox::{Mail, Mailbox, PresenceReport, PresenceReports};
use super::remote::links::connection::LinkCommand;
use super::running_handler::RunningHandler;
use super::stats::Counts;
use super::stream_state::{StreamIds, StreamState};
use super::wake::end_queue::EndQueues;
use super::wake::notifier::Notifier;
use super::wake::sync::lock;
use super::wake::waker::Waker;
use crate::histogram::Times;
use crate::hub::{Answer, PresenceChange, Question};
use crate::reactor::{Command, HubId, StreamId, StreamInit};
use crate::runtime::handover_file::HandoverFile;
use crate::stream::{after, share, Reason, Settings, Stats};
use crate::sys::descriptor;
use crate::sys::epoll::Signal;
use crossbeam_channel::{unbounded, Receiver, SendError, Sender};
use rustix::fd::OwnedFd;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{fence, AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The requests to the event loop, in the order of the queue.
#[derive(Debug)]
pub(crate) enum Queued {
    /// A command for the reactor.
    Command(Command),
    /// A command that gives the reactor a stream or its socket.
    Stream(Command, StreamParts),
    /// A command for the connections to hub processes.
    Link(Box<LinkCommand>),
    /// Asks the reactor to stop at the end of its turn.
    Pause(Box<Pause>),
}

/// The socket and the state of a stream.
#[derive(Debug)]
pub(crate) struct StreamParts {
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) state: Arc<StreamState>,
}

impl Queued {
    /// The bytes of events that it carries.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Command(command) | Self::Stream(command, _) => command.bytes(),
            Self::Link(_) | Self::Pause(_) => 0,
        }
    }

    /// Returns true if it is for a stream, which may be in a hub process, and changes what that is sent.
    fn may_be_forwarded(&self) -> bool {
        use Command::{BeginSubscription, End, Push, Refuse};
        matches!(self, Self::Command(Push { .. } | End { .. } | Refuse { .. } | BeginSubscription { .. }))
    }
}

/// A request to stop at the end of a turn.
#[derive(Debug)]
pub(crate) struct Pause {
    /// Takes what the reactor hands over.
    pub(super) file: Box<HandoverFile>,
    /// The hub that continues.
    pub(super) hub: Option<HubId>,
    /// True if streams may continue.
    pub(super) may_continue: bool,
    /// The time until which streams are sent what they can be before.
    pub(super) until: Instant,
    /// Is told that the reactor has stopped: everything is reported. The answer says whether it has to take commands once more,
    /// because events were made of what was reported.
    pub(super) stopped: Sender<()>,
    pub(super) has_more: Receiver<bool>,
    /// Takes the file when everything is in it.
    pub(super) done: Sender<Box<HandoverFile>>,
    /// The reactor continues when the other end is dropped.
    pub(super) resumed: Receiver<()>,
}

/// The line of the log about a process that has closed descriptors which are not its own.
const LOST: &str = "EventSource::XS: this process has closed all descriptors, also those of its streams and hubs: the streams \
    have ended, and a hub without a name has lost its history. Close them before the first stream or hub, or fork first.\n";

/// The id of requests whose answers no thread waits for.
pub(super) const UNAWAITED: u64 = 0;

per_process! {
    /// The number of the next request, in whichever reactor.
    static NEXT_REQUEST: AtomicU64 = AtomicU64::new(UNAWAITED + 1);
}

/// The one who waits for an answer.
#[derive(Debug)]
enum Requester {
    /// A thread, with the answer once that has arrived.
    Thread(Option<Answer>),
    /// Whoever reads the mailbox.
    Mailbox,
}

/// A reactor as other threads see it.
#[derive(Debug)]
pub(crate) struct ReactorHandle {
    commands: Sender<Queued>,
    /// The reactor receives from a clone. This one is for commands that are sent after the reactor has died.
    queue: Receiver<Queued>,
    /// The number of commands that were queued that a hub process may have to carry out.
    forwarded: AtomicU64,
    pub(super) waker: Waker,
    /// Wakes the reactor's thread from `epoll_wait`.
    pub(super) signal: Signal,
    pub(crate) counts: Arc<Counts>,
    is_dead: AtomicBool,
    is_lost: AtomicBool,
    is_shut_down: AtomicBool,
    notifier: Notifier,
    /// The ends of streams that interpreters have yet to take.
    pub(crate) ends: Arc<EndQueues>,
    /// All that the thread that serves other processes is still to be told.
    pub(super) mailbox: Arc<Mailbox>,
    /// All that hubs with members are still to be told of streams.
    pub(super) presence: PresenceReports,
    /// The handler whose stream is one of this reactor.
    pub(super) running_handler: RunningHandler,
    /// The counters of the reactors before this one. A thread may still count what it sent to a dead one.
    past: Vec<Arc<Counts>>,
    streams: StreamIds,
    hubs: AtomicU32,
    /// The requests that somebody waits for, by their numbers.
    requests: Mutex<HashMap<u64, Requester>>,
    settings: Mutex<Option<Arc<Settings>>>,
    init: Mutex<Option<Arc<StreamInit>>>,
}

impl ReactorHandle {
    /// The most bytes of events that may be in the queue. The reactor takes commands quickly, because it never waits for a
    /// client. A producer that is faster waits for the reactor.
    const MAX_QUEUED_BYTES: u64 = 64 << 20;

    /// Creates the handle and the waker's descriptor. Fails if the system has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        let (commands, queue) = unbounded();
        Ok(Self {
            commands,
            queue,
            forwarded: AtomicU64::new(0),
            waker: Waker::new(),
            signal: Signal::new()?,
            counts: Arc::default(),
            is_dead: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            is_shut_down: AtomicBool::new(false),
            notifier: Notifier::default(),
            ends: Arc::default(),
            mailbox: Arc::default(),
            presence: PresenceReports::default(),
            running_handler: RunningHandler::default(),
            past: Vec::new(),
            streams: StreamIds::default(),
            hubs: AtomicU32::new(0),
            requests: Mutex::default(),
            settings: Mutex::default(),
            init: Mutex::default(),
        })
    }

    /// Continues a dead reactor: keeps its queues of ended streams with the descriptors that event loops watch, and its
    /// counters. No hub gets a number that a hub of the dead reactor has, because that hub's handle may still exist.
    pub(super) fn replace(&mut self, dead: &Self) {
        if !dead.is_lost() {
            self.ends = Arc::clone(&dead.ends);
            self.mailbox = Arc::clone(&dead.mailbox);
        }
        self.hubs = AtomicU32::new(dead.hubs.load(Ordering::Relaxed));
        self.past = dead.past.clone();
        self.past.push(Arc::clone(&dead.counts));
    }

    /// Returns the counters of this reactor and of those before it, as those of one.
    fn total(&self) -> Counts {
        let total = self.counts.copy();
        self.past.iter().for_each(|dead| total.add_dead(dead));
        total
    }

    /// Returns the receiving end of the queue, for the reactor.
    pub(super) fn queue(&self) -> Receiver<Queued> {
        self.queue.clone()
    }

    /// Sends a command to the reactor. Waits while too many bytes are queued. If the reactor has died, the command counts as
    /// lost.
    pub(super) fn send(&self, command: Command) {
        self.send_queued(Queued::Command(command));
    }

    /// Sends something else to the event loop, as [`send`](Self::send) does.
    pub(crate) fn send_queued(&self, queued: Queued) {
        self.queue_up(queued, true);
        self.wake();
    }

    /// Sends a command to the connections to hub processes.
    pub(crate) fn send_link(&self, command: LinkCommand) {
        self.send_queued(Queued::Link(Box::new(command)));
    }

    /// Sends a command that need not end a nap of the reactor.
    pub(super) fn send_soon(&self, queued: Queued) {
        self.queue_up(queued, true);
        self.wake_soon();
    }

    /// Sends a command without waking the reactor. A [`wake`](Self::wake) or another command is to follow soon.
    ///
    /// The caller may hold the lock of the process while this waits: the reactor never takes that lock.
    pub(super) fn queue_up(&self, queued: Queued, may_wait: bool) {
        let bytes = queued.bytes();
        if bytes > 0 {
            let before = self.counts.accepted.fetch_add(bytes as u64, Ordering::Relaxed);
            if may_wait && self.queued_bytes(before) > Self::MAX_QUEUED_BYTES {
                let has_room = || self.queued_bytes(before) <= Self::MAX_QUEUED_BYTES / 2 || self.is_dead();
                while !self.wait(Duration::from_millis(50), has_room) {}
            }
        }
        let is_forwarded = queued.may_be_forwarded();
        if let Err(SendError(queued)) = self.commands.send(queued) {
            self.discard(queued);
        }
        if is_forwarded {
            self.count_forwarded();
        }
    }

    /// Counts a command that a hub process has to carry out. Called when it is in the queue: another thread that has seen the
    /// count queues what comes after it.
    pub(crate) fn count_forwarded(&self) {
        self.forwarded.fetch_add(1, Ordering::Release);
    }

    /// Returns how many commands were queued that a hub process may have to carry out, those of this thread among them.
    pub(crate) fn forwarded(&self) -> u64 {
        self.forwarded.load(Ordering::Acquire)
    }

    /// Wakes the reactor if it sleeps and a command is queued.
    pub(super) fn wake(&self) {
        self.raise_if(self.waker.wake());
    }

    /// Wakes the reactor if it sleeps and a command is queued. A nap of the reactor continues.
    pub(super) fn wake_soon(&self) {
        self.raise_if(self.waker.wake_from_sleep());
    }

    fn raise_if(&self, must_signal: bool) {
        if must_signal && !self.signal.raise() {
            self.lose();
        }
        // The waker has a fence after the command was queued, and `mark_dead` has one before the reactor's last look
        // into the queue. So either the reactor finds the command there, or this thread sees that the reactor has died.
        if self.is_dead() {
            self.discard_queue();
        }
    }

    /// Sends an event to publish. Its bytes are counted apart, because no stream has buffered them yet. The reactor's own
    /// thread may not wait for itself.
    pub(super) fn send_event(&self, command: Command, may_wait: bool) {
        self.counts.published_bytes.fetch_add(command.bytes() as u64, Ordering::Relaxed);
        self.queue_up(Queued::Command(command), may_wait);
        self.wake();
    }

    fn queued_bytes(&self, accepted: u64) -> u64 {
        accepted.saturating_sub(self.counts.consumed.load(Ordering::Relaxed))
    }

    /// Asks a hub of the reactor, and waits for the answer. Returns nothing if the reactor does not answer in time.
    pub(super) fn ask(&self, hub: HubId, question: Question, timeout: Duration) -> Option<Answer> {
        let request_id = self.send_question(hub, question, Requester::Thread(None));
        let is_answered = || matches!(lock(&self.requests).get(&request_id), Some(Requester::Thread(Some(_))));
        self.wait(timeout, || is_answered() || self.is_dead());
        match lock(&self.requests).remove(&request_id) {
            Some(Requester::Thread(answer)) => answer,
            _ => None,
        }
    }

    /// Asks a hub of the reactor. Returns the number with which the answer comes in the mailbox.
    pub(super) fn ask_later(&self, hub: HubId, question: Question) -> u64 {
        self.send_question(hub, question, Requester::Mailbox)
    }

    fn send_question(&self, hub: HubId, question: Question, requester: Requester) -> u64 {
        let request_id = NEXT_REQUEST.fetch_add(1, Ordering::Relaxed);
        lock(&self.requests).insert(request_id, requester);
        self.send(Command::Ask { hub, request_id, question: Box::new(question) });
        request_id
    }

    /// Gives an answer to whoever has asked, unless that is a thread that no longer waits.
    pub(super) fn answer(&self, request_id: u64, answer: Option<Answer>) {
        let mut requests = lock(&self.requests);
        match requests.get_mut(&request_id) {
            Some(Requester::Thread(waits)) => *waits = answer,
            Some(Requester::Mailbox) => {
                requests.remove(&request_id);
                self.mailbox.add(Mail::Answered(request_id, answer));
            }
            None => {}
        }
    }

    /// Reports a change of a stream with a member or a will.
    pub(super) fn report_presence(&self, hub: HubId, stream: StreamId, change: PresenceChange) {
        let report = PresenceReport { hub, stream, at: Instant::now(), change };
        match self.mailbox.is_open() {
            true => self.mailbox.add(Mail::Presence(report)),
            false => self.presence.push(report),
        }
    }

    /// Reports the end of a stream: to the thread that serves other processes, or to the interpreter that has opened it.
    pub(super) fn report_end(&self, interpreter: u32, stream: StreamId, reason: Reason) {
        match self.mailbox.is_open() {
            true => self.mailbox.add(Mail::Ended(stream, reason)),
            false => self.ends.push(interpreter, stream, reason),
        }
    }

    /// Waits until the condition is true, at most for the timeout. Returns whether it is true. The reactor notifies of
    /// each change.
    pub(crate) fn wait(&self, timeout: Duration, condition: impl Fn() -> bool) -> bool {
        let is_true = self.notifier.wait(after(Instant::now(), timeout), condition);
        if !is_true && self.signal.is_closed() {
            self.lose();
        }
        is_true
    }

    /// Reports that the process has closed the descriptors of its reactor, as programs do that become daemons. Nobody may use
    /// their numbers any more, so all that has one is leaked, and what needs a reactor begins another one.
    pub(super) fn lose(&self) {
        if !self.is_lost.swap(true, Ordering::AcqRel) {
            descriptor::write(2, LOST.as_bytes());
            self.is_dead.store(true, Ordering::Release);
            self.notify_all();
        }
    }

    /// Returns true if the process has closed the descriptors of this reactor. It has died then.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Wakes the threads that [wait](Self::wait), and the one that reads the mailbox: once for all that a turn has added.
    pub(crate) fn notify_all(&self) {
        self.notifier.notify_all();
        self.mailbox.announce();
    }

    /// Waits until the reactor has ended all streams at the shutdown, at most for the timeout.
    pub(super) fn wait_for_shutdown(&self, timeout: Duration) {
        self.wait(timeout, || self.is_shut_down.load(Ordering::Acquire) || self.is_dead());
    }

    /// Reports that the reactor has ended all streams.
    pub(super) fn complete_shutdown(&self) {
        self.is_shut_down.store(true, Ordering::Release);
        self.notify_all();
    }

    /// Returns true if the reactor has died: its streams have ended, and every command counts as lost.
    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Acquire)
    }

    /// Reports that the reactor has died, and discards the commands that it has not taken.
    pub(super) fn mark_dead(&self) {
        self.is_dead.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.discard_queue();
        let unanswered: Vec<u64> = lock(&self.requests).keys().copied().collect();
        unanswered.into_iter().for_each(|request_id| self.answer(request_id, None));
    }

    fn discard_queue(&self) {
        while let Ok(queued) = self.queue.try_recv() {
            self.discard(queued);
        }
        self.mailbox.announce();
    }

    /// Counts a command that the dead reactor has not taken as lost, and closes its socket. Ends a stream that the
    /// reactor has never seen.
    fn discard(&self, queued: Queued) {
        match &queued {
            Queued::Command(Command::Push { .. }) => self.count_lost(1, queued.bytes()),
            // No stream has buffered its bytes.
            Queued::Command(Command::Publish { .. } | Command::PublishStored { .. }) => self.count_lost(1, 0),
            Queued::Command(_) | Queued::Stream(..) => self.count_lost(0, queued.bytes()),
            Queued::Link(command) => self.count_lost(command.fail(), 0),
            Queued::Pause(_) => {}
        }
        if let Queued::Command(Command::Ask { request_id, .. }) = &queued {
            self.answer(*request_id, None);
        }
        if let Queued::Stream(command, parts) = &queued {
            parts.state.clear_socket();
            if let Command::Open { .. } = command {
                self.end_with_error(&parts.state);
            }
        }
        if self.is_lost() {
            std::mem::forget(queued);
        }
    }

    /// Counts events and bytes that were lost by an error. Several threads may do so once the reactor has died.
    pub(crate) fn count_lost(&self, events: usize, bytes: usize) {
        self.counts.lost[Reason::Error as usize].fetch_add(events as u64, Ordering::Relaxed);
        self.counts.lost_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Ends a stream of a reactor that has died.
    pub(super) fn end_with_error(&self, state: &StreamState) {
        if state.reason().is_none() {
            self.counts.ended[Reason::Error as usize].fetch_add(1, Ordering::Relaxed);
            if state.end(Reason::Error) {
                self.report_end(state.interpreter, state.id, Reason::Error);
            }
        }
    }

    /// Returns true if at least `max_streams` streams are open here, and not in hub processes.
    pub(super) fn is_full(&self, max_streams: usize) -> bool {
        self.counts.stats().open.saturating_sub(self.counts.sockets_elsewhere()) >= max_streams as u64
    }

    pub(crate) fn count_opened(&self) {
        self.counts.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counters of this reactor and of those before it.
    pub(crate) fn stats(&self) -> Stats {
        self.total().stats()
    }

    /// Returns the times of this reactor and of those before it.
    pub(crate) fn times(&self) -> Times {
        self.past.iter().fold(self.counts.times(), |times, dead| {
            let dead = dead.times();
            Times { send: times.send.plus(&dead.send), age: times.age.plus(&dead.age), ..times }
        })
    }

    /// Returns an id for a new stream.
    pub(crate) fn new_stream(&self) -> StreamId {
        self.streams.next()
    }

    /// Frees the slot of a stream whose socket is closed.
    pub(super) fn free_slot(&self, stream: StreamId) {
        self.streams.free(stream);
    }

    /// Returns an id for a new hub.
    pub(crate) fn new_hub(&self) -> HubId {
        self.hubs.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns a shared copy of the settings.
    pub(super) fn share_settings(&self, settings: Settings) -> Arc<Settings> {
        share(&mut lock(&self.settings), settings)
    }

    /// Returns a shared copy of the beginning of a stream, mostly that of the stream before. Otherwise this thread would
    /// allocate each and the reactor's would free it, and they would wait for each other.
    pub(super) fn share_init(&self, init: StreamInit) -> Arc<StreamInit> {
        share(&mut lock(&self.init), init)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::stats::add;

    fn handle() -> (ReactorHandle, Receiver<Queued>) {
        let handle = ReactorHandle::new().expect("a descriptor");
        let queue = handle.queue();
        (handle, queue)
    }

    #[test]
    #[cfg_attr(miri, ignore)] // a signal is a system call
    fn a_producer_faster_than_the_reactor_waits_for_it() {
        for dies in [false, true] {
            let (handle, queue) = handle();
            let large = ReactorHandle::MAX_QUEUED_BYTES as usize * 2 / 3;
            let event = bytes::Bytes::from(vec![0; large]);
            let push = || Command::Push { stream: handle.new_stream(), event: event.clone(), has_id: false };
            std::thread::scope(|scope| {
                scope.spawn(|| (0..3).for_each(|_| handle.send(push())));
                // The third command is counted first, and then its sender waits.
                while handle.counts.stats().buffered < 3 * large as u64 {
                    std::thread::yield_now();
                }
                for _ in 0..1000 {
                    std::thread::yield_now();
                    assert_eq!(queue.len(), 2);
                }
                if dies {
                    handle.mark_dead();
                } else {
                    add(&handle.counts.consumed, 2 * large as u64);
                }
                handle.notify_all();
            });
            assert_eq!(
                (queue.len(), handle.counts.stats().lost.iter().sum::<u64>()),
                if dies { (0, 3) } else { (3, 0) }
            );
        }
    }

    #[test]
    #[cfg_attr(miri, ignore)] // a signal is a system call
    fn an_answer_that_comes_too_late_is_dropped() {
        let (handle, queue) = handle();
        assert_eq!(handle.ask(0, Question::TakeEvictions, Duration::ZERO), None);
        let asked = |queue: &Receiver<Queued>| match queue.recv() {
            Ok(Queued::Command(Command::Ask { request_id, .. })) => request_id,
            other => panic!("not a question: {}", other.is_ok()),
        };
        handle.answer(asked(&queue), Some(Answer::Ending(Vec::new())));
        assert!(lock(&handle.requests).is_empty());
    }

    #[test]
    #[cfg_attr(miri, ignore)] // a signal is a system call
    fn who_reads_the_mailbox_is_answered_in_order_also_by_a_reactor_that_dies() {
        let (handle, _queue) = handle();
        let [first, second] = [(); 2].map(|()| handle.ask_later(0, Question::TakeEvictions));
        let answer = Answer::Ending(Vec::new());
        handle.answer(second, Some(answer.clone()));
        handle.mark_dead();
        let third = handle.ask_later(0, Question::TakeEvictions);
        let answers: Vec<_> = handle
            .mailbox
            .take()
            .into_iter()
            .map(|mail| match mail {
                Mail::Answered(number, answer) => (number, answer),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(answers, [(second, Some(answer)), (first, None), (third, None)]);
    }

    #[test]
    #[cfg_attr(miri, ignore)] // a signal is a system call
    fn no_hub_has_the_number_of_a_hub_of_a_dead_reactor() {
        let (dead, _) = handle();
        let (mut next, _) = handle();
        let old = [dead.new_hub(), dead.new_hub()];
        next.replace(&dead);
        assert!(!old.contains(&next.new_hub()));
    }

    #[test]
    #[cfg_attr(miri, ignore)] // a signal is a system call
    fn a_socket_sent_to_a_dead_reactor_is_cleared_from_the_state_of_its_stream() {
        let (handle, _) = handle();
        handle.mark_dead();
        let state = Arc::new(StreamState::new(handle.new_stream(), 0, 0));
        state.set_socket(7, 0);
        let parts = StreamParts { socket: None, state: Arc::clone(&state) };
        handle.send_queued(Queued::Stream(Command::Attach { stream: handle.new_stream() }, parts));
        assert_eq!(state.take_socket(), None);
    }
}
