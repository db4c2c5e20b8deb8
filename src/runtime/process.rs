//! The reactor of this process: its start, and the shutdown at exit. `forks` in its folder handles a fork.
//!
//! The first stream or hub of a process starts the reactor.

pub(crate) mod forks;

use super::event_loop::EventLoop;
use super::generation::generation;
use super::handover_file::HandedOver;
use super::mailbox::Mailbox;
use super::reactor_handle::ReactorHandle;
use super::reactor_hub::{OwnHub, ReactorHub};
use super::registration::Registrations;
use super::remote::registrations::{lock_remotes, try_lock_remotes, wait_for_answers, Remotes};
use super::wake::sync::lock;
use crate::histogram::Times;
use crate::hub::{Epoch, History, Settings};
use crate::reactor::{Command, StreamId};
use crate::stream::Reason;
use crate::stream::Stats;
use crate::sys::thread;
use crate::wire::Handover;
use crate::Failure;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, TryLockError};
use std::time::{Duration, Instant};

/// The time for which the shutdown waits beyond `linger`. The reactor itself ends the streams in time.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// The state of this process. A fork takes its lock.
pub(crate) struct Process {
    /// The last reactor, which may have died, and the generation that started it.
    started: Option<(u32, Arc<ReactorHandle>)>,
    pub(super) registrations: Registrations,
}

per_process! {
    static PROCESS: Mutex<Process> = Mutex::new(Process { started: None, registrations: Registrations::new() });
    /// True if this process is ending. It is written with the lock of the process.
    static IS_SHUTTING_DOWN: AtomicBool = AtomicBool::new(false);
    /// Refused requests of pages of other origins.
    static REFUSED_ORIGINS: AtomicU64 = AtomicU64::new(0);
    /// The time for which the shutdown waits for streams, in milliseconds: the longest `linger` of any of them.
    static SHUTDOWN_TIME: AtomicU64 = AtomicU64::new(0);
}

/// Registers [`at_exit`] in the C library. Does so once, and not before a reactor starts: the function has to run before those
/// of a server that embeds perl, which were registered when that server began.
fn register_exit_handler() -> io::Result<()> {
    static HANDLER: Once = Once::new();
    let mut registered = Ok(());
    HANDLER.call_once(|| registered = thread::at_exit(at_exit));
    registered
}

/// Returns the reactor of this process. Starts one if none runs.
///
/// # Errors
///
/// `Unavailable`.
pub(super) fn reactor_or_start() -> Result<Arc<ReactorHandle>, Failure> {
    lock_process().reactor_or_start()
}

/// Locks the state of this process. Forks wait for the lock. In a child, first forgets the parent's reactor.
pub(crate) fn lock_process() -> MutexGuard<'static, Process> {
    let mut process = lock(&PROCESS);
    process.forget_parent();
    process
}

/// Applies what a reactor has reported of members, if no other thread has the lock of the process. Returns false if one has.
fn try_apply_presence(reactor: &Arc<ReactorHandle>, now: Instant) -> bool {
    let mut process = match PROCESS.try_lock() {
        Ok(process) => process,
        Err(TryLockError::Poisoned(process)) => process.into_inner(),
        Err(TryLockError::WouldBlock) => return false,
    };
    process.apply_presence(reactor, now);
    true
}

impl Process {
    /// Applies what a reactor has reported of members. While the process ends, nothing is announced. Returns false if there
    /// is more to do: others wait for the lock of the process.
    pub(super) fn apply_presence(&mut self, reactor: &Arc<ReactorHandle>, now: Instant) -> bool {
        match check_shutdown() {
            Ok(()) => self.registrations.apply_presence(reactor, now),
            Err(_) => {
                drop(reactor.presence.take());
                reactor.presence.set_due(None);
                true
            }
        }
    }

    /// Returns the reactor. Starts one if none runs.
    ///
    /// # Errors
    ///
    /// As [`reactor_or_start`].
    pub(crate) fn reactor_or_start(&mut self) -> Result<Arc<ReactorHandle>, Failure> {
        check_shutdown()?;
        Ok(self.running_or_start()?)
    }

