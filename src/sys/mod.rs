//! Safe wrappers of the system calls that the reactor, the takeover of a response and a hub process need. No other
//! module makes system calls.
//!
//! - [`socket`]: sends to, drains and ends a client's connection, without blocking; Unix sockets between processes of one user,
//!   with descriptors
//! - [`descriptor`]: duplicates, replaces and counts descriptors
//! - [`epoll`]: readiness of many sockets; an eventfd that wakes a sleeping thread
//! - [`clock`]: the monotonic clock
//! - [`random`]: random bytes
//! - [`daemon`]: what a process that stands on its own needs, the lock of a file among that
//! - [`signal`]: signals that this library sends to its own process
//! - `sim`: the places at which the simulation of `sim/` takes the part of the kernel
//! - [`standard_error`]: lines for the log of the server
//! - [`thread`]: threads that perl's signal handlers never run on; functions that run around a fork
//!
//! `rustix` makes the calls. `libc` makes those that `rustix` lacks, such as `pthread_sigmask` and `pthread_atfork`.

pub mod clock;
pub mod daemon;
pub mod descriptor;
pub mod epoll;
pub mod random;
pub mod signal;
#[cfg(feature = "sim")]
pub mod sim;
pub mod socket;
pub mod standard_error;
pub mod thread;
