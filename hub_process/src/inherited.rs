//! The socket and the lock that a starter or systemd hands over.

use crate::arguments::Arguments;
use crate::process_log::log_message;
use eventsource_xs::remote::calls::{
    adopt, begin_session, close_at_exec, duplicate, is_at, set_close_at_exec, silence,
};
use eventsource_xs::remote::{self, start, Place, Start};
use eventsource_xs::runtime::HandoverFile;
use eventsource_xs::wire::HandedProcess;
use eventsource_xs::ErrorCode;
use rustix::net::sockopt::socket_acceptconn;
use std::error::Error;
use std::fs::{File, FileTimes};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// The time that a process may take that is to end for this one: it waits for clients that do not read, and for its store.
const REPLACED_WITHIN: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 10 });

/// The interval at which the files are marked as used.
const TOUCH: Duration = Duration::from_secs(3600);

/// The first descriptor that systemd hands over (`sd_listen_fds`).
const FIRST_OF_SYSTEMD: i32 = 3;

/// The socket of a hub, and the lock that makes sure that one process at a time has it.
#[derive(Debug)]
pub struct InstanceLock {
    pub listener: UnixListener,
    /// Locked as long as the process lives.
    lock: File,
    place: Place,
    /// True if the socket's file is removed at the end. systemd's stays: it starts the process again.
    removes_socket: bool,
    /// When the files are marked as used again.
    touch_due: Option<Instant>,
}

/// Starts `run` in a session of its own, with the socket and the lock of this process and no other descriptor.
pub fn detach(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    begin_session()?;
    close_at_exec()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["run", "--inherited", "--name", arguments.name.as_str()]);
    if let Some(socket) = &arguments.socket {
        command.arg("--socket").arg(socket);
    }
    command.stderr(Stdio::null()); // that of this process is for the starter; it inherits the socket and the lock
    command.spawn()?;
    Ok(())
}

impl InstanceLock {
    /// Takes over the socket and the lock that the program before this one has kept, as they were handed over.
    pub fn resume(handed: &HandedProcess, place: &Place) -> io::Result<Self> {
        Ok(Self {
            listener: take_kept(handed.listener)?.into(),
            lock: take_kept(handed.lock)?.into(),
            place: place.clone(),
            removes_socket: handed.removes_socket,
            touch_due: None,
        })
    }

    /// Hands the socket and the lock over.
    pub fn hand_over(&self, file: &mut HandoverFile, to: &mut HandedProcess) {
        (to.listener, to.lock) = (file.keep(&self.listener), file.keep(&self.lock));
        to.removes_socket = self.removes_socket;
    }

    /// Takes the socket and the lock from the starter, the socket from systemd, or both from the file system. `listen` takes
    /// the socket for HTTP clients, if systemd hands over one, and listens for them: no other process ends for one that cannot.
    pub fn take<T>(
        arguments: &Arguments,
        place: &Place,
        listen: impl FnOnce(Option<OwnedFd>) -> io::Result<T>,
    ) -> Result<(Self, T), Box<dyn Error>> {
        if arguments.is_started {
            let (listener, lock) = (duplicate(0)?, duplicate(1)?);
            check_listens(&listener)?;
            silence(0)?;
            silence(1)?;
            let (listener, lock, place) = (listener.into(), lock.into(), place.clone());
            return Ok((Self { listener, lock, place, removes_socket: true, touch_due: None }, listen(None)?));
        }
        let free = start::lock(place)?;
        let (of_systemd, http) = sockets_of_systemd()?;
        let listening = listen(http)?;
        let lock = free.map_or_else(|| lock_or_replace(place), Ok)?;
        let removes_socket = of_systemd.is_none();
        let listener = match of_systemd {
            Some(socket) => socket.into(),
            None => start::bind(place.socket())?,
        };
        Ok((Self { listener, lock, place: place.clone(), removes_socket, touch_due: None }, listening))
    }

    /// Notes in the lock which process serves from here on. Returns the one before if that has not ended in order.
    pub fn begin_service(&self) -> Option<u32> {
        let noted = std::fs::read_to_string(self.place.lock()).ok().filter(|_| self.is_taken())?;
        self.note(&std::process::id().to_string());
        noted.parse().ok()
    }

    /// Removes the socket, if this process has made it, and notes that the process ends in order. Returns true if the files of
    /// the hub are its own: without its lock they may be those of another process.
    pub fn end_service(&self) -> bool {
        let is_taken = self.is_taken();
        if is_taken {
            if self.removes_socket {
                let _ = start::remove_socket(self.place.socket());
            }
            self.note("");
        }
        is_taken
    }

    fn note(&self, text: &str) {
        // Only a line of the log depends on it.
        let _ = self.lock.set_len(0).and_then(|()| (&self.lock).write_all(text.as_bytes()));
    }

    /// Called from time to time. Marks the files of the hub as used: systemd-tmpfiles removes what nobody has touched in `/tmp`
    /// for ten days. Returns false if the hub is not that of this process any more: its lock is gone.
    pub fn keep(&mut self, now: Instant) -> bool {
        if self.touch_due.is_none_or(|due| now >= due) {
            self.touch_due = Some(now + TOUCH);
            self.place.files().iter().for_each(|path| touch(path));
        }
        let is_taken = self.is_taken();
        if !is_taken {
            log_message("the file of its lock was removed, so that another process may serve the hub");
            self.removes_socket = false;
        }
        is_taken
    }

