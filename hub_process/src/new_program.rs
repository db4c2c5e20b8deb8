//! Continuing as another program: an `exec` in place, without an end of a stream or a connection.
//!
//! Handing over between two processes would have more states than an `exec` in place.
//!
//! The process, its lock, its socket, the connections of workers and clients stay. Everything else travels as a state in a file
//! in memory (`eventsource_xs::saved`). The order makes sure that nothing is lost if the other program cannot continue:
//!
//! 1. The program is opened: what is checked is what is run, whatever is installed meanwhile.
//! 2. The program is run as `check-state VERSION`: it says that it reads states of this version.
//! 3. The store has done what it was asked; its threads end with this program, at the `exec`. The reactor stops at the end of a
//!    turn, and all is saved, piece by piece: an allocation that fails would end the process.
//! 4. The program is run again, with the state as its input: it says that it has read all of it, and has room for threads.
//! 5. The descriptors are to outlive the `exec`, and the process is the other program.
//!
//! Whatever fails before the `exec`, or the `exec` itself, leaves the process as it was. The other program takes everything
//! from the state and nothing from the command line, the environment or files, so nothing there can stop it.

use eventsource_xs::remote::calls::{execute, memory_file, open_program, set_close_at_exec};
use eventsource_xs::remote::Place;
use eventsource_xs::saved::{Malformed, Restorer, Saver, VERSION};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the other program may take to say which states it reads, and to read one. The wire thread waits.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(2);
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
const CHECK_PAUSE: Duration = Duration::from_millis(1);
/// The most bytes that are kept of what a program says about itself.
const MAX_SAID_BYTES: u64 = 1000;

/// The line that a program prints if it reads states of a version.
pub fn claim(version: u32) -> String {
    format!("eventsource-hub reads states of version {version}")
}

/// Begins a state, in a file in memory: a program of another version reads no further.
pub fn begin_state() -> io::Result<Saver> {
    let mut saver = Saver::with_file(memory_file("eventsource-hub")?, Instant::now());
    saver.add(&VERSION);
    Ok(saver)
}

/// Reads the beginning of a state.
pub fn read_state(bytes: &[u8], now: Instant) -> Result<Restorer<'_>, Malformed> {
    let mut restorer = Restorer::new(bytes, now);
    match restorer.take::<u32>()? {
        VERSION => Ok(restorer),
        _ => Err(Malformed),
    }
}

/// The program as which the process is to continue.
pub struct Program {
    /// Where it was, for people and for the next upgrade.
    path: PathBuf,
    file: OwnedFd,
}

impl Program {
    /// Opens the program that is at a path now. Fails with the reason.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = open_program(path).map_err(|error| format!("cannot run {}: {error}", path.display()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    pub fn path(&self) -> &Path {
        &self.path
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

    /// Asks it whether it reads states of this version; with a state, whether it reads that one. Fails with the reason.
    pub fn check(&self, state: Option<&File>) -> Result<(), String> {
        let (program, failed) = (self.path.display(), |error: io::Error| self.cannot_run(&error));
        let mut said = memory_file("check").map_err(failed)?;
        let copy = |file: &File| file.try_clone().map(Stdio::from).map_err(failed);
        let mut command = Command::new(self.opened());
        command.arg0(&self.path).args(["check-state", &VERSION.to_string()]);
        command.stdin(state.map_or_else(|| Ok(Stdio::null()), copy)?).stdout(copy(&said)?).stderr(copy(&said)?);
        let timeout = if state.is_some() { CHECK_TIMEOUT } else { CLAIM_TIMEOUT };
        let is_done = wait(&mut command.spawn().map_err(failed)?, timeout).map_err(failed)?;
        if let Some(mut state) = state {
            state.rewind().map_err(failed)?;
        }
        let mut text = String::new();
        said.rewind().map_err(failed)?;
        let _ = said.take(MAX_SAID_BYTES).read_to_string(&mut text); // non-UTF-8 output does not confirm compatibility
        match is_done && text.trim_end() == claim(VERSION) {
            true => Ok(()),
            false if text.is_empty() => Err(format!("{program} is not a hub program that can continue here")),
            false => Err(format!("{program} cannot continue here: {}", text.trim_end())),
        }
    }

    /// Executes this program, which continues with the state and the descriptors. Returns only if that fails.
    pub fn exec(&self, state: &File, descriptors: &[i32], place: &Place) -> String {
        let number = state.as_raw_fd().to_string();
        let mut words: Vec<OsString> = vec![self.path.clone().into()];
        words.extend(["run", "--state", &number].map(OsString::from));
        // Name and socket are for people, who look for them in `ps`.
        words.extend(["--name", place.name().as_str()].map(OsString::from));
        words.extend(place.socket().to_str().into_iter().flat_map(|path| ["--socket", path]).map(OsString::from));
        let all = || descriptors.iter().copied().chain([state.as_raw_fd()]);
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
