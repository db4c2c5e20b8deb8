//! The commands of the program other than `run` and `start`.

use crate::arguments::Arguments;
use crate::new_program::claim;
use crate::protocol;
use crate::server::process_of;
use crate::store::check_built;
use eventsource_xs::remote::{self, Start};
use eventsource_xs::runtime::HandedOver;
use eventsource_xs::wire::{Handover, HANDOVER};
use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::thread::{self, Builder};

/// The most threads that a hub process has: the reactor's, up to three of a store, and one for monitors.
const MOST_THREADS: usize = 5;

/// Prints a text.
pub fn print(text: &str) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// Asks the hub process to exec another program; if none is named, the one that this command is. Prints what becomes of
/// streams.
pub fn upgrade(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let program = match &arguments.program {
        Some(program) => program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?,
        None => std::env::current_exe()?,
    };
    let start = Start { program: None, needs_settings: false, timeout: arguments.timeout };
    print(&remote::upgrade(&start, &arguments.place()?, Some(&program))?)
}

/// Reads what is handed over from the standard input, if there is something, and says that this program reads that version.
pub fn check_state(version: u32) -> Result<(), Box<dyn Error>> {
    if version != HANDOVER {
        return Err(format!("this program reads states of version {HANDOVER}, not {version}").into());
    }
    read_state(io::stdin().as_fd().try_clone_to_owned()?.into())?;
    print(&format!("{}{}", claim(version), protocol::version()))
}

/// Checks that this program reads what is handed over, and has room for it.
pub fn read_state(handed: File) -> Result<(), Box<dyn Error>> {
    let file = HandedOver::read(handed)?;
    let length = usize::try_from(file.size()?)?;
    if length > 0 {
        let handed = file.others();
        process_of(&handed)?;
        for part in &handed {
            if let Handover::Settings { all, .. } = part {
                all.store.as_ref().map_or(Ok(()), check_built)?;
            }
        }
        Vec::<u8>::new().try_reserve_exact(2 * length)?; // for the hub
        try_threads()?;
    }
    Ok(())
}

/// Tries whether there is room for the threads of a hub process: it could not continue without them.
fn try_threads() -> io::Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let _closed = gate.lock(); // until all have begun
        (0..MOST_THREADS).try_for_each(|_| Builder::new().spawn_scoped(scope, || drop(gate.lock())).map(drop))
    })
}
