//! The way from those who push to the reactor, the way back, and what is counted on both.

use super::notifier::Notifier;
use super::stream_state::StreamState;
use super::sync::lock;
use super::waker::Waker;
use crate::hub;
use crate::reactor::{Command, HubId, StreamId};
use crate::stream::{after, Reason, Settings};
use crate::sys::epoll::Signal;
use crossbeam_channel::{unbounded, Receiver, SendError, Sender};
use rustix::fd::OwnedFd;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{fence, AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A command, with what only travels inside a process.
pub(super) struct Envelope {
    pub(super) command: Command,
    pub(super) enclosed: Option<Box<Enclosed>>,
}

pub(super) struct Enclosed {
    pub(super) socket: Option<OwnedFd>,
    pub(super) state: Arc<StreamState>,
}

/// What has been counted; see the manual of EventSource::XS for each.
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) opened: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Streams whose sockets are closed. An ended one may linger before.
    pub(super) closed: AtomicU64,
    pub(super) ended: [AtomicU64; 6],
    pub(super) events: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) wakeups: AtomicU64,
    pub(super) longest_delay_ns: AtomicU64,
    /// Bytes that were pushed, or added by the reactor.
    pub(super) accepted: AtomicU64,
    /// Bytes of those that were published: they are no stream's yet.
    pub(super) published_bytes: AtomicU64,
    /// Bytes of those that were lost.
    pub(super) lost_bytes: AtomicU64,
    /// Bytes of commands that the reactor has taken.
    pub(super) consumed: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Stats {
    /// Streams that are open.
    pub open: u64,
    /// Streams that were opened.
    pub opened: u64,
    /// Of those, streams that were one too many.
    pub refused: u64,
    /// Streams that have ended, by reason, in the order of [`Reason::ALL`].
    pub ended: [u64; 6],
    /// Events that were handed to the kernel whole.
    pub events: u64,
    /// Bytes that were handed to the kernel.
    pub bytes: u64,
    /// Events that were taken and never sent whole.
    pub lost: u64,
    /// Bytes that wait.
    pub buffered: u64,
    /// How often the reactor was woken, by a push, a client or a clock.
    pub wakeups: u64,
    /// The longest time from the reactor's having something to send to the kernel's having taken it, in nanoseconds.
    pub longest_delay_ns: u64,
}

impl Stats {
    /// The same of a reactor that has died: its streams have ended, those too that it is just about to count.
    fn of_dead(mut self) -> Self {
        self.ended[Reason::Error as usize] += self.open;
        Self { open: 0, buffered: 0, ..self }
    }

    fn plus(mut self, other: &Self) -> Self {
        for (count, more) in self.ended.iter_mut().zip(other.ended) {
            *count += more;
        }
        Self {
            open: self.open + other.open,
            opened: self.opened + other.opened,
            refused: self.refused + other.refused,
            ended: self.ended,
            events: self.events + other.events,
            bytes: self.bytes + other.bytes,
            lost: self.lost + other.lost,
            buffered: self.buffered + other.buffered,
            wakeups: self.wakeups + other.wakeups,
            longest_delay_ns: self.longest_delay_ns.max(other.longest_delay_ns),
        }
    }
}

/// Only one thread ever adds to such a count, so nothing has to be locked for it.
pub(super) fn count(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl Counts {
    /// How many sockets the reactor holds, or is about to.
    pub(super) fn sockets(&self) -> usize {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        read(&self.opened).saturating_sub(read(&self.closed)) as usize
    }

    pub(super) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut ended = [0; 6];
        for (to, from) in ended.iter_mut().zip(&self.ended) {
            *to = read(from);
        }
        let (opened, bytes) = (read(&self.opened), read(&self.bytes));
        let done = bytes + read(&self.lost_bytes) + read(&self.published_bytes);
        Stats {
            open: opened.saturating_sub(ended.iter().sum()),
            opened,
            refused: read(&self.refused),
            ended,
            events: read(&self.events),
            bytes,
            lost: read(&self.lost),
            buffered: read(&self.accepted).saturating_sub(done),
            wakeups: read(&self.wakeups),
            longest_delay_ns: read(&self.longest_delay_ns),
        }
    }
}

/// Ends of streams that one interpreter is to be told, and a descriptor that says that there are some.
#[derive(Default)]
struct Mailbox {
    letters: VecDeque<(StreamId, Reason)>,
    signal: Option<Signal>,
}

/// Places in the reactor.
#[derive(Default)]
struct Slots {
    free: Vec<u32>,
    used: u32,
}

/// The serial numbers that were given. A forked child goes on from there, for it may keep the names of its parent's
/// streams.
static SERIALS: AtomicU32 = AtomicU32::new(0);

