//! Descriptors of the server's, which are numbers to us, and of our own, which are owned.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::io::{self as calls, DupFlags, Errno, FdFlags};
use rustix::process::{getrlimit, Resource};
use std::io;
use std::mem::ManuallyDrop;

/// A descriptor of another's, for the time of a call.
///
/// # Errors
///
/// If it is no number of a descriptor.
fn borrow<'a>(number: RawFd) -> io::Result<BorrowedFd<'a>> {
    if number < 0 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: it is only handed to system calls, which answer EBADF if nothing is open there; whoever gave the number
    // keeps it open meanwhile.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}

/// A copy of a descriptor, closed by an exec.
///
/// # Errors
///
/// If nothing is open there, or if there are too many descriptors.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    Ok(calls::fcntl_dupfd_cloexec(borrow(number)?, 0)?)
}

/// Puts a copy of `source` in the place of `number`, whose owner notices nothing. Whether an exec closes it stays as it
/// was. Needs no descriptor more than there are.
///
/// # Errors
///
/// If nothing is open at one of them.
pub fn replace(number: RawFd, source: RawFd) -> io::Result<()> {
    let source = borrow(source)?;
    let flags = calls::fcntl_getfd(borrow(number)?)?;
    let dup_flags = if flags.contains(FdFlags::CLOEXEC) { DupFlags::CLOEXEC } else { DupFlags::empty() };
    // SAFETY: `number` is open, as the call before has shown; its owner goes on owning it, for it is never dropped here.
    let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    calls::dup3(source, &mut place, dup_flags)?;
    Ok(())
}

/// Puts `/dev/null` in the place of `number`: what its owner still does there reaches no one.
///
/// # Errors
///
/// As [`replace`], or if `/dev/null` cannot be opened.
pub fn silence(number: RawFd) -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    replace(number, null.as_raw_fd())
}

/// Takes ownership of a descriptor that its owner gives to us.
///
/// # Errors
///
/// If nothing is open there.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    calls::fcntl_getfd(borrow(number)?)?;
    // SAFETY: it is open, and whoever gives the number has made it for this, and forgets it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Takes ownership of a socket that this process has inherited over a fork, known by its [cookie](super::socket::cookie).
///
/// # Errors
///
/// If it is no longer open there: daemons close all that they have inherited, and then the number may be another's.
pub fn inherit(number: RawFd, cookie: u64) -> io::Result<OwnedFd> {
    if super::socket::cookie(borrow(number)?) != cookie {
        return Err(Errno::BADF.into());
    }
    adopt(number) // ours in the process that forked, so in this one nobody else has it
}

/// Gives up ownership: the number stays open.
pub fn leave(descriptor: OwnedFd) -> RawFd {
    descriptor.into_raw_fd()
}

/// Whether it is a connected socket that carries a stream of bytes.
pub fn is_connection(number: RawFd) -> bool {
    use rustix::net::{getpeername, sockopt::socket_type, SocketType};
    let is_stream = |socket| socket_type(socket) == Ok(SocketType::STREAM) && getpeername(socket).is_ok();
    borrow(number).map_or(false, is_stream)
}

/// Whether the client at the other end of a server's connection is known to have left: the connection was reset, or
/// [`silence`] has put `/dev/null` in its place.
pub fn has_left(number: RawFd) -> bool {
    use rustix::net::{getpeername, sockopt::socket_type, SocketType};
    borrow(number).map_or(false, |descriptor| match getpeername(descriptor) {
        Err(Errno::NOTCONN) => socket_type(descriptor) == Ok(SocketType::STREAM),
        Err(Errno::NOTSOCK) => is_null(descriptor),
        _ => false,
    })
}

/// Whether it is `/dev/null`, which has the same device number on every Linux: 1, 3.
fn is_null(descriptor: BorrowedFd<'_>) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    const NULL_DEVICE: u64 = 0x103;
    // SAFETY: the descriptor is open, for its owner keeps it so; the file is never dropped, so it closes nothing.
    let file = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(descriptor.as_raw_fd()) });
    file.metadata().map_or(false, |data| data.file_type().is_char_device() && data.rdev() == NULL_DEVICE)
}

/// How many descriptors this process may have: the soft limit.
pub fn limit() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// How many descriptors this process has; nothing, where the system does not say.
///
/// # Errors
///
/// If there are too many to look.
pub fn count() -> io::Result<Option<usize>> {
    const FOLDER: &str = "/proc/self/fd";
    // Linux 6.2 and newer say it at once; older ones say 0, and there each one is counted.
    match std::fs::metadata(FOLDER) {
        Ok(metadata) if metadata.len() > 0 => return Ok(usize::try_from(metadata.len()).ok()),
        Ok(_) => {}
        Err(_) => return Ok(None),
    }
    match std::fs::read_dir(FOLDER) {
        Ok(entries) => Ok(Some(entries.count() - 1)), // one of them is for looking
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => Err(error),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn the_count_grows_with_each_descriptor() {
        // Other tests of this process open and close some meanwhile.
        let before = count().expect("a descriptor is free").expect("there is /proc");
        let many: Vec<_> = (0..500).map(|_| std::fs::File::open("/dev/null").expect("a descriptor is free")).collect();
        let after = count().expect("a descriptor is free").expect("there is /proc");
        assert!(before > 0 && after > before + many.len() / 2, "{before} {after}");
    }
}
