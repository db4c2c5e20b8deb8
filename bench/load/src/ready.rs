//! Readiness of descriptors: level-triggered epoll, with a number for each descriptor.

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use rustix::time::Timespec;
use std::io;
use std::time::Duration;

/// The number of standard input; those of sockets begin at [`FIRST`].
pub const COMMANDS: u64 = 0;
pub const LISTENER: u64 = 1;
pub const FIRST: u64 = 2;

pub const READ: EventFlags = EventFlags::IN.union(EventFlags::RDHUP);
pub const WRITE: EventFlags = EventFlags::OUT;
pub const READ_WRITE: EventFlags = READ.union(WRITE);
/// The end of the connection, but no data.
pub const LEAVE: EventFlags = EventFlags::RDHUP;
/// Only errors, which epoll always reports.
pub const NOTHING: EventFlags = EventFlags::empty();

/// Raises the limit of descriptors to the hard limit.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // If this fails, connecting reports the lack of descriptors.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Registered descriptors. Closing one removes it.
pub struct Ready {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Ready {
    /// Creates an epoll with standard input registered, which must be a pipe or a terminal.
    pub fn new() -> io::Result<Self> {
        let ready = Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(1024) };
        ready.add(io::stdin(), COMMANDS, READ)?;
        Ok(ready)
    }

    pub fn add(&self, source: impl AsFd, number: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(number), flags)?)
    }

    pub fn modify(&self, source: impl AsFd, number: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, source, EventData::new_u64(number), flags)?)
    }

    /// Waits at most `timeout` and stores the ready descriptors in `ready`: their numbers and flags.
    pub fn wait(&mut self, timeout: Duration, ready: &mut Vec<(u64, EventFlags)>) -> io::Result<()> {
        ready.clear();
        self.events.clear();
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| (event.data.u64(), event.flags)));
        Ok(())
    }
}
