//! The writer's connection, and what it is for.

use super::super::connection::RedisConnection;
use super::super::entry::Id;
use super::super::shared::Target;

pub struct Session {
    pub connection: RedisConnection,
    pub target: Target,
    /// The reader must have read through this id before drafts are sent again.
    pub awaited: Option<Id>,
}

impl Session {
    /// Returns true if it is a connection to where the reader is connected.
    pub fn is_to(&self, target: &Target) -> bool {
        self.target.generation == target.generation && self.target.url == target.url
    }
}
