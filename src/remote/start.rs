//! Connects to a hub, and starts its process if none runs.
//!
//! Any number of processes may need a hub at the same moment. Each connects; if nobody listens, the one that gets the lock
//! binds the socket and starts the program with it, and all others connect to the socket, perhaps before the program has
//! begun. The lock is handed to the program with the socket, and is free when the program ends, however it ends.
//!
//! The socket is the program's standard input and the lock its standard output, so that nothing but an `exec` is between them:
//! a forked child of a process with threads may do little, and its number of open descriptors, signals and so on would be
//! the worker's. `eventsource-hub start` begins a session of its own, starts `eventsource-hub run` and ends; then the process
//! of the hub is nobody's child.

use super::error::Error;
use super::place::Place;
use crate::sys::local::{connect_at_once, own_user, peer_user, try_lock};
use rustix::fd::{AsFd, OwnedFd};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How a connection is made.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program that is started if no process serves the hub. `None` waits for another one to start it.
    pub program: Option<PathBuf>,
    /// How long the connection may take.
    pub timeout: Duration,
}

/// The user that may do everything.
const ROOT: u32 = 0;

/// The pauses between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl Start {
    /// Connects to a hub. Starts its process if none runs.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if no process serves the hub within the time, or if it belongs to another user.
    pub fn connect(&self, place: &Place) -> Result<UnixStream, Error> {
        self.connect_until(place, Instant::now() + self.timeout)
    }

    /// As [`connect`](Self::connect), with a deadline.
    pub(super) fn connect_until(&self, place: &Place, deadline: Instant) -> Result<UnixStream, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let is_busy = match connect_at_once(place.socket()) {
                Ok(socket) => return check_peer(socket, place),
                Err(error) if is_busy(&error) => true,
                Err(error) if is_absent(&error) => false,
                Err(error) => return Err(Error::at(place.socket(), "cannot connect to", &error)),
            };
            if let (Some(program), false) = (&self.program, is_busy) {
                if start_if_free(program, place)? {
                    continue;
                }
            }
            if Instant::now() >= deadline {
                let (name, socket) = (place.name(), place.socket().display());
                return Err(Error::Unavailable(if is_busy {
                    format!("the process of the hub {name} accepts no connections")
                } else {
                    format!("no process serves the hub {name}: nobody listens on {socket}")
                }));
            }
            sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Returns true if nobody listens.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), ConnectionRefused | NotFound)
}

/// Returns true if so many connect that some have to wait.
fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Checks that a socket is of this user, or of root: the service manager of the system listens for the services of all users.
pub(super) fn check_peer(socket: UnixStream, place: &Place) -> Result<UnixStream, Error> {
    match peer_user(socket.as_fd()) {
        Ok(user) if user == own_user() || user == ROOT => Ok(socket),
        _ => Err(Error::Unavailable(format!("{} belongs to another user", place.socket().display()))),
    }
}

/// Starts the program, unless another process does or has done so. Returns true if it was started.
fn start_if_free(program: &Path, place: &Place) -> Result<bool, Error> {
    let lock = match lock(place)? {
        Some(lock) => lock,
        None => return Ok(false),
    };
    // Nobody else binds while this process has the lock, but the process that had it before may have bound.
    match connect_at_once(place.socket()) {
        Err(error) if is_absent(&error) => {}
        connected => return Ok(connected.is_ok()),
    }
    let listener = bind(place.socket())?;
    start(program, place, listener.into(), lock).map_err(|error| {
        let _ = fs::remove_file(place.socket());
        Error::at(program, "cannot start", &error)
    })?;
    Ok(true)
}

/// Takes the lock of a hub's process; nothing if another process has it.
///
/// # Errors
///
/// [`Error::Unavailable`] if its file cannot be made.
pub fn lock(place: &Place) -> Result<Option<File>, Error> {
    let path = place.lock();
    let lock = File::options().create(true).append(true).mode(0o600).open(path);
    let lock = lock.map_err(|error| Error::at(path, "cannot open", &error))?;
    let is_locked = try_lock(&lock).map_err(|error| Error::at(path, "cannot lock", &error))?;
    Ok(Some(lock).filter(|_| is_locked))
}

/// Binds a socket in the place of one that a killed process has left.
///
/// # Errors
///
/// [`Error::Unavailable`].
pub fn bind(path: &Path) -> Result<UnixListener, Error> {
    let _ = fs::remove_file(path);
    UnixListener::bind(path).map_err(|error| Error::at(path, "cannot listen on", &error))
}

fn start(program: &Path, place: &Place, listener: OwnedFd, lock: File) -> io::Result<()> {
    let mut command = Command::new(program);
    command.args(["start", "--name", place.name().as_str(), "--socket"]).arg(place.socket());
    command.stdin(Stdio::from(File::from(listener))).stdout(Stdio::from(lock)).stderr(Stdio::null());
    command.current_dir("/");
    match command.spawn()?.wait() {
        Ok(status) if !status.success() => Err(io::Error::new(io::ErrorKind::Other, status.to_string())),
        // An application may wait for all of its children itself; then the status is lost.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Name;
    use rustix::net::{bind, listen, socket, AddressFamily, SocketAddrUnix, SocketType};

    fn connect(place: &Place) -> Result<UnixStream, Error> {
        Start { program: Some("/nowhere/eventsource-hub".into()), timeout: Duration::from_millis(50) }.connect(place)
    }

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn a_listener_that_accepts_nothing_does_not_keep_the_call_for_longer_than_its_timeout() {
        let path = std::env::temp_dir().join(format!("eventsource-busy-{}", std::process::id()));
        let place = Place::new(Name::new("shop").expect("a name"), Some(&path)).expect("a place");
        let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
        bind(&listener, &SocketAddrUnix::new(place.socket()).expect("a path")).expect("a new path");
        listen(&listener, 1).expect("a socket");
        let mut waiting = Vec::new();
        while let Ok(socket) = connect_at_once(place.socket()) {
            waiting.push(socket);
        }
        let (done, outcome) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(connect(&place)));
        let error =
            outcome.recv_timeout(Duration::from_secs(30)).expect("the call returns").expect_err("no connection");
        assert!(error.to_string().contains("accepts no connections"), "{error}");
        fs::remove_file(&path).expect("its owner may");
    }
}
