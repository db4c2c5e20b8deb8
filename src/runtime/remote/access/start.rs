//! Connects to a hub, and starts its process if none runs.
//!
//! Any number of processes may need a hub at the same moment. Each connects; if nobody listens, the one that gets the lock
//! binds the socket and starts the program with it, and all others connect to the socket, perhaps before the program has
//! begun. The lock is handed to the program with the socket, and is free when the program ends, however it ends.
//!
//! Two processes may prefer different folders ([`place`](super::place)). Each takes the lock in its own one first, and then
//! looks whether that of another folder is taken: so at least one of them sees the other, and waits.
//!
//! The socket is the program's standard input and the lock its standard output, so that nothing but an `exec` is between them:
//! a forked child of a process with threads may do little, and its number of open descriptors, signals and so on would be the
//! worker's. `LISTEN_PID` of systemd's protocol is not known before the fork. `eventsource-hub start` begins a session of its
//! own, starts `eventsource-hub run` and ends; then the hub process is nobody's child.

use super::place::{failed_at, give_owner, Place};
use super::sockets::NoFork;
use super::{foreign, kept_settings};
use crate::sys::daemon::{memory_file, try_lock};
use crate::sys::socket::{connect_at_once, own_user, peer_user};
use crate::sys::thread::sleep;
use crate::Failure;
use rustix::fd::{AsFd, OwnedFd};
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The settings with which a connection is made.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program that is started if no process serves the hub. `None` waits for another one to start it.
    pub program: Option<PathBuf>,
    /// True if the program is started only if settings of the hub are kept (`remote::kept_settings`): for those who have none.
    pub needs_settings: bool,
    /// The time that the connection may take.
    pub timeout: Duration,
}

/// Says what becomes of a socket before another thread can fork: [`NoFork::note`], or nothing.
pub(super) type Note = fn(&mut NoFork, &UnixStream);

/// The user that may do everything.
const ROOT: u32 = 0;

/// The most bytes that are read of what a program says when it fails.
const MAX_SAID_BYTES: u64 = 4096;

/// The pauses between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl Start {
    /// Connects to a hub. Starts its process if none runs. Fails with `Unavailable` if no process serves the hub
    /// within the time, or if it belongs to another user.
    pub fn connect(&self, place: &Place) -> Result<UnixStream, Failure> {
        self.connect_until(place, Instant::now() + self.timeout, |_, _| {})
    }

    /// As [`connect`](Self::connect), with a deadline. `note` is called with the socket before another thread can fork.
    pub(super) fn connect_until(&self, place: &Place, deadline: Instant, note: Note) -> Result<UnixStream, Failure> {
        let mut pauses = Pauses::new();
        let mut has_started = false;
        loop {
            let is_busy = match connect_once(place, note) {
                Ok(socket) => return check_peer(socket, place),
                Err(error) if is_busy(&error) => true,
                Err(error) if is_absent(&error) => false,
                Err(error) => return Err(failed_at(place.socket(), "cannot connect to", &error)),
            };
            if let (Some(program), false) = (&self.program, is_busy) {
                if (!self.needs_settings || kept_settings::exist(place)) && start_if_free(program, place)? {
                    // The socket listens now. If nobody does after that, the program has ended at once.
                    if !std::mem::replace(&mut has_started, true) {
                        continue;
                    }
                }
            }
            if Instant::now() >= deadline {
                return Err(Failure::unavailable(if is_busy {
                    format!("the hub process {} accepts no connections", place.name())
                } else if has_started {
                    ends_at_once(place)
                } else {
                    self.absence(place)
                }));
            }
            pauses.wait();
        }
    }
}

/// Says that a process that was started has ended.
pub(super) fn ends_at_once(place: &Place) -> String {
    let name = place.name();
    format!("the hub process {name} ends as soon as it was started: `eventsource hub run {name}` says why")
}

/// The pauses between attempts: each is twice as long.
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    pub(super) fn wait(&mut self) {
        sleep(self.0);
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}

