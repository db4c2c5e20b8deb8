//! Server-sent events for Perl web applications.
//!
//! This crate is the native core of the Perl distribution EventSource-XS. It encodes events as a `text/event-stream`
//! (WHATWG HTML, section 9.2), sends them to many clients from one thread beside the Perl interpreter, keeps channels with
//! bounded logs so that reconnecting clients resume, and parses such a stream back into events.
//!
//! The modules, in dependency order: each uses only modules before it, `parse` only [`event`].
//!
//! - [`histogram`]: how often a time was in which range
//! - `wait_list`: what waits, in the order of what each waits for
//! - [`event`]: the fields of an event, which are valid by construction, and their encoding
//! - [`compression`]: content codings, of which streams share the encoded blocks
//! - [`log`]: the events of one channel, within bounds
//! - [`stream`]: one client's open response: its buffer, its timeouts, its end
//! - [`hub`]: channels, the order of their events, and the cursor of each subscribed stream
//! - [`reactor`]: the I/O engine: sends to many clients, and sees which of them disconnect
//! - [`store_settings`]: where a hub process keeps its events: the settings of the stores, and their rules
//! - [`parse`]: the way back, from bytes to events, incrementally
//! - [`wire`]: the messages between a worker and the hub process
//! - [`request`]: what the head of a request says: where a client continues, what it prefers and accepts, its ticket
//! - [`ticket`]: what a client may bring back, sealed
//! - [`metrics`]: the counts of a hub as text for monitors
//! - `sys`: system calls (Linux)
//! - [`runtime`]: the reactor in a process: its thread, forks, the handles of streams and hubs (Linux)
//! - [`remote`]: a named hub: where it is, its start, a connection to it (Linux)
//! - `xs`: the boundary to Perl (feature `xs`, on by default)
//!
//! `event`, `compression`, `log`, `stream`, `hub`, `reactor`, `parse`, `wire`, `request`, `ticket` and `metrics` make no
//! system call and read no clock. `runtime` and `remote` use the standard library's files, sockets and threads; all other
//! system calls are in `sys`. Only `xs` knows Perl, and only `sys` and `xs` contain `unsafe` code.
//! Without the feature `xs` the crate builds without a perl (`--no-default-features`). On systems other than Linux
//! there is no `runtime` and no `remote`: Perl sends each stream through its PSGI server.
//!
//! ```
//! use eventsource_xs::event::{encode_to_vec, EventId, Field, LineEnd, Text};
//! use eventsource_xs::parse::Parser;
//!
//! let fields = [
//!     Field::Id(EventId::new(Text::from("7"))?),
//!     Field::Data(Text::from("two\nlines")),
//! ];
//! let bytes = encode_to_vec(&fields, LineEnd::Lf);
//! assert_eq!(bytes, b"id: 7\ndata: two\ndata: lines\n\n");
//!
//! let mut parser = Parser::new();
//! parser.feed(&bytes)?;
//! assert_eq!(parser.next_event().unwrap().data, "two\nlines");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]
#![warn(missing_debug_implementations, missing_docs, unsafe_op_in_unsafe_fn)]
#![cfg_attr(feature = "sim", allow(missing_docs, unused))] // a simulation makes some system calls itself

/// The value of an `Option`, or what is there instead of it, such as `return`: the `let ... else` that Rust 1.63 lacks.
macro_rules! some_or {
    ($option:expr, $otherwise:expr) => {
        match $option {
            Some(value) => value,
            None => $otherwise,
        }
    };
}

/// Statics of the process. In the simulation of `sim/` each simulated process has a copy of its own.
#[cfg(not(feature = "sim"))]
#[macro_export]
macro_rules! per_process {
    ($($(#[$about:meta])* $visible:vis static $name:ident: $type:ty = $value:expr;)+) => {
        $($(#[$about])* $visible static $name: $type = $value;)+
    };
}
#[cfg(feature = "sim")]
#[macro_export]
macro_rules! per_process {
    ($($(#[$about:meta])* $visible:vis static $name:ident: $type:ty = $value:expr;)+) => {
        $($(#[$about])* $visible static $name: $crate::sim::PerProcess<$type> = $crate::sim::PerProcess::new(|| $value);)+
    };
}

/// An enum whose variants have names, with the list of them in the order of their numbers.
macro_rules! named {
    ($(#[$about:meta])* $type:ident { $($(#[$meaning:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type {
            $($(#[$meaning])* $variant,)+
        }

        impl $type {
            /// All of them in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Returns the one that has this name.
            pub fn of_name(name: &[u8]) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name().as_bytes() == name)
            }
        }
    };
}

#[macro_use]
pub mod codec;
mod error_code;

pub mod compression;
pub mod event;
pub mod histogram;
pub mod hub;
pub mod log;
pub mod metrics;
pub mod parse;
pub mod reactor;
pub mod request;
#[cfg(target_os = "linux")]
pub mod runtime;
pub mod store_settings;
pub mod stream;
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
#[cfg_attr(not(feature = "xs"), allow(dead_code))] // only `xs` takes a response's socket from its server
mod sys;

#[cfg(test)]
mod cases;
pub mod ticket;
mod wait_list;
pub mod wire;
#[cfg(feature = "xs")]
#[allow(unsafe_code)]
mod xs;

pub use error_code::{ErrorCode, Failure};
#[cfg(target_os = "linux")]
pub use runtime::remote;
#[cfg(feature = "sim")]
pub use sys::sim;
