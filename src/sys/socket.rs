//! Sockets: the connection of a client, and Unix sockets between processes of one user, with descriptors beside the bytes.
//!
//! The PSGI server shares a client's connection's open file description, and with it the flag `O_NONBLOCK`. The reactor
//! neither sets that flag nor relies on it: each call passes its own flag not to block.

#[cfg(feature = "sim")]
use super::sim::{self, Awaited};
use rustix::cmsg_space;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
#[cfg(any(feature = "sim", test))]
use rustix::fd::AsFd;
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Returns a pair of connected sockets, which do not wait and which an `exec` closes. Fails if the limit of descriptors is
/// reached.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Sends bytes, and waits for room for at most that long each time. What the connection does not take is lost.
pub fn send_all(socket: BorrowedFd<'_>, mut bytes: &[u8], timeout: Duration) {
    while !bytes.is_empty() {
        match net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::AGAIN | Errno::INTR) if wait_for_room(socket, timeout) => {}
            Err(_) => break,
        }
    }
}

/// Waits until a socket takes bytes again, until its connection has ended, or until a signal comes; at most for the timeout.
/// Returns false after the timeout.
pub fn wait_for_room(socket: BorrowedFd<'_>, timeout: Duration) -> bool {
    #[cfg(feature = "sim")]
    let timeout = sim::wait_for_socket(Awaited::Writable(socket), timeout);
    let tv_sec = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    let timeout = Timespec { tv_sec, tv_nsec: timeout.subsec_nanos().into() };
    let mut sockets = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
    matches!(poll(&mut sockets, Some(&timeout)), Ok(1) | Err(Errno::INTR))
}

/// Sends as much of the blocks, in their order, as the kernel takes now. Returns the number of bytes sent. Fails with
/// [`io::ErrorKind::WouldBlock`] if the kernel takes nothing now. Any other error means that the connection is broken.
pub fn send_blocks(socket: BorrowedFd<'_>, blocks: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(match blocks {
        [block] => net::send(socket, block, flags)?,
        _ => net::sendmsg(socket, blocks, &mut SendAncillaryBuffer::default(), flags)?,
    })
}

/// Reads bytes into `buffer`. Returns 0 if the peer has closed its side. Fails with [`io::ErrorKind::WouldBlock`] if there is
/// nothing to read. Any other error means that the connection is broken.
pub fn read_at_once(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(net::recv(socket, buffer, RecvFlags::DONTWAIT)?.0)
}

/// Reads bytes as [`read_at_once`] does, but waits for them, for the socket's own timeout or, in a simulation, until a time.
#[cfg_attr(not(feature = "sim"), allow(unused_variables))]
pub fn read(mut socket: &UnixStream, buffer: &mut [u8], until: Instant) -> io::Result<usize> {
    #[cfg(not(feature = "sim"))]
    return socket.read(buffer);
    #[cfg(feature = "sim")]
    {
        sim::world().wait(Awaited::Readable(socket.as_fd()), Some(until));
        read_at_once(socket.as_fd(), buffer)
    }
}

/// Shuts down sending to the client, for every process that holds the socket.
pub fn shut_down_sending(socket: BorrowedFd<'_>) {
    // Fails only if the connection has ended already.
    let _ = net::shutdown(socket, Shutdown::Write);
}

/// Returns a number that no other socket has, earlier or later. Returns 0 if the descriptor is not a socket, or if the
/// kernel is older than 4.12.
pub fn cookie(socket: BorrowedFd<'_>) -> u64 {
    net::sockopt::socket_cookie(socket).unwrap_or(0)
}

/// Makes the kernel end the connection if its peer takes nothing for that long (`TCP_USER_TIMEOUT`), or leaves that to the
/// caller: the kernel may count from the beginning of an earlier stall. Has no effect on a socket that is not TCP.
pub fn set_tcp_user_timeout(socket: BorrowedFd<'_>, timeout: Option<Duration>) {
    let milliseconds = timeout.map_or(0, |timeout| timeout.as_millis().clamp(1, u128::from(u32::MAX)) as u32);
    // Fails only if the socket is not TCP.
    let _ = net::sockopt::set_tcp_user_timeout(socket, milliseconds);
}

/// Makes a TCP socket keep what it takes until a segment is full, for 200 ms at most (`TCP_CORK`), or send that at once. Has no
/// effect on a socket that is not TCP.
pub fn cork(socket: BorrowedFd<'_>, keeps: bool) {
    // Fails only if the socket is not TCP.
    let _ = net::sockopt::set_tcp_cork(socket, keeps);
}

/// Returns how many bytes the socket has taken that its peer has not: not acknowledged (TCP), or not read (Unix sockets, with
/// the memory of the kernel's own records).
pub fn untaken_bytes(socket: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel writes an int to `bytes`, which lives until the call
    // returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, std::ptr::addr_of_mut!(bytes)) };
    usize::try_from(bytes).ok().filter(|_| result == 0).unwrap_or(0)
}

/// Returns how many bytes the peer of a TCP socket has room for beyond those that it has acknowledged, as its last segment
/// says (`tcpi_snd_wnd`). Returns 0 if the kernel is older than 5.4, and `None` if the socket is not TCP.
pub fn window(socket: BorrowedFd<'_>) -> Option<u32> {
    /// The numbers of a `tcp_info` up to this one, which libc does not have.
    const NUMBERS: usize = 58;
    let mut info = [0u32; NUMBERS];
    let mut size = std::mem::size_of_val(&info) as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel writes at most `size` bytes to `info`, and their
    // number to `size`, which both live until the call returns.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            std::ptr::addr_of_mut!(size),
        )
    };
    Some(info[NUMBERS - 1]).filter(|_| result == 0)
}

