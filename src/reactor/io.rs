//! The system calls that a reactor needs, as a trait, so that the reactor is tested without a socket; and what an error of a
//! socket means for its stream.
//!
//! The error numbers come from `libc`: they differ between systems, and on Linux between processors (MIPS, SPARC, Alpha).

use super::StreamId;
use crate::stream::Reason;
use std::io::{self, ErrorKind, IoSlice};
use std::time::Duration;

/// Makes the reactor's system calls.
pub trait Io {
    /// A connection to a client.
    type Socket;

    /// Registers a socket, so that its input and its end are reported as [`Ready`].
    fn register(&mut self, socket: &Self::Socket, stream: StreamId) -> io::Result<()>;

    /// Starts or stops reporting that the socket takes bytes.
    fn watch_writable(&mut self, socket: &Self::Socket, stream: StreamId, writable: bool) -> io::Result<()>;

    /// Sends as many bytes as the system takes now, and returns their number. Fails with
    /// [`ErrorKind::WouldBlock`] if the system takes nothing now.
    fn send(&mut self, socket: &Self::Socket, blocks: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Returns how many bytes the client has still to take of those that the socket has taken.
    fn untaken_bytes(&mut self, socket: &Self::Socket) -> usize;

    /// Returns for how many bytes the client had room when it was heard last. `None` if the socket is not TCP: then what it has
    /// still to take is not counted in bytes.
    fn window(&mut self, socket: &Self::Socket) -> Option<u32>;

    /// Sets the time after which the kernel ends the connection of a client that takes nothing.
    fn set_tcp_user_timeout(&mut self, socket: &Self::Socket, timeout: Duration);

    /// Lets the system send at once what a server has made it keep (`cork` of `sys/descriptor.rs`).
    fn uncork(&mut self, socket: &Self::Socket);

    /// Reads and discards some of what the client has sent. Returns 0 if the client has closed its side. Fails with
    /// [`ErrorKind::WouldBlock`] if there is nothing to read now.
    fn discard_input(&mut self, socket: &Self::Socket) -> io::Result<usize>;

    /// Returns true if an ended socket may stay open for a while: enough descriptors are free.
    fn may_linger(&self) -> bool;

    /// Shuts the socket down for sending, in every process that holds it.
    fn shutdown(&mut self, socket: &Self::Socket);

    /// Unregisters the socket. It stays open.
    fn unregister(&mut self, socket: &Self::Socket);

    /// Unregisters and closes the socket.
    fn close(&mut self, socket: Self::Socket);
}

/// The readiness of a socket, as the event loop reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The socket takes bytes again.
    pub writable: bool,
    /// The client has sent something.
    pub readable: bool,
    /// The client has closed its side, or the connection is broken.
    pub hung_up: bool,
}

/// Returns true if the system is short of memory (`ENOBUFS`, `ENOMEM`). That says nothing about the client.
pub(super) fn is_memory(error: &io::Error) -> bool {
    error.kind() == ErrorKind::OutOfMemory || is_one_of(error, &[libc::ENOBUFS])
}

/// Returns the reason for which a stream ends when its socket fails. The client or the network breaks a connection; any
/// other error is a mistake on this side. `ENETUNREACH`, `EHOSTUNREACH` and the like count as timeouts: the kernel reports
/// what a router has said only after the client has acknowledged nothing for too long.
pub(super) fn reason_of(error: &io::Error) -> Reason {
    match error.kind() {
        ErrorKind::TimedOut => Reason::Timeout,
        _ if is_one_of(error, UNREACHABLE) => Reason::Timeout,
        ErrorKind::BrokenPipe | ErrorKind::NotConnected => Reason::Client,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::ConnectionRefused => Reason::Client,
        _ if is_one_of(error, &[libc::ENETDOWN, libc::ENETRESET]) => Reason::Client,
        _ => Reason::Error,
    }
}

const UNREACHABLE: &[i32] = &[
    libc::ENETUNREACH,
    libc::EHOSTUNREACH,
    #[cfg(unix)]
    libc::EHOSTDOWN,
    #[cfg(target_os = "linux")]
    libc::ENONET,
];

/// Returns true if an error has one of these numbers, for which [`ErrorKind`] has no stable name.
fn is_one_of(error: &io::Error, numbers: &[i32]) -> bool {
    error.raw_os_error().map_or(false, |number| numbers.contains(&number))
}
