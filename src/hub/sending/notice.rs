//! Blocks that one stream is sent through its own buffer, in front of the log.

use crate::event::Shared;

/// A block for one stream's own buffer.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The stream's position, a reconnection time, or both in one block.
    Position(Vec<u8>),
    /// A comment that names the channel of the next event.
    Channel(Vec<u8>),
    /// A `gap` event.
    Gap(Vec<u8>),
    /// An event of a log.
    Event(Shared),
}