    fn running_or_start(&mut self) -> io::Result<Arc<ReactorHandle>> {
        self.running().map(Arc::clone).map_or_else(|| self.start(), Ok)
    }

    /// Returns the reactor, unless it has died.
    pub(super) fn running(&self) -> Option<&Arc<ReactorHandle>> {
        self.started.as_ref().map(|(_, reactor)| reactor).filter(|reactor| !reactor.is_dead())
    }

    fn start(&mut self) -> io::Result<Arc<ReactorHandle>> {
        forks::register()?;
        register_exit_handler()?;
        let mut handle = ReactorHandle::new()?;
        if let Some((_, dead)) = &self.started {
            handle.replace(dead);
            if dead.is_lost() {
                std::mem::forget(Arc::clone(dead));
            }
        }
        let handle = Arc::new(handle);
        let event_loop = EventLoop::new(Arc::clone(&handle), try_apply_presence)?;
        thread::spawn("eventsource-xs", move || event_loop.run())?;
        self.started = Some((generation(), Arc::clone(&handle)));
        Ok(handle)
    }

    fn forget_parent(&mut self) {
        if self.started.as_ref().map_or(false, |(reactors, _)| *reactors != generation()) {
            std::mem::forget(self.started.take());
            self.registrations.leave_to_parent();
            IS_SHUTTING_DOWN.store(false, Ordering::Release);
        }
    }
}

/// Checks that this process may open streams and publish.
///
/// # Errors
///
/// `Unavailable` if this process is ending.
pub(crate) fn check_shutdown() -> Result<(), Failure> {
    match is_shutting_down() {
        true => Err(Failure::unavailable("this process is ending")),
        false => Ok(()),
    }
}

/// Returns true if this process is ending: it opens no stream and publishes no event any more.
pub fn is_shutting_down() -> bool {
    IS_SHUTTING_DOWN.load(Ordering::Acquire)
}

/// Returns the last reactor of this process, even if it has died.
fn last_reactor() -> Option<Arc<ReactorHandle>> {
    lock_process().started.as_ref().map(|(_, reactor)| Arc::clone(reactor))
}

/// Sets how long the [shutdown] waits for buffered bytes to be sent. The longest time of all calls counts.
pub fn linger(time: Duration) {
    SHUTDOWN_TIME.fetch_max(time.as_millis().try_into().unwrap_or(u64::MAX), Ordering::AcqRel);
}

/// Ends all streams, because this process ends. Each client is sent a random reconnection time. Buffered bytes are sent;
/// bytes that are not sent within the time of [`linger`] are lost. No stream is opened afterwards. Waits until hub processes
/// have what this process has published and pushed, at most as long as a call may take.
pub fn shutdown() {
    shut_down(lock(&PROCESS), || Some(lock_remotes()));
}

fn shut_down(mut process: MutexGuard<'_, Process>, remotes: impl FnOnce() -> Option<MutexGuard<'static, Remotes>>) {
    process.forget_parent();
    let running = process.running().filter(|_| check_shutdown().is_ok()).map(Arc::clone);
    if let Some(reactor) = running {
        IS_SHUTTING_DOWN.store(true, Ordering::Release);
        drop(process);
        end_streams_of(&reactor);
        wait_for_answers(&reactor, remotes());
    }
}

/// Ends all streams as [`shutdown`] does, which is to follow. The hubs of this process stay until then, and those with a store
/// learn of the ends: they have wills to publish.
pub fn end_streams() {
    let reactor = lock_process().running().map(Arc::clone);
    if let Some(reactor) = &reactor {
        end_streams_of(reactor);
    }
}

fn end_streams_of(reactor: &ReactorHandle) {
    let within = Duration::from_millis(SHUTDOWN_TIME.load(Ordering::Acquire));
    reactor.send(Command::ShutDown { within });
    reactor.wait_for_shutdown(within.saturating_add(SHUTDOWN_GRACE));
}

/// Shuts down in processes whose perl ends without running END: uWSGI just exits, even from a signal handler. If a thread holds
/// a lock at that moment, nothing is done, for waiting could be a deadlock.
extern "C" fn at_exit() {
    let _ = std::panic::catch_unwind(|| PROCESS.try_lock().map(|process| shut_down(process, try_lock_remotes)));
}

