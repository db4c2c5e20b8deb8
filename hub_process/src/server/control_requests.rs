//! All that the process has been told to do when a turn is over: to end, or to continue as another program.

use eventsource_xs::wire::Failure;
use eventsource_xs::ErrorCode;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// An upgrade that was asked for.
#[derive(Debug)]
pub(super) struct Upgrading {
    /// The connections that are to be answered; none if a signal has asked.
    pub(super) requesters: Vec<u64>,
    pub(super) program: PathBuf,
    /// Since when it is asked for.
    asked: Instant,
}

/// The control requests of this turn.
#[derive(Debug)]
pub(super) struct ControlRequests {
    /// The path that this program has been started from, whichever file is there now.
    program: PathBuf,
    pub(super) ends: bool,
    /// True if a command has ended the hub: its settings are forgotten.
    pub(super) forgets: bool,
    upgrading: Option<Upgrading>,
}

impl ControlRequests {
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program, ends: false, forgets: false, upgrading: None }
    }

    /// Ends the hub, too: the next process begins with other settings, unless that was run in the place of this one.
    pub(super) fn stop(&mut self, is_replaced: bool) {
        (self.ends, self.forgets) = (true, !is_replaced);
    }

    /// Lets the process continue as a program, if none is named as the installed one. The requester, if it is not a signal, is
    /// answered by that, or by this process if the upgrade fails.
    pub(super) fn upgrade(&mut self, requester: Option<u64>, program: Option<&[u8]>) -> Result<(), Failure> {
        let program = program.map_or(self.program.as_path(), |path| Path::new(OsStr::from_bytes(path)));
        if self.ends {
            return Err(Failure::unavailable("the process ends"));
        }
        if program.is_relative() {
            let message = "the path of the program must be absolute";
            return Err(Failure::new(ErrorCode::Invalid, Some("program"), message));
        }
        let first = || Upgrading { requesters: Vec::new(), program: program.to_owned(), asked: Instant::now() };
        let upgrading = self.upgrading.get_or_insert_with(first);
        if upgrading.program != program {
            let message = format!("the process continues as {} already", upgrading.program.display());
            return Err(Failure::unavailable(message));
        }
        upgrading.requesters.extend(requester);
        Ok(())
    }

    /// Returns since when an upgrade is asked for.
    pub(super) fn upgrade_asked(&self) -> Option<Instant> {
        self.upgrading.as_ref().map(|upgrading| upgrading.asked)
    }

    /// Takes the upgrade that was asked for, if one that is asked for since a time may begin; none if the process is to end.
    pub(super) fn take_upgrade(&mut self, may_begin: impl FnOnce(Instant) -> bool) -> Option<Upgrading> {
        let ends = self.ends;
        self.upgrading.take_if(|upgrading| ends || may_begin(upgrading.asked)).filter(|_| !ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_requesters_of_one_program_are_answered_and_another_program_is_refused() {
        let mut control = ControlRequests::new("/installed".into());
        assert_eq!(control.upgrade(Some(1), None), Ok(()));
        assert_eq!(control.upgrade(Some(2), Some(b"/installed")), Ok(()));
        assert_eq!(
            control.upgrade(Some(3), Some(b"/other")).map_err(|failure| failure.code),
            Err(ErrorCode::Unavailable)
        );
        assert_eq!(control.upgrade(Some(4), Some(b"other")).map_err(|failure| failure.code), Err(ErrorCode::Invalid));
        assert_eq!(control.upgrade(None, None), Ok(()));
        let upgrading = control.take_upgrade(|_| true).expect("an upgrade");
        assert_eq!((upgrading.requesters, upgrading.program), (vec![1, 2], "/installed".into()));
        assert!(control.take_upgrade(|_| true).is_none());
    }

    #[test]
    fn a_process_that_ends_does_not_continue_as_another_program() {
        let mut control = ControlRequests::new("/installed".into());
        assert_eq!(control.upgrade(None, None), Ok(()));
        control.ends = true;
        assert!(control.upgrade(Some(1), None).is_err());
        assert!(control.take_upgrade(|_| true).is_none());
        assert_eq!((control.ends, control.forgets), (true, false));
        control.stop(true);
        assert!(!control.forgets);
        control.stop(false);
        assert!(control.forgets);
    }
}