/// The name in the epoll set of the descriptor that wakes the reactor. No stream has it, for serial numbers begin with 1.
pub(super) const WAKER: u64 = 0;

/// 0 is [`WAKER`]'s.
fn next_serial(serials: &AtomicU32) -> u32 {
    loop {
        match serials.fetch_add(1, Ordering::Relaxed).wrapping_add(1) {
            0 => {}
            serial => return serial,
        }
    }
}

/// The way to a reactor.
pub(super) struct ReactorHandle {
    commands: Sender<Envelope>,
    /// The reactor takes from a clone. This one is for what is sent to a reactor that has died.
    inbox: Receiver<Envelope>,
    pub(super) waker: Waker,
    pub(super) signal: Signal,
    pub(super) counts: Arc<Counts>,
    is_dead: AtomicBool,
    is_finished: AtomicBool,
    notifier: Notifier,
    /// Each interpreter's; none, of one that is gone.
    mailboxes: Arc<Mutex<HashMap<u32, Option<Mailbox>>>>,
    /// What the reactors before it have counted. A thread may still count what it sent to one that died.
    past: Vec<Arc<Counts>>,
    slots: Mutex<Slots>,
    hubs: AtomicU32,
    /// What somebody waits for, by ticket, and the answer when it is there.
    counted: Mutex<HashMap<u64, Option<(hub::Counts, usize)>>>,
    tickets: AtomicU64,
    settings: Mutex<Option<Arc<Settings>>>,
}

impl ReactorHandle {
    /// At most so many bytes of events are on their way. The reactor is quick to take them, for it never waits for a
    /// client; who pushes faster waits for it.
    const BYTES_ON_THE_WAY: u64 = 64 << 20;

    pub(super) fn new() -> io::Result<Self> {
        let (commands, inbox) = unbounded();
        Ok(Self {
            commands,
            inbox,
            waker: Waker::new(),
            signal: Signal::new()?,
            counts: Arc::default(),
            is_dead: AtomicBool::new(false),
            is_finished: AtomicBool::new(false),
            notifier: Notifier::default(),
            mailboxes: Arc::default(),
            past: Vec::new(),
            slots: Mutex::default(),
            hubs: AtomicU32::new(0),
            counted: Mutex::default(),
            tickets: AtomicU64::new(0),
            settings: Mutex::default(),
        })
    }

    /// Whether so many streams, or more, are open.
    pub(super) fn is_full(&self, max_streams: usize) -> bool {
        self.counts.stats().open >= max_streams as u64
    }

