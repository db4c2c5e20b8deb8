//! The commands of the program other than `run` and `start`.

use crate::arguments::Arguments;
use crate::new_program::claim;
use crate::server::SavedServer;
use eventsource_xs::remote::{self, Start};
use eventsource_xs::saved::VERSION;
use std::error::Error;
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::thread::{self, Builder};
use std::time::Instant;

/// How many threads a hub process has: the reactor's, up to three of a store, and one for monitors.
const MOST_THREADS: usize = 5;

/// Prints a text.
pub fn print(text: &str) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// Asks the hub process to exec another program; if none is named, the one that this command is.
pub fn upgrade(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let program = match &arguments.program {
        Some(program) => program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?,
        None => std::env::current_exe()?,
    };
    let start = Start { program: None, needs_settings: false, timeout: arguments.timeout };
    Ok(remote::upgrade(&start, &arguments.place()?, Some(&program))?)
}

/// Reads the state that the standard input is, if it is one, and says that this program reads states of a version.
pub fn check_state(version: u32) -> Result<(), Box<dyn Error>> {
    if version != VERSION {
        return Err(format!("this program reads states of version {VERSION}, not {version}").into());
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    if !bytes.is_empty() {
        let (_reactor, saved) = SavedServer::read(&bytes, Instant::now())?;
        saved.check_store()?;
        try_threads()?;
    }
    print(&claim(version))
}

/// Tries whether there is room for the threads of a hub process: it could not continue without them.
fn try_threads() -> io::Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let _closed = gate.lock(); // until all have begun
        (0..MOST_THREADS).try_for_each(|_| Builder::new().spawn_scoped(scope, || drop(gate.lock())).map(drop))
    })
}
