//! Which of many sockets can be read or written, and a descriptor that wakes who waits for them.

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{eventfd, EventfdFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// What is to be known of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// It takes bytes again. Asked for only after it took none.
    pub writable: bool,
    /// The client has sent something. Always told.
    pub readable: bool,
    /// The client has closed its side, or the connection is broken. Always told.
    pub left: bool,
}

/// A set of sockets, each with a number of the caller's.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// At most so many sockets are told of at once.
    const EVENTS: usize = 256;
    /// At most so long is waited at once; who waits for longer waits again.
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// An empty set.
    ///
    /// # Errors
    ///
    /// If there are too many descriptors, or no memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    fn flags(writable: bool) -> EventFlags {
        let always = EventFlags::IN | EventFlags::RDHUP;
        if writable {
            always | EventFlags::OUT
        } else {
            always
        }
    }

    /// Adds a socket.
    ///
    /// # Errors
    ///
    /// If the kernel has no memory, or none allowed for this user.
    pub fn add(&self, socket: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        Ok(epoll::add(&self.0, socket, EventData::new_u64(number), Self::flags(false))?)
    }

    /// Asks, or no longer asks, when a socket that is in the set takes bytes.
    ///
    /// # Errors
    ///
    /// If it is not in the set.
    pub fn ask_writable(&self, socket: BorrowedFd<'_>, number: u64, writable: bool) -> io::Result<()> {
        Ok(epoll::modify(&self.0, socket, EventData::new_u64(number), Self::flags(writable))?)
    }

    /// Removes a socket. To close it does not: another process may hold the same socket.
    pub fn remove(&self, socket: BorrowedFd<'_>) {
        // Fails only if it is not in the set.
        let _ = epoll::delete(&self.0, socket);
    }

    /// Waits until a socket is ready or the time is up; without a time, for ever. Calls `ready` for each.
    ///
    /// # Errors
    ///
    /// What the kernel says, but for an interruption.
    pub fn wait(&self, time: Option<Duration>, mut ready: impl FnMut(u64, Readiness)) -> io::Result<()> {
        // Longer than fits into the milliseconds of epoll_wait it would be a newer call, which not every kernel has.
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
                    left: flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR),
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
    /// A signal that is not raised.
    ///
    /// # Errors
    ///
    /// If there are too many descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes who waits for it.
    pub fn raise(&self) {
        // Fails only if it is raised 2^64 times.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Takes it back.
    pub fn lower(&self) {
        // Fails only if it is not raised.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