/// Returns the counters of this process's reactors; all zero before the first one starts.
pub fn stats() -> Stats {
    let stats = last_reactor().map_or_else(Stats::default, |reactor| reactor.stats());
    Stats { refused_origins: REFUSED_ORIGINS.load(Ordering::Relaxed), ..stats }
}

/// Counts a request of a page of another origin that was refused.
pub fn count_refused_origin() {
    REFUSED_ORIGINS.fetch_add(1, Ordering::Relaxed);
}

/// Returns the times that this process's reactors have measured.
pub fn times() -> Times {
    last_reactor().map_or_else(Times::default, |reactor| reactor.times())
}

/// Creates a hub that continues with stored events. Its owner has the order. Fails with `Unavailable`.
pub fn create_hub(settings: Settings, epoch: Epoch, history: &History) -> Result<Arc<ReactorHub>, Failure> {
    Ok(ReactorHub::create(reactor_or_start()?, settings, epoch, Some(history)))
}

/// Creates a hub that belongs to the caller. Errors are those of [`create_hub`].
pub fn create_own_hub(settings: Settings) -> Result<OwnHub, Failure> {
    OwnHub::create(reactor_or_start()?, settings)
}

/// Continues with a hub that was handed over `at` a time in a file with these messages. Its members linger for `wait`, because
/// their streams follow. Errors are those of [`create_hub`], and those of the file.
pub fn resume_hub(
    settings: Settings,
    (file, handed): (&HandedOver, &[Handover<'_>]),
    at: Instant,
    wait: Duration,
) -> Result<OwnHub, Box<dyn Error>> {
    Ok(OwnHub::resume(reactor_or_start()?, settings, (file, handed), at, wait)?)
}

/// Ends a stream that no handle holds, as [`StreamHandle::end_with_retry`](super::StreamHandle::end_with_retry) does.
pub fn end_with_retry(stream: StreamId) {
    if let Some(reactor) = last_reactor() {
        reactor.send(Command::Refuse { stream });
    }
}

/// Ends a stream after a time, as the drain of its hub does.
pub fn drain_stream(stream: StreamId, within: Duration) {
    if let Some(reactor) = last_reactor() {
        reactor.send(Command::DrainStream { stream, within });
    }
}

/// Makes a stream's held subscriptions effective, even if its client is ahead of the hub.
pub fn stop_waiting(stream: StreamId) {
    if let Some(reactor) = last_reactor() {
        reactor.send(Command::StopWaiting { stream });
    }
}

/// Returns the generation of this process, also before its first reactor: forks are counted from the first call on.
pub fn counted_generation() -> u32 {
    let _ = forks::register(); // fails only if the system has no memory, as the reactor then does, too
    generation()
}

/// Takes the next end of a stream that an interpreter has asked for.
pub fn take_ended(interpreter: u32) -> Option<(StreamId, Reason)> {
    last_reactor()?.ends.take(interpreter)
}

/// Returns a descriptor that is readable while [`take_ended`] has an end to return. A forked child has another
/// descriptor.
///
/// # Errors
///
/// As for a new stream, if no reactor runs yet.
pub fn notify_descriptor(interpreter: u32) -> io::Result<i32> {
    let reactor = match last_reactor().filter(|reactor| !reactor.is_dead()) {
        Some(reactor) => reactor,
        None if is_shutting_down() => return Err(io::ErrorKind::Other.into()),
        None => lock_process().running_or_start()?, // the caller reports the number of a system error
    };
    reactor.ends.descriptor(interpreter)
}

/// Returns the mailbox of the thread that serves other processes.
///
/// # Errors
///
/// As for a new stream, if no reactor runs yet.
pub fn mailbox() -> Result<Arc<Mailbox>, Failure> {
    let running = last_reactor().filter(|reactor| !reactor.is_dead()); // also while the process ends
    Ok(Arc::clone(&running.map_or_else(reactor_or_start, Ok)?.mailbox))
}

/// Removes an interpreter that has ended with its thread. Ends of streams are no longer reported to it.
pub fn remove_interpreter(interpreter: u32) {
    if let Some(reactor) = last_reactor() {
        reactor.ends.remove(interpreter);
    }
}
