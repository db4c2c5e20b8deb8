//! The end of a process that only serves one client: it ends when that client has left.

use crate::stream::Reason;
use crate::sys::{descriptor, signal, thread};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

/// The descriptor to which the reason is written, or -1.
static REPORT: AtomicI32 = AtomicI32::new(-1);
/// The milliseconds between the request to end and the end.
static GRACE: AtomicU64 = AtomicU64::new(0);
/// True in a process that only serves one client, and in processes that it forks.
static IS_SPAWNED: AtomicBool = AtomicBool::new(false);
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Sets how much time this process has between SIGTERM and SIGKILL when the client of its stream has left, and the
/// descriptor to which the reason is written first.
pub(super) fn set_up(grace: Duration, report: i32) {
    GRACE.store(grace.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    REPORT.store(report, Ordering::Relaxed);
    IS_SPAWNED.store(true, Ordering::Relaxed);
}

/// Returns true in a process that only serves one client.
pub(super) fn is_spawned() -> bool {
    IS_SPAWNED.load(Ordering::Relaxed)
}

/// Ends this process, because the stream that it serves has ended: SIGTERM, and SIGKILL after the grace. Called by the
/// reactor's thread, so the interpreter may be busy or asleep.
pub(super) fn end_process(reason: Reason) {
    if IS_ENDING.swap(true, Ordering::Relaxed) {
        return;
    }
    descriptor::write(REPORT.load(Ordering::Relaxed), format!("{}\n", reason.name()).as_bytes());
    signal::terminate();
    let grace = Duration::from_millis(GRACE.load(Ordering::Relaxed));
    let kill_later = move || {
        std::thread::sleep(grace);
        signal::kill();
    };
    if thread::spawn("eventsource-end", kill_later).is_err() {
        signal::kill();
    }
}
