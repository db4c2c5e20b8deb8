//! The only place for system calls: what the reactor and the taking over of a response need of Linux, by safe names.
//!
//! - [`socket`]: sending, draining and ending a client's connection, never waiting
//! - [`descriptor`]: copies, exchanges and limits of descriptors
//! - [`epoll`]: readiness of many sockets; a number in memory that wakes a sleeping thread
//! - [`random`]: a number that no other process has
//! - [`thread`]: threads that perl's signal handlers never run on; what happens around a fork
//!
//! `rustix` makes the calls; where it has none (`pthread_sigmask`, `pthread_atfork`) `libc` does.

pub mod descriptor;
pub mod epoll;
pub mod random;
pub mod socket;
pub mod thread;
