//! File descriptors: those of the server, known by their numbers, and those that this library owns.

use super::socket;
use rustix::buffer::spare_capacity;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::io::{self as calls, DupFlags, Errno, FdFlags};
use rustix::net::{sockopt::socket_acceptconn, SocketAddrUnix};
use rustix::process::{getrlimit, Resource};
use std::convert::TryFrom;
use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};

/// The folder of this process's descriptors.
const FOLDER: &str = "/proc/self/fd";

/// Borrows a descriptor that other code owns, for the time of a call. Fails if the number is negative.
fn borrow<'a>(number: RawFd) -> io::Result<BorrowedFd<'a>> {
    if number < 0 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: the descriptor is only passed to system calls, which return EBADF if it is not open; the caller that passed the
    // number keeps it open during the call.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}

/// Duplicates a descriptor. An `exec` closes the copy. Fails if the descriptor is not open, or if the limit of descriptors is
/// reached.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    Ok(calls::fcntl_dupfd_cloexec(borrow(number)?, 0)?)
}

/// Replaces the descriptor `number` by a copy of `source`. Its owner keeps using the number and does not notice. The
/// close-on-exec flag keeps its value. Needs no additional descriptor. Fails if one of the two is not open.
pub fn replace(number: RawFd, source: RawFd) -> io::Result<()> {
    let source = borrow(source)?;
    let flags = calls::fcntl_getfd(borrow(number)?)?;
    let dup_flags = if flags.contains(FdFlags::CLOEXEC) { DupFlags::CLOEXEC } else { DupFlags::empty() };
    // SAFETY: `number` is open: `fcntl_getfd` has succeeded. Its owner keeps owning it, because it is never dropped here.
    let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    calls::dup3(source, &mut target, dup_flags)?;
    Ok(())
}

/// A descriptor of `/dev/null` for [`silence`], or -1. Other code may close it and reuse its number, so it is checked at each
/// use and never closed.
static NULL: AtomicI32 = AtomicI32::new(-1);