/// Makes a TCP socket that listens report connections when they have something to read, or after a second
/// (`TCP_DEFER_ACCEPT`). Has no effect on a socket that is not TCP.
pub fn defer_accept(socket: BorrowedFd<'_>) {
    set_tcp_option(socket, libc::TCP_DEFER_ACCEPT, 1); // a second
}

/// The number of unsent bytes that the kernel keeps for a client. That is enough for the network, as measured, and little for a
/// client that never reads. All other bytes are buffered in the stream, where they are limited and counted.
const UNSENT_BYTES: u32 = 128 << 10;

/// Makes a TCP socket, and those that it accepts, take bytes only while it holds fewer unsent bytes than `UNSENT_BYTES`
/// (`TCP_NOTSENT_LOWAT`). Has no effect on a socket that is not TCP.
pub fn limit_unsent(socket: BorrowedFd<'_>) {
    set_tcp_option(socket, libc::TCP_NOTSENT_LOWAT, UNSENT_BYTES);
}

/// Sets an option of a TCP socket. Has no effect on another one.
fn set_tcp_option(socket: BorrowedFd<'_>, option: libc::c_int, value: u32) {
    let size = std::mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel reads `size` bytes at the address of `value`, which
    // lives until the call returns.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, std::ptr::addr_of!(value).cast(), size);
    }
}

/// Says whether a call waits for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The call waits, within the socket's own timeouts.
    Forever,
    /// The call does not wait: it fails with [`io::ErrorKind::WouldBlock`].
    Never,
}

/// Connects to a Unix socket without waiting for a process that is too busy to accept. The connection itself waits. Fails with
/// [`io::ErrorKind::WouldBlock`] if too many connections wait to be accepted, or that of the call.
pub fn connect_at_once(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let socket = UnixStream::from(socket);
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// Sends bytes, with a descriptor beside the first of them. Returns how many the kernel has taken, at least one. Fails with
/// [`io::ErrorKind::WouldBlock`], or that of a broken connection. Then the descriptor has not been sent.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>, wait: Wait) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|descriptor| [descriptor]);
    if let Some(descriptors) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = match wait {
        Wait::Forever => SendFlags::NOSIGNAL,
        Wait::Never => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    };
    Ok(retry(|| net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags))?)
}

/// Receives bytes, and appends the descriptors that came beside them. Appends `None` for descriptors that this process
/// could not take, because it has too many. Returns 0 when the peer has closed its side. Fails with
/// [`io::ErrorKind::WouldBlock`], or that of a broken connection.
pub fn receive(
    socket: BorrowedFd<'_>,
    room: &mut [u8],
    descriptors: &mut VecDeque<Option<OwnedFd>>,
    wait: Wait,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = match wait {
        Wait::Forever => RecvFlags::CMSG_CLOEXEC,
        Wait::Never => RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    };
    let mut room = [IoSliceMut::new(room)];
    let received = retry(|| net::recvmsg(socket, &mut room, &mut control, flags))?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received.map(Some));
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        descriptors.push_back(None);
    }
    Ok(received.bytes)
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Returns the user that the peer of a connection belongs to. Fails if the descriptor is not a Unix socket.
pub fn peer_user(socket: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(peer_credentials(socket)?.uid)
}

/// Returns the process that has made a connection, or None if this process cannot see it: it is in another PID namespace, as
/// in another container.
pub fn peer_process(socket: BorrowedFd<'_>) -> Option<u32> {
    #[cfg(feature = "sim")]
    return super::sim::world().pid_of(socket);
    #[cfg(not(feature = "sim"))]
    peer_credentials(socket).ok().and_then(|peer| u32::try_from(peer.pid).ok()).filter(|&pid| pid != 0)
}

/// Returns what the kernel knows of a connection's peer. `rustix` has a type for it that cannot hold the process id 0, which
/// stands for a process of another PID namespace.
fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut size = std::mem::size_of_val(&peer) as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel writes at most `size` bytes, the size of `peer`, and
    // any bytes are a `ucred`, which consists of integers. `peer` and `size` live until the call returns.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            std::ptr::addr_of_mut!(peer).cast(),
            &mut size,
        )
    };
    if status == 0 {
        Ok(peer)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Returns the user that this process acts for.
pub fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(all(test, not(miri)))] // system calls
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_read_ends_with_the_message_that_carried_a_descriptor() {
        let (one, other) = UnixStream::pair().expect("a pair of sockets");
        let sent = File::open("/dev/null").expect("a descriptor");
        for (bytes, descriptor) in [(&b"before"[..], None), (b"with", Some(sent.as_fd())), (b"after", None)] {
            assert_eq!(send(one.as_fd(), bytes, descriptor, Wait::Never).expect("room"), bytes.len());
        }
        let (mut descriptors, mut text, mut reads) = (VecDeque::new(), Vec::new(), Vec::new());
        while text.len() < 15 {
            let mut room = [0; 100];
            let count = receive(other.as_fd(), &mut room, &mut descriptors, Wait::Never).expect("bytes");
            text.extend_from_slice(&room[..count]);
            reads.push((text.len(), descriptors.len()));
        }
        assert_eq!(text, b"beforewithafter");
        // No read has bytes from after the descriptor before the descriptor itself.
        assert!(reads.iter().all(|(len, count)| *count == usize::from(*len > 6)), "{reads:?}");
        assert!(reads.iter().all(|(len, _)| [6, 10, 15].contains(len)), "{reads:?}");
        assert_eq!(peer_user(one.as_fd()).expect("a Unix socket"), own_user());
        assert_eq!(peer_process(one.as_fd()), Some(std::process::id()));
        assert!(peer_user(sent.as_fd()).is_err());
    }
}
