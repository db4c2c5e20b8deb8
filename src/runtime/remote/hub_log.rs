//! The log of a hub process that nobody reads itself: one of its workers writes the lines to its own standard error, which is
//! the log of its server. The event loop does that, so it needs no request and no handler. A log that takes nothing at once, as
//! a full pipe, is not waited for.

use super::link::Link;
use crate::sys::standard_error::{is_unread, write_at_once};
use crate::wire::{Name, Request, LOG_LEASE};
use crate::Failure;
use std::sync::atomic::{AtomicU64, Ordering};

per_process! {
    /// The number of lines that were lost since the last one that was written.
    static LOST: AtomicU64 = AtomicU64::new(0);
}

/// Asks to be the worker that writes the log, unless nobody would read it here.
pub(super) fn ask(link: &mut Link, lease: u64) {
    if !is_unread() {
        let mut frame = Vec::new();
        let _ = Request::Elect { lease, name: LOG_LEASE }.encode(&mut frame); // it is short
        link.queue_frame(frame, None);
    }
}

/// Writes why a hub process serves this process not, or not yet. No worker is sent its log before it does.
pub(super) fn write_refusal(hub: &Name, error: &Failure) {
    if !is_unread() {
        write(hub, &format!("does not serve process {}: {error}", std::process::id()));
    }
}

/// Writes a line of the log of a hub process.
pub(super) fn write(hub: &Name, line: &str) {
    let lost = LOST.swap(0, Ordering::Relaxed);
    let is_written = write_at_once(text(hub, line, lost).as_bytes());
    if !is_written {
        LOST.fetch_add(lost + 1, Ordering::Relaxed);
    }
}

fn text(hub: &Name, line: &str, lost: u64) -> String {
    let missing = match lost {
        0 => String::new(),
        _ => format!("eventsource-hub {hub}: {lost} lines before this one are lost here: eventsource hub log {hub}\n"),
    };
    format!("{missing}eventsource-hub {hub}: {line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_hub_and_says_how_many_are_missing_before_it() {
        let hub = Name::new("shop").expect("a name");
        assert_eq!(text(&hub, "it is down", 0), "eventsource-hub shop: it is down\n");
        let expected = "eventsource-hub shop: 7 lines before this one are lost here: eventsource hub log shop\n\
                        eventsource-hub shop: it is down\n";
        assert_eq!(text(&hub, "it is down", 7), expected);
    }
}