/// Replaces the descriptor `number` by `/dev/null`, so that nothing its owner still writes reaches the client. Errors are those
/// of `replace`, or if `/dev/null` cannot be opened.
pub fn silence(number: RawFd) -> io::Result<()> {
    let kept = NULL.load(Ordering::Relaxed);
    if borrow(kept).map_or(false, is_null) {
        return replace(number, kept);
    }
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    replace(number, null.as_raw_fd())?;
    if NULL.compare_exchange(kept, null.as_raw_fd(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        let _kept = null.into_raw_fd();
    }
    Ok(())
}

/// Returns an end to read from, and one to put in the place of a server's descriptor that is captured. Neither waits, and an
/// `exec` closes both. There is room for so many bytes. Fails if the limit of descriptors is reached.
///
/// A pipe takes half as long as a socketpair. The system makes them small for a user who has many: then this is a socketpair.
pub fn capture(bytes: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::{fcntl_getpipe_size, pipe_with, PipeFlags};
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    if fcntl_getpipe_size(&read)? >= bytes {
        return Ok((read, write));
    }
    socket::pair()
}

/// Reads bytes into the free capacity of a buffer. Returns true if they have filled it, so that there may be more. Fails if
/// there is nothing to read now.
pub fn read_more(descriptor: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> io::Result<bool> {
    calls::read(descriptor, spare_capacity(buffer))?;
    Ok(buffer.len() == buffer.capacity())
}

/// Takes ownership of a descriptor that its owner gives up. Fails if the descriptor is not open.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    calls::fcntl_getfd(borrow(number)?)?;
    // SAFETY: the descriptor is open; the caller created it for this call and does not use or close it afterwards.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Takes ownership of a socket that this process has inherited by a fork. Its [cookie](super::socket::cookie) identifies it.
/// Fails if the number no longer refers to that socket: daemons close all inherited descriptors, and the number may be reused.
pub fn inherit(number: RawFd, cookie: u64) -> io::Result<OwnedFd> {
    if !is_socket(number, cookie) {
        return Err(Errno::BADF.into());
    }
    adopt(number) // the forking process owned it through this library, so nothing else in this process owns it
}

/// Returns true if a number still refers to the socket with a [cookie](super::socket::cookie).
pub fn is_socket(number: RawFd, cookie: u64) -> bool {
    borrow(number).map_or(false, |socket| super::socket::cookie(socket) == cookie)
}

/// Makes the next `exec` close a descriptor, or keep it open. Fails if the descriptor is not open.
pub fn set_close_at_exec(number: RawFd, closes: bool) -> io::Result<()> {
    let descriptor = borrow(number)?;
    let mut flags = calls::fcntl_getfd(descriptor)?;
    flags.set(FdFlags::CLOEXEC, closes);
    Ok(calls::fcntl_setfd(descriptor, flags)?)
}

/// Makes the client's connection of a server keep what the server writes, until the reactor has written something too.
pub fn cork(number: RawFd) {
    let _ = borrow(number).map(|descriptor| socket::cork(descriptor, true));
}

/// Gives up ownership and returns the number, which stays open.
pub fn into_number(descriptor: OwnedFd) -> RawFd {
    descriptor.into_raw_fd()
}

/// Writes a few bytes to a descriptor that other code owns. Does nothing if that fails.
pub fn write(number: RawFd, bytes: &[u8]) {
    let _ = borrow(number).map(|descriptor| calls::write(descriptor, bytes));
}

/// The port or the path that the accepted sockets of a server share with its listening socket.
#[derive(PartialEq)]
enum Service {
    Port(u16),
    Path(Vec<u8>),
}

/// Returns the port or the path of a socket on this side, if it has one.
fn service(number: RawFd) -> Option<Service> {
    let address = rustix::net::getsockname(borrow(number).ok()?).ok()?;
    if let Ok(address) = SocketAddr::try_from(address.clone()) {
        return Some(Service::Port(address.port()));
    }
    let address = SocketAddrUnix::try_from(address).ok()?;
    address.abstract_name().or_else(|| address.path_bytes()).map(|name| Service::Path(name.to_vec()))
}

/// Replaces the listening sockets of this process and the connections that they have accepted by `/dev/null`, except the
/// descriptor `kept`. For a forked child: the copies of its parent's descriptors keep connections open that the parent ends.
pub fn leave_other_clients(kept: RawFd) {
    let is_listening = |number: &RawFd| borrow(*number).map_or(false, |socket| socket_acceptconn(socket) == Ok(true));
    let numbers: Vec<RawFd> = match std::fs::read_dir(FOLDER) {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect(),
        Err(_) => return,
    };
    let listeners = numbers.iter().copied().filter(is_listening);
    let services: Vec<Service> = listeners.chain([kept]).filter_map(service).collect();
    for number in numbers {
        if number != kept && service(number).map_or(false, |service| services.contains(&service)) {
            let _ = silence(number);
        }
    }
}

/// Returns true if the descriptor is a connected stream socket.
pub fn is_connection(number: RawFd) -> bool {
    use rustix::net::{getpeername, sockopt::socket_type, SocketType};
    let is_stream = |socket| socket_type(socket) == Ok(SocketType::STREAM) && getpeername(socket).is_ok();
    borrow(number).map_or(false, is_stream)
}

/// Returns true if the client of a server's connection is known to have left: the connection was reset, or [`silence`] has
/// replaced it by `/dev/null`.
pub fn has_left(number: RawFd) -> bool {
    use rustix::net::{getpeername, sockopt::socket_type, SocketType};
    borrow(number).map_or(false, |descriptor| match getpeername(descriptor) {
        Err(Errno::NOTCONN) => socket_type(descriptor) == Ok(SocketType::STREAM),
        Err(Errno::NOTSOCK) => is_null(descriptor),
        _ => false,
    })
}

/// Returns true if the peer has closed its side of a connection, or if the connection is broken. Takes no byte from it.
pub fn is_hung_up(number: RawFd) -> bool {
    use rustix::event::{poll, PollFd, PollFlags, Timespec};
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ended = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    borrow(number).map_or(true, |descriptor| {
        let mut polled = [PollFd::from_borrowed_fd(descriptor, PollFlags::RDHUP)];
        matches!(poll(&mut polled, Some(&AT_ONCE)), Ok(1)) && polled[0].revents().intersects(ended)
    })
}

/// Returns what the peer of a connection has still to take ([`socket::untaken_bytes`]), and its [`socket::window`].
pub fn untaken(number: RawFd) -> (usize, Option<u32>) {
    borrow(number).map_or((0, None), |descriptor| (socket::untaken_bytes(descriptor), socket::window(descriptor)))
}

/// Returns true if the descriptor is `/dev/null`, which has the same device number on every Linux: 1, 3.
pub(super) fn is_null(descriptor: BorrowedFd<'_>) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    const NULL_DEVICE: u64 = 0x103;
    // SAFETY: the owner keeps the descriptor open; the file is never dropped, so it closes nothing.
    let file = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(descriptor.as_raw_fd()) });
    file.metadata().map_or(false, |data| data.file_type().is_char_device() && data.rdev() == NULL_DEVICE)
}

/// Returns how many descriptors this process may have: the soft limit.
pub fn limit() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Returns how many descriptors this process has, or `None` if the system does not report it. Fails if no descriptor is free
/// for counting them.
pub fn count() -> io::Result<Option<usize>> {
    // Linux 6.2 and newer report the count as the folder's size. Older kernels report 0; there the entries are counted.
    match std::fs::metadata(FOLDER) {
        Ok(metadata) if metadata.len() > 0 => return Ok(usize::try_from(metadata.len()).ok()),
        Ok(_) => {}
        Err(_) => return Ok(None),
    }
    match std::fs::read_dir(FOLDER) {
        Ok(entries) => Ok(Some(entries.count() - 1)), // one of them is open only for this listing
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => Err(error),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn what_is_captured_has_room_though_a_user_with_many_pipes_gets_small_ones() {
        const HEAD: &[u8] = &[b'x'; 32 << 10];
        for bytes in [2 * HEAD.len(), usize::MAX] {
            let (ours, theirs) = capture(bytes).expect("two descriptors are free");
            assert_eq!(calls::write(&theirs, HEAD).ok(), Some(HEAD.len()), "room for {bytes}");
            let mut captured = Vec::with_capacity(1000);
            while let Ok(true) = read_more(ours.as_fd(), &mut captured) {
                captured.reserve(1000);
            }
            assert_eq!(captured, HEAD);
            assert_eq!(calls::fcntl_getfd(&theirs).ok(), Some(FdFlags::CLOEXEC));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn the_count_grows_with_each_descriptor() {
        // Other tests in this process open and close descriptors at the same time.
        let before = count().expect("a descriptor is free").expect("there is /proc");
        let many: Vec<_> = (0..500).map(|_| std::fs::File::open("/dev/null").expect("a descriptor is free")).collect();
        let after = count().expect("a descriptor is free").expect("there is /proc");
        assert!(before > 0 && after > before + many.len() / 2, "{before} {after}");
    }
}
