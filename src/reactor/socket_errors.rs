//! The mapping from a socket's error to its effect on the stream.
//!
//! The error numbers come from `libc`: they differ between systems, and on Linux between processors (MIPS, SPARC, Alpha).

use crate::stream::Reason;
use std::io::{self, ErrorKind};

/// Returns true if the system is short of memory (`ENOBUFS`, `ENOMEM`). That says nothing about the client.
pub(super) fn is_memory(error: &io::Error) -> bool {
    error.kind() == ErrorKind::OutOfMemory || numbers::is_memory(error.raw_os_error())
}

/// Returns the reason for which a stream ends when its socket fails. The client or the network breaks a connection; any
/// other error is a mistake on this side. `ENETUNREACH`, `EHOSTUNREACH` and the like count as timeouts: the kernel reports
/// what a router has said only after the client has acknowledged nothing for too long.
pub(super) fn reason_of(error: &io::Error) -> Reason {
    let number = error.raw_os_error();
    match error.kind() {
        ErrorKind::TimedOut => Reason::Timeout,
        _ if numbers::is_unreachable(number) => Reason::Timeout,
        ErrorKind::BrokenPipe | ErrorKind::NotConnected => Reason::Client,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::ConnectionRefused => Reason::Client,
        _ if numbers::is_network_down(number) => Reason::Client,
        _ => Reason::Error,
    }
}

/// The errors for which [`ErrorKind`] has no stable name.
#[cfg(unix)]
mod numbers {
    pub(super) fn is_memory(number: Option<i32>) -> bool {
        number == Some(libc::ENOBUFS)
    }

    pub(super) fn is_unreachable(number: Option<i32>) -> bool {
        #[cfg(target_os = "linux")]
        if number == Some(libc::ENONET) {
            return true;
        }
        matches!(number, Some(libc::ENETUNREACH | libc::EHOSTDOWN | libc::EHOSTUNREACH))
    }

    pub(super) fn is_network_down(number: Option<i32>) -> bool {
        matches!(number, Some(libc::ENETDOWN | libc::ENETRESET))
    }
}

#[cfg(not(unix))]
mod numbers {
    pub(super) fn is_memory(_: Option<i32>) -> bool {
        false
    }

    pub(super) fn is_unreachable(_: Option<i32>) -> bool {
        false
    }

    pub(super) fn is_network_down(_: Option<i32>) -> bool {
        false
    }
}
