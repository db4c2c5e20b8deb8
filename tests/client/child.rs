//! Forked children of the test process. Each runs a function and reports whether it succeeded.

use std::io::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};

pub struct Child(libc::pid_t);

/// Forks a child that runs a function.
pub fn fork(body: impl FnOnce()) -> Child {
    // SAFETY: the child runs only this thread's code, and ends without the parent's exit handlers.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        let done = catch_unwind(AssertUnwindSafe(body));
        if let Err(cause) = &done {
            // The test harness captures the output of macros, and would lose it with the child.
            let text = cause.downcast_ref::<&str>().copied();
            let cause = text.or_else(|| cause.downcast_ref::<String>().map(String::as_str));
            let _ = writeln!(std::io::stderr(), "the child: {cause:?}");
        }
        // SAFETY: the call only ends the process.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    Child(child)
}

impl Child {
    /// Waits for the child's end. Fails if the child has failed.
    pub fn wait(self) {
        let mut status = 0;
        // SAFETY: `status` lives until the call returns.
        let ended = unsafe { libc::waitpid(self.0, &mut status, 0) };
        assert_eq!((ended, status), (self.0, 0), "the child has failed; see its message above");
    }
}
