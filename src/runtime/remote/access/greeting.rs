//! The first messages of a connection: the greeting, or the request that the process ends or continues as another program.

use super::kept_settings;
use super::place::Place;
use super::response_reader::ResponseReader;
use super::start::{ends_at_once, lock, Note, Pauses, Start};
use super::unanswered::Unanswered;
use crate::stream::after;
use crate::sys::socket::{send, Wait};
use crate::wire::{Hello, Name, NamedSettings, Response, Role, Stop, Upgrade, Welcome};
use crate::Failure;
use rustix::fd::AsFd;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// The time that a process that is asked to end, or to continue as another program, may take to accept the connection.
const ACCEPT_WITHIN: Duration = Duration::from_secs(1);

/// The welcome of a hub process, and its connection.
pub(crate) type Greeted = (Welcome, ResponseReader);

/// Connects to a hub, and starts its process if need be. Without settings the hub is taken as it is. `note` is called with
/// each socket before another thread can fork. Fails with `Unavailable`, or `Refused` if the hub has other
/// settings or another version.
pub(crate) fn connect(
    start: &Start,
    place: &Place,
    settings: Option<NamedSettings>,
    note: Note,
) -> Result<Greeted, Unanswered> {
    let deadline = Instant::now() + start.timeout;
    let named = settings.clone();
    let role = settings.map_or(Role::Command, |settings| Role::Worker(Box::new(settings)));
    let hello = Hello { name: place.name().clone(), role };
    let mut pauses = Pauses::new();
    loop {
        match greet(start.connect_until(place, deadline, note)?, &hello, start.timeout) {
            Ok(Some(greeted)) => return Ok(greeted),
            // The process was ending when this one connected.
            Ok(None) if Instant::now() < deadline => pauses.wait(),
            Ok(None) => return Err(Unanswered::Unsent(ends_at_once(place))),
            Err(Unanswered::Late(_)) => return Err(kept_settings::no_answer(place, named.as_ref()).into()),
            Err(error) => return Err(error),
        }
    }
}

/// Greets the hub process. Returns nothing if it ends without a response.
pub(super) fn greet(socket: UnixStream, hello: &Hello, timeout: Duration) -> Result<Option<Greeted>, Unanswered> {
    let mut bytes = Vec::new();
    hello.encode(&mut bytes).map_err(|too_long| {
        let settings = "channels, gap_data (for all its reasons), gap_event and position_event";
        Failure::invalid("gap_data", format!("{settings} are too long for a named hub: {too_long}"))
    })?;
    let mut responses = send_first(socket, &hello.name, &bytes, timeout, "cannot greet the hub process")?;
    match responses.wait_for_bytes(after(Instant::now(), timeout)) {
        Err(Unanswered::Lost) => return Ok(None),
        other => other?,
    }
    let welcome = match responses.next()? {
        Some(Response::Welcome(welcome)) => *welcome,
        Some(Response::Rejected(failure)) => return Err(Unanswered::Refused(failure)),
        _ => return Err(Unanswered::Lost),
    };
    Ok(Some((welcome, responses)))
}

/// Asks a hub process to continue as another program, whichever version it has. Without a program it is the one at the path
/// that the process has been started from. Returns when the new program has taken over, with what that says of streams. Fails
/// with `Unavailable` if no process serves the hub, `Refused` if the process continues as it is, `Unknown` if that is not
/// known.
pub fn upgrade(start: &Start, place: &Place, program: Option<&Path>) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    Upgrade { program: program.map(|path| path.as_os_str().as_bytes()) }.encode(&mut bytes)?;
    let deadline = after(Instant::now(), start.timeout);
    match ask(start, place, &bytes)?.wait(deadline)? {
        Response::Upgraded { report } => Ok(report.into()),
        Response::Rejected(failure) => Err(Unanswered::Refused(failure).into()),
        _ => Err(Failure::unknown()),
    }
}

/// Asks a hub process to end, whichever version it has: its streams end, and each client is sent a reconnection time. Returns
/// when the process has ended its connections. If none runs, forgets the settings that are kept for the next one. Fails with
/// `Unavailable` if no process serves the hub and no settings are kept, `Refused` if it is that of another hub or of a version
/// before 15, `Unknown` if it has not ended in time.
pub fn stop(start: &Start, place: &Place) -> Result<(), Failure> {
    let asked = ask_to_end(start, place, false);
    if asked.is_err() && kept_settings::exist(place) {
        if let Some(_lock) = lock(place)? {
            kept_settings::forget(place);
            return Ok(());
        }
    }
    Ok(asked?)
}

/// Asks a hub process that a worker or a command has started to end, because this one was run to serve the hub. Returns when
/// the process has ended its connections. Errors are those of [`stop`]; a process that was run itself refuses.
pub fn replace(start: &Start, place: &Place) -> Result<(), Failure> {
    Ok(ask_to_end(start, place, true)?)
}

fn ask_to_end(start: &Start, place: &Place, is_replaced: bool) -> Result<(), Unanswered> {
    let mut bytes = Vec::new();
    Stop { name: place.name().as_str(), is_replaced }.encode(&mut bytes)?;
    let deadline = after(Instant::now(), start.timeout);
    let mut responses = ask(start, place, &bytes)?;
    loop {
        match responses.wait_for_bytes(deadline) {
            Err(Unanswered::Lost) => return Ok(()), // the connection has ended
            other => other?,
        }
        // Another response is a welcome, perhaps in the layout of another version.
        if let Ok(Some(Response::Rejected(failure))) = responses.next() {
            return Err(Unanswered::Refused(failure));
        }
    }
}

/// Sends a running process the first message of a connection.
fn ask(start: &Start, place: &Place, bytes: &[u8]) -> Result<ResponseReader, Unanswered> {
    let timeout = start.timeout.min(ACCEPT_WITHIN);
    let socket = Start { program: None, needs_settings: false, timeout }.connect(place)?;
    send_first(socket, place.name(), bytes, start.timeout, "cannot ask the hub process")
}

/// Sends the first message of a connection, after it has set the timeouts of the socket.
fn send_first(
    socket: UnixStream,
    hub: &Name,
    bytes: &[u8],
    timeout: Duration,
    what: &str,
) -> Result<ResponseReader, Unanswered> {
    let failed = |error: io::Error| Unanswered::Unsent(format!("{what}: {error}"));
    socket.set_read_timeout(Some(timeout)).map_err(failed)?;
    socket.set_write_timeout(Some(timeout)).map_err(failed)?;
    // A process that refuses this connection may have closed it already, and said why.
    let _ = send(socket.as_fd(), bytes, None, Wait::Forever);
    Ok(ResponseReader::new(socket, timeout, Some(hub.clone())))
}
