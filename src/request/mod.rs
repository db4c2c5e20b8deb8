//! What the head of a request says: the rules of a hub's streams that a worker and a hub process apply alike.
//!
//! A client may send any bytes here, so each function takes bytes, reads them in a time that grows with their length, and
//! ignores what is malformed.
//!
//! - `query`: where the client continues, and the query without that
//! - `preference`: whether it polls, and the token that tells its requests apart
//! - `coding`: how the response is coded
//! - `ticket`: the ticket that the client brings back, and a digest of all by which an application may decide, to which that is
//!   bound

#![forbid(unsafe_code)]

mod coding;
mod preference;
mod query;
#[cfg(test)]
mod tests;
mod ticket;

pub use coding::{best_coding, content_coding};
pub use preference::{Preference, ONLY_OF_STREAMS};
pub use query::{last_event_id, query_without_id};
pub use ticket::{ticket_cookie, ticket_of, BoundRequest};

/// Returns the value of a header without the blanks around it: some servers leave them there (RFC 9110, section 5.5).
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
