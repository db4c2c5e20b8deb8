//! Server-sent events for Perl web applications.
//!
//! This crate is the core of the Perl distribution EventSource-XS. It turns events into the bytes of a
//! `text/event-stream` and such bytes back into events, as section 9.2 of the WHATWG HTML standard has it, and offers
//! both to Perl. The modules, in the order in which an event travels through them:
//!
//! - [`event`]: the fields of an event, valid by construction, and their encoding
//! - [`log`]: a channel's bounded history
//! - [`hub`]: channels, the order of their events, and where in it each stream is
//! - [`stream`]: one client's open response: what waits for it, what is due when, how it ends
//! - [`reactor`]: sends what waits to many clients, in one thread beside the interpreter, and sees who has left
//! - [`runtime`]: the reactor in a process: its thread, forks, and the handles of streams and hubs (Linux)
//! - `sys`: the only place for system calls (Linux)
//! - [`parse`]: the way back, from bytes to events, incrementally, split anywhere
//! - `xs`: the only place that knows Perl (feature `xs`, on by default)
//!
//! `event`, `parse`, `log`, `hub`, `stream` and the core of `reactor` do no I/O, know no clock and hold no `unsafe`; all but `xs` builds
//! without a perl on the machine (`--no-default-features`). Where there is no Linux, streams are the server's to write.
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

#![warn(missing_docs, unsafe_op_in_unsafe_fn)]

pub mod event;
pub mod hub;
pub mod log;
pub mod parse;
pub mod reactor;
#[cfg(target_os = "linux")]
pub mod runtime;
pub mod stream;
#[cfg(target_os = "linux")]
#[cfg_attr(not(feature = "xs"), allow(dead_code))] // the taking over of a response is the boundary's
mod sys;

#[cfg(test)]
mod cases;
#[cfg(feature = "xs")]
mod xs;
