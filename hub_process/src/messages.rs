//! What the process says on standard error. That never harms the hub: where nobody reads (a closed pipe, a full disk) a message
//! is lost, and a reader that is behind (a full pipe) is not waited for. The next message that is written says how many were
//! lost.

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::io::{self, Write};
use std::sync::Mutex;

/// The most bytes of a message: what a pipe takes at once if it takes anything (PIPE_BUF of Linux), less the words around it.
const MAX_LENGTH: usize = 4096 - 128;

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How many messages were lost since the last one that was written.
static LOST: Mutex<u64> = Mutex::new(0);

/// Writes a message as one line, if standard error takes it at once.
pub fn say(message: &str) {
    let mut lost = LOST.lock().unwrap_or_else(|error| error.into_inner());
    let missing = match *lost {
        0 => String::new(),
        count => format!("eventsource-hub: {count} messages before this one are lost\n"),
    };
    let line = format!("{missing}eventsource-hub: {}\n", start_of(message));
    if cfg!(test) {
        eprint!("{line}"); // shown if the test fails
        return;
    }
    let is_written = takes_a_line() && io::stderr().write_all(line.as_bytes()).is_ok();
    *lost = if is_written { 0 } else { *lost + 1 };
}

/// Writes why a command fails, whatever becomes of it: then the status says that it has failed.
pub fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "eventsource-hub: {message}");
}

fn start_of(message: &str) -> &str {
    let mut end = message.len().min(MAX_LENGTH);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

fn takes_a_line() -> bool {
    let stderr = io::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    matches!(poll(&mut polled, Some(&AT_ONCE)), Ok(1))
}
