//! Continuing as another program: an `exec` in place.
//!
//! Handing over between two processes would have more states than an `exec` in place, and the members, ends and limits of a hub
//! would have two owners.
//!
//! The process, its lock and its sockets stay. What a hub without a store remembers, the connections, and the streams that were
//! sent everything or are ending travel in a file in memory (`eventsource_xs::wire::Handover`). The other streams end: their
//! clients come back with their last ids, and receive what they lack. The order makes sure that nothing has ended if the other
//! program cannot continue:
//!
//! 1. The program is opened: what is checked is what is run, whatever is installed meanwhile.
//! 2. The program is run as `check-state VERSION`: it says that it reads this version, and which protocol it speaks. One of
//!    another protocol is handed no streams and no connections of workers.
//! 3. The store has done what it was asked; its threads end with this program, at the `exec`. The reactor stops at the end of a
//!    turn, and hands over, piece by piece: an allocation that fails would end the process.
//! 4. The program is run again, with that as its input: it says that it has read all of it, and has room for threads.
//! 5. The descriptors are to outlive the `exec`, and the process is the other program, which ends the streams that end.
//!
//! Whatever fails before the `exec`, or the `exec` itself, leaves the process as it was. The other program takes nothing from
//! the environment or files, so nothing there can stop it.

use crate::arguments::Arguments;
use eventsource_xs::remote::calls::{execute, memory_file, open_program, set_close_at_exec};
use eventsource_xs::remote::Place;
use eventsource_xs::wire::HANDOVER;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The time that the other program may take to say which states it reads, and to read one. The wire thread waits.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(2);
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
const CHECK_PAUSE: Duration = Duration::from_millis(1);
/// The most bytes that are kept of what a program says about itself.
const MAX_SAID_BYTES: u64 = 1000;

/// The line that a program prints if it reads what is handed over in a version, before the version of its protocol.
pub fn claim(version: u32) -> String {
    format!("eventsource-hub reads states of version {version}, protocol ")
}

/// Returns the path that this program has been started from, even if another file is there now.
pub fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let kept = path.as_os_str().as_bytes().strip_suffix(b" (deleted)").map(OsStr::from_bytes);
    Ok(kept.map_or_else(|| path.clone(), PathBuf::from))
}

/// The program as which the process is to continue.
pub struct Program {
    /// Where it was, for people and for the next upgrade.
    pub path: PathBuf,
    file: OwnedFd,
    /// True if it is the one that runs.
    pub is_running: bool,
}

impl Program {
    /// Opens the program that is at a path now. Fails with the reason.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = open_program(path).map_err(|error| format!("cannot run {}: {error}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, is_running: false })
    }

    /// Opens the program that runs, whatever is at its path now.
    pub fn running() -> Result<Self, String> {
        let path = own_program().map_err(|error| error.to_string())?;
        Ok(Self { path, is_running: true, ..Self::open(Path::new("/proc/self/exe"))? })
    }

    /// Returns the number of its descriptor, which the program finds open.
    pub fn number(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Returns the path at which this process, and whatever it executes, finds the program that was opened.
    fn opened(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.number()).into()
    }

    fn cannot_run(&self, error: &io::Error) -> String {
        format!("cannot run {}: {error}", self.path.display())
    }

    /// Asks a program of the simulation.
    #[cfg(feature = "sim")]
    pub fn check(&self, handed: Option<&File>) -> Result<u16, String> {
        eventsource_xs::sim::world().check(handed)
    }

    /// Asks it whether it reads what this version hands over; with a file, whether it reads that. Returns the version of its
    /// protocol. Fails with the reason.
    #[cfg(not(feature = "sim"))]
    pub fn check(&self, handed: Option<&File>) -> Result<u16, String> {
        let (program, failed) = (self.path.display(), |error: io::Error| self.cannot_run(&error));
        let mut said = memory_file("check").map_err(failed)?;
        let copy = |file: &File| file.try_clone().map(Stdio::from).map_err(failed);
        let mut command = Command::new(self.opened());
        command.arg0(&self.path).args(["check-state", &HANDOVER.to_string()]);
        command.stdin(handed.map_or_else(|| Ok(Stdio::null()), copy)?).stdout(copy(&said)?).stderr(copy(&said)?);
        let timeout = if handed.is_some() { CHECK_TIMEOUT } else { CLAIM_TIMEOUT };
        let is_done = wait(&mut command.spawn().map_err(failed)?, timeout).map_err(failed)?;
        if let Some(mut handed) = handed {
            handed.rewind().map_err(failed)?;
        }
        let mut text = String::new();
        said.rewind().map_err(failed)?;
        let _ = said.take(MAX_SAID_BYTES).read_to_string(&mut text); // non-UTF-8 output does not confirm compatibility
        let protocol = text.trim_end().strip_prefix(&claim(HANDOVER)).and_then(|protocol| protocol.parse().ok());
        match protocol.filter(|_| is_done) {
            Some(protocol) => Ok(protocol),
            None if text.is_empty() => Err(format!("{program} is not a hub program that can continue here")),
            None => Err(format!("{program} cannot continue here: {}", text.trim_end())),
        }
    }

    /// Executes this program, which continues with what is in the file and the descriptors. Its command line is that of this
    /// process as far as people and other versions may read it. Returns only if that fails.
    pub fn exec(&self, handed: &File, descriptors: &[i32], options: &Arguments, place: &Place) -> String {
        let mut words: Vec<OsString> = vec![self.path.clone().into(), "run".into()];
        words.extend(["--state".into(), handed.as_raw_fd().to_string().into()]);
        words.extend(options.words(place));
        let all = || descriptors.iter().copied().chain([handed.as_raw_fd()]);
        let error = match all().try_for_each(|number| set_close_at_exec(number, false)) {
            Ok(()) => execute(&self.opened(), &words),
            Err(error) => error,
        };
        for number in all() {
            let _ = set_close_at_exec(number, true); // fails for none that is open
        }
        self.cannot_run(&error)
    }
}

/// Has `ps` show the name of this program again: an upgrade has run it as a descriptor.
pub fn show_name() {
    let program = std::env::current_exe().unwrap_or_default();
    if let Some(name) = program.file_name() {
        let _ = std::fs::write("/proc/self/comm", name.as_bytes()); // it is only for people
    }
}

/// Waits until a program has ended. Returns true if it has succeeded. One that takes too long is killed.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status.success()),
            None if Instant::now() >= deadline => {
                child.kill()?;
                child.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            None => std::thread::sleep(CHECK_PAUSE),
        }
    }
}
