//! Commands that connect to a hub.

use crate::arguments::Arguments;
use eventsource_xs::event::{EventName, Field, Text};
use eventsource_xs::remote::{self, place, Client, Place, Publication, Start};
use eventsource_xs::wire::{FieldList, StoreStatus};
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

/// How long `list` waits for each process.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);

/// Prints a text.
pub fn print(text: &str) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// Prints the hubs of this user that have a process: name, process id, workers, open streams.
pub fn list() -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    for name in place::names()? {
        let place = Place::new(name, None)?;
        let start = Start { program: None, needs_settings: false, timeout: LIST_TIMEOUT };
        // Only asks those that listen: a process that was killed has left its socket.
        if start.connect(&place).is_err() {
            continue;
        }
        let line = Client::connect(&start, &place, None)
            .and_then(|mut client| client.count(b"").map(|counted| (client.welcome().pid, counted)));
        match line {
            Ok((pid, counted)) => {
                let workers = counted.workers - 1; // this command
                writeln!(out, "{}\tpid {pid}\t{workers} workers\t{} streams", place.name(), counted.open)?;
            }
            Err(error) => writeln!(out, "{}\t{error}", place.name())?,
        }
    }
    Ok(())
}

/// Ends the process of a hub.
pub fn stop(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    Ok(Client::connect(&arguments.start(false)?, &arguments.place()?, None)?.stop()?)
}

/// Has the process of a hub go on as another program: without a name of one, as the program that this command is.
pub fn upgrade(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let program = match &arguments.program {
        Some(program) => program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?,
        None => std::env::current_exe()?,
    };
    Ok(remote::upgrade(&arguments.start(false)?, &arguments.place()?, Some(&program))?)
}

/// Publishes an event, and prints its id.
pub fn publish(arguments: &Arguments, channel: &str, data: &str) -> Result<(), Box<dyn Error>> {
    let name = arguments.event.as_deref().map(|name| EventName::new(Text::from(name))).transpose()?;
    let fields = name.map(Field::Event).into_iter().chain([Field::Data(Text::from(data))]);
    let publication = Publication {
        channel: channel.as_bytes(),
        key: arguments.key.as_bytes(),
        once: arguments.once.as_bytes(),
        fields: FieldList::of(fields),
    };
    let mut client = Client::connect(&arguments.start(true)?, &arguments.place()?, None)?;
    print(&client.publish(&publication)?.to_string())
}

/// Prints the counters of a hub and its process, and the number of a channel's subscribers.
pub fn stats(arguments: &Arguments, channel: &str) -> Result<(), Box<dyn Error>> {
    let mut client = Client::connect(&arguments.start(false)?, &arguments.place()?, None)?;
    let counted = client.count(channel.as_bytes())?;
    let mut out = io::stdout();
    writeln!(out, "pid {}\nepoch {}", client.welcome().pid, client.welcome().epoch)?;
    let hub = counted.hub;
    for (name, number) in [
        ("workers", counted.workers - 1), // without this command
        ("open", counted.open),
        ("refused", counted.refused),
        ("buffered", counted.buffered),
        ("cut_off", counted.cut_off),
        ("streams", hub.streams),
        ("channels", hub.channels),
        ("patterns", hub.patterns),
        ("published", hub.published),
        ("delivered", hub.delivered),
        ("events", hub.events),
        ("bytes", hub.bytes),
        ("resumed", hub.resumed),
        ("gaps", hub.gaps),
        ("disconnected", hub.disconnected),
        ("skipped", hub.skipped),
        ("compacted", hub.compacted),
    ] {
        writeln!(out, "{name} {number}")?;
    }
    if !channel.is_empty() {
        writeln!(out, "subscribers {}", counted.subscribers)?;
    }
    Ok(print_store(&mut out, &counted.store)?)
}

/// Prints the health of a store. Times are milliseconds.
fn print_store(out: &mut impl Write, store: &StoreStatus) -> io::Result<()> {
    writeln!(out, "store.kind {}", store.kind)?;
    writeln!(out, "store.up {}", u8::from(store.is_up))?;
    for (name, number) in [
        ("since", store.since),
        ("pending", store.pending),
        ("lag", store.lag),
        ("events", store.events),
        ("bytes", store.bytes),
        ("failed", store.failed),
        ("reconnects", store.reconnects),
        ("epoch_changes", store.epoch_changes),
    ] {
        writeln!(out, "store.{name} {number}")?;
    }
    for (name, text) in [("place", &store.place), ("last_error", &store.last_error)] {
        if !text.is_empty() {
            writeln!(out, "store.{name} {}", text.escape_debug())?;
        }
    }
    Ok(())
}
