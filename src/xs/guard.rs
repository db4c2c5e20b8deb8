//! Every Rust function that C calls and that does more than read a field goes through here: an error or a panic becomes
//! a status and a message.

use std::cell::RefCell;
use std::fmt::Display;
use std::mem::MaybeUninit;
use std::os::raw::{c_char, c_int};
use std::panic::{catch_unwind, set_hook, AssertUnwindSafe};

/// `esx_status`
pub(super) const OK: c_int = 0;
/// Some field's form asks C to replace its text and to measure again.
pub(super) const REWORK: c_int = 1;
/// The report's message says why, and where it is about a field, `at` says which.
pub(super) const ERROR: c_int = 2;
/// A panic was caught; the report's message says where, and nothing else in it counts.
pub(super) const PANIC: c_int = 3;

/// `esx_report`, which lies on the stack of C and comes without values. Wherever C looks Rust has written before.
#[repr(C)]
pub(super) struct Report {
    size: MaybeUninit<usize>,
    at: MaybeUninit<usize>,
    utf8: MaybeUninit<u8>,
    message: [MaybeUninit<c_char>; 248],
}

impl Report {
    pub(super) fn set_size(&mut self, size: usize) {
        self.size = MaybeUninit::new(size);
    }

    pub(super) fn set_at(&mut self, at: usize) {
        self.at = MaybeUninit::new(at);
    }

    pub(super) fn set_utf8(&mut self, utf8: bool) {
        self.utf8 = MaybeUninit::new(u8::from(utf8));
    }

    /// Copies the message, cut at a character if it is too long, and ends it with NUL.
    fn set_message(&mut self, text: &str) {
        let mut end = text.len().min(self.message.len() - 1);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        for (to, from) in self.message.iter_mut().zip(text[..end].bytes().chain([0])) {
            *to = MaybeUninit::new(from as c_char);
        }
    }
}

thread_local! {
    static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers where a panic happened instead of printing it; [`run`] puts it into the message. The hook is this
/// library's own, for it carries its own copy of the standard library.
pub(super) fn keep_panics_quiet() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        // Fails only while the thread ends; then there is no one left to tell.
        let _ = PANICKED_AT.try_with(|at| *at.borrow_mut() = place);
    }));
}

/// Runs `body`; an error in it becomes [`ERROR`], a panic [`PANIC`], each with a message.
pub(super) fn run<E: Display>(report: &mut Report, body: impl FnOnce(&mut Report) -> Result<c_int, E>) -> c_int {
    match catch_unwind(AssertUnwindSafe(|| body(report))) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            report.set_message(&error.to_string());
            ERROR
        }
        Err(cause) => {
            report.set_message(&describe(&*cause));
            std::mem::forget(cause); // its own drop might panic again
            PANIC
        }
    }
}

/// Runs `body`, which has no way to tell of a failure; a panic becomes `otherwise`.
pub(super) fn run_or<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|cause| {
        std::mem::forget(cause);
        otherwise
    })
}

fn describe(cause: &(dyn std::any::Any + Send)) -> String {
    let what = cause.downcast_ref::<&str>().copied().or_else(|| cause.downcast_ref::<String>().map(|text| &**text));
    let place = PANICKED_AT.try_with(|at| at.borrow_mut().take()).ok().flatten();
    format!("internal error: {} ({})", what.unwrap_or("unknown"), place.as_deref().unwrap_or("place unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let (size, at, utf8) = (MaybeUninit::new(0), MaybeUninit::new(0), MaybeUninit::new(0));
        Report { size, at, utf8, message: [MaybeUninit::new(1); 248] }
    }

    fn message(report: &Report) -> String {
        // SAFETY: `report` has given every byte a value.
        let bytes = report.message.iter().map(|byte| unsafe { byte.assume_init() } as u8);
        String::from_utf8(bytes.take_while(|byte| *byte != 0).collect()).unwrap()
    }

    #[test]
    fn a_panic_becomes_a_message_with_its_place() {
        let mut report = report();
        keep_panics_quiet();
        let status = run::<String>(&mut report, |_| panic!("{} is odd", 7));
        let _ = std::panic::take_hook();
        assert_eq!(status, PANIC);
        let message = message(&report);
        assert!(message.starts_with("internal error: 7 is odd ("), "{message}");
        assert!(message.contains("guard.rs:"), "{message}");
    }

    #[test]
    fn a_panic_where_none_can_be_told_gives_the_default() {
        assert_eq!(run_or(7, || panic!("never seen")), 7);
    }

    #[test]
    fn a_message_is_cut_at_a_character() {
        let mut report = report();
        run(&mut report, |_| Err(["x", &"é".repeat(300)].concat()));
        assert_eq!(message(&report), ["x", &"é".repeat(123)].concat());
    }
}
