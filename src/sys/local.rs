//! Unix sockets between processes of one user: bytes with descriptors, who the peer is, the lock of a socket's owner.

use rustix::cmsg_space;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;
use rustix::net::{
    connect, recvmsg, sendmsg, socket_with, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags,
    ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::io::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Whether a call waits for its peer.
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
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
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
    Ok(retry(|| sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags))?)
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
    let received = retry(|| recvmsg(socket, &mut room, &mut control, flags))?;
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

/// Tries to lock a file for this open file and its copies. Returns false if it is locked already. The lock ends with the
/// last copy, in whichever process that is. Fails if the file system has no locks.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
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
