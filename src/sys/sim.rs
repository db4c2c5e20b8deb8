//! The places at which a simulation takes the part of the kernel: `sim/` runs workers and hub processes as threads of one
//! process, of which one runs at a time. Compiled with the feature `sim` only, which no build of a release has.
//!
//! Sockets, epoll sets, files and locks of files are real. A simulation only decides when a thread that waits continues, the
//! time, and what is random. `xt/layout.t` has the list of the files that may use this module.

use rustix::fd::{BorrowedFd, OwnedFd};
use std::any::Any;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::{Duration, Instant};

/// What a thread waits for.
#[derive(Clone, Copy, Debug)]
pub enum Awaited<'a> {
    /// [`World::notify`] with this key.
    Notified(usize),
    Readable(BorrowedFd<'a>),
    Writable(BorrowedFd<'a>),
    /// Anything that another thread of the process does.
    OtherThread,
    /// Nothing but time.
    Time,
}

/// A simulation.
pub trait World: Send + Sync {
    /// Lets other threads run until something has happened, or until a time; at once if that has passed. The thread unwinds if
    /// its process was killed.
    fn wait(&self, awaited: Awaited<'_>, until: Option<Instant>);

    /// Unwinds if the process of this thread was killed.
    fn end_if_killed(&self);

    /// Lets other threads run, perhaps.
    fn pass_lock(&self);

    fn notify(&self, key: usize);

    /// Prepares the body of a new thread of this process.
    fn adopt(&self, body: Box<dyn FnOnce() + Send>) -> Box<dyn FnOnce() + Send>;

    /// Returns this process's own copy of a static, which has a key, and is made when it is needed first.
    fn local(&self, key: usize, make: &dyn Fn() -> Box<dyn Any + Send + Sync>) -> *const ();

    fn monotonic(&self) -> u64;

    fn fill_random(&self, bytes: &mut [u8]);

    /// Takes a line for the log of the server.
    fn log(&self, line: &[u8]) -> bool;

    /// Returns the process at the other end of a connection.
    fn pid_of(&self, socket: BorrowedFd<'_>) -> Option<u32>;

    /// Returns how many descriptors the process may have.
    fn limit(&self) -> usize;

    /// Starts a hub process with its name and socket: one that listens, and its lock.
    fn start(&self, name: &str, path: &Path, listener: OwnedFd, lock: File) -> io::Result<()>;

    /// Asks the program of an upgrade whether it reads what is handed over. Returns its protocol, or why it does not.
    fn check(&self, handed: Option<&File>) -> Result<u16, String>;

    /// Continues the process as its program, with these words. Returns only if that fails.
    fn execute(&self, words: &[OsString]) -> io::Error;
}

static WORLD: OnceLock<&'static dyn World> = OnceLock::new();

/// Sets the world, once.
pub fn begin(world: &'static dyn World) {
    assert!(WORLD.set(world).is_ok(), "one world at a time");
}

/// Returns the world, which has begun.
pub fn world() -> &'static dyn World {
    *WORLD.get().expect("the simulation has begun")
}

/// Waits for something, at most for this time.
pub fn wait_within(awaited: Awaited<'_>, time: Option<Duration>) {
    let until = time
        .map(|time| Instant::now().checked_add(time).unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 32)));
    world().wait(awaited, until);
}

/// Waits for a set of sockets. Returns the time for which the kernel is to wait then.
pub fn wait_for_any(set: BorrowedFd<'_>, time: Option<Duration>) -> Option<Duration> {
    wait_within(Awaited::Readable(set), time);
    Some(Duration::ZERO)
}

/// Waits for a socket. Returns the time for which the kernel is to wait then.
pub fn wait_for_socket(awaited: Awaited<'_>, time: Duration) -> Duration {
    wait_within(awaited, Some(time));
    Duration::ZERO
}

/// Locks a mutex. Another thread may run before.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    world().pass_lock();
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(guard)) => return guard.into_inner(),
            Err(TryLockError::WouldBlock) => world().wait(Awaited::OtherThread, None),
        }
    }
}

/// A static of which each process of the simulation has its own copy.
#[derive(Debug)]
pub struct PerProcess<T>(fn() -> T);

impl<T: Send + Sync + 'static> PerProcess<T> {
    pub const fn new(make: fn() -> T) -> Self {
        Self(make)
    }
}

impl<T: Send + Sync + 'static> Deref for PerProcess<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let key = self as *const Self as usize;
        let copy = world().local(key, &|| Box::new((self.0)()));
        // SAFETY: the world returns the address of what `make` has made for this key, which is a `T`. It drops that when all
        // threads of the process have ended, and no other thread reads the statics of the process.
        unsafe { &*copy.cast() }
    }
}
