//! What an error of a socket says about its client.
//!
//! The numbers are the system's: they differ between systems, and on Linux between processors (MIPS, SPARC, Alpha).

use crate::stream::Reason;
use std::io::{self, ErrorKind};

/// Whether the system is short of memory (`ENOBUFS`, `ENOMEM`), which says nothing about the client.
pub(super) fn is_memory(error: &io::Error) -> bool {
    error.kind() == ErrorKind::OutOfMemory || numbers::is_memory(error.raw_os_error())
}

/// Why a stream ends whose socket fails. The client or the network breaks a connection; any other error is a mistake on
/// this side. The kernel keeps what a router has reported about a client (`ENETUNREACH`, `EHOSTUNREACH` and the like) to
/// itself until that client has acknowledged nothing for too long.
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

/// What [`ErrorKind`] has no stable name for.
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