    pub(super) fn count_open(&self) {
        self.counts.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// One copy of the settings for all handles that have the same as the one before, as mostly all have.
    pub(super) fn share(&self, settings: Settings) -> Arc<Settings> {
        let mut last = lock(&self.settings);
        match &*last {
            Some(shared) if **shared == settings => Arc::clone(shared),
            _ => Arc::clone(last.insert(Arc::new(settings))),
        }
    }

    /// The commands that were sent, for the reactor.
    pub(super) fn inbox(&self) -> Receiver<Envelope> {
        self.inbox.clone()
    }

    /// Sends a command that carries so many bytes. If the reactor has died it is counted as lost.
    pub(super) fn send(&self, command: Command, bytes: usize, enclosed: Option<Box<Enclosed>>) {
        if bytes > 0 {
            let before = self.counts.accepted.fetch_add(bytes as u64, Ordering::Relaxed);
            if self.on_the_way(before) > Self::BYTES_ON_THE_WAY {
                let is_over = || self.on_the_way(before) <= Self::BYTES_ON_THE_WAY / 2 || self.is_dead();
                while !self.wait(Duration::from_millis(50), is_over) {}
            }
        }
        if let Err(SendError(envelope)) = self.commands.send(Envelope { command, enclosed }) {
            self.lose(envelope);
        }
        if self.waker.wake() {
            self.signal.raise();
        }
        // The bell has put a fence behind the sending, as `die` puts one before its last look into the inbox: either the
        // reactor finds the command there, or it is seen here that the reactor has died.
        if self.is_dead() {
            self.lose_all();
        }
    }

    /// Says that the reactor has died, and loses what it has not taken.
    pub(super) fn die(&self) {
        self.is_dead.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        self.lose_all();
    }

    fn lose_all(&self) {
        while let Ok(envelope) = self.inbox.try_recv() {
            self.lose(envelope);
        }
    }

    /// Counts what a dead reactor has not taken, and ends a stream that it has never seen. The socket is closed here.
    fn lose(&self, Envelope { command, enclosed }: Envelope) {
        match &command {
            Command::Push { .. } => self.count_lost(1, command.bytes()),
            Command::Publish { .. } => self.count_lost(1, 0), // its bytes are no stream's yet
            _ => self.count_lost(0, command.bytes()),
        }
        if let Some(Enclosed { state, .. }) = enclosed.as_deref() {
            state.forget_socket();
            if let Command::Open { .. } = command {
                self.end_with_error(state);
            }
        }
    }

    /// Once the reactor has died, several threads may count.
    pub(super) fn count_lost(&self, events: usize, bytes: usize) {
        self.counts.lost.fetch_add(events as u64, Ordering::Relaxed);
        self.counts.lost_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Ends a stream of a reactor that has died.
    pub(super) fn end_with_error(&self, state: &StreamState) {
        if state.reason().is_none() {
            self.counts.ended[Reason::Error as usize].fetch_add(1, Ordering::Relaxed);
            if state.end(Reason::Error) {
                self.post(state.interpreter, state.name, Reason::Error);
            }
        }
    }

    fn on_the_way(&self, accepted: u64) -> u64 {
        accepted.saturating_sub(self.counts.consumed.load(Ordering::Relaxed))
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Acquire)
    }

    /// Waits until something has changed that makes `is_over` true, at most for that long. Whether it is true.
    pub(super) fn wait(&self, time: Duration, is_over: impl Fn() -> bool) -> bool {
        self.notifier.wait(after(Instant::now(), time), is_over)
    }

    /// Waits until all streams have ended, as the reactor was asked, at most for that long.
    pub(super) fn wait_until_finished(&self, time: Duration) {
        self.wait(time, || self.is_finished.load(Ordering::Acquire) || self.is_dead());
    }

    /// Tells those who wait that something has changed.
    pub(super) fn tell_change(&self) {
        self.notifier.notify_all();
    }

    pub(super) fn tell_finished(&self) {
        self.is_finished.store(true, Ordering::Release);
        self.notifier.notify_all();
    }

    pub(super) fn new_stream(&self) -> StreamId {
        let mut slots = lock(&self.slots);
        let serial = next_serial(&SERIALS);
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.used += 1;
            slots.used - 1
        });
        StreamId { slot, serial }
    }

    /// Sends what is no stream's yet.
    pub(super) fn publish(&self, command: Command) {
        let bytes = command.bytes();
        self.counts.published_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.send(command, bytes, None);
    }

    pub(super) fn new_hub(&self) -> HubId {
        self.hubs.fetch_add(1, Ordering::Relaxed)
    }

    /// What a hub has counted, and how many streams follow a channel. Nothing, if the reactor does not answer in time.
    pub(super) fn ask(&self, hub: HubId, channel: &[u8], time: Duration) -> Option<(hub::Counts, usize)> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        lock(&self.counted).insert(ticket, None);
        self.send(Command::Ask { hub, ticket, channel: channel.into() }, 0, None);
        let is_there = || matches!(lock(&self.counted).get(&ticket), Some(Some(_)));
        self.wait(time, || is_there() || self.is_dead());
        lock(&self.counted).remove(&ticket).flatten()
    }

    /// Answers one that asked; one that has not waited for it is gone.
    pub(super) fn answer(&self, ticket: u64, counts: hub::Counts, subscribers: usize) {
        if let Some(answer) = lock(&self.counted).get_mut(&ticket) {
            *answer = Some((counts, subscribers));
        }
    }

    pub(super) fn free(&self, stream: StreamId) {
        lock(&self.slots).free.push(stream.slot);
    }

    /// Takes the place of one that is dead: what that has to tell yet is told here, by the descriptor that is watched. A
    /// hub that is of that one still is none of those here.
    pub(super) fn succeed(&mut self, dead: &Self) {
        self.mailboxes = Arc::clone(&dead.mailboxes);
        self.hubs = AtomicU32::new(dead.hubs.load(Ordering::Relaxed));
        self.past = dead.past.clone();
        self.past.push(Arc::clone(&dead.counts));
    }

    /// What was counted here and before.
    pub(super) fn stats(&self) -> Stats {
        self.past.iter().fold(self.counts.stats(), |stats, dead| stats.plus(&dead.stats().of_dead()))
    }

    /// Calls a function with the mailbox of an interpreter, unless it is gone.
    fn with_mailbox<T>(&self, interpreter: u32, use_it: impl FnOnce(&mut Mailbox) -> T) -> Option<T> {
        lock(&self.mailboxes).entry(interpreter).or_insert_with(|| Some(Mailbox::default())).as_mut().map(use_it)
    }

    /// Keeps the end of a stream until its interpreter asks.
    pub(super) fn post(&self, interpreter: u32, stream: StreamId, reason: Reason) {
        self.with_mailbox(interpreter, |mailbox| {
            mailbox.letters.push_back((stream, reason));
            if let (Some(signal), 1) = (&mailbox.signal, mailbox.letters.len()) {
                signal.raise();
            }
        });
    }

    /// The next end that an interpreter has not been told yet.
    pub(super) fn take_ended(&self, interpreter: u32) -> Option<(StreamId, Reason)> {
        self.with_mailbox(interpreter, |mailbox| {
            let letter = mailbox.letters.pop_front();
            if let (Some(signal), Some(_), true) = (&mailbox.signal, letter, mailbox.letters.is_empty()) {
                signal.lower();
            }
            letter
        })?
    }

    /// A descriptor that is readable while ends wait to be told to an interpreter.
    pub(super) fn notify_descriptor(&self, interpreter: u32) -> io::Result<i32> {
        use std::os::unix::io::AsRawFd;
        let number = self.with_mailbox(interpreter, |mailbox| {
            if mailbox.signal.is_none() {
                let signal = Signal::new()?;
                if !mailbox.letters.is_empty() {
                    signal.raise();
                }
                mailbox.signal = Some(signal);
            }
            Ok(mailbox.signal.as_ref().map_or(-1, |signal| signal.descriptor().as_raw_fd()))
        });
        number.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }

    /// An interpreter is gone: nobody is told what it was to be told.
    pub(super) fn forget_interpreter(&self, interpreter: u32) {
        lock(&self.mailboxes).insert(interpreter, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> (ReactorHandle, Receiver<Envelope>) {
        let link = ReactorHandle::new().expect("there is a descriptor");
        let inbox = link.inbox();
        (link, inbox)
    }

    #[test]
    fn no_stream_has_the_name_of_the_bell() {
        let serials = AtomicU32::new(u32::MAX - 1);
        assert_eq!([(); 3].map(|()| next_serial(&serials)), [u32::MAX, 1, 2]);
        assert_eq!(StreamId::from(WAKER).serial, 0);
    }

    #[test]
    #[cfg_attr(miri, ignore)] // a signal is a system call
    fn who_pushes_faster_than_the_reactor_takes_waits_for_it() {
        for dies in [false, true] {
            let (link, inbox) = link();
            let large = ReactorHandle::BYTES_ON_THE_WAY as usize * 2 / 3;
            let push = || Command::Push { stream: link.new_stream(), event: bytes::Bytes::new() };
            std::thread::scope(|scope| {
                scope.spawn(|| (0..3).for_each(|_| link.send(push(), large, None)));
                // The third is counted, and then waits.
                while link.counts.stats().buffered < 3 * large as u64 {
                    std::thread::yield_now();
                }
                for _ in 0..1000 {
                    std::thread::yield_now();
                    assert_eq!(inbox.len(), 2);
                }
                if dies {
                    link.die();
                } else {
                    count(&link.counts.consumed, 2 * large as u64);
                }
                link.tell_change();
            });
            assert_eq!((inbox.len(), link.counts.stats().lost), if dies { (0, 3) } else { (3, 0) });
        }
    }

    #[test]
    #[cfg_attr(miri, ignore)] // a signal is a system call
    fn an_answer_that_comes_too_late_is_not_kept() {
        let (link, inbox) = link();
        assert_eq!(link.ask(0, b"a", Duration::ZERO).map(|answer| answer.1), None);
        let ticket = match inbox.recv().map(|envelope| envelope.command) {
            Ok(Command::Ask { ticket, .. }) => ticket,
            other => panic!("it asked otherwise: {}", other.is_ok()),
        };
        link.answer(ticket, hub::Counts::default(), 7);
        assert!(lock(&link.counted).is_empty());
    }

    #[test]
    #[cfg_attr(miri, ignore)] // a signal is a system call
    fn no_hub_has_the_name_of_one_of_a_dead_reactor() {
        let (dead, _) = link();
        let (mut link, _) = link();
        let old = [dead.new_hub(), dead.new_hub()];
        link.succeed(&dead);
        assert!(!old.contains(&link.new_hub()));
    }

    #[test]
    #[cfg_attr(miri, ignore)] // a signal is a system call
    fn a_socket_that_no_reactor_takes_has_no_number_any_more() {
        let (link, _) = link();
        link.die();
        let state = Arc::new(StreamState::new(link.new_stream(), 0, 0));
        state.set_socket(7, 0);
        let enclosed = Enclosed { socket: None, state: Arc::clone(&state) };
        link.send(Command::Attach { stream: link.new_stream() }, 0, Some(Box::new(enclosed)));
        assert_eq!(state.take_socket(), None);
    }
}
