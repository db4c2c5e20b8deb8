//! The needs of a daemon: a session, no inherited descriptors, signals as readiness, the lock of its socket.

use super::descriptor;
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Begins a session of this process's own: signals to the group or the terminal of its parent do not reach it any more. Fails
/// if this process leads a process group already.
pub fn begin_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Makes the next `exec` close all descriptors but the standard ones. Fails if the system does not say which descriptors are
/// open.
pub fn close_at_exec() -> io::Result<()> {
    let open: Vec<RawFd> =
        fs::read_dir("/proc/self/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for number in open.into_iter().filter(|number| *number > 2) {
        // Fails for the descriptor of the listing, which is closed.
        let _ = descriptor::set_close_at_exec(number, true);
    }
    Ok(())
}

/// The request that a signal stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end: INT, TERM.
    End,
    /// To continue as the installed program: USR2, and HUP, which asks a daemon to reload. A closed terminal sends that, too.
    Upgrade,
}

/// Blocks the signals of [`Asked`], in this thread and in those that it starts. Returns a descriptor that is readable when one
/// of them has come, even if the process that started this one ignores them. Fails if the limit of descriptors is reached.
pub fn signals() -> io::Result<OwnedFd> {
    const ALL: [libc::c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR2];
    let mut signals = MaybeUninit::uninit();
    // SAFETY: the first call writes the set, before anything reads it. The default action is not a function of this process,
    // and never runs, because the signals are blocked. `signalfd` returns a new descriptor, which nothing else
    // owns, or -1.
    unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        for signal in ALL {
            libc::sigaddset(signals.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, signals.as_ptr(), std::ptr::null_mut());
        for signal in ALL {
            libc::signal(signal, libc::SIG_DFL);
        }
        match libc::signalfd(-1, signals.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            number => Ok(OwnedFd::from_raw_fd(number)),
        }
    }
}

/// Takes the next signal from the descriptor of [`signals`], if one has come.
pub fn next_signal(signals: BorrowedFd<'_>) -> Option<Asked> {
    let mut info = [0; std::mem::size_of::<libc::signalfd_siginfo>()];
    let count = rustix::io::read(signals, &mut info).ok()?;
    let number: [u8; 4] = info[..count].get(..4)?.try_into().ok()?; // ssi_signo comes first
    let is_reload = [libc::SIGUSR2, libc::SIGHUP].contains(&(u32::from_ne_bytes(number) as libc::c_int));
    Some(if is_reload { Asked::Upgrade } else { Asked::End })
}

/// Ignores signals that end the process by default. A write beyond the limit of the size of files (`ulimit -f`) fails with
/// EFBIG. A program that begins needs no upgrade, until it has called [`signals`].
pub fn ignore_signals() {
    for signal in [libc::SIGXFSZ, libc::SIGHUP, libc::SIGUSR2] {
        // SAFETY: takes two numbers, and no function of this process becomes a handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Creates a file in memory. An `exec` closes it. The limit of the size of files holds for it, too. Fails if the limit of
/// descriptors is reached.
pub fn memory_file(name: &str) -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?))
}

/// Opens a program to be run as it is now, whatever is put in its place. An `exec` does not close it: the interpreter of a
/// script reads it. Fails if there is none, or if the limit of descriptors is reached.
pub fn open_program(path: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{open, Mode, OFlags};
    Ok(open(path, OFlags::PATH, Mode::empty())?)
}

/// Continues this process as another program, whose first word is its name. Returns only if that fails; then nothing has
/// changed. (The standard library's `exec` changes what SIGPIPE does, also if it fails.)
pub fn execute(program: &Path, words: &[OsString]) -> io::Error {
    #[cfg(feature = "sim")]
    return super::sim::world().execute(words);
    #[cfg(not(feature = "sim"))]
    exec_in_place(program, words)
}

fn exec_in_place(program: &Path, words: &[OsString]) -> io::Error {
    let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::from);
    let words = words.iter().map(|word| text(word)).collect();
    let (program, words): (CString, Vec<CString>) = match (text(program.as_os_str()), words) {
        (Ok(program), Ok(words)) => (program, words),
        (Err(error), _) | (_, Err(error)) => return error,
    };
    let pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
    // SAFETY: the texts and the list outlive the call, and a null pointer ends the list.
    unsafe { libc::execv(program.as_ptr(), pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Tries to lock a file for this open file and its copies. Returns false if it is locked already. The lock ends with the
/// last copy, in whichever process that is. Fails if the file system has no locks.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns true if a path leads to a file that is open: nobody has removed or replaced it.
pub fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(found)) => (file.dev(), file.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

/// Puts a file with these bytes in the place of another one, for this user alone: a reader finds one of the two.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let _ = fs::remove_file(&new); // of a process that was killed
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file.write_all(bytes).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// Checks that this process may read and write a file, or a folder. Fails if it may not, or if there is none.
pub fn can_write(path: &Path) -> io::Result<()> {
    use rustix::fs::{access, Access};
    Ok(access(path, Access::READ_OK | Access::WRITE_OK)?)
}

#[cfg(all(test, not(miri)))] // system calls
mod tests {
    use super::*;

    #[test]
    fn a_locked_file_is_free_when_its_last_copy_is_closed() {
        let path = std::env::temp_dir().join(format!("eventsource-lock-{}", std::process::id()));
        let open = || File::options().create(true).append(true).open(&path).expect("a file");
        let first = open();
        let copy = first.try_clone().expect("a descriptor");
        assert!(try_lock(&first).expect("locks"));
        drop(first);
        assert!(!try_lock(&open()).expect("locks"));
        drop(copy);
        assert!(try_lock(&open()).expect("locks"));
        std::fs::remove_file(&path).expect("the file exists");
    }
}
