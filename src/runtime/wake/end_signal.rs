//! The signal that tells an idle interpreter of ended streams, if the application has asked for one.
//!
//! perl runs a handler between two operations. A signal that comes just before the interpreter waits in a system call is
//! noticed only afterwards, so the signal is repeated until the interpreter has taken the ends. A busy interpreter takes them
//! by itself, mostly before the first signal.
//!
//! `SA_RESTART` is not set: a blocking `accept` would be restarted, and the interpreter would not wake. A server that takes an
//! interrupted call for an error is sent no signal (`bears_signals` of its adapter).

use super::end_queue::{has_ends, EndQueues};
use super::sync::lock;
use crate::sys::signal;
use std::os::raw::c_int;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The time for which ends are queued before the first signal.
const FIRST: Duration = Duration::from_millis(100);
/// The longest time between two signals. The time doubles from the first to this one.
const LONGEST: Duration = Duration::from_secs(5);

/// The receiver of a signal.
#[derive(Clone, Copy, Debug)]
struct Target {
    signal: c_int,
    interpreter: u32,
    /// The process and its thread that asked for the signal.
    process: u32,
    thread: i32,
    /// The handler of the signal. While the process has another one, no signal is sent: the default could end the process.
    action: usize,
}

per_process! { static TARGET: Mutex<Option<Target>> = Mutex::new(None); }

/// Sends the calling thread a signal, whose handler is installed, while ends are queued for an interpreter. Without a
/// signal, stops that. A forked child inherits it.
pub fn set_end_signal(signal: Option<c_int>, interpreter: u32) {
    *lock(&TARGET) = signal.map(|signal| Target {
        signal,
        interpreter,
        process: std::process::id(),
        thread: signal::current_thread(),
        action: signal::action(signal),
    });
}

impl Target {
    fn send(&self) {
        let process = std::process::id();
        // The only thread of a new process has the number of the process.
        let thread = if process == self.process { self.thread } else { process as i32 };
        if signal::action(self.signal) == self.action {
            signal::send_to_thread(process as i32, thread, self.signal);
        }
    }
}

/// When the reactor's thread sends the next signal.
#[derive(Debug)]
pub(crate) struct EndSignal {
    /// When a signal is due.
    pub(crate) due: Option<Instant>,
    pause: Duration,
}

impl EndSignal {
    pub(crate) fn new() -> Self {
        Self { due: None, pause: FIRST }
    }

    /// Called in each turn of the reactor: sends the signal if it is due.
    pub(crate) fn fire(&mut self, ends: &EndQueues, now: Instant) {
        let target = if has_ends() { *lock(&TARGET) } else { None };
        let target = match target.filter(|target| ends.has_ends(target.interpreter)) {
            Some(target) => target,
            None => {
                *self = Self::new();
                return;
            }
        };
        match self.due {
            None => self.due = Some(now + FIRST),
            Some(due) if due <= now => {
                target.send();
                self.pause = (self.pause * 2).min(LONGEST);
                self.due = Some(now + self.pause);
            }
            Some(_) => {}
        }
    }
}