    /// Makes the file of the socket again if it was removed, and returns the new socket: nobody finds this process otherwise,
    /// and nobody can start another one while this one has the lock. systemd's is systemd's.
    pub fn restore_socket(&mut self) -> Option<io::Result<OwnedFd>> {
        let is_removed = self.removes_socket && self.socket().symlink_metadata().is_err();
        is_removed.then(|| {
            self.listener = start::bind(self.socket()).map_err(|failure| io::Error::other(failure.to_string()))?;
            Ok(self.listener.try_clone()?.into())
        })
    }

    pub fn socket(&self) -> &Path {
        self.place.socket()
    }

    /// Returns true if the file of the lock is still in its place. If something has removed it (the folder of a session is
    /// removed at its end), another process may get the lock of a new file, and serve the hub beside this one.
    fn is_taken(&self) -> bool {
        is_at(&self.lock, self.place.lock())
    }
}

/// Takes the lock. A process that a worker or a command has started ends for this one, which was run: whoever supervises this
/// one would otherwise start it for ever, and the hub would lack what the command line asks for.
fn lock_or_replace(place: &Place) -> Result<File, Box<dyn Error>> {
    let deadline = Instant::now() + REPLACED_WITHIN;
    loop {
        if let Some(lock) = start::lock(place)? {
            return Ok(lock);
        }
        let start = Start { program: None, needs_settings: false, timeout: deadline - Instant::now() };
        let asked = remote::replace(&start, place);
        // It begins or ends, or has ended.
        let may_be_free = asked.as_ref().map_or_else(|failure| failure.code == ErrorCode::Unavailable, |()| true);
        if !may_be_free || Instant::now() >= deadline {
            let why = asked.map_or_else(|failure| failure.message, |()| "it does not end".into());
            let (name, lock) = (place.name(), place.lock().display());
            let message = format!("the hub {name} has a process already ({lock}): {why}; eventsource hub stop {name}");
            return Err(message.into());
        }
    }
}

/// Marks a file as used.
fn touch(path: &Path) {
    let now = FileTimes::new().set_accessed(SystemTime::now());
    // Not all files of a hub are there.
    let _ = File::options().append(true).open(path).and_then(|file| file.set_times(now));
}

/// Takes a descriptor that the program before this one has kept.
pub fn take_kept(number: u32) -> io::Result<OwnedFd> {
    set_close_at_exec(number as i32, true)?;
    adopt(number as i32)
}

/// Returns the sockets that systemd hands to this process: that of the hub, and the one for HTTP clients, whose unit names it
/// `http` (`FileDescriptorName`).
fn sockets_of_systemd() -> Result<(Option<OwnedFd>, Option<OwnedFd>), Box<dyn Error>> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok((None, None));
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let (mut hub, mut http) = (None, None);
    for (descriptor, name) in
        (FIRST_OF_SYSTEMD..).zip(names.split(':')).take(number("LISTEN_FDS").unwrap_or(0) as usize)
    {
        set_close_at_exec(descriptor, true)?;
        let socket = adopt(descriptor)?;
        check_listens(&socket)?;
        if if name == "http" { &mut http } else { &mut hub }.replace(socket).is_some() {
            return Err("systemd must hand over one socket of the hub, and one named http at most".into());
        }
    }
    Ok((hub, http))
}

/// Checks that a socket that was handed over listens.
fn check_listens(socket: &OwnedFd) -> Result<(), Box<dyn Error>> {
    match socket_acceptconn(socket) {
        Ok(true) => Ok(()),
        _ => Err("what was handed over is not a socket that listens".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_not_taken_when_its_file_was_removed_or_replaced() {
        let folder = std::env::temp_dir().join(format!("eventsource-lock-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        let socket = folder.join("s").into_os_string();
        let words = ["run".into(), "--socket".into(), socket];
        let arguments = Arguments::parse(words.into_iter()).expect("a command");
        let place = arguments.place().expect("a place");
        let (mut instance, _) = InstanceLock::take(&arguments, &place, |_| Ok(())).expect("a free place");
        assert!(InstanceLock::take(&arguments, &place, |_| Ok(())).is_err());
        assert_eq!(instance.begin_service(), None, "no process before");
        assert_eq!(instance.begin_service(), Some(std::process::id()), "one that has not ended");
        instance.note("");
        assert_eq!(instance.begin_service(), None, "one that has ended in order");
        let long_ago = SystemTime::now() - Duration::from_secs(30 * 86_400);
        std::fs::write(place.seen(), "seen").expect("a file");
        for path in [place.lock(), &place.seen()] {
            let file = File::options().append(true).open(path).expect("a file");
            file.set_times(FileTimes::new().set_accessed(long_ago).set_modified(long_ago)).expect("its owner may");
        }
        assert!(instance.keep(Instant::now()));
        for path in [place.lock(), &place.seen()] {
            let accessed = std::fs::metadata(path).and_then(|found| found.accessed()).expect("a file");
            assert!(accessed > long_ago + Duration::from_secs(86_400), "{} was not touched", path.display());
        }
        std::fs::remove_file(place.lock()).expect("its owner may");
        assert!(!instance.is_taken());
        assert!(InstanceLock::take(&arguments, &place, |_| Ok(())).is_err(), "it listens, though it has no lock");
        std::fs::remove_file(place.socket()).expect("its owner may");
        let (next, _) = InstanceLock::take(&arguments, &place, |_| Ok(())).expect("a free place");
        assert!(next.is_taken() && !instance.is_taken());
        std::fs::remove_dir_all(&folder).expect("its owner may");
    }
}
