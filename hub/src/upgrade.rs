//! Going on as another program: an `exec` in place, without an end of a stream or a connection.
//!
//! The process, its lock, its socket, the connections of workers and clients stay. Everything else travels as a state in a file
//! in memory (`eventsource_xs::saved`). The order makes sure that nothing is lost if the other program cannot go on:
//!
//! 1. The program is run as `check-state VERSION`: it says that it reads states of this version.
//! 2. The reactor stops at the end of a turn, and all is saved.
//! 3. The program is run again, with the state as its input: it says that it has read all of it.
//! 4. The descriptors are to outlive the `exec`, and the process is the other program.
//!
//! Whatever fails before the `exec`, or the `exec` itself, leaves the process as it was.

use eventsource_xs::remote::calls::{execute, keep_at_exec, memory_file, set_close_at_exec};
use eventsource_xs::saved::{Malformed, Restorer, Saver, VERSION};
use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the other program may take to say which states it reads, and to read one. The wire thread waits.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(2);
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
const CHECK_PAUSE: Duration = Duration::from_millis(1);
/// The most bytes that are kept of what a program says about itself.
const MAX_SAID_BYTES: u64 = 1000;

/// What a program says that reads states of a version.
fn claim(version: u32) -> String {
    format!("eventsource-hub reads states of version {version}\n")
}

/// The command `check-state`: reads the state that the standard input is, if it is one, and says that it has.
pub fn check_state(version: u32) -> Result<(), Box<dyn Error>> {
    if version != VERSION {
        return Err(format!("this program reads states of version {VERSION}, not {version}").into());
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    if !bytes.is_empty() {
        crate::server::SavedServer::read(&bytes, Instant::now())?;
    }
    print!("{}", claim(version));
    Ok(())
}

/// Begins a state: a program of another version reads no further.
pub fn begin_state(now: Instant) -> Saver {
    let mut saver = Saver::new(now);
    saver.add(&VERSION);
    saver
}

/// Reads the beginning of a state.
pub fn read_state(bytes: &[u8], now: Instant) -> Result<Restorer<'_>, Malformed> {
    let mut restorer = Restorer::new(bytes, now);
    match restorer.take::<u32>()? {
        VERSION => Ok(restorer),
        _ => Err(Malformed),
    }
}

/// Writes a state into a file in memory.
pub fn state_file(state: &[u8]) -> io::Result<File> {
    let mut file = memory_file("eventsource-hub")?;
    file.write_all(state)?;
    file.rewind()?;
    Ok(file)
}

/// Asks a program whether it reads states of this version; with a state, whether it reads that one. Fails with the reason.
pub fn check(program: &Path, state: Option<&File>) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot run {}: {error}", program.display());
    let mut said = memory_file("check").map_err(failed)?;
    let copy = |file: &File| file.try_clone().map(Stdio::from).map_err(failed);
    let mut command = Command::new(program);
    command.args(["check-state", &VERSION.to_string()]);
    command.stdin(state.map_or_else(|| Ok(Stdio::null()), copy)?).stdout(copy(&said)?).stderr(copy(&said)?);
    let timeout = if state.is_some() { CHECK_TIMEOUT } else { CLAIM_TIMEOUT };
    let is_done = wait(&mut command.spawn().map_err(failed)?, timeout).map_err(failed)?;
    if let Some(mut state) = state {
        state.rewind().map_err(failed)?;
    }
    let mut text = String::new();
    said.rewind().map_err(failed)?;
    let _ = said.take(MAX_SAID_BYTES).read_to_string(&mut text); // what is no text is no claim
    match is_done && text == claim(VERSION) {
        true => Ok(()),
        false if text.is_empty() => Err(format!("{} is no program of a hub that can go on here", program.display())),
        false => Err(format!("{} cannot go on here: {}", program.display(), text.trim_end())),
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

/// Goes on as another program, which takes the state and the descriptors. Returns only if that fails.
pub fn go_on(program: &Path, state: &File, descriptors: &[i32]) -> String {
    let mut words = vec![OsString::from("--state"), state.as_raw_fd().to_string().into()];
    // The words after the command are those of this process, without what a starter has added.
    let mut given = std::env::args_os().skip(1);
    words.splice(0..0, given.next());
    while let Some(word) = given.next() {
        match word.to_str() {
            Some("--inherited") => {}
            Some("--state") => drop(given.next()),
            _ => words.push(word),
        }
    }
    let all = || descriptors.iter().copied().chain([state.as_raw_fd()]);
    let error = match all().try_for_each(keep_at_exec) {
        Ok(()) => execute(program, &words),
        Err(error) => error,
    };
    for number in all() {
        let _ = set_close_at_exec(number); // fails for none that is open
    }
    format!("cannot run {}: {error}", program.display())
}