impl Start {
    /// Says why there is no process, and what to do.
    fn absence(&self, place: &Place) -> String {
        let (name, socket) = (place.name(), place.socket().display());
        if let Some(pid) = running(place) {
            return format!(
                "the hub process {name}, {pid}, runs, but nobody can connect: the file of its socket, {socket}, was removed; end \
                 that process (kill {pid}), or restart the socket if systemd has made it"
            );
        }
        let users = if place.is_of_user() { foreign::users_with(name) } else { Vec::new() };
        if let Some(user) = users.first() {
            let all = users.join(", ");
            return format!(
                "no process serves the hub {name} for this user, but one does for {all}: \
                 ask as that user (sudo -u {user} eventsource ...)"
            );
        }
        if self.program.is_some() && self.needs_settings {
            return format!(
                "no process serves the hub {name}, and this user has no settings for it: ask as the user of its workers, or \
                 let a worker use the hub first; --autostart (autostart => 1) starts a process with the defaults"
            );
        }
        format!("no process serves the hub {name}: nobody listens on {socket}")
    }
}

/// Connects to the first path of a place at which somebody listens. Never waits: a stopped process accepts nothing.
pub(super) fn connect_once(place: &Place, note: Note) -> io::Result<UnixStream> {
    let mut no_fork = NoFork::new();
    let connected = find(place);
    connected.iter().for_each(|socket| note(&mut no_fork, socket));
    connected
}

fn find(place: &Place) -> io::Result<UnixStream> {
    let mut absent = io::ErrorKind::NotFound.into();
    for path in place.sockets() {
        match connect_at_once(path) {
            Err(error) if is_absent(&error) => absent = error,
            other => return other,
        }
    }
    Err(absent)
}

