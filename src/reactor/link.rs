//! The way from those who push to the reactor, the way back, and what is counted on both.

use super::bell::Bell;
use super::command::{Command, StreamId};
use super::gauge::Gauge;
use crate::stream::Reason;
use crate::sys::epoll::Signal;
use crossbeam_channel::Sender;
use rustix::fd::OwnedFd;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A lock whose holder may have panicked: what it guards is whole at every moment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command, with what only travels inside a process.
pub(super) struct Envelope {
    pub(super) command: Command,
    pub(super) enclosed: Option<Box<Enclosed>>,
}

pub(super) struct Enclosed {
    pub(super) socket: Option<OwnedFd>,
    pub(super) gauge: Option<Arc<Gauge>>,
}

/// What has been counted; see the manual of EventSource::XS for each.
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) opened: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) ended: [AtomicU64; 6],
    pub(super) events: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) wakeups: AtomicU64,
    pub(super) longest_delay_ns: AtomicU64,
    /// Bytes that were pushed, or added by the reactor.
    pub(super) accepted: AtomicU64,
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

/// Only one thread ever adds to such a count, so nothing has to be locked for it.
pub(super) fn count(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl Counts {
    pub(super) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut ended = [0; 6];
        for (to, from) in ended.iter_mut().zip(&self.ended) {
            *to = read(from);
        }
        let (opened, bytes) = (read(&self.opened), read(&self.bytes));
        let done = bytes + read(&self.lost_bytes);
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

/// The way to a reactor.
pub(super) struct Link {
    commands: Sender<Envelope>,
    pub(super) bell: Bell,
    pub(super) signal: Signal,
    pub(super) counts: Counts,
    pub(super) is_dead: AtomicBool,
    is_finished: Mutex<bool>,
    changed: Condvar,
    waiters: AtomicUsize,
    /// Each interpreter's; none, of one that is gone.
    mailboxes: Mutex<HashMap<u32, Option<Mailbox>>>,
    slots: Mutex<Slots>,
}

impl Link {
    /// At most so many bytes of events are on their way. The reactor is quick to take them, for it never waits for a
    /// client; who pushes faster waits for it.
    const BYTES_ON_THE_WAY: u64 = 64 << 20;

    pub(super) fn new(commands: Sender<Envelope>) -> io::Result<Self> {
        Ok(Self {
            commands,
            bell: Bell::new(),
            signal: Signal::new()?,
            counts: Counts::default(),
            is_dead: AtomicBool::new(false),
            is_finished: Mutex::new(false),
            changed: Condvar::new(),
            waiters: AtomicUsize::new(0),
            mailboxes: Mutex::default(),
            slots: Mutex::default(),
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

    /// Sends a command that carries so many bytes.
    pub(super) fn send(&self, command: Command, bytes: usize, enclosed: Option<Box<Enclosed>>) {
        if bytes > 0 {
            let before = self.counts.accepted.fetch_add(bytes as u64, Ordering::Relaxed);
            if self.on_the_way(before) > Self::BYTES_ON_THE_WAY {
                let is_over = || self.on_the_way(before) <= Self::BYTES_ON_THE_WAY / 2 || self.is_dead();
                while !self.wait(Duration::from_millis(50), is_over) {}
            }
        }
        // Fails only when the reactor is gone; that has ended the stream, and was told.
        let _ = self.commands.send(Envelope { command, enclosed });
        if self.bell.ring() {
            self.signal.raise();
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
        let until = Instant::now() + time;
        let mut guard = lock(&self.is_finished);
        self.waiters.fetch_add(1, Ordering::SeqCst);
        while !is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            guard = self.changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        is_over()
    }

    /// Waits until all streams have ended, as the reactor was asked, at most for that long.
    pub(super) fn wait_until_finished(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut is_finished = lock(&self.is_finished);
        while !*is_finished && !self.is_dead() {
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                break;
            }
            is_finished = self.changed.wait_timeout(is_finished, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Tells those who wait that something has changed.
    pub(super) fn tell_change(&self) {
        if self.waiters.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.is_finished));
            self.changed.notify_all();
        }
    }

    pub(super) fn tell_finished(&self) {
        *lock(&self.is_finished) = true;
        self.changed.notify_all();
    }

    pub(super) fn new_stream(&self) -> StreamId {
        let mut slots = lock(&self.slots);
        let serial = SERIALS.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.used += 1;
            slots.used - 1
        });
        StreamId { slot, serial }
    }

    pub(super) fn free(&self, stream: StreamId) {
        lock(&self.slots).free.push(stream.slot);
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
