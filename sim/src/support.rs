//! What the book asks of its tests.

#[path = "../../tests/client/mod.rs"]
mod client;
#[path = "../../hub_process/tests/support/requests.rs"]
mod requests;

pub use client::DEADLINE;
pub use requests::{settings, stream_settings, topics, Asks};
