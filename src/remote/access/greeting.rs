//! The first messages of a connection: the greeting, or the request that the process continues as another program.

use super::answers::Answers;
use super::error::Error;
use super::place::Place;
use super::start::{ends_at_once, Pauses, Start};
use crate::stream::after;
use crate::sys::local::{send, Wait};
use crate::wire::{Answer, Hello, NamedSettings, Role, TooLong, Upgrade, Welcome};
use rustix::fd::{AsFd, BorrowedFd};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How much longer than any other answer an upgrade may take: the new program reads the state twice.
const UPGRADE_TIME: Duration = Duration::from_secs(45);

/// The welcome of a hub process, and its connection.
pub(crate) type Greeted = (Welcome, Answers);

/// Connects to a hub, and starts its process if need be. Without settings the hub is taken as it is. `note` is called with
/// each socket before another thread can fork, so that a child knows which ones it has inherited.
///
/// # Errors
///
/// [`Error::Unavailable`], or [`Error::Refused`] if the hub has other settings or another version.
pub(crate) fn connect(
    start: &Start,
    place: &Place,
    settings: Option<NamedSettings>,
    note: &mut dyn FnMut(BorrowedFd<'_>),
) -> Result<Greeted, Error> {
    let deadline = Instant::now() + start.timeout;
    let role = settings.map_or(Role::Command, |settings| Role::Worker(Box::new(settings)));
    let hello = Hello { name: place.name().clone(), role };
    let mut pauses = Pauses::new();
    loop {
        match greet(start.connect_until(place, deadline, note)?, &hello, start.timeout)? {
            Some(greeted) => return Ok(greeted),
            // The process was ending when this one connected.
            None if Instant::now() < deadline => pauses.wait(),
            None => return Err(Error::Unavailable(ends_at_once(place))),
        }
    }
}

/// Greets the hub process. Returns nothing if it ends without an answer.
pub(super) fn greet(socket: UnixStream, hello: &Hello, timeout: Duration) -> Result<Option<Greeted>, Error> {
    let mut bytes = Vec::new();
    hello.encode(&mut bytes).map_err(|TooLong { bytes, most }| Error::Invalid {
        field: "gap_data",
        message: format!(
            "channels, gap_data (for all its reasons), gap_event and position_event are too long for a named hub: \
             its settings have {bytes} bytes, and may have {most}"
        ),
    })?;
    let mut answers = send_first(socket, &bytes, timeout, timeout, "cannot greet the hub process")?;
    match answers.wait_for_bytes(after(Instant::now(), timeout)) {
        Err(Error::Unknown) => return Ok(None),
        other => other?,
    }
    let welcome = match answers.next()? {
        Some(Answer::Welcome(welcome)) => *welcome,
        Some(Answer::Rejected(failure)) => return Err(Error::Refused(failure)),
        _ => return Err(Error::Unknown),
    };
    Ok(Some((welcome, answers)))
}

/// Asks a hub process to continue as another program, whichever version it has. Without a program it is the one at the path
/// that the process has been started from. Returns when the new program has taken over.
///
/// # Errors
///
/// [`Error::Unavailable`] if no process serves the hub, [`Error::Refused`] if the process continues as it is,
/// [`Error::Unknown`] or [`Error::Timeout`] if that is not known.
pub fn upgrade(start: &Start, place: &Place, program: Option<&Path>) -> Result<(), Error> {
    let socket = Start { program: None, ..start.clone() }.connect(place)?;
    let timeout = start.timeout.saturating_add(UPGRADE_TIME);
    let mut bytes = Vec::new();
    Upgrade { program: program.map(|path| path.as_os_str().as_bytes()) }.encode(&mut bytes)?;
    let mut answers = send_first(socket, &bytes, timeout, start.timeout, "cannot ask the hub process")?;
    match answers.wait(after(Instant::now(), timeout))? {
        Answer::Upgraded => Ok(()),
        Answer::Rejected(failure) => Err(Error::Refused(failure)),
        _ => Err(Error::Unknown),
    }
}

/// Sends the first message of a connection, after it has set the timeouts of the socket.
fn send_first(
    socket: UnixStream,
    bytes: &[u8],
    read_timeout: Duration,
    write_timeout: Duration,
    what: &str,
) -> Result<Answers, Error> {
    let failed = |error: io::Error| Error::Unavailable(format!("{what}: {error}"));
    socket.set_read_timeout(Some(read_timeout)).map_err(failed)?;
    socket.set_write_timeout(Some(write_timeout)).map_err(failed)?;
    // A process that refuses this connection may have closed it already, and said why.
    let _ = send(socket.as_fd(), bytes, None, Wait::Forever);
    Ok(Answers::new(socket, read_timeout))
}
