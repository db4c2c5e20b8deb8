//! Children of the process that tests, which do something and say whether it went well.

use std::io::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};

pub struct Child(libc::pid_t);

/// Has a child do something.
pub fn fork(body: impl FnOnce()) -> Child {
    // SAFETY: the child runs this thread's code alone, and ends without running what the parent's end would.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        let done = catch_unwind(AssertUnwindSafe(body));
        if let Err(cause) = &done {
            // Not by a macro, whose output is kept for the parent to print.
            let text = cause.downcast_ref::<&str>().copied();
            let cause = text.or_else(|| cause.downcast_ref::<String>().map(String::as_str));
            let _ = writeln!(std::io::stderr(), "the child: {cause:?}");
        }
        // SAFETY: it only ends the process.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    Child(child)
}

impl Child {
    /// Waits for its end. Fails if it has failed.
    pub fn wait(self) {
        let mut status = 0;
        // SAFETY: the status is ours.
        let ended = unsafe { libc::waitpid(self.0, &mut status, 0) };
        assert_eq!((ended, status), (self.0, 0), "the child has failed; what it says is above");
    }
}
