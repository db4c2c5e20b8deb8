//! An event on the wire: validated fields and their encoding.
//!
//! A [`Text`] is a caller's string with its encoding. A [`Field`] is one field of an event; the types
//! of those that must stay on one line ([`EventName`], [`EventId`], [`Retry`]) cannot be constructed from text that
//! would break out of it. [`encode()`] writes a block of fields with its closing blank line. [`Framing`] says how such
//! a block is framed in a response; [`Shared`] is a block that many streams send, [`Unsequenced`] one without its id, [`Form`]
//! many of these. [`json_string`] writes text as JSON.
//!
//! The grammar is that of WHATWG HTML 9.2.5, the meaning of each field that of 9.2.6.

#![forbid(unsafe_code)]

mod byte_mask;
mod encode;
mod field;
mod json;
#[cfg(test)]
mod naive;
mod unsequenced;

pub use encode::{
    encode, encode_to_vec, has_id_line, retry_line, size_bound, Block, Framing, LineEnd, Shared, BLANK_SIZE_BOUND,
};
pub use field::{EventId, EventName, Field, FieldError, FieldName, Retry, Text, Why};
pub use json::{json_string, push_json};
pub use unsequenced::{Form, Unsequenced};
