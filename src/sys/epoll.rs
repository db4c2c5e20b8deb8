//! Readiness of many sockets, and a descriptor that wakes the thread that waits for them.

#[cfg(feature = "sim")]
use super::sim;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{eventfd, EventfdFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// The readiness of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// The socket takes bytes again. Reported only on request, after the socket took none.
    pub writable: bool,
    /// The client has sent something. Always reported.
    pub readable: bool,
    /// The client has closed its side, or the connection is broken. Always reported.
    pub hung_up: bool,
}

/// A set of sockets. The caller gives each a number.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// The maximal number of sockets that one wait reports.
    const EVENTS: usize = 256;
    /// The maximal duration of one wait. The caller waits again for a longer time.
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// Creates an empty set. Fails if the limit of descriptors is reached, or if the kernel has no memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    fn flags(readable: bool, writable: bool) -> EventFlags {
        let mut flags = EventFlags::RDHUP;
        flags.set(EventFlags::IN, readable);
        flags.set(EventFlags::OUT, writable);
        flags
    }

    /// Adds a socket. Fails if the kernel has no memory, or if this user has used up its share of it.
    pub fn add(&self, socket: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        Ok(epoll::add(&self.0, socket, EventData::new_u64(number), Self::flags(true, false))?)
    }

    /// Sets which readiness of a socket is reported. That its peer has closed its side is always reported. Fails if the socket
    /// is not in the set.
    pub fn ask(&self, socket: BorrowedFd<'_>, number: u64, readable: bool, writable: bool) -> io::Result<()> {
        Ok(epoll::modify(&self.0, socket, EventData::new_u64(number), Self::flags(readable, writable))?)
    }

    /// Sets that a socket is reported only when it takes bytes, or its connection is broken: a peer that has closed its side
    /// may still read. Fails as [`ask`](Self::ask).
    pub fn ask_for_room(&self, socket: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        Ok(epoll::modify(&self.0, socket, EventData::new_u64(number), EventFlags::OUT)?)
    }

    /// Removes a socket. Closing the socket does not remove it if another process holds the same socket.
    pub fn remove(&self, socket: BorrowedFd<'_>) {
        // Fails only if the socket is not in the set.
        let _ = epoll::delete(&self.0, socket);
    }

    /// Waits until a socket is ready or the time is up. Without a time it waits until a socket is ready. Calls `ready` for
    /// each socket that is ready. Fails with any error of the kernel except an interruption, which ends the wait without an
    /// error.
    pub fn wait(&self, time: Option<Duration>, mut ready: impl FnMut(u64, Readiness)) -> io::Result<()> {
        #[cfg(feature = "sim")]
        let time = sim::wait_for_any(self.0.as_fd(), time);
        // A time that does not fit into the milliseconds of epoll_wait would need epoll_pwait2, which old kernels lack.
        let time = time.map(|time| time.min(Self::LONGEST)).map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        let mut room = [MaybeUninit::<Event>::uninit(); Self::EVENTS];
        let (events, _) = match epoll::wait(&self.0, &mut room, time.as_ref()) {
            Ok(events) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in events {
            let flags = event.flags;
            ready(
                event.data.u64(),
                Readiness {
                    writable: flags.contains(EventFlags::OUT),
                    readable: flags.contains(EventFlags::IN),
                    hung_up: flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR),
                },
            );
        }
        Ok(())
    }
}

/// A descriptor that is readable from [`Signal::raise`] to [`Signal::lower`]; an event loop may watch it.
#[derive(Debug)]
pub struct Signal(OwnedFd);

impl Signal {
    /// Creates a signal that is not raised. Fails if the limit of descriptors is reached.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Raises the signal, which wakes the thread that waits for it. Returns false if somebody else has closed its descriptor.
    pub fn raise(&self) -> bool {
        // Otherwise it fails only if the signal is raised 2^64 times.
        rustix::io::write(&self.0, &1u64.to_ne_bytes()) != Err(Errno::BADF)
    }

    /// Returns true if somebody else has closed the signal's descriptor. Its number may be that of another file by now, but not
    /// of another signal.
    pub fn is_closed(&self) -> bool {
        rustix::fs::fstat(&self.0).map_or(true, |status| FileType::from_raw_mode(status.st_mode) != FileType::Unknown)
    }

    /// Lowers the signal.
    pub fn lower(&self) {
        // Fails only if the signal is not raised.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    /// Returns the signal's descriptor.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
