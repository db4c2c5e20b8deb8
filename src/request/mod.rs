//! What the head of a request says: the rules of a hub's streams that a worker and a hub process apply alike.
//!
//! A client may send any bytes here, so each function takes bytes, reads them in a time that grows with their length, and
//! ignores what is malformed.
//!
//! - `query`: where the client continues, and the query without that
//! - `preference`: whether it polls, and the token that tells its requests apart
//! - `coding`: how the response is coded
//! - `cookies`: the ticket that the client brings back
//! - `binding`: a digest of all by which an application may decide, to which a ticket is bound

#![forbid(unsafe_code)]

mod binding;
mod coding;
mod cookies;
mod preference;
mod query;
#[cfg(test)]
mod tests;

pub use binding::BoundRequest;
pub use coding::{best_coding, content_coding};
pub use cookies::{ticket_cookie, ticket_of};
pub use preference::{Preference, ONLY_OF_STREAMS};
pub use query::{last_event_id, query_without_id};