/// Returns true if somebody listens. Never waits.
pub(crate) fn is_served(place: &Place) -> bool {
    connect_once(place, |_, _| {}).is_ok()
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
pub(super) fn check_peer(socket: UnixStream, place: &Place) -> Result<UnixStream, Failure> {
    match peer_user(socket.as_fd()) {
        Ok(user) if user == own_user() || user == ROOT => Ok(socket),
        _ => Err(Failure::unavailable(format!("{} belongs to another user", place.socket().display()))),
    }
}

/// Starts the program, unless another process does or has done so. Returns true if it was started.
fn start_if_free(program: &Path, place: &Place) -> Result<bool, Failure> {
    let no_fork = NoFork::new();
    let lock = some_or!(lock(place)?, return Ok(false));
    // Nobody else binds while this process has the lock, but the process that had it before may have bound.
    match find(place) {
        Err(error) if is_absent(&error) => {}
        connected => return Ok(connected.is_ok()),
    }
    kept_settings::take_over(place);
    let listener = bind(place.socket())?;
    start(program, place, listener.into(), lock, no_fork).map_err(|error| {
        let _ = remove_socket(place.socket());
        failed_at(program, "cannot start", &error)
    })?;
    Ok(true)
}

/// Takes the lock of a hub process; nothing if another process has it, in any folder. Fails with `Unavailable` if its
/// file cannot be made, `Invalid` if another user could make the files of the hub.
pub fn lock(place: &Place) -> Result<Option<File>, Failure> {
    place.check()?;
    let path = place.lock();
    let lock = File::options().create(true).append(true).mode(0o600).open(path);
    let lock = lock.and_then(|lock| give_owner(path, 0o600).map(|()| lock));
    let lock = lock.map_err(|error| failed_at(path, "cannot open", &error))?;
    let is_locked = try_lock(&lock).map_err(|error| failed_at(path, "cannot lock", &error))?;
    Ok(Some(lock).filter(|_| is_locked && !place.other_locks().any(|other| is_taken(&other))))
}

/// Returns true if a process has a lock. The lock is held for a moment to find out.
fn is_taken(lock: &Path) -> bool {
    File::options().append(true).open(lock).map_or(false, |lock| matches!(try_lock(&lock), Ok(false)))
}

/// Returns the process that serves a hub, whether or not it can be found: it has the lock, and has noted itself there.
fn running(place: &Place) -> Option<u32> {
    let noted = |lock: &Path| fs::read_to_string(lock).ok().and_then(|pid| pid.parse().ok());
    let locks = std::iter::once(place.lock().to_owned()).chain(place.other_locks());
    locks.filter(|lock| is_taken(lock)).find_map(|lock| noted(&lock))
}

/// Binds a socket in the place of one that a killed process has left. Fails with `Unavailable`, `Invalid` if
/// something else is there.
pub fn bind(path: &Path) -> Result<UnixListener, Failure> {
    if matches!(connect_at_once(path), Err(error) if is_absent(&error)) {
        remove_socket(path)?;
    }
    let listener = UnixListener::bind(path).and_then(|listener| give_owner(path, 0o600).map(|()| listener));
    listener.map_err(|error| failed_at(path, "cannot listen on", &error))
}

/// Removes a socket of this user, and nothing else. Fails with `Invalid` if something else is there,
/// `Unavailable` if it cannot be removed.
pub fn remove_socket(path: &Path) -> Result<(), Failure> {
    let refused = |why: &str| {
        let message = format!("socket must be a path at which there is nothing else: {} {why}", path.display());
        Err(Failure::invalid("socket", message))
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(found) if !found.file_type().is_socket() => return refused("is not a socket"),
        Ok(found) if found.uid() != own_user() && own_user() != ROOT => return refused("belongs to another user"),
        _ => {}
    }
    fs::remove_file(path).map_err(|error| failed_at(path, "cannot remove", &error))
}

#[cfg(feature = "sim")]
fn start(_: &Path, place: &Place, listener: OwnedFd, lock: File, _: NoFork) -> io::Result<()> {
    crate::sys::sim::world().start(place.name().as_str(), place.socket(), listener, lock)
}

#[cfg(not(feature = "sim"))]
fn start(program: &Path, place: &Place, listener: OwnedFd, lock: File, no_fork: NoFork) -> io::Result<()> {
    let mut command = Command::new(program);
    command.args(["start", "--name", place.name().as_str(), "--socket"]).arg(place.socket());
    let mut said = memory_file("said")?;
    command.stdin(Stdio::from(File::from(listener))).stdout(Stdio::from(lock)).stderr(said.try_clone()?);
    command.current_dir("/");
    let child = command.spawn();
    drop((command, no_fork)); // with the socket and the lock
    match child?.wait() {
        Ok(status) if !status.success() => Err(io::Error::new(io::ErrorKind::Other, reason(&mut said, status)?)),
        // An application may wait for all of its children itself; then the status is lost.
        _ => Ok(()),
    }
}

/// Returns why the program has failed, as it says itself: the first line without its name. The rest is its usage.
fn reason(said: &mut File, status: ExitStatus) -> io::Result<String> {
    let mut bytes = Vec::new();
    said.rewind()?;
    said.take(MAX_SAID_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("eventsource-hub: ").unwrap_or(line);
    Ok(if line.is_empty() { status.to_string() } else { line.to_owned() })
}

#[cfg(all(test, not(miri)))] // system calls
mod tests {
    use super::*;
    use crate::wire::Name;
    use rustix::net::{bind, listen, socket, AddressFamily, SocketAddrUnix, SocketType};
    use std::fs::DirBuilder;
    use std::os::unix::fs::{symlink, DirBuilderExt, PermissionsExt};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Two folders of this user.
    struct Folders([PathBuf; 2]);

    impl Folders {
        fn new(name: &str) -> Self {
            let folder =
                |number| std::env::temp_dir().join(format!("eventsource-{name}{number}-{}", std::process::id()));
            let folders = Self([folder(1), folder(2)]);
            folders.0.iter().for_each(|path| DirBuilder::new().mode(0o700).create(path).expect("a new folder"));
            folders
        }

        /// A hub of those who prefer one of the folders.
        fn place(&self, preferred: usize) -> Place {
            let socket = |at: usize| self.0[at].join("shop.sock");
            Place::at(Name::new("shop").expect("a name"), socket(preferred), vec![socket(1 - preferred)])
                .expect("a place")
        }
    }

    impl Drop for Folders {
        fn drop(&mut self) {
            self.0.iter().for_each(|path| fs::remove_dir_all(path).expect("its owner may"));
        }
    }

    fn connect(place: &Place) -> Result<UnixStream, Failure> {
        let program = Some("/nowhere/eventsource-hub".into());
        Start { program, needs_settings: false, timeout: Duration::from_millis(50) }.connect(place)
    }

    #[test]
    fn a_hub_in_another_folder_is_found_and_none_is_started() {
        let folders = Folders::new("found");
        let (place, other) = (folders.place(0), folders.place(1));
        let lock = lock(&other).expect("a folder").expect("nobody has the lock");
        let message = |place| connect(place).expect_err("nobody listens").to_string();
        assert!(message(&place).contains("nobody listens"), "one is being started: {}", message(&place));
        let listener = super::bind(other.socket()).expect("a socket");
        connect(&place).expect("a connection");
        drop((lock, listener));
        assert!(message(&place).contains("cannot start"), "{}", message(&place));
    }

    #[test]
    fn only_a_dead_socket_makes_room_for_another() {
        let folders = Folders::new("dead");
        let place = folders.place(0);
        let listener = super::bind(place.socket()).expect("a socket");
        super::bind(place.socket()).expect_err("somebody listens");
        find(&place).expect("the first one still listens");
        drop(listener);
        super::bind(place.socket()).expect("a socket in the place of a dead one");
        fs::remove_file(place.socket()).expect("its owner may");
        let target = folders.0[1].join("target");
        fs::write(&target, "precious").expect("a file");
        let make: [&dyn Fn(&Path); 3] = [
            &|path| fs::write(path, "precious").expect("a file"),
            &|path| symlink(&target, path).expect("a link"),
            &|path| fs::create_dir(path).expect("a folder"),
        ];
        for make in make {
            make(place.socket());
            for program in ["/nowhere/eventsource-hub", "/bin/true"] {
                let start = Start { program: Some(program.into()), needs_settings: false, timeout: Duration::ZERO };
                let error = start.connect(&place).expect_err("no socket").to_string();
                assert!(error.contains("is not a socket"), "{error}");
            }
            let found = fs::symlink_metadata(place.socket()).expect("it is still there");
            if found.is_dir() {
                fs::remove_dir(place.socket()).expect("its owner may");
            } else {
                assert_eq!(fs::read(place.socket()).expect("the file"), b"precious");
                fs::remove_file(place.socket()).expect("its owner may");
            }
        }
    }

    #[test]
    fn a_folder_in_which_other_users_may_make_files_is_refused() {
        let folders = Folders::new("open");
        let place = Place::new(Name::new("shop").expect("a name"), Some(&folders.0[0].join("s"))).expect("a place");
        for (mode, is_refused) in [(0o755, false), (0o700, false), (0o1777, true), (0o770, true)] {
            fs::set_permissions(&folders.0[0], fs::Permissions::from_mode(mode)).expect("its owner may");
            let locked = lock(&place);
            assert_eq!(locked.is_err(), is_refused, "{mode:o}: {locked:?}");
            assert_eq!(place.lock().exists(), !is_refused, "{mode:o}");
            let _ = fs::remove_file(place.lock());
        }
    }

    #[test]
    fn a_program_that_ends_at_once_is_started_a_few_times_until_the_deadline() {
        let folders = Folders::new("ends");
        let (place, starts, program) = (folders.place(0), folders.0[1].join("starts"), folders.0[1].join("program"));
        fs::write(&program, format!("#!/bin/sh\necho >>{}\n", starts.display())).expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("its owner may");
        let start = Start { program: Some(program), needs_settings: false, timeout: Duration::from_millis(300) };
        let (done, outcome) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(start.connect(&place)));
        let ended = outcome.recv_timeout(Duration::from_secs(20));
        let count = fs::read(&starts).expect("a file").len();
        let error = ended.unwrap_or_else(|_| panic!("the call waits on after {count} starts")).expect_err("no process");
        assert!(error.to_string().contains("ends as soon as it was started"), "{error}");
        assert!((2..30).contains(&count), "{count} starts");
    }

    #[test]
    fn of_processes_that_prefer_different_folders_one_has_the_lock() {
        let folders = Folders::new("race");
        let (holders, taken) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for place in [folders.place(0), folders.place(1)] {
                let (holders, taken) = (&holders, &taken);
                scope.spawn(move || {
                    let deadline = Instant::now() + Duration::from_secs(30);
                    while taken.load(Ordering::SeqCst) < 500 && Instant::now() < deadline {
                        if let Some(_lock) = lock(&place).expect("a folder") {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            std::thread::yield_now();
                            holders.fetch_sub(1, Ordering::SeqCst);
                            taken.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(taken.load(Ordering::SeqCst) >= 500);
    }

    #[test]
    fn a_listener_that_accepts_nothing_does_not_keep_the_call_for_longer_than_its_timeout() {
        let folders = Folders::new("busy");
        let place = folders.place(0);
        let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
        bind(&listener, &SocketAddrUnix::new(place.socket()).expect("a path")).expect("a new path");
        listen(&listener, 1).expect("a socket");
        let mut waiting = Vec::new();
        while let Ok(socket) = find(&place) {
            waiting.push(socket);
        }
        let (done, outcome) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(connect(&place)));
        let error =
            outcome.recv_timeout(Duration::from_secs(30)).expect("the call returns").expect_err("no connection");
        assert!(error.to_string().contains("accepts no connections"), "{error}");
    }
}
