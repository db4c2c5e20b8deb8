//! A hub process as anybody sees it: where it is, its start, connections to it.

pub mod call_connection;
pub mod foreign;
pub(crate) mod greeting;
pub mod kept_settings;
pub mod link;
pub mod place;
pub(crate) mod response_reader;
pub(crate) mod sockets;
pub mod start;
pub(crate) mod unanswered;
