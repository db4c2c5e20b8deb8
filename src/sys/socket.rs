//! A client's connection, as the reactor uses it.
//!
//! The server that it was taken from shares its open file description, and with it the flag `O_NONBLOCK`. So that flag
//! is neither set nor relied on: every call says for itself that it does not wait.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};
use std::io::{self, IoSlice};
use std::time::Duration;

/// Sends as much of the blocks, in their order, as the kernel takes now, and says how many bytes that was.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] if it takes nothing now; any other means that the connection is broken.
pub fn send(socket: BorrowedFd<'_>, blocks: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(match blocks {
        [block] => net::send(socket, block, flags)?,
        _ => net::sendmsg(socket, blocks, &mut SendAncillaryBuffer::default(), flags)?,
    })
}

/// Reads what the client has sent into `scratch`, to be forgotten. 0 says that it has closed its side.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] if there is nothing now; any other means that the connection is broken.
pub fn drain(socket: BorrowedFd<'_>, scratch: &mut [u8]) -> io::Result<usize> {
    Ok(net::recv(socket, scratch, RecvFlags::DONTWAIT)?.0)
}

/// Ends what is sent to the client, for every process that holds the socket.
pub fn finish(socket: BorrowedFd<'_>) {
    // Fails only when the connection has ended already.
    let _ = net::shutdown(socket, Shutdown::Write);
}

/// A number that no other socket has, before or after it. 0 if it is no socket, or the kernel is older than 4.12.
pub fn cookie(socket: BorrowedFd<'_>) -> u64 {
    net::sockopt::socket_cookie(socket).unwrap_or(0)
}

/// Has the kernel give up on a peer that acknowledges nothing for that long (`TCP_USER_TIMEOUT`). What is no TCP socket
/// has no such peer.
pub fn give_up_after(socket: BorrowedFd<'_>, timeout: Duration) {
    let milliseconds = timeout.as_millis().clamp(1, u128::from(u32::MAX)) as u32;
    let _ = net::sockopt::set_tcp_user_timeout(socket, milliseconds);
}

/// Has a TCP socket take bytes only while less than so many of them are unsent (`TCP_NOTSENT_LOWAT`). What is not sent yet
/// then waits where it is counted, instead of in the kernel. What is no TCP socket stays as it is.
pub fn limit_unsent(socket: BorrowedFd<'_>, bytes: u32) {
    let size = std::mem::size_of_val(&bytes) as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel reads `size` bytes at the address of `bytes`, which
    // lives until the call returns.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            std::ptr::addr_of!(bytes).cast(),
            size,
        );
    }
}
