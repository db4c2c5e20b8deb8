//! Streams and hubs of this process as the application holds them.
//!
//! - [`stream_handle`]: a stream
//! - [`takeover`]: the takeover of a response from its server

pub(crate) mod stream_handle;
pub(crate) mod takeover;
