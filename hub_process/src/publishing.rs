//! What a publish is for every kind of hub: who waits for it, its id, its encoding, and what becomes of it.

use eventsource_xs::event::{EventId, Shared, Text};
use eventsource_xs::wire::{Failure, Fields};
use std::time::Instant;

/// The publisher that waits for an event to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The token of the connection.
    pub peer: u64,
    /// The number of the request; 0 if no response is wanted.
    pub request: u64,
    /// The worker's credits that the request has used; 0 if these are granted again.
    pub bytes: usize,
    /// When it has published.
    pub since: Option<Instant>,
}

/// The result of a publish.
pub enum Published {
    /// It has an id.
    Id(String),
    /// The store will say.
    Waits,
}

pub fn not_begun() -> Failure {
    Failure::unavailable("the hub's store has not begun")
}

/// Encodes an event whose hub has given it an id.
pub fn encode(fields: Fields<'_>, made: &str) -> Shared {
    Shared::with_id_last(fields.iter(), EventId::new(Text::from(made)).ok())
}
