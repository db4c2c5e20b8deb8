//! HTTP/1.1 (RFC 9112) of this process itself: streams for clients that have a ticket, and metrics for monitors.
//! What is answered is decided in `server/http.rs`.

mod connections;
mod endpoint;
mod head;
mod listen;
mod monitor;

pub use connections::{Client, Connections, Service, FIRST_NUMBER};
pub use endpoint::Endpoint;
pub use head::{Head, Refusal};
pub use listen::{Listening, Sockets};
pub use monitor::{refusal, Hosts};
