//! The reactor of this process: started by the first stream, left behind by a fork.
//!
//! A forked child has the memory of its parent but not its reactor's thread. So whatever belongs to the thread carries
//! the number of the generation that made it, and a child begins anew; what the parent's reactor held is never touched
//! there, nor dropped, for its locks may be held by a thread that does not exist.

use super::event_loop::EventLoop;
use super::forks::{begin_fork, end_fork, enter_child, generation, NoFork};
use super::reactor_handle::{ReactorHandle, Stats};
use super::registration::Registrations;
use super::stream_state::StreamState;
use super::sync::lock;
use crate::reactor::Command;
use crate::reactor::StreamId;
use crate::stream::Reason;
use crate::sys::thread;
use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once};
use std::time::Duration;

/// How long a fork waits for what a handler has pushed to be sent, so that it is before what the child pushes.
const FLUSH_BEFORE_FORK: Duration = Duration::from_secs(2);

pub(super) struct Process {
    running: Option<(u32, Arc<ReactorHandle>)>,
    /// The stream of the handler that runs, where one has the process to itself.
    handled: Option<(Arc<ReactorHandle>, Arc<StreamState>)>,
    is_finishing: bool,
    /// Where the hubs of the application are, by their keys.
    pub(super) registrations: Registrations,
}

static PROCESS: Mutex<Process> =
    Mutex::new(Process { running: None, handled: None, is_finishing: false, registrations: Registrations::new() });
/// How long the end of the process waits for streams, in milliseconds: the longest that any of them has asked for.
static LINGER: AtomicU64 = AtomicU64::new(0);
type ForkGuards = (MutexGuard<'static, Process>, NoFork);

thread_local! {
    /// The locks that the thread that forks holds until the fork is over.
    static FORK_GUARDS: RefCell<Option<ForkGuards>> = const { RefCell::new(None) };
}

extern "C" fn before_fork() {
    let mut process = lock(&PROCESS);
    process.leave_parent();
    if let Some((link, state)) = &process.handled {
        link.wait(FLUSH_BEFORE_FORK, || state.waiting_bytes() == 0 || state.reason().is_some() || link.is_dead());
    }
    let no_turn = begin_fork();
    // Fails only while the thread ends, which does not fork.
    let _ = FORK_GUARDS.try_with(|guards| *guards.borrow_mut() = Some((process, no_turn)));
}

extern "C" fn after_fork() {
    let guards = FORK_GUARDS.try_with(|guards| guards.borrow_mut().take());
    match guards.ok().flatten() {
        Some((_process, no_turn)) => end_fork(Some(no_turn)),
        None => end_fork(None),
    }
}

extern "C" fn after_fork_in_child() {
    enter_child();
    after_fork();
}

/// The way to the reactor of this process, which is started if it does not run.
///
/// # Errors
///
/// If the system has no descriptor, no memory or no thread for it, or if this process is ending.
pub(super) fn link() -> io::Result<Arc<ReactorHandle>> {
    link_of(&mut process())
}

/// What this process has, its parent's left behind. A fork waits until it is let go of.
pub(super) fn process() -> MutexGuard<'static, Process> {
    let mut process = lock(&PROCESS);
    process.leave_parent();
    process
}

pub(super) fn link_of(process: &mut Process) -> io::Result<Arc<ReactorHandle>> {
    static AT_FORK: Once = Once::new();
    process.check_end()?;
    if let Some((_, link)) = process.running.as_ref().filter(|(_, link)| !link.is_dead()) {
        return Ok(Arc::clone(link));
    }
    let mut at_fork = Ok(());
    AT_FORK.call_once(|| {
        at_fork = thread::at_fork(before_fork, after_fork, after_fork_in_child).and_then(|()| thread::at_exit(at_exit));
    });
    at_fork?;
    let mut link = ReactorHandle::new()?;
    if let Some((_, dead)) = &process.running {
        link.succeed(dead);
    }
    let link = Arc::new(link);
    let reactor = EventLoop::new(Arc::clone(&link))?;
    thread::spawn("eventsource-xs", move || reactor.run())?;
    process.running = Some((generation(), Arc::clone(&link)));
    Ok(link)
}

impl Process {
    /// # Errors
    ///
    /// If this process is ending.
    pub(super) fn check_end(&self) -> io::Result<()> {
        match self.is_finishing {
            true => Err(io::Error::new(io::ErrorKind::Other, "this process is ending")),
            false => Ok(()),
        }
    }

    /// In a child, forgets the parent's reactor.
    fn leave_parent(&mut self) {
        if self.running.as_ref().map_or(false, |(of, _)| *of != generation()) {
            std::mem::forget(self.running.take());
            std::mem::forget(self.handled.take());
            self.registrations.leave_to_parent();
            self.is_finishing = false;
        }
    }
}

/// The stream of the handler that runs from here on; none, when it has returned.
pub(super) fn set_handled(handled: Option<(Arc<ReactorHandle>, Arc<StreamState>)>) {
    process().handled = handled;
}

fn running() -> Option<Arc<ReactorHandle>> {
    process().running.as_ref().map(|(_, link)| Arc::clone(link))
}

/// Has the end of the process wait at least that long for what waits.
pub fn linger(time: Duration) {
    LINGER.fetch_max(time.as_millis().try_into().unwrap_or(u64::MAX), Ordering::AcqRel);
}

/// Ends all streams of this process, for it ends: each client is told to come back at a time of its own, what waits is
/// sent, the rest is lost when the time that was asked for ([`linger`]) is up. Nothing is opened afterwards.
pub fn finish() {
    finish_in(lock(&PROCESS));
}

fn finish_in(mut process: MutexGuard<'_, Process>) {
    process.leave_parent();
    let link = match &process.running {
        Some((_, link)) if !process.is_finishing && !link.is_dead() => Arc::clone(link),
        _ => return,
    };
    process.is_finishing = true;
    drop(process);
    let within = Duration::from_millis(LINGER.load(Ordering::Acquire));
    link.send(Command::Finish { within }, 0, None);
    // The reactor keeps the time; it is not kept waiting by anything.
    link.wait_until_finished(within.saturating_add(Duration::from_millis(500)));
}

/// An embedded perl may end without running END: uWSGI just exits, even from the handler of a signal. So if the process
/// is in the middle of something here it is left as it is.
extern "C" fn at_exit() {
    let _ = std::panic::catch_unwind(|| {
        if let Ok(process) = PROCESS.try_lock() {
            finish_in(process);
        }
    });
}

/// What was counted since this process has a reactor; all zero before.
pub fn stats() -> Stats {
    running().map_or_else(Stats::default, |link| link.stats())
}

/// The next end of a stream that an interpreter has asked to be told and has not been told yet.
pub fn take_ended(interpreter: u32) -> Option<(StreamId, Reason)> {
    running()?.take_ended(interpreter)
}

/// A descriptor that is readable while there are such ends. It is this process's: a child has one of its own.
///
/// # Errors
///
/// As for a new stream, if there is no reactor yet.
pub fn notify_descriptor(interpreter: u32) -> io::Result<i32> {
    running().filter(|link| !link.is_dead()).map_or_else(link, Ok)?.notify_descriptor(interpreter)
}

/// An interpreter is gone, with its thread: what ends from here on it is not told.
pub fn forget_interpreter(interpreter: u32) {
    if let Some(link) = running() {
        link.forget_interpreter(interpreter);
    }
}
