//! HTTP/1.1 (RFC 9112) of this process itself: streams for clients that have a ticket, and metrics for monitors.
//! What is answered is decided in `server/http.rs`.

mod connections;
mod endpoint;
mod monitor;

pub use connections::{Client, Connections, Head, Refusal, Service, FIRST_NUMBER};
pub use endpoint::Endpoint;
pub use monitor::refusal;
